//! The keys an actor has used, as sets of bits: of hundreds of keys, whether one was used before. The table of keys knows
//! more of each, but only of few.

use super::table::{QUARANTINE, Standing};

/// Words of a set: with 300 keys some 4 % of all others pass for one of them.
const WORDS: usize = 32;
const BITS: u32 = 2_048;
/// Most set bits of the known ones: above it too many others would pass for known, and they are begun anew.
const MOST_SET: u32 = 1_126;

/// The known ones, and those that came up lately.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Used {
    pub(super) known: [u64; WORDS],
    pub(super) lately: [u64; WORDS],
    /// The day since which they did, since 1970.
    pub(super) since: u32,
}

impl Used {
    pub fn standing(&self, value: u32) -> Standing {
        match () {
            () if contains(&self.known, value) => Standing::Known { weight: 0.0, last: 0 },
            () if contains(&self.lately, value) => Standing::Fresh,
            () => Standing::Absent,
        }
    }

    /// Takes a value in: known at once where the actor is at its beginning, or somebody who may has said that it is right.
    pub fn learn(&mut self, value: u32, at_once: bool) {
        let set = if at_once { &mut self.known } else { &mut self.lately };
        for (place, mask) in places(value) {
            if let Some(word) = set.get_mut(place) {
                *word |= mask;
            }
        }
    }

    /// Every two days what came up lately becomes known.
    pub fn advance(&mut self, day: u32) {
        if day < self.since.saturating_add(QUARANTINE) {
            return;
        }
        if self.known.iter().map(|word| word.count_ones()).sum::<u32>() > MOST_SET {
            self.known = [0; WORDS];
        }
        join(&mut self.known, &self.lately);
        (self.lately, self.since) = ([0; WORDS], day);
    }

    pub fn merge(&mut self, other: &Self) {
        join(&mut self.known, &other.known);
        join(&mut self.lately, &other.lately);
        self.since = self.since.max(other.since);
    }
}

fn join(ours: &mut [u64; WORDS], theirs: &[u64; WORDS]) {
    ours.iter_mut().zip(theirs).for_each(|(ours, theirs)| *ours |= theirs);
}

fn contains(set: &[u64; WORDS], value: u32) -> bool {
    places(value).all(|(place, mask)| set.get(place).is_some_and(|word| word & mask != 0))
}

/// Three bits of a value, which is a hash already.
fn places(value: u32) -> impl Iterator<Item = (usize, u64)> {
    [value, value.rotate_right(11), value.wrapping_mul(0x9e37_79b1) >> 11].into_iter().map(|hash| {
        let bit = hash % BITS;
        (usize::try_from(bit / 64).unwrap_or(0), 1 << (bit % 64))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::risk::sighting::hash;

    fn key(n: u32) -> u32 {
        hash(format!("key-{n}").as_bytes())
    }

    #[test]
    fn what_came_up_becomes_known_after_its_quarantine() {
        let mut used = Used::default();
        used.advance(100);
        used.learn(key(1), false);
        used.learn(key(2), true);
        assert_eq!(used.standing(key(1)), Standing::Fresh);
        assert!(matches!(used.standing(key(2)), Standing::Known { .. }));
        used.advance(101);
        assert_eq!(used.standing(key(1)), Standing::Fresh);
        used.advance(102);
        assert!(matches!(used.standing(key(1)), Standing::Known { .. }));
        assert_eq!(used.standing(key(3)), Standing::Absent);
    }

    #[test]
    fn of_300_keys_each_is_known_and_few_others_are_taken_for_one() {
        let mut used = Used::default();
        (0..300).for_each(|n| used.learn(key(n), true));
        let known = |n: &u32| matches!(used.standing(key(*n)), Standing::Known { .. });
        assert_eq!((0..300).filter(known).count(), 300);
        let mistaken = (1_000..11_000).filter(known).count();
        assert!(mistaken < 800, "{mistaken} of 10,000");
    }

    #[test]
    fn a_set_that_is_too_full_to_tell_anything_is_begun_anew() {
        let mut used = Used::default();
        (0..2_000).for_each(|n| used.learn(key(n), true));
        used.learn(key(5_000), false);
        used.advance(10);
        assert!(matches!(used.standing(key(5_000)), Standing::Known { .. }));
        let mistaken = (0..2_000).filter(|n| matches!(used.standing(key(*n)), Standing::Known { .. })).count();
        assert!(mistaken < 20, "{mistaken}");
    }
}
