//! The line of jobs: from the asking to the report.

use std::{sync::Arc, time::Instant};

use p2c2r_protocol::id::WorkKind;
use p2c2r_scheduler::{PeerView, frame::Event};
use p2c2r_swarm::local_pair;
use tokio::sync::watch;
use tracing::info;

use super::{
    super::{
        JobError, JobSpec,
        gather::{Decision, Gathering},
        job::Job,
        pipeline,
        reply::Reply,
    },
    Actor,
    tiles::time_ms,
};
use crate::progress::Progress;

/// Jobs in line.
const MAX_JOBS: usize = 64;

impl Actor {
    pub(super) fn submit(
        &mut self,
        spec: JobSpec,
        progress: Arc<watch::Sender<Progress>>,
        reply: Reply,
        now: Instant,
    ) {
        if self.jobs.len() >= MAX_JOBS {
            reply.refuse(JobError::TooManyJobs);
            return;
        }
        let gathering = Gathering::new(now, spec.wait_peers, self.swarm.is_some());
        self.jobs.push_back(Job::new(spec, progress, reply, gathering));
        if self.jobs.len() == 1 {
            self.begin(now);
        }
    }

    /// Starts gathering for the job at the head of the line.
    pub(super) fn begin(&mut self, now: Instant) {
        self.idle_since = now;
        self.reopened.clear();
        let Some(job) = self.jobs.front_mut() else { return };
        job.gathering = Gathering::new(now, job.spec.wait_peers, self.swarm.is_some());
        job.traffic_before = std::mem::take(&mut self.before_survey);
        if job.spec.uses_own_device() {
            self.open_own(now);
        }
        self.looked_at = None;
        self.look_for_peers(now);
        self.ask_for_scene(self.node);
        self.try_start(now);
    }

    /// The node's own device is a contributor like the others, over an in-memory link.
    pub(super) fn open_own(&mut self, now: Instant) {
        if self.sessions.contains_key(&self.node) {
            return;
        }
        let (link, device) = local_pair(self.node);
        let contributor = self.contributor.clone();
        tokio::spawn(async move { contributor.attach(device, true).await });
        self.add_session(self.node, link, true, now);
    }

    pub(super) fn try_start(&mut self, now: Instant) {
        let Some(job) = self.jobs.front() else { return };
        if job.is_under_way() {
            return;
        }
        let scene = job.spec.scene.moment();
        let own_ready = !job.spec.uses_own_device()
            || self.sessions.get(&self.node).is_some_and(|own| own.is_settled(&scene));
        match job.gathering.decide(now, own_ready) {
            Decision::Wait => {}
            Decision::Start => self.start_run(now),
            Decision::GiveUp { wanted, ready, waited_s } => {
                self.give_up(JobError::TooFewPeers { wanted, ready, waited_s }, now);
            }
        }
    }

    pub(super) fn start_run(&mut self, now: Instant) {
        let fastest = self.fastest_claim();
        let Some(job) = self.jobs.front_mut() else { return };
        let views: Vec<PeerView> = self
            .sessions
            .iter()
            .filter(|(peer, session)| job.takes_part(**peer, session))
            .map(|(peer, session)| session.view(*peer, &job.spec.scene.moment(), fastest))
            .collect();
        if !views.iter().any(|view| view.ready) {
            return self.give_up(JobError::NobodyLeft, now);
        }
        if matches!(job.reply, Reply::Forecasts(..)) {
            return self.tell_forecasts(&views, now);
        }
        if job.spec.pipeline.is_some() {
            return self.start_pipeline(&views, now);
        }
        job.start(&mut self.decisions, views.clone(), self.next_task, self.started, now);
        self.open_first_frames(now);
        self.frame_event(Event::Start, now);
        for view in views.iter().filter(|view| view.ready) {
            self.ask_for_next_scene(view.peer);
        }
    }

    /// Whoever only asked is told what is expected of these peers.
    fn tell_forecasts(&mut self, views: &[PeerView], now: Instant) {
        let Some(job) = self.jobs.pop_front() else { return };
        if let Reply::Forecasts(animation, _) = &job.reply {
            let now_ms = time_ms(self.started, now);
            let mut forecasts = job.forecasts(animation, &self.decisions, views, now_ms);
            let own = self.sessions.get(&self.node).and_then(|own| own.welcome).map(|own| own.mrays_per_s);
            forecasts.extend(pipeline::forecast(
                &job.spec,
                views,
                own,
                animation.frames,
                &self.decisions,
                now_ms,
            ));
            self.before_survey = job.traffic_before;
            if let Reply::Forecasts(_, reply) = job.reply {
                let _ = reply.send(Ok(forecasts));
            }
        }
        // Whoever is next in line may be another: what was fetched is not theirs.
        if !self.jobs.is_empty() {
            self.before_survey.clear();
        }
        self.begin(now);
    }

    /// If the frame has ended: the report, and the next job.
    pub(super) fn end_run(&mut self, now: Instant) {
        if self.jobs.front().and_then(|job| job.run.as_ref()).is_none_or(|run| run.end.is_none()) {
            return;
        }
        let Some(job) = self.jobs.pop_front() else { return };
        self.wake = None;
        self.idle_since = now;
        self.tell_learned();
        tokio::spawn(job.into_outcome(self.node, &self.sessions, now).tell());
        self.begin(now);
    }

    pub(super) fn give_up(&mut self, error: JobError, now: Instant) {
        if let Some(job) = self.jobs.pop_front() {
            job.reply.refuse(error);
        }
        self.wake = None;
        self.begin(now);
    }

    /// Whoever asked for a job and went away does not want it any more.
    pub(super) fn drop_abandoned_jobs(&mut self, now: Instant) {
        let abandoned = self.jobs.front().is_some_and(|job| job.reply.is_closed());
        if abandoned {
            info!("a job was cancelled");
            if self.jobs.front().is_some_and(|job| job.pipe.is_some()) {
                self.abort_pipeline(now);
            } else if self.jobs.front().is_some_and(|job| job.run.is_some()) {
                self.frame_event(Event::Abort, now);
            } else {
                self.give_up(JobError::Stopping, now);
            }
        }
        let mut index = 0;
        self.jobs.retain(|job| {
            index += 1;
            index == 1 || !job.reply.is_closed()
        });
    }

    pub(super) fn tell_learned(&self) {
        let learned = self.sessions.keys().filter_map(|peer| {
            self.decisions.scheduler.speed(peer, WorkKind::RayTracing).map(|speed| (*peer, speed))
        });
        self.learned_out.send_replace(learned.collect());
    }
}
