//! The loop of a game at its owner: what is asked of whom in a frame, what is made of the answers, and what is shown.
//!
//! It does no input or output and never waits: [`FrameLoop::frame`] shows what is there and says what to send, and
//! answers come in between frames. Physics and agents are computed [`FRAMES_AHEAD`] frames ahead of what is shown, so
//! that an answer may be late by two frames before anybody sees a prediction.

mod steps;
mod tally;

use std::{collections::BTreeMap, sync::Arc};

use p2c2r_protocol::{
    id::{NodeId, WorkKind},
    step::{StepRequest, StepStatement},
    task::RejectReason,
};
use p2c2r_scheduler::{
    functional::{FunctionalSplit, Move, StepTimes, SubsystemLoad},
    time::TimeMs,
};

use self::steps::{OpenStep, Steps, Work};
pub use self::{
    steps::Command,
    tally::{SubsystemTally, Tally},
};
use crate::{
    dice::dice,
    layout::{
        AGENT_LEN, AgentState, AgentsLayout, BODY_LEN, BodyState, CAMERA_LEN, LISTENER_LEN, PhysicsLayout,
        PictureLayout, Push, SoundLayout, metres, place_steps, turn, turn_steps,
    },
    level::Level,
    limit::{BLOCK_SAMPLES, ECHO_FRAMES, FRAMES_AHEAD, HISTORY_FRAMES, LIGHT_PX, PICTURE_PX},
    physics,
    picture::PIXEL_BYTES,
    prediction::{Shown, Source, Timeline},
    snapshot::Snapshot,
    subsystem::Subsystem,
};

/// Decisions are looked at again every so many frames.
const PLAN_EVERY_FRAMES: u32 = 60;
/// Every so many frames somebody who does something else is tried at a kind of work.
const PROBE_EVERY_FRAMES: u32 = 30;
/// Frames that one step simulates at most.
const MAX_TICKS: u32 = p2c2r_protocol::limit::MAX_STEP_TICKS as u32;
/// Of so many answers that can be checked, one is.
const CHECK_EVERY: u32 = 16;
/// A subsystem's share of a frame is given to so many further peers at most.
const MAX_COPIES: u8 = 2;
/// Less time than this is of no use for another attempt, microseconds.
const LEAST_BUDGET_US: u64 = 3_000;
/// A probe may take so long, microseconds.
const PROBE_US: u64 = 1_000_000;
/// Height at which agents make sound, metres above the ear.
const VOICE_M: f32 = 0.0;

/// What a frame shows.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Its number.
    pub tick: u32,
    /// The bodies.
    pub bodies: Shown<BodyState>,
    /// The agents.
    pub agents: Shown<AgentState>,
}

/// A picture or a block of sound, and of which moment.
#[derive(Debug, Clone)]
pub struct Media {
    /// The moment.
    pub tick: u32,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// An answer that is to be computed a second time.
#[derive(Debug, Clone)]
pub struct Check {
    /// Who answered.
    pub peer: NodeId,
    /// What was asked.
    pub request: StepRequest,
    /// From what.
    pub snapshot: Arc<Snapshot>,
    /// What was answered.
    pub output: Vec<u8>,
}

/// A subsystem's share of a frame that is waited for.
struct Due {
    /// When its time is up, microseconds.
    until_us: u64,
    /// How often it was given to yet another peer.
    copies: u8,
}

/// The loop's state.
pub struct FrameLoop {
    level: Arc<Level>,
    split: FunctionalSplit,
    bodies: Timeline<BodyState>,
    agents: Timeline<AgentState>,
    pushes: Vec<Push>,
    /// What is heard, as [`SoundLayout`] has it.
    rows: Vec<i32>,
    camera: [i32; CAMERA_LEN],
    tick: u32,
    steps: Steps,
    /// Subsystems that were due and are neither answered nor missed.
    due: BTreeMap<(WorkKind, u32), Due>,
    base: Option<Media>,
    light: Option<Media>,
    sound: Option<Media>,
    probes: u32,
    /// Decides which answers are checked: whoever knew it could cheat at the others.
    secret: u32,
    tally: Tally,
}

impl FrameLoop {
    /// At the beginning of a level. Nobody should know the secret.
    pub fn new(level: Arc<Level>, camera: [i32; CAMERA_LEN], secret: u32) -> Self {
        let loads = Subsystem::ALL.map(|subsystem| SubsystemLoad {
            kind: subsystem.kind,
            deadline_ms: f64::from(subsystem.deadline_ms),
            period_ms: f64::from(subsystem.every_frames) * 1000.0 / f64::from(crate::limit::FRAMES_PER_S),
        });
        let mut new = Self {
            bodies: Timeline::new(level.bodies()),
            agents: Timeline::new(level.agents()),
            split: FunctionalSplit::new(loads.to_vec()),
            pushes: Vec::new(),
            rows: vec![0; SoundLayout::len(usize::from(level.spec.sounds))],
            camera,
            tick: 0,
            steps: Steps::default(),
            due: BTreeMap::new(),
            base: None,
            light: None,
            sound: None,
            probes: 0,
            secret,
            tally: Tally::default(),
            level,
        };
        // What the first frames show is known before anybody was asked.
        let mut bodies = new.level.bodies();
        for tick in 0..FRAMES_AHEAD {
            bodies = physics::simulate(&new.level, tick, 1, &bodies, &[]);
            new.bodies.learn(tick + 1, bodies.clone());
        }
        let agents = new.agents.show(0).states;
        for tick in 0..ECHO_FRAMES as u32 {
            new.hear(tick, &agents);
        }
        new
    }

    /// A peer is there.
    pub fn join(&mut self, peer: NodeId, kinds: impl IntoIterator<Item = WorkKind>) {
        self.split.join(peer, kinds);
    }

    /// A peer is gone, or not believed any more; what it had to do is given to others.
    pub fn lose(&mut self, peer: NodeId, now_us: u64) -> Vec<Command> {
        self.split.leave(&peer);
        let lost = self.steps.lost(peer);
        self.plan(now_us);
        let mut commands = Vec::new();
        for step in lost {
            self.tally.of(step.work.kind).lost += 1;
            commands.extend(self.again(&step, now_us));
        }
        commands
    }

    /// Tries everybody at everything once: for before the first frame.
    pub fn probe_all(&mut self, peers: &[NodeId], now_us: u64) -> Vec<Command> {
        let mut commands = Vec::new();
        for subsystem in Subsystem::ALL {
            let work = self.probe(subsystem.kind, now_us);
            commands.extend(peers.iter().filter_map(|peer| self.steps.give(*peer, &work, now_us)));
        }
        commands
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.steps.all().next().is_none()
    }

    /// Goes on to the next frame, which is due now: shows it, and says what to send. Pushes take effect
    /// [`FRAMES_AHEAD`] frames later, when nobody has computed that moment yet.
    pub fn frame(
        &mut self,
        now_us: u64,
        camera: [i32; CAMERA_LEN],
        pushes: impl IntoIterator<Item = (u16, [f32; 3])>,
    ) -> (Frame, Vec<Command>) {
        self.tick += 1;
        self.camera = camera;
        let at = self.tick + FRAMES_AHEAD;
        self.pushes.extend(pushes.into_iter().map(|(body, change)| Push::new(at, body, change)));
        let known = self.bodies.newest().0;
        self.pushes.retain(|push| push.tick + HISTORY_FRAMES as u32 >= known);
        let frame = Frame {
            tick: self.tick,
            bodies: self.bodies.show(self.tick),
            agents: self.agents.show(self.tick),
        };
        self.tally.predicted_frames += u64::from(frame.bodies.source == Source::Predicted);
        self.tally.jumps += u64::from(frame.bodies.jumps);
        self.tally.largest_error_m = self.tally.largest_error_m.max(frame.bodies.error_m);
        self.hear(self.tick, &frame.agents.states);

        let mut commands = self.look_after(now_us);
        if self.tick.is_multiple_of(PLAN_EVERY_FRAMES) || self.tick == 1 {
            let moves = self.split.plan(time(now_us));
            self.note(moves);
        }
        for subsystem in Subsystem::ALL {
            if self.tick.is_multiple_of(subsystem.every_frames) {
                commands.extend(self.ask(subsystem, &frame, now_us));
            }
        }
        if self.tick.is_multiple_of(PROBE_EVERY_FRAMES) {
            commands.extend(self.probe_next(now_us));
        }
        (frame, commands)
    }

    /// A peer has answered; the statement is known to be its own. The answer may be to be computed a second time. A peer that
    /// answers something else than it was asked is not asked any more.
    pub fn answer(
        &mut self,
        peer: NodeId,
        id: u64,
        statement: &StepStatement,
        output: Vec<u8>,
        now_us: u64,
    ) -> (Option<Check>, Vec<Command>) {
        let Some(step) = self.steps.answered(peer, id) else { return (None, Vec::new()) };
        if !statement.is_about(&step.request, &output) || !self.take(&step, &output) {
            self.tally.wrong += 1;
            let mut commands = self.lose(peer, now_us);
            commands.extend(self.again(&step, now_us));
            return (None, commands);
        }
        let kind = step.work.kind;
        let in_time = now_us <= step.work.until_us;
        let total_ms = now_us.saturating_sub(step.sent_at_us) as f64 / 1e3;
        let own_ms = |us: u32| (f64::from(us) / 1e3).min(total_ms);
        let (queue_ms, execution_ms) = (own_ms(statement.queue_us), own_ms(statement.execution_us));
        self.split.observe(peer, kind, StepTimes { total_ms, queue_ms, execution_ms }, in_time);
        if step.work.due.is_some() && !in_time && !step.overdue && self.split.miss(peer, kind, time(now_us)) {
            self.plan(now_us);
        }
        let tally = self.tally.of(kind);
        tally.received_bytes += output.len() as u64;
        if let Some(due) = step.work.due {
            if !in_time {
                tally.late += 1;
            } else if self.due.remove(&(kind, due)).is_some() {
                tally.met += 1;
                let answer_ms = now_us.saturating_sub(step.work.due_at_us) as f32 / 1e3;
                tally.answered(answer_ms, statement.execution_us as f32 / 1e3);
            }
        }
        let is_exact = matches!(kind, WorkKind::Physics | WorkKind::Ai);
        let is_drawn = dice(self.secret, id as u32).is_multiple_of(CHECK_EVERY);
        let check = Check { peer, request: step.request, snapshot: step.work.snapshot, output };
        ((is_exact && is_drawn).then_some(check), Vec::new())
    }

    /// What came of computing an answer a second time. A peer that was wrong is not asked any more, and what followed
    /// from its answer is computed again.
    pub fn checked(&mut self, check: &Check, is_right: bool, now_us: u64) -> Vec<Command> {
        self.tally.checked += 1;
        if is_right {
            return Vec::new();
        }
        self.tally.wrong += 1;
        match check.request.kind {
            WorkKind::Physics => self.bodies.forget_after(check.request.tick),
            _ => self.agents.forget_after(check.request.tick),
        }
        self.lose(check.peer, now_us)
    }

    /// A peer does not do a step.
    pub fn refused(&mut self, peer: NodeId, id: u64, reason: RejectReason, now_us: u64) -> Vec<Command> {
        let Some(step) = self.steps.closed(peer, id) else { return Vec::new() };
        self.tally.of(step.work.kind).refused += 1;
        match reason {
            RejectReason::SceneUnknown => self.steps.forget_base(peer, step.work.kind),
            RejectReason::UnsupportedKind => {
                self.split.decline(&peer, step.work.kind);
                self.plan(now_us);
            }
            _ => {
                if self.split.miss(peer, step.work.kind, time(now_us)) {
                    self.plan(now_us);
                }
            }
        }
        self.again(&step, now_us).into_iter().collect()
    }

    /// What became of everything so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The newest base picture.
    pub fn base(&self) -> Option<&Media> {
        self.base.as_ref()
    }

    /// The newest light.
    pub fn light(&self) -> Option<&Media> {
        self.light.as_ref()
    }

    /// The newest block of sound.
    pub fn sound(&self) -> Option<&Media> {
        self.sound.as_ref()
    }

    /// Who does what.
    pub fn assignments(&self) -> BTreeMap<WorkKind, NodeId> {
        let kinds = Subsystem::ALL.iter().map(|subsystem| subsystem.kind);
        kinds.filter_map(|kind| Some((kind, self.split.assigned(kind)?))).collect()
    }

    /// Takes what a step brought.
    fn take(&mut self, step: &OpenStep, output: &[u8]) -> bool {
        let Work { kind, tick, ticks, snapshot, due, .. } = &step.work;
        let target = tick.wrapping_add(u32::from(*ticks));
        // Probes may go farther ahead than what the player does is known.
        let may_learn = target <= self.tick + FRAMES_AHEAD;
        match kind {
            WorkKind::Physics => {
                let length = usize::from(self.level.spec.bodies) * BODY_LEN;
                states::<BODY_LEN>(snapshot, length, output).is_some_and(|states| {
                    // What followed from a moment that is not believed any more is not believed either.
                    let begins = PhysicsLayout::read(&snapshot.0, usize::from(self.level.spec.bodies)).0;
                    let may_learn = may_learn && self.bodies.at(*tick) == Some(begins.as_slice());
                    !may_learn || self.bodies.learn(target, states.into_iter().map(BodyState).collect())
                })
            }
            WorkKind::Ai => {
                let length = usize::from(self.level.spec.agents) * AGENT_LEN;
                states::<AGENT_LEN>(snapshot, length, output).is_some_and(|states| {
                    let begins = AgentsLayout::read(&snapshot.0, usize::from(self.level.spec.agents)).0;
                    let may_learn = may_learn && self.agents.at(*tick) == Some(begins.as_slice());
                    !may_learn || self.agents.learn(target, states.into_iter().map(AgentState).collect())
                })
            }
            WorkKind::Rendering | WorkKind::RayTracing | WorkKind::Audio => {
                let pixels = |(width, height): (u32, u32)| (width * height) as usize * PIXEL_BYTES;
                let (length, place) = match kind {
                    WorkKind::Rendering => (pixels(PICTURE_PX), &mut self.base),
                    WorkKind::RayTracing => (pixels(LIGHT_PX), &mut self.light),
                    _ => (BLOCK_SAMPLES * 4, &mut self.sound),
                };
                let is_newer = place.as_ref().is_none_or(|media| media.tick <= *tick);
                if output.len() == length && due.is_some() && is_newer {
                    *place = Some(Media { tick: *tick, bytes: output.to_vec() });
                }
                output.len() == length
            }
            _ => false,
        }
    }

    /// Asks whoever does a subsystem for its share of this frame.
    fn ask(&mut self, subsystem: Subsystem, frame: &Frame, now_us: u64) -> Option<Command> {
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
    fn look_after(&mut self, now_us: u64) -> Vec<Command> {
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
    fn again(&mut self, step: &OpenStep, now_us: u64) -> Option<Command> {
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

    /// Finds peers for what nobody does any more.
    fn plan(&mut self, now_us: u64) {
        let moves = self.split.replace(time(now_us));
        self.note(moves);
    }

    fn note(&mut self, moves: Vec<Move>) {
        self.tally.moves.extend(moves.into_iter().map(|change| (self.tick, change)));
    }

    /// The present moment as work that is not due.
    fn probe(&mut self, kind: WorkKind, now_us: u64) -> Work {
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
    fn probe_next(&mut self, now_us: u64) -> Option<Command> {
        let subsystem = Subsystem::ALL[self.probes as usize % Subsystem::ALL.len()];
        let others = self.split.others(subsystem.kind, time(now_us));
        let turn = self.probes as usize / Subsystem::ALL.len();
        self.probes += 1;
        let peer = *others.get(turn % others.len().max(1))?;
        let work = self.probe(subsystem.kind, now_us);
        self.steps.give(peer, &work, now_us)
    }

    /// Writes down what is heard in a frame: the listener is the camera, the first agents make the sounds.
    fn hear(&mut self, tick: u32, agents: &[AgentState]) {
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

/// The states that an output says, as the difference to those that its snapshot begins with.
fn states<const N: usize>(snapshot: &Snapshot, length: usize, output: &[u8]) -> Option<Vec<[i32; N]>> {
    let before = Snapshot(snapshot.0.get(..length)?.to_vec());
    let after = Snapshot::from_delta(output, Some(&before), length).ok()?;
    Some(after.0.chunks_exact(N).map(|state| std::array::from_fn(|index| state[index])).collect())
}

fn time(now_us: u64) -> TimeMs {
    TimeMs(now_us as f64 / 1e3)
}

#[cfg(test)]
mod tests;
