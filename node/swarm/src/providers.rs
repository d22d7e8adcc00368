//! Who has which package, by word of the swarm's table: in a swarm so large that not everybody hears of everybody. The book,
//! without the network.
//!
//! All of it is hearsay. Whoever is named is asked for chunks, and every chunk is checked.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    time::{Duration, Instant},
};

use libp2p::kad;
use p2c2r_protocol::id::{NodeId, SceneHash};

use crate::limit::{MAX_PROVIDED_SCENES, MAX_PROVIDERS, MAX_SOUGHT_SCENES};

/// The table is asked again after this, while a download wants to know.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// What the keys of packages begin with.
const KEY_PREFIX: &[u8] = b"p2c2r/scene/1/";

/// What this node provides, and what it has heard.
#[derive(Debug, Default)]
pub(crate) struct Providers {
    /// The newest last.
    provided: VecDeque<SceneHash>,
    sought: HashMap<SceneHash, Sought>,
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
    /// Notes that a package is here, and whether the table is to be told; gives back one that is no longer told of.
    pub(crate) fn provide(&mut self, scene: SceneHash) -> (bool, Option<SceneHash>) {
        if self.provided.contains(&scene) {
            return (false, None);
        }
        self.provided.push_back(scene);
        let too_many = self.provided.len() > MAX_PROVIDED_SCENES;
        (true, if too_many { self.provided.pop_front() } else { None })
    }

    /// Those who are said to have the package, and whether the table is to be asked now.
    pub(crate) fn of(&mut self, scene: SceneHash, now: Instant) -> (Vec<NodeId>, bool) {
        if let Some(sought) = self.sought.get_mut(&scene) {
            let is_due = now.saturating_duration_since(sought.asked) >= ASK_AGAIN;
            if is_due {
                sought.asked = now;
            }
            return (sought.providers.iter().copied().collect(), is_due);
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
    fn the_table_is_told_once_of_a_package_and_of_the_newest_only() {
        let mut providers = Providers::default();
        assert_eq!(providers.provide(hash(0)), (true, None));
        assert_eq!(providers.provide(hash(0)), (false, None));
        let dropped: Vec<SceneHash> =
            (1..=MAX_PROVIDED_SCENES as u8).filter_map(|index| providers.provide(hash(index)).1).collect();
        assert_eq!(dropped, [hash(0)]);
    }

    #[test]
    fn the_table_is_asked_at_first_and_from_time_to_time() {
        let (mut providers, start) = (Providers::default(), Instant::now());
        assert_eq!(providers.of(hash(1), start), (vec![], true));
        assert_eq!(providers.of(hash(1), start + ASK_AGAIN / 2), (vec![], false));
        providers.found(&hash(1), node(3));
        assert_eq!(providers.of(hash(1), start + ASK_AGAIN), (vec![node(3)], true));
        assert_eq!(providers.of(hash(1), start + ASK_AGAIN), (vec![node(3)], false));
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
