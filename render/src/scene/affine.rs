//! Affine maps: where an instance stands. `kernel/gpu/instance.wgsl` is the twin of the functions that the kernels
//! call.

use crate::{
    math::{Vec3, vec3},
    real::{Real, always},
};

/// Three rows of four: `p' = M[row][0..3] · p + M[row][3]`; or several, lane by lane.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine<R = f32>(pub [[R; 4]; 3]);

impl Affine {
    /// Changes nothing.
    pub const IDENTITY: Self = Self([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]);
}

impl<R: Real> Affine<R> {
    /// One for each lane.
    #[inline(always)]
    pub fn from_lanes<'a>(token: R::Token, value: impl Fn(usize) -> &'a Affine) -> Self {
        let entry = always!(|row: usize, column: usize| {
            R::from_lanes(token, always!(|lane: usize| value(lane).0[row][column]))
        });
        let row = always!(|row: usize| [entry(row, 0), entry(row, 1), entry(row, 2), entry(row, 3)]);
        Self([row(0), row(1), row(2)])
    }

    /// Where a point goes.
    #[inline(always)]
    pub fn point(&self, p: Vec3<R>) -> Vec3<R> {
        let row = always!(|[a, b, c, moved]: [R; 4]| a * p.x + b * p.y + c * p.z + moved);
        vec3(row(self.0[0]), row(self.0[1]), row(self.0[2]))
    }

    /// Where a direction goes; its length changes with it.
    #[inline(always)]
    pub fn vector(&self, v: Vec3<R>) -> Vec3<R> {
        let row = always!(|[a, b, c, _]: [R; 4]| a * v.x + b * v.y + c * v.z);
        vec3(row(self.0[0]), row(self.0[1]), row(self.0[2]))
    }

    /// The transposed linear part: carries normals when `self` is the way back.
    #[inline(always)]
    pub fn transposed_vector(&self, v: Vec3<R>) -> Vec3<R> {
        let [a, b, c] = self.0;
        let column = always!(|index: usize| a[index] * v.x + b[index] * v.y + c[index] * v.z);
        vec3(column(0), column(1), column(2))
    }
}
