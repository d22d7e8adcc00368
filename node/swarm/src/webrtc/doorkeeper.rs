//! Who is let in over WebRTC, and how many at once.
//!
//! A handshake begins with one UDP packet, whose source anybody can invent, and costs far more than that: an ICE agent, DTLS,
//! SCTP, Noise. So only a few are under way at once, fewer from one address, and each has little time. Whoever is turned away
//! costs nothing but a place in the transport's memory of addresses seen, which it never empties; when that has grown too
//! large, the doorkeeper opens the same port anew. What a failed handshake leaves behind in the transport cannot be freed from
//! here: after too many of them, nobody is let in any more.

use std::{
    collections::HashMap,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures::{FutureExt, future::BoxFuture};
use libp2p::{
    Multiaddr, PeerId, TransportError,
    core::transport::{DialOpts, ListenerId, Transport, TransportEvent},
    identity::Keypair,
    multiaddr::Protocol,
};
use libp2p_webrtc::tokio::{self as webrtc, Certificate};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tracing::{debug, warn};

use super::channel::PacedMuxer;
use crate::limit::{
    MAX_WEBRTC_CONNECTIONS, MAX_WEBRTC_FAILURES, MAX_WEBRTC_HANDSHAKES, MAX_WEBRTC_HANDSHAKES_PER_IP,
    MAX_WEBRTC_STRANGERS, WEBRTC_HANDSHAKE_TIMEOUT,
};

/// Strangers turned away in one go; then others get their turn.
const MAX_TURNED_AWAY_AT_ONCE: usize = 64;

/// Why something over WebRTC failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebrtcError {
    /// What the transport says.
    #[error(transparent)]
    Transport(Box<webrtc::Error>),
    /// The handshake did not end.
    #[error("the handshake took longer than {} s", WEBRTC_HANDSHAKE_TIMEOUT.as_secs())]
    Slow,
}

impl From<webrtc::Error> for WebrtcError {
    fn from(error: webrtc::Error) -> Self {
        Self::Transport(Box::new(error))
    }
}

/// libp2p's transport for each listener, and what they may cost together.
pub(crate) struct Doorkeeper {
    keypair: Keypair,
    certificate: Certificate,
    doors: Vec<Door>,
    crowd: Crowd,
    max_strangers: usize,
}

/// A listener.
struct Door {
    id: ListenerId,
    /// Where it listens; with the port that it got, once that is known.
    address: Multiaddr,
    transport: webrtc::Transport,
    /// Addresses that the transport has seen and will not forget: of those who did not come in.
    strangers: Arc<AtomicUsize>,
}

/// Everybody who is in, or on the way in.
struct Crowd {
    places: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    from: Arc<Mutex<HashMap<IpAddr, usize>>>,
    /// Handshakes of this run that came to nothing.
    failures: Arc<AtomicUsize>,
}

/// The permission to make a handshake, given back when it has ended either way.
struct Pass {
    place: OwnedSemaphorePermit,
    handshake: OwnedSemaphorePermit,
    source: Source,
    failures: Arc<AtomicUsize>,
}

/// One handshake of those of an address.
struct Source {
    ip: IpAddr,
    from: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Drop for Source {
    fn drop(&mut self) {
        let mut from = self.from.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = from.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                from.remove(&self.ip);
            }
        }
    }
}

/// Counts a handshake as failed when it goes, whoever ended it, unless that was averted.
struct Failure {
    failures: Arc<AtomicUsize>,
    is_averted: bool,
}

impl Failure {
    fn avert(mut self) {
        self.is_averted = true;
    }
}

impl Drop for Failure {
    fn drop(&mut self) {
        if !self.is_averted && self.failures.fetch_add(1, Ordering::Relaxed) + 1 == MAX_WEBRTC_FAILURES {
            warn!(
                "no browser is let in any more: too many never got through, and each has cost memory; a restart frees it"
            );
        }
    }
}

impl Crowd {
    fn new() -> Self {
        Self {
            places: Arc::new(Semaphore::new(MAX_WEBRTC_CONNECTIONS)),
            handshakes: Arc::new(Semaphore::new(MAX_WEBRTC_HANDSHAKES)),
            from: Arc::default(),
            failures: Arc::default(),
        }
    }

    fn admit(&self, ip: IpAddr) -> Option<Pass> {
        if self.failures.load(Ordering::Relaxed) >= MAX_WEBRTC_FAILURES {
            return None;
        }
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let handshake = Arc::clone(&self.handshakes).try_acquire_owned().ok()?;
        let mut from = self.from.lock().unwrap_or_else(PoisonError::into_inner);
        let count = from.entry(ip).or_default();
        if *count >= MAX_WEBRTC_HANDSHAKES_PER_IP {
            return None;
        }
        *count += 1;
        drop(from);
        let source = Source { ip, from: Arc::clone(&self.from) };
        Some(Pass { place, handshake, source, failures: Arc::clone(&self.failures) })
    }
}

impl Doorkeeper {
    /// Lets nobody in before it is told to listen.
    pub(super) fn new(keypair: Keypair, certificate: Certificate) -> Self {
        Self {
            keypair,
            certificate,
            doors: Vec::new(),
            crowd: Crowd::new(),
            max_strangers: MAX_WEBRTC_STRANGERS,
        }
    }

    /// Remembers fewer strangers, for tests.
    #[cfg(test)]
    pub(super) fn with_max_strangers(self, max_strangers: usize) -> Self {
        Self { max_strangers, ..self }
    }

    fn door(&self, id: ListenerId, address: Multiaddr) -> Result<Door, TransportError<WebrtcError>> {
        let mut transport = webrtc::Transport::new(self.keypair.clone(), self.certificate.clone());
        transport.listen_on(id, address.clone()).map_err(|error| error.map(WebrtcError::from))?;
        Ok(Door { id, address, transport, strangers: Arc::default() })
    }

    /// Opens a door's port anew, so that the strangers are forgotten. Who was in finds the line dead, and comes again.
    fn reopen(&mut self, index: usize) -> Result<(), (ListenerId, WebrtcError)> {
        let Door { id, address, transport, .. } = self.doors.remove(index);
        warn!(%address, "too many strangers have knocked: browsers must connect anew");
        // The port is free only then.
        drop(transport);
        match self.door(id, address) {
            Ok(door) => {
                self.doors.push(door);
                Ok(())
            }
            Err(TransportError::Other(error)) => Err((id, error)),
            Err(TransportError::MultiaddrNotSupported(address)) => {
                let reason = format!("{address} cannot be listened on any more");
                Err((id, webrtc::Error::Internal(reason).into()))
            }
        }
    }
}

type Incoming = <webrtc::Transport as Transport>::ListenerUpgrade;
type Upgrade = BoxFuture<'static, Result<(PeerId, PacedMuxer<webrtc::Connection>), WebrtcError>>;

/// A handshake within its limits.
fn limited(incoming: Incoming, pass: Pass, strangers: Arc<AtomicUsize>) -> Upgrade {
    async move {
        // All of it: a block that named one field would take that field alone, and give the others back at once.
        let Pass { place, handshake, source, failures } = pass;
        let failure = Failure { failures, is_averted: false };
        let ended = timeout(WEBRTC_HANDSHAKE_TIMEOUT, incoming).await;
        drop((handshake, source));
        let (peer, connection) = ended.map_err(|_| WebrtcError::Slow)??;
        failure.avert();
        strangers.fetch_sub(1, Ordering::Relaxed);
        Ok((peer, PacedMuxer::new(connection, place)))
    }
    .boxed()
}

impl Transport for Doorkeeper {
    type Output = (PeerId, PacedMuxer<webrtc::Connection>);
    type Error = WebrtcError;
    type ListenerUpgrade = Upgrade;
    type Dial = Upgrade;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<WebrtcError>> {
        let door = self.door(id, address)?;
        self.doors.push(door);
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.doors.iter_mut().any(|door| door.id == id && door.transport.remove_listener(id))
    }

    /// Between nodes there are better ways.
    fn dial(&mut self, address: Multiaddr, _: DialOpts) -> Result<Upgrade, TransportError<WebrtcError>> {
        Err(TransportError::MultiaddrNotSupported(address))
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<Upgrade, WebrtcError>> {
        let this = &mut *self;
        let mut turned_away = 0;
        let mut index = 0;
        while let Some(door) = this.doors.get_mut(index) {
            let event = match Pin::new(&mut door.transport).poll(cx) {
                Poll::Ready(event) => event,
                Poll::Pending => {
                    index += 1;
                    continue;
                }
            };
            let TransportEvent::Incoming { listener_id, upgrade, local_addr, send_back_addr } = event else {
                return Poll::Ready(this.note(index, event));
            };
            let strangers = Arc::clone(&door.strangers);
            let seen = strangers.fetch_add(1, Ordering::Relaxed) + 1;
            if let Some(pass) = ip(&send_back_addr).and_then(|ip| this.crowd.admit(ip)) {
                let upgrade = limited(upgrade, pass, strangers);
                let event = TransportEvent::Incoming { listener_id, upgrade, local_addr, send_back_addr };
                return Poll::Ready(event);
            }
            debug!(from = %send_back_addr, "turned away: too many handshakes are under way");
            drop(upgrade);
            if seen >= this.max_strangers
                && let Err((listener_id, error)) = this.reopen(index)
            {
                return Poll::Ready(TransportEvent::ListenerClosed { listener_id, reason: Err(error) });
            }
            turned_away += 1;
            if turned_away == MAX_TURNED_AWAY_AT_ONCE {
                cx.waker().wake_by_ref();
                break;
            }
        }
        Poll::Pending
    }
}

impl Doorkeeper {
    /// Passes on what a door says of itself.
    fn note(
        &mut self,
        index: usize,
        event: TransportEvent<Incoming, webrtc::Error>,
    ) -> TransportEvent<Upgrade, WebrtcError> {
        if let TransportEvent::NewAddress { listen_addr, .. } = &event
            && let Some(door) = self.doors.get_mut(index)
        {
            door.address = with_port_of(&door.address, listen_addr);
        }
        if let TransportEvent::ListenerClosed { .. } = event {
            self.doors.remove(index);
        }
        // Handshakes do not come this way.
        event.map_err(WebrtcError::from).map_upgrade(|_| futures::future::pending().boxed())
    }
}

/// The address with the port that the other one has.
fn with_port_of(address: &Multiaddr, other: &Multiaddr) -> Multiaddr {
    let port = other.iter().find(|part| matches!(part, Protocol::Udp(_)));
    let part = |part| match (part, &port) {
        (Protocol::Udp(_), Some(Protocol::Udp(port))) => Protocol::Udp(*port),
        (part, _) => part,
    };
    address.iter().map(part).collect()
}

fn ip(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(IpAddr::V6(ip)),
        _ => None,
    }
}
