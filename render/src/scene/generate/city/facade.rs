//! A wall to put things on: (u, v) on the wall, d out of it.

use super::super::solids::{Point, add, cross, scale};
use crate::scene::write_glb::Mesh;

/// A vertical rectangle in space.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facade {
    /// Its lower left corner, as seen from outside.
    pub(super) corner: Point,
    /// Unit vector to the right, as seen from outside.
    pub(super) along: Point,
    pub(super) width: f32,
    pub(super) height: f32,
}

impl Facade {
    pub(super) fn at(&self, u: f32, v: f32, d: f32) -> Point {
        let lifted = add(add(self.corner, scale(self.along, u)), [0.0, v, 0.0]);
        add(lifted, scale(self.out(), d))
    }

    /// Unit vector out of the wall.
    pub(super) fn out(&self) -> Point {
        cross(self.along, [0.0, 1.0, 0.0])
    }

    /// A flat rectangle `d` in front of the wall.
    pub(super) fn rect(&self, mesh: &mut Mesh, [u0, u1]: [f32; 2], [v0, v1]: [f32; 2], d: f32) {
        mesh.quad([self.at(u0, v0, d), self.at(u1, v0, d), self.at(u1, v1, d), self.at(u0, v1, d)]);
    }

    /// A box on the wall, from `d0` to `d1` in front of it.
    pub(super) fn block(&self, mesh: &mut Mesh, [u0, u1]: [f32; 2], [v0, v1]: [f32; 2], [d0, d1]: [f32; 2]) {
        let edges = [scale(self.along, u1 - u0), [0.0, v1 - v0, 0.0], scale(self.out(), d1 - d0)];
        mesh.block(self.at(u0, v0, d0), edges, 1);
    }
}
