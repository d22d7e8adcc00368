//! The signed sign of life that every node gossips: what it is, how busy it is.
//!
//! On the wire: canonical CBOR of `{ node, payload, signature }`, where `payload` is the canonical CBOR of a
//! [`Heartbeat`] and the signature covers exactly these bytes (domain `p2c2r/heartbeat/v1`).

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    canon::{CanonError, from_canonical, to_canonical},
    frame::FieldError,
    id::{NodeId, SceneHash, WorkKind},
    limit::{MAX_CLOCK_SKEW_MS, MAX_HEARTBEAT_BYTES, MAX_HEARTBEAT_SCENES},
    sign::{Domain, SecretKey, SignError, verify},
    task::Load,
    text::check_text,
};

/// Most senders that a [`ReplayGuard`] remembers; the one unheard for longest is forgotten first.
const MAX_GUARDED_SENDERS: usize = 16_384;
/// For how long a sender is remembered. A heartbeat is admitted while its clock is within [`MAX_CLOCK_SKEW_MS`] of
/// ours, on either side: twice that after it was admitted, its clock is too old.
const MEMORY_MS: u64 = 2 * MAX_CLOCK_SKEW_MS;
/// Most kinds of work that a heartbeat names.
const MAX_KINDS: usize = 16;
/// Swarm size up to which heartbeats come at the shortest interval.
const SMALL_SWARM: usize = 16;
/// Shortest interval.
const MIN_INTERVAL: Duration = Duration::from_secs(2);
/// Interval in a swarm of [`LARGE_SWARM`].
const LARGE_INTERVAL: Duration = Duration::from_secs(30);
/// Swarm size from which the interval grows in proportion: what a node hears stays the same.
const LARGE_SWARM: usize = 100;
/// Longest interval, at four times that: made-up nodes by the thousand must not silence the real ones.
const MAX_INTERVAL: Duration = Duration::from_mins(2);

/// Whether a node's pictures are the same bits as everybody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExactnessClass {
    /// It passed the self-test: its pixels can be compared bit for bit.
    Exact,
    /// It did not: its pixels agree only within a tolerance.
    Tolerant,
}

/// What a node says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// Counted up from 1 since the node's start.
    pub sequence: u64,
    /// When it was made, ms since 1970 by the sender's clock.
    pub unix_ms: u64,
    /// When the sender started, likewise: a restarted node begins a new sequence.
    pub started_unix_ms: u64,
    /// Name and version of the program.
    pub software: String,
    /// `cpu` or `gpu`.
    pub backend: String,
    /// What renders, as the driver calls it.
    pub adapter: String,
    /// Whether its pixels can be compared bit for bit.
    pub exactness: ExactnessClass,
    /// Speed measured by the node itself, million rays per second: only a prior.
    pub mrays_per_s: f32,
    /// Threads that render.
    pub threads: u32,
    /// Kinds of work that it takes.
    pub kinds: Vec<WorkKind>,
    /// Whether it takes work now.
    pub contributing: bool,
    /// How busy it is.
    pub load: Load,
    /// Price of a million rays, in units that both sides agree on; 0: free.
    pub price: u64,
    /// Scenes that it has ready.
    pub scenes: Vec<SceneHash>,
}

/// A heartbeat with its signature.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    node: NodeId,
    #[serde(with = "serde_bytes")]
    payload: Vec<u8>,
    #[serde(with = "serde_bytes")]
    signature: Vec<u8>,
}

/// Why a heartbeat is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeartbeatError {
    /// Not a heartbeat.
    #[error("the heartbeat cannot be read: {0}")]
    Encoding(#[from] CanonError),
    /// Not signed by the node that it names.
    #[error("the heartbeat is not signed by its node: {0}")]
    Signature(#[from] SignError),
    /// A field is out of range.
    #[error("the heartbeat's {}", .0)]
    Field(#[from] FieldError),
    /// Seen before, or older than one seen before.
    #[error("the heartbeat is a replay")]
    Replay,
    /// The sender's clock is too far from ours.
    #[error("the heartbeat's clock is {0} ms away")]
    Clock(u64),
}

/// Signs a heartbeat.
pub fn seal(heartbeat: &Heartbeat, key: &SecretKey) -> Result<Vec<u8>, HeartbeatError> {
    heartbeat.check()?;
    let payload = to_canonical(heartbeat)?;
    let signature = key.sign(Domain::Heartbeat, &payload).0.to_vec();
    Ok(to_canonical(&Sealed { node: key.node_id(), payload, signature })?)
}

/// Reads a heartbeat: size, form, signature, fields. Whether it is new is for the [`ReplayGuard`] to say.
pub fn open(bytes: &[u8]) -> Result<(NodeId, Heartbeat), HeartbeatError> {
    let Sealed { node, payload, signature } = from_canonical(bytes, MAX_HEARTBEAT_BYTES)?;
    verify(&node, Domain::Heartbeat, &payload, &signature)?;
    let heartbeat: Heartbeat = from_canonical(&payload, MAX_HEARTBEAT_BYTES)?;
    heartbeat.check()?;
    Ok((node, heartbeat))
}

/// The interval that suits a swarm of this many nodes: traffic per node stays about constant as the swarm grows.
pub fn interval(swarm_size: usize) -> Duration {
    let share = swarm_size.saturating_sub(SMALL_SWARM) as f64 / (LARGE_SWARM - SMALL_SWARM) as f64;
    let interval = MIN_INTERVAL + LARGE_INTERVAL.saturating_sub(MIN_INTERVAL).mul_f64(share.clamp(0.0, 1.0));
    let times_large = (swarm_size as f64 / LARGE_SWARM as f64).max(1.0);
    interval.mul_f64(times_large).min(MAX_INTERVAL)
}

impl Heartbeat {
    /// Whether every field is in range.
    fn check(&self) -> Result<(), FieldError> {
        for (name, text) in
            [("software", &self.software), ("backend", &self.backend), ("adapter", &self.adapter)]
        {
            check_text(name, text)?;
        }
        if !(self.mrays_per_s.is_finite() && (0.0..=1e9).contains(&self.mrays_per_s)) {
            return Err(FieldError("speed"));
        }
        if self.kinds.len() > MAX_KINDS {
            return Err(FieldError("number of work kinds"));
        }
        if self.scenes.len() > MAX_HEARTBEAT_SCENES {
            return Err(FieldError("number of scenes"));
        }
        if self.sequence == 0 || self.started_unix_ms > self.unix_ms.saturating_add(MAX_CLOCK_SKEW_MS) {
            return Err(FieldError("sequence or start"));
        }
        Ok(())
    }
}

/// Remembers the newest heartbeat of every sender, so that an old one cannot be played again.
///
/// A sender that nothing was admitted from for twice [`MAX_CLOCK_SKEW_MS`] is forgotten: whatever was said before then
/// is refused for its clock anyway, and a node whose clock was set back between two runs is heard again.
#[derive(Debug, Default)]
pub struct ReplayGuard {
    newest: BTreeMap<NodeId, Newest>,
}

#[derive(Debug, Clone, Copy)]
struct Newest {
    started_unix_ms: u64,
    sequence: u64,
    heard_unix_ms: u64,
}

impl ReplayGuard {
    /// Lets a heartbeat pass once. `now_unix_ms` is the receiver's clock.
    pub fn admit(
        &mut self,
        node: NodeId,
        heartbeat: &Heartbeat,
        now_unix_ms: u64,
    ) -> Result<(), HeartbeatError> {
        let skew_ms = heartbeat.unix_ms.abs_diff(now_unix_ms);
        if skew_ms > MAX_CLOCK_SKEW_MS {
            return Err(HeartbeatError::Clock(skew_ms));
        }
        let remembered = |seen: &&Newest| now_unix_ms.saturating_sub(seen.heard_unix_ms) <= MEMORY_MS;
        let seen =
            self.newest.get(&node).filter(remembered).map(|seen| (seen.started_unix_ms, seen.sequence));
        // A later start begins a new sequence; an earlier one is an old run's.
        if seen.is_some_and(|seen| (heartbeat.started_unix_ms, heartbeat.sequence) <= seen) {
            return Err(HeartbeatError::Replay);
        }
        if self.newest.len() >= MAX_GUARDED_SENDERS && !self.newest.contains_key(&node) {
            self.forget_stalest();
        }
        let newest = Newest {
            started_unix_ms: heartbeat.started_unix_ms,
            sequence: heartbeat.sequence,
            heard_unix_ms: now_unix_ms,
        };
        self.newest.insert(node, newest);
        Ok(())
    }

    fn forget_stalest(&mut self) {
        let stalest = self.newest.iter().min_by_key(|(_, seen)| seen.heard_unix_ms).map(|(node, _)| *node);
        if let Some(stalest) = stalest {
            self.newest.remove(&stalest);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{limit::MAX_TEXT_BYTES, text::presentable};

    const NOW_MS: u64 = 1_800_000_000_000;

    fn key() -> SecretKey {
        SecretKey::from_seed([7; 32])
    }

    fn heartbeat(sequence: u64) -> Heartbeat {
        Heartbeat {
            sequence,
            unix_ms: NOW_MS,
            started_unix_ms: NOW_MS - 5000,
            software: "p2c2r-node/0.1.0".into(),
            backend: "cpu".into(),
            adapter: "2 threads".into(),
            exactness: ExactnessClass::Exact,
            mrays_per_s: 12.5,
            threads: 2,
            kinds: vec![WorkKind::RayTracing],
            contributing: true,
            load: Load { queued: 1, running: 2 },
            price: 0,
            scenes: vec![SceneHash([9; 32])],
        }
    }

    #[test]
    fn sealed_form_is_stable() {
        let sealed = seal(&heartbeat(1), &key()).unwrap();
        let digest = blake3::hash(&sealed).to_string();
        assert_eq!(
            (sealed.len(), &digest[..16]),
            (380, "be8787e2402594aa"),
            "a change of these bytes is a change of the protocol"
        );
        let (node, opened) = open(&sealed).unwrap();
        assert_eq!((node, opened), (key().node_id(), heartbeat(1)));
    }

    #[test]
    fn b19_altered_or_reattributed_heartbeat_is_refused() {
        let sealed = seal(&heartbeat(1), &key()).unwrap();
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(open(&altered).is_err(), "byte {at}");
        }
        let mut envelope: Sealed = from_canonical(&sealed, MAX_HEARTBEAT_BYTES).unwrap();
        envelope.node = SecretKey::from_seed([8; 32]).node_id();
        let forged = to_canonical(&envelope).unwrap();
        assert!(matches!(open(&forged), Err(HeartbeatError::Signature(_))));
    }

    #[test]
    fn b32_texts_with_control_characters_or_without_end_are_refused() {
        for text in ["\u{1b}[2J", &"x".repeat(MAX_TEXT_BYTES + 1)] {
            let bad = Heartbeat { adapter: text.to_owned(), ..heartbeat(1) };
            assert!(matches!(seal(&bad, &key()), Err(HeartbeatError::Field(_))));
            let good = Heartbeat { adapter: presentable(text), ..heartbeat(1) };
            assert!(seal(&good, &key()).is_ok());
        }
    }

    #[test]
    fn b15_replay_is_refused_and_a_restart_is_not() {
        let (mut guard, node) = (ReplayGuard::default(), key().node_id());
        guard.admit(node, &heartbeat(5), NOW_MS).unwrap();
        assert_eq!(guard.admit(node, &heartbeat(5), NOW_MS), Err(HeartbeatError::Replay));
        assert_eq!(guard.admit(node, &heartbeat(4), NOW_MS), Err(HeartbeatError::Replay));
        let restarted = Heartbeat { started_unix_ms: NOW_MS - 100, ..heartbeat(1) };
        guard.admit(node, &restarted, NOW_MS).unwrap();
        assert_eq!(
            guard.admit(node, &heartbeat(6), NOW_MS),
            Err(HeartbeatError::Replay),
            "of the run before"
        );
    }

    #[test]
    fn f16_node_whose_clock_was_set_back_is_heard_again() {
        let (mut guard, node) = (ReplayGuard::default(), key().node_id());
        guard.admit(node, &heartbeat(5), NOW_MS).unwrap();
        let later_ms = NOW_MS + MEMORY_MS;
        let restarted = |sequence, unix_ms| Heartbeat {
            started_unix_ms: NOW_MS - 9000, // before the run that was heard, by a clock that is right now
            unix_ms,
            ..heartbeat(sequence)
        };
        assert_eq!(guard.admit(node, &restarted(40, later_ms), later_ms), Err(HeartbeatError::Replay));
        guard.admit(node, &restarted(41, later_ms + 1), later_ms + 1).unwrap();
        assert_eq!(
            guard.admit(node, &heartbeat(6), later_ms + 1),
            Err(HeartbeatError::Clock(MEMORY_MS + 1)),
            "what was said before the sender was forgotten stays refused"
        );
    }

    #[test]
    fn b5_b17_fields_out_of_range_are_neither_sealed_nor_opened() {
        let scenes = |count| vec![SceneHash([9; 32]); count];
        let kinds = |count| vec![WorkKind::RayTracing; count];
        let at_limits =
            Heartbeat { scenes: scenes(MAX_HEARTBEAT_SCENES), kinds: kinds(MAX_KINDS), ..heartbeat(1) };
        assert!(open(&seal(&at_limits, &key()).unwrap()).is_ok());
        let cases = [
            (heartbeat(0), "sequence or start"),
            (Heartbeat { started_unix_ms: u64::MAX, ..heartbeat(1) }, "sequence or start"),
            (Heartbeat { scenes: scenes(MAX_HEARTBEAT_SCENES + 1), ..heartbeat(1) }, "number of scenes"),
            (Heartbeat { kinds: kinds(MAX_KINDS + 1), ..heartbeat(1) }, "number of work kinds"),
            (Heartbeat { mrays_per_s: -1.0, ..heartbeat(1) }, "speed"),
            (Heartbeat { mrays_per_s: 1e10, ..heartbeat(1) }, "speed"),
        ];
        for (bad, field) in cases {
            let refused = HeartbeatError::Field(FieldError(field));
            assert_eq!(seal(&bad, &key()), Err(refused.clone()));
            // A sender that does not check what it signs.
            let payload = to_canonical(&bad).unwrap();
            let signature = key().sign(Domain::Heartbeat, &payload).0.to_vec();
            let sealed = to_canonical(&Sealed { node: key().node_id(), payload, signature }).unwrap();
            assert_eq!(open(&sealed), Err(refused));
        }
    }

    #[test]
    fn b16_b17_extreme_numbers_hurt_only_their_sender() {
        let (mut guard, node) = (ReplayGuard::default(), key().node_id());
        guard.admit(node, &heartbeat(u64::MAX), NOW_MS).unwrap();
        guard.admit(SecretKey::from_seed([8; 32]).node_id(), &heartbeat(1), NOW_MS).unwrap();
        for unix_ms in [0, u64::MAX, NOW_MS + MAX_CLOCK_SKEW_MS + 1, NOW_MS - MAX_CLOCK_SKEW_MS - 1] {
            let skewed = Heartbeat { unix_ms, ..heartbeat(9) };
            assert!(matches!(guard.admit(node, &skewed, NOW_MS), Err(HeartbeatError::Clock(_))));
        }
    }

    #[test]
    fn b21_memory_of_senders_is_bounded() {
        let mut guard = ReplayGuard::default();
        for index in 0..MAX_GUARDED_SENDERS as u32 + 10 {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&index.to_le_bytes());
            guard.admit(NodeId::from_public_key(id), &heartbeat(1), NOW_MS).unwrap();
        }
        assert_eq!(guard.newest.len(), MAX_GUARDED_SENDERS);
    }

    #[test]
    fn interval_grows_with_the_swarm() {
        assert_eq!((interval(1), interval(16)), (MIN_INTERVAL, MIN_INTERVAL));
        assert!(interval(100) > interval(50));
        assert_eq!((interval(100), interval(200)), (LARGE_INTERVAL, 2 * LARGE_INTERVAL));
        assert_eq!(interval(100_000), MAX_INTERVAL);
    }

    proptest! {
        #[test]
        fn b15_admitted_heartbeat_is_never_admitted_again(
            ahead_ms in 0..=2 * MAX_CLOCK_SKEW_MS, later_ms in 0..4 * MAX_CLOCK_SKEW_MS,
        ) {
            let (mut guard, node) = (ReplayGuard::default(), key().node_id());
            let heard_ms = NOW_MS + MAX_CLOCK_SKEW_MS - ahead_ms;
            guard.admit(node, &heartbeat(1), heard_ms).unwrap();
            prop_assert!(guard.admit(node, &heartbeat(1), heard_ms + later_ms).is_err());
        }

        #[test]
        fn any_bytes_give_a_heartbeat_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = open(&bytes);
        }
    }
}
