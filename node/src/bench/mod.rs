//! Measurements of this machine.

pub mod schedule;
