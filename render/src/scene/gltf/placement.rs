//! Where the nodes put the meshes: one mesh in world space for all that is seen once, instances for the rest.

use std::{
    borrow::Cow,
    collections::{BTreeMap, btree_map::Entry},
};

use super::{
    accessor::Source,
    geometry::{Budget, Deformation, FALLBACK_NORMAL, LocalPrimitive, MeshReader, within},
    morph::MorphWork,
    skin::Skins,
    transform::Transform,
    warnings::Warnings,
};
use crate::{
    limit::{MAX_COORDINATE, SceneLimits},
    scene::{Affine, Instance, Mesh, Scene, Triangle, error::SceneError},
};

/// Meshes of fewer triangles are copied to each place: a step into an instance costs more than a few triangles.
pub(super) const MIN_INSTANCED_TRIANGLES: usize = 64;

/// A mesh that a node shows.
#[derive(Debug)]
pub(super) struct Placed<'a> {
    /// Index into the document's meshes.
    pub(super) mesh: u32,
    /// From the mesh to the world.
    pub(super) transform: Transform,
    /// Index into the document's skins.
    pub(super) skin: Option<u32>,
    /// Of the mesh's morph targets, if the node has its own.
    pub(super) weights: Option<Cow<'a, [f32]>>,
}

impl Placed<'_> {
    /// Whether the node gives the mesh a shape of its own, which no other node shares.
    pub(super) fn is_deformed(&self) -> bool {
        self.skin.is_some() || self.weights.is_some()
    }
}

/// What the walk over the nodes has met.
#[derive(Debug, Default)]
pub(super) struct Placements<'a> {
    placed: Vec<Placed<'a>>,
}

/// A mesh of the document, read.
struct LocalMesh {
    primitives: Vec<LocalPrimitive>,
    /// The scene's mesh, if it is instanced.
    shared: Option<u32>,
}

impl<'a> Placements<'a> {
    /// Notes that a node shows a mesh.
    pub(super) fn add(&mut self, placed: Placed<'a>) {
        self.placed.push(placed);
    }

    /// The meshes that are shown, in the order of the walk.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Placed<'a>> {
        self.placed.iter()
    }

    /// Makes meshes and instances of it all.
    pub(super) fn build(
        self,
        source: Source<'_>,
        skins: &Skins,
        limits: &SceneLimits,
        scene: &mut Scene,
        warnings: &mut Warnings,
    ) -> Result<(), SceneError> {
        let mut uses = BTreeMap::<u32, usize>::new();
        for placed in self.placed.iter().filter(|placed| !placed.is_deformed()) {
            *uses.entry(placed.mesh).or_default() += 1;
        }
        let mut reader = MeshReader { source, warnings, morph_work: MorphWork::default() };
        let mut builder = Builder { limits, scene, vertices: 0, triangles: 0 };
        let mut world = Mesh::default();
        let mut instances = Vec::new();
        let mut local = BTreeMap::<u32, LocalMesh>::new();
        for placed in &self.placed {
            let index = placed.mesh;
            if placed.is_deformed() {
                let joints = placed.skin.and_then(|skin| skins.joints(skin));
                let deformation = Deformation { weights: placed.weights.as_deref(), joints };
                for primitive in reader.read(index, deformation, builder.budget())? {
                    let stands = if primitive.in_world { &Transform::IDENTITY } else { &placed.transform };
                    builder.copy(&primitive, stands, &mut world)?;
                }
                continue;
            }
            let mesh = match local.entry(index) {
                Entry::Occupied(read) => read.into_mut(),
                Entry::Vacant(place) => {
                    let primitives = reader.read(index, Deformation::default(), builder.budget())?;
                    let seen = uses.get(&index).copied().unwrap_or_default();
                    let shared = builder.share(&primitives, seen)?;
                    place.insert(LocalMesh { primitives, shared })
                }
            };
            match mesh.shared.and_then(|shared| Some((shared, placed.transform.invertible()?))) {
                Some((shared, (to_world, to_mesh))) => {
                    let instance = Instance { mesh: shared, to_world, to_mesh };
                    check_reach(&mesh.primitives, &instance)?;
                    instances.push(instance);
                }
                None => {
                    for primitive in &mesh.primitives {
                        builder.copy(primitive, &placed.transform, &mut world)?;
                    }
                }
            }
        }
        builder.finish(world, instances);
        Ok(())
    }
}

struct Builder<'a> {
    limits: &'a SceneLimits,
    scene: &'a mut Scene,
    vertices: u64,
    triangles: u64,
}

impl<'a> Builder<'a> {
    fn budget(&self) -> Budget<'a> {
        Budget { limits: self.limits, vertices_used: self.vertices, triangles_used: self.triangles }
    }

    /// The scene's mesh for one that is seen so often; `None` if it is copied instead.
    fn share(&mut self, primitives: &[LocalPrimitive], seen: usize) -> Result<Option<u32>, SceneError> {
        let triangles: usize = primitives.iter().map(|primitive| primitive.triangles.len()).sum();
        if seen < 2 || triangles < MIN_INSTANCED_TRIANGLES {
            return Ok(None);
        }
        let mut mesh = Mesh::default();
        for primitive in primitives {
            self.copy(primitive, &Transform::IDENTITY, &mut mesh)?;
        }
        self.scene.meshes.push(mesh);
        Ok(Some(self.scene.meshes.len() as u32 - 1))
    }

    /// The scene's index of a document's material; the default one is the last.
    fn material(&self, primitive: &LocalPrimitive) -> Result<u32, SceneError> {
        let default = self.scene.materials.len() as u32 - 1;
        match primitive.material {
            None => Ok(default),
            Some(index) if index < default => Ok(index),
            Some(index) => Err(SceneError::at(
                &*primitive.place,
                format!("refers to material {index}, and the file has {default} of them"),
            )),
        }
    }

    /// Adds a primitive, seen through a transform, to a mesh.
    fn copy(
        &mut self,
        primitive: &LocalPrimitive,
        transform: &Transform,
        mesh: &mut Mesh,
    ) -> Result<(), SceneError> {
        let (vertices, triangles) = (primitive.positions.len(), primitive.triangles.len());
        self.budget().check(vertices as u64, triangles as u64)?;
        self.vertices += vertices as u64;
        self.triangles += triangles as u64;
        let material = self.material(primitive)?;
        let base = mesh.positions.len();
        for (number, position) in primitive.positions.iter().enumerate() {
            let placed = transform.point(*position);
            if !within(&placed, MAX_COORDINATE) {
                return Err(too_far(&primitive.place, number));
            }
            mesh.positions.push(placed);
        }
        let normals = transform.normals();
        let turned =
            primitive.normals.iter().map(|normal| normals.normal(*normal).unwrap_or(FALLBACK_NORMAL));
        mesh.normals.extend(turned);
        let hand = if normals.mirrors { -1.0 } else { 1.0 };
        let tangents = primitive.tangents.iter().map(|[x, y, z, side]| {
            let turned = transform.direction([*x, *y, *z]);
            turned.map_or([0.0; 4], |[x, y, z]| [x, y, z, if *side < 0.0 { -hand } else { hand }])
        });
        extend(&mut mesh.tangents, tangents, base, vertices, [0.0; 4]);
        extend(&mut mesh.colors, primitive.colors.iter().copied(), base, vertices, [1.0; 4]);
        for (set, read) in mesh.uvs.iter_mut().zip(&primitive.uvs) {
            extend(set, read.iter().copied(), base, vertices, [0.0; 2]);
        }
        mesh.triangles.extend(primitive.triangles.iter().map(|&[a, b, c]| {
            let wound = if normals.mirrors { [a, c, b] } else { [a, b, c] };
            Triangle { vertices: wound.map(|index| base as u32 + index), material }
        }));
        Ok(())
    }

    /// What is seen once stands first, at the origin.
    fn finish(self, world: Mesh, instances: Vec<Instance>) {
        self.scene.instances = instances;
        if !world.triangles.is_empty() {
            let mesh = self.scene.meshes.len() as u32;
            self.scene.meshes.push(world);
            let origin = Instance { mesh, to_world: Affine::IDENTITY, to_mesh: Affine::IDENTITY };
            self.scene.instances.insert(0, origin);
        }
        self.scene.instances.retain(|instance| {
            self.scene.meshes.get(instance.mesh as usize).is_some_and(|mesh| !mesh.triangles.is_empty())
        });
    }
}

/// Whether an instance stays within reach: its farthest points are corners of its box.
fn check_reach(primitives: &[LocalPrimitive], instance: &Instance) -> Result<(), SceneError> {
    for primitive in primitives {
        let [low, high] = primitive.bounds();
        let far = (0..8).any(|corner| {
            let pick = |axis: usize| if corner >> axis & 1 == 0 { low[axis] } else { high[axis] };
            let placed = instance.to_world.point([pick(0), pick(1), pick(2)].into());
            !within(&placed.to_array(), MAX_COORDINATE)
        });
        if far {
            return Err(SceneError::at(
                &*primitive.place,
                format!("it is moved farther than {MAX_COORDINATE:e} from the origin by a node"),
            ));
        }
    }
    Ok(())
}

fn too_far(place: &str, number: usize) -> SceneError {
    SceneError::at(
        place,
        format!("vertex {number} is moved farther than {MAX_COORDINATE:e} from the origin by its node"),
    )
}

/// Adds a primitive's attribute to a mesh's. Where one of them has it and the other has not, the gap is filled.
fn extend<T: Copy>(
    list: &mut Vec<T>,
    read: impl ExactSizeIterator<Item = T>,
    base: usize,
    vertices: usize,
    missing: T,
) {
    if read.len() == 0 && list.is_empty() {
        return;
    }
    list.resize(base, missing);
    list.extend(read);
    list.resize(base + vertices, missing);
}
