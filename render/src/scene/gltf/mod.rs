//! Loads a self-contained GLB: every mesh of its default scene, where its nodes place it.
//!
//! The same bytes give the same scene on every machine: only correctly rounded arithmetic is used, and the order of
//! triangles is the order in which a walk over the nodes, parents first, meets them. Meshes that are seen more than
//! once stay instances; all others become one mesh in world space, which is faster to trace. Animations are played up to
//! the moment that is asked for; what skins and morph targets deform is a mesh of its own.
//!
//! Beyond glTF 2.0, `scenes[i].extras.p2c2r_sky` may hold two linear RGB radiances, from below and from above, and
//! `extras.p2c2r_environment` a map of the light from all around ([`super::environment`]).

mod accessor;
mod animation;
mod camera;
mod document;
mod environment;
mod estimate;
mod extras;
mod geometry;
mod interpolate;
mod light;
mod material;
mod morph;
mod parse;
mod placement;
mod skin;
mod textures;
mod transform;
pub(crate) mod trigonometry;
mod warnings;

pub use self::animation::AnimationSpan;
pub(super) use self::textures::picture_format;
use self::{
    accessor::Source,
    animation::Pose,
    document::{Document, Node, element},
    material::MaterialReader,
    placement::{Placed, Placements},
    skin::Skins,
    textures::Textures,
    transform::Transform,
    warnings::Warnings,
};
use p2c2r_protocol::tile::SceneTime;

use super::{Material, MemoryEstimate, NamedCamera, PunctualLight, Scene, Triangle, error::SceneError, glb};
use crate::limit::{MAX_CAMERAS, MAX_LIGHTS, MAX_MATERIALS, MAX_NODE_DEPTH, MAX_RADIANCE, SceneLimits};

/// Sky of a scene that has no light of its own: a clear day.
const DAY_SKY: [[f32; 3]; 2] = [[0.28, 0.26, 0.24], [0.55, 0.72, 1.0]];
/// Sun of such a scene: from the front right, 55 degrees high. The direction (0.36, 0.8, 0.48) is unit length.
const DAY_SUN: PunctualLight =
    PunctualLight::Directional { direction: [0.36, 0.8, 0.48], irradiance: [2.9, 2.7, 2.4] };
/// Sky of a scene with lights: none.
const DARK_SKY: [[f32; 3]; 2] = [[0.0; 3]; 2];

/// A scene, and what of its file was passed over.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedScene {
    /// Ready to render: finite, every index in range, at least one triangle, material and camera.
    pub scene: Scene,
    /// One sentence for each thing in the file that is not rendered.
    pub warnings: Vec<String>,
    /// What it takes at most once it is prepared.
    pub memory: MemoryEstimate,
    /// Whether anything but its cameras may be elsewhere at another moment: it has animations of more than these.
    pub moves: bool,
    /// Whether its cameras may be elsewhere at another moment ([`cameras_over`] tells where).
    pub cameras_move: bool,
    /// The file has no camera, and the only one is made to see the whole scene as it stands at its moment.
    pub is_framed: bool,
    /// The file's animations, which all play together.
    pub animations: Vec<AnimationSpan>,
}

/// Loads a GLB without anything outside of it ([`super::package::pack`] makes one of any glTF).
///
/// The scene is that of the first moment of its animations. No input panics or allocates beyond `limits`: the bytes may
/// come from anybody.
pub fn parse_package(bytes: &[u8], limits: &SceneLimits) -> Result<LoadedScene, SceneError> {
    parse_package_at(bytes, limits, SceneTime::START)
}

/// [`parse_package`], at a moment of the scene's animations.
pub fn parse_package_at(
    bytes: &[u8],
    limits: &SceneLimits,
    time: SceneTime,
) -> Result<LoadedScene, SceneError> {
    SceneError::check_limit("bytes", bytes.len() as u64, limits.package_bytes)?;
    let glb = glb::split(bytes)?;
    SceneError::check_limit("bytes of JSON", glb.json.len() as u64, limits.json_bytes)?;
    let document = parse::parse(glb.json)?;
    SceneError::check_limit("nodes", document.nodes.len() as u64, limits.nodes)?;
    let mut loader = Loader::new(Source { document: &document, binary: glb.binary }, limits);
    loader.warnings.add_document(&document);
    loader.pose(time)?;
    loader.walk(&scene_roots(&document)?)?;
    loader.pose_skins()?;
    loader.check_memory()?;
    loader.read_materials()?;
    loader.finish()
}

/// The cameras at each of these moments, without loading anything else. Of a scene that has none, each is empty.
pub fn cameras_over(
    bytes: &[u8],
    limits: &SceneLimits,
    times: impl IntoIterator<Item = SceneTime>,
) -> Result<Vec<Vec<NamedCamera>>, SceneError> {
    SceneError::check_limit("bytes", bytes.len() as u64, limits.package_bytes)?;
    let glb = glb::split(bytes)?;
    SceneError::check_limit("bytes of JSON", glb.json.len() as u64, limits.json_bytes)?;
    let document = parse::parse(glb.json)?;
    SceneError::check_limit("nodes", document.nodes.len() as u64, limits.nodes)?;
    let roots = scene_roots(&document)?;
    let source = Source { document: &document, binary: glb.binary };
    let at = |time| {
        let mut loader = Loader::new(source, limits);
        loader.pose(time)?;
        loader.walk(&roots)?;
        Ok(loader.scene.cameras)
    };
    times.into_iter().map(at).collect()
}

/// The nodes at the top of the default scene: that of the file, else the first, else every node without a parent.
fn scene_roots(document: &Document) -> Result<Vec<u32>, SceneError> {
    if let Some(index) = document.scene {
        return Ok(element(&document.scenes, index, "scene", || "the document".into())?.nodes.clone());
    }
    if let Some(first) = document.scenes.first() {
        return Ok(first.nodes.clone());
    }
    let mut is_child = vec![false; document.nodes.len()];
    for child in document.nodes.iter().flat_map(|node| &node.children) {
        if let Some(known) = is_child.get_mut(*child as usize) {
            *known = true;
        }
    }
    Ok((0_u32..).zip(is_child).filter(|(_, is_child)| !is_child).map(|(index, _)| index).collect())
}

/// A node that waits for its visit.
struct Visit {
    node: u32,
    parent: Transform,
    depth: u32,
    /// An animation drives a node above it.
    is_driven: bool,
}

struct Loader<'a> {
    source: Source<'a>,
    limits: &'a SceneLimits,
    scene: Scene,
    textures: Textures,
    warnings: Warnings,
    animations: Vec<AnimationSpan>,
    pose: Pose,
    /// Where the nodes stand that the walk has visited.
    worlds: Vec<Option<Transform>>,
    placements: Placements<'a>,
    skins: Skins,
    memory: MemoryEstimate,
    moves: bool,
    cameras_move: bool,
}

impl<'a> Loader<'a> {
    fn new(source: Source<'a>, limits: &'a SceneLimits) -> Self {
        Self {
            source,
            limits,
            scene: Scene::default(),
            textures: Textures::default(),
            warnings: Warnings::default(),
            animations: Vec::new(),
            pose: Pose::default(),
            worlds: vec![None; source.document.nodes.len()],
            placements: Placements::default(),
            skins: Skins::default(),
            memory: MemoryEstimate::default(),
            moves: false,
            cameras_move: false,
        }
    }

    fn pose(&mut self, time: SceneTime) -> Result<(), SceneError> {
        (self.pose, self.animations) = animation::pose(self.source, time, &mut self.warnings)?;
        Ok(())
    }

    /// Poses the skins that are shown, once all of their joints have their places.
    fn pose_skins(&mut self) -> Result<(), SceneError> {
        for skin in self.placements.iter().filter_map(|placed| placed.skin) {
            // Its joints may be anywhere.
            self.moves |= !self.animations.is_empty();
            self.skins.pose(self.source, skin, &self.worlds)?;
        }
        Ok(())
    }

    /// Refuses a scene that would not fit, before its vertices are read and its pictures decoded.
    fn check_memory(&mut self) -> Result<(), SceneError> {
        let lights = self.scene.lights.len();
        self.memory = estimate::estimate(self.source, &self.placements, lights, self.limits);
        self.memory.check(self.limits.prepared_bytes)
    }

    fn read_materials(&mut self) -> Result<(), SceneError> {
        let materials = &self.source.document.materials;
        SceneError::check_limit("materials", materials.len() as u64, MAX_MATERIALS)?;
        let mut reader = MaterialReader {
            source: self.source,
            textures: &mut self.textures,
            limits: self.limits,
            warnings: &mut self.warnings,
        };
        for (index, material) in materials.iter().enumerate() {
            self.scene.materials.push(reader.read(index, material)?);
        }
        // The last one is that of primitives without any.
        self.scene.materials.push(Material::default());
        Ok(())
    }

    /// Visits every node once, parents before children, siblings in the file's order. The stack is on the heap and
    /// no node is visited twice, so neither deep nesting nor a circle can run away.
    fn walk(&mut self, roots: &[u32]) -> Result<(), SceneError> {
        let document = self.source.document;
        let root =
            |node: &u32| Visit { node: *node, parent: Transform::IDENTITY, depth: 0, is_driven: false };
        let mut waiting: Vec<Visit> = roots.iter().rev().map(root).collect();
        while let Some(Visit { node: index, parent, depth, is_driven }) = waiting.pop() {
            let place = || format!("node {index}");
            let node = element(&document.nodes, index, "node", || "the node hierarchy".into())?;
            if self.worlds.get(index as usize).is_none_or(Option::is_some) {
                return Err(SceneError::at(place(), "it has two parents or is its own ancestor"));
            }
            if depth > MAX_NODE_DEPTH {
                return Err(SceneError::at(
                    place(),
                    format!("nodes are nested deeper than {MAX_NODE_DEPTH}"),
                ));
            }
            let transform = parent.after(&self.pose.transform(index, node));
            if let Some(world) = self.worlds.get_mut(index as usize) {
                *world = Some(transform);
            }
            let is_driven = is_driven || self.pose.drives(index);
            if is_driven {
                self.cameras_move |= node.camera.is_some();
                self.moves |= node.mesh.is_some() || node.extensions.punctual.is_some();
            }
            self.visit(index, node, &transform)?;
            let child = |node: &u32| Visit { node: *node, parent: transform, depth: depth + 1, is_driven };
            SceneError::check_limit(
                "nodes",
                (waiting.len() + node.children.len()) as u64,
                self.limits.nodes,
            )?;
            waiting.extend(node.children.iter().rev().map(child));
        }
        Ok(())
    }

    fn visit(&mut self, number: u32, node: &'a Node, transform: &Transform) -> Result<(), SceneError> {
        let document = self.source.document;
        if let Some(index) = node.camera {
            let camera = element(&document.cameras, index, "camera", || "a node".into())?;
            let read = camera::read(index, camera, node, transform, &mut self.warnings)?;
            self.scene.cameras.extend(read);
            SceneError::check_limit("cameras", self.scene.cameras.len() as u64, MAX_CAMERAS)?;
        }
        if let Some(used) = &node.extensions.punctual {
            let lights = &document.extensions.punctual.lights;
            let light = element(lights, used.light, "light", || "a node".into())?;
            self.scene.lights.extend(light::read(used.light, light, transform, &mut self.warnings)?);
            SceneError::check_limit("lights", self.scene.lights.len() as u64, MAX_LIGHTS)?;
        }
        if let Some(index) = node.mesh {
            let mesh = element(&document.meshes, index, "mesh", || "a node".into())?;
            let has_targets = mesh.primitives.iter().any(|primitive| !primitive.targets.is_empty());
            let weights = self.pose.weights(number, node).filter(|_| has_targets);
            self.placements.add(Placed { mesh: index, transform: *transform, skin: node.skin, weights });
        }
        Ok(())
    }

    fn finish(mut self) -> Result<LoadedScene, SceneError> {
        let placements = std::mem::take(&mut self.placements);
        placements.build(self.source, &self.skins, self.limits, &mut self.scene, &mut self.warnings)?;
        if self.scene.instances.is_empty() {
            return Err(SceneError::no_triangles(&self.warnings.into_sentences()));
        }
        (self.scene.textures, self.scene.images) = self.textures.into_parts();
        let is_framed = self.scene.cameras.is_empty();
        if is_framed {
            self.scene.cameras.push(camera::framing(&self.scene));
        }
        let own_sky = own_sky(self.source.document)?;
        self.scene.environment = environment::read(self.source)?;
        let is_lit = self.scene.environment.is_some()
            || own_sky.is_some_and(|sky| sky.as_flattened().iter().any(|value| *value > 0.0));
        self.scene.sky = own_sky.unwrap_or(DARK_SKY);
        if !is_lit && self.scene.lights.is_empty() && is_dark(&self.scene) {
            self.scene.sky = DAY_SKY;
            self.scene.lights.push(DAY_SUN);
            self.warnings.add("the scene has no light of its own: a sun and a sky were added".into());
        }
        Ok(LoadedScene {
            scene: self.scene,
            warnings: self.warnings.into_sentences(),
            memory: self.memory,
            moves: self.moves,
            cameras_move: self.cameras_move,
            is_framed,
            animations: self.animations,
        })
    }
}

/// Whether nothing shines and something would have to be lit to be seen: unlit materials are seen by themselves, and
/// light nothing.
fn is_dark(scene: &Scene) -> bool {
    let triangles = || scene.meshes.iter().flat_map(|mesh| &mesh.triangles);
    let of = |triangle: &Triangle| scene.materials.get(triangle.material as usize);
    !triangles().filter_map(of).any(Material::shines)
        && triangles().filter_map(of).any(|material| !material.unlit)
}

/// The sky that the scene's extras state.
fn own_sky(document: &Document) -> Result<Option<[[f32; 3]; 2]>, SceneError> {
    let scene = document.scenes.get(document.scene.unwrap_or(0) as usize);
    let Some(sky) = scene.and_then(|scene| scene.extras.p2c2r_sky) else { return Ok(None) };
    if sky.as_flattened().iter().all(|value| (0.0..=MAX_RADIANCE).contains(value)) {
        Ok(Some(sky))
    } else {
        Err(SceneError::at("extras.p2c2r_sky", format!("a radiance is not between 0 and {MAX_RADIANCE:e}")))
    }
}
