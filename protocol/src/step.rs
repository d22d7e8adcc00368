//! Steps of a game's frame at different peers, `/p2c2r/step/1`: each subsystem's share of one frame, asked for sixty
//! times a second, due within milliseconds.
//!
//! ```text
//! owner ── Open(level) ──► peer                          both make the same level of it
//! owner ── Step(id, kind, tick, base) + delta ──► peer   what has changed since the snapshot that `base` brought
//! owner ◄── Done(id, statement, signature) + output ──   or Refused: too late, too busy, base unknown, …
//! ```
//! A peer remembers the last [`STEP_SNAPSHOTS`] snapshots of each kind of work; a step names as its base one that the
//! peer has answered already. Whoever falls behind says so at once instead of answering late.

use serde::{Deserialize, Serialize};

use crate::{
    canon::{CanonError, decode_bounded, to_canonical},
    frame::{FieldError, Header},
    id::{NodeId, WorkKind},
    limit::{
        MAX_LEVEL_AGENTS, MAX_LEVEL_BODIES, MAX_LEVEL_SOUNDS, MAX_STATEMENT_BYTES, MAX_STEP_BUDGET_US,
        MAX_STEP_BYTES, MAX_STEP_HEADER_BYTES, MAX_STEP_TICKS,
    },
    sign::{Domain, SecretKey, SignError, Signature, verify},
    task::RejectReason,
};

/// Snapshots of each kind of work that a peer remembers, and steps of one kind that may be under way at one peer at half
/// that number: so the newest snapshot that was answered is still there whatever is on its way.
pub const STEP_SNAPSHOTS: usize = 16;

/// What a level is made from: the same everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LevelSpec {
    /// Where buildings, bodies and agents stand.
    pub seed: u32,
    /// Bodies that physics moves: at most [`MAX_LEVEL_BODIES`].
    pub bodies: u16,
    /// Agents that walk: at most [`MAX_LEVEL_AGENTS`].
    pub agents: u16,
    /// Sources of sound: at most [`MAX_LEVEL_SOUNDS`], and no more than agents.
    pub sounds: u16,
}

impl LevelSpec {
    /// Whether it is within the limits.
    pub fn check(&self) -> Result<(), FieldError> {
        let within = |count: u16, most: u16| (1..=most).contains(&count);
        if !within(self.bodies, MAX_LEVEL_BODIES) {
            return Err(FieldError("number of bodies"));
        }
        if !within(self.agents, MAX_LEVEL_AGENTS) {
            return Err(FieldError("number of agents"));
        }
        if !within(self.sounds, MAX_LEVEL_SOUNDS) || self.sounds > self.agents {
            return Err(FieldError("number of sounds"));
        }
        Ok(())
    }
}

/// The name of a snapshot: BLAKE3 over its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SnapshotHash(#[serde(with = "serde_bytes")] pub [u8; 32]);

/// One step of one subsystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRequest {
    /// Its name on this stream: rises with every step.
    pub id: u64,
    /// Which subsystem.
    pub kind: WorkKind,
    /// The moment that the snapshot shows, frames since the game began.
    pub tick: u32,
    /// So many frames are to be simulated from there: 1 to [`MAX_STEP_TICKS`]; 1 for what simulates nothing.
    pub ticks: u16,
    /// The step that brought the snapshot which the payload is the difference to; none: it is whole.
    pub base: Option<u64>,
    /// The snapshot that must come out.
    pub snapshot: SnapshotHash,
    /// After so long nobody needs the answer any more, microseconds: at most [`MAX_STEP_BUDGET_US`].
    pub budget_us: u32,
}

/// From the owner of the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StepMessage {
    /// Comes first, once.
    Open(LevelSpec),
    /// Work; the payload is the snapshot.
    Step(StepRequest),
}

/// What a peer signs for a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepStatement {
    /// What kind of work was done.
    pub kind: WorkKind,
    /// From which moment, frames.
    pub tick: u32,
    /// How many frames.
    pub ticks: u16,
    /// From which snapshot.
    pub snapshot: SnapshotHash,
    /// BLAKE3 of the answer's payload.
    pub output: SnapshotHash,
    /// Waiting at the peer, microseconds.
    pub queue_us: u32,
    /// Work, microseconds.
    pub execution_us: u32,
}

/// From the peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StepReply {
    /// The level is there.
    Opened,
    /// A step is done; the payload is what came of it.
    Done {
        /// Which.
        id: u64,
        /// Canonical CBOR of the [`StepStatement`].
        #[serde(with = "serde_bytes")]
        statement: Vec<u8>,
        /// The peer's signature over it.
        #[serde(with = "serde_bytes")]
        signature: Vec<u8>,
    },
    /// A step is not done.
    Refused {
        /// Which.
        id: u64,
        /// Why: `scene_unknown` if the base is.
        reason: RejectReason,
    },
}

impl StepStatement {
    /// As it is signed.
    pub fn seal(&self, key: &SecretKey) -> Result<(Vec<u8>, Signature), CanonError> {
        let bytes = to_canonical(self)?;
        let signature = key.sign(Domain::Step, &bytes);
        Ok((bytes, signature))
    }

    /// Reads one that `peer` signed.
    pub fn open(peer: &NodeId, bytes: &[u8], signature: &[u8]) -> Result<Self, StepStatementError> {
        verify(peer, Domain::Step, bytes, signature)?;
        Ok(decode_bounded(bytes, MAX_STATEMENT_BYTES)?)
    }

    /// Whether it is about this step and that output.
    pub fn is_about(&self, request: &StepRequest, output: &[u8]) -> bool {
        self.kind == request.kind
            && self.tick == request.tick
            && self.ticks == request.ticks
            && self.snapshot == request.snapshot
            && self.output == output_hash(output)
    }
}

/// Why a statement is none.
#[derive(Debug, thiserror::Error)]
pub enum StepStatementError {
    /// Its signature.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// Its bytes.
    #[error("the statement cannot be read: {0}")]
    Canon(#[from] CanonError),
}

/// The name of an output.
pub fn output_hash(output: &[u8]) -> SnapshotHash {
    SnapshotHash(*blake3::hash(output).as_bytes())
}

impl Header for StepMessage {
    const MAX_HEADER_BYTES: u32 = MAX_STEP_HEADER_BYTES;
    const MAX_PAYLOAD_BYTES: u32 = MAX_STEP_BYTES;

    fn max_payload_bytes(&self) -> u32 {
        match self {
            Self::Open(_) => 0,
            Self::Step(_) => MAX_STEP_BYTES,
        }
    }

    fn check(&self) -> Result<(), FieldError> {
        match self {
            Self::Open(level) => level.check(),
            Self::Step(step) if step.ticks == 0 || step.ticks > MAX_STEP_TICKS => {
                Err(FieldError("number of ticks"))
            }
            Self::Step(step) if step.budget_us == 0 || step.budget_us > MAX_STEP_BUDGET_US => {
                Err(FieldError("budget"))
            }
            Self::Step(step) if step.base.is_some_and(|base| base >= step.id) => Err(FieldError("base")),
            Self::Step(_) => Ok(()),
        }
    }
}

impl Header for StepReply {
    const MAX_HEADER_BYTES: u32 = MAX_STEP_HEADER_BYTES;
    const MAX_PAYLOAD_BYTES: u32 = MAX_STEP_BYTES;

    fn max_payload_bytes(&self) -> u32 {
        match self {
            Self::Done { .. } => MAX_STEP_BYTES,
            Self::Opened | Self::Refused { .. } => 0,
        }
    }

    fn check(&self) -> Result<(), FieldError> {
        match self {
            Self::Done { statement, signature, .. } => {
                if statement.is_empty() || statement.len() > MAX_STATEMENT_BYTES {
                    return Err(FieldError("statement size"));
                }
                if signature.len() == 64 { Ok(()) } else { Err(FieldError("signature size")) }
            }
            Self::Opened | Self::Refused { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> StepRequest {
        StepRequest {
            id: 7,
            kind: WorkKind::Physics,
            tick: 100,
            ticks: 3,
            base: Some(6),
            snapshot: output_hash(b"snapshot"),
            budget_us: 16_000,
        }
    }

    #[test]
    fn b3_steps_and_levels_outside_the_limits_are_refused() {
        assert!(StepMessage::Step(request()).check().is_ok());
        for bad in [
            StepRequest { ticks: 0, ..request() },
            StepRequest { ticks: MAX_STEP_TICKS + 1, ..request() },
            StepRequest { budget_us: 0, ..request() },
            StepRequest { budget_us: MAX_STEP_BUDGET_US + 1, ..request() },
            StepRequest { base: Some(7), ..request() },
        ] {
            assert!(StepMessage::Step(bad).check().is_err(), "{bad:?}");
        }
        let level = LevelSpec { seed: 1, bodies: 10, agents: 20, sounds: 4 };
        assert!(StepMessage::Open(level).check().is_ok());
        for bad in [
            LevelSpec { bodies: 0, ..level },
            LevelSpec { bodies: MAX_LEVEL_BODIES + 1, ..level },
            LevelSpec { agents: MAX_LEVEL_AGENTS + 1, ..level },
            LevelSpec { sounds: 21, ..level },
        ] {
            assert!(StepMessage::Open(bad).check().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_statement_is_about_one_step_and_its_output_and_only_its_signer_makes_it() {
        let key = SecretKey::from_seed([3; 32]);
        let statement = StepStatement {
            kind: WorkKind::Physics,
            tick: 100,
            ticks: 3,
            snapshot: request().snapshot,
            output: output_hash(b"output"),
            queue_us: 10,
            execution_us: 900,
        };
        let (bytes, signature) = statement.seal(&key).unwrap();
        assert!(bytes.len() <= MAX_STATEMENT_BYTES);
        let opened = StepStatement::open(&key.node_id(), &bytes, &signature.0).unwrap();
        assert_eq!(opened, statement);
        let other = SecretKey::from_seed([4; 32]).node_id();
        assert!(StepStatement::open(&other, &bytes, &signature.0).is_err());
        assert!(opened.is_about(&request(), b"output"));
        assert!(!opened.is_about(&request(), b"another"));
        assert!(!opened.is_about(&StepRequest { tick: 101, ..request() }, b"output"));
        assert!(!opened.is_about(&StepRequest { snapshot: output_hash(b"x"), ..request() }, b"output"));
    }
}
