//! The scheduler's store on disk: sled, with a checksum around every record.
//!
//! Everything in it can be learned again. So a store that will not open is moved aside and started afresh, a record
//! that is damaged counts as absent, and a disk that fails costs what was learned since, never a frame.

use std::{
    fs, io,
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use p2c2r_scheduler::history::{Store, StoreError};
use tracing::warn;

/// Bytes of the checksum in front of every record.
const CHECKSUM_BYTES: usize = 4;
/// Most memory that sled may use to cache pages.
const CACHE_BYTES: u64 = 16 << 20;
/// The log grows by so much at a time; sled keeps about ten of these whatever is in them.
const SEGMENT_BYTES: usize = 64 << 10;
/// What stores had before: sled opens a store only with the size that it was made with.
const FIRST_SEGMENT_BYTES: usize = 512 << 10;

/// Why there is no store, not even a fresh one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Even a fresh store could not be made.
    #[error("cannot open the store {}: {source}; check the disk's space and the directory's permissions", path.display())]
    Fresh {
        /// Where.
        path: PathBuf,
        /// What sled said.
        source: sled::Error,
    },
    /// The damaged store could not be moved out of the way.
    #[error("the store {} is damaged and cannot be moved aside: {source}", path.display())]
    MoveAside {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A sled database behind the scheduler's [`Store`].
#[derive(Debug, Clone)]
pub struct SledStore {
    database: sled::Db,
}

impl SledStore {
    /// Opens the store, moving a damaged one aside first.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let opened = open_guarded(path, SEGMENT_BYTES);
        let database =
            match opened.or_else(|reason| open_guarded(path, FIRST_SEGMENT_BYTES).map_err(|_| reason)) {
                Ok(database) => database,
                Err(reason) => {
                    let aside = move_aside(path)?;
                    warn!(
                        store = %path.display(), moved_to = %aside.display(), %reason,
                        "the store did not open and was moved aside; learning starts afresh"
                    );
                    open_guarded(path, SEGMENT_BYTES)
                        .map_err(|source| OpenError::Fresh { path: path.to_owned(), source })?
                }
            };
        Ok(Self { database })
    }

    /// Writes everything to disk now, so that it is there whatever happens next.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.database.flush().map(drop).map_err(|error| failed(&error))
    }

    /// Writes everything to disk. Called at the end of the process; sled also does it twice a second.
    pub fn close(&self) {
        if let Err(error) = self.database.flush() {
            warn!(%error, "the store could not be written out; what was learned last is lost");
        }
    }
}

/// Opens sled; a panic on a damaged file (sled asserts on some) counts as an error.
fn open_guarded(path: &Path, segment_bytes: usize) -> Result<sled::Db, sled::Error> {
    let config = sled::Config::new()
        .path(path)
        .cache_capacity(CACHE_BYTES)
        .segment_size(segment_bytes)
        .mode(sled::Mode::LowSpace);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let opened = std::panic::catch_unwind(AssertUnwindSafe(|| config.open()));
    std::panic::set_hook(hook);
    opened.unwrap_or_else(|_| Err(sled::Error::Unsupported("sled panicked on the file".into())))
}

fn move_aside(path: &Path) -> Result<PathBuf, OpenError> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
    let aside = path.with_extension(format!("damaged-{seconds}"));
    match fs::rename(path, &aside) {
        Ok(()) => Ok(aside),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(aside),
        Err(source) => Err(OpenError::MoveAside { path: path.to_owned(), source }),
    }
}

fn seal(value: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(CHECKSUM_BYTES + value.len());
    record.extend(crc32fast::hash(value).to_le_bytes());
    record.extend(value);
    record
}

/// The value of a record whose checksum holds.
fn unseal(key: &[u8], record: &[u8]) -> Option<Vec<u8>> {
    let (checksum, value) = record.split_first_chunk::<CHECKSUM_BYTES>()?;
    if u32::from_le_bytes(*checksum) == crc32fast::hash(value) {
        return Some(value.to_vec());
    }
    warn!(key = %String::from_utf8_lossy(key), "a damaged record in the store is ignored");
    None
}

fn failed(error: &sled::Error) -> StoreError {
    StoreError::new(error.to_string())
}

impl Store for SledStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let record = self.database.get(key).map_err(|error| failed(&error))?;
        Ok(record.and_then(|record| unseal(key, &record)))
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.database.insert(key, seal(value)).map(drop).map_err(|error| failed(&error))
    }

    fn remove(&self, key: &[u8]) -> Result<(), StoreError> {
        self.database.remove(key).map(drop).map_err(|error| failed(&error))
    }

    fn scan(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        let mut found = Vec::new();
        for entry in self.database.scan_prefix(prefix) {
            let (key, record) = entry.map_err(|error| failed(&error))?;
            if let Some(value) = unseal(&key, &record) {
                found.push((key.to_vec(), value));
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let store = SledStore::open(&path).unwrap();
        store.put(b"peer/a", b"1").unwrap();
        store.put(b"peer/b", b"2").unwrap();
        store.close();
        drop(store);
        let store = SledStore::open(&path).unwrap();
        assert_eq!(store.get(b"peer/a").unwrap().as_deref(), Some(&b"1"[..]));
        assert_eq!(store.scan(b"peer/").unwrap().len(), 2);
    }

    #[test]
    fn stores_with_the_segments_of_before_are_opened_and_keep_what_they_have() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let before = SledStore { database: open_guarded(&path, FIRST_SEGMENT_BYTES).unwrap() };
        before.put(b"key", b"value").unwrap();
        before.close();
        drop(before);
        let now = SledStore::open(&path).unwrap();
        assert_eq!(now.get(b"key").unwrap().as_deref(), Some(b"value".as_slice()));
    }

    #[test]
    fn f14_bit_flip_in_a_record_makes_it_absent() {
        let folder = tempfile::tempdir().unwrap();
        let store = SledStore::open(&folder.path().join("store")).unwrap();
        store.put(b"k", b"value").unwrap();
        let mut record = store.database.get(b"k").unwrap().unwrap().to_vec();
        record[6] ^= 1;
        store.database.insert(b"k", record).unwrap();
        assert_eq!(store.get(b"k").unwrap(), None);
        assert!(store.scan(b"").unwrap().is_empty());
    }

    #[test]
    fn f14_garbage_store_is_moved_aside_and_started_afresh() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        fs::create_dir(&path).unwrap();
        for name in ["conf", "db"] {
            fs::write(path.join(name), [0xa5; 4096]).unwrap();
        }
        let store = SledStore::open(&path).unwrap();
        store.put(b"k", b"v").unwrap();
        let aside = fs::read_dir(folder.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains("damaged"))
            .count();
        assert_eq!(aside, 1);
    }

    #[test]
    fn store_that_is_a_plain_file_is_moved_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        fs::write(&path, b"not a directory").unwrap();
        SledStore::open(&path).unwrap().put(b"k", b"v").unwrap();
    }
}
