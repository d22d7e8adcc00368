//! What a run comes to.

use serde::Serialize;

use super::{
    FrameRecord, Recorder,
    calibration::{brier, calibration_error, coverage, median_absolute_share},
    stats::{mean, quantiles},
};
use crate::sim::desk::Ending;

/// The first ones, and those after so many, are compared.
const FIRST: usize = 20;
const AFTER: [usize; 2] = [50, 100];

/// What a policy did in one run. Times in ms, shares 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Frames measured.
    pub frames: usize,
    /// Mean time of a frame that ended.
    pub mean_ms: f64,
    /// Half of the frames took no longer.
    pub p50_ms: f64,
    /// 95 % took no longer.
    pub p95_ms: f64,
    /// 99 % took no longer.
    pub p99_ms: f64,
    /// Mean of the bounds.
    pub bound_ms: f64,
    /// Mean time over mean bound.
    pub ratio: f64,
    /// Complete frames per second of virtual time.
    pub frames_per_s: f64,
    /// Share of the peers' time in which they worked.
    pub utilisation: f64,
    /// Share of the peers' time in which they worked on what was used.
    pub useful_utilisation: f64,
    /// Offers.
    pub attempts: u64,
    /// Share of the offers that truly failed at their peers.
    pub failed_share: f64,
    /// Share of the tiles of which at some time no live copy was left.
    pub visible_failure_share: f64,
    /// Frames of which nothing was rendered, or that were never begun.
    pub frames_failed: usize,
    /// Frames with missing pixels.
    pub frames_partial: usize,
    /// Frames that were not complete at their deadline.
    pub deadline_misses: usize,
    /// Time worked on copies that were not needed, as a share of the time worked on what was used.
    pub extra_share: f64,
    /// Copies of tiles that were out already.
    pub copies: u64,
    /// Results that nobody wanted any more.
    pub late_results: u64,
    /// Forged results that were found out.
    pub forgeries_caught: u64,
    /// Forged results in a picture.
    pub forgeries_accepted: u64,
    /// Peers not believed any more at the end.
    pub distrusted: u32,
    /// How good predictions were; none by policies that predict nothing.
    pub prediction: Option<PredictionQuality>,
    /// Mean time of frames, first against later.
    pub frame_learning: Learning,
    /// Mean time of tasks, first against later.
    pub task_learning: Learning,
}

/// How good predictions were.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PredictionQuality {
    /// Median absolute error as a share of the time from offer to result.
    pub median_absolute_share: f64,
    /// Share of the times from offer to result within the nominal 95 % interval.
    pub coverage: Option<f64>,
    /// In the worst twentieth of the windows of 50 tasks.
    pub worst_coverage: Option<f64>,
    /// Mean squared error of the failure risk.
    pub brier: f64,
    /// That of the true probability.
    pub true_brier: f64,
    /// Expected calibration error of the failure risk.
    pub calibration_error: f64,
}

/// Mean times of the first and of later ones, warm-up included, ms. A task is a tile at a peer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Learning {
    /// Of the first 20.
    pub first_20_ms: f64,
    /// Of all after the first 50.
    pub after_50_ms: f64,
    /// Of all after the first 100.
    pub after_100_ms: f64,
}

impl Learning {
    fn of(times_ms: &[f64]) -> Self {
        let from = |index: usize| mean(times_ms.get(index..).unwrap_or_default());
        let [after_50, after_100] = AFTER;
        Self {
            first_20_ms: mean(times_ms.get(..FIRST.min(times_ms.len())).unwrap_or_default()),
            after_50_ms: from(after_50),
            after_100_ms: from(after_100),
        }
    }
}

impl Summary {
    /// Of a run.
    pub fn of(recorder: &Recorder) -> Self {
        let measured: Vec<&FrameRecord> = recorder.frames.iter().filter(|frame| frame.measured).collect();
        let ended: Vec<&FrameRecord> =
            measured.iter().filter(|frame| frame.ending != Ending::Aborted).copied().collect();
        let times: Vec<f64> = ended.iter().map(|frame| frame.time_ms).collect();
        let bounds: Vec<f64> = ended.iter().map(|frame| frame.bound_ms).collect();
        let [p50_ms, p95_ms, p99_ms] = quantiles(&times, [0.5, 0.95, 0.99]);
        let (mean_ms, bound_ms) = (mean(&times), mean(&bounds));
        let elapsed_s = recorder.from_ms.map_or(0.0, |from_ms| (recorder.until_ms - from_ms) / 1e3);
        let count = |ending| measured.iter().filter(|frame| frame.ending == ending).count();
        let sum =
            |of: fn(&FrameRecord) -> u32| measured.iter().map(|frame| f64::from(of(frame))).sum::<f64>();
        let frame_times: Vec<f64> = recorder.frames.iter().map(|frame| frame.time_ms).collect();
        let task_times: Vec<f64> = recorder.task_times_ms.iter().map(|time| f64::from(*time)).collect();
        let dropped = recorder.dropped as usize;
        Self {
            frames: measured.len() + dropped,
            mean_ms,
            p50_ms,
            p95_ms,
            p99_ms,
            bound_ms,
            ratio: share(mean_ms, bound_ms),
            frames_per_s: share(count(Ending::Complete) as f64, elapsed_s),
            utilisation: share(recorder.busy_ms, recorder.slot_ms),
            useful_utilisation: share(recorder.useful_ms, recorder.slot_ms),
            attempts: recorder.attempts,
            failed_share: share(recorder.failed as f64, recorder.attempts as f64),
            visible_failure_share: share(sum(|frame| frame.exposed), sum(|frame| frame.tiles)),
            frames_failed: count(Ending::Aborted) + dropped,
            frames_partial: count(Ending::Partial),
            deadline_misses: measured.iter().filter(|frame| frame.missed).count() + dropped,
            extra_share: share(
                recorder.busy_ms - recorder.useful_ms - recorder.failed_ms,
                recorder.useful_ms,
            )
            .max(0.0),
            copies: recorder.copies,
            late_results: recorder.late_results,
            forgeries_caught: recorder.forgeries_caught,
            forgeries_accepted: recorder.forgeries_accepted,
            distrusted: recorder.distrusted,
            prediction: prediction(recorder),
            frame_learning: Learning::of(&frame_times),
            task_learning: Learning::of(&task_times),
        }
    }
}

fn prediction(recorder: &Recorder) -> Option<PredictionQuality> {
    let (brier, true_brier) = brier(&recorder.fates)?;
    let coverage = coverage(&recorder.times);
    Some(PredictionQuality {
        median_absolute_share: median_absolute_share(&recorder.times)?,
        coverage: coverage.map(|(all, _)| all),
        worst_coverage: coverage.map(|(_, worst)| worst),
        brier,
        true_brier,
        calibration_error: calibration_error(&recorder.fates)?,
    })
}

/// A quotient; 0 by nothing.
fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}
