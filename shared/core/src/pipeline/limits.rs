//! Limits of grants, counted before the operation acts and never given back.

use super::App;
use crate::agent::{Agent, Limits};
use crate::ambient::{Timestamp, after_seconds};
use crate::error::Error;
use crate::reason::Reason;
use crate::repository::Loaded;
use crate::store::{Add, ItemKey};
use std::sync::Arc;

/// One limit of one agent in the chain.
struct Limit {
    add: Add,
    most: u32,
    spent: Reason,
    /// Seconds until the count begins anew; `None` where it never does.
    renewed_in: Option<i64>,
}

impl App {
    /// Counts one use against every limit of the agent and of those above it. The error within says which is spent.
    ///
    /// Each count is one atomic addition: of any number of requests at once, no more than the limit see a value within
    /// it. A use refused by one limit still counts against the others of the same agent.
    pub(super) async fn count_use(
        &self,
        chain: &[Loaded<Arc<Agent>>],
        now: Timestamp,
    ) -> Result<Result<(), Error>, Error> {
        // From the asker upward, so that one whose own limit is spent draws nothing from those above.
        for agent in chain {
            let limits = limits_of(&agent.value, now);
            if limits.is_empty() {
                continue;
            }
            let additions: Vec<Add> = limits.iter().map(|limit| limit.add.clone()).collect();
            let counts = self.store.add(&additions).await?;
            let spent = limits.iter().zip(counts).find(|(limit, count)| *count > i64::from(limit.most));
            if let Some((limit, _)) = spent {
                return Ok(Err(Error::LimitReached {
                    reason: limit.spent,
                    retry_after: limit.renewed_in.and_then(|seconds| u32::try_from(seconds).ok()),
                }));
            }
        }
        Ok(Ok(()))
    }
}

/// Where the uses of an agent are counted: in its life, in this minute, in this day.
fn counters(agent: &Agent, now: Timestamp) -> [ItemKey; 3] {
    let partition = format!("uses/{}", agent.id);
    let minute = now.as_second().div_euclid(60);
    let day = now.as_second().div_euclid(86_400);
    [
        ItemKey::state(partition.clone(), "life"),
        ItemKey::state(partition.clone(), format!("minute/{minute}")),
        ItemKey::state(partition, format!("day/{day}")),
    ]
}

fn limits_of(agent: &Agent, now: Timestamp) -> Vec<Limit> {
    let [life, minute, day] = counters(agent, now);
    let rest_of = |length: i64| length.saturating_sub(now.as_second().rem_euclid(length));
    let limit = |counter: ItemKey, most: Option<u32>, spent: Reason, period: Option<i64>| {
        let renewed_in = period.map(rest_of);
        // Kept twice as long as it is counted in, so that a slow clock finds it.
        let expires_at = period.map(|length| after_seconds(now, length.saturating_mul(2)));
        most.map(|most| Limit { add: Add { counter, by: 1, expires_at }, most, spent, renewed_in })
    };
    let limits = agent.grant.limits;
    [
        limit(life, limits.max_uses, Reason::UsesExhausted, None),
        limit(minute, limits.per_minute, Reason::UsesPerMinute, Some(60)),
        limit(day, limits.per_day, Reason::UsesPerDay, Some(86_400)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

impl App {
    /// The first limit of the chain that one more use would exceed. Counts nothing.
    pub(super) async fn spent(&self, chain: &[Loaded<Arc<Agent>>], now: Timestamp) -> Result<Option<Reason>, Error> {
        for agent in chain {
            let (limits, used) = (agent.value.grant.limits, self.uses(&agent.value, now).await?);
            let is_spent = |most: Option<u32>, used: Option<u32>| most.is_some_and(|most| used.unwrap_or(0) >= most);
            let table = [
                (limits.max_uses, used.max_uses, Reason::UsesExhausted),
                (limits.per_minute, used.per_minute, Reason::UsesPerMinute),
                (limits.per_day, used.per_day, Reason::UsesPerDay),
            ];
            if let Some((.., reason)) = table.into_iter().find(|(most, used, _)| is_spent(*most, *used)) {
                return Ok(Some(reason));
            }
        }
        Ok(None)
    }

    /// How much of each limit is spent; only where there is one.
    pub(crate) async fn uses(&self, agent: &Agent, now: Timestamp) -> Result<Limits, Error> {
        let limits = limits_of(agent, now);
        let reads: Vec<Add> = limits.iter().map(|limit| Add { by: 0, ..limit.add.clone() }).collect();
        let counts = if reads.is_empty() { Vec::new() } else { self.store.add(&reads).await? };
        let mut used = Limits::default();
        for (limit, count) in limits.iter().zip(counts) {
            let count = Some(u32::try_from(count).unwrap_or(u32::MAX));
            match limit.spent {
                Reason::UsesExhausted => used.max_uses = count,
                Reason::UsesPerMinute => used.per_minute = count,
                _ => used.per_day = count,
            }
        }
        Ok(used)
    }
}
