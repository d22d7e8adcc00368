//! Which peer gets which tile.
//!
//! Water-filling gives the time that the frame would take at best and each peer's share of it; the splitter cuts the
//! frame into tiles of these shares; every tile gets two backups, those that would finish it earliest.

use p2c2r_protocol::{id::NodeId, tile::TileRect};
use serde::{Deserialize, Serialize};

use crate::{
    SchedulerConfig,
    bound::{Capacity, smallest_time_ms},
    peer::PeerView,
    predict::{Prediction, Predictor, TaskFeatures},
    split::{
        Share, Splitter,
        cost_map::CostMap,
        temporal::{Lane, PerFrame, deal},
    },
    time::TimeMs,
    work::FrameWork,
};

/// Backups of a tile.
const BACKUPS: usize = 2;
/// Backups are chosen from so many peers at most.
const MAX_SPARES: usize = 32;
/// A frame that needs so many times what is expected of it must still be in time, or it is better not begun.
const IN_TIME_FACTOR: f64 = 2.0;
/// Tiles that are expected to take longer than this are cut into more, ms: what is lost with a peer, and what is left to do for one
/// that comes in the middle of a frame, should be little.
const LONG_TILE_MS: f64 = 2000.0;
/// A peer gets no more tiles than this for that reason.
const MAX_TILES_OF_A_PEER: usize = 8;
/// Nor is a frame cut into more for that reason: among many peers each tile is a small part already.
const MAX_SHORT_TILES: usize = 64;
/// Smallest tile worth a message, pixels.
const MIN_TILE_PIXELS: u64 = 16 * 16;
/// A peer that fails more often than this is planned as if it failed this often, so that it still gets work.
const MAX_RISK: f64 = 0.9;

/// A tile and who is to render it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedTile {
    /// Of which frame, counted from 0; 0 where there is only one.
    #[serde(default)]
    pub frame: u32,
    /// Which pixels.
    pub rect: TileRect,
    /// Estimated cost, rays.
    pub cost: f64,
    /// Who is to render it; nobody when no peer is known.
    pub primary: Option<NodeId>,
    /// Who takes it if that fails, best first.
    pub backups: Vec<NodeId>,
    /// Expected time from its offer to its result when nothing else is in the way, ms.
    pub predicted_ms: f64,
}

/// A frame, cut and dealt out, or the whole frames of a sequence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FramePlan {
    /// The tiles; they cover each frame exactly.
    pub tiles: Vec<PlannedTile>,
    /// The bound that the peers' learned speeds set, ms.
    pub bound_ms: f64,
    /// Expected time from now to the last result, ms: what the peers have to do for others first included.
    pub expected_ms: f64,
}

impl FramePlan {
    /// Whether the frame is expected to be there by its deadline, if it has one. Of one that will not, nobody has
    /// anything, and the next one is later for it.
    pub fn is_in_time(&self, work: &FrameWork, now: TimeMs) -> bool {
        work.deadline.is_none_or(|deadline| now + self.expected_ms * IN_TIME_FACTOR <= deadline)
    }
}

/// A peer with its predicted speed.
struct Runner<'a> {
    view: &'a PeerView,
    /// Rays per ms, risk of failure included.
    speed: f64,
    overhead_ms: f64,
    /// Until its turn comes, ms.
    wait_ms: f64,
}

/// Plans a frame.
pub fn plan(
    predictor: &dyn Predictor,
    config: &SchedulerConfig,
    work: &FrameWork,
    peers: &[PeerView],
    cost: &CostMap,
    splitter: &dyn Splitter,
    now: TimeMs,
) -> FramePlan {
    let samples = f64::from(work.samples.max(1));
    let total = (cost.total() * samples).max(1.0);
    // The cost of a typical tile; the rate does not depend on it in this model, but may in another.
    let parts = (peers.len().min(config.max_peers).max(1) * config.tiles_per_peer.max(1)) as f64;
    let typical = typical_task(work, total / parts, work.size.pixels() as f64 / parts, now);
    let runners = runners(predictor, config, work, peers, &typical, total);
    let bound_ms = bound_ms(&runners, total);
    let (shares, owners) = shares(config, work, &runners, bound_ms);
    let expected_ms = expected_ms(&runners, &shares, &owners, total);
    let spares = spares(&runners, total / shares.len().max(1) as f64);
    let tiles = splitter
        .split(work, &shares, cost)
        .into_iter()
        .flat_map(|subtask| {
            let parts = parts_within(subtask.rect, work.max_tile_pixels);
            parts.into_iter().map(move |rect| (subtask.share, rect))
        })
        .map(|(share, rect)| {
            let owner = owners.get(share).and_then(|index| runners.get(*index));
            planned(&spares, owner, 0, rect, cost.cost(rect) * samples)
        })
        .collect();
    FramePlan { tiles, bound_ms, expected_ms }
}

/// Plans a sequence: whole frames, in order, each for the peer that would be done with it first. `costs` has the cost of
/// each frame, rays; `each` is what it takes besides.
pub fn plan_sequence(
    predictor: &dyn Predictor,
    config: &SchedulerConfig,
    work: &FrameWork,
    peers: &[PeerView],
    costs: &[f64],
    each: PerFrame,
    now: TimeMs,
) -> FramePlan {
    let total: f64 = costs.iter().sum::<f64>().max(1.0);
    let mean = total / costs.len().max(1) as f64;
    let typical = typical_task(work, mean, work.size.pixels() as f64, now);
    let runners = runners(predictor, config, work, peers, &typical, total);
    let lanes: Vec<Lane> = runners
        .iter()
        .map(|runner| {
            let start_ms = runner.wait_ms + runner.overhead_ms;
            each.lane(runner.speed, start_ms, runner.view.is_self)
        })
        .collect();
    let dealt = deal(costs, &lanes);
    let spares = spares(&runners, mean);
    let parts = parts_within(work.size.full(), work.max_tile_pixels);
    let mut tiles = Vec::with_capacity(costs.len() * parts.len());
    for (frame, cost) in (0_u32..).zip(costs) {
        let owner = dealt.lanes.get(frame as usize).and_then(|lane| runners.get(*lane));
        for rect in &parts {
            let share = rect.pixels() as f64 / work.size.pixels() as f64;
            tiles.push(planned(&spares, owner, frame, *rect, cost * share));
        }
    }
    FramePlan { tiles, bound_ms: bound_ms(&runners, total), expected_ms: dealt.makespan_ms }
}

/// A task that says how fast peers are with such work.
fn typical_task(work: &FrameWork, cost: f64, pixels: f64, at: TimeMs) -> TaskFeatures {
    let bytes = pixels * f64::from(work.bytes_per_pixel);
    TaskFeatures { cost, pixels, bytes, in_flight: 0, backlog_ms: 0.0, at }
}

fn bound_ms(runners: &[Runner<'_>], total: f64) -> f64 {
    let capacities: Vec<Capacity> = runners
        .iter()
        .map(|runner| Capacity { speed: runner.speed, overhead_ms: runner.overhead_ms })
        .collect();
    smallest_time_ms(&capacities, total).unwrap_or(0.0)
}

fn runners<'a>(
    predictor: &dyn Predictor,
    config: &SchedulerConfig,
    work: &FrameWork,
    peers: &'a [PeerView],
    typical: &TaskFeatures,
    total: f64,
) -> Vec<Runner<'a>> {
    let mut runners: Vec<Runner<'a>> = peers
        .iter()
        .map(|view| {
            let Prediction { execution_ms, overhead_ms, wait_ms, failure_risk, .. } =
                predictor.predict(view, work.kind, typical);
            let risk = failure_risk.clamp(0.0, MAX_RISK);
            let speed = typical.cost / execution_ms.max(1e-9) * (1.0 - risk);
            Runner { view, speed, overhead_ms, wait_ms }
        })
        .collect();
    // Of very many, those that would be soonest done with an equal share.
    let most = config.max_peers.max(1);
    if runners.len() > most {
        let share = total / most as f64;
        let time_ms = |runner: &Runner<'_>| runner.overhead_ms + share / runner.speed;
        let by_time = |a: &Runner<'_>, b: &Runner<'_>| {
            time_ms(a).total_cmp(&time_ms(b)).then(a.view.peer.cmp(&b.view.peer))
        };
        runners.select_nth_unstable_by(most - 1, by_time);
        runners.truncate(most);
    }
    // Longest way first: their tiles are offered first.
    runners.sort_by(|a, b| b.overhead_ms.total_cmp(&a.overhead_ms).then(a.view.peer.cmp(&b.view.peer)));
    runners
}

/// Parts that each peer's share of a frame is cut into.
fn parts_of_a_peer(config: &SchedulerConfig, runners: usize, bound_ms: f64) -> usize {
    let at_most = (MAX_SHORT_TILES / runners.max(1)).min(MAX_TILES_OF_A_PEER);
    let for_length = ((bound_ms / LONG_TILE_MS).ceil().max(0.0) as usize).min(at_most);
    config.tiles_per_peer.max(1).max(for_length)
}

/// Each peer's share in equal parts, and whose part each is.
fn shares(
    config: &SchedulerConfig,
    work: &FrameWork,
    runners: &[Runner<'_>],
    bound_ms: f64,
) -> (Vec<Share>, Vec<usize>) {
    let room = (work.size.pixels() / MIN_TILE_PIXELS).clamp(1, config.max_tiles as u64) as usize;
    let (mut shares, mut owners) = (Vec::new(), Vec::new());
    for part in 0..parts_of_a_peer(config, runners.len(), bound_ms) {
        for (index, runner) in runners.iter().enumerate() {
            let weight = runner.speed * (bound_ms - runner.overhead_ms).max(0.0);
            if weight > 0.0 && (shares.len() < room || part == 0) {
                shares.push(Share { weight });
                owners.push(index);
            }
        }
    }
    // Where a peer got fewer parts than others, each of its parts is larger.
    let mut parts = vec![0_u32; runners.len()];
    for owner in &owners {
        parts[*owner] += 1;
    }
    for (share, owner) in shares.iter_mut().zip(&owners) {
        share.weight /= f64::from(parts[*owner]);
    }
    (shares, owners)
}

/// When the last of the peers is expected to be done with its share, ms.
fn expected_ms(runners: &[Runner<'_>], shares: &[Share], owners: &[usize], total: f64) -> f64 {
    let weights: f64 = shares.iter().map(|share| share.weight).sum();
    let mut costs = vec![0.0; runners.len()];
    for (share, owner) in shares.iter().zip(owners) {
        costs[*owner] += share.weight / weights.max(1e-12) * total;
    }
    let busy = runners.iter().zip(costs).filter(|(_, cost)| *cost > 0.0);
    busy.map(|(runner, cost)| runner.wait_ms + runner.overhead_ms + cost / runner.speed).fold(0.0, f64::max)
}

/// A rectangle in halves of halves, until none has more pixels than allowed.
fn parts_within(rect: TileRect, max_pixels: u64) -> Vec<TileRect> {
    let (mut waiting, mut parts) = (vec![rect], Vec::new());
    while let Some(rect) = waiting.pop() {
        if rect.pixels() <= max_pixels.max(1) {
            parts.push(rect);
        } else if rect.width >= rect.height {
            let width = rect.width / 2;
            waiting.push(TileRect { x: rect.x + width, width: rect.width - width, ..rect });
            waiting.push(TileRect { width, ..rect });
        } else {
            let height = rect.height / 2;
            waiting.push(TileRect { y: rect.y + height, height: rect.height - height, ..rect });
            waiting.push(TileRect { height, ..rect });
        }
    }
    parts
}

/// Those that backups are chosen from: of very many, the ones that are soonest done with a typical tile.
fn spares<'a, 'b>(runners: &'b [Runner<'a>], cost: f64) -> Vec<&'b Runner<'a>> {
    let time_ms = |runner: &Runner<'_>| runner.overhead_ms + cost / runner.speed;
    let mut spares: Vec<&Runner<'a>> = runners.iter().collect();
    if spares.len() > MAX_SPARES {
        spares.sort_by(|a, b| time_ms(a).total_cmp(&time_ms(b)).then(a.view.peer.cmp(&b.view.peer)));
        spares.truncate(MAX_SPARES);
    }
    spares
}

fn planned(
    spares: &[&Runner<'_>],
    owner: Option<&Runner<'_>>,
    frame: u32,
    rect: TileRect,
    cost: f64,
) -> PlannedTile {
    let time_ms = |runner: &Runner<'_>| runner.overhead_ms + cost / runner.speed;
    let mut others: Vec<&Runner<'_>> = spares
        .iter()
        .copied()
        .filter(|runner| owner.is_none_or(|owner| owner.view.peer != runner.view.peer))
        .collect();
    others.sort_by(|a, b| time_ms(a).total_cmp(&time_ms(b)).then(a.view.peer.cmp(&b.view.peer)));
    PlannedTile {
        frame,
        rect,
        cost,
        primary: owner.map(|owner| owner.view.peer),
        backups: others.iter().take(BACKUPS).map(|runner| runner.view.peer).collect(),
        predicted_ms: owner.map_or(0.0, time_ms),
    }
}

#[cfg(test)]
mod tests {
    use p2c2r_protocol::{id::WorkKind, tile::FrameSize};

    use super::*;
    use crate::{history::MemoryStore, predict::ema::EmaPredictor, split::spatial::SpatialSplitter};

    fn view(index: u8, mrays_per_s: f32, round_trip_ms: f32) -> PeerView {
        PeerView {
            is_self: index == 0,
            mrays_per_s,
            round_trip_ms,
            credit: 8,
            ready: true,
            ..PeerView::unknown(NodeId::from_public_key([index; 32]))
        }
    }

    #[test]
    fn long_frames_are_cut_into_more_tiles_so_that_who_comes_late_finds_some_left() {
        let tiles = |mrays_per_s| {
            let peers = [view(0, mrays_per_s, 0.0), view(1, mrays_per_s, 1.0)];
            let plan = plan_for(&peers, 1920, 1080);
            let longest_ms = plan.tiles.iter().map(|tile| tile.predicted_ms).fold(0.0, f64::max);
            (plan.tiles.len(), longest_ms, plan.bound_ms)
        };
        let (short, _, bound_ms) = tiles(100.0);
        assert!(short == 4 && bound_ms < LONG_TILE_MS, "{short} tiles, {bound_ms} ms");
        let (long, longest_ms, bound_ms) = tiles(5.0);
        assert!(
            bound_ms > 2.0 * LONG_TILE_MS && longest_ms < 1.2 * LONG_TILE_MS,
            "{bound_ms}, {longest_ms} ms"
        );
        assert!(long > 8, "{long} tiles");
        assert_eq!(tiles(0.1).0, 2 * MAX_TILES_OF_A_PEER);
        let config = SchedulerConfig::default();
        assert_eq!(parts_of_a_peer(&config, 500, 1e6), config.tiles_per_peer);
        assert_eq!(parts_of_a_peer(&config, 2, f64::INFINITY), MAX_TILES_OF_A_PEER);
    }

    fn plan_for(peers: &[PeerView], width: u32, height: u32) -> FramePlan {
        let size = FrameSize::new(width, height).unwrap();
        let work = FrameWork {
            kind: WorkKind::RayTracing,
            size,
            samples: 16,
            bytes_per_pixel: 12.0,
            max_tile_pixels: MAX_TILE_PIXELS,
            deadline: None,
        };
        let predictor = EmaPredictor::new(Box::new(MemoryStore::default()));
        let map = CostMap::uniform(size, 4.0);
        plan(&predictor, &SchedulerConfig::default(), &work, peers, &map, &SpatialSplitter, TimeMs(0.0))
    }

    const MAX_TILE_PIXELS: u64 = 1 << 22;

    #[test]
    fn no_tile_is_larger_than_peers_take_however_large_the_frame() {
        let plan = plan_for(&[view(0, 1.0, 0.0)], 7680, 4320);
        assert!(plan.tiles.iter().all(|tile| tile.rect.pixels() <= MAX_TILE_PIXELS));
        let pixels: u64 = plan.tiles.iter().map(|tile| tile.rect.pixels()).sum();
        assert_eq!(pixels, 7680 * 4320);
        assert_eq!(parts_within(TileRect { x: 3, y: 4, width: 5, height: 3 }, 1).len(), 15);
    }

    fn cost_of(plan: &FramePlan, peer: u8) -> f64 {
        let peer = view(peer, 0.0, 0.0).peer;
        plan.tiles.iter().filter(|tile| tile.primary == Some(peer)).map(|tile| tile.cost).sum()
    }

    #[test]
    fn shares_follow_speeds_and_every_tile_has_two_other_backups() {
        let plan = plan_for(&[view(0, 10.0, 0.0), view(1, 20.0, 0.0), view(2, 10.0, 0.0)], 960, 540);
        let total: f64 = plan.tiles.iter().map(|tile| tile.cost).sum();
        assert!((cost_of(&plan, 1) / total - 0.5).abs() < 0.03);
        assert_eq!(plan.tiles.len(), 6);
        for tile in &plan.tiles {
            assert_eq!(tile.backups.len(), 2);
            assert!(!tile.backups.contains(&tile.primary.unwrap()));
        }
    }

    #[test]
    fn a_peer_further_away_than_the_frame_takes_gets_nothing() {
        let plan = plan_for(&[view(0, 100.0, 0.0), view(1, 100.0, 60_000.0)], 320, 180);
        assert!(cost_of(&plan, 1) < 1e-9);
        assert!(cost_of(&plan, 0) > 0.0);
    }

    #[test]
    fn a_frame_is_in_time_if_even_twice_its_time_is_left() {
        let plan = plan_for(&[view(0, 1.0, 0.0), view(1, 1.0, 0.0)], 960, 540);
        assert!(
            (0.9..1.5).contains(&(plan.expected_ms / plan.bound_ms)),
            "{} {}",
            plan.expected_ms,
            plan.bound_ms
        );
        let size = FrameSize::new(960, 540).unwrap();
        let by = |deadline| FrameWork {
            kind: WorkKind::RayTracing,
            size,
            samples: 16,
            bytes_per_pixel: 12.0,
            max_tile_pixels: MAX_TILE_PIXELS,
            deadline,
        };
        let now = TimeMs(1000.0);
        assert!(plan.is_in_time(&by(None), now));
        assert!(plan.is_in_time(&by(Some(now + plan.expected_ms * 2.1)), now));
        assert!(!plan.is_in_time(&by(Some(now + plan.expected_ms * 1.9)), now));
    }

    #[test]
    fn one_pixel_and_nobody() {
        let plan = plan_for(&[view(0, 1.0, 0.0), view(1, 1.0, 0.0)], 1, 1);
        assert_eq!(plan.tiles.len(), 1);
        let nobody = plan_for(&[], 64, 64);
        assert_eq!(nobody.tiles.len(), 1);
        assert_eq!(nobody.tiles[0].primary, None);
    }
}
