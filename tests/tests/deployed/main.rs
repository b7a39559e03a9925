//! What holds on a deployment that is there already. `AEGIS_URL` says where its API is, `AEGIS_DEPLOYMENT` names the file
//! with what Terraform put out of it. Without the feature `deployed` there is nothing in here: a target that some builds cannot
//! have would be in the way of those that name all.
#![cfg(feature = "deployed")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod approvals;
mod cli;
mod consumers;
mod direct;
#[cfg(target_os = "linux")]
mod edge;
mod faults;
mod flagship;
mod gateway;
#[cfg(target_os = "linux")]
mod grants;
#[cfg(target_os = "linux")]
mod kills;
mod kms;
mod lag;
mod mcp;
mod order;
mod outage;
mod races;
mod restore;
mod scheduled;
#[cfg(target_os = "linux")]
mod twice;
mod upgrade;
mod webhooks;
