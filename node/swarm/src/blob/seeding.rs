//! What a node remembers of those it serves packages to: which chunks it gave to anybody, and who else has some.
//!
//! The owner of a package gives each chunk once before it gives any twice: the others then have it from each other.
//! (As `BitTorrent`'s super seeding, BEP 16, but it answers instead of suggesting.)

use std::collections::BTreeMap;

use p2c2r_protocol::{
    chunk_set::ChunkSet,
    id::{NodeId, SceneHash},
    limit::MAX_BLOB_OTHERS,
};

use crate::limit::{MAX_SEEDED_PEERS, MAX_SEEDED_SCENES};

/// All packages that were asked for lately.
#[derive(Debug, Default)]
pub(crate) struct Seeding {
    scenes: BTreeMap<SceneHash, Seeded>,
    /// Counts what is asked: whatever was used longest ago is forgotten first.
    uses: u64,
}

#[derive(Debug)]
struct Seeded {
    /// Chunks that somebody was given.
    given: ChunkSet,
    /// Who watches it, over how many streams, and since when, in uses.
    peers: BTreeMap<NodeId, (u32, u64)>,
    last_use: u64,
}

impl Seeding {
    /// Notes that a peer begins to watch the package.
    pub(crate) fn note_peer(&mut self, scene: SceneHash, chunk_count: u32, peer: NodeId) {
        let now = self.uses + 1;
        let seeded = self.scene(scene, chunk_count);
        if seeded.peers.len() >= MAX_SEEDED_PEERS && !seeded.peers.contains_key(&peer) {
            let stalest = seeded.peers.iter().min_by_key(|(_, (_, seen))| *seen).map(|(peer, _)| *peer);
            if let Some(stalest) = stalest {
                seeded.peers.remove(&stalest);
            }
        }
        let (streams, seen) = seeded.peers.entry(peer).or_default();
        (*streams, *seen) = (*streams + 1, now);
    }

    /// A peer watches the package no more over one of its streams.
    pub(crate) fn forget_peer(&mut self, scene: &SceneHash, peer: NodeId) {
        let Some(seeded) = self.scenes.get_mut(scene) else { return };
        if let Some((streams, _)) = seeded.peers.get_mut(&peer) {
            *streams = streams.saturating_sub(1);
            if *streams == 0 {
                seeded.peers.remove(&peer);
            }
        }
    }

    /// Others than `asker` that fetch the package. Of many, each asker hears of other ones, and always of the same: nobody can
    /// crowd the rest out for all.
    pub(crate) fn others(&self, scene: &SceneHash, asker: Option<NodeId>) -> Vec<NodeId> {
        let Some(seeded) = self.scenes.get(scene) else { return Vec::new() };
        let place = |peer: &NodeId| {
            let mut hasher = blake3::Hasher::new();
            let asker = asker.as_ref().map_or([0; 32], |asker| *asker.public_key());
            hasher.update(&asker).update(peer.public_key());
            *hasher.finalize().as_bytes()
        };
        let mut others: Vec<([u8; 32], NodeId)> = seeded
            .peers
            .keys()
            .filter(|peer| Some(**peer) != asker)
            .map(|peer| (place(peer), *peer))
            .collect();
        others.sort_unstable();
        others.into_iter().take(MAX_BLOB_OTHERS).map(|(_, peer)| peer).collect()
    }

    /// A chunk that is here, is wanted, and was given to nobody: it is given now. `draw` chooses among them.
    pub(crate) fn give(
        &mut self,
        scene: SceneHash,
        here: &ChunkSet,
        wanted: &ChunkSet,
        draw: impl FnOnce(u32) -> u32,
    ) -> Option<u32> {
        let chunk_count = here.chunk_count();
        let seeded = self.scene(scene, chunk_count);
        let not_here = ChunkSet::all(chunk_count).without(&[here]);
        let candidates = wanted.without(&[&seeded.given, &not_here]);
        if candidates.is_empty() {
            return None;
        }
        let index = candidates.iter().nth(draw(candidates.len()) as usize)?;
        seeded.given.insert(index);
        Some(index)
    }

    /// Notes that a chunk is sent that was asked for by its number; whether it was given to nobody before.
    pub(crate) fn note_given(&mut self, scene: SceneHash, chunk_count: u32, index: u32) -> bool {
        self.scene(scene, chunk_count).given.insert(index)
    }

    /// A chunk did not arrive after all.
    pub(crate) fn take_back(&mut self, scene: &SceneHash, index: u32) {
        if let Some(seeded) = self.scenes.get_mut(scene) {
            seeded.given.remove(index);
        }
    }

    fn scene(&mut self, scene: SceneHash, chunk_count: u32) -> &mut Seeded {
        self.uses += 1;
        let now = self.uses;
        if self.scenes.len() >= MAX_SEEDED_SCENES && !self.scenes.contains_key(&scene) {
            let stalest =
                self.scenes.iter().min_by_key(|(_, seeded)| seeded.last_use).map(|(scene, _)| *scene);
            if let Some(stalest) = stalest {
                self.scenes.remove(&stalest);
            }
        }
        let seeded = self.scenes.entry(scene).or_insert_with(|| Seeded {
            given: ChunkSet::none(chunk_count),
            peers: BTreeMap::new(),
            last_use: now,
        });
        seeded.last_use = now;
        seeded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCENE: SceneHash = SceneHash([1; 32]);

    fn node(index: u32) -> NodeId {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&index.to_le_bytes());
        NodeId::from_public_key(key)
    }

    #[test]
    fn every_chunk_is_given_once_before_any_is_given_twice() {
        let (mut seeding, all) = (Seeding::default(), ChunkSet::all(20));
        let mut given: Vec<u32> =
            (0..20).map(|draw| seeding.give(SCENE, &all, &all, |count| draw * 7 % count).unwrap()).collect();
        given.sort_unstable();
        assert_eq!(given, (0..20).collect::<Vec<_>>());
        assert_eq!(seeding.give(SCENE, &all, &all, |_| 0), None);
        seeding.take_back(&SCENE, 7);
        assert_eq!(seeding.give(SCENE, &all, &all, |_| 0), Some(7), "it never arrived");
    }

    #[test]
    fn only_what_is_here_and_wanted_and_was_not_asked_for_by_number_is_given() {
        let mut seeding = Seeding::default();
        let set = |indices: &[u32]| {
            let mut set = ChunkSet::none(9);
            for index in indices {
                assert!(set.insert(*index));
            }
            set
        };
        seeding.note_given(SCENE, 9, 3);
        assert_eq!(seeding.give(SCENE, &set(&[1, 3]), &set(&[3, 5]), |_| 0), None);
        assert_eq!(seeding.give(SCENE, &set(&[1, 3]), &set(&[1, 3]), |_| 0), Some(1));
    }

    #[test]
    fn b21_what_is_remembered_of_strangers_is_bounded() {
        let mut seeding = Seeding::default();
        for index in 0..MAX_SEEDED_PEERS as u32 + 9 {
            seeding.note_peer(SCENE, 9, node(index));
        }
        assert_eq!(seeding.scenes[&SCENE].peers.len(), MAX_SEEDED_PEERS);
        let newest = node(MAX_SEEDED_PEERS as u32 + 8);
        let others = seeding.others(&SCENE, Some(newest));
        assert_eq!(others.len(), MAX_BLOB_OTHERS);
        assert!(!others.contains(&newest));
        assert_ne!(others, seeding.others(&SCENE, Some(node(9999))), "others hear of others");
        for index in 0..MAX_SEEDED_PEERS as u32 + 9 {
            seeding.forget_peer(&SCENE, node(index));
        }
        assert_eq!(seeding.others(&SCENE, None), []);
        for index in 0..=MAX_SEEDED_SCENES as u8 {
            seeding.note_given(SceneHash([index; 32]), 9, 1);
        }
        assert_eq!(seeding.scenes.len(), MAX_SEEDED_SCENES);
    }
}
