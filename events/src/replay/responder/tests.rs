use super::*;
use crate::replay::Engine;
use aegis_core::recommendation::ResponseAction;
use aegis_core::rules::Because;
use serde_json::{Value, json};
use std::path::PathBuf;

const BEGAN: f64 = 1_767_225_600.0;
const DAY: f64 = 86_400.0;
/// A rule for each case that there is, so that what is ordered shows which one it was.
const RULES: &str = r#"
[budget]
per_hour = 1
[[rule]]
name = "refused"
detectors = ["scope_violation", "scope_probe"]
actions = ["revoke_agent"]
[[rule]]
name = "service"
purposes = ["service"]
severity = "high"
actions = [{ deny = { minutes = 5 } }]
cooldown_minutes = 60
[[rule]]
name = "told"
actions = ["alert"]
"#;

struct Past {
    engine: Engine,
    responder: Responder,
    raised: Vec<Raised>,
}

impl Past {
    fn new(rules: &str) -> Self {
        let responder = Responder::new(RuleSet::parse(rules).unwrap());
        Self { engine: Engine::default(), responder, raised: Vec::new() }
    }

    fn event(&mut self, ts: f64, actor: &str, more: &Value) -> Verdict {
        let mut event = json!({
            "ts": ts, "actor": actor, "kind": "agent", "parent": "alice@org", "source_ip": "10.0.0.7",
            "op": "sign", "resource": "invoices", "user_agent": "sdk/1.0",
        });
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let event = Event::parse(event.to_string().as_bytes()).unwrap();
        let verdict = self.engine.observe(&event);
        self.raised.extend(self.responder.take(&event, None, &verdict));
        verdict
    }

    /// Fourteen days of a use every half an hour.
    fn usual(&mut self, actor: &str, more: &Value) {
        for n in 0..672 {
            self.event(BEGAN + f64::from(n) * 1_800.0, actor, more);
        }
        assert_eq!(self.raised.len(), 0, "{:?}", self.raised);
    }

    fn told(&self) -> Vec<(Detector, Option<&str>, Vec<ResponseAction>)> {
        let of = |raised: &Raised| raised.admission.carried_out.iter().map(|action| action.kind()).collect();
        let rule = |raised: &'_ Raised| raised.recommendation.detector;
        self.raised.iter().map(|one| (rule(one), one.rule.as_ref().map(RuleName::as_str), of(one))).collect()
    }
}

#[test]
fn what_is_raised_is_what_the_published_schema_says_whatever_the_names_are() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("schemas/agent-recommendation.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let schema = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    let own = "agt_01a2089d933561f40ee93650afb9a27f";
    let long = format!("arn:aws:sts::1:assumed-role/{}", "é".repeat(200));
    let kept = format!("arn:aws:sts::1:assumed-role-{}", "-".repeat(128 - 28));
    let cases = [
        ("invoice-signer", json!({}), "alice@org", None),
        (own, json!({}), "alice@org", Some(own)),
        ("etl/1", json!({ "kind": "service", "parent": null }), "unknown", None),
        ("a b", json!({ "parent": "Bob <bob@org>" }), "Bob--bob@org-", None),
        (&long, json!({ "kind": "human", "parent": null }), &kept, None),
    ];
    for (actor, more, sponsor, id) in cases {
        let mut past = Past::new(RULES);
        past.usual(actor, &more);
        for n in 0..3 {
            let mut refused = json!({ "resource": format!("treasury/{n}"), "outcome": "denied" });
            refused.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            past.event(BEGAN + 14.0 * DAY + f64::from(n), actor, &refused);
        }
        assert!(!past.raised.is_empty(), "{actor}");
        for raised in &past.raised {
            let text = serde_json::to_value(&raised.recommendation).unwrap();
            let errors: Vec<String> = schema.iter_errors(&text).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{errors:?}\n{text:#}");
            assert_eq!(text["sponsor"], sponsor);
            assert_eq!(text["agent"].is_null(), more["kind"] == "human", "{text}");
            assert_eq!(text["evidence"]["operation"], "key.sign");
            assert!(id.is_none_or(|id| text["agent"] == id), "{text}");
        }
    }
    assert!(!schema.is_valid(&json!({ "detector": "usage_spike" })), "so that it can fail");
}

#[test]
fn the_record_of_an_event_is_its_evidence() {
    let mut past = Past::new(RULES);
    past.usual("signer", &json!({}));
    let id = RecordId::derived(Timestamp::UNIX_EPOCH, "one");
    for (key, record) in [("a", None), ("b", Some(&id))] {
        let line = json!({ "ts": BEGAN + 14.0 * DAY, "actor": "signer", "kind": "agent", "parent": "alice@org", "op": "sign",
            "resource": key, "outcome": "denied" });
        let event = Event::parse(line.to_string().as_bytes()).unwrap();
        let verdict = past.engine.observe(&event);
        past.raised.extend(past.responder.take(&event, record, &verdict));
    }
    let last = &past.raised.last().unwrap().recommendation;
    assert_eq!(last.evidence.records, [id]);
}

#[test]
fn the_rules_order_by_detector_kind_and_severity_within_cooldown_and_budget() {
    let mut past = Past::new(RULES);
    past.usual("signer", &json!({}));
    for key in ["a", "b"] {
        past.event(BEGAN + 14.0 * DAY, "signer", &json!({ "resource": key, "outcome": "denied" }));
    }
    let refused = (Detector::ScopeViolation, Some("refused"), vec![ResponseAction::RevokeAgent]);
    assert!(past.told().contains(&refused), "{:?}", past.told());

    // A burst each of two services: the first is denied, of the second the budget keeps it.
    let service = json!({ "kind": "service", "parent": null });
    let mut past = Past::new(RULES);
    past.usual("one", &service);
    past.usual("two", &service);
    for actor in ["one", "two"] {
        for n in 0..200 {
            past.event(BEGAN + 15.0 * DAY + f64::from(n) / 100.0, actor, &service);
        }
    }
    let denied = |actor: &str| {
        let of = past.raised.iter().filter(|one| one.recommendation.agent == agent(actor));
        let actions = of.clone().flat_map(|one| &one.admission.carried_out);
        let mut held = of.flat_map(|one| &one.admission.suppressed);
        (actions.filter(|action| action.stops()).count(), held.any(|held| held.because == Because::Budget))
    };
    assert_eq!((denied("one"), denied("two")), ((1, false), (0, true)), "{:?}", past.told());

    // The same past under rules that only observe.
    let mut observed = Past::new(&format!("mode = \"observe\"\n{RULES}"));
    observed.usual("signer", &json!({}));
    for key in ["a", "b"] {
        observed.event(BEGAN + 14.0 * DAY, "signer", &json!({ "resource": key, "outcome": "denied" }));
    }
    assert!(observed.told().iter().all(|(.., actions)| actions.iter().all(|action| *action == ResponseAction::Alert)));
}

#[test]
fn agents_made_faster_than_ever_are_told_of_their_human_and_grade_nothing() {
    let mut past = Past::new(RULES);
    past.usual("signer", &json!({}));
    for n in 0..5 {
        let verdict = past.event(BEGAN + 14.0 * DAY + f64::from(n) * 600.0, &format!("new-{n}"), &json!({}));
        assert_eq!((verdict.grade, verdict.detectors), (Grade::None, Vec::new()), "{n}");
        let spawned = past.raised.iter().filter(|one| one.recommendation.detector == Detector::AgentSpawnRate);
        assert_eq!(spawned.clone().count(), usize::from(n >= 3), "after {}: {:?}", n + 1, past.told());
    }
    let found = &past.raised[0].recommendation;
    assert_eq!((&found.agent, found.sponsor.as_str()), (&None, "alice@org"));
    assert!(found.evidence.factors.iter().any(|factor| factor.observed >= 4.0), "{found:?}");
}

#[test]
fn what_an_event_says_of_its_key_and_credential_adds_to_the_risk_in_context_and_to_no_verdict() {
    let table = [
        (json!({}), 0.0),
        (json!({ "env": "dev" }), 0.0),
        (json!({ "env": "Staging" }), 0.01),
        (json!({ "env": "prod" }), 0.02),
        (json!({ "env": "moon" }), 0.0),
        (json!({ "cred_age": 3_600 }), 0.0),
        (json!({ "cred_age": 45_000 }), 0.05),
        (json!({ "cred_age": 9e9 }), 0.1),
        (json!({ "scope": 4 }), 0.0),
        (json!({ "scope": ["a", "b"] }), 0.0),
        (json!({ "scope": 34 }), 0.05),
        (json!({ "env": "production", "cred_age": 86_400, "scope": 64 }), 0.22),
    ];
    for (said, want) in table {
        let verdict = Past::new(RULES).event(BEGAN, "signer", &said);
        assert!((verdict.risk_in_context() - want).abs() < 1e-9, "{said}: {}", verdict.risk_in_context());
        assert_eq!((verdict.risk, verdict.reason.as_str()), (0.0, ""), "{said}");
        let sum: f64 = verdict.factors().map(|factor| factor.weight).sum();
        assert!((sum - want).abs() < 1e-9, "{said}");
        assert_eq!(verdict.grade, Grade::None);
    }
}
