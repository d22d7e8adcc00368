//! Whole swarms on the loopback interface.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use p2c2r_protocol::{
    blob::{ChunkManifest, scene_hash},
    chunk_set::ChunkSet,
    heartbeat::{ExactnessClass, Heartbeat, seal},
    id::{Epoch, NodeId, SceneHash, TaskId},
    sign::SecretKey,
    task::{ContributorMessage, CoordinatorMessage, Load},
    ticket::Ticket,
};
use tokio::{io::AsyncWriteExt, net::UdpSocket, sync::mpsc, time::timeout};

use crate::{
    Blob, BlobError, BlobOrder, BlobOwners, BlobSource, BlobStore, ChunkSink, ContributorEvent,
    ContributorLink, NoHandOvers, SwarmConfig, SwarmError, SwarmEvent, SwarmHandle, SwarmLimits, limit,
    session::{self, offer, result},
    start,
};

mod private;

/// Far more than any of this takes; only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(90);

/// The packages of one test node.
#[derive(Default)]
struct Shelf(BTreeMap<SceneHash, Arc<Blob>>);

impl BlobStore for Shelf {
    fn get(&self, scene: &SceneHash) -> Option<Arc<dyn BlobSource>> {
        self.0.get(scene).map(|blob| Arc::clone(blob) as Arc<dyn BlobSource>)
    }
}

/// Keeps chunks in memory.
#[derive(Default)]
pub(crate) struct MemorySink(Mutex<BTreeMap<u32, Bytes>>);

impl MemorySink {
    /// What is there, in order.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().values().flatten().copied().collect()
    }
}

impl ChunkSink for MemorySink {
    fn begin(&self, manifest: &ChunkManifest) -> std::io::Result<ChunkSet> {
        let mut here = ChunkSet::none(manifest.chunk_count());
        self.0.lock().unwrap().keys().for_each(|index| assert!(here.insert(*index)));
        Ok(here)
    }

    fn write(&self, index: u32, bytes: &[u8]) -> std::io::Result<()> {
        self.0.lock().unwrap().insert(index, Bytes::copy_from_slice(bytes));
        Ok(())
    }
}

fn order(owner: &TestNode, scene: SceneHash, size_bytes: u64, sink: &Arc<MemorySink>) -> BlobOrder {
    let owners = BlobOwners::default();
    owners.add(owner.id());
    let sink = Arc::clone(sink) as Arc<dyn ChunkSink>;
    BlobOrder { scene, size_bytes, owners, sink, progress: Arc::new(|_| ()) }
}

struct TestNode {
    key: SecretKey,
    swarm: SwarmHandle,
    events: mpsc::Receiver<SwarmEvent>,
    sequence: AtomicU64,
}

fn config(seed: u8, listen: &[&str], join: &[Ticket]) -> SwarmConfig {
    SwarmConfig {
        secret: SecretKey::from_seed([seed; 32]),
        listen: listen.iter().map(|address| (*address).to_owned()).collect(),
        join: join.to_vec(),
        remembered: Vec::new(),
        preferred_ports: BTreeMap::new(),
        swarm_key: None,
        allowed: Vec::new(),
        denied: Vec::new(),
        external: Vec::new(),
        mdns: false,
        relay: false,
        upnp: false,
        blobs: Arc::new(Shelf::default()),
        hand_overs: Arc::new(NoHandOvers),
        limits: SwarmLimits::default(),
        software: "test/1".into(),
        webrtc_certificate: None,
    }
}

const ANY_PORT: [&str; 2] = ["/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"];

impl TestNode {
    async fn start(seed: u8, join: &[Ticket]) -> Self {
        Self::with(config(seed, &ANY_PORT, join)).await
    }

    async fn with(config: SwarmConfig) -> Self {
        let key = config.secret.clone();
        let (swarm, events) = start(config).await.unwrap();
        Self { key, swarm, events, sequence: AtomicU64::new(0) }
    }

    fn id(&self) -> NodeId {
        self.swarm.node_id()
    }

    async fn ticket(&self) -> Ticket {
        self.swarm.ticket().await.unwrap()
    }

    async fn beat(&self) {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        let heartbeat = Heartbeat {
            sequence: self.sequence.fetch_add(1, Ordering::Relaxed) + 1,
            unix_ms: now_ms,
            started_unix_ms: 1,
            software: "test/1".into(),
            backend: "cpu".into(),
            adapter: "test".into(),
            exactness: ExactnessClass::Exact,
            mrays_per_s: 1.0,
            threads: 1,
            kinds: vec![],
            contributing: true,
            load: Load::default(),
            price: 0,
            scenes: vec![],
        };
        self.swarm.publish_heartbeat(seal(&heartbeat, &self.key).unwrap()).await;
    }

    /// Whether it is connected to all of these.
    async fn knows(&self, others: &[NodeId]) -> bool {
        let peers = self.swarm.peers().await;
        others.iter().all(|other| peers.iter().any(|peer| peer.node == *other && peer.connected))
    }

    /// Whether it has a fresh heartbeat of all of these.
    async fn hears(&self, others: &[NodeId]) -> bool {
        let peers = self.swarm.peers().await;
        others.iter().all(|other| peers.iter().any(|peer| peer.node == *other && peer.heartbeat.is_some()))
    }

    /// The next work session that somebody opens to it.
    async fn next_session(&mut self) -> ContributorLink {
        let session = async {
            loop {
                match self.events.recv().await {
                    Some(SwarmEvent::Session(link)) => return link,
                    Some(_) => {}
                    None => panic!("the swarm ended"),
                }
            }
        };
        timeout(PATIENCE, session).await.expect("no session came")
    }
}

/// Waits until `condition` holds.
async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let held = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(timeout(PATIENCE, held).await.is_ok(), "it never came to pass that {what}");
}

/// Two connected nodes.
async fn pair(seeds: [u8; 2]) -> (TestNode, TestNode) {
    let first = TestNode::start(seeds[0], &[]).await;
    let second = TestNode::start(seeds[1], &[first.ticket().await]).await;
    until("the two are connected", async || {
        first.knows(&[second.id()]).await && second.knows(&[first.id()]).await
    })
    .await;
    (first, second)
}

fn hello() -> CoordinatorMessage {
    CoordinatorMessage::Hello { epoch: Epoch(1), software: "test/1".into() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_ticket_makes_a_mesh_that_outlives_its_first_node() {
    let first = TestNode::start(1, &[]).await;
    let ticket = first.ticket().await;
    let mut others = Vec::new();
    for seed in 2..=4 {
        others.push(TestNode::start(seed, std::slice::from_ref(&ticket)).await);
    }
    let ids: Vec<NodeId> = others.iter().map(TestNode::id).collect();
    let rest = |own: NodeId| ids.iter().copied().filter(|id| *id != own).collect::<Vec<_>>();
    until("everybody is connected to everybody", async || {
        let mut all = first.knows(&ids).await;
        for node in &others {
            all &= node.knows(&rest(node.id())).await && node.knows(&[first.id()]).await;
        }
        all
    })
    .await;
    until("everybody hears everybody", async || {
        first.beat().await;
        let mut all = first.hears(&ids).await;
        for node in &others {
            node.beat().await;
            all &= node.hears(&rest(node.id())).await && node.hears(&[first.id()]).await;
        }
        // No faster than heartbeats are passed on.
        tokio::time::sleep(limit::MIN_HEARTBEAT_GAP).await;
        all
    })
    .await;
    let status = others[0].swarm.peers().await.into_iter().find(|peer| peer.node == first.id()).unwrap();
    assert!(status.transport.is_some() && !status.addresses.is_empty());

    first.swarm.shutdown().await;
    until("the first node is gone", async || {
        let mut none = true;
        for node in &others {
            none &= !node.knows(&[first.id()]).await;
        }
        none
    })
    .await;
    let late = TestNode::start(5, &[others[2].ticket().await]).await;
    until("a late node finds all that are left", async || late.knows(&ids).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_waits_for_the_one_that_it_was_told_to_join() {
    let port = free_udp_port().await;
    let address = format!("/ip4/127.0.0.1/udp/{port}/quic-v1");
    let ticket = Ticket { node: SecretKey::from_seed([11; 32]).node_id(), addresses: vec![address.clone()] };
    let early = TestNode::start(12, std::slice::from_ref(&ticket)).await;
    until("a dial has failed", async || early.swarm.counters().dials_failed > 0).await;
    let late = TestNode::with(config(11, &[&address], &[])).await;
    until("they meet", async || early.knows(&[late.id()]).await).await;
}

async fn free_udp_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_goes_out_and_pixels_come_back() {
    let (coordinator, mut contributor) = pair([21, 22]).await;
    let mut link = coordinator.swarm.open_session(contributor.id()).await.unwrap();
    link.outbox.send(hello()).await.unwrap();
    let mut served = contributor.next_session().await;
    assert_eq!(served.peer, coordinator.id());
    assert_eq!(served.inbox.recv().await, Some(hello()));
    for task in [1, 2] {
        link.outbox.send(offer(TaskId(task), 100, 100)).await.unwrap();
        assert_eq!(served.inbox.recv().await, Some(offer(TaskId(task), 100, 100)));
        served.outbox.send(ContributorEvent::Result(result(TaskId(task), 120_000))).await.unwrap();
    }
    for task in [1, 2] {
        let event = timeout(PATIENCE, link.inbox.recv()).await.unwrap();
        assert_eq!(event, Some(ContributorEvent::Result(result(TaskId(task), 120_000))));
    }

    let again = coordinator.swarm.open_session(contributor.id()).await.unwrap();
    again.outbox.send(hello()).await.unwrap();
    contributor.next_session().await;
    assert_eq!(
        timeout(PATIENCE, served.inbox.recv()).await.unwrap(),
        None,
        "a second session replaces the first"
    );
    assert_eq!(timeout(PATIENCE, link.inbox.recv()).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutting_down_delivers_what_was_said_and_ends_every_session() {
    let (coordinator, mut contributor) = pair([31, 32]).await;
    let mut link = coordinator.swarm.open_session(contributor.id()).await.unwrap();
    link.outbox.send(hello()).await.unwrap();
    let served = contributor.next_session().await;
    served.outbox.send(ContributorEvent::Message(ContributorMessage::Goodbye)).await.unwrap();
    drop(served);
    contributor.swarm.shutdown().await;
    let goodbye = timeout(PATIENCE, link.inbox.recv()).await.unwrap();
    assert_eq!(goodbye, Some(ContributorEvent::Message(ContributorMessage::Goodbye)));
    assert_eq!(timeout(PATIENCE, link.inbox.recv()).await.unwrap(), None);
    assert!(contributor.swarm.peers().await.is_empty());
    assert!(matches!(contributor.swarm.ticket().await, Err(SwarmError::Closed)));
    assert!(matches!(contributor.swarm.open_session(coordinator.id()).await, Err(SwarmError::Closed)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b1_garbage_on_a_session_stream_disturbs_nobody() {
    let (coordinator, mut contributor) = pair([41, 42]).await;
    for (nth, garbage) in (1..).zip([&[0xff_u8; 4096][..], &[0; 9], b"GET / HTTP/1.1\r\n\r\n"]) {
        let mut stream = coordinator.swarm.open_stream(contributor.id(), session::PROTOCOL).await.unwrap();
        // The other side may close before everything is written.
        let _ = stream.write_all(garbage).await;
        let _ = stream.flush().await;
        until("it is noticed", async || contributor.swarm.counters().sessions_accepted == nth).await;
    }
    let link = coordinator.swarm.open_session(contributor.id()).await.unwrap();
    link.outbox.send(hello()).await.unwrap();
    let mut served = contributor.next_session().await;
    assert_eq!(
        served.inbox.recv().await,
        Some(hello()),
        "the first session that the node sees is the honest one"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_package_travels_and_an_unknown_one_does_not() {
    let bytes: Bytes = (0..900_000_u32).map(|at| (at % 253) as u8).collect::<Vec<_>>().into();
    let scene = scene_hash(&bytes);
    let blob = Arc::new(Blob { manifest: ChunkManifest::of(&bytes), bytes: bytes.clone() });
    let shelf = Shelf(BTreeMap::from([(scene, blob)]));
    let server = TestNode::with(SwarmConfig { blobs: Arc::new(shelf), ..config(51, &ANY_PORT, &[]) }).await;
    let client = TestNode::start(52, &[server.ticket().await]).await;
    until("they are connected", async || client.knows(&[server.id()]).await).await;
    let sink = Arc::<MemorySink>::default();
    let fetched = client.swarm.fetch_blob(order(&server, scene, 900_000, &sink)).await.unwrap();
    assert_eq!((fetched.fetched_bytes, fetched.manifest.size_bytes()), (900_000, 900_000));
    assert_eq!(sink.bytes(), bytes);
    assert_eq!(server.swarm.counters().blob_bytes_sent, 900_000);
    let unknown = client.swarm.fetch_blob(order(&server, SceneHash([9; 32]), 5, &Arc::default())).await;
    assert!(matches!(unknown, Err(BlobError::NotHere)), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b25_one_peer_cannot_take_all_streams() {
    let (server, client) = pair([61, 62]).await;
    let mut held = Vec::new();
    for _ in 0..limit::MAX_BLOB_STREAMS_PER_PEER {
        held.push(client.swarm.open_stream(server.id(), crate::blob::PROTOCOL).await.unwrap());
    }
    until("one more is refused", async || {
        let one_more = client.swarm.fetch_blob(order(&server, SceneHash([9; 32]), 5, &Arc::default())).await;
        matches!(one_more, Err(BlobError::Busy))
    })
    .await;
    drop(held);
    until("there is room again", async || {
        let one_more = client.swarm.fetch_blob(order(&server, SceneHash([9; 32]), 5, &Arc::default())).await;
        matches!(one_more, Err(BlobError::NotHere))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b19_who_spreads_forgeries_is_blocked() {
    let (honest, forger) = pair([71, 72]).await;
    let mut round = 0_u32;
    until("the forger is blocked", async || {
        forger.swarm.publish_heartbeat(round.to_le_bytes().repeat(20)).await;
        round += 1;
        honest.swarm.counters().peers_blocked == 1
    })
    .await;
    until("and thrown out", async || !honest.knows(&[forger.id()]).await).await;
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let node = TestNode::start(81, &[]).await;
    for address in node.swarm.listen_addresses().await {
        match start(config(82, &[&address], &[])).await {
            Err(SwarmError::PortInUse(named)) => assert_eq!(named, address),
            Err(other) => panic!("{address}: {other}"),
            Ok(_) => panic!("two nodes listen on {address}"),
        }
    }
    let started = start(config(82, &["nonsense"], &[])).await;
    assert!(matches!(started, Err(SwarmError::ListenAddress(_))));
    assert!(matches!(start(config(82, &[], &[])).await, Err(SwarmError::NoListener)));
    let elsewhere = start(config(82, &["/ip4/192.0.2.1/tcp/0"], &[])).await;
    assert!(matches!(elsewhere, Err(SwarmError::Listen { .. })));
}

#[tokio::test]
async fn a_peer_that_nobody_knows_is_unreachable_at_once() {
    let node = TestNode::start(91, &[]).await;
    let stranger = SecretKey::from_seed([92; 32]).node_id();
    let opened = node.swarm.open_session(stranger).await;
    assert!(matches!(opened, Err(SwarmError::Unreachable { peer, .. }) if peer == stranger));
}
