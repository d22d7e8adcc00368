//! Faults at work.

use super::{
    Simulation,
    desk::RunId,
    queue::{Said, Session, What},
    state::{Run, Trouble},
};
use crate::fault::{Fault, FaultKind};

/// A peer that is silent for this long is taken for lost, ms, as in the node.
const SILENCE_MS: f64 = 5000.0;

impl Simulation<'_> {
    pub(super) fn schedule_faults(&mut self) {
        let Some(plan) = self.setup.faults else { return };
        for (index, fault) in plan.faults.iter().enumerate() {
            self.queue.push(fault.begin_ms, What::FaultBegins(index));
            self.queue.push(fault.end_ms, What::FaultEnds(index));
        }
    }

    /// A frozen peer does at its thaw what it should have done before.
    pub(super) fn held_up_until(&self, what: &What) -> Option<f64> {
        if self.active_faults.is_empty() {
            return None;
        }
        let index = match what {
            What::OfferArrives(task) | What::Finishes(task) | What::Tells(task) => self.tasks.get(task)?.peer,
            What::CancelArrives(_, peer, _) | What::Beat(peer, _) => *peer,
            _ => return None,
        };
        let until_ms = self.peers.get(index)?.trouble.frozen_until_ms;
        (until_ms > self.now_ms).then_some(until_ms)
    }

    pub(super) fn fault_begins(&mut self, index: usize) {
        let Some(fault) = self.setup.faults.and_then(|plan| plan.faults.get(index)).cloned() else { return };
        if fault.kind == FaultKind::CoordinatorRestart {
            return self.restart_coordinator();
        }
        for peer in self.befallen(&fault) {
            match fault.kind {
                FaultKind::Killed | FaultKind::HalfLeave => self.peer_leaves(peer, true),
                FaultKind::PowerLost => {
                    let session = self.peers.get(peer).map_or(0, |peer| peer.session);
                    self.peer_leaves(peer, false);
                    self.queue.push(self.now_ms + SILENCE_MS, What::Silence(peer, session));
                }
                FaultKind::Frozen | FaultKind::Partition | FaultKind::CutUp | FaultKind::CutDown => {
                    let session = self.peers.get(peer).map_or(0, |peer| peer.session);
                    self.queue.push(self.now_ms + SILENCE_MS, What::Silence(peer, session));
                }
                FaultKind::WrongResults(_) => {
                    if let Some(peer) = self.peers.get_mut(peer) {
                        peer.forger = true;
                    }
                }
                _ => {}
            }
        }
        self.active_faults.insert(index, fault.clone());
        self.trouble_changes(&fault);
    }

    pub(super) fn fault_ends(&mut self, index: usize) {
        let Some(fault) = self.active_faults.remove(&index) else { return };
        self.trouble_changes(&fault);
        for peer in self.befallen(&fault) {
            let Some(state) = self.peers.get(peer) else { continue };
            if !state.present {
                if matches!(fault.kind, FaultKind::Killed | FaultKind::PowerLost | FaultKind::HalfLeave) {
                    self.peer_joins(peer);
                }
            } else if state.heard_session != state.session {
                // The coordinator gave it up meanwhile: it connects anew.
                let session = state.session;
                self.say(peer, session, Said::Joined, 200.0, 0.0);
                self.queue.push(self.first_beat_ms(peer), What::Beat(peer, session));
            }
        }
    }

    /// The own device shares the coordinator's fate, not the network's.
    fn befallen(&self, fault: &Fault) -> Vec<usize> {
        let others = |peer: &&usize| self.peers.get(**peer).is_some_and(|state| !state.own);
        fault.peers.iter().filter(others).copied().collect()
    }

    fn trouble_changes(&mut self, fault: &Fault) {
        for index in self.befallen(fault) {
            let Some(link) = self.peers.get(index).map(|peer| peer.link) else { continue };
            let factor = self.peers.iter().filter(|peer| peer.link == link);
            let old = factor.map(|peer| peer.trouble.bandwidth_factor).fold(1.0, f64::min);
            if let Some(line) = self.links.get_mut(link) {
                line.refactor(self.now_ms, old);
            }
            let mut trouble = Trouble::NONE;
            for fault in self.active_faults.values().filter(|fault| fault.peers.contains(&index)) {
                add(&mut trouble, fault);
            }
            if let Some(peer) = self.peers.get_mut(index) {
                peer.trouble = trouble;
            }
            self.appoint(link, self.link_factor(link));
        }
    }

    /// Whether a peer ever had the fault of wrong results.
    pub(super) fn has_forged(&self, index: usize) -> bool {
        self.peers.get(index).is_some_and(|peer| peer.forger)
    }

    /// The coordinator has not heard of a peer for long, if that is still so.
    pub(super) fn silence(&mut self, index: usize, session: Session) {
        let Some(peer) = self.peers.get(index) else { return };
        if peer.heard_session != session || self.notes.get(index).is_none_or(|note| !note.up) {
            return;
        }
        let trouble = peer.trouble;
        let cut_ms = trouble.frozen_until_ms.max(trouble.cut_up_until_ms).max(trouble.cut_down_until_ms);
        let gone = !peer.present || peer.session != session;
        if !gone && cut_ms <= self.now_ms {
            return;
        }
        if !gone {
            let link = peer.link;
            if let Some(peer) = self.peers.get_mut(index) {
                peer.session += 1;
            }
            self.drop_tasks(index, session, link);
        }
        self.hear_lost(index);
    }

    /// Everything that the coordinator held is gone; it connects anew and begins its frames anew.
    fn restart_coordinator(&mut self) {
        self.coordinator.restart();
        for task in self.tasks.values_mut() {
            task.wanted = false;
        }
        for index in 0..self.peers.len() {
            let Some(peer) = self.peers.get_mut(index) else { continue };
            let (session, link) = (peer.session, peer.link);
            // A new epoch: tasks of the old one are nobody's.
            peer.session += 1;
            let reachable = peer.present
                && [
                    peer.trouble.frozen_until_ms,
                    peer.trouble.cut_up_until_ms,
                    peer.trouble.cut_down_until_ms,
                ]
                .into_iter()
                .all(|until_ms| until_ms <= self.now_ms);
            self.drop_tasks(index, session, link);
            if let Some(note) = self.notes.get_mut(index) {
                (note.up, note.view.ready) = (false, false);
            }
            if reachable && self.notes.get(index).is_some_and(|note| !note.distrusted) {
                self.hear_joined(index);
                let session = session + 1;
                self.queue.push(self.first_beat_ms(index), What::Beat(index, session));
            }
        }
        let again: Vec<(RunId, Run)> = std::mem::take(&mut self.runs).into_iter().collect();
        for (id, run) in again {
            let range = id.first_task()..RunId(id.0 + 1).first_task();
            let over: Vec<_> = self.tasks.range(range).map(|(id, _)| *id).collect();
            for task in over {
                self.forget(task);
            }
            self.start_run(Run {
                wake_at_ms: None,
                tiles: std::collections::BTreeSet::new(),
                film: std::collections::BTreeMap::new(),
                exposed: std::collections::BTreeSet::new(),
                ..run
            });
        }
    }
}

/// What a fault adds to a peer's trouble.
fn add(trouble: &mut Trouble, fault: &Fault) {
    let until = |at_ms: &mut f64| *at_ms = at_ms.max(fault.end_ms);
    match fault.kind {
        FaultKind::Frozen => until(&mut trouble.frozen_until_ms),
        FaultKind::Partition => {
            until(&mut trouble.cut_up_until_ms);
            until(&mut trouble.cut_down_until_ms);
        }
        FaultKind::CutUp => until(&mut trouble.cut_up_until_ms),
        FaultKind::CutDown => until(&mut trouble.cut_down_until_ms),
        FaultKind::Lossy { loss, twice } => {
            trouble.loss += loss;
            trouble.twice = trouble.twice.max(twice);
            trouble.reorders = true;
        }
        FaultKind::LatencyStep(more_ms) => trouble.latency_ms += more_ms,
        FaultKind::BandwidthCollapse(factor) => trouble.bandwidth_factor *= factor,
        FaultKind::OddClock(factor) => trouble.clock_factor *= factor,
        FaultKind::LateResults(late_ms) => trouble.late_ms = trouble.late_ms.max(late_ms),
        FaultKind::WrongResults(share) => trouble.wrong = trouble.wrong.max(share),
        FaultKind::Killed | FaultKind::PowerLost | FaultKind::HalfLeave | FaultKind::CoordinatorRestart => {}
    }
}
