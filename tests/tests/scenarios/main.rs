//! Scenarios: whole stories, through the public surface only.

#![expect(clippy::unwrap_used, reason = "what is unwrapped is asserted by it")]
#![expect(clippy::indexing_slicing, reason = "a missing field fails the test that names it")]

mod agents;
mod audit;
mod backends;
mod backup;
mod crash;
mod documents;
mod faults;
mod formats;
mod front;
mod http;
mod import;
mod keys;
mod limits;
mod logins;
mod recovery;
mod revocation;
mod routes;
mod serve;
mod tokens;
mod webhooks;
mod wire;
