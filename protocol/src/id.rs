//! Names of things: nodes, scenes, jobs, tasks.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Prefix of an ed25519 public key in a libp2p peer id: identity multihash (0x00, length 0x24) of the protobuf
/// `{ Type: Ed25519, Data: 32 bytes }` (libp2p peer-ids specification).
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// A node: its ed25519 public key. Prints as the libp2p peer id that stands for the same key (`12D3KooW…`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(#[serde(with = "serde_bytes")] [u8; 32]);

impl NodeId {
    /// The node that holds the secret half of this public key.
    pub const fn from_public_key(public_key: [u8; 32]) -> Self {
        Self(public_key)
    }

    /// The ed25519 public key.
    pub const fn public_key(&self) -> &[u8; 32] {
        &self.0
    }

    /// The last eight characters of the printed id: enough to tell the nodes of a swarm apart in a table.
    pub fn short(&self) -> String {
        let full = self.to_string();
        full.get(full.len().saturating_sub(8)..).unwrap_or(&full).to_owned()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0_u8; 38];
        bytes[..6].copy_from_slice(&PEER_ID_PREFIX);
        bytes[6..].copy_from_slice(&self.0);
        out.write_str(&bs58::encode(bytes).into_string())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "NodeId({self})")
    }
}

/// Why a text is no node id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodeIdError {
    /// Not base58, or not the 38 bytes of an ed25519 peer id.
    #[error("not a node id (expected something like 12D3KooW…)")]
    Malformed,
}

impl FromStr for NodeId {
    type Err = NodeIdError;

    fn from_str(text: &str) -> Result<Self, NodeIdError> {
        let mut bytes = [0_u8; 38];
        let length = bs58::decode(text).onto(&mut bytes).map_err(|_| NodeIdError::Malformed)?;
        match bytes.split_first_chunk::<6>() {
            Some((prefix, key)) if length == 38 && *prefix == PEER_ID_PREFIX => {
                key.try_into().map(Self).map_err(|_| NodeIdError::Malformed)
            }
            _ => Err(NodeIdError::Malformed),
        }
    }
}

/// Declares a 32-byte BLAKE3 hash with its own type, printed as lowercase hex.
macro_rules! hash_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(#[serde(with = "serde_bytes")] pub [u8; 32]);

        impl $name {
            /// The first 12 hex digits, for logs and tables.
            pub fn short(&self) -> String {
                data_encoding::HEXLOWER.encode(&self.0[..6])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&data_encoding::HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, concat!(stringify!($name), "({})"), self.short())
            }
        }
    };
}

hash_type! {
    /// A scene package, named by the BLAKE3 hash of its bytes.
    SceneHash
}
hash_type! {
    /// A tile request, named by the BLAKE3 hash of its canonical CBOR.
    RequestHash
}
hash_type! {
    /// The root of the Merkle tree over a tile's 8x8 blocks of encoded pixels ([`crate::merkle`]).
    TileRoot
}

/// A job (one `render` command) of one coordinator: random, so that two coordinators never share one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId(#[serde(with = "serde_bytes")] pub [u8; 16]);

impl fmt::Display for JobId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "JobId({self})")
    }
}

/// One attempt at one tile. Counted up by the coordinator over its process's whole life and never used again, so a
/// late result of an older attempt can never be taken for a newer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(pub u64);

/// One run of a coordinator process: drawn at random at its start. A contributor that sees a new epoch knows that
/// every task of the old one is orphaned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

/// What kind of work a task is: speed is learned for each kind on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WorkKind {
    /// Path tracing of a tile.
    RayTracing,
}

impl WorkKind {
    /// The name that reports, stores and scenario files use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RayTracing => "ray_tracing",
        }
    }
}
