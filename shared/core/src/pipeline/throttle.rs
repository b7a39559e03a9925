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
    /// What was taken back of each share. Beyond the share of one dead credential nothing is: whoever has many spends the human's.
    taken_back: Rate<String>,
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
        let dead = most.min(DEAD);
        Self { live: Rate::new(most), dead: Rate::new(dead), taken_back: Rate::new(dead) }
    }

    /// Counts one more.
    ///
    /// # Errors
    /// [`Spent`] beyond the share.
    pub fn count(&self, claims: &Claims, now: Timestamp) -> Result<(), Spent> {
        let dead = (claims.jti.clone(), claims.root());
        // Of one that is not told apart nobody knows: it may be live, and whoever holds it about to stop the rest.
        if let Err(spent) = self.dead.check_own(&dead, now) {
            let _ = self.dead.count(&dead, now);
            return Err(spent);
        }
        self.live.count(&dead.1, now)
    }

    /// What was counted came with a credential that holds no more.
    pub(super) fn is_dead(&self, claims: &Claims, now: Timestamp) {
        let root = claims.root();
        if self.taken_back.count(&root, now).is_ok() {
            self.live.take_back(&root, now);
        }
        // The next one is told.
        let _ = self.dead.count(&(claims.jti.clone(), root), now);
    }

    /// What was turned away in minutes before the one of `now`, each told once.
    pub fn take_before(&self, now: Timestamp) -> Vec<Throttled> {
        self.taken_back.take_before(now);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ambient::Entropy;

    fn claims(human: &str) -> Claims {
        let now = Timestamp::from_second(60).unwrap();
        let id = CredentialId::new(now, &Entropy::system());
        let claims = serde_json::json!({
            "iss": "x", "sub": human, "aud": "x", "client_id": "x", "iat": 0, "nbf": 0, "exp": 0, "jti": id,
            "epoch": { "deployment": 1, "human": 0, "agents": [] },
        });
        serde_json::from_value(claims).unwrap()
    }

    #[test]
    fn what_is_dead_spends_its_own_share_and_a_little_of_its_human_s() {
        let (throttle, at) = (Throttle::new(700), |second| Timestamp::from_second(second).unwrap());
        let (dead, live) = (claims("alice@org"), claims("alice@org"));
        for _ in 0..DEAD {
            throttle.count(&dead, at(60)).unwrap();
            throttle.is_dead(&dead, at(60));
        }
        throttle.count(&dead, at(61)).unwrap_err();
        for _ in 0..700 - DEAD {
            let other = claims("alice@org");
            throttle.count(&other, at(61)).unwrap();
            throttle.is_dead(&other, at(61));
        }
        for _ in 0..DEAD {
            throttle.count(&live, at(61)).unwrap();
        }
        throttle.count(&live, at(61)).unwrap_err();
        let told = throttle.take_before(at(120));
        let refused: Vec<u64> = told.iter().map(|throttled| throttled.refused).collect();
        assert_eq!(refused, [1, 1]);
        assert!(told.iter().all(|throttled| throttled.actor.as_deref() == Some("alice@org")));
    }

    /// Whoever has thousands of dead tokens fills the places in which they are told apart.
    #[test]
    fn no_number_of_dead_credentials_keeps_a_live_one_from_asking() {
        let (throttle, now) = (Throttle::new(60_000), Timestamp::from_second(60).unwrap());
        for n in 0..6_000 {
            let dead = claims(&format!("mallory-{}@org", n % 100));
            let _ = throttle.count(&dead, now);
            throttle.is_dead(&dead, now);
        }
        throttle.count(&claims("alice@org"), now).unwrap();
    }
}
