//! What happens by itself, once a minute: rotation, the end of keys and approvals, what was begun and not recorded,
//! responses that are left, how keys and agents are used, and a heartbeat that goes the way of the records.

use super::Function;
use super::emf::Metric;
use aegis_core::ambient::after_seconds;
use aegis_core::error::{Cause, Chain, Error};
use aegis_core::heartbeat::Heartbeat;
use aegis_core::journal::Settled;
use aegis_core::pipeline::{self, App};
use aegis_core::store::{Expect, Item, ItemKey, StoreError};
use aegis_core::{maintenance, response};
use aegis_events::stream;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the partition of a heartbeat begins with, in the journal; its minute follows.
pub(super) const HEARTBEAT: &str = "heartbeat/";

/// # Errors
/// Nothing could be done.
pub async fn answer(function: Arc<Function>, _: Value) -> Result<Value, Cause> {
    let app = &function.whole().await?.host.app;
    // Side by side, so that none is kept waiting by a back end that another asks, nor by another's failure.
    let (beaten, answered, done, counted) = futures_util::future::join4(
        heartbeat(&function, app),
        response::run_pending(app, response::AtBackEnds::Rotates),
        maintenance::run_due(app),
        count(app),
    )
    .await;
    beaten?;
    Ok(json!({ "done": done?, "responses": answered?, "counted": counted }))
}

async fn heartbeat(function: &Function, app: &App) -> Result<(), Error> {
    beat(app).await?;
    if let Some(heartbeat) = Heartbeat::read(app.store.as_ref()).await? {
        let now = app.clock.now();
        lag(heartbeat.lag(now)).tell(&function.settings.bus, now);
    }
    Ok(())
}

/// It goes the way that records go, through one of the stream's shards, bus and queue: where it arrives the way is open, and what was
/// on record before has arrived, too, as a rule. It is no proof of that. Other shards may lie behind, neither bus nor queue keeps
/// an order, and what failed in another batch is still to come: what is missing the tallies say (`aegis audit verify`).
async fn beat(app: &App) -> Result<(), Error> {
    let now = app.clock.now();
    let body = serde_json::to_string(&Heartbeat { through: now });
    let body = body.map_err(|error| Error::Damaged { what: "heartbeat", source: error.into() })?;
    let minute = now.as_second().div_euclid(60);
    let key = ItemKey::journal(format!("{HEARTBEAT}{minute}"), "heartbeat");
    let item = Item { key, body, indexes: Vec::new(), expires_at: Some(after_seconds(now, 86_400)) };
    match app.store.put_if(item, Expect::Absent).await {
        // Called twice in a minute.
        Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// How keys and agents are used, of what is settled. What is left is counted the next minute.
async fn count(app: &App) -> usize {
    let mut counted: usize = 0;
    let until = Instant::now() + COUNTING;
    while Instant::now() < until {
        match count_some(app).await {
            Ok(0) => break,
            Ok(some) => counted = counted.saturating_add(some),
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "uses are counted later");
                break;
            }
        }
    }
    counted
}

async fn count_some(app: &App) -> Result<usize, Error> {
    let beginning = pipeline::deployment(app).await?.created_at;
    stream::count_next(app, &Settled::new(app.store.as_ref(), beginning, app.clock.now())).await
}

/// The function is given 55 seconds for everything.
const COUNTING: Duration = Duration::from_secs(15);

/// How far detection lies behind, in seconds.
pub(super) fn lag(seconds: i64) -> Metric {
    Metric { name: "DetectionLagSeconds", unit: "Seconds", value: seconds }
}
