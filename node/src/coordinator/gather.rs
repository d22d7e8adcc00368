//! Before the first tile: which peers could help, and when waiting for them is no longer worth it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use p2c2r_protocol::id::NodeId;

/// A frame starts this long after its job at the latest, with whoever has the scene; the others join as they are ready.
const GRACE: Duration = Duration::from_millis(2500);
/// A peer that could not help is asked again after this, and after twice as long each time it still cannot.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// That wait doubles no more often.
const MAX_DOUBLINGS: u32 = 6;
/// With a number of peers asked for, they get this long, and as long again whenever one gets on with fetching the scene.
const WAIT_LIMIT: Duration = Duration::from_mins(2);

/// What came of asking a peer to help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Candidate {
    /// A session is being opened, or the scene is on its way.
    Pending,
    /// It has the scene.
    Ready,
    /// It cannot help with this frame.
    Failed,
}

/// The peers asked for one job.
pub struct Gathering {
    since: Instant,
    wanted: Option<usize>,
    candidates: BTreeMap<NodeId, Candidate>,
    failures: BTreeMap<NodeId, Failures>,
    /// Whether the list of known peers has been looked at since the job began.
    looked: bool,
    /// When one of them got on with fetching the scene.
    moved: Instant,
}

/// Why a peer is not asked again at once.
#[derive(Debug, Clone, Copy)]
struct Failures {
    /// How often it could not help.
    count: u32,
    /// When last.
    last: Instant,
    /// Whether there has been no connection to it since.
    out_of_reach: bool,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Peers may still come.
    Wait,
    /// Start with those that are ready.
    Start,
    /// Too few came.
    GiveUp {
        /// How many were wanted.
        wanted: usize,
        /// How many are ready.
        ready: usize,
        /// How long was waited, s.
        waited_s: u64,
    },
}

impl Gathering {
    /// Nobody asked yet.
    pub fn new(since: Instant, wanted: Option<usize>, has_swarm: bool) -> Self {
        Self {
            since,
            wanted,
            candidates: BTreeMap::new(),
            failures: BTreeMap::new(),
            looked: !has_swarm,
            moved: since,
        }
    }

    /// When the job began.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Notes that the list of known peers was looked at, and who is connected.
    pub fn note_looked(&mut self, connected: &BTreeSet<NodeId>) {
        self.looked = true;
        for (peer, failures) in &mut self.failures {
            failures.note_reach(connected.contains(peer));
        }
    }

    /// Whether the peer was not asked yet, or could not help and may be asked again.
    pub fn may_ask(&self, peer: NodeId, now: Instant) -> bool {
        match self.candidates.get(&peer) {
            None => true,
            Some(Candidate::Failed) => self.failures.get(&peer).is_none_or(|failures| failures.are_over(now)),
            Some(_) => false,
        }
    }

    /// Adds a peer that may be asked; `false` if there is nothing to ask.
    pub fn ask(&mut self, peer: NodeId, now: Instant) -> bool {
        let asked = self.may_ask(peer, now);
        if asked {
            self.candidates.insert(peer, Candidate::Pending);
        }
        asked
    }

    /// Whether the peer was asked for this job.
    pub fn asked(&self, peer: NodeId) -> bool {
        self.candidates.contains_key(&peer)
    }

    /// Notes what came of asking.
    pub fn settle(&mut self, peer: NodeId, outcome: Candidate, now: Instant) {
        let Some(candidate) = self.candidates.get_mut(&peer) else { return };
        let before = std::mem::replace(candidate, outcome);
        // Hearing of the same failure again is no further failure.
        if outcome == Candidate::Failed && before != Candidate::Failed {
            let count = self.failures.get(&peer).map_or(0, |failures| failures.count);
            let failures = Failures { count: count.saturating_add(1), last: now, out_of_reach: false };
            self.failures.insert(peer, failures);
        }
    }

    /// Notes that a peer gets on with fetching the scene.
    pub fn note_moved(&mut self, now: Instant) {
        self.moved = now;
    }

    /// Peers that help or may yet.
    pub fn engaged(&self) -> usize {
        self.candidates.values().filter(|candidate| **candidate != Candidate::Failed).count()
    }

    /// Peers that have the scene.
    pub fn ready(&self) -> usize {
        self.candidates.values().filter(|candidate| **candidate == Candidate::Ready).count()
    }

    /// Whether to start. `own_ready`: this node's own device has the scene, or takes no part.
    pub fn decide(&self, now: Instant, own_ready: bool) -> Decision {
        let (ready, waited) = (self.ready(), now.saturating_duration_since(self.since));
        let pending = self.candidates.values().any(|candidate| *candidate == Candidate::Pending);
        match self.wanted {
            Some(wanted) if ready < wanted => {
                if now.saturating_duration_since(self.moved) < WAIT_LIMIT {
                    Decision::Wait
                } else {
                    Decision::GiveUp { wanted, ready, waited_s: waited.as_secs() }
                }
            }
            _ if !own_ready || !self.looked => Decision::Wait,
            _ if pending && waited < GRACE => Decision::Wait,
            _ => Decision::Start,
        }
    }
}

impl Failures {
    /// One that is met again after it was out of reach has failed once: while it was away, it could not help.
    fn note_reach(&mut self, connected: bool) {
        if !connected {
            self.out_of_reach = true;
        } else if self.out_of_reach {
            (self.out_of_reach, self.count) = (false, 1);
        }
    }

    fn are_over(&self, now: Instant) -> bool {
        let wait = ASK_AGAIN * 2_u32.pow(self.count.clamp(1, MAX_DOUBLINGS) - 1);
        now.saturating_duration_since(self.last) >= wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(index: u8) -> NodeId {
        NodeId::from_public_key([index; 32])
    }

    #[test]
    fn without_a_swarm_the_own_device_is_enough() {
        let start = Instant::now();
        let gathering = Gathering::new(start, None, false);
        assert_eq!(gathering.decide(start, false), Decision::Wait);
        assert_eq!(gathering.decide(start, true), Decision::Start);
    }

    #[test]
    fn pending_peers_are_waited_for_only_so_long() {
        let start = Instant::now();
        let mut gathering = Gathering::new(start, None, true);
        assert_eq!(gathering.decide(start, true), Decision::Wait, "nobody has looked yet");
        gathering.note_looked(&BTreeSet::new());
        assert!(gathering.ask(peer(1), start) && !gathering.ask(peer(1), start + GRACE));
        assert_eq!(gathering.decide(start, true), Decision::Wait);
        assert_eq!(gathering.decide(start + GRACE, true), Decision::Start);
        gathering.settle(peer(1), Candidate::Failed, start);
        assert_eq!(gathering.decide(start, true), Decision::Start);
    }

    #[test]
    fn a_peer_that_failed_is_asked_again_ever_more_seldom() {
        let start = Instant::now();
        let mut gathering = Gathering::new(start, None, true);
        gathering.ask(peer(1), start);
        gathering.settle(peer(1), Candidate::Failed, start);
        assert!(!gathering.ask(peer(1), start + ASK_AGAIN / 2));
        assert!(gathering.ask(peer(1), start + ASK_AGAIN));
        gathering.settle(peer(1), Candidate::Failed, start + ASK_AGAIN);
        assert!(!gathering.ask(peer(1), start + ASK_AGAIN * 2));
        assert!(gathering.ask(peer(1), start + ASK_AGAIN * 3));
        for later in 1..100 {
            gathering.settle(peer(1), Candidate::Failed, start + ASK_AGAIN * 3 + GRACE * later);
        }
        assert!(gathering.ask(peer(1), start + ASK_AGAIN * 64), "a failure that is only told again is one");
    }

    #[test]
    fn a_peer_that_was_cut_off_is_asked_soon_after_it_is_met_again() {
        let start = Instant::now();
        let mut gathering = Gathering::new(start, None, true);
        let mut now = start;
        for _ in 0..5 {
            assert!(gathering.ask(peer(1), now), "it is tried");
            gathering.settle(peer(1), Candidate::Failed, now);
            gathering.note_looked(&BTreeSet::from([peer(1)]));
            assert!(!gathering.ask(peer(1), now + ASK_AGAIN / 2));
            now += ASK_AGAIN * 32;
        }
        now -= ASK_AGAIN * 31;
        assert!(!gathering.ask(peer(1), now), "it was there and could not help");
        gathering.note_looked(&BTreeSet::new());
        assert!(!gathering.ask(peer(1), now), "it is away");
        gathering.note_looked(&BTreeSet::from([peer(1)]));
        assert!(gathering.ask(peer(1), now), "it is back");
    }

    #[test]
    fn wanted_peers_are_waited_for_and_missed() {
        let start = Instant::now();
        let mut gathering = Gathering::new(start, Some(1), true);
        gathering.note_looked(&BTreeSet::new());
        gathering.ask(peer(1), start);
        assert_eq!(gathering.decide(start + GRACE, true), Decision::Wait);
        assert_eq!(
            gathering.decide(start + WAIT_LIMIT, true),
            Decision::GiveUp { wanted: 1, ready: 0, waited_s: WAIT_LIMIT.as_secs() }
        );
        gathering.note_moved(start + WAIT_LIMIT / 2);
        assert_eq!(gathering.decide(start + WAIT_LIMIT, true), Decision::Wait, "the scene is on its way");
        gathering.settle(peer(1), Candidate::Ready, start);
        assert_eq!(gathering.decide(start, true), Decision::Start);
    }
}
