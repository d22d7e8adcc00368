//! Which heartbeats are believed and passed on: the judgement, without the network.

use std::{collections::HashMap, time::Instant};

use libp2p::PeerId;
use p2c2r_protocol::{
    heartbeat::{Heartbeat, HeartbeatError, ReplayGuard, open},
    id::NodeId,
};

use crate::limit::{
    HEARTBEAT_WINDOW, MAX_HEARTBEATS_PER_NEIGHBOUR, MAX_INVALID_HEARTBEATS, MAX_KNOWN_PEERS,
    MIN_HEARTBEAT_GAP,
};

/// What becomes of a message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    /// New and valid: believe it and pass it on.
    Accept(NodeId, Box<Heartbeat>),
    /// Nothing wrong, nothing new: drop it.
    Ignore,
    /// No honest node passes this on.
    Reject {
        /// The neighbour has done so too often.
        block: bool,
    },
}

/// Judges the heartbeats that come in.
#[derive(Debug)]
pub(crate) struct HeartbeatJudge {
    own: NodeId,
    guard: ReplayGuard,
    last_accepted: HashMap<NodeId, Instant>,
    neighbours: HashMap<PeerId, Neighbour>,
}

#[derive(Debug)]
struct Neighbour {
    window_start: Instant,
    in_window: u32,
    invalid: u32,
}

impl HeartbeatJudge {
    /// A judge of the node's own id, who has heard nothing yet.
    pub(crate) fn new(own: NodeId) -> Self {
        Self { own, guard: ReplayGuard::default(), last_accepted: HashMap::new(), neighbours: HashMap::new() }
    }

    /// Judges a message that a neighbour passed on. `now_unix_ms` is the wall clock.
    pub(crate) fn judge(
        &mut self,
        neighbour: PeerId,
        message: &[u8],
        now: Instant,
        now_unix_ms: u64,
    ) -> Verdict {
        // Before anything else: a signature costs more to check than to send.
        if !self.within_rate(neighbour, now) {
            return Verdict::Ignore;
        }
        let Ok((node, heartbeat)) = open(message) else { return self.reject(neighbour) };
        if node == self.own || self.too_soon(node, now) {
            return Verdict::Ignore;
        }
        match self.guard.admit(node, &heartbeat, now_unix_ms) {
            Ok(()) => {
                self.last_accepted.insert(node, now);
                Verdict::Accept(node, Box::new(heartbeat))
            }
            // The neighbour's clock, or its view of what is new, may differ from ours.
            Err(HeartbeatError::Replay | HeartbeatError::Clock(_)) => Verdict::Ignore,
            Err(_) => self.reject(neighbour),
        }
    }

    fn within_rate(&mut self, neighbour: PeerId, now: Instant) -> bool {
        if self.neighbours.len() >= MAX_KNOWN_PEERS && !self.neighbours.contains_key(&neighbour) {
            self.neighbours.clear();
        }
        let fresh = Neighbour { window_start: now, in_window: 0, invalid: 0 };
        let neighbour = self.neighbours.entry(neighbour).or_insert(fresh);
        if now.saturating_duration_since(neighbour.window_start) >= HEARTBEAT_WINDOW {
            neighbour.window_start = now;
            neighbour.in_window = 0;
        }
        neighbour.in_window = neighbour.in_window.saturating_add(1);
        neighbour.in_window <= MAX_HEARTBEATS_PER_NEIGHBOUR
    }

    fn too_soon(&mut self, node: NodeId, now: Instant) -> bool {
        let recent = |last: &Instant| now.saturating_duration_since(*last) < MIN_HEARTBEAT_GAP;
        if self.last_accepted.len() >= MAX_KNOWN_PEERS {
            self.last_accepted.retain(|_, last| recent(last));
        }
        self.last_accepted.get(&node).is_some_and(recent)
    }

    fn reject(&mut self, neighbour: PeerId) -> Verdict {
        let Some(neighbour) = self.neighbours.get_mut(&neighbour) else {
            return Verdict::Reject { block: false };
        };
        neighbour.invalid += 1;
        Verdict::Reject { block: neighbour.invalid >= MAX_INVALID_HEARTBEATS }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use p2c2r_protocol::{
        heartbeat::{ExactnessClass, seal},
        sign::SecretKey,
        task::Load,
    };

    use super::*;

    const NOW_MS: u64 = 1_800_000_000_000;

    fn sealed(seed: u8, sequence: u64) -> Vec<u8> {
        let heartbeat = Heartbeat {
            sequence,
            unix_ms: NOW_MS,
            started_unix_ms: NOW_MS - 1000,
            software: "test".into(),
            backend: "cpu".into(),
            adapter: "test".into(),
            exactness: ExactnessClass::Exact,
            mrays_per_s: 1.0,
            threads: 1,
            kinds: vec![],
            contributing: true,
            load: Load::default(),
            price: 0,
            scenes: vec![],
        };
        seal(&heartbeat, &SecretKey::from_seed([seed; 32])).unwrap()
    }

    fn judge() -> (HeartbeatJudge, PeerId, Instant) {
        (HeartbeatJudge::new(SecretKey::from_seed([1; 32]).node_id()), PeerId::random(), Instant::now())
    }

    #[test]
    fn a_heartbeat_is_accepted_once() {
        let (mut judge, neighbour, now) = judge();
        let first = judge.judge(neighbour, &sealed(2, 1), now, NOW_MS);
        assert!(matches!(first, Verdict::Accept(node, _) if node == SecretKey::from_seed([2; 32]).node_id()));
        let later = now + MIN_HEARTBEAT_GAP;
        assert_eq!(judge.judge(neighbour, &sealed(2, 1), later, NOW_MS), Verdict::Ignore, "a replay");
        assert!(matches!(judge.judge(neighbour, &sealed(2, 2), later, NOW_MS), Verdict::Accept(..)));
        assert_eq!(judge.judge(neighbour, &sealed(1, 1), later, NOW_MS), Verdict::Ignore, "our own");
        assert_eq!(
            judge.judge(neighbour, &sealed(3, 1), later, NOW_MS + 60_000),
            Verdict::Ignore,
            "a bad clock"
        );
    }

    #[test]
    fn b20_a_sender_that_hurries_is_not_passed_on() {
        let (mut judge, neighbour, now) = judge();
        assert!(matches!(judge.judge(neighbour, &sealed(2, 1), now, NOW_MS), Verdict::Accept(..)));
        assert_eq!(judge.judge(neighbour, &sealed(2, 2), now, NOW_MS), Verdict::Ignore);
        assert!(matches!(
            judge.judge(neighbour, &sealed(2, 2), now + MIN_HEARTBEAT_GAP, NOW_MS),
            Verdict::Accept(..)
        ));
    }

    #[test]
    fn b20_a_neighbour_that_floods_is_dropped_unread() {
        let (mut judge, neighbour, now) = judge();
        for _ in 0..MAX_HEARTBEATS_PER_NEIGHBOUR {
            judge.judge(neighbour, b"", now, NOW_MS);
        }
        assert_eq!(judge.judge(neighbour, &sealed(2, 1), now, NOW_MS), Verdict::Ignore);
        assert!(matches!(judge.judge(PeerId::random(), &sealed(2, 1), now, NOW_MS), Verdict::Accept(..)));
        let later = now + HEARTBEAT_WINDOW + Duration::from_millis(1);
        assert!(matches!(judge.judge(neighbour, &sealed(2, 2), later, NOW_MS), Verdict::Accept(..)));
    }

    #[test]
    fn b19_who_keeps_passing_on_forgeries_is_blocked() {
        let (mut judge, neighbour, now) = judge();
        let mut forged = sealed(2, 1);
        if let Some(byte) = forged.last_mut() {
            *byte ^= 1;
        }
        for nth in 1..=MAX_INVALID_HEARTBEATS {
            let verdict = judge.judge(neighbour, &forged, now, NOW_MS);
            assert_eq!(verdict, Verdict::Reject { block: nth == MAX_INVALID_HEARTBEATS });
        }
    }
}
