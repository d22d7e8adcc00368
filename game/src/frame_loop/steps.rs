//! Steps under way: to whom they went, as the difference to what, and until when they are of use.

use std::{collections::BTreeMap, sync::Arc};

use p2c2r_protocol::{
    id::{NodeId, WorkKind},
    step::{STEP_SNAPSHOTS, StepRequest},
};

use crate::snapshot::Snapshot;

/// Steps of one kind that may be under way at one peer: so that the newest snapshot that it answered is still there.
const MAX_UNDER_WAY: usize = STEP_SNAPSHOTS / 2;
/// A step that is not answered for so long never will be, microseconds.
const FORGOTTEN_US: u64 = 2_000_000;

/// What is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// To whom.
    pub peer: NodeId,
    /// The step.
    pub request: StepRequest,
    /// The snapshot, as the difference to the base.
    pub payload: Vec<u8>,
}

/// A piece of work, whoever does it.
#[derive(Debug, Clone)]
pub struct Work {
    /// Its kind.
    pub kind: WorkKind,
    /// The moment that its snapshot shows.
    pub tick: u32,
    /// Frames to simulate.
    pub ticks: u16,
    /// What it starts from.
    pub snapshot: Arc<Snapshot>,
    /// The frame that it is due for, if it is due at all: probes are not.
    pub due: Option<u32>,
    /// When it was due, microseconds.
    pub due_at_us: u64,
    /// When its time is up, microseconds.
    pub until_us: u64,
}

/// One of them at a peer.
#[derive(Debug, Clone)]
pub struct OpenStep {
    /// At whom.
    pub peer: NodeId,
    /// As it was asked for.
    pub request: StepRequest,
    /// What it is.
    pub work: Work,
    /// When it was sent, microseconds.
    pub sent_at_us: u64,
    /// Whether its time has passed and that was noticed.
    pub overdue: bool,
}

/// All of them.
#[derive(Default)]
pub struct Steps {
    next_id: u64,
    open: BTreeMap<u64, OpenStep>,
    /// The newest snapshot that a peer has answered, by its step.
    bases: BTreeMap<(NodeId, WorkKind), (u64, Arc<Snapshot>)>,
}

impl Steps {
    /// Gives a piece of work to a peer; none if too many are under way there, or its time is up.
    pub fn give(&mut self, peer: NodeId, work: &Work, now_us: u64) -> Option<Command> {
        let under_way = self.open.values().filter(|step| step.peer == peer && step.work.kind == work.kind);
        let budget_us =
            u32::try_from(work.until_us.checked_sub(now_us)?).ok().filter(|budget| *budget > 0)?;
        if under_way.count() >= MAX_UNDER_WAY {
            return None;
        }
        self.next_id += 1;
        let base = self.bases.get(&(peer, work.kind));
        let request = StepRequest {
            id: self.next_id,
            kind: work.kind,
            tick: work.tick,
            ticks: work.ticks,
            base: base.map(|(id, _)| *id),
            snapshot: work.snapshot.hash(),
            budget_us,
        };
        let payload = work.snapshot.delta(base.map(|(_, snapshot)| snapshot.as_ref()));
        let step = OpenStep { peer, request, work: work.clone(), sent_at_us: now_us, overdue: false };
        self.open.insert(request.id, step);
        Some(Command { peer, request, payload })
    }

    /// A step was answered: what it brought is a base from now on.
    pub fn answered(&mut self, peer: NodeId, id: u64) -> Option<OpenStep> {
        let step = self.closed(peer, id)?;
        let base =
            self.bases.entry((peer, step.work.kind)).or_insert_with(|| (id, Arc::clone(&step.work.snapshot)));
        if base.0 < id {
            *base = (id, Arc::clone(&step.work.snapshot));
        }
        Some(step)
    }

    /// A step came to nothing.
    pub fn closed(&mut self, peer: NodeId, id: u64) -> Option<OpenStep> {
        if self.open.get(&id)?.peer != peer {
            return None;
        }
        self.open.remove(&id)
    }

    /// The peer does not have the snapshots that it answered: whole ones from now on.
    pub fn forget_base(&mut self, peer: NodeId, kind: WorkKind) {
        self.bases.remove(&(peer, kind));
    }

    /// A peer is gone: what it had under way.
    pub fn lost(&mut self, peer: NodeId) -> Vec<OpenStep> {
        self.bases.retain(|(of, _), _| *of != peer);
        let ids: Vec<u64> =
            self.open.iter().filter(|(_, step)| step.peer == peer).map(|(id, _)| *id).collect();
        ids.iter().filter_map(|id| self.open.remove(id)).collect()
    }

    /// Steps whose time has just passed, and forgets those that nobody will answer.
    pub fn overdue(&mut self, now_us: u64) -> Vec<OpenStep> {
        self.open.retain(|_, step| step.sent_at_us + FORGOTTEN_US > now_us);
        let late = self.open.values_mut().filter(|step| !step.overdue && step.work.until_us < now_us);
        late.map(|step| {
            step.overdue = true;
            step.clone()
        })
        .collect()
    }

    /// Steps of a frame's subsystem that are under way.
    pub fn of(&self, kind: WorkKind, due: u32) -> impl Iterator<Item = &OpenStep> {
        self.open.values().filter(move |step| step.work.kind == kind && step.work.due == Some(due))
    }

    /// All that are under way.
    pub fn all(&self) -> impl Iterator<Item = &OpenStep> {
        self.open.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(index: u8) -> NodeId {
        NodeId::from_public_key([index; 32])
    }

    fn work(value: i32) -> Work {
        Work {
            kind: WorkKind::Physics,
            tick: 1,
            ticks: 1,
            snapshot: Arc::new(Snapshot(vec![value; 100])),
            due: Some(1),
            due_at_us: 0,
            until_us: 16_000,
        }
    }

    #[test]
    fn what_a_peer_has_answered_is_not_sent_again() {
        let mut steps = Steps::default();
        let first = steps.give(peer(1), &work(7), 0).unwrap();
        assert_eq!(first.request.base, None);
        let second = steps.give(peer(1), &work(7), 0).unwrap();
        assert_eq!(second.request.base, None, "what is on its way may not arrive");
        assert!(steps.answered(peer(2), first.request.id).is_none(), "somebody else's answer");
        steps.answered(peer(1), first.request.id).unwrap();
        let third = steps.give(peer(1), &work(7), 0).unwrap();
        assert_eq!((third.request.base, third.payload.len()), (Some(first.request.id), 2));
        assert_eq!(steps.give(peer(2), &work(7), 0).unwrap().request.base, None);
        steps.lost(peer(1));
        assert_eq!(steps.give(peer(1), &work(7), 0).unwrap().request.base, None);
    }

    #[test]
    fn a_peer_that_does_not_answer_is_not_buried_in_work() {
        let mut steps = Steps::default();
        let given = (0..20).filter(|_| steps.give(peer(1), &work(1), 0).is_some()).count();
        assert_eq!(given, MAX_UNDER_WAY);
        assert_eq!(steps.give(peer(2), &work(1), 16_000), None, "its time is up");
        assert_eq!(steps.overdue(16_001).len(), MAX_UNDER_WAY);
        assert_eq!(steps.overdue(16_002).len(), 0, "each is noticed once");
        steps.overdue(FORGOTTEN_US + 1);
        assert!(steps.give(peer(1), &Work { until_us: 9_000_000, ..work(1) }, FORGOTTEN_US + 1).is_some());
    }
}
