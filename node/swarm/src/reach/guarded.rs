//! Keeps a protocol that dials for others from hearing of near addresses, and from dialling them.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NewExternalAddrCandidate, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm,
    },
};

use super::is_direct_and_public;
use crate::limit::{
    MAX_ADDRESSES_PER_PEER, MAX_CANDIDATES, MAX_GUARDED_DIALS, MAX_GUARDED_DIALS_PER_PEER, MAX_KNOWN_PEERS,
};

/// The time in which [`MAX_GUARDED_DIALS`] are allowed.
const WINDOW: Duration = Duration::from_mins(1);

/// Why a dial is not made.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("a peer asked for a dial to an address that is not public, or to too many")]
    Address,
    #[error("a peer asked for too many dials")]
    Rate,
}

/// A protocol that dials where peers tell it to (hole punching; dialling back for `AutoNAT`), kept to public addresses, few of them, and
/// a few dials a minute: nobody shall scan this node's own network with it, or pelt somebody else. It also hears of public
/// candidates for its own address only, and of few.
pub(crate) struct Guarded<B> {
    inner: B,
    candidates: HashSet<Multiaddr>,
    /// Asked for, and about to be judged.
    dials: HashSet<ConnectionId>,
    recent: VecDeque<(Instant, Option<PeerId>)>,
}

impl<B> Guarded<B> {
    /// The protocol, guarded.
    pub(crate) fn new(inner: B) -> Self {
        Self { inner, candidates: HashSet::new(), dials: HashSet::new(), recent: VecDeque::new() }
    }

    fn judge(&mut self, peer: Option<PeerId>, addresses: &[Multiaddr], now: Instant) -> Result<(), Refusal> {
        if addresses.len() > MAX_ADDRESSES_PER_PEER || !addresses.iter().all(is_direct_and_public) {
            return Err(Refusal::Address);
        }
        while self.recent.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) >= WINDOW) {
            self.recent.pop_front();
        }
        let mut of_peer = HashMap::<_, usize>::new();
        for (_, other) in &self.recent {
            *of_peer.entry(*other).or_default() += 1;
        }
        let is_too_many = of_peer.get(&peer).is_some_and(|count| *count >= MAX_GUARDED_DIALS_PER_PEER);
        if self.recent.len() >= MAX_GUARDED_DIALS || is_too_many {
            return Err(Refusal::Rate);
        }
        self.recent.push_back((now, peer));
        Ok(())
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for Guarded<B> {
    type ConnectionHandler = B::ConnectionHandler;
    type ToSwarm = B::ToSwarm;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner.handle_pending_inbound_connection(connection, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if self.dials.remove(&connection) {
            self.judge(peer, addresses, Instant::now()).map_err(ConnectionDenied::new)?;
        }
        self.inner.handle_pending_outbound_connection(connection, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_outbound_connection(connection, peer, address, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::NewExternalAddrCandidate(NewExternalAddrCandidate { addr }) = event {
            let is_new = !self.candidates.contains(addr);
            if !is_direct_and_public(addr) || is_new && self.candidates.len() >= MAX_CANDIDATES {
                return;
            }
            self.candidates.insert(addr.clone());
        }
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.inner.on_connection_handler_event(peer, connection, event);
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        let event = self.inner.poll(context);
        if let Poll::Ready(ToSwarm::Dial { opts }) = &event
            && self.dials.len() < MAX_KNOWN_PEERS
        {
            self.dials.insert(opts.connection_id());
        }
        event
    }
}

#[cfg(test)]
mod tests {
    use libp2p::swarm::dummy;

    use super::*;

    fn guarded() -> Guarded<dummy::Behaviour> {
        Guarded::new(dummy::Behaviour)
    }

    fn parse(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn b23_nobody_has_near_addresses_or_many_dialled() {
        let (now, public) = (Instant::now(), parse("/ip4/198.51.100.1/tcp/1"));
        let judged =
            |addresses: &[Multiaddr]| guarded().judge(Some(PeerId::random()), addresses, now).is_ok();
        assert!(judged(std::slice::from_ref(&public)));
        for near in ["/ip4/192.168.1.1/tcp/80", "/ip4/127.0.0.1/tcp/22", "/ip4/198.51.100.1/tcp/0"] {
            assert!(!judged(&[public.clone(), parse(near)]), "{near}");
        }
        assert!(!judged(&vec![public; MAX_ADDRESSES_PER_PEER + 1]));
    }

    #[test]
    fn b23_dials_for_one_peer_and_for_all_are_few_a_minute() {
        let (mut guarded, now) = (guarded(), Instant::now());
        let address = [parse("/ip4/198.51.100.1/tcp/1")];
        let mut allowed = |peer, now| guarded.judge(Some(peer), &address, now).is_ok();
        let peer = PeerId::random();
        assert_eq!((0..9).filter(|_| allowed(peer, now)).count(), MAX_GUARDED_DIALS_PER_PEER);
        let others = (0..2 * MAX_GUARDED_DIALS).filter(|_| allowed(PeerId::random(), now)).count();
        assert_eq!(others + MAX_GUARDED_DIALS_PER_PEER, MAX_GUARDED_DIALS);
        assert!(allowed(peer, now + WINDOW));
    }

    #[test]
    fn what_peers_say_that_this_node_looks_like_is_bounded() {
        let mut guarded = guarded();
        for host in 0..=255_u8 {
            for address in [format!("/ip4/198.51.100.{host}/tcp/1"), format!("/ip4/10.0.0.{host}/tcp/1")] {
                let event = NewExternalAddrCandidate { addr: &parse(&address) };
                guarded.on_swarm_event(FromSwarm::NewExternalAddrCandidate(event));
            }
        }
        assert_eq!(guarded.candidates.len(), MAX_CANDIDATES);
        assert!(guarded.candidates.iter().all(is_direct_and_public));
    }
}
