//! What the player of the demo does: walks around the middle, and kicks the bodies that lie there.

use p2c2r_game::{
    layout::{CAMERA_LEN, place_steps, turn_steps},
    limit::FRAMES_PER_S,
};

/// How far from the middle the player walks, metres, and how high the eye is.
const RADIUS_M: f32 = 11.0;
const EYE_M: f32 = 4.2;
/// Radians a second.
const PACE: f32 = 0.12;
/// A body is kicked every so many frames.
const KICK_EVERY: u32 = 6;
/// Speeds of a kick, metres a second: aside and up.
const KICK: (f32, f32) = (2.6, 4.2);

/// Where the camera is in a frame, in steps.
pub fn camera(tick: u32) -> [i32; CAMERA_LEN] {
    let angle = tick as f32 / FRAMES_PER_S as f32 * PACE;
    let (sin, cos) = angle.sin_cos();
    let [x, y, z] = place_steps([RADIUS_M * sin, EYE_M, RADIUS_M * cos]);
    let [dx, dy, dz] = turn_steps([-sin * 0.93, -0.36, -cos * 0.93]);
    [x, y, z, dx, dy, dz]
}

/// Who is kicked in a frame, and how.
pub fn kick(tick: u32, bodies: u16) -> Option<(u16, [f32; 3])> {
    if !tick.is_multiple_of(KICK_EVERY) {
        return None;
    }
    // Steps by a number that shares no factor with any sensible count visit all.
    let body = (tick / KICK_EVERY).wrapping_mul(37) % u32::from(bodies.max(1));
    let (sin, cos) = (tick as f32 * 0.7).sin_cos();
    Some((body as u16, [KICK.0 * sin, KICK.1, KICK.0 * cos]))
}
