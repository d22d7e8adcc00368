//! What part of which picture: frame sizes, tile rectangles, sample ranges, cameras, pixel encodings.
//!
//! Coordinates are pixels, x to the right, y down, the origin in the frame's top left corner.

use serde::{Deserialize, Serialize};

use crate::limit::{MAX_FRAME_EDGE_PX, MAX_FRAME_PIXELS, MAX_PATH_DEPTH, MAX_SAMPLES_PER_PIXEL};

/// Why a value from a peer, a file or a user is no valid part of a picture.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GeometryError {
    /// A frame with no pixels, or with too many.
    #[error(
        "frame size {width_px}x{height_px} is out of range (1x1 to {MAX_FRAME_EDGE_PX}x{MAX_FRAME_EDGE_PX}, at most {MAX_FRAME_PIXELS} pixels)"
    )]
    FrameSize {
        /// Offered width.
        width_px: u32,
        /// Offered height.
        height_px: u32,
    },
    /// A tile with no pixels, or one that leaves its frame.
    #[error("tile {0:?} is empty or leaves its frame")]
    TileRect(TileRect),
    /// No samples, or too many of them.
    #[error("{0} samples per pixel are out of range (1 to {MAX_SAMPLES_PER_PIXEL})")]
    Samples(u32),
    /// No path segments, or too many of them.
    #[error("path depth {0} is out of range (1 to {MAX_PATH_DEPTH})")]
    Depth(u32),
    /// A camera with a number that is not finite, or a degenerate frustum.
    #[error("the camera is not finite or degenerate")]
    Camera,
}

/// A frame's size in pixels: each edge 1 to [`MAX_FRAME_EDGE_PX`], at most [`MAX_FRAME_PIXELS`] in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "(u32, u32)", into = "(u32, u32)")]
pub struct FrameSize {
    width_px: u32,
    height_px: u32,
}

impl FrameSize {
    /// A size within the limits.
    pub fn new(width_px: u32, height_px: u32) -> Result<Self, GeometryError> {
        let edges_fit =
            (1..=MAX_FRAME_EDGE_PX).contains(&width_px) && (1..=MAX_FRAME_EDGE_PX).contains(&height_px);
        if edges_fit && u64::from(width_px) * u64::from(height_px) <= MAX_FRAME_PIXELS {
            Ok(Self { width_px, height_px })
        } else {
            Err(GeometryError::FrameSize { width_px, height_px })
        }
    }

    /// Pixels in a row.
    pub const fn width_px(self) -> u32 {
        self.width_px
    }

    /// Rows.
    pub const fn height_px(self) -> u32 {
        self.height_px
    }

    /// Pixels in all.
    pub const fn pixels(self) -> u64 {
        self.width_px as u64 * self.height_px as u64
    }

    /// The tile that is the whole frame.
    pub const fn full(self) -> TileRect {
        TileRect { x: 0, y: 0, width: self.width_px, height: self.height_px }
    }
}

impl TryFrom<(u32, u32)> for FrameSize {
    type Error = GeometryError;

    fn try_from((width_px, height_px): (u32, u32)) -> Result<Self, GeometryError> {
        Self::new(width_px, height_px)
    }
}

impl From<FrameSize> for (u32, u32) {
    fn from(size: FrameSize) -> Self {
        (size.width_px, size.height_px)
    }
}

/// A rectangle of pixels. Not valid by itself: [`TileRect::check`] it against its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TileRect {
    /// Left edge, pixels.
    pub x: u32,
    /// Top edge, pixels.
    pub y: u32,
    /// Width, pixels.
    pub width: u32,
    /// Height, pixels.
    pub height: u32,
}

impl TileRect {
    /// Whether the tile has pixels and all of them lie in the frame.
    pub fn check(self, frame: FrameSize) -> Result<(), GeometryError> {
        let fits = |start: u32, length: u32, edge: u32| {
            length > 0 && start.checked_add(length).is_some_and(|end| end <= edge)
        };
        if fits(self.x, self.width, frame.width_px) && fits(self.y, self.height, frame.height_px) {
            Ok(())
        } else {
            Err(GeometryError::TileRect(self))
        }
    }

    /// Pixels in the tile.
    pub const fn pixels(self) -> u64 {
        self.width as u64 * self.height as u64
    }

    /// Whether the pixel (in frame coordinates) lies in the tile.
    pub const fn contains(self, x: u32, y: u32) -> bool {
        x >= self.x && y >= self.y && x - self.x < self.width && y - self.y < self.height
    }

    /// Whether the two tiles share a pixel.
    pub const fn overlaps(self, other: Self) -> bool {
        let apart_x = self.x as u64 + self.width as u64 <= other.x as u64
            || other.x as u64 + other.width as u64 <= self.x as u64;
        let apart_y = self.y as u64 + self.height as u64 <= other.y as u64
            || other.y as u64 + other.height as u64 <= self.y as u64;
        !(apart_x || apart_y)
    }
}

/// How a frame is sampled. The picture is a pure function of this, the camera and the scene.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sampling {
    /// First sample of the range, counted from 0.
    pub first_sample: u32,
    /// Samples per pixel in the range, 1 to [`MAX_SAMPLES_PER_PIXEL`].
    pub samples: u32,
    /// Path segments at most, 1 to [`MAX_PATH_DEPTH`]: 1 sees lights only directly, 2 adds direct light on surfaces.
    pub max_depth: u32,
    /// Seed of every random number in the frame.
    pub seed: u32,
}

impl Sampling {
    /// Whether every number is within its limits.
    pub fn check(&self) -> Result<(), GeometryError> {
        let last = self.first_sample.checked_add(self.samples);
        if self.samples == 0 || last.is_none_or(|end| end > MAX_SAMPLES_PER_PIXEL) {
            return Err(GeometryError::Samples(self.samples));
        }
        if self.max_depth == 0 || self.max_depth > MAX_PATH_DEPTH {
            return Err(GeometryError::Depth(self.max_depth));
        }
        Ok(())
    }
}

/// A pinhole camera, resolved by the coordinator so that every peer uses the very same numbers.
///
/// The ray of the film point (u, v), both in [-1, 1], u to the right, v up, starts at `origin` and runs along
/// `forward + u · right + v · up`: the half extents of the film at distance 1 are folded into `right` and `up`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Camera {
    /// Where the rays start, world units.
    pub origin: [f32; 3],
    /// Unit vector into the picture.
    pub forward: [f32; 3],
    /// Half the film's width at distance 1, to the right.
    pub right: [f32; 3],
    /// Half the film's height at distance 1, upwards.
    pub up: [f32; 3],
}

impl Camera {
    /// Whether every number is finite, none is absurdly large, and no axis has vanished.
    pub fn check(&self) -> Result<(), GeometryError> {
        let sane = |vector: &[f32; 3], limit: f32| {
            vector.iter().all(|value| value.is_finite() && value.abs() <= limit)
        };
        let present = |vector: &[f32; 3]| vector.iter().any(|value| value.abs() > 1e-6);
        let axes = [&self.forward, &self.right, &self.up];
        if sane(&self.origin, 1e12) && axes.iter().all(|axis| sane(axis, 1e6) && present(axis)) {
            Ok(())
        } else {
            Err(GeometryError::Camera)
        }
    }
}

/// How a tile's pixels travel. Signing, hashing and comparison are over the encoded pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PixelEncoding {
    /// Three little-endian IEEE 754 binary32 per pixel (red, green, blue; linear radiance, mean over the samples),
    /// rows from the top, pixels from the left.
    RgbF32,
}

impl PixelEncoding {
    /// Bytes of one encoded pixel.
    pub const fn bytes_per_pixel(self) -> u32 {
        match self {
            Self::RgbF32 => 12,
        }
    }
}
