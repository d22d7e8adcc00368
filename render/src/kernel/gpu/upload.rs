//! A scene as the GPU kernel reads it: the layout that scene.wgsl declares.

use bytemuck::{Pod, Zeroable};
use p2c2r_protocol::tile::TileRect;

use super::device::Gpu;
use crate::{
    backend::{RenderError, TileJob},
    prepared::PreparedScene,
    scene::{Scene, Wrap},
    texture::SRGB_TO_LINEAR,
};

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
    sun_direction: [f32; 3],
    has_sun: u32,
    sun_irradiance: [f32; 3],
    light_count: u32,
    seed: u32,
    first_sample: u32,
    /// Samples.
    pub samples: u32,
    max_depth: u32,
    first_row: u32,
    row_count: u32,
    is_first: u32,
    offset: f32,
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
    pad0: u32,
    edge2: [f32; 3],
    pad1: u32,
}

#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct GpuShading {
    normal0: [f32; 3],
    material: u32,
    normal1: [f32; 3],
    light: u32,
    normal2: [f32; 3],
    place: u32,
    uvs: [[f32; 2]; 3],
    pad: [f32; 2],
}

#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct GpuMaterial {
    base_color: [f32; 3],
    metallic: f32,
    emission: [f32; 3],
    roughness: f32,
    texture_first: u32,
    texture_width: u32,
    texture_height: u32,
    texture_wrap: u32,
}

#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct GpuLight {
    primitive: u32,
    cumulative: f32,
    area_density: f32,
    pad: u32,
}

/// A scene on the device.
pub struct ResidentScene {
    /// Of the prepared scene.
    pub id: u64,
    buffers: [wgpu::Buffer; 6],
}

impl ResidentScene {
    /// Copies a scene to the device.
    pub fn upload(gpu: &Gpu, scene: &PreparedScene) -> Result<Self, RenderError> {
        let bvh = scene.pair_bvh();
        let buffers = [
            gpu.storage(bytemuck::cast_slice(&bvh.nodes))?,
            gpu.storage(bytemuck::cast_slice(&corners(scene)))?,
            gpu.storage(bytemuck::cast_slice(&shading(scene)))?,
            gpu.storage(bytemuck::cast_slice(&materials(scene.scene())))?,
            gpu.storage(bytemuck::cast_slice(&lights(scene)))?,
            gpu.storage(bytemuck::cast_slice(&texels(scene.scene())))?,
        ];
        Ok(Self { id: scene.id(), buffers })
    }

    /// In the order of the bindings 1 to 6.
    pub fn buffers(&self) -> &[wgpu::Buffer; 6] {
        &self.buffers
    }
}

fn corners(scene: &PreparedScene) -> Vec<GpuCorners> {
    let order = &scene.pair_bvh().order;
    order
        .iter()
        .map(|primitive| {
            let corners = &scene.corners()[*primitive as usize];
            GpuCorners {
                corner: corners.corner.to_array(),
                primitive: *primitive,
                edge1: corners.edge1.to_array(),
                pad0: 0,
                edge2: corners.edge2.to_array(),
                pad1: 0,
            }
        })
        .collect()
}

fn shading(scene: &PreparedScene) -> Vec<GpuShading> {
    let mut places = vec![0; scene.triangle_count()];
    for (place, primitive) in scene.pair_bvh().order.iter().enumerate() {
        places[*primitive as usize] = place as u32;
    }
    let shaded = scene.shading().iter().zip(places);
    shaded
        .map(|(shading, place)| GpuShading {
            normal0: shading.normals[0].to_array(),
            material: shading.material,
            normal1: shading.normals[1].to_array(),
            light: shading.light,
            normal2: shading.normals[2].to_array(),
            place,
            uvs: shading.uvs,
            pad: [0.0; 2],
        })
        .collect()
}

fn materials(scene: &Scene) -> Vec<GpuMaterial> {
    let firsts: Vec<u32> = scene
        .textures
        .iter()
        .scan(0_u32, |first, texture| {
            let at = *first;
            *first += texture.texels.len() as u32;
            Some(at)
        })
        .collect();
    scene
        .materials
        .iter()
        .map(|material| {
            let texture = material
                .base_color_texture
                .map(|index| (&scene.textures[index as usize], firsts[index as usize]));
            GpuMaterial {
                base_color: material.base_color,
                metallic: material.metallic,
                emission: material.emission,
                roughness: material.roughness,
                texture_first: texture.map_or(0, |(_, first)| first),
                texture_width: texture.map_or(0, |(texture, _)| texture.width),
                texture_height: texture.map_or(0, |(texture, _)| texture.height),
                texture_wrap: texture
                    .map_or(0, |(texture, _)| wrap_code(texture.wrap[0]) | wrap_code(texture.wrap[1]) << 2),
            }
        })
        .collect()
}

fn wrap_code(wrap: Wrap) -> u32 {
    match wrap {
        Wrap::Repeat => 0,
        Wrap::Mirror => 1,
        Wrap::Clamp => 2,
    }
}

fn lights(scene: &PreparedScene) -> Vec<GpuLight> {
    let lights = scene.lights().lights().iter();
    lights
        .map(|light| GpuLight {
            primitive: light.primitive,
            cumulative: light.cumulative,
            area_density: light.area_density,
            pad: 0,
        })
        .collect()
}

fn texels(scene: &Scene) -> Vec<u32> {
    let table = SRGB_TO_LINEAR.iter().map(|value| value.to_bits());
    let pictures = scene
        .textures
        .iter()
        .flat_map(|texture| texture.texels.iter().map(|texel| u32::from_le_bytes(*texel)));
    table.chain(pictures).collect()
}

/// Bytes of a tile's sums.
pub fn film_bytes(rect: TileRect) -> u64 {
    rect.pixels() * 16
}

/// A whole tile as one dispatch.
pub fn params(scene: &PreparedScene, job: &TileJob) -> Params {
    let (view, rect) = (&job.view, job.rect);
    let sun = scene.scene().sun;
    let [sky_down, sky_up] = scene.scene().sky;
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
        sun_direction: sun.map_or([0.0; 3], |sun| sun.direction),
        has_sun: u32::from(sun.is_some()),
        sun_irradiance: sun.map_or([0.0; 3], |sun| sun.irradiance),
        light_count: scene.lights().lights().len() as u32,
        seed: view.sampling.seed,
        first_sample: view.sampling.first_sample,
        samples: view.sampling.samples,
        max_depth: view.sampling.max_depth,
        first_row: 0,
        row_count: rect.height,
        is_first: 1,
        offset: scene.offset(),
    }
}
