//! Addresses: which of those that peers name are worth believing, keeping, and dialling first.

use std::net::{IpAddr, Ipv4Addr};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use p2c2r_protocol::limit::MAX_ADDRESS_BYTES;

/// How far an address reaches, from the nearest to the farthest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// This machine.
    Loopback,
    /// A local network.
    Private,
    /// Everybody; names count as public.
    Public,
}

/// The network that an address belongs to, as far as the diversity of a routing table is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Subnet {
    /// A /24.
    V4([u8; 3]),
    /// A /48.
    V6([u16; 3]),
}

/// The scope of an address of one of our transports, a relayed one's being its relay's; `None` for any other.
pub(crate) fn scope(address: &Multiaddr) -> Option<Scope> {
    use Protocol::{P2p, P2pCircuit};

    let mut parts = address.iter().peekable();
    let scope = match parts.next()? {
        Protocol::Ip4(ip) => ip_scope(IpAddr::V4(ip))?,
        Protocol::Ip6(ip) => ip_scope(IpAddr::V6(ip))?,
        Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_) => Scope::Public,
        _ => return None,
    };
    let has_port = match parts.next()? {
        Protocol::Tcp(port) => port != 0,
        Protocol::Udp(port) => {
            let known = matches!(parts.next()?, Protocol::QuicV1 | Protocol::WebRTCDirect);
            port != 0 && known
        }
        _ => false,
    };
    if is_for_browsers(address) {
        while parts.next_if(|part| matches!(part, Protocol::Certhash(_))).is_some() {}
    }
    // A relay, and whom it leads to.
    let rest = [parts.next(), parts.next(), parts.next(), parts.next()];
    let ends = matches!(
        rest,
        [None | Some(P2p(_)), None, ..] | [Some(P2p(_)), Some(P2pCircuit), None | Some(P2p(_)), None]
    );
    (has_port && ends && address.to_string().len() <= MAX_ADDRESS_BYTES).then_some(scope)
}

/// Whether only browsers dial the address: nodes have better ways to each other.
pub(crate) fn is_for_browsers(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::WebRTCDirect)
}

/// Whether only this machine can dial the address, whatever its port will be.
pub(crate) fn is_loopback(address: &Multiaddr) -> bool {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => ip.is_loopback(),
        Some(Protocol::Ip6(ip)) => ip.is_loopback(),
        _ => false,
    }
}

fn ip_scope(ip: IpAddr) -> Option<Scope> {
    if ip.is_unspecified() || ip.is_multicast() {
        return None;
    }
    let private = match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local() || is_shared(ip),
        // A link-local IPv6 address means nothing without its interface.
        IpAddr::V6(ip) if ip.is_unicast_link_local() => return None,
        IpAddr::V6(ip) => ip.is_unique_local(),
    };
    Some(match (ip.is_loopback(), private) {
        (true, _) => Scope::Loopback,
        (_, true) => Scope::Private,
        _ => Scope::Public,
    })
}

/// 100.64.0.0/10 (RFC 6598): carriers' networks behind their NAT, and overlay networks that borrow the range.
fn is_shared(ip: Ipv4Addr) -> bool {
    let [first, second, ..] = ip.octets();
    first == 100 && second & 0xc0 == 64
}

/// The address without a peer id at its end, if that id is the peer's; `None` if it is another's.
pub(crate) fn without_peer(mut address: Multiaddr, peer: &PeerId) -> Option<Multiaddr> {
    match address.iter().last() {
        Some(Protocol::P2p(named)) if named == *peer => {
            address.pop();
            Some(address)
        }
        Some(Protocol::P2p(_)) => None,
        _ => Some(address),
    }
}

/// Of the addresses that a peer claims, those that can lead to it: ones that reach at least as far as the connection
/// over which it was met. A peer on the Internet cannot send us to our own loopback or LAN. What only browsers dial leads
/// us nowhere.
pub(crate) fn believable(
    claimed: impl IntoIterator<Item = Multiaddr>,
    peer: &PeerId,
    met_over: Scope,
    limit: usize,
) -> Vec<Multiaddr> {
    let mut kept = Vec::new();
    for address in claimed {
        let Some(address) = without_peer(address, peer) else { continue };
        let leads = scope(&address).is_some_and(|scope| scope >= met_over) && !is_for_browsers(&address);
        if leads && !kept.contains(&address) {
            kept.push(address);
        }
        if kept.len() == limit {
            break;
        }
    }
    kept
}

/// Of the addresses that a peer claims, the first believable one that browsers can dial: we pass it on to them.
pub(crate) fn for_browsers(claimed: &[Multiaddr], peer: &PeerId, met_over: Scope) -> Option<Multiaddr> {
    let mut own = claimed.iter().filter_map(|address| without_peer(address.clone(), peer));
    own.find(|address| is_for_browsers(address) && scope(address).is_some_and(|scope| scope >= met_over))
}

/// Whether a relay passes on what goes to this address.
pub(crate) fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

/// Whether the peer is the relay that the address leads through.
pub(crate) fn is_relayed_by(address: &Multiaddr, peer: &PeerId) -> bool {
    is_relayed(address)
        && address.iter().find(|part| matches!(part, Protocol::P2p(_))) == Some(Protocol::P2p(*peer))
}

/// `relay`, `quic`, `webrtc` or `tcp`.
pub(crate) fn transport(address: &Multiaddr) -> &'static str {
    if is_relayed(address) {
        return "relay";
    }
    let known = address.iter().find_map(|part| match part {
        Protocol::QuicV1 => Some("quic"),
        Protocol::WebRTCDirect => Some("webrtc"),
        _ => None,
    });
    known.unwrap_or("tcp")
}

/// The addresses to try first, relayed ones last: on a local network only TCP, which moves bulk for half the CPU time of QUIC;
/// over the Internet all of them.
pub(crate) fn preferred(addresses: &[Multiaddr]) -> Vec<Multiaddr> {
    let is_near = |address: &Multiaddr, over: &str| {
        transport(address) == over && scope(address).is_some_and(|scope| scope < Scope::Public)
    };
    let has_near_tcp = addresses.iter().any(|address| is_near(address, "tcp"));
    let is_first = |address: &&Multiaddr| !(has_near_tcp && is_near(address, "quic"));
    let mut first: Vec<Multiaddr> = addresses.iter().filter(is_first).cloned().collect();
    first.sort_by_key(is_relayed);
    first
}

/// The subnet of an address with an IP.
pub(crate) fn subnet(address: &Multiaddr) -> Option<Subnet> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => {
            let [a, b, c, _] = ip.octets();
            Some(Subnet::V4([a, b, c]))
        }
        Protocol::Ip6(ip) => {
            let [a, b, c, ..] = ip.segments();
            Some(Subnet::V6([a, b, c]))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn loopback_is_known_before_it_has_a_port() {
        let of = |text: &str| is_loopback(&text.parse().unwrap());
        assert!(of("/ip4/127.0.0.1/tcp/0") && of("/ip6/::1/udp/0/quic-v1"));
        assert!(!of("/ip4/0.0.0.0/tcp/0") && !of("/dns4/localhost/tcp/0"));
    }

    #[test]
    fn scopes() {
        let of = |text: &str| scope(&text.parse().unwrap());
        assert_eq!(of("/ip4/127.0.0.1/tcp/1"), Some(Scope::Loopback));
        assert_eq!(of("/ip6/::1/udp/1/quic-v1"), Some(Scope::Loopback));
        assert_eq!(of("/ip4/192.168.0.1/udp/1/quic-v1"), Some(Scope::Private));
        assert_eq!(of("/ip6/fd00::1/tcp/1"), Some(Scope::Private));
        assert_eq!(of("/ip4/100.127.0.1/tcp/1"), Some(Scope::Private));
        assert_eq!(of("/ip4/100.128.0.1/tcp/1"), Some(Scope::Public));
        assert_eq!(of("/ip4/8.8.8.8/tcp/1"), Some(Scope::Public));
        assert_eq!(of("/dns4/example.org/tcp/1"), Some(Scope::Public));
        let hash = "certhash/uEiDikp5KVUgkLta1EjUN-IKbHk-dUBg8VzKgf5nXxLK46w";
        assert_eq!(of("/ip4/192.168.0.1/udp/1/webrtc-direct"), Some(Scope::Private));
        assert_eq!(of(&format!("/ip6/2001:db8::1/udp/1/webrtc-direct/{hash}")), Some(Scope::Public));
        assert_eq!(of(&format!("/ip4/127.0.0.1/udp/1/webrtc-direct/{hash}/{hash}")), Some(Scope::Loopback));
        for useless in [
            &format!("/ip4/8.8.8.8/udp/1/quic-v1/{hash}"),
            &format!("/ip4/8.8.8.8/udp/1/webrtc-direct/{hash}/tcp/1"),
            "/ip4/8.8.8.8/udp/0/webrtc-direct",
            "/ip4/8.8.8.8/tcp/1/webrtc-direct",
            "/ip4/0.0.0.0/tcp/1",
            "/ip4/224.0.0.1/tcp/1",
            "/ip6/fe80::1/tcp/1",
            "/ip4/8.8.8.8/tcp/0",
            "/ip4/8.8.8.8/udp/1",
            "/ip4/8.8.8.8/tcp/1/ws",
            "/memory/1",
        ] {
            assert_eq!(of(useless), None, "{useless}");
        }
    }

    #[test]
    fn a_distant_peer_cannot_name_near_addresses() {
        let peer = PeerId::random();
        let claimed = addresses(&[
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/10.0.0.1/tcp/1",
            "/ip4/8.8.8.8/tcp/1",
            "/ip4/8.8.8.8/tcp/1",
        ]);
        let kept = |met_over| believable(claimed.clone(), &peer, met_over, 10).len();
        assert_eq!((kept(Scope::Loopback), kept(Scope::Private), kept(Scope::Public)), (3, 2, 1));
        assert_eq!(believable(claimed.clone(), &peer, Scope::Loopback, 2).len(), 2);
    }

    #[test]
    fn what_only_browsers_dial_is_not_learnt() {
        let claimed = addresses(&["/ip4/8.8.8.8/udp/1/webrtc-direct", "/ip4/8.8.8.8/udp/1/quic-v1"]);
        let kept = believable(claimed.clone(), &PeerId::random(), Scope::Public, 1);
        assert_eq!(kept, claimed[1..]);
        assert_eq!((transport(&claimed[0]), transport(&claimed[1])), ("webrtc", "quic"));
        let passed_on = |met_over| {
            let claimed = addresses(&["/ip4/10.0.0.1/udp/1/webrtc-direct", "/ip4/10.0.0.1/tcp/1"]);
            for_browsers(&claimed, &PeerId::random(), met_over)
        };
        assert_eq!(passed_on(Scope::Private), addresses(&["/ip4/10.0.0.1/udp/1/webrtc-direct"]).pop());
        assert_eq!(passed_on(Scope::Public), None);
    }

    #[test]
    fn an_address_that_names_another_peer_is_dropped() {
        let (peer, other) = (PeerId::random(), PeerId::random());
        let with = |id: PeerId| format!("/ip4/8.8.8.8/tcp/1/p2p/{id}").parse::<Multiaddr>().unwrap();
        let kept = believable([with(peer), with(other)], &peer, Scope::Public, 10);
        assert_eq!(kept, addresses(&["/ip4/8.8.8.8/tcp/1"]));
    }

    #[test]
    fn tcp_comes_first_where_it_is_near() {
        let near = addresses(&["/ip4/10.0.0.1/udp/1/quic-v1", "/ip4/10.0.0.1/tcp/1", "/ip4/8.8.8.8/tcp/1"]);
        assert_eq!(preferred(&near), addresses(&["/ip4/10.0.0.1/tcp/1", "/ip4/8.8.8.8/tcp/1"]));
        let far = addresses(&["/ip4/8.8.8.8/udp/1/quic-v1", "/ip4/8.8.8.8/tcp/1"]);
        assert_eq!(preferred(&far), far);
    }

    #[test]
    fn a_relayed_address_reaches_as_far_as_its_relay_and_comes_last() {
        let (relay, peer) = (PeerId::random(), PeerId::random());
        let over = |ip: &str| {
            format!("/ip4/{ip}/udp/1/quic-v1/p2p/{relay}/p2p-circuit").parse::<Multiaddr>().unwrap()
        };
        let (public, private) = (over("8.8.8.8"), over("10.0.0.1"));
        assert_eq!((scope(&public), scope(&private)), (Some(Scope::Public), Some(Scope::Private)));
        assert_eq!((transport(&public), is_relayed_by(&public, &relay)), ("relay", true));
        assert!(!is_relayed_by(&public, &peer));
        let named = public.clone().with(Protocol::P2p(peer));
        assert_eq!(believable([named], &peer, Scope::Public, 10), std::slice::from_ref(&public));
        let direct: Multiaddr = "/ip4/8.8.8.8/tcp/1".parse().unwrap();
        assert_eq!(preferred(&[public.clone(), direct.clone()]), [direct, public.clone()]);
        for nonsense in [
            public.with(Protocol::P2pCircuit),
            private.with(Protocol::P2p(peer)).with(Protocol::P2pCircuit),
            format!("/ip4/8.8.8.8/tcp/1/p2p-circuit/p2p/{peer}").parse().unwrap(),
        ] {
            assert_eq!(scope(&nonsense), None, "{nonsense}");
        }
    }
}
