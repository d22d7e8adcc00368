//! Being reached: relays, and what strangers' calls tell.

use std::time::Instant;

use libp2p::{
    Multiaddr, PeerId,
    core::transport::ListenerId,
    dcutr, identify, relay,
    swarm::{
        ConnectionId,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use tracing::debug;

use super::Actor;
use crate::{
    address::{is_relayed, is_relayed_by, transport},
    event::SwarmEvent,
    identity::node_id,
    limit::{MAX_ADDRESSES_OF_A_PLACE, MAX_EXTERNAL_ADDRESSES},
    reach::{HOP_PROTOCOL, Place, Reachability, is_direct_and_public},
};

impl Actor {
    /// Keeps places at relays, or is one; lets relayed connections go that direct ones have replaced.
    pub(super) fn reach(&mut self, now: Instant) {
        let swarm = &mut self.parts.swarm;
        for connection in self.peers.replaced(now) {
            swarm.close_connection(connection);
        }
        self.look_where_we_stand();
        for Place { relay, at } in self.reservations.wishes(self.reachability == Reachability::Public, now) {
            let place = self.parts.swarm.listen_on(at.clone());
            debug!(%at, ok = place.is_ok(), "asking a relay for a place");
            self.reservations.asked(&relay, place.ok(), now);
        }
        self.waiting.retain(|_, replies| replies.iter().any(|reply| !reply.is_closed()));
        let settled: Vec<PeerId> =
            self.waiting.keys().copied().filter(|peer| self.is_settled(peer, now)).collect();
        for peer in settled {
            self.answer_waiting(&peer, &Ok(()));
        }
    }

    fn look_where_we_stand(&mut self) {
        let swarm = &mut self.parts.swarm;
        let has = |wanted: fn(&Multiaddr) -> bool| swarm.external_addresses().any(wanted);
        let reachability = match (has(is_direct_and_public), has(is_relayed)) {
            (true, _) if swarm.behaviour().callers.get_through() => Reachability::Public,
            (_, true) => Reachability::Relayed,
            _ => Reachability::Local,
        };
        if reachability == self.reachability {
            return;
        }
        self.reachability = reachability;
        if let Some(relay) = swarm.behaviour_mut().relay.as_mut() {
            let is_one = reachability == Reachability::Public;
            relay.set_status(Some(if is_one { relay::Status::Enable } else { relay::Status::Disable }));
        }
        self.tell(SwarmEvent::Reachability(reachability));
    }

    /// Whether what is begun with the peer now stays on its connection.
    pub(super) fn is_settled(&self, peer: &PeerId, now: Instant) -> bool {
        node_id(peer).is_some_and(|node| self.peers.is_settled(&node, now))
    }

    /// An address was confirmed to be this node's. Other nodes say so, who may lie: there are not too many of those.
    pub(super) fn external_confirmed(&mut self, address: &Multiaddr) {
        debug!(%address, "reached from outside");
        let swarm = &mut self.parts.swarm;
        let direct = swarm.external_addresses().filter(|address| is_direct_and_public(address)).count();
        if direct > MAX_EXTERNAL_ADDRESSES && !is_relayed(address) {
            swarm.remove_external_address(address);
        }
    }

    /// A relay says where its place for this node is: one that names too many places would fill our own messages with them.
    pub(super) fn place_found(&mut self, listener: ListenerId, address: &Multiaddr) {
        let Some(relay) = self.reservations.relay_of(listener).filter(|_| is_relayed(address)) else {
            return;
        };
        let places = self.parts.swarm.listeners().filter(|place| is_relayed_by(place, &relay)).count();
        if places > MAX_ADDRESSES_OF_A_PLACE || !is_relayed_by(address, &relay) {
            debug!(%relay, places, "a relay names too many places, or another's");
            let _ = self.parts.swarm.disconnect_peer_id(relay);
        }
    }

    /// A peer says what it speaks: it may be a relay.
    pub(super) fn look_for_relay(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        info: &identify::Info,
        addresses: &[Multiaddr],
        now: Instant,
    ) {
        if !info.protocols.contains(&HOP_PROTOCOL) {
            return self.reservations.withdrawn(&peer);
        }
        let Some(node) = node_id(&peer).filter(|node| !self.peers.is_relayed(node, connection)) else {
            return;
        };
        let public: Vec<&Multiaddr> =
            addresses.iter().filter(|address| is_direct_and_public(address)).collect();
        let Some(address) = public.first() else { return };
        let is_new = self.reservations.offered(peer, (*address).clone(), now);
        let missing = public.into_iter().find(|address| !self.peers.has_transport(&node, transport(address)));
        if let Some(address) = missing.filter(|_| is_new && self.reachability != Reachability::Public) {
            self.dial_also(peer, address.clone());
        }
    }

    /// Dials a connected peer over another transport: a hole in a NAT has an address for each, and who is called sees it.
    fn dial_also(&mut self, peer: PeerId, address: Multiaddr) {
        let dial = DialOpts::peer_id(peer).condition(PeerCondition::Always).addresses(vec![address]).build();
        if let Err(error) = self.parts.swarm.dial(dial) {
            debug!(%peer, %error, "the relay was not dialled over another transport");
        }
    }

    /// How the attempt to meet directly, while a relay is between, has ended.
    pub(super) fn punched(&mut self, event: &dcutr::Event, now: Instant) {
        let Some(node) = node_id(&event.remote_peer_id) else { return };
        match &event.result {
            Ok(_) => debug!(peer = %node.short(), "met directly, through both NATs"),
            Err(error) => {
                debug!(peer = %node.short(), %error, "the NATs let no direct connection through");
                self.peers.punch_failed(node);
                if self.is_settled(&event.remote_peer_id, now) {
                    self.answer_waiting(&event.remote_peer_id, &Ok(()));
                }
            }
        }
    }
}
