//! The scenes that this node holds: ready to render in memory, as packages on disk, offered to peers as blobs.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::SystemTime,
};

use bytes::Bytes;
use p2c2r_protocol::{
    blob::{ChunkManifest, scene_hash},
    id::SceneHash,
};
use p2c2r_render::{
    limit::SceneLimits,
    prepared::PreparedScene,
    scene::{SceneError, gltf::parse_package},
};
use p2c2r_swarm::{Blob, BlobStore};
use tracing::{debug, warn};

use crate::data_dir::write_private;

/// Scenes kept ready in memory, as far as it reaches; the one unused for longest goes first.
const MAX_RESIDENT_SCENES: usize = 4;

/// A scene in memory: its package to hand on, and what the renderer needs.
#[derive(Clone)]
pub struct ResidentScene {
    /// Its name.
    pub hash: SceneHash,
    /// The package and its chunk list.
    pub blob: Arc<Blob>,
    /// Ready to render.
    pub prepared: Arc<PreparedScene>,
    /// What the loader passed over, for the owner of the scene.
    pub warnings: Arc<[String]>,
}

/// The scenes of one node. Shared between coordinator, contributor and swarm; every method is short.
pub struct SceneLibrary {
    resident: Mutex<Resident>,
    disk: Option<DiskCache>,
    /// For all scenes together.
    memory_bytes: u64,
}

#[derive(Default)]
struct Resident {
    scenes: HashMap<SceneHash, (ResidentScene, u64)>,
    /// Scenes that somebody may still hold: a job that waits must find its scene, however many came after it.
    held: HashMap<SceneHash, HeldScene>,
    uses: u64,
}

impl Resident {
    /// Whether several scenes take more memory together; one alone was admitted.
    fn is_over(&self, memory_bytes: u64) -> bool {
        let bytes = self.scenes.values().map(|(scene, _)| scene.prepared.memory_bytes() as u64);
        self.scenes.len() > 1 && bytes.sum::<u64>() > memory_bytes
    }
}

/// A scene for as long as somebody else keeps it.
struct HeldScene {
    blob: Weak<Blob>,
    prepared: Weak<PreparedScene>,
    warnings: Arc<[String]>,
}

impl HeldScene {
    fn of(scene: &ResidentScene) -> Self {
        Self {
            blob: Arc::downgrade(&scene.blob),
            prepared: Arc::downgrade(&scene.prepared),
            warnings: Arc::clone(&scene.warnings),
        }
    }

    fn take(&self, hash: SceneHash) -> Option<ResidentScene> {
        let (blob, prepared) = (self.blob.upgrade()?, self.prepared.upgrade()?);
        Some(ResidentScene { hash, blob, prepared, warnings: Arc::clone(&self.warnings) })
    }
}

impl SceneLibrary {
    /// A library that keeps packages in `folder`, up to `quota_bytes`, and holds `memory_bytes` of scenes.
    pub fn on_disk(folder: PathBuf, quota_bytes: u64, memory_bytes: u64) -> Self {
        Self { resident: Mutex::default(), disk: Some(DiskCache { folder, quota_bytes }), memory_bytes }
    }

    /// A library that holds `memory_bytes` of scenes and keeps nothing on disk.
    pub fn in_memory(memory_bytes: u64) -> Self {
        Self { resident: Mutex::default(), disk: None, memory_bytes }
    }

    /// The scene, if it is ready to render.
    pub fn resident(&self, scene: &SceneHash) -> Option<ResidentScene> {
        let mut resident = self.resident.lock().unwrap_or_else(PoisonError::into_inner);
        resident.uses += 1;
        let now = resident.uses;
        if let Some((found, last_use)) = resident.scenes.get_mut(scene) {
            *last_use = now;
            return Some(found.clone());
        }
        resident.held.get(scene)?.take(*scene)
    }

    /// The hashes of all scenes that are ready to render.
    pub fn resident_hashes(&self) -> Vec<SceneHash> {
        let resident = self.resident.lock().unwrap_or_else(PoisonError::into_inner);
        let mut hashes: Vec<SceneHash> = resident.scenes.keys().copied().collect();
        hashes.sort_unstable();
        hashes
    }

    /// The package from the disk cache, if it is there and whole. Blocks on the disk.
    pub fn cached_package(&self, scene: &SceneHash) -> Option<Bytes> {
        self.disk.as_ref()?.read(scene)
    }

    /// Makes a package ready to render and keeps it on disk. Blocks for as long as parsing and the BVH take: call it
    /// on a blocking thread. A scene that needs more than the library's memory is refused before it is loaded.
    pub fn admit(&self, package: Bytes) -> Result<ResidentScene, SceneError> {
        self.admit_packed(package, Vec::new())
    }

    /// [`Self::admit`], for a scene about which packing already had something to say.
    pub fn admit_packed(&self, package: Bytes, warnings: Vec<String>) -> Result<ResidentScene, SceneError> {
        let mut found = self.admit_package(package)?;
        if !warnings.is_empty() {
            found.warnings = warnings.into_iter().chain(found.warnings.iter().cloned()).collect();
        }
        Ok(found)
    }

    fn admit_package(&self, package: Bytes) -> Result<ResidentScene, SceneError> {
        let scene = scene_hash(&package);
        if let Some(found) = self.resident(&scene) {
            return Ok(found);
        }
        let limits = SceneLimits { prepared_bytes: self.memory_bytes, ..SceneLimits::default() };
        let loaded = parse_package(&package, &limits)?;
        let prepared = Arc::new(PreparedScene::build(loaded.scene));
        if let Some(disk) = &self.disk {
            disk.write(&scene, &package);
        }
        let manifest = ChunkManifest::of(&package);
        let found = ResidentScene {
            hash: scene,
            blob: Arc::new(Blob { bytes: package, manifest }),
            prepared,
            warnings: loaded.warnings.into(),
        };
        self.keep(scene, found.clone());
        Ok(found)
    }

    fn keep(&self, scene: SceneHash, found: ResidentScene) {
        let mut resident = self.resident.lock().unwrap_or_else(PoisonError::into_inner);
        resident.uses += 1;
        let now = resident.uses;
        resident.held.retain(|_, held| held.prepared.strong_count() > 0);
        resident.held.insert(scene, HeldScene::of(&found));
        resident.scenes.insert(scene, (found, now));
        while resident.scenes.len() > MAX_RESIDENT_SCENES || resident.is_over(self.memory_bytes) {
            let oldest =
                resident.scenes.iter().min_by_key(|(_, (_, last_use))| *last_use).map(|(hash, _)| *hash);
            let Some(oldest) = oldest else { break };
            resident.scenes.remove(&oldest);
        }
    }
}

impl BlobStore for SceneLibrary {
    fn get(&self, scene: &SceneHash) -> Option<Arc<Blob>> {
        self.resident(scene).map(|found| found.blob)
    }
}

/// Packages as files named by their hash.
struct DiskCache {
    folder: PathBuf,
    quota_bytes: u64,
}

impl DiskCache {
    fn path(&self, scene: &SceneHash) -> PathBuf {
        self.folder.join(format!("{scene}.glb"))
    }

    /// A file whose bytes do not hash to its name (a bad disk, a crash) is removed and counts as absent.
    fn read(&self, scene: &SceneHash) -> Option<Bytes> {
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
    fn write(&self, scene: &SceneHash, package: &[u8]) {
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
    use p2c2r_render::scene::generate::{SceneKind, generate};

    use super::*;

    const AMPLE_BYTES: u64 = 1 << 30;

    #[test]
    fn admitted_scene_is_resident_cached_and_offered() {
        let folder = tempfile::tempdir().unwrap();
        let package: Bytes = generate(SceneKind::Cornell, 1, None).into();
        let scene = scene_hash(&package);
        let library = SceneLibrary::on_disk(folder.path().to_owned(), 1 << 30, AMPLE_BYTES);
        assert!(library.resident(&scene).is_none() && library.cached_package(&scene).is_none());
        library.admit(package.clone()).unwrap();
        assert_eq!(library.resident_hashes(), [scene]);
        assert_eq!(library.get(&scene).unwrap().bytes, package);
        let reopened = SceneLibrary::on_disk(folder.path().to_owned(), 1 << 30, AMPLE_BYTES);
        assert_eq!(reopened.cached_package(&scene).unwrap(), package);
    }

    #[test]
    fn damaged_cached_scene_counts_as_absent() {
        let folder = tempfile::tempdir().unwrap();
        let scene = SceneHash([3; 32]);
        let library = SceneLibrary::on_disk(folder.path().to_owned(), 1 << 30, AMPLE_BYTES);
        fs::write(folder.path().join(format!("{scene}.glb")), b"not what the name says").unwrap();
        assert!(library.cached_package(&scene).is_none());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

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

    #[test]
    fn memory_holds_a_bounded_number_of_scenes() {
        let library = SceneLibrary::in_memory(AMPLE_BYTES);
        for seed in 0..=MAX_RESIDENT_SCENES as u64 {
            library.admit(generate(SceneKind::Spheres, seed, Some(500)).into()).unwrap();
        }
        assert_eq!(library.resident_hashes().len(), MAX_RESIDENT_SCENES);
    }

    #[test]
    fn scenes_share_the_memory_and_one_that_needs_more_is_refused() {
        let package = |seed| Bytes::from(generate(SceneKind::Spheres, seed, Some(3000)));
        let one =
            SceneLibrary::in_memory(AMPLE_BYTES).admit(package(0)).unwrap().prepared.memory_bytes() as u64;
        // Enough for what the loader thinks that one may need, not for all of them.
        let library = SceneLibrary::in_memory(one * 4);
        for seed in 0..=MAX_RESIDENT_SCENES as u64 {
            library.admit(package(seed)).unwrap();
        }
        assert!((2..=4).contains(&library.resident_hashes().len()));
        let refused = SceneLibrary::in_memory(one / 2).admit(package(0)).err().unwrap().to_string();
        assert!(refused.contains("MiB of memory"), "{refused}");
    }
}
