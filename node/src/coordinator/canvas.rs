//! The film of a run, in the form that its tiles travel in.

use p2c2r_protocol::tile::{FrameSize, PixelEncoding, TileRect};
use p2c2r_render::{
    encode::TileData,
    film::{Film, FilmError},
    kernel::sum::RadianceSum,
};

/// Why a tile is not taken.
#[derive(Debug, thiserror::Error)]
pub enum CanvasError {
    /// The film refused it.
    #[error(transparent)]
    Film(#[from] FilmError),
    /// It came in another form than that which was asked for.
    #[error("the tile's pixels are of another encoding than the frame's")]
    Encoding,
}

/// Accepted pixels.
#[derive(Debug)]
pub enum Canvas {
    /// Mean radiance: the tiles have all of the frame's samples.
    Radiance(Film),
    /// Sums of a range of the frame's samples.
    Sums(Film<RadianceSum>),
}

impl Canvas {
    /// Without any tiles.
    pub fn new(size: FrameSize, encoding: PixelEncoding) -> Self {
        match encoding {
            PixelEncoding::RgbF32 | PixelEncoding::Rgb9E5 => Self::Radiance(Film::new(size)),
            PixelEncoding::RgbSum => Self::Sums(Film::new(size)),
        }
    }

    /// Takes a tile, or is as before.
    pub fn insert(&mut self, rect: TileRect, data: &TileData) -> Result<(), CanvasError> {
        match (self, data) {
            (Self::Radiance(film), TileData::Radiance(pixels)) => Ok(film.insert(rect, pixels)?),
            (Self::Sums(film), TileData::Sums(pixels)) => Ok(film.insert(rect, pixels)?),
            _ => Err(CanvasError::Encoding),
        }
    }

    /// Whether every pixel is there.
    pub fn is_whole(&self) -> bool {
        match self {
            Self::Radiance(film) => film.coverage().iter().all(|covered| *covered),
            Self::Sums(film) => film.coverage().iter().all(|covered| *covered),
        }
    }

    /// Takes the tile's pixels out again.
    pub fn remove(&mut self, rect: TileRect) {
        match self {
            Self::Radiance(film) => film.remove(rect),
            Self::Sums(film) => film.remove(rect),
        }
    }
}
