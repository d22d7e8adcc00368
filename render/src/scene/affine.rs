//! Affine maps: where an instance stands. `kernel/gpu/instance.wgsl` is the twin of the functions that the kernels
//! call.

use crate::math::{Vec3, vec3};

/// Three rows of four: `p' = M[row][0..3] · p + M[row][3]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine(pub [[f32; 4]; 3]);

impl Affine {
    /// Changes nothing.
    pub const IDENTITY: Self = Self([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]);

    /// Where a point goes.
    #[inline(always)]
    pub fn point(&self, p: Vec3) -> Vec3 {
        let row = |[a, b, c, moved]: [f32; 4]| a * p.x + b * p.y + c * p.z + moved;
        vec3(row(self.0[0]), row(self.0[1]), row(self.0[2]))
    }

    /// Where a direction goes; its length changes with it.
    #[inline(always)]
    pub fn vector(&self, v: Vec3) -> Vec3 {
        let row = |[a, b, c, _]: [f32; 4]| a * v.x + b * v.y + c * v.z;
        vec3(row(self.0[0]), row(self.0[1]), row(self.0[2]))
    }

    /// The transposed linear part: carries normals when `self` is the way back.
    #[inline(always)]
    pub fn transposed_vector(&self, v: Vec3) -> Vec3 {
        let [a, b, c] = self.0;
        let column = |index: usize| a[index] * v.x + b[index] * v.y + c[index] * v.z;
        vec3(column(0), column(1), column(2))
    }
}
