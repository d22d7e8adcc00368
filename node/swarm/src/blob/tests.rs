//! Downloads over in-memory streams: honest and lying sources, a start anew, several who fetch side by side.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex, OnceLock, atomic::Ordering},
};

use bytes::{Bytes, BytesMut};
use p2c2r_protocol::{
    blob::{BlobReply, BlobRequest, ChunkManifest, scene_hash},
    chunk_set::ChunkSet,
    frame::encode,
    id::{NodeId, SceneHash},
    limit::SCENE_CHUNK_BYTES,
};
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

use super::{
    Blob, BlobNetwork, BlobOrder, BlobOwners, BlobSource, BlobStore, BlobStream, ChunkSink, Fetched, Known,
    Transfers, fetch, server::Server,
};
use crate::{counters::Counters, error::BlobError, tests::MemorySink, wire::FrameReader};

const CHUNK: usize = SCENE_CHUNK_BYTES as usize;

fn package(length: usize) -> Bytes {
    (0..length).map(|index| (index * 31 % 251) as u8).collect::<Vec<_>>().into()
}

fn node(index: u8) -> NodeId {
    NodeId::from_public_key([index; 32])
}

/// How a source departs from honesty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// A bit of every chunk is wrong.
    Corrupt,
    /// The stream ends behind the first chunk.
    CutOff,
    /// The stream ends at once.
    Silent,
    /// Another chunk comes than was asked for.
    Order,
    /// The first chunk comes, whichever of many would do.
    Repeat,
    /// The list is said to be of a package that is a byte shorter.
    WrongSize,
    /// Another package's list.
    ForeignList,
}

/// A package, or the part of it that a node has.
struct Part {
    blob: Blob,
    here: Mutex<ChunkSet>,
}

impl BlobSource for Part {
    fn manifest(&self) -> &ChunkManifest {
        &self.blob.manifest
    }
    fn chunks(&self) -> ChunkSet {
        self.here.lock().unwrap().clone()
    }
    fn read(&self, index: u32) -> Option<Bytes> {
        self.blob.read(index)
    }
}

/// One node of a world: what it serves, and how.
struct Place {
    part: OnceLock<Arc<Part>>,
    fault: Fault,
    transfers: Arc<Transfers>,
    counters: Arc<Counters>,
    sink: Arc<MemorySink>,
}

impl BlobStore for Place {
    fn get(&self, _scene: &SceneHash) -> Option<Arc<dyn BlobSource>> {
        Some(Arc::clone(self.part.get()?) as Arc<dyn BlobSource>)
    }
}

impl ChunkSink for Place {
    fn begin(&self, manifest: &ChunkManifest) -> io::Result<ChunkSet> {
        let here = self.sink.begin(manifest)?;
        let blob = Blob { bytes: package(manifest.size_bytes() as usize), manifest: manifest.clone() };
        assert!(self.part.set(Arc::new(Part { blob, here: Mutex::new(here.clone()) })).is_ok());
        Ok(here)
    }
    fn write(&self, index: u32, bytes: &[u8]) -> io::Result<()> {
        self.sink.write(index, bytes)?;
        self.part.get().unwrap().here.lock().unwrap().insert(index);
        Ok(())
    }
}

/// Nodes that reach each other over streams in memory.
#[derive(Clone)]
struct World {
    places: Arc<BTreeMap<NodeId, Arc<Place>>>,
    own: NodeId,
    opened: Arc<Mutex<Vec<NodeId>>>,
}

impl BlobNetwork for World {
    fn own(&self) -> NodeId {
        self.own
    }
    async fn open(&self, node: NodeId) -> Result<BlobStream, BlobError> {
        self.opened.lock().unwrap().push(node);
        let place = self.places.get(&node).ok_or(BlobError::Stalled)?;
        let (near, far) = duplex(1 << 16);
        if place.fault == Fault::None {
            let server = Server {
                store: Arc::clone(place) as Arc<dyn BlobStore>,
                transfers: Arc::clone(&place.transfers),
                counters: Arc::clone(&place.counters),
                peer: Some(self.own),
                busy: false,
            };
            tokio::spawn(async move { server.answer_all(far).await });
        } else {
            let part = Arc::clone(place.part.get().unwrap());
            tokio::spawn(lie(far, part, place.fault));
        }
        Ok(Box::pin(near))
    }
    async fn known(&self, _scene: SceneHash) -> Known {
        Known { nodes: self.places.keys().copied().collect(), announced: Vec::new() }
    }
}

/// Serves with a fault.
async fn lie(stream: DuplexStream, part: Arc<Part>, fault: Fault) {
    if fault == Fault::Silent {
        return;
    }
    let (reader, mut writer) = tokio::io::split(stream);
    let mut requests = FrameReader::<_, BlobRequest>::new(reader);
    while let Ok(Some(request)) = requests.next().await {
        let mut out = BytesMut::new();
        let count = part.manifest().chunk_count();
        let (mut index, mut is_chunk) = (0, true);
        match request.header {
            BlobRequest::Manifest { .. } => {
                let mut list = part.manifest().to_bytes();
                list[5] ^= u8::from(fault == Fault::ForeignList);
                let size_bytes = part.manifest().size_bytes() - u64::from(fault == Fault::WrongSize);
                let reply = BlobReply::Manifest { size_bytes };
                encode(&reply, &list, &mut out).unwrap();
                is_chunk = false;
            }
            BlobRequest::Watch { .. } => {
                encode(&BlobReply::Has { others: vec![] }, part.chunks().as_bytes(), &mut out).unwrap();
                is_chunk = false;
            }
            BlobRequest::Chunk { index: asked, .. } => index = asked,
            BlobRequest::Any { .. } if fault == Fault::Repeat => {}
            BlobRequest::Any { .. } => {
                index = ChunkSet::from_bytes(count, &request.payload).unwrap().iter().next().unwrap();
            }
            _ => unreachable!(),
        }
        if is_chunk {
            let mut chunk = part.read(index).unwrap().to_vec();
            chunk[9] ^= u8::from(fault == Fault::Corrupt);
            let said = if fault == Fault::Order { (index + 1) % count } else { index };
            encode(&BlobReply::Chunk { index: said }, &chunk, &mut out).unwrap();
        }
        if writer.write_all(&out).await.is_err() || (is_chunk && fault == Fault::CutOff) {
            return;
        }
    }
}

/// A world: node 0 owns the package, whole; so many others fetch it; further ones have it all, with these faults.
fn world(package: &Bytes, owner: Fault, fetching: u8, faults: &[Fault]) -> World {
    let place = |fault, is_whole| {
        let part = OnceLock::new();
        if is_whole {
            let blob = Blob { bytes: package.clone(), manifest: ChunkManifest::of(package) };
            let here = Mutex::new(blob.chunks());
            let _ = part.set(Arc::new(Part { blob, here }));
        }
        Arc::new(Place {
            part,
            fault,
            transfers: Arc::new(Transfers::new(None, None)),
            counters: Arc::default(),
            sink: Arc::default(),
        })
    };
    let mut places = vec![(node(0), place(owner, true))];
    places.extend((1..=fetching).map(|index| (node(index), place(Fault::None, false))));
    places.extend(faults.iter().zip(100..).map(|(fault, index)| (node(index), place(*fault, true))));
    World { places: Arc::new(places.into_iter().collect()), own: node(0), opened: Arc::default() }
}

impl World {
    fn place(&self, index: u8) -> &Arc<Place> {
        &self.places[&node(index)]
    }

    /// Fetches as this node.
    async fn fetch(&self, index: u8, package: &Bytes, size_bytes: u64) -> Result<Fetched, BlobError> {
        let place = self.place(index);
        let owners = BlobOwners::default();
        owners.add(node(0));
        for (other, _) in self.places.iter().filter(|(_, place)| place.fault != Fault::None) {
            owners.add(*other);
        }
        let order = BlobOrder {
            scene: scene_hash(package),
            size_bytes,
            owners,
            sink: Arc::clone(place) as Arc<dyn ChunkSink>,
            progress: Arc::new(|_| ()),
        };
        let network = Self { own: node(index), ..self.clone() };
        fetch(network, order, Arc::clone(&place.transfers), Arc::clone(&place.counters)).await
    }
}

/// Fetches three chunks from an owner with a fault.
async fn fetch_with(fault: Fault) -> (Result<Fetched, BlobError>, Vec<u8>) {
    let package = package(2 * CHUNK + 100);
    let world = world(&package, fault, 1, &[]);
    let fetched = world.fetch(1, &package, package.len() as u64).await;
    (fetched, world.place(1).sink.bytes())
}

#[tokio::test]
async fn a_package_arrives_whole_and_checked() {
    let (fetched, bytes) = fetch_with(Fault::None).await;
    assert_eq!(fetched.unwrap().fetched_bytes, 2 * CHUNK as u64 + 100);
    assert_eq!(bytes, package(2 * CHUNK + 100));
}

#[tokio::test(start_paused = true)]
async fn a_broken_stream_is_taken_up_where_it_broke() {
    let (fetched, bytes) = fetch_with(Fault::CutOff).await;
    assert!(fetched.is_ok(), "each stream brings one of the three chunks: {fetched:?}");
    assert_eq!(bytes, package(2 * CHUNK + 100));
    let (fetched, bytes) = fetch_with(Fault::Silent).await;
    assert!(matches!(fetched, Err(BlobError::Io(_))), "{fetched:?}");
    assert!(bytes.is_empty());
}

#[tokio::test]
async fn b30_wrong_bytes_are_refused_at_once() {
    for fault in [Fault::Corrupt, Fault::ForeignList] {
        let (fetched, bytes) = fetch_with(fault).await;
        assert!(matches!(fetched, Err(BlobError::Corrupt(_))), "{fetched:?}");
        assert!(bytes.is_empty());
    }
    let (fetched, bytes) = fetch_with(Fault::Order).await;
    // The owner may send any chunk that is asked for: the wrong number makes it a wrong chunk.
    assert!(matches!(fetched, Err(BlobError::Corrupt(_) | BlobError::Unexpected)), "{fetched:?}");
    assert!(bytes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn b30_a_source_that_sends_the_same_chunk_for_ever_is_dropped() {
    let (fetched, bytes) = fetch_with(Fault::Repeat).await;
    assert!(matches!(fetched, Err(BlobError::Unexpected)), "{fetched:?}");
    let package = package(2 * CHUNK + 100);
    // The last one came with the list.
    assert_eq!(bytes, [&package[..CHUNK], &package[2 * CHUNK..]].concat(), "it was right once");
}

#[tokio::test(start_paused = true)]
async fn b30_an_owner_that_lied_once_is_not_asked_again_by_a_later_download() {
    let package = package(3 * CHUNK);
    let world = world(&package, Fault::None, 1, &[Fault::CutOff]);
    world.place(1).transfers.shun(node(0));
    world.fetch(1, &package, package.len() as u64).await.unwrap();
    assert_eq!(world.place(1).sink.bytes(), package);
    assert!(!world.opened.lock().unwrap().contains(&node(0)));
}

#[tokio::test]
async fn b30_a_scene_arrives_beside_sources_that_send_wrong_chunks() {
    let package = package(40 * CHUNK + 5);
    let world = world(&package, Fault::None, 1, &[Fault::Corrupt, Fault::Order, Fault::Corrupt]);
    let fetched = world.fetch(1, &package, package.len() as u64).await.unwrap();
    assert_eq!(world.place(1).sink.bytes(), package);
    let liars: BTreeSet<NodeId> = fetched.liars.into_iter().collect();
    assert!(!liars.is_empty() && !liars.contains(&node(0)), "{liars:?}");
    assert!(liars.iter().all(|liar| world.place(1).transfers.is_shunned(liar)));
    let opened = |node: &NodeId| world.opened.lock().unwrap().iter().filter(|opened| *opened == node).count();
    for liar in &liars {
        assert!(opened(liar) <= 3, "one wrong chunk is enough: {}", opened(liar));
    }
}

#[tokio::test]
async fn what_is_here_from_before_is_not_fetched_again() {
    let package = package(10 * CHUNK);
    let world = world(&package, Fault::None, 1, &[]);
    for index in [0_usize, 3, 4, 9] {
        let chunk = &package[index * CHUNK..(index + 1) * CHUNK];
        world.place(1).sink.write(index as u32, chunk).unwrap();
    }
    let fetched = world.fetch(1, &package, package.len() as u64).await.unwrap();
    assert_eq!(fetched.fetched_bytes, 6 * CHUNK as u64);
    // The last one comes once more: it shows that the size is right.
    assert_eq!(world.place(0).counters.blob_bytes_sent.load(Ordering::Relaxed), 7 * CHUNK as u64);
    assert_eq!(world.place(1).sink.bytes(), package);
}

#[tokio::test]
async fn b30_whoever_says_a_wrong_size_makes_no_liar_of_those_who_send_the_right_bytes() {
    let package = package(3 * CHUNK - 7);
    let world = world(&package, Fault::None, 1, &[Fault::WrongSize]);
    let fetched = world.fetch(1, &package, package.len() as u64 - 1).await;
    assert!(fetched.is_err(), "{fetched:?}");
    let shunned = |index| world.place(1).transfers.is_shunned(&node(index));
    assert!(shunned(100) && !shunned(0));
    world.fetch(1, &package, package.len() as u64).await.unwrap();
    assert_eq!(world.place(1).sink.bytes(), package);
}

#[tokio::test]
async fn another_size_than_announced_is_refused_before_the_first_chunk() {
    let package = package(CHUNK + 1);
    let fetched = world(&package, Fault::None, 1, &[]).fetch(1, &package, 5).await;
    assert!(matches!(fetched, Err(BlobError::Size { expected_bytes: 5, .. })), "{fetched:?}");
}

// In virtual time: how fast the machine is must not say who is slow.
#[tokio::test(start_paused = true)]
async fn eight_who_fetch_side_by_side_cost_the_owner_little_more_than_one_copy() {
    let package = package(120 * CHUNK);
    let world = world(&package, Fault::None, 8, &[]);
    let size_bytes = package.len() as u64;
    let fetching = (1..=8).map(|index| {
        let (world, package) = (world.clone(), package.clone());
        tokio::spawn(async move { world.fetch(index, &package, size_bytes).await.unwrap() })
    });
    for fetched in futures::future::join_all(fetching).await {
        assert_eq!(fetched.unwrap().fetched_bytes, size_bytes);
    }
    for index in 1..=8 {
        assert_eq!(world.place(index).sink.bytes(), package);
    }
    let sent = world.place(0).counters.blob_bytes_sent.load(Ordering::Relaxed);
    assert!(sent as f64 <= 1.6 * size_bytes as f64, "{} copies", sent as f64 / size_bytes as f64);
}

#[tokio::test]
async fn b23_nodes_that_are_not_known_are_not_dialled_whoever_names_them() {
    let package = package(3 * CHUNK);
    let world = world(&package, Fault::None, 1, &[]);
    let count = ChunkManifest::of(&package).chunk_count();
    for stranger in 50..80 {
        world.place(0).transfers.seeding.lock().unwrap().note_peer(
            scene_hash(&package),
            count,
            node(stranger),
        );
    }
    world.fetch(1, &package, package.len() as u64).await.unwrap();
    assert_eq!(world.opened.lock().unwrap().iter().filter(|opened| **opened != node(0)).count(), 0);
}
