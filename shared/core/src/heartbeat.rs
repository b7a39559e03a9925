//! How far detection has come. Each use of a key reads it: where detection lies too far behind, or has died, nobody would
//! notice what a request begins, so what is new and what cannot be taken back is asked about first (DESIGN §2).

use crate::ambient::Timestamp;
use crate::error::Error;
use crate::repository::{self, Document, Loaded};
use crate::store::{Expect, ItemKey, Store};
use serde::{Deserialize, Serialize};

/// How far detection may lie behind, in seconds.
pub const MAX_DETECTION_LAG: i64 = 300;
/// It is not written more often than this, in seconds.
const EVERY: i64 = 30;

/// Whatever was on record by then has been taken in: for certain where one process reads the feed in its order, on AWS as a rule
/// (`functions/src/lambda/scheduled.rs`).
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Heartbeat {
    pub through: Timestamp,
}

impl Document for Heartbeat {
    fn item_key(&self) -> ItemKey {
        item()
    }
}

/// Where it lies.
pub fn item() -> ItemKey {
    ItemKey::state("feed", "detection-heartbeat")
}

impl Heartbeat {
    /// Seconds that detection lies behind, where that is too much.
    pub fn too_late(self, now: Timestamp) -> Option<i64> {
        Some(self.lag(now)).filter(|lag| *lag > MAX_DETECTION_LAG)
    }

    /// Seconds that detection lies behind, to half a minute.
    pub fn lag(self, now: Timestamp) -> i64 {
        now.as_second().saturating_sub(self.through.as_second()).max(0)
    }

    /// Where detection stands; `None` if it never ran here.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn read(store: &dyn Store) -> Result<Option<Self>, Error> {
        Ok(load(store).await?.map(|found| found.value))
    }

    /// Writes that detection has come to `through`, now and then. It never goes back; who is slower than another process
    /// leaves it to that.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn beat(store: &dyn Store, through: Timestamp) -> Result<(), Error> {
        let found = load(store).await?;
        let expect = match found {
            Some(found) if through.as_second() < found.value.through.as_second().saturating_add(EVERY) => return Ok(()),
            Some(found) => Expect::Current(found.revision),
            None => Expect::Absent,
        };
        let put = Self { through }.put(expect)?;
        match store.put_if(put.item, put.expect).await {
            Err(crate::store::StoreError::Conflict { .. }) => Ok(()),
            other => Ok(other.map(|_| ())?),
        }
    }
}

async fn load(store: &dyn Store) -> Result<Option<Loaded<Heartbeat>>, Error> {
    repository::load(store, &item()).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).unwrap()
    }

    #[tokio::test]
    async fn it_goes_forward_in_steps_and_never_back() {
        let store = MemoryStore::default();
        assert!(Heartbeat::read(&store).await.unwrap().is_none());
        for (through, stands) in [(100, 100), (129, 100), (130, 130), (20, 130), (500, 500)] {
            Heartbeat::beat(&store, at(through)).await.unwrap();
            assert_eq!(Heartbeat::read(&store).await.unwrap().unwrap().through, at(stands));
        }
    }

    #[test]
    fn five_minutes_are_not_too_late() {
        let heartbeat = Heartbeat { through: at(0) };
        let lags = [-10, 0, 300, 301, 7_000].map(|second| heartbeat.too_late(at(second)));
        assert_eq!(lags, [None, None, None, Some(301), Some(7_000)]);
    }
}
