//! What an organisation knows: who was first to use a value, and when. It tells a move of many from a thief's address.

use super::DAY;
use super::baseline::minute_of;
use super::codec::{UnknownBaseline, take};
use super::evidence::{Familiar, Surroundings};
use super::sighting::Sighting;
use super::sighting::codes;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Most users of a value that are remembered: the earliest.
const MOST: usize = 4;
/// As many others with a history make a move of a thing that happens to many.
const MANY: usize = 2;

/// Who used what first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pool {
    users: BTreeMap<(Sort, u32), Vec<User>>,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Sort {
    Client,
    Key,
    Near,
    Operation,
    Wide,
}

codes! { Sort { 0 Client 1 Key 2 Near 3 Operation 4 Wide } }

/// The first use by one actor. Ordered by whether it had a history, by time, then by hash: which ones are kept does not depend on
/// who came first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct User {
    /// Whoever takes an agent over can make new ones: they are kept last, and make no move.
    young: bool,
    minute: u32,
    actor: u32,
    fleet: u32,
}

/// Most values that are kept: with their users they fit an item of a store.
pub const MOST_VALUES: usize = 700;

impl Pool {
    /// Forgets down to [`MOST_VALUES`]. First what a single one uses, or new agents alone, of whoever used most of it; what several
    /// with a history use last. Of either what was used by somebody new longest ago.
    pub fn trim(&mut self) {
        let surplus = self.users.len().saturating_sub(MOST_VALUES);
        if surplus == 0 {
            return;
        }
        let mut by_actor: Vec<_> = self.users.iter().map(|(value, users)| (standing(users), *value)).collect();
        // The newest of each actor's first: which of its own it is says how many it would have to itself.
        by_actor.sort_unstable_by_key(|order| Reverse(*order));
        let (mut of, mut rank) = (None, 0_u32);
        let ranked = by_actor.into_iter().map(|((several, actor, latest), value)| {
            rank = if of == Some((several, actor)) && !several { rank.saturating_add(1) } else { 0 };
            of = Some((several, actor));
            (several, Reverse(rank), latest, value)
        });
        let mut ranked: Vec<_> = ranked.collect();
        ranked.sort_unstable();
        for (.., value) in ranked.into_iter().take(surplus) {
            self.users.remove(&value);
        }
    }

    /// The bytes of an item in a store: at most 40 KiB after [`trim`](Self::trim).
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        for ((sort, value), users) in &self.users {
            out.push(sort.code());
            out.extend_from_slice(&value.to_le_bytes());
            out.push(u8::try_from(users.len()).unwrap_or(0));
            for user in users {
                out.push(u8::from(user.young));
                out.extend_from_slice(&user.minute.to_le_bytes());
                out.extend_from_slice(&user.actor.to_le_bytes());
                out.extend_from_slice(&user.fleet.to_le_bytes());
            }
        }
        out
    }

    /// # Errors
    /// [`UnknownBaseline`] for anything that `encode` did not write.
    pub fn decode(bytes: &[u8]) -> Result<Self, UnknownBaseline> {
        let read = |bytes: &mut &[u8]| -> Option<Self> {
            let [version] = *take(bytes)?;
            (1..=VERSION).contains(&version).then_some(())?;
            let mut users = BTreeMap::new();
            while !bytes.is_empty() {
                let [sort] = *take(bytes)?;
                let value = u32::from_le_bytes(*take(bytes)?);
                let [count] = *take(bytes)?;
                let mut of = Vec::with_capacity(MOST);
                for _ in 0..count {
                    // Of which users were young, the first version did not say.
                    let [young] = if version == 1 { [0] } else { *take(bytes)? };
                    let mut number = || take(bytes).map(|bytes| u32::from_le_bytes(*bytes));
                    of.push(User { young: young != 0, minute: number()?, actor: number()?, fleet: number()? });
                }
                users.insert((Sort::from_code(sort)?, value), of);
            }
            Some(Self { users })
        };
        read(&mut &*bytes).ok_or(UnknownBaseline)
    }

    /// `young` is who has too little history of its own.
    pub fn learn(&mut self, sort: Sort, value: u32, (actor, fleet): (u64, u64), young: bool, minute: u32) {
        let user = User { young, minute, actor: half(actor), fleet: half(fleet) };
        let users = self.users.entry((sort, value)).or_default();
        if let Some(known) = users.iter_mut().find(|known| known.actor == user.actor) {
            known.young &= young;
            known.minute = known.minute.min(minute);
        } else if users.len() < MOST || users.last().is_some_and(|last| user < *last) {
            users.push(user);
        } else {
            return;
        }
        users.sort_unstable();
        users.truncate(MOST);
    }

    /// How well others knew what a request of this actor uses.
    pub fn surroundings(&self, human: bool, actor: u64, fleet: u64, s: &Sighting) -> Surroundings {
        let familiar = |sort, value| self.familiar(sort, value, actor, fleet, minute_of(s.at));
        let network = match familiar(Sort::Near, s.network.near) {
            Familiar::Nobody => familiar(Sort::Wide, s.network.wide),
            near => near,
        };
        Surroundings {
            human,
            key: familiar(Sort::Key, s.key),
            operation: familiar(Sort::Operation, s.operation),
            network,
            client: familiar(Sort::Client, s.client),
            organisation: self.users.values().flatten().any(|user| user.actor != half(actor)),
        }
    }

    /// How well others knew `value` two minutes before `minute`: what is younger may still change its order.
    pub fn familiar(&self, sort: Sort, value: u32, actor: u64, fleet: u64, minute: u32) -> Familiar {
        let (actor, fleet) = (half(actor), half(fleet));
        let Some(users) = self.users.get(&(sort, value)) else { return Familiar::Nobody };
        let others = || users.iter().filter(|user| user.actor != actor && user.minute + 2 <= minute);
        let settled = |user: &User| user.minute + DAY <= minute;
        if fleet != 0 && others().any(|user| user.fleet == fleet && settled(user)) {
            return Familiar::Fleet;
        }
        match (others().any(settled), others().filter(|user| !user.young).count() >= MANY) {
            (true, _) => Familiar::Others,
            (false, true) => Familiar::Wave,
            (false, false) => Familiar::Nobody,
        }
    }
}

/// Whether several with a history use a value; who came to it last, and when: of those with a history, if there is one. Whoever is new
/// to everything makes no value another's.
fn standing(users: &[User]) -> (bool, u32, u32) {
    let several = users.iter().filter(|user| !user.young).count() > 1;
    let newest = users.iter().max_by_key(|user| (!user.young, user.minute, user.actor));
    newest.map_or((several, 0, 0), |newest| (several, newest.actor, newest.minute))
}

/// Half of a hash tells four users apart well enough; 0 stays 0 and nothing else becomes it.
fn half(hash: u64) -> u32 {
    match hash {
        0 => 0,
        _ => u32::try_from(hash >> 32).unwrap_or(0).max(1),
    }
}

const VERSION: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    const FLEET: u64 = 9 << 32;
    const NOW: u32 = 30 * DAY;

    fn actor(n: u64) -> u64 {
        (n + 100) << 32
    }

    /// How well the value is known to somebody else, after these used it an hour ago.
    fn known(users: &[(u64, bool)]) -> Familiar {
        let mut pool = Pool::default();
        for (n, young) in users {
            pool.learn(Sort::Near, 7, (actor(*n), FLEET), *young, NOW - 60);
        }
        let pool = Pool::decode(&pool.encode()).unwrap();
        pool.familiar(Sort::Near, 7, actor(0), FLEET, NOW)
    }

    #[test]
    fn agents_without_a_history_make_no_move_and_are_kept_last() {
        assert_eq!(known(&[(1, false), (2, false)]), Familiar::Wave);
        assert_eq!(known(&[(1, true), (2, true), (3, true)]), Familiar::Nobody);
        assert_eq!(known(&[(1, false), (2, true)]), Familiar::Nobody);
        let young = (1..5).map(|n| (n, true));
        assert_eq!(known(&young.chain([(5, false), (6, false)]).collect::<Vec<_>>()), Familiar::Wave);
        // Once it has a history, it is one of those.
        assert_eq!(known(&[(1, true), (2, true), (1, false), (2, false)]), Familiar::Wave);
    }

    /// Of hundreds that use a few values each, and some together.
    #[test]
    fn one_agent_washes_out_nothing_that_others_use() {
        let mut pool = Pool::default();
        let value = |n: u64, m: u32| u32::try_from(n).unwrap() * 100 + m;
        for (n, m) in (1..=60).flat_map(|n| (0..5).map(move |m| (n, m))) {
            pool.learn(Sort::Client, value(n, m), (actor(n), FLEET), false, NOW - 5_000 + m);
        }
        for (n, m) in (1..=60).flat_map(|n| (0..100).map(move |m| (n, m))) {
            pool.learn(Sort::Near, m, (actor(n), FLEET), false, NOW - 9_000);
        }
        for n in 0..5_000 {
            pool.learn(Sort::Client, 50_000 + n, (actor(77), FLEET), n % 2 == 0, NOW + n);
            pool.trim();
        }
        assert_eq!(pool.users.len(), MOST_VALUES);
        assert!(pool.encode().len() <= 40 * 1_024, "{}", pool.encode().len());
        let known = |sort, value| pool.users.contains_key(&(sort, value));
        assert!((1..=60).all(|n| (0..5).all(|m| known(Sort::Client, value(n, m)))));
        assert!((0..100).all(|m| known(Sort::Near, m)));
        assert!(known(Sort::Client, 54_999), "of its own the newest");
    }

    #[test]
    fn what_the_version_before_wrote_is_read() {
        let mut bytes = vec![1, Sort::Near.code()];
        bytes.extend_from_slice(&7_u32.to_le_bytes());
        bytes.push(2);
        for n in 1..=2 {
            [NOW - 60, half(actor(n)), half(FLEET)]
                .iter()
                .for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
        }
        let pool = Pool::decode(&bytes).unwrap();
        assert_eq!(pool.familiar(Sort::Near, 7, actor(0), FLEET, NOW), Familiar::Wave);
    }
}
