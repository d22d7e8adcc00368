//! Rays that go about the same way, through the trees together (Wald et al. 2001): a node is fetched once for all of
//! them, and where they go is decided once. What they hit is what each alone would hit: only the way there differs.

use fearless_simd::{Simd, f32x16, prelude::*};

use super::{
    Hit,
    build::MAX_DEPTH,
    node::{INNER, KIND, NOTHING, Node, SLACK, WIDTH, negative},
    walk::{Beam, Filter, Forest, Stack, Walk},
};
use crate::{ray::Ray, real::always};

/// Rays of a packet.
pub const PACKET: usize = 16;
/// A bit for each of them.
const ALL: u32 = u32::MAX >> (32 - PACKET);
/// All but one child of every level wait.
const STACK: usize = (WIDTH - 1) * MAX_DEPTH + 1;

/// What waits to be visited.
#[derive(Clone, Copy)]
struct Waiting {
    code: u32,
    /// A bit for each ray that enters it.
    rays: u32,
    /// Where the first of them does.
    near: f32,
}

/// What of the rays nodes want to know.
struct Slabs<S: Simd> {
    inverse: [f32x16<S>; 3],
    moved: [f32x16<S>; 3],
    /// Of each ray's direction, the same for all.
    negative: [usize; 3],
}

/// A packet on its way.
struct Packet<'a, S: Simd, F: Filter> {
    simd: S,
    forest: &'a Forest,
    filter: &'a F,
    beams: [Beam<'a>; PACKET],
    /// Index of the first ray.
    first: usize,
    hits: &'a mut [Hit],
    /// How far hits are still looked for.
    reach: [f32; PACKET],
    /// For each ray's way through an instance.
    stack: &'a mut Stack,
}

/// Finds what [`PACKET`] rays hit first; `first` is the index of the first. `false` if they do not go about the same way, or
/// are too few.
#[inline(always)]
pub fn closest<S: Simd>(
    simd: S,
    forest: &Forest,
    filter: &impl Filter,
    (rays, first): (&[Ray], usize),
    hits: &mut [Hit],
    stack: &mut Stack,
) -> bool {
    let signs = negative(&rays[0]);
    if rays.len() < PACKET || rays.iter().any(|ray| negative(ray) != signs) {
        return false;
    }
    let mut beams = [Beam::new(&rays[0]); PACKET];
    let mut reach = [0.0; PACKET];
    for (lane, ray) in rays.iter().enumerate().take(PACKET) {
        beams[lane] = Beam::new(ray);
        reach[lane] = hits[lane].t;
    }
    Packet { simd, forest, filter, beams, first, hits, reach, stack }.through();
    true
}

impl<S: Simd, F: Filter> Packet<'_, S, F> {
    #[inline(always)]
    fn slabs(&self) -> Slabs<S> {
        let (mut inverse, mut moved) = ([[0.0; PACKET]; 3], [[0.0; PACKET]; 3]);
        for (lane, Beam { ray, inverse: of_ray }) in self.beams.iter().enumerate() {
            let origin = ray.origin.to_array();
            for axis in 0..3 {
                inverse[axis][lane] = of_ray[axis];
                moved[axis][lane] = origin[axis] * of_ray[axis];
            }
        }
        let lanes = always!(|lanes: [f32; PACKET]| f32x16::simd_from(self.simd, lanes));
        Slabs {
            inverse: [lanes(inverse[0]), lanes(inverse[1]), lanes(inverse[2])],
            moved: [lanes(moved[0]), lanes(moved[1]), lanes(moved[2])],
            negative: negative(self.beams[0].ray),
        }
    }

    /// Visits everything that any of the rays enters.
    #[inline(always)]
    fn through(&mut self) {
        let slabs = self.slabs();
        let mut stack = [Waiting { code: NOTHING, rays: 0, near: 0.0 }; STACK];
        stack[0] = Waiting { code: INNER, rays: ALL, near: 0.0 };
        let mut top = 1;
        while top > 0 {
            top -= 1;
            let Waiting { code, rays, .. } = stack[top];
            if code & KIND == INNER {
                let node = &self.forest.trees.nodes()[code as usize];
                top = self.descend(node, &slabs, rays, &mut stack, top);
            } else {
                self.leaf(code, rays);
            }
        }
    }

    /// Puts the children that any of the rays enters on the stack, the nearest on top.
    #[inline(always)]
    fn descend(
        &self,
        node: &Node,
        slabs: &Slabs<S>,
        rays: u32,
        stack: &mut [Waiting; STACK],
        top: usize,
    ) -> usize {
        let reach = f32x16::simd_from(self.simd, self.reach);
        let mut end = top;
        for (child, code) in node.codes.iter().enumerate().take_while(|(_, code)| **code != NOTHING) {
            let (near, entered) = enter(self.simd, node, slabs, child, reach);
            let entered = entered & rays;
            if entered == 0 {
                continue;
            }
            self.forest.announce(*code);
            let near = near[entered.trailing_zeros() as usize % PACKET];
            let mut at = end;
            while at > top && stack[at - 1].near < near {
                stack[at] = stack[at - 1];
                at -= 1;
            }
            stack[at] = Waiting { code: *code, rays: entered, near };
            end += 1;
        }
        end
    }

    /// Visits a leaf of the outermost tree with some of the rays.
    #[inline(always)]
    fn leaf(&mut self, code: u32, mut rays: u32) {
        while rays != 0 {
            let lane = rays.trailing_zeros() as usize % PACKET;
            rays &= rays - 1;
            let mut walk = Walk {
                simd: self.simd,
                forest: self.forest,
                filter: self.filter,
                index: self.first + lane,
                best: self.hits[lane],
                stack: self.stack,
            };
            walk.leaf::<false>(&self.beams[lane], code, 0);
            self.hits[lane] = walk.best;
            self.reach[lane] = walk.best.t;
        }
    }
}

/// Where rays enter a child's box, and a bit for each ray that does before its reach ends.
#[inline(always)]
fn enter<S: Simd>(
    simd: S,
    node: &Node,
    slabs: &Slabs<S>,
    child: usize,
    reach: f32x16<S>,
) -> (f32x16<S>, u32) {
    let side = always!(|axis: usize, far: usize| {
        let side = f32x16::splat(simd, node.side(child, axis, far, slabs.negative[axis]));
        side.mul_sub(slabs.inverse[axis], slabs.moved[axis])
    });
    let near = side(0, 0).max(side(1, 0)).max(side(2, 0).max(f32x16::splat(simd, 0.0)));
    let far = side(0, 1).min(side(1, 1)).min(side(2, 1).min(reach));
    (near, near.simd_le(far * f32x16::splat(simd, SLACK)).to_bitmask() as u32)
}
