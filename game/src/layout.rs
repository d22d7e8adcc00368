//! How the world is written as integers: exact to a fraction of a millimetre, and the same bits everywhere.

use crate::limit::{ECHO_FRAMES, MAX_PUSHES};

/// Steps of a metre in which places are counted.
const PLACE: f32 = 4096.0;
/// Steps of a metre a second in which speeds are counted.
const SPEED: f32 = 4096.0;
/// Steps of a radian a second in which spins are counted.
const SPIN: f32 = 4096.0;
/// Steps in which parts of rotations are counted: 1 is this many.
const TURN: f32 = 32_768.0;
/// Numbers of a body.
pub const BODY_LEN: usize = 14;
/// Numbers of an agent.
pub const AGENT_LEN: usize = 5;
/// Numbers of a push.
const PUSH_LEN: usize = 5;
/// Numbers of a pose: place and rotation.
pub const POSE_LEN: usize = 7;
/// Numbers of a camera: place and direction.
pub const CAMERA_LEN: usize = 6;
/// Numbers of the listener: place, and the direction to the right.
pub const LISTENER_LEN: usize = 4;

/// To the nearest step.
fn steps(value: f32, per_unit: f32) -> i32 {
    (value * per_unit).round() as i32
}

/// A body of the simulation: position (3), rotation (4, a quaternion x y z w), velocity (3), spin (3), frames at rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyState(pub [i32; BODY_LEN]);

impl BodyState {
    /// Upright and at rest.
    pub fn at(position: [f32; 3]) -> Self {
        Self::new(position, [0.0, 0.0, 0.0, 1.0], [0.0; 3], [0.0; 3], 0)
    }

    /// Quantises.
    pub fn new(
        position: [f32; 3],
        rotation: [f32; 4],
        velocity: [f32; 3],
        spin: [f32; 3],
        rest: i32,
    ) -> Self {
        let mut all = [0; BODY_LEN];
        let values = position
            .map(|value| steps(value, PLACE))
            .into_iter()
            .chain(rotation.map(|value| steps(value, TURN)))
            .chain(velocity.map(|value| steps(value, SPEED)))
            .chain(spin.map(|value| steps(value, SPIN)))
            .chain([rest]);
        for (place, value) in all.iter_mut().zip(values) {
            *place = value;
        }
        Self(all)
    }

    fn part<const N: usize>(&self, from: usize, per_unit: f32) -> [f32; N] {
        std::array::from_fn(|index| self.0[from + index] as f32 / per_unit)
    }

    /// Metres.
    pub fn position(&self) -> [f32; 3] {
        self.part(0, PLACE)
    }

    /// Quaternion x y z w; its length is 1 only up to rounding, and anything if a stranger made it.
    pub fn rotation(&self) -> [f32; 4] {
        self.part(3, TURN)
    }

    /// Metres a second.
    pub fn velocity(&self) -> [f32; 3] {
        self.part(7, SPEED)
    }

    /// Radians a second.
    pub fn spin(&self) -> [f32; 3] {
        self.part(10, SPIN)
    }

    /// For so many frames it has hardly moved.
    pub fn rest(&self) -> i32 {
        self.0[13]
    }

    /// Position and rotation.
    pub fn pose(&self) -> [i32; POSE_LEN] {
        std::array::from_fn(|index| self.0[index])
    }
}

/// An agent: place (2), velocity (2), goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentState(pub [i32; AGENT_LEN]);

impl AgentState {
    /// Standing.
    pub fn at(place: [f32; 2], goal: i32) -> Self {
        Self::new(place, [0.0; 2], goal)
    }

    /// Quantises.
    pub fn new([x, z]: [f32; 2], [vx, vz]: [f32; 2], goal: i32) -> Self {
        Self([steps(x, PLACE), steps(z, PLACE), steps(vx, SPEED), steps(vz, SPEED), goal])
    }

    /// Metres.
    pub fn place(&self) -> [f32; 2] {
        [self.0[0] as f32 / PLACE, self.0[1] as f32 / PLACE]
    }

    /// Metres a second.
    pub fn velocity(&self) -> [f32; 2] {
        [self.0[2] as f32 / SPEED, self.0[3] as f32 / SPEED]
    }

    /// Index of the goal.
    pub fn goal(&self) -> i32 {
        self.0[4]
    }
}

/// A blow to a body, in the first, second, … frame of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Push {
    /// The frame at whose beginning it happens.
    pub tick: u32,
    /// The body.
    pub body: u16,
    /// Change of velocity, metres a second in steps as speeds have them.
    change: [i32; 3],
}

impl Push {
    /// Quantises the change of velocity, metres a second.
    pub fn new(tick: u32, body: u16, change: [f32; 3]) -> Self {
        Self { tick, body, change: change.map(|value| steps(value, SPEED)) }
    }

    /// Metres a second.
    pub fn change(&self) -> [f32; 3] {
        self.change.map(|value| value as f32 / SPEED)
    }
}

/// Places in steps.
pub fn place_steps<const N: usize>(place: [f32; N]) -> [i32; N] {
    place.map(|value| steps(value, PLACE))
}

/// Steps in metres.
pub fn metres<const N: usize>(place: [i32; N]) -> [f32; N] {
    place.map(|value| value as f32 / PLACE)
}

/// Parts of directions in steps.
pub fn turn_steps<const N: usize>(direction: [f32; N]) -> [i32; N] {
    direction.map(|value| steps(value, TURN))
}

/// Steps as parts of directions.
pub fn turn<const N: usize>(direction: [i32; N]) -> [f32; N] {
    direction.map(|value| value as f32 / TURN)
}

/// Groups of `N` numbers.
fn groups<const N: usize>(values: &[i32]) -> impl ExactSizeIterator<Item = [i32; N]> {
    values.chunks_exact(N).map(|group| std::array::from_fn(|index| group[index]))
}

/// What physics works on: bodies, then pushes.
pub struct PhysicsLayout;

impl PhysicsLayout {
    /// Numbers of it.
    pub const fn len(bodies: usize) -> usize {
        bodies * BODY_LEN + MAX_PUSHES * PUSH_LEN
    }

    /// Writes it; pushes beyond [`MAX_PUSHES`] are left out.
    pub fn write(bodies: &[BodyState], pushes: &[Push]) -> Vec<i32> {
        let mut values: Vec<i32> = bodies.iter().flat_map(|body| body.0).collect();
        for push in pushes.iter().take(MAX_PUSHES) {
            values.extend([push.tick as i32, i32::from(push.body) + 1]);
            values.extend(push.change);
        }
        values.resize(Self::len(bodies.len()), 0);
        values
    }

    /// Reads it.
    pub fn read(values: &[i32], bodies: usize) -> (Vec<BodyState>, Vec<Push>) {
        let (states, pushes) = values.split_at(values.len().min(bodies * BODY_LEN));
        let pushes = groups::<PUSH_LEN>(pushes).filter_map(|[tick, body, x, y, z]| {
            let body = u16::try_from(body.checked_sub(1)?).ok()?;
            Some(Push { tick: tick as u32, body, change: [x, y, z] })
        });
        (groups(states).map(BodyState).collect(), pushes.collect())
    }
}

/// What agents are moved by: themselves, then where bodies lie (two numbers each).
pub struct AgentsLayout;

impl AgentsLayout {
    /// Numbers of it.
    pub const fn len(agents: usize, bodies: usize) -> usize {
        agents * AGENT_LEN + bodies * 2
    }

    /// Writes it.
    pub fn write(agents: &[AgentState], bodies: &[[i32; 2]]) -> Vec<i32> {
        agents.iter().flat_map(|agent| agent.0).chain(bodies.iter().flatten().copied()).collect()
    }

    /// Reads it.
    pub fn read(values: &[i32], agents: usize) -> (Vec<AgentState>, Vec<[f32; 2]>) {
        let (states, bodies) = values.split_at(values.len().min(agents * AGENT_LEN));
        (groups(states).map(AgentState).collect(), groups(bodies).map(metres).collect())
    }
}

/// What pictures show: the camera, the bodies' poses, the agents' places.
pub struct PictureLayout;

impl PictureLayout {
    /// Numbers of it.
    pub const fn len(bodies: usize, agents: usize) -> usize {
        CAMERA_LEN + bodies * POSE_LEN + agents * 2
    }

    /// Writes it.
    pub fn write(camera: [i32; CAMERA_LEN], bodies: &[[i32; POSE_LEN]], agents: &[[i32; 2]]) -> Vec<i32> {
        let moving = bodies.iter().flatten().chain(agents.iter().flatten());
        camera.into_iter().chain(moving.copied()).collect()
    }

    /// Reads camera, poses and places.
    pub fn read(values: &[i32], bodies: usize) -> ([i32; CAMERA_LEN], Vec<[i32; POSE_LEN]>, Vec<[i32; 2]>) {
        let (camera, moving) = values.split_at(values.len().min(CAMERA_LEN));
        let (poses, agents) = moving.split_at(moving.len().min(bodies * POSE_LEN));
        let camera = groups(camera).next().unwrap_or_default();
        (camera, groups(poses).collect(), groups(agents).collect())
    }
}

/// What is heard: for each of the last [`ECHO_FRAMES`] frames the listener and every source; the row of a frame is its
/// number modulo [`ECHO_FRAMES`], so that a frame changes one row.
pub struct SoundLayout;

impl SoundLayout {
    /// Numbers of a row.
    pub const fn row_len(sounds: usize) -> usize {
        LISTENER_LEN + sounds * 3
    }

    /// Numbers of it.
    pub const fn len(sounds: usize) -> usize {
        Self::row_len(sounds) * ECHO_FRAMES
    }

    /// Where the row of a frame begins.
    pub const fn row(tick: u32, sounds: usize) -> usize {
        (tick as usize % ECHO_FRAMES) * Self::row_len(sounds)
    }
}
