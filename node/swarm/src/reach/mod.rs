//! How others reach this node: directly where it has a public address, else through relays, and then by holes that both ends
//! punch into their NATs.
//!
//! A public address is named by the owner, mapped by the router (`UPnP`), found to answer by other nodes (`AutoNAT` v2), or one that
//! strangers have called at. A node with such an address counts as public once its owner says so or strangers of two networks have
//! got through; it is a relay for others then. A node that does not keeps a place at two relays.
//! Who meets over a relay tries at once to meet directly (`DCUtR`), and then lets the relayed connection go.

mod callers;
mod circuits;
mod guarded;
mod reservations;

use libp2p::{Multiaddr, multiaddr::Protocol};

pub(crate) use self::{
    callers::Callers,
    circuits::{HOP_PROTOCOL, relay_limits},
    guarded::Guarded,
    reservations::{Place, Reservations},
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

/// Which of the public addresses that are listened on was called, given the listener's end of the connection.
fn called_at<'a>(listeners: impl Iterator<Item = &'a Multiaddr>, local: &Multiaddr) -> Vec<Multiaddr> {
    let (called_ip, called_port) = socket(local);
    listeners
        .filter(|address| is_direct_and_public(address) && transport(address) == transport(local))
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
    use super::*;

    #[test]
    fn an_address_at_which_a_stranger_called_is_public() {
        let parse = |text: &str| text.parse::<Multiaddr>().unwrap();
        let listeners = [
            parse("/ip4/203.0.113.1/tcp/4001"),
            parse("/ip4/203.0.113.1/udp/4001/quic-v1"),
            parse("/ip4/10.0.0.1/tcp/4001"),
        ];
        let called = |at: &str| called_at(listeners.iter(), &parse(at));
        assert_eq!(called("/ip4/203.0.113.1/tcp/4001"), listeners[..1]);
        assert_eq!(called("/ip4/0.0.0.0/udp/4001/quic-v1"), listeners[1..2]);
        assert_eq!(called("/ip4/203.0.113.1/tcp/4002"), []);
        assert_eq!(called("/ip4/10.0.0.1/tcp/4001"), [], "a router forwards: others must tell where");
    }
}
