//! An owner's game at a peer: its level, what it has sent, and how its steps are done.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Weak},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use p2c2r_game::{
    executor::{Executor, snapshot_len},
    level::Level,
    snapshot::Snapshot,
};
use p2c2r_protocol::{
    id::WorkKind,
    step::{LevelSpec, STEP_SNAPSHOTS, StepReply, StepRequest, StepStatement, output_hash},
    task::RejectReason,
};
use tracing::warn;

use super::{StepTools, worker::StepJob};
use crate::processor_time::{Processor, Stopwatch};

/// Weight of the newest of the times that a kind of step took.
const TIME_WEIGHT: f64 = 0.2;
/// A throttled step is not stretched beyond that.
const MAX_LINGER: Duration = Duration::from_secs(2);

/// An owner's level here, and what it has sent.
pub struct Session {
    executor: Executor,
    level: LevelSpec,
    /// Whether its stream is open.
    alive: Weak<()>,
    snapshots: BTreeMap<WorkKind, VecDeque<(u64, Arc<Snapshot>)>>,
    /// Mean time of a frame of each kind, ms.
    time_ms: BTreeMap<WorkKind, f64>,
    /// When it was served last, by number.
    pub served: u64,
}

impl Session {
    /// Opens a level for as long as its stream is.
    pub fn open(level: LevelSpec, alive: Weak<()>, served: u64) -> Self {
        let executor = Executor::new(Arc::new(Level::new(level)));
        Self { executor, level, alive, snapshots: BTreeMap::new(), time_ms: BTreeMap::new(), served }
    }

    /// Whether its stream is open.
    pub fn is_alive(&self) -> bool {
        self.alive.strong_count() > 0
    }

    /// Does a step: the signed reply, and its output.
    pub fn step(&mut self, job: &StepJob, tools: &StepTools) -> Result<(StepReply, Bytes), RejectReason> {
        let StepRequest { id, kind, tick, ticks, .. } = job.request;
        self.executor.make_ready(kind);
        let watch = Stopwatch::start(Processor::Thread);
        let began = watch.began();
        self.check_time(job, began)?;
        let snapshot = self.snapshot(job)?;
        let output = self.executor.run(kind, tick, ticks, &snapshot).map_err(|error| {
            warn!(kind = kind.name(), %error, "a step failed");
            RejectReason::Internal
        })?;
        linger(&watch, tools.throttle);
        let execution = began.elapsed();
        self.note_time(kind, execution.as_secs_f64() * 1e3 / f64::from(ticks.max(1)));
        let us = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        let statement = StepStatement {
            kind,
            tick,
            ticks,
            snapshot: job.request.snapshot,
            output: output_hash(&output),
            queue_us: us(began.saturating_duration_since(job.arrived)),
            execution_us: us(execution),
        };
        let (statement, signature) = statement.seal(&tools.key).map_err(|_| RejectReason::Internal)?;
        Ok((StepReply::Done { id, statement, signature: signature.0.to_vec() }, output.into()))
    }

    /// Whether it can be done in time, as far as is known.
    fn check_time(&mut self, job: &StepJob, now: Instant) -> Result<(), RejectReason> {
        if now > job.due() {
            return Err(RejectReason::Busy);
        }
        if let Some(frame_ms) = self.time_ms.get_mut(&job.request.kind) {
            let expected = Duration::from_secs_f64(*frame_ms * f64::from(job.request.ticks) / 1e3);
            if now + expected > job.due() {
                // Whoever refuses learns nothing: a time that was an exception must not stand for ever.
                *frame_ms *= 1.0 - TIME_WEIGHT;
                return Err(RejectReason::Busy);
            }
        }
        Ok(())
    }

    /// The step's snapshot, kept for those that build upon it.
    fn snapshot(&mut self, job: &StepJob) -> Result<Arc<Snapshot>, RejectReason> {
        let StepRequest { id, kind, base, snapshot: named, .. } = job.request;
        let known = self.snapshots.entry(kind).or_default();
        let base = match base {
            None => None,
            Some(base) => {
                let found = known.iter().find(|(id, _)| *id == base);
                Some(Arc::clone(&found.ok_or(RejectReason::SceneUnknown)?.1))
            }
        };
        let length = snapshot_len(&self.level, kind).ok_or(RejectReason::UnsupportedKind)?;
        let snapshot =
            Snapshot::from_delta(&job.payload, base.as_deref(), length).map_err(|_| RejectReason::Invalid)?;
        if snapshot.hash() != named {
            return Err(RejectReason::SceneUnknown);
        }
        let snapshot = Arc::new(snapshot);
        known.push_back((id, Arc::clone(&snapshot)));
        while known.len() > STEP_SNAPSHOTS {
            known.pop_front();
        }
        Ok(snapshot)
    }

    fn note_time(&mut self, kind: WorkKind, frame_ms: f64) {
        let mean_ms = self.time_ms.entry(kind).or_insert(frame_ms);
        *mean_ms += (frame_ms - *mean_ms) * TIME_WEIGHT;
    }
}

/// A throttled node is not done before its factor times the time that it was busy.
fn linger(watch: &Stopwatch, throttle: f32) {
    if throttle > 1.0 {
        thread::sleep(watch.done_at(throttle).saturating_duration_since(Instant::now()).min(MAX_LINGER));
    }
}
