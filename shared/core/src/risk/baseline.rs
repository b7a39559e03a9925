//! What is normal for one actor: a bounded state that minutes are folded into, one after the other.
//!
//! Only what was allowed teaches it; peaks are learnt bounded, and new values wait in quarantine. A minute that was
//! folded is sealed: whatever arrives of it later changes nothing, and so does folding a record twice.

use super::DAY;
use super::sighting::{Class, Seen, Sighting};
use super::stats::{kept, whole};
use super::table::{Standing, Table};
use super::used::Used;
use super::weigh::STRETCHES;
use super::window::{MIXED, Minute, Trace};
use std::cmp::Ordering;

/// What a day forgets: 0.97, in 1/65536. Half a weight is gone after 23 days.
const DAILY: u32 = 63_570;
const DAILY_FACTOR: f32 = 0.97;
/// Days after which nothing is left of what was kept.
const REMEMBERED: u32 = 400;
/// Days during which everything an actor does is its beginning, and nothing of it an adoption.
const BEGINNING: u32 = 2;
/// How far above all it has seen a daily peak may teach, as a factor in log2: poisoning takes a day for each.
const MOST_GROWTH: f32 = 1.0;
/// Most that one hour adds to the sum of excesses, in standard deviations.
const MOST_EXCESS: f64 = 4.0;
/// Standard deviations an hour may exceed its upper profile by without adding to the sum.
const ALLOWANCE: f64 = 0.5;
/// The same of days.
const DAILY_ALLOWANCE: f64 = 0.75;
/// Least and most of an hour's deviations in the sum of 24 hours: one busy hour is no excess of a day.
const LEAST_OF_DAY: f64 = -1.0;
const MOST_OF_DAY: f64 = 3.0;
/// Parts of a deviation that are kept.
const PARTS: f64 = 32.0;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Baseline {
    /// The last minute folded, since 1970; 0 before any.
    pub through: u32,
    /// The minute of the first record.
    pub born: u32,
    pub keys: Table<28>,
    /// All of them, the table's included.
    pub used: Used,
    /// How many keys the open day took up.
    pub new_keys: u16,
    /// Key and operation together.
    pub uses: Table<16>,
    pub operations: Table<10>,
    /// Near and wide ones.
    pub networks: Table<16>,
    pub clients: Table<8>,
    /// Keys it was refused, of which none was ever allowed.
    pub refused: Table<8>,
    /// How many new values of each sort it took up after its beginning, decayed.
    pub adopted: [f32; SORTS],
    /// Closed days on which it was active, decayed.
    pub days: f32,
    /// Of those, the ones on which it was refused a key unknown to it; on which it came from a new and an old network by turns.
    pub refused_days: f32,
    pub mixed_days: f32,
    pub peaks: [Peak; SCALES],
    /// The peaks of the open day, in log2(1 + x).
    pub today: [f32; SCALES],
    /// Activity by hour of weekdays, then of weekends: days, decayed, in 1/1024.
    pub hours: [[u16; 24]; 2],
    pub day_types: [f32; 2],
    /// The hours of the open day with activity, a bit each; and of the day before.
    pub today_hours: u32,
    pub yesterday_hours: u32,
    /// What an hour of the day brings, summed over days, decayed.
    pub volume: [f32; 24],
    /// Squared deviations from that profile, and what a Poisson process would have had.
    pub scatter: [f32; 2],
    /// How far each of the last 24 closed hours was from its profile, by hour of day, in 1/32 of a standard deviation.
    pub deviations: [i8; 24],
    /// Hourly excess over the profile, summed up (CUSUM), in standard deviations.
    pub excess: f32,
    /// The same by days.
    pub daily_excess: f32,
    /// The requests of a day in log2(1 + x), of weekdays and of weekends: sum and sum of squares.
    pub daily: [[f32; 2]; 2],
    pub ten_minutes: u32,
    pub hour: u32,
    pub day: u32,
    /// Distinct keys of the open hour, a bit each by hash.
    pub hour_keys: u64,
    /// How unusual the keys of the open hour are together, in decades.
    pub hour_surprise: f32,
    /// Since when a new network and a known one are used by turns; 0 where not.
    pub mixed_since: u32,
    /// How often the network changed between known and new since then.
    pub turns: u32,
    /// Whether the last network was a new one.
    pub on_new: bool,
    /// Of each sort of operation the requests of an hour and of a day, in log2(1 + x): daily peaks, those of the open day, and
    /// the counts of the open hour and day.
    pub mix: [[Peak; MIX_STRETCHES.len()]; MIXED.len()],
    pub mix_today: [[f32; MIX_STRETCHES.len()]; MIXED.len()],
    pub mix_hour: [u32; MIXED.len()],
    pub mix_day: [u32; MIXED.len()],
}

/// Seconds of the stretches of time whose operations of one sort have peaks: an hour, a day.
pub const MIX_STRETCHES: [u32; 2] = [3_600, 86_400];
pub const SORTS: usize = 5;
pub const KEY: usize = 0;
pub const USE: usize = 1;
pub const OPERATION: usize = 2;
pub const NETWORK: usize = 3;
pub const CLIENT: usize = 4;

/// One second, ten seconds, a minute, ten minutes, an hour, a day; keys an hour; their surprise; of 24 hours at a stretch
/// the deviations, and how many saw activity.
pub const SCALES: usize = 10;
pub const DAILY_REQUESTS: usize = 5;
pub const HOURLY_KEYS: usize = 6;
pub const SURPRISE: usize = 7;
pub const DEVIATIONS: usize = 8;
pub const ACTIVE_HOURS: usize = 9;

/// Daily peaks: sums over the baseline's days, decayed, and the highest, which decays, too.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Peak {
    pub sum: f32,
    pub squares: f32,
    pub highest: f32,
}

impl Peak {
    fn learn(&mut self, value: f32, days: f32) {
        // The first days set the scale; later ones move it by a bounded step.
        let value = if days < 3.0 { value } else { value.min(self.highest + MOST_GROWTH) };
        self.sum += value;
        self.squares += value * value;
        self.highest = self.highest.max(value);
    }

    fn decay(&mut self) {
        self.sum *= DAILY_FACTOR;
        self.squares *= DAILY_FACTOR;
        // A peak is forgotten more slowly than its day: by 1 % of a doubling a day.
        self.highest = (self.highest - 0.01).max(0.0);
    }

    /// `share` of the days of both are days of the two together.
    fn merge(&mut self, other: &Self, share: f32) {
        self.sum = (self.sum + other.sum) * share;
        self.squares = (self.squares + other.squares) * share;
        self.highest = self.highest.max(other.highest);
    }
}

impl Baseline {
    /// Folds one minute, later than all before it.
    ///
    /// What was refused or failed teaches nothing but that.
    pub fn fold(&mut self, minute: &Minute) {
        if minute.minute <= self.through || minute.traces.is_empty() {
            return;
        }
        if self.through == 0 {
            self.born = minute.minute;
            self.through = minute.minute;
        }
        self.advance(minute.minute);
        let count = minute.count();
        self.ten_minutes = self.ten_minutes.saturating_add(count);
        self.hour = self.hour.saturating_add(count);
        self.day = self.day.saturating_add(count);
        self.today_hours |= 1 << (minute.minute / 60 % 24);
        for trace in minute.in_order() {
            match trace.outcome {
                Seen::Ok => self.learn(&trace),
                Seen::Denied if self.is_foreign(trace.key) => {
                    self.refused.learn(trace.key, self.through / 60);
                }
                _ => {}
            }
        }
        let counts = self.mix_hour.iter_mut().zip(&mut self.mix_day).zip(minute.mix);
        for ((hour, day), count) in counts {
            *hour = hour.saturating_add(u32::from(count));
            *day = day.saturating_add(u32::from(count));
        }
        for ((today, hour), day) in self.mix_today.iter_mut().zip(self.mix_hour).zip(self.mix_day) {
            today.iter_mut().zip([hour, day]).for_each(|(today, count)| *today = today.max(log2(count)));
        }
        let peaks = [
            minute.most_in_a_second(),
            minute.most_in_ten_seconds(),
            count,
            self.ten_minutes,
            self.hour,
            self.day,
            distinct(self.hour_keys),
        ];
        for (today, peak) in self.today.iter_mut().zip(peaks) {
            *today = today.max(log2(peak));
        }
        let hour = minute.minute / 60;
        let of_day =
            [self.hour_surprise, scaled_sum(self.deviations_to(hour, self.hour)), scaled_hours(self.hours_to(hour))];
        for (today, peak) in self.today.iter_mut().skip(SURPRISE).zip(of_day) {
            *today = today.max(peak);
        }
    }

    /// Lets time pass up to `minute`: hours and days that are over are closed.
    pub fn advance(&mut self, minute: u32) {
        let before = self.through;
        if before == 0 || minute <= before {
            return;
        }
        self.through = minute;
        if minute / 10 != before / 10 {
            self.ten_minutes = 0;
        }
        // Hour by hour and day by day, so that it is the same whatever steps it took to get there.
        let (mut hour, now) = (before / 60, minute / 60);
        while hour < now {
            self.close_hour(hour, now);
            if hour % 24 == 23 {
                self.close_day(hour / 24);
                // Of what is longer ago nothing is left.
                hour = hour.max((now / 24).saturating_sub(REMEMBERED).saturating_mul(24).saturating_sub(1));
            }
            hour = hour.saturating_add(1);
        }
        if self.mixed_since != 0 && minute.saturating_sub(self.mixed_since) > 360 {
            self.mixed_since = 0;
            self.turns = 0;
        }
    }

    fn learn(&mut self, trace: &Trace) {
        let (hour, day) = (self.through / 60, self.through / DAY);
        self.turn(trace, day);
        if trace.key != 0 {
            if self.keys.find(trace.key).is_none_or(|entry| entry.last != hour) {
                self.hour_surprise += kept(self.surprise(trace.key, day));
            }
            self.hour_keys |= bit(trace.key);
        }
        let beginning = day < (self.born / DAY).saturating_add(BEGINNING);
        let new_key = self.is_foreign(trace.key);
        if trace.key != 0 {
            self.keys.learn(trace.key, hour);
            self.used.learn(trace.key, beginning);
        }
        if new_key && !beginning {
            self.new_keys = self.new_keys.saturating_add(1);
        }
        let adopted = [
            new_key,
            trace.key != 0 && self.uses.learn(super::sighting::pair(trace.key, trace.operation), hour),
            self.operations.learn(trace.operation, hour),
            trace.near != 0 && {
                self.networks.learn(trace.wide, hour);
                self.networks.learn(trace.near, hour)
            },
            trace.client != 0 && self.clients.learn(trace.client, hour),
        ];
        for (sum, adopted) in self.adopted.iter_mut().zip(adopted) {
            if adopted {
                // Its beginning says something of how varied an actor is, too, but little.
                *sum += if beginning { 0.0 } else { 1.0 };
            }
        }
    }

    /// Whether this key, or this operation, was never used.
    pub fn is_first_use(&self, s: &Sighting) -> bool {
        self.is_foreign(s.key) || self.operations.find(s.operation).is_none()
    }

    /// How familiar it is to the actor: 0 where what it does is new, 1 where only where it comes from is, else 2. Where from, whoever asks
    /// says herself, as often anew as she likes.
    pub(super) fn familiarity(&self, trace: &Trace, day: u32) -> u8 {
        let is_new = |standing: Standing| !matches!(standing, Standing::Known { .. });
        let of = super::sighting::pair(trace.key, trace.operation);
        let does = trace.key != 0 && is_new(self.key_standing(trace.key, day))
            || trace.key != 0 && self.uses.has_room() && is_new(self.uses.standing(of, day))
            || is_new(self.operations.standing(trace.operation, day));
        let comes = trace.near != 0 && is_new(self.networks.standing(trace.near, day))
            || trace.client != 0 && is_new(self.clients.standing(trace.client, day));
        match (does, comes) {
            (true, _) => 0,
            (false, true) => 1,
            (false, false) => 2,
        }
    }

    /// What is known of a key: the table knows best.
    pub fn key_standing(&self, key: u32, day: u32) -> Standing {
        match self.keys.standing(key, day) {
            Standing::Absent => self.used.standing(key),
            known => known,
        }
    }

    /// Whether it never used this key.
    pub fn is_foreign(&self, key: u32) -> bool {
        key != 0 && self.keys.find(key).is_none() && self.used.standing(key) == Standing::Absent
    }

    /// Keeps count of how a new network and a known one take turns.
    fn turn(&mut self, trace: &Trace, day: u32) {
        if trace.near == 0 || self.through.saturating_sub(self.born) < BEGINNING * DAY {
            return;
        }
        let is_new = !matches!(self.networks.standing(trace.near, day), Standing::Known { .. });
        if is_new && self.mixed_since == 0 {
            self.mixed_since = self.through;
        }
        if self.mixed_since != 0 && is_new != self.on_new {
            self.turns = self.turns.saturating_add(1);
        }
        self.on_new = is_new;
    }

    /// How unusual it is that this key is used on an active day, in decades.
    pub fn surprise(&self, key: u32, day: u32) -> f64 {
        let days = f64::from(self.days);
        let used = match self.keys.find(key) {
            Some(entry) => (entry.weight() - if entry.last / 24 == day { 1.0 } else { 0.0 }).max(0.0),
            // Once in a while, as far as is known.
            None if !self.is_foreign(key) => 0.7,
            None => 0.0,
        };
        ((days + 1.0) / (used + 0.3)).log10().clamp(0.0, 2.0)
    }

    fn close_hour(&mut self, closed: u32, now: u32) {
        let deviation = self.deviation(closed, self.hour);
        // Those of longer ago than a day are written over.
        let kept_until_now = now.saturating_sub(closed) <= 24;
        let place = usize::try_from(closed % 24).unwrap_or(0);
        if let Some(kept) = self.deviations.get_mut(place).filter(|_| kept_until_now) {
            *kept = parts(deviation);
        }
        if self.hour == 0 {
            // A quiet hour pays back, and teaches nothing.
            self.excess = kept((f64::from(self.excess) - ALLOWANCE).max(0.0));
            return;
        }
        let expected = self.expected(closed);
        let spread = self.spread(closed);
        let count = f64::from(self.hour);
        let z = ((count - expected.upper) / spread).min(MOST_EXCESS);
        self.excess = kept((f64::from(self.excess) + z - ALLOWANCE).clamp(0.0, 40.0));
        // An hour teaches at most twice what was normal, and some.
        let learnt = if self.days < 3.0 { count } else { count.min(expected.upper * 2.0 + 3.0 * spread) };
        if let Some(volume) = self.volume.get_mut(place) {
            *volume += kept(learnt);
        }
        if self.days >= 2.0 {
            let [deviation, poisson] = &mut self.scatter;
            *deviation += kept((learnt - expected.mean).powi(2));
            *poisson += kept(expected.mean.max(0.5));
        }
        self.hour = 0;
        self.mix_hour = Default::default();
        self.hour_keys = 0;
        self.hour_surprise = 0.0;
    }

    /// How far the days up to this one exceed what such days bring, summed up (CUSUM), in standard deviations.
    pub fn days_excess(&self, count: u32, day: u32) -> f64 {
        let weekend = usize::from(is_weekend(day));
        let days = f64::from(self.day_types.get(weekend).copied().unwrap_or(0.0));
        let [sum, squares] = self.daily.get(weekend).copied().unwrap_or_default().map(f64::from);
        if days < 3.0 {
            return f64::from(self.daily_excess);
        }
        let mean = sum / days;
        // A prior worth three days.
        let spread = (((squares - sum * mean).max(0.0) + 3.0 * 0.3 * 0.3) / (days + 3.0)).sqrt();
        let z = ((f64::from(log2(count)) - mean) / spread).clamp(-2.0, 3.0);
        (f64::from(self.daily_excess) + z - DAILY_ALLOWANCE).max(0.0)
    }

    fn close_day(&mut self, closed: u32) {
        if self.today_hours == 0 {
            // A quiet day pays back, and teaches nothing.
            self.daily_excess = kept((f64::from(self.daily_excess) - DAILY_ALLOWANCE).max(0.0));
        } else {
            self.learn_day(closed);
        }
        (self.yesterday_hours, self.today_hours) = (self.today_hours, 0);
        (self.day, self.new_keys) = (0, 0);
        self.mix_day = Default::default();
        self.used.advance(closed.saturating_add(1));
        self.forget();
    }

    fn learn_day(&mut self, closed: u32) {
        self.daily_excess = kept(self.days_excess(self.day, closed).min(12.0));
        if let Some([sum, squares]) = self.daily.get_mut(usize::from(is_weekend(closed))) {
            let days = self.day_types.get(usize::from(is_weekend(closed))).copied().unwrap_or(0.0);
            // Not much more than it knows: who pours slowly teaches slowly.
            let most = if days < 3.0 { f32::MAX } else { *sum / days + 1.0 };
            let value = log2(self.day).min(most);
            *sum += value;
            *squares += value * value;
        }
        for (peak, today) in self.peaks.iter_mut().zip(&mut self.today) {
            peak.learn(*today, self.days);
            *today = 0.0;
        }
        for (peak, today) in self.mix.iter_mut().flatten().zip(self.mix_today.iter_mut().flatten()) {
            peak.learn(*today, self.days);
            *today = 0.0;
        }
        let weekend = is_weekend(closed);
        let [weekdays, weekends] = &mut self.hours;
        for (hour, weight) in (if weekend { weekends } else { weekdays }).iter_mut().enumerate() {
            if self.today_hours >> hour & 1 == 1 {
                *weight = weight.saturating_add(1_024);
            }
        }
        let [weekdays, weekends] = &mut self.day_types;
        *(if weekend { weekends } else { weekdays }) += 1.0;
        self.days += 1.0;
        if self.refused.iter().any(|entry| entry.last / 24 == closed) {
            self.refused_days += 1.0;
        }
        if self.turns > 0 && self.mixed_since / DAY == closed {
            self.mixed_days += 1.0;
        }
    }

    fn forget(&mut self) {
        self.keys.decay(DAILY);
        self.uses.decay(DAILY);
        self.operations.decay(DAILY);
        self.networks.decay(DAILY);
        self.clients.decay(DAILY);
        self.refused.decay(DAILY);
        for weight in self.hours.iter_mut().flatten() {
            *weight = u16::try_from(u32::from(*weight).saturating_mul(DAILY) >> 16).unwrap_or(u16::MAX);
        }
        self.peaks.iter_mut().chain(self.mix.iter_mut().flatten()).for_each(Peak::decay);
        let [weekdays, weekends] = &mut self.day_types;
        let [deviation, poisson] = &mut self.scatter;
        let sums =
            [&mut self.days, &mut self.refused_days, &mut self.mixed_days, weekdays, weekends, deviation, poisson];
        let daily = self.daily.iter_mut().flatten();
        for part in sums.into_iter().chain(&mut self.adopted).chain(&mut self.volume).chain(daily) {
            *part *= DAILY_FACTOR;
        }
    }

    /// What an hour brings: on average, and at most of its neighbours, which takes in daylight saving and late jobs.
    pub fn expected(&self, hour: u32) -> Expected {
        let days = f64::from(self.days).max(1.0);
        let of = |hour: u32| {
            let place = usize::try_from(hour % 24).unwrap_or(0);
            f64::from(self.volume.get(place).copied().unwrap_or(0.0)) / days
        };
        let (before, mean, after) = (of(hour + 23), of(hour), of(hour + 1));
        Expected { mean, upper: mean.max(before).max(after) }
    }

    /// How far so many requests in an hour are from its upper profile, in standard deviations, cut off.
    fn deviation(&self, hour: u32, count: u32) -> f64 {
        if self.days < 3.0 {
            return 0.0;
        }
        ((f64::from(count) - self.expected(hour).upper) / self.spread(hour)).clamp(LEAST_OF_DAY, MOST_OF_DAY)
    }

    /// The sum of the deviations of the 24 hours that end with this one, of which `count` requests are known.
    pub fn deviations_to(&self, hour: u32, count: u32) -> f64 {
        let closed = self.through / 60;
        let mut sum = self.deviation(hour, count);
        for hour in hour.saturating_sub(23)..hour {
            sum += match hour.cmp(&closed) {
                Ordering::Less => {
                    let place = usize::try_from(hour % 24).unwrap_or(0);
                    f64::from(self.deviations.get(place).copied().unwrap_or(0)) / PARTS
                }
                Ordering::Equal => self.deviation(hour, self.hour),
                Ordering::Greater => self.deviation(hour, 0),
            };
        }
        sum
    }

    /// How many of the 24 hours that end with this one, which counts, saw activity.
    pub fn hours_to(&self, hour: u32) -> u32 {
        let place = hour % 24;
        let (today, yesterday) = match (hour / 24).saturating_sub(self.through / DAY) {
            0 => (self.today_hours, self.yesterday_hours),
            1 => (0, self.today_hours),
            _ => (0, 0),
        };
        let until_now = (2_u32 << place).wrapping_sub(1);
        ((today | 1 << place) & until_now | yesterday & !until_now).count_ones()
    }

    /// The standard deviation of an hour's count.
    pub fn spread(&self, hour: u32) -> f64 {
        let [deviation, poisson] = self.scatter.map(f64::from);
        // Four hours' worth of a prior that healthy counts scatter three times as widely as a Poisson process.
        let dispersion = ((deviation + 12.0) / (poisson + 4.0)).max(1.0);
        (dispersion * (self.expected(hour).upper + 1.0)).sqrt()
    }

    /// Joins what two consumers learnt of disjoint records.
    ///
    /// Uses and volumes add up. Days add up as far as the two cannot have seen the same ones: where their times overlap,
    /// the longer history counts.
    #[must_use]
    pub fn merge(&self, other: &Self) -> Self {
        if self.through == 0 {
            return other.clone();
        }
        if other.through == 0 {
            return self.clone();
        }
        let shared = self.overlap(other);
        let (mut a, mut b) = (self.clone(), other.clone());
        let to = a.through.max(b.through);
        a.advance(to);
        b.advance(to);
        let days = |ours: &mut f32, theirs: f32| *ours += theirs - shared * ours.min(theirs);
        a.born = a.born.min(b.born);
        a.keys.merge(&b.keys);
        a.used.merge(&b.used);
        a.new_keys = a.new_keys.saturating_add(b.new_keys);
        a.uses.merge(&b.uses);
        a.operations.merge(&b.operations);
        a.networks.merge(&b.networks);
        a.clients.merge(&b.clients);
        a.refused.merge(&b.refused);
        let both = a.days + b.days;
        days(&mut a.days, b.days);
        let of_both = if both > 0.0 { a.days / both } else { 1.0 };
        days(&mut a.refused_days, b.refused_days);
        days(&mut a.mixed_days, b.mixed_days);
        a.day_types.iter_mut().zip(b.day_types).for_each(|(ours, theirs)| days(ours, theirs));
        a.adopted.iter_mut().zip(b.adopted).for_each(|(ours, theirs)| *ours += theirs);
        a.volume.iter_mut().zip(b.volume).for_each(|(ours, theirs)| *ours += theirs);
        a.scatter.iter_mut().zip(b.scatter).for_each(|(ours, theirs)| *ours += theirs);
        a.peaks.iter_mut().zip(&b.peaks).for_each(|(ours, theirs)| ours.merge(theirs, of_both));
        a.today.iter_mut().zip(b.today).for_each(|(ours, theirs)| *ours = ours.max(theirs));
        let mix = a.mix.iter_mut().flatten().zip(b.mix.iter().flatten());
        mix.for_each(|(ours, theirs)| ours.merge(theirs, of_both));
        let today = a.mix_today.iter_mut().flatten().zip(b.mix_today.into_iter().flatten());
        today.for_each(|(ours, theirs)| *ours = ours.max(theirs));
        let counts = a.mix_hour.iter_mut().chain(&mut a.mix_day).zip(b.mix_hour.into_iter().chain(b.mix_day));
        counts.for_each(|(ours, theirs)| *ours = ours.saturating_add(theirs));
        a.hours.iter_mut().flatten().zip(b.hours.into_iter().flatten()).for_each(|(ours, theirs)| {
            let twice = f64::from(shared) * f64::from((*ours).min(theirs));
            *ours = ours.saturating_add(theirs).saturating_sub(u16::try_from(whole(twice)).unwrap_or(u16::MAX));
        });
        a.today_hours |= b.today_hours;
        a.yesterday_hours |= b.yesterday_hours;
        a.deviations.iter_mut().zip(b.deviations).for_each(|(ours, theirs)| *ours = (*ours).max(theirs));
        a.excess = a.excess.max(b.excess);
        a.daily_excess = a.daily_excess.max(b.daily_excess);
        a.daily.iter_mut().flatten().zip(b.daily.into_iter().flatten()).for_each(|(ours, theirs)| days(ours, theirs));
        a.ten_minutes = a.ten_minutes.saturating_add(b.ten_minutes);
        a.hour = a.hour.saturating_add(b.hour);
        a.day = a.day.saturating_add(b.day);
        a.hour_keys |= b.hour_keys;
        a.hour_surprise = a.hour_surprise.max(b.hour_surprise);
        a.mixed_since = a.mixed_since.max(b.mixed_since);
        a.turns = a.turns.max(b.turns);
        a.on_new |= b.on_new;
        a
    }

    /// How much of the shorter history the other one covers, 0 to 1.
    fn overlap(&self, other: &Self) -> f32 {
        let days = |from: u32, to: u32| f64::from((to / DAY + 1).saturating_sub(from / DAY));
        let common = days(self.born.max(other.born), self.through.min(other.through));
        let shorter = days(self.born, self.through).min(days(other.born, other.through)).max(1.0);
        kept((common / shorter).clamp(0.0, 1.0))
    }

    /// Learns that something is right after all: an operator, or an approval, has said so.
    pub fn accept(&mut self, accepted: &Accepted) {
        let hour = self.through / 60;
        match *accepted {
            Accepted::Key { key, operation } => {
                if key != 0 {
                    self.keys.accept(key, hour);
                    self.used.learn(key, true);
                    self.uses.accept(super::sighting::pair(key, operation), hour);
                }
                self.operations.accept(operation, hour);
            }
            Accepted::Network { near: 0, .. } | Accepted::Client(0) => {}
            Accepted::Network { near, wide } => {
                self.networks.accept(near, hour);
                self.networks.accept(wide, hour);
                self.turns = 0;
                self.mixed_since = 0;
            }
            Accepted::Client(client) => self.clients.accept(client, hour),
            Accepted::Rate { day } => {
                let today = self.today.into_iter().filter(|_| self.through / DAY == day);
                for (peak, today) in self.peaks.iter_mut().zip(today) {
                    peak.highest = peak.highest.max(today);
                }
                (self.excess, self.daily_excess) = (0.0, 0.0);
            }
            Accepted::Requests { count, within_seconds } => {
                raise(&mut self.peaks, &STRETCHES, count, within_seconds);
            }
            Accepted::Operations { class, count, within_seconds } => {
                let sorts = self.mix.iter_mut().zip(MIXED).filter(|(_, of)| *of == class);
                sorts.for_each(|(peaks, _)| raise(peaks, &MIX_STRETCHES, count, within_seconds));
            }
            Accepted::Hour(hour) => {
                let [weekdays, weekends] = &mut self.hours;
                let hours = if is_weekend(self.through / DAY) { weekends } else { weekdays };
                if let Some(weight) = usize::try_from(hour % 24).ok().and_then(|hour| hours.get_mut(hour)) {
                    *weight = weight.saturating_add(1_024);
                }
            }
        }
    }
}

/// Makes so many requests within so long no more than what there was.
fn raise(peaks: &mut [Peak], stretches: &[u32], count: u32, within_seconds: u32) {
    for (peak, stretch) in peaks.iter_mut().zip(stretches) {
        // Of a longer stretch of time so many are certain, of a shorter one its share.
        let share = u64::from(count).saturating_mul(u64::from(*stretch)).div_ceil(u64::from(within_seconds.max(1)));
        let certain = u32::try_from(share).unwrap_or(u32::MAX).min(count);
        peak.highest = peak.highest.max(log2(certain));
    }
}

/// What an operator's dismissal says is right.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Accepted {
    Client(u32),
    /// Activity in this hour of the day, UTC.
    Hour(u32),
    Key {
        key: u32,
        operation: u32,
    },
    Network {
        near: u32,
        wide: u32,
    },
    /// So many operations of this sort within so long.
    Operations {
        class: Class,
        count: u32,
        within_seconds: u32,
    },
    /// As much as it did on this day, since 1970, if that is not over.
    Rate {
        day: u32,
    },
    /// So many requests within so long.
    Requests {
        count: u32,
        within_seconds: u32,
    },
}

#[derive(Clone, Copy, Debug)]
pub struct Expected {
    pub mean: f64,
    pub upper: f64,
}

/// The sum of a day's deviations on the scale of a peak: above 0, and a step of one is as seldom as a doubling.
pub fn scaled_sum(deviations: f64) -> f32 {
    kept((deviations - 24.0 * LEAST_OF_DAY).max(0.0) / 4.0)
}

/// What such a peak is as a sum of deviations.
pub fn deviations_of(scaled: f64) -> f64 {
    scaled * 4.0 + 24.0 * LEAST_OF_DAY
}

/// Hours with activity on the scale of a peak.
pub fn scaled_hours(hours: u32) -> f32 {
    kept(f64::from(hours) / 2.0)
}

fn parts(deviation: f64) -> i8 {
    let above_least = whole(((deviation - LEAST_OF_DAY) * PARTS).round());
    i8::try_from(i64::from(above_least) - i64::from(whole(-LEAST_OF_DAY * PARTS))).unwrap_or(i8::MAX)
}

/// 1970 began on a Thursday.
pub fn is_weekend(day: u32) -> bool {
    matches!((day + 4) % 7, 0 | 6)
}

pub fn log2(count: u32) -> f32 {
    kept((1.0 + f64::from(count)).log2())
}

pub fn bit(hash: u32) -> u64 {
    1 << (hash % 64)
}

/// How many hashes set these bits, by linear counting.
pub fn distinct(bits: u64) -> u32 {
    let zeros = f64::from(bits.count_zeros());
    match bits.count_zeros() {
        0 => 300,
        _ => whole((-64.0 * (zeros / 64.0).ln()).round()),
    }
}

/// Minutes since 1970 of a moment in milliseconds; 0 before that.
pub fn minute_of(millis: i64) -> u32 {
    u32::try_from(millis.div_euclid(60_000)).unwrap_or(0)
}

/// For displays: a peak's usual value, where it is one of log2(1 + x).
pub fn usual(peak: &Peak, days: f32) -> f64 {
    mean(peak, days).exp2() - 1.0
}

/// A peak on an average day.
pub fn mean(peak: &Peak, days: f32) -> f64 {
    f64::from(peak.sum) / f64::from(days).max(1.0)
}

#[cfg(test)]
mod tests;
