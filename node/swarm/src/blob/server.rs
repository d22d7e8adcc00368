//! Serving packages, whole or in part: a limited number of streams, each answered request by request.

use std::{
    collections::HashMap,
    sync::{Arc, MutexGuard, PoisonError},
};

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use libp2p::PeerId;
use p2c2r_protocol::{
    blob::{BlobReply, BlobRequest},
    chunk_set::ChunkSet,
    frame::encode,
    id::{NodeId, SceneHash},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::{Instant, sleep, timeout},
};
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::{BlobSource, BlobStore, Transfers, seeding::Seeding, unless_stalled};
use crate::{
    counters::Counters,
    error::BlobError,
    identity::node_id,
    in_use::Held,
    limit::{
        BLOB_IDLE_TIMEOUT, BLOB_NEWS_INTERVAL, BLOB_SIGN_OF_LIFE, MAX_BLOB_REFUSALS_PER_PEER,
        MAX_BLOB_SILENCE, MAX_BLOB_STREAMS_PER_PEER,
    },
    wire::{FrameReader, ReadError, tokio_stream},
};

/// Streams of one peer at once, refusals included.
const PER_PEER: usize = MAX_BLOB_STREAMS_PER_PEER + MAX_BLOB_REFUSALS_PER_PEER;

/// Bytes that are written at once.
const WRITE_PIECE_BYTES: usize = 32 << 10;

/// Serves streams until the swarm ends.
pub(crate) async fn serve(
    mut incoming: impl futures::Stream<Item = (PeerId, Held)> + Unpin,
    store: Arc<dyn BlobStore>,
    max_streams: usize,
    transfers: Arc<Transfers>,
    counters: Arc<Counters>,
    tasks: TaskTracker,
) {
    let streams = Arc::new(Semaphore::new(max_streams));
    let mut peers = HashMap::<PeerId, Arc<Semaphore>>::new();
    while let Some((peer, stream)) = incoming.next().await {
        peers.retain(|_, own| own.available_permits() < PER_PEER);
        let own = peers.entry(peer).or_insert_with(|| Arc::new(Semaphore::new(PER_PEER)));
        // Beyond these, not even a refusal is written: the stream just closes.
        let Ok(own_permit) = Arc::clone(own).try_acquire_owned() else { continue };
        let Ok(permit) = Arc::clone(&streams).try_acquire_owned() else { continue };
        let busy = own.available_permits() < MAX_BLOB_REFUSALS_PER_PEER;
        let server = Server {
            store: Arc::clone(&store),
            transfers: Arc::clone(&transfers),
            counters: Arc::clone(&counters),
            peer: node_id(&peer),
            busy,
        };
        tasks.spawn(run(server, tokio_stream(stream), peer, [own_permit, permit]));
    }
}

async fn run<S>(server: Server, stream: S, peer: PeerId, _permits: [OwnedSemaphorePermit; 2])
where
    S: AsyncRead + AsyncWrite,
{
    if let Err(error) = server.answer_all(stream).await {
        debug!(%peer, %error, "serving a package broke off");
    }
}

/// One stream of a peer.
pub(super) struct Server {
    pub(super) store: Arc<dyn BlobStore>,
    pub(super) transfers: Arc<Transfers>,
    pub(super) counters: Arc<Counters>,
    /// Who asks; nobody that could be named to others if its key is of another kind.
    pub(super) peer: Option<NodeId>,
    pub(super) busy: bool,
}

impl Server {
    /// Answers until the stream ends.
    pub(super) async fn answer_all<S: AsyncRead + AsyncWrite>(&self, stream: S) -> Result<(), BlobError> {
        let (reader, mut writer) = tokio::io::split(stream);
        let mut requests = FrameReader::<_, BlobRequest>::new(reader);
        loop {
            let request = timeout(BLOB_IDLE_TIMEOUT, requests.next()).await;
            let Some(request) = request.map_err(|_| BlobError::Stalled)?? else { break };
            if self.busy {
                send(&mut writer, &BlobReply::Busy, &[]).await?;
                break;
            }
            match request.header {
                BlobRequest::Manifest { scene } => self.manifest(scene, &mut writer).await?,
                BlobRequest::Chunk { scene, index } => self.chunk(scene, index, &mut writer).await?,
                BlobRequest::Any { scene } => self.any(scene, &request.payload, &mut writer).await?,
                BlobRequest::Watch { scene } => {
                    self.tell_what_is_here(scene, &mut requests, &mut writer).await?;
                    break;
                }
                _ => return Err(BlobError::Unexpected),
            }
        }
        unless_stalled(writer.shutdown()).await
    }

    async fn manifest<W: AsyncWrite + Unpin>(
        &self,
        scene: SceneHash,
        writer: &mut W,
    ) -> Result<(), BlobError> {
        let Some(source) = self.store.get(&scene) else {
            return send(writer, &BlobReply::NotHere, &[]).await;
        };
        let manifest = source.manifest();
        send(writer, &BlobReply::Manifest { size_bytes: manifest.size_bytes() }, &manifest.to_bytes()).await
    }

    /// Tells at once, whenever there is more, and from time to time, until the stream is closed from the other end.
    async fn tell_what_is_here<S: AsyncRead + AsyncWrite>(
        &self,
        scene: SceneHash,
        requests: &mut FrameReader<ReadHalf<S>, BlobRequest>,
        writer: &mut WriteHalf<S>,
    ) -> Result<(), BlobError> {
        let mut told: Option<(u32, Vec<NodeId>, Instant)> = None;
        let mut watching: Option<Watching<'_>> = None;
        loop {
            let Some(source) = self.store.get(&scene) else {
                return send(writer, &BlobReply::NotHere, &[]).await;
            };
            let (chunks, mut others) = (source.chunks(), self.seeding().others(&scene, self.peer));
            others.sort_unstable();
            if watching.is_none()
                && let Some(peer) = self.peer
            {
                self.seeding().note_peer(scene, chunks.chunk_count(), peer);
                watching = Some(Watching { transfers: &self.transfers, scene, peer });
            }
            // What is sent to one that does not read must not hold on to the package.
            drop(source);
            let is_news = told.as_ref().is_none_or(|(count, known, at)| {
                *count != chunks.len() || *known != others || at.elapsed() >= BLOB_SIGN_OF_LIFE
            });
            if is_news {
                send(writer, &BlobReply::Has { others: others.clone() }, chunks.as_bytes()).await?;
                told = Some((chunks.len(), others, Instant::now()));
            }
            tokio::select! {
                request = requests.next() => return match request? {
                    None => Ok(()),
                    Some(_) => Err(BlobError::Unexpected),
                },
                () = sleep(BLOB_NEWS_INTERVAL) => {}
            }
        }
    }

    async fn chunk<W: AsyncWrite + Unpin>(
        &self,
        scene: SceneHash,
        index: u32,
        writer: &mut W,
    ) -> Result<(), BlobError> {
        match self.store.get(&scene) {
            Some(source) if source.chunks().contains(index) => {
                let is_first = self.seeding().note_given(scene, source.chunks().chunk_count(), index);
                self.give(scene, source, index, is_first, writer).await
            }
            _ => send(writer, &BlobReply::NotHere, &[]).await,
        }
    }

    async fn any<W: AsyncWrite + Unpin>(
        &self,
        scene: SceneHash,
        wanted: &[u8],
        writer: &mut W,
    ) -> Result<(), BlobError> {
        let Some(source) = self.store.get(&scene) else {
            return send(writer, &BlobReply::NotHere, &[]).await;
        };
        let wanted = ChunkSet::from_bytes(source.manifest().chunk_count(), wanted)
            .map_err(|_| BlobError::Unexpected)?;
        let given = self.seeding().give(scene, &source.chunks(), &wanted, |count| fastrand::u32(..count));
        match given {
            Some(index) => self.give(scene, source, index, true, writer).await,
            None => send(writer, &BlobReply::Declined, &[]).await,
        }
    }

    /// Sends a chunk that is noted as given; one that does not get through is not, unless somebody has it already.
    async fn give<W: AsyncWrite + Unpin>(
        &self,
        scene: SceneHash,
        source: Arc<dyn BlobSource>,
        index: u32,
        is_first: bool,
        writer: &mut W,
    ) -> Result<(), BlobError> {
        let sent = self.send_chunk(source, index, writer).await;
        if is_first && !matches!(sent, Ok(true)) {
            self.seeding().take_back(&scene, index);
        }
        sent.map(drop)
    }

    async fn send_chunk<W: AsyncWrite + Unpin>(
        &self,
        source: Arc<dyn BlobSource>,
        index: u32,
        writer: &mut W,
    ) -> Result<bool, BlobError> {
        let chunk: Option<Bytes> = spawn_blocking(move || source.read(index)).await.ok().flatten();
        let Some(chunk) = chunk else {
            send(writer, &BlobReply::NotHere, &[]).await?;
            return Ok(false);
        };
        self.transfers.upload.wait(chunk.len() as u64).await;
        send(writer, &BlobReply::Chunk { index }, &chunk).await?;
        Counters::add(&self.counters.blob_bytes_sent, chunk.len() as u64);
        Ok(true)
    }

    fn seeding(&self) -> MutexGuard<'_, Seeding> {
        self.transfers.seeding.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A peer that watches a package, for as long as it does.
struct Watching<'a> {
    transfers: &'a Transfers,
    scene: SceneHash,
    peer: NodeId,
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        let mut seeding = self.transfers.seeding.lock().unwrap_or_else(PoisonError::into_inner);
        seeding.forget_peer(&self.scene, self.peer);
    }
}

async fn send<W>(writer: &mut W, reply: &BlobReply, payload: &[u8]) -> Result<(), BlobError>
where
    W: AsyncWrite + Unpin,
{
    let mut out = BytesMut::with_capacity(payload.len() + 64);
    encode(reply, payload, &mut out)?;
    // Piece by piece: a slow line may take longer for a chunk than a dead one is given.
    for piece in out.chunks(WRITE_PIECE_BYTES) {
        unless_stalled(writer.write_all(piece)).await?;
    }
    timeout(MAX_BLOB_SILENCE, writer.flush()).await.map_err(|_| BlobError::Stalled)?.map_err(BlobError::Io)
}

impl From<ReadError> for BlobError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(error) => Self::Io(error),
            ReadError::Frame(error) => Self::Frame(error),
        }
    }
}
