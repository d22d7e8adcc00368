//! Cost maps: where in the frame the work lies.

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use p2c2r_protocol::tile::FrameSize;
use p2c2r_scheduler::split::cost_map::{CostMap, CostMapError};

use super::Work;
use crate::random::{Dice, Purpose};

/// Edge of a cell, pixels: that of the coordinator's G-buffer pass at an eighth of the resolution.
const CELL_PX: u32 = 8;
/// Buildings side by side in a city.
const BUILDINGS: usize = 24;
/// Largest edge of a PNG file, pixels.
const MAX_PNG_EDGE_PX: u32 = 8192;

/// Why there is no cost map.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// Neither one of the patterns nor a PNG file.
    #[error("pattern `{0}` is unknown; expected city, uniform, hotspot or a .png file")]
    Unknown(String),
    /// The file cannot be read.
    #[error("cannot read {path}: {reason}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Cells that are no costs.
    #[error(transparent)]
    Cells(#[from] CostMapError),
}

/// Relative cost of every cell of a frame, rows from the top.
#[derive(Debug, Clone, PartialEq)]
pub struct CostCells {
    size: FrameSize,
    cells: Vec<f64>,
}

impl CostCells {
    /// The cost map whose total is this.
    pub fn map(&self, total: f64) -> Result<CostMap, PatternError> {
        // Cells at the right and lower border may be smaller; a first map tells what the whole weighs.
        let unscaled: Vec<f32> = self.cells.iter().map(|cell| *cell as f32).collect();
        let sum = CostMap::new(self.size, CELL_PX, &unscaled)?.total();
        let scale = if sum > 0.0 { total / sum } else { 0.0 };
        let scaled: Vec<f32> = self.cells.iter().map(|cell| (cell * scale) as f32).collect();
        Ok(CostMap::new(self.size, CELL_PX, &scaled)?)
    }
}

/// The cells of a scenario's work.
pub(super) fn cells(work: &Work, folder: &Path) -> Result<CostCells, PatternError> {
    let [width_px, height_px] = work.size_px;
    let size = FrameSize::new(width_px, height_px)
        .map_err(|error| PatternError::Unknown(format!("{}: {error}", work.cost.pattern)))?;
    let (low, high) = (work.cost.low, work.cost.high);
    let brightness: Box<dyn Fn(f64, f64) -> f64> = match work.cost.pattern.as_str() {
        "uniform" => Box::new(|_, _| 1.0),
        "hotspot" => {
            Box::new(|x, y| (-((x - 0.3).powi(2) + (y - 0.6).powi(2)) / (2.0 * 0.08_f64.powi(2))).exp())
        }
        "city" => Box::new(city()),
        name if Path::new(name)
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("png")) =>
        {
            Box::new(picture(&folder.join(name))?)
        }
        other => return Err(PatternError::Unknown(other.to_owned())),
    };
    let (columns, rows) = (size.width_px().div_ceil(CELL_PX), size.height_px().div_ceil(CELL_PX));
    let cells = (0..rows)
        .flat_map(|row| (0..columns).map(move |column| (column, row)))
        .map(|(column, row)| {
            let x = (f64::from(column) + 0.5) / f64::from(columns);
            let y = (f64::from(row) + 0.5) / f64::from(rows);
            low + (high - low) * brightness(x, y).clamp(0.0, 1.0)
        })
        .collect();
    Ok(CostCells { size, cells })
}

/// A sky above buildings of all heights and brightnesses, with rows of lit windows.
fn city() -> impl Fn(f64, f64) -> f64 {
    let mut dice = Dice::new(0, Purpose::Pattern, &[]);
    let buildings: Vec<(f64, f64)> =
        (0..BUILDINGS).map(|_| (dice.between(0.3, 0.75), dice.between(0.15, 0.8))).collect();
    move |x, y| {
        let index = ((x * BUILDINGS as f64) as usize).min(BUILDINGS - 1);
        let (roof, brightness) = buildings.get(index).copied().unwrap_or((0.5, 0.5));
        if y < roof {
            // Haze towards the horizon.
            return 0.03 * y;
        }
        let lit = (y * 60.0).fract() < 0.4 && (x * BUILDINGS as f64 * 4.0).fract() < 0.5;
        if lit { (brightness + 0.35).min(1.0) } else { brightness }
    }
}

fn picture(path: &Path) -> Result<impl Fn(f64, f64) -> f64 + use<>, PatternError> {
    let failed = |reason: String| PatternError::File { path: path.to_owned(), reason };
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    let mut decoder = png::Decoder::new(BufReader::new(file));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(|error| failed(error.to_string()))?;
    let info = reader.info();
    let (width, height) = (info.width, info.height);
    if width > MAX_PNG_EDGE_PX || height > MAX_PNG_EDGE_PX {
        return Err(failed(format!("it is larger than {MAX_PNG_EDGE_PX} x {MAX_PNG_EDGE_PX}")));
    }
    if !matches!(info.color_type, png::ColorType::Grayscale | png::ColorType::GrayscaleAlpha) {
        return Err(failed("it is not grayscale".into()));
    }
    let bytes = reader.output_buffer_size().ok_or_else(|| failed("it is too large".into()))?;
    let mut pixels = vec![0; bytes];
    let frame = reader.next_frame(&mut pixels).map_err(|error| failed(error.to_string()))?;
    let samples = frame.color_type.samples();
    Ok(move |x: f64, y: f64| {
        let column = ((x * f64::from(width)) as usize).min(width as usize - 1);
        let row = ((y * f64::from(height)) as usize).min(height as usize - 1);
        pixels.get((row * width as usize + column) * samples).map_or(0.0, |value| f64::from(*value) / 255.0)
    })
}
