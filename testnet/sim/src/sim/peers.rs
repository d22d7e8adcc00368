//! The peers' side: queues, executions, results on their way.

use p2c2r_protocol::id::TaskId;
use p2c2r_scheduler::peer::Telemetry;

use super::{
    Simulation,
    queue::{Said, Session, What},
    state::{CREDIT, Phase},
};
use crate::{
    random::Purpose,
    world::{delay::one_way_ms, nature::Execution},
};

/// A peer tells of progress this often, ms.
const TELL_MS: f64 = 200.0;
/// Bytes of a small message.
const MESSAGE_BYTES: f64 = 200.0;

impl Simulation<'_> {
    // ---- the way

    /// Time that a message to or from a peer takes now, ms.
    fn way_ms(&mut self, index: usize, bytes: f64) -> f64 {
        let (seed, start, now_ms) = (self.setup.seed, self.setup.scenario.start, self.now_ms);
        let Some(peer) = self.peers.get_mut(index) else { return 0.0 };
        peer.messages += 1;
        let mut dice = crate::random::Dice::new(seed, Purpose::Delay, &[index as u64, peer.messages]);
        let round_trip_ms = peer.nature.round_trip_ms(start, now_ms) + peer.trouble.latency_ms;
        let loss = (peer.nature.spec.loss + peer.trouble.loss).min(0.9);
        one_way_ms(round_trip_ms, peer.nature.spec.jitter_ms, loss, bytes, &mut dice)
    }

    /// When something that is sent to a peer now arrives, ms.
    pub(super) fn arrival_there_ms(&mut self, index: usize) -> f64 {
        let at_ms = self.now_ms + self.way_ms(index, MESSAGE_BYTES);
        let Some(peer) = self.peers.get_mut(index) else { return at_ms };
        let after_cut_ms = if self.now_ms < peer.trouble.cut_down_until_ms {
            peer.trouble.cut_down_until_ms + peer.nature.spec.latency_ms
        } else {
            0.0
        };
        peer.last_down_ms = if peer.trouble.reorders { at_ms } else { at_ms.max(peer.last_down_ms) };
        peer.last_down_ms.max(after_cut_ms)
    }

    /// Lets the coordinator hear something of a peer, `later_ms` after it was said.
    pub(super) fn say(&mut self, index: usize, session: Session, said: Said, bytes: f64, later_ms: f64) {
        let at_ms = self.now_ms + later_ms + self.way_ms(index, bytes);
        let now_ms = self.now_ms;
        let Some(peer) = self.peers.get_mut(index) else { return };
        let trouble = peer.trouble;
        let after_cut_ms = if now_ms < trouble.cut_up_until_ms {
            trouble.cut_up_until_ms + peer.nature.spec.latency_ms
        } else {
            0.0
        };
        let at_ms = if trouble.reorders { at_ms } else { at_ms.max(peer.last_up_ms) }.max(after_cut_ms);
        peer.last_up_ms = at_ms.max(peer.last_up_ms);
        let occasion = [index as u64, peer.messages, 1];
        self.queue.push(at_ms, What::Hears(index, session, said));
        if trouble.twice > 0.0 && self.dice(Purpose::Delay, &occasion).happens(trouble.twice) {
            self.queue.push(at_ms + trouble.late_ms, What::Hears(index, session, said));
        }
    }

    fn tell(&mut self, id: TaskId, said: Said) {
        let Some((peer, session)) = self.tasks.get(&id).map(|task| (task.peer, task.session)) else { return };
        self.say(peer, session, said, MESSAGE_BYTES, 0.0);
    }

    // ---- tasks

    pub(super) fn offer_arrives(&mut self, id: TaskId) {
        let now_ms = self.now_ms;
        let Some(task) = self.tasks.get_mut(&id).filter(|task| task.phase == Phase::Travelling) else {
            return;
        };
        let Some(peer) = self.peers.get_mut(task.peer) else { return };
        if !peer.present || peer.session != task.session {
            task.phase = Phase::Gone;
            return self.copy_lost(id);
        }
        if peer.held() >= CREDIT as usize {
            task.phase = Phase::Gone;
            return self.tell(id, Said::Busy(id));
        }
        (task.phase, task.arrived_ms) = (Phase::Queued, now_ms);
        peer.queue.push_back(id);
        let index = task.peer;
        self.tell(id, Said::Accepted(id));
        self.go_on(index);
    }

    /// Begins whatever there is a slot for.
    pub(super) fn go_on(&mut self, index: usize) {
        while let Some(peer) = self.peers.get_mut(index) {
            if peer.running.len() >= peer.nature.spec.slots as usize {
                return;
            }
            let Some(id) = peer.queue.pop_front() else { return };
            peer.running.push(id);
            self.execute(id, index);
        }
    }

    fn execute(&mut self, id: TaskId, index: usize) {
        let (Some(task), Some(peer)) = (self.tasks.get_mut(&id), self.peers.get_mut(index)) else { return };
        let turn = self.runs.get_mut(&task.run).map_or(u64::from(u32::MAX), |run| {
            let turn = run.executions.entry(index).or_insert(0);
            *turn += 1;
            *turn
        });
        let frame = self.runs.get(&task.run).map_or(task.run.0 | 1 << 63, |run| u64::from(run.frame));
        let occasion = [index as u64, frame, turn];
        let cheats = peer.nature.spec.cheats;
        let mut dice = crate::random::Dice::new(self.setup.seed, Purpose::Cheat, &occasion);
        let cheat = cheats.filter(|cheats| dice.happens(cheats.rate));
        task.forged = cheat.is_some() || (peer.trouble.wrong > 0.0 && dice.happens(peer.trouble.wrong));
        let execution = Execution {
            kind: task.kind,
            work_ms: task.work_ms * cheat.map_or(1.0, |cheat| cheat.kind.time_share()),
            in_flight: peer.held(),
            occasion: [frame, turn],
        };
        let fate = peer.nature.execute(&execution, self.now_ms);
        (task.phase, task.started_ms, task.fate) = (Phase::Running, self.now_ms, Some(fate));
        if task.measured {
            self.recorder.fate(task, &fate);
        }
        self.queue.push(self.now_ms + fate.duration_ms, What::Finishes(id));
        if fate.duration_ms > TELL_MS {
            self.queue.push(self.now_ms + TELL_MS, What::Tells(id));
        }
    }

    pub(super) fn tells(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get(&id).filter(|task| task.phase == Phase::Running) else { return };
        let whole_ms = task.fate.map_or(1.0, |fate| fate.whole_ms).max(1e-6);
        let fraction = ((self.now_ms - task.started_ms) / whole_ms).clamp(0.0, 1.0) as f32;
        self.tell(id, Said::Progress(id, fraction));
        self.queue.push(self.now_ms + TELL_MS, What::Tells(id));
    }

    pub(super) fn finishes(&mut self, id: TaskId) {
        let now_ms = self.now_ms;
        let Some(task) = self.tasks.get_mut(&id).filter(|task| task.phase == Phase::Running) else { return };
        let index = task.peer;
        task.execution_ms = now_ms - task.started_ms;
        let fate = task.fate.filter(|fate| fate.fails);
        self.recorder.worked(task, now_ms, fate.is_some());
        if let Some(fate) = fate {
            task.phase = Phase::Gone;
            let measured = task.measured;
            self.free(index, id);
            self.recorder.attempt_failed(measured);
            if !fate.silently {
                self.tell(id, Said::Failed(id));
            }
            self.copy_lost(id);
        } else {
            (task.phase, task.sending_ms) = (Phase::Sending, now_ms);
            let bytes = task.bytes;
            self.free(index, id);
            self.send_result(id, index, bytes);
        }
        self.go_on(index);
    }

    fn free(&mut self, index: usize, id: TaskId) {
        if let Some(peer) = self.peers.get_mut(index) {
            peer.running.retain(|running| *running != id);
        }
    }

    fn send_result(&mut self, id: TaskId, index: usize, bytes: f64) {
        let Some(peer) = self.peers.get(index) else { return };
        let (link, width) = (peer.link, peer.nature.bytes_per_ms());
        let factor = self.link_factor(link);
        if let Some(link) = self.links.get_mut(link) {
            link.send(self.now_ms, factor, id, index, bytes, width);
        }
        self.appoint(link, factor);
    }

    /// Makes the appointment at which the next result has been sent.
    pub(super) fn appoint(&mut self, link: usize, factor: f64) {
        if let Some(line) = self.links.get(link)
            && let Some(at_ms) = line.next_ms(factor)
        {
            self.queue.push(at_ms, What::LinkStep(link, line.generation));
        }
    }

    /// The factor that faults put on a link: the worst of its peers'.
    pub(super) fn link_factor(&self, link: usize) -> f64 {
        if self.active_faults.is_empty() {
            return 1.0;
        }
        let peers = self.peers.iter().filter(|peer| peer.link == link);
        peers.map(|peer| peer.trouble.bandwidth_factor).fold(1.0, f64::min)
    }

    pub(super) fn link_step(&mut self, link: usize, generation: u64) {
        let factor = self.link_factor(link);
        let Some(line) = self.links.get_mut(link).filter(|line| line.generation == generation) else {
            return;
        };
        for id in line.take_sent(self.now_ms, factor) {
            let Some(task) = self.tasks.get_mut(&id) else { continue };
            task.phase = Phase::Returning;
            let (peer, session, bytes) = (task.peer, task.session, task.bytes);
            let late_ms = self.peers.get(peer).map_or(0.0, |peer| peer.trouble.late_ms);
            let later_ms =
                if late_ms > 0.0 { self.dice(Purpose::Fault, &[id.0]).between(0.0, late_ms) } else { 0.0 };
            self.say(peer, session, Said::Result(id), bytes, later_ms);
        }
        self.appoint(link, factor);
    }

    pub(super) fn cancel_arrives(&mut self, id: TaskId, index: usize, session: Session) {
        let now_ms = self.now_ms;
        let link = self.peers.get(index).map_or(0, |peer| peer.link);
        let factor = self.link_factor(link);
        let Some(peer) = self.peers.get_mut(index).filter(|peer| peer.present && peer.session == session)
        else {
            return self.forget(id);
        };
        let finished = match self.tasks.get_mut(&id) {
            Some(task) if task.peer == index => {
                match task.phase {
                    Phase::Queued => peer.queue.retain(|queued| *queued != id),
                    Phase::Running => {
                        peer.running.retain(|running| *running != id);
                        self.recorder.worked(task, now_ms, false);
                    }
                    Phase::Sending => {
                        if let Some(line) = self.links.get_mut(peer.link) {
                            line.stop(now_ms, factor, id);
                        }
                    }
                    Phase::Travelling | Phase::Returning | Phase::Gone => {}
                }
                let finished = matches!(task.phase, Phase::Sending | Phase::Returning);
                if task.phase != Phase::Returning {
                    task.phase = Phase::Gone;
                }
                finished
            }
            _ => false,
        };
        self.appoint(link, factor);
        self.say(index, session, Said::Cancelled(id, finished), MESSAGE_BYTES, 0.0);
        self.go_on(index);
    }

    // ---- coming and going

    /// A peer is gone, with all that it holds. `said`: whether the coordinator hears of it at once.
    pub(super) fn peer_leaves(&mut self, index: usize, said: bool) {
        let now_ms = self.now_ms;
        let Some(peer) = self.peers.get_mut(index).filter(|peer| peer.present) else { return };
        let (session, link) = (peer.session, peer.link);
        self.recorder.presence(peer, now_ms);
        peer.present = false;
        peer.session += 1;
        self.drop_tasks(index, session, link);
        if said {
            self.say(index, session, Said::Left, MESSAGE_BYTES, 0.0);
        }
    }

    /// All tasks of a session are gone at the peer; results that are on their way still arrive.
    pub(super) fn drop_tasks(&mut self, index: usize, session: Session, link: usize) {
        let now_ms = self.now_ms;
        if let Some(peer) = self.peers.get_mut(index) {
            peer.queue.clear();
            peer.running.clear();
        }
        let held: Vec<TaskId> = self
            .tasks
            .iter()
            .filter(|(_, task)| task.peer == index && task.session == session)
            .filter(|(_, task)| !matches!(task.phase, Phase::Returning | Phase::Gone))
            .map(|(id, _)| *id)
            .collect();
        let factor = self.link_factor(link);
        for id in held {
            let Some(task) = self.tasks.get_mut(&id) else { continue };
            if task.phase == Phase::Running {
                self.recorder.worked(task, now_ms, true);
            }
            if task.phase == Phase::Sending
                && let Some(line) = self.links.get_mut(link)
            {
                line.stop(now_ms, factor, id);
            }
            task.phase = Phase::Gone;
            if task.wanted {
                self.recorder.attempt_failed(task.measured);
                self.copy_lost(id);
            } else {
                self.forget(id);
            }
        }
        self.appoint(link, factor);
    }

    /// A peer comes (back).
    pub(super) fn peer_joins(&mut self, index: usize) {
        let now_ms = self.now_ms;
        let Some(peer) = self.peers.get_mut(index).filter(|peer| !peer.present) else { return };
        (peer.present, peer.present_since_ms) = (true, now_ms);
        let session = peer.session;
        // A connection takes a round trip.
        let half_ms = self.way_ms(index, MESSAGE_BYTES);
        self.say(index, session, Said::Joined, MESSAGE_BYTES, half_ms);
        self.queue.push(self.first_beat_ms(index), What::Beat(index, session));
    }

    // ---- heartbeats

    fn beat_interval_ms(&self) -> f64 {
        self.setup.scenario.work.heartbeat_s * 1e3
    }

    /// Peers do not all speak at once.
    pub(super) fn first_beat_ms(&self, index: usize) -> f64 {
        let phase = self.dice(Purpose::Heartbeat, &[index as u64]).uniform();
        self.now_ms + phase * self.beat_interval_ms()
    }

    pub(super) fn beat(&mut self, index: usize, session: Session) {
        if self.peers.get(index).is_none_or(|peer| !peer.present || peer.session != session) {
            return;
        }
        let telemetry = self.telemetry(index);
        let round_trip_ms = self.way_ms(index, MESSAGE_BYTES) + self.way_ms(index, MESSAGE_BYTES);
        let said = Said::Beat(telemetry, round_trip_ms as f32, self.claimed_speed(index) as f32);
        self.say(index, session, said, MESSAGE_BYTES, 0.0);
        self.queue.push(self.now_ms + self.beat_interval_ms(), What::Beat(index, session));
    }

    /// Whether a peer lies now.
    fn lies(&self, index: usize) -> Option<crate::scenario::Lies> {
        let lies = self.peers.get(index)?.nature.spec.lies?;
        let measured = self.next_frame.saturating_sub(self.setup.scenario.work.warm_up + 1);
        let warm = self.next_frame > self.setup.scenario.work.warm_up;
        (lies.from_frame == 0 || (warm && measured >= lies.from_frame)).then_some(lies)
    }

    /// What a peer says of its state.
    pub(super) fn telemetry(&mut self, index: usize) -> Telemetry {
        let claimed = self.lies(index).and_then(|lies| lies.utilisation);
        let now_ms = self.now_ms;
        let Some(peer) = self.peers.get_mut(index) else { return Telemetry::default() };
        let utilisation = claimed.unwrap_or_else(|| peer.nature.utilisation(now_ms)) as f32;
        let uptime_s = ((now_ms - peer.present_since_ms) / 1e3) as f32;
        Telemetry { utilisation, cpu_load: utilisation, uptime_s, ..Telemetry::default() }
    }

    /// The speed that a peer claims.
    pub(super) fn claimed_speed(&self, index: usize) -> f64 {
        let claimed = self.lies(index).and_then(|lies| lies.speed);
        claimed.unwrap_or_else(|| self.peers.get(index).map_or(1.0, |peer| peer.nature.spec.speed))
    }
}
