//! Gradient-boosted trees as flat arrays.
//!
//! smartcore fits them, but its own `predict` walks boxes on the heap: 15 µs a row. So the trees are read out of their
//! serialised form and kept as complete trees of depth three in arrays, which take a fifth of a microsecond.

use serde::{Deserialize, Serialize};
use smartcore::{
    linalg::basic::matrix::DenseMatrix,
    xgboost::{XGRegressor, XGRegressorParameters},
};

/// Depth of every tree.
const DEPTH: usize = 3;
/// Inner nodes of a complete tree of that depth.
const NODES: usize = (1 << DEPTH) - 1;
/// Leaves of a complete tree of that depth.
pub const LEAVES: usize = 1 << DEPTH;
/// Most trees of a model.
const MAX_TREES: usize = 256;

/// How trees are fitted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TreeSettings {
    /// Trees.
    pub trees: usize,
    /// Share of a tree's step that is taken.
    pub rate: f64,
    /// Share of the rows that each tree sees.
    pub subsample: f64,
    /// Fewest rows of a leaf.
    pub min_leaf: usize,
    /// Rows that pull each leaf towards zero.
    pub shrinkage_rows: f64,
    /// Where the choice of rows starts: the same seed, the same trees.
    pub seed: u64,
}

/// Trees of which each is complete: where one ends early, both ways lead to the same value.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct FlatTrees {
    /// Which feature each inner node asks for; node n's children are 2 n + 1 and 2 n + 2.
    features: Vec<u8>,
    /// Rows whose feature is at most this go left.
    thresholds: Vec<f32>,
    /// The leaves' values, the rate included.
    leaves: Vec<f32>,
    /// What is predicted before any tree.
    base: f32,
}

/// smartcore's regressor as it serialises itself (0.7.0): only what is needed.
#[derive(Deserialize)]
struct MirrorModel {
    regressors: Option<Vec<MirrorTree>>,
}

#[derive(Deserialize)]
struct MirrorTree {
    left: Option<Box<MirrorTree>>,
    right: Option<Box<MirrorTree>>,
    value: f64,
    threshold: f64,
    split_feature_idx: u64,
}

type Regressor = XGRegressor<f32, f32, DenseMatrix<f32>, Vec<f32>>;

impl FlatTrees {
    /// No trees: the same value for every row.
    pub fn constant(base: f32) -> Self {
        Self { base, ..Self::default() }
    }

    /// Fits trees to rows and what they came to. `None` if there are too few rows, or any number is not finite.
    pub fn fit<const N: usize>(rows: &[[f32; N]], targets: &[f32], settings: TreeSettings) -> Option<Self> {
        let mean = targets.iter().map(|target| f64::from(*target)).sum::<f64>() / targets.len().max(1) as f64;
        let regressor = regress(rows, targets, mean, settings)?;
        Self::flatten(&regressor, mean as f32, settings.rate, N)
    }

    /// Reads the trees out of smartcore's regressor.
    fn flatten(regressor: &Regressor, base: f32, rate: f64, feature_count: usize) -> Option<Self> {
        let mut bytes = Vec::new();
        ciborium::into_writer(regressor, &mut bytes).ok()?;
        let mirror: MirrorModel = ciborium::from_reader(bytes.as_slice()).ok()?;
        let mut flat = Self::constant(base);
        for tree in mirror.regressors?.iter().take(MAX_TREES) {
            let (mut nodes, mut leaves) = ([(0, f32::INFINITY); NODES], [0.0; LEAVES]);
            fill(tree, 0, rate, &mut nodes, &mut leaves);
            flat.features.extend(nodes.iter().map(|(feature, _)| *feature));
            flat.thresholds.extend(nodes.iter().map(|(_, threshold)| *threshold));
            flat.leaves.extend(leaves);
        }
        flat.is_whole(feature_count).then_some(flat)
    }

    /// Whether it can be used on rows of so many features: what a store gave back may be anything.
    pub fn is_whole(&self, feature_count: usize) -> bool {
        let trees = self.trees();
        trees <= MAX_TREES
            && self.features.len() == trees * NODES
            && self.thresholds.len() == trees * NODES
            && self.leaves.len() == trees * LEAVES
            && self.features.iter().all(|feature| usize::from(*feature) < feature_count)
            && self.thresholds.iter().all(|threshold| !threshold.is_nan())
            && self.leaves.iter().chain([&self.base]).all(|leaf| leaf.is_finite())
    }

    /// How many trees.
    pub fn trees(&self) -> usize {
        self.leaves.len() / LEAVES
    }

    /// The value of a row.
    pub fn predict<const N: usize>(&self, row: &[f32; N]) -> f32 {
        let nodes = self.features.as_chunks::<NODES>().0.iter().zip(self.thresholds.as_chunks::<NODES>().0);
        let trees = nodes.zip(self.leaves.as_chunks::<LEAVES>().0);
        trees.fold(self.base, |sum, ((features, thresholds), leaves)| {
            sum + leaves[leaf_of(*features, thresholds, row)]
        })
    }

    /// Which leaf of each tree a row falls into.
    pub fn leaf_indices<const N: usize>(&self, row: &[f32; N]) -> impl Iterator<Item = usize> {
        let nodes = self.features.as_chunks::<NODES>().0.iter().zip(self.thresholds.as_chunks::<NODES>().0);
        nodes.map(|(features, thresholds)| leaf_of(*features, thresholds, row))
    }

    /// Adds another model's trees, each leaf of the first of them with a new value.
    pub fn push(&mut self, tree: &Self, leaves: [f32; LEAVES]) {
        if tree.trees() >= 1 && self.trees() < MAX_TREES {
            self.features.extend_from_slice(&tree.features[..NODES]);
            self.thresholds.extend_from_slice(&tree.thresholds[..NODES]);
            self.leaves.extend(leaves);
        }
    }

    /// Memory that it takes, bytes.
    pub fn bytes(&self) -> usize {
        self.features.len() + 4 * (self.thresholds.len() + self.leaves.len())
    }
}

/// The leaf that a row falls into. A feature that is not there counts as zero.
fn leaf_of<const N: usize>(features: [u8; NODES], thresholds: &[f32; NODES], row: &[f32; N]) -> usize {
    let mut node = 0;
    for _ in 0..DEPTH {
        let value = row.get(usize::from(features[node])).copied().unwrap_or(0.0);
        node = 2 * node + 1 + usize::from(value > thresholds[node]);
    }
    node - NODES
}

/// smartcore's fit. It panics on numbers that are not finite, so none gets there.
fn regress<const N: usize>(
    rows: &[[f32; N]],
    targets: &[f32],
    base_score: f64,
    settings: TreeSettings,
) -> Option<Regressor> {
    let finite = rows.iter().flatten().chain(targets).all(|number| number.is_finite());
    if rows.len() < 2 || rows.len() != targets.len() || !finite {
        return None;
    }
    let values = rows.iter().flatten().copied().collect();
    let matrix = DenseMatrix::new(rows.len(), N, values, false).ok()?;
    let parameters = XGRegressorParameters::default()
        .with_n_estimators(settings.trees.min(MAX_TREES))
        .with_max_depth(DEPTH as u16)
        .with_learning_rate(settings.rate)
        .with_subsample(settings.subsample)
        .with_min_child_weight(settings.min_leaf)
        .with_lambda(settings.shrinkage_rows)
        .with_base_score(base_score)
        .with_seed(settings.seed);
    Regressor::fit(&matrix, &targets.to_vec(), parameters).ok()
}

/// Copies a tree into a complete one; below a leaf, every leaf has its value.
fn fill(
    tree: &MirrorTree,
    node: usize,
    rate: f64,
    nodes: &mut [(u8, f32); NODES],
    leaves: &mut [f32; LEAVES],
) {
    if node >= NODES {
        leaves[node - NODES] = (tree.value * rate) as f32;
        return;
    }
    let (left, right) = if let (Some(left), Some(right)) = (&tree.left, &tree.right) {
        nodes[node] = (u8::try_from(tree.split_feature_idx).unwrap_or(u8::MAX), round_down(tree.threshold));
        (left.as_ref(), right.as_ref())
    } else {
        (tree, tree)
    };
    fill(left, 2 * node + 1, rate, nodes, leaves);
    fill(right, 2 * node + 2, rate, nodes, leaves);
}

/// The largest `f32` that is not above: an `f32` lies above it exactly if it lies above the threshold.
fn round_down(threshold: f64) -> f32 {
    let near = threshold as f32;
    if f64::from(near) > threshold { near.next_down() } else { near }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use smartcore::linalg::basic::arrays::Array;

    use super::*;

    const SETTINGS: TreeSettings =
        TreeSettings { trees: 20, rate: 0.2, subsample: 0.7, min_leaf: 2, shrinkage_rows: 1.0, seed: 3 };

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn flat_trees_predict_what_smartcore_predicts(
            rows in prop::collection::vec(prop::array::uniform4(-100.0_f32..100.0), 2..80),
            factor in -3.0_f32..3.0,
        ) {
            let targets: Vec<f32> =
                rows.iter().map(|row| factor * (row[0] / 50.0).sin() + (row[2] / 100.0)).collect();
            let model = regress(&rows, &targets, 0.25, SETTINGS).unwrap();
            let flat = FlatTrees::flatten(&model, 0.25, SETTINGS.rate, 4).unwrap();
            let values = rows.iter().flatten().copied().collect();
            let matrix = DenseMatrix::new(rows.len(), 4, values, false).unwrap();
            prop_assert_eq!(matrix.shape(), (rows.len(), 4));
            for (row, theirs) in rows.iter().zip(model.predict(&matrix).unwrap()) {
                prop_assert!((flat.predict(row) - theirs).abs() < 1e-5);
            }
        }

        #[test]
        fn the_rounded_threshold_parts_the_same_rows(a in any::<f32>(), x in any::<f32>()) {
            prop_assume!(a.is_finite() && x.is_finite());
            let threshold = f64::midpoint(f64::from(a), f64::from(x));
            prop_assert_eq!(f64::from(x) <= threshold, x <= round_down(threshold));
        }
    }

    #[test]
    fn numbers_that_are_not_finite_give_no_model() {
        let rows = [[1.0], [f32::NAN], [3.0]];
        assert_eq!(FlatTrees::fit(&rows, &[1.0, 2.0, 3.0], SETTINGS), None);
        assert_eq!(FlatTrees::fit(&[[1.0], [2.0]], &[1.0, f32::INFINITY], SETTINGS), None);
        assert_eq!(FlatTrees::fit::<1>(&[], &[], SETTINGS), None);
    }

    #[test]
    fn same_seed_same_trees() {
        let rows: Vec<[f32; 1]> = (0..50).map(|index| [index as f32]).collect();
        let targets: Vec<f32> = rows.iter().map(|row| (row[0] / 7.0).sin()).collect();
        let fit = |seed| FlatTrees::fit(&rows, &targets, TreeSettings { seed, ..SETTINGS });
        assert_eq!(fit(1), fit(1));
        assert_ne!(fit(1), fit(2));
    }

    #[test]
    fn damaged_trees_are_not_whole() {
        let good = FlatTrees::fit(&[[1.0], [2.0], [3.0], [4.0]], &[1.0, 1.0, 2.0, 2.0], SETTINGS).unwrap();
        assert!(good.is_whole(1));
        let mut short = good.clone();
        short.features.pop();
        assert!(!short.is_whole(1));
        let mut wild = good;
        wild.features[0] = 9;
        assert!(!wild.is_whole(1));
    }
}
