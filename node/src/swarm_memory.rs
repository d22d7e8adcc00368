//! What a node remembers of the swarm from one run to the next: its neighbours, and the ports it listened on. So a swarm
//! whose nodes were all restarted comes back without a ticket.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use p2c2r_protocol::id::NodeId;
use p2c2r_scheduler::history::{Store, StoreError};
use p2c2r_swarm::{KnownPeer, SwarmHandle, limit::MAX_REMEMBERED_PEERS};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tracing::warn;

use crate::store::SledStore;

/// Neighbours, each under its id.
const NEIGHBOUR_PREFIX: &str = "swarm/neighbour/";
/// The ports of the last run.
const PORTS_KEY: &str = "swarm/ports";
/// When ports of so many addresses are known, only those of the present ones are kept.
const MAX_PORTS: usize = 32;
/// Neighbours are noted soon after the start, for whoever is killed early, and then ever more rarely.
const FIRST_NOTE: Duration = Duration::from_secs(2);
/// Longest time between two notes.
const NOTE_INTERVAL: Duration = Duration::from_mins(1);

/// What is kept of a neighbour.
#[derive(Debug, Serialize, Deserialize)]
struct Neighbour {
    addresses: Vec<String>,
    /// When it was a neighbour last, ms since 1970.
    seen_unix_ms: u64,
}

/// The memory, in the node's store.
#[derive(Debug, Clone)]
pub struct SwarmMemory {
    store: SledStore,
}

impl SwarmMemory {
    /// In this store.
    pub fn new(store: SledStore) -> Self {
        Self { store }
    }

    /// Neighbours of earlier runs, the latest first.
    pub fn neighbours(&self) -> Vec<KnownPeer> {
        let mut known = self.known();
        known.sort_by_key(|(_, neighbour)| std::cmp::Reverse(neighbour.seen_unix_ms));
        let peer =
            |(node, neighbour): (NodeId, Neighbour)| KnownPeer { node, addresses: neighbour.addresses };
        known.into_iter().take(MAX_REMEMBERED_PEERS).map(peer).collect()
    }

    /// The port that each address to listen on had, by its text.
    pub fn ports(&self) -> BTreeMap<String, u16> {
        let record = self.store.get(PORTS_KEY.as_bytes()).ok().flatten();
        record.and_then(|record| read(&record)).unwrap_or_default()
    }

    /// Notes ports and neighbours for as long as the node runs.
    pub async fn keep(self, swarm: SwarmHandle) {
        self.note_ports(swarm.ports());
        let mut wait = FIRST_NOTE;
        loop {
            tokio::time::sleep(wait).await;
            self.note(&swarm).await;
            wait = (wait * 2).min(NOTE_INTERVAL);
        }
    }

    /// Notes the neighbours of this moment.
    pub async fn note(&self, swarm: &SwarmHandle) {
        self.note_neighbours(&swarm.neighbours().await, unix_ms());
    }

    fn note_neighbours(&self, neighbours: &[KnownPeer], seen_unix_ms: u64) {
        for KnownPeer { node, addresses } in neighbours {
            let neighbour = Neighbour { addresses: addresses.clone(), seen_unix_ms };
            self.write(&format!("{NEIGHBOUR_PREFIX}{node}"), &neighbour);
        }
        let mut known = self.known();
        known.sort_by_key(|(_, neighbour)| std::cmp::Reverse(neighbour.seen_unix_ms));
        for (node, _) in known.into_iter().skip(MAX_REMEMBERED_PEERS) {
            let forgotten = self.store.remove(format!("{NEIGHBOUR_PREFIX}{node}").as_bytes());
            complain(forgotten);
        }
    }

    fn note_ports(&self, ports: &BTreeMap<String, u16>) {
        // Those of addresses that this run does not listen on are kept for the next one that does.
        let mut all = self.ports();
        if all.len() < MAX_PORTS {
            all.extend(ports.clone());
            self.write(PORTS_KEY, &all);
        } else {
            self.write(PORTS_KEY, ports);
        }
    }

    fn known(&self) -> Vec<(NodeId, Neighbour)> {
        let records = self.store.scan(NEIGHBOUR_PREFIX.as_bytes()).unwrap_or_default();
        let neighbour = |(key, record): (Vec<u8>, Vec<u8>)| {
            let node = std::str::from_utf8(&key).ok()?.strip_prefix(NEIGHBOUR_PREFIX)?.parse().ok()?;
            Some((node, read(&record)?))
        };
        records.into_iter().filter_map(neighbour).collect()
    }

    fn write(&self, key: &str, value: &impl Serialize) {
        // Plain structures of text and numbers always have a form.
        if let Ok(record) = serde_json::to_vec(value) {
            complain(self.store.put(key.as_bytes(), &record));
        }
    }
}

fn read<T: DeserializeOwned>(record: &[u8]) -> Option<T> {
    serde_json::from_slice(record).ok()
}

/// A disk that fails costs the memory, not the node.
fn complain(written: Result<(), StoreError>) {
    if let Err(error) = written {
        warn!(%error, "what was seen of the swarm could not be noted");
    }
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(key: u8) -> KnownPeer {
        KnownPeer {
            node: NodeId::from_public_key([key; 32]),
            addresses: vec![format!("/ip4/10.0.0.{key}/tcp/4001")],
        }
    }

    #[test]
    fn neighbours_and_ports_outlive_the_run_the_latest_first() {
        let folder = tempfile::tempdir().unwrap();
        let open = || SwarmMemory::new(SledStore::open(&folder.path().join("store")).unwrap());
        let memory = open();
        assert!(memory.neighbours().is_empty() && memory.ports().is_empty());
        memory.note_neighbours(&[peer(1), peer(2)], 1000);
        memory.note_neighbours(&[peer(2)], 2000);
        let ports = BTreeMap::from([("/ip4/0.0.0.0/tcp/0".to_owned(), 4711)]);
        memory.note_ports(&ports);
        memory.store.close();
        drop(memory);
        let memory = open();
        assert_eq!(memory.neighbours(), [peer(2), peer(1)]);
        assert_eq!(memory.ports(), ports);
    }

    #[test]
    fn those_seen_longest_ago_are_forgotten_and_damaged_records_are_no_neighbours() {
        let folder = tempfile::tempdir().unwrap();
        let memory = SwarmMemory::new(SledStore::open(&folder.path().join("store")).unwrap());
        let all: Vec<KnownPeer> = (0..MAX_REMEMBERED_PEERS as u8 + 6).map(peer).collect();
        let (old, new) = all.split_at(10);
        memory.note_neighbours(old, 1000);
        memory.note_neighbours(new, 2000);
        let known = memory.neighbours();
        assert_eq!(known.len(), MAX_REMEMBERED_PEERS);
        assert!(new.iter().all(|peer| known.contains(peer)));
        memory.store.put(format!("{NEIGHBOUR_PREFIX}nobody").as_bytes(), b"{}").unwrap();
        memory.store.put(PORTS_KEY.as_bytes(), b"\xff").unwrap();
        assert_eq!(memory.neighbours().len(), MAX_REMEMBERED_PEERS);
        assert!(memory.ports().is_empty());
    }
}
