//! An agent's request for a wider grant, and what became of it. It grants nothing: whoever follows it changes the grant, as
//! she could without it. The rules are pure: time and identity arrive as arguments.

use crate::agent::Limits;
use crate::ambient::{DateTime, Timestamp, after_seconds};
use crate::approval::Answer;
use crate::encoding::{escaped, optional_object};
use crate::error::Error;
use crate::id::{AccessRequestId, AgentId};
use crate::name::HumanId;
use crate::repository::Document;
use crate::scope::{Scope, ScopeText};
use crate::store::{Index, IndexEntry, ItemKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Seconds for which it waits, and for which it is not asked again once it is denied: a week, in which a human comes back.
const WAITS: i64 = 7 * 86_400;
/// Seconds for which it is kept after that: a week. The audit trail keeps what happened.
const REMEMBERED: i64 = 7 * 86_400;
/// Longest scope that is asked for, in bytes.
const MAX_SCOPE: usize = 4_096;
/// Longest text to the human, in characters.
const MAX_TEXT: usize = 500;
/// Most requests of one agent that are remembered at once: what is asked anew is held against these.
const MOST_REMEMBERED: usize = 50;

/// What an agent asks for, of its grant.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AskAccess {
    /// Keys and actions to be added, in the scope grammar: `key:invoice-2026:sign,verify`, several parted by spaces. Whether
    /// there are such keys is not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<ScopeText>")]
    pub scope: Option<String>,
    /// When the grant shall end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    pub not_after: Option<Timestamp>,
    /// Limits, as they shall be; those that are not named stay. None can be taken away.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional_object")]
    pub limits: Option<Limits>,
    /// For what, in words for the human. They are shown to her as the agent's own.
    pub reason: Words,
}

/// What an agent says to its human: 1 to 500 characters, with all that would not show, or would reorder what stands beside
/// it, written out.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Words(String);

impl TryFrom<String> for Words {
    type Error = InvalidWords;

    fn try_from(text: String) -> Result<Self, InvalidWords> {
        let text = escaped(&text);
        let fits = !text.trim().is_empty() && text.chars().nth(MAX_TEXT).is_none();
        if fits { Ok(Self(text)) } else { Err(InvalidWords) }
    }
}

impl From<Words> for String {
    fn from(words: Words) -> Self {
        words.0
    }
}

impl JsonSchema for Words {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Words".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "minLength": 1, "maxLength": MAX_TEXT })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("it has 1 to {MAX_TEXT} characters, each that does not show written out as in \\u{{a}}")]
pub struct InvalidWords;

impl AskAccess {
    /// Checks what the types cannot hold.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what no grant can hold, and where nothing is asked for.
    pub fn check(&self) -> Result<(), Error> {
        if let Some(scope) = &self.scope {
            if scope.len() > MAX_SCOPE {
                return Err(Error::invalid("scope", format!("what is asked for has at most {MAX_SCOPE} bytes")));
            }
            scope.parse::<Scope<crate::name::KeyRef>>().map_err(|error| Error::invalid("scope", error))?;
        }
        if self.limits.is_some_and(|limits| !limits.are_positive()) {
            return Err(Error::invalid("limits", "a limit is at least 1"));
        }
        if self.limits == Some(Limits::default()) {
            return Err(Error::invalid("limits", "it names the limits that are to change"));
        }
        match (&self.scope, self.not_after, self.limits) {
            (None, None, None) => Err(Error::invalid("asked", "it is a scope, not_after or limits")),
            _ => Ok(()),
        }
    }

    /// Whether the same is asked for, in whatever words.
    fn asks_the_same(&self, other: &Self) -> bool {
        let scope = |asked: &Self| asked.scope.as_ref()?.parse::<Scope<crate::name::KeyRef>>().ok();
        let same_rights = match (scope(self), scope(other)) {
            (Some(own), Some(others)) => own.rights() == others.rights(),
            _ => self.scope == other.scope,
        };
        same_rights && (self.not_after, self.limits) == (other.not_after, other.limits)
    }
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct AccessRequest {
    pub id: AccessRequestId,
    /// The agent that asks.
    pub agent: AgentId,
    /// The human behind it.
    pub sponsor: HumanId,
    pub asked: AskAccess,
    pub state: AccessRequestState,
    #[schemars(with = "DateTime")]
    pub created_at: Timestamp,
    /// Until when it can be followed or denied, and is not asked again.
    #[schemars(with = "DateTime")]
    pub expires_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccessRequestState {
    Denied,
    Expired,
    /// A human changed the agent's grant on it, to what was asked or to what she thought right.
    Granted,
    Pending,
}

impl AccessRequestState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Granted => "granted",
            Self::Pending => "pending",
        }
    }
}

impl AccessRequest {
    pub fn new(id: AccessRequestId, agent: AgentId, sponsor: HumanId, asked: AskAccess, now: Timestamp) -> Self {
        let (state, expires_at) = (AccessRequestState::Pending, after_seconds(now, WAITS));
        Self { id, agent, sponsor, asked, state, created_at: now, expires_at, answer: None }
    }

    /// The state as of now: what nobody answered in time is expired.
    pub fn state_at(&self, now: Timestamp) -> AccessRequestState {
        match self.state {
            AccessRequestState::Pending if self.expires_at <= now => AccessRequestState::Expired,
            state => state,
        }
    }

    /// As it is shown.
    pub fn as_of(self, now: Timestamp) -> Self {
        Self { state: self.state_at(now), ..self }
    }

    /// Whether it stands for what is asked now: it waits, or was denied so lately that it is not asked again.
    pub fn answers(&self, asked: &AskAccess, now: Timestamp) -> bool {
        let stands = matches!(self.state, AccessRequestState::Denied | AccessRequestState::Pending);
        stands && now < self.expires_at && self.asked.asks_the_same(asked)
    }

    /// Ends it, with what a human did about it.
    ///
    /// # Errors
    /// [`Error::State`] unless it is pending.
    pub fn end(&mut self, answer: Answer) -> Result<(), Error> {
        match self.state_at(answer.at) {
            AccessRequestState::Pending => {
                let granted = answer.approves;
                self.state = if granted { AccessRequestState::Granted } else { AccessRequestState::Denied };
                self.answer = Some(answer);
                Ok(())
            }
            state => Err(Error::State { kind: "access request", state: state.as_str() }),
        }
    }
}

pub const ALL_ACCESS_REQUESTS: &str = "access-requests";

/// The requests of a human's agents, on [`Index::Second`].
pub fn of_sponsor(sponsor: &HumanId) -> String {
    format!("access-requests-of/{sponsor}")
}

pub fn access_request_item(id: &AccessRequestId) -> ItemKey {
    ItemKey::state(format!("access-request/{id}"), "access-request")
}

impl Document for AccessRequest {
    fn item_key(&self) -> ItemKey {
        access_request_item(&self.id)
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        let entry = |index, partition: String| IndexEntry { index, partition, sort: self.id.to_string() };
        vec![entry(Index::First, ALL_ACCESS_REQUESTS.to_string()), entry(Index::Second, of_sponsor(&self.sponsor))]
    }

    fn expires_at(&self) -> Option<Timestamp> {
        Some(after_seconds(self.expires_at, REMEMBERED))
    }
}

/// What one agent asked for lately, the newest last. Written with each request, so that of any number at once no more are
/// opened than may be.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Asked {
    pub agent: AgentId,
    pub requests: Vec<AccessRequestId>,
}

pub fn asked_item(agent: &AgentId) -> ItemKey {
    ItemKey::state(format!("agent/{agent}"), "access-requests")
}

impl Document for Asked {
    fn item_key(&self) -> ItemKey {
        asked_item(&self.agent)
    }
}

impl Asked {
    pub fn with(mut self, id: AccessRequestId) -> Self {
        self.requests.push(id);
        let surplus = self.requests.len().saturating_sub(MOST_REMEMBERED);
        self.requests.drain(..surplus);
        self
    }
}

/// How many requests the agents of one human opened in one day of the calendar (UTC).
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct AskedDay {
    pub human: HumanId,
    /// Since 1970.
    pub day: i64,
    pub opened: u32,
}

pub fn asked_day_item(human: &HumanId) -> ItemKey {
    ItemKey::state(format!("human/{human}"), "access-requests")
}

impl Document for AskedDay {
    fn item_key(&self) -> ItemKey {
        asked_day_item(&self.human)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ambient::Entropy;
    use crate::approval::tests::at;
    use crate::id::RecordId;

    fn asked(scope: Option<&str>, reason: &str) -> AskAccess {
        let reason = reason.to_string().try_into().unwrap();
        AskAccess { scope: scope.map(Into::into), not_after: None, limits: None, reason }
    }

    fn a_request() -> AccessRequest {
        let (now, entropy) = (at(0), Entropy::system());
        let (id, agent) = (AccessRequestId::new(now, &entropy), AgentId::new(now, &entropy));
        AccessRequest::new(id, agent, "alice@org".parse().unwrap(), asked(Some("key:one-key:sign"), "x"), now)
    }

    fn answer(approves: bool, second: i64) -> Answer {
        Answer {
            human: "alice@org".parse().unwrap(),
            at: at(second),
            approves,
            record: RecordId::floor(at(second)),
            epoch: None,
        }
    }

    #[test]
    fn what_is_over_is_not_answered_again() {
        for (approves, state) in [(true, AccessRequestState::Granted), (false, AccessRequestState::Denied)] {
            let mut request = a_request();
            request.end(answer(approves, WAITS - 1)).unwrap();
            assert_eq!(request.state_at(at(2 * WAITS)), state);
            request.end(answer(!approves, WAITS - 1)).unwrap_err();
        }
        let mut late = a_request();
        late.end(answer(true, WAITS)).unwrap_err();
        assert_eq!(late.as_of(at(WAITS)).state, AccessRequestState::Expired);
    }

    #[test]
    fn the_same_is_asked_once_while_it_waits_and_after_a_denial() {
        let same = asked(Some("key:one-key:sign"), "in other words");
        assert!(a_request().answers(&same, at(WAITS - 1)));
        assert!(!a_request().answers(&same, at(WAITS)));
        assert!(!a_request().answers(&asked(Some("key:one-key:verify"), "x"), at(1)));
        for (approves, stands) in [(true, false), (false, true)] {
            let mut request = a_request();
            request.end(answer(approves, 1)).unwrap();
            assert_eq!(request.answers(&same, at(2)), stands);
        }
    }

    #[test]
    fn what_no_grant_can_hold_is_not_asked_for() {
        let limits =
            |max_uses| AskAccess { limits: Some(Limits { max_uses, ..Limits::default() }), ..asked(None, "x") };
        let entries = vec!["key:a-key:sign"; 33].join(" ");
        let table = [
            (asked(Some("key:one-key:sign team"), "x"), false),
            (asked(Some("key:team=a:sign"), "x"), true),
            (asked(Some(""), "x"), false),
            (asked(Some(&entries), "x"), false),
            (asked(Some(&format!("key:{}:sign", vec!["a".repeat(64); 63].join(","))), "x"), false),
            (asked(None, "x"), false),
            (limits(Some(0)), false),
            (limits(Some(1)), true),
        ];
        for (asked, ok) in table {
            assert_eq!(asked.check().is_ok(), ok, "{asked:?}");
        }
    }

    #[test]
    fn the_words_of_an_agent_hide_nothing_and_are_few() {
        let words = |text: &str| Words::try_from(text.to_string()).ok().map(String::from);
        let table = [
            ("for the März invoices", Some("for the März invoices")),
            ("a\n\u{1b}[2Kb\u{202e}c", Some("a\\u{a}\\u{1b}[2Kb\\u{202e}c")),
            (" ", None),
            ("", None),
        ];
        for (text, want) in table {
            assert_eq!(words(text).as_deref(), want, "{text:?}");
            // As it lies in the store it is read again.
            assert_eq!(want.and_then(words).as_deref(), want);
        }
        assert!(words(&"x".repeat(MAX_TEXT)).is_some());
        assert!(words(&"x".repeat(MAX_TEXT + 1)).is_none());
        assert!(words(&"\n".repeat(MAX_TEXT)).is_none());
    }
}
