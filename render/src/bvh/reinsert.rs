//! Improves a finished tree: nodes are taken out and put in again where the boxes above them grow least (Bittner et al.
//! 2013; the search is that of Meister and Bittner 2018). One after the other, so that the result is the same everywhere.

use super::{
    Aabb,
    build::{MAX_DEPTH, Tree},
};

/// Passes over the nodes that matter most.
const PASSES: usize = 2;
/// Of the nodes, one in so many is put in again in each pass: those with the largest boxes.
const SHARE: usize = 8;
/// And at most so many: large scenes are to be seen soon, too.
const MOST: usize = 16_384;
/// Nodes that a search looks at, at most.
const MAX_SEARCHED: usize = 512;
const ROOT: usize = 0;

/// The tree as lists.
struct Flat {
    bounds: Vec<Aabb>,
    areas: Vec<f32>,
    parents: Vec<usize>,
    /// Equal for leaves, of which each names its primitives.
    children: Vec<[usize; 2]>,
    leaves: Vec<Vec<u32>>,
}

/// A tree over the same primitives that rays go through in fewer steps.
pub fn improved(tree: Tree) -> Tree {
    let mut flat = Flat { bounds: vec![], areas: vec![], parents: vec![], children: vec![], leaves: vec![] };
    flat.add(tree, ROOT);
    let untouched = (flat.bounds.clone(), flat.parents.clone(), flat.children.clone());
    for _ in 0..PASSES {
        flat.pass();
    }
    if flat.depth(ROOT) > MAX_DEPTH {
        (flat.bounds, flat.parents, flat.children) = untouched;
    }
    flat.tree(ROOT)
}

impl Flat {
    fn add(&mut self, tree: Tree, parent: usize) -> usize {
        let at = self.bounds.len();
        self.bounds.push(*tree.bounds());
        self.areas.push(tree.bounds().half_area());
        self.parents.push(parent);
        self.children.push([at, at]);
        self.leaves.push(Vec::new());
        match tree {
            Tree::Leaf { primitives, .. } => self.leaves[at] = primitives,
            Tree::Inner { children, .. } => {
                let [left, right] = *children;
                let left = self.add(left, at);
                let right = self.add(right, at);
                self.children[at] = [left, right];
            }
        }
        at
    }

    fn tree(&mut self, at: usize) -> Tree {
        let bounds = self.bounds[at];
        if self.is_leaf(at) {
            return Tree::Leaf { bounds, primitives: std::mem::take(&mut self.leaves[at]) };
        }
        let [left, right] = self.children[at];
        let (left, right) = (self.tree(left), self.tree(right));
        Tree::Inner { bounds, children: Box::new([left, right]) }
    }

    fn depth(&self, at: usize) -> usize {
        let mut deepest = 0;
        let mut waiting = vec![(at, 1)];
        while let Some((at, depth)) = waiting.pop() {
            deepest = deepest.max(depth);
            if !self.is_leaf(at) {
                waiting.extend(self.children[at].map(|child| (child, depth + 1)));
            }
        }
        deepest
    }

    fn is_leaf(&self, at: usize) -> bool {
        self.children[at][0] == at
    }

    fn sibling(&self, at: usize) -> usize {
        let [left, right] = self.children[self.parents[at]];
        if left == at { right } else { left }
    }

    fn pass(&mut self) {
        let count = (self.bounds.len() / SHARE).min(MOST);
        let mut nodes: Vec<usize> = (1..self.bounds.len()).collect();
        let larger = |a: &usize, b: &usize| self.areas[*b].total_cmp(&self.areas[*a]).then(a.cmp(b));
        if count > 0 && count < nodes.len() {
            nodes.select_nth_unstable_by(count, larger);
            nodes.truncate(count);
        }
        nodes.sort_unstable_by(larger);
        for node in nodes {
            if self.parents[node] == ROOT {
                continue;
            }
            if let Some(target) = self.better_place(node) {
                self.move_beside(node, target);
            }
        }
    }

    /// The node beside which another one is best put: where all boxes together get smallest.
    fn better_place(&self, node: usize) -> Option<usize> {
        let (bounds, area) = (self.bounds[node], self.areas[node]);
        let parent = self.parents[node];
        let (mut best_gain, mut best) = (0.0, None);
        // What is gained above by taking the node out.
        let mut gained = self.areas[parent];
        let (mut pivot, mut sibling) = (parent, self.sibling(node));
        let mut left_bounds = self.bounds[sibling];
        let mut waiting: Vec<(f32, usize)> = Vec::with_capacity(64);
        let mut searched = 0;
        loop {
            waiting.push((gained, sibling));
            while let Some((gain, at)) = waiting.pop() {
                if gain - area <= best_gain || searched > MAX_SEARCHED {
                    continue;
                }
                searched += 1;
                let gain_here = gain - self.bounds[at].union(&bounds).half_area();
                if gain_here > best_gain {
                    (best_gain, best) = (gain_here, Some(at));
                }
                if !self.is_leaf(at) {
                    let below = gain_here + self.areas[at];
                    waiting.extend(self.children[at].map(|child| (below, child)));
                }
            }
            if pivot != parent {
                left_bounds = left_bounds.union(&self.bounds[sibling]);
                gained += self.areas[pivot] - left_bounds.half_area();
            }
            if pivot == ROOT {
                break;
            }
            sibling = self.sibling(pivot);
            pivot = self.parents[pivot];
        }
        best.filter(|best| *best != self.sibling(node) && *best != parent)
    }

    /// Takes a node out and puts it beside another one.
    fn move_beside(&mut self, node: usize, target: usize) {
        let (parent, sibling) = (self.parents[node], self.sibling(node));
        let above = self.parents[parent];
        // The sibling takes the parent's place, and the parent becomes the one of node and target.
        self.replace_child(above, parent, sibling);
        self.refit(above);
        let above = self.parents[target];
        self.replace_child(above, target, parent);
        self.children[parent] = [target, node];
        self.parents[target] = parent;
        self.parents[node] = parent;
        self.refit(parent);
    }

    fn replace_child(&mut self, above: usize, old: usize, new: usize) {
        for child in &mut self.children[above] {
            if *child == old {
                *child = new;
            }
        }
        self.parents[new] = above;
    }

    /// Makes the boxes from a node to the root fit what is below.
    fn refit(&mut self, mut at: usize) {
        loop {
            let [left, right] = self.children[at];
            self.bounds[at] = self.bounds[left].union(&self.bounds[right]);
            self.areas[at] = self.bounds[at].half_area();
            if at == ROOT {
                return;
            }
            at = self.parents[at];
        }
    }
}
