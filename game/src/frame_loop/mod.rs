//! The loop of a game at its owner: what is asked of whom in a frame, what is made of the answers, and what is shown.
//!
//! It does no input or output and never waits: [`FrameLoop::frame`] shows what is there and says what to send, and
//! answers come in between frames. Physics and agents are computed [`FRAMES_AHEAD`] frames ahead of what is shown, so
//! that an answer may be late by two frames before anybody sees a prediction.

mod answers;
mod questions;
mod steps;
mod tally;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use p2c2r_protocol::{
    id::{NodeId, WorkKind},
    step::{StepRequest, StepStatement},
    task::RejectReason,
};
use p2c2r_scheduler::{
    functional::{FunctionalSplit, Move, StepTimes, SubsystemLoad},
    time::TimeMs,
};

use self::steps::Steps;
pub use self::{
    steps::Command,
    tally::{SubsystemTally, Tally},
};
use crate::{
    dice::dice,
    layout::{AgentState, BodyState, CAMERA_LEN, Push, SoundLayout},
    level::Level,
    limit::{ECHO_FRAMES, FRAMES_AHEAD, HISTORY_FRAMES},
    physics,
    prediction::{Shown, Source, Timeline},
    snapshot::Snapshot,
    subsystem::Subsystem,
};

/// Decisions are looked at again every so many frames.
const PLAN_EVERY_FRAMES: u32 = 60;
/// Every so many frames somebody who does something else is tried at a kind of work.
const PROBE_EVERY_FRAMES: u32 = 30;
/// Of so many answers that can be checked, one is.
const CHECK_EVERY: u32 = 16;

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
    /// Peers that were wrong: they are not asked any more, nor if they come again.
    distrusted: BTreeSet<NodeId>,
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
            distrusted: BTreeSet::new(),
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

    /// A peer is there. One that was wrong before is not asked again.
    pub fn join(&mut self, peer: NodeId, kinds: impl IntoIterator<Item = WorkKind>) {
        if !self.distrusted.contains(&peer) {
            self.split.join(peer, kinds);
        }
    }

    /// The machine that the game is played on, which does what nobody else can.
    pub fn join_reserve(&mut self, peer: NodeId, kinds: impl IntoIterator<Item = WorkKind>) {
        self.split.join_reserve(peer, kinds);
    }

    /// Whether it is known what a peer is like at everything that it does.
    pub fn knows(&self, peer: &NodeId) -> bool {
        self.split.knows(peer)
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

    /// Tries everybody at everything once: for before the first frame, and whoever comes later.
    pub fn probe_all(&mut self, peers: &[NodeId], now_us: u64) -> Vec<Command> {
        let mut commands = Vec::new();
        let trusted = |peer: &&NodeId| !self.distrusted.contains(*peer);
        let peers: Vec<NodeId> = peers.iter().filter(trusted).copied().collect();
        for subsystem in Subsystem::ALL {
            let work = self.probe(subsystem.kind, now_us);
            commands.extend(peers.iter().filter_map(|peer| self.steps.give(*peer, &work, now_us)));
        }
        commands
    }

    /// Whether a peer has not answered everything yet that it was asked.
    pub fn owes(&self, peer: &NodeId) -> bool {
        self.steps.all().any(|step| step.peer == *peer)
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
            self.distrusted.insert(peer);
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
        self.distrusted.insert(check.peer);
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

    /// Finds peers for what nobody does any more.
    fn plan(&mut self, now_us: u64) {
        let moves = self.split.replace(time(now_us));
        self.note(moves);
    }

    fn note(&mut self, moves: Vec<Move>) {
        self.tally.moves.extend(moves.into_iter().map(|change| (self.tick, change)));
    }
}

fn time(now_us: u64) -> TimeMs {
    TimeMs(now_us as f64 / 1e3)
}

#[cfg(test)]
mod tests;
