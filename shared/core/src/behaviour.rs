//! What is known of everybody's behaviour, as it lies in the store: written by the consumer of the journal, read with each
//! use of a key. Never written on the way of a request.

use crate::agent::Purpose;
use crate::ambient::Timestamp;
use crate::encoding::base64_bytes;
use crate::error::Error;
use crate::heartbeat::{self, Heartbeat};
use crate::id::AgentId;
use crate::name::HumanId;
use crate::operation::Operation;
use crate::repository::share;
use crate::risk::baseline::minute_of;
use crate::risk::evidence::Surroundings;
use crate::risk::pool::Pool;
use crate::risk::sighting::{Class, Network, Seen, Sighting, client_hash, hash, hash_of_name, operation_hash};
use crate::risk::state::State;
use crate::risk::weigh::history;
use crate::risk::{Behaviour, Live, UnknownBaseline};
use crate::store::{Expect, Item, ItemKey, Items, Put, Stored};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use std::net::IpAddr;
use std::sync::Arc;

/// How long a deployment learns before anything is decided on what is usual there, in seconds: a week.
pub const LEARNING: i64 = 7 * 86_400;

/// Whom an actor is like: the agents directly below the same human, of the same purpose; or those below the same agent, which
/// all have its purpose.
pub fn template(human: &HumanId, agents: &[AgentId], purpose: Option<Purpose>) -> String {
    match (agents, purpose) {
        ([_, above, ..], _) => above.to_string(),
        ([_], Some(purpose)) => format!("{human}/{}", purpose.as_str()),
        // A human has no like; of an agent of hers that an older token or record names, the purpose is not known.
        ([] | [_], _) => human.to_string(),
    }
}

/// Where a state lies: `actor/NAME`, `fleet/HUMAN`, `template/HUMAN/PURPOSE`, `template/AGENT` or `organisation`.
pub fn item(path: &str) -> ItemKey {
    ItemKey::state(format!("behaviour/{path}"), "state")
}

#[derive(Deserialize, Serialize)]
struct Encoded {
    #[serde(with = "base64_bytes")]
    state: Vec<u8>,
}

/// The write of an encoded state.
///
/// # Errors
/// [`Error::Damaged`] if it has no JSON form, which is a mistake in the type.
pub fn put(path: &str, state: Vec<u8>, expect: Expect) -> Result<Put, Error> {
    let body = serde_json::to_string(&Encoded { state });
    let body = body.map_err(|error| Error::Damaged { what: "document", source: error.into() })?;
    Ok(Put { item: Item { key: item(path), body, indexes: Vec::new(), expires_at: None }, expect })
}

/// The encoded state of an item.
///
/// # Errors
/// [`Error::Damaged`] for an item that is none.
pub fn encoded(stored: &Stored) -> Result<Vec<u8>, Error> {
    let read: Result<Encoded, _> = serde_json::from_str(&stored.item.body);
    Ok(read.map_err(|error| Error::Damaged { what: "document", source: error.into() })?.state)
}

/// Decoded once for as long as the store keeps the item in memory. One that this program cannot read is as good as none:
/// its consumer begins it anew.
struct Decoded<T>(Option<T>);

trait Decode: Sized {
    fn of(bytes: &[u8]) -> Result<Self, UnknownBaseline>;
}

impl Decode for State {
    fn of(bytes: &[u8]) -> Result<Self, UnknownBaseline> {
        Self::decode(bytes)
    }
}

impl Decode for Pool {
    fn of(bytes: &[u8]) -> Result<Self, UnknownBaseline> {
        Self::decode(bytes)
    }
}

impl<'de, T: Decode> Deserialize<'de> for Decoded<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(T::of(&Encoded::deserialize(deserializer)?.state).ok()))
    }
}

/// Whose states bear on a request.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    actor: String,
    fleet: String,
    /// What stands in while the actor has no history.
    template: String,
    /// The agents above it, the nearest first.
    above: Vec<String>,
    is_human: bool,
}

impl Names {
    /// Of the human who asks, or of the agent, with those above it.
    pub(crate) fn of(human: &HumanId, agents: &[AgentId], purpose: Option<Purpose>) -> Self {
        let fleet = human.to_string();
        let actor = agents.first().map_or_else(|| fleet.clone(), ToString::to_string);
        let template = template(human, agents, purpose);
        let above = agents.iter().skip(1).map(ToString::to_string).collect();
        Self { actor, fleet, template, above, is_human: agents.is_empty() }
    }

    /// Whose live counter it is.
    pub(crate) fn actor(&self) -> &str {
        &self.actor
    }

    /// The same, of all agents of the human and herself.
    pub(crate) fn fleet(&self) -> String {
        format!("fleet/{}", self.fleet)
    }

    pub(crate) fn items(&self) -> impl Iterator<Item = ItemKey> {
        self.of_all().into_iter().chain(self.of_above())
    }

    fn of_all(&self) -> [ItemKey; 5] {
        let of = |kind: &str, name: &str| item(&format!("{kind}/{name}"));
        let [actor, fleet] = [of("actor", &self.actor), of("fleet", &self.fleet)];
        [actor, fleet, of("template", &self.template), item("organisation"), heartbeat::item()]
    }

    fn of_above(&self) -> impl Iterator<Item = ItemKey> {
        self.above.iter().map(|above| item(&format!("actor/{above}")))
    }
}

/// What was found under those names.
#[derive(Clone, Default)]
pub(crate) struct Known {
    /// Of an actor of whom nothing is known.
    nothing: State,
    actor: Option<Arc<Decoded<State>>>,
    fleet: Option<Arc<Decoded<State>>>,
    template: Option<Arc<Decoded<State>>>,
    above: Vec<Arc<Decoded<State>>>,
    organisation: Option<Arc<Decoded<Pool>>>,
    /// `None` where detection never ran.
    heartbeat: Option<Arc<Heartbeat>>,
}

impl Known {
    pub(crate) fn find(names: &Names, read: &Items) -> Self {
        let [actor, fleet, template, organisation, heartbeat] = names.of_all();
        let state = |item: &ItemKey| read.find(item).and_then(|stored| readable(stored));
        let organisation = read.find(&organisation).and_then(|stored| readable(stored));
        let heartbeat = read.find(&heartbeat).and_then(|stored| readable(stored));
        // A human has no like: what her agents do says nothing of her.
        let template = if names.is_human { None } else { state(&template) };
        Self {
            nothing: State::default(),
            actor: state(&actor),
            fleet: state(&fleet),
            template,
            above: names.of_above().filter_map(|above| state(&above)).collect(),
            organisation,
            heartbeat,
        }
    }
}

/// What cannot be read is not known: it refuses nobody, and the consumer begins it anew.
fn readable<T: DeserializeOwned + Send + Sync + 'static>(stored: &Stored) -> Option<Arc<T>> {
    let read = share(stored);
    if let Err(error) = &read {
        tracing::error!(item = stored.item.key.partition, error = %error, "behaviour cannot be read");
    }
    read.ok().map(|read| read.value)
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Known(..)")
    }
}

/// A use of a key, as behaviour sees it before it is carried out.
pub(crate) struct Asked<'a> {
    /// Unix milliseconds.
    pub(crate) at: i64,
    pub(crate) operation: Operation,
    /// Where it belongs to the keys that whoever asks uses.
    pub(crate) key: Option<&'a str>,
    pub(crate) source: IpAddr,
    pub(crate) user_agent: Option<&'a str>,
}

impl Asked<'_> {
    pub(crate) fn sighting(&self) -> Sighting {
        let operation = self.operation.as_str();
        Sighting {
            // It is in no open minute yet.
            id: 0,
            at: self.at,
            key: self.key.map_or(0, |key| hash(key.as_bytes())),
            operation: operation_hash(operation),
            class: Class::of(operation),
            network: Network::of(self.source),
            client: self.user_agent.map_or(0, client_hash),
            outcome: Seen::Ok,
            scope: 0,
        }
    }
}

impl Known {
    /// Seconds that detection lies behind, where that is too much.
    pub(crate) fn detection_lag(&self, now: Timestamp) -> Option<i64> {
        self.heartbeat.as_ref().and_then(|heartbeat| heartbeat.too_late(now))
    }

    /// Whether the actor was never seen to use this key, or never seen to do this.
    pub(crate) fn is_first_use(&self, sighting: &Sighting) -> bool {
        let state = self.actor.as_ref().and_then(|found| found.0.as_ref());
        state.is_none_or(|state| state.baseline_at(minute_of(sighting.at)).is_first_use(sighting))
    }

    /// The request against what is known of its actor, of its human's other agents, and of all others.
    pub(crate) fn behaviour<'a>(
        &'a self,
        names: &Names,
        sighting: &'a Sighting,
        live: Live,
        fleet_live: Live,
    ) -> Behaviour<'a> {
        fn of(found: &Option<Arc<Decoded<State>>>) -> Option<&State> {
            found.as_ref().and_then(|found| found.0.as_ref())
        }
        let minute = minute_of(sighting.at);
        let grown = |state: &&State| history(state.baseline_at(minute)) >= 1.0;
        // Who delegates does it itself, for as long as nobody knows what is usual below it.
        let above = self.above.iter().filter_map(|found| found.0.as_ref());
        let template = of(&self.template).into_iter().chain(above).find(grown);
        let fleet = of(&self.fleet).map(|fleet| (fleet, fleet_live));
        Behaviour {
            sighting,
            state: of(&self.actor).unwrap_or(&self.nothing),
            template,
            fleet,
            surroundings: self.surroundings(names, sighting),
            live,
        }
    }

    fn surroundings(&self, names: &Names, s: &Sighting) -> Surroundings {
        let pool = self.organisation.as_ref().and_then(|found| found.0.as_ref());
        let (actor, fleet) = (hash_of_name(&names.actor), hash_of_name(&names.fleet));
        pool.map(|pool| pool.surroundings(names.is_human, actor, fleet, s))
            .unwrap_or(Surroundings { human: names.is_human, ..Surroundings::default() })
    }
}
