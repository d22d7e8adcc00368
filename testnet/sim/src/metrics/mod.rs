//! What is measured in a run, and what it comes to.

pub mod calibration;
pub mod stats;
mod summary;

pub use self::summary::{Learning, PredictionQuality, Summary};
use crate::{
    sim::{
        desk::Ending,
        state::{Peer, Run, Task},
    },
    world::TaskFate,
};

/// A frame that has ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameRecord {
    /// Whether it is measured, as against the warm-up.
    pub measured: bool,
    /// From the time at which it was due to its end, ms.
    pub time_ms: f64,
    /// The bound, ms.
    pub bound_ms: f64,
    /// When it ended, ms.
    pub ended_ms: f64,
    /// How.
    pub ending: Ending,
    /// Whether its time was over before it ended.
    pub missed: bool,
    /// Tiles that were offered.
    pub tiles: u32,
    /// Tiles of which at some time no live copy was left.
    pub exposed: u32,
}

/// A task that was delivered, beside what was expected of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimeRecord {
    /// From offer to result, ms.
    pub total_ms: f64,
    /// And as predicted, ms.
    pub predicted_total_ms: f64,
    /// The interval in which it lies with 95 %, as predicted, ms.
    pub interval_ms: Option<(f64, f64)>,
}

/// A task that was begun, beside the risk that was expected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FateRecord {
    /// As predicted.
    pub risk: f64,
    /// As it truly was.
    pub probability: f64,
    /// Whether it failed.
    pub failed: bool,
}

/// Collects what happens.
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    /// Frames in the order of their ends.
    pub frames: Vec<FrameRecord>,
    /// Measured tasks in the order of their results.
    pub times: Vec<TimeRecord>,
    /// Measured tasks in the order of their beginnings.
    pub fates: Vec<FateRecord>,
    /// Times of all delivered tasks from the very first on, ms.
    pub task_times_ms: Vec<f32>,
    /// Measured frames that were never begun: too late.
    pub dropped: u32,
    /// Attempts of measured frames.
    pub attempts: u64,
    /// Of these, those that truly failed at their peer or were lost with it.
    pub failed: u64,
    /// Copies of tiles that were out already.
    pub copies: u64,
    /// Time that slots worked in the measured time, ms.
    pub busy_ms: f64,
    /// Of it, on what failed or was lost, ms.
    pub failed_ms: f64,
    /// Of it, on results that got into a film.
    pub useful_ms: f64,
    /// Time that slots were there in the measured time, ms.
    pub slot_ms: f64,
    /// Results that nobody wanted any more.
    pub late_results: u64,
    /// Forged results that were found out.
    pub forgeries_caught: u64,
    /// Forged results in a film.
    pub forgeries_accepted: u64,
    /// Peers that are not believed any more.
    pub distrusted: u32,
    /// When measuring began, ms.
    pub from_ms: Option<f64>,
    /// When the simulation ended, ms.
    pub until_ms: f64,
}

impl Recorder {
    /// Measuring begins, if it has not begun.
    pub(crate) fn measure_from(&mut self, now_ms: f64) {
        self.from_ms.get_or_insert(now_ms);
    }

    pub(crate) fn offered(&mut self, task: &Task, extra: bool) {
        if !task.measured {
            return;
        }
        self.attempts += 1;
        self.copies += u64::from(extra);
    }

    pub(crate) fn fate(&mut self, task: &Task, fate: &TaskFate) {
        if let Some(forecast) = task.forecast {
            self.fates.push(FateRecord {
                risk: forecast.failure_risk,
                probability: fate.failure_probability,
                failed: fate.fails,
            });
        }
    }

    pub(crate) fn attempt_failed(&mut self, measured: bool) {
        self.failed += u64::from(measured);
    }

    /// An execution is over, however it ended.
    pub(crate) fn worked(&mut self, task: &Task, now_ms: f64, failed: bool) {
        if let Some(from_ms) = self.from_ms {
            let worked_ms = (now_ms - task.started_ms.max(from_ms)).max(0.0);
            self.busy_ms += worked_ms;
            if failed {
                self.failed_ms += worked_ms;
            }
        }
    }

    pub(crate) fn delivered(&mut self, task: &Task, now_ms: f64) {
        let total_ms = now_ms - task.offered_ms;
        self.task_times_ms.push(total_ms as f32);
        if let (Some(forecast), true, false) = (task.forecast, task.measured, task.forged) {
            self.times.push(TimeRecord {
                total_ms,
                predicted_total_ms: forecast.total_ms,
                interval_ms: forecast.interval_ms,
            });
        }
    }

    pub(crate) fn accepted(&mut self, task: &Task, now_ms: f64) {
        if let Some(from_ms) = self.from_ms {
            let ended_ms = task.started_ms + task.execution_ms;
            self.useful_ms += (ended_ms.min(now_ms) - task.started_ms.max(from_ms)).max(0.0);
        }
        self.forgeries_accepted += u64::from(task.forged);
    }

    pub(crate) fn late_result(&mut self, measured: bool) {
        self.late_results += u64::from(measured);
    }

    pub(crate) fn forgery_caught(&mut self) {
        self.forgeries_caught += 1;
    }

    pub(crate) fn distrusted(&mut self) {
        self.distrusted += 1;
    }

    pub(crate) fn frame_dropped(&mut self, measured: bool) {
        self.dropped += u32::from(measured);
    }

    pub(crate) fn frame_done(&mut self, run: &Run, now_ms: f64, ending: Ending, deadline_ms: f64) {
        let time_ms = now_ms - run.due_ms;
        self.frames.push(FrameRecord {
            measured: run.measured,
            time_ms,
            bound_ms: run.bound_ms,
            ended_ms: now_ms,
            ending,
            missed: deadline_ms > 0.0 && (ending != Ending::Complete || time_ms > deadline_ms),
            tiles: run.tiles.len() as u32,
            exposed: run.exposed.len() as u32,
        });
    }

    /// A peer goes: its slots were there until now.
    pub(crate) fn presence(&mut self, peer: &Peer, now_ms: f64) {
        if let Some(from_ms) = self.from_ms {
            let there_ms = (now_ms - peer.present_since_ms.max(from_ms)).max(0.0);
            self.slot_ms += there_ms * f64::from(peer.nature.spec.slots);
        }
    }

    /// The simulation is over.
    pub(crate) fn end(&mut self, now_ms: f64, peers: &[Peer]) {
        self.until_ms = now_ms;
        for peer in peers.iter().filter(|peer| peer.present) {
            self.presence(peer, now_ms);
        }
    }
}
