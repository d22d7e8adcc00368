//! How fast this machine moves bytes between two nodes: over a bare stream of the transport, and as results of work sessions.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::StreamExt;
use libp2p::StreamProtocol;
use p2c2r_protocol::{
    id::{Epoch, JobId, NodeId, SceneHash, TaskId, WorkKind},
    moment::SceneMoment,
    sign::SecretKey,
    task::{ContributorMessage, CoordinatorMessage, Load, TileRequest},
    tile::{Camera, FrameSize, PixelEncoding, Sampling},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    BlobSource, BlobStore, ContributorEvent, ContributorLink, CoordinatorLink, NoHandOvers, SwarmConfig,
    SwarmError, SwarmEvent, SwarmHandle, SwarmLimits, TileResult,
    limit::{READ_BYTES, WRITE_BATCH_BYTES},
    start,
    wire::tokio_stream,
};

/// The stream that carries bytes and nothing else.
const BARE: StreamProtocol = StreamProtocol::new("/p2c2r/measure/1");
/// Two nodes on one machine meet within this.
const MEETING_LIMIT: Duration = Duration::from_secs(20);
/// Results under way at once.
const IN_FLIGHT: u64 = 4;

/// What two nodes on this machine reach over one transport.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BulkRates {
    /// A bare stream, MB/s (10^6 bytes).
    pub bare_mb_s: f64,
    /// Results of a work session, whole at the coordinator, MB/s.
    pub session_mb_s: f64,
    /// Median round trip of a message on a quiet session, ms.
    pub round_trip_ms: f64,
}

/// Two nodes of this process, connected, one of which works for the other.
pub struct Pair {
    coordinator: SwarmHandle,
    contributor: SwarmHandle,
    link: CoordinatorLink,
    side_px: u32,
    next_task: u64,
    worker: JoinHandle<()>,
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

impl Pair {
    /// Starts two nodes that listen at this loopback address (port 0), whose results have `side_px` x `side_px` pixels of
    /// 12 bytes.
    ///
    /// # Errors
    /// They do not start, or do not meet.
    pub async fn start(listen: &str, side_px: u32) -> Result<Self, SwarmError> {
        let (contributor, mut events) = node(2, listen).await?;
        let (coordinator, _) = node(1, listen).await?;
        let payload = Bytes::from(vec![7; (side_px * side_px * 12) as usize]);
        let worker = tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if let SwarmEvent::Session(link) = event {
                    work(link, payload.clone()).await;
                }
            }
        });
        coordinator.join(&contributor.ticket().await?).await?;
        let peer = contributor.node_id();
        let meeting = async {
            while !coordinator.peers().await.iter().any(|status| status.node == peer && status.connected) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(MEETING_LIMIT, meeting).await.map_err(|_| broken(peer, "they did not meet"))?;
        let link = coordinator.open_session(peer).await?;
        let hello = CoordinatorMessage::Hello { epoch: Epoch(1), software: String::new() };
        link.outbox.send(hello).await.map_err(|_| SwarmError::Closed)?;
        Ok(Self { coordinator, contributor, link, side_px, next_task: 0, worker })
    }

    /// Measures a bare stream, then a session, each with so many results' worth of bytes.
    ///
    /// # Errors
    /// The connection breaks.
    pub async fn rates(&mut self, results: u64) -> Result<BulkRates, SwarmError> {
        let bytes = results * u64::from(self.side_px * self.side_px) * 12;
        let mb_s = |elapsed: Duration| bytes as f64 / 1e6 / elapsed.as_secs_f64().max(1e-9);
        Ok(BulkRates {
            bare_mb_s: mb_s(self.bare(bytes).await?),
            session_mb_s: mb_s(self.session(results).await?),
            round_trip_ms: self.round_trip().await?.as_secs_f64() * 1e3,
        })
    }

    /// Ends both nodes.
    pub async fn stop(self) {
        self.coordinator.shutdown().await;
        self.contributor.shutdown().await;
    }

    /// Time for so many bytes from the contributor to the coordinator, from the first to the last.
    async fn bare(&self, bytes: u64) -> Result<Duration, SwarmError> {
        let peer = self.coordinator.node_id();
        let mut control = self.coordinator.stream_control();
        let mut incoming = control.accept(BARE).map_err(|_| broken(peer, "it is being measured already"))?;
        let stream = self.contributor.open_stream(peer, BARE).await?;
        let sending = tokio::spawn(async move {
            tokio::pin!(stream);
            let batch = vec![7; WRITE_BATCH_BYTES];
            let mut left = bytes;
            while left > 0 {
                let length = left.min(batch.len() as u64);
                stream.write_all(batch.get(..length as usize).unwrap_or_default()).await?;
                left -= length;
            }
            stream.shutdown().await
        });
        let (_, stream) = incoming.next().await.ok_or_else(|| broken(peer, "no stream came"))?;
        let mut stream = tokio_stream(stream);
        let mut buffer = vec![0; READ_BYTES];
        let (mut received, started) = (0, Instant::now());
        while received < bytes {
            let read = stream.read(&mut buffer).await.map_err(|error| broken(peer, &error.to_string()))?;
            if read == 0 {
                return Err(broken(peer, "the stream ended early"));
            }
            received += read as u64;
        }
        let elapsed = started.elapsed();
        sending.abort();
        Ok(elapsed)
    }

    /// Time for so many results.
    async fn session(&mut self, results: u64) -> Result<Duration, SwarmError> {
        let started = Instant::now();
        let (mut offered, mut received) = (0, 0);
        while received < results {
            while offered < results.min(received + IN_FLIGHT) {
                let offer = offer(self.side_px, TaskId(self.next_task))?;
                self.link.outbox.send(offer).await.map_err(|_| SwarmError::Closed)?;
                self.next_task += 1;
                offered += 1;
            }
            match self.link.inbox.recv().await {
                Some(ContributorEvent::Result(_)) => received += 1,
                Some(_) => {}
                None => return Err(SwarmError::Closed),
            }
        }
        Ok(started.elapsed())
    }

    async fn round_trip(&mut self) -> Result<Duration, SwarmError> {
        let mut trips = Vec::new();
        for nonce in 0..200 {
            let sent = Instant::now();
            let ping = CoordinatorMessage::Ping { nonce };
            self.link.outbox.send(ping).await.map_err(|_| SwarmError::Closed)?;
            self.link.inbox.recv().await.ok_or(SwarmError::Closed)?;
            trips.push(sent.elapsed());
        }
        trips.sort();
        Ok(trips.get(trips.len() / 2).copied().unwrap_or_default())
    }
}

fn broken(peer: NodeId, reason: &str) -> SwarmError {
    SwarmError::Unreachable { peer, reason: reason.to_owned() }
}

struct NoBlobs;

impl BlobStore for NoBlobs {
    fn get(&self, _: &SceneHash) -> Option<Arc<dyn BlobSource>> {
        None
    }
}

async fn node(seed: u8, listen: &str) -> Result<(SwarmHandle, mpsc::Receiver<SwarmEvent>), SwarmError> {
    start(SwarmConfig {
        secret: SecretKey::from_seed([seed; 32]),
        listen: vec![listen.to_owned()],
        join: Vec::new(),
        remembered: Vec::new(),
        preferred_ports: BTreeMap::new(),
        swarm_key: None,
        allowed: Vec::new(),
        denied: Vec::new(),
        external: Vec::new(),
        mdns: false,
        relay: false,
        upnp: false,
        blobs: Arc::new(NoBlobs),
        hand_overs: Arc::new(NoHandOvers),
        limits: SwarmLimits::default(),
        software: "measure".into(),
        webrtc_certificate: None,
    })
    .await
}

/// Answers pings, and offers with pixels at once.
async fn work(mut link: ContributorLink, payload: Bytes) {
    while let Some(message) = link.inbox.recv().await {
        let load = Load::default();
        let event = match message {
            CoordinatorMessage::Ping { nonce } => {
                ContributorEvent::Message(ContributorMessage::Pong { nonce, load })
            }
            CoordinatorMessage::Offer { task, .. } => {
                let (statement, signature, payload) = (vec![0; 150], vec![0; 64], payload.clone().into());
                ContributorEvent::Result(TileResult { task, statement, signature, payload, load })
            }
            _ => continue,
        };
        if link.outbox.send(event).await.is_err() {
            break;
        }
    }
}

fn offer(side_px: u32, task: TaskId) -> Result<CoordinatorMessage, SwarmError> {
    let size = FrameSize::new(side_px, side_px).map_err(|error| SwarmError::Start(error.to_string()))?;
    let request = TileRequest {
        job: JobId([1; 16]),
        frame: 0,
        kind: WorkKind::RayTracing,
        scene: SceneMoment::start_of(SceneHash([2; 32])),
        size,
        rect: size.full(),
        sampling: Sampling { first_sample: 0, samples: 16, max_depth: 4, seed: 1, clamp: 0.0 },
        camera: Camera {
            origin: [0.0; 3],
            forward: [0.0, 0.0, 1.0],
            right: [1.0, 0.0, 0.0],
            up: [0.0, 1.0, 0.0],
            lens_radius: 0.0,
            focus_distance: 0.0,
            parallel: false,
        },
        encoding: PixelEncoding::RgbF32,
    };
    Ok(CoordinatorMessage::Offer { task, request, compress: false })
}
