//! What the network tells the actor.

use std::time::Instant;

use libp2p::{
    Multiaddr, PeerId,
    core::ConnectedPoint,
    gossipsub, identify, kad, mdns, ping, relay,
    swarm::{ConnectionId, DialError, SwarmEvent as NetworkEvent},
};
use p2c2r_protocol::id::NodeId;
use tracing::{debug, warn};

use super::{Actor, unix_ms};
use crate::{
    address::{Scope, believable, for_browsers, is_relayed, scope, without_peer},
    behaviour::BehaviourEvent,
    counters::Counters,
    event::SwarmEvent,
    gate::NOT_OURS,
    gossip::Verdict,
    identity::{node_id, peer_id},
    limit::MAX_ADDRESSES_PER_PEER,
    routing,
};

impl Actor {
    /// Applies an event.
    pub(super) fn network_event(&mut self, event: NetworkEvent<BehaviourEvent>, now: Instant) {
        match event {
            NetworkEvent::Behaviour(event) => self.behaviour_event(event, now),
            NetworkEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.connection_up(peer_id, connection_id, &endpoint, now);
            }
            NetworkEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                debug!(peer = %peer_id, ?cause, "a connection closed");
                self.connection_down(peer_id, connection_id, now);
            }
            NetworkEvent::OutgoingConnectionError { peer_id: Some(peer), error, .. } => {
                debug!(%peer, %error, "a dial failed");
                Counters::count(&self.parts.counters.dials_failed);
                let reason = error.to_string();
                if self.discovery.is_ticket(&peer)
                    && reason.contains(NOT_OURS)
                    && self.locked_out.insert(peer)
                {
                    warn!(%peer, "the ticket leads to a node of another private swarm, or of none: compare the swarm keys");
                }
                if matches!(error, DialError::Aborted) {
                    // Given up to be begun anew: whoever waits for it waits on.
                    return self.discovery.dial_given_up(&peer, now);
                }
                self.discovery.dial_failed(peer, now);
                if !self.parts.swarm.is_connected(&peer) {
                    self.answer_waiting(&peer, &Err(error.to_string()));
                }
            }
            NetworkEvent::NewListenAddr { listener_id, address } => {
                self.place_found(listener_id, &address);
                self.tell(SwarmEvent::Listening(address.to_string()));
            }
            NetworkEvent::ListenerClosed { listener_id, addresses, reason } => {
                if self.reservations.closed(listener_id) || addresses.iter().any(is_relayed) {
                    debug!(?addresses, ?reason, "a place at a relay is gone");
                } else {
                    warn!(?addresses, ?reason, "a listener closed");
                }
            }
            NetworkEvent::ExternalAddrConfirmed { address } => self.external_confirmed(&address),
            NetworkEvent::ListenerError { error, .. } => warn!(%error, "a listener failed"),
            _ => {}
        }
    }

    fn connection_up(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        endpoint: &ConnectedPoint,
        now: Instant,
    ) {
        let Some(node) = node_id(&peer) else {
            // A key of another kind: no node of ours.
            let _ = self.parts.swarm.disconnect_peer_id(peer);
            return;
        };
        Counters::count(&self.parts.counters.connections);
        let dialled = (!endpoint.is_relayed() && endpoint.is_dialer())
            .then(|| without_peer(endpoint.get_remote_address().clone(), &peer))
            .flatten();
        self.discovery.connected(peer, dialled, now);
        if self.peers.connected(node, connection, endpoint, now) {
            self.tell(SwarmEvent::Connected(node));
        }
        if self.is_settled(&peer, now) {
            self.answer_waiting(&peer, &Ok(()));
        }
    }

    fn connection_down(&mut self, peer: PeerId, connection: ConnectionId, now: Instant) {
        let Some(node) = node_id(&peer) else { return };
        if self.peers.disconnected(node, connection) {
            self.discovery.disconnected(peer, now);
            self.reservations.gone(&peer);
            self.answer_waiting(&peer, &Err("the connection was lost".to_owned()));
            self.tell(SwarmEvent::Disconnected(node));
        }
    }

    fn behaviour_event(&mut self, event: BehaviourEvent, now: Instant) {
        match event {
            BehaviourEvent::Gossip(event) => self.gossip_event(event, now),
            BehaviourEvent::Identify(identify::Event::Received { connection_id, peer_id, info }) => {
                self.identified(peer_id, connection_id, &info, now);
            }
            BehaviourEvent::Kad(kad::Event::OutboundQueryProgressed {
                result: kad::QueryResult::GetClosestPeers(result),
                ..
            }) => {
                let (Ok(kad::GetClosestPeersOk { peers, .. })
                | Err(kad::GetClosestPeersError::Timeout { peers, .. })) = result;
                for peer in peers {
                    self.discovery.learn(peer.peer_id, usable(peer.addrs, &peer.peer_id), now);
                }
                self.dial_waited_for();
            }
            BehaviourEvent::Kad(kad::Event::OutboundQueryProgressed {
                result:
                    kad::QueryResult::GetProviders(Ok(kad::GetProvidersOk::FoundProviders { key, providers })),
                ..
            }) => self.providers_found(&key, &providers),
            BehaviourEvent::Kad(kad::Event::InboundRequest {
                request: kad::InboundRequest::AddProvider { record: Some(record) },
            }) => self.keep_provider(record, now),
            BehaviourEvent::Ping(event) => self.pinged(event),
            BehaviourEvent::Punch(event) => self.punched(&event, now),
            BehaviourEvent::Relayed(relay::client::Event::ReservationReqAccepted {
                relay_peer_id, ..
            }) => {
                self.reservations.accepted(&relay_peer_id);
            }
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => {
                for (peer, address) in found {
                    self.discovery.learn(peer, usable([address], &peer), now);
                }
            }
            _ => {}
        }
    }

    /// A peer says where it listens: as far as that is believable, others may hear of it from us.
    fn identified(&mut self, peer: PeerId, connection: ConnectionId, info: &identify::Info, now: Instant) {
        let Some(node) = node_id(&peer) else { return };
        let met_over = self.peers.remote(&node, connection).and_then(scope).unwrap_or(Scope::Public);
        let browsers_find_it_at = for_browsers(&info.listen_addrs, &peer, met_over);
        let addresses = believable(info.listen_addrs.clone(), &peer, met_over, MAX_ADDRESSES_PER_PEER);
        self.look_for_relay(peer, connection, info, &addresses, now);
        self.peers.claimed(node, addresses.clone());
        self.discovery.learn(peer, addresses.clone(), now);
        let table = &mut self.parts.swarm.behaviour_mut().kad;
        if info.protocols.iter().any(|protocol| table.protocol_names().contains(protocol)) {
            routing::admit(table, &peer, &addresses);
            if let Some(address) = browsers_find_it_at {
                routing::admit_for_browsers(table, &peer, address);
            }
        }
    }

    fn pinged(&mut self, event: ping::Event) {
        let Some(node) = node_id(&event.peer) else { return };
        match event.result {
            Ok(round_trip) => {
                self.discovery.note_round_trip(&event.peer, round_trip);
                self.peers.pinged(node, event.connection, round_trip);
            }
            Err(error) => {
                if self.peers.ping_failed(node, event.connection) {
                    debug!(peer = %node.short(), %error, "a connection is dead");
                    self.parts.swarm.close_connection(event.connection);
                }
            }
        }
    }

    fn gossip_event(&mut self, event: gossipsub::Event, now: Instant) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                let acceptance = self.heartbeat(propagation_source, &message.data, now);
                let gossip = &mut self.parts.swarm.behaviour_mut().gossip;
                gossip.report_message_validation_result(&message_id, &propagation_source, acceptance);
            }
            gossipsub::Event::Subscribed { peer_id, .. } => {
                if let Some(sealed) = self.unheard.take() {
                    self.publish(sealed);
                }
                if let Some(node) = node_id(&peer_id) {
                    self.tell(SwarmEvent::Subscribed(node));
                }
            }
            _ => {}
        }
    }

    fn heartbeat(&mut self, neighbour: PeerId, message: &[u8], now: Instant) -> gossipsub::MessageAcceptance {
        let counters = &self.parts.counters;
        match self.judge.judge(neighbour, message, now, unix_ms()) {
            Verdict::Accept(node, heartbeat) => {
                Counters::count(&counters.heartbeats_accepted);
                self.heard(node, *heartbeat, now);
                gossipsub::MessageAcceptance::Accept
            }
            Verdict::Ignore => {
                Counters::count(&counters.heartbeats_ignored);
                gossipsub::MessageAcceptance::Ignore
            }
            Verdict::Reject { block } => {
                Counters::count(&counters.heartbeats_rejected);
                if block && self.parts.swarm.behaviour_mut().blocked.block_peer(neighbour) {
                    warn!(peer = %neighbour, "blocked: it keeps passing on invalid heartbeats");
                    Counters::count(&self.parts.counters.peers_blocked);
                }
                gossipsub::MessageAcceptance::Reject
            }
        }
    }

    fn heard(&mut self, node: NodeId, heartbeat: p2c2r_protocol::heartbeat::Heartbeat, now: Instant) {
        if !self.peers.is_connected(&node)
            && let Some(peer) = peer_id(&node)
        {
            self.discovery.heard_of(peer, now);
        }
        self.peers.heard(node, heartbeat.clone(), now);
        self.tell(SwarmEvent::Heartbeat { node, heartbeat });
    }
}

/// Addresses from Kademlia or mDNS: any that we could dial. A wrong one costs a dial, and the peer's key is checked.
fn usable(addresses: impl IntoIterator<Item = Multiaddr>, peer: &PeerId) -> Vec<Multiaddr> {
    believable(addresses, peer, Scope::Loopback, MAX_ADDRESSES_PER_PEER)
}
