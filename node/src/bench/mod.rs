//! Measurements of this machine.

pub mod network;
pub mod render;
pub mod schedule;
pub mod split;
