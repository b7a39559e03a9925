//! Recorded events from files: lines, or CloudTrail's documents; compressed or not.

use super::Format;
use crate::Failure;
use aegis_core::record::AuditRecord;
use aegis_events::replay::{Event, NoEvent, cloudtrail, export};
use flate2::read::MultiGzDecoder;
use indicatif::ProgressBar;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// Longest line that is read, in bytes, far beyond any record: a longer one does not parse.
const MOST_LINE: u64 = 1 << 20;

/// Takes each event in turn; `None` stands for a record of no event.
type Take<'a> = dyn FnMut(Option<Event>) -> Result<(), Failure> + 'a;

/// Takes a line and its number.
type Line<'a> = dyn FnMut(&[u8], u64) -> Result<(), Failure> + 'a;

pub(super) struct Input {
    format: Format,
    /// CloudTrail's files overlap in time: their events are sorted before they are judged.
    sorted: Vec<Event>,
}

impl Input {
    pub(super) fn new(format: Format) -> Self {
        Self { format, sorted: Vec::new() }
    }

    pub(super) fn read(&mut self, file: &Path, bar: &ProgressBar, take: &mut Take<'_>) -> Result<(), Failure> {
        let name = file.display().to_string();
        let cannot = |error: std::io::Error| Failure::because(&format!("cannot read {name}"), &error);
        let raw: Box<dyn Read> = match file == Path::new("-") {
            true => Box::new(std::io::stdin()),
            false => Box::new(File::open(file).map_err(cannot)?),
        };
        let mut raw = BufReader::with_capacity(1 << 16, bar.wrap_read(raw));
        let compressed = raw.fill_buf().map_err(cannot)?.starts_with(&[0x1f, 0x8b]);
        let mut reader: Box<dyn BufRead> = match compressed {
            true => Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(raw))),
            false => Box::new(raw),
        };
        match self.format {
            Format::Cloudtrail => {
                let log: cloudtrail::Log = serde_json::from_reader(reader)
                    .map_err(|error| Failure::Failed(format!("{name} is no log file of CloudTrail: {error}")))?;
                self.sorted.extend(log.records.into_iter().filter_map(cloudtrail::Record::event));
                Ok(())
            }
            Format::Aegis => lines(&mut reader, &name, &mut |line, number| {
                let record: Result<AuditRecord, _> = serde_json::from_slice(line);
                let wrong = |error| Failure::Failed(format!("{name}, line {number} is not an audit record: {error}"));
                take(export::event(&record.map_err(|error| wrong(told(&error)))?))
            }),
            Format::Events => lines(&mut reader, &name, &mut |line, number| {
                take(Some(Event::parse(line).map_err(|error| no_event(&error, &name, number))?))
            }),
        }
    }

    pub(super) fn finish(mut self, take: &mut Take<'_>) -> Result<(), Failure> {
        self.sorted.sort_by(|a, b| a.ts.total_cmp(&b.ts));
        self.sorted.into_iter().try_for_each(|event| take(Some(event)))
    }
}

fn lines<R: BufRead>(reader: &mut R, name: &str, take: &mut Line<'_>) -> Result<(), Failure> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = reader.by_ref().take(MOST_LINE).read_until(b'\n', &mut line);
        if read.map_err(|error| Failure::because(&format!("cannot read {name}, line {number}"), &error))? == 0 {
            break;
        }
        // Of the line itself: an error's column counts from its beginning.
        take(line.trim_ascii_end(), number)?;
    }
    Ok(())
}

fn no_event(error: &NoEvent, name: &str, number: u64) -> Failure {
    Failure::Failed(match error {
        NoEvent::Json(error) => format!("{name}, line {number} is not an event: {}", told(error)),
        NoEvent::Time => format!("{name}, line {number}: {error}"),
    })
}

/// What is wrong, without serde's own line number, which counts within the line.
fn told(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(what, _)| format!("{what} (column {})", error.column()))
}
