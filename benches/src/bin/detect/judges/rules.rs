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
        Ruling { risk: count as f64 / fired.len() as f64, grade, cause: None }
    }
}

fn is_new(known: &mut HashSet<String>, value: &Option<String>) -> bool {
    let Some(value) = value else { return false };
    !known.contains(value) && known.insert(value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_fires_on_what_it_is_for() {
        let mut rules = Rules::default();
        let mut grade = |ts: f64, ip: &str, key: &str| {
            let text =
                format!(r#"{{"ts": {ts}, "actor": "a", "op": "sign", "source_ip": "{ip}", "resource": "{key}"}}"#);
            rules.judge(&serde_json::from_str(&text).unwrap()).grade
        };
        let table = [
            (0.0, "192.0.2.1", "k1", Grade::Automatic),
            (1.0, "192.0.2.1", "k1", Grade::None),
            (2.0, "192.0.2.2", "k1", Grade::Alert),
            (3.0, "192.0.2.2", "k2", Grade::Alert),
        ];
        for (ts, ip, key, expected) in table {
            assert_eq!(grade(ts, ip, key), expected, "{ts}");
        }
        for number in 0..PER_MINUTE {
            assert_eq!(grade(100.0 + number as f64 / 10.0, "192.0.2.1", "k1"), Grade::None);
        }
        assert_eq!(grade(112.0, "192.0.2.1", "k1"), Grade::Alert);
    }
}
