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

hash_type! {
    /// What a stage hands on, or a picture's file, named by the BLAKE3 hash of its bytes.
    PlaneHash
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
    /// Rasterising.
    Rendering,
    /// Simulating bodies.
    Physics,
    /// Running a model of behaviour.
    Ai,
    /// Mixing and propagating sound.
    Audio,
}

impl WorkKind {
    /// Every kind, in the order of their values.
    pub const ALL: [Self; 5] = [Self::RayTracing, Self::Rendering, Self::Physics, Self::Ai, Self::Audio];

    /// The kind of that name, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The name that the wire, reports, stores and scenario files use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RayTracing => "ray_tracing",
            Self::Rendering => "rendering",
            Self::Physics => "physics",
            Self::Ai => "ai",
            Self::Audio => "audio",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::canon::{decode_bounded, to_canonical};

    /// The ed25519 public key of the seed of 32 zero bytes, whose peer id below is what libp2p programs print for it.
    const KEY_OF_SEED_ZERO: &str = "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29";

    fn zero() -> NodeId {
        let key = data_encoding::HEXLOWER.decode(KEY_OF_SEED_ZERO.as_bytes()).unwrap();
        NodeId::from_public_key(key.try_into().unwrap())
    }

    #[test]
    fn node_prints_as_the_peer_id_of_its_key() {
        assert_eq!(zero().to_string(), "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN");
        assert_eq!(zero().short(), "4kx6nXTN");
        assert_eq!(format!("{:?}", zero()), format!("NodeId({})", zero()));
    }

    #[test]
    fn texts_that_name_no_node_are_refused() {
        let good = zero().to_string();
        // A peer id of another kind of key: the SHA-256 multihash of an RSA key.
        let rsa = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N";
        let cases = [
            "",
            "12D3KooW",
            "0OIl",
            rsa,
            &good[1..],
            &format!("{good}1"),
            &format!("1{good}"),
            &good.to_lowercase(),
        ];
        for text in cases {
            assert_eq!(text.parse::<NodeId>(), Err(NodeIdError::Malformed), "{text}");
        }
        assert_eq!("1".repeat(1 << 20).parse::<NodeId>(), Err(NodeIdError::Malformed));
    }

    #[test]
    fn ids_of_another_length_are_refused_on_the_wire() {
        for length in [0, 31, 33] {
            let bytes = to_canonical(&serde_bytes::ByteBuf::from(vec![7; length])).unwrap();
            assert!(decode_bounded::<NodeId>(&bytes, 64).is_err(), "{length}");
            assert!(decode_bounded::<SceneHash>(&bytes, 64).is_err(), "{length}");
        }
    }

    #[test]
    fn kinds_travel_under_their_names_and_unknown_ones_are_refused() {
        for kind in WorkKind::ALL {
            let bytes = to_canonical(&kind).unwrap();
            assert_eq!(bytes, to_canonical(&kind.name()).unwrap());
            assert_eq!(decode_bounded::<WorkKind>(&bytes, 64), Ok(kind));
        }
        assert_eq!(WorkKind::ALL.map(|kind| WorkKind::from_name(kind.name())), WorkKind::ALL.map(Some));
        let names: std::collections::BTreeSet<&str> = WorkKind::ALL.map(WorkKind::name).into();
        assert_eq!(names.len(), WorkKind::ALL.len());
        for unknown in ["", "RayTracing", "mining"] {
            let bytes = to_canonical(&unknown).unwrap();
            assert!(decode_bounded::<WorkKind>(&bytes, 64).is_err(), "{unknown:?}");
        }
    }

    #[test]
    fn hashes_print_as_lowercase_hex() {
        let hash = SceneHash([0xab; 32]);
        assert_eq!((hash.to_string(), hash.short()), ("ab".repeat(32), "ab".repeat(6)));
        assert_eq!(format!("{hash:?}"), "SceneHash(abababababab)");
        assert_eq!(JobId([0x0f; 16]).to_string(), "0f".repeat(16));
    }

    proptest! {
        #[test]
        fn node_id_comes_back_from_its_text(key: [u8; 32]) {
            let node = NodeId::from_public_key(key);
            prop_assert_eq!(node.to_string().parse::<NodeId>(), Ok(node));
        }

        #[test]
        fn b1_any_text_gives_a_node_or_an_error(text in "(12D3KooW)?[1-9A-Za-z]{0,60}") {
            if let Ok(node) = text.parse::<NodeId>() {
                prop_assert_eq!(node.to_string(), text);
            }
        }
    }
}
