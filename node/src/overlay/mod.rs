//! A picture sixty times a second: made here, under ray-traced light that the swarm sends when it can.
//!
//! Three threads of work, which never wait for one another the wrong way round: the frame loop ([`frame_loop`]) orders
//! light and takes what has come; the orders become jobs of the coordinator ([`light`]); what comes back is made a layer
//! of light on a thread of its own. What became of all frames is counted ([`figures`]). Pictures are as large
//! as the machine makes them in time ([`size`]).

pub mod camera_path;
pub mod figures;
pub mod frame_loop;
pub mod light;
pub mod size;

/// Frames a second.
pub const FRAMES_PER_S: u32 = 60;
/// Light is ordered for one frame of so many.
pub const FRAMES_PER_LIGHT: u32 = 3;
/// Light that comes later than this after it was ordered has missed its deadline, ms.
pub const LIGHT_DEADLINE_MS: u32 = 100;
