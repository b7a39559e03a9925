//! The domain, the pipeline, the operations and the ports of Aegis.
//!
//! No runtime, HTTP, cloud SDK, clock or environment access: time, randomness and identity arrive as arguments.

pub mod access_request;
pub mod agent;
pub mod algorithm;
pub mod ambient;
pub mod approval;
pub mod behaviour;
pub mod deployment;
pub mod encoding;
pub mod error;
pub mod feed;
pub mod heartbeat;
pub mod human;
pub mod id;
pub mod idempotency;
pub mod intent;
pub mod journal;
pub mod key;
pub mod keystore;
pub mod login;
pub mod maintenance;
pub mod name;
pub mod operation;
pub mod operations;
pub mod pipeline;
pub mod policy;
pub mod rate;
pub mod reason;
pub mod recommendation;
pub mod record;
pub mod repository;
pub mod response;
pub mod risk;
pub mod rules;
pub mod scope;
pub mod seal;
pub mod store;
pub mod survey;
pub mod tally;
pub mod token;
pub mod trace;
pub mod usage;
pub mod webhook;
