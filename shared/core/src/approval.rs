//! Approvals: a request of an agent that needs a step-up, what humans answer, and the use that is made of their answer.
//! The rules are pure: time and identity arrive as arguments. How approvals lie in the store is in `ledger`.

mod code;
mod ledger;
mod payload;

pub use code::Code;
pub use ledger::{ALL_APPROVALS, Kept};
pub use ledger::{ApprovalRecord, Day, Ledger, approval_item, day_item, expire_due, ledger_item, of_sponsor};
pub(crate) use payload::length;
pub use payload::{Decoded, MAX_PAYLOAD, Payload, PayloadPart, seal, show};

use crate::ambient::{DateTime, Timestamp, after_seconds};
use crate::error::Error;
use crate::id::{AgentId, ApprovalId, KeyId, RecommendationId, RecordId};
use crate::key::Tier;
use crate::name::HumanId;
use crate::operation::Operation;
use crate::risk::Risk;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Wrong codes after which an approval is denied.
pub const MAX_WRONG_CODES: u8 = 5;
/// Most uses that one approval of a shape covers, and for how many seconds at most: an hour.
pub const MAX_USES: u32 = 20;
pub const MAX_SHAPE_SECONDS: u32 = 3_600;

/// One request that waits for humans, or what they answered.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Approval {
    pub id: ApprovalId,
    /// The agent that asks.
    pub agent: AgentId,
    /// The human behind it.
    pub sponsor: HumanId,
    pub operation: Operation,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    /// The key's, when it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    /// As in the audit records of the request: keyed, of operation, key and body.
    pub request_digest: String,
    pub cause: Cause,
    /// The recommendation whose hold asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recommendation: Option<RecommendationId>,
    pub risk: Risk,
    pub state: ApprovalState,
    #[schemars(with = "DateTime")]
    pub created_at: Timestamp,
    /// Until when it can be answered; once approved, until when it can be used.
    #[schemars(with = "DateTime")]
    pub expires_at: Timestamp,
    /// How many humans must approve. Of tier-high keys one of them must be another than the sponsor.
    pub needs: u8,
    pub answers: Vec<Answer>,
    /// Codes that were not the agent's; with the fifth it is denied.
    #[serde(default)]
    pub wrong_codes: u8,
    /// Whether it covers any request of this operation on this key, not the one alone.
    #[serde(default)]
    pub any_body: bool,
    /// How many uses it covers.
    pub uses: u32,
    /// The uses that were made of it.
    #[serde(default)]
    pub used: Vec<Use>,
}

/// Why a human is asked.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// A response holds the agent: for some time a human approves each use.
    Hold,
    /// The risk of the request.
    Risk,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ApprovalState {
    Approved,
    Denied,
    Expired,
    Pending,
    Used,
}

impl ApprovalState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Pending => "pending",
            Self::Used => "used",
        }
    }
}

/// What one human answered.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Answer {
    pub human: HumanId,
    #[schemars(with = "DateTime")]
    pub at: Timestamp,
    pub approves: bool,
    pub record: RecordId,
    /// Her own, of then: it grows with each revocation of her, and what she said before one counts no more. Absent in answers of
    /// before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u32>,
}

/// A request that was carried out with it.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Use {
    #[schemars(with = "DateTime")]
    pub at: Timestamp,
    pub record: RecordId,
}

/// What an answer may lead to.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// For how long an approved request may be made.
    pub use_seconds: i64,
    /// Uses and seconds, where it shall cover every request of this operation on this key.
    pub shape: Option<(u32, u32)>,
}

/// What the agent is told of the approval that it needs.
#[derive(Debug)]
pub struct Asked {
    pub approval: ApprovalId,
    /// Where its human answers it in a browser.
    pub page: Option<String>,
    pub code: Code,
    pub expires_at: Timestamp,
    pub risk: Risk,
}

impl Approval {
    /// The state as of now: what nobody answered or used in time is expired, whether or not that is written down.
    pub fn state_at(&self, now: Timestamp) -> ApprovalState {
        match self.state {
            ApprovalState::Pending | ApprovalState::Approved if self.expires_at <= now => ApprovalState::Expired,
            state => state,
        }
    }

    /// As it is shown.
    pub fn as_of(mut self, now: Timestamp) -> Self {
        self.state = self.state_at(now);
        self
    }

    /// Whether it decides on a request of this moment.
    pub fn counts_at(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }

    /// Adds a human's leave; with the last that is needed the agent may go on.
    ///
    /// # Errors
    /// [`Error::State`] unless it is pending, and for a second answer of one human; [`Error::Invalid`] for a shape of what
    /// must be looked at one by one.
    pub fn approve(&mut self, answer: Answer, terms: Terms) -> Result<(), Error> {
        self.expect(&[ApprovalState::Pending], answer.at)?;
        if self.answers.iter().any(|earlier| earlier.human == answer.human) {
            return Err(Error::State { kind: "approval", state: "waiting for another human" });
        }
        if terms.shape.is_some() && (self.tier == Some(Tier::High) || self.operation.action().is_none()) {
            return Err(Error::invalid(
                "uses",
                "uses of tier-high keys, and what uses no key, are approved one by one",
            ));
        }
        let now = answer.at;
        self.answers.push(answer);
        let enough = self.answers.len() >= usize::from(self.needs);
        let not_alone = self.tier != Some(Tier::High) || self.answers.iter().any(|answer| answer.human != self.sponsor);
        if enough && not_alone {
            self.state = ApprovalState::Approved;
            self.expires_at = match terms.shape {
                None => after_seconds(now, terms.use_seconds),
                Some((uses, seconds)) => {
                    (self.any_body, self.uses) = (true, uses);
                    after_seconds(now, i64::from(seconds))
                }
            };
        }
        Ok(())
    }

    /// One human's denial is enough, also of what was approved and is not used up.
    ///
    /// # Errors
    /// [`Error::State`] for what is over.
    pub fn deny(&mut self, answer: Answer) -> Result<(), Error> {
        self.expect(&[ApprovalState::Pending, ApprovalState::Approved], answer.at)?;
        self.answers.push(answer);
        self.state = ApprovalState::Denied;
        Ok(())
    }

    /// Counts a code that was not the agent's. Whoever guesses gets no further than this.
    ///
    /// # Errors
    /// [`Error::State`] unless it is pending.
    pub fn count_wrong_code(&mut self, now: Timestamp) -> Result<(), Error> {
        self.expect(&[ApprovalState::Pending], now)?;
        self.wrong_codes = self.wrong_codes.saturating_add(1);
        if self.wrong_codes >= MAX_WRONG_CODES {
            self.state = ApprovalState::Denied;
        }
        Ok(())
    }

    /// Takes one use.
    ///
    /// # Errors
    /// [`Error::State`] unless it is approved, with uses left.
    pub fn take(&mut self, taken: Use) -> Result<(), Error> {
        self.expect(&[ApprovalState::Approved], taken.at)?;
        self.used.push(taken);
        if self.used.len() >= usize::try_from(self.uses).unwrap_or(usize::MAX) {
            self.state = ApprovalState::Used;
        }
        Ok(())
    }

    fn expect(&self, states: &[ApprovalState], now: Timestamp) -> Result<(), Error> {
        let state = self.state_at(now);
        match states.contains(&state) {
            true => Ok(()),
            false => Err(Error::State { kind: "approval", state: state.as_str() }),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::ambient::Entropy;

    const EXACT: Terms = Terms { use_seconds: 600, shape: None };

    pub(crate) fn an_approval(tier: Tier, needs: u8) -> Approval {
        let created_at = at(0);
        Approval {
            id: ApprovalId::new(created_at, &Entropy::system()),
            agent: AgentId::new(created_at, &Entropy::system()),
            sponsor: "alice@org".parse().unwrap(),
            operation: Operation::KeySign,
            key: Some(KeyId::none()),
            tier: Some(tier),
            request_digest: String::new(),
            cause: Cause::Risk,
            recommendation: None,
            risk: Risk::default(),
            state: ApprovalState::Pending,
            created_at,
            expires_at: at(900),
            needs,
            answers: Vec::new(),
            wrong_codes: 0,
            any_body: false,
            uses: 1,
            used: Vec::new(),
        }
    }

    pub(crate) fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).unwrap()
    }

    fn answer(human: &str, second: i64) -> Answer {
        let record = RecordId::floor(at(second));
        Answer { human: human.parse().unwrap(), at: at(second), approves: true, record, epoch: None }
    }

    fn a_use(second: i64) -> Use {
        Use { at: at(second), record: RecordId::floor(at(second)) }
    }

    #[test]
    fn who_must_approve_before_an_agent_may_go_on() {
        let table: [(Tier, u8, &[&str], bool); 7] = [
            (Tier::Standard, 1, &["alice@org"], true),
            (Tier::Standard, 1, &["bob@org"], true),
            (Tier::High, 2, &["alice@org"], false),
            (Tier::High, 2, &["bob@org"], false),
            (Tier::High, 2, &["alice@org", "bob@org"], true),
            (Tier::High, 2, &["bob@org", "carol@org"], true),
            // Never the sponsor alone, whatever is set.
            (Tier::High, 1, &["alice@org"], false),
        ];
        for (tier, needs, humans, want) in table {
            let mut approval = an_approval(tier, needs);
            for human in humans {
                approval.approve(answer(human, 1), EXACT).unwrap();
            }
            assert_eq!(approval.state == ApprovalState::Approved, want, "{tier:?} {needs} {humans:?}");
        }
        let mut approval = an_approval(Tier::High, 2);
        approval.approve(answer("bob@org", 1), EXACT).unwrap();
        approval.approve(answer("bob@org", 2), EXACT).unwrap_err();
    }

    #[test]
    fn what_is_over_is_neither_answered_nor_used() {
        let approved = || {
            let mut approval = an_approval(Tier::Standard, 1);
            approval.approve(answer("alice@org", 899), EXACT).unwrap();
            approval
        };
        let mut late = an_approval(Tier::Standard, 1);
        assert_eq!(late.state_at(at(899)), ApprovalState::Pending);
        assert_eq!(late.state_at(at(900)), ApprovalState::Expired);
        late.approve(answer("alice@org", 900), EXACT).unwrap_err();
        late.deny(answer("alice@org", 900)).unwrap_err();
        late.count_wrong_code(at(900)).unwrap_err();
        late.take(a_use(1)).unwrap_err();
        let mut used = approved();
        used.take(a_use(1_498)).unwrap();
        assert_eq!(used.state, ApprovalState::Used);
        used.take(a_use(1_498)).unwrap_err();
        used.deny(answer("alice@org", 1_498)).unwrap_err();
        approved().take(a_use(1_499)).unwrap_err();
        let mut withdrawn = approved();
        withdrawn.deny(answer("alice@org", 1_000)).unwrap();
        withdrawn.take(a_use(1_000)).unwrap_err();
        withdrawn.approve(answer("bob@org", 1_000), EXACT).unwrap_err();
    }

    #[test]
    fn the_fifth_wrong_code_denies() {
        let mut approval = an_approval(Tier::Standard, 1);
        for _ in 1..MAX_WRONG_CODES {
            approval.count_wrong_code(at(1)).unwrap();
            assert_eq!(approval.state, ApprovalState::Pending);
        }
        approval.count_wrong_code(at(1)).unwrap();
        assert_eq!(approval.state, ApprovalState::Denied);
        approval.approve(answer("alice@org", 1), EXACT).unwrap_err();
    }

    #[test]
    fn a_shape_covers_its_uses_in_its_time_and_never_a_tier_high_key() {
        let shape = Terms { shape: Some((2, 3_600)), ..EXACT };
        let mut approval = an_approval(Tier::Standard, 1);
        approval.approve(answer("alice@org", 0), shape).unwrap();
        approval.take(a_use(3_599)).unwrap();
        assert_eq!(
            (approval.state_at(at(3_599)), approval.state_at(at(3_600))),
            (ApprovalState::Approved, ApprovalState::Expired)
        );
        approval.take(a_use(3_599)).unwrap();
        assert_eq!(approval.state, ApprovalState::Used);
        an_approval(Tier::High, 2).approve(answer("bob@org", 0), shape).unwrap_err();
        let mut of_no_key = Approval { operation: Operation::AgentIssue, ..an_approval(Tier::Standard, 1) };
        of_no_key.approve(answer("alice@org", 0), shape).unwrap_err();
    }
}
