//! Scene packages from node to node, `/p2c2r/blob/1`.
//!
//! A fetching node opens a stream and asks for the chunk list, checks it against the package's name, then asks for
//! the chunks and checks each: the most that a lying peer can cost is one chunk.

mod client;
mod server;
#[cfg(test)]
mod tests;

use std::{future::Future, sync::Arc};

use bytes::Bytes;
use libp2p::StreamProtocol;
use p2c2r_protocol::{blob::ChunkManifest, id::SceneHash};
use tokio::time::timeout;

pub(crate) use self::{client::fetch, server::serve};
use crate::{error::BlobError, limit::BLOB_STALL_TIMEOUT};

/// The stream protocol.
pub(crate) const PROTOCOL: StreamProtocol = StreamProtocol::new("/p2c2r/blob/1");

/// A package in memory, with the list that its chunks are checked against.
#[derive(Debug, Clone)]
pub struct Blob {
    /// The package.
    pub bytes: Bytes,
    /// Its chunk list.
    pub manifest: ChunkManifest,
}

/// The packages that a node serves. Called from the network's tasks: it must not block.
pub trait BlobStore: Send + Sync {
    /// The package of this name, if it is here.
    fn get(&self, scene: &SceneHash) -> Option<Arc<Blob>>;
}

/// Fails when a step of a transfer takes too long.
async fn unless_stalled<T, E>(step: impl Future<Output = Result<T, E>>) -> Result<T, BlobError>
where
    BlobError: From<E>,
{
    Ok(timeout(BLOB_STALL_TIMEOUT, step).await.map_err(|_| BlobError::Stalled)??)
}
