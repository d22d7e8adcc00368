//! Packages on disk: files named by their hash, up to a quota.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use bytes::Bytes;
use p2c2r_protocol::{blob::scene_hash, id::SceneHash};
use tracing::{debug, warn};

use crate::data_dir::write_private;

/// Unit in which the system counts what a file takes of the disk.
const BLOCK_BYTES: u64 = 512;
/// Ending of the file of a package that is being fetched.
const PARTIAL: &str = "fetching";

/// Packages as files named by their hash, and packages that are being fetched.
pub struct DiskCache {
    /// Where.
    pub folder: PathBuf,
    /// Of all packages together.
    quota_bytes: u64,
    /// Files of downloads that are on their way, with what they may take.
    in_use: Arc<Mutex<HashMap<PathBuf, u64>>>,
}

/// Keeps the file of a download from being evicted.
pub struct InUse {
    path: PathBuf,
    in_use: Arc<Mutex<HashMap<PathBuf, u64>>>,
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.path);
    }
}

impl DiskCache {
    /// A cache that takes so many bytes of disk.
    pub fn new(folder: PathBuf, quota_bytes: u64) -> Self {
        Self { folder, quota_bytes, in_use: Arc::default() }
    }

    /// The file of a whole package.
    pub fn path(&self, scene: &SceneHash) -> PathBuf {
        self.folder.join(format!("{scene}.glb"))
    }

    /// The file of a package that is being fetched.
    pub fn partial_path(&self, scene: &SceneHash) -> PathBuf {
        self.folder.join(format!("{scene}.{PARTIAL}"))
    }

    /// Claims a file for a download of so many bytes; an error if the quota cannot take it beside those under way, or if
    /// it is claimed already.
    pub fn use_partial(&self, path: &Path, size_bytes: u64) -> io::Result<InUse> {
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = in_use.values().fold(size_bytes, |sum, bytes| sum.saturating_add(*bytes));
        if taken > self.quota_bytes || in_use.contains_key(path) {
            return Err(io::Error::from(io::ErrorKind::QuotaExceeded));
        }
        in_use.insert(path.to_owned(), size_bytes);
        Ok(InUse { path: path.to_owned(), in_use: Arc::clone(&self.in_use) })
    }

    /// A file whose bytes do not hash to its name (a bad disk, a crash) is removed and counts as absent.
    pub fn read(&self, scene: &SceneHash) -> Option<Bytes> {
        let path = self.path(scene);
        let bytes = fs::read(&path).ok()?;
        if scene_hash(&bytes) == *scene {
            // The modification time says when the scene was last used, for eviction.
            let touched = fs::File::options()
                .append(true)
                .open(&path)
                .and_then(|file| file.set_modified(SystemTime::now()));
            if let Err(error) = touched {
                debug!(%error, "could not note the use of a cached scene");
            }
            return Some(bytes.into());
        }
        warn!(scene = %scene.short(), "a cached scene is damaged and is fetched again");
        let _ = fs::remove_file(&path);
        None
    }

    /// A full disk costs the cache, never the frame.
    pub fn write(&self, scene: &SceneHash, package: &[u8]) {
        let path = self.path(scene);
        // What would not fit would only drive everything else out.
        if path.exists() || package.len() as u64 > self.quota_bytes {
            return;
        }
        let written = fs::create_dir_all(&self.folder)
            .and_then(|()| self.evict(package.len() as u64))
            .and_then(|()| write_private(&path, package));
        if let Err(error) = written {
            warn!(%error, folder = %self.folder.display(), "the scene could not be cached on disk");
        }
    }

    /// Removes the scenes unused for longest, whole ones and those that were never fetched to the end, until
    /// `incoming_bytes` more fit into the quota.
    pub fn evict(&self, incoming_bytes: u64) -> io::Result<()> {
        let mut files = cached_files(&self.folder)?;
        files.sort_by_key(|file| file.modified);
        let mut total = files.iter().map(|file| file.size_bytes).sum::<u64>().saturating_add(incoming_bytes);
        for file in files {
            if total <= self.quota_bytes {
                break;
            }
            if self.in_use.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&file.path) {
                continue;
            }
            match fs::remove_file(&file.path) {
                // Another download made room at the same time, or had its last chunk.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            total = total.saturating_sub(file.size_bytes);
        }
        Ok(())
    }
}

struct CachedFile {
    path: PathBuf,
    /// What it takes of the disk: of a package that is being fetched, what has come.
    size_bytes: u64,
    modified: SystemTime,
}

fn cached_files(folder: &Path) -> io::Result<Vec<CachedFile>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let about = match entry.metadata() {
            // Evicted or renamed since the folder was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            about => about?,
        };
        let path = entry.path();
        if about.is_file() {
            let is_partial = path.extension().is_some_and(|ending| ending == PARTIAL);
            let taken_bytes = about.blocks().saturating_mul(BLOCK_BYTES);
            files.push(CachedFile {
                path,
                size_bytes: if is_partial { taken_bytes.min(about.len()) } else { about.len() },
                modified: about.modified()?,
            });
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quota_drops_the_scene_unused_for_longest() {
        let folder = tempfile::tempdir().unwrap();
        let cache = DiskCache::new(folder.path().to_owned(), 250);
        for (index, age_s) in [(1_u8, 30), (2, 20), (3, 10)] {
            let scene = SceneHash([index; 32]);
            cache.write(&scene, &[0; 100]);
            let file = fs::File::options().append(true).open(cache.path(&scene)).unwrap();
            file.set_modified(SystemTime::now() - std::time::Duration::from_secs(age_s)).unwrap();
        }
        let kept = |index: u8| cache.path(&SceneHash([index; 32])).exists();
        assert_eq!((kept(1), kept(2), kept(3)), (false, true, true));
    }

    #[test]
    fn what_is_being_fetched_counts_and_stays_and_what_was_given_up_goes() {
        let folder = tempfile::tempdir().unwrap();
        let cache = DiskCache::new(folder.path().to_owned(), 3 << 20);
        let fetch = |index: u8, bytes: usize| {
            let path = cache.partial_path(&SceneHash([index; 32]));
            fs::write(&path, vec![1; bytes]).unwrap();
            let file = fs::File::options().write(true).open(&path).unwrap();
            // As large as it will be; it takes no more of the disk than what has come.
            file.set_len(2 << 20).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(u64::from(index)))
                .unwrap();
            path
        };
        let (given_up, on_its_way) = (fetch(2, 1 << 20), fetch(1, 1 << 20));
        let in_use = cache.use_partial(&on_its_way, 2 << 20).unwrap();
        assert!(cache.use_partial(&on_its_way, 1).is_err(), "one download a file");
        assert!(cache.use_partial(&given_up, 2 << 20).is_err(), "both do not fit");
        cache.evict(1 << 19).unwrap();
        assert!(given_up.exists() && on_its_way.exists(), "there is room for half a MiB more");
        cache.evict(3 << 19).unwrap();
        assert!(!given_up.exists() && on_its_way.exists());
        drop(in_use);
        cache.evict(5 << 19).unwrap();
        assert!(!on_its_way.exists());
    }
}
