//! Recorded events from files: lines, or CloudTrail's documents; compressed or not.

use super::Format;
use crate::Failure;
use aegis_core::id::RecordId;
use aegis_core::record::AuditRecord;
use aegis_events::replay::{Event, NoEvent, cloudtrail, export};
use flate2::read::MultiGzDecoder;
use indicatif::ProgressBar;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// Longest line that is read, in bytes, far beyond any record.
const MOST_LINE: u64 = 1 << 20;

/// What a line holds, or one of CloudTrail's records.
pub(super) enum Entry {
    /// An event, with the audit record that it stands for where it is one of ours.
    Event(Box<Event>, Option<RecordId>),
    /// Nothing that can be judged: why, and where.
    Invalid(String),
    /// A record that is of no key.
    NoUse,
}

/// Takes each in turn.
type Take<'a> = dyn FnMut(Entry) -> Result<(), Failure> + 'a;

/// Takes a line and its number; `None` stands for one that is too long.
type Line<'a> = dyn FnMut(Option<&[u8]>, u64) -> Result<(), Failure> + 'a;

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
            Format::Cloudtrail => self.read_trail(reader, &name, take),
            Format::Aegis => lines(&mut reader, &name, &mut |line, number| take(of_record(line, &name, number))),
            Format::Events => lines(&mut reader, &name, &mut |line, number| take(of_event(line, &name, number))),
        }
    }

    /// What is no record has no time, and is told of at once.
    fn read_trail(&mut self, log: Box<dyn BufRead>, name: &str, take: &mut Take<'_>) -> Result<(), Failure> {
        let (mut number, mut invalid) = (0_u64, Vec::new());
        let read = cloudtrail::read(log, &mut |record| {
            number = number.saturating_add(1);
            match record {
                Ok(record) => self.sorted.extend(record.event()),
                Err(error) => {
                    let text = error.to_string();
                    let why = without_place(&text);
                    invalid.push(format!("{name}, record {number} is not one of CloudTrail: {why}"));
                }
            }
        });
        invalid.into_iter().try_for_each(|why| take(Entry::Invalid(why)))?;
        read.map_err(|broken| Failure::because(&format!("cannot read {name}"), &broken))
    }

    pub(super) fn finish(mut self, take: &mut Take<'_>) -> Result<(), Failure> {
        self.sorted.sort_by(|a, b| a.ts.total_cmp(&b.ts));
        self.sorted.into_iter().try_for_each(|event| take(Entry::Event(Box::new(event), None)))
    }
}

fn lines<R: BufRead>(reader: &mut R, name: &str, take: &mut Line<'_>) -> Result<(), Failure> {
    let mut line = Vec::new();
    for number in 1.. {
        let cannot = |error: std::io::Error| Failure::because(&format!("cannot read {name}, line {number}"), &error);
        line.clear();
        if reader.by_ref().take(MOST_LINE).read_until(b'\n', &mut line).map_err(cannot)? == 0 {
            break;
        }
        let is_whole = line.ends_with(b"\n") || u64::try_from(line.len()).is_ok_and(|length| length < MOST_LINE);
        if !is_whole {
            reader.skip_until(b'\n').map_err(cannot)?;
        }
        // Of the line itself: an error's column counts from its beginning.
        take(is_whole.then(|| line.trim_ascii_end()), number)?;
    }
    Ok(())
}

fn of_event(line: Option<&[u8]>, name: &str, number: u64) -> Entry {
    let Some(line) = line else { return too_long(name, number) };
    match Event::parse(line) {
        Ok(event) => Entry::Event(Box::new(event), None),
        Err(NoEvent::Json(error)) => Entry::Invalid(format!("{name}, line {number} is not an event: {}", told(&error))),
        Err(error @ NoEvent::Time) => Entry::Invalid(format!("{name}, line {number}: {error}")),
    }
}

fn of_record(line: Option<&[u8]>, name: &str, number: u64) -> Entry {
    let Some(line) = line else { return too_long(name, number) };
    match serde_json::from_slice::<AuditRecord>(line) {
        Ok(record) => {
            export::event(&record).map_or(Entry::NoUse, |event| Entry::Event(Box::new(event), Some(record.id)))
        }
        Err(error) => Entry::Invalid(format!("{name}, line {number} is not an audit record: {}", told(&error))),
    }
}

fn too_long(name: &str, number: u64) -> Entry {
    Entry::Invalid(format!("{name}, line {number} is longer than 1 MiB"))
}

/// What is wrong, without serde's own line number, which counts within the line.
fn told(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match without_place(&text) {
        what if what == text => text,
        what => format!("{what} (column {})", error.column()),
    }
}

fn without_place(text: &str) -> &str {
    text.rsplit_once(" at line ").map_or(text, |(what, _)| what)
}
