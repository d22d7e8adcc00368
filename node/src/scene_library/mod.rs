//! The scenes that this node holds: ready to render in memory, as packages on disk, offered to peers as blobs.
//!
//! A package is one thing, whatever the moment: it travels, is kept on disk ([`disk`]) and lies in memory once. What is
//! ready to render is a package at a moment ([`shelf`]).

mod disk;
mod partial;
mod shelf;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Instant,
};

use bytes::Bytes;
use p2c2r_protocol::{
    blob::{ChunkManifest, scene_hash},
    id::SceneHash,
    moment::SceneMoment,
    tile::SceneTime,
};
use p2c2r_render::{
    limit::SceneLimits,
    prepared::PreparedScene,
    scene::{SceneError, gltf::parse_package_at},
};
use p2c2r_swarm::{Blob, BlobSource, BlobStore};

pub use self::partial::Partial;
use self::{disk::DiskCache, shelf::Shelf};

/// A scene as it travels. Clones share the bytes.
#[derive(Clone)]
pub struct Package {
    /// Its name.
    pub hash: SceneHash,
    /// The bytes and their chunk list.
    pub blob: Arc<Blob>,
}

impl Package {
    /// Names the bytes. Blocks for as long as hashing takes.
    pub fn of(bytes: Bytes) -> Self {
        let manifest = ChunkManifest::of(&bytes);
        Self { hash: scene_hash(&bytes), blob: Arc::new(Blob { bytes, manifest }) }
    }

    /// Its length, bytes.
    pub fn size_bytes(&self) -> u64 {
        self.blob.bytes.len() as u64
    }
}

/// A scene in memory at a moment: its package to hand on, and what the renderer needs.
#[derive(Clone)]
pub struct ResidentScene {
    /// What it was made of.
    pub package: Package,
    /// The moment; [`SceneTime::START`] if it does not move.
    pub time: SceneTime,
    /// Ready to render.
    pub prepared: Arc<PreparedScene>,
    /// What the loader passed over, for the owner of the scene.
    pub warnings: Arc<[String]>,
    /// What making it ready took, ms.
    pub prepare_ms: f64,
    /// Whether anything but its cameras is elsewhere at another moment.
    pub moves: bool,
    /// Whether its cameras are elsewhere at another moment.
    pub cameras_move: bool,
    /// Whether its only camera is made to see the whole scene as it stands at its moment.
    pub is_framed: bool,
}

impl ResidentScene {
    /// Its name among all scenes that are ready.
    pub fn moment(&self) -> SceneMoment {
        SceneMoment { hash: self.package.hash, time: self.time }
    }
}

/// The scenes of one node. Shared between coordinator, contributor and swarm; every method is short but those that say
/// that they block.
pub struct SceneLibrary {
    shelf: Mutex<Shelf>,
    disk: Option<Arc<DiskCache>>,
    /// Packages that are being fetched: others are given what has come. Several of one name if not all were told its size
    /// rightly; only the right one ever begins.
    partials: Mutex<HashMap<SceneHash, Vec<Weak<Partial>>>>,
    /// For all scenes together.
    memory_bytes: u64,
}

impl SceneLibrary {
    /// A library that keeps packages in `folder`, up to `quota_bytes`, and holds `memory_bytes` of scenes.
    pub fn on_disk(folder: PathBuf, quota_bytes: u64, memory_bytes: u64) -> Self {
        let disk = Some(Arc::new(DiskCache::new(folder, quota_bytes)));
        Self { shelf: Mutex::default(), disk, partials: Mutex::default(), memory_bytes }
    }

    /// A library that holds `memory_bytes` of scenes and keeps nothing on disk.
    pub fn in_memory(memory_bytes: u64) -> Self {
        Self { shelf: Mutex::default(), disk: None, partials: Mutex::default(), memory_bytes }
    }

    /// The scene, if it is ready to render at that moment.
    pub fn resident(&self, moment: &SceneMoment) -> Option<ResidentScene> {
        self.shelf().find(moment)
    }

    /// The hashes of all scenes that are ready to render, at whichever moment.
    pub fn resident_hashes(&self) -> Vec<SceneHash> {
        self.shelf().hashes()
    }

    /// Whether the scenes that others hold take all of the memory already: nobody should be given one more then.
    pub fn is_overdrawn(&self) -> bool {
        self.shelf().held_bytes() > self.memory_bytes
    }

    /// The package, if it is in memory.
    pub fn package(&self, scene: &SceneHash) -> Option<Package> {
        self.shelf().package(scene)
    }

    /// Whether the package seems to be here, in memory or on disk: a look, not a read.
    pub fn has_package(&self, scene: &SceneHash) -> bool {
        self.package(scene).is_some() || self.disk.as_ref().is_some_and(|disk| disk.path(scene).exists())
    }

    /// Takes a package off the disk that turned out to be no scene: those that are should have the room.
    pub fn forget(&self, scene: &SceneHash) {
        if let Some(disk) = &self.disk {
            // If it is gone already, all the better.
            let _ = std::fs::remove_file(disk.path(scene));
        }
    }

    /// The package from memory, else from the disk cache, if it is there and whole. Blocks on the disk.
    pub fn cached_package(&self, scene: &SceneHash) -> Option<Package> {
        self.package(scene).or_else(|| self.disk.as_ref()?.read(scene).map(Package::of))
    }

    /// A package to be fetched. What comes of it is served to others for as long as somebody holds it.
    pub fn new_partial(&self, scene: SceneHash) -> Arc<Partial> {
        let partial = Arc::new(Partial::new(scene, self.disk.clone()));
        let mut partials = self.partials.lock().unwrap_or_else(PoisonError::into_inner);
        partials.retain(|_, named| {
            named.retain(|partial| partial.strong_count() > 0);
            !named.is_empty()
        });
        partials.entry(scene).or_default().push(Arc::downgrade(&partial));
        partial
    }

    /// Serves a package for as long as somebody holds it, ready to render or not.
    pub fn offer(&self, package: &Package) {
        self.shelf().offer(package);
    }

    /// Makes a package ready to render at a moment and keeps it on disk. Blocks for as long as parsing and the BVH take:
    /// call it on a blocking thread. A scene that needs more than the library's memory is refused before it is loaded.
    pub fn prepare(&self, package: &Package, time: SceneTime) -> Result<ResidentScene, SceneError> {
        let hash = package.hash;
        if let Some(found) = self.resident(&SceneMoment { hash, time }) {
            return Ok(found);
        }
        // Whoever comes with the same bytes again leaves them, and all moments share the first.
        let package = self.package(&hash).unwrap_or_else(|| package.clone());
        let limits = SceneLimits { prepared_bytes: self.memory_bytes, ..SceneLimits::default() };
        let started = Instant::now();
        let loaded = parse_package_at(&package.blob.bytes, &limits, time)?;
        let prepared = Arc::new(PreparedScene::build(loaded.scene));
        let prepare_ms = started.elapsed().as_secs_f64() * 1e3;
        if let Some(disk) = &self.disk {
            disk.write(&hash, &package.blob.bytes);
        }
        let found = ResidentScene {
            package,
            time: if loaded.moves { time } else { SceneTime::START },
            prepared,
            warnings: loaded.warnings.into(),
            prepare_ms,
            moves: loaded.moves,
            cameras_move: loaded.cameras_move,
            is_framed: loaded.is_framed,
        };
        self.shelf().keep(found.clone(), self.memory_bytes);
        Ok(found)
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BlobStore for SceneLibrary {
    fn get(&self, scene: &SceneHash) -> Option<Arc<dyn BlobSource>> {
        if let Some(package) = self.package(scene) {
            return Some(package.blob);
        }
        let partials = self.partials.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = partials.get(scene)?.iter().find_map(|partial| partial.upgrade()?.begun())?;
        Some(begun)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use p2c2r_render::scene::generate::{SceneKind, generate};

    use super::{shelf::MAX_RESIDENT_SCENES, *};

    const AMPLE_BYTES: u64 = 1 << 30;

    fn package(kind: SceneKind, seed: u64, triangles: Option<u32>) -> Package {
        Package::of(generate(kind, seed, triangles).into())
    }

    #[test]
    fn prepared_scene_is_resident_cached_and_offered() {
        let folder = tempfile::tempdir().unwrap();
        let package = package(SceneKind::Cornell, 1, None);
        let scene = package.hash;
        let library = SceneLibrary::on_disk(folder.path().to_owned(), 1 << 30, AMPLE_BYTES);
        assert!(library.resident(&SceneMoment::start_of(scene)).is_none());
        assert!(library.cached_package(&scene).is_none());
        library.prepare(&package, SceneTime::START).unwrap();
        assert_eq!(library.resident_hashes(), [scene]);
        assert_eq!(library.get(&scene).unwrap().read(0).unwrap(), package.blob.read(0).unwrap());
        let reopened = SceneLibrary::on_disk(folder.path().to_owned(), 1 << 30, AMPLE_BYTES);
        assert!(reopened.package(&scene).is_none());
        assert_eq!(reopened.cached_package(&scene).unwrap().blob.bytes, package.blob.bytes);
    }

    #[test]
    fn a_scene_that_does_not_move_is_prepared_once_for_all_moments() {
        let library = SceneLibrary::in_memory(AMPLE_BYTES);
        let package = package(SceneKind::Cornell, 1, None);
        let first = library.prepare(&package, SceneTime::from_us(40_000).unwrap()).unwrap();
        assert_eq!((first.time, first.moves), (SceneTime::START, false));
        for us in 1..1000 {
            // Bytes that come again are not kept beside those that are there.
            let again = Package::of(Bytes::copy_from_slice(&package.blob.bytes));
            let found = library.prepare(&again, SceneTime::from_us(us).unwrap()).unwrap();
            assert!(Arc::ptr_eq(&found.prepared, &first.prepared));
            assert!(Arc::ptr_eq(&found.package.blob, &package.blob));
        }
        assert_eq!(library.resident_hashes(), [package.hash]);
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
    fn memory_holds_a_bounded_number_of_scenes() {
        let library = SceneLibrary::in_memory(AMPLE_BYTES);
        for seed in 0..=MAX_RESIDENT_SCENES as u64 {
            library.prepare(&package(SceneKind::Spheres, seed, Some(500)), SceneTime::START).unwrap();
        }
        assert_eq!(library.resident_hashes().len(), MAX_RESIDENT_SCENES);
    }

    #[test]
    fn scenes_share_the_memory_and_one_that_needs_more_is_refused() {
        let prepare = |memory_bytes, seed| {
            let library = SceneLibrary::in_memory(memory_bytes);
            library.prepare(&package(SceneKind::Spheres, seed, Some(3000)), SceneTime::START)
        };
        let one = prepare(AMPLE_BYTES, 0).unwrap().prepared.memory_bytes() as u64;
        // Enough for what the loader thinks that one may need, not for all of them.
        let library = SceneLibrary::in_memory(one * 4);
        for seed in 0..=MAX_RESIDENT_SCENES as u64 {
            library.prepare(&package(SceneKind::Spheres, seed, Some(3000)), SceneTime::START).unwrap();
        }
        assert!((2..=4).contains(&library.resident_hashes().len()));
        let refused = prepare(one / 2, 0).err().unwrap().to_string();
        assert!(refused.contains("MiB of memory"), "{refused}");
    }
}
