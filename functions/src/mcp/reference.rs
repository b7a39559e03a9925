//! The tool reference of the docs, made of the tools themselves.

use crate::tools;
use serde_json::Value;
use std::fmt::Write as _;

/// Markdown: of each tool its route, what it is for, its arguments and its hints.
pub fn reference() -> String {
    let mut page = String::new();
    for tool in tools::all() {
        let shown = &tool.shown;
        let hints = shown.annotations.as_ref();
        let hint = |name: &str, set: Option<bool>| set.unwrap_or_default().then(|| name.to_string());
        let hints = [
            hint("only reads", hints.and_then(|hints| hints.read_only_hint)),
            hint("may destroy", hints.and_then(|hints| hints.destructive_hint)),
            hint("may be repeated", hints.and_then(|hints| hints.idempotent_hint)),
        ];
        let hints: Vec<String> = hints.into_iter().flatten().collect();
        let hints = if hints.is_empty() { String::new() } else { format!(" ({})", hints.join(", ")) };
        // Writing to a string does not fail.
        let _ = writeln!(page, "### `{}`\n", shown.name);
        let _ = writeln!(page, "`{} {}`{hints}; shown to {}.\n", tool.route.method, tool.route.path, tool.shown_to());
        let _ = writeln!(page, "{}\n", wrapped(shown.description.as_deref().unwrap_or_default()));
        let arguments = arguments(&shown.input_schema);
        if arguments.is_empty() {
            let _ = writeln!(page, "No arguments.\n");
        } else {
            let _ = writeln!(page, "| argument | |\n|---|---|\n{arguments}");
        }
    }
    page
}

fn arguments(schema: &rmcp::model::JsonObject) -> String {
    let required: Vec<&str> =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let properties = schema.get("properties").and_then(Value::as_object);
    let row = |(name, property): (&String, &Value)| {
        let about = property.get("description").and_then(Value::as_str).or_else(|| described(schema, property));
        let about = about.unwrap_or_default().replace('\n', " ").replace('|', "\\|");
        let needed = if required.contains(&name.as_str()) { "needed" } else { "" };
        let gap = if needed.is_empty() || about.is_empty() { "" } else { ": " };
        format!("| `{name}` | {needed}{gap}{about} |\n")
    };
    properties.into_iter().flatten().map(row).collect()
}

/// What the definition says that a property refers to, if it does.
fn described<'a>(schema: &'a rmcp::model::JsonObject, property: &Value) -> Option<&'a str> {
    let of = |schema: &Value| schema.get("$ref").and_then(Value::as_str).map(str::to_string);
    let variants = property.get("anyOf").and_then(Value::as_array);
    let path = of(property).or_else(|| variants?.iter().find_map(of))?;
    schema.get("$defs")?.get(path.strip_prefix("#/$defs/")?)?.get("description")?.as_str()
}

/// In lines as wide as the docs are.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len().saturating_add(word.len()) < WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_string()),
        }
    }
    lines.join("\n")
}

const WIDTH: usize = 120;
