//! Every limit on what a scene file may ask for, in one place. A scene over one of them is refused before the
//! memory for it is allocated.

use p2c2r_protocol::limit::MAX_SCENE_BYTES;

/// Most bytes of a GLB's JSON chunk. Parsed JSON takes several times its size in memory.
pub const MAX_JSON_BYTES: u64 = 64 << 20;
/// Most objects of a GLB's JSON, braces in its texts counted along.
pub const MAX_JSON_OBJECTS: u64 = 1 << 22;
/// Most triangles of a scene; those of an instanced mesh count once.
pub const MAX_TRIANGLES: u64 = 1 << 25;
/// Most vertices of a scene; those of an instanced mesh count once.
pub const MAX_VERTICES: u64 = 1 << 26;
/// Most nodes of a file.
pub const MAX_NODES: u64 = 1 << 20;
/// Deepest nesting of nodes.
pub const MAX_NODE_DEPTH: u32 = 1024;
/// Most materials of a file.
pub const MAX_MATERIALS: u64 = 1 << 16;
/// Most textures that a scene's materials use, counted once for each way of sampling a picture.
pub const MAX_TEXTURES: u64 = 4096;
/// Longest edge of a texture, pixels.
pub const MAX_TEXTURE_EDGE_PX: u32 = 16_384;
/// Most texture pixels of a scene.
pub const MAX_TEXTURE_PIXELS: u64 = 1 << 27;
/// Most memory of a prepared scene unless told otherwise, bytes: what a machine with 16 GiB has to spare.
pub const MAX_PREPARED_BYTES: u64 = 8 << 30;
/// Most cameras of a scene.
pub const MAX_CAMERAS: u64 = 1024;
/// Most lights without extent.
pub const MAX_LIGHTS: u64 = 65_536;
/// Most joints of a skin, and of all skins that are shown together.
pub const MAX_JOINTS: u64 = 1 << 16;
/// Most morph targets of a primitive.
pub const MAX_MORPH_TARGETS: usize = 4096;
/// Most vertices that morph targets move, counted once for each target that moves them.
pub const MAX_MORPHED_VERTICES: u64 = 1 << 28;
/// Most weights of morph targets that animations set.
pub const MAX_POSED_WEIGHTS: u64 = 1 << 22;
/// Most key frames of all animations together.
pub const MAX_KEY_FRAMES: u64 = 1 << 26;

/// Farthest that a vertex or camera may be from the origin on an axis, world units: squares of areas stay in `f32`.
pub const MAX_COORDINATE: f32 = 1e9;
/// Largest texture coordinate: beyond it neighbouring texels can no longer be told apart.
pub const MAX_TEXTURE_COORDINATE: f32 = 1e6;
/// Largest radiance that a material or the sky may emit.
pub const MAX_RADIANCE: f32 = 1e6;

/// Widest and highest picture that is read as an environment map, pixels.
pub const MAX_ENVIRONMENT_FILE_EDGE_PX: u32 = 16_384;
/// Most pixels of a picture that is read as an environment map.
pub const MAX_ENVIRONMENT_FILE_PIXELS: u64 = 1 << 26;
/// Most bytes of such a picture.
pub const MAX_ENVIRONMENT_FILE_BYTES: u64 = 1 << 30;
/// Most channels of such a picture, and most layers.
pub const MAX_ENVIRONMENT_FILE_CHANNELS: u64 = 64;
/// Widest environment map of a package, texels: larger ones are averaged down.
pub const MAX_ENVIRONMENT_WIDTH: u32 = 4096;
/// Highest environment map of a package, texels.
pub const MAX_ENVIRONMENT_HEIGHT: u32 = 2048;

/// Most material libraries that an OBJ file may name.
pub const MAX_MATERIAL_LIBRARIES: u64 = 256;
/// Most bytes of all material libraries of an OBJ file.
pub const MAX_MATERIAL_LIBRARY_BYTES: u64 = 64 << 20;
/// Longest line of a material library, bytes, and longest name of a material in an OBJ file.
pub const MAX_MATERIAL_LINE_BYTES: usize = 8192;

/// Most bytes of compiled GPU kernels that are kept for an adapter.
pub const MAX_PIPELINE_CACHE_BYTES: u64 = 64 << 20;
/// Bytes of scenes that stay on a GPU at most; the one in use always does.
pub const MAX_RESIDENT_SCENE_BYTES: u64 = 4 << 30;
/// Scenes that stay on a GPU at most.
pub const MAX_RESIDENT_SCENES: usize = 8;

/// Longest name or extension that is kept from a file, bytes.
pub const MAX_NAME_BYTES: usize = 128;
/// Most warnings that are kept for one scene.
pub const MAX_WARNINGS: usize = 32;
/// Longest URI that is followed, bytes. Data URIs are limited by the scene's bytes instead.
pub const MAX_URI_BYTES: usize = 4096;

/// Least triangles that a generator may be asked for.
pub const MIN_GENERATED_TRIANGLES: u32 = 12;
/// Most triangles that a generator may be asked for: its scene still loads.
pub const MAX_GENERATED_TRIANGLES: u32 = 20_000_000;

/// What a scene may cost the machine that loads it. The default is what every node of a swarm accepts; a node with
/// less memory may ask for less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SceneLimits {
    /// Most bytes of the package.
    pub package_bytes: u64,
    /// Most bytes of its JSON.
    pub json_bytes: u64,
    /// Most triangles; those of an instanced mesh count once.
    pub triangles: u64,
    /// Most vertices; those of an instanced mesh count once.
    pub vertices: u64,
    /// Most nodes.
    pub nodes: u64,
    /// Longest edge of a texture, pixels.
    pub texture_edge_px: u32,
    /// Most texture pixels.
    pub texture_pixels: u64,
    /// Most bytes of the scene once it is prepared, by the loader's estimate.
    pub prepared_bytes: u64,
}

impl Default for SceneLimits {
    fn default() -> Self {
        Self {
            package_bytes: MAX_SCENE_BYTES,
            json_bytes: MAX_JSON_BYTES,
            triangles: MAX_TRIANGLES,
            vertices: MAX_VERTICES,
            nodes: MAX_NODES,
            texture_edge_px: MAX_TEXTURE_EDGE_PX,
            texture_pixels: MAX_TEXTURE_PIXELS,
            prepared_bytes: MAX_PREPARED_BYTES,
        }
    }
}
