//! The layout of the CPU kernel: nodes of eight children, tested with one 8-wide instruction each, and leaves of four
//! triangles, likewise 4-wide (Wald et al. 2008).

use super::{
    Aabb,
    build::Tree,
    node::{ITEM, LEAF, Node, WIDTH},
    pack::{Facing, LANES, Pack},
};
use crate::ray::Corners;

/// Boxes in nodes are larger by this share of the tree's reach than what they contain: rounding of the quantised
/// form's arithmetic is smaller.
const MARGIN_SHARE: f32 = 1e-6;

/// The tree as the CPU sees it; or several, one behind the other.
#[derive(Debug, Default)]
pub struct WideBvh {
    nodes: Vec<Node>,
    packs: Vec<Pack>,
}

/// Where a tree lies that was appended to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Its root's code.
    pub root: u32,
    /// What is added to the place of each of its triangles.
    pub places: u32,
}

impl WideBvh {
    /// Lays a tree out over the triangles that it was built for.
    pub fn new(tree: &Tree, triangles: &[Corners], facing: &dyn Fn(u32) -> Facing) -> Self {
        let mut bvh = Self::default();
        let margin = tree.bounds().reach() * MARGIN_SHARE;
        bvh.node(tree, margin, &mut |bvh, primitives| {
            bvh.packs.push(Pack::new(primitives, triangles, facing));
            LEAF | (bvh.packs.len() as u32 - 1)
        });
        // It stays for long, and lists that grow reserve up to twice what they hold.
        bvh.shrink();
        bvh
    }

    /// Lays a tree with one item in each leaf out: the codes of its leaves are the items themselves.
    pub fn over_items(tree: &Tree) -> Self {
        let mut bvh = Self::default();
        let margin = tree.bounds().reach() * MARGIN_SHARE;
        bvh.node(tree, margin, &mut |_, items| ITEM | items.first().copied().unwrap_or_default());
        bvh
    }

    /// Puts another tree behind this one.
    pub fn append(&mut self, mut other: Self) -> Appended {
        let (nodes, packs) = (self.nodes.len() as u32, self.packs.len() as u32);
        let at = Appended { root: nodes, places: packs * LANES as u32 };
        if self.nodes.is_empty() {
            *self = other;
            return at;
        }
        for node in &mut other.nodes {
            node.move_codes(nodes, packs);
        }
        self.nodes.append(&mut other.nodes);
        self.packs.append(&mut other.packs);
        at
    }

    /// Gives back what its lists reserved while they grew.
    pub fn shrink(&mut self) {
        self.nodes.shrink_to_fit();
        self.packs.shrink_to_fit();
    }

    /// Nodes; the root is the first.
    #[inline(always)]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Leaves.
    #[inline(always)]
    pub fn packs(&self) -> &[Pack] {
        &self.packs
    }

    /// Memory that it takes, bytes.
    pub fn memory_bytes(&self) -> usize {
        size_of_val(&*self.nodes) + size_of_val(&*self.packs)
    }

    /// Memory that the tree over so many triangles takes at most, bytes: each in a pack of its own.
    pub fn most_bytes(triangles: u64) -> u64 {
        let packs = triangles.saturating_mul(size_of::<Pack>() as u64);
        Self::most_bytes_over_items(triangles).saturating_add(packs)
    }

    /// Memory that the tree over so many items takes at most, bytes.
    ///
    /// A node either has eight children or nothing but leaves. The most nodes for their leaves has a tree whose lowest
    /// nodes have two leaves each: seven such nodes and one above them for every fourteen leaves.
    pub fn most_bytes_over_items(items: u64) -> u64 {
        let nodes = (items.saturating_mul(4) / 7).saturating_add(1);
        nodes.saturating_mul(size_of::<Node>() as u64)
    }

    /// The place of each primitive.
    pub fn places(&self, primitives: usize) -> Vec<u32> {
        let mut places = vec![0; primitives];
        for (pack, four) in (0_u32..).zip(&self.packs) {
            for (lane, primitive) in (0_u32..).zip(four.primitives()) {
                if let Some(place) = places.get_mut(primitive as usize) {
                    *place = pack * LANES as u32 + lane;
                }
            }
        }
        places
    }

    /// The triangle at a place.
    #[inline(always)]
    pub fn corners(&self, place: u32) -> Corners {
        self.packs[place as usize / LANES].corners(place as usize % LANES)
    }

    fn node(&mut self, tree: &Tree, margin: f32, leaf: &mut dyn FnMut(&mut Self, &[u32]) -> u32) -> u32 {
        let at = self.nodes.len();
        let mut children = open(tree);
        // Rays that look for any hit try the largest first.
        children.sort_by(|a, b| b.bounds().half_area().total_cmp(&a.bounds().half_area()));
        let boxes: Vec<Aabb> = children.iter().map(|child| *child.bounds()).collect();
        self.nodes.push(Node::new(&boxes, margin));
        for (lane, child) in children.iter().enumerate() {
            let code = match child {
                Tree::Leaf { primitives, .. } => leaf(self, primitives),
                inner @ Tree::Inner { .. } => self.node(inner, margin, leaf),
            };
            self.nodes[at].codes[lane] = code;
        }
        at as u32
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
