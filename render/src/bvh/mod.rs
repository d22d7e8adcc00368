//! Bounding volume hierarchies. One binary tree is built; each kernel gets the layout that suits it. Every layout
//! returns the same hit: boxes are only ever too large, and of hits at the same distance the lowest primitive wins.

pub mod build;
pub mod pair;
pub mod wide;

/// An axis-aligned box.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Aabb {
    /// Smallest corner.
    pub low: [f32; 3],
    /// Largest corner.
    pub high: [f32; 3],
}

impl Aabb {
    /// Contains nothing.
    pub const EMPTY: Self = Self { low: [f32::INFINITY; 3], high: [f32::NEG_INFINITY; 3] };

    /// Grown to contain a point.
    pub fn with_point(mut self, point: [f32; 3]) -> Self {
        for axis in 0..3 {
            self.low[axis] = self.low[axis].min(point[axis]);
            self.high[axis] = self.high[axis].max(point[axis]);
        }
        self
    }

    /// Grown to contain another box.
    pub fn union(mut self, other: &Self) -> Self {
        for axis in 0..3 {
            self.low[axis] = self.low[axis].min(other.low[axis]);
            self.high[axis] = self.high[axis].max(other.high[axis]);
        }
        self
    }

    /// Half the surface; 0 when empty.
    pub fn half_area(&self) -> f32 {
        let [x, y, z] = std::array::from_fn(|axis| (self.high[axis] - self.low[axis]).max(0.0));
        x * y + y * z + z * x
    }

    /// Middle of the box, twice (the factor does not matter for sorting).
    pub fn center(&self) -> [f32; 3] {
        std::array::from_fn(|axis| self.low[axis] * 0.5 + self.high[axis] * 0.5)
    }
}

/// Factor on the far side of a box, so that rounding can only make it too large (three roundings of 2^-24 each, on
/// both sides; Ize 2013).
pub const FAR_FACTOR: f32 = 1.000_000_7;

/// A hit. `primitive` is the index in the scene's order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// Distance along the ray.
    pub t: f32,
    /// Which triangle; [`Hit::NONE`] if none was hit.
    pub primitive: u32,
}

impl Hit {
    /// The primitive of a ray that hits nothing.
    pub const NONE: u32 = u32::MAX;

    /// Whether something was hit.
    #[inline(always)]
    pub const fn is_some(self) -> bool {
        self.primitive != Self::NONE
    }
}
