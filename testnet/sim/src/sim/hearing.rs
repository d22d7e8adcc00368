//! The coordinator's side: what it hears, and what it notes of it. As in the node, nobody may speak for a task that is
//! not out any more.

use p2c2r_protocol::id::TaskId;

use super::{
    MRAYS_PER_S, Simulation,
    desk::News,
    queue::{Said, Session},
    state::{CREDIT, Phase},
};
use crate::random::Purpose;

/// Weight of the newest round trip, and of the newest deviation from it (RFC 6298).
const ROUND_TRIP_WEIGHT: f32 = 0.125;
const JITTER_WEIGHT: f32 = 0.25;
/// Weight of the newest bandwidth.
const BANDWIDTH_WEIGHT: f32 = 0.2;
/// Results that are smaller say nothing about the bandwidth, bytes.
const MIN_MEASURED_BYTES: f64 = 4096.0;
/// A busy peer asks for this long, ms.
const BUSY_RETRY_MS: u32 = 50;
/// Pixels of a tile that are rendered anew when it is probed.
const PROBES: i32 = 4;
/// After this many valid results in a row not every tile is probed.
const TRUSTED_AFTER: u32 = 10;
/// But never fewer than this share.
const MIN_PROBED_SHARE: f64 = 0.05;

impl Simulation<'_> {
    pub(super) fn hears(&mut self, index: usize, session: Session, said: Said) {
        if let Said::Joined = said {
            let believed = self.notes.get(index).is_some_and(|note| !note.distrusted);
            let current = |peer: &super::Peer| peer.session == session && peer.present;
            if believed && self.peers.get(index).is_some_and(current) {
                self.hear_joined(index);
                self.news(News::PeerReady(index));
            }
            return;
        }
        let Some(peer) = self.peers.get(index) else { return };
        if peer.heard_session != session || self.notes.get(index).is_none_or(|note| !note.up) {
            return;
        }
        match said {
            Said::Joined => {}
            Said::Left => self.hear_lost(index),
            Said::Beat(telemetry, round_trip_ms, speed) => {
                let Some(note) = self.notes.get_mut(index) else { return };
                note.view.telemetry = telemetry;
                note.view.mrays_per_s = speed * MRAYS_PER_S as f32;
                let off_ms = round_trip_ms - note.view.round_trip_ms;
                note.view.jitter_ms += JITTER_WEIGHT * (off_ms.abs() - note.view.jitter_ms);
                note.view.round_trip_ms += ROUND_TRIP_WEIGHT * off_ms;
            }
            Said::Accepted(task) => self.hear_of(task, index, News::Accepted(task)),
            Said::Progress(task, fraction) => self.hear_of(task, index, News::Progress(task, fraction)),
            Said::Failed(task) => self.hear_end(task, index, News::Failed(task)),
            Said::Busy(task) => self.hear_end(task, index, News::Busy(task, BUSY_RETRY_MS)),
            Said::Result(task) => self.hear_result(task, index),
            Said::Cancelled(task, finished) => {
                self.news(News::Cancelled(task, finished));
                self.forget(task);
            }
        }
        self.note_load(index);
    }

    /// The load rides on every reply.
    fn note_load(&mut self, index: usize) {
        if let (Some(peer), Some(note)) = (self.peers.get(index), self.notes.get_mut(index)) {
            note.view.queued = peer.queue.len() as u32;
        }
    }

    /// A session is there: what its greeting says.
    pub(super) fn hear_joined(&mut self, index: usize) {
        let (telemetry, speed) = (self.telemetry(index), self.claimed_speed(index));
        let (start, now_ms) = (self.setup.scenario.start, self.now_ms);
        let (Some(peer), Some(note)) = (self.peers.get_mut(index), self.notes.get_mut(index)) else { return };
        peer.heard_session = peer.session;
        note.up = true;
        note.view.is_self = peer.own;
        note.view.ready = true;
        note.view.credit = CREDIT;
        note.view.queued = 0;
        note.view.telemetry = telemetry;
        note.view.mrays_per_s = (speed * MRAYS_PER_S) as f32;
        note.view.round_trip_ms = peer.nature.round_trip_ms(start, now_ms) as f32;
        note.view.jitter_ms = note.view.round_trip_ms * 0.05;
    }

    /// A session is over.
    pub(super) fn hear_lost(&mut self, index: usize) {
        let Some(note) = self.notes.get_mut(index) else { return };
        note.up = false;
        note.view.ready = false;
        for task in self.tasks.values_mut().filter(|task| task.peer == index) {
            task.wanted = false;
        }
        self.news(News::PeerLost(index));
        self.forget_gone(index);
    }

    fn is_wanted(&self, id: TaskId, index: usize) -> bool {
        // With faults the frame machine itself must cope with what comes too late, twice or not at all.
        self.setup.faults.is_some()
            || self.tasks.get(&id).is_some_and(|task| task.wanted && task.peer == index)
    }

    fn hear_of(&mut self, id: TaskId, index: usize, news: News) {
        if self.is_wanted(id, index) {
            self.news(news);
        }
    }

    /// A task is over without a result.
    fn hear_end(&mut self, id: TaskId, index: usize, news: News) {
        if self.is_wanted(id, index) {
            if let Some(task) = self.tasks.get_mut(&id) {
                task.wanted = false;
            }
            self.news(news);
        }
        self.forget(id);
    }

    fn hear_result(&mut self, id: TaskId, index: usize) {
        let faulty = self.setup.faults.is_some();
        let Some(task) = self.tasks.get_mut(&id) else {
            // Heard for the second time, or long after its frame.
            if faulty {
                self.news(News::Delivered(id, 0.0, 1.0));
            }
            return;
        };
        let was_wanted = std::mem::replace(&mut task.wanted, false);
        task.phase = Phase::Gone;
        if !was_wanted && !faulty {
            self.recorder.late_result(task.measured);
            return self.forget(id);
        }
        let clock = self.peers.get(index).map_or(1.0, |peer| peer.trouble.clock_factor);
        let queue_ms = (task.started_ms - task.arrived_ms).max(0.0) * clock;
        let execution_ms = task.execution_ms * clock;
        let (sent_ms, bytes) = (self.now_ms - task.sending_ms, task.bytes);
        self.note_bandwidth(index, bytes, sent_ms);
        if self.is_caught(id, index) {
            self.recorder.forgery_caught();
            self.news(News::Invalid(id));
        } else {
            if let Some(task) = self.tasks.get_mut(&id) {
                task.delivered = true;
                if was_wanted {
                    self.recorder.delivered(task, self.now_ms);
                }
            }
            self.news(News::Delivered(id, queue_ms, execution_ms));
        }
        self.forget(id);
    }

    /// From the first to the last piece of a result.
    fn note_bandwidth(&mut self, index: usize, bytes: f64, elapsed_ms: f64) {
        let Some(note) = self.notes.get_mut(index) else { return };
        let sending_ms = elapsed_ms - f64::from(note.view.round_trip_ms) / 2.0;
        if bytes < MIN_MEASURED_BYTES || sending_ms < 0.05 {
            return;
        }
        let measured = (bytes / sending_ms) as f32;
        if note.view.bytes_per_ms == 0.0 {
            note.view.bytes_per_ms = measured;
        }
        note.view.bytes_per_ms += BANDWIDTH_WEIGHT * (measured - note.view.bytes_per_ms);
    }

    /// Whether a result is found to be forged: some of its pixels are rendered anew, of a newcomer's always, of others'
    /// ever more seldom (BOINC's rule).
    fn is_caught(&mut self, id: TaskId, index: usize) -> bool {
        if !self.coordinator.verifies() {
            return false;
        }
        let mut dice = self.dice(Purpose::Cheat, &[id.0, 1]);
        let (Some(task), Some(peer)) = (self.tasks.get(&id), self.peers.get_mut(index)) else { return false };
        if peer.own {
            return false;
        }
        let valid = peer.valid_in_row;
        let share = if valid < TRUSTED_AFTER { 1.0 } else { (1.0 / f64::from(valid)).max(MIN_PROBED_SHARE) };
        // Tiles that are known to be wrong by a fault are probed always: it is not the probing that is tested then.
        let probed = peer.trouble.wrong > 0.0 || dice.happens(share);
        let wrong_share = peer.nature.spec.cheats.map_or(1.0, |cheats| cheats.kind.wrong_share());
        let caught = task.forged && probed && dice.happens(1.0 - (1.0 - wrong_share).powi(PROBES));
        peer.valid_in_row = if caught { 0 } else { valid + 1 };
        caught
    }

    /// Forgets a task that nobody will speak of again.
    pub(super) fn forget(&mut self, id: TaskId) {
        let over = |task: &super::Task| !task.wanted && task.phase == Phase::Gone;
        let in_film = |simulation: &Self| {
            let run = super::RunId::of(id);
            let tile = simulation.tasks.get(&id).map(|task| task.tile);
            tile.and_then(|tile| simulation.runs.get(&run)?.film.get(&tile)).is_some_and(|(by, _)| *by == id)
        };
        if self.tasks.get(&id).is_some_and(over) && !in_film(self) {
            self.tasks.remove(&id);
        }
    }

    fn forget_gone(&mut self, index: usize) {
        let gone: Vec<TaskId> = self
            .tasks
            .iter()
            .filter(|(_, task)| task.peer == index && !task.wanted && task.phase == Phase::Gone)
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            self.forget(id);
        }
    }
}
