//! How large a loop's pictures are: as large as this machine makes them in time.

use p2c2r_protocol::tile::{FrameSize, GeometryError};

use super::{
    figures::FRAME_MS,
    frame_loop::{LoopSpec, picture_ms},
    light::Light,
};

/// Heights of pictures, largest first, px. Their width is 16/9 of that.
const HEIGHTS_PX: [u32; 6] = [144, 126, 108, 90, 72, 54];
/// Share of a frame's time that its picture may take while nothing else is at work: light is made on the same cores.
const BUDGET_SHARE: f64 = 0.5;

/// How large pictures and their light are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoopSize {
    /// The pictures.
    pub picture: FrameSize,
    /// Their light: a quarter of the pixels.
    pub light: FrameSize,
}

impl LoopSize {
    /// The largest.
    pub fn largest() -> Result<Self, GeometryError> {
        let [height_px, ..] = HEIGHTS_PX;
        Self::of(height_px)
    }

    /// The largest of which this machine makes a picture, under this light, in [`BUDGET_SHARE`] of a frame's time; the
    /// smallest if there is none. The light is that of the first frame, and the size in the specification doesn't matter.
    pub fn in_time(spec: &LoopSpec, light: &Light) -> Result<Self, GeometryError> {
        Self::within(FRAME_MS * BUDGET_SHARE, |size| {
            picture_ms(&LoopSpec { size: size.picture, ..spec.clone() }, light)
        })
    }

    fn within(
        budget_ms: f64,
        mut time_ms: impl FnMut(Self) -> Result<f64, GeometryError>,
    ) -> Result<Self, GeometryError> {
        let [larger @ .., least] = HEIGHTS_PX;
        for height_px in larger {
            let size = Self::of(height_px)?;
            if time_ms(size)? <= budget_ms {
                return Ok(size);
            }
        }
        Self::of(least)
    }

    fn of(height_px: u32) -> Result<Self, GeometryError> {
        let wide = |height_px: u32| FrameSize::new(height_px * 16 / 9, height_px);
        Ok(Self { picture: wide(height_px)?, light: wide(height_px / 2)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_as_large_as_their_time_allows() {
        let in_budget = |budget_ms| {
            let ms_per_pixel = 1e-3;
            LoopSize::within(budget_ms, |size| Ok(size.picture.pixels() as f64 * ms_per_pixel)).unwrap()
        };
        assert_eq!(in_budget(100.0), LoopSize::largest().unwrap());
        let medium = in_budget(21.0);
        assert_eq!(
            (medium.picture, medium.light),
            (FrameSize::new(192, 108).unwrap(), FrameSize::new(96, 54).unwrap())
        );
        let least = in_budget(0.0);
        assert_eq!(
            (least.picture, least.light),
            (FrameSize::new(96, 54).unwrap(), FrameSize::new(48, 27).unwrap())
        );
    }
}
