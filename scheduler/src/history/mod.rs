//! Where what was learned is kept.

pub mod record;
pub mod ring;
pub mod seal;

use std::{collections::BTreeMap, sync::Mutex};

/// The store failed; what it holds can be learned again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the store failed: {0}")]
pub struct StoreError(String);

impl StoreError {
    /// With what the store said.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// A map from keys to small values (16 KB at most) that outlives the process.
pub trait Store: Send {
    /// The value of a key, if there is one and it is whole.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// Sets a value.
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError>;
    /// Forgets a key.
    fn remove(&self, key: &[u8]) -> Result<(), StoreError>;
    /// All entries whose keys begin so, in the order of their keys.
    fn scan(&self, prefix: &[u8]) -> Result<Vec<Entry>, StoreError>;
}

/// A store that forgets with the process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    entries: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl MemoryStore {
    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<Vec<u8>, Vec<u8>>) -> T) -> T {
        act(&mut self.entries.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl Store for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.with(|entries| entries.get(key).cloned()))
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.with(|entries| entries.insert(key.to_vec(), value.to_vec()));
        Ok(())
    }

    fn remove(&self, key: &[u8]) -> Result<(), StoreError> {
        self.with(|entries| entries.remove(key));
        Ok(())
    }

    fn scan(&self, prefix: &[u8]) -> Result<Vec<Entry>, StoreError> {
        let matching = |entries: &mut BTreeMap<Vec<u8>, Vec<u8>>| {
            let from = entries.range(prefix.to_vec()..);
            from.take_while(|(key, _)| key.starts_with(prefix))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect()
        };
        Ok(self.with(matching))
    }
}

impl<S: Store + Sync + ?Sized> Store for std::sync::Arc<S> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        (**self).get(key)
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        (**self).put(key, value)
    }

    fn remove(&self, key: &[u8]) -> Result<(), StoreError> {
        (**self).remove(key)
    }

    fn scan(&self, prefix: &[u8]) -> Result<Vec<Entry>, StoreError> {
        (**self).scan(prefix)
    }
}
