//! Browsers' side is played by libp2p's own transport, without the doorkeeper; real ones come in `tests/tests/browser.rs`.

use std::{
    future::poll_fn,
    net::{SocketAddr, UdpSocket},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use libp2p::{
    Multiaddr,
    core::{
        Endpoint,
        muxing::StreamMuxerExt,
        transport::{DialOpts, ListenerId, PortUse, Transport, TransportEvent},
    },
    identity::Keypair,
    multiaddr::Protocol,
};
use libp2p_webrtc::tokio::{self as webrtc, Certificate};
use tokio::{sync::mpsc, time::timeout};

use super::{
    channel::PacedMuxer,
    doorkeeper::{Doorkeeper, WebrtcError},
    transport,
};
use crate::{
    config::WebrtcCertificate,
    limit::{MAX_WEBRTC_HANDSHAKES, MAX_WEBRTC_HANDSHAKES_PER_IP, WEBRTC_HANDSHAKE_TIMEOUT},
};

const LOOPBACK: &str = "/ip4/127.0.0.1/udp/0/webrtc-direct";
/// Something that must happen soon has this long; no test depends on it being sooner.
const SOON: Duration = Duration::from_secs(30);
/// A browser that found the door shut tries so many times.
const MAX_VISITS: usize = 6;

type Connection = PacedMuxer<webrtc::Connection>;

/// A node's listener, looked after by a task.
struct House {
    address: Multiaddr,
    /// Who came in, and whose handshakes failed.
    guests: mpsc::Receiver<Result<Connection, WebrtcError>>,
    handshakes: Arc<Handshakes>,
}

/// How many handshakes there are.
#[derive(Default)]
struct Handshakes {
    under_way: AtomicUsize,
    most: AtomicUsize,
}

impl House {
    async fn open(mut keeper: Doorkeeper) -> Self {
        keeper.listen_on(ListenerId::next(), LOOPBACK.parse().unwrap()).unwrap();
        let TransportEvent::NewAddress { listen_addr: address, .. } =
            poll_fn(|cx| Pin::new(&mut keeper).poll(cx)).await
        else {
            panic!("it does not listen")
        };
        let (guests_in, guests) = mpsc::channel(4096);
        let handshakes = Arc::<Handshakes>::default();
        let count = Arc::clone(&handshakes);
        tokio::spawn(async move {
            loop {
                let event = poll_fn(|cx| Pin::new(&mut keeper).poll(cx)).await;
                let TransportEvent::Incoming { upgrade, .. } = event else { continue };
                count.most.fetch_max(count.under_way.fetch_add(1, SeqCst) + 1, SeqCst);
                let (guests_in, count) = (guests_in.clone(), Arc::clone(&count));
                // Counted down by the first poll that finds it done, which is before its place is given to another.
                let upgrade = upgrade.inspect(move |_| {
                    count.under_way.fetch_sub(1, SeqCst);
                });
                tokio::spawn(async move {
                    let _ = guests_in.send(upgrade.await.map(|(_, connection)| connection)).await;
                });
            }
        });
        Self { address, guests, handshakes }
    }

    fn socket(&self) -> SocketAddr {
        let port = self.address.iter().find_map(|part| match part {
            Protocol::Udp(port) => Some(port),
            _ => None,
        });
        ([127, 0, 0, 1], port.unwrap()).into()
    }

    /// Somebody honest comes in.
    async fn visit(&mut self) -> (Connection, webrtc::Connection) {
        for _ in 0..MAX_VISITS {
            if let Some(theirs) = self.knock().await {
                return (self.next_guest().await, theirs);
            }
        }
        panic!("nobody gets in")
    }

    async fn next_guest(&mut self) -> Connection {
        loop {
            if let Ok(ours) = timeout(SOON, self.guests.recv()).await.unwrap().unwrap() {
                return ours;
            }
        }
    }

    /// A browser's attempt to come in.
    async fn knock(&self) -> Option<webrtc::Connection> {
        let mut client = browser();
        client.listen_on(ListenerId::next(), LOOPBACK.parse().unwrap()).unwrap();
        let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let dial = client.dial(self.address.clone(), options).unwrap();
        tokio::spawn(async move {
            loop {
                poll_fn(|cx| Pin::new(&mut client).poll(cx)).await;
            }
        });
        Some(timeout(SOON, dial).await.ok()?.ok()?.1)
    }

    fn most_handshakes(&self) -> usize {
        self.handshakes.most.load(SeqCst)
    }
}

fn browser() -> webrtc::Transport {
    webrtc::Transport::new(Keypair::generate_ed25519(), Certificate::generate(&mut rand::rng()).unwrap())
}

fn keeper() -> Doorkeeper {
    transport(&Keypair::generate_ed25519(), None).unwrap()
}

/// A STUN binding request as a browser's first packet has it.
fn knock(name: u32) -> Vec<u8> {
    let user = format!("libp2p+webrtc+v1/{name:08}:libp2p+webrtc+v1/{name:08}");
    let padded = user.len().next_multiple_of(4);
    let mut packet = vec![0, 1];
    packet.extend((padded as u16 + 4).to_be_bytes());
    packet.extend(0x2112_a442_u32.to_be_bytes());
    packet.extend([7; 12]);
    packet.extend(6_u16.to_be_bytes());
    packet.extend((user.len() as u16).to_be_bytes());
    packet.extend(user.as_bytes());
    packet.resize(20 + 4 + padded, 0);
    packet
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_without_flushing_arrives_whole() {
    let mut house = House::open(keeper()).await;
    let (mut ours, mut theirs) = house.visit().await;
    let mut outgoing = poll_fn(|cx| theirs.poll_outbound_unpin(cx)).await.unwrap();
    let mut incoming = timeout(SOON, poll_fn(|cx| ours.poll_inbound_unpin(cx))).await.unwrap().unwrap();
    let sent: Vec<u8> = (0..1_000_000_u32).map(|at| (at % 251) as u8).collect();
    let expected = sent.clone();
    let writer = tokio::spawn(async move {
        // Two of these joined would be more than a message may be.
        for piece in sent.chunks(10_000) {
            incoming.write_all(piece).await?;
        }
        incoming.close().await
    });
    let mut received = Vec::new();
    timeout(SOON, outgoing.read_to_end(&mut received)).await.unwrap().unwrap();
    writer.await.unwrap().unwrap();
    assert!(received == expected, "{} bytes of {} came", received.len(), expected.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn b41_garbage_on_the_port_keeps_nobody_out() {
    let mut house = House::open(keeper()).await;
    let stranger = UdpSocket::bind("127.0.0.2:0").unwrap();
    let mut oversized = knock(1);
    oversized.resize(1400, 0xff);
    let truncated = &knock(1)[..30];
    let mut endless = knock(1);
    endless[22..24].copy_from_slice(&u16::MAX.to_be_bytes());
    for packet in [&[][..], &[0; 1], &[0xff; 1400], &[22, 254, 253, 0, 0], truncated, &oversized, &endless] {
        stranger.send_to(packet, house.socket()).unwrap();
    }
    house.visit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b41_a_crowd_of_strangers_gets_a_few_handshakes_and_keeps_nobody_else_out() {
    let mut house = House::open(keeper()).await;
    // Held, so that every one of them has a port of its own.
    let mut sockets = Vec::new();
    for name in 0..500 {
        let socket = UdpSocket::bind("127.0.0.2:0").unwrap();
        socket.send_to(&knock(name), house.socket()).unwrap();
        sockets.push(socket);
    }
    house.visit().await;
    let most = house.most_handshakes();
    assert!((1..=MAX_WEBRTC_HANDSHAKES_PER_IP + 1).contains(&most), "{most} handshakes at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn b41_strangers_from_everywhere_get_no_more_handshakes_than_there_are() {
    let mut house = House::open(keeper()).await;
    let mut sockets = Vec::new();
    for name in 0..200 {
        let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 1, name as u8], 0))).unwrap();
        socket.send_to(&knock(name), house.socket()).unwrap();
        sockets.push(socket);
    }
    // As many as there may be; when they have failed, the door is open for others.
    for _ in 0..MAX_WEBRTC_HANDSHAKES {
        let ended = timeout(SOON + WEBRTC_HANDSHAKE_TIMEOUT, house.guests.recv()).await.unwrap().unwrap();
        assert!(ended.is_err(), "a stranger came in with nothing but a knock");
    }
    house.visit().await;
    assert_eq!(house.most_handshakes(), MAX_WEBRTC_HANDSHAKES);
}

#[tokio::test(flavor = "multi_thread")]
async fn b41_strangers_are_forgotten_at_the_same_address() {
    const MAX_STRANGERS: usize = 20;
    let mut house = House::open(keeper().with_max_strangers(MAX_STRANGERS)).await;
    let mut sockets = Vec::new();
    for name in 0..3 * MAX_STRANGERS as u32 {
        let socket = UdpSocket::bind("127.0.0.2:0").unwrap();
        socket.send_to(&knock(name), house.socket()).unwrap();
        sockets.push(socket);
    }
    house.visit().await;
}

#[test]
fn a_certificate_stays_the_same_and_a_damaged_one_is_refused() {
    let made = WebrtcCertificate::generate().unwrap();
    let kept = WebrtcCertificate::from_pem(made.pem().to_owned());
    let hash = |certificate| super::usable(certificate).unwrap().fingerprint();
    assert_eq!(hash(&made), hash(&kept));
    assert_ne!(hash(&made), hash(&WebrtcCertificate::generate().unwrap()));
    let damaged = [
        "",
        "nonsense",
        "-----BEGIN EXPIRES-----\nAA==\n-----END EXPIRES-----\n\n",
        &made.pem()[..made.pem().len() / 2],
        &made.pem().replace('A', "B"),
    ];
    for pem in damaged {
        assert!(!WebrtcCertificate::from_pem(pem.to_owned()).is_usable(), "{pem}");
    }
    assert!(!format!("{made:?}").contains("PRIVATE"));
}
