//! What came of a coordinator's frames: times, failures, how well its machines were used.

use serde::Serialize;

use crate::report::FrameReport;

/// A task that was done.
#[derive(Debug, Clone, Copy)]
pub struct Task {
    /// What it was expected to take, ms; 0 by whoever expects nothing.
    pub predicted_ms: f64,
    /// From its offer to its result, ms.
    pub actual_ms: f64,
}

/// The frames of one coordinator.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Time of each frame, ms.
    pub frames_ms: Vec<f64>,
    /// Its tasks, in the order of the frames.
    pub tasks: Vec<Task>,
    /// After so many tasks, so many attempts had been made and had failed, and so many failures had been seen.
    pub failures: Vec<Failures>,
    busy_ms: f64,
    machines: usize,
    /// The last picture's report.
    pub last: Option<FrameReport>,
}

/// Of one frame.
#[derive(Debug, Clone, Copy, Default)]
pub struct Failures {
    /// Tasks.
    pub tasks: usize,
    /// Attempts at them.
    pub attempts: u32,
    /// Of these, those that came to nothing.
    pub failed: u32,
    /// Of these, those that left their task with nobody at work on it.
    pub visible: u32,
}

/// The figures.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Figures {
    /// Frames.
    pub frames: usize,
    /// Time of a frame, mean, ms.
    pub latency_ms: f64,
    /// Its 95 % quantile, ms.
    pub latency_p95_ms: f64,
    /// Share of the attempts that came to nothing.
    pub failed_share: f64,
    /// Failures that left a task with nobody at work on it, as a share of the tasks.
    pub visible_failure_share: f64,
    /// One frame after the other.
    pub frames_per_s: f64,
    /// Share of the time that the machines rendered what is in the pictures.
    pub utilisation: f64,
}

impl Tally {
    /// Of so many machines.
    pub fn of(machines: usize) -> Self {
        Self { machines, ..Self::default() }
    }

    /// Adds a frame.
    pub fn add(&mut self, report: FrameReport) {
        self.frames_ms.push(report.frame_ms);
        let done = report.tiles.iter().filter_map(|tile| {
            tile.actual_ms.map(|actual_ms| Task { predicted_ms: tile.predicted_ms, actual_ms })
        });
        self.tasks.extend(done);
        self.failures.push(Failures {
            tasks: report.tiles.len(),
            attempts: report.tiles.iter().map(|tile| tile.attempts).sum(),
            failed: report.failures.attempts,
            visible: report.failures.visible,
        });
        self.busy_ms += report.peers.iter().map(|peer| peer.busy_ms).sum::<f64>();
        self.last = Some(report);
    }

    /// The figures so far.
    pub fn figures(&self) -> Figures {
        let total_ms: f64 = self.frames_ms.iter().sum();
        let frames = self.frames_ms.len();
        let mut sorted = self.frames_ms.clone();
        sorted.sort_by(f64::total_cmp);
        let p95 = ((frames as f64 * 0.95).ceil() as usize).saturating_sub(1);
        let sum = |of: fn(&Failures) -> f64| self.failures.iter().map(of).sum::<f64>();
        Figures {
            frames,
            latency_ms: total_ms / frames.max(1) as f64,
            latency_p95_ms: sorted.get(p95).copied().unwrap_or(0.0),
            failed_share: sum(|frame| f64::from(frame.failed))
                / sum(|frame| f64::from(frame.attempts)).max(1.0),
            visible_failure_share: sum(|frame| f64::from(frame.visible))
                / sum(|frame| frame.tasks as f64).max(1.0),
            frames_per_s: frames as f64 / (total_ms / 1e3).max(1e-9),
            utilisation: self.busy_ms / (total_ms * self.machines.max(1) as f64).max(1e-9),
        }
    }

    /// Mean time of the tasks in a range of their numbers, ms, and the failures of the frames that they are of.
    pub fn phase(&self, from: usize, to: usize) -> Option<Phase> {
        let tasks = self.tasks.get(from..to.min(self.tasks.len()))?;
        if tasks.is_empty() {
            return None;
        }
        let (mut before, mut failures) = (0, Failures::default());
        for frame in &self.failures {
            if before < to && before + frame.tasks > from {
                failures.tasks += frame.tasks;
                failures.attempts += frame.attempts;
                failures.failed += frame.failed;
                failures.visible += frame.visible;
            }
            before += frame.tasks;
        }
        let mut errors: Vec<f64> = tasks
            .iter()
            .filter(|task| task.predicted_ms > 0.0)
            .map(|task| (task.predicted_ms - task.actual_ms).abs() / task.actual_ms.max(1e-9))
            .collect();
        errors.sort_by(f64::total_cmp);
        Some(Phase {
            tasks: tasks.len(),
            mean_ms: tasks.iter().map(|task| task.actual_ms).sum::<f64>() / tasks.len() as f64,
            prediction_error: errors.get(errors.len() / 2).copied(),
            failed_share: f64::from(failures.failed) / f64::from(failures.attempts.max(1)),
            visible_share: f64::from(failures.visible) / failures.tasks.max(1) as f64,
        })
    }
}

/// Tasks that follow each other.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Phase {
    /// How many.
    pub tasks: usize,
    /// Their mean time, ms.
    pub mean_ms: f64,
    /// Median of the error of their predictions, as a share of their times; of whoever predicts.
    pub prediction_error: Option<f64>,
    /// Share of the attempts that came to nothing.
    pub failed_share: f64,
    /// Failures that left a task with nobody at work on it, as a share of the tasks.
    pub visible_share: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_of_the_tasks_between_two_numbers() {
        let mut tally = Tally::of(2);
        for index in 0..30_u32 {
            let actual_ms = if index < 20 { 100.0 } else { 50.0 };
            tally.tasks.push(Task { predicted_ms: 50.0, actual_ms });
        }
        let frame = |failed| Failures { tasks: 10, attempts: 12, failed, visible: failed / 2 };
        tally.failures = vec![frame(2), frame(2), frame(0)];
        let (first, last) = (tally.phase(0, 20).unwrap(), tally.phase(20, 100).unwrap());
        assert_eq!((first.tasks, first.mean_ms, last.tasks, last.mean_ms), (20, 100.0, 10, 50.0));
        assert_eq!((first.prediction_error, last.prediction_error), (Some(0.5), Some(0.0)));
        assert!(first.failed_share > 0.16 && last.failed_share.abs() < 1e-9);
        assert!(tally.phase(50, 60).is_none());
    }
}
