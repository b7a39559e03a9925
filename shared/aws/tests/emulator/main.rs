//! The store on DynamoDB, as an emulator of AWS has it: `cargo xtask test --only aws` starts one and says where it is.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod contract;
mod faults;
mod network;
mod tables;
