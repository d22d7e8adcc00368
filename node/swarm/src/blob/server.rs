//! Serving packages: a limited number of streams, each answered request by request.

use std::{collections::HashMap, sync::Arc};

use bytes::BytesMut;
use futures::StreamExt;
use libp2p::PeerId;
use p2c2r_protocol::{
    blob::{BlobReply, BlobRequest},
    frame::encode,
    id::SceneHash,
    limit::SCENE_CHUNK_BYTES,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::{Blob, BlobStore, unless_stalled};
use crate::{
    counters::Counters,
    error::BlobError,
    in_use::Held,
    limit::{MAX_BLOB_REFUSALS_PER_PEER, MAX_BLOB_STREAMS_PER_PEER},
    wire::{FrameReader, ReadError, tokio_stream},
};

/// Streams of one peer at once, refusals included.
const PER_PEER: usize = MAX_BLOB_STREAMS_PER_PEER + MAX_BLOB_REFUSALS_PER_PEER;

/// Serves streams until the swarm ends.
pub(crate) async fn serve(
    mut incoming: impl futures::Stream<Item = (PeerId, Held)> + Unpin,
    store: Arc<dyn BlobStore>,
    max_streams: usize,
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
        let server = Server { store: Arc::clone(&store), counters: Arc::clone(&counters), busy };
        tasks.spawn(run(server, tokio_stream(stream), peer, [own_permit, permit]));
    }
}

async fn run<S>(server: Server, stream: S, peer: PeerId, _permits: [OwnedSemaphorePermit; 2])
where
    S: AsyncRead + AsyncWrite,
{
    let (reader, writer) = tokio::io::split(stream);
    if let Err(error) = server.answer_all(FrameReader::new(reader), writer).await {
        debug!(%peer, %error, "serving a package broke off");
    }
}

struct Server {
    store: Arc<dyn BlobStore>,
    counters: Arc<Counters>,
    busy: bool,
}

impl Server {
    async fn answer_all<S: AsyncRead + AsyncWrite>(
        &self,
        mut requests: FrameReader<ReadHalf<S>, BlobRequest>,
        mut writer: WriteHalf<S>,
    ) -> Result<(), BlobError> {
        while let Some(request) = unless_stalled(requests.next()).await? {
            if self.busy {
                send(&mut writer, &BlobReply::Busy, &[]).await?;
                break;
            }
            self.answer(request.header, &mut writer).await?;
        }
        unless_stalled(writer.shutdown()).await
    }

    async fn answer<W>(&self, request: BlobRequest, writer: &mut W) -> Result<(), BlobError>
    where
        W: AsyncWrite + Unpin,
    {
        match request {
            BlobRequest::Manifest { scene } => match self.store.get(&scene) {
                Some(blob) => {
                    let reply = BlobReply::Manifest { size_bytes: blob.manifest.size_bytes() };
                    send(writer, &reply, &blob.manifest.to_bytes()).await
                }
                None => send(writer, &BlobReply::NotHere, &[]).await,
            },
            BlobRequest::Chunks { scene, first, count } => self.chunks(scene, first, count, writer).await,
            _ => Err(BlobError::Unexpected),
        }
    }

    async fn chunks<W>(
        &self,
        scene: SceneHash,
        first: u32,
        count: u32,
        writer: &mut W,
    ) -> Result<(), BlobError>
    where
        W: AsyncWrite + Unpin,
    {
        let Some(blob) = self.store.get(&scene) else { return send(writer, &BlobReply::NotHere, &[]).await };
        // The range was checked when the request was read: it does not overflow.
        for index in first..first + count {
            let chunk = chunk(&blob, index).ok_or(BlobError::Unexpected)?;
            send(writer, &BlobReply::Chunk { index }, chunk).await?;
            Counters::add(&self.counters.blob_bytes_sent, chunk.len() as u64);
        }
        Ok(())
    }
}

fn chunk(blob: &Blob, index: u32) -> Option<&[u8]> {
    let length = blob.manifest.chunk_bytes(index)? as usize;
    let start = index as usize * SCENE_CHUNK_BYTES as usize;
    blob.bytes.get(start..start + length)
}

async fn send<W>(writer: &mut W, reply: &BlobReply, payload: &[u8]) -> Result<(), BlobError>
where
    W: AsyncWrite + Unpin,
{
    let mut out = BytesMut::with_capacity(payload.len() + 64);
    encode(reply, payload, &mut out)?;
    unless_stalled(writer.write_all(&out)).await?;
    unless_stalled(writer.flush()).await
}

impl From<ReadError> for BlobError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(error) => Self::Io(error),
            ReadError::Frame(error) => Self::Frame(error),
        }
    }
}
