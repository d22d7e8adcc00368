//! The tiles that are out: events into the frame machine, its commands to the contributors, results to their judges.

use std::{
    collections::VecDeque,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use p2c2r_protocol::{
    id::{NodeId, TaskId},
    task::{CancelledState, ContributorMessage, CoordinatorMessage, RejectReason},
};
use p2c2r_scheduler::{
    frame::{Command, Event, Outbox},
    time::TimeMs,
};
use p2c2r_swarm::TileResult;
use tracing::{debug, warn};

use super::{
    super::{
        gather::Candidate,
        job::{OutTask, Place},
        machine::Machine,
        verify::{Forgery, Judgement, VerifiedTile},
    },
    Actor, Input,
};

impl Actor {
    /// Gives an event to the frame machine and carries its commands out, with the events that these cause in turn.
    pub(super) fn frame_event(&mut self, event: Event, now: Instant) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let Some(run) = self.jobs.front_mut().and_then(|job| job.run.as_mut()) else { return };
            if run.end.is_some() {
                break;
            }
            let mut outbox = Outbox::default();
            let now_ms = time_ms(self.started, now);
            run.frame.handle(now_ms, event, &mut self.decisions.scheduler, &mut outbox);
            if let (Some(log), Machine::Learned(_)) = (&mut self.decisions.log, &run.frame) {
                log.decided(run.first_task, now_ms, event, &outbox);
            }
            self.next_task = run.frame.next_task();
            while let Some(command) = outbox.pop() {
                self.carry_out(command, &mut events, now);
            }
        }
        self.deliver(now);
        self.end_run(now);
    }

    pub(super) fn carry_out(&mut self, command: Command, events: &mut VecDeque<Event>, now: Instant) {
        let Some(job) = self.jobs.front_mut() else { return };
        match command {
            Command::Offer { task, peer, frame, rect, .. } => {
                let place = Place { frame, rect };
                let request = job.request(place);
                let Some(run) = job.run.as_mut() else { return };
                run.out.insert(task, OutTask::new(peer, place));
                run.places.insert(task, place);
                run.films.begin(frame, now);
                let size_bytes = job.spec.scene.package.size_bytes();
                let offered = self.sessions.get_mut(&peer).map(|session| match job.spec.sequence {
                    Some(_) => session.offer_at_moment(task, request, size_bytes),
                    None => session.offer(task, request),
                });
                if offered.is_none_or(|sent| !sent) {
                    debug!(peer = %peer.short(), "a peer takes no more messages");
                    run.joined.remove(&peer);
                    run.peers_lost += u32::from(self.sessions.remove(&peer).is_some());
                    run.out.retain(|_, out| out.peer != peer);
                    job.gathering.settle(peer, Candidate::Failed, now);
                    events.push_back(Event::PeerLost(peer));
                }
            }
            Command::Cancel { task, peer } => {
                if let Some(run) = job.run.as_mut() {
                    run.out.remove(&task);
                    run.withdrawn.insert(task, peer);
                }
                // It may not have heard of the task yet.
                let is_untold = self.sessions.get_mut(&peer).is_some_and(|session| session.take_back(task));
                match self.sessions.get(&peer) {
                    Some(_) if is_untold => self.task_message(
                        peer,
                        &ContributorMessage::Cancelled { task, state: CancelledState::Queued },
                        now,
                    ),
                    Some(session) => {
                        session.send(CoordinatorMessage::Cancel { task });
                    }
                    None => {}
                }
            }
            Command::Accept { task, tile } => job.accept(task, tile),
            Command::Retract { tile, frame, rect } => {
                debug!(tile, frame, "a tile of a forger is rendered again");
                job.retract(tile, Place { frame, rect });
            }
            Command::Distrust { peer, reason } => {
                warn!(peer = %peer.short(), %reason, "a peer is not believed any more");
                self.distrusted.insert(peer);
                self.sessions.remove(&peer);
            }
            Command::WakeAt(at) => self.wake_at(at),
            Command::Done(end) => {
                if let Some(run) = job.run.as_mut() {
                    run.end = Some(end);
                }
            }
        }
    }

    pub(super) fn wake_at(&mut self, at: TimeMs) {
        let at = self.started + Duration::from_secs_f64((at.0 / 1000.0).max(0.0));
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    pub(super) fn task_message(&mut self, peer: NodeId, message: &ContributorMessage, now: Instant) {
        let event = match message {
            ContributorMessage::Accepted { task, .. } => Event::Accepted { task: *task },
            ContributorMessage::Progress { task, fraction } => {
                Event::Progress { task: *task, fraction: *fraction }
            }
            ContributorMessage::Cancelled { task, state } => {
                Event::Cancelled { task: *task, finished: *state == CancelledState::Finished }
            }
            ContributorMessage::Rejected { task, reason, retry_after_ms, .. } => {
                debug!(peer = %peer.short(), ?task, ?reason, "a peer turned a tile down");
                Event::Rejected { task: *task, retry_after_ms: *retry_after_ms, fault: is_fault(*reason) }
            }
            _ => return,
        };
        let Some(run) = self.jobs.front_mut().and_then(|job| job.run.as_mut()) else { return };
        // Nobody may speak for another peer's task, nor say anything twice.
        let is_news = match event {
            Event::Cancelled { task, .. } => {
                run.withdrawn.get(&task) == Some(&peer) && run.withdrawn.remove(&task).is_some()
            }
            Event::Rejected { task, .. } => run.owns(peer, task) && run.out.remove(&task).is_some(),
            Event::Accepted { task } => run
                .out
                .get_mut(&task)
                .is_some_and(|out| out.peer == peer && !mem::replace(&mut out.accepted, true)),
            Event::Progress { task, fraction } => {
                run.out.get_mut(&task).is_some_and(|out| out.peer == peer && out.has_moved(fraction))
            }
            _ => false,
        };
        if is_news {
            self.frame_event(event, now);
        }
    }

    pub(super) fn result(&mut self, peer: NodeId, result: TileResult, now: Instant) {
        if let Some(session) = self.sessions.get_mut(&peer) {
            session.heard(result.load, now);
        }
        if self.jobs.front().is_some_and(|job| job.pipe.is_some()) {
            return self.picture(peer, result);
        }
        let (Some(job), Some(inputs)) = (self.jobs.front(), self.inputs.upgrade()) else { return };
        let task = result.task;
        let Some(out) = job.run.as_ref().and_then(|run| run.out.get(&task)).filter(|out| out.peer == peer)
        else {
            debug!(peer = %peer.short(), ?task, "a late result is ignored");
            return;
        };
        let (place, request, spec) = (out.place, job.request(out.place), Arc::clone(&job.spec));
        let secret = (peer != self.node).then(|| self.secret.clone());
        tokio::task::spawn_blocking(move || {
            let judge = || {
                let scene =
                    &spec.scene_of(place.frame).map_err(|error| Forgery::Unjudged(error.to_string()))?;
                Judgement { peer, request: &request, scene, secret: secret.as_ref() }.verify(&result)
            };
            // A panic while judging is as good as a tile that cannot be read.
            let verdict = catch_unwind(AssertUnwindSafe(judge))
                .unwrap_or_else(|_| Err(Forgery::Pixels("judging it failed".into())));
            let _ = inputs.blocking_send(Input::Judged { peer, task, verdict });
        });
    }

    pub(super) fn judged(
        &mut self,
        peer: NodeId,
        task: TaskId,
        verdict: Result<VerifiedTile, Forgery>,
        now: Instant,
    ) {
        let Some(run) = self.jobs.front_mut().and_then(|job| job.run.as_mut()) else { return };
        if run.out.get(&task).is_none_or(|out| out.peer != peer) {
            return;
        }
        run.out.remove(&task);
        match verdict {
            Ok(tile) => {
                let queue_ms = f64::from(tile.counters.queue_ms);
                let execution_ms = f64::from(tile.counters.execution_ms);
                run.verified.insert(task, tile);
                self.frame_event(Event::Delivered { task, queue_ms, execution_ms }, now);
                // A loser of a hedge is not asked for by the machine: its pixels go.
                if let Some(run) = self.jobs.front_mut().and_then(|job| job.run.as_mut()) {
                    run.verified.remove(&task);
                }
            }
            Err(Forgery::Unjudged(reason)) => {
                warn!(peer = %peer.short(), ?task, reason, "a tile cannot be checked here");
                self.frame_event(Event::Rejected { task, retry_after_ms: 0, fault: true }, now);
            }
            Err(forgery) => {
                warn!(peer = %peer.short(), ?task, %forgery, "a tile is refused");
                self.frame_event(Event::Invalid { task }, now);
            }
        }
    }

    /// When the time of the frame in hand is over, if it has such a time and has not reached it.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let job = self.jobs.front()?;
        let run = job.run.as_ref().filter(|run| !run.deadline_reached)?;
        run.started.checked_add(Duration::from_millis(job.spec.deadline_ms?))
    }

    pub(super) fn check_deadline(&mut self, now: Instant) {
        let reached = self.deadline().is_some_and(|deadline| now >= deadline);
        if reached {
            if let Some(run) = self.jobs.front_mut().and_then(|job| job.run.as_mut()) {
                run.deadline_reached = true;
            }
            self.frame_event(Event::Deadline, now);
        }
    }
}

/// Whether a refusal says that something is wrong with the peer or the request, not that the peer is busy.
fn is_fault(reason: RejectReason) -> bool {
    !matches!(reason, RejectReason::Busy | RejectReason::NotContributing)
}

pub(super) fn time_ms(start: Instant, now: Instant) -> TimeMs {
    TimeMs(now.saturating_duration_since(start).as_secs_f64() * 1e3)
}
