//! The decisions of a log, made again.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use p2c2r_protocol::id::{NodeId, WorkKind};

use super::{Entry, FrameStart, file::LogError};
use crate::{
    FramePlan, PeerView, Prediction, Scheduler, SchedulerConfig, TaskFeatures,
    frame::{Command, Event, Frame, FrameConfig, Outbox},
    predict::{LearnedSpeed, Outcome, Predictor},
    time::TimeMs,
};

/// More than any node plans with.
const MAX_TILES_PER_PEER: usize = 1024;
const MAX_TILES: usize = 1 << 20;

/// How much was made again, to the bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Replayed {
    /// Frames planned.
    pub frames: usize,
    /// Events reacted to.
    pub decisions: usize,
    /// Commands that followed.
    pub commands: usize,
}

/// Why a log was not made again to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// It could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// An entry is about a frame that none before it planned.
    #[error("entry {entry} is about a frame that was not planned, or has ended")]
    UnknownFrame {
        /// Which, from 1.
        entry: usize,
    },
    /// An entry's numbers are none that a scheduler plans with.
    #[error("entry {entry} has a configuration that no node has")]
    Config {
        /// Which, from 1.
        entry: usize,
    },
    /// This version of the scheduler decides otherwise.
    #[error("entry {entry}: {event} leads to something else now\n  then: {then}\n  now:  {now}")]
    Otherwise {
        /// Which, from 1.
        entry: usize,
        /// What was to be decided on.
        event: String,
        /// What was decided.
        then: String,
        /// What is decided now.
        now: String,
    },
}

/// Whether planning with these can be done in finite time and numbers.
fn is_sane(start: &FrameStart, config: &SchedulerConfig) -> bool {
    let FrameConfig { min_backoff_ms, max_backoff_ms, .. } = start.config;
    config.tiles_per_peer <= MAX_TILES_PER_PEER
        && config.max_tiles <= MAX_TILES
        && start.first_task.0 <= u64::MAX / 2
        && min_backoff_ms.is_finite()
        && max_backoff_ms.is_finite()
        && start.work.max_tile_pixels > 0
}

/// Makes every decision again and compares, up to the first difference. What the models said is given in the order in which
/// it was said: whether they were asked the same questions is not known.
pub fn replay(entries: impl Iterator<Item = Result<Entry, LogError>>) -> Result<Replayed, ReplayError> {
    let mut frames = BTreeMap::new();
    let mut replayed = Replayed::default();
    for (entry, number) in entries.zip(1..) {
        match entry? {
            Entry::Planned { start, scheduler, said, plan, crew } => {
                replayed.frames += 1;
                if !is_sane(&start, &scheduler) {
                    return Err(ReplayError::Config { entry: number });
                }
                let (stage, now) = Stage::planned(&start, scheduler, said, crew.as_deref());
                compare(&plan, &now, stage.script.is_spoken(), &"the plan", number)?;
                frames.insert(start.first_task, stage);
            }
            Entry::Decided { frame, now, event, said, commands } => {
                replayed.decisions += 1;
                replayed.commands += commands.len();
                let stage = frames.get_mut(&frame).ok_or(ReplayError::UnknownFrame { entry: number })?;
                stage.decide(now, event, said, &commands, number)?;
                if matches!(commands.last(), Some(Command::Done(_))) {
                    frames.remove(&frame);
                }
            }
        }
    }
    Ok(replayed)
}

/// A frame that goes through the same again.
struct Stage {
    frame: Frame,
    scheduler: Scheduler,
    script: Script,
}

impl Stage {
    fn planned(
        start: &FrameStart,
        config: SchedulerConfig,
        said: Vec<Prediction>,
        crew: Option<&[NodeId]>,
    ) -> (Self, FramePlan) {
        let script = Script::default();
        script.set(said);
        let scheduler = Scheduler::with_predictor(Box::new(script.clone()), config);
        let plan = start.plan(&scheduler);
        (Self { frame: start.frame(plan.clone(), crew), scheduler, script }, plan)
    }

    fn decide(
        &mut self,
        now: TimeMs,
        event: Event,
        said: Vec<Prediction>,
        then: &Vec<Command>,
        entry: usize,
    ) -> Result<(), ReplayError> {
        self.script.set(said);
        let mut outbox = Outbox::default();
        self.frame.handle(now, event, &mut self.scheduler, &mut outbox);
        let commands: Vec<Command> = std::iter::from_fn(|| outbox.pop()).collect();
        compare(then, &commands, self.script.is_spoken(), &event, entry)
    }
}

/// By their text: what is no number is unequal to itself, but looks the same.
fn compare(
    then: &impl fmt::Debug,
    now: &impl fmt::Debug,
    all_said: bool,
    event: &dyn fmt::Debug,
    entry: usize,
) -> Result<(), ReplayError> {
    let (then, mut now) = (format!("{then:?}"), format!("{now:?}"));
    if then == now && all_said {
        return Ok(());
    }
    if !all_said {
        now += " (and the models are asked other things)";
    }
    Err(ReplayError::Otherwise { entry, event: format!("{event:?}"), then, now })
}

/// Says what the models said.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    left: VecDeque<Prediction>,
    /// More was asked than there are lines.
    too_few: bool,
}

impl Script {
    fn set(&self, lines: Vec<Prediction>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Lines { left: lines.into(), too_few: false };
    }

    fn is_spoken(&self) -> bool {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.left.is_empty() && !lines.too_few
    }
}

impl Predictor for Script {
    fn predict(&self, _: &PeerView, _: WorkKind, _: &TaskFeatures) -> Prediction {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.left.pop_front().unwrap_or_else(|| {
            lines.too_few = true;
            Prediction::with_spread(1.0, 0.0, 0.0, 0.0, 0.0)
        })
    }

    fn observe(&mut self, _: &Outcome) {}

    fn speed(&self, _: &NodeId, _: WorkKind) -> Option<LearnedSpeed> {
        None
    }
}
