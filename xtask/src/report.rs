//! What a run says: the plan, each suite as it goes, the table, the closing line.

use std::time::{Duration, Instant};

use crate::child::{self, Counts, NotPassed};
use crate::suites::Suite;
use crate::workshop::Workshop;

pub(crate) struct Ran {
    suite: &'static Suite,
    result: Result<Counts, NotPassed>,
    took: Duration,
    /// What it said last.
    last_words: Vec<String>,
}

/// Says what will be done, before anything is.
pub(crate) fn plan(suites: &[&Suite]) {
    let sum = |of: fn(&Suite) -> u32| suites.iter().map(|suite| of(suite)).sum::<u32>();
    let total = (sum(|suite| suite.minutes.0), sum(|suite| suite.minutes.1));
    println!("{}, {} on 2 cores (warm to cold):", counted(suites.len(), "suite"), minutes(total));
    for suite in suites {
        println!("  {:<WIDTH$} {:>13}  {}", suite.name, minutes(suite.minutes), suite.proves);
        if !suite.installs.is_empty() {
            println!("  {:<WIDTH$} {:>13}  installs {}", "", "", suite.installs);
        }
    }
}

pub(crate) fn run_all(suites: &[&'static Suite], workshop: &Workshop) -> Vec<Ran> {
    let count = suites.len();
    let run_one = |(index, suite): (usize, &&'static Suite)| {
        let Suite { name, proves, .. } = suite;
        println!("\n=== {name} ({} of {count}): {proves}", index.saturating_add(1));
        let started = Instant::now();
        let result = (suite.run)(workshop);
        let ran = Ran { suite, result, took: started.elapsed(), last_words: child::last_words() };
        say(&format!("=== {name}: {}, {:.1} min. {}", ran.verdict(), in_minutes(ran.took), ran.details()));
        ran
    };
    suites.iter().enumerate().map(run_one).collect()
}

/// The table and the closing line. Whether nothing failed. `earlier` passed before the first suite.
pub(crate) fn close(ran: &[Ran], earlier: Duration) -> bool {
    for one in ran.iter().filter(|one| one.counts().failed > 0 && !one.last_words.is_empty()) {
        println!("\n=== {} failed; it said last:", one.suite.name);
        one.last_words.iter().for_each(|line| say(line));
    }
    println!("\n{:<WIDTH$} {:<7} {:>7}", "suite", "result", "minutes");
    for one in ran {
        let Suite { name, .. } = one.suite;
        say(&format!("{name:<WIDTH$} {:<7} {:>7.1}  {}", one.verdict(), in_minutes(one.took), one.details()));
    }
    let took = ran.iter().fold(earlier, |sum, one| sum.saturating_add(one.took));
    println!("{:<WIDTH$} {:<7} {:>7.1}\n", "total", "", in_minutes(took));
    let total = ran.iter().map(Ran::counts).fold(Counts::default(), |sum, one| Counts {
        passed: sum.passed.saturating_add(one.passed),
        failed: sum.failed.saturating_add(one.failed),
        skipped: sum.skipped.saturating_add(one.skipped),
    });
    println!("{}", closing_line(total));
    total.failed == 0
}

fn say(line: &str) {
    println!("{}", line.trim_end());
}

/// Alone on the last line, in the form that tools look for.
fn closing_line(counts: Counts) -> String {
    format!("{} passed, {} failed, {} skipped", counts.passed, counts.failed, counts.skipped)
}

impl Ran {
    fn counts(&self) -> Counts {
        match &self.result {
            Ok(counts) => *counts,
            Err(NotPassed::Failed(_)) => Counts { failed: 1, ..Counts::default() },
            Err(NotPassed::Skipped(_)) => Counts { skipped: 1, ..Counts::default() },
        }
    }

    fn verdict(&self) -> &'static str {
        match self.counts() {
            Counts { failed: 1.., .. } => "failed",
            Counts { passed: 1.., .. } => "passed",
            _ => "skipped",
        }
    }

    fn details(&self) -> String {
        match &self.result {
            Ok(Counts { passed: 1, failed: 0, skipped: 0 }) => String::new(),
            Ok(counts) => closing_line(*counts),
            Err(NotPassed::Failed(why) | NotPassed::Skipped(why)) => why.clone(),
        }
    }
}

fn minutes((warm, cold): (u32, u32)) -> String {
    match cold {
        0 => "under 1 min".to_owned(),
        _ => format!("{warm} to {cold} min"),
    }
}

fn in_minutes(duration: Duration) -> f64 {
    duration.as_secs_f64() / 60.0
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Holds the longest suite name.
const WIDTH: usize = 14;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suites;

    fn ran(result: Result<Counts, NotPassed>) -> Ran {
        Ran { suite: suites::named("unit").unwrap(), result, took: Duration::ZERO, last_words: Vec::new() }
    }

    #[test]
    fn a_suite_that_did_not_run_counts_once_under_its_own_verdict() {
        let table = [
            (Ok(Counts { passed: 3, failed: 0, skipped: 1 }), "passed", "3 passed, 0 failed, 1 skipped"),
            (Ok(Counts { passed: 3, failed: 2, skipped: 0 }), "failed", "3 passed, 2 failed, 0 skipped"),
            (Ok(Counts { passed: 0, failed: 0, skipped: 2 }), "skipped", "0 passed, 0 failed, 2 skipped"),
            (Err(NotPassed::Failed("broken".to_owned())), "failed", "0 passed, 1 failed, 0 skipped"),
            (Err(NotPassed::Skipped("no python3".to_owned())), "skipped", "0 passed, 0 failed, 1 skipped"),
        ];
        for (result, verdict, line) in table {
            let one = ran(result);
            assert_eq!((one.verdict(), closing_line(one.counts()).as_str()), (verdict, line));
        }
    }

    #[test]
    fn one_failure_fails_the_run() {
        let passed = || ran(Ok(Counts { passed: 9, ..Counts::default() }));
        let skipped = || ran(Err(NotPassed::Skipped("no openssl".to_owned())));
        assert!(close(&[passed(), skipped()], Duration::ZERO));
        assert!(!close(&[passed(), ran(Err(NotPassed::Failed("broken".to_owned())))], Duration::ZERO));
    }
}
