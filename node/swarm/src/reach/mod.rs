//! How others reach this node: directly where it has a public address, else through relays, and then by holes that both ends
//! punch into their NATs.
//!
//! A public address is one that was named by the owner, mapped by the router (`UPnP`), found to answer by other nodes (`AutoNAT` v2),
//! or that strangers have called at. A node with one is a relay for others; a node without one keeps a reservation at two relays.
//! Who meets over a relay tries at once to meet directly (`DCUtR`), and then lets the relayed connection go.

mod candidates;
mod circuits;
mod reservations;

use libp2p::{Multiaddr, core::ConnectedPoint, multiaddr::Protocol};

pub(crate) use self::{
    candidates::PublicOnly,
    circuits::{HOP_PROTOCOL, relay_limits},
    reservations::{Reservations, Wish},
};
use crate::address::{Scope, is_relayed, scope, transport};

/// From where others reach this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reachability {
    /// From everywhere, directly.
    Public,
    /// From everywhere, through a relay, and then directly if the NATs let it.
    Relayed,
    /// From its own network, as far as it knows.
    Local,
}

/// Whether this is an address that everybody can dial without help.
pub(crate) fn is_direct_and_public(address: &Multiaddr) -> bool {
    !is_relayed(address) && scope(address) == Some(Scope::Public)
}

/// Where a stranger from the Internet has just called, of the addresses that are listened on: no NAT and no firewall is in the way
/// there.
pub(crate) fn called_at<'a>(
    listeners: impl Iterator<Item = &'a Multiaddr>,
    endpoint: &ConnectedPoint,
) -> Vec<Multiaddr> {
    let ConnectedPoint::Listener { local_addr, send_back_addr } = endpoint else { return Vec::new() };
    if !is_direct_and_public(send_back_addr) || is_relayed(local_addr) {
        return Vec::new();
    }
    let (called_ip, called_port) = socket(local_addr);
    listeners
        .filter(|address| is_direct_and_public(address) && transport(address) == transport(local_addr))
        .filter(|address| {
            let (ip, port) = socket(address);
            // QUIC says only that it listens on every interface.
            port == called_port && (ip == called_ip || called_ip.as_ref().is_some_and(is_unspecified))
        })
        .cloned()
        .collect()
}

fn socket(address: &Multiaddr) -> (Option<Protocol<'_>>, Option<u16>) {
    let port = address.iter().find_map(|part| match part {
        Protocol::Tcp(port) | Protocol::Udp(port) => Some(port),
        _ => None,
    });
    (address.iter().next(), port)
}

fn is_unspecified(ip: &Protocol<'_>) -> bool {
    match ip {
        Protocol::Ip4(ip) => ip.is_unspecified(),
        Protocol::Ip6(ip) => ip.is_unspecified(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use libp2p::core::Endpoint;

    use super::*;

    #[test]
    fn an_address_at_which_a_stranger_called_is_public() {
        let parse = |text: &str| text.parse::<Multiaddr>().unwrap();
        let listeners = [
            parse("/ip4/203.0.113.1/tcp/4001"),
            parse("/ip4/203.0.113.1/udp/4001/quic-v1"),
            parse("/ip4/10.0.0.1/tcp/4001"),
        ];
        let called = |at: &str, from: &str| {
            let endpoint = ConnectedPoint::Listener { local_addr: parse(at), send_back_addr: parse(from) };
            called_at(listeners.iter(), &endpoint)
        };
        let stranger = "/ip4/198.51.100.7/tcp/9";
        assert_eq!(called("/ip4/203.0.113.1/tcp/4001", stranger), listeners[..1]);
        assert_eq!(
            called("/ip4/0.0.0.0/udp/4001/quic-v1", "/ip4/198.51.100.7/udp/9/quic-v1"),
            listeners[1..2]
        );
        assert_eq!(called("/ip4/203.0.113.1/tcp/4002", stranger), []);
        assert_eq!(called("/ip4/203.0.113.1/tcp/4001", "/ip4/10.0.0.2/tcp/9"), []);
        assert_eq!(
            called("/ip4/10.0.0.1/tcp/4001", stranger),
            [],
            "a router forwards: others must tell where"
        );
        let outgoing = ConnectedPoint::Dialer {
            address: parse(stranger),
            role_override: Endpoint::Dialer,
            port_use: libp2p::core::transport::PortUse::Reuse,
        };
        assert_eq!(called_at(listeners.iter(), &outgoing), []);
    }
}
