//! The ports of Aegis on one local data folder: a store in SQLite and a sealed root file. For laptops, tests and small
//! installations of one process; nothing here talks to a network.

pub mod backup;
mod folder;
pub mod root;
pub mod store;
