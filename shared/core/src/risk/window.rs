//! The minutes of an actor that are still open: what is folded into its baseline once no earlier record can come any
//! more. Within it, all that is read is a function of the set of records, and grows with the set: what fires early
//! would fire at the end.

use super::DAY;
use super::baseline::Baseline;
use super::sighting::{Class, Network, Seen, Sighting, hash_of_numbers};

/// Most records told apart in a minute; what comes beyond is counted no more (34 a second is far above any threshold).
pub const MOST_IDS: usize = 2_048;
/// Most combinations of key, operation, network, client and outcome told apart in a minute.
pub const MOST_TRACES: usize = 64;
/// Of those the most that worked, where more than the rest are of what did not: whoever asks for what is not there hides nothing
/// that worked, nor the other way round.
const MOST_WORKED: usize = 48;

/// Sorts of operations whose share is watched: who makes things under keys may turn to taking things out, and the other way
/// round. To look does no harm, and to govern is seldom.
pub const MIXED: [Class; 2] = [Class::Make, Class::Release];

/// One minute of an actor.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Minute {
    /// Since 1970.
    pub minute: u32,
    pub(super) ids: Vec<u32>,
    pub(super) seconds: Vec<u16>,
    /// Of each sort of operation, in the order of [`MIXED`], those that worked.
    pub(super) mix: [u16; MIXED.len()],
    pub traces: Vec<Trace>,
}

/// What one combination did within the minute.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Trace {
    pub key: u32,
    pub operation: u32,
    pub class: Class,
    pub near: u32,
    pub wide: u32,
    pub client: u32,
    pub outcome: Seen,
    /// Milliseconds into the minute.
    pub first: u16,
    pub last: u16,
    pub count: u16,
    pub scope: u32,
}

impl Trace {
    pub fn network(&self) -> Network {
        Network { near: self.near, wide: self.wide }
    }

    /// As a sighting of the minute, to be weighed again.
    pub fn sighting(&self, minute: u32) -> Sighting {
        Sighting {
            id: 0,
            at: i64::from(minute) * 60_000 + i64::from(self.last),
            key: self.key,
            operation: self.operation,
            class: self.class,
            network: self.network(),
            client: self.client,
            outcome: self.outcome,
            scope: self.scope,
        }
    }

    fn worked(&self) -> bool {
        self.outcome == Seen::Ok
    }

    /// Of what makes it another than the rest of its minute.
    fn hash(&self) -> u64 {
        let outcome = u32::from(self.outcome.code());
        hash_of_numbers(&[self.key, self.operation, self.near, self.client, outcome])
    }

    /// Whether a sighting of its minute is part of it.
    pub fn is_of(&self, s: &Sighting) -> bool {
        self.key == s.key
            && self.operation == s.operation
            && self.near == s.network.near
            && self.client == s.client
            && self.outcome == s.outcome
    }
}

/// What a sighting added to its minute.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Added {
    /// It was there already.
    Again,
    /// The minute holds no more.
    Full,
    /// One more of a combination that was there.
    More,
    /// A combination that was not there.
    Other,
}

impl Minute {
    pub fn new(minute: u32) -> Self {
        Self { minute, ..Self::default() }
    }

    /// Takes a sighting in. `baseline` is what the minute is held against: it says what is familiar.
    pub fn add(&mut self, s: &Sighting, baseline: &Baseline) -> Added {
        let Err(place) = self.ids.binary_search(&s.id) else { return Added::Again };
        let counts = self.ids.len() < MOST_IDS;
        let millis = s.at.rem_euclid(60_000);
        if counts {
            self.ids.insert(place, s.id);
            let second = usize::try_from(millis / 1_000).unwrap_or(0);
            if self.seconds.len() <= second {
                self.seconds.resize(second.saturating_add(1), 0);
            }
            if let Some(count) = self.seconds.get_mut(second) {
                *count = count.saturating_add(1);
            }
            let of = |class: &(Class, &mut u16)| class.0 == s.class && s.outcome == Seen::Ok;
            if let Some((_, count)) = MIXED.into_iter().zip(&mut self.mix).find(of) {
                *count = count.saturating_add(1);
            }
        }
        let millis = u16::try_from(millis).unwrap_or(0);
        // What it is of is told apart even where it is counted no more.
        if let Some(trace) = self.traces.iter_mut().find(|trace| trace.is_of(s)) {
            trace.first = trace.first.min(millis);
            trace.last = trace.last.max(millis);
            trace.count = trace.count.saturating_add(u16::from(counts));
            trace.scope = trace.scope.max(s.scope);
            return if counts { Added::More } else { Added::Full };
        }
        self.traces.push(Trace {
            key: s.key,
            operation: s.operation,
            class: s.class,
            near: s.network.near,
            wide: s.network.wide,
            client: s.client,
            outcome: s.outcome,
            first: millis,
            last: millis,
            count: 1,
            scope: s.scope,
        });
        self.make_room(baseline);
        if counts { Added::Other } else { Added::Full }
    }

    /// Lets the last go where there are too many. Which is the last does not depend on which came first, and what is gone would be
    /// the last again: of what worked and of what did not alike, what the actor never did comes before what comes from where it never
    /// was, both before what is familiar, and the first of each key before the second of any. The rest is by hash. What a minute
    /// counts, it still counts.
    fn make_room(&mut self, baseline: &Baseline) {
        if self.traces.len() <= MOST_TRACES {
            return;
        }
        let worked = self.traces.iter().filter(|trace| trace.worked()).count() > MOST_WORKED;
        let day = self.minute / DAY;
        let traces = self.traces.iter().enumerate().filter(|(_, trace)| trace.worked() == worked);
        let mut by_key: Vec<_> =
            traces.map(|(place, trace)| (baseline.familiarity(trace, day), trace.key, trace.hash(), place)).collect();
        by_key.sort_unstable();
        let (mut of, mut rank) = (None, 0_u32);
        let ranked = by_key.into_iter().map(|(familiar, key, hash, place)| {
            rank = if of == Some((familiar, key)) { rank.saturating_add(1) } else { 0 };
            of = Some((familiar, key));
            ((familiar, rank, hash_of_numbers(&[key]), hash), place)
        });
        if let Some((_, last)) = ranked.max() {
            self.traces.swap_remove(last);
        }
    }

    /// How many records.
    pub fn count(&self) -> u32 {
        u32::try_from(self.ids.len()).unwrap_or(u32::MAX)
    }

    /// The most records in one second.
    pub fn most_in_a_second(&self) -> u32 {
        self.seconds.iter().copied().max().map_or(0, u32::from)
    }

    /// The most records in one of the six ten-second parts.
    pub fn most_in_ten_seconds(&self) -> u32 {
        self.seconds.chunks(10).map(|part| part.iter().copied().map(u32::from).sum()).max().unwrap_or(0)
    }

    /// The traces in an order that does not tell which came first.
    pub fn in_order(&self) -> Vec<Trace> {
        let mut traces = self.traces.clone();
        traces.sort_unstable();
        traces
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Of 200 combinations: every third was refused, and 40 keys are known.
    fn sightings() -> Vec<Sighting> {
        let of = |n: u32| Sighting {
            id: n + 1,
            at: i64::from(n) * 290,
            key: n % 90 + 1,
            operation: n % 7 + 1,
            class: Class::Make,
            network: Network { near: 100 + n / 90, wide: 10 },
            client: 7,
            outcome: if n.is_multiple_of(3) { Seen::Denied } else { Seen::Ok },
            scope: 0,
        };
        (0..200).map(of).collect()
    }

    fn known() -> Baseline {
        let mut baseline = Baseline::default();
        for (minute, key) in (1_440..).zip(1..=40) {
            let mut of = Minute::new(minute);
            for s in sightings().iter().filter(|s| s.key == key) {
                of.add(&Sighting { outcome: Seen::Ok, ..*s }, &baseline);
            }
            baseline.fold(&of);
        }
        baseline.advance(9 * DAY);
        baseline
    }

    fn of(sightings: &[Sighting], baseline: &Baseline) -> Minute {
        let mut minute = Minute::new(9 * DAY);
        for s in sightings {
            minute.add(s, baseline);
        }
        minute.traces.sort_unstable();
        minute
    }

    proptest! {
        #[test]
        fn any_order_and_repetition_of_200_combinations_makes_the_same_minute(
            order in Just(sightings()).prop_shuffle(),
            again in proptest::collection::vec(0_usize..200, 0..200),
        ) {
            let baseline = known();
            let mut came = order.clone();
            for (place, n) in again.into_iter().enumerate() {
                came.insert(place, order[n]);
            }
            prop_assert_eq!(of(&came, &baseline), of(&sightings(), &baseline));
        }
    }

    #[test]
    fn what_is_familiar_and_what_is_refused_crowd_no_new_key_out() {
        let baseline = known();
        let new = |n: u32| Sighting { id: 1_000 + n, key: 500 + n, outcome: Seen::Ok, ..sightings()[1] };
        // 40 known keys in 133 combinations that worked, 67 refusals, then some new keys.
        let came: Vec<Sighting> = sightings().into_iter().filter(|s| s.key <= 40 || s.outcome != Seen::Ok).collect();
        let minute = of(&came.into_iter().chain((0..30).map(new)).collect::<Vec<_>>(), &baseline);
        let worked: BTreeSet<u32> =
            minute.traces.iter().filter(|trace| trace.worked()).map(|trace| trace.key).collect();
        assert!((0..30).all(|n| worked.contains(&new(n).key)), "{worked:?}");
        assert_eq!(minute.traces.len(), MOST_TRACES);
        assert_eq!(minute.traces.iter().filter(|trace| !trace.worked()).count(), MOST_TRACES - MOST_WORKED);
    }

    /// Who asks says herself where she comes from: no number of inventions hides what she never did.
    #[test]
    fn new_clients_crowd_no_new_operation_out() {
        let baseline = known();
        let usual = Sighting { key: 1, operation: 1, outcome: Seen::Ok, ..sightings()[1] };
        for client in 0..50 {
            let many = (0..300).map(|n| Sighting { id: n, client: 1_000 + n, ..usual });
            let new = Sighting { id: 5_000, operation: 40, client: 9_000 + client, ..usual };
            let minute = of(&many.chain([new]).collect::<Vec<_>>(), &baseline);
            assert!(minute.traces.iter().any(|trace| trace.operation == 40), "{client}");
        }
    }

    #[test]
    fn every_key_keeps_a_combination_before_any_keeps_a_second() {
        let first = Sighting { outcome: Seen::Ok, ..sightings()[0] };
        let many = (0..300).map(|n| Sighting { id: n, key: n % 3, client: n + 1, ..first });
        let few = (0..20).map(|n| Sighting { id: 1_000 + n, key: 10 + n, ..first });
        let minute = of(&many.chain(few).collect::<Vec<_>>(), &Baseline::default());
        let keys: BTreeSet<u32> = minute.traces.iter().map(|trace| trace.key).collect();
        assert_eq!((keys.len(), minute.traces.len(), minute.count()), (23, MOST_TRACES, 320));
    }

    #[test]
    fn what_is_counted_no_more_is_told_apart_all_the_same() {
        let first = Sighting { outcome: Seen::Ok, ..sightings()[0] };
        let many = (0..2_100).map(|n| Sighting { id: n, ..first });
        let minute = of(&many.chain([Sighting { id: 5_000, key: 77, ..first }]).collect::<Vec<_>>(), &known());
        assert_eq!((minute.count(), minute.traces.len()), (2_048, 2));
    }
}
