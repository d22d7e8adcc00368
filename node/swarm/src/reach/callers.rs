//! Whether strangers from the Internet get through to this node.
//!
//! A NAT or a firewall lets in whoever was called before, so only a call from an address that this node had nothing to do with for
//! a while tells anything, and one alone may still have slipped through a hole that another made: two, of different networks, are
//! believed. The belief goes with the address that was called.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    net::IpAddr,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    multiaddr::Protocol,
    swarm::{
        ConnectionDenied, ConnectionId, ExpiredListenAddr, FromSwarm, ListenAddresses, NetworkBehaviour,
        THandler, THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
    },
};

use super::{called_at, is_direct_and_public};
use crate::{
    address::{Subnet, is_relayed, subnet},
    limit::MAX_REMEMBERED_CONTACTS,
};

/// NATs forget a flow sooner than that.
const CONTACT_MEMORY: Duration = Duration::from_mins(10);
/// Networks that have to call.
const NETWORKS_TO_BELIEVE: usize = 2;

/// Watches who calls.
pub(crate) struct Callers {
    listeners: ListenAddresses,
    /// When this node last dialled an address, or was called from it.
    contacts: HashMap<IpAddr, Instant>,
    /// Networks of strangers that got through.
    networks: Vec<Subnet>,
    /// Addresses of this node at which strangers called, not told yet and told.
    news: VecDeque<Multiaddr>,
    found: Vec<Multiaddr>,
    expired: VecDeque<Multiaddr>,
    is_named_public: bool,
}

impl Callers {
    /// Of a node that has not been called yet; its owner may say that it can be.
    pub(crate) fn new(is_named_public: bool) -> Self {
        Self {
            listeners: ListenAddresses::default(),
            contacts: HashMap::new(),
            networks: Vec::new(),
            news: VecDeque::new(),
            found: Vec::new(),
            expired: VecDeque::new(),
            is_named_public,
        }
    }

    /// Whether strangers get through.
    pub(crate) fn get_through(&self) -> bool {
        self.is_named_public || self.networks.len() >= NETWORKS_TO_BELIEVE
    }

    /// Notes contact with an address; says whether it was a stranger's until now.
    fn contact(&mut self, ip: IpAddr, now: Instant) -> bool {
        let is_fresh = |seen: &Instant| now.saturating_duration_since(*seen) < CONTACT_MEMORY;
        if self.contacts.len() >= MAX_REMEMBERED_CONTACTS {
            self.contacts.retain(|_, seen| is_fresh(seen));
        }
        let is_known = self.contacts.get(&ip).is_some_and(is_fresh);
        if self.contacts.len() < MAX_REMEMBERED_CONTACTS || is_known {
            self.contacts.insert(ip, now);
            return !is_known;
        }
        // Whoever is not remembered is no stranger either: better to learn too little.
        false
    }

    fn called(&mut self, local: &Multiaddr, remote: &Multiaddr, now: Instant) {
        let (Some(ip), Some(network)) = (ip(remote), subnet(remote)) else { return };
        if is_relayed(local) || !is_direct_and_public(remote) || !self.contact(ip, now) {
            return;
        }
        if !self.networks.contains(&network) && self.networks.len() < NETWORKS_TO_BELIEVE {
            self.networks.push(network);
        }
        for address in called_at(self.listeners.iter(), local) {
            if !self.found.contains(&address) {
                self.found.push(address.clone());
                self.news.push_back(address);
            }
        }
    }

    /// This node has moved: what was true of the old address need not be of the next.
    fn moved(&mut self, from: &Multiaddr) {
        if is_relayed(from) {
            return;
        }
        self.networks.clear();
        if let Some(index) = self.found.iter().position(|address| address == from) {
            self.expired.push_back(self.found.remove(index));
        }
    }
}

impl NetworkBehaviour for Callers {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: Option<PeerId>,
        addresses: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        for ip in addresses.iter().filter_map(ip) {
            self.contact(ip, Instant::now());
        }
        Ok(Vec::new())
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.called(local, remote, Instant::now());
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.listeners.on_swarm_event(&event);
        if let FromSwarm::ExpiredListenAddr(ExpiredListenAddr { addr, .. }) = event {
            self.moved(addr);
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        if let Some(address) = self.expired.pop_front() {
            return Poll::Ready(ToSwarm::ExternalAddrExpired(address));
        }
        match self.news.pop_front() {
            Some(address) => Poll::Ready(ToSwarm::ExternalAddrConfirmed(address)),
            None => Poll::Pending,
        }
    }
}

fn ip(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(IpAddr::V6(ip)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use libp2p::{core::transport::ListenerId, swarm::NewListenAddr};

    use super::*;

    const OWN: &str = "/ip4/203.0.113.1/tcp/4001";

    fn parse(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    fn node() -> Callers {
        let mut callers = Callers::new(false);
        let event = NewListenAddr { listener_id: ListenerId::next(), addr: &parse(OWN) };
        callers.on_swarm_event(FromSwarm::NewListenAddr(event));
        callers
    }

    fn call(callers: &mut Callers, from: &str, now: Instant) {
        callers.called(&parse(OWN), &parse(&format!("/ip4/{from}/tcp/9")), now);
    }

    #[test]
    fn strangers_of_two_networks_are_believed_and_the_address_is_found() {
        let (mut callers, now) = (node(), Instant::now());
        call(&mut callers, "198.51.100.1", now);
        call(&mut callers, "198.51.100.2", now);
        assert!(!callers.get_through(), "one network");
        call(&mut callers, "192.168.0.7", now);
        assert!(!callers.get_through(), "the LAN is always near");
        call(&mut callers, "192.0.2.1", now);
        assert!(callers.get_through());
        assert_eq!(callers.news, [parse(OWN)]);
    }

    #[test]
    fn who_was_called_before_is_no_stranger_whoever_he_says_he_is() {
        let (mut callers, now) = (node(), Instant::now());
        callers.contact("198.51.100.1".parse().unwrap(), now);
        callers.contact("192.0.2.1".parse().unwrap(), now);
        for wait in [Duration::ZERO, CONTACT_MEMORY / 2, CONTACT_MEMORY] {
            call(&mut callers, "198.51.100.1", now + wait);
            call(&mut callers, "192.0.2.1", now + wait);
        }
        assert!(!callers.get_through() && callers.found.is_empty());
        call(&mut callers, "198.51.100.1", now + CONTACT_MEMORY * 3);
        call(&mut callers, "192.0.2.1", now + CONTACT_MEMORY * 3);
        assert!(callers.get_through());
    }

    #[test]
    fn f24_who_moves_is_not_believed_to_be_public_any_more() {
        let (mut callers, now) = (node(), Instant::now());
        call(&mut callers, "198.51.100.1", now);
        call(&mut callers, "192.0.2.1", now);
        let event = ExpiredListenAddr { listener_id: ListenerId::next(), addr: &parse(OWN) };
        callers.on_swarm_event(FromSwarm::ExpiredListenAddr(event));
        assert!(!callers.get_through());
        assert_eq!(callers.expired, [parse(OWN)]);
        assert!(Callers::new(true).get_through(), "the owner knows");
    }

    #[test]
    fn b21_contacts_are_bounded() {
        let (mut callers, now) = (node(), Instant::now());
        for host in 0..2 * MAX_REMEMBERED_CONTACTS as u32 {
            callers.contact(IpAddr::from(host.to_be_bytes()), now);
        }
        assert_eq!(callers.contacts.len(), MAX_REMEMBERED_CONTACTS);
        assert!(!callers.contact("198.51.100.1".parse().unwrap(), now), "full of others");
        assert!(callers.contact("198.51.100.1".parse().unwrap(), now + CONTACT_MEMORY));
    }
}
