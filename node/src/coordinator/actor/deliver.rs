//! Frames of a sequence: handed over as soon as they are whole, and begun only as fast as they are taken.

use std::time::Instant;

use p2c2r_protocol::{id::NodeId, task::RejectReason};
use p2c2r_scheduler::frame::Event;

use super::{
    super::{
        job::Job,
        sequence::{DeliveredFrame, FrameContent},
        sessions::SceneState,
        summary::{self, About},
    },
    Actor,
};

/// A peer that was busy when it was asked for a frame's scene is asked again after this, ms.
const BUSY_RETRY_MS: u32 = 200;

impl Actor {
    /// Before the first offer: which frames may be begun.
    pub(super) fn open_first_frames(&mut self, now: Instant) {
        if self.jobs.front().is_some_and(|job| job.spec.sequence.is_some()) {
            self.want_frames(now);
        }
    }

    /// Hands whole frames over, as many as are taken now.
    pub(super) fn deliver(&mut self, now: Instant) {
        let Some(job) = self.jobs.front_mut().filter(|job| job.run.is_some()) else { return };
        if job.spec.sequence.is_none() {
            return;
        }
        job.conclude_whole_frames(self.node, &self.sessions, now);
        let taken = job.hand_over_frames();
        if taken > 0 {
            for _ in 0..taken {
                job.run.iter_mut().for_each(|run| run.films.note_taken());
            }
            self.want_frames(now);
        }
    }

    fn want_frames(&mut self, now: Instant) {
        let Some(run) = self.jobs.front().and_then(|job| job.run.as_ref()) else { return };
        if run.end.is_none() {
            let below = run.films.wanted_below(run.joined.len());
            self.frame_event(Event::FramesWanted { below }, now);
        }
    }

    /// The scene of a frame that was to be offered to the peer is ready there, or refused.
    pub(super) fn offer_what_waited(&mut self, peer: NodeId, now: Instant) {
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        for (task, state) in session.offer_deferred() {
            if let SceneState::Refused { reason } = state {
                let is_busy = reason == RejectReason::Busy;
                if self.jobs.front().is_some_and(|job| job.pipe.is_some()) {
                    self.stage_scene_refused(task, is_busy, now);
                    continue;
                }
                let run = self.jobs.front_mut().and_then(|job| job.run.as_mut());
                let was_out = run.is_some_and(|run| run.owns(peer, task) && run.out.remove(&task).is_some());
                if was_out {
                    let retry_after_ms = if is_busy { BUSY_RETRY_MS } else { 0 };
                    self.frame_event(Event::Rejected { task, retry_after_ms, fault: !is_busy }, now);
                }
            }
        }
    }
}

impl Job {
    /// Writes the reports of the frames that have become whole.
    fn conclude_whole_frames(
        &mut self,
        own: NodeId,
        sessions: &std::collections::BTreeMap<NodeId, super::super::sessions::Session>,
        now: Instant,
    ) {
        let Some(run) = self.run.as_mut() else { return };
        while let Some((index, canvas, since)) = run.films.take_whole() {
            let about = About { spec: &self.spec, own, sessions, traffic_before: &self.traffic_before };
            let report = summary::report(&about, run, Some(&canvas), Some((index, since)), now);
            for (peer, before) in &mut self.traffic_before {
                if let Some(session) = sessions.get(peer) {
                    *before = session.traffic_now();
                }
            }
            let content = FrameContent::Film(canvas);
            self.undelivered.push_back(DeliveredFrame { index, content, report });
        }
    }
}
