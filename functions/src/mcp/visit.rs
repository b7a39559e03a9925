//! One HTTP request that carries a message, as the handlers of messages see it, and what they met.

use crate::Host;
use aegis_core::error::Failed;
use aegis_core::id::RequestId;
use aegis_core::record::Claimed;
use http::request::Parts;
use rmcp::ErrorData;
use rmcp::RoleServer;
use rmcp::service::RequestContext;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Travels with the request through the transport.
#[derive(Clone)]
pub(super) struct Visit {
    pub(super) host: Arc<Host>,
    pub(super) id: RequestId,
    pub(super) source: IpAddr,
    noted: Arc<Mutex<Noted>>,
}

#[derive(Default)]
struct Noted {
    met: Option<Met>,
    claims: Option<Claimed>,
}

/// What the pipeline said of a request that was made in a message's name.
pub(super) enum Met {
    /// Of an agent: whatever came of it, the message's result tells.
    Admitted,
    /// Of nobody, or of a human: HTTP tells.
    TurnedAway(Failed),
}

impl Visit {
    pub(super) fn new(host: Arc<Host>, id: RequestId, source: IpAddr) -> Self {
        Self { host, id, source, noted: Arc::default() }
    }

    /// The visit in which a message is handled, and the head of its HTTP request.
    pub(super) fn of(context: &RequestContext<RoleServer>) -> Result<(&Self, &Parts), ErrorData> {
        let parts = context.extensions.get::<Parts>();
        let found = parts.and_then(|parts| Some((parts.extensions.get::<Self>()?, parts)));
        found.ok_or_else(|| ErrorData::internal_error("not a message over HTTP", None))
    }

    /// Keeps why HTTP must answer.
    pub(super) fn note_turned_away(&self, failed: Failed) {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).met = Some(Met::TurnedAway(failed));
    }

    pub(super) fn note_admitted(&self) {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).met = Some(Met::Admitted);
    }

    pub(super) fn note_claims(&self, claims: Option<Claimed>) {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).claims = claims;
    }

    pub(super) fn met(&self) -> Option<Met> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).met.take()
    }

    pub(super) fn claims(&self) -> Option<Claimed> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).claims.clone()
    }
}
