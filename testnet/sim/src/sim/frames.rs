//! Frames: when they are due, when they begin, what happens before them.

use std::collections::{BTreeMap, BTreeSet};

use p2c2r_protocol::{id::WorkKind, tile::FrameSize};
use p2c2r_scheduler::{
    bound::{Capacity, smallest_time_ms},
    time::TimeMs,
    work::FrameWork,
};

use super::{Simulation, desk::RunId, queue::What, state::Run};
use crate::random::Purpose;

/// After a frame that could not be rendered at all the next one waits this long, ms.
const FAILED_PAUSE_MS: f64 = 100.0;
/// Frames that may wait; the oldest are dropped.
const MAX_WAITING: usize = 64;

impl Simulation<'_> {
    pub(super) fn frame_due(&mut self) {
        if self.is_last_begun() {
            return;
        }
        if self.faults_end_ms().is_some_and(|end_ms| self.now_ms >= end_ms) {
            self.frames_after_faults += 1;
        }
        self.waiting.push_back((self.next_frame, self.now_ms));
        self.next_frame += 1;
        let interval_ms = self.setup.scenario.work.frame_interval_ms;
        if interval_ms > 0.0 {
            self.queue.push(self.now_ms + interval_ms, What::FrameDue);
        }
        self.begin_waiting();
    }

    /// A frame has ended.
    pub(super) fn frame_over(&mut self, rendered: bool) {
        if self.setup.scenario.work.frame_interval_ms > 0.0 {
            // Not from within the coordinator's reaction to the end of the last one.
            self.queue.push(self.now_ms, What::Begin);
        } else {
            let pause_ms = if rendered { 0.0 } else { FAILED_PAUSE_MS };
            self.queue.push(self.now_ms + pause_ms, What::FrameDue);
        }
    }

    /// Begins frames that wait, as many as may be in flight.
    pub(super) fn begin_waiting(&mut self) {
        let deadline_ms = self.setup.scenario.work.deadline_ms;
        while self.runs.len() < self.depth() {
            let Some((frame, due_ms)) = self.waiting.pop_front() else { return };
            let hopeless = deadline_ms > 0.0 && self.now_ms - due_ms >= deadline_ms;
            if hopeless || self.waiting.len() > MAX_WAITING {
                let measured = frame >= self.setup.scenario.work.warm_up;
                self.recorder.frame_dropped(measured);
                continue;
            }
            self.begin_frame(frame, due_ms);
        }
    }

    fn begin_frame(&mut self, frame: u32, due_ms: f64) {
        let warm_up = self.setup.scenario.work.warm_up;
        let measured = frame >= warm_up;
        if measured {
            self.let_things_happen(frame - warm_up);
            self.recorder.measure_from(self.now_ms);
        }
        let kind = self.kind_of(frame);
        let sigma = self.setup.scenario.work.estimate_error.frame;
        // On average the estimate is right.
        let cost_factor = self.dice(Purpose::FrameCost, &[u64::from(frame)]).lognormal(sigma)
            * (-sigma * sigma / 2.0).exp();
        self.start_run(Run {
            frame,
            due_ms,
            started_ms: self.now_ms,
            kind,
            cost_factor,
            bound_ms: self.bound_ms(kind, cost_factor),
            wake_at_ms: None,
            executions: BTreeMap::new(),
            tiles: BTreeSet::new(),
            film: BTreeMap::new(),
            exposed: BTreeSet::new(),
            measured,
        });
    }

    pub(super) fn start_run(&mut self, run: Run) {
        let id = RunId(self.next_run);
        self.next_run += 1;
        let Ok(size) =
            FrameSize::new(self.setup.scenario.work.size_px[0], self.setup.scenario.work.size_px[1])
        else {
            return;
        };
        let deadline_ms = self.setup.scenario.work.deadline_ms;
        let deadline = (deadline_ms > 0.0).then_some(TimeMs(run.due_ms + deadline_ms));
        let pixels = size.pixels().max(1) as f64;
        let work = FrameWork {
            kind: run.kind,
            size,
            samples: 1,
            bytes_per_pixel: (self.setup.scenario.work.frame_bytes as f64 / pixels) as f32,
            max_tile_pixels: u64::MAX,
            deadline,
        };
        self.runs.insert(id, run);
        if let Some(deadline) = deadline {
            self.queue.push(deadline.0.max(self.now_ms), What::Deadline(id));
        }
        self.with_desk(|coordinator, desk| coordinator.start(id, &work, desk));
        let mut news = std::collections::VecDeque::new();
        self.carry_out(&mut news);
        for news in news {
            self.news(news);
        }
    }

    /// What happens to peers before a measured frame.
    fn let_things_happen(&mut self, number: u32) {
        while let Some((at_frame, index, event)) = self.peer_events.front().copied() {
            if at_frame > number {
                return;
            }
            self.peer_events.pop_front();
            if event.leave {
                self.peer_leaves(index, true);
            } else if event.join {
                self.peer_joins(index);
            } else if let (Some(factor), Some(peer)) = (event.speed_factor, self.peers.get_mut(index)) {
                peer.nature.speed_factor = factor;
                self.coordinator.truth(index, factor);
            }
        }
    }

    fn kind_of(&self, frame: u32) -> WorkKind {
        let kinds = &self.setup.scenario.work.kinds;
        let mut left = self.dice(Purpose::Kind, &[u64::from(frame)]).uniform() * kinds.values().sum::<f64>();
        for (kind, share) in kinds {
            left -= share;
            if left < 0.0 {
                return *kind;
            }
        }
        kinds.keys().next_back().copied().unwrap_or(WorkKind::RayTracing)
    }

    /// The least time in which the peers that are there could do a frame: no noise, no failures, work divisible at will.
    fn bound_ms(&self, kind: WorkKind, cost_factor: f64) -> f64 {
        let work = &self.setup.scenario.work;
        let work_ms = work.work_ms * cost_factor;
        let capacities: Vec<Capacity> = self
            .peers
            .iter()
            .filter(|peer| peer.present)
            .map(|peer| {
                // Results must come out as fast as they are made.
                let out = peer.nature.bytes_per_ms() / work.frame_bytes.max(1) as f64 * work_ms;
                let overhead_ms = peer.nature.round_trip_ms(self.setup.scenario.start, self.now_ms);
                Capacity { speed: peer.nature.mean_speed(kind).min(out), overhead_ms }
            })
            .collect();
        smallest_time_ms(&capacities, work_ms).unwrap_or(0.0)
    }
}
