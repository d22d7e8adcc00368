//! What was learned, in the store and out of it again.

use std::collections::BTreeMap;

use p2c2r_protocol::id::{NodeId, WorkKind};
use serde::{Serialize, de::DeserializeOwned};

use super::peer::{Everybody, PeerModel, PeerState, SharedFailureTrees};
use crate::{
    history::{
        Store,
        record::Record,
        ring,
        seal::{MAX_VALUE_BYTES, seal, unseal},
    },
    predict::{
        ema::{self, StoredPrior},
        failure::{FailureRate, FailureTrees},
        level::Level,
    },
};

/// Form of the stored states.
const STATE_VERSION: u8 = 1;
/// Keys of the peers' states begin so.
const PEER_PREFIX: &[u8] = b"learned/1/peer/";
/// Key of what is known of all peers.
const EVERYBODY_KEY: &[u8] = b"learned/1/everybody";
/// Key of the failure model of all peers.
const FAILURE_KEY: &[u8] = b"learned/1/failure";
/// Outcomes that a mean of the first version counts for, at most.
const MAX_PRIOR_OUTCOMES: f64 = 10.0;

/// Everything that the store had.
pub struct Loaded {
    /// All peers together.
    pub everybody: Everybody,
    /// Their failure model.
    pub failure_trees: SharedFailureTrees,
    /// Each peer.
    pub peers: BTreeMap<NodeId, PeerModel>,
    /// Outcomes that came after the states were written.
    pub unlearned: Vec<(NodeId, Record)>,
}

/// Reads everything. What is damaged is absent.
pub fn load(store: &dyn Store, most_peers: usize) -> Loaded {
    let everybody = read(store.get(EVERYBODY_KEY).ok().flatten().as_deref())
        .filter(Everybody::is_whole)
        .unwrap_or_default();
    let failure_trees = read(store.get(FAILURE_KEY).ok().flatten().as_deref()).filter(FailureTrees::is_whole);
    let mut peers = BTreeMap::new();
    for (key, value) in store.scan(PEER_PREFIX).unwrap_or_default() {
        let Some((public_key, [])) = key.strip_prefix(PEER_PREFIX).and_then(<[u8]>::split_first_chunk::<32>)
        else {
            continue;
        };
        if let Some(state) = read::<PeerState>(Some(&value)).filter(PeerState::is_whole) {
            peers.insert(NodeId::from_public_key(*public_key), PeerModel::new(state));
        }
    }
    let mut unlearned = Vec::new();
    for (peer, kind, ring) in ring::load_all(store) {
        let model = peers.entry(peer).or_insert_with(|| PeerModel::new(everybody.newcomer()));
        let known = model.state.sequence;
        let newer = ring.newest().filter(|record| record.sequence >= known);
        unlearned.extend(newer.map(|record| (peer, *record)));
        model.rings.insert(kind, ring);
    }
    // In the order in which they ended, as when they were new; not in the order in which their tasks began.
    unlearned.sort_by(|(a_peer, a), (b_peer, b)| a.sequence.cmp(&b.sequence).then(a_peer.cmp(b_peer)));
    for (peer, kind, prior) in ema::stored_priors(store) {
        let model = peers.entry(peer).or_insert_with(|| PeerModel::new(everybody.newcomer()));
        take_prior(&mut model.state, kind, &prior);
    }
    while peers.len() > most_peers {
        peers.pop_last();
    }
    Loaded { everybody, failure_trees, peers, unlearned }
}

/// What the first version knew counts as a prior, unless this one has learned itself.
fn take_prior(state: &mut PeerState, kind: WorkKind, prior: &StoredPrior) {
    if state.time.kind(kind).is_some() {
        return;
    }
    if state.sequence == 0 && state.time.kinds.is_empty() {
        state.failures = FailureRate::from_counts(prior.failures, prior.successes);
    }
    let weight = (prior.outcomes as f64).min(MAX_PRIOR_OUTCOMES);
    state.time.kind_with(kind, Level::new(prior.log_rate, weight));
}

/// Writes what is known of a peer.
pub fn save_peer(store: &dyn Store, peer: &NodeId, state: &PeerState) {
    write(store, &[PEER_PREFIX, peer.public_key()].concat(), state);
}

/// Writes what is known of all.
pub fn save_everybody(store: &dyn Store, everybody: &Everybody) {
    write(store, EVERYBODY_KEY, everybody);
}

/// Writes the failure model.
pub fn save_failure_trees(store: &dyn Store, trees: &FailureTrees) {
    write(store, FAILURE_KEY, trees);
}

/// Forgets a peer and its outcomes.
pub fn forget(store: &dyn Store, peer: &NodeId) {
    let _ = store.remove(&[PEER_PREFIX, peer.public_key()].concat());
    ring::forget(store, peer);
}

fn write<T: Serialize>(store: &dyn Store, key: &[u8], value: &T) {
    let mut content = Vec::with_capacity(8192);
    if ciborium::into_writer(value, &mut content).is_ok() && content.len() < MAX_VALUE_BYTES - 16 {
        // A store that fails costs what was learned since, never a frame; it says so itself.
        let _ = store.put(key, &seal(STATE_VERSION, &content));
    }
}

fn read<T: DeserializeOwned>(value: Option<&[u8]>) -> Option<T> {
    ciborium::from_reader(unseal(STATE_VERSION, value?)?).ok()
}
