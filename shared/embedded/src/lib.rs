//! The ports of Aegis on one machine: a store in SQLite and a sealed root file in one local data folder, and webhooks sent
//! from this process. For laptops, tests and small installations of one process; only [`webhooks`] talks to a network.

pub mod backup;
mod folder;
pub mod root;
pub mod store;
pub mod webhooks;
