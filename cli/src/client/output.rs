//! How answers are shown: tables for people, plain where nobody looks, and the API's own JSON on request.

use crate::Failure;
use aegis_core::ambient::Timestamp;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, TableStyle, Width};
use serde_json::Value;
use std::io::{IsTerminal, Write};
use std::path::Path;

/// Writes to standard output. A reader that has gone ends the command, quietly.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    write(std::io::stdout().lock(), bytes)
}

/// A line with styles in it: shown on a terminal, left out elsewhere.
pub(crate) fn styled(text: &str) -> Result<(), Failure> {
    write(anstream::stdout().lock(), format!("{text}\n").as_bytes())
}

fn write(mut out: impl Write, bytes: &[u8]) -> Result<(), Failure> {
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(Failure::OutputClosed),
        other => other.map_err(|error| Failure::because("standard output", &error)),
    }
}

pub(crate) fn line(text: &str) -> Result<(), Failure> {
    print(format!("{text}\n").as_bytes())
}

/// The API's JSON, on one line.
pub(crate) fn json(value: &Value) -> Result<(), Failure> {
    line(&value.to_string())
}

/// Something beside the result, for people.
pub(crate) fn note(text: &str) {
    anstream::eprintln!("{text}");
}

/// Rows under headings. As wide as it must be in a file; on a terminal it wraps between words, so that ids stay whole.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    lay_out(headings, rows, terminal_width())
}

/// One thing: a name and a value on each line; what is not there is left out.
pub(crate) fn details(fields: &[(&str, String)]) -> String {
    let shown = || fields.iter().filter(|(_, value)| !value.is_empty());
    let width = shown().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: Vec<String> = shown().map(|(name, value)| format!("{name:width$}  {value}")).collect();
    lines.join("\n")
}

/// What a JSON pointer leads to, as people read it; nothing where it leads nowhere.
pub(crate) fn field(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).map(plain).unwrap_or_default()
}

/// A moment, always to the millisecond, so that columns do not move.
pub(crate) fn moment(value: &Value, pointer: &str) -> String {
    let text = field(value, pointer);
    text.parse::<Timestamp>().map_or(text, |at| format!("{at:.3}"))
}

/// Within what time a factor was counted, after its name or its number; nothing where it says nothing of it.
pub(crate) fn within(factor: &Value) -> String {
    let Some(seconds) = factor.get("within_seconds").and_then(Value::as_u64) else { return String::new() };
    let (count, unit) = match seconds {
        _ if seconds % 86_400 == 0 => (seconds / 86_400, "d"),
        _ if seconds % 3_600 == 0 => (seconds / 3_600, "h"),
        _ if seconds % 60 == 0 => (seconds / 60, "m"),
        _ => (seconds, "s"),
    };
    format!(" in {count}{unit}")
}

/// Writes a result to a file, or to standard output. A secret's file is readable to its owner alone.
pub(crate) fn deliver(bytes: &[u8], to: Option<&Path>, secret: bool) -> Result<(), Failure> {
    let Some(path) = to.filter(|path| *path != Path::new("-")) else { return print(bytes) };
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    if secret {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    let written = options.open(path).and_then(|mut file| {
        #[cfg(unix)]
        if secret {
            // One that was there keeps its mode, unless told.
            file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        }
        file.write_all(bytes)
    });
    written.map_err(|error| Failure::because(&format!("cannot write {}", path.display()), &error))
}

/// Whether results go to a person's eyes rather than into a file or a program.
pub(crate) fn is_seen() -> bool {
    std::io::stdout().is_terminal()
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(true) => "yes".to_string(),
        Value::Bool(false) => "no".to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn terminal_width() -> Option<u16> {
    let (terminal_size::Width(width), _) = terminal_size::terminal_size_of(std::io::stdout())?;
    Some(width)
}

fn lay_out(headings: &[&str], rows: &[Vec<String>], width: Option<u16>) -> String {
    let mut table = Table::new();
    table.load_style(TableStyle::new()).set_header(headings.to_vec());
    let cell = |text: &String| if text.is_empty() { "-".to_string() } else { text.clone() };
    table.add_rows(rows.iter().map(|row| row.iter().map(cell).collect::<Vec<_>>()));
    match width {
        Some(width) => {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        None => {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
    }
    for (n, column) in table.column_iter_mut().enumerate() {
        let cells = rows.iter().filter_map(|row| row.get(n).map(String::as_str));
        let words = cells.chain(headings.get(n).copied()).flat_map(str::split_whitespace);
        let longest = words.map(str::len).max().and_then(|length| u16::try_from(length).ok()).unwrap_or(0);
        column.set_padding((0, 2));
        column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(longest.saturating_add(2))));
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_terminal_wraps_words_and_never_breaks_an_id() {
        let id = "key_0123456789abcdef0123456789abcdef";
        let rows = vec![vec![id.to_string(), "one two three four five six".to_string(), String::new()]];
        let narrow = lay_out(&["KEY", "LABELS", "X"], &rows, Some(60));
        assert!(narrow.contains(id), "{narrow}");
        assert!(narrow.lines().count() > 2, "{narrow}");
        assert_eq!(
            lay_out(&["KEY", "LABELS", "X"], &rows, None),
            format!("{:38}{:29}X\n{id}  one two three four five six  -", "KEY", "LABELS")
        );
    }

    #[test]
    fn details_leave_out_what_is_not_there() {
        let shown = details(&[("id", "key_1".into()), ("destroy at", String::new()), ("state", "active".into())]);
        assert_eq!(shown, "id     key_1\nstate  active");
    }
}
