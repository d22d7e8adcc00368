//! Contributors that do not do what they should: real swarm nodes with a session of their own making.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use p2c2r_protocol::{
    blob::{ChunkManifest, scene_hash},
    canon::to_canonical,
    chunk_set::ChunkSet,
    heartbeat::{ExactnessClass, Heartbeat, seal},
    id::{NodeId, SceneHash, TaskId, WorkKind},
    merkle::tile_root,
    sign::{Domain, SecretKey},
    task::{
        ContributorMessage, CoordinatorMessage, Load, RejectReason, ResultStatement, TaskCounters,
        TileRequest,
    },
    ticket::Ticket,
};
use p2c2r_swarm::{
    Blob, BlobSource, BlobStore, ContributorEvent, ContributorLink, NoHandOvers, SwarmConfig, SwarmEvent,
    SwarmHandle, SwarmLimits, TileResult,
};
use tokio::runtime::Runtime;

/// A tile that nobody gives anybody.
const NOBODYS_TASK: TaskId = TaskId(u64::MAX);

/// What a hostile contributor does with an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Says that it is busy, every time.
    Refuses,
    /// Says that something is wrong, every time.
    Fails,
    /// Says that it has the scene, and for every tile that it does not know it; and the same, whenever it was asked to
    /// have it, for a tile that nobody gave it.
    Forgets,
    /// Accepts and then does nothing.
    Stalls,
    /// Does not even answer.
    Ignores,
    /// Sends random bytes as statement and pixels.
    Garbage,
    /// Sends a tile of half the size.
    WrongSize,
    /// Sends a well-formed, well-signed tile of one colour.
    PlausibleFake,
    /// Says in its heartbeats that it has a scene, and serves chunks of it with a wrong bit; refuses work.
    CorruptsScenes,
}

/// A hostile node; gone when it is dropped.
pub struct HostilePeer {
    /// Its id.
    pub node: NodeId,
    heard: Arc<Heard>,
    runtime: Option<Runtime>,
}

/// What it was asked, how often.
#[derive(Debug, Default)]
struct Heard {
    offers: AtomicU32,
    prepares: AtomicU32,
}

/// What it serves of scenes.
#[derive(Default)]
struct Wares(Option<(SceneHash, Arc<WrongScene>)>);

/// A scene of which every chunk has a wrong bit.
struct WrongScene(Blob);

impl BlobStore for Wares {
    fn get(&self, scene: &SceneHash) -> Option<Arc<dyn BlobSource>> {
        let (hash, wrong) = self.0.as_ref()?;
        (hash == scene).then(|| Arc::clone(wrong) as Arc<dyn BlobSource>)
    }
}

impl BlobSource for WrongScene {
    fn manifest(&self) -> &ChunkManifest {
        &self.0.manifest
    }

    fn chunks(&self) -> ChunkSet {
        self.0.chunks()
    }

    fn read(&self, index: u32) -> Option<Bytes> {
        let mut chunk = self.0.read(index)?.to_vec();
        *chunk.last_mut()? ^= 1;
        Some(chunk.into())
    }
}

impl HostilePeer {
    /// Joins the swarm of a ticket as a fast, willing contributor.
    pub fn join(ticket: &str, behaviour: Behaviour) -> Self {
        Self::with(ticket, behaviour, Wares::default())
    }

    /// Joins the swarm of a ticket as one that has a scene, and serves wrong chunks of it.
    pub fn with_wrong_chunks(ticket: &str, scene: &Path) -> Self {
        let bytes = Bytes::from(std::fs::read(scene).unwrap());
        let hash = scene_hash(&bytes);
        let wrong = WrongScene(Blob { manifest: ChunkManifest::of(&bytes), bytes });
        Self::with(ticket, Behaviour::CorruptsScenes, Wares(Some((hash, Arc::new(wrong)))))
    }

    fn with(ticket: &str, behaviour: Behaviour, wares: Wares) -> Self {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).unwrap();
        let key = SecretKey::from_seed(seed);
        let node = key.node_id();
        let heard = Arc::<Heard>::default();
        let ticket: Ticket = ticket.parse().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(live(key, ticket, behaviour, wares, Arc::clone(&heard)));
        Self { node, heard, runtime: Some(runtime) }
    }

    /// Offers that it was made.
    pub fn offers(&self) -> u32 {
        self.heard.offers.load(Ordering::Relaxed)
    }

    /// How often it was asked to make a scene ready.
    pub fn prepares(&self) -> u32 {
        self.heard.prepares.load(Ordering::Relaxed)
    }
}

impl Drop for HostilePeer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn live(key: SecretKey, ticket: Ticket, behaviour: Behaviour, wares: Wares, heard: Arc<Heard>) {
    let scenes: Vec<SceneHash> = wares.0.iter().map(|(hash, _)| *hash).collect();
    let (swarm, mut events) = p2c2r_swarm::start(SwarmConfig {
        secret: key.clone(),
        listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
        join: vec![ticket],
        remembered: Vec::new(),
        preferred_ports: BTreeMap::new(),
        swarm_key: None,
        allowed: Vec::new(),
        denied: Vec::new(),
        external: Vec::new(),
        mdns: false,
        relay: false,
        upnp: false,
        blobs: Arc::new(wares),
        hand_overs: Arc::new(NoHandOvers),
        limits: SwarmLimits::default(),
        software: "hostile/1".into(),
        webrtc_certificate: None,
    })
    .await
    .unwrap();
    tokio::spawn(beat(key.clone(), scenes, swarm));
    while let Some(event) = events.recv().await {
        if let SwarmEvent::Session(link) = event {
            tokio::spawn(serve(link, key.clone(), behaviour, Arc::clone(&heard)));
        }
    }
}

async fn beat(key: SecretKey, scenes: Vec<SceneHash>, swarm: SwarmHandle) {
    let unix_ms = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let started_unix_ms = unix_ms();
    for sequence in 1.. {
        let heartbeat = Heartbeat {
            sequence,
            unix_ms: unix_ms(),
            started_unix_ms,
            software: "hostile/1".into(),
            backend: "cpu".into(),
            adapter: "promises".into(),
            exactness: ExactnessClass::Exact,
            mrays_per_s: 20.0,
            threads: 2,
            kinds: vec![WorkKind::RayTracing],
            contributing: true,
            load: Load::default(),
            price: 0,
            scenes: scenes.clone(),
        };
        swarm.publish_heartbeat(seal(&heartbeat, &key).unwrap()).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn serve(mut link: ContributorLink, key: SecretKey, behaviour: Behaviour, heard: Arc<Heard>) {
    let load = Load::default();
    while let Some(message) = link.inbox.recv().await {
        let answer = match message {
            CoordinatorMessage::Hello { .. } => {
                let software = "hostile/1".to_owned();
                Some(ContributorEvent::Message(ContributorMessage::Welcome {
                    credit: 8,
                    mrays_per_s: 20.0,
                    load,
                    software,
                }))
            }
            CoordinatorMessage::Prepare { scene, .. } => {
                heard.prepares.fetch_add(1, Ordering::Relaxed);
                let ready = ContributorMessage::Ready { scene, fetched_bytes: 0, elapsed_ms: 1.0 };
                let ready = ContributorEvent::Message(ready);
                if behaviour == Behaviour::Forgets {
                    let _ = link.outbox.send(ready).await;
                    let (task, reason) = (NOBODYS_TASK, RejectReason::SceneUnknown);
                    let unknown = ContributorMessage::Rejected { task, reason, retry_after_ms: 0, load };
                    Some(ContributorEvent::Message(unknown))
                } else {
                    Some(ready)
                }
            }
            CoordinatorMessage::Ping { nonce } => {
                Some(ContributorEvent::Message(ContributorMessage::Pong { nonce, load }))
            }
            CoordinatorMessage::Offer { task, request, .. } => {
                heard.offers.fetch_add(1, Ordering::Relaxed);
                let accepted = ContributorEvent::Message(ContributorMessage::Accepted { task, load });
                let rejected = |reason, retry_after_ms| {
                    ContributorEvent::Message(ContributorMessage::Rejected {
                        task,
                        reason,
                        retry_after_ms,
                        load,
                    })
                };
                match behaviour {
                    Behaviour::Ignores => None,
                    Behaviour::Refuses | Behaviour::CorruptsScenes => Some(rejected(RejectReason::Busy, 100)),
                    Behaviour::Fails => Some(rejected(RejectReason::Internal, 0)),
                    Behaviour::Forgets => Some(rejected(RejectReason::SceneUnknown, 0)),
                    Behaviour::Stalls => Some(accepted),
                    lie => {
                        let _ = link.outbox.send(accepted).await;
                        let (statement, signature, payload) = forge(lie, &request, &key);
                        Some(ContributorEvent::Result(TileResult {
                            task,
                            statement,
                            signature,
                            payload: payload.into(),
                            load,
                        }))
                    }
                }
            }
            _ => None,
        };
        if let Some(answer) = answer
            && link.outbox.send(answer).await.is_err()
        {
            return;
        }
    }
}

fn forge(lie: Behaviour, request: &TileRequest, key: &SecretKey) -> (Vec<u8>, Vec<u8>, Bytes) {
    let bytes = usize::try_from(request.payload_bytes()).unwrap();
    match lie {
        Behaviour::Garbage => {
            let mut noise = vec![0; bytes + 264];
            getrandom::fill(&mut noise).unwrap();
            (noise[..200].to_vec(), noise[200..264].to_vec(), noise[264..].to_vec().into())
        }
        Behaviour::WrongSize => {
            let half = vec![0; bytes / 2];
            (vec![1], vec![0; 64], half.into())
        }
        _ => {
            let grey: Vec<u8> = 0.25_f32.to_le_bytes().repeat(bytes / 4);
            let rect = request.rect;
            let root = tile_root(&grey, rect.width, rect.height, request.encoding.bytes_per_pixel()).unwrap();
            let samples = rect.pixels() * u64::from(request.sampling.samples);
            let counters = TaskCounters { queue_ms: 0.0, execution_ms: 5.0, rays: samples, samples };
            let statement =
                to_canonical(&ResultStatement { request: request.hash().unwrap(), root, counters }).unwrap();
            let signature = key.sign(Domain::Result, &statement).0.to_vec();
            (statement, signature, grey.into())
        }
    }
}
