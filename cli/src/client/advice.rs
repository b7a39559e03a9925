//! What to do about a refusal: for each code and reason the next command.

use super::output;
use crate::Failure;
use crate::api::Refusal;
use anstyle::{AnsiColor, Style};

/// What to do next, and why. Words in capitals stand for what the refusal names.
#[derive(Clone, Copy, Debug)]
struct Advice {
    code: &'static str,
    /// Of the refusal; none fits all.
    reason: Option<&'static str>,
    next: &'static str,
    why: &'static str,
}

/// Says on standard error why a command failed, and what to do next. With `json`, also prints the API's own words.
pub(crate) fn report(failure: &Failure, json: bool) {
    let lines = match failure {
        Failure::OutputClosed => return,
        Failure::Refused(refusal) => {
            if json && !refusal.body.is_null() {
                // The failure itself is told on standard error in any case.
                let _ = output::json(&refusal.body);
            }
            about(refusal)
        }
        Failure::NotLoggedIn { .. } => vec![next("aegis login", "then repeat the command; agents set AEGIS_TOKEN")],
        Failure::Unreachable(_) => {
            vec![next("aegis serve --data DIR", "or name another deployment: --context NAME, --url URL")]
        }
        Failure::NotFound(_) => vec![next("aegis agent list", "shows what there is")],
        Failure::Failed(_) | Failure::Usage(_) => Vec::new(),
    };
    anstream::eprintln!("{ERROR}aegis:{ERROR:#} {failure}");
    for line in lines {
        anstream::eprintln!("{line}");
    }
}

fn about(refusal: &Refusal) -> Vec<String> {
    let known = [
        ("reason", "reason"),
        ("approval", "approval"),
        ("page", "approval_url"),
        ("code", "approval_code"),
        ("until", "expires_at"),
        ("record", "record"),
        ("earlier", "earlier"),
        ("request", "request_id"),
    ];
    let told = known.into_iter().filter_map(|(name, field)| Some((name, refusal.text(field)?)));
    let mut lines: Vec<String> = told.map(|(name, value)| format!("  {name:<8} {value}")).collect();
    let of_rules = refusal.path.starts_with("/v1/response-rules") && refusal.code() == "state";
    if let Some(advice) = Some(&RULES).filter(|_| of_rules).or_else(|| advice(refusal.code(), refusal.reason())) {
        lines.push(next(&fill(advice.next, refusal), &fill(advice.why, refusal)));
    }
    lines
}

fn next(what: &str, why: &str) -> String {
    format!("  {BOLD}next{BOLD:#}     {what}\n           {DIM}{why}{DIM:#}")
}

/// The advice for a reason goes before the one for its code alone.
fn advice(code: &str, reason: &str) -> Option<&'static Advice> {
    let of_code = || TABLE.iter().filter(|advice| advice.code == code);
    of_code().find(|advice| advice.reason == Some(reason)).or_else(|| of_code().find(|advice| advice.reason.is_none()))
}

/// Puts in what the path and the body name.
fn fill(text: &str, refusal: &Refusal) -> String {
    let named = |kind: &str| {
        let rest = refusal.path.strip_prefix(&format!("/v1/{kind}/"))?;
        rest.split(['/', '?']).next()
    };
    let seconds = refusal.retry_after.map(|seconds| format!("{seconds} s"));
    let list = match refusal.path.split('/').nth(2) {
        Some("agents" | "credentials" | "humans") => "aegis agent list",
        Some("approvals") => "aegis approvals list",
        Some("audit") => "aegis audit",
        Some("recommendations") => "aegis recommendations list",
        Some("response-rules") => "aegis rules show",
        Some("webhooks") => "aegis webhooks list",
        _ => "aegis key list",
    };
    let show = match refusal.path.split('/').nth(2) {
        Some("approvals") => "aegis approvals show APPROVAL",
        Some("webhooks") => "aegis webhooks list",
        _ => "aegis agent get AGENT",
    };
    let known = [
        ("LIST", Some(list)),
        ("SHOW", Some(show)),
        ("APPROVAL", refusal.text("approval").or(named("approvals"))),
        ("NAME", refusal.title().split('`').nth(1)),
        ("KEY", named("keys")),
        ("AGENT", named("agents")),
        ("RECORD", refusal.text("record")),
        ("SECONDS", seconds.as_deref().or(Some("a moment"))),
    ];
    known.into_iter().fold(text.to_string(), |text, (name, value)| match value {
        Some(value) => text.replace(name, value),
        None => text,
    })
}

const fn of(code: &'static str, next: &'static str, why: &'static str) -> Advice {
    Advice { code, reason: None, next, why }
}

const fn because(code: &'static str, reason: &'static str, next: &'static str, why: &'static str) -> Advice {
    Advice { code, reason: Some(reason), next, why }
}

/// For rules in another state than was expected.
const RULES: Advice =
    of("state", "aegis rules show", "shows which version is in force, and what waits for a second human");

const TABLE: &[Advice] = &[
    of("already-done", "aegis agent token AGENT", "issues a fresh token; the first was shown once and is not kept"),
    of("contended", "repeat the command", "others change the same thing at this moment; nothing was changed"),
    of("denied", "aegis whoami", "shows your roles; an admin can read why: aegis audit get RECORD"),
    because(
        "denied",
        "access_requests_exhausted",
        "aegis access list --state pending",
        "as the agent's human, who answers what waits; others may be made tomorrow",
    ),
    because(
        "denied",
        "approval_code",
        "aegis approvals approve APPROVAL",
        "with the code that the agent was shown; after five wrong ones the approval is denied",
    ),
    because(
        "denied",
        "approval_denied",
        "aegis approvals list",
        "shows who denied it; it can be asked again after that",
    ),
    because(
        "denied",
        "approval_login",
        "aegis approvals approve APPROVAL",
        "logs in for this one answer: a session that is kept approves nothing",
    ),
    because("denied", "approval_used", "repeat the command", "each use is approved by itself: this asks a human again"),
    because(
        "denied",
        "approvals_exhausted",
        "aegis approvals list",
        "shows what the agent asked for; its human can let it go on: aegis agent unfreeze",
    ),
    because("denied", "delegation_not_granted", "aegis agent amend AGENT --delegate true", "as the agent's human"),
    because("denied", "right_not_granted", "aegis agent amend --help", "as the agent's human: --create-keys, --audit"),
    because("denied", "grant_narrowed", "aegis agent token AGENT", "as the agent's human"),
    because("denied", "grant_widening", "aegis agent scope", "a sub-agent gets at most what this shows"),
    because(
        "denied",
        "held",
        "aegis recommendations list",
        "shows why, as its human; an operator may end it: aegis recommendations undo RECOMMENDATION",
    ),
    because("denied", "no_second_human", "aegis login", "as a second human with the role admin or operator, once"),
    because("denied", "outside_window", "aegis agent amend AGENT --window 30d", "as the agent's human"),
    because("denied", "policy", "aegis whoami", "shows your roles; another role may do this: aegis audit get RECORD"),
    because("denied", "risk_too_high", "aegis risk explain RECORD", "as its human, an operator or an auditor"),
    because(
        "denied",
        "scope_violation",
        "aegis agent scope",
        "shows what the agent may do, unless this stopped it; its human sees: aegis audit get RECORD",
    ),
    because("denied", "second_human_needed", "aegis rules show", "the other one sees what waits, and confirms it"),
    because("denied", "sponsor_not_permitted", "aegis whoami", "the agent's human needs the role for this herself"),
    because(
        "denied",
        "step_up",
        "aegis approvals approve APPROVAL",
        "as the agent's human or an operator, with this code; then repeat the command unchanged",
    ),
    because("denied", "stale_login", "aegis login", "then repeat the command"),
    because(
        "denied",
        "stale_label",
        "aegis agent amend",
        "an operator took the label off the key; name the key itself",
    ),
    because("denied", "stale_name", "aegis agent scope", "shows the ids the agent may use; the name was moved"),
    because("denied", "uses_exhausted", "aegis agent amend AGENT --max-uses N", "as the agent's human"),
    of("fresh-login-needed", "aegis login", "then repeat the command within five minutes"),
    of("idempotency-mismatch", "repeat the command", "it takes a fresh idempotency key each time"),
    of("internal", "aegis audit --limit 5", "and give the request's id to whoever runs the deployment"),
    of("invalid-request", "add --help to the command", "it shows what each value may be, with examples"),
    of("invalid-subject-token", "aegis login", "each login is good once, for ten minutes"),
    because(
        "invalid-subject-token",
        "human_revoked",
        "aegis human reinstate HUMAN",
        "as an admin; if there is none: aegis serve --enrol-admin",
    ),
    of("key-state", "aegis key get KEY", "shows its state; activate, resume or cancel-destroy may help"),
    of("limit-reached", "repeat the command in SECONDS", "the deployment bounds how often one caller may ask"),
    because("limit-reached", "uses_per_day", "aegis agent scope", "shows what is left; repeat in SECONDS"),
    because("limit-reached", "uses_per_minute", "repeat the command in SECONDS", "aegis agent scope shows the limit"),
    of("name-taken", "aegis key get NAME", "shows which key has the name; choose another, or move it: aegis alias set"),
    of("not-authentic", "aegis key get KEY", "check key, --encryption-context and bytes: one differs from encrypting"),
    of("not-found", "LIST", "shows what there is"),
    of("state", "SHOW", "shows its state, who stopped it, and the record that tells why"),
    of("unauthenticated", "aegis login", "then repeat the command; agents need a fresh token from their human"),
    because("unauthenticated", "agent_frozen", "aegis agent unfreeze AGENT", "as its human, after reading why it was"),
    because("unauthenticated", "agent_revoked", "aegis agent issue --help", "revoked is for ever: issue another agent"),
    because("unauthenticated", "credential_expired", "aegis login", "agents: aegis agent token AGENT, as their human"),
    because("unauthenticated", "credential_revoked", "aegis login", "agents: aegis agent token AGENT, as their human"),
    because("unauthenticated", "human_revoked", "aegis human reinstate HUMAN", "as an admin"),
    of("unavailable", "repeat the command in SECONDS", "the server is up, and something it needs did not answer"),
    // The server's own, beside the API's catalogue.
    of("method-not-allowed", "aegis --version", "this deployment speaks another version of the API"),
    of("no-such-route", "aegis --version", "this deployment speaks another version of the API, or is none"),
    of("overloaded", "repeat the command in SECONDS", "the server has too many requests under way"),
    of("too-large", "aegis sign KEY FILE --digest", "a request has at most 1 MiB; a digest stands for a large file"),
    of("too-slow", "repeat the command", "the request did not arrive in time"),
];

const ERROR: Style = AnsiColor::Red.on_default().bold();
const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

#[cfg(test)]
mod tests {
    use super::*;
    use aegis_core::reason::Reason;
    use serde_json::json;

    #[test]
    fn every_problem_has_advice() {
        for (code, _) in aegis_functions::PROBLEMS {
            assert!(advice(code, "").is_some(), "{code}");
        }
    }

    #[test]
    fn advice_is_for_codes_and_reasons_that_exist_and_for_each_once() {
        for (i, advice) in TABLE.iter().enumerate() {
            let known = aegis_functions::PROBLEMS.iter().any(|(code, _)| *code == advice.code);
            assert!(known, "{advice:?}");
            let reason_known = |reason: &str| Reason::ALL.iter().any(|known| known.as_str() == reason);
            assert!(advice.reason.is_none_or(reason_known), "{advice:?}");
            let again = TABLE[i + 1..].iter().any(|other| (other.code, other.reason) == (advice.code, advice.reason));
            assert!(!again, "{advice:?}");
        }
    }

    #[test]
    fn the_next_command_names_what_was_asked_for() {
        let table = [
            ("fresh-login-needed", "", "/v1/agents", "aegis login"),
            ("unauthenticated", "credential_expired", "/v1/keys", "aegis login"),
            ("unauthenticated", "missing_token", "/v1/keys", "aegis login"),
            ("denied", "scope_violation", "/v1/keys/treasury/sign", "aegis agent scope"),
            ("key-state", "", "/v1/keys/invoice-2026/sign", "aegis key get invoice-2026"),
            ("state", "", "/v1/agents/agt_1/credentials", "aegis agent get agt_1"),
            ("state", "", "/v1/webhooks/whk_1/test", "aegis webhooks list"),
            ("not-found", "", "/v1/webhooks/whk_1", "aegis webhooks list"),
            ("unauthenticated", "agent_frozen", "/v1/keys/k/sign", "aegis agent unfreeze AGENT"),
            ("limit-reached", "uses_per_minute", "/v1/keys/k/sign", "repeat the command in 37 s"),
            ("not-found", "", "/v1/humans/bob/revoke", "aegis agent list"),
            ("not-found", "", "/v1/aliases/old", "aegis key list"),
            ("not-found", "", "/v1/response-rules/7/confirm", "aegis rules show"),
            ("state", "", "/v1/response-rules", "aegis rules show"),
            ("too-large", "", "/v1/keys/invoice-2026/sign", "aegis sign invoice-2026 FILE --digest"),
            ("denied", "approval_code", "/v1/approvals/apr_1/approve", "aegis approvals approve apr_1"),
            ("state", "", "/v1/approvals/apr_1/deny", "aegis approvals show apr_1"),
        ];
        for (code, reason, path, want) in table {
            let refusal = Refusal::new("sign", 400, Some(37), json!({ "code": code, "reason": reason }));
            let refusal = Refusal { path: path.to_string(), ..refusal };
            let shown = about(&refusal).join("\n");
            assert!(shown.contains(&format!("     {want}\n")), "{code} {reason}: {shown}");
        }
    }
}
