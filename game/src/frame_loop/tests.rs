//! The loop against peers that answer in virtual time.

use std::collections::BTreeSet;

use p2c2r_protocol::step::{LevelSpec, output_hash};

use super::*;
use crate::{
    executor::Executor,
    layout::BODY_LEN,
    limit::{BLOCK_SAMPLES, LIGHT_PX, MAX_SPEED, PICTURE_PX},
    picture::PIXEL_BYTES,
};

const FRAME_US: u64 = 16_667;

/// Peers that do what they are asked, each with a delay; those that are down do nothing.
struct World {
    game: FrameLoop,
    level: Arc<Level>,
    executor: Executor,
    /// By when they arrive.
    answers: BTreeMap<(u64, u64), (Command, Vec<u8>)>,
    delay_us: BTreeMap<NodeId, u64>,
    down: BTreeSet<NodeId>,
    /// What a liar adds to the first number of what it answers.
    lies: BTreeSet<NodeId>,
    now_us: u64,
    shown: Vec<Frame>,
    pushes: Vec<Push>,
}

fn peer(index: u8) -> NodeId {
    NodeId::from_public_key([index; 32])
}

impl World {
    fn new(peers: u8) -> Self {
        let level = Arc::new(Level::new(LevelSpec { seed: 2, bodies: 24, agents: 30, sounds: 2 }));
        let camera = [0, 20_000, 40_000, 0, -8000, -32_000];
        let mut world = Self {
            game: FrameLoop::new(Arc::clone(&level), camera, 7),
            executor: Executor::new(Arc::clone(&level)),
            level,
            answers: BTreeMap::new(),
            delay_us: BTreeMap::new(),
            down: BTreeSet::new(),
            lies: BTreeSet::new(),
            now_us: 0,
            shown: Vec::new(),
            pushes: Vec::new(),
        };
        for index in 0..peers {
            world.game.join(peer(index), WorkKind::ALL);
            world.delay_us.insert(peer(index), 2000 + 300 * u64::from(index));
        }
        world
    }

    fn carry_out(&mut self, commands: Vec<Command>) {
        for command in commands {
            if self.down.contains(&command.peer) {
                continue;
            }
            let step =
                self.game.steps.all().find(|step| step.request.id == command.request.id).unwrap().clone();
            // Pictures and sound are their own tests' business.
            let mut output = match command.request.kind {
                WorkKind::Physics | WorkKind::Ai => self
                    .executor
                    .run(step.work.kind, step.work.tick, step.work.ticks, &step.work.snapshot)
                    .unwrap(),
                WorkKind::Rendering => vec![0; (PICTURE_PX.0 * PICTURE_PX.1) as usize * PIXEL_BYTES],
                WorkKind::RayTracing => vec![0; (LIGHT_PX.0 * LIGHT_PX.1) as usize * PIXEL_BYTES],
                _ => vec![0; BLOCK_SAMPLES * 4],
            };
            if self.lies.contains(&command.peer) && step.work.kind == WorkKind::Physics {
                let length = usize::from(self.level.spec.bodies) * BODY_LEN;
                let before = Snapshot(step.work.snapshot.0[..length].to_vec());
                let mut after = Snapshot::from_delta(&output, Some(&before), length).unwrap();
                after.0[1] += 400;
                output = after.delta(Some(&before));
            }
            let at = self.now_us + self.delay_us[&command.peer];
            self.answers.insert((at, command.request.id), (command, output));
        }
    }

    fn until(&mut self, until_us: u64) {
        while let Some(entry) = self.answers.first_entry().filter(|entry| entry.key().0 <= until_us) {
            let at_us = entry.key().0;
            let (command, output) = entry.remove();
            if self.down.contains(&command.peer) {
                continue;
            }
            let StepRequest { id, kind, tick, ticks, snapshot, .. } = command.request;
            let output_name = output_hash(&output);
            let statement = StepStatement {
                kind,
                tick,
                ticks,
                snapshot,
                output: output_name,
                queue_us: 0,
                execution_us: 800,
            };
            let (check, commands) = self.game.answer(command.peer, id, &statement, output, at_us);
            self.carry_out(commands);
            if let Some(check) = check {
                let again = self.executor.run(
                    check.request.kind,
                    check.request.tick,
                    check.request.ticks,
                    &check.snapshot,
                );
                let is_right = again.unwrap() == check.output;
                let commands = self.game.checked(&check, is_right, at_us);
                self.carry_out(commands);
            }
        }
        self.now_us = until_us;
    }

    fn frames(&mut self, count: u32) {
        for _ in 0..count {
            self.until(self.now_us + FRAME_US);
            let next = self.game.tick + 1;
            let push = next.is_multiple_of(10).then_some(((next / 10 % 24) as u16, [2.0, 3.5, 0.5]));
            self.pushes.extend(push.map(|(body, change)| Push::new(next + FRAMES_AHEAD, body, change)));
            let (frame, commands) = self.game.frame(self.now_us, self.game.camera, push);
            self.shown.push(frame);
            self.carry_out(commands);
        }
    }

    /// Farthest that a body was shown from where it truly was, metres.
    fn divergence_m(&self) -> f32 {
        let (mut bodies, mut most, mut at) = (self.level.bodies(), 0.0_f32, 0);
        for frame in &self.shown {
            bodies = physics::simulate(&self.level, at, (frame.tick - at) as u16, &bodies, &self.pushes);
            at = frame.tick;
            for (shown, truth) in frame.bodies.states.iter().zip(&bodies) {
                let (a, b) = (shown.position(), truth.position());
                most = most.max((0..3).map(|axis| (a[axis] - b[axis]).powi(2)).sum::<f32>().sqrt());
            }
        }
        most
    }

    fn missed(&self) -> u64 {
        self.game.tally.subsystems.values().map(|tally| tally.missed).sum()
    }
}

#[test]
fn with_peers_that_answer_in_time_everything_is_as_if_it_were_computed_here() {
    let mut world = World::new(3);
    world.frames(120);
    assert_eq!((world.missed(), world.game.tally.predicted_frames), (0, 0));
    assert!(world.divergence_m() < 1e-4, "{}", world.divergence_m());
    for subsystem in Subsystem::ALL {
        let tally = &world.game.tally.subsystems[&subsystem.kind];
        assert_eq!(tally.due, u64::from(120 / subsystem.every_frames));
        assert!(tally.met + 2 >= tally.due, "{tally:?}");
    }
    let physics = &world.game.tally.subsystems[&WorkKind::Physics];
    assert!(physics.sent_bytes * 3 < physics.snapshot_bytes, "deltas are small: {physics:?}");
    assert!(world.game.tally.checked > 0 && world.game.tally.wrong == 0);
}

#[test]
fn peers_that_are_tried_out_before_the_game_change_nothing_in_it() {
    let mut world = World::new(3);
    for _ in 0..4 {
        for index in 0..3 {
            let commands = world.game.probe_all(&[peer(index)], world.now_us);
            let owing = |world: &World| (0..3).filter(|of| world.game.owes(&peer(*of))).collect::<Vec<u8>>();
            assert_eq!(owing(&world), [index]);
            world.carry_out(commands);
            world.until(world.now_us + 100_000);
            assert_eq!(owing(&world), [0; 0]);
        }
    }
    world.frames(60);
    assert_eq!(world.game.tally.subsystems[&WorkKind::Physics].due, 60);
    assert!(world.divergence_m() < 1e-4, "{}", world.divergence_m());
}

#[test]
fn a_peer_that_falls_silent_loses_its_work_and_the_picture_goes_on() {
    let mut world = World::new(3);
    world.frames(30);
    let physicist = world.game.split.assigned(WorkKind::Physics).unwrap();
    world.down.insert(physicist);
    world.frames(60);
    assert_ne!(world.game.split.assigned(WorkKind::Physics), Some(physicist));
    let held: Vec<WorkKind> = WorkKind::ALL
        .into_iter()
        .filter(|kind| world.game.split.assigned(*kind) == Some(physicist))
        .collect();
    assert_eq!(held, [], "whatever it held was given to others");
    assert!(world.missed() <= 12, "{}", world.missed());
    let bound = MAX_SPEED * crate::limit::MAX_EXTRAPOLATED_FRAMES as f32 / 60.0;
    assert!(world.divergence_m() < bound, "{}", world.divergence_m());
}

#[test]
fn a_peer_that_is_lost_or_late_is_replaced_within_a_few_frames() {
    let mut world = World::new(4);
    world.frames(30);
    let first = world.game.split.assigned(WorkKind::Physics).unwrap();
    world.down.insert(first);
    let commands = world.game.lose(first, world.now_us);
    world.carry_out(commands);
    world.frames(60);
    assert!(world.missed() <= 2, "a loss that is reported costs next to nothing: {}", world.missed());
    let second = world.game.split.assigned(WorkKind::Physics).unwrap();
    world.delay_us.insert(second, 82_000);
    world.frames(60);
    assert_ne!(world.game.split.assigned(WorkKind::Physics), Some(second));
    let physics = &world.game.tally.subsystems[&WorkKind::Physics];
    assert!(physics.missed <= 4 && physics.late >= 2, "{physics:?}");
    assert!(world.divergence_m() < 0.5, "{}", world.divergence_m());
}

#[test]
fn when_all_are_gone_the_game_goes_on_here_until_somebody_comes() {
    let mut world = World::new(2);
    let here = peer(9);
    world.game.join_reserve(here, WorkKind::ALL);
    world.delay_us.insert(here, 4000);
    let commands = world.game.probe_all(&[peer(0), peer(1), here], world.now_us);
    world.carry_out(commands);
    world.frames(30);
    assert!(world.game.assignments().values().all(|peer| *peer != here));
    for index in 0..2 {
        world.down.insert(peer(index));
        let commands = world.game.lose(peer(index), world.now_us);
        world.carry_out(commands);
    }
    world.frames(60);
    assert!(world.game.assignments().values().all(|peer| *peer == here));
    assert!(world.missed() <= 2 && world.game.tally.predicted_frames == 0, "{:?}", world.game.tally);
    assert!(world.divergence_m() < 1e-4, "{}", world.divergence_m());
    world.game.join(peer(3), WorkKind::ALL);
    world.delay_us.insert(peer(3), 2000);
    let commands = world.game.probe_all(&[peer(3)], world.now_us);
    world.carry_out(commands);
    world.frames(61);
    assert!(world.game.assignments().values().all(|peer| *peer != here), "it has the game to show");
    assert!(world.missed() <= 2, "{}", world.missed());
}

#[test]
fn a_peer_that_lies_about_physics_is_found_out() {
    let mut world = World::new(3);
    world.frames(5);
    let liar = world.game.split.assigned(WorkKind::Physics).unwrap();
    world.lies.insert(liar);
    world.frames(120);
    assert!(world.game.tally.wrong > 0);
    assert_ne!(world.game.split.assigned(WorkKind::Physics), Some(liar));
    assert!(
        !world.game.split.others(WorkKind::Physics, TimeMs(0.0)).contains(&liar),
        "it is not asked any more"
    );
    world.game.join(liar, WorkKind::ALL);
    assert_eq!(world.game.probe_all(&[liar], world.now_us), [], "nor when it comes again");
    assert!(!world.game.split.others(WorkKind::Physics, TimeMs(0.0)).contains(&liar));
}

#[test]
fn answers_of_others_and_to_other_questions_are_not_taken() {
    let mut world = World::new(2);
    let (_, commands) = world.game.frame(FRAME_US, world.game.camera, None);
    let physics = commands.iter().find(|command| command.request.kind == WorkKind::Physics).unwrap();
    let StepRequest { id, kind, tick, ticks, snapshot, .. } = physics.request;
    let output = vec![0, 0];
    let statement = StepStatement {
        kind,
        tick,
        ticks,
        snapshot,
        output: output_hash(&output),
        queue_us: 0,
        execution_us: 1,
    };
    let stranger = if physics.peer == peer(0) { peer(1) } else { peer(0) };
    world.game.answer(stranger, id, &statement, output.clone(), FRAME_US);
    assert_eq!(world.game.bodies.newest().0, FRAMES_AHEAD);
    let other = StepStatement { tick: tick + 1, ..statement };
    let (check, commands) = world.game.answer(physics.peer, id, &other, output, FRAME_US);
    assert!(check.is_none());
    assert!(
        commands.iter().all(|command| command.peer == stranger) && !commands.is_empty(),
        "the other one does it"
    );
    assert_eq!(world.game.split.assigned(WorkKind::Physics), Some(stranger));
    assert_eq!((world.game.bodies.newest().0, world.game.tally.wrong), (FRAMES_AHEAD, 1));
}

#[test]
fn a_peer_that_refuses_everything_is_not_asked_for_ever_and_nobody_is_asked_over_and_over() {
    let mut world = World::new(4);
    world.frames(10);
    let physicist = world.game.split.assigned(WorkKind::Physics).unwrap();
    let mut asked = 0;
    for _ in 0..10 {
        world.until(world.now_us + FRAME_US);
        let (_, mut commands) = world.game.frame(world.now_us, world.game.camera, None);
        let mut kept = Vec::new();
        while let Some(command) = commands.pop() {
            if command.peer == physicist {
                asked += 1;
                let (peer, id) = (command.peer, command.request.id);
                commands.extend(world.game.refused(peer, id, RejectReason::Busy, world.now_us));
            } else {
                kept.push(command);
            }
        }
        world.carry_out(kept);
    }
    assert!(asked <= 40, "{asked}");
    assert_ne!(world.game.split.assigned(WorkKind::Physics), Some(physicist));
}
