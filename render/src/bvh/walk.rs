//! Finds what rays hit, one ray after the other, or those that go about the same way together.

use fearless_simd::{Level, Simd};

use super::{
    Aabb, FAR_FACTOR, Hit,
    build::MAX_DEPTH,
    node::{INNER, KIND, LEAF, NOTHING, Node, Slabs, WIDTH},
    pack::LANES,
    packet::{self, PACKET},
    wide::WideBvh,
};
use crate::{
    math::{Vec3, safe_reciprocal},
    prefetch::prefetch,
    ray::Ray,
    real::always,
    scene::Affine,
    simd::with_level,
};

/// Deepest stack of one tree: all but one child of every level wait.
const TREE_STACK: usize = (WIDTH - 1) * MAX_DEPTH + 1;
/// Of a tree over instances and one of a mesh below it, and the way back.
const STACK: usize = 2 * TREE_STACK + 2;

/// Says whether a hit of a triangle that is not there everywhere counts.
pub trait Filter {
    /// Whether the hit of the ray of that index counts; `u` and `v` are the weights of the second and third corner.
    fn counts(&self, ray: usize, instance: u32, primitive: u32, u: f32, v: f32) -> bool;
}

/// Every hit counts.
pub struct Solid;

impl Filter for Solid {
    #[inline(always)]
    fn counts(&self, _ray: usize, _instance: u32, _primitive: u32, _u: f32, _v: f32) -> bool {
        true
    }
}

/// Where an instance stands, and its mesh's tree.
#[derive(Debug, Clone)]
pub struct Placement {
    /// From the world to the mesh.
    pub to_mesh: Affine,
    /// Mesh and world are the same.
    pub at_origin: bool,
    /// Contains it in the world.
    pub bounds: Aabb,
    /// The code of the mesh's root.
    pub root: u32,
    /// By how much the boxes of the mesh's triangles are larger than they.
    pub margin: f32,
}

impl Placement {
    /// The ray in the mesh's space: the same distances along a direction of another length.
    #[inline(always)]
    pub fn inward(&self, ray: &Ray) -> Ray {
        if self.at_origin {
            return *ray;
        }
        Ray { origin: self.to_mesh.point(ray.origin), direction: self.to_mesh.vector(ray.direction) }
    }
}

/// Trees and instances.
#[derive(Debug)]
pub struct Forest {
    /// The tree over the instances first, if there is one, then those of the meshes.
    pub trees: WideBvh,
    /// The instances, in the scene's order.
    pub placements: Vec<Placement>,
    /// There is but one instance, it stands at the origin, and its tree is the only one.
    pub alone: bool,
}

/// Rays to be traced: all as far as their hits' distances say.
pub struct Rays<'a> {
    /// The rays.
    pub rays: &'a [Ray],
    /// Nothing yet, as far as it is looked for ([`Hit::nothing`]); what is found replaces it.
    pub hits: &'a mut [Hit],
    /// Whether neighbours go about the same way: such are traced together when their closest hits are looked for.
    pub coherent: bool,
}

/// What waits to be visited: codes and where they begin. Made once per thread: clearing it for every ray would cost
/// more than many a ray.
pub struct Stack([(u32, f32); STACK]);

impl Default for Stack {
    fn default() -> Self {
        Self([(NOTHING, 0.0); STACK])
    }
}

impl Forest {
    /// The first thing that each ray hits, in the scene's order where there are several at one distance.
    #[inline(always)]
    pub fn closest<S: Simd>(&self, simd: S, rays: Rays<'_>, filter: &impl Filter, stack: &mut Stack) {
        self.trace::<S, false>(simd, rays, filter, stack);
    }

    /// Any hit of each ray.
    #[inline(always)]
    pub fn any<S: Simd>(&self, simd: S, rays: Rays<'_>, filter: &impl Filter, stack: &mut Stack) {
        self.trace::<S, true>(simd, rays, filter, stack);
    }

    /// The first thing that a ray hits within `t_max`, when everything is solid.
    pub fn closest_solid(&self, ray: &Ray, t_max: f32, stack: &mut Stack) -> Hit {
        let mut hits = [Hit::nothing(t_max)];
        let rays = Rays { rays: std::slice::from_ref(ray), hits: &mut hits, coherent: false };
        with_level!(Level::new(), simd => self.closest(simd, rays, &Solid, stack));
        hits[0]
    }

    /// Whether a ray hits anything within `t_max`, when everything is solid.
    pub fn any_solid(&self, ray: &Ray, t_max: f32, stack: &mut Stack) -> bool {
        let mut hits = [Hit::nothing(t_max)];
        let rays = Rays { rays: std::slice::from_ref(ray), hits: &mut hits, coherent: false };
        with_level!(Level::new(), simd => self.any(simd, rays, &Solid, stack));
        hits[0].is_some()
    }

    /// Asks for the memory of what will be visited.
    #[inline(always)]
    pub(super) fn announce(&self, code: u32) {
        match code & KIND {
            INNER => prefetch(&self.trees.nodes()[code as usize]),
            LEAF => prefetch(&self.trees.packs()[(code & !LEAF) as usize]),
            _ => {}
        }
    }

    #[inline(always)]
    fn trace<S: Simd, const ANY: bool>(
        &self,
        simd: S,
        Rays { rays, hits, coherent }: Rays<'_>,
        filter: &impl Filter,
        stack: &mut Stack,
    ) {
        let packets = rays.chunks(PACKET).zip(hits.chunks_mut(PACKET));
        for ((rays, hits), first) in packets.zip((0..).step_by(PACKET)) {
            if !ANY && coherent && packet::closest(simd, self, filter, (rays, first), hits, stack) {
                continue;
            }
            for (index, (ray, hit)) in (first..).zip(rays.iter().zip(hits)) {
                let mut walk = Walk { simd, forest: self, filter, index, best: *hit, stack };
                walk.below::<ANY>(&Beam::new(ray), INNER);
                *hit = walk.best;
            }
        }
    }
}

/// The way of a ray through the trees.
pub(super) struct Walk<'a, S: Simd, F: Filter> {
    pub simd: S,
    pub forest: &'a Forest,
    pub filter: &'a F,
    /// Of the ray.
    pub index: usize,
    pub best: Hit,
    pub stack: &'a mut Stack,
}

/// A ray with the reciprocals of its direction's components.
#[derive(Clone, Copy)]
pub(super) struct Beam<'a> {
    pub ray: &'a Ray,
    pub inverse: [f32; 3],
}

impl<'a> Beam<'a> {
    #[inline(always)]
    pub fn new(ray: &'a Ray) -> Self {
        let Vec3 { x, y, z } = ray.direction;
        Self { ray, inverse: [safe_reciprocal(x), safe_reciprocal(y), safe_reciprocal(z)] }
    }
}

/// An instance that is walked through.
struct Inside<'a> {
    beam: &'a Beam<'a>,
    instance: u32,
    /// Where the instance's box begins: no hit of its lies before.
    near: f32,
    /// By how much the boxes of its triangles are larger than they.
    margin: f32,
}

/// Where a ray enters a box, if it does.
#[inline(always)]
fn enters(bounds: &Aabb, Beam { ray, inverse }: &Beam<'_>) -> Option<f32> {
    let (origin, direction) = (ray.origin.to_array(), ray.direction.to_array());
    let side = |axis: usize, far: bool| {
        let bound = if (direction[axis] < 0.0) == far { bounds.low[axis] } else { bounds.high[axis] };
        (bound - origin[axis]) * inverse[axis]
    };
    let near = side(0, false).max(side(1, false)).max(side(2, false).max(0.0));
    let far = side(0, true).min(side(1, true)).min(side(2, true));
    (near <= far * FAR_FACTOR).then_some(near)
}

impl<S: Simd, F: Filter> Walk<'_, S, F> {
    /// Visits what lies below a node of the outermost tree; `true` if something was hit and any hit is enough.
    #[inline(always)]
    pub fn below<const ANY: bool>(&mut self, beam: &Beam<'_>, code: u32) -> bool {
        self.through::<ANY>(
            code,
            0,
            beam,
            always!(|walk: &mut Self, code: u32, free: usize| walk.leaf::<ANY>(beam, code, free)),
        )
    }

    /// Visits a leaf of the outermost tree. `free` is the free part of the stack.
    #[inline(always)]
    pub fn leaf<const ANY: bool>(&mut self, beam: &Beam<'_>, code: u32, free: usize) -> bool {
        if !self.forest.alone {
            return self.enter::<ANY>(code & !KIND, beam, free);
        }
        let Some(only) = self.forest.placements.first() else { return false };
        let inside = Inside { beam, instance: 0, near: 0.0, margin: only.margin };
        self.test(&inside, code) && ANY
    }

    /// Goes through an instance.
    #[inline(always)]
    fn enter<const ANY: bool>(&mut self, item: u32, beam: &Beam<'_>, free: usize) -> bool {
        let placement = &self.forest.placements[item as usize];
        let Some(near) = enters(&placement.bounds, beam) else { return false };
        if near > self.best.t * FAR_FACTOR {
            return false;
        }
        let inward = placement.inward(beam.ray);
        let beam = if placement.at_origin { *beam } else { Beam::new(&inward) };
        let inside = Inside { beam: &beam, instance: item, near, margin: placement.margin };
        self.through::<ANY>(
            placement.root,
            free,
            &beam,
            always!(|walk: &mut Self, code: u32, _: usize| walk.test(&inside, code) && ANY),
        )
    }

    /// Visits what lies below a node, the nearest child first, until `leaf` says that it is enough. `base` is the free
    /// part of the stack.
    #[inline(always)]
    fn through<const ANY: bool>(
        &mut self,
        root: u32,
        base: usize,
        beam: &Beam<'_>,
        mut leaf: impl FnMut(&mut Self, u32, usize) -> bool,
    ) -> bool {
        let slabs = Slabs::new(self.simd, beam.ray, beam.inverse);
        let mut code = root;
        let mut top = base;
        loop {
            while code & KIND == INNER {
                let node = &self.forest.trees.nodes()[code as usize];
                let (near, entered) = node.enter(self.simd, &slabs, self.best.t);
                if entered == 0 {
                    break;
                }
                let visit = if ANY { Self::spread } else { Self::descend };
                (code, top) = visit(self, node, &near.into(), entered, top);
            }
            if code & KIND != INNER && leaf(self, code, top) {
                return true;
            }
            loop {
                if top == base {
                    return false;
                }
                top -= 1;
                let (waiting, near) = self.stack.0[top];
                if !Node::is_behind(near, self.best.t) {
                    code = waiting;
                    break;
                }
            }
        }
    }

    /// The largest of the children that are entered; the others wait, the next largest on top. Where any hit is enough,
    /// what is large is more likely in the way than what is near.
    #[inline(always)]
    fn spread(&mut self, node: &Node, near: &[f32; WIDTH], mut entered: u32, mut top: usize) -> (u32, usize) {
        let first = entered.trailing_zeros() as usize % WIDTH;
        entered &= entered - 1;
        // The smallest first, so that the largest is on top.
        while entered != 0 {
            let child = entered.ilog2() as usize % WIDTH;
            self.forest.announce(node.codes[child]);
            self.stack.0[top] = (node.codes[child], near[child]);
            top += 1;
            entered ^= 1 << child;
        }
        (node.codes[first], top)
    }

    /// The nearest of the children that are entered; the others wait, the nearest on top. One or two are by far the most
    /// frequent.
    #[inline(always)]
    fn descend(&mut self, node: &Node, near: &[f32; WIDTH], entered: u32, top: usize) -> (u32, usize) {
        let entry = |children: u32| {
            let child = children.trailing_zeros() as usize % WIDTH;
            self.forest.announce(node.codes[child]);
            (node.codes[child], near[child])
        };
        let first = entry(entered);
        let mut entered = entered & (entered - 1);
        if entered == 0 {
            return (first.0, top);
        }
        let second = entry(entered);
        entered &= entered - 1;
        let swapped = second.1 < first.1;
        let (mut nearest, other) = if swapped { (second, first) } else { (first, second) };
        self.stack.0[top] = other;
        let mut end = top + 1;
        while entered != 0 {
            let child = entered.trailing_zeros() as usize % WIDTH;
            self.forest.announce(node.codes[child]);
            let mut next = (node.codes[child], near[child]);
            entered &= entered - 1;
            if next.1 < nearest.1 {
                std::mem::swap(&mut next, &mut nearest);
            }
            let mut at = end;
            while at > top && self.stack.0[at - 1].1 < next.1 {
                self.stack.0[at] = self.stack.0[at - 1];
                at -= 1;
            }
            self.stack.0[at] = next;
            end += 1;
        }
        (nearest.0, end)
    }

    /// Tests the triangles of a pack; `true` if `best` had to yield.
    #[inline(always)]
    fn test(&mut self, inside: &Inside<'_>, code: u32) -> bool {
        let index = code & !LEAF;
        let pack = &self.forest.trees.packs()[index as usize];
        let crossings = pack.intersect(self.simd, inside.beam.ray, self.best.t);
        let (mut lanes, mut found) = (crossings.lanes, false);
        while lanes != 0 {
            let lane = lanes.trailing_zeros() as usize;
            lanes &= lanes - 1;
            let (t, primitive) = (crossings.t[lane], pack.primitives()[lane]);
            if !self.best.yields_to(t, inside.instance, primitive)
                || !inside.holds(pack.corners(lane).bounds(), t)
            {
                continue;
            }
            let asked = pack.is_filtered(lane);
            let (u, v) = (crossings.u[lane], crossings.v[lane]);
            if asked && !self.filter.counts(self.index, inside.instance, primitive, u, v) {
                continue;
            }
            let place = index * LANES as u32 + lane as u32;
            self.best = Hit { t, instance: inside.instance, primitive, place };
            found = true;
        }
        found
    }
}

impl Inside<'_> {
    /// Whether a hit lies behind the near sides of its triangle's box and of the instance's.
    #[inline(always)]
    fn holds(&self, bounds: Aabb, t: f32) -> bool {
        enters(&bounds.grown(self.margin), self.beam)
            .is_some_and(|near| t * FAR_FACTOR >= near.max(self.near))
    }
}
