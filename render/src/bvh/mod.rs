//! Bounding volume hierarchies. One binary tree is built; each kernel gets the layout that suits it.
//!
//! Every mesh has a tree, and the instances of a scene have one more above them. Every layout returns the same hit,
//! bit for bit, in whatever order it visits, because what counts as a hit does not depend on the tree: of those at the
//! same distance the first in the scene's order wins, and a hit counts only if the ray enters the triangle's own box,
//! grown by its mesh's margin, and not behind the hit: `near <= t * FAR_FACTOR`. (The triangle test rounds too. Were a
//! hit in front of its box allowed, then whether a box around it is still visited would depend on what had been found
//! before.) Rounding keeps order: a box around another is entered no later and left no earlier, so every tree leads to
//! the triangle, and a box that is skipped because it begins behind the best hit cannot hold a nearer one. Of an
//! instance, its own box counts like a triangle's.

pub mod build;
pub mod node;
pub mod pack;
mod packet;
pub mod pair;
pub mod reinsert;
pub mod walk;
pub mod wide;

#[cfg(test)]
mod tests;

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
    #[must_use]
    pub fn with_point(self, point: [f32; 3]) -> Self {
        self.union(&Self { low: point, high: point })
    }

    /// Grown to contain another box.
    #[must_use]
    pub fn union(mut self, other: &Self) -> Self {
        for axis in 0..3 {
            self.low[axis] = self.low[axis].min(other.low[axis]);
            self.high[axis] = self.high[axis].max(other.high[axis]);
        }
        self
    }

    /// Grown by a margin on every side.
    #[must_use]
    #[inline(always)]
    pub fn grown(mut self, margin: f32) -> Self {
        for axis in 0..3 {
            self.low[axis] -= margin;
            self.high[axis] += margin;
        }
        self
    }

    /// Half the surface; 0 when empty.
    pub fn half_area(&self) -> f32 {
        let [x, y, z] = std::array::from_fn(|axis| (self.high[axis] - self.low[axis]).max(0.0));
        x * y + y * z + z * x
    }

    /// The largest magnitude of a coordinate.
    pub fn reach(&self) -> f32 {
        self.low.iter().chain(&self.high).fold(0.0, |largest, value| largest.max(value.abs()))
    }

    /// Middle of the box.
    pub fn center(&self) -> [f32; 3] {
        std::array::from_fn(|axis| self.low[axis] * 0.5 + self.high[axis] * 0.5)
    }
}

/// Factor on the far side of a box, so that rounding can only make it too large (three roundings of 2^-24 each, on
/// both sides; Ize 2013).
pub const FAR_FACTOR: f32 = 1.000_000_7;

/// A hit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// Distance along the ray, in lengths of its direction.
    pub t: f32,
    /// Which instance.
    pub instance: u32,
    /// Which triangle of its mesh, in the mesh's order; [`Hit::NONE`] if none was hit.
    pub primitive: u32,
    /// Where the CPU's layout keeps the triangle; of no meaning elsewhere.
    pub place: u32,
}

impl Hit {
    /// The primitive of a ray that hits nothing.
    pub const NONE: u32 = u32::MAX;

    /// Nothing within a distance.
    #[inline(always)]
    pub const fn nothing(t_max: f32) -> Self {
        Self { t: t_max, instance: 0, primitive: Self::NONE, place: 0 }
    }

    /// Whether a triangle is nearer, or as near and first in the scene's order.
    #[inline(always)]
    pub fn yields_to(&self, t: f32, instance: u32, primitive: u32) -> bool {
        t < self.t
            || (t == self.t && self.is_some() && (instance, primitive) < (self.instance, self.primitive))
    }

    /// Whether something was hit.
    #[inline(always)]
    pub const fn is_some(self) -> bool {
        self.primitive != Self::NONE
    }
}
