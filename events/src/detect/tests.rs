//! That neither order nor repetition matters.

use super::watch::{Subject, Watch};
use super::{Detector, Grade, Judgement, Thresholds, judge};
use aegis_core::risk::baseline::minute_of;
use aegis_core::risk::sighting::{Class, Network, Seen, Sighting};
use proptest::prelude::*;
use std::collections::BTreeSet;

const BEGAN: i64 = 1_767_225_600_000;

type Event = (Subject, Sighting);
type Fired = BTreeSet<(Detector, u64, u32)>;

/// As the consumer does it: after each record, what its actor did in its minute and in the next is weighed again.
fn run(events: &[Event]) -> (Watch, Fired) {
    let (mut watch, mut fired) = (Watch::default(), Fired::new());
    for (subject, s) in events {
        watch.take(subject, s);
        for minute in [minute_of(s.at), minute_of(s.at) + 1] {
            let Some(open) = watch.actors[&subject.actor].minute(minute) else { continue };
            for trace in open.in_order() {
                let evidence = watch.weigh(subject, &trace.sighting(minute));
                let judgement = judge(&evidence, &Thresholds::of(subject.human), true);
                fired.extend(judgement.detectors.iter().map(|detector| (*detector, subject.actor, minute)));
            }
        }
    }
    (watch, fired)
}

/// Three weeks of two agents at work, and an attack of whatever kind on the first.
fn history(attack: &[(u8, u8, u8, u16)]) -> Vec<Event> {
    let mut events = Vec::new();
    let mut add = |actor: u64, at: i64, key: u32, operation: u32, near: u32, outcome: Seen| {
        let of_human = actor != 3;
        let subject = Subject { actor, human: false, fleet: 9, template: if of_human { 9 } else { 1 }, of_human };
        let id = u32::try_from(events.len()).unwrap() + 1;
        let network = Network { near, wide: near / 10 };
        let class = Class::Make;
        events.push((subject, Sighting { id, at, key, operation, class, network, client: 7, outcome, scope: 0 }));
    };
    for day in 0..21 {
        for n in 0..30 {
            let at = BEGAN + day * 86_400_000 + n * 1_200_000;
            add(1, at, 10 + u32::try_from(n % 2).unwrap(), 1, 100, Seen::Ok);
            add(2, at + 7_000, 12, 1, 110, Seen::Ok);
        }
    }
    let mut at = BEGAN + 21 * 86_400_000;
    for (key, operation, near, pause) in attack {
        at += i64::from(*pause) * 10;
        let outcome = if key % 3 == 0 { Seen::Denied } else { Seen::Ok };
        // A third of it is done by an agent of the first.
        let actor = if *operation == 3 { 3 } else { 1 };
        add(actor, at, u32::from(*key), u32::from(*operation), 100 + u32::from(*near), outcome);
    }
    events
}

fn attack() -> impl Strategy<Value = Vec<(u8, u8, u8, u16)>> {
    let step = (10_u8..16, 1_u8..4, prop_oneof![Just(0_u8), Just(50_u8), Just(51_u8)], 0_u16..4_000);
    proptest::collection::vec(step, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn order_within_a_minute_and_repetition_change_neither_state_nor_what_fires(
        attack in attack(),
        shifts in proptest::collection::vec(0_i64..60_000, 1_400),
        repeats in proptest::collection::vec(0_usize..6, 1_400),
    ) {
        let events = history(&attack);
        let (watch, fired) = run(&events);
        // Each comes up to a minute late, and some come again.
        let mut late: Vec<(i64, Event)> = Vec::new();
        for ((event, shift), repeat) in events.iter().zip(&shifts).zip(&repeats) {
            late.push((event.1.at + shift, *event));
            if *repeat == 0 {
                late.push((event.1.at + 59_999, *event));
            }
        }
        late.sort_by_key(|(at, _)| *at);
        let late: Vec<Event> = late.into_iter().map(|(_, event)| event).collect();
        let (mut watch_late, fired_late) = run(&late);
        prop_assert_eq!(&fired, &fired_late);
        // Once the open minutes are sealed, the baselines are equal as well.
        let mut watch = watch;
        for watch in [&mut watch, &mut watch_late] {
            for (subject, s) in [events[0], events[1]] {
                let s = Sighting { id: u32::MAX, at: BEGAN + 40 * 86_400_000, ..s };
                watch.take(&subject, &s);
            }
        }
        for actor in [1, 2] {
            prop_assert_eq!(watch.actors[&actor].baseline(), watch_late.actors[&actor].baseline());
        }
        prop_assert_eq!(watch.fleets[&9].baseline(), watch_late.fleets[&9].baseline());
        prop_assert_eq!(watch.pool, watch_late.pool);
    }
}

#[test]
fn a_burst_of_new_keys_fires_and_ordinary_work_does_not() {
    let (_, fired) = run(&history(&[]));
    assert_eq!(fired, Fired::new());
    let grab: Vec<_> = (0..5).map(|n| (10 + n, 2, 50, 300)).collect();
    let (_, fired) = run(&history(&grab));
    let detectors: BTreeSet<Detector> = fired.into_iter().map(|(detector, ..)| detector).collect();
    assert!(detectors.contains(&Detector::KeySet) && detectors.contains(&Detector::ScopeViolation), "{detectors:?}");
}

/// What becomes of a human's request on the ninth day, in this hour, after one a day between nine and five.
fn at_hour(hour: i64) -> (Grade, Vec<Detector>) {
    let mut watch = Watch::default();
    let subject = Subject { actor: 5, human: true, fleet: 5, template: 0, of_human: false };
    let network = Network { near: 100, wide: 10 };
    let hours = [9, 16, 10, 14, 9, 15, 10, 16].into_iter().chain([hour]);
    let mut judgement = Judgement::default();
    for (day, hour) in (0..).zip(hours) {
        let (id, at) = (u32::try_from(day * 100 + hour).unwrap(), BEGAN + day * 86_400_000 + hour * 3_600_000);
        let (class, outcome) = (Class::Make, Seen::Ok);
        let s = Sighting { id, at, key: 10, operation: 1, class, network, client: 7, outcome, scope: 0 };
        watch.take(&subject, &s);
        judgement = judge(&watch.weigh(&subject, &s), &Thresholds::of(true), true);
    }
    (judgement.grade, judgement.detectors)
}

#[test]
fn a_human_is_asked_about_at_night_and_not_in_an_hour_of_the_day_that_was_never_worked() {
    for night in [1, 3] {
        assert_eq!(at_hour(night), (Grade::Alert, vec![Detector::OffHours]), "{night}:00");
    }
    for day in [8, 12, 17, 19] {
        assert_eq!(at_hour(day).0, Grade::None, "{day}:00");
    }
}

/// What becomes of an agent on its first day that makes three keys its own in a minute which none of its template, at work
/// for three weeks, ever used.
fn beginner(template: u64, outcome: Seen) -> Grade {
    let mut watch = Watch::default();
    for (subject, s) in history(&[]) {
        let of_like = if template == 1 { 9 } else { template };
        watch.take(&Subject { template: of_like, of_human: of_like == 9, ..subject }, &s);
    }
    let subject = Subject { actor: 3, human: false, fleet: 9, template, of_human: template == 9 };
    let began = BEGAN + 21 * 86_400_000;
    let mut grade = Grade::None;
    for n in 0..4_u32 {
        let key = if n == 0 { 10 } else { 30 + n };
        let (id, at) = (9_000 + n, began + i64::from(n) * 15_000);
        let network = Network { near: 100, wide: 10 };
        let outcome = if n == 0 { Seen::Ok } else { outcome };
        let s = Sighting { id, at, key, operation: 1, class: Class::Make, network, client: 7, outcome, scope: 0 };
        watch.take(&subject, &s);
        grade = grade.max(judge(&watch.weigh(&subject, &s), &Thresholds::of(false), true).grade);
    }
    grade
}

#[test]
fn a_young_agent_of_a_human_is_asked_about_where_one_of_an_agent_is_stopped() {
    let (of_human, of_agent) = (beginner(9, Seen::Ok), beginner(8, Seen::Ok));
    assert_eq!((of_human, of_agent), (Grade::Alert, Grade::Automatic));
}

/// The first agent of an agent has nobody it is like; who takes its parent over would make one to go unnoticed.
#[test]
fn the_first_agent_of_an_agent_is_stopped_for_what_its_parent_would_be() {
    assert_eq!(beginner(1, Seen::Ok), Grade::Automatic);
}

#[test]
fn as_fast_as_the_agent_it_is_of_never_was_an_agent_is_found() {
    let mut watch = Watch::default();
    for (subject, s) in history(&[]) {
        watch.take(&subject, &s);
    }
    let subject = Subject { actor: 3, human: false, fleet: 9, template: 1, of_human: false };
    let mut judgement = Judgement::default();
    for n in 0..200_u32 {
        let network = Network { near: 100, wide: 10 };
        let (id, at, outcome) = (9_000 + n, BEGAN + 21 * 86_400_000 + i64::from(n) * 20, Seen::Ok);
        let s = Sighting { id, at, key: 10, operation: 1, class: Class::Make, network, client: 7, outcome, scope: 0 };
        watch.take(&subject, &s);
        judgement = judge(&watch.weigh(&subject, &s), &Thresholds::of(false), true);
    }
    assert_eq!((judgement.grade, judgement.detectors), (Grade::Automatic, vec![Detector::UsageSpike]));
}

/// What a request of an agent of three weeks says from where it never was and with what it never used, some minutes after
/// these came from there with it.
fn evidence_after(came: &[Subject]) -> f64 {
    let mut watch = Watch::default();
    let began = BEGAN + 21 * 86_400_000;
    let mut id = 90_000;
    let mut add = |watch: &mut Watch, subject: &Subject, at: i64, near: u32| {
        id += 1;
        let network = Network { near, wide: near / 10 };
        let (class, outcome, client) = (Class::Make, Seen::Ok, near);
        let s = Sighting { id, at, key: 10, operation: 1, class, network, client, outcome, scope: 0 };
        watch.take(subject, &s);
        watch.weigh(subject, &s).of_places()
    };
    let agent = |actor: u64| Subject { actor: actor << 32, human: false, fleet: 9 << 32, template: 9, of_human: true };
    for day in 0..21 {
        for actor in 1..4 {
            for n in 0..20 {
                let at = BEGAN + day * 86_400_000 + n * 1_200_000;
                add(&mut watch, &agent(actor), at, 100 + u32::try_from(actor).unwrap());
            }
        }
    }
    for (n, subject) in (0..).zip(came) {
        add(&mut watch, subject, began + n * 1_000, 500);
    }
    add(&mut watch, &agent(1), began + 180_000, 500)
}

#[test]
fn agents_that_a_thief_issues_to_herself_make_no_roll_out() {
    let below = |n: u64| Subject { actor: n << 32, human: false, fleet: 9 << 32, template: 1 << 32, of_human: false };
    let of_human = |n: u64| Subject { template: 9, of_human: true, ..below(n) };
    let alone = evidence_after(&[]);
    assert!(alone >= 4.0, "{alone}");
    assert_eq!(evidence_after(&[below(7), below(8)]), alone);
    assert_eq!(evidence_after(&[of_human(7), of_human(8)]), alone);
    let rolled_out = evidence_after(&[of_human(2), of_human(3)]);
    assert!(rolled_out < 0.6 * alone, "{rolled_out}");
}

/// What becomes of an agent at work for three weeks that is refused these keys, every five seconds.
fn refused(keys: &[u32]) -> Grade {
    let (mut watch, _) = run(&history(&[]));
    let subject = Subject { actor: 1, human: false, fleet: 9, template: 9, of_human: true };
    let mut grade = Grade::None;
    for (n, key) in (0..).zip(keys) {
        let (id, at) = (90_000 + n, BEGAN + 21 * 86_400_000 + i64::from(n) * 5_000);
        let (network, class, outcome) = (Network { near: 100, wide: 10 }, Class::Make, Seen::Denied);
        let s = Sighting { id, at, key: *key, operation: 1, class, network, client: 7, outcome, scope: 0 };
        watch.take(&subject, &s);
        grade = grade.max(judge(&watch.weigh(&subject, &s), &Thresholds::of(false), true).grade);
    }
    grade
}

#[test]
fn who_asks_for_one_wrong_key_over_and_over_is_asked_about_and_for_a_second_one_is_stopped() {
    let grades = [&[40][..], &[40; 2], &[40; 30], &[40, 41]].map(refused);
    assert_eq!(grades, [Grade::None, Grade::Alert, Grade::Alert, Grade::Automatic]);
}

/// What becomes of a human at work for three weeks who goes through twenty keys she never used.
fn goes_through(class: Class) -> Grade {
    let mut watch = Watch::default();
    let subject = Subject { actor: 1, human: true, fleet: 1, template: 1, of_human: false };
    let mut id = 0;
    let mut add = |at: i64, key: u32, operation: u32, class: Class| {
        id += 1;
        let network = Network { near: 100, wide: 10 };
        let s = Sighting { id, at, key, operation, class, network, client: 7, outcome: Seen::Ok, scope: 0 };
        watch.take(&subject, &s);
        judge(&watch.weigh(&subject, &s), &Thresholds::of(true), true).grade
    };
    for day in 0..21 {
        for n in 0..20 {
            add(BEGAN + day * 86_400_000 + n * 1_200_000, 10, 1, Class::Make);
            add(BEGAN + day * 86_400_000 + n * 1_200_000 + 1, 10, 2, Class::Look);
        }
    }
    let operation = if class == Class::Look { 2 } else { 1 };
    let began = BEGAN + 21 * 86_400_000;
    (0..20).map(|n| add(began + i64::from(n) * 3_000, 50 + n, operation, class)).max().unwrap()
}

#[test]
fn a_human_who_looks_at_key_after_key_is_asked_about_and_who_uses_them_is_stopped() {
    assert_eq!([Class::Look, Class::Make].map(goes_through), [Grade::Alert, Grade::Automatic]);
}

#[test]
fn refusals_stop_a_young_agent_of_a_human_all_the_same() {
    assert_eq!(beginner(9, Seen::Denied), Grade::Automatic);
}
