//! Where the work lies in a frame: cells of estimated cost with a summed-area table (Crow 1984), so that the cost of
//! any rectangle is four look-ups.

use p2c2r_protocol::tile::{FrameSize, TileRect};
use serde::{Deserialize, Serialize};

/// Why cells are no cost map.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CostMapError {
    /// Their number does not go with the frame.
    #[error("{found} cost cells do not cover a frame that has {expected}")]
    Count {
        /// Cells given.
        found: usize,
        /// Cells that the frame has.
        expected: usize,
    },
    /// One of them is no cost.
    #[error("cost cell {0} is negative or not finite")]
    Cell(usize),
}

/// Estimated cost of every place in a frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredMap")]
pub struct CostMap {
    cell_px: u32,
    columns: usize,
    rows: usize,
    size: FrameSize,
    /// `(columns + 1) * (rows + 1)` sums of all cells left of and above a corner.
    sums: Vec<f64>,
}

/// As it is read; it may be anything.
#[derive(Deserialize)]
struct StoredMap {
    cell_px: u32,
    columns: usize,
    rows: usize,
    size: FrameSize,
    sums: Vec<f64>,
}

impl TryFrom<StoredMap> for CostMap {
    type Error = CostMapError;

    fn try_from(stored: StoredMap) -> Result<Self, CostMapError> {
        let StoredMap { cell_px, columns, rows, size, sums } = stored;
        let cells = |edge_px: u32| edge_px.div_ceil(cell_px.max(1)) as usize;
        let expected = (cells(size.width_px()) + 1) * (cells(size.height_px()) + 1);
        let fits = cell_px > 0 && columns == cells(size.width_px()) && rows == cells(size.height_px());
        if !fits || sums.len() != expected {
            return Err(CostMapError::Count { found: sums.len(), expected });
        }
        match sums.iter().position(|sum| !(sum.is_finite() && *sum >= 0.0)) {
            Some(bad) => Err(CostMapError::Cell(bad)),
            None => Ok(Self { cell_px, columns, rows, size, sums }),
        }
    }
}

impl CostMap {
    /// From the cost of each cell of `cell_px` squared pixels (those at the right and lower border may be smaller),
    /// rows from the top.
    pub fn new(size: FrameSize, cell_px: u32, cells: &[f32]) -> Result<Self, CostMapError> {
        let cell_px = cell_px.max(1);
        let columns = size.width_px().div_ceil(cell_px) as usize;
        let rows = size.height_px().div_ceil(cell_px) as usize;
        if cells.len() != columns * rows {
            return Err(CostMapError::Count { found: cells.len(), expected: columns * rows });
        }
        if let Some(bad) = cells.iter().position(|cost| !(cost.is_finite() && *cost >= 0.0)) {
            return Err(CostMapError::Cell(bad));
        }
        let mut sums = vec![0.0; (columns + 1) * (rows + 1)];
        for (row, line) in cells.chunks(columns).enumerate() {
            let mut along = 0.0;
            for (column, cost) in line.iter().enumerate() {
                along += f64::from(*cost);
                sums[(row + 1) * (columns + 1) + column + 1] = sums[row * (columns + 1) + column + 1] + along;
            }
        }
        Ok(Self { cell_px, columns, rows, size, sums })
    }

    /// The same cost for every pixel.
    pub fn uniform(size: FrameSize, cost_per_pixel: f32) -> Self {
        let (width, height) = (f64::from(size.width_px()), f64::from(size.height_px()));
        let total = width * height * f64::from(cost_per_pixel);
        // One cell over the whole frame: costs inside a cell are spread evenly.
        let cell_px = size.width_px().max(size.height_px());
        Self { cell_px, columns: 1, rows: 1, size, sums: vec![0.0, 0.0, 0.0, total] }
    }

    /// The frame's size.
    pub fn size(&self) -> FrameSize {
        self.size
    }

    /// Cost of the whole frame.
    pub fn total(&self) -> f64 {
        self.cost(self.size.full())
    }

    /// Cost of a rectangle of the frame; cells that it cuts count by area.
    pub fn cost(&self, rect: TileRect) -> f64 {
        let (left, top) = (rect.x, rect.y);
        let (right, bottom) = (rect.x.saturating_add(rect.width), rect.y.saturating_add(rect.height));
        let sum = self.corner(right, bottom) - self.corner(left, bottom) - self.corner(right, top)
            + self.corner(left, top);
        sum.max(0.0)
    }

    /// The rectangle, to be cut across an axis in many ways: what all of them have in common is reckoned once.
    pub fn strip(&self, rect: TileRect, axis: Axis) -> Strip<'_> {
        let (left, top) = (rect.x, rect.y);
        let (right, bottom) = (rect.x.saturating_add(rect.width), rect.y.saturating_add(rect.height));
        let (start, sides) = match axis {
            Axis::X => (left, [self.row(bottom), self.row(top)]),
            Axis::Y => (top, [self.column(right), self.column(left)]),
        };
        let mut strip = Strip { map: self, axis, start, sides, before: [0.0; 2] };
        strip.before = strip.corners(start);
        strip
    }

    /// Cost of everything left of and above a pixel corner.
    fn corner(&self, x: u32, y: u32) -> f64 {
        self.between(self.column(x), self.row(y))
    }

    fn column(&self, x: u32) -> Place {
        self.locate(x, self.size.width_px(), self.columns)
    }

    fn row(&self, y: u32) -> Place {
        self.locate(y, self.size.height_px(), self.rows)
    }

    fn between(&self, (column, along_x): Place, (row, along_y): Place) -> f64 {
        let at = |column: usize, row: usize| self.sums[row * (self.columns + 1) + column];
        // Where cells meet, as most cuts lie, nothing has to be divided.
        if along_x <= 0.0 && along_y <= 0.0 {
            return at(column, row);
        }
        let upper = at(column, row) + along_x * (at(column + 1, row) - at(column, row));
        let lower = at(column, row + 1) + along_x * (at(column + 1, row + 1) - at(column, row + 1));
        upper + along_y * (lower - upper)
    }

    /// The cell that a coordinate lies in, and how far along. The last cell may be narrower than the others.
    fn locate(&self, at: u32, edge: u32, cells: usize) -> Place {
        let at = at.min(edge);
        let cell = ((at / self.cell_px) as usize).min(cells - 1);
        let start = cell as u32 * self.cell_px;
        if at == start {
            return (cell, 0.0);
        }
        let width = self.cell_px.min(edge - start);
        (cell, f64::from(at - start) / f64::from(width))
    }
}

/// A cell along one axis, and how far along it.
type Place = (usize, f64);

/// The way in which a rectangle is cut: across its width or across its height.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// Into a left and a right part.
    X,
    /// Into an upper and a lower part.
    Y,
}

/// A rectangle that is cut across one axis.
#[derive(Debug, Clone, Copy)]
pub struct Strip<'a> {
    map: &'a CostMap,
    axis: Axis,
    start: u32,
    /// Of the sides along the axis: the far one, the near one.
    sides: [Place; 2],
    /// Cost before the rectangle at both.
    before: [f64; 2],
}

impl Strip<'_> {
    /// Cost of the part before a cut, so many pixels from the rectangle's start: the very number that
    /// [`CostMap::cost`] gives.
    pub fn cost(&self, length_px: u32) -> f64 {
        let [far, near] = self.corners(self.start.saturating_add(length_px));
        let [far_before, near_before] = self.before;
        let sum = match self.axis {
            Axis::X => far - far_before - near + near_before,
            Axis::Y => far - near - far_before + near_before,
        };
        sum.max(0.0)
    }

    fn corners(&self, at: u32) -> [f64; 2] {
        let [far, near] = self.sides;
        match self.axis {
            Axis::X => {
                let column = self.map.column(at);
                [self.map.between(column, far), self.map.between(column, near)]
            }
            Axis::Y => {
                let row = self.map.row(at);
                [self.map.between(far, row), self.map.between(near, row)]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rect(x: u32, y: u32, width: u32, height: u32) -> TileRect {
        TileRect { x, y, width, height }
    }

    #[test]
    fn cut_cells_count_by_area() {
        let size = FrameSize::new(20, 8).unwrap();
        let map = CostMap::new(size, 8, &[8.0, 16.0, 4.0]).unwrap();
        assert!((map.total() - 28.0).abs() < 1e-9);
        assert!((map.cost(rect(0, 0, 4, 8)) - 4.0).abs() < 1e-9);
        assert!((map.cost(rect(16, 0, 2, 8)) - 2.0).abs() < 1e-9, "the last cell is 4 pixels wide");
        assert!((map.cost(rect(4, 4, 8, 4)) - 6.0).abs() < 1e-9);
    }

    #[test]
    fn b5_cells_that_are_no_costs_are_refused() {
        let size = FrameSize::new(16, 8).unwrap();
        assert_eq!(CostMap::new(size, 8, &[1.0]), Err(CostMapError::Count { found: 1, expected: 2 }));
        for bad in [f32::NAN, f32::INFINITY, -1.0] {
            assert_eq!(CostMap::new(size, 8, &[1.0, bad]), Err(CostMapError::Cell(1)));
        }
    }

    #[test]
    fn a_strip_gives_the_costs_of_its_parts_to_the_bit() {
        let size = FrameSize::new(203, 117).unwrap();
        let cells: Vec<f32> = (0..26 * 15).map(|cell| (cell * 7919 % 101) as f32).collect();
        let map = CostMap::new(size, 8, &cells).unwrap();
        let rect = TileRect { x: 13, y: 24, width: 190, height: 93 };
        for at in 0..=190 {
            let left = TileRect { width: at, ..rect };
            assert_eq!(map.strip(rect, Axis::X).cost(at).to_bits(), map.cost(left).to_bits(), "{at}");
            let upper = TileRect { height: at.min(93), ..rect };
            assert_eq!(
                map.strip(rect, Axis::Y).cost(at.min(93)).to_bits(),
                map.cost(upper).to_bits(),
                "{at}"
            );
        }
    }

    proptest! {
        #[test]
        fn parts_add_up(width in 1_u32..200, height in 1_u32..200, cut in 0.0_f64..1.0) {
            let size = FrameSize::new(width, height).unwrap();
            let cells = width.div_ceil(16) * height.div_ceil(16);
            let costs: Vec<f32> = (0..cells).map(|index| (index * 7 % 13) as f32).collect();
            let map = CostMap::new(size, 16, &costs).unwrap();
            let at = (f64::from(width) * cut) as u32;
            let parts = map.cost(rect(0, 0, at, height)) + map.cost(rect(at, 0, width - at, height));
            prop_assert!((parts - map.total()).abs() <= 1e-9 * map.total().max(1.0));
        }
    }
}
