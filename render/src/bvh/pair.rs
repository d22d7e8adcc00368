//! The layout of the GPU kernel: binary nodes of 64 bytes that hold both children's boxes (Aila and Laine 2009).

use bytemuck::{Pod, Zeroable};

use super::{Aabb, build::Tree};

/// Marks a leaf in a child code: bit 31; then 4 bits count, 27 bits first position in the leaf order.
pub const LEAF: u32 = 0x8000_0000;

/// A node: the boxes and codes of its two children.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct PairNode {
    pub(super) low0: [f32; 3],
    pub(super) code0: u32,
    pub(super) high0: [f32; 3],
    pub(super) code1: u32,
    pub(super) low1: [f32; 3],
    pad0: u32,
    pub(super) high1: [f32; 3],
    pad1: u32,
}

impl PairNode {
    /// With other codes: where the nodes of several trees lie one behind the other.
    #[must_use]
    pub fn with_codes(self, map: impl Fn(u32) -> u32) -> Self {
        // The empty second child of a root with a single leaf is never entered: its code may be anything.
        Self { code0: map(self.code0), code1: map(self.code1), ..self }
    }
}

/// The tree as the GPU sees it.
#[derive(Debug)]
pub struct PairBvh {
    /// Nodes; the root is the first.
    pub nodes: Vec<PairNode>,
    /// Primitives in the order of the leaves.
    pub order: Vec<u32>,
}

impl PairBvh {
    /// Lays a tree out.
    pub fn new(tree: &Tree) -> Self {
        let mut bvh = Self { nodes: Vec::new(), order: Vec::new() };
        match tree {
            Tree::Inner { children, .. } => {
                bvh.inner(children);
            }
            leaf @ Tree::Leaf { .. } => {
                // A root needs two children: the second one is empty.
                bvh.nodes.push(PairNode::zeroed());
                let code = bvh.code(leaf);
                let nothing = Aabb { low: [1e30; 3], high: [-1e30; 3] };
                bvh.nodes[0] = node(leaf.bounds(), code, &nothing, LEAF);
            }
        }
        bvh
    }

    /// Memory that it takes, bytes.
    pub fn memory_bytes(&self) -> usize {
        size_of_val(&*self.nodes) + size_of_val(&*self.order)
    }

    /// Memory that the tree over so many primitives takes at most, bytes: a leaf for each.
    pub fn most_bytes(primitives: u64) -> u64 {
        primitives.saturating_mul((size_of::<PairNode>() + size_of::<u32>()) as u64)
    }

    fn inner(&mut self, children: &[Tree; 2]) -> u32 {
        let at = self.nodes.len();
        self.nodes.push(PairNode::zeroed());
        let codes = [self.code(&children[0]), self.code(&children[1])];
        self.nodes[at] = node(children[0].bounds(), codes[0], children[1].bounds(), codes[1]);
        at as u32
    }

    fn code(&mut self, tree: &Tree) -> u32 {
        match tree {
            Tree::Inner { children, .. } => self.inner(children),
            Tree::Leaf { primitives, .. } => {
                let first = self.order.len() as u32;
                self.order.extend(primitives);
                LEAF | (primitives.len() as u32) << 27 | first
            }
        }
    }
}

fn node(bounds0: &Aabb, code0: u32, bounds1: &Aabb, code1: u32) -> PairNode {
    PairNode {
        low0: bounds0.low,
        code0,
        high0: bounds0.high,
        code1,
        low1: bounds1.low,
        pad0: 0,
        high1: bounds1.high,
        pad1: 0,
    }
}
