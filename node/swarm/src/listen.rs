//! Binding the listeners, with an error that a person can act on.

use std::{
    error::Error as StdError,
    io,
    net::{IpAddr, SocketAddr, TcpListener},
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

/// Listens on every address and waits until each listener has reported where. What else happens meanwhile is given
/// back, in order.
pub(crate) async fn listen(
    swarm: &mut Swarm<Behaviour>,
    addresses: &[String],
) -> Result<Vec<SwarmEvent<BehaviourEvent>>, SwarmError> {
    let mut waiting = Vec::new();
    for text in addresses {
        let address = parse(text)?;
        match bind(swarm, &address) {
            Ok(listener) => waiting.push((listener, text.clone())),
            Err(error) if is_missing_ip6(&address, &error) => warn!(address = text, %error, "no IPv6 here"),
            Err(error) if is_in_use(&error) => return Err(SwarmError::PortInUse(text.clone())),
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

fn bind(swarm: &mut Swarm<Behaviour>, address: &Multiaddr) -> io::Result<ListenerId> {
    check_tcp_port(address)?;
    swarm.listen_on(address.clone()).map_err(|error| match error {
        libp2p::TransportError::MultiaddrNotSupported(_) => {
            io::Error::new(io::ErrorKind::Unsupported, "no such transport; use tcp or udp/…/quic-v1")
        }
        libp2p::TransportError::Other(error) => error,
    })
}

/// libp2p binds TCP ports for reuse, so a second program of the same user would share a port in silence, and half of
/// the connections would go to the wrong one. A plain bind notices.
fn check_tcp_port(address: &Multiaddr) -> io::Result<()> {
    match tcp_socket(address) {
        Some(socket) if socket.port() != 0 => TcpListener::bind(socket).map(drop),
        _ => Ok(()),
    }
}

fn tcp_socket(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => IpAddr::V4(ip),
        Protocol::Ip6(ip) => IpAddr::V6(ip),
        _ => return None,
    };
    match parts.next()? {
        Protocol::Tcp(port) => Some(SocketAddr::new(ip, port)),
        _ => None,
    }
}

fn is_in_use(error: &io::Error) -> bool {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|io| io.kind() == io::ErrorKind::AddrInUse) {
            return true;
        }
        // An `io::Error` that wraps another names that one's source as its own, not the wrapped error itself.
        cause = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    false
}

/// Listening on every IPv6 address is a default, not a wish: machines without IPv6 are no error.
fn is_missing_ip6(address: &Multiaddr, error: &io::Error) -> bool {
    matches!(address.iter().next(), Some(Protocol::Ip6(ip)) if ip.is_unspecified()) && !is_in_use(error)
}

async fn all_up(
    swarm: &mut Swarm<Behaviour>,
    mut waiting: Vec<(ListenerId, String)>,
) -> Result<Vec<SwarmEvent<BehaviourEvent>>, SwarmError> {
    let mut events = Vec::new();
    while !waiting.is_empty() {
        let event = swarm.select_next_some().await;
        match &event {
            SwarmEvent::NewListenAddr { listener_id, .. } => {
                waiting.retain(|(listener, _)| listener != listener_id)
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
        events.push(event);
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_recognised_through_its_wrappers() {
        let inner = io::Error::from(io::ErrorKind::AddrInUse);
        assert!(is_in_use(&inner));
        assert!(is_in_use(&io::Error::other(io::Error::other(inner))));
        assert!(!is_in_use(&io::Error::other("something else")));
    }

    #[test]
    fn a_taken_tcp_port_is_noticed() {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = holder.local_addr().unwrap().port();
        let taken = format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap();
        assert!(is_in_use(&check_tcp_port(&taken).unwrap_err()));
        check_tcp_port(&"/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        check_tcp_port(&"/ip4/127.0.0.1/udp/1/quic-v1".parse().unwrap()).unwrap();
    }
}
