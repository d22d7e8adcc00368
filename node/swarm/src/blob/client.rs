//! What a fetching node needs of the network: streams, and who is there. One stream is a [`Conversation`].

use std::{collections::BTreeSet, future::Future, io, pin::Pin};

use bytes::{Bytes, BytesMut};
use p2c2r_protocol::{
    blob::{BlobReply, BlobRequest, ChunkManifest},
    frame::{Frame, encode},
    id::{NodeId, SceneHash},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    time::timeout,
};

use super::unless_stalled;
use crate::{error::BlobError, limit::MAX_BLOB_SILENCE, wire::FrameReader};

/// Bytes in both directions.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send {}

impl<S: AsyncRead + AsyncWrite + Send> Duplex for S {}

/// A stream to a node that serves packages.
pub(crate) type BlobStream = Pin<Box<dyn Duplex>>;

/// The nodes that this one knows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// Connected, heard of by a heartbeat lately, or among the few that the table names. Nobody else is ever asked, whoever names
    /// them.
    pub(crate) nodes: BTreeSet<NodeId>,
    /// Those whose heartbeats, or the table, say that they have the package.
    pub(crate) announced: Vec<NodeId>,
}

/// The network, as a download sees it.
pub(crate) trait BlobNetwork: Clone + Send + Sync + 'static {
    /// This node.
    fn own(&self) -> NodeId;
    /// A stream to a node.
    fn open(&self, node: NodeId) -> impl Future<Output = Result<BlobStream, BlobError>> + Send;
    /// The nodes that are known.
    fn known(&self, scene: SceneHash) -> impl Future<Output = Known> + Send;
}

/// One stream: questions and answers.
pub(super) struct Conversation {
    replies: FrameReader<ReadHalf<BlobStream>, BlobReply>,
    writer: WriteHalf<BlobStream>,
}

impl Conversation {
    pub(super) fn on(stream: BlobStream) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self { replies: FrameReader::new(reader), writer }
    }

    /// Asks, with a payload.
    pub(super) async fn ask(&mut self, request: &BlobRequest, payload: &[u8]) -> Result<(), BlobError> {
        let mut out = BytesMut::new();
        encode(request, payload, &mut out)?;
        unless_stalled(self.writer.write_all(&out)).await?;
        unless_stalled(self.writer.flush()).await
    }

    /// The next answer, however long it takes. Nothing is lost when it is no longer waited for.
    pub(super) async fn reply(&mut self) -> Result<Frame<BlobReply>, BlobError> {
        self.replies.next().await?.ok_or_else(|| BlobError::Io(io::ErrorKind::UnexpectedEof.into()))
    }
}

/// A chunk list that is known to be that of the package, and what shows it.
pub(super) struct Proven {
    /// The list.
    pub(super) manifest: ChunkManifest,
    /// The last chunk: many sizes have the same list, but only one goes with this.
    pub(super) last_chunk: Bytes,
}

/// Asks a node for the chunk list of a package and for its last chunk, and checks both: without, whoever says a wrong size would
/// make liars of all who send the right chunk.
pub(super) async fn fetch_manifest<N: BlobNetwork>(
    network: &N,
    node: NodeId,
    scene: SceneHash,
    expected_bytes: u64,
) -> Result<Proven, BlobError> {
    let mut peer = Conversation::on(network.open(node).await?);
    peer.ask(&BlobRequest::Manifest { scene }, &[]).await?;
    let Frame { header, payload } = unless_stalled(peer.reply()).await?;
    let BlobReply::Manifest { size_bytes: found_bytes } = header else { return Err(refusal(&header)) };
    if found_bytes != expected_bytes {
        return Err(BlobError::Size { found_bytes, expected_bytes });
    }
    let manifest = ChunkManifest::verified(scene, found_bytes, &payload)?;
    let last = manifest.chunk_count().saturating_sub(1);
    peer.ask(&BlobRequest::Chunk { scene, index: last }, &[]).await?;
    // A slow line, or a limit over there, may take its time for a chunk.
    let reply = timeout(MAX_BLOB_SILENCE, peer.reply()).await.map_err(|_| BlobError::Stalled)??;
    match reply.header {
        BlobReply::Chunk { index } if index == last => {
            manifest.verify_chunk(last, &reply.payload)?;
            Ok(Proven { manifest, last_chunk: reply.payload })
        }
        other => Err(refusal(&other)),
    }
}

/// What a reply means that is not the one asked for.
pub(super) fn refusal(reply: &BlobReply) -> BlobError {
    match reply {
        BlobReply::NotHere => BlobError::NotHere,
        BlobReply::Busy => BlobError::Busy,
        _ => BlobError::Unexpected,
    }
}
