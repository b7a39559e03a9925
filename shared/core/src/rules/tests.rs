use super::*;
use crate::ambient::{Timestamp, after_seconds};
use crate::key::Tier;
use proptest::prelude::*;

use Detector::{CanaryKey, KeyUsageSpike, NewSource, OffHours, ScopeProbe, ScopeViolation, UsageSpike};
use RuleAction::{Alert, Deny, FreezeAgent, RevokeAgent, RevokeCredential, RotateKey, StepUp};
use Severity::{Critical, High, Low, Medium};
use Subject::{Appliance, Human, Interactive, Service};

const DAY: i64 = 1_790_000_000;

/// Nobody is stopped for what several did with a key, whatever the rules say; what is about somebody does not fit it.
#[test]
fn what_is_about_a_key_stops_nobody() {
    let trigger = Trigger { detector: KeyUsageSpike, severity: Medium, subject: Human, tier: Some(Tier::Standard) };
    let table = [
        ("actions = [\"revoke_fleet\", \"revoke_credential\", \"freeze_agent\"]", Some(vec![Alert])),
        ("actions = [\"revoke_fleet\", \"rotate_key\"]", Some(vec![Alert])),
        ("actions = [\"revoke_fleet\", \"rotate_key\"]\ndetectors = [\"key_usage_spike\"]", Some(vec![RotateKey])),
        ("actions = [\"alert\"]\npurposes = [\"human\"]", None),
        ("actions = [\"alert\"]\npurposes = [\"service\"]", None),
    ];
    for (text, want) in table {
        let set = rules(&format!("[[rule]]\nname = \"spike\"\n{text}"));
        assert_eq!(set.plan(&trigger).map(|plan| plan.actions), want, "{text}");
    }
}

#[test]
fn the_built_in_rules_are_valid_and_say_what_the_defaults_are() {
    let rules = RuleSet::parse(BUILT_IN).unwrap();
    assert_eq!(
        (rules.mode, rules.budget, rules.thresholds.clone()),
        (Mode::default(), Budget::default(), Thresholds::default())
    );
    assert!(Trigger::all().all(|trigger| rules.plan(&trigger).is_some()), "somebody hears of everything");
}

#[test]
fn what_the_built_in_rules_order() {
    let step_up = StepUp { minutes: 60 };
    let table = [
        (CanaryKey, Critical, Interactive, Some(Tier::Standard), "canary", vec![RevokeAgent, Alert], true),
        (CanaryKey, Critical, Service, Some(Tier::High), "canary", vec![RevokeAgent, Alert], true),
        (ScopeViolation, High, Interactive, Some(Tier::Standard), "scope-interactive", vec![RevokeAgent, Alert], true),
        (ScopeProbe, Medium, Interactive, None, "scope-interactive", vec![RevokeAgent, Alert], true),
        (ScopeViolation, High, Service, Some(Tier::Standard), "scope-unattended", vec![FreezeAgent, Alert], true),
        (ScopeViolation, High, Service, Some(Tier::High), "scope-high", vec![RevokeAgent, Alert], true),
        (ScopeProbe, Medium, Appliance, None, "scope-unattended", vec![FreezeAgent, Alert], true),
        (UsageSpike, Low, Service, None, "tell", vec![Alert], false),
        (UsageSpike, Medium, Service, None, "tell", vec![Alert], false),
        (UsageSpike, High, Service, None, "unlikely-high", vec![step_up, Alert], false),
        (UsageSpike, Critical, Service, None, "unlikely-critical", vec![FreezeAgent, step_up, Alert], false),
        (OffHours, High, Human, None, "tell", vec![Alert], false),
        (OffHours, Critical, Human, None, "human-critical", vec![RevokeCredential, Alert], false),
        (CanaryKey, Low, Human, None, "tell", vec![Alert], false),
    ];
    for (detector, severity, subject, tier, rule, actions, inline) in table {
        let trigger = Trigger { detector, severity, subject, tier };
        let plan = RuleSet::default().plan(&trigger).unwrap();
        assert_eq!((plan.rule.as_str(), plan.actions, plan.inline), (rule, actions, inline), "{trigger:?}");
        assert_eq!(plan.per_hour.is_none(), detector.states_a_fact());
    }
}

#[test]
fn what_cannot_be_done_is_left_out_and_somebody_hears_of_it() {
    let rules = rules("[[rule]]\nname = \"all\"\nactions = [\"freeze_agent\", \"rotate_key\"]");
    let table = [
        (Service, Some(Tier::High), vec![FreezeAgent, RotateKey]),
        (Service, None, vec![FreezeAgent]),
        (Human, Some(Tier::High), vec![RotateKey]),
        (Human, None, vec![Alert]),
    ];
    for (subject, tier, actions) in table {
        let plan = rules.plan(&Trigger { subject, tier, ..spike(Low) }).unwrap();
        assert_eq!(plan.actions, actions, "{subject:?} {tier:?}");
    }
}

#[test]
fn rules_that_cannot_be_are_refused_with_where_and_why() {
    let rule = |rest: &str| format!("[[rule]]\nname = \"spike\"\n{rest}");
    let table = [
        ("colour = 1".to_string(), "line 1"),
        ("mode = \"off\"".to_string(), "line 1: unknown variant `off`"),
        ("[budget]\nper_hour = 101".to_string(), "per_hour is at most 100"),
        ("[budget]\nper_day = 1".to_string(), "per_day"),
        ("[thresholds.high]\nstep_up = 0.9\ndeny = 0.5".to_string(), "thresholds.high"),
        (rule("actions = []"), "rule `spike`: `actions` is empty"),
        (rule("actions = [\"alert\"]\nseverety = \"high\""), "line 4"),
        (rule("actions = [\"reboot\"]"), "line 3"),
        (rule("actions = [\"alert\", \"alert\"]"), "alert twice"),
        (rule("actions = [{ deny = { minutes = 0 } }]"), "`deny`: minutes lie between 1 and 10080"),
        (rule("actions = [{ deny = { minutes = 5, hours = 1 } }]"), "hours"),
        (rule("actions = [\"deny\"]"), "line 3"),
        (rule("actions = [\"freeze_agent\"]\npurposes = [\"human\"]"), "about humans alone"),
        (rule("actions = [\"alert\"]\ncooldown_minutes = 10081"), "`cooldown_minutes`"),
        (rule("actions = [\"freeze_agent\"]\ninline = true"), "`inline` is for scope_violation"),
        (
            rule("actions = [\"freeze_agent\"]\ninline = true\ndetectors = [\"canary_key\", \"off_hours\"]"),
            "`inline` is for",
        ),
        (rule("actions = [\"rotate_key\"]\ninline = true\ndetectors = [\"canary_key\"]"), "none of its actions can be"),
        (rule("actions = [\"alert\"]\ndetectors = [\"scope_violation\"]"), "the response would tell which keys exist"),
        (
            rule("actions = [\"alert\"]\ndetectors = [\"scope_violation\", \"scope_probe\"]\nseverity = \"high\""),
            "for appliance agents",
        ),
        ("[[rule]]\nname = \"Spike\"\nactions = [\"alert\"]".to_string(), "begins with a letter"),
        (
            rule("actions = [\"alert\"]") + "\n" + &rule("actions = [\"alert\"]\nseverity = \"high\""),
            "line 4: rule `spike`: another rule has this name",
        ),
        (
            rule("actions = [\"alert\"]") + "\n[[rule]]\nname = \"late\"\nactions = [\"alert\"]",
            "line 4: rule `late`: it never applies",
        ),
        ("#".repeat(MAX_DOCUMENT + 1), "longer than 32 KiB"),
        ("0".repeat(MAX_DOCUMENT), "line 1: "),
    ];
    for (text, want) in table {
        let error = RuleSet::parse(&text).unwrap_err();
        let Error::Invalid { source, .. } = error else { panic!("{text}") };
        assert!(source.to_string().contains(want), "{text}\n{source}");
        assert!(source.to_string().len() < 500, "{source}");
    }
}

#[test]
fn a_rule_that_is_wrong_is_named_with_its_line() {
    let text = format!("{BUILT_IN}\n[[rule]]\nname = \"late\"\nactions = [{{ step_up = {{ minutes = 99999 }} }}]\n");
    let line = BUILT_IN.lines().count() + 2;
    let Error::Invalid { source, .. } = RuleSet::parse(&text).unwrap_err() else { panic!() };
    let said = source.to_string();
    assert!(said.starts_with(&format!("line {line}: rule `late`: `step_up`")), "{said}");
}

#[test]
fn a_rule_acts_on_a_subject_once_in_its_cooldown() {
    let rules = rules("[[rule]]\nname = \"all\"\nactions = [\"alert\"]\ncooldown_minutes = 10");
    let (mut ledger, plan) = (ResponseLedger::default(), rules.plan(&spike(High)).unwrap());
    let table = [(0, "a", true), (599, "a", false), (599, "b", true), (600, "a", true), (601, "a", false)];
    for (second, subject, acts) in table {
        let admission = ledger.admit(&plan, subject, at(second));
        assert_eq!(admission.carried_out == [Alert], acts, "{second} {subject}");
        assert!(acts || admission.suppressed == [Suppressed { action: Alert, because: Because::Cooldown }]);
    }
}

#[test]
fn where_the_budget_is_spent_a_stop_becomes_an_alert() {
    let mut rules = rules(
        "[[rule]]\nname = \"all\"\nactions = [\"freeze_agent\", { step_up = { minutes = 5 } }]\ncooldown_minutes = 9",
    );
    rules.budget.per_hour = 2;
    let (mut ledger, plan) = (ResponseLedger::default(), rules.plan(&spike(High)).unwrap());
    let step_up = StepUp { minutes: 5 };
    let mut admit = |second: i64, subject: &str| ledger.admit(&plan, subject, at(second));
    assert_eq!(admit(0, "a").carried_out, [FreezeAgent, step_up]);
    assert_eq!(admit(60, "b").carried_out, [FreezeAgent, step_up]);
    let third = admit(120, "c");
    assert_eq!(third.carried_out, [step_up, Alert]);
    assert_eq!(third.suppressed, [Suppressed { action: FreezeAgent, because: Because::Budget }]);
    assert_eq!(admit(3_600, "c").carried_out, [FreezeAgent, step_up], "what was withheld began no cooldown");
    assert_eq!(admit(3_601, "d").carried_out, [step_up, Alert]);
    assert_eq!(admit(3_660, "e").carried_out, [FreezeAgent, step_up]);
}

#[test]
fn observing_carries_out_alerts_alone() {
    for text in ["mode = \"observe\"\n[[rule]]\nname = \"all\"", "[[rule]]\nname = \"all\"\nobserve = true"] {
        let rules = rules(&format!("{text}\nactions = [\"revoke_agent\", \"alert\"]"));
        let plan = rules.plan(&Trigger { tier: Some(Tier::High), detector: CanaryKey, ..spike(High) }).unwrap();
        let admission = ResponseLedger::default().admit(&plan, "a", at(0));
        assert_eq!(admission.carried_out, [Alert]);
        assert_eq!(admission.suppressed, [Suppressed { action: RevokeAgent, because: Because::Observe }]);
        assert_eq!(plan.at_once().count(), 0);
    }
}

#[test]
fn what_is_inline_waits_for_no_cooldown() {
    let rules = rules(
        "[[rule]]\nname = \"all\"\ninline = true\ncooldown_minutes = 60\nactions = [{ deny = { minutes = 5 } }, \"alert\"]\n\
         detectors = [\"canary_key\", \"scope_probe\", \"scope_violation\"]",
    );
    let plan = rules.plan(&Trigger { detector: CanaryKey, ..spike(High) }).unwrap();
    let (mut ledger, deny) = (ResponseLedger::default(), Deny { minutes: 5 });
    assert_eq!(plan.at_once().collect::<Vec<_>>(), [deny]);
    assert_eq!(ledger.admit(&plan, "a", at(0)).carried_out, [deny, Alert]);
    assert_eq!(ledger.admit(&plan, "a", at(1)).carried_out, [deny]);
}

#[test]
fn the_ledger_fits_an_item_however_full_it_is() {
    let mut ledger = ResponseLedger::default();
    for number in 0..2_000_usize {
        let second = i64::try_from(number).unwrap() * 9;
        let plan = Plan {
            rule: RuleName::try_from(format!("r{number:039}")).unwrap(),
            actions: vec![FreezeAgent],
            inline: false,
            observe: false,
            cooldown_minutes: 10_080,
            per_hour: Some(MAX_PER_HOUR),
        };
        let now = Timestamp::from_nanosecond(i128::from(DAY + second) * 1_000_000_000 + 123_456_789).unwrap();
        ledger.admit(&plan, &format!("{number:0128}"), now);
    }
    let body = serde_json::to_string(&ledger).unwrap();
    assert!((30_000..60 * 1024).contains(&body.len()), "{}", body.len());
    assert_eq!(serde_json::from_str::<ResponseLedger>(&body).unwrap(), ledger);
}

/// Before, it also held which recommendations were answered.
#[test]
fn a_ledger_of_before_is_read() {
    let old = r#"{"stops":["2026-09-21T14:13:20Z"],"answered":["rcm_01a0c4b214009339c38016bfaed63997"],
                  "forgotten":"rcm_01a0c4b214009339c38016bfaed63996"}"#;
    let mut ledger: ResponseLedger = serde_json::from_str(old).unwrap();
    let mut rules = rules("[[rule]]\nname = \"all\"\nactions = [\"freeze_agent\"]");
    rules.budget.per_hour = 1;
    assert_eq!(ledger.admit(&rules.plan(&spike(High)).unwrap(), "a", at(9)).carried_out, [Alert]);
}

#[test]
fn what_weakens() {
    let text = BUILT_IN;
    let replaced = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    };
    let table = [
        (text.to_string(), vec![]),
        (replaced("\"enforce\"", "\"observe\""), vec!["mode: the rules only observe"]),
        (replaced("per_hour = 5", "per_hour = 4"), vec!["budget: per_hour falls from 5 to 4"]),
        (replaced("per_hour = 5", "per_hour = 9"), vec![]),
        (replaced("step_up = 0.7", "step_up = 0.8"), vec!["thresholds.standard: step_up rises from 0.7 to 0.8"]),
        (replaced("step_up = 0.7", "step_up = 0.6"), vec![]),
        (
            replaced("\"freeze_agent\", \"alert\"]", "\"freeze_agent\"]"),
            vec![
                "rule `scope-unattended`: `alert` is gone, and nothing as hard is there; some of detector: scope_probe, \
                 scope_violation; severity: any; purpose: appliance, service; tier: any",
            ],
        ),
        (replaced("\"freeze_agent\", \"alert\"]", "\"revoke_agent\", \"alert\"]"), vec![]),
        (
            replaced(
                "actions = [\"revoke_agent\", \"alert\"]\ninline = true",
                "actions = [\"revoke_agent\", \"alert\"]",
            ),
            vec![
                "rule `canary`: `revoke_agent` is no longer inline; detector: canary_key; severity: any; purpose: \
                  appliance, interactive, service; tier: any",
            ],
        ),
        (
            replaced("cooldown_minutes = 60", "cooldown_minutes = 61"),
            vec!["rule `unlikely-critical`: the cooldown rises from 60 to 61 minutes"],
        ),
        (replaced("cooldown_minutes = 60", "cooldown_minutes = 59"), vec![]),
        (
            replaced("cooldown_minutes = 60", "cooldown_minutes = 60\nobserve = true"),
            vec![
                "rule `unlikely-critical`: `freeze_agent` is gone",
                "rule `unlikely-critical`: `step_up for 60 minutes` is gone",
            ],
        ),
        (
            replaced(
                "severity = \"high\"\npurposes = [\"interactive\", \"service\", \"appliance\"]",
                "severity = \"high\"\npurposes = [\"service\", \"appliance\"]",
            ),
            vec!["rule `unlikely-high`: `step_up for 60 minutes` is gone, and nothing as hard is there; detector: "],
        ),
        (
            replaced("[[rule]]\nname = \"tell\"\nactions = [\"alert\"]\ncooldown_minutes = 15\n", ""),
            vec!["rule `tell`: no rule takes these cases any more; some of detector: any"],
        ),
    ];
    for (new, want) in table {
        let found = weakenings(&RuleSet::default(), &RuleSet::parse(&new).unwrap());
        assert_eq!(found.len(), want.len(), "{found:#?}");
        for (found, want) in found.iter().zip(want) {
            assert!(found.starts_with(want), "{found}\n{want}");
        }
    }
}

#[test]
fn what_falls_under_the_budget_is_no_substitute_for_what_does_not() {
    let with = |actions: &str| rules(&format!("[[rule]]\nname = \"all\"\nactions = [{actions}]"));
    let (old, new) = (with("{ step_up = { minutes = 60 } }"), with("\"freeze_agent\""));
    assert_eq!(weakenings(&old, &new).len(), 1);
    assert!(weakenings(&old, &with("\"freeze_agent\", { step_up = { minutes = 90 } }")).is_empty());
}

proptest! {
    /// However many findings come, of whatever severity, in whatever order within an hour, some of them twice.
    #[test]
    fn in_no_hour_are_more_stopped_than_the_budget_says(
        per_hour in 0_u32..4,
        findings in prop::collection::vec((0_i64..1_500, 0_i64..3_600, 0_usize..4, 0_usize..5), 1..200),
    ) {
        let rules = RuleSet { budget: Budget { per_hour }, ..RuleSet::default() };
        let (mut ledger, mut stops) = (ResponseLedger::default(), Vec::new());
        let mut clock = 0;
        for (number, (step, back, severity, subject)) in findings.into_iter().enumerate() {
            clock += step;
            let second = clock - back;
            let detector = if number % 5 == 0 { ScopeViolation } else { NewSource };
            let trigger = Trigger { detector, severity: Severity::ALL[severity], ..spike(Low) };
            let plan = rules.plan(&trigger).unwrap();
            let admission = ledger.admit(&plan, &subject.to_string(), at(second));
            if !detector.states_a_fact() && admission.carried_out.iter().any(|action| action.stops()) {
                stops.push(second);
            }
            let over_budget = admission.suppressed.iter().any(|held| held.because == Because::Budget);
            prop_assert!(!detector.states_a_fact() || !over_budget);
            prop_assert!(!detector.states_a_fact() || admission.carried_out.contains(&FreezeAgent));
            // Nothing is lost in silence.
            let kept = admission.carried_out.len() + admission.suppressed.len();
            prop_assert!(kept >= plan.actions.len());
        }
        for first in &stops {
            let within = stops.iter().filter(|at| (0..3_600).contains(&(*at - first))).count();
            prop_assert!(within <= usize::try_from(per_hour).unwrap(), "{stops:?}");
        }
    }

    #[test]
    fn rules_weaken_themselves_in_nothing(rules in any_rules()) {
        prop_assert_eq!(weakenings(&rules, &rules), Vec::<String>::new());
    }

    /// Taking a rule away, or softening it, is found unless what comes after it is as hard.
    #[test]
    fn what_is_not_called_a_weakening_leaves_every_case_as_hard(old in any_rules(), new in any_rules()) {
        if weakenings(&old, &new).is_empty() {
            for trigger in Trigger::all() {
                let (before, after) = (old.plan(&trigger), new.plan(&trigger));
                let alerts = |plan: &Option<Plan>| plan.as_ref().is_some_and(|plan| plan.actions.contains(&Alert));
                let stops = |plan: &Option<Plan>| {
                    plan.as_ref().is_some_and(|plan| !plan.observe && plan.actions.iter().any(|action| action.stops()))
                };
                prop_assert!(before.is_none() || after.is_some());
                prop_assert!(alerts(&after) || !alerts(&before));
                prop_assert!(stops(&after) || !stops(&before));
            }
        }
    }
}

fn any_rules() -> impl Strategy<Value = RuleSet> {
    let actions =
        [Alert, FreezeAgent, RevokeAgent, RevokeCredential, Deny { minutes: 9 }, StepUp { minutes: 9 }, RotateKey];
    let rule = (
        prop::sample::subsequence(Detector::ALL.to_vec(), 0..3),
        prop::sample::select(Severity::ALL.to_vec()),
        prop::sample::subsequence(Subject::ALL.to_vec(), 0..3),
        prop::sample::subsequence(actions.to_vec(), 1..4),
        0_u32..3,
        any::<bool>(),
    );
    let rules = prop::collection::vec(rule, 0..5).prop_map(|rules| {
        let rules = rules.into_iter().enumerate();
        rules
            .map(|(number, (detectors, severity, purposes, actions, cooldown_minutes, observe))| Rule {
                name: RuleName::try_from(format!("r{number}")).unwrap(),
                detectors,
                severity,
                purposes,
                tiers: Vec::new(),
                actions,
                inline: false,
                cooldown_minutes,
                observe,
            })
            .collect()
    });
    (rules, 0_u32..3).prop_map(|(rules, per_hour)| RuleSet { rules, budget: Budget { per_hour }, ..RuleSet::default() })
}

fn rules(text: &str) -> RuleSet {
    RuleSet::parse(text).unwrap()
}

fn spike(severity: Severity) -> Trigger {
    Trigger { detector: UsageSpike, severity, subject: Service, tier: None }
}

fn at(second: i64) -> Timestamp {
    after_seconds(Timestamp::from_second(DAY).unwrap(), second)
}

#[test]
fn approvals_that_bind_less_are_weakenings() {
    let with = |approvals: &str| RuleSet::parse(&format!("[approvals]\n{approvals}")).unwrap();
    let old = "high_approvers = 3\napprovers = [\"a@org\", \"b@org\", \"c@org\"]";
    let table = [
        (old, true),
        ("high_approvers = 2\napprovers = [\"a@org\", \"b@org\", \"c@org\"]", false),
        ("high_approvers = 3", false),
        ("high_approvers = 3\napprovers = [\"a@org\", \"b@org\", \"d@org\"]", false),
        ("high_approvers = 3\napprovers = [\"a@org\", \"b@org\", \"c@org\"]\nuse_minutes = 11", false),
        ("high_approvers = 3\napprovers = [\"a@org\", \"b@org\", \"c@org\"]\nuse_minutes = 9", true),
        ("high_approvers = 3\napprovers = [\"a@org\", \"b@org\", \"c@org\"]\nper_human_a_day = 11", false),
        ("high_approvers = 3\napprovers = [\"a@org\", \"b@org\", \"c@org\"]\npending_per_agent = 4", false),
        ("high_approvers = 3\napprovers = [\"a@org\", \"b@org\", \"c@org\"]\ndecide_minutes = 16", false),
    ];
    for (new, holds) in table {
        assert_eq!(weakenings(&with(old), &with(new)).is_empty(), holds, "{new}");
    }
}

/// Records stay for ever, and so does what they say: also what a version said that is gone.
#[test]
fn what_held_something_back_is_read_whatever_it_is() {
    let held: Suppressed = serde_json::from_str(r#"{"action": "freeze_agent", "because": "answered"}"#).unwrap();
    assert_eq!(held, Suppressed { action: FreezeAgent, because: Because::Other });
}
