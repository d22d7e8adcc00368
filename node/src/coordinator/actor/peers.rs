//! The peers: who is asked to help, what they say, how their sessions end.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use p2c2r_protocol::{
    heartbeat::{ExactnessClass, Heartbeat},
    id::{NodeId, WorkKind},
    task::{ContributorMessage, CoordinatorMessage, RejectReason},
};
use p2c2r_scheduler::{Scheduler, frame::Event};
use p2c2r_swarm::{ContributorEvent, CoordinatorLink, PeerStatus};
use tracing::{debug, info, warn};

use super::{
    super::{
        candidates::{self, Applicant},
        gather::Candidate,
        sessions::{Generation, Session},
    },
    Actor, Input,
};

/// How often the swarm is asked for new peers while a job is under way.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// A peer that nothing is known of may say that it is this much faster than this node.
const MAX_CLAIM: f32 = 16.0;
/// Contributors that one coordinator works with at once; of more, these are chosen ([`candidates`]).
const MAX_CONTRIBUTORS: usize = 64;

impl Actor {
    pub(super) fn look_for_peers(&mut self, now: Instant) {
        let due = self.looked_at.is_none_or(|at| now.saturating_duration_since(at) >= LOOK_INTERVAL);
        let (Some(swarm), Some(inputs), true) = (self.swarm.clone(), self.inputs.upgrade(), due) else {
            return;
        };
        self.looked_at = Some(now);
        tokio::spawn(async move {
            let peers = swarm.peers().await;
            let _ = inputs.send(Input::Peers(peers)).await;
        });
    }

    pub(super) fn peers_known(&mut self, peers: &[PeerStatus], now: Instant) {
        let fastest = f64::from(self.fastest_claim());
        let Some(job) = self.jobs.front_mut() else { return };
        let connected = peers.iter().filter(|status| status.connected).map(|status| status.node).collect();
        job.gathering.note_looked(&connected);
        let applicants = peers
            .iter()
            .filter(|status| status.node != self.node && !self.distrusted.contains(&status.node))
            .filter(|status| job.gathering.may_ask(status.node, now))
            .filter_map(|status| applicant(status, &self.decisions.scheduler, fastest))
            .collect();
        // Those that cannot help leave their places to others.
        let places = MAX_CONTRIBUTORS.saturating_sub(job.gathering.engaged());
        let asked = candidates::choose(applicants, places, &mut self.draws);
        for peer in &asked {
            job.gathering.ask(*peer, now);
        }
        for peer in &asked {
            self.ask_to_help(*peer);
        }
        // There will be no word about a scene that is there, such as the moment that followed the last frame's.
        for peer in asked {
            self.scene_news(peer, now);
        }
        self.try_start(now);
    }

    /// Opens a session, or uses the one from the last job.
    pub(super) fn ask_to_help(&mut self, peer: NodeId) {
        if self.sessions.contains_key(&peer) {
            return self.ask_for_scene(peer);
        }
        let (Some(swarm), Some(inputs)) = (self.swarm.clone(), self.inputs.upgrade()) else { return };
        if self.opening.insert(peer) {
            tokio::spawn(async move {
                let link = swarm.open_session(peer).await;
                if let Err(error) = &link {
                    debug!(peer = %peer.short(), %error, "no work session");
                }
                let _ = inputs.send(Input::Opened { peer, link: link.ok() }).await;
            });
        }
    }

    pub(super) fn opened(&mut self, peer: NodeId, link: Option<CoordinatorLink>, now: Instant) {
        self.opening.remove(&peer);
        match link {
            Some(link) => self.add_session(peer, link, false, now),
            None => self.settle(peer, Candidate::Failed, now),
        }
    }

    pub(super) fn add_session(&mut self, peer: NodeId, link: CoordinatorLink, own: bool, now: Instant) {
        self.next_generation += 1;
        let generation = Generation(self.next_generation);
        let CoordinatorLink { outbox, mut inbox, traffic, .. } = link;
        let said = stream::poll_fn(move |context| inbox.poll_recv(context))
            .map(move |event| Input::Said { peer, generation, event })
            .chain(stream::iter([Input::Closed { peer, generation }]));
        self.inboxes.push(said.boxed());
        self.sessions.insert(peer, Session::open(generation, own, outbox, traffic, self.epoch, now));
    }

    fn takes_part(&self, peer: NodeId) -> bool {
        let job = self.jobs.front().zip(self.sessions.get(&peer));
        job.is_some_and(|(job, session)| job.takes_part(peer, session))
    }

    /// Asks a greeted contributor for the scene of the job at the head of the line.
    pub(super) fn ask_for_scene(&mut self, peer: NodeId) {
        let (Some(job), Some(session)) = (self.jobs.front_mut(), self.sessions.get_mut(&peer)) else {
            return;
        };
        job.traffic_before.entry(peer).or_insert_with(|| session.traffic_now());
        session.prepare(job.spec.scene.moment(), job.spec.scene.package.size_bytes());
    }

    /// Asks a contributor at work for the scene of the frame that follows. It has the package; nothing is fetched for it.
    pub(super) fn ask_for_next_scene(&mut self, peer: NodeId) {
        let (Some(job), Some(session)) = (self.jobs.front(), self.sessions.get_mut(&peer)) else { return };
        // The own device finds it in the library, where the owner of the frames puts it.
        if let Some(next) = job.spec.next_scene.filter(|_| !session.own) {
            session.prepare(next, job.spec.scene.package.size_bytes());
        }
    }

    /// The most that a peer's word counts before it has shown its speed: many times this node's own.
    pub(super) fn fastest_claim(&self) -> f32 {
        let own = self.sessions.get(&self.node).and_then(|own| own.welcome);
        own.map_or(f32::INFINITY, |welcome| welcome.mrays_per_s.max(1.0) * MAX_CLAIM)
    }

    pub(super) fn settle(&mut self, peer: NodeId, outcome: Candidate, now: Instant) {
        if let Some(job) = self.jobs.front_mut() {
            job.gathering.settle(peer, outcome, now);
        }
        self.try_start(now);
    }

    pub(super) fn said(&mut self, peer: NodeId, event: ContributorEvent, now: Instant) {
        match event {
            ContributorEvent::Message(message) => self.message(peer, message, now),
            ContributorEvent::Result(result) => self.result(peer, result, now),
            ContributorEvent::Violation(reason) => {
                warn!(peer = %peer.short(), reason, "a peer broke the protocol");
                self.distrusted.insert(peer);
                self.close(peer, "it broke the protocol", now);
            }
        }
    }

    pub(super) fn message(&mut self, peer: NodeId, message: ContributorMessage, now: Instant) {
        let lost_scenes = self.has_lost_scenes(peer, &message);
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        let (greeted, goodbye) = (session.welcome.is_some(), matches!(message, ContributorMessage::Goodbye));
        if lost_scenes {
            session.forget_scenes();
        }
        let about_task = session.note(message, now);
        let got_on = session.take_got_on();
        if goodbye {
            return self.close(peer, "it said goodbye", now);
        }
        if got_on && let Some(job) = self.jobs.front_mut() {
            job.gathering.note_moved(now);
        }
        if lost_scenes && self.takes_part(peer) {
            self.ask_for_scene(peer);
        }
        if let Some(message) = about_task {
            if self.jobs.front().is_some_and(|job| job.pipe.is_some()) {
                return self.stage_message(peer, message, now);
            }
            return self.task_message(peer, &message, now);
        }
        if !greeted && self.sessions.get(&peer).is_some_and(|session| session.welcome.is_some()) {
            return self.ask_for_scene(peer);
        }
        self.offer_what_waited(peer, now);
        self.scene_news(peer, now);
    }

    /// Whether a peer says that it does not know the scene of a task that it has; of other tasks its word draws nothing.
    fn has_lost_scenes(&self, peer: NodeId, message: &ContributorMessage) -> bool {
        let ContributorMessage::Rejected { task, reason: RejectReason::SceneUnknown, .. } = message else {
            return false;
        };
        self.jobs.front().is_some_and(|job| job.owns(peer, *task))
    }

    /// A contributor may have become ready: for the start, or in the middle of the frame.
    pub(super) fn scene_news(&mut self, peer: NodeId, now: Instant) {
        let (Some(job), Some(session)) = (self.jobs.front(), self.sessions.get(&peer)) else { return };
        let scene = job.spec.scene.moment();
        if !session.is_settled(&scene) {
            return;
        }
        let ready = session.is_ready(&scene);
        let joins = ready
            && job.takes_part(peer, session)
            && job.run.as_ref().is_some_and(|run| !run.joined.contains(&peer));
        if joins {
            let view = session.view(peer, &scene, self.fastest_claim());
            if let Some(run) = self.jobs.front_mut().and_then(|job| job.run.as_mut()) {
                run.joined.insert(peer);
            }
            info!(peer = %peer.short(), "a peer joined in mid-frame");
            self.frame_event(Event::PeerReady(view), now);
            self.ask_for_next_scene(peer);
        }
        if ready && job_has_pipeline(self) {
            self.pipeline_peer_ready(peer, now);
        }
        self.settle(peer, if ready { Candidate::Ready } else { Candidate::Failed }, now);
    }

    pub(super) fn close(&mut self, peer: NodeId, reason: &str, now: Instant) {
        let Some(session) = self.sessions.remove(&peer) else { return };
        debug!(peer = %peer.short(), reason, "a work session ended");
        if session.own && self.jobs.front().is_some_and(|job| job.run.is_none() && job.spec.uses_own_device())
        {
            return self.open_own(now);
        }
        // A stream that is lost before anybody picks it up closes without a word: once is no refusal.
        if session.welcome.is_none() && !self.distrusted.contains(&peer) && self.reopened.insert(peer) {
            return self.ask_to_help(peer);
        }
        if let Some(run) = self.jobs.front_mut().and_then(|job| job.run.as_mut()) {
            run.joined.remove(&peer);
            if run.out.values().any(|out| out.peer == peer) {
                info!(peer = %peer.short(), reason, "lost a peer with tiles in hand; they are placed anew");
                run.peers_lost += 1;
            }
            run.out.retain(|_, out| out.peer != peer);
            self.frame_event(Event::PeerLost(peer), now);
        }
        self.pipeline_peer_lost(peer, now);
        self.settle(peer, Candidate::Failed, now);
    }

    pub(super) fn close_silent_sessions(&mut self, now: Instant) {
        let silent: Vec<(NodeId, Instant)> = self
            .sessions
            .iter_mut()
            .filter(|(_, session)| !session.own)
            .filter_map(|(peer, session)| (!session.keep_alive(now)).then_some((*peer, session.last_heard)))
            .collect();
        for (peer, since) in silent {
            self.close(peer, "it fell silent", now);
            if let Some(swarm) = self.swarm.clone() {
                tokio::spawn(async move { swarm.suspect(peer, since).await });
            }
        }
    }

    /// Ends all sessions in peace.
    pub(super) fn goodbye(&mut self) {
        for (_, session) in std::mem::take(&mut self.sessions) {
            session.send(CoordinatorMessage::Goodbye);
        }
    }
}

fn job_has_pipeline(actor: &Actor) -> bool {
    actor.jobs.front().is_some_and(|job| job.pipe.is_some())
}

/// A peer that would take tiles of ours, if it is one.
fn applicant(status: &PeerStatus, scheduler: &Scheduler, fastest_claim: f64) -> Option<Applicant> {
    let heartbeat = status.heartbeat.as_ref().filter(|heartbeat| can_help(heartbeat))?;
    let learned = scheduler.speed(&status.node, WorkKind::RayTracing);
    let claim = f64::from(heartbeat.mrays_per_s).min(fastest_claim);
    Some(Applicant {
        peer: status.node,
        connected: status.connected,
        round_trip_ms: status.round_trip_ms,
        // Rays a ms are thousands a second.
        mrays_per_s: learned.map_or(claim, |learned| learned.cost_per_ms / 1e3),
        served: learned.map_or(0.0, |learned| learned.outcomes as f64 * (1.0 - 2.0 * learned.failure_risk)),
    })
}

/// Whether a heartbeat's sender would take tiles of ours. Only the exact class: its pixels are the same bits as ours.
fn can_help(heartbeat: &Heartbeat) -> bool {
    heartbeat.contributing
        && heartbeat.exactness == ExactnessClass::Exact
        && heartbeat.kinds.contains(&WorkKind::RayTracing)
}
