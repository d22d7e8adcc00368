//! The p2c2r swarm: the only crate that knows libp2p.
//!
//! [`start`] gives a [`SwarmHandle`], which the rest of the node holds, and a channel of [`SwarmEvent`]s. Behind it one
//! task, the actor, owns the network; sessions ([`CoordinatorLink`], [`ContributorLink`]) and package transfers run
//! in tasks of their own, each on one stream.
//!
//! ```text
//! node ── SwarmHandle ──► actor ── libp2p: kad, gossip, identify, ping, mDNS
//!      ◄── SwarmEvent ──        ── discovery: whom to dial   routing: who enters the table
//!                               ── gossip: which heartbeats are believed   peers: what is known of each
//!      ◄── links ──► session pumps ──► streams /p2c2r/task/1
//!      ◄── packages ── blob: downloads, server ► streams /p2c2r/blob/2
//!      ◄── planes ──── hand_over ────────────► streams /p2c2r/stage/1
//!      ◄── links ──► step ───────────────────► streams /p2c2r/step/1
//! ```

mod actor;
mod address;
mod behaviour;
mod blob;
mod config;
mod counters;
mod discovery;
mod error;
mod event;
mod gate;
mod gossip;
mod hand_over;
mod handle;
mod identity;
mod in_use;
pub mod limit;
mod listen;
pub mod measure;
mod neighbours;
mod peers;
mod providers;
mod reach;
mod routing;
mod seed;
mod session;
mod start;
mod step;
#[cfg(test)]
mod tests;
mod transport;
#[cfg(feature = "webrtc")]
mod webrtc;
mod wire;

pub use crate::{
    blob::{Blob, BlobOrder, BlobOwners, BlobSource, BlobStore, ChunkSink, DownloadProgress, Fetched},
    config::{SwarmConfig, SwarmLimits, WebrtcCertificate},
    counters::SwarmCounters,
    error::{BlobError, HandOverError, SwarmError},
    event::SwarmEvent,
    hand_over::{HandOverStore, NoHandOvers},
    handle::SwarmHandle,
    neighbours::KnownPeer,
    peers::PeerStatus,
    reach::Reachability,
    session::{ContributorEvent, ContributorLink, CoordinatorLink, Payload, TileResult, Traffic, local_pair},
    start::start,
    step::{StepOwnerLink, StepPeerLink},
};
