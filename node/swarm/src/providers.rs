//! Who has which package, by word of the swarm's table: in a swarm so large that not everybody hears of everybody. The book,
//! without the network.
//!
//! All of it is hearsay. Whoever is named is asked for chunks, and every chunk is checked.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

use libp2p::{PeerId, kad};
use p2c2r_protocol::id::{NodeId, SceneHash};

use crate::limit::{
    MAX_KEYS_PER_PROVIDER, MAX_PROVIDED_SCENES, MAX_PROVIDER_KEYS, MAX_PROVIDERS, MAX_SOUGHT_SCENES,
    PROVIDER_TTL,
};

/// The table is asked again after this, while a download wants to know.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// What the keys of packages begin with.
const KEY_PREFIX: &[u8] = b"p2c2r/scene/1/";

/// What this node provides, what it has heard, and whose word it keeps for others.
#[derive(Debug, Default)]
pub(crate) struct Providers {
    provided: BTreeSet<SceneHash>,
    sought: HashMap<SceneHash, Sought>,
    /// Since when each peer's word is kept, by key.
    kept: HashMap<PeerId, HashMap<kad::RecordKey, Instant>>,
}

#[derive(Debug)]
struct Sought {
    asked: Instant,
    providers: BTreeSet<NodeId>,
}

/// The package's key in the table.
pub(crate) fn key(scene: &SceneHash) -> kad::RecordKey {
    kad::RecordKey::new(&[KEY_PREFIX, &scene.0].concat())
}

/// The package of a key, if it is one of ours.
pub(crate) fn scene(key: &kad::RecordKey) -> Option<SceneHash> {
    key.as_ref().strip_prefix(KEY_PREFIX)?.try_into().ok().map(SceneHash)
}

impl Providers {
    /// These packages are here: gives back those that the table is not told of any more, and those that it is to be told of.
    pub(crate) fn provide(&mut self, here: &[SceneHash]) -> (Vec<SceneHash>, Vec<SceneHash>) {
        let here: BTreeSet<SceneHash> = here.iter().take(MAX_PROVIDED_SCENES).copied().collect();
        let gone: Vec<SceneHash> = self.provided.difference(&here).copied().collect();
        self.provided.retain(|scene| here.contains(scene));
        let new = here.difference(&self.provided).copied().collect();
        (gone, new)
    }

    /// The table has been told of it.
    pub(crate) fn note_provided(&mut self, scene: SceneHash) {
        self.provided.insert(scene);
    }

    /// Whether a peer's word that it provides something is kept.
    pub(crate) fn keeps(&mut self, peer: PeerId, key: &kad::RecordKey, now: Instant) -> bool {
        let all: usize = self.kept.values().map(HashMap::len).sum();
        let own = self.kept.entry(peer).or_default();
        let is_known = own.contains_key(key);
        let keeps = is_known || (own.len() < MAX_KEYS_PER_PROVIDER && all < MAX_PROVIDER_KEYS);
        if keeps {
            own.insert(key.clone(), now);
        } else if own.is_empty() {
            self.kept.remove(&peer);
        }
        keeps
    }

    /// Forgets what was said too long ago; gives back what that was.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<(PeerId, kad::RecordKey)> {
        let is_old = |since: &Instant| now.saturating_duration_since(*since) >= PROVIDER_TTL;
        let mut expired = Vec::new();
        for (peer, keys) in &mut self.kept {
            expired.extend(keys.extract_if(|_, since| is_old(since)).map(|(key, _)| (*peer, key)));
        }
        self.kept.retain(|_, keys| !keys.is_empty());
        expired
    }

    /// Those who are said to have the package, and whether the table is to be asked now.
    pub(crate) fn of(&mut self, scene: SceneHash, now: Instant) -> (Vec<NodeId>, bool) {
        if let Some(sought) = self.sought.get_mut(&scene) {
            let is_due = now.saturating_duration_since(sought.asked) >= ASK_AGAIN;
            if is_due {
                sought.asked = now;
            }
            let found = sought.providers.iter().copied().collect();
            if is_due {
                // Those who are still said to have it are named again.
                sought.providers.clear();
            }
            return (found, is_due);
        }
        if self.sought.len() >= MAX_SOUGHT_SCENES
            && let Some(oldest) =
                self.sought.iter().min_by_key(|(_, sought)| sought.asked).map(|(scene, _)| *scene)
        {
            self.sought.remove(&oldest);
        }
        self.sought.insert(scene, Sought { asked: now, providers: BTreeSet::new() });
        (Vec::new(), true)
    }

    /// Somebody names a node that has the package.
    pub(crate) fn found(&mut self, scene: &SceneHash, provider: NodeId) {
        if let Some(sought) = self.sought.get_mut(scene)
            && sought.providers.len() < MAX_PROVIDERS
        {
            sought.providers.insert(provider);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(index: u8) -> NodeId {
        NodeId::from_public_key([index; 32])
    }

    fn hash(index: u8) -> SceneHash {
        SceneHash([index; 32])
    }

    #[test]
    fn a_key_says_which_package_it_is_of() {
        assert_eq!(scene(&key(&hash(7))), Some(hash(7)));
        assert_eq!(scene(&kad::RecordKey::new(&[0; 46])), None);
        assert_eq!(scene(&kad::RecordKey::new(&KEY_PREFIX)), None);
    }

    #[test]
    fn the_table_is_told_of_what_is_here_until_it_has_heard_it() {
        let mut providers = Providers::default();
        assert_eq!(providers.provide(&[hash(0), hash(1)]), (vec![], vec![hash(0), hash(1)]));
        providers.note_provided(hash(0));
        assert_eq!(providers.provide(&[hash(0), hash(1)]), (vec![], vec![hash(1)]));
        assert_eq!(providers.provide(&[hash(2)]), (vec![hash(0)], vec![hash(2)]));
        let many: Vec<SceneHash> = (0..100).map(hash).collect();
        assert_eq!(providers.provide(&many).1.len(), MAX_PROVIDED_SCENES);
    }

    #[test]
    fn b22_the_word_of_one_peer_takes_no_more_than_its_share_and_is_forgotten() {
        let (mut providers, now) = (Providers::default(), Instant::now());
        let (liar, other) = (PeerId::random(), PeerId::random());
        let kept = (0..200).filter(|index| providers.keeps(liar, &key(&hash(*index)), now)).count();
        assert_eq!(kept, MAX_KEYS_PER_PROVIDER);
        assert!(providers.keeps(other, &key(&hash(250)), now));
        assert!(providers.keeps(liar, &key(&hash(0)), now), "what is said again is kept");
        for _ in 0..2 * MAX_PROVIDER_KEYS {
            providers.keeps(PeerId::random(), &key(&hash(1)), now);
        }
        assert_eq!(providers.kept.values().map(HashMap::len).sum::<usize>(), MAX_PROVIDER_KEYS);
        assert_eq!(providers.kept.len(), MAX_PROVIDER_KEYS - MAX_KEYS_PER_PROVIDER + 1);
        assert_eq!(providers.expire(now + PROVIDER_TTL).len(), MAX_PROVIDER_KEYS);
        assert_eq!(providers.kept.len(), 0);
    }

    #[test]
    fn the_table_is_asked_at_first_and_from_time_to_time() {
        let (mut providers, start) = (Providers::default(), Instant::now());
        assert_eq!(providers.of(hash(1), start), (vec![], true));
        assert_eq!(providers.of(hash(1), start + ASK_AGAIN / 2), (vec![], false));
        providers.found(&hash(1), node(3));
        assert_eq!(providers.of(hash(1), start + ASK_AGAIN), (vec![node(3)], true));
        assert_eq!(
            providers.of(hash(1), start + ASK_AGAIN),
            (vec![], false),
            "those who still have it are named again"
        );
    }

    #[test]
    fn b22_what_the_table_says_is_bounded() {
        let (mut providers, now) = (Providers::default(), Instant::now());
        providers.found(&hash(1), node(1));
        assert_eq!(providers.sought.len(), 0, "nobody asked");
        for index in 0..100 {
            providers.of(hash(index), now);
            (0..100).for_each(|provider| providers.found(&hash(index), node(provider)));
        }
        assert_eq!(providers.sought.len(), MAX_SOUGHT_SCENES);
        assert!(providers.sought.values().all(|sought| sought.providers.len() == MAX_PROVIDERS));
    }
}
