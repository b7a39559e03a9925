//! How unusual a request is for its actor: the open minutes held against the baseline, channel by channel.

use super::DAY;
use super::baseline::{
    self, ACTIVE_HOURS, Baseline, DAILY_REQUESTS, DEVIATIONS, HOURLY_KEYS, MIX_STRETCHES, NETWORK, Peak, SURPRISE, bit,
    distinct, is_weekend, log2,
};
use super::evidence::{Channel, Count, Evidence, Familiar, Surroundings};
use super::sighting::{Class, Seen, Sighting, operation_hash, pair};
use super::stats::{count_decades, t_decades};
use super::table::{Standing, Table};
use super::window::{MIXED, Minute, Trace};

/// The evidence of a request.
///
/// `before` is the minute before the request's, `this` its own, the request included; neither is in the baseline.
/// Nothing here shrinks when either minute gains a record.
pub fn weigh(
    baseline: &Baseline,
    before: Option<&Minute>,
    this: &Minute,
    s: &Sighting,
    around: &Surroundings,
) -> Evidence {
    let mut evidence = Evidence::none(around.human);
    evidence.looks = s.class == Class::Look;
    let minutes = Open { before, this };
    let day = this.minute / DAY;
    let history = history(baseline);
    if baseline.through != 0 && history > 0.0 {
        novelty(&mut evidence, baseline, &minutes, s, around, day, history);
        pace(&mut evidence, baseline, &minutes, s, history);
        mix(&mut evidence, baseline, &minutes, s, history);
        time_of_day(&mut evidence, baseline, this.minute, around, history);
        let of_move = if around.network == Familiar::Wave { 0.25 } else { 1.0 };
        places(&mut evidence, baseline, &minutes, s, day, history * of_move);
    }
    refusals(&mut evidence, baseline, &minutes, s, around, day);
    evidence.join_keys();
    evidence
}

/// How far an actor's own history goes, 0 to 1: until it has a few days, nothing of it can be unusual.
pub fn history(baseline: &Baseline) -> f64 {
    (f64::from(baseline.days) / 3.0).min(1.0)
}

struct Open<'a> {
    before: Option<&'a Minute>,
    this: &'a Minute,
}

impl Open<'_> {
    fn traces(&self) -> impl Iterator<Item = &Trace> {
        self.before.into_iter().chain([self.this]).flat_map(|minute| &minute.traces)
    }

    fn minutes(&self) -> impl Iterator<Item = &Minute> {
        self.before.into_iter().chain([self.this])
    }
}

/// A few distinct values, without allocation.
struct Distinct {
    values: [u32; 24],
    count: usize,
}

impl Distinct {
    fn new() -> Self {
        Self { values: [0; 24], count: 0 }
    }

    fn add(&mut self, value: u32) {
        let known = self.values.iter().take(self.count).any(|known| *known == value);
        if !known && let Some(place) = self.values.get_mut(self.count) {
            *place = value;
            self.count = self.count.saturating_add(1);
        }
    }

    fn count(&self) -> u32 {
        u32::try_from(self.count).unwrap_or(u32::MAX)
    }
}

/// A new value that is no more than a new one: how many of its sort the day has seen, by what the actor takes up.
fn new_values<const N: usize>(
    baseline: &Baseline,
    table: &Table<N>,
    (sort, prior, value): (usize, f64, u32),
    day: u32,
    open: impl Iterator<Item = u32>,
) -> (f64, f64, f64) {
    let mut fresh = Distinct::new();
    // On the request path the request is not among the open minutes yet.
    fresh.add(value);
    table.fresh_on(day).for_each(|value| fresh.add(value));
    open.filter(|value| !matches!(table.standing(*value, day), Standing::Known { .. }))
        .for_each(|value| fresh.add(value));
    let adopted = f64::from(baseline.adopted.get(sort).copied().unwrap_or(0.0));
    let days = f64::from(baseline.days);
    let (shape, exposure) = (prior * 10.0 + adopted, 10.0 + days);
    // What came up on an earlier day was told of then.
    let news = if table.find(value).is_some_and(|entry| entry.first < day) { 0.6 } else { 1.0 };
    (count_decades(fresh.count(), shape, exposure) * news, f64::from(fresh.count()), shape / exposure)
}

/// The same for keys, of which more are remembered than are in the table.
fn new_keys(baseline: &Baseline, open: &Open<'_>, key: u32, day: u32, prior: f64) -> (f64, f64, f64) {
    let mut fresh = Distinct::new();
    let standing = baseline.key_standing(key, day);
    // What the day took up already is counted there.
    if standing == Standing::Absent {
        fresh.add(key);
    }
    let keys = open.traces().map(|trace| trace.key).filter(|key| *key != 0);
    keys.filter(|key| baseline.key_standing(*key, day) == Standing::Absent).for_each(|key| fresh.add(key));
    let count = fresh.count().saturating_add(u32::from(baseline.new_keys)).max(1);
    let (shape, exposure) = (prior * 10.0 + adopted_keys(baseline), 10.0 + f64::from(baseline.days));
    let earlier = match baseline.keys.find(key) {
        Some(entry) => entry.first < day,
        None => standing == Standing::Fresh && baseline.new_keys == 0,
    };
    // What came up on an earlier day was told of then.
    let news = if earlier { 0.6 } else { 1.0 };
    (count_decades(count, shape, exposure) * news, f64::from(count), shape / exposure)
}

/// How many keys it took up on earlier days, decayed.
fn adopted_keys(baseline: &Baseline) -> f64 {
    let adopted = baseline.adopted.get(baseline::KEY).copied().unwrap_or(0.0);
    (f64::from(adopted) - f64::from(baseline.new_keys)).max(0.0)
}

/// What each key beyond the first amounts to, in decades, that comes up within two minutes of another new one. A task brings
/// new keys one after the other: on the train seeds one healthy agent-day in 2,000 saw two at once, and one in 5,000 three;
/// on another author's data fewer.
const AT_ONCE: f64 = 2.0;

/// How many keys it never used came up within the two open minutes, this request's among them.
fn keys_at_once(baseline: &Baseline, open: &Open<'_>, key: u32, day: u32) -> u32 {
    let mut fresh = Distinct::new();
    let keys = open.traces().map(|trace| trace.key).chain([key]).filter(|key| *key != 0);
    keys.filter(|key| baseline.key_standing(*key, day) == Standing::Absent).for_each(|key| fresh.add(key));
    fresh.count()
}

fn novelty(
    evidence: &mut Evidence,
    baseline: &Baseline,
    open: &Open<'_>,
    s: &Sighting,
    around: &Surroundings,
    day: u32,
    history: f64,
) {
    let is_new = |standing: Standing| !matches!(standing, Standing::Known { .. });
    let human = |machine: f64, human: f64| if around.human { human } else { machine };
    let told = |familiar: Familiar, fleet: f64, others: f64| match familiar {
        Familiar::Fleet => fleet,
        Familiar::Others => others,
        Familiar::Wave => 0.5 * fleet,
        Familiar::Nobody => 1.0,
    };
    let known_key = s.key == 0 || !is_new(baseline.key_standing(s.key, day));
    if !known_key {
        evidence.keys_at_once = keys_at_once(baseline, open, s.key, day);
        let (decades, observed, expected) = new_keys(baseline, open, s.key, day, human(0.03, 0.1));
        let weight = told(around.key, 0.8, 1.0);
        // Whose work is one new key after the other, as that of who rotates them, comes by several at once.
        let restless = (1.0 - adopted_keys(baseline) / 10.0).max(0.2);
        let at_once = restless * AT_ONCE * f64::from(evidence.keys_at_once.saturating_sub(1).min(4));
        evidence.set(Channel::Key, (decades * weight + at_once) * history, observed, expected);
    }
    if is_new(baseline.operations.standing(s.operation, day)) {
        let operations = open.traces().map(|trace| trace.operation);
        let (decades, observed, expected) = new_values(
            baseline,
            &baseline.operations,
            (baseline::OPERATION, human(0.01, 0.03), s.operation),
            day,
            operations,
        );
        let class = match s.class {
            Class::Look => 0.5,
            Class::Make => 1.0,
            Class::Release | Class::Govern => 1.2,
        };
        let weight = class * told(around.operation, 0.8, 1.0) * if undoes(baseline, s.operation) { 0.75 } else { 1.0 };
        // Something new is tried now and then; somebody who goes on with it at once means it.
        let uses = open.traces().filter(|trace| trace.operation == s.operation).map(|trace| u32::from(trace.count));
        let insistent = 0.5 * f64::from(uses.sum::<u32>().saturating_sub(1).min(2));
        evidence.set(Channel::Operation, (decades * weight + insistent * class) * history, observed, expected);
    } else if s.key != 0 && known_key && baseline.uses.has_room() {
        let of = pair(s.key, s.operation);
        if is_new(baseline.uses.standing(of, day)) {
            let uses = open.traces().filter(|trace| trace.key != 0).map(|trace| pair(trace.key, trace.operation));
            let (decades, observed, expected) =
                new_values(baseline, &baseline.uses, (baseline::USE, human(0.05, 0.15), of), day, uses);
            let class = if s.class == Class::Look { 0.5 } else { 0.8 };
            evidence.set(Channel::Use, decades * class * history, observed, expected);
        }
    }
    if s.network.near != 0 && is_new(baseline.networks.standing(s.network.near, day)) {
        let networks = open.traces().map(|trace| trace.near).filter(|near| *near != 0);
        let adopted = f64::from(baseline.adopted.get(NETWORK).copied().unwrap_or(0.0));
        let (decades, observed, expected) =
            new_values(baseline, &baseline.networks, (NETWORK, human(0.01, 0.05), s.network.near), day, networks);
        let near_by = if is_new(baseline.networks.standing(s.network.wide, day)) { 1.0 } else { 0.5 };
        let weight = near_by * told(around.network, 0.4, 0.5);
        // Somebody who comes from everywhere comes from somewhere new: nothing to tell.
        let restless = (1.0 - adopted / 10.0).max(0.2);
        evidence.set(Channel::Network, decades * weight * restless * history, observed, expected);
    }
    if s.client != 0 && is_new(baseline.clients.standing(s.client, day)) {
        let clients = open.traces().map(|trace| trace.client).filter(|client| *client != 0);
        let (decades, observed, expected) =
            new_values(baseline, &baseline.clients, (baseline::CLIENT, human(0.01, 0.03), s.client), day, clients);
        evidence.set(Channel::Client, decades * told(around.client, 0.5, 0.6) * history, observed, expected);
    }
}

/// Whether an operation only takes back what its actor makes: who encrypts restores some day.
fn undoes(baseline: &Baseline, operation: u32) -> bool {
    const PAIRS: [(&str, &[&str]); 4] = [
        ("decrypt", &["encrypt", "generatedatakey"]),
        ("unwrap", &["wrap"]),
        ("verify", &["sign"]),
        ("verifymac", &["mac"]),
    ];
    let makes = |name: &&str| baseline.operations.find(operation_hash(name)).is_some();
    PAIRS.iter().any(|(undo, make)| operation_hash(undo) == operation && make.iter().any(makes))
}

/// Decades by which `value` tops the daily peaks, and what they usually are.
pub(crate) fn above(peak: &Peak, days: f32, value: f32, least_spread: f64) -> f64 {
    if value <= peak.highest || days <= 0.0 {
        return 0.0;
    }
    let (days, sum, squares) = (f64::from(days), f64::from(peak.sum), f64::from(peak.squares));
    let mean = sum / days;
    // A normal-inverse-gamma prior worth three days.
    let spread = ((squares - sum * mean).max(0.0) + 3.0 * least_spread * least_spread) / (days + 3.0);
    t_decades((f64::from(value) - mean) / (spread * (1.0 + 1.0 / days)).sqrt(), days + 2.0)
}

/// Requests in a second, and in ten, that are a surge, whatever little is known, where they are many times the most there ever
/// were. A burst that begins within one part of a minute and goes on in the next has had at most twice as many.
const SURGES: [u32; 2] = [60, 80];
/// How many times, in log2.
const TIMES: [f32; 2] = [2.0, 2.5];
/// What a surge amounts to, in decades: an alert where healthy days are noisy, too.
const SURGE_DECADES: f64 = 7.0;

/// Of who was there before for a day only little can be unusual; this can.
pub(super) fn surge(baseline: &Baseline, observed: [u32; 2]) -> Option<Count> {
    let ever = baseline.peaks.iter().zip(baseline.today).map(|(peak, today)| peak.highest.max(today));
    let limits = SURGES.into_iter().zip(TIMES).zip(STRETCHES);
    let mut surges = observed.into_iter().zip(ever).zip(limits).filter(|((observed, most), ((least, times), _))| {
        baseline.days >= 0.5 && observed >= least && log2(*observed) >= most + times
    });
    let ((observed, most), (_, within_seconds)) = surges.next_back()?;
    Some(Count { decades: SURGE_DECADES, observed, expected: f64::from(most).exp2() - 1.0, within_seconds })
}

/// Seconds of the stretches of time whose requests have peaks, in their order.
pub(super) const STRETCHES: [u32; 6] = [1, 10, 60, 600, 3_600, 86_400];

/// Requests in each stretch of time, of the first ones, beside the peaks.
pub(super) fn counts(baseline: &Baseline, observed: &[u32]) -> impl Iterator<Item = Count> {
    observed.iter().zip(&baseline.peaks).zip(STRETCHES).map(|((observed, peak), within_seconds)| Count {
        decades: above(peak, baseline.days, log2(*observed), 0.7) * history(baseline),
        observed: *observed,
        expected: baseline::usual(peak, baseline.days),
        within_seconds,
    })
}

/// Most decades that sums of excesses over days amount to.
const MOST_SUMMED_UP: f64 = 3.0;

/// How much more, how much faster, and over how many keys, than ever.
fn pace(evidence: &mut Evidence, baseline: &Baseline, open: &Open<'_>, s: &Sighting, history: f64) {
    let this = open.this;
    let second = open.minutes().map(Minute::most_in_a_second).max().unwrap_or(0);
    evidence.most_in_a_second = second;
    let ten_seconds = open.minutes().map(Minute::most_in_ten_seconds).max().unwrap_or(0);
    let minute = open.minutes().map(Minute::count).max().unwrap_or(0);
    let within = |width: u32, sealed: u32| {
        let carried = if baseline.through / width == this.minute / width { sealed } else { 0 };
        let open = open.minutes().filter(|minute| minute.minute / width == this.minute / width).map(Minute::count);
        open.fold(carried, u32::saturating_add)
    };
    let observed = [
        second,
        ten_seconds,
        minute,
        within(10, baseline.ten_minutes),
        within(60, baseline.hour),
        within(DAY, baseline.day),
    ];
    let (mut burst, mut volume) = (Count::default(), Count::default());
    for count in counts(baseline, &observed).chain(surge(baseline, [second, ten_seconds])) {
        let strongest = if count.within_seconds <= 60 { &mut burst } else { &mut volume };
        *strongest = strongest.or_stronger(count);
    }
    evidence.raise(Channel::Burst, burst);
    evidence.raise(Channel::Volume, volume);
    if baseline.days >= 3.0 {
        let (decades, observed, expected) =
            excess(baseline, this.minute, within(60, baseline.hour), within(DAY, baseline.day));
        evidence.set(Channel::Excess, decades * history, observed, expected);
    }
    let hour = this.minute / 60;
    let same_hour = baseline.through / 60 == hour;
    let mut bits = if same_hour { baseline.hour_keys } else { 0 };
    let mut surprise = if same_hour { f64::from(baseline.hour_surprise) } else { 0.0 };
    let mut counted = Distinct::new();
    let traces = open.minutes().filter(|minute| minute.minute / 60 == hour).flat_map(|minute| &minute.traces);
    for key in traces.map(|trace| trace.key).chain([s.key]).filter(|key| *key != 0) {
        bits |= bit(key);
        let already = baseline.keys.find(key).is_some_and(|entry| entry.last == hour);
        let before = counted.count;
        counted.add(key);
        if !already && counted.count > before {
            surprise += baseline.surprise(key, this.minute / DAY);
        }
    }
    let of = |scale: usize| baseline.peaks.get(scale).copied().unwrap_or_default();
    let breadth = above(&of(HOURLY_KEYS), baseline.days, log2(distinct(bits)), 0.5);
    let rarity = above(&of(SURPRISE), baseline.days, super::stats::kept(surprise), 0.7);
    let decades = breadth.max(rarity) * history;
    evidence.set(Channel::KeySet, decades, f64::from(distinct(bits)), baseline::usual(&of(HOURLY_KEYS), baseline.days));
}

/// Days of use below which an operation is none that its actor goes by.
const SELDOM: f64 = 3.0;
/// What the operations weigh that only take back what their actor makes, where they are such: a restore test reads in an hour
/// more than was read in the months before it.
const RESTORES: f64 = 0.2;
/// Most decades that a mix of operations amounts to.
pub(super) const MOST_MIXED: f64 = 4.0;

/// How many operations of the request's sort there are, for an actor that does little of it: who verifies and begins to sign, or
/// signs and begins to take secrets out. Of what is most of its work it says nothing: that is more when all of it is.
fn mix(evidence: &mut Evidence, baseline: &Baseline, open: &Open<'_>, s: &Sighting, history: f64) {
    let Some(sort) = MIXED.iter().position(|class| *class == s.class) else { return };
    let of = |counts: &[u32; MIXED.len()]| counts.get(sort).copied().unwrap_or(0);
    let within = |width: u32, sealed: u32| {
        let carried = if baseline.through / width == open.this.minute / width { sealed } else { 0 };
        let minutes = open.minutes().filter(|minute| minute.minute / width == open.this.minute / width);
        minutes.map(|minute| u32::from(minute.mix.get(sort).copied().unwrap_or(0))).fold(carried, u32::saturating_add)
    };
    let [of_hour, of_day] = baseline.mix.get(sort).copied().unwrap_or_default();
    let usual = |peak: &Peak| baseline::usual(peak, baseline.days);
    let all = baseline.peaks.get(DAILY_REQUESTS).map_or(0.0, usual);
    let others = 1.0 - (usual(&of_day) / all.max(1.0)).min(1.0);
    let seldom = baseline.operations.find(s.operation).is_none_or(|entry| entry.weight() < SELDOM);
    let restores = if seldom && undoes(baseline, s.operation) { RESTORES } else { 1.0 };
    let counts = [(of_hour, of(&baseline.mix_hour)), (of_day, of(&baseline.mix_day))];
    let mut strongest = Count::default();
    for ((peak, sealed), within_seconds) in counts.into_iter().zip(MIX_STRETCHES) {
        let observed = within(within_seconds / 60, sealed);
        let decades = above(&peak, baseline.days, log2(observed), 0.7).min(MOST_MIXED) * others * restores * history;
        strongest = strongest.or_stronger(Count { decades, observed, expected: usual(&peak), within_seconds });
    }
    evidence.raise(Channel::Mix, strongest);
}

/// How much more than usual, over hours and days, however slowly: the strongest of what each way of counting says, in decades,
/// with what it saw and expected.
fn excess(baseline: &Baseline, minute: u32, of_hour: u32, of_day: u32) -> (f64, f64, f64) {
    let hour = minute / 60;
    let expected = baseline.expected(hour);
    let z = ((f64::from(of_hour) - expected.upper) / baseline.spread(hour)).clamp(0.0, 4.0);
    let sum = f64::from(baseline.excess) + z;
    // A sum with an allowance of half a deviation exceeds h with probability about exp(-h).
    let hourly = (sum - 3.0).max(0.0) / std::f64::consts::LN_10;
    let by_days = baseline.days_excess(of_day, minute / DAY);
    // With an allowance of 3/4 it is about exp(-1.5 h).
    let daily = 1.5 * (by_days - 1.0).max(0.0) / std::f64::consts::LN_10;
    let summed_up = (hourly.max(daily).min(MOST_SUMMED_UP), sum.max(by_days), 3.0);
    let of_24_hours = |scale: usize, value: f32| {
        let peak = baseline.peaks.get(scale).copied().unwrap_or_default();
        (above(&peak, baseline.days, value, 1.0), baseline::mean(&peak, baseline.days))
    };
    let deviations = baseline.deviations_to(hour, of_hour);
    let (decades, usual) = of_24_hours(DEVIATIONS, baseline::scaled_sum(deviations));
    let deviating = (decades, deviations, baseline::deviations_of(usual));
    let hours = baseline.hours_to(hour);
    let (decades, usual) = of_24_hours(ACTIVE_HOURS, baseline::scaled_hours(hours));
    let active = (decades, f64::from(hours), 2.0 * usual);
    [deviating, active].into_iter().fold(summed_up, |most, next| if next.0 > most.0 { next } else { most })
}

fn time_of_day(evidence: &mut Evidence, baseline: &Baseline, minute: u32, around: &Surroundings, history: f64) {
    if around.human {
        let share = share_of_hours(baseline, minute / 60);
        return evidence.set(Channel::Hour, -share.log10() * history, f64::from(minute / 60 % 24), share);
    }
    let ([weekdays, weekends], [on_weekdays, on_weekends]) = (baseline.day_types.map(f64::from), &baseline.hours);
    let (days, hours, other_days, other_hours) = match is_weekend(minute / DAY) {
        true => (weekends, on_weekends, weekdays, on_weekdays),
        false => (weekdays, on_weekdays, weekends, on_weekends),
    };
    // Of the other sort of day half is to be learnt.
    let active = |hour: u32| {
        let of =
            |hours: &[u16; 24]| f64::from(hours.get(usize::try_from(hour % 24).unwrap_or(0)).copied().unwrap_or(0));
        (of(hours) + 0.5 * of(other_hours)) / 1_024.0
    };
    // Neighbours count as well: daylight saving, and people who start early.
    let chance = |hour: u32| {
        let around = active(hour).max(0.6 * active(hour + 23)).max(0.6 * active(hour + 1));
        (around + 0.2) / (days + 0.5 * other_days + 1.0)
    };
    let hour = minute / 60 % 24;
    let typical = (0..24).map(chance).fold(0.0, f64::max);
    let decades = (typical.min(1.0) / chance(hour)).log10().max(0.0);
    evidence.set(Channel::Hour, (decades - 0.3).max(0.0) * 0.7 * history, f64::from(hour), chance(hour));
}

/// Hours before and after this one that are of the same part of the day. Of three to six, five found most nights at the
/// same false alarms on the train seeds.
const PART_OF_DAY: u32 = 5;
/// Hours of work that are supposed to lie there before any is known.
const SUPPOSED: f64 = 0.2;

/// The share of a human's hours of work that lies in this part of the day: humans use keys too seldom to know each hour.
fn share_of_hours(baseline: &Baseline, hour: u32) -> f64 {
    let width = 2 * PART_OF_DAY + 1;
    let near = |of: u32| (of + 24 + PART_OF_DAY - hour % 24) % 24 < width;
    let (mut within, mut all) = (SUPPOSED, SUPPOSED * 24.0 / f64::from(width));
    for (of, weight) in baseline.hours.iter().flat_map(|hours| (0..).zip(hours)) {
        let weight = f64::from(*weight) / 1_024.0;
        all += weight;
        within += if near(of) { weight } else { 0.0 };
    }
    (within / all).min(1.0)
}

/// One credential, from a network it never came from and from one it did, by turns.
fn places(evidence: &mut Evidence, baseline: &Baseline, open: &Open<'_>, s: &Sighting, day: u32, history: f64) {
    let is_new = |near: u32| !matches!(baseline.networks.standing(near, day), Standing::Known { .. });
    if s.network.near == 0 || !is_new(s.network.near) {
        return;
    }
    let mut turns = if this_window(baseline, open.this.minute) { baseline.turns } else { 0 };
    let (mut first_new, mut last_new, mut first_known, mut last_known) = (u32::MAX, 0, u32::MAX, 0);
    for minute in open.minutes() {
        for trace in minute.traces.iter().filter(|trace| trace.near != 0) {
            let at = |millis: u16| {
                (minute.minute + 1).saturating_sub(open.this.minute).saturating_mul(60_000) + u32::from(millis)
            };
            let (first, last) =
                if is_new(trace.near) { (&mut first_new, &mut last_new) } else { (&mut first_known, &mut last_known) };
            *first = (*first).min(at(trace.first));
            *last = (*last).max(at(trace.last));
        }
    }
    let known_lately =
        baseline.networks.iter().any(|entry| entry.last + 1 >= open.this.minute / 60 && !is_new(entry.value));
    if known_lately || first_known < last_new {
        turns = turns.max(1);
    }
    if first_new < last_known {
        turns += 1;
    }
    if first_new < last_known && last_known < last_new {
        turns += 1;
    }
    let (shape, exposure) = (0.3 + f64::from(baseline.mixed_days), 10.0 + f64::from(baseline.days));
    // A move leaves the old place for good; only who comes back was never away.
    let confirmed = match turns {
        0 => 0.0,
        1 => 0.15,
        2 => 0.9,
        3 => 1.2,
        _ => 1.4,
    };
    let decades = count_decades(1, shape, exposure) * confirmed;
    evidence.set(Channel::Places, decades * history, f64::from(turns), 0.0);
}

fn this_window(baseline: &Baseline, minute: u32) -> bool {
    baseline.mixed_since != 0 && minute.saturating_sub(baseline.mixed_since) <= 360
}

/// Keys it was refused and never allowed: the nearest thing to a proof.
fn refusals(
    evidence: &mut Evidence,
    baseline: &Baseline,
    open: &Open<'_>,
    s: &Sighting,
    around: &Surroundings,
    day: u32,
) {
    let foreign = |key: u32| baseline.is_foreign(key);
    let counts = |outcome: Seen| matches!(outcome, Seen::Denied | Seen::Error);
    let mut keys = Distinct::new();
    let mut times = 0_u32;
    baseline.refused.iter().filter(|entry| entry.last / 24 == day && foreign(entry.value)).for_each(|entry| {
        keys.add(entry.value);
        times = times.saturating_add(1);
    });
    for trace in open.traces().filter(|trace| counts(trace.outcome) && foreign(trace.key)) {
        keys.add(trace.key);
        times = times.saturating_add(u32::from(trace.count));
    }
    // What others use fails now and then; a key that is not there fails for whoever guesses.
    let failed = s.outcome == Seen::Error && around.key == Familiar::Nobody && baseline.days >= 3.0;
    evidence.refused_surely = s.outcome == Seen::Denied;
    evidence.refused_now = foreign(s.key) && (s.outcome == Seen::Denied || failed);
    if evidence.refused_now {
        (evidence.refused_keys, evidence.refused_times) = (keys.count(), times);
        let shape = 0.2 + f64::from(baseline.refused_days);
        let exposure = 20.0 + f64::from(baseline.days);
        let again = 0.7 * f64::from(times.saturating_sub(keys.count()).min(3));
        let known = if around.key == Familiar::Fleet { -0.7 } else { 0.0 };
        let sure = if s.outcome == Seen::Denied { 0.5 } else { 0.0 };
        let decades = count_decades(keys.count(), shape, exposure) + again + sure + known;
        evidence.set(Channel::Denied, decades, f64::from(keys.count()), shape / exposure);
    } else if s.outcome == Seen::Denied {
        evidence.set(Channel::Denied, 0.5, f64::from(times), 0.0);
    }
}
