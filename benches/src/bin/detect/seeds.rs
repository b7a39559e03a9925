//! Seeds, and the organisations each stands for.
//!
//! The rule: weights and thresholds are chosen on TRAIN and frozen, in a commit, before TEST is drawn. Whoever changes
//! them after a look at TEST draws new test seeds from the system's random source, in a commit after his.

use crate::attack::attack;
use crate::fleet::{Organisation, Size};
use crate::label::Labelled;
use crate::random::Random;

pub(crate) const TRAIN: [u64; 5] = [1, 2, 3, 4, 5];
pub(crate) const TEST: [u64; 5] = [11, 12, 13, 14, 15];

/// Of each seed: organisations that are attacked, and larger ones that are not.
const ATTACKED: usize = 8;
const QUIET: usize = 2;

pub(crate) struct Story {
    pub(crate) name: String,
    /// By time.
    pub(crate) events: Vec<Labelled>,
}

/// The organisations of one seed, one after the other: together they are too large to keep.
pub(crate) fn stories(seed: u64) -> impl Iterator<Item = Story> {
    let mut random = Random::new(seed);
    (0..ATTACKED + QUIET).map(move |number| {
        let mut random = random.fork();
        let quiet = number >= ATTACKED;
        let size = match quiet {
            true => Size { agents: 50..=60, days: 40..=45 },
            false => Size { agents: 20..=60, days: 30..=45 },
        };
        let organisation = Organisation::draw(&mut random, &size);
        let mut events = organisation.live(&mut random);
        by_time(&mut events);
        if !quiet {
            let mut attacks = attack(&organisation, &mut random, &events);
            events.append(&mut attacks);
            by_time(&mut events);
        }
        Story { name: format!("{}{}", if quiet { "quiet" } else { "attacked" }, number + 1), events }
    })
}

fn by_time(events: &mut [Labelled]) {
    events.sort_by(|a, b| a.event.ts.total_cmp(&b.event.ts));
}
