//! What the rest of the node holds of the swarm.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use libp2p::StreamProtocol;
use libp2p_stream::{Control, OpenStreamError};
use p2c2r_protocol::{
    id::{NodeId, SceneHash},
    stage::HandOver,
    ticket::Ticket,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_util::task::TaskTracker;

use crate::{
    actor::Command,
    blob::{self, BlobNetwork, BlobOrder, BlobStream, Fetched, Known, Transfers},
    counters::{Counters, SwarmCounters},
    error::{BlobError, HandOverError, SwarmError},
    hand_over,
    identity::peer_id,
    in_use::InUse,
    limit::{OPEN_TIMEOUT, SHUTDOWN_GRACE},
    neighbours::KnownPeer,
    peers::PeerStatus,
    reach::Reachability,
    seed::Seed,
    session::{self, CoordinatorLink},
    step::{self, StepOwnerLink},
    wire::tokio_stream,
};

/// What a handle shares with the swarm's tasks.
#[derive(Clone)]
pub(crate) struct Shared {
    /// What is counted.
    pub(crate) counters: Arc<Counters>,
    /// What all transfers of packages share.
    pub(crate) transfers: Arc<Transfers>,
    /// With whom work is under way.
    pub(crate) in_use: InUse,
}

/// A node's swarm. Clones share it; it lives until the last one is dropped or [`SwarmHandle::shutdown`] is called.
#[derive(Clone)]
pub struct SwarmHandle {
    node: NodeId,
    ports: Arc<BTreeMap<String, u16>>,
    commands: mpsc::Sender<Command>,
    control: Control,
    shared: Shared,
    pumps: TaskTracker,
}

impl SwarmHandle {
    pub(crate) fn new(
        node: NodeId,
        ports: BTreeMap<String, u16>,
        commands: mpsc::Sender<Command>,
        control: Control,
        shared: Shared,
        pumps: TaskTracker,
    ) -> Self {
        Self { node, ports: Arc::new(ports), commands, control, shared, pumps }
    }

    /// The node's own id.
    pub fn node_id(&self) -> NodeId {
        self.node
    }

    /// A ticket that leads to this node: addresses of its interfaces, the loopback ones only if there are no others.
    pub async fn ticket(&self) -> Result<Ticket, SwarmError> {
        self.ask(Command::Ticket).await?
    }

    /// The port that each address to listen on got, by the address's text.
    pub fn ports(&self) -> &BTreeMap<String, u16> {
        &self.ports
    }

    /// Neighbours to be remembered for the next run; empty after the shutdown.
    pub async fn neighbours(&self) -> Vec<KnownPeer> {
        self.ask(Command::Neighbours).await.unwrap_or_default()
    }

    /// Where the node listens (multiaddrs); empty after the shutdown.
    pub async fn listen_addresses(&self) -> Vec<String> {
        self.ask(Command::ListenAddresses).await.unwrap_or_default()
    }

    /// From where others reach the node; from nowhere but here after the shutdown.
    pub async fn reachability(&self) -> Reachability {
        self.ask(Command::Reachability).await.unwrap_or(Reachability::Local)
    }

    /// Every peer that is connected or was heard lately; empty after the shutdown.
    pub async fn peers(&self) -> Vec<PeerStatus> {
        self.ask(Command::Peers).await.unwrap_or_default()
    }

    /// Gossips a heartbeat sealed by [`p2c2r_protocol::heartbeat::seal`]. While nobody listens it is kept, and sent
    /// to the first who does.
    pub async fn publish_heartbeat(&self, sealed: Vec<u8>) {
        // After the shutdown nobody listens.
        let _ = self.commands.send(Command::Publish(sealed)).await;
    }

    /// Joins the swarm that the ticket leads to: dials now, and again for as long as it takes.
    pub async fn join(&self, ticket: &Ticket) -> Result<(), SwarmError> {
        let seed = Seed::of(ticket)?;
        self.commands.send(Command::Join(seed)).await.map_err(|_| SwarmError::Closed)
    }

    /// Opens a work session to a contributor, dialling it if need be. A session that is open to it already ends.
    pub async fn open_session(&self, peer: NodeId) -> Result<CoordinatorLink, SwarmError> {
        let stream = self.open_stream(peer, session::PROTOCOL).await?;
        Counters::count(&self.shared.counters.sessions_opened);
        Ok(session::spawn_coordinator(stream, peer, &self.pumps))
    }

    /// Fetches a package from its owners and from everybody else who has some of it, every chunk checked against its name.
    pub async fn fetch_blob(&self, order: BlobOrder) -> Result<Fetched, BlobError> {
        blob::fetch(
            self.clone(),
            order,
            Arc::clone(&self.shared.transfers),
            Arc::clone(&self.shared.counters),
        )
        .await
    }

    /// Lets others find this node when they look for one of these packages, and for no others.
    pub async fn provide(&self, scenes: Vec<SceneHash>) {
        // After the shutdown nobody looks.
        let _ = self.commands.send(Command::Provide(scenes)).await;
    }

    /// Hands a plane over to the peer that awaits it.
    pub async fn hand_over(
        &self,
        peer: NodeId,
        brought: HandOver,
        bytes: Bytes,
    ) -> Result<(), HandOverError> {
        let stream = self.open_stream(peer, hand_over::PROTOCOL).await?;
        hand_over::bring(stream, brought, &bytes).await
    }

    /// Opens a stream of game steps to a peer. One that is open to it already ends.
    pub async fn open_steps(&self, peer: NodeId) -> Result<StepOwnerLink, SwarmError> {
        let stream = self.open_stream(peer, step::PROTOCOL).await?;
        Ok(step::spawn_owner(stream, peer, &self.pumps))
    }

    /// Gives up the connections to a peer with which work was under way and that has said nothing since: a line that was cut shows
    /// it late. Connections that came up after that stay. The peer is dialled again.
    pub async fn suspect(&self, peer: NodeId, silent_since: Instant) {
        // After the shutdown there are no connections.
        let _ = self.commands.send(Command::Suspect { peer, silent_since }).await;
    }

    /// What the swarm has counted since its start.
    pub fn counters(&self) -> SwarmCounters {
        self.shared.counters.snapshot()
    }

    /// Closes sessions and connections, and stops. Everything that is asked afterwards fails.
    pub async fn shutdown(&self) {
        let stopped = self.ask(Command::Shutdown);
        // The actor gives sessions and connections a grace each.
        let _ = timeout(SHUTDOWN_GRACE * 3, stopped).await;
    }

    pub(crate) async fn open_stream(
        &self,
        peer: NodeId,
        protocol: StreamProtocol,
    ) -> Result<impl AsyncRead + AsyncWrite + Send + use<>, SwarmError> {
        let unreachable = |reason: String| SwarmError::Unreachable { peer, reason };
        let Some(peer_id) = peer_id(&peer) else {
            return Err(unreachable("its id is no public key".to_owned()));
        };
        let connected = timeout(OPEN_TIMEOUT, self.ask(|reply| Command::Connect { peer: peer_id, reply }));
        connected.await.map_err(|_| unreachable(no_answer(OPEN_TIMEOUT)))??.map_err(unreachable)?;
        let mut control = self.control.clone();
        match timeout(OPEN_TIMEOUT, control.open_stream(peer_id, protocol)).await {
            Ok(Ok(stream)) => Ok(tokio_stream(self.shared.in_use.hold(peer_id, stream))),
            Ok(Err(OpenStreamError::UnsupportedProtocol(protocol))) => {
                Err(unreachable(format!("it does not speak {protocol}")))
            }
            Ok(Err(error)) => Err(unreachable(error.to_string())),
            Err(_) => Err(unreachable(no_answer(OPEN_TIMEOUT))),
        }
    }

    pub(crate) fn stream_control(&self) -> Control {
        self.control.clone()
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, SwarmError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| SwarmError::Closed)?;
        answer.await.map_err(|_| SwarmError::Closed)
    }
}

impl BlobNetwork for SwarmHandle {
    fn own(&self) -> NodeId {
        self.node
    }

    async fn open(&self, node: NodeId) -> Result<BlobStream, BlobError> {
        Ok(Box::pin(self.open_stream(node, blob::PROTOCOL).await?))
    }

    async fn known(&self, scene: SceneHash) -> Known {
        let mut known = Known::default();
        for peer in self.peers().await {
            let announces = peer.heartbeat.as_ref().is_some_and(|said| said.scenes.contains(&scene));
            if announces {
                known.announced.push(peer.node);
            }
            if peer.connected || peer.heartbeat.is_some() {
                known.nodes.insert(peer.node);
            }
        }
        let providers = self.ask(|reply| Command::Providers { scene, reply }).await.unwrap_or_default();
        known.nodes.extend(&providers);
        known.announced.extend(providers);
        known
    }
}

fn no_answer(waited: Duration) -> String {
    format!("no answer within {} s", waited.as_secs())
}
