//! What no single agent shows: all of a human's agents together do too much, or are too many.

use super::judge::sums;
use aegis_core::recommendation::Detector;
use aegis_core::risk::baseline::minute_of;
use aegis_core::risk::evidence::{Channel, Evidence};
use aegis_core::risk::sighting::Sighting;
use aegis_core::risk::state::State;
use std::collections::BTreeSet;

/// The detectors that fire for a fleet, of the evidence of one sighting of it; and on how many decades. What tells agents
/// apart takes the place of the client.
pub fn fired(fleet: &State, s: &Sighting, evidence: &Evidence) -> impl Iterator<Item = (Detector, f64)> {
    let [_, _, _, pace, volume, ..] = sums(evidence);
    let together = (volume >= 5.6 || pace >= 4.5) && agents(fleet, s) >= 3;
    let spawned = evidence.of(Channel::Client);
    let fired = [
        (Detector::AgentsInConcert, together, volume.max(pace)),
        (Detector::AgentSpawnRate, spawned.observed >= 4.0 && spawned.decades >= 2.4, spawned.decades),
    ];
    fired.into_iter().filter(|(_, fired, _)| *fired).map(|(detector, _, decades)| (detector, decades))
}

/// How many came in the minute.
fn agents(fleet: &State, s: &Sighting) -> usize {
    let open = fleet.minute(minute_of(s.at)).into_iter().flat_map(|minute| &minute.traces);
    open.map(|trace| trace.client).collect::<BTreeSet<u32>>().len()
}
