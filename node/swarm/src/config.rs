//! What the swarm is started with.

use std::{collections::BTreeMap, fmt, num::NonZeroU64, sync::Arc};

use p2c2r_protocol::{id::NodeId, sign::SecretKey, swarm_key::SwarmKey, ticket::Ticket};

use crate::{blob::BlobStore, hand_over::HandOverStore, limit, neighbours::KnownPeer};

/// What a node brings into the swarm.
pub struct SwarmConfig {
    /// The node's identity.
    pub secret: SecretKey,
    /// Where to listen: multiaddrs; port 0 lets the system choose.
    pub listen: Vec<String>,
    /// The key of a private swarm: only nodes that have it can connect.
    pub swarm_key: Option<SwarmKey>,
    /// If not empty, the only nodes that may connect.
    pub allowed: Vec<NodeId>,
    /// Nodes that may not connect.
    pub denied: Vec<NodeId>,
    /// Ways into the swarm; none for its first node, or on a LAN with mDNS.
    pub join: Vec<Ticket>,
    /// Neighbours of earlier runs: tried like tickets until others are there.
    pub remembered: Vec<KnownPeer>,
    /// For addresses to listen on with port 0, by their text: a port to take if it is free, so that what others remember
    /// of this node stays true.
    pub preferred_ports: BTreeMap<String, u16>,
    /// Addresses under which the Internet reaches this node, known to its owner (multiaddrs): behind a router that forwards
    /// a port, say.
    pub external: Vec<String>,
    /// Whether to find and be found on the local network by multicast.
    pub mdns: bool,
    /// Whether to pass on what comes for nodes behind routers, while this one is public.
    pub relay: bool,
    /// Whether to ask the router for a port (`UPnP`).
    pub upnp: bool,
    /// The packages that this node serves.
    pub blobs: Arc<dyn BlobStore>,
    /// Takes what other nodes hand over.
    pub hand_overs: Arc<dyn HandOverStore>,
    /// How much others may cost it.
    pub limits: SwarmLimits,
    /// Name and version of the program, told to peers.
    pub software: String,
    /// What browsers recognise the node by; only a build with the feature `webrtc` looks at it, and makes one for this run if
    /// there is none.
    pub webrtc_certificate: Option<WebrtcCertificate>,
}

/// A certificate with its secret key (PEM), by whose hash browsers recognise the node that they dial. It is kept between runs,
/// for the hash is a part of the addresses that browsers are given.
#[derive(Clone)]
pub struct WebrtcCertificate(String);

impl WebrtcCertificate {
    /// As it was kept; whether it is one turns out when it is used.
    pub fn from_pem(pem: String) -> Self {
        Self(pem)
    }

    /// As it is kept: in a place that others cannot read.
    pub fn pem(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for WebrtcCertificate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("WebrtcCertificate(…)")
    }
}

/// The limits that an owner may want to change; the others are constants of the crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SwarmLimits {
    /// Connections, in and out together.
    pub max_connections: u32,
    /// Peers that the node connects to by itself.
    pub target_peers: usize,
    /// Incoming work sessions at once.
    pub max_incoming_sessions: usize,
    /// Blob streams served at once.
    pub max_blob_streams: usize,
    /// Bytes of packages sent to others, each second; without, as much as the line takes.
    pub upload_bytes_per_s: Option<NonZeroU64>,
    /// Bytes of packages fetched from others, each second; without, as much as the line takes.
    pub download_bytes_per_s: Option<NonZeroU64>,
}

impl Default for SwarmLimits {
    fn default() -> Self {
        Self {
            max_connections: limit::MAX_CONNECTIONS,
            target_peers: limit::TARGET_PEERS,
            max_incoming_sessions: limit::MAX_INCOMING_SESSIONS,
            max_blob_streams: limit::MAX_BLOB_STREAMS,
            upload_bytes_per_s: None,
            download_bytes_per_s: None,
        }
    }
}
