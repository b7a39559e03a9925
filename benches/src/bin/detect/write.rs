//! Writes the data out, for whoever wants to judge it by other means.

use crate::seeds::stories;
use std::fs::{File, create_dir_all};
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// One folder per organisation: `events.jsonl` in the replay format, and `labels.csv` with a line per event: 1 if it is
/// malicious, else 0; then attack and scenario, empty if there is none. An event with 0 and an attack prepares it.
pub(crate) fn write(folder: &Path, number: usize, seed: u64) -> io::Result<()> {
    for story in stories(seed) {
        let folder = folder.join(format!("seed{}-{}", number + 1, story.name));
        create_dir_all(&folder)?;
        let mut events = BufWriter::new(File::create(folder.join("events.jsonl"))?);
        let mut labels = BufWriter::new(File::create(folder.join("labels.csv"))?);
        for labelled in &story.events {
            serde_json::to_writer(&mut events, &labelled.event)?;
            events.write_all(b"\n")?;
            match labelled.part {
                Some(part) => {
                    let label = u8::from(part.malicious);
                    writeln!(labels, "{label},{},{}", part.attack, part.scenario.name())?;
                }
                None => writeln!(labels, "0,,")?,
            }
        }
        events.flush()?;
        labels.flush()?;
        println!("{}: {} events", folder.display(), story.events.len());
    }
    Ok(())
}
