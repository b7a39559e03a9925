//! The ports of Aegis on one machine: a store in SQLite and a sealed root file in one local data folder. For laptops, tests and
//! small installations of one process; nothing here talks to a network.

pub mod backup;
mod folder;
pub mod root;
pub mod store;
