//! Pages of a listing: how many, and where to go on.

use crate::encoding::{base64url, from_base64url};
use crate::error::Error;
use crate::store::{ItemKey, Position};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most items in a page (DESIGN §7), and how many where nothing is asked for.
pub const MAX_LIMIT: usize = 200;
pub const DEFAULT_LIMIT: usize = 50;

/// Which page of a listing.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// 1 to 200; 50 if absent.
    #[schemars(range(min = 1, max = 200))]
    pub limit: Option<usize>,
    /// As the page before returned it.
    pub cursor: Option<String>,
}

impl PageQuery {
    /// # Errors
    /// [`Error::Invalid`] outside 1 to 200.
    pub fn limit(&self) -> Result<usize, Error> {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        match (1..=MAX_LIMIT).contains(&limit) {
            true => Ok(limit),
            false => Err(Error::invalid("limit", "it must lie between 1 and 200")),
        }
    }

    /// # Errors
    /// [`Error::Invalid`] for a cursor that no page returned.
    pub fn position(&self) -> Result<Option<Position>, Error> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let read = || {
            let bytes = from_base64url(cursor)?;
            let (sort, partition, key_sort): (String, String, String) = serde_json::from_slice(&bytes).ok()?;
            Some(Position { sort, key: ItemKey::state(partition, key_sort) })
        };
        read().map(Some).ok_or_else(|| Error::invalid("cursor", "it must be as the page before returned it"))
    }
}

/// A page of a listing.
#[derive(Debug, JsonSchema, Serialize)]
#[schemars(rename = "PageOf{T}")]
pub struct PageOf<T> {
    pub items: Vec<T>,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A position as an opaque cursor.
pub fn cursor_at(position: &Position) -> String {
    let parts = (&position.sort, &position.key.partition, &position.key.sort);
    base64url(serde_json::to_string(&parts).unwrap_or_default().as_bytes())
}
