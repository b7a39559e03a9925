//! `aegis replay`: recorded events, judged as if they happened now. Works on files alone and asks no server; the clock is
//! the events' own, so that the same file gives the same verdicts.

mod input;
mod summary;
#[cfg(test)]
mod tests;

use crate::Failure;
use crate::client::output;
use aegis_events::replay::{Engine, Event, Grade, Verdict};
use indicatif::{ProgressBar, ProgressStyle};
use input::Input;
use serde_json::json;
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

Example:
  aegis replay events.jsonl --verdicts verdicts.csv")]
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
    let mut replay = Replay {
        engine: Engine::default(),
        summary: Summary::default(),
        verdicts: arguments.verdicts.as_deref().map(Out::create).transpose()?,
        recommendations: arguments.recommendations.as_deref().map(Out::create).transpose()?,
    };
    let bar = bar(&arguments.files);
    let mut input = Input::new(arguments.format);
    for file in &arguments.files {
        input.read(file, &bar, &mut |event| replay.judge(event.as_ref()))?;
    }
    input.finish(&mut |event| replay.judge(event.as_ref()))?;
    bar.finish_and_clear();
    replay.finish(json)
}

struct Replay {
    engine: Engine,
    summary: Summary,
    verdicts: Option<Out>,
    recommendations: Option<Out>,
}

impl Replay {
    /// `None` for a record that is of no key: it has a verdict, too, so that lines fit.
    fn judge(&mut self, event: Option<&Event>) -> Result<(), Failure> {
        let Some(event) = event else {
            return self.verdicts.as_mut().map_or(Ok(()), |out| out.line(b"0.0000,0,no use of a key"));
        };
        let verdict = self.engine.observe(event);
        if let Some(out) = &mut self.verdicts {
            let line = format!("{:.4},{},{}", verdict.risk, u8::from(verdict.grade), reason(&verdict));
            out.line(line.as_bytes())?;
        }
        for detector in self.summary.add(event, &verdict) {
            if let Some(out) = &mut self.recommendations {
                let recommendation = json!({
                    "ts": event.ts,
                    "detector": detector,
                    "actor": event.actor,
                    "grade": u8::from(verdict.grade),
                    "risk": verdict.risk,
                    "op": event.op,
                    "resource": event.resource,
                    "line": self.summary.events(),
                    "factors": verdict.evidence.factors().collect::<Vec<_>>(),
                });
                out.line(recommendation.to_string().as_bytes())?;
            }
        }
        Ok(())
    }

    fn finish(self, json: bool) -> Result<(), Failure> {
        for out in [self.verdicts, self.recommendations].into_iter().flatten() {
            out.close()?;
        }
        match json {
            true => output::json(&self.summary.json()),
            false => output::styled(&self.summary.text()),
        }
    }
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
