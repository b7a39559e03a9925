//! The key store on AWS KMS, as an emulator of KMS has it: `cargo xtask test --only aws-kms` starts one and says where it is.
//! Without the feature `emulator` there is nothing in here: a target that some builds cannot have would be in the way of those
//! that name all.
#![cfg(feature = "emulator")]
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test helper fails by panicking")]

mod faults;
mod keys;
mod lifecycle;
mod network;
mod setup;
mod survey;
