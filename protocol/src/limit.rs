//! Every limit on what a peer may send, in one place. A message over one of them is refused before it is stored.

/// Longest edge of a frame, pixels.
pub const MAX_FRAME_EDGE_PX: u32 = 16_384;
/// Most pixels of a frame (one 16k x 8k frame).
pub const MAX_FRAME_PIXELS: u64 = 1 << 27;
/// Most samples per pixel, over all ranges of a frame.
pub const MAX_SAMPLES_PER_PIXEL: u32 = 1 << 20;
/// Most path segments.
pub const MAX_PATH_DEPTH: u32 = 64;
/// Latest moment of a scene, microseconds: a day.
pub const MAX_SCENE_TIME_US: u64 = 24 * 3600 * 1_000_000;
/// Radii of a lens and distances of focus, world units: products of them stay normal numbers of binary32.
pub const LENS_RANGE: std::ops::RangeInclusive<f32> = 1e-9..=1e9;
/// Radiances that indirect light may be clamped to.
pub const CLAMP_RANGE: std::ops::RangeInclusive<f32> = 1e-6..=1e9;
/// Most bytes of one tile's encoded pixels.
pub const MAX_TILE_BYTES: u32 = 64 << 20;
/// Edge of the blocks that a tile's Merkle tree is built over, pixels.
pub const MERKLE_BLOCK_EDGE_PX: u32 = 8;

/// Most bytes of a message's CBOR header on a work session.
pub const MAX_SESSION_HEADER_BYTES: u32 = 4 << 10;
/// Most payload bytes of one piece of a result: small, so that no tile delays another.
pub const MAX_PIECE_BYTES: u32 = 64 << 10;
/// Most bytes of a result's signed statement.
pub const MAX_STATEMENT_BYTES: usize = 512;
/// Most bytes of what one stage of a frame hands to the next.
pub const MAX_PLANE_BYTES: u32 = 64 << 20;
/// Most bytes of a picture's file that a stage sends.
pub const MAX_PICTURE_BYTES: u32 = MAX_TILE_BYTES;
/// Largest correction of a picture's exposure, stops.
pub const MAX_EXPOSURE_STOPS: f32 = 64.0;

/// Most bytes of a message's CBOR header on a step stream.
pub const MAX_STEP_HEADER_BYTES: u32 = 2 << 10;
/// Most bytes of a step's snapshot, or of what comes of it.
pub const MAX_STEP_BYTES: u32 = 128 << 10;
/// Most frames that one step simulates.
pub const MAX_STEP_TICKS: u16 = 12;
/// Longest time that a step may take, microseconds.
pub const MAX_STEP_BUDGET_US: u32 = 10_000_000;
/// Most bodies of a game's level.
pub const MAX_LEVEL_BODIES: u16 = 1024;
/// Most agents of a game's level.
pub const MAX_LEVEL_AGENTS: u16 = 2048;
/// Most sources of sound of a game's level.
pub const MAX_LEVEL_SOUNDS: u16 = 32;

/// Most tasks that a contributor may hold for one coordinator: the upper bound of any credit.
pub const MAX_CREDIT: u32 = 4096;
/// Longest text that a peer may send to be shown to a person (reasons, names), bytes.
pub const MAX_TEXT_BYTES: usize = 256;
/// Longest wait that a contributor may ask for, ms.
pub const MAX_RETRY_AFTER_MS: u32 = 60_000;

/// Most bytes of a scene package.
pub const MAX_SCENE_BYTES: u64 = 2 << 30;
/// Bytes of one scene chunk: a power of two times BLAKE3's 1 KiB, so that a chunk is a subtree.
pub const SCENE_CHUNK_BYTES: u32 = 256 << 10;
/// Most chunks of a scene package.
pub const MAX_SCENE_CHUNKS: u32 = (MAX_SCENE_BYTES / SCENE_CHUNK_BYTES as u64) as u32;

/// Most other nodes that a node which serves a package names.
pub const MAX_BLOB_OTHERS: usize = 32;

/// Most bytes of a signed heartbeat.
pub const MAX_HEARTBEAT_BYTES: usize = 4 << 10;
/// Largest difference between a heartbeat's clock and the receiver's, ms.
pub const MAX_CLOCK_SKEW_MS: u64 = 30_000;
/// Most scenes that a heartbeat names.
pub const MAX_HEARTBEAT_SCENES: usize = 32;

/// Most addresses in a ticket.
pub const MAX_TICKET_ADDRESSES: usize = 16;
/// Longest printed ticket, characters: room for the most addresses at their longest.
pub const MAX_TICKET_CHARS: usize = 8 << 10;
/// Longest address (multiaddr as text), bytes.
pub const MAX_ADDRESS_BYTES: usize = 256;

/// Deepest nesting of any CBOR that is decoded.
pub const MAX_CBOR_DEPTH: usize = 16;
/// Most items (array elements, map entries, scalars) of any CBOR that is decoded.
pub const MAX_CBOR_ITEMS: usize = 4096;
