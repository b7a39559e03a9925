//! A bounded table of values an actor has used: on how many days, lately, and since when.

use super::DAY;

/// Days a value counts as new after it was first used: what an attacker brings does not become normal overnight.
pub const QUARANTINE: u32 = 2;
/// A day's worth of weight.
const ONE: u16 = 1_024;

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Entry {
    pub value: u32,
    /// The day of its first use, since 1970.
    pub first: u32,
    /// The hour of its last use, since 1970.
    pub last: u32,
    /// Days of use, decayed, in 1/1024.
    weight: u16,
}

impl Entry {
    pub fn weight(&self) -> f64 {
        f64::from(self.weight) / f64::from(ONE)
    }

    fn is_settled(&self, day: u32) -> bool {
        self.first.saturating_add(QUARANTINE) <= day
    }

    fn raw(&self) -> (u32, u32, u32, u16) {
        (self.value, self.first, self.last, self.weight)
    }
}

/// What is known of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Standing {
    Absent,
    /// Seen, and still in quarantine.
    Fresh,
    /// Known: how many days it was used on (decayed), and the hour of its last use.
    Known {
        weight: f64,
        last: u32,
    },
}

/// At most `N` values, each once; in no order that means anything.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Table<const N: usize> {
    entries: Vec<Entry>,
}

impl<const N: usize> Default for Table<N> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<const N: usize> Table<N> {
    pub fn standing(&self, value: u32, day: u32) -> Standing {
        match self.find(value) {
            None => Standing::Absent,
            Some(entry) if entry.is_settled(day) => Standing::Known { weight: entry.weight(), last: entry.last },
            Some(_) => Standing::Fresh,
        }
    }

    pub fn find(&self, value: u32) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.value == value)
    }

    /// Whether a value that is not here was never here: what a full table lacks may have had to make room.
    pub fn has_room(&self) -> bool {
        self.entries.len() < N
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// How many values are still in quarantine and were used on `day`.
    pub fn fresh_on(&self, day: u32) -> impl Iterator<Item = u32> {
        let fresh = move |entry: &&Entry| !entry.is_settled(day) && entry.last / 24 == day;
        self.entries.iter().filter(fresh).map(|entry| entry.value)
    }

    /// Counts a use in `hour`. Whether the value was not there before.
    pub fn learn(&mut self, value: u32, hour: u32) -> bool {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.value == value) {
            if entry.last / 24 != hour / 24 {
                entry.weight = entry.weight.saturating_add(ONE);
            }
            entry.last = entry.last.max(hour);
            return false;
        }
        self.insert(Entry { value, first: hour / 24, last: hour, weight: ONE });
        true
    }

    /// Takes a value out of quarantine: somebody who may has said that it is right.
    pub fn accept(&mut self, value: u32, hour: u32) {
        self.learn(value, hour);
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.value == value) {
            entry.first = entry.first.min((hour / 24).saturating_sub(QUARANTINE));
        }
    }

    /// Forgets by `factor`, in 1/65536.
    pub fn decay(&mut self, factor: u32) {
        for entry in &mut self.entries {
            let weight = u32::from(entry.weight).saturating_mul(factor) >> 16;
            entry.weight = u16::try_from(weight).unwrap_or(u16::MAX);
        }
        // Under a hundredth of a day left: half a year without use.
        self.entries.retain(|entry| entry.weight > 8);
    }

    /// Both tables' uses: of disjoint records. A day that both saw counts once while it is the last of both.
    pub fn merge(&mut self, other: &Self) {
        for theirs in &other.entries {
            match self.entries.iter_mut().find(|entry| entry.value == theirs.value) {
                Some(ours) => {
                    let twice =
                        if ours.last / 24 == theirs.last / 24 { ONE.min(ours.weight).min(theirs.weight) } else { 0 };
                    ours.weight = ours.weight.saturating_add(theirs.weight).saturating_sub(twice);
                    ours.first = ours.first.min(theirs.first);
                    ours.last = ours.last.max(theirs.last);
                }
                None => self.entries.push(*theirs),
            }
        }
        // The heaviest stay; which those are does not depend on whose table came first.
        self.entries.sort_unstable_by_key(|entry| (std::cmp::Reverse(entry.weight), entry.raw()));
        self.entries.truncate(N);
        self.entries.sort_unstable_by_key(Entry::raw);
    }

    /// In a full table, what is in quarantine makes room first, then what was used least: a flood of new values does
    /// not wash out the old ones.
    fn insert(&mut self, new: Entry) {
        if self.entries.len() < N {
            self.entries.push(new);
            return;
        }
        let day = new.first;
        let rank = |entry: &Entry| (entry.is_settled(day), entry.weight, entry.last, entry.value);
        if let Some(least) = self.entries.iter_mut().min_by_key(|entry| rank(entry)) {
            *least = new;
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        // Bounded by N, which fits a byte.
        out.push(u8::try_from(self.entries.len()).unwrap_or(u8::MAX));
        for Entry { value, first, last, weight } in &self.entries {
            out.extend_from_slice(&value.to_le_bytes());
            let first = u16::try_from(*first).unwrap_or(u16::MAX);
            out.extend_from_slice(&first.to_le_bytes());
            // Hours last until the year 3883.
            let [a, b, c, _] = last.to_le_bytes();
            out.extend_from_slice(&[a, b, c]);
            out.extend_from_slice(&weight.to_le_bytes());
        }
    }

    pub(super) fn read(bytes: &mut &[u8]) -> Option<Self> {
        let count = usize::from(super::codec::take::<1>(bytes)?[0]);
        if count > N {
            return None;
        }
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            let value = u32::from_le_bytes(*super::codec::take(bytes)?);
            let first = u32::from(u16::from_le_bytes(*super::codec::take(bytes)?));
            let [a, b, c] = *super::codec::take::<3>(bytes)?;
            let weight = u16::from_le_bytes(*super::codec::take(bytes)?);
            entries.push(Entry { value, first, last: u32::from_le_bytes([a, b, c, 0]), weight });
        }
        Some(Self { entries })
    }
}

const _: () = assert!(DAY == 1_440, "hours and days are derived from minutes");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_known_after_its_quarantine_or_once_accepted() {
        let mut table = Table::<4>::default();
        assert_eq!(table.standing(7, 100), Standing::Absent);
        assert!(table.learn(7, 2_400));
        assert_eq!(table.standing(7, 101), Standing::Fresh);
        assert!(matches!(table.standing(7, 102), Standing::Known { .. }));
        table.accept(8, 2_400);
        assert!(matches!(table.standing(8, 100), Standing::Known { .. }));
    }

    #[test]
    fn a_flood_of_new_values_does_not_wash_out_old_ones() {
        let mut table = Table::<4>::default();
        for value in 1..=3 {
            table.learn(value, 0);
        }
        for value in 100..200 {
            table.learn(value, 2_400);
        }
        for value in 1..=3 {
            assert!(matches!(table.standing(value, 100), Standing::Known { .. }), "{value}");
        }
    }
}
