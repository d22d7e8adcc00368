//! What p2c2r nodes say to each other: ids, messages, limits, signatures, framing.
//!
//! Bytes in, messages out: this crate knows no network, no async runtime and no clock. Everything that comes from
//! a peer is bounded by a constant of [`limit`] before it is allocated, and validated before it is handed on.

pub mod blob;
pub mod canon;
pub mod chunk_set;
pub mod frame;
pub mod heartbeat;
pub mod id;
pub mod limit;
pub mod merkle;
pub mod moment;
pub mod sign;
pub mod stage;
pub mod step;
pub mod swarm_key;
pub mod task;
pub mod text;
pub mod ticket;
pub mod tile;
