//! What the handles ask of the actor.

use std::time::Instant;

use libp2p::{
    Multiaddr, PeerId,
    gossipsub::PublishError,
    swarm::{DialError, dial_opts::DialOpts},
};
use p2c2r_protocol::{
    id::{NodeId, SceneHash},
    limit::MAX_TICKET_ADDRESSES,
    ticket::Ticket,
};
use tokio::sync::oneshot;
use tracing::debug;

use super::Actor;
use crate::{
    address::{Scope, is_for_browsers, is_relayed, scope, without_peer},
    behaviour::heartbeat_topic,
    error::SwarmError,
    identity::peer_id,
    limit::MAX_CONNECT_WAITERS,
    neighbours::{KnownPeer, worth_remembering},
    peers::PeerStatus,
    reach::Reachability,
    seed::Seed,
};

/// Something that a handle asks.
pub(crate) enum Command {
    /// A ticket to this node.
    Ticket(oneshot::Sender<Result<Ticket, SwarmError>>),
    /// Where the node listens.
    ListenAddresses(oneshot::Sender<Vec<String>>),
    /// Who is there.
    Peers(oneshot::Sender<Vec<PeerStatus>>),
    /// From where others reach the node.
    Reachability(oneshot::Sender<Reachability>),
    /// Whom to remember for the next run.
    Neighbours(oneshot::Sender<Vec<KnownPeer>>),
    /// Gossip this sealed heartbeat.
    Publish(Vec<u8>),
    /// Join by this seed.
    Join(Seed),
    /// See to it that there is a connection; the error is a reason for people.
    Connect {
        /// To whom.
        peer: PeerId,
        /// Told when it is there, or cannot be.
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// These packages are here, for others to find, and no others.
    Provide(Vec<SceneHash>),
    /// Who is said to have this package.
    Providers {
        /// Its name.
        scene: SceneHash,
        /// Told what is known now; more may be found meanwhile.
        reply: oneshot::Sender<Vec<NodeId>>,
    },
    /// The peer answers no more: the connections that it had then are not to be trusted either.
    Suspect {
        /// Who.
        peer: NodeId,
        /// When it was last heard.
        silent_since: Instant,
    },
    /// Stop.
    Shutdown(oneshot::Sender<()>),
}

impl Actor {
    fn suspect(&mut self, peer: NodeId, silent_since: Instant) {
        if let Some(peer) = peer_id(&peer) {
            self.discovery.miss(&peer);
        }
        for connection in self.peers.connections_before(&peer, silent_since) {
            self.parts.swarm.close_connection(connection);
        }
    }

    /// Answers. A caller that has gone away meanwhile misses nothing.
    pub(super) fn command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Ticket(reply) => drop(reply.send(self.ticket())),
            Command::ListenAddresses(reply) => {
                drop(reply.send(self.listen_addresses().iter().map(ToString::to_string).collect()));
            }
            Command::Peers(reply) => drop(reply.send(self.peers.statuses(now))),
            Command::Reachability(reply) => drop(reply.send(self.reachability)),
            Command::Neighbours(reply) => {
                drop(reply.send(worth_remembering(self.peers.connected_at())));
            }
            Command::Publish(sealed) => self.publish(sealed),
            Command::Join(Seed { peer, addresses }) => {
                self.discovery.add_seed(peer, addresses, now);
                self.tick(now);
            }
            Command::Suspect { peer, silent_since } => self.suspect(peer, silent_since),
            Command::Provide(scenes) => self.provide(&scenes),
            Command::Providers { scene, reply } => drop(reply.send(self.providers_of(scene, now))),
            Command::Connect { peer, reply } => self.connect(peer, reply, now),
            // The loop has taken it.
            Command::Shutdown(_) => {}
        }
    }

    /// Addresses that can be dialled, without duplicates.
    fn listen_addresses(&self) -> Vec<Multiaddr> {
        let swarm = &self.parts.swarm;
        let mut addresses = Vec::new();
        for address in swarm.external_addresses().chain(swarm.listeners()) {
            let Some(address) = without_peer(address.clone(), swarm.local_peer_id()) else { continue };
            if scope(&address).is_some() && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        addresses
    }

    fn ticket(&self) -> Result<Ticket, SwarmError> {
        let mut addresses = self.listen_addresses();
        if addresses.iter().any(|address| scope(address) > Some(Scope::Loopback)) {
            addresses.retain(|address| scope(address) > Some(Scope::Loopback));
        }
        addresses.sort_by_key(|address| (std::cmp::Reverse(scope(address)), is_relayed(address)));
        let (for_browsers, mut addresses): (Vec<_>, Vec<_>) =
            addresses.into_iter().partition(is_for_browsers);
        // One for browsers, which are long, and the last: nodes do not need it.
        addresses.truncate(MAX_TICKET_ADDRESSES - usize::from(!for_browsers.is_empty()));
        addresses.extend(for_browsers.into_iter().take(1));
        if addresses.is_empty() {
            return Err(SwarmError::NoListener);
        }
        Ok(Ticket { node: self.own, addresses: addresses.iter().map(ToString::to_string).collect() })
    }

    /// Gossips a heartbeat, or keeps it until somebody listens.
    pub(super) fn publish(&mut self, sealed: Vec<u8>) {
        self.unheard = None;
        match self.parts.swarm.behaviour_mut().gossip.publish(heartbeat_topic(), sealed.clone()) {
            Ok(_) | Err(PublishError::Duplicate) => {}
            Err(PublishError::NoPeersSubscribedToTopic) => self.unheard = Some(sealed),
            Err(error) => debug!(%error, "the heartbeat was not sent"),
        }
    }

    fn connect(&mut self, peer: PeerId, reply: oneshot::Sender<Result<(), String>>, now: Instant) {
        if self.is_settled(&peer, now) {
            return drop(reply.send(Ok(())));
        }
        let known = self.discovery.addresses(&peer).to_vec();
        let options = DialOpts::peer_id(peer).addresses(known).extend_addresses_through_behaviour().build();
        match self.parts.swarm.dial(options) {
            // Somebody else's dial to the same peer serves as well, and a relayed connection is waited on to be replaced.
            Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => {
                let waiting = self.waiting.entry(peer).or_default();
                waiting.retain(|other| !other.is_closed());
                if waiting.len() < MAX_CONNECT_WAITERS {
                    waiting.push(reply);
                }
            }
            // In a crowd most peers are known by name only.
            Err(DialError::NoAddresses) => {
                self.parts.swarm.behaviour_mut().kad.get_closest_peers(peer);
                self.waiting.entry(peer).or_default().push(reply);
            }
            Err(error) => drop(reply.send(Err(error.to_string()))),
        }
    }

    /// Dials those who are waited for and whose addresses have been found meanwhile.
    pub(super) fn dial_waited_for(&mut self) {
        let waited_for = self.waiting.keys().filter(|peer| !self.parts.swarm.is_connected(peer));
        let found: Vec<PeerId> =
            waited_for.filter(|peer| !self.discovery.addresses(peer).is_empty()).copied().collect();
        for peer in found {
            let addresses = self.discovery.addresses(&peer).to_vec();
            match self.parts.swarm.dial(DialOpts::peer_id(peer).addresses(addresses).build()) {
                Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => {}
                Err(error) => self.answer_waiting(&peer, &Err(error.to_string())),
            }
        }
    }

    /// Answers those who wait for a connection.
    pub(super) fn answer_waiting(&mut self, peer: &PeerId, outcome: &Result<(), String>) {
        for reply in self.waiting.remove(peer).unwrap_or_default() {
            let _ = reply.send(outcome.clone());
        }
    }
}
