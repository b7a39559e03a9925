//! Static rules, as many deployments have them: too many requests in a minute, an address or a key that is new.

use super::{Judge, Ruling};
use aegis_events::replay::{Event, Grade};
use std::collections::{HashMap, HashSet, VecDeque};

/// More in a minute is an alert.
const PER_MINUTE: usize = 100;

#[derive(Default)]
pub(crate) struct Rules {
    actors: HashMap<String, Known>,
}

#[derive(Default)]
struct Known {
    minute: VecDeque<f64>,
    addresses: HashSet<String>,
    keys: HashSet<String>,
}

impl Judge for Rules {
    /// One rule that fires is an alert, two at once are a response.
    fn judge(&mut self, event: &Event) -> Ruling {
        if !self.actors.contains_key(&event.actor) {
            self.actors.insert(event.actor.clone(), Known::default());
        }
        let known = self.actors.get_mut(&event.actor).unwrap();
        known.minute.push_back(event.ts);
        while known.minute.front().is_some_and(|ts| *ts < event.ts - 60.0) {
            known.minute.pop_front();
        }
        let fast = known.minute.len() > PER_MINUTE;
        let fired = [fast, is_new(&mut known.addresses, &event.source_ip), is_new(&mut known.keys, &event.resource)];
        let count = fired.iter().filter(|fired| **fired).count();
        let grade = match count {
            0 => Grade::None,
            1 => Grade::Alert,
            _ => Grade::Automatic,
        };
        Ruling { risk: count as f64 / fired.len() as f64, grade }
    }
}

fn is_new(known: &mut HashSet<String>, value: &Option<String>) -> bool {
    let Some(value) = value else { return false };
    !known.contains(value) && known.insert(value.clone())
}
