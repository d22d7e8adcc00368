//! Scene transfer, `/p2c2r/blob/2`: content-addressed packages in chunks that are verified one by one.
//!
//! A package's name is the BLAKE3 hash of its bytes. BLAKE3 is a tree, so the chaining values of its subtrees of
//! [`SCENE_CHUNK_BYTES`] bytes form a list that merges to the very same hash: whoever checked the list against the
//! name can check every chunk alone. (BLAKE3 specification, section 2.1; the crate's `hazmat` module.)
//!
//! Whoever fetches a package serves what it has of it, so that a scene costs its owner little more than one copy:
//! ```text
//! fetching node                    any node that has some of it
//!   Manifest                 ─►
//!                            ◄─   Manifest(size) + chunk list
//!   Watch                    ─►                          on a stream of its own
//!                            ◄─   Has(others) + its chunks     at once, and again whenever more is there
//!   Chunk(index)             ─►                          as many as the line takes; answered in order
//!                            ◄─   Chunk(index) + bytes
//!   Any + chunks wanted      ─►                          of the owner: whichever it gave nobody yet
//!                            ◄─   Chunk(index) + bytes | Declined
//! ```

use blake3::hazmat::{HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root};
use serde::{Deserialize, Serialize};

use crate::{
    chunk_set::MAX_CHUNK_SET_BYTES,
    frame::{FieldError, Header},
    id::{NodeId, SceneHash},
    limit::{
        MAX_BLOB_OTHERS, MAX_SCENE_BYTES, MAX_SCENE_CHUNKS, MAX_SESSION_HEADER_BYTES, SCENE_CHUNK_BYTES,
    },
};

/// What a fetching node asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BlobRequest {
    /// The chunk list.
    Manifest {
        /// Of this package.
        scene: SceneHash,
    },
    /// To be told what is here of it, for as long as the stream is open.
    Watch {
        /// Of this package.
        scene: SceneHash,
    },
    /// One chunk.
    Chunk {
        /// Of this package.
        scene: SceneHash,
        /// Which.
        index: u32,
    },
    /// A chunk of those that its payload names (a [`crate::chunk_set::ChunkSet`]) and that nobody was given yet.
    Any {
        /// Of this package.
        scene: SceneHash,
    },
}

/// What a node that has some of the package answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BlobReply {
    /// The chunk list: its payload is the chaining values, 32 bytes each.
    Manifest {
        /// Size of the package, bytes.
        size_bytes: u64,
    },
    /// What is here: its payload is a [`crate::chunk_set::ChunkSet`].
    Has {
        /// Others that fetch the package, or have fetched it: hints, at most [`MAX_BLOB_OTHERS`].
        others: Vec<NodeId>,
    },
    /// One chunk: its payload.
    Chunk {
        /// Which.
        index: u32,
    },
    /// All that was wanted has been given to others: they have it.
    Declined,
    /// The package, or the chunk, is not here.
    NotHere,
    /// Too many others are being served.
    Busy,
}

impl Header for BlobRequest {
    const MAX_HEADER_BYTES: u32 = MAX_SESSION_HEADER_BYTES;
    const MAX_PAYLOAD_BYTES: u32 = MAX_CHUNK_SET_BYTES;

    fn max_payload_bytes(&self) -> u32 {
        match self {
            Self::Any { .. } => MAX_CHUNK_SET_BYTES,
            _ => 0,
        }
    }

    fn check(&self) -> Result<(), FieldError> {
        match self {
            Self::Chunk { index, .. } if *index >= MAX_SCENE_CHUNKS => Err(FieldError("chunk index")),
            _ => Ok(()),
        }
    }
}

impl Header for BlobReply {
    const MAX_HEADER_BYTES: u32 = MAX_SESSION_HEADER_BYTES;
    const MAX_PAYLOAD_BYTES: u32 = 32 * MAX_SCENE_CHUNKS;

    fn max_payload_bytes(&self) -> u32 {
        match self {
            Self::Manifest { .. } => Self::MAX_PAYLOAD_BYTES,
            Self::Chunk { .. } => SCENE_CHUNK_BYTES,
            Self::Has { .. } => MAX_CHUNK_SET_BYTES,
            Self::Declined | Self::NotHere | Self::Busy => 0,
        }
    }

    fn check(&self) -> Result<(), FieldError> {
        match self {
            Self::Manifest { size_bytes } if *size_bytes == 0 || *size_bytes > MAX_SCENE_BYTES => {
                Err(FieldError("package size"))
            }
            Self::Chunk { index } if *index >= MAX_SCENE_CHUNKS => Err(FieldError("chunk index")),
            Self::Has { others } if others.len() > MAX_BLOB_OTHERS => Err(FieldError("number of others")),
            _ => Ok(()),
        }
    }
}

/// Why a chunk list or a chunk is not what the package's name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// The list's length does not go with the package's size.
    #[error("the chunk list does not go with the package's size")]
    Length,
    /// The list does not merge to the package's name.
    #[error("the chunk list does not belong to this package")]
    Manifest,
    /// The chunk has not the bytes that the list names.
    #[error("chunk {0} is not the one that the list names")]
    Chunk(u32),
}

/// The name of a package.
pub fn scene_hash(package: &[u8]) -> SceneHash {
    SceneHash(*blake3::hash(package).as_bytes())
}

/// The verified chunk list of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkManifest {
    size_bytes: u64,
    /// Chaining values of the chunks; the package's hash itself if there is only one.
    chunks: Vec<[u8; 32]>,
}

impl ChunkManifest {
    /// The list of a package of at least one byte.
    pub fn of(package: &[u8]) -> Self {
        let pieces = package.chunks(SCENE_CHUNK_BYTES as usize);
        let single = pieces.len() <= 1;
        let chunks = if single {
            vec![scene_hash(package).0]
        } else {
            pieces.enumerate().map(|(index, piece)| chaining_value(index as u64, piece)).collect()
        };
        Self { size_bytes: package.len() as u64, chunks }
    }

    /// The list that a peer sent, if it is the list of the package named.
    pub fn verified(scene: SceneHash, size_bytes: u64, list: &[u8]) -> Result<Self, BlobError> {
        let expected = size_bytes.div_ceil(u64::from(SCENE_CHUNK_BYTES));
        let in_range = size_bytes > 0 && size_bytes <= MAX_SCENE_BYTES;
        if !in_range || list.len() as u64 != expected * 32 {
            return Err(BlobError::Length);
        }
        let (chunks, _) = list.as_chunks::<32>();
        let manifest = Self { size_bytes, chunks: chunks.to_vec() };
        if manifest.root() == scene { Ok(manifest) } else { Err(BlobError::Manifest) }
    }

    /// Size of the package, bytes.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// How many chunks there are; at least 1.
    pub fn chunk_count(&self) -> u32 {
        self.chunks.len() as u32
    }

    /// The list as it travels: 32 bytes a chunk.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.chunks.concat()
    }

    /// Size of a chunk, bytes; `None` if there is no such chunk.
    pub fn chunk_bytes(&self, index: u32) -> Option<u32> {
        let start = u64::from(index) * u64::from(SCENE_CHUNK_BYTES);
        let rest = self.size_bytes.checked_sub(start).filter(|rest| *rest > 0)?;
        Some(rest.min(u64::from(SCENE_CHUNK_BYTES)) as u32)
    }

    /// Whether the bytes are this chunk.
    pub fn verify_chunk(&self, index: u32, bytes: &[u8]) -> Result<(), BlobError> {
        let expected = self.chunks.get(index as usize).ok_or(BlobError::Chunk(index))?;
        if self.chunk_bytes(index) != u32::try_from(bytes.len()).ok() {
            return Err(BlobError::Chunk(index));
        }
        let found = if self.chunks.len() == 1 {
            scene_hash(bytes).0
        } else {
            chaining_value(u64::from(index), bytes)
        };
        if found == *expected { Ok(()) } else { Err(BlobError::Chunk(index)) }
    }

    /// The package's name, from the list.
    fn root(&self) -> SceneHash {
        match self.chunks.as_slice() {
            [single] => SceneHash(*single),
            chunks => {
                let split = left_chunks(self.size_bytes);
                let (left, right) = chunks.split_at(split);
                let left_bytes = split as u64 * u64::from(SCENE_CHUNK_BYTES);
                let merged = merge_subtrees_root(
                    &merge(left, left_bytes),
                    &merge(right, self.size_bytes - left_bytes),
                    Mode::Hash,
                );
                SceneHash(*merged.as_bytes())
            }
        }
    }
}

/// Chunks in the left subtree of a tree over so many bytes: more than one chunk.
fn left_chunks(size_bytes: u64) -> usize {
    (left_subtree_len(size_bytes) / u64::from(SCENE_CHUNK_BYTES)) as usize
}

/// The chaining value of a subtree that is not the root. The depth is at most the logarithm of the chunk count.
fn merge(chunks: &[[u8; 32]], size_bytes: u64) -> [u8; 32] {
    match chunks {
        [single] => *single,
        chunks => {
            let split = left_chunks(size_bytes);
            let (left, right) = chunks.split_at(split);
            let left_bytes = split as u64 * u64::from(SCENE_CHUNK_BYTES);
            merge_subtrees_non_root(
                &merge(left, left_bytes),
                &merge(right, size_bytes - left_bytes),
                Mode::Hash,
            )
        }
    }
}

fn chaining_value(index: u64, bytes: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(index * u64::from(SCENE_CHUNK_BYTES));
    hasher.update(bytes);
    hasher.finalize_non_root()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: usize = SCENE_CHUNK_BYTES as usize;

    fn package(length: usize) -> Vec<u8> {
        (0..length).map(|index| (index * 31 % 251) as u8).collect()
    }

    #[test]
    fn list_merges_to_the_plain_hash_at_every_shape() {
        for length in [1, 1000, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK, 5 * CHUNK + 7, 8 * CHUNK] {
            let package = package(length);
            let manifest = ChunkManifest::of(&package);
            let received =
                ChunkManifest::verified(scene_hash(&package), length as u64, &manifest.to_bytes()).unwrap();
            assert_eq!(received, manifest, "{length}");
            for (index, chunk) in package.chunks(CHUNK).enumerate() {
                assert_eq!(manifest.verify_chunk(index as u32, chunk), Ok(()), "{length}, chunk {index}");
            }
        }
    }

    #[test]
    fn b30_altered_list_or_chunk_is_refused() {
        let package = package(3 * CHUNK + 5);
        let (scene, size) = (scene_hash(&package), package.len() as u64);
        let manifest = ChunkManifest::of(&package);
        let mut list = manifest.to_bytes();
        list[40] ^= 1;
        assert_eq!(ChunkManifest::verified(scene, size, &list), Err(BlobError::Manifest));
        assert_eq!(ChunkManifest::verified(scene, size, &list[..32]), Err(BlobError::Length));
        assert_eq!(ChunkManifest::verified(scene, u64::MAX, &list), Err(BlobError::Length));
        assert_eq!(ChunkManifest::verified(scene, 0, &[]), Err(BlobError::Length));
        let mut chunk = package[CHUNK..2 * CHUNK].to_vec();
        chunk[0] ^= 1;
        assert_eq!(manifest.verify_chunk(1, &chunk), Err(BlobError::Chunk(1)));
        assert_eq!(
            manifest.verify_chunk(1, &package[..CHUNK]),
            Err(BlobError::Chunk(1)),
            "a chunk has its place"
        );
        assert_eq!(manifest.verify_chunk(9, &package[..CHUNK]), Err(BlobError::Chunk(9)));
        assert_eq!(manifest.verify_chunk(3, &package[3 * CHUNK..3 * CHUNK + 4]), Err(BlobError::Chunk(3)));
    }

    #[test]
    fn b30_requests_for_what_no_package_has_are_refused() {
        let scene = SceneHash([0; 32]);
        let check = |index| BlobRequest::Chunk { scene, index }.check();
        assert!(check(MAX_SCENE_CHUNKS - 1).is_ok());
        assert!(check(MAX_SCENE_CHUNKS).is_err() && check(u32::MAX).is_err());
        let mut out = bytes::BytesMut::new();
        let set = vec![0; MAX_CHUNK_SET_BYTES as usize + 1];
        assert!(crate::frame::encode(&BlobRequest::Any { scene }, &set[1..], &mut out).is_ok());
        assert!(crate::frame::encode(&BlobRequest::Any { scene }, &set, &mut out).is_err());
        assert!(crate::frame::encode(&BlobRequest::Watch { scene }, &set[..1], &mut out).is_err());
    }

    #[test]
    fn b21_a_list_of_others_is_bounded_and_fits_into_a_header() {
        let has = |count| BlobReply::Has { others: vec![NodeId::from_public_key([255; 32]); count] };
        assert!(has(MAX_BLOB_OTHERS).check().is_ok() && has(MAX_BLOB_OTHERS + 1).check().is_err());
        let mut out = bytes::BytesMut::new();
        crate::frame::encode(&has(MAX_BLOB_OTHERS), &[], &mut out).unwrap();
    }

    #[test]
    fn replies_about_what_no_package_has_are_refused() {
        let size = |size_bytes| BlobReply::Manifest { size_bytes }.check();
        assert!(size(1).is_ok() && size(MAX_SCENE_BYTES).is_ok());
        assert!(size(0).is_err() && size(MAX_SCENE_BYTES + 1).is_err() && size(u64::MAX).is_err());
        let chunk = |index| BlobReply::Chunk { index }.check();
        assert!(chunk(MAX_SCENE_CHUNKS - 1).is_ok());
        assert!(chunk(MAX_SCENE_CHUNKS).is_err() && chunk(u32::MAX).is_err());
    }

    #[test]
    fn replies_carry_no_more_than_their_kind_does() {
        let carries = |reply: &BlobReply, bytes: u32| {
            let mut out = bytes::BytesMut::new();
            crate::frame::encode(reply, &vec![0; bytes as usize], &mut out).is_ok()
        };
        for (reply, limit) in [
            (BlobReply::Manifest { size_bytes: 1 }, 32 * MAX_SCENE_CHUNKS),
            (BlobReply::Chunk { index: 0 }, SCENE_CHUNK_BYTES),
            (BlobReply::Has { others: vec![] }, MAX_CHUNK_SET_BYTES),
            (BlobReply::Declined, 0),
            (BlobReply::NotHere, 0),
            (BlobReply::Busy, 0),
        ] {
            assert!(carries(&reply, limit) && !carries(&reply, limit + 1), "{reply:?}");
        }
    }
}
