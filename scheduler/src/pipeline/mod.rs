//! The life of a sequence whose frames pass through stages at different peers, without a clock, a socket or a channel:
//! events in, commands out.
//!
//! Of each frame the last stage is offered first: it awaits what the others will bring. Several frames are under way at
//! once, so that every peer has its stage of one of them to do. A frame that loses a peer is begun anew with another
//! crew; the others go on.

mod frame;

use std::collections::BTreeMap;

use p2c2r_protocol::{
    id::{NodeId, TaskId},
    stage::Stage,
};

use self::frame::{FrameState, StageState};
use crate::{
    split::pipeline::{Assignment, Crew, StagePeer, assign},
    time::TimeMs,
};

/// Frames under way at once: one for each stage, and one that waits.
const FRAMES_IN_FLIGHT: usize = 4;
/// A crew that would be faster by this share takes over.
const MIN_GAIN: f64 = 0.15;
/// Weight of the newest time of a stage.
const WEIGHT: f64 = 0.3;
/// A stage may take so many times what is expected of it.
const PATIENCE_FACTOR: f64 = 8.0;
/// And this at least, ms.
const MIN_PATIENCE_MS: f64 = 20_000.0;
/// First stages that a peer has in hand: the scene at one frame's moment, and at the next one's.
const STAGES_AT_ONCE: usize = 2;
/// A peer that is busy is left alone for so long, ms.
const BUSY_PAUSE_MS: f64 = 100.0;
/// Failures after which a peer gets no more stages.
const MAX_FAULTS: u32 = 3;
/// A frame that was begun so often is not going to be done.
const MAX_ATTEMPTS: u32 = 16;

/// What happens. Events about a task must come from the peer that holds it: the caller checks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event {
    /// The first offers may go out.
    Start,
    /// A peer can do stages.
    PeerReady(StagePeer),
    /// A peer is gone, with everything that it holds.
    PeerLost(NodeId),
    /// A peer has taken a stage on.
    Accepted {
        /// Which.
        task: TaskId,
    },
    /// A stage is done: what it made is at the next one, or is the picture.
    StageDone {
        /// Which.
        task: TaskId,
        /// What it took, as its peer says, ms.
        execution_ms: f64,
    },
    /// A peer will not do it, or did it wrong.
    Failed {
        /// Which.
        task: TaskId,
        /// Whether something is wrong there, as against being busy.
        fault: bool,
    },
    /// Only frames below this one are wanted for now.
    FramesWanted {
        /// The first that is not.
        below: u32,
    },
    /// The time of the last [`Command::WakeAt`] has come.
    Wake,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Command {
    /// Offer a stage to a peer.
    Offer {
        /// The attempt's name; never used before.
        task: TaskId,
        /// To whom.
        peer: NodeId,
        /// Of which frame, counted from 0.
        frame: u32,
        /// How often the frame was begun before.
        attempt: u32,
        /// Which stage.
        stage: Stage,
        /// Who does the others.
        crew: Crew,
    },
    /// Withdraw a stage.
    Cancel {
        /// Which.
        task: TaskId,
        /// Where it is.
        peer: NodeId,
    },
    /// The frame's picture is the one that the task delivered.
    FrameDone {
        /// Which frame.
        frame: u32,
        /// Its last stage.
        task: TaskId,
    },
    /// Come back with [`Event::Wake`] then, if nothing happens before.
    WakeAt(TimeMs),
    /// All is over. The last command.
    Done {
        /// Whether every frame is there.
        complete: bool,
    },
}

/// A stage that is out.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    frame: u32,
    stage: Stage,
    peer: NodeId,
    give_up_at: TimeMs,
}

/// A sequence under way.
#[derive(Debug)]
pub struct Pipeline {
    needs_geometry: bool,
    frames: Vec<FrameState>,
    peers: BTreeMap<NodeId, (StagePeer, u32)>,
    current: Option<Assignment>,
    out: BTreeMap<TaskId, Attempt>,
    next_task: TaskId,
    frames_below: u32,
    started: bool,
    ended: bool,
    now: TimeMs,
    restarts: u32,
}

impl Pipeline {
    /// A sequence of so many frames that has not begun. Its tasks are named from `first_task` on.
    pub fn new(frames: u32, needs_geometry: bool, peers: &[StagePeer], first_task: TaskId) -> Self {
        Self {
            needs_geometry,
            frames: (0..frames).map(|_| FrameState::default()).collect(),
            peers: peers.iter().map(|peer| (peer.peer, (*peer, 0))).collect(),
            current: None,
            out: BTreeMap::new(),
            next_task: first_task,
            frames_below: u32::MAX,
            started: false,
            ended: false,
            now: TimeMs(0.0),
            restarts: 0,
        }
    }

    /// The name of the next task; names are never used twice.
    pub fn next_task(&self) -> TaskId {
        self.next_task
    }

    /// The crew of frames that are begun now, if there is one.
    pub fn assignment(&self) -> Option<Assignment> {
        self.current
    }

    /// What a stage is expected to take a peer, ms; 0 if the peer is not known.
    pub fn expected_ms(&self, peer: NodeId, stage: Stage) -> f64 {
        self.peers.get(&peer).map_or(0.0, |(peer, _)| peer.ms(stage))
    }

    /// Frames that were begun anew.
    pub fn restarts(&self) -> u32 {
        self.restarts
    }

    /// Frames in all.
    pub fn frames(&self) -> usize {
        self.frames.len()
    }

    /// Frames whose pictures are there.
    pub fn frames_done(&self) -> usize {
        self.frames.iter().filter(|frame| frame.is_done).count()
    }

    /// Reacts to an event. Events about tasks that are not out any more change nothing.
    pub fn handle(&mut self, now: TimeMs, event: Event, out: &mut Vec<Command>) {
        self.now = now;
        if self.ended {
            return;
        }
        match event {
            Event::Start => self.started = true,
            Event::PeerReady(peer) => {
                let faults = self.peers.get(&peer.peer).map_or(0, |(_, faults)| *faults);
                self.peers.insert(peer.peer, (peer, faults));
            }
            Event::PeerLost(peer) => self.lose(peer, out),
            Event::Accepted { task } => self.accepted(task),
            Event::StageDone { task, execution_ms } => self.stage_done(task, execution_ms, out),
            Event::Failed { task, fault } => self.failed(task, fault, out),
            Event::FramesWanted { below } => self.frames_below = below,
            Event::Wake => self.give_up_late(out),
        }
        self.go_on(out);
    }

    fn go_on(&mut self, out: &mut Vec<Command>) {
        if !self.started {
            return;
        }
        if self.frames.iter().all(|frame| frame.is_done) {
            return self.end(true, out);
        }
        self.choose_crew();
        if self.current.is_none() || self.frames.iter().any(|frame| frame.attempt >= MAX_ATTEMPTS) {
            return self.end(false, out);
        }
        self.begin_frames(out);
        for frame in 0..self.frames.len() {
            self.offer_stages(frame, out);
        }
        let pauses = self.frames.iter().filter(|frame| frame.crew.is_some() && !frame.is_done);
        let pauses = pauses.map(|frame| frame.paused_until.0).filter(|until| *until > self.now.0);
        let first =
            self.out.values().map(|attempt| attempt.give_up_at.0).chain(pauses).fold(f64::INFINITY, f64::min);
        if first.is_finite() {
            out.push(Command::WakeAt(TimeMs(first.max(self.now.0 + 1.0))));
        }
    }

    fn end(&mut self, complete: bool, out: &mut Vec<Command>) {
        self.ended = true;
        for (task, attempt) in std::mem::take(&mut self.out) {
            out.push(Command::Cancel { task, peer: attempt.peer });
        }
        out.push(Command::Done { complete });
    }

    /// The best crew there is; the present one stays unless another is clearly better.
    fn choose_crew(&mut self) {
        let usable: Vec<StagePeer> =
            self.peers.values().filter(|(_, faults)| *faults < MAX_FAULTS).map(|(peer, _)| *peer).collect();
        let best = assign(&usable, self.needs_geometry);
        let stays = self.current.zip(best).is_some_and(|(current, best)| {
            let is_there = Stage::ALL
                .into_iter()
                .filter_map(|stage| current.crew.at(stage))
                .all(|peer| usable.iter().any(|usable| usable.peer == peer));
            is_there && best.pace_ms > current.pace_ms * (1.0 - MIN_GAIN)
        });
        if !stays {
            self.current = best;
        }
    }

    fn begin_frames(&mut self, out: &mut Vec<Command>) {
        let Some(Assignment { crew, .. }) = self.current else { return };
        let under_way = self.frames.iter().filter(|frame| frame.crew.is_some() && !frame.is_done).count();
        let is_waiting = |(index, frame): &(usize, &FrameState)| {
            (*index as u64) < u64::from(self.frames_below) && frame.crew.is_none() && !frame.is_done
        };
        let waiting = self.frames.iter().enumerate().filter(is_waiting).map(|(index, _)| index);
        let begun: Vec<usize> = waiting.take(FRAMES_IN_FLIGHT.saturating_sub(under_way)).collect();
        for frame in begun {
            if let Some(state) = self.frames.get_mut(frame) {
                state.crew = Some(crew);
            }
            self.offer(frame, Stage::Post, crew, out);
        }
    }

    /// Once the last stage awaits them, the others.
    fn offer_stages(&mut self, frame: usize, out: &mut Vec<Command>) {
        let Some(state) = self.frames.get(frame) else { return };
        let Some(crew) = state.crew.filter(|_| state.post_awaits && !state.is_done) else { return };
        for stage in [Stage::Geometry, Stage::Lighting] {
            let waits = self.frames.get(frame).is_some_and(|state| state.waits_for(stage, self.now));
            if waits && crew.at(stage).is_some_and(|peer| self.has_room(peer)) {
                self.offer(frame, stage, crew, out);
            }
        }
    }

    fn has_room(&self, peer: NodeId) -> bool {
        let held = self.out.values().filter(|held| held.peer == peer && held.stage != Stage::Post);
        held.count() < STAGES_AT_ONCE
    }

    fn offer(&mut self, frame: usize, stage: Stage, crew: Crew, out: &mut Vec<Command>) {
        let (Some(peer), Some(state)) = (crew.at(stage), self.frames.get_mut(frame)) else { return };
        let task = self.next_task;
        self.next_task = TaskId(task.0 + 1);
        state.stages[stage as usize] = StageState::Out(task);
        let attempt = state.attempt;
        // The last stage waits for the others, and those for their turn.
        let latency_ms = self.current.map_or(0.0, |current| current.latency_ms);
        let patience_ms = MIN_PATIENCE_MS + latency_ms * FRAMES_IN_FLIGHT as f64 * PATIENCE_FACTOR;
        let give_up_at = self.now + patience_ms;
        self.out.insert(task, Attempt { frame: frame as u32, stage, peer, give_up_at });
        out.push(Command::Offer { task, peer, frame: frame as u32, attempt, stage, crew });
    }

    fn accepted(&mut self, task: TaskId) {
        let Some(attempt) = self.out.get(&task).filter(|attempt| attempt.stage == Stage::Post) else {
            return;
        };
        if let Some(frame) = self.frames.get_mut(attempt.frame as usize) {
            frame.post_awaits = true;
        }
    }

    fn stage_done(&mut self, task: TaskId, execution_ms: f64, out: &mut Vec<Command>) {
        let Some(Attempt { frame, stage, peer, .. }) = self.out.remove(&task) else { return };
        if let Some((known, _)) = self.peers.get_mut(&peer)
            && execution_ms.is_finite()
            && execution_ms >= 0.0
        {
            let expected = &mut known.stage_ms[stage as usize];
            *expected += WEIGHT * (execution_ms - *expected);
        }
        let Some(state) = self.frames.get_mut(frame as usize) else { return };
        state.stages[stage as usize] = StageState::Done;
        if stage == Stage::Post {
            state.is_done = true;
            out.push(Command::FrameDone { frame, task });
        }
    }

    fn failed(&mut self, task: TaskId, fault: bool, out: &mut Vec<Command>) {
        let Some(Attempt { frame, stage, peer, .. }) = self.out.remove(&task) else { return };
        if let Some((_, faults)) = self.peers.get_mut(&peer) {
            *faults += u32::from(fault);
        }
        match self.frames.get_mut(frame as usize) {
            // It has other things to do first.
            Some(state) if !fault && stage != Stage::Post => {
                state.stages[stage as usize] = StageState::Waiting;
                state.paused_until = self.now + BUSY_PAUSE_MS;
            }
            _ => self.restart(frame, out),
        }
    }

    fn lose(&mut self, peer: NodeId, out: &mut Vec<Command>) {
        self.peers.remove(&peer);
        self.out.retain(|_, attempt| attempt.peer != peer);
        for frame in 0..self.frames.len() as u32 {
            let state = self.frames.get(frame as usize).filter(|state| !state.is_done);
            if state.is_some_and(|state| state.needs(peer)) {
                self.restart(frame, out);
            }
        }
    }

    /// Whoever holds a stage for longer than anybody should is as good as lost.
    fn give_up_late(&mut self, out: &mut Vec<Command>) {
        let late: Vec<(TaskId, NodeId)> = self
            .out
            .iter()
            .filter(|(_, attempt)| attempt.give_up_at <= self.now)
            .map(|(task, attempt)| (*task, attempt.peer))
            .collect();
        for (task, peer) in late {
            out.push(Command::Cancel { task, peer });
            self.failed(task, true, out);
        }
    }

    /// The frame is begun anew: what was handed over for it lies at a peer that may be gone.
    fn restart(&mut self, frame: u32, out: &mut Vec<Command>) {
        let Some(state) = self.frames.get_mut(frame as usize).filter(|state| !state.is_done) else { return };
        *state = FrameState { attempt: state.attempt + 1, ..FrameState::default() };
        self.restarts += 1;
        let held: Vec<TaskId> =
            self.out.iter().filter(|(_, attempt)| attempt.frame == frame).map(|(task, _)| *task).collect();
        for task in held {
            if let Some(attempt) = self.out.remove(&task) {
                out.push(Command::Cancel { task, peer: attempt.peer });
            }
        }
    }
}

#[cfg(test)]
mod tests;
