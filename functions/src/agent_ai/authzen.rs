//! OpenID AuthZEN Authorization API 1.0: the agent that asks is the subject, a key the resource, an action of a grant the
//! action. What is answered is what `check_access` says, in the standard's shape; nothing is decided here.

use super::claims::claimed;
use super::evaluation::checked;
use super::obligation::Obligation;
use super::{Asking, Malformed, Patience};
use crate::forward::ask;
use crate::inbound::Inbound;
use crate::tools::{self, Asked, NotDone, Refusal, words};
use crate::{Host, Reply, caller};
use aegis_core::error::Error;
use aegis_core::id::RequestId;
use aegis_core::operations::access::{CheckedAccess, Foretold};
use aegis_core::reason::Reason;
use aegis_core::risk::Risk;
use aegis_core::scope::Action;
use bytes::Bytes;
use http::HeaderValue;
use rmcp::model::JsonObject;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// What the standard has a path for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Endpoint {
    Configuration,
    Evaluation,
    Evaluations,
}

/// Answers a request to one of them.
///
/// # Errors
/// Where no agent asks. Where the body is no evaluation, or the only one in it cannot be evaluated: that is on record.
pub(crate) async fn answer(
    host: &Host,
    endpoint: Endpoint,
    request: &http::Request<Bytes>,
    id: &RequestId,
    source: IpAddr,
) -> Result<Reply, NotDone> {
    if endpoint == Endpoint::Configuration {
        return Ok(Reply::json(&Configuration::of(&host.mcp.url))?);
    }
    let asking = Asking::proved(host, request, id, source)?;
    let read = match endpoint {
        Endpoint::Evaluations => asking.read(request.body()).and_then(Evaluations::in_order),
        _ => asking.read(request.body()).map(Evaluated::One),
    };
    match read {
        Ok(Evaluated::One(evaluation)) => Ok(Reply::json(&Decisions::One(asking.evaluated(&evaluation).await?))?),
        Ok(Evaluated::Each(evaluations, semantic)) => {
            let evaluations = asking.each_evaluated(&evaluations, semantic).await?;
            Ok(Reply::json(&Decisions::Each { evaluations })?)
        }
        Err(error) => asking.unread(&error, request.body()).await,
    }
}

/// The id that who asks gave her request, which the standard has the answer bear (§10.1.3). Aegis's own is in the record.
pub(crate) fn request_id(given: &HeaderValue) -> Option<&HeaderValue> {
    let fits = |text: &str| (1..=MAX_REQUEST_ID).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    given.to_str().is_ok_and(fits).then_some(given)
}

impl Asking<'_> {
    async fn evaluated(&self, evaluation: &Evaluation) -> Result<Decided, NotDone> {
        let claims = claimed(None, None, self.headers);
        let mut asked = Asked::default();
        let inbound = self.of(evaluation, &mut asked)?;
        let reply = ask(self.host, Inbound { claims: claims.as_ref(), ..inbound }).await?;
        Ok(Decided::told(&reply)?)
    }

    /// Each is a request of its own, and fails by itself.
    async fn each_evaluated(&self, evaluations: &[Evaluation], semantic: Semantic) -> Result<Vec<Decided>, NotDone> {
        let claims = claimed(None, None, self.headers);
        let mut decided: Vec<Decided> = Vec::new();
        let patience = Patience::of(self.host);
        for evaluation in evaluations {
            if patience.is_over() {
                decided.push(Decided::too_late());
                if semantic.ends_with(false) {
                    break;
                }
                continue;
            }
            let mut asked = Asked::default();
            let inbound = self.of(evaluation, &mut asked)?;
            let one = match ask(self.host, Inbound { claims: claims.as_ref(), ..inbound }).await {
                Ok(reply) => Decided::told(&reply)?,
                Err(NotDone::Refused(refusal)) => Decided::failed(&refusal),
                Err(turned_away) if decided.is_empty() => return Err(turned_away),
                Err(NotDone::TurnedAway(failed)) => {
                    self.host.count_refusal(&failed.error);
                    Decided::failed(&Refusal::of(&failed, self.id))
                }
            };
            let decision = one.decision;
            decided.push(one);
            if semantic.ends_with(decision) {
                break;
            }
        }
        Ok(decided)
    }

    /// The request that an evaluation stands for. What nothing can be asked about is on record as somebody who asked who she
    /// is.
    fn of<'b>(&'b self, evaluation: &Evaluation, asked: &'b mut Asked) -> Result<Inbound<'b>, Error> {
        match self.arguments(evaluation) {
            Ok(arguments) => {
                let tool = tools::named("check_access").ok_or(Error::NotFound { kind: "tool" })?;
                *asked = Asked::of(tool, Some(arguments));
                Ok(self.inbound(tool.route, None).asking(asked))
            }
            Err(malformed) => Ok(Inbound { malformed: Some(malformed), ..self.inbound(caller::whoami()?, None) }),
        }
    }

    /// As `check_access` takes them. Agents ask about themselves alone; a human is turned away before it comes to that.
    fn arguments(&self, evaluation: &Evaluation) -> Result<JsonObject, Malformed<'static>> {
        let Evaluation { subject, action, resource } = evaluation;
        let own = self.agent.as_ref().is_none_or(|agent| agent.as_str() == subject.id);
        if subject.r#type != SUBJECT || !own {
            return Err(Malformed {
                field: "subject",
                why: "it has the type `agent`, and the id of the agent that asks",
            });
        }
        if resource.r#type != RESOURCE {
            return Err(Malformed { field: "resource", why: "it has the type `key`, and the id or a name of a key" });
        }
        let known = Action::ALL.into_iter().find(|known| known.as_str() == action.name);
        let known = known.ok_or(Malformed { field: "action", why: "it has the name of an action that grants have" })?;
        let arguments = [("action", known.as_str()), ("key", &resource.id)];
        Ok(arguments.into_iter().map(|(name, value)| (name.to_string(), value.into())).collect())
    }
}

const SUBJECT: &str = "agent";
const RESOURCE: &str = "key";
/// Evaluations in one request.
const MOST: usize = 16;
/// Longest id of a request that is given back, in bytes.
const MAX_REQUEST_ID: usize = 128;

/// Who would do what with which key. Members that are not here are passed over, as the standard says; `context` and
/// `properties` among them: on what the caller says of herself and of the key, nothing is decided.
#[derive(Clone, Deserialize, JsonSchema)]
pub(crate) struct Evaluation {
    subject: Entity,
    action: Named,
    resource: Entity,
}

/// The agent that asks: `agent` and its id. Or a key: `key`, and its id or a name that leads to it.
#[derive(Clone, Deserialize, JsonSchema)]
struct Entity {
    r#type: String,
    id: String,
}

/// An action as grants name it, as `sign`.
#[derive(Clone, Deserialize, JsonSchema)]
struct Named {
    name: String,
}

/// Several evaluations. Outside of them stands what those lack that do not say it themselves; without them, the only one.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Evaluations {
    #[serde(flatten)]
    default: Partial,
    #[schemars(length(max = MOST))]
    evaluations: Option<Vec<Partial>>,
    options: Option<Options>,
}

#[derive(Clone, Deserialize, JsonSchema)]
struct Partial {
    subject: Option<Entity>,
    action: Option<Named>,
    resource: Option<Entity>,
}

#[derive(Deserialize, JsonSchema)]
struct Options {
    evaluations_semantic: Option<Semantic>,
}

/// After which decision the rest is not evaluated.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Semantic {
    DenyOnFirstDeny,
    #[default]
    ExecuteAll,
    PermitOnFirstPermit,
}

impl Semantic {
    fn ends_with(self, decision: bool) -> bool {
        match self {
            Self::DenyOnFirstDeny => !decision,
            Self::ExecuteAll => false,
            Self::PermitOnFirstPermit => decision,
        }
    }
}

/// What a body asks.
enum Evaluated {
    One(Evaluation),
    Each(Vec<Evaluation>, Semantic),
}

impl Evaluations {
    fn in_order(self) -> Result<Evaluated, Error> {
        let Self { default, evaluations, options } = self;
        let evaluations = evaluations.unwrap_or_default();
        if evaluations.is_empty() {
            return Ok(Evaluated::One(default.or(&Partial::NONE)?));
        }
        if evaluations.len() > MOST {
            return Err(Error::invalid("evaluations", format!("there are at most {MOST} of them")));
        }
        let each: Result<_, Error> = evaluations.into_iter().map(|evaluation| evaluation.or(&default)).collect();
        Ok(Evaluated::Each(each?, options.and_then(|options| options.evaluations_semantic).unwrap_or_default()))
    }
}

impl Partial {
    const NONE: Self = Self { subject: None, action: None, resource: None };

    /// What it does not say itself, `default` says.
    fn or(self, default: &Self) -> Result<Evaluation, Error> {
        let missing = |field| Error::invalid(field, "an evaluation needs one, its own or that of all");
        Ok(Evaluation {
            subject: self.subject.or_else(|| default.subject.clone()).ok_or_else(|| missing("subject"))?,
            action: self.action.or_else(|| default.action.clone()).ok_or_else(|| missing("action"))?,
            resource: self.resource.or_else(|| default.resource.clone()).ok_or_else(|| missing("resource"))?,
        })
    }
}

/// One decision, or one for each evaluation that was made.
#[derive(JsonSchema, Serialize)]
#[serde(untagged)]
pub(crate) enum Decisions {
    Each { evaluations: Vec<Decided> },
    One(Decided),
}

/// What would be decided now.
#[derive(JsonSchema, Serialize)]
pub(crate) struct Decided {
    /// Whether it would be done. What a human must approve first would not.
    decision: bool,
    context: DecisionContext,
}

/// Why, and what would change it.
#[derive(Default, JsonSchema, Serialize)]
struct DecisionContext {
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    /// The same in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<String>,
    /// Only of a key within the scope.
    #[serde(skip_serializing_if = "Option::is_none")]
    risk: Option<Risk>,
    /// What must be done before it would be allowed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    obligations: Vec<Obligation>,
    /// Why it was not evaluated.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Unevaluated>,
}

#[derive(JsonSchema, Serialize)]
struct Unevaluated {
    /// As HTTP would have it.
    status: u16,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
}

impl Decided {
    fn told(reply: &Reply) -> Result<Self, Error> {
        let told = checked(reply)?;
        let obligations = Obligation::foretold(told.decision);
        let CheckedAccess { decision, reason, because, risk, .. } = told;
        let context = DecisionContext { reason, because, risk, obligations, error: None };
        Ok(Self { decision: decision == Foretold::Allow, context })
    }

    /// Those before it took too long.
    fn too_late() -> Self {
        let error = Some(Unevaluated { status: 503, message: TOO_LATE.to_string(), reason: None });
        Self { decision: false, context: DecisionContext { error, ..DecisionContext::default() } }
    }

    fn failed(refusal: &Refusal) -> Self {
        let (status, message) = (refusal.status(), words::told(&refusal.why()));
        let error = Some(Unevaluated { status, message, reason: refusal.reason() });
        Self { decision: false, context: DecisionContext { error, ..DecisionContext::default() } }
    }
}

const TOO_LATE: &str = "not evaluated: those before it took too long";

/// Where evaluations are asked for.
#[derive(JsonSchema, Serialize)]
pub(crate) struct Configuration {
    policy_decision_point: String,
    access_evaluation_endpoint: String,
    access_evaluations_endpoint: String,
}

impl Configuration {
    fn of(url: &str) -> Self {
        Self {
            policy_decision_point: url.to_string(),
            access_evaluation_endpoint: format!("{url}/access/v1/evaluation"),
            access_evaluations_endpoint: format!("{url}/access/v1/evaluations"),
        }
    }
}
