//! What a permit allows to be done. Each function reads what it needs, decides with pure code, and returns what must be
//! written; [`crate::pipeline::perform`] writes it, with the record.

pub mod access;
pub mod access_requests;
pub mod activity;
pub mod agents;
pub mod aliases;
pub mod approvals;
pub mod audit;
pub mod audit_tally;
pub mod baselines;
mod context;
pub mod credentials;
pub mod effective;
pub mod envelope;
pub mod humans;
pub mod key_import;
pub mod key_lifecycle;
pub mod key_mac;
pub mod key_register;
pub mod key_use;
pub mod listing;
mod new_key;
pub mod recommendations;
pub mod reports;
pub mod responses;
pub mod rules;
pub mod rules_dry_run;
pub mod tokens;
pub mod usage;
pub mod webhooks;
