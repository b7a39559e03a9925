//! Counting uses, and telling of keys that several together use far more than ever.

use super::{answer, is_no_news, passed_over};
use aegis_core::ambient::Timestamp;
use aegis_core::error::Error;
use aegis_core::feed::Feed;
use aegis_core::id::{RecommendationId, RecordId};
use aegis_core::key::KeyRecord;
use aegis_core::pipeline::App;
use aegis_core::recommendation::{AgentRecommendation, Detector, Evidence, ResponseAction, Severity};
use aegis_core::repository::{self, Loaded};
use aegis_core::risk::evidence::score_of;
use aegis_core::risk::{Factor, FactorName};
use aegis_core::usage::consumer::{Counting, Spike};

/// Most records named as evidence: the last.
const MOST_RECORDS: usize = 16;
const DAY: i64 = 86_400;

/// Counts the next records, and returns how many; none where nothing came since. What they show is raised before the counts are
/// written: whichever step is the last that happened, the next call finds the same.
///
/// # Errors
/// [`Error::Contended`] if another process counts at the same time; [`Error::Unavailable`].
pub async fn count_next(app: &App, feed: &dyn Feed) -> Result<usize, Error> {
    let Some(counting) = Counting::next(app.store.as_ref(), feed).await? else { return Ok(0) };
    for spike in counting.spikes() {
        passed_over(raise(app, spike).await)?;
    }
    counting.commit(app.store.as_ref()).await
}

/// Of one key once a day. People are told; none of those who used it alone is the reason.
async fn raise(app: &App, spike: &Spike) -> Result<(), Error> {
    let Some(newest) = spike.records.last().filter(|newest| !is_no_news(app, newest.at)) else { return Ok(()) };
    let key: Option<Loaded<KeyRecord>> =
        repository::load(app.store.as_ref(), &repository::key_item(&spike.key)).await?;
    let Some(key) = key else { return Ok(()) };
    let day = newest.at.as_second().div_euclid(DAY);
    let begins = Timestamp::from_second(day.saturating_mul(DAY)).unwrap_or(Timestamp::UNIX_EPOCH);
    let words = format!("{}/{}/{day}", Detector::KeyUsageSpike.as_str(), spike.key);
    let records = spike.records.iter().rev().take(MOST_RECORDS).rev().map(|record| record.id.clone());
    let found = &spike.crowded;
    let recommendation = AgentRecommendation {
        id: RecommendationId::derived(begins, &words),
        at: app.clock.now(),
        detector: Detector::KeyUsageSpike,
        severity: Severity::Medium,
        agent: None,
        sponsor: key.value.key.created_by,
        evidence: Evidence {
            records: records.collect::<Vec<RecordId>>(),
            operation: None,
            requested: None,
            key: Some(spike.key.clone()),
            credential: None,
            factors: vec![Factor {
                within_seconds: Some(found.within_seconds),
                ..Factor::new(FactorName::Volume, f64::from(found.observed), found.expected, score_of(found.decades))
            }],
        },
        suggested_actions: vec![ResponseAction::Alert],
    };
    answer(app, spike.key.as_str(), recommendation).await
}
