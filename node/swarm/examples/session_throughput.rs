//! Measures work sessions on the loopback interface, all nodes in one process: results of 48 KiB a second over four
//! sessions, and the round trip of a ping on a quiet session. Run with `--release`.

use std::{
    collections::BTreeMap,
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use p2c2r_protocol::{
    id::{Epoch, JobId, NodeId, SceneHash, TaskId, WorkKind},
    moment::SceneMoment,
    sign::SecretKey,
    task::{ContributorMessage, CoordinatorMessage, Load, TileRequest},
    ticket::Ticket,
    tile::{Camera, FrameSize, PixelEncoding, Sampling},
};
use p2c2r_swarm::{
    Blob, BlobStore, ContributorEvent, ContributorLink, CoordinatorLink, NoHandOvers, SwarmConfig,
    SwarmEvent, SwarmHandle, SwarmLimits, TileResult, start,
};

const CONTRIBUTORS: u8 = 4;
const RESULTS_EACH: u64 = 5000;
const IN_FLIGHT: u64 = 8;
const PINGS: u64 = 2000;
/// 64 x 64 pixels of 12 bytes: 48 KiB.
const EDGE_PX: u32 = 64;

struct NoBlobs;

impl BlobStore for NoBlobs {
    fn get(&self, _: &SceneHash) -> Option<Arc<Blob>> {
        None
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    // Another address (QUIC: /ip4/127.0.0.1/udp/0/quic-v1) as the first argument.
    let listen = std::env::args().nth(1).unwrap_or_else(|| "/ip4/127.0.0.1/tcp/0".to_owned());
    let coordinator = node(0, &listen, &[]).await?;
    let ticket = coordinator.ticket().await?;
    let mut links = Vec::new();
    for seed in 1..=CONTRIBUTORS {
        let contributor = node(seed, &listen, std::slice::from_ref(&ticket)).await?;
        links.push(connect(&coordinator, contributor.node_id()).await?);
    }
    let mut round_trips = Vec::new();
    if let Some(link) = links.first_mut() {
        for nonce in 0..PINGS {
            let sent = Instant::now();
            link.outbox.send(CoordinatorMessage::Ping { nonce }).await?;
            link.inbox.recv().await.ok_or("the session ended")?;
            round_trips.push(sent.elapsed());
        }
    }
    round_trips.sort();
    let at = |share: usize| round_trips.get(round_trips.len() * share / 100).copied().unwrap_or_default();
    println!("round trip: median {:?}, 99 % under {:?}", at(50), at(99));

    let started = Instant::now();
    let workers: Vec<_> = links.into_iter().map(|link| tokio::spawn(collect(link))).collect();
    for worker in workers {
        worker.await??;
    }
    let elapsed_s = started.elapsed().as_secs_f64();
    let results = RESULTS_EACH * u64::from(CONTRIBUTORS);
    let megabytes = results as f64 * f64::from(EDGE_PX * EDGE_PX * 12) / 1e6;
    println!("{:.0} results/s, {:.0} MB/s", results as f64 / elapsed_s, megabytes / elapsed_s);
    Ok(())
}

/// Starts a node that answers every session opened to it.
async fn node(seed: u8, listen: &str, join: &[Ticket]) -> Result<SwarmHandle, Box<dyn Error>> {
    let (swarm, mut events) = start(SwarmConfig {
        secret: SecretKey::from_seed([seed; 32]),
        listen: vec![listen.to_owned()],
        join: join.to_vec(),
        remembered: Vec::new(),
        preferred_ports: BTreeMap::new(),
        mdns: false,
        blobs: Arc::new(NoBlobs),
        hand_overs: Arc::new(NoHandOvers),
        limits: SwarmLimits::default(),
        software: "session_throughput".into(),
        webrtc_certificate: None,
    })
    .await?;
    let alive = swarm.clone();
    tokio::spawn(async move {
        let _alive = alive;
        while let Some(event) = events.recv().await {
            if let SwarmEvent::Session(link) = event {
                tokio::spawn(contribute(link));
            }
        }
    });
    Ok(swarm)
}

async fn connect(coordinator: &SwarmHandle, peer: NodeId) -> Result<CoordinatorLink, Box<dyn Error>> {
    while !coordinator.peers().await.iter().any(|status| status.node == peer && status.connected) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let link = coordinator.open_session(peer).await?;
    link.outbox.send(CoordinatorMessage::Hello { epoch: Epoch(1), software: String::new() }).await?;
    Ok(link)
}

/// Answers pings, and offers with pixels at once.
async fn contribute(mut link: ContributorLink) {
    let payload = bytes::Bytes::from(vec![7; (EDGE_PX * EDGE_PX * 12) as usize]);
    while let Some(message) = link.inbox.recv().await {
        let load = Load::default();
        let event = match message {
            CoordinatorMessage::Ping { nonce } => {
                ContributorEvent::Message(ContributorMessage::Pong { nonce, load })
            }
            CoordinatorMessage::Offer { task, .. } => {
                let (statement, signature, payload) = (vec![0; 150], vec![0; 64], payload.clone());
                ContributorEvent::Result(TileResult { task, statement, signature, payload, load })
            }
            _ => continue,
        };
        if link.outbox.send(event).await.is_err() {
            break;
        }
    }
}

/// Keeps tasks in flight until all results are here.
async fn collect(mut link: CoordinatorLink) -> Result<(), String> {
    let size = FrameSize::new(EDGE_PX, EDGE_PX).map_err(|error| error.to_string())?;
    let mut offered = 0;
    for received in 0..RESULTS_EACH {
        while offered < RESULTS_EACH && offered < received + IN_FLIGHT {
            link.outbox.send(offer(size, TaskId(offered))).await.map_err(|error| error.to_string())?;
            offered += 1;
        }
        match link.inbox.recv().await {
            Some(ContributorEvent::Result(_)) => {}
            other => return Err(format!("no result but {other:?}")),
        }
    }
    Ok(())
}

fn offer(size: FrameSize, task: TaskId) -> CoordinatorMessage {
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
    CoordinatorMessage::Offer { task, request }
}
