//! The messages of a work session, `/p2c2r/task/1`: one long-lived stream per (coordinator, contributor).
//!
//! ```text
//! coordinator                      contributor
//!   Hello                    ─►
//!                            ◄─   Welcome(credit)
//!   Prepare(scene, moment)   ─►                          once per moment; the package is fetched over /p2c2r/blob/2 if
//!                            ◄─   Fetching(bytes)*                                   unknown: once for all its moments.
//!                            ◄─   Ready(bytes fetched) | Refused
//!                                                         The two asked for last are kept; without them: SceneUnknown
//!   Offer(task, request)     ─►                          or OfferStage: a stage of a frame (crate::stage)
//!                            ◄─   Accepted | Rejected(reason, retry after)
//!                            ◄─   Progress*
//!                            ◄─   Result + Piece*        pieces of different tasks interleave
//!   Cancel(task)             ─►                          at once; answered by Cancelled(state)
//!                            ◄─   Cancelled(state)
//!   Ping(n)                 ◄─►   Pong(n)                liveness, once a second while work is out
//!   Goodbye                 ◄─►   Goodbye
//! ```
//! Losing the stream cancels every task on it. A message that is not allowed in its place ends the session.

use serde::{Deserialize, Serialize};

use crate::{
    canon::{CanonError, to_canonical},
    frame::{FieldError, Header},
    id::{Epoch, JobId, RequestHash, TaskId, TileRoot, WorkKind},
    limit::{
        MAX_CREDIT, MAX_PIECE_BYTES, MAX_RETRY_AFTER_MS, MAX_SCENE_BYTES, MAX_SESSION_HEADER_BYTES,
        MAX_STATEMENT_BYTES, MAX_TILE_BYTES,
    },
    moment::SceneMoment,
    stage::StageRequest,
    text::check_text,
    tile::{Camera, FrameSize, GeometryError, PixelEncoding, Sampling, TileRect},
};

/// What one task renders. Its canonical CBOR is what [`RequestHash`] names and what a contributor signs for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TileRequest {
    /// The job that the tile belongs to.
    pub job: JobId,
    /// Frame number within the job.
    pub frame: u32,
    /// The kind of work.
    pub kind: WorkKind,
    /// The scene, at the frame's moment.
    pub scene: SceneMoment,
    /// The whole frame's size.
    pub size: FrameSize,
    /// The pixels wanted, in frame coordinates.
    pub rect: TileRect,
    /// How they are sampled.
    pub sampling: Sampling,
    /// From where.
    pub camera: Camera,
    /// How the pixels travel back.
    pub encoding: PixelEncoding,
}

impl TileRequest {
    /// Whether the request can be rendered at all: everything finite, within the limits, the tile in its frame.
    pub fn check(&self) -> Result<(), GeometryError> {
        self.rect.check(self.size)?;
        self.sampling.check()?;
        self.camera.check()?;
        if self.payload_bytes() > u64::from(MAX_TILE_BYTES) {
            return Err(GeometryError::TileRect(self.rect));
        }
        Ok(())
    }

    /// Bytes of the encoded pixels.
    pub fn payload_bytes(&self) -> u64 {
        self.rect.pixels().saturating_mul(u64::from(self.encoding.bytes_per_pixel()))
    }

    /// The request's name.
    pub fn hash(&self) -> Result<RequestHash, CanonError> {
        Ok(RequestHash(*blake3::hash(&to_canonical(self)?).as_bytes()))
    }
}

/// A contributor's load, riding on every reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Load {
    /// Tasks waiting in the admission queue, over all coordinators.
    pub queued: u32,
    /// Tasks being rendered.
    pub running: u32,
}

/// What a contributor spent on a task and counted while at it.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct TaskCounters {
    /// From acceptance to the start of rendering, ms.
    pub queue_ms: f32,
    /// Rendering, ms.
    pub execution_ms: f32,
    /// Rays traced (closest-hit and any-hit).
    pub rays: u64,
    /// Paths started (pixels x samples).
    pub samples: u64,
}

/// Why an offer or a scene was turned down. All of these can happen to an honest coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RejectReason {
    /// The queue or the credit is full.
    Busy,
    /// The owner has switched contributing off, or the node is stopping.
    NotContributing,
    /// The scene has not been prepared for that moment on this session.
    SceneUnknown,
    /// The scene could not be fetched or did not load.
    SceneFailed,
    /// More pixels, samples or memory than this node admits.
    TooLarge,
    /// A request that breaks a limit or contradicts itself.
    Invalid,
    /// A kind of work that this node does not do.
    UnsupportedKind,
    /// The renderer failed on this task.
    Internal,
}

/// What had become of a task when its cancellation arrived: hedging would otherwise hide failures from the learner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CancelledState {
    /// It still waited in the queue.
    Queued,
    /// It was being rendered.
    Running,
    /// It was finished, its result on the way.
    Finished,
    /// The contributor holds no such task.
    Unknown,
}

/// What a contributor signs for a finished tile (domain `p2c2r/result/v1`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResultStatement {
    /// The request that was rendered.
    pub request: RequestHash,
    /// The root over the encoded pixels.
    pub root: TileRoot,
    /// What it took.
    pub counters: TaskCounters,
}

/// From the coordinator to the contributor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CoordinatorMessage {
    /// Opens the session.
    Hello {
        /// This run of the coordinator.
        epoch: Epoch,
        /// Its software version, for the logs; at most [`crate::limit::MAX_TEXT_BYTES`].
        software: String,
    },
    /// Asks the contributor to have a scene ready at a moment.
    Prepare {
        /// The scene.
        scene: SceneMoment,
        /// Its package's size, bytes.
        size_bytes: u64,
    },
    /// Offers a task.
    Offer {
        /// The attempt's name.
        task: TaskId,
        /// What to render.
        request: TileRequest,
        /// Whether the pixels may come compressed, as the line is slow: they do if their result has fewer bytes than the
        /// request asks for.
        #[serde(default)]
        compress: bool,
    },
    /// Offers a stage of a frame. The first stages answer with [`ContributorMessage::HandedOver`], the last with a
    /// result whose payload is the picture's file.
    OfferStage {
        /// The attempt's name.
        task: TaskId,
        /// What to do.
        request: Box<StageRequest>,
    },
    /// Withdraws a task.
    Cancel {
        /// The attempt's name.
        task: TaskId,
    },
    /// Asks for a sign of life.
    Ping {
        /// Comes back in the [`ContributorMessage::Pong`].
        nonce: u64,
    },
    /// Ends the session in peace: everything still out is withdrawn.
    Goodbye,
}

/// From the contributor to the coordinator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ContributorMessage {
    /// Answers [`CoordinatorMessage::Hello`].
    Welcome {
        /// Tasks that the coordinator may have out at once, 1 to [`crate::limit::MAX_CREDIT`].
        credit: u32,
        /// Measured speed of the backend, million rays per second: only a prior, the coordinator measures for itself.
        mrays_per_s: f32,
        /// Current load.
        load: Load,
        /// Its software version, for the logs; at most [`crate::limit::MAX_TEXT_BYTES`].
        software: String,
    },
    /// The scene is resident.
    Ready {
        /// The scene, as it was asked for.
        scene: SceneMoment,
        /// Bytes that were fetched for it: 0 if its package was there already.
        fetched_bytes: u64,
        /// From `Prepare` to now, ms.
        elapsed_ms: f32,
    },
    /// The scene's package is on its way.
    Fetching {
        /// The scene, as it was asked for.
        scene: SceneMoment,
        /// Bytes of the package that are there.
        bytes_here: u64,
    },
    /// The scene could not be made resident.
    Refused {
        /// The scene, as it was asked for.
        scene: SceneMoment,
        /// Why.
        reason: RejectReason,
    },
    /// The task is in the queue.
    Accepted {
        /// The attempt's name.
        task: TaskId,
        /// Current load.
        load: Load,
    },
    /// The task will not be rendered: turned down, or failed after it was accepted.
    Rejected {
        /// The attempt's name.
        task: TaskId,
        /// Why.
        reason: RejectReason,
        /// Before then another offer is pointless, ms; at most [`crate::limit::MAX_RETRY_AFTER_MS`].
        retry_after_ms: u32,
        /// Current load.
        load: Load,
    },
    /// The task is being rendered.
    Progress {
        /// The attempt's name.
        task: TaskId,
        /// Share that is done, 0 to 1.
        fraction: f32,
    },
    /// The task is done; its payload follows in [`ContributorMessage::Piece`]s.
    Result {
        /// The attempt's name.
        task: TaskId,
        /// The canonical CBOR of the [`ResultStatement`], as signed.
        #[serde(with = "serde_bytes")]
        statement: Vec<u8>,
        /// The contributor's signature over it (64 bytes).
        #[serde(with = "serde_bytes")]
        signature: Vec<u8>,
        /// Bytes of the encoded pixels that follow, as they travel.
        payload_bytes: u32,
        /// Current load.
        load: Load,
    },
    /// A stage is done, and what came of it is where it is needed next.
    HandedOver {
        /// The attempt's name.
        task: TaskId,
        /// The canonical CBOR of the [`crate::stage::StageStatement`], as signed.
        #[serde(with = "serde_bytes")]
        statement: Vec<u8>,
        /// The contributor's signature over it (64 bytes).
        #[serde(with = "serde_bytes")]
        signature: Vec<u8>,
        /// Current load.
        load: Load,
    },
    /// The next bytes of a result, in order; they are the frame's payload.
    Piece {
        /// The attempt's name.
        task: TaskId,
        /// Where they belong in the result, bytes from its start.
        offset: u32,
    },
    /// Answers [`CoordinatorMessage::Cancel`].
    Cancelled {
        /// The attempt's name.
        task: TaskId,
        /// What had become of it.
        state: CancelledState,
    },
    /// Answers [`CoordinatorMessage::Ping`].
    Pong {
        /// As it came.
        nonce: u64,
        /// Current load.
        load: Load,
    },
    /// The contributor leaves: everything still out is to be placed elsewhere.
    Goodbye,
}

impl TaskCounters {
    /// Whether the times are times.
    pub fn check(&self) -> Result<(), FieldError> {
        let sane = |ms: f32| ms.is_finite() && (0.0..=1e9).contains(&ms);
        if sane(self.queue_ms) && sane(self.execution_ms) { Ok(()) } else { Err(FieldError("time")) }
    }
}

fn check_scene_bytes(size_bytes: u64) -> Result<(), FieldError> {
    if (1..=MAX_SCENE_BYTES).contains(&size_bytes) { Ok(()) } else { Err(FieldError("scene size")) }
}

impl Header for CoordinatorMessage {
    const MAX_HEADER_BYTES: u32 = MAX_SESSION_HEADER_BYTES;
    const MAX_PAYLOAD_BYTES: u32 = 0;

    fn max_payload_bytes(&self) -> u32 {
        0
    }

    fn check(&self) -> Result<(), FieldError> {
        match self {
            Self::Hello { software, .. } => check_text("software", software),
            Self::Prepare { size_bytes, .. } => check_scene_bytes(*size_bytes),
            // An offer's request is judged when it is admitted: a refusal names the reason and keeps the session.
            Self::Offer { .. }
            | Self::OfferStage { .. }
            | Self::Cancel { .. }
            | Self::Ping { .. }
            | Self::Goodbye => Ok(()),
        }
    }
}

impl Header for ContributorMessage {
    const MAX_HEADER_BYTES: u32 = MAX_SESSION_HEADER_BYTES;
    const MAX_PAYLOAD_BYTES: u32 = MAX_PIECE_BYTES;

    fn max_payload_bytes(&self) -> u32 {
        match self {
            Self::Piece { .. } => MAX_PIECE_BYTES,
            _ => 0,
        }
    }

    fn check(&self) -> Result<(), FieldError> {
        match self {
            Self::Welcome { credit, mrays_per_s, software, .. } => {
                check_text("software", software)?;
                if !(1..=MAX_CREDIT).contains(credit) {
                    return Err(FieldError("credit"));
                }
                in_range(*mrays_per_s, 1e9, "speed")
            }
            Self::Ready { fetched_bytes, elapsed_ms, .. } => {
                if *fetched_bytes > MAX_SCENE_BYTES {
                    return Err(FieldError("scene size"));
                }
                in_range(*elapsed_ms, 1e9, "time")
            }
            Self::Fetching { bytes_here, .. } if *bytes_here > MAX_SCENE_BYTES => {
                Err(FieldError("scene size"))
            }
            Self::Rejected { retry_after_ms, .. } if *retry_after_ms > MAX_RETRY_AFTER_MS => {
                Err(FieldError("retry time"))
            }
            Self::Progress { fraction, .. } => in_range(*fraction, 1.0, "fraction"),
            Self::Result { statement, signature, payload_bytes, .. } => {
                let sane = statement.len() <= MAX_STATEMENT_BYTES
                    && signature.len() == 64
                    && (1..=MAX_TILE_BYTES).contains(payload_bytes);
                if sane { Ok(()) } else { Err(FieldError("result header")) }
            }
            Self::HandedOver { statement, signature, .. }
                if statement.len() > MAX_STATEMENT_BYTES || signature.len() != 64 =>
            {
                Err(FieldError("stage's statement"))
            }
            Self::Piece { offset, .. } if *offset >= MAX_TILE_BYTES => Err(FieldError("piece offset")),
            _ => Ok(()),
        }
    }
}

fn in_range(value: f32, limit: f32, name: &'static str) -> Result<(), FieldError> {
    if (0.0..=limit).contains(&value) { Ok(()) } else { Err(FieldError(name)) }
}

#[cfg(test)]
mod tests;
