//! Tiles that failed: what one peer was to do, several do together, so that the frame waits less long.

use p2c2r_protocol::{id::NodeId, tile::TileRect};

use super::{
    Frame,
    assign::Prospect,
    state::{Peer, Tile},
};
use crate::{Scheduler, place::PlannedTile};

/// A tile is cut into so many parts at most: each has its own way and its own risk.
const MAX_PARTS: usize = 3;
/// Smallest part, pixels.
const MIN_PART_PIXELS: u64 = 16 * 16;
/// Parts must make the tile earlier by this share of its time.
const MIN_GAIN_SHARE: f64 = 0.1;
/// Tiles of a frame, parts included, at most.
const MAX_TILES: usize = 8192;

impl Frame {
    /// Who renders a tile that nobody has: a peer, or several of which each gets a part. Parts are tiles of their own from
    /// then on.
    pub(super) fn shared_out(&mut self, tile: usize, scheduler: &Scheduler) -> Vec<(usize, Option<NodeId>)> {
        let best = self.best_peer(tile, scheduler);
        let failed = !self.tiles[tile].failed_at.is_empty();
        if !failed || self.tiles.len() + MAX_PARTS > MAX_TILES {
            return vec![(tile, best)];
        }
        let prospects = self.promising(tile, scheduler);
        let Some(shares) = best_shares(&prospects) else { return vec![(tile, best)] };
        let rects = cut(self.tiles[tile].plan.rect, &shares);
        if rects.iter().any(|rect| rect.pixels() < MIN_PART_PIXELS) {
            return vec![(tile, best)];
        }
        let whole = self.tiles[tile].plan.clone();
        let failed_at = self.tiles[tile].failed_at.clone();
        let mut parts = Vec::with_capacity(rects.len());
        for (rect, (peer, _)) in rects.into_iter().zip(prospects) {
            let share = rect.pixels() as f64 / whole.rect.pixels().max(1) as f64;
            let plan = PlannedTile { rect, cost: whole.cost * share, ..whole.clone() };
            let index = if parts.is_empty() {
                self.tiles[tile].plan = plan;
                tile
            } else {
                self.tiles.push(Tile { failed_at: failed_at.clone(), ..Tile::new(plan) });
                self.tiles.len() - 1
            };
            parts.push((index, Some(peer)));
        }
        parts
    }

    /// Those with room that would finish the tile first, and that did not fail on it.
    fn promising(&self, tile: usize, scheduler: &Scheduler) -> Vec<(NodeId, Prospect)> {
        let usable = |(id, peer): &(&NodeId, &Peer)| {
            self.has_room_for_more(peer)
                && peer.misses < self.config.max_misses
                && !self.tiles[tile].failed_at.contains(id)
        };
        let mut prospects: Vec<(NodeId, Prospect)> = self
            .peers
            .iter()
            .filter(usable)
            .map(|(id, peer)| (*id, self.prospect(tile, peer, scheduler)))
            .collect();
        let time_ms = |prospect: &Prospect| prospect.total_ms / (1.0 - prospect.risk);
        prospects.sort_by(|a, b| time_ms(&a.1).total_cmp(&time_ms(&b.1)).then(a.0.cmp(&b.0)));
        prospects.truncate(MAX_PARTS);
        prospects
    }
}

/// Each one's share of a tile when as many of the first ones take part as make it earliest, failures included; `None`
/// if that is one alone.
fn best_shares(prospects: &[(NodeId, Prospect)]) -> Option<Vec<f64>> {
    let (mut best_ms, mut best) = (f64::INFINITY, None);
    for count in 1..=prospects.len() {
        let together = prospects.get(..count)?;
        let (mut rates, mut begun) = (0.0, 1.0);
        for (_, prospect) in together {
            let execution_ms = prospect.execution_ms.max(1e-6);
            rates += 1.0 / execution_ms;
            begun += (prospect.total_ms - prospect.execution_ms) / execution_ms;
        }
        let time_ms = begun / rates;
        let share = |prospect: &Prospect| {
            (time_ms - (prospect.total_ms - prospect.execution_ms)) / prospect.execution_ms.max(1e-6)
        };
        let shares: Vec<f64> = together.iter().map(|(_, prospect)| share(prospect)).collect();
        if shares.iter().any(|share| *share <= 0.0) {
            break;
        }
        let all_well: f64 = together.iter().map(|(_, prospect)| 1.0 - prospect.risk).product();
        let expected_ms = time_ms * (2.0 - all_well);
        if expected_ms < best_ms * (1.0 - MIN_GAIN_SHARE) {
            (best_ms, best) = (expected_ms, (count > 1).then_some(shares));
        }
    }
    best
}

/// Cuts a rectangle along its longer side.
fn cut(rect: TileRect, shares: &[f64]) -> Vec<TileRect> {
    let total: f64 = shares.iter().sum();
    let wide = rect.width >= rect.height;
    let length = if wide { rect.width } else { rect.height };
    let (mut rects, mut from, mut sum) = (Vec::with_capacity(shares.len()), 0, 0.0);
    for (index, share) in shares.iter().enumerate() {
        sum += share;
        let last = index + 1 == shares.len();
        let to = if last {
            length
        } else {
            ((f64::from(length) * sum / total).round() as u32).clamp(from, length)
        };
        rects.push(if wide {
            TileRect { x: rect.x + from, width: to - from, ..rect }
        } else {
            TileRect { y: rect.y + from, height: to - from, ..rect }
        });
        from = to;
    }
    rects
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn peer(index: u8, start_ms: f64, execution_ms: f64, risk: f64) -> (NodeId, Prospect) {
        let total_ms = start_ms + execution_ms;
        let id = NodeId::from_public_key([index; 32]);
        (id, Prospect { total_ms, alone_ms: total_ms, execution_ms, risk })
    }

    #[test]
    fn a_long_tile_is_shared_by_speed() {
        let shares = best_shares(&[peer(0, 10.0, 100.0, 0.0), peer(1, 10.0, 200.0, 0.0)]).unwrap();
        assert!((shares[0] / shares[1] - 2.0).abs() < 1e-9, "{shares:?}");
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_short_tile_or_one_with_risky_helpers_stays_whole() {
        assert_eq!(best_shares(&[peer(0, 50.0, 5.0, 0.0), peer(1, 50.0, 5.0, 0.0)]), None);
        assert_eq!(best_shares(&[peer(0, 10.0, 100.0, 0.0), peer(1, 10.0, 100.0, 0.9)]), None);
        assert_eq!(best_shares(&[peer(0, 10.0, 100.0, 0.0)]), None);
        assert_eq!(best_shares(&[]), None);
    }

    proptest! {
        #[test]
        fn i1_parts_cover_their_tile(
            width in 1_u32..500,
            height in 1_u32..500,
            shares in prop::collection::vec(0.001_f64..1.0, 1..4),
        ) {
            let rect = TileRect { x: 7, y: 9, width, height };
            let parts = cut(rect, &shares);
            prop_assert_eq!(parts.len(), shares.len());
            prop_assert_eq!(parts.iter().map(|part| part.pixels()).sum::<u64>(), rect.pixels());
            for (index, a) in parts.iter().enumerate() {
                prop_assert!(a.x >= rect.x && a.x + a.width <= rect.x + rect.width);
                prop_assert!(a.y >= rect.y && a.y + a.height <= rect.y + rect.height);
                prop_assert!(parts[index + 1..].iter().all(|b| !a.overlaps(*b)));
            }
        }
    }
}
