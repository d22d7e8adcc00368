//! Packages on disk: files named by their hash, up to a quota.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use bytes::Bytes;
use p2c2r_protocol::{blob::scene_hash, id::SceneHash};
use tracing::{debug, warn};

use crate::data_dir::write_private;

/// Packages as files named by their hash.
pub struct DiskCache {
    /// Where.
    pub folder: PathBuf,
    /// Of all packages together.
    pub quota_bytes: u64,
}

impl DiskCache {
    fn path(&self, scene: &SceneHash) -> PathBuf {
        self.folder.join(format!("{scene}.glb"))
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

    /// Removes the scenes unused for longest until `incoming_bytes` more fit into the quota.
    fn evict(&self, incoming_bytes: u64) -> io::Result<()> {
        let mut files = cached_files(&self.folder)?;
        files.sort_by_key(|file| file.modified);
        let mut total = files.iter().map(|file| file.size_bytes).sum::<u64>().saturating_add(incoming_bytes);
        for file in files {
            if total <= self.quota_bytes {
                break;
            }
            fs::remove_file(&file.path)?;
            total = total.saturating_sub(file.size_bytes);
        }
        Ok(())
    }
}

struct CachedFile {
    path: PathBuf,
    size_bytes: u64,
    modified: SystemTime,
}

fn cached_files(folder: &Path) -> io::Result<Vec<CachedFile>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.metadata()?;
        if about.is_file() {
            files.push(CachedFile {
                path: entry.path(),
                size_bytes: about.len(),
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
        let cache = DiskCache { folder: folder.path().to_owned(), quota_bytes: 250 };
        for (index, age_s) in [(1_u8, 30), (2, 20), (3, 10)] {
            let scene = SceneHash([index; 32]);
            cache.write(&scene, &[0; 100]);
            let file = fs::File::options().append(true).open(cache.path(&scene)).unwrap();
            file.set_modified(SystemTime::now() - std::time::Duration::from_secs(age_s)).unwrap();
        }
        let kept = |index: u8| cache.path(&SceneHash([index; 32])).exists();
        assert_eq!((kept(1), kept(2), kept(3)), (false, true, true));
    }
}
