//! A package that is being fetched. Its chunks go to disk as they come, into a file beside the cached packages; it is
//! served to others as far as it is there.
//!
//! The file has nothing beside it that says which chunks are there: after a restart each is held against the chunk list
//! anew, so that a crash at any moment loses nothing that was written and nothing is believed that was not.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicU32, Ordering},
    },
};

use bytes::Bytes;
use p2c2r_protocol::{blob::ChunkManifest, chunk_set::ChunkSet, id::SceneHash, limit::SCENE_CHUNK_BYTES};
use p2c2r_swarm::{Blob, BlobSource, ChunkSink};
use tracing::{info, warn};

use super::{
    Package,
    disk::{DiskCache, InUse},
};

/// Chunks for which room is made on disk at once.
const CHUNKS_A_CLEANING: u32 = 64;

/// A package that is being fetched.
pub struct Partial {
    scene: SceneHash,
    disk: Option<Arc<DiskCache>>,
    begun: OnceLock<Arc<PartialPackage>>,
}

/// One whose chunk list is known.
pub struct PartialPackage {
    manifest: ChunkManifest,
    here: Mutex<ChunkSet>,
    storage: RwLock<Storage>,
    /// Chunks written since room was made for them.
    written: AtomicU32,
}

/// Where the chunks are.
enum Storage {
    Disk {
        file: File,
        path: PathBuf,
        cache: Arc<DiskCache>,
        _in_use: InUse,
    },
    /// Without a disk, or with one that does not take it; empty once the package is taken out.
    Memory(Mutex<Vec<u8>>),
}

impl Partial {
    /// A package of which nothing is known yet. On disk, if there is one.
    pub fn new(scene: SceneHash, disk: Option<Arc<DiskCache>>) -> Self {
        Self { scene, disk, begun: OnceLock::new() }
    }

    /// What is there of it, once its chunk list is known.
    pub fn begun(&self) -> Option<Arc<PartialPackage>> {
        self.begun.get().cloned()
    }

    /// The whole package, when every chunk has arrived. Its file becomes that of a cached package. Blocks on the disk.
    pub fn finish(&self) -> io::Result<Package> {
        let begun = self.begun.get().ok_or_else(not_begun)?;
        let bytes = begun.take_whole()?;
        if let Storage::Disk { path, cache, .. } = &*begun.storage() {
            // What is in memory is good: a disk that fails now costs the cache only.
            if let Err(error) = fs::rename(path, cache.path(&self.scene)) {
                warn!(%error, "a fetched scene could not be kept on disk");
            }
        }
        Ok(Package { hash: self.scene, blob: Arc::new(Blob { bytes, manifest: begun.manifest.clone() }) })
    }

    fn open_storage(&self, size_bytes: u64) -> (Storage, bool) {
        if let Some(cache) = &self.disk {
            match open_file(cache, &self.scene, size_bytes) {
                Ok((storage, was_there)) => return (storage, was_there),
                Err(error) => warn!(%error, "a scene is fetched into memory, and lost at a restart"),
            }
        }
        (Storage::Memory(Mutex::new(vec![0; size_bytes as usize])), false)
    }
}

fn not_begun() -> io::Error {
    io::Error::other("the package's chunk list is not known yet")
}

/// The file of a partial package, and whether it was there before.
fn open_file(cache: &Arc<DiskCache>, scene: &SceneHash, size_bytes: u64) -> io::Result<(Storage, bool)> {
    let path = cache.partial_path(scene);
    let in_use = cache.use_partial(&path, size_bytes)?;
    fs::create_dir_all(&cache.folder)?;
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?;
    let was_there = file.metadata()?.len() > 0;
    // Takes no room before it is written.
    file.set_len(size_bytes)?;
    Ok((Storage::Disk { file, path, cache: Arc::clone(cache), _in_use: in_use }, was_there))
}

impl ChunkSink for Partial {
    fn begin(&self, manifest: &ChunkManifest) -> io::Result<ChunkSet> {
        let (storage, was_there) = self.open_storage(manifest.size_bytes());
        let none = ChunkSet::none(manifest.chunk_count());
        let mut package = PartialPackage {
            manifest: manifest.clone(),
            here: Mutex::new(none),
            storage: RwLock::new(storage),
            written: AtomicU32::new(0),
        };
        if was_there {
            let here = package.found();
            info!(
                scene = %self.scene.short(), chunks = here.len(), of = manifest.chunk_count(),
                "a scene's transfer is taken up where it stopped"
            );
            package.here = Mutex::new(here);
        }
        let here = package.here().clone();
        self.begun
            .set(Arc::new(package))
            .map_err(|_| io::Error::other("a package is fetched twice at once"))?;
        Ok(here)
    }

    fn write(&self, index: u32, bytes: &[u8]) -> io::Result<()> {
        self.begun.get().ok_or_else(not_begun)?.write(index, bytes)
    }
}

fn offset(index: u32) -> u64 {
    u64::from(index) * u64::from(SCENE_CHUNK_BYTES)
}

impl PartialPackage {
    fn storage(&self) -> RwLockReadGuard<'_, Storage> {
        self.storage.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn here(&self) -> MutexGuard<'_, ChunkSet> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The chunks that are in the storage and are what the list says.
    fn found(&self) -> ChunkSet {
        let mut found = ChunkSet::none(self.manifest.chunk_count());
        for index in 0..self.manifest.chunk_count() {
            if self.read_checked(index).is_some() {
                found.insert(index);
            }
        }
        found
    }

    /// The chunk, if the storage has it as it should be: a disk that has changed it must not make this node a liar.
    fn read_checked(&self, index: u32) -> Option<Vec<u8>> {
        let mut chunk = vec![0; self.manifest.chunk_bytes(index)? as usize];
        self.storage().read(index, &mut chunk)?;
        self.manifest.verify_chunk(index, &chunk).is_ok().then_some(chunk)
    }

    fn write(&self, index: u32, chunk: &[u8]) -> io::Result<()> {
        // The first one of so many makes room for all of them.
        let makes_room = self.written.fetch_add(1, Ordering::Relaxed).is_multiple_of(CHUNKS_A_CLEANING);
        let written = self.storage().write(index, chunk, makes_room);
        if let Err(error) = written {
            self.leave_the_disk(&error);
            self.storage().write(index, chunk, false)?;
        }
        self.here().insert(index);
        Ok(())
    }

    /// A disk that is full or fails costs the resumption, never the scene: what has come goes to memory.
    fn leave_the_disk(&self, error: &io::Error) {
        let mut storage = self.storage.write().unwrap_or_else(PoisonError::into_inner);
        if matches!(*storage, Storage::Memory(_)) {
            return;
        }
        warn!(%error, "the disk does not take a scene; it is fetched into memory, and lost at a restart");
        let mut bytes = vec![0; self.manifest.size_bytes() as usize];
        let mut here = self.here();
        for index in here.clone().iter() {
            let start = offset(index) as usize;
            let length = self.manifest.chunk_bytes(index).unwrap_or(0) as usize;
            let place = bytes.get_mut(start..start + length);
            if place.and_then(|place| storage.read(index, place)).is_none() {
                here.remove(index);
            }
        }
        *storage = Storage::Memory(Mutex::new(bytes));
    }

    /// All bytes, in memory once.
    fn take_whole(&self) -> io::Result<Bytes> {
        match &*self.storage() {
            Storage::Memory(bytes) => {
                let bytes = std::mem::take(&mut *bytes.lock().unwrap_or_else(PoisonError::into_inner));
                *self.here() = ChunkSet::none(self.manifest.chunk_count());
                Ok(bytes.into())
            }
            Storage::Disk { file, .. } => {
                let mut bytes = vec![0; self.manifest.size_bytes() as usize];
                file.read_exact_at(&mut bytes, 0)?;
                for (index, chunk) in (0..).zip(bytes.chunks(SCENE_CHUNK_BYTES as usize)) {
                    if self.manifest.verify_chunk(index, chunk).is_err() {
                        self.here().remove(index);
                        return Err(io::Error::other("the disk gave back other bytes than were written"));
                    }
                }
                if let Err(error) = file.sync_data() {
                    warn!(%error, "a fetched scene may not outlive a power cut");
                }
                Ok(bytes.into())
            }
        }
    }
}

impl Storage {
    /// Fills the place with a chunk; nothing if that cannot be read.
    fn read(&self, index: u32, chunk: &mut [u8]) -> Option<()> {
        match self {
            Self::Disk { file, .. } => file.read_exact_at(chunk, offset(index)).ok(),
            Self::Memory(bytes) => {
                let bytes = bytes.lock().unwrap_or_else(PoisonError::into_inner);
                let start = offset(index) as usize;
                chunk.copy_from_slice(bytes.get(start..start + chunk.len())?);
                Some(())
            }
        }
    }

    /// Keeps a chunk, after room was made for some if that is asked for.
    fn write(&self, index: u32, chunk: &[u8], makes_room: bool) -> io::Result<()> {
        match self {
            Self::Disk { file, cache, .. } => {
                if makes_room {
                    cache.evict(u64::from(CHUNKS_A_CLEANING) * u64::from(SCENE_CHUNK_BYTES))?;
                }
                file.write_all_at(chunk, offset(index))
            }
            Self::Memory(bytes) => {
                let mut bytes = bytes.lock().unwrap_or_else(PoisonError::into_inner);
                let start = offset(index) as usize;
                let place = bytes.get_mut(start..start + chunk.len());
                place.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?.copy_from_slice(chunk);
                Ok(())
            }
        }
    }
}

impl BlobSource for PartialPackage {
    fn manifest(&self) -> &ChunkManifest {
        &self.manifest
    }

    fn chunks(&self) -> ChunkSet {
        self.here().clone()
    }

    fn read(&self, index: u32) -> Option<Bytes> {
        if !self.here().contains(index) {
            return None;
        }
        self.read_checked(index).map(Bytes::from)
    }
}

#[cfg(test)]
mod tests {
    use p2c2r_protocol::blob::scene_hash;

    use super::*;

    const CHUNK: usize = SCENE_CHUNK_BYTES as usize;

    fn bytes(chunks: usize) -> Vec<u8> {
        (0..chunks * CHUNK - 7).map(|at| (at * 31 % 251) as u8).collect()
    }

    fn chunk(bytes: &[u8], index: u32) -> &[u8] {
        bytes.chunks(CHUNK).nth(index as usize).unwrap()
    }

    fn cache(folder: &tempfile::TempDir, quota_bytes: u64) -> Arc<DiskCache> {
        Arc::new(DiskCache::new(folder.path().join("scenes"), quota_bytes))
    }

    #[test]
    fn f1_chunks_outlive_the_process_and_are_checked_anew() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = bytes(6);
        let (scene, manifest) = (scene_hash(&bytes), ChunkManifest::of(&bytes));
        let first = Partial::new(scene, Some(cache(&folder, 1 << 30)));
        assert!(first.begin(&manifest).unwrap().is_empty() && first.begun().is_some());
        for index in [5, 0, 3] {
            first.write(index, chunk(&bytes, index)).unwrap();
        }
        drop(first);
        // A crash in mid-write leaves half a chunk.
        let path = folder.path().join("scenes").join(format!("{scene}.fetching"));
        let file = File::options().write(true).open(&path).unwrap();
        file.write_all_at(&chunk(&bytes, 1)[..1000], offset(1)).unwrap();
        let second = Partial::new(scene, Some(cache(&folder, 1 << 30)));
        assert_eq!(second.begin(&manifest).unwrap().iter().collect::<Vec<_>>(), [0, 3, 5]);
        let begun = second.begun().unwrap();
        assert_eq!(begun.read(3).unwrap(), chunk(&bytes, 3));
        assert!(begun.read(1).is_none() && begun.read(9).is_none());
        for index in [1, 2, 4] {
            second.write(index, chunk(&bytes, index)).unwrap();
        }
        let package = second.finish().unwrap();
        assert_eq!((package.hash, &package.blob.bytes[..]), (scene, &bytes[..]));
        assert!(!path.exists());
        assert_eq!(cache(&folder, 1 << 30).read(&scene).unwrap(), bytes);
        assert_eq!(begun.read(4).unwrap(), chunk(&bytes, 4), "it is served until it is in memory");
    }

    #[test]
    fn what_the_quota_does_not_take_is_fetched_into_memory() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = bytes(3);
        let (scene, manifest) = (scene_hash(&bytes), ChunkManifest::of(&bytes));
        for disk in [Some(cache(&folder, bytes.len() as u64 - 1)), None] {
            let partial = Partial::new(scene, disk);
            partial.begin(&manifest).unwrap();
            for index in 0..3 {
                partial.write(index, chunk(&bytes, index)).unwrap();
            }
            assert_eq!(partial.begun().unwrap().read(2).unwrap(), chunk(&bytes, 2));
            assert_eq!(partial.finish().unwrap().blob.bytes, bytes);
            assert!(partial.begun().unwrap().chunks().is_empty(), "it is taken out");
        }
        assert!(!folder.path().join("scenes").join(format!("{scene}.fetching")).exists());
    }

    #[test]
    fn f13_a_disk_that_takes_no_more_costs_the_resumption_and_not_the_scene() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = bytes(3);
        let (scene, manifest) = (scene_hash(&bytes), ChunkManifest::of(&bytes));
        let partial = Partial::new(scene, Some(cache(&folder, 1 << 30)));
        partial.begin(&manifest).unwrap();
        partial.write(1, chunk(&bytes, 1)).unwrap();
        // From here on the file can be read only: every write to it fails, as on a full disk.
        let path = folder.path().join("scenes").join(format!("{scene}.fetching"));
        let begun = partial.begun().unwrap();
        if let Storage::Disk { file, .. } = &mut *begun.storage.write().unwrap() {
            *file = File::open(&path).unwrap();
        }
        partial.write(0, chunk(&bytes, 0)).unwrap();
        assert_eq!(begun.read(1).unwrap(), chunk(&bytes, 1), "what had come is kept");
        partial.write(2, chunk(&bytes, 2)).unwrap();
        assert_eq!(partial.finish().unwrap().blob.bytes, bytes);
    }

    #[test]
    fn a_disk_that_changes_bytes_makes_no_liar_of_the_node() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = bytes(2);
        let (scene, manifest) = (scene_hash(&bytes), ChunkManifest::of(&bytes));
        let partial = Partial::new(scene, Some(cache(&folder, 1 << 30)));
        partial.begin(&manifest).unwrap();
        (0..2).for_each(|index| partial.write(index, chunk(&bytes, index)).unwrap());
        let path = folder.path().join("scenes").join(format!("{scene}.fetching"));
        File::options().write(true).open(&path).unwrap().write_all_at(&[1, 2, 3], offset(1)).unwrap();
        assert!(partial.begun().unwrap().read(1).is_none());
        assert!(partial.finish().is_err());
    }
}
