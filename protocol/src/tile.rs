//! What part of which picture: frame sizes, tile rectangles, sample ranges, cameras, pixel encodings.
//!
//! Coordinates are pixels, x to the right, y down, the origin in the frame's top left corner.

use serde::{Deserialize, Serialize};

use crate::limit::{
    CLAMP_RANGE, LENS_RANGE, MAX_FRAME_EDGE_PX, MAX_FRAME_PIXELS, MAX_PATH_DEPTH, MAX_SAMPLES_PER_PIXEL,
    MAX_SCENE_TIME_US,
};

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
    /// A clamp of indirect light that is neither off nor a radiance.
    #[error(
        "a clamp of {0} is neither 0 (off) nor between {min:e} and {max:e}",
        min = CLAMP_RANGE.start(),
        max = CLAMP_RANGE.end()
    )]
    Clamp(f32),
    /// A lens without a focus, or with sizes out of range.
    #[error(
        "a lens radius of {radius} with a focus distance of {distance} is out of range (both 0 for a pinhole, else both between {min:e} and {max:e})",
        min = LENS_RANGE.start(),
        max = LENS_RANGE.end()
    )]
    Lens {
        /// Offered radius.
        radius: f32,
        /// Offered distance.
        distance: f32,
    },
    /// A moment beyond the last one.
    #[error("a moment of {0} µs is out of range (0 to {MAX_SCENE_TIME_US})")]
    SceneTime(u64),
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

/// A moment of a scene, from the start of its animations: 0 to [`MAX_SCENE_TIME_US`] microseconds. A whole number, so that
/// every peer poses the scene for the very same moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct SceneTime(u64);

impl SceneTime {
    /// The first moment.
    pub const START: Self = Self(0);

    /// A moment within the limit.
    pub fn from_us(us: u64) -> Result<Self, GeometryError> {
        if us <= MAX_SCENE_TIME_US { Ok(Self(us)) } else { Err(GeometryError::SceneTime(us)) }
    }

    /// Microseconds since the start.
    pub const fn us(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for SceneTime {
    type Error = GeometryError;

    fn try_from(us: u64) -> Result<Self, GeometryError> {
        Self::from_us(us)
    }
}

impl From<SceneTime> for u64 {
    fn from(time: SceneTime) -> Self {
        time.us()
    }
}

/// How a frame is sampled. The picture is a pure function of this, the camera and the scene.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// First sample of the range, counted from 0.
    pub first_sample: u32,
    /// Samples per pixel in the range, 1 to [`MAX_SAMPLES_PER_PIXEL`].
    pub samples: u32,
    /// Path segments at most, 1 to [`MAX_PATH_DEPTH`]: 1 sees lights only directly, 2 adds direct light on surfaces.
    pub max_depth: u32,
    /// Seed of every random number in the frame.
    pub seed: u32,
    /// Largest component of the radiance that a single indirect contribution (light that was scattered twice or more)
    /// may bring: fireflies go, and with them a little light. 0 for no limit, else within [`CLAMP_RANGE`].
    pub clamp: f32,
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
        if self.clamp != 0.0 && !CLAMP_RANGE.contains(&self.clamp) {
            return Err(GeometryError::Clamp(self.clamp));
        }
        Ok(())
    }
}

/// A perspective camera, resolved by the coordinator so that every peer uses the very same numbers.
///
/// The ray of the film point (u, v), both in [-1, 1], u to the right, v up, starts at `origin` and runs along
/// `forward + u · right + v · up`: the half extents of the film at distance 1 are folded into `right` and `up`. A parallel
/// (orthographic) camera's ray has the direction `forward` and starts at `origin + u · right + v · up`.
/// With a lens, rays start all over a disc around `origin` and meet in the plane of focus.
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
    /// Radius of the lens, world units, within [`LENS_RANGE`]; 0 for a pinhole, which sees everything sharply.
    pub lens_radius: f32,
    /// Distance along `forward` to the plane that a lens sees sharply, world units, within [`LENS_RANGE`]; 0 for a
    /// pinhole.
    pub focus_distance: f32,
    /// Whether all rays have one direction: `right` and `up` are then in world units.
    pub parallel: bool,
}

impl Camera {
    /// Whether every number is finite, none is absurdly large, and no axis has vanished.
    pub fn check(&self) -> Result<(), GeometryError> {
        let sane = |vector: &[f32; 3], limit: f32| {
            vector.iter().all(|value| value.is_finite() && value.abs() <= limit)
        };
        let present = |vector: &[f32; 3]| vector.iter().any(|value| value.abs() > 1e-6);
        let axes = [&self.forward, &self.right, &self.up];
        if !sane(&self.origin, 1e12) || !axes.iter().all(|axis| sane(axis, 1e6) && present(axis)) {
            return Err(GeometryError::Camera);
        }
        let (radius, distance) = (self.lens_radius, self.focus_distance);
        let is_pinhole = radius == 0.0 && distance == 0.0;
        if is_pinhole || (LENS_RANGE.contains(&radius) && LENS_RANGE.contains(&distance)) {
            Ok(())
        } else {
            Err(GeometryError::Lens { radius, distance })
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
    /// Three little-endian 64-bit integers per pixel (red, green, blue; linear radiance in steps of 2^-24, added up
    /// over the range's samples), in the same order: what ranges of one pixel's samples are merged from.
    RgbSum,
    /// One little-endian 32-bit word per pixel, in the same order: from the lowest bit nine bits each of red, green and
    /// blue and five of an exponent that they share (OpenGL's `EXT_texture_shared_exponent`; linear radiance, mean over the
    /// samples). For slow lines and short deadlines: the largest channel is right to 1/512, and nothing is brighter than
    /// 65,408.
    Rgb9E5,
}

impl PixelEncoding {
    /// Bytes of one encoded pixel.
    pub const fn bytes_per_pixel(self) -> u32 {
        match self {
            Self::RgbF32 => 12,
            Self::RgbSum => 24,
            Self::Rgb9E5 => 4,
        }
    }

    /// Parts of equal length that a tile's Merkle tree takes a pixel apart into, as if they were pixels beside each
    /// other: a block of the tree holds no pixels as long as all of these.
    pub const fn words_per_pixel(self) -> u32 {
        match self {
            Self::RgbF32 | Self::Rgb9E5 => 1,
            Self::RgbSum => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::canon::{decode_bounded, to_canonical};

    fn frame() -> FrameSize {
        FrameSize::new(640, 360).unwrap()
    }

    fn rect(x: u32, y: u32, width: u32, height: u32) -> TileRect {
        TileRect { x, y, width, height }
    }

    fn camera() -> Camera {
        Camera {
            origin: [0.0, 1.0, 5.0],
            forward: [0.0, 0.0, -1.0],
            right: [0.8, 0.0, 0.0],
            up: [0.0, 0.45, 0.0],
            lens_radius: 0.0,
            focus_distance: 0.0,
            parallel: false,
        }
    }

    #[test]
    fn b6_frame_sizes_out_of_range_are_refused() {
        for (width_px, height_px) in
            [(0, 0), (0, 5), (5, 0), (1, 65_535), (100_000, 100_000), (u32::MAX, u32::MAX), (16_384, 8193)]
        {
            let refused = GeometryError::FrameSize { width_px, height_px };
            assert_eq!(FrameSize::new(width_px, height_px), Err(refused));
            let bytes = to_canonical(&(width_px, height_px)).unwrap();
            assert!(
                decode_bounded::<FrameSize>(&bytes, 16).is_err(),
                "{width_px}x{height_px} came in by wire"
            );
        }
        for (width_px, height_px) in [(1, 1), (16_384, 8192), (1, 16_384)] {
            let size = FrameSize::new(width_px, height_px).unwrap();
            assert_eq!(size.pixels(), u64::from(width_px) * u64::from(height_px));
            assert_eq!(size.full().check(size), Ok(()));
        }
    }

    #[test]
    fn b6_tiles_that_are_empty_or_leave_the_frame_are_refused() {
        for tile in [
            rect(0, 0, 0, 0),
            rect(0, 0, 0, 5),
            rect(0, 0, 5, 0),
            rect(0, 0, 641, 1),
            rect(0, 0, 1, 65_535),
            rect(640, 0, 1, 1),
            rect(639, 359, 2, 1),
            rect(u32::MAX, 0, 1, 1),
            rect(1, 1, u32::MAX, u32::MAX),
        ] {
            assert_eq!(tile.check(frame()), Err(GeometryError::TileRect(tile)));
        }
        for tile in [rect(0, 0, 640, 360), rect(639, 359, 1, 1), rect(0, 100, 640, 1)] {
            assert_eq!(tile.check(frame()), Ok(()));
        }
    }

    #[test]
    fn b26_sampling_out_of_range_is_refused() {
        let good = Sampling { first_sample: 0, samples: 16, max_depth: 4, seed: 1, clamp: 0.0 };
        assert_eq!(good.check(), Ok(()));
        let last = Sampling { first_sample: MAX_SAMPLES_PER_PIXEL - 1, samples: 1, ..good };
        assert_eq!(last.check(), Ok(()));
        for (first_sample, samples) in
            [(0, 0), (0, 1_000_000_000), (MAX_SAMPLES_PER_PIXEL, 1), (u32::MAX, u32::MAX)]
        {
            let bad = Sampling { first_sample, samples, ..good };
            assert_eq!(bad.check(), Err(GeometryError::Samples(samples)));
        }
        for max_depth in [0, MAX_PATH_DEPTH + 1, 1_000_000] {
            let bad = Sampling { max_depth, ..good };
            assert_eq!(bad.check(), Err(GeometryError::Depth(max_depth)));
        }
        assert_eq!(Sampling { clamp: 10.0, ..good }.check(), Ok(()));
        for clamp in [-1.0, 1e-7, 1e10, f32::NAN, f32::INFINITY] {
            assert!(matches!(Sampling { clamp, ..good }.check(), Err(GeometryError::Clamp(_))), "{clamp}");
        }
    }

    #[test]
    fn b5_cameras_that_are_not_finite_or_degenerate_are_refused() {
        assert_eq!(camera().check(), Ok(()));
        let vectors: [fn(&mut Camera) -> &mut [f32; 3]; 4] =
            [|c| &mut c.origin, |c| &mut c.forward, |c| &mut c.right, |c| &mut c.up];
        for (which, vector) in vectors.iter().enumerate() {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN] {
                let mut broken = camera();
                vector(&mut broken)[1] = bad;
                assert_eq!(broken.check(), Err(GeometryError::Camera), "{bad} in vector {which}");
            }
        }
        for (which, axis) in vectors[1..].iter().enumerate() {
            let mut vanished = camera();
            *axis(&mut vanished) = [f32::MIN_POSITIVE / 2.0, 0.0, -0.0];
            assert_eq!(vanished.check(), Err(GeometryError::Camera), "axis {which}");
        }
    }

    #[test]
    fn b5_lenses_out_of_range_are_refused() {
        let lens = |lens_radius, focus_distance| Camera { lens_radius, focus_distance, ..camera() };
        assert_eq!(lens(0.05, 3.0).check(), Ok(()));
        for (radius, distance) in [
            (0.1, 0.0),
            (0.0, 3.0),
            (-0.1, 3.0),
            (0.1, -3.0),
            (f32::NAN, 3.0),
            (0.1, f32::INFINITY),
            (1e-30, 3.0),
        ] {
            let refused = lens(radius, distance).check();
            assert!(matches!(refused, Err(GeometryError::Lens { .. })), "{radius} {distance}: {refused:?}");
        }
    }

    proptest! {
        #[test]
        fn overlap_is_a_shared_pixel(
            ax in 0_u32..8, ay in 0_u32..8, aw in 1_u32..6, ah in 1_u32..6,
            bx in 0_u32..8, by in 0_u32..8, bw in 1_u32..6, bh in 1_u32..6,
        ) {
            let (a, b) = (rect(ax, ay, aw, ah), rect(bx, by, bw, bh));
            let shared = (0..14).any(|y| (0..14).any(|x| a.contains(x, y) && b.contains(x, y)));
            prop_assert_eq!((a.overlaps(b), b.overlaps(a)), (shared, shared));
        }

        #[test]
        fn b6_checked_tile_holds_only_pixels_of_the_frame(x: u32, y: u32, width: u32, height: u32) {
            let tile = rect(x, y, width, height);
            if tile.check(frame()).is_ok() {
                prop_assert!(tile.contains(x, y));
                prop_assert!(frame().full().contains(x + width - 1, y + height - 1));
                prop_assert!(tile.pixels() <= frame().pixels());
            }
        }
    }

    #[test]
    fn a_moment_beyond_the_last_never_arrives() {
        let arrives = |us: u64| decode_bounded::<SceneTime>(&to_canonical(&us).unwrap(), 32).ok();
        assert_eq!(arrives(MAX_SCENE_TIME_US).map(SceneTime::us), Some(MAX_SCENE_TIME_US));
        assert_eq!(arrives(MAX_SCENE_TIME_US + 1), None);
    }
}
