//! The answering side of the control socket.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use p2c2r_swarm::{PeerStatus, Reachability, SwarmCounters};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Semaphore, watch},
};
use tracing::{debug, warn};

use super::{
    FetchReply, MAX_REQUEST_BYTES, PEERS_SCHEMA, PeerReply, RenderRequest, Reply, Request, STATUS_SCHEMA,
    SceneTraffic, StatusReply,
};
use crate::{
    contributor::DownloadView, data_dir::control_socket, node::Node, progress::Progress, sentence::sentence,
    shoot::Shoot,
};

/// Clients served at once.
const MAX_CLIENTS: usize = 64;

/// Why the socket cannot be offered.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the control socket {}: {source}", path.display())]
pub struct BindError {
    path: PathBuf,
    source: io::Error,
}

/// The socket; its file goes with it.
pub struct ControlServer {
    listener: UnixListener,
    path: PathBuf,
}

impl ControlServer {
    /// Offers the socket. The data directory is locked by this process, so a file that lies there is a left-over.
    pub fn bind(root: &Path) -> Result<Self, BindError> {
        let path = control_socket(root);
        let failed = |source| BindError { path: path.clone(), source };
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&path).map_err(failed)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(Self { listener, path })
    }

    /// Serves until it is dropped.
    pub async fn serve(&self, node: Arc<Node>) {
        let places = Arc::new(Semaphore::new(MAX_CLIENTS));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let node = Arc::clone(&node);
                    tokio::spawn(async move {
                        if let Err(error) = answer(&node, stream).await {
                            debug!(%error, "a client of the control socket went away");
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    warn!(%error, "the control socket cannot accept");
                    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                }
            }
        }
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

async fn answer(node: &Node, stream: UnixStream) -> io::Result<()> {
    let (input, mut out) = stream.into_split();
    let mut input = BufReader::new(input);
    let mut line = String::new();
    (&mut input).take(MAX_REQUEST_BYTES).read_line(&mut line).await?;
    let reply = match serde_json::from_str(&line) {
        Ok(Request::Render(request)) => return render(node, &request, input, out).await,
        Ok(Request::Ticket) => ticket(node).await,
        Ok(Request::Status) => status(node).await,
        Ok(Request::Peers) => peers(node).await,
        Ok(Request::Hinder(hindrance)) if hindrance.is_sane() => {
            warn!(?hindrance, "something is wrong here on purpose");
            node.contributor.hinder(hindrance).await;
            Reply::Hindered
        }
        Ok(Request::Hinder(_)) => Reply::Error { message: "no such hindrance".into() },
        Err(error) => Reply::Error { message: format!("the request is malformed: {error}") },
    };
    send(&mut out, &reply).await
}

async fn send(out: &mut OwnedWriteHalf, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    out.write_all(&line).await
}

async fn ticket(node: &Node) -> Reply {
    match &node.swarm {
        Some(swarm) => match swarm.ticket().await {
            Ok(ticket) => Reply::Ticket { ticket: ticket.to_string() },
            Err(error) => Reply::Error { message: error.to_string() },
        },
        None => Reply::Error { message: "this node is in no swarm".into() },
    }
}

async fn known_peers(node: &Node) -> Vec<PeerStatus> {
    match &node.swarm {
        Some(swarm) => swarm.peers().await,
        None => Vec::new(),
    }
}

async fn status(node: &Node) -> Reply {
    let peers = known_peers(node).await;
    let load = node.contributor.load();
    let listening = match &node.swarm {
        Some(swarm) => swarm.listen_addresses().await,
        None => Vec::new(),
    };
    let reached = match &node.swarm {
        Some(swarm) => match swarm.reachability().await {
            Reachability::Public => "public",
            Reachability::Relayed => "relay",
            _ => "local",
        },
        None => "local",
    };
    let info = &node.device.info;
    Reply::Status(Box::new(StatusReply {
        schema: STATUS_SCHEMA.to_owned(),
        node: node.id.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_s: node.started.elapsed().as_secs(),
        contributing: node.contributing,
        backend: info.kind.to_string(),
        adapter: info.adapter.clone(),
        exact: info.exact,
        mrays_per_s: node.device.mrays_per_s,
        listening,
        reached: reached.to_owned(),
        peers_connected: peers.iter().filter(|peer| peer.connected).count(),
        peers_known: peers.len(),
        peers_remembered: node.remembered_peers(),
        tiles_queued: load.queued,
        tiles_running: load.running,
        jobs: node.coordinator.jobs(),
        scenes: node.library.resident_hashes().iter().map(ToString::to_string).collect(),
        fetching: node.contributor.downloads().iter().map(fetch_reply).collect(),
        scene_traffic: node.swarm.as_ref().map(|swarm| scene_traffic(&swarm.counters())).unwrap_or_default(),
    }))
}

fn fetch_reply(view: &DownloadView) -> FetchReply {
    FetchReply {
        scene: view.scene.to_string(),
        bytes_here: view.bytes_here,
        size_bytes: view.size_bytes,
        sources: view.sources,
    }
}

fn scene_traffic(counters: &SwarmCounters) -> SceneTraffic {
    SceneTraffic {
        sent_bytes: counters.blob_bytes_sent,
        received_bytes: counters.blob_bytes_received,
        repeated_bytes: counters.blob_bytes_repeated,
        sources_shunned: counters.blob_sources_shunned,
    }
}

async fn peers(node: &Node) -> Reply {
    let mut peers: Vec<PeerReply> =
        known_peers(node).await.into_iter().map(|peer| peer_reply(node, peer)).collect();
    peers.sort_by(|a, b| b.connected.cmp(&a.connected).then_with(|| a.node.cmp(&b.node)));
    Reply::Peers { schema: PEERS_SCHEMA.to_owned(), peers }
}

fn peer_reply(node: &Node, peer: PeerStatus) -> PeerReply {
    let heartbeat = peer.heartbeat.as_ref();
    PeerReply {
        node: peer.node.to_string(),
        connected: peer.connected,
        transport: peer.transport,
        round_trip_ms: peer.round_trip_ms,
        heartbeat_age_ms: peer.heartbeat_age_ms,
        contributing: heartbeat.map(|heartbeat| heartbeat.contributing),
        device: heartbeat.map(|heartbeat| format!("{}: {}", heartbeat.backend, heartbeat.adapter)),
        kinds: heartbeat.map_or_else(Vec::new, |heartbeat| {
            heartbeat.kinds.iter().map(|kind| kind.name().to_owned()).collect()
        }),
        announced_mrays_per_s: heartbeat.map(|heartbeat| heartbeat.mrays_per_s),
        outcomes: node.coordinator.outcomes(&peer.node),
        addresses: peer.addresses,
    }
}

/// Renders, telling progress and each picture that is written, until done or until the client goes away.
async fn render(
    node: &Node,
    request: &RenderRequest,
    mut input: BufReader<OwnedReadHalf>,
    mut out: OwnedWriteHalf,
) -> io::Result<()> {
    let (progress, mut news) = watch::channel(Progress::default());
    let mut shoot = match Shoot::begin(node, request, Arc::new(progress)).await {
        Ok(shoot) => shoot,
        Err(error) => return send(&mut out, &Reply::Error { message: sentence(&error) }).await,
    };
    if shoot.kept() > 0 {
        send(&mut out, &Reply::Kept { frames: shoot.kept() }).await?;
    }
    let mut gone = [0_u8; 1];
    loop {
        let picture = shoot.next();
        tokio::pin!(picture);
        let outcome = loop {
            tokio::select! {
                outcome = &mut picture => break outcome,
                changed = news.changed() => {
                    if changed.is_ok() {
                        let progress = *news.borrow_and_update();
                        send(&mut out, &Reply::Progress(progress)).await?;
                    }
                }
                // The client never says more: the end of its stream means that it is gone, and the job with it.
                read = input.read(&mut gone) => {
                    if read? == 0 {
                        return Ok(());
                    }
                }
            }
        };
        match outcome {
            Ok(Some(report)) => {
                // What was left untold was of this picture, not of the next.
                news.mark_unchanged();
                send(&mut out, &Reply::Rendered(Box::new(report))).await?;
            }
            Ok(None) => return Ok(()),
            Err(error) => return send(&mut out, &Reply::Error { message: sentence(&error) }).await,
        }
    }
}
