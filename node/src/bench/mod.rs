//! Measurements of this machine.

mod processor_time;
pub mod render;
pub mod schedule;
pub mod split;
