//! Every limit of a game's frame.

/// Frames a second.
pub const FRAMES_PER_S: u32 = 60;
/// Length of a frame, seconds.
pub const FRAME_S: f32 = 1.0 / 60.0;
/// So many frames ahead of what is shown the world is computed.
pub const FRAMES_AHEAD: u32 = 3;
/// Fastest that anything moves, metres a second: what is predicted can be wrong by no more than follows from it.
pub const MAX_SPEED: f32 = 10.0;
/// Fastest that a body turns about each axis, radians a second.
pub const MAX_SPIN: f32 = 20.0;
/// So long a motion is carried on without news, frames; then everything stands still.
pub const MAX_EXTRAPOLATED_FRAMES: u32 = 12;
/// What is shown wrongly by more than this jumps to where it is, metres; less is corrected smoothly.
pub const MAX_OFFSET_M: f32 = 0.25;
/// Smooth corrections move so far in a frame at most, metres.
pub const MAX_SNAP_M: f32 = 0.03;
/// Pushes of one step.
pub const MAX_PUSHES: usize = 16;
/// Sound is heard with the echo of so many frames.
pub const ECHO_FRAMES: usize = 32;
/// Samples of sound a second.
pub const SAMPLE_RATE: u32 = 48_000;
/// Samples of sound in a frame.
pub const BLOCK_SAMPLES: usize = 800;
/// Size of the base picture, pixels.
pub const PICTURE_PX: (u32, u32) = (144, 80);
/// Size of the light's picture, pixels.
pub const LIGHT_PX: (u32, u32) = (72, 40);
/// Samples of each pixel of the light.
pub const LIGHT_SAMPLES: u32 = 2;
/// Path segments of the light.
pub const LIGHT_DEPTH: u32 = 3;
/// Frames of the world that the owner remembers.
pub const HISTORY_FRAMES: usize = 64;
