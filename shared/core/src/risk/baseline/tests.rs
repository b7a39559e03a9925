use super::*;
use crate::risk::evidence::{Channel, Familiar, Reading, Surroundings, score_of};
use crate::risk::sighting::{Class, Network, Sighting, operation_hash};
use crate::risk::state::{MOST_STATE, State};
use crate::risk::table::Standing;
use crate::risk::{Behaviour, FactorName, Live, MOST_BYTES, Observation, score};
use proptest::prelude::*;

const BEGAN: i64 = 1_767_225_600_000;

fn sighting(id: u32, at: i64, key: u32) -> Sighting {
    let network = Network { near: 100, wide: 10 };
    Sighting { id, at, key, operation: 1, class: Class::Make, network, client: 7, outcome: Seen::Ok, scope: 0 }
}

/// A baseline of days on which the same thing happens every twenty minutes of the working day.
fn worked(days: std::ops::Range<i64>, key: u32) -> Baseline {
    let mut baseline = Baseline::default();
    for day in days {
        for n in 0..24 {
            let at = BEGAN + day * 86_400_000 + 28_800_000 + n * 1_200_000;
            let mut minute = Minute::new(minute_of(at));
            minute.add(&sighting(1, at, key), &baseline);
            baseline.fold(&minute);
        }
    }
    baseline
}

#[test]
fn the_fullest_baseline_and_state_fit_their_bounds() {
    let mut state = State::default();
    // More of everything than the tables hold, for weeks, and the open minutes filled to the brim.
    for n in 0..40_000_u32 {
        let at = BEGAN + i64::from(n) * 97_000;
        let network = Network { near: n % 5_000 + 1, wide: n % 500 + 1 };
        let outcome = if n % 9 == 0 { Seen::Denied } else { Seen::Ok };
        state.take(&Sighting {
            operation: n % 31,
            network,
            client: n % 77 + 1,
            outcome,
            ..sighting(n, at, n % 900 + 1)
        });
    }
    let at = BEGAN + 40_000 * 97_000;
    for n in 0..9_000_u32 {
        state.take(&Sighting { client: n + 1, ..sighting(1_000_000 + n, at + i64::from(n) * 20, n) });
    }
    let encoded = state.baseline().encode();
    assert!(encoded.len() <= MOST_BYTES && encoded.len() > 1_700, "{}", encoded.len());
    assert!(state.encode().len() <= MOST_STATE, "{}", state.encode().len());
}

#[test]
fn what_is_written_reads_back_and_nothing_else_does() {
    let baseline = worked(0..9, 5);
    assert_eq!(Baseline::decode(&baseline.encode()).unwrap(), baseline);
    let json = serde_json::to_string(&baseline).unwrap();
    assert_eq!(serde_json::from_str::<Baseline>(&json).unwrap(), baseline);
    let mut state = State::default();
    for n in 0..500 {
        state.take(&sighting(n, BEGAN + i64::from(n) * 777_000, n % 3 + 1));
    }
    assert_eq!(State::decode(&state.encode()).unwrap(), state);
    let mut bytes = baseline.encode();
    bytes.push(0);
    assert!(Baseline::decode(&bytes).is_err() && Baseline::decode(&[]).is_err());
    bytes.clear();
    bytes.push(99);
    assert!(Baseline::decode(&bytes).is_err() && State::decode(&bytes).is_err());
}

#[test]
fn a_minute_that_was_folded_is_sealed() {
    let mut baseline = worked(0..3, 5);
    let before = baseline.clone();
    let mut late = Minute::new(baseline.through);
    late.add(&sighting(9, i64::from(baseline.through) * 60_000, 77), &baseline);
    baseline.fold(&late);
    assert_eq!(baseline, before);
}

#[test]
fn what_was_refused_or_failed_teaches_no_key() {
    for outcome in [Seen::Denied, Seen::Error, Seen::Refused] {
        let mut baseline = worked(0..5, 5);
        let at = BEGAN + 5 * 86_400_000;
        let mut minute = Minute::new(minute_of(at));
        minute.add(&Sighting { outcome, ..sighting(9, at, 77) }, &baseline);
        baseline.fold(&minute);
        assert_eq!(baseline.keys.standing(77, 9_000), Standing::Absent, "{outcome:?}");
    }
}

#[test]
fn a_burst_raises_the_highest_peak_by_one_doubling_a_day() {
    let mut baseline = worked(0..10, 5);
    let before = baseline.peaks[2].highest;
    let at = BEGAN + 10 * 86_400_000;
    let mut minute = Minute::new(minute_of(at));
    for n in 0..2_000 {
        minute.add(&sighting(n, at + i64::from(n) * 25, 5), &baseline);
    }
    baseline.fold(&minute);
    baseline.advance(minute_of(at) + DAY);
    let learnt = baseline.peaks[2].highest - before;
    assert!((0.9..=1.0).contains(&learnt), "{learnt}");
}

#[test]
fn what_an_operator_accepts_is_known_at_once() {
    let mut baseline = worked(0..10, 5);
    let day = baseline.through / DAY;
    assert_eq!(baseline.keys.standing(77, day), Standing::Absent);
    baseline.accept(&Accepted::Key { key: 77, operation: 1 });
    baseline.accept(&Accepted::Network { near: 9, wide: 8 });
    baseline.accept(&Accepted::Client(6));
    assert!(matches!(baseline.keys.standing(77, day), Standing::Known { .. }));
    assert!(matches!(baseline.networks.standing(9, day), Standing::Known { .. }));
    assert!(matches!(baseline.clients.standing(6, day), Standing::Known { .. }));
    // What was found by the hour and by the day is begun anew: else it would be found again tomorrow.
    (baseline.excess, baseline.daily_excess) = (30.0, 9.0);
    baseline.accept(&Accepted::Rate { day: day + 1 });
    assert_eq!((baseline.excess, baseline.daily_excess), (0.0, 0.0));
}

#[test]
fn of_a_rate_what_was_seen_is_accepted_and_not_what_another_day_brought() {
    let mut baseline = worked(0..10, 5);
    let day = baseline.through / DAY;
    let highest = |baseline: &Baseline| baseline.peaks.map(|peak| peak.highest);
    let before = highest(&baseline);
    baseline.today = [9.0; SCALES];
    baseline.accept(&Accepted::Rate { day: day - 1 });
    assert_eq!(highest(&baseline), before);
    baseline.accept(&Accepted::Requests { count: 55, within_seconds: 10 });
    let [second, ten, minute, longer @ ..] = highest(&baseline);
    assert_eq!([second, ten, minute, longer[0]], [log2(6), log2(55), log2(55), log2(55)]);
    baseline.accept(&Accepted::Rate { day });
    assert_eq!(highest(&baseline), [9.0; SCALES]);
}

#[test]
fn a_score_with_a_history_is_the_sum_of_its_factors() {
    let mut state = State::default();
    for n in 0..700_u32 {
        state.take(&sighting(n, BEGAN + i64::from(n) * 1_800_000, 5));
    }
    let at = BEGAN + 700 * 1_800_000;
    let network = Network { near: 900, wide: 90 };
    let s = Sighting { network, operation: 2, class: Class::Release, ..sighting(5_000, at, 66) };
    let live = Live { second: 80, ten_seconds: 300, minute: 300 };
    let behaviour = Behaviour {
        sighting: &s,
        state: &state,
        template: None,
        fleet: None,
        surroundings: Surroundings::default(),
        live,
    };
    let evidence = behaviour.evidence();
    let now = crate::ambient::Timestamp::from_millisecond(at).unwrap();
    let issued = crate::ambient::Timestamp::from_second(now.as_second() - 90_000).unwrap();
    let observation = Observation {
        scope_breadth: Some(9),
        credential_issued_at: issued,
        environment: None,
        key: None,
        now,
        detection_lag: None,
        behaviour: Some(behaviour),
    };
    let risk = score(&observation);
    let sum: f64 = risk.factors.iter().map(|factor| factor.weight).sum();
    assert!((sum.min(1.0) - risk.score).abs() < 1e-9);
    let has = |name| risk.factors.iter().any(|factor| factor.factor == name);
    for name in [FactorName::NewKey, FactorName::NewOperation, FactorName::NewSource, FactorName::Burst] {
        assert!(has(name), "{name:?}: {risk:?}");
    }
    assert!(evidence.of(Channel::Burst).observed >= 80.0);
}

#[test]
fn of_a_burst_and_of_a_volume_it_is_said_within_what_time() {
    let mut settled = State::default();
    for n in 0..700_u32 {
        settled.take(&sighting(n, BEGAN + i64::from(n) * 1_800_000, 5));
    }
    let began = BEGAN + 700 * 1_800_000;
    let within = |gap: i64, live: Live| {
        let mut state = settled.clone();
        let count = u32::try_from(1_200_000 / gap).unwrap();
        for n in 0..count {
            state.take(&sighting(1_000 + n, began + i64::from(n) * gap, 5));
        }
        let s = sighting(1_000 + count - 1, began + i64::from(count - 1) * gap, 5);
        let surroundings = Surroundings::default();
        let behaviour = Behaviour { sighting: &s, state: &state, template: None, fleet: None, surroundings, live };
        let evidence = behaviour.evidence();
        [Channel::Burst, Channel::Volume, Channel::Client].map(|channel| evidence.of(channel).within_seconds)
    };
    let calm = Live { second: 1, ten_seconds: 1, minute: 1 };
    // Every 40 seconds: one is as many in a second as ever. Twice in a second is what it is live, and in ten seconds as many.
    assert_eq!(within(40_000, calm), [Some(60), Some(3_600), None]);
    assert_eq!(within(40_000, Live { second: 30, ten_seconds: 30, minute: 30 }), [Some(1), Some(3_600), None]);
    assert_eq!(within(40_000, Live { second: 1, ten_seconds: 90, minute: 90 }), [Some(10), Some(3_600), None]);
}

/// Where neither its own days nor those of its like tell anything, the organisation does, of where from and with what.
#[test]
fn what_nobody_in_the_organisation_ever_used_counts_for_an_agent_of_which_nothing_is_known() {
    let mut settled = State::default();
    for n in 0..700_u32 {
        settled.take(&sighting(n, BEGAN + i64::from(n) * 1_800_000, 5));
    }
    let young = State::default();
    let s = sighting(5_000, BEGAN + 700 * 1_800_000, 5);
    let known = Surroundings {
        organisation: true,
        network: Familiar::Others,
        client: Familiar::Fleet,
        ..Surroundings::default()
    };
    let unknown = Surroundings { organisation: true, ..Surroundings::default() };
    let table = [
        ("from nowhere, with something", &young, None, unknown, 0.36),
        ("from nowhere", &young, None, Surroundings { client: Familiar::Wave, ..unknown }, 0.083),
        ("as others do", &young, None, known, 0.0),
        ("before anything is known of others", &young, None, Surroundings::default(), 0.0),
        ("a human", &young, None, Surroundings { human: true, ..unknown }, 0.0),
        ("its like is known", &young, Some(&settled), unknown, 0.0),
        ("its like is new, too", &young, Some(&young), unknown, 0.36),
        ("it is known itself", &settled, None, unknown, 0.0),
    ];
    for (what, state, template, surroundings, want) in table {
        let live = Live { second: 1, ten_seconds: 1, minute: 1 };
        let behaviour = Behaviour { sighting: &s, state, template, fleet: None, surroundings, live };
        let score = score_of(behaviour.evidence().total());
        assert!((score - want).abs() < 0.001, "{what}: {score}");
    }
}

/// A fleet that does 80 a second has an agent that does them, or many.
#[test]
fn a_burst_of_its_fleet_counts_for_an_agent_that_may_take_part_in_it() {
    let mut settled = State::default();
    for n in 0..700_u32 {
        settled.take(&sighting(n, BEGAN + i64::from(n) * 1_800_000, 5));
    }
    let s = sighting(5_000, BEGAN + 700 * 1_800_000, 5);
    let burst = Live { second: 80, ten_seconds: 800, minute: 2_000 };
    let usual = Live { second: 1, ten_seconds: 1, minute: 1 };
    let decades = |state: &State, live: Live| {
        let surroundings = Surroundings::default();
        let fleet = Some((&settled, burst));
        let behaviour = Behaviour { sighting: &s, state, template: None, fleet, surroundings, live };
        behaviour.evidence().of(Channel::Burst).decades
    };
    assert_eq!(decades(&settled, usual), 0.0, "a sibling that goes on as it always did");
    let alone = decades(&settled, Live { second: 9, ten_seconds: 20, minute: 20 });
    assert!(alone > 4.0, "one that is faster than ever has the fleet's: {alone}");
    assert!(decades(&State::default(), usual) > 4.0, "a new one has the fleet's");
}

/// The state of an actor that did the same on each of twenty days, which hours it was busy in, and how many requests
/// each brought; then what its busiest request says of the next day.
fn excess_of_a_day(usual: impl Fn(i64) -> i64, then: impl Fn(i64) -> i64) -> f64 {
    let mut state = State::default();
    let mut most: f64 = 0.0;
    let mut id = 0;
    for hour in 0..21 * 24 {
        let today = if hour < 20 * 24 { usual(hour % 24) } else { then(hour % 24) };
        for n in 0..today {
            id += 1;
            let s = sighting(id, BEGAN + hour * 3_600_000 + n * (3_600_000 / today), 5);
            state.take(&s);
            if hour >= 20 * 24 {
                most = most.max(state.weigh(&s, &Surroundings::default()).of(Channel::Excess).decades);
            }
        }
    }
    most
}

#[test]
fn a_little_more_in_each_hour_is_much_in_a_day_and_one_busy_hour_is_not() {
    let steady = |_| 10;
    assert_eq!(excess_of_a_day(steady, steady), 0.0);
    let evenly = excess_of_a_day(steady, |_| 18);
    assert!(evenly >= 5.0, "{evenly}");
    // As many more, in one hour.
    let at_once = excess_of_a_day(steady, |hour| if hour == 9 { 10 + 24 * 8 } else { 10 });
    assert!(at_once < 2.0, "{at_once}");
}

#[test]
fn work_in_hours_without_any_shows_however_little_it_is() {
    let nightly = |hour| if hour == 2 { 40 } else { 0 };
    let all_day = excess_of_a_day(nightly, |hour| if hour == 2 { 40 } else { i64::from(hour % 2 == 0) * 2 });
    assert!(all_day >= 5.0, "{all_day}");
    let twice = excess_of_a_day(nightly, |hour| if hour == 2 || hour == 4 { 40 } else { 0 });
    assert!(twice < 2.0, "{twice}");
}

#[test]
fn the_hours_of_a_day_at_a_stretch_reach_back_over_midnight() {
    let day = 20_000_u32;
    let hours = |hours: &[u32]| hours.iter().fold(0, |bits, hour| bits | 1 << hour);
    let baseline = Baseline {
        through: day * DAY + 9 * 60,
        today_hours: hours(&[1, 8, 9]),
        yesterday_hours: hours(&[0, 8, 10, 23]),
        ..Baseline::default()
    };
    // Yesterday's 0 and 8 are more than a day ago.
    for (hour, want) in
        [(day * 24 + 9, 5), (day * 24 + 10, 5), (day * 24 + 23, 4), ((day + 1) * 24, 4), ((day + 2) * 24, 1)]
    {
        assert_eq!(baseline.hours_to(hour), want, "{}", hour - day * 24);
    }
}

/// What judging and taking in the next request allocate, after so many days of the same: how often, and how many bytes.
fn allocated(days: u32) -> ((u64, u64), (u64, u64)) {
    let mut state = State::default();
    let requests = days * 48;
    let of = |n: u32| sighting(n, BEGAN + i64::from(n) * 1_800_000, n % 300 + 1);
    for n in 0..requests {
        state.take(&of(n));
    }
    let next = of(requests);
    let taken = allocation_counter::measure(|| {
        state.take(&next);
    });
    let weighed = allocation_counter::measure(|| {
        state.weigh(&next, &Surroundings::default());
    });
    ((weighed.count_total, weighed.bytes_total), (taken.count_total, taken.bytes_total))
}

#[test]
fn nothing_is_allocated_to_judge_a_request_and_no_more_to_take_it_in_for_a_longer_history() {
    let (weighed, taken) = allocated(20);
    assert_eq!(weighed, (0, 0));
    assert!(taken.1 <= 4_096, "{taken:?}");
    assert_eq!(allocated(400), (weighed, taken));
}

/// What a new key says that comes up this many milliseconds after another one.
fn second_new_key(after: i64) -> (f64, u32) {
    let mut state = State::default();
    for n in 0..700_u32 {
        state.take(&sighting(n, BEGAN + i64::from(n) * 1_800_000, 5));
    }
    let at = BEGAN + 700 * 1_800_000;
    let second = sighting(5_001, at + after, 67);
    state.take(&sighting(5_000, at, 66));
    state.take(&second);
    let evidence = state.weigh(&second, &Surroundings::default());
    (evidence.of(Channel::Key).decades, evidence.keys_at_once)
}

#[test]
fn a_new_key_right_after_another_counts_two_decades_more_than_one_later_that_day() {
    let ((at_once, two), (later, one)) = (second_new_key(20_000), second_new_key(600_000));
    assert_eq!((two, one), (2, 1));
    assert!((at_once - later - 2.0).abs() < 1e-9, "{at_once} and {later}");
}

#[test]
fn a_known_key_beside_new_ones_says_nothing_of_them() {
    let mut state = State::default();
    for n in 0..700_u32 {
        state.take(&sighting(n, BEGAN + i64::from(n) * 1_800_000, 5));
    }
    let at = BEGAN + 700 * 1_800_000;
    let known = sighting(5_002, at + 2_000, 5);
    for s in [sighting(5_000, at, 66), sighting(5_001, at + 1_000, 67), known] {
        state.take(&s);
    }
    let evidence = state.weigh(&known, &Surroundings::default());
    assert_eq!((evidence.of(Channel::Key).decades, evidence.keys_at_once), (0.0, 0));
}

proptest! {
    #[test]
    fn merging_is_the_same_either_way_and_nothing_adds_nothing(a in 0_i64..20, b in 0_i64..20, keys in 1_u32..9) {
        let (a, b) = (worked(0..a, 5), worked(a..a + b, keys));
        prop_assert_eq!(a.merge(&Baseline::default()), a.clone());
        prop_assert_eq!(Baseline::default().merge(&a), a.clone());
        let (ab, ba) = (a.merge(&b), b.merge(&a));
        prop_assert_eq!(ab.days, ba.days);
        prop_assert_eq!(ab.volume, ba.volume);
        prop_assert_eq!(ab.peaks, ba.peaks);
        prop_assert_eq!(ab.hours, ba.hours);
        prop_assert_eq!(ab.networks, ba.networks);
    }

    #[test]
    fn baselines_of_disjoint_days_join_to_that_of_all(first in 4_i64..15, then in 4_i64..15) {
        let whole = worked(0..first + then, 5);
        let joined = worked(0..first, 5).merge(&worked(first..first + then, 5));
        let near = |a: f32, b: f32| (a - b).abs() <= 0.02 * a.abs().max(1.0);
        // The day that is open in a part is closed in the whole.
        prop_assert!(near(whole.days, joined.days), "{} {}", whole.days, joined.days);
        for (a, b) in whole.volume.iter().zip(joined.volume) {
            prop_assert!(near(*a, b), "{:?} {:?}", whole.volume, joined.volume);
        }
        for (a, b) in whole.peaks.iter().zip(&joined.peaks).take(6) {
            prop_assert!(near(a.sum, b.sum) && (a.highest - b.highest).abs() < 0.3, "{a:?} {b:?}");
        }
        let weight = |baseline: &Baseline| baseline.keys.find(5).unwrap().weight();
        prop_assert!((weight(&whole) - weight(&joined)).abs() < 0.1, "{} {}", weight(&whole), weight(&joined));
        prop_assert_eq!(whole.born, joined.born);
        prop_assert_eq!(whole.through, joined.through);
    }

    #[test]
    fn baselines_of_the_same_days_join_to_one_of_as_many_days(days in 5_i64..15) {
        let (a, b) = (worked(0..days, 5), worked(0..days, 6));
        let joined = a.merge(&b);
        prop_assert!((joined.days - a.days).abs() < 0.1);
        let noon = 12;
        prop_assert!((joined.volume[noon] - a.volume[noon] - b.volume[noon]).abs() < 0.1);
        // A peak is of a day, and there are not more days than there were.
        for (ours, theirs) in joined.peaks.iter().zip(&a.peaks) {
            prop_assert!((mean(ours, joined.days) - mean(theirs, a.days)).abs() < 0.1, "{ours:?} {theirs:?}");
        }
    }

    /// Records of a minute that come in another order have time pass in other steps.
    #[test]
    fn time_passes_the_same_in_whatever_steps(
        days in 0_i64..9,
        steps in proptest::collection::vec(1_u32..5_000, 1..12),
        far in prop_oneof![Just(0_u32), 1_u32..2 * DAY * 400],
    ) {
        let worked = worked(0..days, 5);
        let (mut at_once, mut by_steps) = (worked.clone(), worked);
        let mut minute = at_once.through;
        for step in steps {
            minute += step;
            by_steps.advance(minute);
        }
        by_steps.advance(minute + far);
        at_once.advance(minute);
        at_once.advance(minute + far);
        prop_assert_eq!(&at_once, &by_steps);
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = (Baseline::decode(&bytes), State::decode(&bytes), crate::risk::pool::Pool::decode(&bytes));
        let mut versioned = bytes;
        versioned.insert(0, 1);
        let _ = (Baseline::decode(&versioned), State::decode(&versioned), crate::risk::pool::Pool::decode(&versioned));
    }
}

/// What is said of the mix of operations after twenty days that each brought so many of them by name, at the last of some more
/// on the next day, a minute after the other.
fn mix_after(usual: &[(&str, u32)], then: (&str, u32)) -> Reading {
    let mut state = State::default();
    let mut id = 0;
    let mut of = |name: &str, at: i64| {
        id += 1;
        let (operation, class) = (operation_hash(name), Class::of(name));
        Sighting { operation, class, ..sighting(id, at, 5) }
    };
    for day in 0..20 {
        for n in 0..400 {
            for (name, _) in usual.iter().filter(|(_, count)| n < *count) {
                state.take(&of(name, BEGAN + day * 86_400_000 + 36_000_000 + i64::from(n) * 60_000));
            }
        }
    }
    let mut last = Reading::default();
    for n in 0..i64::from(then.1) {
        let s = of(then.0, BEGAN + 20 * 86_400_000 + 36_000_000 + n * 60_000);
        state.take(&s);
        last = state.weigh(&s, &Surroundings::default()).of(Channel::Mix);
    }
    last
}

#[test]
fn who_begins_to_do_much_of_what_it_did_little_of_is_seen_to() {
    let signs = [("sign", 400), ("get", 2)];
    let reads = mix_after(&signs, ("get", 40));
    assert!(reads.decades > 3.0 && reads.observed == 40.0, "{reads:?}");
    assert!((1.5..2.5).contains(&reads.expected) && reads.within_seconds == Some(3_600), "{reads:?}");
    let begins_to_sign = mix_after(&[("verify", 400), ("get", 9)], ("sign", 40));
    assert!(begins_to_sign.decades > 3.0 && begins_to_sign.expected == 0.0, "{begins_to_sign:?}");
    // As much as ever, twice its trade, and what reveals and makes nothing.
    for (usual, then) in [
        (&signs[..], ("get", 2)),
        (&[("sign", 400)], ("sign", 800)),
        (&[("sign", 400), ("verify", 2)], ("verify", 200)),
    ] {
        let said = mix_after(usual, then);
        assert!(said.decades < 0.01, "{then:?}: {said:?}");
    }
}

#[test]
fn a_restore_test_is_little_beside_a_turn_to_something_else() {
    let restores = mix_after(&[("encrypt", 400)], ("decrypt", 200));
    let turns = mix_after(&[("sign", 400)], ("decrypt", 200));
    assert!(restores.decades > 0.0 && restores.decades < 0.5 * turns.decades, "{restores:?} {turns:?}");
    // Who decrypts now and then and one day decrypts all is no restore test.
    let reads = mix_after(&[("encrypt", 400), ("decrypt", 2)], ("decrypt", 200));
    assert!(reads.decades > 3.0, "{reads:?}");
}

#[test]
fn operations_that_were_right_are_no_more_than_there_were() {
    let mut baseline = worked(0..10, 5);
    baseline.accept(&Accepted::Operations { class: Class::Release, count: 48, within_seconds: 3_600 });
    let [made, released] = baseline.mix.map(|peaks| peaks.map(|peak| peak.highest));
    assert_eq!(released, [log2(48), log2(48)]);
    baseline.accept(&Accepted::Operations { class: Class::Make, count: 4_800, within_seconds: 86_400 });
    assert!(made[1] < log2(4_800));
    assert_eq!(baseline.mix[0].map(|peak| peak.highest), [made[0].max(log2(200)), log2(4_800)]);
    assert_eq!(baseline.mix[1].map(|peak| peak.highest), released);
}

#[test]
fn whose_work_is_one_new_key_after_the_other_comes_by_several_at_once() {
    let decades = |new_a_day: u32| {
        let mut state = State::default();
        let (mut id, mut key) = (0, 100);
        let mut next = |state: &mut State, at: i64, key: u32| {
            id += 1;
            let s = sighting(id, at, key);
            state.take(&s);
            s
        };
        for day in 0..20 {
            for n in 0..10 {
                let at = BEGAN + day * 86_400_000 + i64::from(n) * 3_600_000;
                next(&mut state, at, 5);
                if n < new_a_day {
                    key += 1;
                    next(&mut state, at + 600_000, key);
                }
            }
        }
        let at = BEGAN + 20 * 86_400_000;
        let mut decades = |key: u32| {
            let s = next(&mut state, at + i64::from(key), key);
            state.weigh(&s, &Surroundings::default()).of(Channel::Key).decades
        };
        let [alone, _, third] = [900, 901, 902].map(&mut decades);
        third - alone
    };
    let (steady, rotating) = (decades(0), decades(1));
    assert!(steady > 3.9, "{steady}");
    assert!(rotating < 0.4 * steady, "{rotating} of {steady}");
}

#[test]
fn a_surge_is_one_by_the_second_and_by_ten_whatever_little_is_known() {
    let baseline = worked(0..2, 5);
    let most = baseline.peaks.map(|peak| peak.highest.exp2() - 1.0);
    assert!(most[0] < 1.01 && most[1] < 1.01, "{most:?}");
    let of = |second, ten_seconds| crate::risk::weigh::surge(&baseline, [second, ten_seconds]);
    let table = [(59, 79, None), (60, 60, Some(1)), (20, 80, Some(10)), (80, 160, Some(10))];
    for (second, ten_seconds, want) in table {
        assert_eq!(of(second, ten_seconds).map(|count| count.within_seconds), want, "{second} {ten_seconds}");
    }
    // What was as fast before, nearly, is no surge; nor is anything of who came an hour ago.
    let mut fast = baseline.clone();
    fast.accept(&Accepted::Requests { count: 20, within_seconds: 1 });
    assert!(crate::risk::weigh::surge(&fast, [80, 80]).is_none());
    assert!(crate::risk::weigh::surge(&fast, [84, 84]).is_some());
    assert!(crate::risk::weigh::surge(&Baseline::default(), [80, 160]).is_none());
}
