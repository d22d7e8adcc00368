//! What is in a scene, for people who want to know before they render it.

use serde::Serialize;
use serde_json::Value;

use super::{
    Instance, Material, Mesh, PunctualLight, Scene,
    environment::EXTRAS_KEY,
    error::{SceneError, printable},
    glb,
    gltf::{AnimationSpan, LoadedScene},
};

/// Counts and sizes of a scene. The names of the fields are those of the JSON that `scene info --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SceneSummary {
    /// Nodes of the file.
    pub nodes: usize,
    /// Meshes of the file.
    pub meshes: usize,
    /// Meshes in memory, at their places: what stands only once is one of them together.
    pub instances: usize,
    /// Triangles in memory: those of an instanced mesh count once.
    pub unique_triangles: usize,
    /// Triangles as seen: those of an instanced mesh count once for each instance.
    pub placed_triangles: usize,
    /// Vertices in memory.
    pub vertices: usize,
    /// Materials of the file.
    pub materials: usize,
    /// Textures that materials use, counted once for each way of sampling a picture.
    pub textures: usize,
    /// Pixels of their pictures.
    pub texels: usize,
    /// What gives light.
    pub lights: LightCounts,
    /// Names of the cameras, in the order of the file; the first is the one that `render` takes.
    pub cameras: Vec<String>,
    /// Width and height of the environment map, texels.
    pub environment_map: Option<[u64; 2]>,
    /// The file's animations and how long they are.
    pub animations: Vec<AnimationSpan>,
    /// Skins of the file.
    pub skins: usize,
    /// Morph targets of all primitives of the file.
    pub morph_targets: usize,
    /// glTF extensions that the file says it uses.
    pub extensions_used: Vec<String>,
    /// Smallest and largest world coordinates.
    pub bounds: [[f32; 3]; 2],
    /// What the scene takes at most once it is prepared, bytes.
    pub memory_bytes: u64,
}

/// What gives light, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct LightCounts {
    /// From infinitely far away; the sun that a scene without any light gets is one.
    pub directional: usize,
    /// From a point to all sides.
    pub point: usize,
    /// From a point within a cone.
    pub spot: usize,
    /// Triangles that shine, as seen.
    pub emissive_triangles: usize,
}

impl SceneSummary {
    /// Of a package and the scene that was loaded from it.
    pub fn new(package: &[u8], loaded: &LoadedScene) -> Result<Self, SceneError> {
        let document: Value = serde_json::from_slice(glb::split(package)?.json)
            .map_err(|error| SceneError::NotGltf(printable(&error.to_string())))?;
        let scene = &loaded.scene;
        let count = |list: &str| elements(&document, list).len();
        Ok(Self {
            nodes: count("nodes"),
            meshes: count("meshes"),
            instances: scene.instances.len(),
            unique_triangles: scene.unique_triangles(),
            placed_triangles: scene.placed_triangles(),
            vertices: scene.meshes.iter().map(|mesh| mesh.positions.len()).sum(),
            materials: count("materials"),
            textures: scene.textures.len(),
            texels: scene.images.iter().map(|image| image.texels.len()).sum(),
            lights: light_counts(scene),
            cameras: scene.cameras.iter().map(|camera| camera.name.clone()).collect(),
            environment_map: environment_map(&document),
            animations: loaded.animations.clone(),
            skins: count("skins"),
            morph_targets: morph_targets(&document),
            extensions_used: texts(elements(&document, "extensionsUsed")),
            bounds: bounds(scene),
            memory_bytes: loaded.memory.total_bytes(),
        })
    }
}

fn elements<'a>(document: &'a Value, list: &str) -> &'a [Value] {
    document.get(list).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn texts(list: &[Value]) -> Vec<String> {
    list.iter().filter_map(Value::as_str).map(printable).collect()
}

fn morph_targets(document: &Value) -> usize {
    let primitives = elements(document, "meshes").iter().flat_map(|mesh| elements(mesh, "primitives"));
    primitives.map(|primitive| elements(primitive, "targets").len()).sum()
}

/// The size of the map that the default scene carries.
fn environment_map(document: &Value) -> Option<[u64; 2]> {
    let index = document.get("scene").and_then(Value::as_u64).unwrap_or(0);
    let scene = elements(document, "scenes").get(usize::try_from(index).ok()?)?;
    let map = scene.get("extras")?.get(EXTRAS_KEY)?;
    Some([map.get("width")?.as_u64()?, map.get("height")?.as_u64()?])
}

fn light_counts(scene: &Scene) -> LightCounts {
    let mut counts = LightCounts::default();
    for light in &scene.lights {
        match light {
            PunctualLight::Directional { .. } => counts.directional += 1,
            // The cone of a light to all sides.
            PunctualLight::Point { cone: [0.0, 1.0], .. } => counts.point += 1,
            PunctualLight::Point { .. } => counts.spot += 1,
        }
    }
    let shines = |material: u32| scene.materials.get(material as usize).is_some_and(Material::shines);
    let emitters: Vec<usize> = scene
        .meshes
        .iter()
        .map(|mesh| mesh.triangles.iter().filter(|triangle| shines(triangle.material)).count())
        .collect();
    let of = |instance: &Instance| emitters.get(instance.mesh as usize).copied();
    counts.emissive_triangles = scene.instances.iter().filter_map(of).sum();
    counts
}

fn bounds(scene: &Scene) -> [[f32; 3]; 2] {
    let (mut low, mut high) = ([f32::INFINITY; 3], [f32::NEG_INFINITY; 3]);
    for instance in &scene.instances {
        let mesh: Option<&Mesh> = scene.meshes.get(instance.mesh as usize);
        for position in mesh.into_iter().flat_map(|mesh| &mesh.positions) {
            let placed = instance.to_world.point((*position).into()).to_array();
            for axis in 0..3 {
                low[axis] = low[axis].min(placed[axis]);
                high[axis] = high[axis].max(placed[axis]);
            }
        }
    }
    [low, high]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        limit::SceneLimits,
        scene::{
            generate::{SceneKind, generate},
            gltf::parse_package,
        },
    };

    #[test]
    fn the_cornell_box_has_its_ceiling_light_and_camera() {
        let package = generate(SceneKind::Cornell, 1, None);
        let loaded = parse_package(&package, &SceneLimits::default()).unwrap();
        let summary = SceneSummary::new(&package, &loaded).unwrap();
        assert_eq!(summary.unique_triangles, loaded.scene.unique_triangles());
        assert_eq!(summary.lights, LightCounts { emissive_triangles: 2, ..LightCounts::default() });
        assert_eq!((summary.cameras.len(), summary.animations.len(), summary.environment_map), (1, 0, None));
        assert_eq!(summary.extensions_used, ["KHR_materials_emissive_strength"]);
        assert!((0..3).all(|axis| summary.bounds[0][axis] < summary.bounds[1][axis]));
    }
}
