//! How the story is shown: a timeline for people, one document for machines.

use super::scribe::{Event, Fact, Kind, When};
use super::story::Story;
use crate::Failure;
use aegis_core::risk::Risk;
use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::io::IsTerminal;
use std::path::Path;

/// Shows the story while it happens.
pub(super) struct Live {
    shown: bool,
}

impl Live {
    pub(super) fn new(shown: bool, title: &str) -> Self {
        if shown {
            anstream::println!("{BOLD}Aegis demo: {title}{BOLD:#}\n");
        }
        Self { shown }
    }

    pub(super) fn event(&self, event: &Event) {
        if self.shown {
            let style = match event.kind {
                Kind::Allowed => AnsiColor::Green.on_default(),
                Kind::Refused => AnsiColor::Red.on_default(),
                Kind::Response => AnsiColor::Yellow.on_default(),
            };
            let verdict = match event.kind {
                Kind::Allowed => "allowed",
                Kind::Refused => "REFUSED",
                Kind::Response => "response",
            };
            let at = match event.when {
                When::At(at) => at.strftime("%b %d %H:%M:%S%.3f").to_string(),
                When::Elapsed(ms) => format!("{ms:>6} ms"),
            };
            let (who, what) = (&event.who, &event.what);
            anstream::println!("{DIM}{at}{DIM:#}  {who:<10} {style}{verdict:<9}{style:#} {what}");
        }
    }

    /// A bar on a terminal, nothing elsewhere.
    pub(super) fn progress(&self, length: usize) -> ProgressBar {
        if !self.shown || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(u64::try_from(length).unwrap_or(u64::MAX));
        match ProgressStyle::with_template("           agent      signing {bar:30} {pos}/{len} {msg}") {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        }
    }
}

/// What held, and what did not.
pub(super) fn facts(facts: &[Fact]) {
    anstream::println!("\n{BOLD}What held{BOLD:#}");
    for fact in facts {
        let (style, mark) = match fact.held {
            true => (AnsiColor::Green.on_default(), "yes"),
            false => (AnsiColor::Red.on_default(), "NO "),
        };
        anstream::println!("  {style}{mark}{style:#}  {}", fact.fact);
    }
}

/// What a story comes to in figures, a line each.
pub(super) fn figures(figures: &[(&str, String)]) {
    anstream::println!("\n{BOLD}In figures{BOLD:#}");
    for (name, figure) in figures {
        anstream::println!("  {name:<28} {figure}");
    }
}

/// A risk as the sum it is.
pub(super) fn sum(risk: &Risk) -> String {
    let name = |factor| serde_json::to_value(factor).ok()?.as_str().map(str::to_string);
    let parts = risk.factors.iter().map(|part| format!("{} {:.3}", name(part.factor).unwrap_or_default(), part.weight));
    format!("{:.3} = {}", risk.score, parts.collect::<Vec<_>>().join(" + "))
}

/// What is left of it all.
pub(super) fn struck() {
    anstream::println!("\nNothing is left behind: the server is stopped and its folder removed.");
}

/// As this one was called, so that the lines can be pasted.
fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "aegis".to_string())
}

pub(super) fn text(story: &Story, kept: Option<&Path>, root_passphrase: &str) {
    facts(&story.facts);
    let ms = |us: f64| us / 1_000.0;
    let (server, agent) = (to_f64(story.misuse_to_revocation_us.into()), to_f64(story.misuse_to_refusal_us));
    anstream::println!(
        "\n{BOLD}First misuse to revocation:{BOLD:#} {:.2} ms at the server, durable on disk",
        ms(server)
    );
    anstream::println!("{:27} {:.2} ms as the agent saw it", "", ms(agent));
    anstream::println!(
        "{} documents signed at {:.0} signatures a second, one after another, each with a durable audit record",
        story.signatures,
        story.signatures_per_second
    );
    match kept {
        Some(path) => {
            anstream::println!("\nThe data folder is kept. Its passphrase is not stored anywhere:");
            anstream::println!("  AEGIS_PASSPHRASE={root_passphrase} aegis serve --data {}", path.display());
        }
        None => struck(),
    }
    anstream::println!("\n{BOLD}Next{BOLD:#}");
    let program = program();
    anstream::println!("  {program} quickstart --data ./aegis-data");
    anstream::println!("  {program} agent issue --help");
    anstream::println!("  {program} demo --dir .");
}

pub(super) fn json(story: &impl Serialize, facts: &[Fact], kept: Option<&Path>) -> Result<(), Failure> {
    let held = facts.iter().all(|fact| fact.held);
    let document = serde_json::json!({ "held": held, "story": story, "kept": kept });
    let text = serde_json::to_string_pretty(&document).map_err(|error| Failure::because("no JSON", &error))?;
    anstream::println!("{text}");
    Ok(())
}

fn to_f64(us: u128) -> f64 {
    f64::from(u32::try_from(us).unwrap_or(u32::MAX))
}

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
