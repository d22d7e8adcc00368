//! Who might be a source of a download: whom to try, when again, and when there is no hope.

use std::{collections::BTreeMap, time::Duration};

use p2c2r_protocol::id::NodeId;

use crate::{
    error::BlobError,
    limit::{BLOB_RETRY, MAX_BLOB_ATTEMPTS, MAX_BLOB_CANDIDATES, MAX_BLOB_SOURCES},
};

/// One who is no owner may not have begun yet, and is tried more often and more patiently.
const MORE_ATTEMPTS: u32 = 3;
/// Waits double no more often than this.
const MAX_DOUBLINGS: u32 = 6;

/// Everybody that was named as a source.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    nodes: BTreeMap<NodeId, Candidate>,
    /// Why the last owner was lost, or anybody if none was.
    last_error: Option<(bool, BlobError)>,
}

#[derive(Debug)]
struct Candidate {
    is_owner: bool,
    failures: u32,
    state: State,
}

/// One that was just named: it is tried at once.
const NEW: Candidate = Candidate { is_owner: false, failures: 0, state: State::Waits(Duration::ZERO) };

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// To be tried then.
    Waits(Duration),
    /// Being tried, or in use.
    Open,
    /// Not to be tried any more.
    GivenUp,
}

impl Candidates {
    /// Adds somebody who is sure to have the package, however many others were named: owners are few.
    pub(super) fn add_owner(&mut self, node: NodeId) {
        self.nodes.entry(node).or_insert(NEW).is_owner = true;
    }

    /// Adds somebody who may have some of it, unless there are too many.
    pub(super) fn add(&mut self, node: NodeId) {
        if self.nodes.len() < MAX_BLOB_CANDIDATES {
            self.nodes.entry(node).or_insert(NEW);
        }
    }

    /// Those to be tried now, owners first; they count as open from here on. `open` are in use.
    pub(super) fn due(&mut self, now: Duration, open: usize) -> Vec<(NodeId, bool)> {
        let mut due: Vec<(NodeId, bool)> = self
            .nodes
            .iter()
            .filter(|(_, candidate)| matches!(candidate.state, State::Waits(until) if until <= now))
            .map(|(node, candidate)| (*node, candidate.is_owner))
            .collect();
        due.sort_by_key(|(_, is_owner)| !is_owner);
        // Whoever says that he has some does not keep out those who are sure to.
        let owners = due.iter().filter(|(_, is_owner)| *is_owner).count();
        due.truncate(owners.max(MAX_BLOB_SOURCES.saturating_sub(open)));
        for (node, _) in &due {
            if let Some(candidate) = self.nodes.get_mut(node) {
                candidate.state = State::Open;
            }
        }
        due
    }

    /// A source brought something: its failures are forgotten.
    pub(super) fn note_useful(&mut self, node: &NodeId) {
        if let Some(candidate) = self.nodes.get_mut(node) {
            candidate.failures = 0;
        }
    }

    /// A source was lost; it is tried again later if that may help.
    pub(super) fn failed(&mut self, node: NodeId, error: BlobError, now: Duration) {
        let Some(candidate) = self.nodes.get_mut(&node) else { return };
        candidate.failures += 1;
        let (attempts, may_help) = if candidate.is_owner {
            (MAX_BLOB_ATTEMPTS * 2, error.is_transient())
        } else {
            (MAX_BLOB_ATTEMPTS * MORE_ATTEMPTS, error.is_transient() || matches!(error, BlobError::NotHere))
        };
        candidate.state = if may_help && candidate.failures < attempts {
            let wait = BLOB_RETRY * 2_u32.pow((candidate.failures - 1).min(MAX_DOUBLINGS));
            State::Waits(now + super::jittered(wait))
        } else {
            State::GivenUp
        };
        if candidate.is_owner || self.last_error.as_ref().is_none_or(|(of_owner, _)| !of_owner) {
            self.last_error = Some((candidate.is_owner, error));
        }
    }

    /// Why nobody is left who could be tried; nothing while somebody is.
    pub(super) fn hopeless(&mut self) -> Option<BlobError> {
        let all_given_up = self.nodes.values().all(|candidate| candidate.state == State::GivenUp);
        all_given_up.then(|| self.last_error.take().map_or(BlobError::NotHere, |(_, error)| error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(index: u8) -> NodeId {
        NodeId::from_public_key([index; 32])
    }

    fn nodes(due: &[(NodeId, bool)]) -> Vec<NodeId> {
        due.iter().map(|(node, _)| *node).collect()
    }

    #[test]
    fn owners_come_first_and_nobody_is_tried_twice_at_once() {
        let mut candidates = Candidates::default();
        candidates.add(node(1));
        candidates.add_owner(node(2));
        assert_eq!(candidates.due(Duration::ZERO, MAX_BLOB_SOURCES - 1), [(node(2), true)]);
        assert_eq!(nodes(&candidates.due(Duration::ZERO, 1)), [node(1)]);
        candidates.add(node(1));
        assert_eq!(candidates.due(Duration::from_secs(9), 0), []);
    }

    #[test]
    fn who_fails_is_tried_again_later_and_not_for_ever() {
        let mut candidates = Candidates::default();
        candidates.add_owner(node(1));
        let mut now = Duration::ZERO;
        for _ in 0..2 * MAX_BLOB_ATTEMPTS {
            assert!(candidates.hopeless().is_none());
            assert_eq!(nodes(&candidates.due(now, 0)), [node(1)]);
            candidates.failed(node(1), BlobError::Busy, now);
            assert_eq!(candidates.due(now, 0), []);
            now += Duration::from_secs(10);
        }
        assert!(matches!(candidates.hopeless(), Some(BlobError::Busy)));
    }

    #[test]
    fn b30_a_liar_is_not_tried_again_and_the_others_are() {
        let mut candidates = Candidates::default();
        candidates.add_owner(node(1));
        candidates.add(node(2));
        candidates.due(Duration::ZERO, 0);
        candidates.failed(node(1), BlobError::Unexpected, Duration::ZERO);
        candidates.failed(node(2), BlobError::NotHere, Duration::ZERO);
        assert!(candidates.hopeless().is_none(), "the other may have just begun itself");
        assert_eq!(nodes(&candidates.due(Duration::from_secs(9), 0)), [node(2)]);
    }

    #[test]
    fn b23_only_so_many_are_ever_tried_however_many_are_named() {
        let mut candidates = Candidates::default();
        for index in 0..u8::MAX {
            candidates.add(node(index));
        }
        let mut tried = 0;
        loop {
            let due = candidates.due(Duration::ZERO, 0);
            if due.is_empty() {
                break;
            }
            tried += due.len();
            for (node, _) in due {
                candidates.failed(node, BlobError::Unexpected, Duration::ZERO);
            }
        }
        assert_eq!(tried, MAX_BLOB_CANDIDATES);
        candidates.add_owner(node(u8::MAX));
        assert_eq!(candidates.due(Duration::ZERO, 0), [(node(u8::MAX), true)], "they keep no owner out");
    }
}
