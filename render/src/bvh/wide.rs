//! The layout of the CPU kernel: nodes of eight children, tested with one 8-wide instruction each, and leaves of four
//! triangles, likewise 4-wide (Wald et al. 2008; Ernst and Greiner 2008).

use wide::{f32x4, f32x8};

use super::{
    Aabb, FAR_FACTOR, Hit,
    build::{MAX_DEPTH, Tree},
};
use crate::{
    math::{TINY, safe_reciprocal, vec3},
    ray::{Corners, Ray},
};

/// Children of a node.
const WIDTH: usize = 8;
/// Marks a leaf in a child code.
const LEAF: u32 = 0x8000_0000;
/// Deepest stack: all but one child of every level wait.
const STACK: usize = (WIDTH - 1) * MAX_DEPTH + 1;

/// A node: the boxes of its children, component by component, and their codes. An unused child has an empty box.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
struct WideNode {
    low: [f32x8; 3],
    high: [f32x8; 3],
    codes: [u32; WIDTH],
}

/// Four triangles, component by component; unused ones are degenerate and never hit.
#[derive(Debug, Clone)]
struct Pack {
    corner: [f32x4; 3],
    edge1: [f32x4; 3],
    edge2: [f32x4; 3],
    /// -1 for triangles that are hit from both sides, 1 for those only from the front.
    side: f32x4,
    primitives: [u32; 4],
    /// A bit for each triangle whose hits are to be asked about.
    filtered: u32,
}

/// What a tree has to know of a triangle beside its corners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facing {
    /// Hit from both sides.
    pub double_sided: bool,
    /// Not there everywhere: every hit is to be asked about.
    pub filtered: bool,
}

/// Says whether a hit of a triangle that is not there everywhere counts: primitive and weights of the second and the
/// third corner.
pub trait Filter {
    /// Whether it counts.
    fn counts(&self, primitive: u32, u: f32, v: f32) -> bool;
}

/// Every hit counts.
pub struct Solid;

impl Filter for Solid {
    #[inline(always)]
    fn counts(&self, _primitive: u32, _u: f32, _v: f32) -> bool {
        true
    }
}

/// The tree as the CPU sees it.
#[derive(Debug)]
pub struct WideBvh {
    nodes: Vec<WideNode>,
    packs: Vec<Pack>,
}

/// What waits to be visited. Made once per thread: clearing it for every ray would cost more than many a ray.
pub struct Stack([(u32, f32); 2 * STACK]);

impl Default for Stack {
    fn default() -> Self {
        Self([(0, 0.0); 2 * STACK])
    }
}

/// A visit of a mesh by a ray.
#[derive(Debug, Clone, Copy)]
pub struct Visit {
    /// Which instance it is seen as.
    pub instance: u32,
    /// Where the instance's box begins: no hit of its lies before.
    pub near: f32,
    /// Entries of the stack that are in use.
    pub base: usize,
}

impl WideBvh {
    /// Lays a tree out over the triangles that it was built for.
    pub fn new(tree: &Tree, triangles: &[Corners], facing: &dyn Fn(u32) -> Facing) -> Self {
        let mut bvh = Self { nodes: Vec::new(), packs: Vec::new() };
        bvh.node(tree, &mut |bvh, primitives| bvh.pack(primitives, triangles, facing));
        bvh
    }

    /// Lays a tree with one item in each leaf out: the codes of its leaves are the items themselves.
    pub fn over_items(tree: &Tree) -> Self {
        let mut bvh = Self { nodes: Vec::new(), packs: Vec::new() };
        bvh.node(tree, &mut |_, items| LEAF | items.first().copied().unwrap_or_default());
        bvh
    }

    /// Memory that it takes, bytes.
    pub fn memory_bytes(&self) -> usize {
        self.nodes.len() * size_of::<WideNode>() + self.packs.len() * size_of::<Pack>()
    }

    /// The place of each primitive.
    pub fn places(&self, primitives: usize) -> Vec<u32> {
        let mut places = vec![0; primitives];
        for (pack, four) in (0_u32..).zip(&self.packs) {
            for (lane, primitive) in (0_u32..).zip(four.primitives) {
                if let Some(place) = places.get_mut(primitive as usize) {
                    *place = pack * 4 + lane;
                }
            }
        }
        places
    }

    /// The triangle at a place.
    #[inline(always)]
    pub fn corners(&self, place: u32) -> Corners {
        let (pack, lane) = (&self.packs[(place >> 2) as usize], (place & 3) as usize);
        let at = |lanes: &[f32x4; 3]| {
            vec3(lanes[0].as_array()[lane], lanes[1].as_array()[lane], lanes[2].as_array()[lane])
        };
        Corners { corner: at(&pack.corner), edge1: at(&pack.edge1), edge2: at(&pack.edge2) }
    }

    fn node(&mut self, tree: &Tree, leaf: &mut dyn FnMut(&mut Self, &[u32]) -> u32) -> u32 {
        let at = self.nodes.len();
        let children = open(tree);
        let bound = |select: &dyn Fn(&Aabb) -> f32, unused: f32| {
            let mut lanes = [unused; WIDTH];
            for (lane, child) in lanes.iter_mut().zip(&children) {
                *lane = select(child.bounds());
            }
            f32x8::from(lanes)
        };
        self.nodes.push(WideNode {
            low: std::array::from_fn(|axis| bound(&|bounds| bounds.low[axis], f32::INFINITY)),
            high: std::array::from_fn(|axis| bound(&|bounds| bounds.high[axis], f32::NEG_INFINITY)),
            codes: [0; WIDTH],
        });
        for (lane, child) in children.iter().enumerate() {
            let code = match child {
                Tree::Leaf { primitives, .. } => leaf(self, primitives),
                inner @ Tree::Inner { .. } => self.node(inner, leaf),
            };
            self.nodes[at].codes[lane] = code;
        }
        at as u32
    }

    fn pack(&mut self, primitives: &[u32], triangles: &[Corners], facing: &dyn Fn(u32) -> Facing) -> u32 {
        let lanes = |select: &dyn Fn(&Corners) -> f32| {
            let mut lanes = [0.0; 4];
            for (lane, index) in lanes.iter_mut().zip(primitives) {
                *lane = select(&triangles[*index as usize]);
            }
            f32x4::from(lanes)
        };
        let (mut indices, mut side, mut filtered) = ([Hit::NONE; 4], [1.0; 4], 0);
        for (lane, primitive) in primitives.iter().enumerate() {
            let facing = facing(*primitive);
            indices[lane] = *primitive;
            side[lane] = if facing.double_sided { -1.0 } else { 1.0 };
            filtered |= u32::from(facing.filtered) << lane;
        }
        self.packs.push(Pack {
            corner: [lanes(&|t| t.corner.x), lanes(&|t| t.corner.y), lanes(&|t| t.corner.z)],
            edge1: [lanes(&|t| t.edge1.x), lanes(&|t| t.edge1.y), lanes(&|t| t.edge1.z)],
            edge2: [lanes(&|t| t.edge2.x), lanes(&|t| t.edge2.y), lanes(&|t| t.edge2.z)],
            side: f32x4::from(side),
            primitives: indices,
            filtered,
        });
        LEAF | (self.packs.len() as u32 - 1)
    }

    /// Looks for a hit that `best` yields to; `true` if there was one and any is enough.
    #[inline(always)]
    pub fn trace<const ANY: bool>(
        &self,
        ray: &Ray,
        visit: Visit,
        filter: &impl Filter,
        best: &mut Hit,
        stack: &mut Stack,
    ) -> bool {
        let lanes = Lanes::new(ray);
        self.walk(&lanes, visit.base, best, stack, |place, near, _, best| {
            let pack = &self.packs[place as usize];
            pack.intersect(&lanes, place, visit.instance, near.max(visit.near), filter, best) && ANY
        })
    }

    /// Visits the items whose boxes the ray enters before `best`, with where it enters and the free part of the
    /// stack, until one says that it is enough.
    #[inline(always)]
    pub fn visit_items(
        &self,
        ray: &Ray,
        best: &mut Hit,
        stack: &mut Stack,
        item: impl FnMut(u32, f32, (usize, &mut Stack), &mut Hit) -> bool,
    ) -> bool {
        self.walk(&Lanes::new(ray), 0, best, stack, item)
    }

    #[inline(always)]
    fn walk(
        &self,
        lanes: &Lanes,
        base: usize,
        best: &mut Hit,
        stack: &mut Stack,
        mut leaf: impl FnMut(u32, f32, (usize, &mut Stack), &mut Hit) -> bool,
    ) -> bool {
        stack.0[base] = (0, 0.0);
        let mut top = base + 1;
        while top > base {
            top -= 1;
            let (code, near) = stack.0[top];
            if near > best.t * FAR_FACTOR {
                continue;
            }
            if code & LEAF != 0 {
                if leaf(code & !LEAF, near, (top, stack), best) {
                    return true;
                }
                continue;
            }
            let node = &self.nodes[code as usize];
            let (near, mut hits) = node.intersect(lanes, best.t);
            if hits == 0 {
                continue;
            }
            let near = near.to_array();
            let first = top;
            while hits != 0 {
                let lane = hits.trailing_zeros() as usize;
                hits &= hits - 1;
                // Insertion sort, nearest on top: few children are hit, and nearly always the order is right at once.
                let entry = (node.codes[lane], near[lane]);
                let mut at = top;
                while at > first && stack.0[at - 1].1 < entry.1 {
                    stack.0[at] = stack.0[at - 1];
                    at -= 1;
                }
                stack.0[at] = entry;
                top += 1;
            }
        }
        false
    }
}

/// Up to eight nodes below a node: those with the largest boxes are opened first.
fn open(tree: &Tree) -> Vec<&Tree> {
    let mut children = vec![tree];
    while children.len() < WIDTH {
        let widest = children
            .iter()
            .enumerate()
            .filter(|(_, child)| matches!(child, Tree::Inner { .. }))
            .max_by(|a, b| a.1.bounds().half_area().total_cmp(&b.1.bounds().half_area()))
            .map(|(index, _)| index);
        let Some(index) = widest else { break };
        if let Tree::Inner { children: pair, .. } = children[index] {
            children[index] = &pair[0];
            children.push(&pair[1]);
        }
    }
    children
}

/// A ray, once per lane.
struct Lanes {
    origin8: [f32x8; 3],
    inverse8: [f32x8; 3],
    negative: [bool; 3],
    origin4: [f32x4; 3],
    direction4: [f32x4; 3],
}

impl Lanes {
    #[inline(always)]
    fn new(ray: &Ray) -> Self {
        let (origin, direction) = (ray.origin.to_array(), ray.direction.to_array());
        let inverse = direction.map(safe_reciprocal);
        Self {
            origin8: origin.map(f32x8::splat),
            inverse8: inverse.map(f32x8::splat),
            negative: direction.map(|component| component < 0.0),
            origin4: origin.map(f32x4::splat),
            direction4: direction.map(f32x4::splat),
        }
    }
}

impl WideNode {
    /// Distance to each child's box and the set of those that are hit.
    #[inline(always)]
    fn intersect(&self, lanes: &Lanes, t_max: f32) -> (f32x8, u32) {
        let side = |axis: usize, far: bool| {
            let bound = if lanes.negative[axis] == far { self.low[axis] } else { self.high[axis] };
            (bound - lanes.origin8[axis]) * lanes.inverse8[axis]
        };
        let near = side(0, false).fast_max(side(1, false)).fast_max(side(2, false).fast_max(f32x8::ZERO));
        let far = side(0, true).fast_min(side(1, true)).fast_min(side(2, true).fast_min(f32x8::splat(t_max)));
        (near, near.simd_le(far * f32x8::splat(FAR_FACTOR)).to_bitmask())
    }
}

#[inline(always)]
fn cross4(a: &[f32x4; 3], b: &[f32x4; 3]) -> [f32x4; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

#[inline(always)]
fn dot4(a: &[f32x4; 3], b: &[f32x4; 3]) -> f32x4 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

impl Pack {
    /// [`Corners::intersect`], four at a time, operation by operation; the pack's box begins at `near`. Says whether
    /// `best` had to yield.
    #[inline(always)]
    fn intersect(
        &self,
        lanes: &Lanes,
        place: u32,
        instance: u32,
        near: f32,
        filter: &impl Filter,
        best: &mut Hit,
    ) -> bool {
        let direction = &lanes.direction4;
        let p = cross4(direction, &self.edge2);
        let determinant = dot4(&self.edge1, &p);
        let inverse = f32x4::ONE / determinant;
        let s = [
            lanes.origin4[0] - self.corner[0],
            lanes.origin4[1] - self.corner[1],
            lanes.origin4[2] - self.corner[2],
        ];
        let u = dot4(&s, &p) * inverse;
        let q = cross4(&s, &self.edge1);
        let v = dot4(direction, &q) * inverse;
        let t = dot4(&self.edge2, &q) * inverse;
        let zero = f32x4::ZERO;
        // Of triangles that are hit from both sides the magnitude, of the others the determinant itself.
        let proper = determinant.fast_max(determinant * self.side).simd_ge(f32x4::splat(TINY));
        let inside = proper & u.simd_ge(zero) & v.simd_ge(zero) & (u + v).simd_le(f32x4::ONE);
        let after_box = (t * f32x4::splat(FAR_FACTOR)).simd_ge(f32x4::splat(near));
        let mut hits = (inside & after_box & t.simd_gt(zero) & t.simd_le(f32x4::splat(best.t))).to_bitmask();
        if hits == 0 {
            return false;
        }
        let (t, mut found) = (t.to_array(), false);
        while hits != 0 {
            let lane = hits.trailing_zeros() as usize;
            hits &= hits - 1;
            let primitive = self.primitives[lane];
            if !best.yields_to(t[lane], instance, primitive) {
                continue;
            }
            let asked = self.filtered >> lane & 1 != 0;
            if asked && !filter.counts(primitive, u.as_array()[lane], v.as_array()[lane]) {
                continue;
            }
            *best = Hit { t: t[lane], instance, primitive, place: place * 4 + lane as u32 };
            found = true;
        }
        found
    }
}
