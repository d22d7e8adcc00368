// What the kernel reads: the layout that kernel/gpu/upload.rs writes.

struct Params {
    origin: vec3<f32>,
    width: u32,
    forward: vec3<f32>,
    height: u32,
    right: vec3<f32>,
    left_px: u32,
    up: vec3<f32>,
    top_px: u32,
    sky_down: vec3<f32>,
    tile_width: u32,
    sky_up: vec3<f32>,
    tile_height: u32,
    sun_direction: vec3<f32>,
    has_sun: u32,
    sun_irradiance: vec3<f32>,
    light_count: u32,
    seed: u32,
    first_sample: u32,
    samples: u32,
    max_depth: u32,
    first_row: u32,
    row_count: u32,
    is_first: u32,
    offset: f32,
}

struct Node {
    low0: vec3<f32>,
    code0: u32,
    high0: vec3<f32>,
    code1: u32,
    low1: vec3<f32>,
    pad0: u32,
    high1: vec3<f32>,
    pad1: u32,
}

// A triangle in leaf order.
struct Corners {
    corner: vec3<f32>,
    primitive: u32,
    edge1: vec3<f32>,
    pad0: u32,
    edge2: vec3<f32>,
    pad1: u32,
}

// What is needed to shade a triangle, in the scene's order. `place` is its place in leaf order.
struct Shading {
    normal0: vec3<f32>,
    material: u32,
    normal1: vec3<f32>,
    light: u32,
    normal2: vec3<f32>,
    place: u32,
    uv0: vec2<f32>,
    uv1: vec2<f32>,
    uv2: vec2<f32>,
    pad: vec2<f32>,
}

struct Material {
    base_color: vec3<f32>,
    metallic: f32,
    emission: vec3<f32>,
    roughness: f32,
    // First word of the picture in `texels`, its size, and its wrapping: 0 repeat, 1 mirror, 2 clamp. No picture: width 0.
    texture_first: u32,
    texture_width: u32,
    texture_height: u32,
    texture_wrap: u32,
}

struct Light {
    primitive: u32,
    cumulative: f32,
    area_density: f32,
    pad: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> nodes: array<Node>;
@group(0) @binding(2) var<storage, read> triangles: array<Corners>;
@group(0) @binding(3) var<storage, read> shadings: array<Shading>;
@group(0) @binding(4) var<storage, read> materials: array<Material>;
@group(0) @binding(5) var<storage, read> lights: array<Light>;
// The 256 linear values of the sRGB codes, then the pictures' pixels, a word each.
@group(0) @binding(6) var<storage, read> texels: array<u32>;
// Sum of the radiance so far; the last word counts rays.
@group(0) @binding(7) var<storage, read_write> film: array<vec4<u32>>;
