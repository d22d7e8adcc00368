//! Weighted binary space partition on the summed-area table: every share gets one rectangle whose cost is as its
//! weight says.
//!
//! At each step the list of shares is cut in two in several ways, each of them along both axes; the cut whose costs
//! come closest to the weights, with a penalty for slivers, is taken. (Measured against uniform grids and jagged
//! partitions: FACTS.md of the design, "Weighted BSP".)

use p2c2r_protocol::tile::TileRect;

use super::{
    Share, Splitter, Subtask,
    cost_map::{Axis, CostMap, Strip},
};
use crate::work::FrameWork;

/// Cuts fall on multiples of this, pixels: whole blocks of the tile's Merkle tree, and the smallest tile edge.
const GRAIN_PX: u32 = 8;
/// What a sliver costs against balance, per unit of aspect ratio above 1.
const ASPECT_PENALTY: f64 = 0.015;

/// The splitter.
#[derive(Debug, Clone, Copy, Default)]
pub struct SpatialSplitter;

impl Splitter for SpatialSplitter {
    fn split(&self, work: &FrameWork, shares: &[Share], cost: &CostMap) -> Vec<Subtask> {
        let mut claims: Vec<Claim> = shares
            .iter()
            .enumerate()
            .map(|(share, claim)| Claim { share, weight: sane_weight(claim.weight) })
            .collect();
        claims.sort_by(|a, b| b.weight.total_cmp(&a.weight).then(a.share.cmp(&b.share)));
        claims.truncate(capacity(work.size.full()));
        let mut subtasks = Vec::with_capacity(claims.len());
        if claims.is_empty() {
            claims.push(Claim { share: 0, weight: 1.0 });
        }
        partition(work.size.full(), &claims, cost, &mut subtasks);
        subtasks
    }
}

#[derive(Debug, Clone, Copy)]
struct Claim {
    share: usize,
    weight: f64,
}

fn sane_weight(weight: f64) -> f64 {
    if weight.is_finite() { weight.max(1e-9) } else { 1e-9 }
}

fn total(claims: &[Claim]) -> f64 {
    claims.iter().map(|claim| claim.weight).sum()
}

/// How many tiles of the smallest size a rectangle can hold; at least 1.
fn capacity(rect: TileRect) -> usize {
    ((rect.width / GRAIN_PX).max(1) as usize) * ((rect.height / GRAIN_PX).max(1) as usize)
}

fn partition(rect: TileRect, claims: &[Claim], cost: &CostMap, out: &mut Vec<Subtask>) {
    let best = match claims {
        [] => return,
        [_] => None,
        claims => best_cut(rect, claims, cost),
    };
    match best {
        Some(Cut { first, second, way: Way::Alternating }) => {
            let (first_claims, second_claims) = alternating(claims);
            partition(first, &first_claims, cost, out);
            partition(second, &second_claims, cost, out);
        }
        Some(Cut { first, second, way: Way::At(at) }) => {
            let (first_claims, second_claims) = claims.split_at(at);
            partition(first, first_claims, cost, out);
            partition(second, second_claims, cost, out);
        }
        // One claim, or no room to cut: the largest claim takes it all.
        None => out.push(Subtask { rect, cost: cost.cost(rect), share: claims[0].share }),
    }
}

/// A way to cut a list of claims (sorted, heaviest first) in two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The next one goes to the side that is lighter so far.
    Alternating,
    /// So many first ones on one side.
    At(usize),
}

/// Several ways: evenly by weight, in the middle and beside it, and the heaviest alone.
fn ways(count: usize) -> impl Iterator<Item = Way> {
    let half = count / 2;
    let at = [half, half.saturating_sub(1), half + 1, 1];
    let is_new = move |place: usize| (1..count).contains(&at[place]) && !at[..place].contains(&at[place]);
    let cuts = (0..at.len()).filter(move |place| is_new(*place)).map(move |place| Way::At(at[place]));
    std::iter::once(Way::Alternating).chain(cuts)
}

/// The claims of both sides.
fn alternating(claims: &[Claim]) -> (Vec<Claim>, Vec<Claim>) {
    let (mut first, mut second) = (Vec::with_capacity(claims.len()), Vec::with_capacity(claims.len()));
    let mut weights = (0.0, 0.0);
    for claim in claims {
        if weights.0 <= weights.1 {
            first.push(*claim);
            weights.0 += claim.weight;
        } else {
            second.push(*claim);
            weights.1 += claim.weight;
        }
    }
    (first, second)
}

/// Claims and weight of both sides.
fn sides(claims: &[Claim], way: Way) -> [(usize, f64); 2] {
    match way {
        Way::At(at) => {
            let (first, second) = claims.split_at(at);
            [(first.len(), total(first)), (second.len(), total(second))]
        }
        Way::Alternating => {
            let mut sides = [(0, 0.0), (0, 0.0)];
            for claim in claims {
                let side = usize::from(sides[0].1 > sides[1].1);
                sides[side].0 += 1;
                sides[side].1 += claim.weight;
            }
            sides
        }
    }
}

struct Cut {
    first: TileRect,
    second: TileRect,
    way: Way,
}

fn best_cut(rect: TileRect, claims: &[Claim], cost: &CostMap) -> Option<Cut> {
    let whole = cost.cost(rect);
    let strips = [(Axis::X, cost.strip(rect, Axis::X)), (Axis::Y, cost.strip(rect, Axis::Y))];
    let mut best: Option<(f64, Cut)> = None;
    let evenly = sides(claims, Way::Alternating);
    for way in ways(claims.len()) {
        let sides = if way == Way::Alternating { evenly } else { sides(claims, way) };
        // Among equal weights the middle is the same cut once more.
        if way != Way::Alternating && sides == evenly {
            continue;
        }
        let [(first_count, first_weight), (second_count, second_weight)] = sides;
        let share = first_weight / (first_weight + second_weight);
        for (axis, strip) in &strips {
            let counts = (first_count, second_count);
            let Some((at, achieved)) = place_cut(rect, *axis, share, whole, counts, strip) else { continue };
            let (first, second) = cut_at(rect, *axis, at);
            let badness = badness(first, second, share, achieved);
            if best.as_ref().is_none_or(|(least, _)| badness < *least) {
                best = Some((badness, Cut { first, second, way }));
            }
        }
    }
    best.map(|(_, cut)| cut)
}

/// How far the larger side is over its target, plus what slivers cost.
fn badness(first: TileRect, second: TileRect, share: f64, achieved: f64) -> f64 {
    let imbalance = (achieved / share).max((1.0 - achieved) / (1.0 - share)) - 1.0;
    let aspect = |rect: TileRect| {
        let (width, height) = (f64::from(rect.width), f64::from(rect.height));
        (width / height).max(height / width) - 1.0
    };
    imbalance + ASPECT_PENALTY * (aspect(first) + aspect(second))
}

fn cut_at(rect: TileRect, axis: Axis, at: u32) -> (TileRect, TileRect) {
    match axis {
        Axis::X => {
            (TileRect { width: at, ..rect }, TileRect { x: rect.x + at, width: rect.width - at, ..rect })
        }
        Axis::Y => {
            (TileRect { height: at, ..rect }, TileRect { y: rect.y + at, height: rect.height - at, ..rect })
        }
    }
}

/// The cut on the grain whose first side comes closest to its share of the cost, with room for all claims on both: where,
/// in pixels from the rectangle's start, and the share that it has.
fn place_cut(
    rect: TileRect,
    axis: Axis,
    share: f64,
    whole: f64,
    (first_count, second_count): (usize, usize),
    strip: &Strip<'_>,
) -> Option<(u32, f64)> {
    let (length, across) = match axis {
        Axis::X => (rect.width, rect.height),
        Axis::Y => (rect.height, rect.width),
    };
    let steps = length / GRAIN_PX;
    // Tiles of the smallest size that a step of either side has room for.
    let per_step = (across / GRAIN_PX).max(1) as usize;
    let steps_for = |count: usize| count.div_ceil(per_step).max(1) as u32;
    let (low, high) = (steps_for(first_count), steps.checked_sub(steps_for(second_count))?);
    if low > high {
        return None;
    }
    let achieved = |step: u32| {
        let at = step * GRAIN_PX;
        if whole > 0.0 { strip.cost(at) / whole } else { f64::from(at) / f64::from(length) }
    };
    // The cost left of a cut grows with the cut: bisect for the first step that reaches the share.
    let (mut below, mut reached) = (low, high);
    while below < reached {
        let middle = u32::midpoint(below, reached);
        if achieved(middle) < share { below = middle + 1 } else { reached = middle }
    }
    let at_reached = achieved(reached);
    if reached > low {
        let before = achieved(reached - 1);
        if share - before < at_reached - share {
            return Some(((reached - 1) * GRAIN_PX, before));
        }
    }
    Some((reached * GRAIN_PX, at_reached))
}

#[cfg(test)]
mod tests {
    use p2c2r_protocol::{id::WorkKind, tile::FrameSize};
    use proptest::prelude::*;

    use super::*;

    fn work(width: u32, height: u32) -> FrameWork {
        let size = FrameSize::new(width, height).unwrap();
        FrameWork {
            kind: WorkKind::RayTracing,
            size,
            samples: 1,
            bytes_per_pixel: 12.0,
            max_tile_pixels: 1 << 22,
            deadline: None,
        }
    }

    fn shares(weights: &[f64]) -> Vec<Share> {
        weights.iter().map(|weight| Share { weight: *weight }).collect()
    }

    fn covers_exactly(size: FrameSize, subtasks: &[Subtask]) -> bool {
        let area: u64 = subtasks.iter().map(|subtask| subtask.rect.pixels()).sum();
        let inside = subtasks.iter().all(|subtask| subtask.rect.check(size).is_ok());
        let apart = subtasks
            .iter()
            .enumerate()
            .all(|(index, a)| subtasks[index + 1..].iter().all(|b| !a.rect.overlaps(b.rect)));
        area == size.pixels() && inside && apart
    }

    #[test]
    fn costs_follow_the_weights() {
        let work = work(1920, 1080);
        let map = CostMap::uniform(work.size, 1.0);
        let weights = [4.0, 2.0, 1.0, 1.0];
        let subtasks = SpatialSplitter.split(&work, &shares(&weights), &map);
        assert_eq!(subtasks.len(), 4);
        for subtask in &subtasks {
            let target = map.total() * weights[subtask.share] / 8.0;
            assert!((subtask.cost / target - 1.0).abs() < 0.03, "{subtask:?}");
        }
    }

    #[test]
    fn uneven_cost_is_balanced() {
        let work = work(1920, 1080);
        let cells: Vec<f32> = (0..120 * 68).map(|cell| if cell / 120 < 30 { 1.0 } else { 50.0 }).collect();
        let map = CostMap::new(work.size, 16, &cells).unwrap();
        let subtasks = SpatialSplitter.split(&work, &shares(&[1.0; 16]), &map);
        let worst = subtasks.iter().map(|subtask| subtask.cost * 16.0 / map.total()).fold(0.0, f64::max);
        assert!(covers_exactly(work.size, &subtasks) && worst < 1.1, "{worst}");
    }

    #[test]
    fn more_shares_than_room_leaves_some_without() {
        let work = work(9, 17);
        let map = CostMap::uniform(work.size, 1.0);
        let subtasks = SpatialSplitter.split(&work, &shares(&[1.0; 50]), &map);
        assert!(covers_exactly(work.size, &subtasks) && subtasks.len() <= 2);
    }

    proptest! {
        #[test]
        fn any_frame_is_covered_exactly(
            width in 1_u32..300,
            height in 1_u32..300,
            weights in prop::collection::vec(prop_oneof![0.0_f64..10.0, Just(f64::NAN), Just(1e12)], 0..40),
            seed: u32,
        ) {
            let work = work(width, height);
            let cells = width.div_ceil(16) * height.div_ceil(16);
            let costs: Vec<f32> =
                (0..cells).map(|index| (index.wrapping_mul(seed | 1) >> 20) as f32 % 97.0).collect();
            let map = CostMap::new(work.size, 16, &costs).unwrap();
            let subtasks = SpatialSplitter.split(&work, &shares(&weights), &map);
            prop_assert!(covers_exactly(work.size, &subtasks));
            prop_assert!(subtasks.iter().all(|subtask| subtask.share < weights.len().max(1)));
        }
    }
}
