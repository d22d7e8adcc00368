//! What is known of every peer: its connections, its round trip, its newest heartbeat.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use libp2p::{Multiaddr, core::ConnectedPoint, swarm::ConnectionId};
use p2c2r_protocol::{
    heartbeat::{Heartbeat, interval},
    id::NodeId,
};

use crate::{
    address::transport,
    limit::{MAX_KNOWN_PEERS, MAX_PING_FAILURES, PUNCH_GRACE, RELAYED_AFTERLIFE},
};

/// Heartbeats that may be missed before a peer's last one no longer counts.
const STALE_INTERVALS: u32 = 3;

/// A peer as the node sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerStatus {
    /// Who.
    pub node: NodeId,
    /// Whether there is a connection to it.
    pub connected: bool,
    /// Where it says that it listens, as far as believable (multiaddrs); before it has, the ends of its connections.
    pub addresses: Vec<String>,
    /// What carries the best connection: `tcp`, `quic`, `webrtc` or `relay`.
    pub transport: Option<String>,
    /// Shortest round trip over its connections, newest ping of each, ms.
    pub round_trip_ms: Option<f32>,
    /// Its newest heartbeat, unless it is stale: older than three intervals.
    pub heartbeat: Option<Heartbeat>,
    /// How long ago its newest heartbeat came, ms.
    pub heartbeat_age_ms: Option<u64>,
}

/// All peers that are connected or were heard lately.
#[derive(Debug, Default)]
pub(crate) struct PeerTable {
    peers: BTreeMap<NodeId, Peer>,
}

#[derive(Debug, Default)]
struct Peer {
    connections: HashMap<ConnectionId, Connection>,
    claimed: Vec<Multiaddr>,
    heartbeat: Option<(Heartbeat, Instant)>,
    /// The attempt to meet directly has failed.
    is_punch_over: bool,
}

#[derive(Debug)]
struct Connection {
    remote: Multiaddr,
    /// Said by the endpoint: the address of a peer that called through a relay names none.
    is_relayed: bool,
    since: Instant,
    round_trip: Option<Duration>,
    failed_pings: u32,
}

impl PeerTable {
    /// Notes a connection; says whether it is the first one to this peer.
    pub(crate) fn connected(
        &mut self,
        node: NodeId,
        connection: ConnectionId,
        endpoint: &ConnectedPoint,
        now: Instant,
    ) -> bool {
        let peer = self.peers.entry(node).or_default();
        let new = Connection {
            remote: endpoint.get_remote_address().clone(),
            is_relayed: endpoint.is_relayed(),
            since: now,
            round_trip: None,
            failed_pings: 0,
        };
        peer.connections.insert(connection, new);
        peer.connections.len() == 1
    }

    /// Notes that the attempt to meet a peer directly, whom a relay leads to, has failed.
    pub(crate) fn punch_failed(&mut self, node: NodeId) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.is_punch_over = true;
        }
    }

    /// Whether what is begun with a connected peer now can stay on its connection: not while a direct one may be about to replace
    /// a relayed one.
    pub(crate) fn is_settled(&self, node: &NodeId, now: Instant) -> bool {
        let Some(peer) = self.peers.get(node) else { return false };
        let mut relayed = peer.connections.values().filter(|connection| connection.is_relayed).peekable();
        if relayed.peek().is_none() {
            return !peer.connections.is_empty();
        }
        let is_old = |connection: &Connection| now.saturating_duration_since(connection.since) >= PUNCH_GRACE;
        !peer.has_direct() && (peer.is_punch_over || relayed.all(is_old))
    }

    /// Relayed connections that a direct one has replaced: two would share the streams between them.
    pub(crate) fn replaced(&self, now: Instant) -> Vec<ConnectionId> {
        let is_over = |connection: &&Connection| {
            !connection.is_relayed && now.saturating_duration_since(connection.since) >= RELAYED_AFTERLIFE
        };
        let replaced = self.peers.values().filter(|peer| peer.connections.values().any(|c| is_over(&c)));
        let relayed =
            replaced.flat_map(|peer| &peer.connections).filter(|(_, connection)| connection.is_relayed);
        relayed.map(|(id, _)| *id).collect()
    }

    /// Whether one of the peer's connections goes over this transport.
    pub(crate) fn has_transport(&self, node: &NodeId, transport: &str) -> bool {
        let peer = self.peers.get(node);
        peer.is_some_and(|peer| {
            peer.connections.values().any(|connection| connection.transport() == transport)
        })
    }

    /// Forgets a connection; says whether it was the last one.
    pub(crate) fn disconnected(&mut self, node: NodeId, connection: ConnectionId) -> bool {
        let Some(peer) = self.peers.get_mut(&node) else { return false };
        let was_there = peer.connections.remove(&connection).is_some();
        let last = was_there && peer.connections.is_empty();
        peer.is_punch_over &= !peer.connections.is_empty();
        if last && peer.heartbeat.is_none() {
            self.peers.remove(&node);
        }
        last
    }

    /// Whether there is a connection to the peer.
    pub(crate) fn is_connected(&self, node: &NodeId) -> bool {
        self.peers.get(node).is_some_and(|peer| !peer.connections.is_empty())
    }

    /// Whether a relay carries this connection.
    pub(crate) fn is_relayed(&self, node: &NodeId, connection: ConnectionId) -> bool {
        let peer = self.peers.get(node);
        peer.and_then(|peer| peer.connections.get(&connection))
            .is_some_and(|connection| connection.is_relayed)
    }

    /// Where the other end of a connection is.
    pub(crate) fn remote(&self, node: &NodeId, connection: ConnectionId) -> Option<&Multiaddr> {
        Some(&self.peers.get(node)?.connections.get(&connection)?.remote)
    }

    /// Notes where a connected peer says it listens.
    pub(crate) fn claimed(&mut self, node: NodeId, addresses: Vec<Multiaddr>) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.claimed = addresses;
        }
    }

    /// Notes a ping that was answered.
    pub(crate) fn pinged(&mut self, node: NodeId, connection: ConnectionId, round_trip: Duration) {
        if let Some(connection) = self.connection(node, connection) {
            connection.round_trip = Some(round_trip);
            connection.failed_pings = 0;
        }
    }

    /// Notes a ping that failed; says whether the connection is to be given up.
    pub(crate) fn ping_failed(&mut self, node: NodeId, connection: ConnectionId) -> bool {
        self.connection(node, connection).is_some_and(|connection| {
            connection.failed_pings += 1;
            connection.failed_pings >= MAX_PING_FAILURES
        })
    }

    fn connection(&mut self, node: NodeId, connection: ConnectionId) -> Option<&mut Connection> {
        self.peers.get_mut(&node)?.connections.get_mut(&connection)
    }

    /// Notes a heartbeat. A stranger's is dropped when the table is full.
    pub(crate) fn heard(&mut self, node: NodeId, heartbeat: Heartbeat, now: Instant) {
        if self.peers.len() < MAX_KNOWN_PEERS || self.peers.contains_key(&node) {
            self.peers.entry(node).or_default().heartbeat = Some((heartbeat, now));
        }
    }

    /// Forgets peers that are neither connected nor heard.
    pub(crate) fn forget_stale(&mut self, now: Instant) {
        let limit = self.stale_after();
        self.peers.retain(|_, peer| {
            !peer.connections.is_empty() || peer.heartbeat_age(now).is_some_and(|age| age <= limit)
        });
    }

    /// The connected peers, and where they say that they listen.
    pub(crate) fn connected_at(&self) -> impl Iterator<Item = (NodeId, &[Multiaddr])> {
        let connected = self.peers.iter().filter(|(_, peer)| !peer.connections.is_empty());
        connected.map(|(node, peer)| (*node, peer.claimed.as_slice()))
    }

    /// The peer's connections that were there already at that time.
    pub(crate) fn connections_before(&self, node: &NodeId, time: Instant) -> Vec<ConnectionId> {
        let connections = self.peers.get(node).into_iter().flat_map(|peer| &peer.connections);
        connections.filter(|(_, connection)| connection.since <= time).map(|(id, _)| *id).collect()
    }

    /// The connected peers, each since when its newest connection is there.
    pub(crate) fn connected_since(&self) -> Vec<(NodeId, Instant)> {
        let newest = |peer: &Peer| peer.connections.values().map(|connection| connection.since).max();
        self.peers.iter().filter_map(|(node, peer)| Some((*node, newest(peer)?))).collect()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }

    /// Every peer.
    pub(crate) fn statuses(&self, now: Instant) -> Vec<PeerStatus> {
        let limit = self.stale_after();
        self.peers.iter().map(|(node, peer)| peer.status(*node, now, limit)).collect()
    }

    fn stale_after(&self) -> Duration {
        interval(self.peers.len() + 1) * STALE_INTERVALS
    }
}

impl Connection {
    fn transport(&self) -> &'static str {
        if self.is_relayed { "relay" } else { transport(&self.remote) }
    }
}

impl Peer {
    fn has_direct(&self) -> bool {
        self.connections.values().any(|connection| !connection.is_relayed)
    }

    fn heartbeat_age(&self, now: Instant) -> Option<Duration> {
        self.heartbeat.as_ref().map(|(_, heard)| now.saturating_duration_since(*heard))
    }

    fn status(&self, node: NodeId, now: Instant, stale_after: Duration) -> PeerStatus {
        let best = self
            .connections
            .values()
            .min_by_key(|connection| (connection.is_relayed, connection.round_trip.unwrap_or(Duration::MAX)));
        let age = self.heartbeat_age(now);
        let fresh = age.is_some_and(|age| age <= stale_after);
        PeerStatus {
            node,
            connected: best.is_some(),
            addresses: self.addresses(),
            transport: best.map(|connection| connection.transport().to_owned()),
            round_trip_ms: best
                .and_then(|connection| connection.round_trip)
                .map(|trip| trip.as_secs_f32() * 1e3),
            heartbeat: self.heartbeat.as_ref().filter(|_| fresh).map(|(heartbeat, _)| heartbeat.clone()),
            heartbeat_age_ms: age.map(|age| age.as_millis() as u64),
        }
    }

    fn addresses(&self) -> Vec<String> {
        if self.claimed.is_empty() {
            self.connections.values().map(|connection| connection.remote.to_string()).collect()
        } else {
            self.claimed.iter().map(ToString::to_string).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use p2c2r_protocol::{heartbeat::ExactnessClass, task::Load};

    use super::*;

    const NODE: NodeId = NodeId::from_public_key([1; 32]);

    fn heartbeat() -> Heartbeat {
        Heartbeat {
            sequence: 1,
            unix_ms: 0,
            started_unix_ms: 0,
            software: String::new(),
            backend: String::new(),
            adapter: String::new(),
            exactness: ExactnessClass::Exact,
            mrays_per_s: 0.0,
            threads: 1,
            kinds: vec![],
            contributing: true,
            load: Load::default(),
            price: 0,
            scenes: vec![],
        }
    }

    fn called(from: Multiaddr, at: &str) -> ConnectedPoint {
        ConnectedPoint::Listener { local_addr: at.parse().unwrap(), send_back_addr: from }
    }

    fn connection(number: usize) -> (ConnectionId, ConnectedPoint) {
        let from = "/ip4/127.0.0.1/udp/1/quic-v1".parse().unwrap();
        (ConnectionId::new_unchecked(number), called(from, "/ip4/127.0.0.1/udp/2/quic-v1"))
    }

    #[test]
    fn a_peer_is_connected_from_its_first_to_its_last_connection() {
        let mut table = PeerTable::default();
        let ((first, address), (second, _)) = (connection(1), connection(2));
        let now = Instant::now();
        assert!(table.connected(NODE, first, &address, now));
        assert!(!table.connected(NODE, second, &address, now));
        assert!(!table.disconnected(NODE, first));
        assert!(table.is_connected(&NODE));
        assert!(table.disconnected(NODE, second) && !table.disconnected(NODE, second));
        assert_eq!(table.statuses(Instant::now()), []);
    }

    #[test]
    fn the_best_connection_speaks_for_the_peer() {
        let mut table = PeerTable::default();
        let ((slow, quic), (fast, _)) = (connection(1), connection(2));
        table.connected(NODE, slow, &quic, Instant::now());
        let tcp = called("/ip4/127.0.0.1/tcp/1".parse().unwrap(), "/ip4/127.0.0.1/tcp/2");
        table.connected(NODE, fast, &tcp, Instant::now());
        table.pinged(NODE, slow, Duration::from_millis(9));
        table.pinged(NODE, fast, Duration::from_millis(2));
        let status = table.statuses(Instant::now()).remove(0);
        assert_eq!((status.transport.as_deref(), status.round_trip_ms), (Some("tcp"), Some(2.0)));
    }

    #[test]
    fn pings_that_fail_in_a_row_end_a_connection() {
        let mut table = PeerTable::default();
        let (id, address) = connection(1);
        table.connected(NODE, id, &address, Instant::now());
        assert!(!table.ping_failed(NODE, id));
        table.pinged(NODE, id, Duration::from_millis(1));
        assert!(!table.ping_failed(NODE, id));
        assert!(table.ping_failed(NODE, id));
    }

    #[test]
    fn a_direct_connection_replaces_a_relayed_one_and_nothing_is_begun_before() {
        let mut table = PeerTable::default();
        let now = Instant::now();
        let ((over_relay, direct), relay) =
            ((ConnectionId::new_unchecked(1), connection(2)), libp2p::PeerId::random());
        // Who is called through a relay sees only the caller's id.
        let caller: Multiaddr = format!("/p2p/{}", libp2p::PeerId::random()).parse().unwrap();
        let circuit = called(caller, &format!("/ip4/8.8.8.8/tcp/1/p2p/{relay}/p2p-circuit"));
        table.connected(NODE, over_relay, &circuit, now);
        assert!(table.is_relayed(&NODE, over_relay));
        assert_eq!(table.statuses(now)[0].transport.as_deref(), Some("relay"));
        assert!(!table.is_settled(&NODE, now), "they may be about to meet");
        assert!(table.is_settled(&NODE, now + PUNCH_GRACE), "they did not");
        table.connected(NODE, direct.0, &direct.1, now);
        assert!(table.has_transport(&NODE, "quic") && !table.has_transport(&NODE, "tcp"));
        assert_eq!(table.statuses(now)[0].transport.as_deref(), Some("quic"));
        assert_eq!(table.replaced(now), []);
        let later = now + RELAYED_AFTERLIFE;
        assert_eq!(table.replaced(later), [over_relay]);
        assert!(!table.is_settled(&NODE, later));
        table.disconnected(NODE, over_relay);
        assert!(table.is_settled(&NODE, later));
        table.disconnected(NODE, direct.0);
        table.connected(NODE, over_relay, &circuit, later);
        assert!(!table.is_settled(&NODE, later));
        table.punch_failed(NODE);
        assert!(table.is_settled(&NODE, later));
    }

    #[test]
    fn a_silent_peer_goes_stale_and_is_forgotten_once_it_is_gone() {
        let mut table = PeerTable::default();
        let (id, address) = connection(1);
        let now = Instant::now();
        table.connected(NODE, id, &address, now);
        table.heard(NODE, heartbeat(), now);
        assert!(table.statuses(now).remove(0).heartbeat.is_some());
        let later = now + table.stale_after() + Duration::from_millis(1);
        table.forget_stale(later);
        let silent = table.statuses(later).remove(0);
        assert!(silent.connected && silent.heartbeat.is_none() && silent.heartbeat_age_ms.is_some());
        table.disconnected(NODE, id);
        table.forget_stale(later);
        assert_eq!(table.statuses(later), []);
    }

    #[test]
    fn b21_strangers_cannot_fill_the_table() {
        let mut table = PeerTable::default();
        for index in 0..MAX_KNOWN_PEERS as u32 + 5 {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&index.to_le_bytes());
            table.heard(NodeId::from_public_key(key), heartbeat(), Instant::now());
        }
        assert_eq!(table.peers.len(), MAX_KNOWN_PEERS);
    }
}
