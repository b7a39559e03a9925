//! The store on DynamoDB, as an emulator of AWS has it: `cargo xtask test --only aws` starts one and says where it is.
#![expect(clippy::unwrap_used, reason = "a test helper fails by panicking")]

mod bus;
mod contract;
mod faults;
mod network;
mod port_faults;
mod ports;
mod tables;
