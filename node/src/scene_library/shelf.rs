//! The scenes in memory: which stay, which go, and what somebody else still holds.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use p2c2r_protocol::{id::SceneHash, moment::SceneMoment};
use p2c2r_render::prepared::PreparedScene;
use p2c2r_swarm::Blob;

use super::{Package, ResidentScene};

/// Scenes kept ready in memory, as far as it reaches; the one unused for longest goes first.
pub const MAX_RESIDENT_SCENES: usize = 4;
/// Of these, moments of one package: the one in hand and the next, so that an animation does not drive everything else
/// out.
pub const MAX_RESIDENT_MOMENTS: usize = 2;

/// Scenes ready to render.
#[derive(Default)]
pub struct Shelf {
    scenes: HashMap<SceneMoment, (ResidentScene, u64)>,
    /// Scenes that somebody may still hold: a job that waits must find its scene, however many came after it.
    held: HashMap<SceneMoment, HeldScene>,
    /// Packages that are in memory, once for all their moments.
    packages: HashMap<SceneHash, Weak<Blob>>,
    uses: u64,
}

/// A scene for as long as somebody else keeps it.
struct HeldScene {
    blob: Weak<Blob>,
    prepared: Weak<PreparedScene>,
    warnings: Arc<[String]>,
    prepare_ms: f64,
    moves: bool,
    cameras_move: bool,
    is_framed: bool,
}

impl HeldScene {
    fn of(scene: &ResidentScene) -> Self {
        Self {
            blob: Arc::downgrade(&scene.package.blob),
            prepared: Arc::downgrade(&scene.prepared),
            warnings: Arc::clone(&scene.warnings),
            prepare_ms: scene.prepare_ms,
            moves: scene.moves,
            cameras_move: scene.cameras_move,
            is_framed: scene.is_framed,
        }
    }

    fn take(&self, moment: &SceneMoment) -> Option<ResidentScene> {
        let (blob, prepared) = (self.blob.upgrade()?, self.prepared.upgrade()?);
        Some(ResidentScene {
            package: Package { hash: moment.hash, blob },
            time: moment.time,
            prepared,
            warnings: Arc::clone(&self.warnings),
            prepare_ms: self.prepare_ms,
            moves: self.moves,
            cameras_move: self.cameras_move,
            is_framed: self.is_framed,
        })
    }
}

impl Shelf {
    /// The scene at that moment; one that does not move is the same at every moment.
    pub fn find(&mut self, moment: &SceneMoment) -> Option<ResidentScene> {
        self.find_exactly(moment)
            .or_else(|| self.find_exactly(&SceneMoment::start_of(moment.hash)).filter(|scene| !scene.moves))
    }

    fn find_exactly(&mut self, moment: &SceneMoment) -> Option<ResidentScene> {
        self.uses += 1;
        if let Some((found, last_use)) = self.scenes.get_mut(moment) {
            *last_use = self.uses;
            return Some(found.clone());
        }
        self.held.get(moment)?.take(moment)
    }

    /// The package, if anything in memory is made of it.
    pub fn package(&self, hash: &SceneHash) -> Option<Package> {
        let blob = self.packages.get(hash)?.upgrade()?;
        Some(Package { hash: *hash, blob })
    }

    /// Finds a package from here on for as long as somebody holds it.
    pub fn offer(&mut self, package: &Package) {
        self.packages.retain(|_, blob| blob.strong_count() > 0);
        // The same bytes again stay beside those that are there for their holder alone.
        let offered = self.packages.entry(package.hash).or_insert_with(|| Arc::downgrade(&package.blob));
        if offered.strong_count() == 0 {
            *offered = Arc::downgrade(&package.blob);
        }
    }

    /// The packages of all scenes, each once.
    pub fn hashes(&self) -> Vec<SceneHash> {
        let mut hashes: Vec<SceneHash> = self.scenes.keys().map(|moment| moment.hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        hashes
    }

    /// Memory of the scenes that somebody else holds, on the shelf or not: it does not come back before they let go.
    pub fn held_bytes(&self) -> u64 {
        let held = self.held.iter().filter_map(|(moment, held)| {
            let prepared = held.prepared.upgrade()?;
            // This one, and that of the shelf.
            let own = 1 + usize::from(self.scenes.contains_key(moment));
            (Arc::strong_count(&prepared) > own).then(|| prepared.memory_bytes() as u64)
        });
        held.sum()
    }

    /// Puts a scene on the shelf, and takes others off until those that stay fit into the memory.
    pub fn keep(&mut self, found: ResidentScene, memory_bytes: u64) {
        self.uses += 1;
        self.held.retain(|_, held| held.prepared.strong_count() > 0);
        self.packages.retain(|_, blob| blob.strong_count() > 0);
        let moment = found.moment();
        self.held.insert(moment, HeldScene::of(&found));
        self.packages.insert(moment.hash, Arc::downgrade(&found.package.blob));
        self.scenes.insert(moment, (found, self.uses));
        let moments = self.scenes.keys().filter(|other| other.hash == moment.hash).count();
        for _ in MAX_RESIDENT_MOMENTS..moments {
            self.remove_oldest(|other| other.hash == moment.hash);
        }
        while self.scenes.len() > MAX_RESIDENT_SCENES || self.is_over(memory_bytes) {
            self.remove_oldest(|_| true);
        }
    }

    /// Whether several scenes take more memory together; one alone was admitted.
    fn is_over(&self, memory_bytes: u64) -> bool {
        let bytes = self.scenes.values().map(|(scene, _)| scene.prepared.memory_bytes() as u64);
        self.scenes.len() > 1 && bytes.sum::<u64>() > memory_bytes
    }

    /// Takes off the one of them that was unused for longest.
    fn remove_oldest(&mut self, among: impl Fn(&SceneMoment) -> bool) {
        let candidates = self.scenes.iter().filter(|(moment, _)| among(moment));
        let oldest = candidates.min_by_key(|(_, (_, last_use))| *last_use).map(|(moment, _)| *moment);
        if let Some(oldest) = oldest {
            self.scenes.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use p2c2r_protocol::tile::SceneTime;
    use p2c2r_render::{
        limit::SceneLimits,
        scene::{
            generate::{SceneKind, generate},
            gltf::parse_package,
        },
    };

    use super::*;

    const AMPLE_BYTES: u64 = 1 << 30;

    fn time(us: u64) -> SceneTime {
        SceneTime::from_us(us).unwrap()
    }

    /// The same package at every moment that is asked for, as if it moved.
    fn moving(package: &Package) -> impl Fn(u64) -> ResidentScene + use<> {
        let scene = parse_package(&package.blob.bytes, &SceneLimits::default()).unwrap().scene;
        let package = package.clone();
        move |us| ResidentScene {
            package: package.clone(),
            time: time(us),
            prepared: Arc::new(PreparedScene::build(scene.clone())),
            warnings: Arc::from([]),
            prepare_ms: 1.0,
            moves: true,
            cameras_move: false,
            is_framed: false,
        }
    }

    fn cornell() -> Package {
        Package::of(Bytes::from(generate(SceneKind::Cornell, 1, None)))
    }

    #[test]
    fn an_animation_keeps_two_of_its_moments_and_one_package() {
        let mut shelf = Shelf::default();
        let package = cornell();
        let other = Package::of(generate(SceneKind::Spheres, 1, Some(500)).into());
        shelf.keep(moving(&other)(7), AMPLE_BYTES);
        let at = moving(&package);
        for us in 0..100 {
            shelf.keep(at(us), AMPLE_BYTES);
        }
        let found =
            |shelf: &mut Shelf, us| shelf.find(&SceneMoment { hash: package.hash, time: time(us) }).is_some();
        let there: Vec<u64> = (0..100).filter(|us| found(&mut shelf, *us)).collect();
        assert_eq!(there, [98, 99]);
        assert_eq!(shelf.held.len(), 4, "the one before last goes with the next");
        assert_eq!(shelf.hashes().len(), 2, "another scene stays where it is");
        assert!(Arc::ptr_eq(&shelf.package(&package.hash).unwrap().blob, &package.blob));
        assert_eq!(shelf.packages.len(), 2);
    }

    #[test]
    fn a_moment_that_somebody_holds_is_found_however_many_came_after_it() {
        let mut shelf = Shelf::default();
        let at = moving(&cornell());
        let held = at(5);
        shelf.keep(held.clone(), AMPLE_BYTES);
        for us in 10..20 {
            shelf.keep(at(us), AMPLE_BYTES);
        }
        let found = shelf.find(&held.moment()).unwrap();
        assert!(Arc::ptr_eq(&found.prepared, &held.prepared));
        drop((found, held));
        assert!(shelf.find(&SceneMoment { hash: cornell().hash, time: time(5) }).is_none());
    }

    #[test]
    fn what_others_hold_is_counted_until_they_let_go() {
        let mut shelf = Shelf::default();
        let at = moving(&cornell());
        let one = at(0).prepared.memory_bytes() as u64;
        let mut holders: Vec<ResidentScene> = (0..5).map(&at).collect();
        for scene in &holders {
            shelf.keep(scene.clone(), AMPLE_BYTES);
        }
        assert_eq!(shelf.held_bytes(), 5 * one);
        holders.truncate(1);
        assert_eq!(shelf.held_bytes(), one, "those on the shelf alone can go at any time");
        holders.clear();
        assert_eq!(shelf.held_bytes(), 0);
    }

    #[test]
    fn a_scene_that_does_not_move_is_there_at_every_moment() {
        let mut shelf = Shelf::default();
        let package = cornell();
        let asked = SceneMoment { hash: package.hash, time: time(1_000_000) };
        shelf.keep(moving(&package)(0), AMPLE_BYTES);
        assert!(shelf.find(&asked).is_none(), "another moment of a scene that moves is another scene");
        let still = ResidentScene { moves: false, ..moving(&package)(0) };
        shelf.keep(still.clone(), AMPLE_BYTES);
        assert!(Arc::ptr_eq(&shelf.find(&asked).unwrap().prepared, &still.prepared));
    }
}
