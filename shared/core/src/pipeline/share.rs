//! Shares of what is slow: making RSA keys, private operations with large ones, and all that a back end does. The key store carries out few at a
//! time and lets few more wait; nobody may take all those places, nor all that a back end does in a second. In memory, one per process.

use super::bucket::{Buckets, Empty};
use crate::algorithm::Algorithm;
use crate::ambient::Timestamp;
use crate::error::Error;
use crate::name::BackendName;
use crate::operation::Operation;
use crate::reason::Reason;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What each human, and each agent with all below it, has under way.
#[derive(Clone, Debug, Default)]
pub struct Shares {
    under_way: Arc<Mutex<HashMap<Place, usize>>>,
    buckets: Buckets,
}

type Place = (String, Slow);

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Slow {
    Generation,
    Private,
}

/// Held while something slow is under way.
#[derive(Debug)]
pub(crate) struct Turn {
    shares: Shares,
    place: Place,
}

impl Shares {
    /// A turn for what is slow; `None` for what is not.
    ///
    /// # Errors
    /// [`Error::LimitReached`] while `who` has a whole share under way, and where `who` asked a back end for too much lately.
    pub(crate) fn enter(
        &self,
        who: impl Fn() -> String,
        operation: Operation,
        with: Algorithm,
        at: Option<&BackendName>,
        now: Timestamp,
    ) -> Result<Option<Turn>, Error> {
        let overloaded = || Error::LimitReached { reason: Reason::Overloaded, retry_after: Some(1) };
        if at.is_some() && asks_back_end(operation) {
            self.buckets.take(who(), now).map_err(|Empty| overloaded())?;
        }
        let Some(slow) = slow(operation, with, at) else { return Ok(None) };
        let place = (who(), slow);
        let mut under_way = self.lock();
        let count = under_way.get(&place).copied().unwrap_or(0);
        if count >= slow.share() {
            return Err(overloaded());
        }
        under_way.insert(place.clone(), count.saturating_add(1));
        Ok(Some(Turn { shares: self.clone(), place }))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Place, usize>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut under_way = self.shares.lock();
        match under_way.get_mut(&self.place) {
            Some(count) if *count > 1 => *count = count.saturating_sub(1),
            _ => {
                under_way.remove(&self.place);
            }
        }
    }
}

impl Slow {
    /// Less than half of what the software key store takes in: 5 searches for primes, 34 private operations.
    fn share(self) -> usize {
        match self {
            Self::Generation => 2,
            Self::Private => 8,
        }
    }
}

fn asks_back_end(operation: Operation) -> bool {
    let makes = matches!(operation, Operation::KeyCreate | Operation::KeyRegister | Operation::KeyRotate);
    makes || operation.action().is_some()
}

fn slow(operation: Operation, with: Algorithm, at: Option<&BackendName>) -> Option<Slow> {
    if at.is_some() {
        // Of a back end's places, whatever the algorithm.
        let takes_one = operation == Operation::KeyRegister || operation.action().is_some();
        let made = matches!(operation, Operation::KeyCreate | Operation::KeyRotate);
        let private = (takes_one && operation != Operation::KeyVerify).then_some(Slow::Private);
        return if made { Some(Slow::Generation) } else { private };
    }
    let bits = with.modulus_bits()?;
    match operation {
        Operation::KeyCreate | Operation::KeyImportParameters | Operation::KeyRotate => Some(Slow::Generation),
        // Of the wrapping key.
        Operation::KeyImport => Some(Slow::Private),
        // Done with the public half.
        Operation::KeyVerify => None,
        // Those with 2048 bits are done on the spot.
        other => other.action().filter(|_| bits > 2_048).map(|_| Slow::Private),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::Algorithm::{Ed25519, Rsa2048PssSha256, Rsa3072OaepSha256, Rsa4096PssSha256};

    #[test]
    fn each_has_a_share_of_what_is_slow_and_no_more() {
        let shares = Shares::default();
        let now = Timestamp::UNIX_EPOCH;
        let enter = |who: &str, operation| shares.enter(|| who.to_string(), operation, Rsa4096PssSha256, None, now);
        for (operation, share) in [(Operation::KeySign, 8), (Operation::KeyCreate, 2)] {
            let mut turns: Vec<_> = (0..share).map(|_| enter("one", operation).unwrap()).collect();
            let refused = enter("one", operation).unwrap_err();
            assert!(matches!(refused, Error::LimitReached { reason: Reason::Overloaded, retry_after: Some(1) }));
            enter("other", operation).unwrap().unwrap();
            turns.pop();
            turns.push(enter("one", operation).unwrap());
            enter("one", operation).unwrap_err();
        }
        assert!(shares.lock().is_empty(), "nothing is kept of those who have nothing under way");
    }

    #[test]
    fn nobody_asks_a_back_end_for_all_it_does_in_a_second() {
        let (shares, stick) = (Shares::default(), "stick".parse().unwrap());
        let enter = |who: &str, operation, at| {
            shares.enter(|| who.to_string(), operation, Ed25519, at, Timestamp::UNIX_EPOCH).map(drop)
        };
        for _ in 0..100 {
            enter("one", Operation::KeySign, Some(&stick)).unwrap();
        }
        for operation in [Operation::KeySign, Operation::KeyVerify, Operation::KeyRegister, Operation::KeyCreate] {
            let refused = enter("one", operation, Some(&stick)).unwrap_err();
            assert!(matches!(refused, Error::LimitReached { reason: Reason::Overloaded, retry_after: Some(1) }));
        }
        enter("other", Operation::KeySign, Some(&stick)).unwrap();
        // No back end is asked for these.
        enter("one", Operation::KeySign, None).unwrap();
        enter("one", Operation::KeyGet, Some(&stick)).unwrap();
    }

    #[test]
    fn what_is_slow() {
        let table = [
            (Operation::KeySign, Rsa4096PssSha256, Some(Slow::Private)),
            (Operation::KeyDecrypt, Rsa3072OaepSha256, Some(Slow::Private)),
            (Operation::KeySign, Rsa2048PssSha256, None),
            (Operation::KeyVerify, Rsa4096PssSha256, None),
            (Operation::KeyGet, Rsa4096PssSha256, None),
            (Operation::KeySign, Ed25519, None),
            (Operation::KeyCreate, Ed25519, None),
            (Operation::KeyCreate, Rsa2048PssSha256, Some(Slow::Generation)),
            (Operation::KeyRotate, Rsa2048PssSha256, Some(Slow::Generation)),
            (Operation::KeyImportParameters, Rsa3072OaepSha256, Some(Slow::Generation)),
            (Operation::KeyImport, Rsa3072OaepSha256, Some(Slow::Private)),
        ];
        for (operation, with, want) in table {
            assert_eq!(slow(operation, with, None), want, "{operation} {with}");
        }
        let stick = "stick".parse().unwrap();
        for (operation, want) in [
            (Operation::KeySign, Some(Slow::Private)),
            (Operation::KeyRegister, Some(Slow::Private)),
            (Operation::KeyVerify, None),
            (Operation::KeyGet, None),
            (Operation::KeyCreate, Some(Slow::Generation)),
            (Operation::KeyRotate, Some(Slow::Generation)),
        ] {
            assert_eq!(slow(operation, Ed25519, Some(&stick)), want, "{operation} at a back end");
        }
    }
}
