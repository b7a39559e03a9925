//! Scenarios: whole stories, through the public surface only.

#![expect(clippy::unwrap_used, reason = "what is unwrapped is asserted by it")]
#![expect(clippy::indexing_slicing, reason = "a missing field fails the test that names it")]

mod access_requests;
mod agent_ai;
mod agents;
mod approvals;
mod audit;
mod authzen;
mod backends;
mod backup;
mod canary;
mod cost;
mod crash;
mod detection;
mod detectors;
mod dismissals;
mod documents;
mod dry_runs;
mod envelopes;
mod faults;
mod formats;
mod front;
mod halves;
mod http;
mod import;
mod keys;
mod ledger;
mod limits;
mod listed;
mod logins;
mod mcp;
mod recommendations;
mod recovery;
mod reports;
mod responses;
mod revocation;
mod rights;
mod routes;
mod rules;
mod serve;
mod tally;
mod tokens;
mod unusual;
mod usage;
mod webhooks;
mod wire;
