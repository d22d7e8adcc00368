//! Plays a game on a swarm: the loop of [`p2c2r_game::frame_loop`] at its pace, its steps at other nodes.
//!
//! ```text
//! peers ── /p2c2r/step/1 ── link: one task each, which checks signatures ──► arrivals ──► play: the loop's thread
//!                                                                 check: a thread that computes answers again
//! ```
//! The loop's thread never waits for anything but the next frame. Who takes part is [`company`]'s business; what nobody
//! else can do is done by this node, through a stream to itself.

pub mod check;
pub mod company;
pub mod link;
pub mod play;
pub mod script;
