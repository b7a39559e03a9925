//! Changes of rules, as people read them.

use crate::client::output::{self, field, moment};
use serde_json::Value;

/// Which version is shown, and what is known of it.
pub(super) fn about(shown: &Value) -> String {
    let mut lines = vec![output::details(&[
        ("version", field(shown, "/version")),
        ("in force", field(shown, "/in_force")),
        ("written by", field(shown, "/written_by")),
        ("written at", moment(shown, "/written_at")),
        ("applied by", field(shown, "/applied/by")),
        ("confirmed by", field(shown, "/applied/confirmed_by")),
        ("applied at", moment(shown, "/applied/at")),
    ])];
    for proposal in items(shown, "/proposals") {
        let (version, by) = (field(proposal, "/version"), field(proposal, "/by"));
        let until = moment(proposal, "/expires_at");
        lines.push(format!("\nversion {version}, proposed by {by}, waits for a second human until {until}"));
        lines.push(bullets(&texts(proposal, "/weakens")));
    }
    lines.join("\n") + "\n"
}

/// What came of a change.
pub(super) fn told(change: &Value) -> String {
    let (version, in_force) = (field(change, "/version"), field(change, "/in_force"));
    let weakens = texts(change, "/weakens");
    match field(change, "/outcome").as_str() {
        "applied" => format!("version {version} is in force"),
        "unchanged" => format!("nothing changed: version {in_force} is in force and says the same"),
        "would-apply" => format!("dry run, nothing is changed: it would be in force at once\n{}", weakened(&weakens)),
        "would-propose" => {
            format!("dry run, nothing is changed: it would wait for a second human\n{}", weakened(&weakens))
        }
        _ => {
            let until = moment(change, "/expires_at");
            let confirmers = texts(change, "/confirmers");
            let who = match confirmers.is_empty() {
                true => {
                    "nobody yet: this deployment knows no other human with the role admin or operator; one becomes \
                         known by logging in"
                        .to_string()
                }
                false => confirmers.join(", "),
            };
            format!(
                "version {version} is proposed; version {in_force} stays in force\n{}\n\n{}",
                weakened(&weakens),
                output::details(&[
                    ("until", until),
                    ("may confirm", who),
                    ("with", format!("aegis rules confirm {version}")),
                ])
            )
        }
    }
}

/// What would have been done about the past.
pub(super) fn tried(found: &Value) -> String {
    let listed = items(found, "/items");
    let since = moment(found, "/since");
    let bounded = match field(found, "/complete").as_str() {
        "yes" => String::new(),
        _ => " (there is more before that; one dry run reads 50,000 records, or 1,000 recommendations)".to_string(),
    };
    let differing = listed.iter().filter(|item| field(item, "/differs") == "yes").count();
    let summary = format!("since {since}{bounded}: recommendations {}, answered differently {differing}", listed.len());
    if listed.is_empty() {
        return summary;
    }
    let rows: Vec<Vec<String>> = listed.iter().map(row).collect();
    format!(
        "{}\n\n{summary}",
        output::table(&["AT", "DETECTOR", "SEVERITY", "ACTOR", "RULE", "WOULD", "DID", "DIFFERS"], &rows)
    )
}

fn row(item: &Value) -> Vec<String> {
    let actor = [field(item, "/agent"), field(item, "/sponsor")].into_iter().find(|name| !name.is_empty());
    let would = items(item, "/would").iter().map(action_name).collect::<Vec<_>>();
    let suppressed = items(item, "/suppressed").iter().map(|suppressed| {
        let name = suppressed.pointer("/action").map(action_name).unwrap_or_default();
        format!("no {name} ({})", field(suppressed, "/because"))
    });
    let unneeded = items(item, "/unneeded").iter().map(|action| format!("no {} (already)", action_name(action)));
    let did = items(item, "/did").iter().map(|response| field(response, "/action")).collect::<Vec<_>>();
    vec![
        moment(item, "/at"),
        field(item, "/detector"),
        field(item, "/severity"),
        actor.unwrap_or_default(),
        field(item, "/rule"),
        would.into_iter().chain(suppressed).chain(unneeded).collect::<Vec<_>>().join(", "),
        did.join(", "),
        field(item, "/differs"),
    ]
}

/// An action as rules name it: a word, or a word with what it takes.
fn action_name(action: &Value) -> String {
    match action.as_object().and_then(|fields| fields.iter().next()) {
        Some((name, with)) => format!("{name} {}m", field(with, "/minutes")),
        None => field(action, ""),
    }
}

pub(super) fn weakened(weakens: &[String]) -> String {
    match weakens.is_empty() {
        true => "nothing protects less than before".to_string(),
        false => format!("protects less than before:\n{}", bullets(weakens)),
    }
}

pub(super) fn bullets(texts: &[String]) -> String {
    texts.iter().map(|text| format!("  - {text}")).collect::<Vec<_>>().join("\n")
}

fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn texts(value: &Value, pointer: &str) -> Vec<String> {
    items(value, pointer).iter().filter_map(|text| text.as_str().map(str::to_string)).collect()
}
