//! A scene as the GPU kernel reads it: the layout that scene.wgsl declares.

use bytemuck::{Pod, Zeroable};
use p2c2r_protocol::tile::TileRect;

use super::{
    device::Gpu,
    features::Features,
    parts::{ARRAYS, Parts},
};
use crate::{
    albedo,
    backend::{RenderError, TileJob},
    bvh::pair::{LEAF, PairBvh, PairNode},
    environment::EnvironmentLight,
    light::{Light, Source, TriangleLight},
    prepared::{PreparedInstance, PreparedMesh, PreparedScene},
    scene::{AlphaMode, Filter, Material, PunctualLight, Scene, TextureUse, Wrap},
    texture::SRGB_TO_LINEAR,
};

/// The parameters' binding.
const PARAMS: u32 = 0;
/// The film's, which is written.
pub const FILM: u32 = 11;
/// Where something would be that is not there.
const ABSENT: u32 = u32::MAX;
/// Numbers of words.wgsl's tables in front of the pictures.
const TABLE_WORDS: usize = 256 + albedo::EDGE * albedo::EDGE * 2;
const _: () = assert!(TABLE_WORDS == 2304, "as texture.wgsl says");

/// `Params` of scene.wgsl.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    origin: [f32; 3],
    width: u32,
    forward: [f32; 3],
    height: u32,
    right: [f32; 3],
    left_px: u32,
    up: [f32; 3],
    top_px: u32,
    sky_down: [f32; 3],
    /// Width of the tile, pixels.
    pub tile_width: u32,
    sky_up: [f32; 3],
    /// Height of the tile, pixels.
    pub tile_height: u32,
    seed: u32,
    first_sample: u32,
    /// Samples.
    pub samples: u32,
    max_depth: u32,
    first_row: u32,
    row_count: u32,
    is_first: u32,
    light_count: u32,
    is_alone: u32,
    clamp_to: f32,
    lens_radius: f32,
    focus_distance: f32,
    environment: u32,
    environment_size: [u32; 2],
    environment_strength: f32,
    environment_rotation: f32,
    environment_share: f32,
    stretch: f32,
    parallel: u32,
}

impl Params {
    /// Only some rows of the tile, and only some of its samples: (first, count) of each. The first samples begin the
    /// sums, the others add to them.
    pub fn part(mut self, (first_row, row_count): (u32, u32), (sample, samples): (u32, u32)) -> Self {
        self.first_row = first_row;
        self.row_count = row_count;
        self.first_sample += sample;
        self.samples = samples;
        self.is_first = u32::from(sample == 0);
        self
    }
}

#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct GpuCorners {
    corner: [f32; 3],
    primitive: u32,
    edge1: [f32; 3],
    double_sided: u32,
    edge2: [f32; 3],
    filtered: u32,
}

#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct GpuTriangle {
    vertices: [u32; 3],
    material: u32,
    place: u32,
    emitter: u32,
    pad: [u32; 2],
}

#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct GpuMesh {
    root: u32,
    first_triangle: u32,
    normals: u32,
    uvs: [u32; 2],
    tangents: u32,
    colors: u32,
    margin: f32,
}

#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct GpuInstance {
    to_world: [[f32; 4]; 3],
    to_mesh: [[f32; 4]; 3],
    mesh: u32,
    at_origin: u32,
    mirrors: u32,
    first_light: u32,
}

#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct GpuMaterial {
    base_color: [f32; 4],
    emission: [f32; 3],
    metallic: f32,
    roughness: f32,
    normal_scale: f32,
    dielectric_f0: f32,
    transmission: f32,
    clearcoat: f32,
    clearcoat_roughness: f32,
    alpha_mode: u32,
    alpha_cutoff: f32,
    textures: [u32; 7],
    flags: u32,
}

#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct GpuTexture {
    rows: [[f32; 4]; 2],
    first: u32,
    width: u32,
    height: u32,
    flags: u32,
}

#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct GpuLight {
    a: [f32; 3],
    density: f32,
    b: [f32; 3],
    threshold: f32,
    c: [f32; 3],
    alias: u32,
    kind: u32,
    instance: u32,
    primitive: u32,
    double_sided: u32,
    cone: [f32; 2],
    range: f32,
    pad: u32,
}

/// A scene on the device.
pub struct ResidentScene {
    /// Of the prepared scene.
    pub id: u64,
    /// What it needs of the kernel.
    pub features: Features,
    /// On the device.
    pub bytes: u64,
    /// How its arrays are cut.
    pub parts: Parts,
    buffers: Vec<(u32, wgpu::Buffer)>,
}

impl ResidentScene {
    /// Copies a scene to the device.
    pub fn upload(gpu: &Gpu, scene: &PreparedScene) -> Result<Self, RenderError> {
        let geometry = Geometry::of(scene);
        let (materials, textures) = materials(scene.scene());
        let instances: Vec<GpuInstance> = scene.instances().iter().map(instance).collect();
        let lights: Vec<GpuLight> = scene.lights().lights().iter().map(light).collect();
        let words = words(scene);
        let arrays: [&[u8]; ARRAYS] = [
            bytemuck::cast_slice(&geometry.nodes),
            bytemuck::cast_slice(&geometry.corners),
            bytemuck::cast_slice(&geometry.triangles),
            bytemuck::cast_slice(&geometry.attributes),
            bytemuck::cast_slice(&words),
        ];
        let parts = Parts::of(arrays.map(|array| array.len() as u64), gpu.max_scene_buffer_bytes)?;
        let cut = (0..ARRAYS).flat_map(|index| parts.cut(index, arrays[index]));
        let whole: [(u32, &[u8]); 5] = [
            (5, bytemuck::cast_slice(&geometry.meshes)),
            (6, bytemuck::cast_slice(&instances)),
            (7, bytemuck::cast_slice(&materials)),
            (8, bytemuck::cast_slice(&textures)),
            (10, bytemuck::cast_slice(&lights)),
        ];
        let buffers = cut
            .chain(whole)
            .map(|(binding, data)| Ok((binding, gpu.storage(data)?)))
            .collect::<Result<Vec<_>, RenderError>>()?;
        let bytes = buffers.iter().map(|(_, buffer)| buffer.size()).sum();
        Ok(Self { id: scene.id(), features: Features::of(scene), bytes, parts, buffers })
    }

    /// All bindings of a kernel for this scene.
    pub fn bindings(&self) -> Vec<u32> {
        let scene = self.buffers.iter().map(|(binding, _)| *binding);
        std::iter::once(PARAMS).chain(scene).chain(std::iter::once(FILM)).collect()
    }

    /// In the order of the bindings.
    pub fn buffers<'a>(&'a self, params: &'a wgpu::Buffer, film: &'a wgpu::Buffer) -> Vec<&'a wgpu::Buffer> {
        let scene = self.buffers.iter().map(|(_, buffer)| buffer);
        std::iter::once(params).chain(scene).chain(std::iter::once(film)).collect()
    }
}

/// All meshes, one behind the other.
#[derive(Default)]
struct Geometry {
    nodes: Vec<PairNode>,
    corners: Vec<GpuCorners>,
    triangles: Vec<GpuTriangle>,
    attributes: Vec<f32>,
    meshes: Vec<GpuMesh>,
}

impl Geometry {
    fn of(scene: &PreparedScene) -> Self {
        let trees = scene.pair_trees();
        let mut all = Self::default();
        let top = &trees.top;
        // A leaf of the tree above is an instance.
        all.nodes.extend(top.nodes.iter().map(|node| {
            node.with_codes(|code| {
                if code & LEAF == 0 {
                    return code;
                }
                let item = top.order.get((code & 0x07ff_ffff) as usize);
                LEAF | item.copied().unwrap_or_default()
            })
        }));
        for (mesh, tree) in scene.meshes().iter().zip(&trees.meshes) {
            all.add(scene, mesh, tree);
        }
        all
    }

    fn add(&mut self, scene: &PreparedScene, mesh: &PreparedMesh, tree: &PairBvh) {
        let (root, first) = (self.nodes.len() as u32, self.triangles.len() as u32);
        self.nodes.extend(
            tree.nodes.iter().map(|node| {
                node.with_codes(|code| if code & LEAF == 0 { code + root } else { code + first })
            }),
        );
        let mut places = vec![0; mesh.triangles().len()];
        for (place, primitive) in (first..).zip(&tree.order) {
            places[*primitive as usize] = place;
            self.corners.push(corners(scene, mesh, *primitive));
        }
        self.triangles.extend(mesh.triangles().iter().zip(places).map(|(triangle, place)| GpuTriangle {
            vertices: triangle.vertices,
            material: triangle.material,
            place,
            emitter: triangle.emitter,
            pad: [0; 2],
        }));
        let attributes = mesh.attributes();
        let described = GpuMesh {
            root,
            first_triangle: first,
            normals: self.attribute(&attributes.normals),
            uvs: [self.attribute(&attributes.uvs[0]), self.attribute(&attributes.uvs[1])],
            tangents: self.attribute(&attributes.tangents),
            colors: self.attribute(&attributes.colors),
            margin: mesh.margin(),
        };
        self.meshes.push(described);
    }

    fn attribute<const N: usize>(&mut self, values: &[[f32; N]]) -> u32 {
        if values.is_empty() {
            return ABSENT;
        }
        let first = self.attributes.len() as u32;
        self.attributes.extend(values.as_flattened());
        first
    }
}

fn corners(scene: &PreparedScene, mesh: &PreparedMesh, primitive: u32) -> GpuCorners {
    let triangle = &mesh.triangles()[primitive as usize];
    let material = &scene.scene().materials[triangle.material as usize];
    let corners = scene.forest().trees.corners(triangle.place);
    GpuCorners {
        corner: corners.corner.to_array(),
        primitive,
        edge1: corners.edge1.to_array(),
        double_sided: u32::from(material.double_sided),
        edge2: corners.edge2.to_array(),
        filtered: u32::from(material.alpha != AlphaMode::Opaque),
    }
}

fn instance(instance: &PreparedInstance) -> GpuInstance {
    GpuInstance {
        to_world: instance.to_world.0,
        to_mesh: instance.to_mesh.0,
        mesh: instance.mesh,
        at_origin: u32::from(instance.at_origin),
        mirrors: u32::from(instance.mirrors),
        first_light: instance.first_light,
    }
}

/// The materials, and how they look their pictures up.
fn materials(scene: &Scene) -> (Vec<GpuMaterial>, Vec<GpuTexture>) {
    let firsts: Vec<u32> = scene
        .images
        .iter()
        .scan(0_u32, |first, image| {
            let at = *first;
            *first += image.texels.len() as u32;
            Some(at)
        })
        .collect();
    let mut textures = Vec::new();
    let mut used = |texture: Option<&TextureUse>| {
        let Some(texture) = texture else { return ABSENT };
        textures.push(texture_use(scene, texture, &firsts));
        textures.len() as u32 - 1
    };
    let materials = scene.materials.iter().map(|material| described(material, &mut used)).collect();
    (materials, textures)
}

fn described(material: &Material, used: &mut dyn FnMut(Option<&TextureUse>) -> u32) -> GpuMaterial {
    let (alpha_mode, alpha_cutoff) = match material.alpha {
        AlphaMode::Opaque => (0, 0.0),
        AlphaMode::Mask { cutoff } => (1, cutoff),
        AlphaMode::Blend => (2, 0.0),
    };
    GpuMaterial {
        base_color: material.base_color,
        emission: material.emission,
        metallic: material.metallic,
        roughness: material.roughness,
        normal_scale: material.normal_scale,
        dielectric_f0: material.dielectric_f0,
        transmission: material.transmission,
        clearcoat: material.clearcoat,
        clearcoat_roughness: material.clearcoat_roughness,
        alpha_mode,
        alpha_cutoff,
        textures: [
            used(material.base_color_texture.as_ref()),
            used(material.metallic_roughness_texture.as_ref()),
            used(material.normal_texture.as_ref()),
            used(material.emissive_texture.as_ref()),
            used(material.transmission_texture.as_ref()),
            used(material.clearcoat_texture.as_ref()),
            used(material.clearcoat_roughness_texture.as_ref()),
        ],
        flags: u32::from(material.double_sided) | u32::from(material.unlit) << 1,
    }
}

fn texture_use(scene: &Scene, used: &TextureUse, firsts: &[u32]) -> GpuTexture {
    let texture = &scene.textures[used.texture as usize];
    let image = &scene.images[texture.image as usize];
    let [wrap_x, wrap_y] = texture.wrap.map(wrap_code);
    let nearest = u32::from(texture.filter == Filter::Nearest);
    GpuTexture {
        rows: used.transform.map(|[a, b, moved]| [a, b, moved, 0.0]),
        first: firsts[texture.image as usize],
        width: image.width,
        height: image.height,
        flags: wrap_x | wrap_y << 2 | nearest << 4 | (used.uv_set & 1) << 5,
    }
}

fn wrap_code(wrap: Wrap) -> u32 {
    match wrap {
        Wrap::Repeat => 0,
        Wrap::Mirror => 1,
        Wrap::Clamp => 2,
    }
}

fn light(light: &Light) -> GpuLight {
    let mut uploaded = GpuLight {
        density: light.density,
        threshold: light.threshold,
        alias: light.alias,
        ..GpuLight::zeroed()
    };
    match &light.source {
        Source::Triangle(TriangleLight { instance, primitive, corners, double_sided }) => {
            uploaded.a = corners.corner.to_array();
            uploaded.b = corners.edge1.to_array();
            uploaded.c = corners.edge2.to_array();
            uploaded.instance = *instance;
            uploaded.primitive = *primitive;
            uploaded.double_sided = u32::from(*double_sided);
        }
        Source::Punctual(PunctualLight::Point { position, intensity, axis, cone, range }) => {
            uploaded.kind = 1;
            uploaded.a = *position;
            uploaded.b = *intensity;
            uploaded.c = *axis;
            uploaded.cone = *cone;
            uploaded.range = *range;
        }
        Source::Punctual(PunctualLight::Directional { direction, irradiance }) => {
            uploaded.kind = 2;
            uploaded.b = *irradiance;
            uploaded.c = *direction;
        }
    }
    uploaded
}

/// The linear values of the 256 sRGB codes, the table of albedos, the pictures' texels, a word each, and the environment
/// as environment.rs lays it out.
fn words(scene: &PreparedScene) -> Vec<u32> {
    let linear = SRGB_TO_LINEAR.iter().map(|value| value.to_bits());
    let albedos = albedo::TABLE.iter().flatten().map(|value| value.to_bits());
    let environment = scene.environment().map_or(&[][..], EnvironmentLight::words);
    let texels = scene.scene().images.iter().flat_map(|image| &image.texels);
    let texels = texels.map(|texel| u32::from_le_bytes(*texel));
    linear.chain(albedos).chain(texels).chain(environment.iter().copied()).collect()
}

/// Bytes of a pixel's sums and rays.
pub const PIXEL_BYTES: usize = 32;

/// Bytes of a tile's.
pub fn film_bytes(rect: TileRect) -> u64 {
    rect.pixels() * PIXEL_BYTES as u64
}

/// A whole tile as one dispatch.
pub fn params(scene: &PreparedScene, job: &TileJob) -> Params {
    let (view, rect) = (&job.view, job.rect);
    let [sky_down, sky_up] = scene.scene().sky;
    let texels: usize = scene.scene().images.iter().map(|image| image.texels.len()).sum();
    let environment = scene.environment();
    let (environment_width, environment_height) = environment.map_or((0, 0), EnvironmentLight::size);
    Params {
        origin: view.camera.origin,
        width: view.size.width_px(),
        forward: view.camera.forward,
        height: view.size.height_px(),
        right: view.camera.right,
        left_px: rect.x,
        up: view.camera.up,
        top_px: rect.y,
        sky_down,
        tile_width: rect.width,
        sky_up,
        tile_height: rect.height,
        seed: view.sampling.seed,
        first_sample: view.sampling.first_sample,
        samples: view.sampling.samples,
        max_depth: view.sampling.max_depth,
        first_row: 0,
        row_count: rect.height,
        is_first: 1,
        light_count: scene.lights().lights().len() as u32,
        is_alone: u32::from(scene.is_alone()),
        clamp_to: view.sampling.clamp,
        lens_radius: view.camera.lens_radius,
        focus_distance: view.camera.focus_distance,
        environment: (TABLE_WORDS + texels) as u32,
        environment_size: [environment_width, environment_height],
        environment_strength: environment.map_or(0.0, EnvironmentLight::strength),
        environment_rotation: environment.map_or(0.0, EnvironmentLight::rotation),
        environment_share: scene.lights().environment_share(),
        stretch: scene.lights().stretch(),
        parallel: u32::from(view.camera.parallel),
    }
}
