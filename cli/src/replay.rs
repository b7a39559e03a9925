//! `aegis replay`: recorded events, judged as if they happened now. Works on files alone and asks no server; the clock is
//! the events' own, so that the same file gives the same verdicts.

mod input;
mod summary;
#[cfg(test)]
mod tests;

use crate::Failure;
use crate::client::output;
use aegis_core::id::RecordId;
use aegis_core::rules::RuleSet;
use aegis_events::replay::{Engine, Event, Grade, Raised, Responder, Verdict};
use indicatif::{ProgressBar, ProgressStyle};
use input::{Entry, Input};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use summary::Summary;

#[derive(clap::Args)]
#[command(after_help = "\
Formats:
  events      JSON lines by time: ts, actor, kind, parent, source_ip, op, resource, user_agent,
              outcome, and optionally env, plane, cred_age, scope
  cloudtrail  log files of AWS CloudTrail; what is not of KMS is passed over
  aegis       JSON lines of audit records, as `aegis audit --json` prints them

A file may be compressed with gzip. The first seven days teach; what statistics say of them counts
only where it is extreme. Verdicts have a line per event: risk, grade, reason. Grade 1 is an alert
or a step-up, grade 2 a response that waits for nobody. CloudTrail's are in the order of time.

A line that is no event, or a record that is none of CloudTrail's, is passed over: its verdict is
`invalid`, before all others where it has no time, and it is told of at the end. The exit code is 0
as long as there is anything else; it is 1 where there is not, or where a file is broken: cut off,
not compressed as it says, or no JSON. The summary says what response rules would have done; they
change no verdict.

Examples:
  aegis replay events.jsonl --verdicts verdicts.csv
  aegis replay --format cloudtrail 111122223333_CloudTrail_eu-central-1_*.json.gz")]
pub(crate) struct Arguments {
    /// The recorded events; `-` reads standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// What the files are
    #[arg(long, value_enum, default_value_t = Format::Events)]
    format: Format,
    /// Write `risk,grade,reason` there, one line per event, without a heading
    #[arg(long, value_name = "FILE")]
    verdicts: Option<PathBuf>,
    /// Try these response rules, not those that Aegis ships with
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Write what detectors recommend there, as JSON lines
    #[arg(long, value_name = "FILE")]
    recommendations: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Format {
    Aegis,
    Cloudtrail,
    Events,
}

pub(crate) fn run(arguments: &Arguments, json: bool) -> Result<(), Failure> {
    let rules = match &arguments.rules {
        Some(file) => crate::client::rules::read(file)?.1,
        None => RuleSet::default(),
    };
    let mut replay = Replay {
        engine: Engine::default(),
        responder: Responder::new(rules),
        summary: Summary::default(),
        verdicts: arguments.verdicts.as_deref().map(Out::create).transpose()?,
        recommendations: arguments.recommendations.as_deref().map(Out::create).transpose()?,
    };
    let bar = bar(&arguments.files);
    let mut input = Input::new(arguments.format);
    for file in &arguments.files {
        input.read(file, &bar, &mut |entry| replay.take(&entry))?;
    }
    input.finish(&mut |entry| replay.take(&entry))?;
    bar.finish_and_clear();
    replay.finish(json)
}

struct Replay {
    engine: Engine,
    responder: Responder,
    summary: Summary,
    verdicts: Option<Out>,
    recommendations: Option<Out>,
}

impl Replay {
    /// Each has a verdict, so that lines fit.
    fn take(&mut self, entry: &Entry) -> Result<(), Failure> {
        self.summary.count_line();
        match entry {
            Entry::Event(event, record) => self.judge(event, record.as_ref()),
            Entry::Invalid(why) => {
                self.summary.add_invalid(why);
                self.write_verdict("0.0000,0,invalid")
            }
            Entry::NoUse => self.write_verdict("0.0000,0,no use of a key"),
        }
    }

    fn judge(&mut self, event: &Event, record: Option<&RecordId>) -> Result<(), Failure> {
        let verdict = self.engine.observe(event);
        if self.verdicts.is_some() {
            self.write_verdict(&format!("{:.4},{},{}", verdict.risk, u8::from(verdict.grade), reason(&verdict)))?;
        }
        self.summary.add(event, &verdict);
        for raised in self.responder.take(event, record, &verdict) {
            self.summary.add_raised(&raised);
            if let Some(out) = &mut self.recommendations {
                let told = told(&raised, event, &verdict, self.summary.lines())?;
                out.line(told.to_string().as_bytes())?;
            }
        }
        Ok(())
    }

    fn write_verdict(&mut self, line: &str) -> Result<(), Failure> {
        self.verdicts.as_mut().map_or(Ok(()), |out| out.line(line.as_bytes()))
    }

    fn finish(self, json: bool) -> Result<(), Failure> {
        for out in [self.verdicts, self.recommendations].into_iter().flatten() {
            out.close()?;
        }
        if let Some(failure) = self.summary.nothing_was_valid() {
            return Err(failure);
        }
        self.summary.warn();
        match json {
            true => output::json(&self.summary.json()),
            false => output::styled(&self.summary.text()),
        }
    }
}

/// An `AgentRecommendation`, with where it comes from and what the rules order about it besides.
fn told(raised: &Raised, event: &Event, verdict: &Verdict, line: u64) -> Result<Value, Failure> {
    let recommendation = serde_json::to_value(&raised.recommendation);
    let mut told = recommendation.map_err(|error| Failure::because("a recommendation", &error))?;
    let replayed = json!({
        "actor": event.actor,
        "op": event.op,
        "resource": event.resource,
        "grade": u8::from(raised.grade),
        "risk": verdict.risk_in_context(),
        "rule": raised.rule,
        "would": raised.admission.carried_out,
        "suppressed": raised.admission.suppressed,
    });
    if let Some(evidence) = told.get_mut("evidence").and_then(Value::as_object_mut) {
        evidence.insert("line".to_string(), json!(line));
    }
    if let Some(fields) = told.as_object_mut() {
        fields.insert("replayed".to_string(), replayed);
    }
    Ok(told)
}

/// Why, on one line and without a comma.
fn reason(verdict: &Verdict) -> String {
    let detectors: Vec<&str> = verdict.detectors.iter().map(|detector| detector.as_str()).collect();
    match (verdict.grade, verdict.reason.as_str()) {
        (Grade::None, "") => "as usual".to_string(),
        (Grade::None, reason) => reason.to_string(),
        (_, reason) => format!("{}: {reason}", detectors.join(" ")),
    }
}

/// How much is read, on a terminal; nothing elsewhere.
fn bar(files: &[PathBuf]) -> ProgressBar {
    let length: Option<u64> = files.iter().map(|file| std::fs::metadata(file).ok().map(|data| data.len())).sum();
    let (Some(length), true) = (length, std::io::stderr().is_terminal()) else { return ProgressBar::hidden() };
    let bar = ProgressBar::new(length);
    let style = ProgressStyle::with_template("{bar:30} {bytes} of {total_bytes}, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// A file that results go to; `-` is standard output.
struct Out {
    name: String,
    to: BufWriter<Box<dyn Write>>,
}

impl Out {
    fn create(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let to: Box<dyn Write> = match path == Path::new("-") {
            true => Box::new(std::io::stdout()),
            false => {
                Box::new(File::create(path).map_err(|error| Failure::because(&format!("cannot write {name}"), &error))?)
            }
        };
        Ok(Self { name, to: BufWriter::with_capacity(1 << 16, to) })
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Failure> {
        let written = self.to.write_all(line).and_then(|()| self.to.write_all(b"\n"));
        written.map_err(|error| self.failure(&error))
    }

    fn close(mut self) -> Result<(), Failure> {
        self.to.flush().map_err(|error| self.failure(&error))
    }

    fn failure(&self, error: &std::io::Error) -> Failure {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Failure::because(&format!("cannot write {}", self.name), error),
        }
    }
}
