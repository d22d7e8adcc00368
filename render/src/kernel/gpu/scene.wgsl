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
    seed: u32,
    first_sample: u32,
    samples: u32,
    max_depth: u32,
    first_row: u32,
    row_count: u32,
    is_first: u32,
    light_count: u32,
    // There is but one instance, and it stands at the origin.
    is_alone: u32,
    clamp_to: f32,
    lens_radius: f32,
    focus_distance: f32,
    // First word of the environment in `words`, and its size.
    environment: u32,
    environment_width: u32,
    environment_height: u32,
    environment_strength: f32,
    environment_rotation: f32,
    environment_share: f32,
    // 1 / (1 - environment_share).
    stretch: f32,
    // All camera rays have one direction.
    parallel: u32,
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
    double_sided: u32,
    edge2: vec3<f32>,
    filtered: u32,
}

// What is needed to shade a triangle, in the scene's order. `place` is its place in leaf order.
struct ShadedTriangle {
    vertex0: u32,
    vertex1: u32,
    vertex2: u32,
    material: u32,
    place: u32,
    emitter: u32,
    pad0: u32,
    pad1: u32,
}

// Where the parts of a mesh begin; ABSENT where it has no such part.
struct Mesh {
    root: u32,
    first_triangle: u32,
    normals: u32,
    uvs0: u32,
    uvs1: u32,
    tangents: u32,
    colors: u32,
    // By how much the boxes of its triangles are larger than they.
    margin: f32,
}

struct Instance {
    to_world0: vec4<f32>,
    to_world1: vec4<f32>,
    to_world2: vec4<f32>,
    to_mesh0: vec4<f32>,
    to_mesh1: vec4<f32>,
    to_mesh2: vec4<f32>,
    mesh: u32,
    at_origin: u32,
    mirrors: u32,
    first_light: u32,
}

// Textures are indices into `textures`; ABSENT where there is none.
struct Material {
    base_color: vec4<f32>,
    emission: vec3<f32>,
    metallic: f32,
    roughness: f32,
    normal_scale: f32,
    dielectric_f0: f32,
    transmission: f32,
    clearcoat: f32,
    clearcoat_roughness: f32,
    // 0 opaque, 1 masked, 2 blended.
    alpha_mode: u32,
    alpha_cutoff: f32,
    // One for each of the slots that surface.wgsl names.
    textures: array<u32, 7>,
    // Bit 0 double-sided, bit 1 unlit.
    flags: u32,
}

// How a material looks a picture up.
struct TextureUse {
    // Rows of the map of texture coordinates; the fourth numbers are of no meaning.
    row0: vec4<f32>,
    row1: vec4<f32>,
    // First word of the picture in `words`, and its size.
    first: u32,
    width: u32,
    height: u32,
    // Bits 0-1 and 2-3 wrapping (0 repeat, 1 mirror, 2 clamp), bit 4 nearest, bit 5 coordinate set.
    flags: u32,
}

// A light: a triangle's corners, or position, intensity and axis of a point.
struct Light {
    a: vec3<f32>,
    density: f32,
    b: vec3<f32>,
    threshold: f32,
    c: vec3<f32>,
    other: u32,
    // 0 triangle, 1 point, 2 directional.
    kind: u32,
    instance: u32,
    primitive: u32,
    double_sided: u32,
    cone: vec2<f32>,
    range: f32,
    pad: u32,
}

const ABSENT = 0xffffffffu;
const FAR = 1e30;

// Not a uniform: gpu/device.rs says why.
@group(0) @binding(0) var<storage, read> params: Params;
// Arrays that may be larger than a binding are read through functions; gpu/parts.rs writes these, and bindings 1 to 4, 9
// and from 12 on: node_at (those above the instances, then those of each mesh), corners_at, shaded_at, attribute_at, and
// word_at (the 256 linear values of the sRGB codes, the table of albedos, then the pictures' pixels, a word each).
@group(0) @binding(5) var<storage, read> meshes: array<Mesh>;
@group(0) @binding(6) var<storage, read> instances: array<Instance>;
@group(0) @binding(7) var<storage, read> materials: array<Material>;
@group(0) @binding(8) var<storage, read> textures: array<TextureUse>;
@group(0) @binding(10) var<storage, read> lights: array<Light>;
// Sum of the radiance so far; the last word counts rays.
@group(0) @binding(11) var<storage, read_write> film: array<vec4<u32>>;
