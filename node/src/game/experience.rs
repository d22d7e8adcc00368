//! What games learn of the peers, kept from one to the next. A game's loop writes to memory only: no frame waits for a disk.

use p2c2r_scheduler::history::{MemoryStore, Store};
use tracing::warn;

/// What games have learned lies under keys that begin so: their steps are not the tiles that a coordinator learns from.
const PREFIX: &[u8] = b"game/";

/// What earlier games have learned.
pub fn recall(store: Option<&dyn Store>) -> MemoryStore {
    let memory = MemoryStore::default();
    let known = store.map_or_else(Vec::new, |store| store.scan(PREFIX).unwrap_or_default());
    for (key, value) in known {
        if let Some(key) = key.strip_prefix(PREFIX) {
            // Memory takes everything.
            let _ = memory.put(key, &value);
        }
    }
    memory
}

/// Keeps what this one has learned.
pub fn keep(memory: &MemoryStore, store: &dyn Store) {
    for (key, value) in memory.scan(b"").unwrap_or_default() {
        if let Err(error) = store.put(&[PREFIX, &key].concat(), &value) {
            warn!(%error, "what the game has learned of the peers is lost");
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_game_keeps_the_next_recalls_and_nobody_else_finds() {
        let store = MemoryStore::default();
        store.put(b"ema/1/tiles", b"a coordinator's").unwrap();
        let memory = recall(Some(&store));
        assert_eq!(memory.scan(b"").unwrap(), []);
        memory.put(b"ema/1/steps", b"a game's").unwrap();
        keep(&memory, &store);
        assert_eq!(recall(Some(&store)).get(b"ema/1/steps").unwrap().as_deref(), Some(&b"a game's"[..]));
        assert_eq!(store.scan(b"ema/").unwrap().len(), 1);
        assert_eq!(recall(None).scan(b"").unwrap(), []);
    }
}
