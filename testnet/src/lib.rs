//! Stands up p2c2r swarms of real processes on one machine, for tests.
//!
//! Everything that a [`Testnet`] starts and writes goes with it, however the test ends.

mod process;
mod program;

pub use self::{
    process::{Node, NodeOptions, Output, Testnet, TestnetError, wait_for},
    program::program,
};
