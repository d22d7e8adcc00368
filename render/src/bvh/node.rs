//! A node of the CPU's layout: the boxes of eight children, component by component, so that one 8-wide instruction
//! tests them all (Wald et al. 2008). Its boxes are a little larger than what they contain: which children are visited
//! depends on the instructions at hand, what is hit does not.

use fearless_simd::{Simd, f32x8, prelude::*};

use super::Aabb;
use crate::{ray::Ray, real::always};

/// Children of a node.
pub const WIDTH: usize = 8;
/// The two highest bits of a code tell what it stands for; the others are an index.
pub const KIND: u32 = 0xc000_0000;
/// An inner node.
pub const INNER: u32 = 0;
/// An item of a tree over items.
pub const ITEM: u32 = 0x4000_0000;
/// A pack of triangles.
pub const LEAF: u32 = 0x8000_0000;
/// No child. In a stack: where a ray leaves an instance.
pub const NOTHING: u32 = 0xffff_ffff;

/// Boxes are compared with this much slack: rounding of the node test's arithmetic is smaller.
pub const SLACK: f32 = 1.000_004;

/// A node.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub struct Node {
    /// Low sides, then high sides; of each axis; of each child. An unused child's box is inside out.
    sides: [[[f32; WIDTH]; 3]; 2],
    /// Of the children; [`NOTHING`] where there is none.
    pub codes: [u32; WIDTH],
}

/// What of a ray nodes want to know.
pub struct Slabs<S: Simd> {
    /// Reciprocals of its direction's components.
    inverse: [f32x8<S>; 3],
    /// The origin times these.
    moved: [f32x8<S>; 3],
    /// 1 where a component is negative.
    negative: [usize; 3],
}

impl<S: Simd> Slabs<S> {
    /// Of a ray, and the reciprocals of its direction's components.
    #[inline(always)]
    pub fn new(simd: S, ray: &Ray, inverse: [f32; 3]) -> Self {
        let origin = ray.origin.to_array();
        let splat = always!(|value: f32| f32x8::splat(simd, value));
        Self {
            inverse: [splat(inverse[0]), splat(inverse[1]), splat(inverse[2])],
            moved: [
                splat(origin[0] * inverse[0]),
                splat(origin[1] * inverse[1]),
                splat(origin[2] * inverse[2]),
            ],
            negative: negative(ray),
        }
    }
}

/// 1 for each component of a ray's direction that is negative.
#[inline(always)]
pub fn negative(ray: &Ray) -> [usize; 3] {
    ray.direction.to_array().map(|component| usize::from(component < 0.0))
}

impl Node {
    /// Of up to [`WIDTH`] boxes. They are grown by the margin first.
    pub fn new(boxes: &[Aabb], margin: f32) -> Self {
        let mut sides = [[[f32::INFINITY; WIDTH]; 3], [[f32::NEG_INFINITY; WIDTH]; 3]];
        let [low, high] = &mut sides;
        for (child, bounds) in boxes.iter().take(WIDTH).enumerate() {
            let grown = bounds.grown(margin);
            for (lanes, value) in low.iter_mut().zip(grown.low).chain(high.iter_mut().zip(grown.high)) {
                lanes[child] = value;
            }
        }
        Self { sides, codes: [NOTHING; WIDTH] }
    }

    /// Moves what the codes point to.
    pub fn move_codes(&mut self, nodes: u32, packs: u32) {
        for code in self.codes.iter_mut().filter(|code| **code != NOTHING) {
            *code += match *code & KIND {
                INNER => nodes,
                LEAF => packs,
                _ => 0,
            };
        }
    }

    /// Where a ray enters each child's box, and a bit for each child that it enters before `t_max`.
    #[inline(always)]
    pub fn enter<S: Simd>(&self, simd: S, slabs: &Slabs<S>, t_max: f32) -> (f32x8<S>, u32) {
        let side = |axis: usize, far: usize| {
            let side = f32x8::simd_from(simd, self.sides[slabs.negative[axis] ^ far][axis]);
            side.mul_sub(slabs.inverse[axis], slabs.moved[axis])
        };
        let near = side(0, 0).max(side(1, 0)).max(side(2, 0).max(f32x8::splat(simd, 0.0)));
        let far = side(0, 1).min(side(1, 1)).min(side(2, 1).min(f32x8::splat(simd, t_max)));
        (near, near.simd_le(far * f32x8::splat(simd, SLACK)).to_bitmask() as u32)
    }

    /// A side of a child's box: the near one of an axis, or the far one, for rays whose direction is `negative` there.
    #[inline(always)]
    pub fn side(&self, child: usize, axis: usize, far: usize, negative: usize) -> f32 {
        self.sides[negative ^ far][axis][child]
    }

    /// Whether a box that begins there need not be visited, since something was hit before.
    #[inline(always)]
    pub fn is_behind(near: f32, t: f32) -> bool {
        near > t * SLACK
    }
}
