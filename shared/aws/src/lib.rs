//! The ports of Aegis on AWS: the store on DynamoDB. Nothing but composition roots depends on it.

pub mod config;
pub mod store;
