//! Child processes: streamed to the terminal while their own test counts are read.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// The last lines of the child that was streamed last: repeated at the end of a run that it failed, since whoever reads a
/// long log reads its end.
static LAST_WORDS: Mutex<Vec<String>> = Mutex::new(Vec::new());
const KEPT: usize = 40;

/// Takes out what the last streamed child said last.
pub(crate) fn last_words() -> Vec<String> {
    std::mem::take(&mut *LAST_WORDS.lock().unwrap_or_else(PoisonError::into_inner))
}

fn remember(line: &str) {
    let mut words = LAST_WORDS.lock().unwrap_or_else(PoisonError::into_inner);
    if words.len() >= KEPT {
        words.remove(0);
    }
    words.push(line.trim_end().to_owned());
}

/// Individual tests, or 1 for a suite that has none to count.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Counts {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
    pub(crate) skipped: u32,
}

/// Why a suite has no counts.
#[derive(Debug)]
pub(crate) enum NotPassed {
    Failed(String),
    /// What it needs cannot be had on this machine.
    Skipped(String),
}

/// Runs to the end; counts 1.
pub(crate) fn run(command: &mut Command) -> Result<Counts, NotPassed> {
    let status = command.status().map_err(|e| cannot_start(command, &e))?;
    match status.success() {
        true => Ok(Counts { passed: 1, ..Counts::default() }),
        false => Err(NotPassed::Failed(format!("{} ended with {status}", shown(command)))),
    }
}

/// Runs `cargo test`; counts what every test binary says on standard output.
pub(crate) fn run_cargo_tests(command: &mut Command) -> Result<Counts, NotPassed> {
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|e| cannot_start(command, &e))?;
    let pipe = child.stdout.take();
    finish(command, child, pipe, io::stdout(), libtest_line)
}

/// Runs Python's unittest; counts what it says on standard error.
pub(crate) fn run_unittest(command: &mut Command) -> Result<Counts, NotPassed> {
    let mut child = command.stderr(Stdio::piped()).spawn().map_err(|e| cannot_start(command, &e))?;
    let pipe = child.stderr.take();
    finish(command, child, pipe, io::stderr(), unittest_line)
}

pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn cannot_start(command: &Command, error: &io::Error) -> NotPassed {
    NotPassed::Failed(format!("`{}` cannot be run: {error}", shown(command)))
}

fn finish(
    command: &Command,
    mut child: Child,
    pipe: Option<impl Read>,
    terminal: impl Write,
    read: fn(&str, &mut Counts),
) -> Result<Counts, NotPassed> {
    let counts = pipe.map(|pipe| stream(pipe, terminal, read)).unwrap_or_default();
    let status = child.wait().map_err(|e| cannot_start(command, &e))?;
    judged(counts, status.success()).ok_or_else(|| NotPassed::Failed(format!("{} ran no test", shown(command))))
}

/// A run that ends badly has failed whatever it counted; one that counted nothing has no counts.
fn judged(counts: Counts, ended_well: bool) -> Option<Counts> {
    let failed = counts.failed.max(u32::from(!ended_well));
    Some(Counts { failed, ..counts }).filter(|counts| *counts != Counts::default())
}

/// Copies `from` to `to` line by line, adding up what `read` finds.
fn stream(from: impl Read, mut to: impl Write, read: fn(&str, &mut Counts)) -> Counts {
    let mut from = BufReader::new(from);
    let mut counts = Counts::default();
    let _ = last_words();
    let mut line = Vec::new();
    while matches!(from.read_until(b'\n', &mut line), Ok(1..)) {
        // A terminal that went away must not stop the child, which would block on a full pipe.
        let _ = to.write_all(&line).and_then(|()| to.flush());
        let text = String::from_utf8_lossy(&line);
        remember(&text);
        read(&text, &mut counts);
        line.clear();
    }
    counts
}

/// `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out`, perhaps coloured.
fn libtest_line(line: &str, counts: &mut Counts) {
    let Some((_, rest)) = line.split_once("test result: ") else { return };
    for part in rest.split(';') {
        let mut words = part.split_whitespace().rev();
        let (word, number) = (words.next(), words.next().and_then(|n| n.parse::<u32>().ok()));
        match (word, number) {
            (Some("passed"), Some(n)) => counts.passed = counts.passed.saturating_add(n),
            (Some("failed"), Some(n)) => counts.failed = counts.failed.saturating_add(n),
            (Some("ignored"), Some(n)) => counts.skipped = counts.skipped.saturating_add(n),
            _ => {}
        }
    }
}

/// `Ran 5 tests in 1.2s`, then `OK (skipped=1)` or `FAILED (failures=1, errors=1)`.
fn unittest_line(line: &str, counts: &mut Counts) {
    if let Some(rest) = line.strip_prefix("Ran ") {
        counts.passed = rest.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0);
        return;
    }
    let Some(details) = line.strip_prefix("OK (").or_else(|| line.strip_prefix("FAILED (")) else { return };
    for part in details.trim_end().trim_end_matches(')').split(", ") {
        let Some((word, number)) = part.split_once('=') else { continue };
        let number = number.parse::<u32>().unwrap_or(0);
        match word {
            "failures" | "errors" | "unexpected successes" => counts.failed = counts.failed.saturating_add(number),
            "skipped" => counts.skipped = counts.skipped.saturating_add(number),
            _ => continue,
        }
        counts.passed = counts.passed.saturating_sub(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(read: fn(&str, &mut Counts), output: &str, passed: u32, failed: u32, skipped: u32) {
        let mut copy = Vec::new();
        let counts = stream(output.as_bytes(), &mut copy, read);
        assert_eq!(counts, Counts { passed, failed, skipped }, "{output}");
        assert_eq!(copy, output.as_bytes());
    }

    #[test]
    fn libtest_counts_add_up() {
        let ok = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 9 filtered out; finished in 0.00s\n";
        let bad = "test result: \x1b[31mFAILED\x1b[m. 2 passed; 4 failed; 0 ignored; 0 measured; 0 filtered out\n";
        check(libtest_line, ok, 3, 0, 1);
        check(libtest_line, &format!("running 6 tests\n{bad}\n{ok}"), 5, 4, 1);
        check(libtest_line, "test a::b ... ok\n", 0, 0, 0);
    }

    #[test]
    fn unittest_counts_add_up() {
        check(unittest_line, "Ran 5 tests in 1.234s\n\nOK\n", 5, 0, 0);
        check(unittest_line, "Ran 5 tests in 1.234s\n\nOK (skipped=2)\n", 3, 0, 2);
        check(unittest_line, "Ran 5 tests in 1s\n\nFAILED (failures=1, errors=2, skipped=1)\n", 1, 3, 1);
        check(unittest_line, "Ran 0 tests in 0.1s\n\nFAILED (errors=1)\n", 0, 1, 0);
        check(unittest_line, "Ran 2 tests in 0.1s\n\nOK (expected failures=1)\n", 2, 0, 0);
    }

    #[test]
    fn a_bad_end_is_never_a_pass() {
        let three = Counts { passed: 3, ..Counts::default() };
        assert_eq!(judged(three, true), Some(three));
        assert_eq!(judged(three, false), Some(Counts { failed: 1, ..three }));
        assert_eq!(judged(Counts { failed: 2, ..three }, false), Some(Counts { failed: 2, ..three }));
        assert!(matches!(run(&mut Command::new("false")), Err(NotPassed::Failed(_))));
        assert!(matches!(run(&mut Command::new("./no-such-program")), Err(NotPassed::Failed(_))));
    }

    #[test]
    fn a_run_without_tests_fails() {
        assert_eq!(judged(Counts::default(), true), None);
        assert!(matches!(run_cargo_tests(&mut Command::new("true")), Err(NotPassed::Failed(_))));
    }
}
