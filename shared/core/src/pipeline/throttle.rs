//! How often somebody may ask in a minute, each process by itself. What a credential asks that holds no more is not held against
//! those it belonged to: whoever has a revoked token would else keep its human from stopping the rest.

use crate::ambient::Timestamp;
use crate::id::CredentialId;
use crate::rate::{GroupedRate, Rate, Spent, Tally};
use crate::token::Claims;

/// Requests of each human, and of each agent with all below it; apart from them those of credentials that hold no more.
#[derive(Debug)]
pub struct Throttle {
    humans: Rate<String>,
    /// Topmost agents, in groups by their human, who may issue as many as she likes.
    agents: GroupedRate<String, String>,
    dead: Rate<CredentialId>,
    /// The same, of all dead credentials of one human or topmost agent together.
    dead_of: Rate<String>,
    turned_away: Rate<String>,
}

/// How many requests were turned away in one minute because there were too many.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Throttled {
    /// The minute's beginning.
    pub minute: Timestamp,
    /// A human or an agent; `None` for agents beyond those that were told apart, all of one human.
    pub actor: Option<String>,
    pub refused: u64,
}

impl Throttle {
    /// `most` requests in a minute, of each.
    pub fn new(most: u64) -> Self {
        let dead = most.min(DEAD);
        Self {
            humans: Rate::new(most),
            agents: GroupedRate::new(most),
            dead: Rate::new(dead),
            dead_of: Rate::new(dead),
            turned_away: Rate::new(0),
        }
    }

    /// Counts one more.
    ///
    /// # Errors
    /// [`Spent`] beyond the share.
    pub fn count(&self, claims: &Claims, now: Timestamp) -> Result<(), Spent> {
        let root = claims.root();
        // Of one that is not known for dead nobody knows: it may be live, and whoever holds it about to stop the rest.
        if self.dead.of(&claims.jti, now).is_some()
            && let Err(spent) = self.dead_of.check(&root, now)
        {
            let _ = self.turned_away.count(&root, now);
            return Err(spent);
        }
        match claims.act {
            None => self.humans.count(&root, now),
            Some(_) => self.agents.count(&root, &claims.sub.to_string(), now),
        }
    }

    /// What was counted came with a credential that holds no more. One that is not told apart spends the share it came from: there
    /// would be no end of them.
    pub(super) fn is_dead(&self, claims: &Claims, now: Timestamp) {
        let root = claims.root();
        // Whether that was too much the next one is told.
        let _ = (self.dead.count(&claims.jti, now), self.dead_of.count(&root, now));
        if self.dead.of(&claims.jti, now).is_some() {
            match claims.act {
                None => self.humans.take_back(&root, now),
                Some(_) => self.agents.take_back(&root, &claims.sub.to_string(), now),
            }
        }
    }

    /// What was turned away in minutes before the one of `now`, each told once.
    pub fn take_before(&self, now: Timestamp) -> Vec<Throttled> {
        self.dead.take_before(now);
        self.dead_of.take_before(now);
        let most = self.humans.most();
        let (agents, groups) = self.agents.take_before(now);
        let groups = groups.into_iter().map(|tally| Tally { key: None, ..tally }).collect();
        let beyond = [self.humans.take_before(now), agents, groups].into_iter().flatten().map(|tally| (tally, most));
        let turned_away = self.turned_away.take_before(now).into_iter().map(|tally| (tally, 0));
        let told = beyond.chain(turned_away).map(|(Tally { minute, key, count }, most)| Throttled {
            minute,
            actor: key,
            refused: count.saturating_sub(most),
        });
        told.filter(|throttled| throttled.refused > 0).collect()
    }
}

/// Requests a minute that are answered, each with a record, of the credentials of one human or topmost agent that hold no more.
const DEAD: u64 = 600;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ambient::Entropy;
    use crate::id::AgentId;
    use crate::token::Act;

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
    fn what_is_dead_spends_nothing_of_what_is_live() {
        let (throttle, at) = (Throttle::new(700), |second| Timestamp::from_second(second).unwrap());
        let dead: Vec<Claims> = (0..3).map(|_| claims("alice@org")).collect();
        for n in 0..2_000_u64 {
            let dead = &dead[usize::try_from(n % 3).unwrap()];
            match throttle.count(dead, at(60)) {
                Ok(()) => throttle.is_dead(dead, at(60)),
                Err(_) => assert!(n >= DEAD, "{n}"),
            }
        }
        let live = claims("alice@org");
        for _ in 0..700 {
            throttle.count(&live, at(61)).unwrap();
        }
        throttle.count(&live, at(61)).unwrap_err();
        let told = throttle.take_before(at(120));
        let refused: Vec<u64> = told.iter().map(|throttled| throttled.refused).collect();
        assert_eq!(refused, [1, 2_000 - DEAD]);
        assert!(told.iter().all(|throttled| throttled.actor.as_deref() == Some("alice@org")));
        assert_eq!(throttle.take_before(at(180)), []);
    }

    /// A human may issue more topmost agents than are told apart.
    #[test]
    fn no_number_of_live_agents_keeps_another_human_or_her_agents_from_asking() {
        let (throttle, now) = (Throttle::new(100), Timestamp::from_second(60).unwrap());
        let of_mallory = |_| throttle.count(&agents_claims("mallory@org"), now).is_ok();
        assert_eq!((0..6_000).filter(|n| of_mallory(*n)).count(), 4_096 + 100);
        for asking in [claims("alice@org"), agents_claims("alice@org"), claims("mallory@org")] {
            throttle.count(&asking, now).unwrap();
        }
        let told = throttle.take_before(Timestamp::from_second(120).unwrap());
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].actor.as_deref(), told[0].refused), (None, 6_000 - 4_096 - 100));
    }

    fn agents_claims(human: &str) -> Claims {
        let agent = AgentId::new(Timestamp::from_second(60).unwrap(), &Entropy::system());
        Claims { act: Some(Act { sub: agent, act: None }), ..claims(human) }
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
