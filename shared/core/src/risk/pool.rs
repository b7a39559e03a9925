//! What an organisation knows: who was first to use a value, and when. It tells a move of many from a thief's address.

use super::DAY;
use super::evidence::Familiar;
use std::collections::BTreeMap;

/// Most users of a value that are remembered: the earliest.
const MOST: usize = 4;
/// As many others make a move of a thing that happens to many.
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

/// The first use by one actor. Ordered by time, then by hash: which ones are kept does not depend on who came first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct User {
    minute: u32,
    actor: u64,
    fleet: u64,
}

impl Pool {
    pub fn learn(&mut self, sort: Sort, value: u32, actor: u64, fleet: u64, minute: u32) {
        let users = self.users.entry((sort, value)).or_default();
        if let Some(known) = users.iter_mut().find(|user| user.actor == actor) {
            known.minute = known.minute.min(minute);
        } else if users.len() < MOST || users.last().is_some_and(|last| minute < last.minute) {
            users.push(User { minute, actor, fleet });
        } else {
            return;
        }
        users.sort_unstable();
        users.truncate(MOST);
    }

    /// How well others knew `value` two minutes before `minute`: what is younger may still change its order.
    pub fn familiar(&self, sort: Sort, value: u32, actor: u64, fleet: u64, minute: u32) -> Familiar {
        let Some(users) = self.users.get(&(sort, value)) else { return Familiar::Nobody };
        let others = || users.iter().filter(|user| user.actor != actor && user.minute + 2 <= minute);
        let settled = |user: &User| user.minute + DAY <= minute;
        if fleet != 0 && others().any(|user| user.fleet == fleet && settled(user)) {
            return Familiar::Fleet;
        }
        match others().any(settled) || others().count() >= MANY {
            true => Familiar::Others,
            false => Familiar::Nobody,
        }
    }
}
