//! Talking to the running node: a Unix socket in its data directory, mode 0600, one JSON object a line.
//!
//! The client sends one [`Request`] and reads [`Reply`]s until the last one. Closing the connection cancels what was
//! asked for on it and is not done yet.

pub mod client;
pub mod server;

use std::path::PathBuf;

use clap::ValueEnum;
use p2c2r_protocol::tile::FrameSize;
use serde::{Deserialize, Serialize};

use crate::{
    contributor::hindrance::Hindrance, develop::DevelopSettings, progress::Progress, report::FrameReport,
    sequence::FrameSequence,
};

/// Longest line, bytes. The longest thing said is a report of a frame with many tiles.
const MAX_LINE_BYTES: u64 = 16 << 20;
/// Longest request, bytes.
const MAX_REQUEST_BYTES: u64 = 64 << 10;

/// What a client asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Request {
    /// The node's ticket.
    Ticket,
    /// What the node is doing.
    Status,
    /// The peers it knows.
    Peers,
    /// Render a picture.
    Render(Box<RenderRequest>),
    /// Let something be wrong with the node, to try a swarm with.
    Hinder(Hindrance),
}

/// Light from all around. The path is absolute.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentRequest {
    /// An equirectangular `.hdr` or `.exr` picture.
    pub path: PathBuf,
    /// Multiplies its radiance.
    pub strength: f32,
    /// Turns it to the right about the vertical axis.
    pub rotation_turns: f32,
}

/// Where the picture so far is shown after each pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PreviewTarget {
    /// In the picture itself.
    Picture,
    /// In a file beside it, the same for all frames.
    File(PathBuf),
}

/// A picture to render, or the frames of an animation. Paths are absolute.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenderRequest {
    /// Scene file.
    pub scene: PathBuf,
    /// Picture to write; that of a frame has the frame's number before the ending.
    pub output: PathBuf,
    /// The frames; without, one picture of the scene's first moment.
    #[serde(default)]
    pub frames: Option<FrameSequence>,
    /// Overwrite pictures.
    pub force: bool,
    /// Size.
    pub size: FrameSize,
    /// Samples per pixel.
    pub samples_per_pixel: u32,
    /// Path segments at most.
    pub max_depth: u32,
    /// Seed.
    pub seed: u32,
    /// Limit of indirect contributions, radiance; 0 for none.
    pub clamp: f32,
    /// In place of the scene's sky.
    pub environment: Option<EnvironmentRequest>,
    /// Radius of the lens, world units; 0 for a pinhole.
    pub lens_radius: f32,
    /// Distance that the lens sees sharply, world units; 0 for a pinhole.
    pub focus_distance: f32,
    /// Camera name, or `auto`.
    pub camera: String,
    /// Stop each picture then with what is there, ms.
    pub deadline_ms: Option<u64>,
    /// Peers to wait for before the first picture.
    pub wait_peers: Option<usize>,
    /// What is made of the film.
    pub develop: DevelopSettings,
    /// Render in passes and show the picture so far after each.
    pub preview: Option<PreviewTarget>,
    /// How the work is split among the peers.
    #[serde(default)]
    pub split: SplitChoice,
    /// Keep the frames that the same job has finished before.
    #[serde(default)]
    pub resume: bool,
}

/// How the work is split among the peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum SplitChoice {
    /// As is predicted to be done first.
    #[default]
    Auto,
    /// Each frame is cut into tiles.
    Spatial,
    /// Whole frames of an animation go to different peers.
    Temporal,
    /// The stages of a frame go to different peers.
    Pipeline,
    /// Whole frames go to different peers, the last ones are cut.
    Nested,
}

/// What the node answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// The ticket.
    Ticket {
        /// Printed form.
        ticket: String,
    },
    /// The status.
    Status(Box<StatusReply>),
    /// The peers.
    Peers {
        /// [`PEERS_SCHEMA`].
        schema: String,
        /// All that are known, connected ones first.
        peers: Vec<PeerReply>,
    },
    /// It is so now.
    Hindered,
    /// A job goes on.
    Progress(Progress),
    /// So many frames are there from before; comes first, if any are.
    Kept {
        /// How many.
        frames: u32,
    },
    /// A picture is written: one of these for each.
    Rendered(Box<FrameReport>),
    /// It went wrong; one sentence.
    Error {
        /// What was wrong, where, what to do.
        message: String,
    },
}

/// Form of [`StatusReply`].
pub const STATUS_SCHEMA: &str = "p2c2r.status/1";
/// Form of the peer list.
pub const PEERS_SCHEMA: &str = "p2c2r.peers/1";

/// What a node is doing.
#[derive(Debug, Serialize, Deserialize)]
pub struct StatusReply {
    /// [`STATUS_SCHEMA`].
    pub schema: String,
    /// Its id.
    pub node: String,
    /// Its version.
    pub version: String,
    /// Since its start, s.
    pub uptime_s: u64,
    /// Whether it takes work from others.
    pub contributing: bool,
    /// What renders.
    pub backend: String,
    /// Its adapter.
    pub adapter: String,
    /// Whether its pictures are exact.
    pub exact: bool,
    /// Measured speed, million rays per second.
    pub mrays_per_s: f32,
    /// Addresses it listens on.
    pub listening: Vec<String>,
    /// From where others reach it: `public`, `relay`, `local`.
    #[serde(default)]
    pub reached: String,
    /// Peers connected.
    pub peers_connected: usize,
    /// Peers known.
    pub peers_known: usize,
    /// Peers remembered for the next run.
    #[serde(default)]
    pub peers_remembered: usize,
    /// Tiles waiting here.
    pub tiles_queued: u32,
    /// Tiles being rendered here.
    pub tiles_running: u32,
    /// Jobs of this node's owner, waiting or running.
    pub jobs: usize,
    /// Scenes ready in memory.
    pub scenes: Vec<String>,
    /// Scenes on their way here.
    #[serde(default)]
    pub fetching: Vec<FetchReply>,
    /// Bytes of scenes, chunk by chunk, since the start.
    #[serde(default)]
    pub scene_traffic: SceneTraffic,
}

/// A scene that is being fetched.
#[derive(Debug, Serialize, Deserialize)]
pub struct FetchReply {
    /// Its hash.
    pub scene: String,
    /// Bytes that are here and checked.
    pub bytes_here: u64,
    /// Of so many.
    pub size_bytes: u64,
    /// Nodes that it comes from.
    pub sources: usize,
}

/// What scenes have cost the network since the node's start.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct SceneTraffic {
    /// Bytes sent to others.
    pub sent_bytes: u64,
    /// Bytes fetched from others.
    pub received_bytes: u64,
    /// Of these, chunks that came twice.
    pub repeated_bytes: u64,
    /// Nodes that sent wrong chunks.
    pub sources_shunned: u64,
}

/// What a node knows of a peer.
#[derive(Debug, Serialize, Deserialize)]
pub struct PeerReply {
    /// Its id.
    pub node: String,
    /// Whether there is a connection.
    pub connected: bool,
    /// Over which transport.
    pub transport: Option<String>,
    /// Round trip, ms.
    pub round_trip_ms: Option<f32>,
    /// Age of its last heartbeat, ms.
    pub heartbeat_age_ms: Option<u64>,
    /// Whether it takes work.
    pub contributing: Option<bool>,
    /// Kinds of work that it takes, by their names.
    pub kinds: Vec<String>,
    /// Backend and adapter.
    pub device: Option<String>,
    /// The speed that it says it has, million rays per second.
    pub announced_mrays_per_s: Option<f32>,
    /// Outcomes that its speed was learned from here.
    pub outcomes: u64,
    /// Addresses it was seen at.
    pub addresses: Vec<String>,
}
