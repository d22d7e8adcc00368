//! Builds a binary tree by binned surface area heuristic (Wald 2007), in parallel, with the same result for any
//! number of threads.

use super::Aabb;

/// Triangles of a leaf at most: one pack of the 4-wide intersector.
pub const MAX_LEAF: usize = 4;
/// Bins along an axis: at most, and for how many triangles. Few triangles are not worth many.
const BINS: [(usize, usize); 3] = [(0, 16), (64, 32), (1024, 64)];
const MAX_BINS: usize = 64;
/// Below this depth the tree is split in the middle, so that no input makes it deeper than the traversal stacks.
const MAX_SAH_DEPTH: usize = 28;
/// Deepest tree: `MAX_SAH_DEPTH` and then halves of at most 2^26 triangles.
pub const MAX_DEPTH: usize = MAX_SAH_DEPTH + 27;
/// Smaller parts are built by the thread that split them off.
const PARALLEL_FROM: usize = 4096;
/// Cost of a split, in tests of a pack: three of them make one node of eight children.
const NODE_COST: f32 = 0.2;

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
    let mut items: Vec<Item> = (0..).zip(boxes).map(|(index, bounds)| Item::new(index, bounds)).collect();
    let mut spare = items.clone();
    subtree(&mut items, &mut spare, 0, max_leaf)
}

/// Four numbers that one instruction handles; the last one is of no meaning.
type Four = [f32; 4];

#[inline(always)]
fn each(a: &Four, b: &Four, operation: impl Fn(f32, f32) -> f32) -> Four {
    [operation(a[0], b[0]), operation(a[1], b[1]), operation(a[2], b[2]), operation(a[3], b[3])]
}

/// A box of fours. (A comparison is one instruction; `f32::min` has to care for what is no number.)
#[derive(Debug, Clone, Copy)]
struct Bounds {
    low: Four,
    high: Four,
}

impl Bounds {
    const EMPTY: Self = Self { low: [f32::INFINITY; 4], high: [f32::NEG_INFINITY; 4] };

    #[inline(always)]
    fn add(&mut self, low: &Four, high: &Four) {
        self.low = each(&self.low, low, |a, b| if b < a { b } else { a });
        self.high = each(&self.high, high, |a, b| if b > a { b } else { a });
    }

    #[inline(always)]
    fn half_area(&self) -> f32 {
        let [x, y, z, _] = each(&self.high, &self.low, |high, low| high - low);
        if x < 0.0 { 0.0 } else { x * y + y * z + z * x }
    }

    fn aabb(&self) -> Aabb {
        let three = |four: Four| [four[0], four[1], four[2]];
        Aabb { low: three(self.low), high: three(self.high) }
    }
}

/// What is sorted into the tree. Items move with their boxes, so that memory is read in order.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(32))]
struct Item {
    low: [f32; 3],
    index: u32,
    high: [f32; 3],
    pad: u32,
}

impl Item {
    fn new(index: u32, bounds: &Aabb) -> Self {
        Self { low: bounds.low, index, high: bounds.high, pad: 0 }
    }

    #[inline(always)]
    fn low(&self) -> Four {
        [self.low[0], self.low[1], self.low[2], 0.0]
    }

    #[inline(always)]
    fn high(&self) -> Four {
        [self.high[0], self.high[1], self.high[2], 0.0]
    }

    /// Twice the middle of the box.
    #[inline(always)]
    fn center(&self) -> Four {
        each(&self.low(), &self.high(), |low, high| low * 0.5 + high * 0.5)
    }
}

fn subtree(items: &mut [Item], spare: &mut [Item], depth: usize, max_leaf: usize) -> Tree {
    let (bounds, centers) = enclose(items);
    let split = if depth < MAX_SAH_DEPTH { best_split(items, &bounds, &centers, max_leaf) } else { None };
    let bounds = bounds.aabb();
    if split.is_none() && items.len() <= max_leaf {
        let mut primitives: Vec<u32> = items.iter().map(|item| item.index).collect();
        primitives.sort_unstable();
        return Tree::Leaf { bounds, primitives };
    }
    let at = match split {
        Some(split) => partition(items, spare, &split),
        None => items.len() / 2,
    };
    let parallel = items.len() >= PARALLEL_FROM;
    let ((left, right), (spare_left, spare_right)) = (items.split_at_mut(at), spare.split_at_mut(at));
    let mut build_left = || subtree(left, spare_left, depth + 1, max_leaf);
    let mut build_right = || subtree(right, spare_right, depth + 1, max_leaf);
    let children =
        if parallel { rayon::join(build_left, build_right) } else { (build_left(), build_right()) };
    Tree::Inner { bounds, children: Box::new([children.0, children.1]) }
}

/// What contains the items, and what contains their middles.
fn enclose(items: &[Item]) -> (Bounds, Bounds) {
    let (mut bounds, mut centers) = (Bounds::EMPTY, Bounds::EMPTY);
    for item in items {
        let center = item.center();
        bounds.add(&item.low(), &item.high());
        centers.add(&center, &center);
    }
    (bounds, centers)
}

/// Sorts middles into bins, along each axis.
#[derive(Debug, Clone, Copy)]
struct Grid {
    low: Four,
    /// 0 along axes on which all middles are at one place.
    scale: Four,
    bins: usize,
}

impl Grid {
    fn new(centers: &Bounds, items: usize) -> Self {
        let bins = BINS.iter().rev().find(|(from, _)| items >= *from).map_or(MAX_BINS, |(_, bins)| *bins);
        let scale = each(&centers.high, &centers.low, |high, low| {
            let scale = (bins - 1) as f32 / (high - low);
            if scale.is_finite() { scale } else { 0.0 }
        });
        Self { low: centers.low, scale, bins }
    }

    /// The bin along each axis: rounded, by the bits that a large number leaves.
    #[inline(always)]
    fn bins_of(&self, item: &Item) -> [usize; 4] {
        const LARGE: f32 = (1 << 23) as f32;
        let moved = each(&item.center(), &self.low, |center, low| center - low);
        each(&moved, &self.scale, |moved, scale| moved * scale + LARGE)
            .map(|number| (number.to_bits() as usize) % MAX_BINS)
    }
}

/// Where to split: everything whose middle lies in a bin up to `last_bin` goes left.
#[derive(Debug, Clone, Copy)]
struct Split {
    grid: Grid,
    axis: usize,
    last_bin: usize,
    cost: f32,
}

/// The cheapest split, if it is cheaper than a leaf or a leaf would be too large.
fn best_split(items: &[Item], bounds: &Bounds, centers: &Bounds, max_leaf: usize) -> Option<Split> {
    let grid = Grid::new(centers, items.len());
    let mut bins = [[(Bounds::EMPTY, 0_u32); MAX_BINS]; 3];
    for item in items {
        let (low, high) = (item.low(), item.high());
        for (bins, at) in bins.iter_mut().zip(grid.bins_of(item)) {
            let (bounds, count) = &mut bins[at];
            bounds.add(&low, &high);
            *count += 1;
        }
    }
    let best = (0..3)
        .filter(|axis| grid.scale[*axis] > 0.0)
        .filter_map(|axis| best_on_axis(&bins[axis][..grid.bins], grid, axis))
        .min_by(|a, b| a.cost.total_cmp(&b.cost))?;
    let area = bounds.half_area();
    let worth_it = best.cost + NODE_COST * area < packs(items.len()) * area;
    (worth_it || items.len() > max_leaf).then_some(best)
}

fn best_on_axis(bins: &[(Bounds, u32)], grid: Grid, axis: usize) -> Option<Split> {
    let mut right = [(0.0_f32, 0_u32); MAX_BINS];
    let (mut bounds, mut count) = (Bounds::EMPTY, 0);
    for (bin, (in_bin, number)) in bins.iter().enumerate().skip(1).rev() {
        bounds.add(&in_bin.low, &in_bin.high);
        count += number;
        right[bin] = (bounds.half_area(), count);
    }
    let mut split = Split { grid, axis, last_bin: 0, cost: f32::INFINITY };
    let (mut bounds, mut count) = (Bounds::EMPTY, 0);
    for (last_bin, (in_bin, number)) in bins.iter().enumerate().take(bins.len() - 1) {
        bounds.add(&in_bin.low, &in_bin.high);
        count += number;
        let (right_area, right_count) = right[last_bin + 1];
        let cost = bounds.half_area() * packs(count as usize) + right_area * packs(right_count as usize);
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
fn partition(items: &mut [Item], spare: &mut [Item], split: &Split) -> usize {
    let (mut left, mut right) = (0, 0);
    for read in 0..items.len() {
        let item = items[read];
        let goes_left = split.grid.bins_of(&item)[split.axis] <= split.last_bin;
        // Written to both places; the one that counts moves on.
        items[left] = item;
        spare[right] = item;
        left += usize::from(goes_left);
        right += usize::from(!goes_left);
    }
    items[left..].copy_from_slice(&spare[..right]);
    left
}
