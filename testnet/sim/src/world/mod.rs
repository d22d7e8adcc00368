//! The truth about peers and the network: what the coordinator can only guess.

pub mod delay;
pub mod link;
pub mod nature;

pub use self::nature::{Nature, TaskFate};
