//! Agents: who they are, what they were granted, and the credentials that prove them. An agent always has a sponsor.

use crate::ambient::{DateTime, Timestamp};
use crate::id::{AgentId, CredentialId, KeyId, RecommendationId, RecordId};
use crate::key::Environment;
use crate::name::{AgentLabel, HumanId};
use crate::reason::Reason;
use crate::scope::Scope;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest chain of agents below a human (DESIGN §5).
pub const MAX_DEPTH: usize = 3;
/// Most live sub-agents of one agent.
pub const MAX_CHILDREN: usize = 64;
/// Longest window of a grant, in seconds: 400 days.
pub const MAX_WINDOW: i64 = 400 * 86_400;
/// Longest life of an agent's token, in seconds: a day. An hour where nothing is asked for.
pub const MAX_TTL: u32 = 86_400;
pub const DEFAULT_TTL: u32 = 3_600;
/// Most holds that are kept of an agent, and most that froze it besides the first.
const MOST_KEPT: usize = 16;
/// Who acts when nobody does.
pub(crate) const AEGIS: &str = "aegis";

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Agent {
    pub id: AgentId,
    pub label: AgentLabel,
    pub purpose: Purpose,
    /// The human behind it.
    pub sponsor: HumanId,
    /// The agents above it, nearest first; empty for an agent issued by its human.
    pub ancestors: Vec<AgentId>,
    pub state: AgentState,
    /// Grows with each revocation; a credential is valid only while its copy is equal.
    pub epoch: u32,
    pub grant: Grant,
    #[schemars(with = "DateTime")]
    pub created_at: Timestamp,
    /// Why it is not active, since when, and the record that tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
    /// Who froze it besides, while it was frozen: it stays so until each of them is taken back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stopped_also: Vec<Stopped>,
    /// What responses ask of it for some time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<Hold>,
}

/// For some time an agent is refused, or asks a human before each use. Binds all below it, too.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Hold {
    pub kind: HoldKind,
    #[schemars(with = "DateTime")]
    pub until: Timestamp,
    /// The recommendation it answers.
    pub cause: RecommendationId,
}

/// The later is the harder.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HoldKind {
    StepUp,
    Deny,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AgentState {
    Active,
    /// Refused until unfrozen; credentials live on.
    Frozen,
    /// Refused for ever.
    Revoked,
}

impl AgentState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Frozen => "frozen",
            Self::Revoked => "revoked",
        }
    }
}

/// What kind of thing the agent is: it decides how hard an automatic response is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    Appliance,
    #[default]
    Interactive,
    Service,
}

impl Purpose {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Appliance => "appliance",
            Self::Interactive => "interactive",
            Self::Service => "service",
        }
    }
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Stopped {
    #[schemars(with = "DateTime")]
    pub at: Timestamp,
    /// Who did it: a human, or `aegis` for an automatic response.
    pub by: String,
    pub record: RecordId,
}

impl Stopped {
    /// By an automatic response.
    pub(crate) fn by_aegis(at: Timestamp, record: RecordId) -> Self {
        Self { at, by: AEGIS.to_string(), record }
    }
}

/// What an agent may do, when, and how often. Replaced as a whole; the version counts.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Grant {
    /// From 1.
    pub version: u32,
    pub scope: Scope<KeyId>,
    #[schemars(with = "DateTime")]
    pub not_before: Timestamp,
    #[schemars(with = "DateTime")]
    pub not_after: Timestamp,
    #[serde(default)]
    pub limits: Limits,
    /// Whether the agent may create sub-agents within this grant.
    #[serde(default)]
    pub delegate: bool,
    /// Whether it may make keys, as its human may.
    #[serde(default)]
    pub create_keys: bool,
    /// Whether it may read what is on record, as its human may.
    #[serde(default)]
    pub audit: bool,
    /// Which environment it is for: keys of another one count as risk, of this agent and of all below it. Absent: for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
}

impl Grant {
    pub fn includes(&self, now: Timestamp) -> bool {
        self.not_before <= now && now < self.not_after
    }

    /// The grant a sub-agent gets: as asked for, cut to what this one holds. The scope is checked apart.
    pub fn narrowed(&self, asked: Grant) -> Grant {
        Grant {
            not_before: asked.not_before.max(self.not_before),
            not_after: asked.not_after.min(self.not_after),
            limits: asked.limits.intersect(self.limits),
            create_keys: asked.create_keys && self.create_keys,
            audit: asked.audit && self.audit,
            ..asked
        }
    }
}

/// How often. Each use counts, whether or not it then succeeds, for the agent and for every agent above it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Uses in the life of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_uses: Option<u32>,
    /// Uses in a minute of the clock (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub per_minute: Option<u32>,
    /// Uses in a day of the calendar (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub per_day: Option<u32>,
}

impl Limits {
    fn intersect(self, other: Self) -> Self {
        let least = |a: Option<u32>, b: Option<u32>| a.into_iter().chain(b).min();
        Self {
            max_uses: least(self.max_uses, other.max_uses),
            per_minute: least(self.per_minute, other.per_minute),
            per_day: least(self.per_day, other.per_day),
        }
    }

    /// These, but for what `changed` names.
    pub fn with(self, changed: Self) -> Self {
        Self {
            max_uses: changed.max_uses.or(self.max_uses),
            per_minute: changed.per_minute.or(self.per_minute),
            per_day: changed.per_day.or(self.per_day),
        }
    }

    /// Whether each limit there is lies above zero.
    pub fn are_positive(self) -> bool {
        [self.max_uses, self.per_minute, self.per_day].into_iter().flatten().all(|limit| limit > 0)
    }
}

/// What proves a principal: a token issued to an agent, or a human's session. The token itself is not kept.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Credential {
    pub id: CredentialId,
    /// Its holder, or the sponsor of the agent that holds it.
    pub human: HumanId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    #[schemars(with = "DateTime")]
    pub issued_at: Timestamp,
    #[schemars(with = "DateTime")]
    pub expires_at: Timestamp,
    pub revoked: bool,
}

impl Agent {
    /// Why a request of this agent, or of one below it, must be refused in any case.
    pub fn stop_reason(&self, credential_epoch: u32) -> Option<Reason> {
        match self.state {
            AgentState::Revoked => Some(Reason::AgentRevoked),
            _ if self.epoch != credential_epoch => Some(Reason::AgentRevoked),
            AgentState::Frozen => Some(Reason::AgentFrozen),
            AgentState::Active => None,
        }
    }

    /// What a response asks of the agent now.
    pub fn held(&self, now: Timestamp) -> Option<HoldKind> {
        self.holds.iter().filter(|hold| now < hold.until).map(|hold| hold.kind).max()
    }

    /// Adds a hold. Of each kind and cause the one that lasts longest stays.
    pub fn add_hold(&mut self, hold: Hold, now: Timestamp) {
        self.holds.retain(|old| now < old.until);
        let same = self.holds.iter_mut().find(|old| (old.kind, &old.cause) == (hold.kind, &hold.cause));
        match same {
            Some(old) if old.until >= hold.until => {}
            Some(old) => *old = hold,
            None => self.holds.push(hold),
        }
        // Beyond that those that end first make room: what is longest and hardest counts.
        if self.holds.len() > MOST_KEPT {
            self.holds.sort_by_key(|hold| std::cmp::Reverse((hold.kind, hold.until)));
            self.holds.truncate(MOST_KEPT);
        }
    }

    /// Freezes it, for one more who wants it frozen. Returns whether that is news.
    pub fn freeze(&mut self, stopped: Stopped) -> bool {
        // A human who repeats herself says nothing new.
        let same = |old: &Stopped| match old.by == AEGIS {
            true => old.record == stopped.record,
            false => old.by == stopped.by,
        };
        match (self.state, &self.stopped) {
            (AgentState::Revoked, _) => false,
            (AgentState::Frozen, Some(first)) => {
                let known = same(first) || self.stopped_also.iter().any(same);
                // Beyond that nobody is told apart, and many that are refused at once do not wait for each other's write.
                let has_room = self.stopped_also.len() < MOST_KEPT;
                // A human who wants it frozen is told apart in any case.
                let of_aegis = self.stopped_also.iter_mut().rev().find(|old| old.by == AEGIS && stopped.by != AEGIS);
                match (known, has_room, of_aegis) {
                    (true, ..) => false,
                    (false, true, _) => {
                        self.stopped_also.push(stopped);
                        true
                    }
                    (false, false, Some(old)) => {
                        *old = stopped;
                        true
                    }
                    (false, false, None) => false,
                }
            }
            (AgentState::Active | AgentState::Frozen, _) => {
                (self.state, self.stopped) = (AgentState::Frozen, Some(stopped));
                true
            }
        }
    }

    /// Lets it go on, whoever froze it.
    pub fn unfreeze(&mut self) {
        (self.state, self.stopped) = (AgentState::Active, None);
        self.stopped_also.clear();
    }

    /// Takes back what was done to it because of one recommendation, told in `record`, and nothing else. Returns whether
    /// that changed anything.
    pub fn take_back(&mut self, cause: &RecommendationId, record: &RecordId) -> bool {
        let before = (self.holds.len(), self.stopped_also.len());
        self.holds.retain(|hold| hold.cause != *cause);
        self.stopped_also.retain(|stopped| stopped.record != *record);
        let mut changed = before != (self.holds.len(), self.stopped_also.len());
        if self.state == AgentState::Frozen && self.stopped.as_ref().is_some_and(|first| first.record == *record) {
            changed = true;
            match self.stopped_also.is_empty() {
                true => self.unfreeze(),
                false => self.stopped = Some(self.stopped_also.remove(0)),
            }
        }
        changed
    }

    pub fn revoke(&mut self, stopped: Stopped) {
        self.state = AgentState::Revoked;
        self.epoch = self.epoch.saturating_add(1);
        self.stopped = Some(stopped);
        self.stopped_also.clear();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// However many automatic responses froze it, a human who does keeps it frozen.
    #[test]
    fn a_human_s_freeze_is_kept_where_there_is_no_room_for_more() {
        let mut agent = an_agent();
        let record = |n: i64| RecordId::floor(Timestamp::from_second(n).unwrap());
        let at = Timestamp::from_second(0).unwrap();
        for n in 0..40 {
            assert_eq!(agent.freeze(Stopped::by_aegis(at, record(n))), n <= 16, "{n}");
        }
        let human = |n| Stopped { at, by: "alice@org".to_string(), record: record(n) };
        assert!(agent.freeze(human(50)));
        assert!(!agent.freeze(human(51)), "she says nothing new");
        let cause = RecommendationId::derived(at, "nothing");
        for n in 0..40 {
            agent.take_back(&cause, &record(n));
        }
        assert_eq!(agent.state, AgentState::Frozen);
        agent.take_back(&cause, &record(50));
        assert_eq!(agent.state, AgentState::Active);
    }

    #[test]
    fn the_hardest_hold_counts_and_each_ends_by_itself() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let cause = RecommendationId::new(at(0), &crate::ambient::Entropy::system());
        let hold = |kind, until| Hold { kind, until: at(until), cause: cause.clone() };
        let mut agent = an_agent();
        for (kind, until) in
            [(HoldKind::StepUp, 60), (HoldKind::Deny, 20), (HoldKind::Deny, 10), (HoldKind::StepUp, 30)]
        {
            agent.add_hold(hold(kind, until), at(0));
        }
        let table = [(0, Some(HoldKind::Deny)), (19, Some(HoldKind::Deny)), (20, Some(HoldKind::StepUp)), (60, None)];
        for (second, want) in table {
            assert_eq!(agent.held(at(second)), want, "{second}");
        }
        assert_eq!(agent.holds.len(), 2);
    }

    #[test]
    fn an_agent_stays_frozen_until_each_who_froze_it_has_taken_that_back() {
        let (now, entropy) = (Timestamp::from_second(0).unwrap(), crate::ambient::Entropy::system());
        let [first, second] = [0, 1].map(|_| RecordId::new(now, &entropy));
        let cause = RecommendationId::new(now, &entropy);
        let by = |name: &str, record: &RecordId| Stopped { at: now, by: name.to_string(), record: record.clone() };
        for order in [[&first, &second], [&second, &first]] {
            let mut agent = an_agent();
            assert!(agent.freeze(by(AEGIS, &first)) && agent.freeze(by(AEGIS, &second)));
            assert!(!agent.freeze(by(AEGIS, &first)) && !agent.freeze(by(AEGIS, &second)), "said before");
            assert!(agent.take_back(&cause, order[0]));
            assert_eq!(agent.state, AgentState::Frozen);
            assert!(!agent.take_back(&cause, order[0]));
            assert!(agent.take_back(&cause, order[1]));
            assert_eq!((agent.state, agent.stopped.is_none()), (AgentState::Active, true));
        }
        // A human's freezing is hers to take back.
        let mut agent = an_agent();
        assert!(agent.freeze(by(AEGIS, &first)) && agent.freeze(by("alice@org", &second)));
        assert!(!agent.freeze(by("alice@org", &first)));
        agent.take_back(&cause, &first);
        assert_eq!((agent.state, agent.stopped.as_ref().unwrap().by.as_str()), (AgentState::Frozen, "alice@org"));
        agent.unfreeze();
        assert_eq!(agent.state, AgentState::Active);
        agent.revoke(by(AEGIS, &first));
        assert!(!agent.freeze(by(AEGIS, &second)) && !agent.take_back(&cause, &first));
        assert_eq!(agent.state, AgentState::Revoked);
    }

    #[test]
    fn holds_are_bounded_and_the_longest_and_hardest_stay() {
        let (now, entropy) = (Timestamp::from_second(0).unwrap(), crate::ambient::Entropy::system());
        let mut agent = an_agent();
        for second in 1..100 {
            for kind in [HoldKind::Deny, HoldKind::StepUp] {
                let (until, cause) = (Timestamp::from_second(second).unwrap(), RecommendationId::new(now, &entropy));
                agent.add_hold(Hold { kind, until, cause }, now);
            }
        }
        assert_eq!(agent.holds.len(), MOST_KEPT);
        assert_eq!(agent.held(Timestamp::from_second(98).unwrap()), Some(HoldKind::Deny));
    }

    fn an_agent() -> Agent {
        let now = Timestamp::from_second(0).unwrap();
        Agent {
            id: AgentId::new(now, &crate::ambient::Entropy::system()),
            label: "invoices".parse().unwrap(),
            purpose: Purpose::Service,
            sponsor: "alice@org".parse().unwrap(),
            ancestors: Vec::new(),
            state: AgentState::Active,
            epoch: 1,
            grant: Grant {
                version: 1,
                scope: Scope(vec![]),
                not_before: now,
                not_after: now,
                limits: Limits::default(),
                delegate: false,
                create_keys: false,
                audit: false,
                environment: None,
            },
            created_at: now,
            stopped: None,
            stopped_also: Vec::new(),
            holds: Vec::new(),
        }
    }

    proptest! {
        #[test]
        fn a_narrowed_grant_lies_within_its_parent_s(
            asked in any_grant(), own in any_grant(), at in 0..2_000_i64
        ) {
            let narrowed = own.narrowed(asked);
            let now = Timestamp::from_second(at).unwrap();
            prop_assert!(!narrowed.includes(now) || own.includes(now));
            let limit = |grant: &Grant| {
                [grant.limits.max_uses, grant.limits.per_minute, grant.limits.per_day].map(|l| l.unwrap_or(u32::MAX))
            };
            prop_assert!(limit(&narrowed).iter().zip(limit(&own)).all(|(a, b)| *a <= b));
        }
    }

    fn any_grant() -> impl Strategy<Value = Grant> {
        let limit = || proptest::option::of(1..100_u32);
        (0..1_000_i64, 0..1_000_i64, limit(), limit(), limit()).prop_map(
            |(from, length, max_uses, per_minute, per_day)| Grant {
                version: 1,
                scope: Scope(vec![]),
                not_before: Timestamp::from_second(from).unwrap(),
                not_after: Timestamp::from_second(from + length).unwrap(),
                limits: Limits { max_uses, per_minute, per_day },
                delegate: true,
                create_keys: false,
                audit: false,
                environment: None,
            },
        )
    }
}
