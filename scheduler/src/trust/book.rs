//! The reputations of all peers, kept in the store: one small record each, the least ones forgotten.

use std::collections::BTreeMap;

use p2c2r_protocol::id::NodeId;

use super::reputation::{Reputation, Standing};
use crate::history::{
    Store, StoreError,
    seal::{seal, unseal},
};

/// Peers that are remembered. Names cost nothing: of more, the one goes first that is believed least and was not banned.
pub const MAX_REPUTATIONS: usize = 4096;
/// Keys of the store begin so; the node's id follows.
const PREFIX: &[u8] = b"trust/";
/// Version of the records.
const VERSION: u8 = 1;

/// Everybody's reputation.
pub struct ReputationBook {
    peers: BTreeMap<NodeId, Reputation>,
    store: Box<dyn Store>,
}

impl ReputationBook {
    /// What the store knows; damaged records count as absent.
    ///
    /// # Errors
    /// If the store cannot be read at all.
    pub fn load(store: Box<dyn Store>) -> Result<Self, StoreError> {
        let entries = store.scan(PREFIX)?;
        let read = |(key, value): (Vec<u8>, Vec<u8>)| {
            let id: [u8; 32] = key.strip_prefix(PREFIX)?.try_into().ok()?;
            Some((NodeId::from_public_key(id), Reputation::from_bytes(unseal(VERSION, &value)?)?))
        };
        let peers = entries.into_iter().filter_map(read).take(MAX_REPUTATIONS).collect();
        Ok(Self { peers, store })
    }

    /// What is known of a peer.
    pub fn of(&self, peer: &NodeId) -> Reputation {
        self.peers.get(peer).copied().unwrap_or_default()
    }

    /// How a peer stands, by this node's wall clock, ms since 1970.
    pub fn standing(&self, peer: &NodeId, now_ms: u64) -> Standing {
        self.of(peer).standing(now_ms)
    }

    /// A result of a peer was checked and found right.
    ///
    /// # Errors
    /// If that cannot be stored; it is remembered all the same.
    pub fn note_valid(&mut self, peer: NodeId, now_ms: u64) -> Result<(), StoreError> {
        self.change(peer, now_ms, |reputation| reputation.note_valid(now_ms))
    }

    /// A peer has certainly forged a result.
    ///
    /// # Errors
    /// If that cannot be stored; it is remembered all the same.
    pub fn note_forgery(&mut self, peer: NodeId, now_ms: u64) -> Result<(), StoreError> {
        self.change(peer, now_ms, |reputation| reputation.note_forgery(now_ms))
    }

    /// All that are remembered.
    pub fn iter(&self) -> impl Iterator<Item = (&NodeId, &Reputation)> {
        self.peers.iter()
    }

    fn change(
        &mut self,
        peer: NodeId,
        now_ms: u64,
        act: impl FnOnce(&mut Reputation),
    ) -> Result<(), StoreError> {
        let reputation = self.peers.entry(peer).or_default();
        act(reputation);
        let stored = self.store.put(&key(&peer), &seal(VERSION, &reputation.to_bytes()));
        let forgotten = self.forget_one_too_many(peer, now_ms);
        stored.and(forgotten)
    }

    /// Not the one that was just changed, or nobody new would ever be remembered.
    fn forget_one_too_many(&mut self, changed: NodeId, now_ms: u64) -> Result<(), StoreError> {
        if self.peers.len() <= MAX_REPUTATIONS {
            return Ok(());
        }
        let worth = |reputation: &Reputation| {
            (reputation.standing(now_ms) == Standing::Banned, reputation.trust(now_ms))
        };
        let least = self
            .peers
            .iter()
            .filter(|(peer, _)| **peer != changed)
            .min_by(|a, b| {
                let (a, b) = (worth(a.1), worth(b.1));
                a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
            })
            .map(|(peer, _)| *peer);
        let Some(least) = least else { return Ok(()) };
        self.peers.remove(&least);
        self.store.remove(&key(&least))
    }
}

fn key(peer: &NodeId) -> Vec<u8> {
    [PREFIX, peer.public_key()].concat()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::history::{Entry, MemoryStore};

    const NOW: u64 = 1_800_000_000_000;

    /// One store for several lives of the book.
    struct Shared(Arc<MemoryStore>);

    impl Store for Shared {
        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
            self.0.get(key)
        }
        fn put(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
            self.0.put(key, value)
        }
        fn remove(&self, key: &[u8]) -> Result<(), StoreError> {
            self.0.remove(key)
        }
        fn scan(&self, prefix: &[u8]) -> Result<Vec<Entry>, StoreError> {
            self.0.scan(prefix)
        }
    }

    fn id(index: u16) -> NodeId {
        let mut key = [0; 32];
        key[..2].copy_from_slice(&index.to_be_bytes());
        NodeId::from_public_key(key)
    }

    #[test]
    fn what_was_earned_and_lost_survives_a_restart() {
        let store = Arc::new(MemoryStore::default());
        let mut book = ReputationBook::load(Box::new(Shared(Arc::clone(&store)))).unwrap();
        for _ in 0..20 {
            book.note_valid(id(1), NOW).unwrap();
        }
        book.note_forgery(id(2), NOW).unwrap();
        store.put(b"trust/short", b"rubbish").unwrap();
        let again = ReputationBook::load(Box::new(Shared(Arc::clone(&store)))).unwrap();
        assert_eq!(again.iter().collect::<Vec<_>>(), book.iter().collect::<Vec<_>>());
        assert_eq!(again.standing(&id(1), NOW), Standing::Proven);
        assert_eq!(again.standing(&id(2), NOW), Standing::Banned);
        assert_eq!(again.standing(&id(3), NOW), Standing::Newcomer);
    }

    #[test]
    fn f14_a_damaged_record_is_that_of_a_stranger() {
        let store = Arc::new(MemoryStore::default());
        ReputationBook::load(Box::new(Shared(Arc::clone(&store)))).unwrap().note_forgery(id(1), NOW).unwrap();
        let mut sealed = store.get(&key(&id(1))).unwrap().unwrap();
        *sealed.last_mut().unwrap() ^= 1;
        store.put(&key(&id(1)), &sealed).unwrap();
        let book = ReputationBook::load(Box::new(Shared(store))).unwrap();
        assert_eq!(book.standing(&id(1), NOW), Standing::Newcomer);
    }

    #[test]
    fn b21_thousands_of_new_names_push_out_neither_a_ban_nor_a_record() {
        let mut book = ReputationBook::load(Box::<MemoryStore>::default()).unwrap();
        (0..20).for_each(|_| book.note_valid(id(0), NOW).unwrap());
        book.note_forgery(id(1), NOW).unwrap();
        for index in 2..MAX_REPUTATIONS as u16 + 500 {
            book.note_valid(id(index), NOW).unwrap();
        }
        assert_eq!(book.iter().count(), MAX_REPUTATIONS);
        assert_eq!(book.standing(&id(0), NOW), Standing::Proven);
        assert_eq!(book.standing(&id(1), NOW), Standing::Banned);
    }
}
