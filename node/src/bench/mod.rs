//! Measurements of this machine.

pub mod render;
pub mod schedule;
pub mod split;
