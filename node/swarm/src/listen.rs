//! Binding the listeners, with an error that a person can act on.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, TcpListener, UdpSocket},
};

use futures::StreamExt;
use libp2p::{Multiaddr, Swarm, core::transport::ListenerId, multiaddr::Protocol, swarm::SwarmEvent};
use tokio::time::timeout;
use tracing::warn;

use crate::{
    behaviour::{Behaviour, BehaviourEvent},
    error::SwarmError,
    limit::LISTEN_TIMEOUT,
};

#[cfg(not(feature = "webrtc"))]
const NO_SUCH_TRANSPORT: &str =
    "no such transport; use tcp or udp/…/quic-v1 (webrtc-direct needs a build with the feature `webrtc`)";
#[cfg(feature = "webrtc")]
const NO_SUCH_TRANSPORT: &str = "no such transport; use tcp, udp/…/quic-v1 or udp/…/webrtc-direct";

/// What came of listening.
pub(crate) struct Listening {
    /// The port that each address got, by its text.
    pub(crate) ports: BTreeMap<String, u16>,
    /// What else happened meanwhile, in order.
    pub(crate) early: Vec<SwarmEvent<BehaviourEvent>>,
}

/// Listens on every address and waits until each listener has reported where. For an address with port 0 the preferred
/// port is taken if it is free.
pub(crate) async fn listen(
    swarm: &mut Swarm<Behaviour>,
    addresses: &[String],
    preferred_ports: &BTreeMap<String, u16>,
) -> Result<Listening, SwarmError> {
    let preferred = |text: &String, address: Multiaddr| {
        let port = preferred_ports.get(text).copied();
        port.and_then(|port| free_at(&address, port)).unwrap_or(address)
    };
    let addresses = addresses
        .iter()
        .map(|text| Ok((text, preferred(text, parse(text)?))))
        .collect::<Result<Vec<_>, SwarmError>>()?;
    // All of them before the first is bound: where IPv6 sockets take IPv4 as well, our own would seem to be in the way.
    let found: Vec<io::Result<()>> = addresses.iter().map(|(_, address)| check_port(address)).collect();
    let mut waiting = Vec::new();
    for ((text, address), free) in addresses.into_iter().zip(found) {
        match free.and_then(|()| bind(swarm, &address)) {
            Ok(listener) => waiting.push((listener, text.clone())),
            Err(error) if is_missing_ip6(&address, &error) => warn!(address = text, %error, "no IPv6 here"),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                return Err(SwarmError::PortInUse(text.clone()));
            }
            Err(error) => {
                return Err(SwarmError::Listen { address: text.clone(), reason: error.to_string() });
            }
        }
    }
    if waiting.is_empty() {
        return Err(SwarmError::NoListener);
    }
    let slowest = waiting.first().map(|(_, text)| text.clone()).unwrap_or_default();
    let reason = format!("nothing happened for {} s", LISTEN_TIMEOUT.as_secs());
    timeout(LISTEN_TIMEOUT, all_up(swarm, waiting))
        .await
        .map_err(|_| SwarmError::Listen { address: slowest, reason })?
}

fn parse(text: &str) -> Result<Multiaddr, SwarmError> {
    text.parse().map_err(|_| SwarmError::ListenAddress(text.to_owned()))
}

/// The address with this port in place of 0, if that is free.
fn free_at(address: &Multiaddr, port: u16) -> Option<Multiaddr> {
    let with_port: Multiaddr = address
        .iter()
        .map(|part| match part {
            Protocol::Tcp(0) => Protocol::Tcp(port),
            Protocol::Udp(0) => Protocol::Udp(port),
            part => part,
        })
        .collect();
    (with_port != *address && check_port(&with_port).is_ok()).then_some(with_port)
}

fn port(address: &Multiaddr) -> Option<u16> {
    address.iter().find_map(|part| match part {
        Protocol::Tcp(port) | Protocol::Udp(port) => Some(port),
        _ => None,
    })
}

fn bind(swarm: &mut Swarm<Behaviour>, address: &Multiaddr) -> io::Result<ListenerId> {
    swarm.listen_on(address.clone()).map_err(|error| match error {
        libp2p::TransportError::MultiaddrNotSupported(_) => {
            io::Error::new(io::ErrorKind::Unsupported, NO_SUCH_TRANSPORT)
        }
        libp2p::TransportError::Other(error) => error,
    })
}

/// Whether the port is free, found out by a plain bind. libp2p binds TCP ports for reuse, so a second program of the
/// same user would share a port in silence, and half of the connections would go to the wrong one; and of a QUIC
/// port it reports only a text, not the kind of the error.
fn check_port(address: &Multiaddr) -> io::Result<()> {
    let mut parts = address.iter();
    let ip = match parts.next() {
        Some(Protocol::Ip4(ip)) => IpAddr::V4(ip),
        Some(Protocol::Ip6(ip)) => IpAddr::V6(ip),
        _ => return Ok(()),
    };
    match parts.next() {
        Some(Protocol::Tcp(port)) if port != 0 => TcpListener::bind((ip, port)).map(drop),
        Some(Protocol::Udp(port)) if port != 0 => UdpSocket::bind((ip, port)).map(drop),
        _ => Ok(()),
    }
}

/// Listening on every IPv6 address is a default, not a wish: machines without IPv6 are no error.
fn is_missing_ip6(address: &Multiaddr, error: &io::Error) -> bool {
    let everywhere = matches!(address.iter().next(), Some(Protocol::Ip6(ip)) if ip.is_unspecified());
    everywhere && error.kind() != io::ErrorKind::AddrInUse
}

async fn all_up(
    swarm: &mut Swarm<Behaviour>,
    mut waiting: Vec<(ListenerId, String)>,
) -> Result<Listening, SwarmError> {
    let mut listening = Listening { ports: BTreeMap::new(), early: Vec::new() };
    while !waiting.is_empty() {
        let event = swarm.select_next_some().await;
        match &event {
            SwarmEvent::NewListenAddr { listener_id, address } => {
                let up = waiting.iter().position(|(listener, _)| listener == listener_id);
                if let Some((_, text)) = up.map(|index| waiting.swap_remove(index)) {
                    listening.ports.extend(port(address).map(|port| (text, port)));
                }
            }
            SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
                if let Some((_, address)) = waiting.iter().find(|(listener, _)| listener == listener_id) {
                    let reason =
                        reason.as_ref().err().map_or_else(|| "closed".to_owned(), ToString::to_string);
                    return Err(SwarmError::Listen { address: address.clone(), reason });
                }
            }
            _ => {}
        }
        listening.early.push(event);
    }
    Ok(listening)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(address: &str) -> Option<io::ErrorKind> {
        check_port(&address.parse().unwrap()).err().map(|error| error.kind())
    }

    #[test]
    fn a_taken_port_is_noticed() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (tcp_port, udp_port) = (tcp.local_addr().unwrap().port(), udp.local_addr().unwrap().port());
        let in_use = Some(io::ErrorKind::AddrInUse);
        assert_eq!(kind(&format!("/ip4/127.0.0.1/tcp/{tcp_port}")), in_use);
        assert_eq!(kind(&format!("/ip4/127.0.0.1/udp/{udp_port}/quic-v1")), in_use);
        assert_eq!(kind("/ip4/127.0.0.1/tcp/0"), None);
        assert_eq!(free_at(&"/ip4/127.0.0.1/tcp/0".parse().unwrap(), tcp_port), None);
        drop(udp);
        let again = free_at(&"/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap(), udp_port).unwrap();
        assert_eq!(port(&again), Some(udp_port));
        let fixed = format!("/ip4/127.0.0.1/tcp/{}", tcp_port ^ 1).parse().unwrap();
        assert_eq!(free_at(&fixed, udp_port), None, "it is not for us to choose");
        assert_eq!(kind(&format!("/ip4/127.0.0.1/udp/{udp_port}/quic-v1")), None);
    }
}
