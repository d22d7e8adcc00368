//! What is asked of whom: the snapshot of a subsystem's share, whoever does it, and what becomes of it while it is waited for.

use std::sync::Arc;

use p2c2r_protocol::{id::WorkKind, limit::MAX_STEP_TICKS};

use super::{
    Due, Frame, FrameLoop,
    steps::{Command, OpenStep, Work},
    time,
};
use crate::{
    layout::{
        AgentState, AgentsLayout, BodyState, LISTENER_LEN, PhysicsLayout, PictureLayout, Push, SoundLayout,
        metres, place_steps, turn, turn_steps,
    },
    limit::FRAMES_AHEAD,
    snapshot::Snapshot,
    subsystem::Subsystem,
};

/// Frames that one step simulates at most.
const MAX_TICKS: u32 = MAX_STEP_TICKS as u32;
/// A subsystem's share of a frame is given to so many further peers at most.
const MAX_COPIES: u8 = 2;
/// Less time than this is of no use for another attempt, microseconds.
const LEAST_BUDGET_US: u64 = 3_000;
/// A probe may take so long, microseconds.
const PROBE_US: u64 = 1_000_000;
/// Height at which agents make sound, metres above the ear.
const VOICE_M: f32 = 0.0;

impl FrameLoop {
    /// Asks whoever does a subsystem for its share of this frame.
    pub(super) fn ask(&mut self, subsystem: Subsystem, frame: &Frame, now_us: u64) -> Option<Command> {
        let (tick, ticks, snapshot) = self.work_of(subsystem.kind, frame)?;
        let work = Work {
            kind: subsystem.kind,
            tick,
            ticks,
            snapshot: Arc::new(snapshot),
            due: Some(self.tick),
            due_at_us: now_us,
            until_us: now_us + subsystem.deadline_us(),
        };
        self.tally.of(subsystem.kind).due += 1;
        self.due.insert((subsystem.kind, self.tick), Due { until_us: work.until_us, copies: 0 });
        let own = self.split.assigned(subsystem.kind);
        let all = own.into_iter().chain(self.split.others(subsystem.kind, time(now_us)));
        let command = all.into_iter().find_map(|peer| self.steps.give(peer, &work, now_us))?;
        self.count_sent(&work, &command);
        Some(command)
    }

    /// Snapshot of what a kind of work needs of this moment; none if the world is that far already.
    fn work_of(&self, kind: WorkKind, frame: &Frame) -> Option<(u32, u16, Snapshot)> {
        let ahead = |from: u32| {
            let ticks = (self.tick + FRAMES_AHEAD).saturating_sub(from).min(MAX_TICKS);
            u16::try_from(ticks).ok().filter(|ticks| *ticks > 0)
        };
        match kind {
            WorkKind::Physics => {
                let (from, bodies) = self.bodies.newest();
                let ticks = ahead(from)?;
                let due = from..from + u32::from(ticks);
                let pushes: Vec<Push> =
                    self.pushes.iter().filter(|push| due.contains(&push.tick)).copied().collect();
                Some((from, ticks, Snapshot(PhysicsLayout::write(&bodies, &pushes))))
            }
            WorkKind::Ai => {
                let (from, agents) = self.agents.newest();
                let ticks = ahead(from)?;
                let bodies: Vec<[i32; 2]> =
                    frame.bodies.states.iter().map(|body| [body.0[0], body.0[2]]).collect();
                Some((from, ticks, Snapshot(AgentsLayout::write(&agents, &bodies))))
            }
            WorkKind::Rendering | WorkKind::RayTracing => {
                let bodies: Vec<_> = frame.bodies.states.iter().map(BodyState::pose).collect();
                let agents: Vec<_> =
                    frame.agents.states.iter().map(|agent| [agent.0[0], agent.0[1]]).collect();
                Some((frame.tick, 1, Snapshot(PictureLayout::write(self.camera, &bodies, &agents))))
            }
            WorkKind::Audio => Some((frame.tick, 1, Snapshot(self.rows.clone()))),
            _ => None,
        }
    }

    /// Counts what is late, and gives what has waited for half its time to a second peer.
    pub(super) fn look_after(&mut self, now_us: u64) -> Vec<Command> {
        let mut must_plan = false;
        for step in self.steps.overdue(now_us) {
            must_plan |= self.split.miss(step.peer, step.work.kind, time(now_us));
        }
        let passed: Vec<(WorkKind, u32)> =
            self.due.iter().filter(|(_, due)| due.until_us < now_us).map(|(entry, _)| *entry).collect();
        for (kind, frame) in passed {
            self.due.remove(&(kind, frame));
            self.tally.of(kind).missed += 1;
        }
        if must_plan {
            self.plan(now_us);
        }
        let waiting: Vec<OpenStep> = self
            .due
            .keys()
            .filter_map(|(kind, due)| {
                let mut copies = self.steps.of(*kind, *due);
                copies.next().filter(|_| copies.next().is_none()).cloned()
            })
            .filter(|step| {
                now_us.saturating_sub(step.sent_at_us) * 2
                    > step.work.until_us.saturating_sub(step.sent_at_us)
            })
            .collect();
        waiting.iter().filter_map(|step| self.again(step, now_us)).collect()
    }

    /// Gives a step to somebody else, if there is time.
    pub(super) fn again(&mut self, step: &OpenStep, now_us: u64) -> Option<Command> {
        let work = &step.work;
        let due = self.due.get_mut(&(work.kind, work.due?)).filter(|due| due.copies < MAX_COPIES)?;
        if work.until_us < now_us + LEAST_BUDGET_US {
            return None;
        }
        due.copies += 1;
        let own = self.split.assigned(work.kind).filter(|peer| *peer != step.peer);
        let others = self.split.others(work.kind, time(now_us));
        let peers = own.into_iter().chain(others.into_iter().filter(|peer| *peer != step.peer));
        let command = peers.into_iter().find_map(|peer| self.steps.give(peer, work, now_us))?;
        self.tally.of(work.kind).copies += 1;
        self.count_sent(work, &command);
        Some(command)
    }

    fn count_sent(&mut self, work: &Work, command: &Command) {
        let tally = self.tally.of(work.kind);
        tally.sent_bytes += command.payload.len() as u64;
        tally.snapshot_bytes += work.snapshot.0.len() as u64 * 4;
    }

    /// The present moment as work that is not due.
    pub(super) fn probe(&mut self, kind: WorkKind, now_us: u64) -> Work {
        let frame = Frame {
            tick: self.tick,
            bodies: self.bodies.show(self.tick),
            agents: self.agents.show(self.tick),
        };
        let (tick, ticks, snapshot) = self.work_of(kind, &frame).unwrap_or_else(|| {
            // The world is far enough ahead: the step after the newest moment does as well.
            let (bodies, agents) = (self.bodies.newest(), self.agents.newest());
            let places: Vec<[i32; 2]> = bodies.1.iter().map(|body| [body.0[0], body.0[2]]).collect();
            match kind {
                WorkKind::Physics => {
                    let due: Vec<Push> =
                        self.pushes.iter().filter(|push| push.tick == bodies.0).copied().collect();
                    (bodies.0, 1, Snapshot(PhysicsLayout::write(&bodies.1, &due)))
                }
                _ => (agents.0, 1, Snapshot(AgentsLayout::write(&agents.1, &places))),
            }
        });
        let snapshot = Arc::new(snapshot);
        Work { kind, tick, ticks, snapshot, due: None, due_at_us: now_us, until_us: now_us + PROBE_US }
    }

    /// Tries the next peer at the next kind of work that is not its own.
    pub(super) fn probe_next(&mut self, now_us: u64) -> Option<Command> {
        let subsystem = Subsystem::ALL[self.probes as usize % Subsystem::ALL.len()];
        let others = self.split.others(subsystem.kind, time(now_us));
        let turn = self.probes as usize / Subsystem::ALL.len();
        self.probes += 1;
        let peer = *others.get(turn % others.len().max(1))?;
        let work = self.probe(subsystem.kind, now_us);
        self.steps.give(peer, &work, now_us)
    }

    /// Writes down what is heard in a frame: the listener is the camera, the first agents make the sounds.
    pub(super) fn hear(&mut self, tick: u32, agents: &[AgentState]) {
        let sounds = usize::from(self.level.spec.sounds);
        let at = SoundLayout::row(tick, sounds);
        let [x, _, z, forward_x, _, forward_z] = self.camera;
        let [ear_x, ear_z] = place_steps(metres([x, z]));
        let [forward_x, forward_z] = turn([forward_x, forward_z]);
        let length = (forward_x * forward_x + forward_z * forward_z).sqrt().max(1e-3);
        let [right_x, right_z] = turn_steps([-forward_z / length, forward_x / length]);
        let listener: [i32; LISTENER_LEN] = [ear_x, ear_z, right_x, right_z];
        let [height] = place_steps([VOICE_M]);
        let sources = agents.iter().take(sounds).flat_map(|agent| [agent.0[0], height, agent.0[1]]);
        let values = listener.into_iter().chain(sources);
        for (place, value) in self.rows.iter_mut().skip(at).zip(values) {
            *place = value;
        }
    }
}
