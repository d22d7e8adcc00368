//! Rigid bodies: rapier's, from a snapshot to the next, frame by frame.
//!
//! After every frame the state is rounded to what snapshots can say, and the next one starts from a world that was built
//! anew from it. So a frame depends on nothing but the snapshot: not on who computed the ones before, nor on how many
//! were asked for at once.

use std::collections::BTreeMap;

use rapier3d::{
    dynamics::{RigidBody, RigidBodyBuilder, RigidBodyHandle},
    geometry::{ColliderBuilder, SharedShape},
    math::{Pose, Rotation, Vector},
    pipeline::PhysicsWorld,
};

use crate::{
    layout::{BodyState, Push},
    level::{BODY_HALF_M, HALF_M, Level},
    limit::{FRAME_S, MAX_SPEED, MAX_SPIN},
};

/// Slower than this a body rests: metres a second, radians a second.
const REST_SPEED: f32 = 0.08;
const REST_SPIN: f32 = 0.25;
/// After so many frames at rest a body stands still until something comes near.
const REST_FRAMES: i32 = 20;
/// Bodies that move wake those nearer than this, metres: twice the diagonal of a body, and what it moves in a frame.
const WAKE_M: f32 = 1.2;
/// Half the thickness of the ground, and of the walls around the level, metres.
const GROUND_HALF_M: f32 = 0.5;
/// Half the height of the walls around the level, metres.
const WALL_HALF_M: f32 = 4.0;
/// So many bodies may have their middles in one cube of [`CROWD_M`]; those beyond stay as they are. No real pile comes
/// near it, and without it bodies on top of each other would cost the square of their number.
const CROWD: u8 = 3;
/// Edge of that cube, metres: that of a body.
const CROWD_M: f32 = 2.0 * BODY_HALF_M;
/// Friction of everything.
const FRICTION: f32 = 0.6;
/// Whatever leaves the level in spite of the walls comes back to this height, metres.
const LOST_BELOW_M: f32 = -5.0;

/// Simulates `ticks` frames from `tick` on.
pub fn simulate(
    level: &Level,
    tick: u32,
    ticks: u16,
    bodies: &[BodyState],
    pushes: &[Push],
) -> Vec<BodyState> {
    let mut bodies = bodies.to_vec();
    for frame in 0..u32::from(ticks) {
        let now = tick.wrapping_add(frame);
        let due: Vec<Push> = pushes.iter().filter(|push| push.tick == now).copied().collect();
        bodies = step(level, &bodies, &due);
    }
    bodies
}

/// One frame.
fn step(level: &Level, bodies: &[BodyState], pushes: &[Push]) -> Vec<BodyState> {
    let pushed = |index: usize| pushes.iter().filter(move |push| usize::from(push.body) == index);
    let awake: Vec<bool> = bodies
        .iter()
        .enumerate()
        .map(|(index, body)| body.rest() < REST_FRAMES || pushed(index).next().is_some())
        .collect();
    if !awake.contains(&true) {
        return bodies.to_vec();
    }
    let (awake, crowded) = (spread(bodies, &awake), crowded(bodies));
    let mut world = PhysicsWorld::new();
    world.integration_parameters.dt = FRAME_S;
    surround(&mut world, level);
    let handles: Vec<Option<RigidBodyHandle>> = bodies
        .iter()
        .enumerate()
        .map(|(index, body)| (!crowded[index]).then(|| insert(&mut world, body, awake[index], pushed(index))))
        .collect();
    world.step();
    let after = bodies.iter().zip(&handles).zip(&awake);
    after
        .map(|((before, handle), awake)| match handle.and_then(|handle| world.bodies.get(handle)) {
            Some(body) if *awake => state(body, before),
            _ => *before,
        })
        .collect()
}

/// Which bodies are too many where they are.
fn crowded(bodies: &[BodyState]) -> Vec<bool> {
    let mut counts: BTreeMap<[i32; 3], u8> = BTreeMap::new();
    let cell = |body: &BodyState| body.position().map(|place| (inside(place) / CROWD_M).floor() as i32);
    bodies
        .iter()
        .map(|body| {
            let count = counts.entry(cell(body)).or_default();
            *count = count.saturating_add(1);
            *count > CROWD
        })
        .collect()
}

/// Bodies near those that are awake are awake, too.
fn spread(bodies: &[BodyState], awake: &[bool]) -> Vec<bool> {
    let near = |a: [f32; 3], b: [f32; 3]| {
        let [x, y, z] = [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
        x * x + y * y + z * z < WAKE_M * WAKE_M
    };
    let moving: Vec<[f32; 3]> = bodies
        .iter()
        .zip(awake)
        .filter(|(body, awake)| **awake && is_moving(body))
        .map(|(body, _)| body.position())
        .collect();
    bodies
        .iter()
        .zip(awake)
        .map(|(body, awake)| *awake || moving.iter().any(|other| near(body.position(), *other)))
        .collect()
}

fn is_moving(body: &BodyState) -> bool {
    let square = |v: [f32; 3]| v[0] * v[0] + v[1] * v[1] + v[2] * v[2];
    square(body.velocity()) > REST_SPEED * REST_SPEED || square(body.spin()) > REST_SPIN * REST_SPIN
}

/// Ground, buildings, and walls around all of it.
fn surround(world: &mut PhysicsWorld, level: &Level) {
    let mut fixed = |centre: [f32; 3], half: [f32; 3]| {
        let collider = ColliderBuilder::new(SharedShape::cuboid(half[0], half[1], half[2]));
        let body = RigidBodyBuilder::fixed().translation(Vector::from(centre));
        world.insert(body, collider.friction(FRICTION));
    };
    let edge = HALF_M + GROUND_HALF_M;
    fixed([0.0, -GROUND_HALF_M, 0.0], [edge, GROUND_HALF_M, edge]);
    for (x, z) in [(1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0)] {
        let half =
            if x == 0.0 { [edge, WALL_HALF_M, GROUND_HALF_M] } else { [GROUND_HALF_M, WALL_HALF_M, edge] };
        fixed([x * edge, WALL_HALF_M, z * edge], half);
    }
    for building in &level.buildings {
        fixed(building.centre, building.half);
    }
}

fn insert<'a>(
    world: &mut PhysicsWorld,
    body: &BodyState,
    awake: bool,
    pushes: impl Iterator<Item = &'a Push>,
) -> RigidBodyHandle {
    let [x, y, z, w] = body.rotation();
    let rotation = Rotation::from_xyzw(x, y, z, w);
    let length = rotation.length_squared();
    let rotation = if length > 0.25 && length < 4.0 { rotation.normalize() } else { Rotation::IDENTITY };
    let position = body.position().map(inside);
    let velocity = pushes.fold(Vector::from(limited(body.velocity(), MAX_SPEED)), |sum, push| {
        sum + Vector::from(limited(push.change(), MAX_SPEED))
    });
    let builder = if awake { RigidBodyBuilder::dynamic() } else { RigidBodyBuilder::fixed() };
    let builder = builder
        .pose(Pose::from_parts(Vector::from(position), rotation))
        .linvel(velocity)
        .angvel(Vector::from(limited(body.spin(), MAX_SPIN)))
        .can_sleep(false);
    let collider = ColliderBuilder::new(SharedShape::cuboid(BODY_HALF_M, BODY_HALF_M, BODY_HALF_M));
    world.insert(builder, collider.friction(FRICTION)).0
}

/// Nothing is simulated far outside of the level.
fn inside(place: f32) -> f32 {
    place.clamp(-4.0 * HALF_M, 4.0 * HALF_M)
}

/// Each component within the limit; what is no number counts as nothing.
fn limited(vector: [f32; 3], most: f32) -> [f32; 3] {
    vector.map(|value| if value.is_finite() { value.clamp(-most, most) } else { 0.0 })
}

/// What a body's snapshot says after the frame.
fn state(body: &RigidBody, before: &BodyState) -> BodyState {
    let mut position = body.translation().to_array();
    if !position.iter().all(|place| place.is_finite()) {
        return BodyState::at(before.position());
    }
    if position[1] < LOST_BELOW_M {
        position = [0.0, WALL_HALF_M, 0.0];
    }
    let velocity = limited(body.linvel().to_array(), MAX_SPEED);
    let spin = limited(body.angvel().to_array(), MAX_SPIN);
    let after = BodyState::new(position, body.rotation().to_array(), velocity, spin, 0);
    if is_moving(&after) {
        return after;
    }
    let rest = before.rest().clamp(0, REST_FRAMES - 1) + 1;
    if rest < REST_FRAMES {
        return BodyState::new(position, body.rotation().to_array(), velocity, spin, rest);
    }
    BodyState::new(position, body.rotation().to_array(), [0.0; 3], [0.0; 3], rest)
}

#[cfg(test)]
mod tests {
    use p2c2r_protocol::step::LevelSpec;

    use super::*;

    fn level() -> Level {
        Level::new(LevelSpec { seed: 3, bodies: 64, agents: 4, sounds: 1 })
    }

    fn pushes(until: u32) -> Vec<Push> {
        (0..until).step_by(8).map(|tick| Push::new(tick, (tick % 64) as u16, [3.0, 4.0, 1.0])).collect()
    }

    #[test]
    fn frames_one_by_one_and_several_at_once_are_the_same_to_the_bit() {
        let level = level();
        let mut one_by_one = level.bodies();
        for tick in 0..24 {
            one_by_one = simulate(&level, tick, 1, &one_by_one, &pushes(24));
        }
        let at_once = simulate(&level, 0, 12, &level.bodies(), &pushes(24));
        let at_once = simulate(&level, 12, 12, &at_once, &pushes(24));
        assert_eq!(one_by_one, at_once);
        assert_ne!(one_by_one, level.bodies());
    }

    #[test]
    fn piles_come_to_rest_and_stay_until_something_comes() {
        let level = level();
        let mut bodies = level.bodies();
        for tick in 0..90 {
            bodies = simulate(&level, tick, 1, &bodies, &[]);
        }
        assert!(
            bodies.iter().all(|body| body.rest() == REST_FRAMES),
            "{:?}",
            bodies.iter().map(BodyState::rest).collect::<Vec<_>>()
        );
        assert_eq!(simulate(&level, 90, 10, &bodies, &[]), bodies);
        let pushed = simulate(&level, 90, 10, &bodies, &[Push::new(90, 5, [4.0, 3.0, 0.0])]);
        assert_ne!(pushed[5], bodies[5]);
        for body in &pushed {
            assert!(body.position()[1] > 0.0, "nothing falls through the ground");
        }
    }

    #[test]
    fn b7_a_thousand_bodies_in_one_place_cost_no_more_than_a_pile() {
        let level = Level::new(LevelSpec { seed: 3, bodies: 1024, agents: 4, sounds: 1 });
        let heap = vec![BodyState::at([0.0, 1.0, 0.0]); 1024];
        let after = simulate(&level, 0, 2, &heap, &[]);
        let moved = after.iter().zip(&heap).filter(|(after, before)| after != before).count();
        assert!(moved > 0 && moved <= 4 * usize::from(CROWD), "{moved}");
        // Far outside all of them would be put into one corner.
        let far: Vec<BodyState> =
            (0..1024).map(|index| BodyState::at([1000.0 + index as f32, 1000.0, 1000.0])).collect();
        assert_eq!(crowded(&far).iter().filter(|crowded| !**crowded).count(), usize::from(CROWD));
    }

    #[test]
    fn b1_states_of_strangers_do_no_harm() {
        let level = level();
        let wild = [i32::MAX, i32::MIN, 0, 1, -1, 77_777_777];
        let bodies: Vec<BodyState> = (0..64)
            .map(|index| BodyState(std::array::from_fn(|part| wild[(index * 7 + part * 3) % wild.len()])))
            .collect();
        let after = simulate(&level, u32::MAX, 3, &bodies, &[Push::new(u32::MAX, 999, [1e9; 3])]);
        assert_eq!(after.len(), 64);
        assert_eq!(after, simulate(&level, u32::MAX, 3, &bodies, &[Push::new(u32::MAX, 999, [1e9; 3])]));
    }
}
