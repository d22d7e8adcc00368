//! Scene packages from node to node, `/p2c2r/blob/2`.
//!
//! A fetching node gets the chunk list from the package's owner and checks it against the package's name. Then it asks
//! everybody who has some of the package for chunks ([`picker`] decides for which, [`download`] carries it out over the
//! streams of [`source`]) and checks each: the most that a lying peer can cost is one chunk. What it has it serves in
//! turn ([`server`]); an owner gives each chunk once before it gives any twice ([`seeding`]).

mod client;
mod download;
mod picker;
mod rate_limit;
mod seeding;
mod server;
mod source;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    future::Future,
    io,
    num::NonZeroU64,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use libp2p::StreamProtocol;
use p2c2r_protocol::{
    blob::ChunkManifest,
    chunk_set::ChunkSet,
    id::{NodeId, SceneHash},
    limit::SCENE_CHUNK_BYTES,
};
use tokio::time::timeout;

use self::rate_limit::RateLimit;
pub(crate) use self::{
    client::{BlobNetwork, BlobStream, Known},
    download::fetch,
    server::serve,
};
use crate::{
    error::BlobError,
    limit::{BLOB_STALL_TIMEOUT, MAX_BLOB_SOURCES, MAX_SHUNNED_SOURCES},
};

/// The stream protocol.
pub(crate) const PROTOCOL: StreamProtocol = StreamProtocol::new("/p2c2r/blob/2");

/// A package of which all or some chunks are here.
pub trait BlobSource: Send + Sync {
    /// Its chunk list, checked against its name.
    fn manifest(&self) -> &ChunkManifest;
    /// The chunks that are here. Called from the network's tasks: it must not block.
    fn chunks(&self) -> ChunkSet;
    /// A chunk, if it is here and can be read. May block.
    fn read(&self, index: u32) -> Option<Bytes>;
}

/// A package in memory, with the list that its chunks are checked against.
#[derive(Debug, Clone)]
pub struct Blob {
    /// The package.
    pub bytes: Bytes,
    /// Its chunk list.
    pub manifest: ChunkManifest,
}

impl BlobSource for Blob {
    fn manifest(&self) -> &ChunkManifest {
        &self.manifest
    }

    fn chunks(&self) -> ChunkSet {
        ChunkSet::all(self.manifest.chunk_count())
    }

    fn read(&self, index: u32) -> Option<Bytes> {
        let length = self.manifest.chunk_bytes(index)? as usize;
        let start = index as usize * SCENE_CHUNK_BYTES as usize;
        let end = start.checked_add(length).filter(|end| *end <= self.bytes.len())?;
        Some(self.bytes.slice(start..end))
    }
}

/// The packages that a node serves. Called from the network's tasks: it must not block.
pub trait BlobStore: Send + Sync {
    /// The package of this name, if anything of it is here.
    fn get(&self, scene: &SceneHash) -> Option<Arc<dyn BlobSource>>;
}

/// Where a download puts its chunks. All of it may block.
pub trait ChunkSink: Send + Sync {
    /// The chunk list is known: gives back which chunks are here from before. They have been checked against the list.
    fn begin(&self, manifest: &ChunkManifest) -> io::Result<ChunkSet>;
    /// Keeps a chunk that has been checked. The same chunk may come twice.
    fn write(&self, index: u32, bytes: &[u8]) -> io::Result<()>;
}

/// Who is sure to have a package: the coordinators that asked for it. Clones share the list, so that one who asks later
/// helps a download that is on its way.
#[derive(Debug, Clone, Default)]
pub struct BlobOwners(Arc<Mutex<Vec<NodeId>>>);

impl BlobOwners {
    /// Adds one; nothing if there are [`MAX_BLOB_SOURCES`].
    pub fn add(&self, owner: NodeId) {
        let mut owners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !owners.contains(&owner) && owners.len() < MAX_BLOB_SOURCES {
            owners.push(owner);
        }
    }

    fn list(&self) -> Vec<NodeId> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A package to be fetched.
#[derive(Clone)]
pub struct BlobOrder {
    /// Its name.
    pub scene: SceneHash,
    /// Its size, bytes, as it was announced.
    pub size_bytes: u64,
    /// Who is sure to have it.
    pub owners: BlobOwners,
    /// Where its chunks go.
    pub sink: Arc<dyn ChunkSink>,
    /// Hears how far it is.
    pub progress: Arc<dyn Fn(DownloadProgress) + Send + Sync>,
}

/// How far a download is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DownloadProgress {
    /// Bytes that are here and checked.
    pub bytes_here: u64,
    /// Sources that are open.
    pub sources: usize,
}

/// A package that has arrived: its chunks are in the sink.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Its chunk list.
    pub manifest: ChunkManifest,
    /// Bytes of it that came over the network; the others were here from before.
    pub fetched_bytes: u64,
    /// Nodes that sent wrong chunks. Nothing more is fetched from them.
    pub liars: Vec<NodeId>,
}

/// What all transfers of a node share.
#[derive(Debug)]
pub(crate) struct Transfers {
    upload: RateLimit,
    download: RateLimit,
    seeding: Mutex<seeding::Seeding>,
    /// Nodes that sent wrong chunks, the newest last.
    shunned: Mutex<VecDeque<NodeId>>,
}

impl Transfers {
    /// Limits in bytes a second; without, none.
    pub(crate) fn new(upload: Option<NonZeroU64>, download: Option<NonZeroU64>) -> Self {
        Self {
            upload: RateLimit::new(upload),
            download: RateLimit::new(download),
            seeding: Mutex::default(),
            shunned: Mutex::default(),
        }
    }

    fn shun(&self, node: NodeId) {
        let mut shunned = self.shunned.lock().unwrap_or_else(PoisonError::into_inner);
        if !shunned.contains(&node) {
            if shunned.len() >= MAX_SHUNNED_SOURCES {
                shunned.pop_front();
            }
            shunned.push_back(node);
        }
    }

    fn is_shunned(&self, node: &NodeId) -> bool {
        self.shunned.lock().unwrap_or_else(PoisonError::into_inner).contains(node)
    }
}

/// Fails when a step of a transfer takes too long.
async fn unless_stalled<T, E>(step: impl Future<Output = Result<T, E>>) -> Result<T, BlobError>
where
    BlobError: From<E>,
{
    Ok(timeout(BLOB_STALL_TIMEOUT, step).await.map_err(|_| BlobError::Stalled)??)
}
