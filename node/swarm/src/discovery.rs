//! Whom to dial, and when to look for more: the plan, without the network.
//!
//! Names come from tickets, earlier runs, mDNS, Kademlia and from peers themselves; they are candidates, never trusted. The node
//! keeps itself connected to a target number of peers (a small swarm becomes a full mesh), tries tickets and whom it
//! remembers again for ever while it is alone, lost neighbours every few seconds at first (a partition may heal), and asks
//! Kademlia often until nothing new comes up or it has neighbours enough in a crowd, then rarely.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

use libp2p::{Multiaddr, PeerId};

use crate::{
    address::{is_relayed_by, preferred},
    limit::{
        FORGET_LOST, MAX_ADDRESSES_PER_PEER, MAX_DIAL_ATTEMPTS, MAX_DIALS_PER_TICK, MAX_KNOWN_PEERS,
        MAX_LOST_NEIGHBOURS, RECENT_LOSS, TARGET_PEERS_IN_A_CROWD,
    },
};

/// Wait before the second dial; doubles with each further one.
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// Longest wait for a way in while the node is alone.
const MAX_RETRY_ALONE: Duration = Duration::from_secs(30);
/// Longest wait for a neighbour that was lost a short while ago.
const MAX_RETRY_LOST: Duration = Duration::from_secs(2);
/// A dial to such a neighbour is begun anew after this: what was lost on a line that was cut is repeated ever more seldom.
const LOST_DIAL_PATIENCE: Duration = Duration::from_secs(3);
/// But a dial gets as many round trips: to connect takes five or so, and some packets are lost.
const LOST_DIAL_ROUND_TRIPS: u32 = 12;
/// Every so many dials get all the time that a dial has: the line may have become slow.
const PATIENT_DIAL: u32 = 5;
/// Longest wait otherwise.
const MAX_RETRY: Duration = Duration::from_mins(5);
/// The peer with the larger id lets the other one dial first: two at once would leave two connections.
const YIELD: Duration = Duration::from_secs(2);
/// Between looks while they bring something new.
const EAGER_LOOK: Duration = Duration::from_secs(5);
/// Between looks in a swarm that is known.
const LAZY_LOOK: Duration = Duration::from_mins(2);
/// The same in a crowd, where each look makes some twenty connections; heartbeats say who is there.
const LAZY_LOOK_IN_A_CROWD: Duration = Duration::from_mins(10);
/// Looks without anything new, or in a crowd with neighbours enough, after which the swarm counts as known.
const QUIET_LOOKS: u32 = 3;

/// A peer to dial and its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dial {
    /// Whom.
    pub(crate) peer: PeerId,
    /// Where.
    pub(crate) addresses: Vec<Multiaddr>,
}

/// The plan of one node.
#[derive(Debug)]
pub(crate) struct Discovery {
    own: PeerId,
    target_peers: usize,
    /// Peers of the swarm that are known, as far as was told last.
    known_peers: usize,
    candidates: BTreeMap<PeerId, Candidate>,
    connected: BTreeSet<PeerId>,
    next_look: Instant,
    quiet_looks: u32,
    news: bool,
    /// A peer that was heard of without an address: asked for at the next look.
    wanted: Option<PeerId>,
}

#[derive(Debug)]
struct Candidate {
    addresses: Vec<Multiaddr>,
    origin: Origin,
    attempts: u32,
    next_dial: Instant,
    /// Since when it is being dialled.
    dialling: Option<Instant>,
    /// The last that was measured.
    round_trip: Option<Duration>,
    /// Where this node has reached it itself.
    reached: Option<Multiaddr>,
    /// Since when a neighbour that this node had reached is one no more.
    lost: Option<Instant>,
    /// Work with it broke off: until it is back it is worth a dial beyond the target.
    missed: bool,
}

/// Where a candidate's name comes from, the most trustworthy last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    /// Somebody named it.
    Hearsay,
    /// It was a neighbour in an earlier run: kept while the node is alone.
    Memory,
    /// A ticket names it: never forgotten.
    Ticket,
}

impl Discovery {
    /// A plan that knows nobody.
    pub(crate) fn new(own: PeerId, target_peers: usize, now: Instant) -> Self {
        Self {
            own,
            target_peers,
            known_peers: 0,
            candidates: BTreeMap::new(),
            connected: BTreeSet::new(),
            next_look: now,
            quiet_looks: 0,
            news: false,
            wanted: None,
        }
    }

    /// Adds a way into the swarm, to be tried at once.
    pub(crate) fn add_seed(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, now: Instant) {
        self.try_at_once(peer, addresses, Origin::Ticket, now);
    }

    /// Adds a neighbour from an earlier run, to be tried at once.
    pub(crate) fn remember(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, now: Instant) {
        self.try_at_once(peer, addresses, Origin::Memory, now);
    }

    fn try_at_once(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, origin: Origin, now: Instant) {
        self.learn(peer, addresses, now);
        if let Some(candidate) = self.candidates.get_mut(&peer) {
            candidate.origin = candidate.origin.max(origin);
            candidate.attempts = 0;
            candidate.next_dial = now;
        }
    }

    /// Notes a peer and where it may be found.
    pub(crate) fn learn(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, now: Instant) {
        let leads_elsewhere = |address: &Multiaddr| !is_relayed_by(address, &self.own);
        let addresses: Vec<Multiaddr> = addresses.into_iter().filter(leads_elsewhere).collect();
        if peer == self.own || addresses.is_empty() {
            return;
        }
        if !self.candidates.contains_key(&peer) {
            if self.candidates.len() >= MAX_KNOWN_PEERS {
                return;
            }
            self.news = true;
        }
        let first_dial = if self.own < peer { now } else { now + YIELD };
        let candidate = self.candidates.entry(peer).or_insert_with(|| Candidate {
            addresses: Vec::new(),
            origin: Origin::Hearsay,
            attempts: 0,
            next_dial: first_dial,
            dialling: None,
            round_trip: None,
            reached: None,
            lost: None,
            missed: false,
        });
        for address in addresses {
            if !candidate.addresses.contains(&address) {
                candidate.addresses.insert(0, address);
            }
        }
        candidate.addresses.truncate(MAX_ADDRESSES_PER_PEER);
    }

    /// Notes a peer that was heard of, but not where it is. Who has neighbours enough asks when there is something to do with it.
    pub(crate) fn heard_of(&mut self, peer: PeerId, now: Instant) {
        if self.room() > 0
            && peer != self.own
            && !self.candidates.contains_key(&peer)
            && self.wanted.is_none()
        {
            self.wanted = Some(peer);
            self.next_look = self.next_look.min(now + FIRST_RETRY);
        }
    }

    /// Notes that work with a peer broke off because it fell silent.
    pub(crate) fn miss(&mut self, peer: &PeerId) {
        if let Some(candidate) = self.candidates.get_mut(peer) {
            candidate.missed = true;
        }
    }

    /// Whether a ticket leads to the peer.
    pub(crate) fn is_ticket(&self, peer: &PeerId) -> bool {
        self.candidates.get(peer).is_some_and(|candidate| candidate.origin == Origin::Ticket)
    }

    /// Where a peer may be found.
    pub(crate) fn addresses(&self, peer: &PeerId) -> &[Multiaddr] {
        self.candidates.get(peer).map_or(&[], |candidate| &candidate.addresses)
    }

    /// Notes that a connection to the peer is up, and at which address this node has dialled it, if it has. A new neighbour may
    /// know others.
    pub(crate) fn connected(&mut self, peer: PeerId, dialled: Option<Multiaddr>, now: Instant) {
        self.connected.insert(peer);
        if let Some(candidate) = self.candidates.get_mut(&peer) {
            candidate.attempts = 0;
            candidate.dialling = None;
            candidate.lost = None;
            candidate.missed = false;
            candidate.reached = dialled.or(candidate.reached.take());
        }
        self.look_soon(now);
    }

    /// Notes that the last connection to the peer is gone.
    pub(crate) fn disconnected(&mut self, peer: PeerId, now: Instant) {
        self.connected.remove(&peer);
        let wait = if self.own < peer { FIRST_RETRY } else { YIELD };
        if let Some(candidate) = self.candidates.get_mut(&peer) {
            candidate.next_dial = now + wait;
            // Where somebody else says that he is, nobody may be: only what was reached is dialled often.
            candidate.lost = candidate.reached.is_some().then_some(now);
        }
        self.keep_latest_lost();
        self.look_soon(now);
    }

    /// Whoever comes and goes under ever new names does not fill the plan with them.
    fn keep_latest_lost(&mut self) {
        let lost = || self.candidates.iter().filter_map(|(peer, candidate)| Some((candidate.lost?, *peer)));
        if lost().count() > MAX_LOST_NEIGHBOURS
            && let Some(candidate) = lost().min().and_then(|(_, peer)| self.candidates.get_mut(&peer))
        {
            candidate.lost = None;
        }
    }

    /// Notes a dial that failed.
    pub(crate) fn dial_failed(&mut self, peer: PeerId, now: Instant) {
        if self.connected.contains(&peer) {
            return;
        }
        let Some(candidate) = self.candidates.get_mut(&peer) else { return };
        candidate.dialling = None;
        let limit = match candidate.lost {
            Some(_) if candidate.is_recently_lost(now) => MAX_RETRY_LOST,
            _ if self.connected.is_empty() => MAX_RETRY_ALONE,
            _ => MAX_RETRY,
        };
        let wait = FIRST_RETRY.saturating_mul(1 << candidate.attempts.saturating_sub(1).min(16)).min(limit);
        candidate.next_dial = now + jittered(wait, (self.own, peer, candidate.attempts));
        let is_kept =
            match candidate.origin {
                Origin::Ticket => true,
                Origin::Memory => self.connected.is_empty(),
                Origin::Hearsay => false,
            } || candidate.lost.is_some_and(|lost| now.saturating_duration_since(lost) < FORGET_LOST);
        if !is_kept && candidate.attempts >= MAX_DIAL_ATTEMPTS {
            self.candidates.remove(&peer);
        }
    }

    /// Notes how far it is to a neighbour.
    pub(crate) fn note_round_trip(&mut self, peer: &PeerId, round_trip: Duration) {
        if let Some(candidate) = self.candidates.get_mut(peer) {
            candidate.round_trip = Some(round_trip);
        }
    }

    /// A dial was given up to be begun anew.
    pub(crate) fn dial_given_up(&mut self, peer: &PeerId, now: Instant) {
        if let Some(candidate) = self.candidates.get_mut(peer).filter(|_| !self.connected.contains(peer)) {
            candidate.dialling = None;
            candidate.next_dial = now;
        }
    }

    /// Whom to dial now, in a swarm of which so many peers are known. A first attempt goes to the addresses that are likely
    /// best, later ones go to all.
    pub(crate) fn dials(&mut self, known_peers: usize, now: Instant) -> Vec<Dial> {
        self.known_peers = known_peers;
        let room = self.room();
        let mut due: Vec<(&PeerId, &mut Candidate)> = self
            .candidates
            .iter_mut()
            .filter(|(peer, candidate)| !self.connected.contains(*peer) && candidate.next_dial <= now)
            .filter(|(_, candidate)| room > 0 || candidate.is_worth_more_than_the_target(now))
            .collect();
        due.sort_by_key(|(_, candidate)| candidate.next_dial);
        due.into_iter()
            .take(room.clamp(1, MAX_DIALS_PER_TICK))
            .map(|(peer, candidate)| candidate.dial(*peer, now))
            .collect()
    }

    /// Neighbours lost a short while ago whose dial takes so long that a new one will be sooner there.
    pub(crate) fn overdue(&self, now: Instant) -> Vec<PeerId> {
        let is_overdue = |candidate: &Candidate| {
            let since = candidate.dialling.filter(|_| candidate.is_recently_lost(now));
            let patience =
                LOST_DIAL_PATIENCE.max(candidate.round_trip.unwrap_or_default() * LOST_DIAL_ROUND_TRIPS);
            !candidate.attempts.is_multiple_of(PATIENT_DIAL)
                && since.is_some_and(|since| now.saturating_duration_since(since) >= patience)
        };
        let overdue = self.candidates.iter().filter(|(_, candidate)| is_overdue(candidate));
        overdue.map(|(peer, _)| *peer).filter(|peer| !self.connected.contains(peer)).collect()
    }

    /// What to ask Kademlia for now, if anything: mostly ourselves, for our neighbourhood holds a small swarm whole.
    pub(crate) fn look(&mut self, now: Instant) -> Option<PeerId> {
        if now < self.next_look || self.connected.is_empty() {
            return None;
        }
        let settled = self.is_settled();
        let news = std::mem::take(&mut self.news) && !settled;
        self.quiet_looks = if news { 0 } else { self.quiet_looks.saturating_add(1) };
        self.next_look = now
            + match self.quiet_looks < QUIET_LOOKS {
                true => EAGER_LOOK,
                false if settled => LAZY_LOOK_IN_A_CROWD,
                false => LAZY_LOOK,
            };
        Some(self.wanted.take().unwrap_or(self.own))
    }

    /// How many more peers to connect to.
    fn room(&self) -> usize {
        let in_a_crowd = self.target_peers.min(TARGET_PEERS_IN_A_CROWD);
        let target = if self.is_crowd() { in_a_crowd } else { self.target_peers };
        target.saturating_sub(self.connected.len())
    }

    /// Whether the node is in a crowd and has neighbours enough.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_crowd() && self.room() == 0
    }

    /// Whether there are more peers than a small swarm has, whose nodes are all connected to each other.
    fn is_crowd(&self) -> bool {
        self.known_peers > self.target_peers
    }

    fn look_soon(&mut self, now: Instant) {
        if self.room() == 0 {
            return;
        }
        self.quiet_looks = 0;
        self.next_look = self.next_look.min(now + FIRST_RETRY);
    }
}

impl Candidate {
    fn dial(&mut self, peer: PeerId, now: Instant) -> Dial {
        let addresses = match &self.reached {
            Some(reached) if self.is_recently_lost(now) => vec![reached.clone()],
            _ if self.attempts == 0 => preferred(&self.addresses),
            _ => self.addresses.clone(),
        };
        self.attempts = self.attempts.saturating_add(1);
        // Until the outcome is known; should it never be told, the peer is tried again.
        self.next_dial = now + MAX_RETRY_ALONE;
        self.dialling = Some(now);
        Dial { peer, addresses }
    }

    /// A ticket's node may be the bridge to the rest of a split swarm, and work waits for one that is missed.
    fn is_worth_more_than_the_target(&self, now: Instant) -> bool {
        self.origin == Origin::Ticket || (self.missed && self.is_recently_lost(now))
    }

    fn is_recently_lost(&self, now: Instant) -> bool {
        self.lost.is_some_and(|lost| now.saturating_duration_since(lost) < RECENT_LOSS)
    }
}

/// Between half of the wait and all of it. The nodes of a swarm differ in `salt`, so they do not dial in step; that
/// is all that is asked of it, and it keeps the plan reproducible.
fn jittered(wait: Duration, salt: impl Hash) -> Duration {
    let mut hasher = DefaultHasher::new();
    salt.hash(&mut hasher);
    let share = (hasher.finish() % 1024) as f64 / 1024.0;
    wait.mul_f64(0.5 + share / 2.0)
}

#[cfg(test)]
mod tests;
