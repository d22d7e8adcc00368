//! The one task that owns libp2p: it chooses what happens next, and a synchronous function applies it.

mod commands;
mod events;
mod providing;
mod reaching;

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures::StreamExt;
use libp2p::{
    PeerId, Swarm,
    swarm::{SwarmEvent as NetworkEvent, dial_opts::DialOpts},
};
use p2c2r_protocol::id::NodeId;
use tokio::{
    sync::{mpsc, oneshot},
    task::AbortHandle,
    time::sleep,
};
use tokio_util::task::TaskTracker;
use tracing::debug;

pub(crate) use self::commands::Command;
use crate::{
    behaviour::{Behaviour, BehaviourEvent},
    counters::Counters,
    discovery::{Dial, Discovery},
    event::SwarmEvent,
    gossip::HeartbeatJudge,
    identity::peer_id,
    in_use::InUse,
    limit::{MAX_NEIGHBOURS_IN_A_CROWD, MAX_THINNED_OUT, MIN_NEIGHBOUR_AGE, SHUTDOWN_GRACE, TARGET_PEERS},
    peers::PeerTable,
    providers::Providers,
    reach::{Reachability, Reservations},
    seed::Seed,
};

/// How often the plan is looked at.
const TICK: Duration = Duration::from_millis(500);
/// The same for a node of a crowd that has neighbours enough.
const SETTLED_TICK: Duration = Duration::from_secs(1);

/// What the actor is made of.
pub(crate) struct Parts {
    /// Listening already.
    pub(crate) swarm: Swarm<Behaviour>,
    /// From the handles.
    pub(crate) commands: mpsc::Receiver<Command>,
    /// To the node.
    pub(crate) events: mpsc::Sender<SwarmEvent>,
    /// Shared with sessions and transfers.
    pub(crate) counters: Arc<Counters>,
    /// With whom they are under way.
    pub(crate) in_use: InUse,
    /// The tasks of sessions and transfers.
    pub(crate) pumps: TaskTracker,
    /// The tasks that accept new ones.
    pub(crate) acceptors: Vec<AbortHandle>,
}

/// What is known of the swarm from the start.
pub(crate) struct Known {
    /// Ways in that a person vouches for.
    pub(crate) tickets: Vec<Seed>,
    /// Neighbours of earlier runs.
    pub(crate) remembered: Vec<Seed>,
}

/// The owner of the network.
pub(crate) struct Actor {
    own: NodeId,
    parts: Parts,
    peers: PeerTable,
    discovery: Discovery,
    judge: HeartbeatJudge,
    /// A heartbeat that nobody listened to yet.
    unheard: Option<Vec<u8>>,
    waiting: HashMap<PeerId, Vec<oneshot::Sender<Result<(), String>>>>,
    /// Nodes of tickets of whose private swarm this node was said to be none.
    locked_out: HashSet<PeerId>,
    reservations: Reservations,
    providers: Providers,
    swept_providers: Instant,
    /// Where the node stood at the last look; while public, it passes on what comes for others.
    reachability: Reachability,
}

impl Actor {
    /// An actor that knows its ways into the swarm and nothing else.
    pub(crate) fn new(
        own: NodeId,
        parts: Parts,
        target_peers: usize,
        Known { tickets, remembered }: Known,
    ) -> Self {
        let now = Instant::now();
        let own_peer = *parts.swarm.local_peer_id();
        let mut discovery = Discovery::new(own_peer, target_peers, now);
        for Seed { peer, addresses } in tickets {
            discovery.add_seed(peer, addresses, now);
        }
        for Seed { peer, addresses } in remembered {
            discovery.remember(peer, addresses, now);
        }
        Self {
            own,
            parts,
            peers: PeerTable::default(),
            discovery,
            judge: HeartbeatJudge::new(own),
            unheard: None,
            waiting: HashMap::new(),
            locked_out: HashSet::new(),
            reservations: Reservations::new(own_peer, now),
            providers: Providers::default(),
            swept_providers: now,
            reachability: Reachability::Local,
        }
    }

    /// Runs until the node shuts the swarm down or lets go of it. `early` are events from before.
    pub(crate) async fn run(mut self, early: Vec<NetworkEvent<BehaviourEvent>>) {
        for event in early {
            self.network_event(event, Instant::now());
        }
        let mut tick = pin!(sleep(Duration::ZERO));
        let stopped = loop {
            tokio::select! {
                biased;
                command = self.parts.commands.recv() => match command {
                    Some(Command::Shutdown(stopped)) => break Some(stopped),
                    Some(command) => self.command(command, Instant::now()),
                    None => break None,
                },
                () = &mut tick => {
                    let now = Instant::now();
                    self.tick(now);
                    let wait = if self.discovery.is_settled() { SETTLED_TICK } else { TICK };
                    tick.as_mut().reset((now + wait).into());
                }
                event = self.parts.swarm.select_next_some() => self.network_event(event, Instant::now()),
            }
        };
        Box::pin(self.shut_down()).await;
        if let Some(stopped) = stopped {
            let _ = stopped.send(());
        }
    }

    fn tick(&mut self, now: Instant) {
        self.peers.forget_stale(now);
        self.reach(now);
        self.thin_out(now);
        self.expire_providers(now);
        for peer in self.discovery.overdue(now) {
            // It is not connected: this gives up the dial, and the plan hears that it has failed.
            let _ = self.parts.swarm.disconnect_peer_id(peer);
        }
        for dial in self.discovery.dials(self.peers.len(), now) {
            self.dial(dial, now);
        }
        if let Some(target) = self.discovery.look(now) {
            self.parts.swarm.behaviour_mut().kad.get_closest_peers(target);
        }
    }

    /// In a crowd, lets connections go that nobody needs: look-ups leave ever new ones, and each costs its share of pings and polls.
    fn thin_out(&mut self, now: Instant) {
        let connected = self.peers.connected_since();
        if self.peers.len() <= TARGET_PEERS || connected.len() <= MAX_NEIGHBOURS_IN_A_CROWD {
            return;
        }
        let swarm = &self.parts.swarm;
        let own = *swarm.local_peer_id();
        let mesh: HashSet<&PeerId> = swarm.behaviour().gossip.all_mesh_peers().collect();
        let is_needed = |peer: &PeerId| {
            mesh.contains(peer)
                || self.parts.in_use.contains(peer)
                || self.waiting.contains_key(peer)
                || self.discovery.is_ticket(peer)
                || self.reservations.keeps(peer)
        };
        let mut idle: Vec<PeerId> = connected
            .iter()
            .filter(|(_, since)| now.saturating_duration_since(*since) >= MIN_NEIGHBOUR_AGE)
            .filter_map(|(node, _)| peer_id(node))
            .filter(|peer| !is_needed(peer))
            .collect();
        // Both ends think the same of a connection, so they do not let go of each other's favourites.
        idle.sort_by_key(|peer| worth(&own, peer));
        let too_many = connected.len() - MAX_NEIGHBOURS_IN_A_CROWD;
        for peer in idle.into_iter().take(too_many.min(MAX_THINNED_OUT)) {
            let _ = self.parts.swarm.disconnect_peer_id(peer);
        }
    }

    fn dial(&mut self, Dial { peer, addresses }: Dial, now: Instant) {
        if let Err(error) = self.parts.swarm.dial(DialOpts::peer_id(peer).addresses(addresses).build()) {
            debug!(%peer, %error, "not dialled");
            self.discovery.dial_failed(peer, now);
        }
    }

    /// Tells the node; it can always ask for the state itself, so an event too many is dropped.
    fn tell(&self, event: SwarmEvent) {
        let _ = self.parts.events.try_send(event);
    }

    /// Lets sessions say what they have to say, then closes the connections; each within a grace.
    async fn shut_down(mut self) {
        for acceptor in &self.parts.acceptors {
            acceptor.abort();
        }
        let Parts { swarm, pumps, .. } = &mut self.parts;
        pumps.close();
        let pumps_end = sleep(SHUTDOWN_GRACE);
        tokio::pin!(pumps_end);
        loop {
            tokio::select! {
                () = pumps.wait() => break,
                () = &mut pumps_end => break,
                _ = swarm.select_next_some() => {}
            }
        }
        let connected: Vec<PeerId> = swarm.connected_peers().copied().collect();
        for peer in connected {
            let _ = swarm.disconnect_peer_id(peer);
        }
        let connections_end = sleep(SHUTDOWN_GRACE);
        tokio::pin!(connections_end);
        while swarm.connected_peers().next().is_some() {
            tokio::select! {
                () = &mut connections_end => break,
                _ = swarm.select_next_some() => {}
            }
        }
    }
}

/// A number for a pair of peers, the same from both ends.
fn worth(a: &PeerId, b: &PeerId) -> u64 {
    let mut hasher = DefaultHasher::new();
    (a.min(b), a.max(b)).hash(&mut hasher);
    hasher.finish()
}

/// The wall clock, ms since 1970.
fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
