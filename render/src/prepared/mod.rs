//! A scene made ready for the kernels: meshes with their trees, instances with one above them, a table of lights.

mod mesh;

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

use rayon::prelude::*;

pub use self::mesh::{NO_EMITTER, PreparedMesh, ShadedTriangle, blended};
use crate::{
    bvh::{
        Aabb, Hit,
        build::build_with_leaves,
        pack::LANES,
        pair::PairBvh,
        walk::{Forest, Placement, Stack},
        wide::WideBvh,
    },
    environment::EnvironmentLight,
    light::{Candidate, LightTable, NO_LIGHT, Source, TriangleLight, area, punctual_power},
    math::{Vec3, luminance, square_root},
    prefetch::prefetch,
    ray::{Corners, Ray},
    scene::{Affine, Instance, Mesh, Scene},
};

/// An instance's box is larger than its mesh by this share of the largest coordinate: the way into the mesh's space
/// rounds, too.
const INSTANCE_MARGIN_SHARE: f32 = 1e-5;

/// A mesh at a place.
#[derive(Debug, Clone)]
pub struct PreparedInstance {
    /// Index of the mesh.
    pub mesh: u32,
    /// From the mesh to the world.
    pub to_world: Affine,
    /// Back again.
    pub to_mesh: Affine,
    /// Mesh and world are the same.
    pub at_origin: bool,
    /// Turns left hands into right ones.
    pub mirrors: bool,
    /// The light of the mesh's first emitter; the others follow.
    pub first_light: u32,
}

impl PreparedInstance {
    fn new(instance: &Instance) -> Self {
        let [x, y, z]: [Vec3; 3] =
            std::array::from_fn(|axis| instance.to_world.0.map(|row| row[axis]).into());
        Self {
            mesh: instance.mesh,
            to_world: instance.to_world,
            to_mesh: instance.to_mesh,
            at_origin: instance.to_world == Affine::IDENTITY,
            mirrors: crate::math::dot(crate::math::cross(x, y), z) < 0.0,
            first_light: NO_LIGHT,
        }
    }

    /// The ray in the mesh's space: the same distances along a direction of another length.
    #[inline(always)]
    pub fn inward(&self, ray: &Ray) -> Ray {
        if self.at_origin {
            return *ray;
        }
        Ray { origin: self.to_mesh.point(ray.origin), direction: self.to_mesh.vector(ray.direction) }
    }
}

/// A scene that can be rendered.
#[derive(Debug)]
pub struct PreparedScene {
    id: u64,
    /// Without its meshes, instances and environment.
    scene: Scene,
    meshes: Vec<PreparedMesh>,
    instances: Vec<PreparedInstance>,
    forest: Forest,
    lights: LightTable,
    environment: Option<EnvironmentLight>,
    pairs: OnceLock<PairTrees>,
    triangles: usize,
}

/// The GPU kernel's trees.
#[derive(Debug)]
pub struct PairTrees {
    /// Over the instances.
    pub top: PairBvh,
    /// Over each mesh's triangles.
    pub meshes: Vec<PairBvh>,
}

impl PreparedScene {
    /// Builds everything. The scene has at least one instance, and all its indices are in range: the loaders see to
    /// it.
    pub fn build(mut scene: Scene) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let triangles = scene.placed_triangles();
        let sources = std::mem::take(&mut scene.meshes);
        let built: Vec<(PreparedMesh, WideBvh)> =
            sources.into_par_iter().map(|mesh: Mesh| PreparedMesh::build(mesh, &scene)).collect();
        let mut instances: Vec<PreparedInstance> =
            std::mem::take(&mut scene.instances).iter().map(PreparedInstance::new).collect();
        let boxes: Vec<Aabb> = instances
            .iter()
            .map(|instance| instance_box(instance, built[instance.mesh as usize].0.bounds()))
            .collect();
        let alone = matches!(instances.as_slice(), [only] if only.at_origin);
        let (meshes, forest) = plant(built, &instances, &boxes, alone);
        // The map itself is not needed any more: what the kernels read of it is in there.
        let environment = scene.environment.take().as_ref().map(EnvironmentLight::build);
        let sky_power = environment.as_ref().map_or(0.0, EnvironmentLight::power);
        let lights = light_table(&scene, &meshes, &forest.trees, &mut instances, &boxes, sky_power);
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            forest,
            lights,
            environment,
            pairs: OnceLock::new(),
            triangles,
            instances,
            meshes,
            scene,
        }
    }

    /// Tells prepared scenes apart within the process.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Materials, textures, cameras and sky.
    pub fn scene(&self) -> &Scene {
        &self.scene
    }

    /// Triangles as seen: those of an instanced mesh count once for each instance.
    pub fn triangle_count(&self) -> usize {
        self.triangles
    }

    /// Triangles in memory: those of an instanced mesh count once.
    pub fn unique_triangle_count(&self) -> usize {
        self.meshes.iter().map(|mesh| mesh.triangles().len()).sum()
    }

    /// Memory that it takes, pictures aside, bytes.
    pub fn geometry_bytes(&self) -> usize {
        self.meshes.iter().map(PreparedMesh::memory_bytes).sum::<usize>()
            + size_of_val(&*self.instances)
            + size_of_val(self.lights.lights())
            + size_of_val(&*self.forest.placements)
            + self.forest.trees.memory_bytes()
    }

    /// Memory that it takes, bytes.
    pub fn memory_bytes(&self) -> usize {
        let texels: usize = self.scene.images.iter().map(|image| image.texels.len() * 4).sum();
        let pairs = self.pairs.get().map_or(0, |pairs| {
            pairs.top.memory_bytes() + pairs.meshes.iter().map(PairBvh::memory_bytes).sum::<usize>()
        });
        let environment = self.environment.as_ref().map_or(0, EnvironmentLight::memory_bytes);
        self.geometry_bytes() + pairs + texels + environment
    }

    /// The meshes.
    pub fn meshes(&self) -> &[PreparedMesh] {
        &self.meshes
    }

    /// The instances, in the scene's order.
    pub fn instances(&self) -> &[PreparedInstance] {
        &self.instances
    }

    /// Whether there is but one instance, and it stands at the origin.
    pub fn is_alone(&self) -> bool {
        self.forest.alone
    }

    /// What shines.
    pub fn lights(&self) -> &LightTable {
        &self.lights
    }

    /// Light from all around, in place of the scene's sky.
    #[inline(always)]
    pub fn environment(&self) -> Option<&EnvironmentLight> {
        self.environment.as_ref()
    }

    /// The GPU kernel's trees, laid out when they are first wanted: keeping the trees that both layouts come from
    /// would cost every node their memory.
    pub fn pair_trees(&self) -> &PairTrees {
        self.pairs.get_or_init(|| {
            let boxes: Vec<Aabb> = self.forest.placements.iter().map(|placement| placement.bounds).collect();
            let meshes =
                self.meshes.par_iter().map(|mesh| PairBvh::new(&mesh.tree(&self.forest.trees))).collect();
            PairTrees { top: PairBvh::new(&build_with_leaves(&boxes, 1)), meshes }
        })
    }

    /// The CPU kernel's trees.
    #[inline(always)]
    pub fn forest(&self) -> &Forest {
        &self.forest
    }

    /// The triangle of a hit, in its mesh's space.
    #[inline(always)]
    pub fn corners(&self, hit: &Hit) -> Corners {
        self.forest.trees.corners(hit.place)
    }

    /// Asks for the memory that shading a hit begins with.
    #[inline(always)]
    pub fn announce_triangle(&self, hit: &Hit) {
        let mesh = &self.meshes[self.instances[hit.instance as usize].mesh as usize];
        prefetch(&mesh.triangles()[hit.primitive as usize]);
        prefetch(&self.forest.trees.packs()[hit.place as usize / LANES]);
    }

    /// Asks for the memory that it goes on with.
    #[inline(always)]
    pub fn announce_attributes(&self, hit: &Hit) {
        let mesh = &self.meshes[self.instances[hit.instance as usize].mesh as usize];
        for vertex in mesh.triangles()[hit.primitive as usize].vertices {
            let attributes = mesh.attributes();
            prefetch(&attributes.normals[vertex as usize]);
            if let Some(uv) = attributes.uvs[0].get(vertex as usize) {
                prefetch(uv);
            }
        }
    }

    /// The first thing that a ray hits when everything is solid.
    pub fn closest_solid(&self, ray: &Ray, t_max: f32, stack: &mut Stack) -> Hit {
        self.forest.closest_solid(ray, t_max, stack)
    }
}

/// What contains an instance in the world.
fn instance_box(instance: &PreparedInstance, inner: &Aabb) -> Aabb {
    if instance.at_origin {
        return *inner;
    }
    let corner = |index: usize| {
        let pick = |axis: usize| if index >> axis & 1 == 0 { inner.low[axis] } else { inner.high[axis] };
        instance.to_world.point(Vec3::from([pick(0), pick(1), pick(2)])).to_array()
    };
    let exact = (0..8).map(corner).fold(Aabb::EMPTY, Aabb::with_point);
    exact.grown(exact.reach() * INSTANCE_MARGIN_SHARE)
}

/// Puts all trees one behind the other.
fn plant(
    built: Vec<(PreparedMesh, WideBvh)>,
    instances: &[PreparedInstance],
    boxes: &[Aabb],
    alone: bool,
) -> (Vec<PreparedMesh>, Forest) {
    let mut trees =
        if alone { WideBvh::default() } else { WideBvh::over_items(&build_with_leaves(boxes, 1)) };
    let meshes: Vec<PreparedMesh> =
        built.into_iter().map(|(mesh, tree)| mesh.moved(trees.append(tree))).collect();
    trees.shrink();
    let placements = instances.iter().zip(boxes).map(|(instance, bounds)| {
        let mesh = &meshes[instance.mesh as usize];
        Placement {
            to_mesh: instance.to_mesh,
            at_origin: instance.at_origin,
            bounds: *bounds,
            root: mesh.root(),
            margin: mesh.margin(),
        }
    });
    let forest = Forest { placements: placements.collect(), trees, alone };
    (meshes, forest)
}

fn light_table(
    scene: &Scene,
    meshes: &[PreparedMesh],
    trees: &WideBvh,
    instances: &mut [PreparedInstance],
    boxes: &[Aabb],
    sky_power: f64,
) -> LightTable {
    let mut candidates = Vec::new();
    for (index, instance) in (0_u32..).zip(instances.iter_mut()) {
        let mesh = &meshes[instance.mesh as usize];
        if !mesh.emitters().is_empty() {
            instance.first_light = candidates.len() as u32;
        }
        for primitive in mesh.emitters() {
            let triangle = &mesh.triangles()[*primitive as usize];
            let material = &scene.materials[triangle.material as usize];
            let inner = trees.corners(triangle.place);
            let corners = Corners {
                corner: instance.to_world.point(inner.corner),
                edge1: instance.to_world.vector(inner.edge1),
                edge2: instance.to_world.vector(inner.edge2),
            };
            let sides = if material.double_sided { 2.0 } else { 1.0 };
            let glow = luminance(mesh.mean_emission(scene, triangle));
            // Every emitter keeps its place in the table, however weak: its index is counted from the first.
            let power = (glow * area(&corners) * sides * std::f32::consts::PI).max(f32::MIN_POSITIVE);
            let source = Source::Triangle(TriangleLight {
                instance: index,
                primitive: *primitive,
                corners,
                double_sided: material.double_sided,
            });
            candidates.push(Candidate { source, power });
        }
    }
    let whole = boxes.iter().fold(Aabb::EMPTY, Aabb::union);
    let [x, y, z]: [f32; 3] = std::array::from_fn(|axis| (whole.high[axis] - whole.low[axis]) * 0.5);
    let radius = square_root(x * x + y * y + z * z).max(1e-6);
    candidates.extend(scene.lights.iter().map(|light| Candidate {
        source: Source::Punctual(*light),
        power: punctual_power(light, radius).max(f32::MIN_POSITIVE),
    }));
    // As a light from far away, it covers the whole scene.
    let covered = std::f64::consts::PI * f64::from(radius) * f64::from(radius);
    LightTable::build(candidates, sky_power * covered)
}
