//! Tests across the crates of p2c2r: real processes, real sockets, faults, hostile peers.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a panic here is a test's report"
)]

pub mod frame;
pub mod hostile;
pub mod javascript;
pub mod moving;
