//! Builds a binary tree by binned surface area heuristic (Wald 2007), in parallel, with the same result for any
//! number of threads.

use super::Aabb;

/// Triangles of a leaf at most: one pack of the 4-wide intersector.
pub const MAX_LEAF: usize = 4;
/// Bins along an axis.
const BINS: usize = 16;
/// Below this depth the tree is split in the middle, so that no input makes it deeper than the traversal stacks.
const MAX_SAH_DEPTH: usize = 28;
/// Deepest tree: `MAX_SAH_DEPTH` and then halves of at most 2^26 triangles.
pub const MAX_DEPTH: usize = MAX_SAH_DEPTH + 27;
/// Smaller parts are built by the thread that split them off.
const PARALLEL_FROM: usize = 4096;
/// Cost of visiting a node, in triangle tests.
const NODE_COST: f32 = 1.0;

/// A node of the tree.
#[derive(Debug)]
pub enum Tree {
    /// Triangles, by their indices.
    Leaf {
        /// Contains them.
        bounds: Aabb,
        /// One to [`MAX_LEAF`].
        primitives: Vec<u32>,
    },
    /// Two parts.
    Inner {
        /// Contains both.
        bounds: Aabb,
        /// The parts.
        children: Box<[Tree; 2]>,
    },
}

impl Tree {
    /// What contains the node.
    pub fn bounds(&self) -> &Aabb {
        match self {
            Self::Leaf { bounds, .. } | Self::Inner { bounds, .. } => bounds,
        }
    }
}

/// Builds the tree over the boxes of triangles; at least one.
pub fn build(boxes: &[Aabb]) -> Tree {
    build_with_leaves(boxes, MAX_LEAF)
}

/// Builds a tree whose leaves hold up to so many.
pub fn build_with_leaves(boxes: &[Aabb], max_leaf: usize) -> Tree {
    let mut order: Vec<u32> = (0..boxes.len() as u32).collect();
    subtree(boxes, &mut order, 0, max_leaf)
}

fn subtree(boxes: &[Aabb], order: &mut [u32], depth: usize, max_leaf: usize) -> Tree {
    let (bounds, centers) = enclose(boxes, order);
    let split =
        if depth < MAX_SAH_DEPTH { best_split(boxes, order, &bounds, &centers, max_leaf) } else { None };
    if split.is_none() && order.len() <= max_leaf {
        let mut primitives = order.to_vec();
        primitives.sort_unstable();
        return Tree::Leaf { bounds, primitives };
    }
    let at = match split {
        Some(split) => partition(boxes, order, &split),
        None => order.len() / 2,
    };
    let parallel = order.len() >= PARALLEL_FROM;
    let (left, right) = order.split_at_mut(at);
    let children = if parallel {
        rayon::join(
            || subtree(boxes, left, depth + 1, max_leaf),
            || subtree(boxes, right, depth + 1, max_leaf),
        )
    } else {
        (subtree(boxes, left, depth + 1, max_leaf), subtree(boxes, right, depth + 1, max_leaf))
    };
    Tree::Inner { bounds, children: Box::new([children.0, children.1]) }
}

fn enclose(boxes: &[Aabb], order: &[u32]) -> (Aabb, Aabb) {
    order.iter().fold((Aabb::EMPTY, Aabb::EMPTY), |(bounds, centers), index| {
        let item = &boxes[*index as usize];
        (bounds.union(item), centers.with_point(item.center()))
    })
}

/// Where to split: everything whose center lies in a bin up to `last_bin` goes left.
#[derive(Debug, Clone, Copy)]
struct Split {
    axis: usize,
    low: f32,
    scale: f32,
    last_bin: usize,
    cost: f32,
}

impl Split {
    fn bin(&self, item: &Aabb) -> usize {
        (((item.center()[self.axis] - self.low) * self.scale) as usize).min(BINS - 1)
    }
}

/// The cheapest split, if it is cheaper than a leaf or a leaf would be too large.
fn best_split(
    boxes: &[Aabb],
    order: &[u32],
    bounds: &Aabb,
    centers: &Aabb,
    max_leaf: usize,
) -> Option<Split> {
    let best = (0..3)
        .filter_map(|axis| best_on_axis(boxes, order, centers, axis))
        .min_by(|a, b| a.cost.total_cmp(&b.cost))?;
    let leaf_cost = packs(order.len()) * bounds.half_area();
    let worth_it = best.cost + NODE_COST * bounds.half_area() < leaf_cost;
    (worth_it || order.len() > max_leaf).then_some(best)
}

fn best_on_axis(boxes: &[Aabb], order: &[u32], centers: &Aabb, axis: usize) -> Option<Split> {
    let extent = centers.high[axis] - centers.low[axis];
    let scale = BINS as f32 / extent;
    if extent <= 0.0 || !scale.is_finite() {
        return None;
    }
    let mut split = Split { axis, low: centers.low[axis], scale, last_bin: 0, cost: f32::INFINITY };
    let mut bins = [(Aabb::EMPTY, 0_usize); BINS];
    for index in order {
        let item = &boxes[*index as usize];
        let (bounds, count) = &mut bins[split.bin(item)];
        *bounds = bounds.union(item);
        *count += 1;
    }
    let mut right = [(0.0_f32, 0_usize); BINS];
    let (mut bounds, mut count) = (Aabb::EMPTY, 0);
    for bin in (1..BINS).rev() {
        bounds = bounds.union(&bins[bin].0);
        count += bins[bin].1;
        right[bin] = (bounds.half_area(), count);
    }
    let (mut bounds, mut count) = (Aabb::EMPTY, 0);
    for last_bin in 0..BINS - 1 {
        bounds = bounds.union(&bins[last_bin].0);
        count += bins[last_bin].1;
        let (right_area, right_count) = right[last_bin + 1];
        let cost = bounds.half_area() * packs(count) + right_area * packs(right_count);
        if count > 0 && right_count > 0 && cost < split.cost {
            split.last_bin = last_bin;
            split.cost = cost;
        }
    }
    split.cost.is_finite().then_some(split)
}

/// Packs that so many triangles take.
fn packs(triangles: usize) -> f32 {
    triangles.div_ceil(MAX_LEAF) as f32
}

/// Keeps the order within both parts, so that the result depends on nothing but the input.
fn partition(boxes: &[Aabb], order: &mut [u32], split: &Split) -> usize {
    let goes_left = |index: &u32| split.bin(&boxes[*index as usize]) <= split.last_bin;
    let right: Vec<u32> = order.iter().copied().filter(|index| !goes_left(index)).collect();
    let mut at = 0;
    for read in 0..order.len() {
        if goes_left(&order[read]) {
            order[at] = order[read];
            at += 1;
        }
    }
    order[at..].copy_from_slice(&right);
    at
}
