//! Fetching a package: list first, then chunks, every byte checked before it counts.

use std::{
    future::Future,
    hash::{BuildHasher, RandomState},
    io,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use p2c2r_protocol::{
    blob::{BlobReply, BlobRequest, ChunkManifest},
    frame::{Frame, encode},
    id::SceneHash,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    time::sleep,
};

use super::unless_stalled;
use crate::{
    error::BlobError,
    limit::{BLOB_FIRST_RESERVE_BYTES, BLOB_RETRY, MAX_BLOB_ATTEMPTS},
    wire::FrameReader,
};

/// Fetches a package over streams that `open` provides: another one, from where the last one got to, if it breaks.
/// `progress` hears the bytes that are there and checked.
pub(crate) async fn fetch<S, O>(
    mut open: impl FnMut() -> O,
    scene: SceneHash,
    size_bytes: u64,
    progress: impl Fn(u64),
) -> Result<(Bytes, ChunkManifest), BlobError>
where
    S: AsyncRead + AsyncWrite,
    O: Future<Output = Result<S, BlobError>>,
{
    let mut transfer = Transfer { scene, size_bytes, manifest: None, bytes: BytesMut::new() };
    let mut attempt = 1;
    loop {
        let step = async { transfer.run(Conversation::on(open().await?), &progress).await };
        match step.await {
            Ok(manifest) => return Ok((transfer.bytes.freeze(), manifest)),
            Err(error) if error.is_transient() && attempt < MAX_BLOB_ATTEMPTS => {
                // The server takes streams one at a time and drops the ones that come together.
                sleep(jittered(BLOB_RETRY * 2_u32.pow(attempt - 1))).await;
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// A random part of the wait, so that those who collided do not collide again.
fn jittered(wait: Duration) -> Duration {
    let share = RandomState::new().hash_one(()) % 1024;
    wait.mul_f64(share as f64 / 1024.0)
}

/// What is there already; outlives a broken stream.
struct Transfer {
    scene: SceneHash,
    size_bytes: u64,
    manifest: Option<ChunkManifest>,
    bytes: BytesMut,
}

impl Transfer {
    async fn run<S: AsyncRead + AsyncWrite>(
        &mut self,
        mut peer: Conversation<S>,
        progress: &impl Fn(u64),
    ) -> Result<ChunkManifest, BlobError> {
        let manifest = match &self.manifest {
            Some(manifest) => manifest.clone(),
            None => self.fetch_manifest(&mut peer).await?,
        };
        self.manifest = Some(manifest.clone());
        let first = self.chunks_here();
        let count = manifest.chunk_count() - first;
        if count > 0 {
            peer.ask(&BlobRequest::Chunks { scene: self.scene, first, count }).await?;
        }
        for index in first..first + count {
            let reply = peer.reply().await?;
            if reply.header != (BlobReply::Chunk { index }) {
                return Err(refusal(&reply.header));
            }
            manifest.verify_chunk(index, &reply.payload)?;
            self.bytes.extend_from_slice(&reply.payload);
            progress(self.bytes.len() as u64);
        }
        Ok(manifest)
    }

    async fn fetch_manifest<S: AsyncRead + AsyncWrite>(
        &mut self,
        peer: &mut Conversation<S>,
    ) -> Result<ChunkManifest, BlobError> {
        peer.ask(&BlobRequest::Manifest { scene: self.scene }).await?;
        let Frame { header, payload } = peer.reply().await?;
        let BlobReply::Manifest { size_bytes: found_bytes } = header else { return Err(refusal(&header)) };
        if found_bytes != self.size_bytes {
            return Err(BlobError::Size { found_bytes, expected_bytes: self.size_bytes });
        }
        let manifest = ChunkManifest::verified(self.scene, found_bytes, &payload)?;
        self.bytes.reserve(found_bytes.min(BLOB_FIRST_RESERVE_BYTES) as usize);
        Ok(manifest)
    }

    /// Chunks are equally large but for the last, so their number follows from the bytes.
    fn chunks_here(&self) -> u32 {
        (self.bytes.len() as u64).div_ceil(u64::from(p2c2r_protocol::limit::SCENE_CHUNK_BYTES)) as u32
    }
}

/// One stream: questions and answers.
struct Conversation<S> {
    replies: FrameReader<ReadHalf<S>, BlobReply>,
    writer: WriteHalf<S>,
}

impl<S: AsyncRead + AsyncWrite> Conversation<S> {
    fn on(stream: S) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self { replies: FrameReader::new(reader), writer }
    }

    async fn ask(&mut self, request: &BlobRequest) -> Result<(), BlobError> {
        let mut out = BytesMut::new();
        encode(request, &[], &mut out)?;
        unless_stalled(self.writer.write_all(&out)).await?;
        unless_stalled(self.writer.flush()).await
    }

    async fn reply(&mut self) -> Result<Frame<BlobReply>, BlobError> {
        let reply = unless_stalled(self.replies.next()).await?;
        reply.ok_or_else(|| BlobError::Io(io::ErrorKind::UnexpectedEof.into()))
    }
}

/// What a reply means that is not the one asked for.
fn refusal(reply: &BlobReply) -> BlobError {
    match reply {
        BlobReply::NotHere => BlobError::NotHere,
        BlobReply::Busy => BlobError::Busy,
        _ => BlobError::Unexpected,
    }
}
