//! How often somebody may ask in a minute, each process by itself. What a credential asks that holds no more is not held against
//! those it belonged to: whoever has a revoked token would else keep its human from stopping the rest.

use crate::ambient::Timestamp;
use crate::id::CredentialId;
use crate::rate::{Rate, Spent};
use crate::token::Claims;

/// Requests of each human, and of each agent with all below it; apart from them those of credentials that hold no more.
#[derive(Debug)]
pub struct Throttle {
    live: Rate<String>,
    dead: Rate<(CredentialId, String)>,
}

/// How many requests were turned away in one minute because there were too many.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Throttled {
    /// The minute's beginning.
    pub minute: Timestamp,
    /// A human or an agent; `None` for all beyond those that were told apart.
    pub actor: Option<String>,
    pub refused: u64,
}

impl Throttle {
    /// `most` requests in a minute, of each.
    pub fn new(most: u64) -> Self {
        Self { live: Rate::new(most), dead: Rate::new(most.min(DEAD)) }
    }

    /// Counts one more.
    ///
    /// # Errors
    /// [`Spent`] beyond the share.
    pub fn count(&self, claims: &Claims, now: Timestamp) -> Result<(), Spent> {
        let dead = (claims.jti.clone(), claims.root());
        if let Err(spent) = self.dead.check(&dead, now) {
            let _ = self.dead.count(&dead, now);
            return Err(spent);
        }
        self.live.count(&dead.1, now)
    }

    /// What was counted came with a credential that holds no more.
    pub(super) fn is_dead(&self, claims: &Claims, now: Timestamp) {
        let root = claims.root();
        self.live.take_back(&root, now);
        // The next one is told.
        let _ = self.dead.count(&(claims.jti.clone(), root), now);
    }

    /// What was turned away in minutes before the one of `now`, each told once.
    pub fn take_before(&self, now: Timestamp) -> Vec<Throttled> {
        let (live, dead) = (self.live.take_before(now), self.dead.take_before(now));
        let live =
            live.into_iter().map(|tally| (tally.minute, tally.key, tally.count.saturating_sub(self.live.most())));
        let dead = dead.into_iter().map(|tally| {
            let actor = tally.key.map(|(_, root)| root);
            (tally.minute, actor, tally.count.saturating_sub(self.dead.most()))
        });
        let all = live.chain(dead).filter(|(_, _, refused)| *refused > 0);
        all.map(|(minute, actor, refused)| Throttled { minute, actor, refused }).collect()
    }
}

/// Requests a minute that are answered, each with a record, of one credential that holds no more.
const DEAD: u64 = 600;
