//! A game's frame as work for a swarm: what its subsystems compute, and the loop that never waits for them.
//!
//! ```text
//! Level ── the same on every node, from a few numbers
//! FrameLoop, at the owner: every frame
//!    world ──► snapshot of what a subsystem needs ──► delta to what its peer has ──► Step
//!    result of a subsystem ──► history of the world ──► what is shown; where it is missing, a prediction
//! Executor, at a peer: snapshot ──► physics | agents | base picture | light | sound ──► output
//! ```
//! Every step is a function of its snapshot alone: any peer can go on where another one stopped, and the owner can
//! compute it again to see whether the answer is right. No network, no async runtime, no clock: time comes in as an
//! argument.

#![allow(
    clippy::cast_possible_wrap,
    reason = "numbers of snapshots wrap on purpose, and there are but thousands of things"
)]

pub mod agents;
pub mod executor;
pub mod frame_loop;
pub mod layout;
pub mod level;
pub mod limit;
pub mod physics;
pub mod picture;
pub mod prediction;
pub mod snapshot;
pub mod sound;
pub mod subsystem;

mod dice;
