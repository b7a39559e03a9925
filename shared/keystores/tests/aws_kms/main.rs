//! The key store on AWS KMS, as an emulator of KMS has it: `cargo xtask test --only aws-kms` starts one and says where it is.
#![expect(clippy::unwrap_used, reason = "a test helper fails by panicking")]

mod faults;
mod keys;
mod lifecycle;
mod network;
mod setup;
