//! How the simple coordinators choose.

use std::collections::{BTreeMap, VecDeque};

use p2c2r_protocol::{
    id::{NodeId, WorkKind},
    tile::TileRect,
};
use p2c2r_scheduler::{
    Outcome, OutcomeResult, PeerView, Prediction,
    history::MemoryStore,
    predict::{Predictor, ema::EmaPredictor},
    split::{Share, Splitter, cost_map::CostMap, equal::equal_areas, spatial::SpatialSplitter},
    work::FrameWork,
};

use super::simple::{Candidate, Chooser, TileTask};
use crate::{
    random::{Dice, Purpose},
    scenario::Start,
    sim::desk::Forecast,
};

/// Most tiles of a frame.
const MAX_TILES: usize = 256;

/// So many tiles of the same estimated cost.
fn equal_costs(work: &FrameWork, count: usize, cost: &CostMap) -> Vec<TileRect> {
    let shares = vec![Share { weight: 1.0 }; count.clamp(1, MAX_TILES)];
    SpatialSplitter.split(work, &shares, cost).into_iter().map(|subtask| subtask.rect).collect()
}

/// The candidate with the least score.
fn least(candidates: &[Candidate<'_>], mut score: impl FnMut(&Candidate<'_>) -> f64) -> Option<usize> {
    let scores = candidates.iter().map(&mut score).enumerate();
    scores.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(index, _)| index)
}

/// Anybody.
pub struct Random {
    seed: u64,
    drawn: u64,
}

impl Random {
    /// With choices of this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, drawn: 0 }
    }
}

impl Chooser for Random {
    fn cut(&self, work: &FrameWork, peers: usize, _: &CostMap) -> Vec<TileRect> {
        equal_areas(work, peers)
    }

    fn choose(&mut self, _: &TileTask, candidates: &[Candidate<'_>]) -> Option<usize> {
        self.drawn += 1;
        let index = Dice::new(self.seed, Purpose::Policy, &[self.drawn]).below(candidates.len());
        (index < candidates.len()).then_some(index)
    }
}

/// One after the other.
#[derive(Default)]
pub struct RoundRobin {
    last: Option<NodeId>,
}

impl Chooser for RoundRobin {
    fn cut(&self, work: &FrameWork, peers: usize, _: &CostMap) -> Vec<TileRect> {
        equal_areas(work, peers)
    }

    fn choose(&mut self, _: &TileTask, candidates: &[Candidate<'_>]) -> Option<usize> {
        let after = |candidate: &Candidate<'_>| self.last.is_none_or(|last| candidate.view.peer > last);
        let next = candidates.iter().position(after).or((!candidates.is_empty()).then_some(0))?;
        self.last = candidates.get(next).map(|candidate| candidate.view.peer);
        Some(next)
    }
}

/// `min(latency + load * 15)`.
pub struct LeastLatency;

impl Chooser for LeastLatency {
    fn cut(&self, work: &FrameWork, peers: usize, _: &CostMap) -> Vec<TileRect> {
        equal_areas(work, peers)
    }

    fn choose(&mut self, _: &TileTask, candidates: &[Candidate<'_>]) -> Option<usize> {
        least(candidates, |candidate| {
            f64::from(candidate.view.round_trip_ms) + f64::from(candidate.load) * 15.0
        })
    }
}

/// Outcomes that the seed document's coordinator remembers of a peer.
const REMEMBERED: usize = 1000;
/// Weight of the newest time in its moving average.
const EMA_WEIGHT: f64 = 0.2;
/// What a task in flight adds, ms.
const PER_TASK_MS: f64 = 5.0;
/// What a peer of which nothing is known is taken to need beyond its latency, ms.
const UNKNOWN_MS: f64 = 50.0;
/// An hour of day counts once it has so many outcomes.
const HOUR_OUTCOMES: u32 = 10;
/// A failure risk is never believed to be more.
const MAX_RISK: f64 = 0.9;

/// What is remembered of a peer and a kind of work.
#[derive(Debug, Clone, Default)]
struct History {
    /// Moving average of the time from offer to result, ms.
    mean_ms: f64,
    times: u32,
    /// Mean of each hour of day, and from how many.
    hours: BTreeMap<u32, (f64, u32)>,
    /// Whether the last ones failed.
    failed: VecDeque<bool>,
}

/// The learning coordinator of the seed document. Read as: expected time = moving average of the peer's times for the
/// kind + 5 ms per task in flight + what the hour of day differs; risk by rules (share of recent failures, more above
/// 95 % utilisation and with four tasks or more); score = time / (1 - risk); tiles of equal cost, one per peer; three
/// tries.
pub struct Ema {
    start: Start,
    histories: BTreeMap<(NodeId, WorkKind), History>,
}

impl Ema {
    /// Knows nothing yet.
    pub fn new(start: Start) -> Self {
        Self { start, histories: BTreeMap::new() }
    }

    fn expected_ms(&self, tile: &TileTask, candidate: &Candidate<'_>) -> f64 {
        let in_flight_ms = PER_TASK_MS * f64::from(candidate.load);
        let known = self.histories.get(&(candidate.view.peer, tile.kind)).filter(|known| known.times > 0);
        let Some(known) = known else {
            return UNKNOWN_MS + f64::from(candidate.view.round_trip_ms) + in_flight_ms;
        };
        let hour = self.start.hour_after(tile.features.at.0) as u32;
        let of_hour = known.hours.get(&hour).filter(|(_, count)| *count >= HOUR_OUTCOMES);
        let hour_ms = of_hour.map_or(0.0, |(mean_ms, _)| mean_ms - known.mean_ms);
        (known.mean_ms + hour_ms + in_flight_ms).max(1.0)
    }

    fn risk(&self, tile: &TileTask, candidate: &Candidate<'_>) -> f64 {
        let known = self.histories.get(&(candidate.view.peer, tile.kind));
        let recent = known.map_or(0.05, |known| {
            let failures = known.failed.iter().rev().take(20).filter(|failed| **failed).count();
            failures as f64 / known.failed.len().clamp(1, 20) as f64
        });
        let hot = if candidate.view.telemetry.utilisation > 0.95 { 0.2 } else { 0.0 };
        let crowded = if candidate.load >= 4 { 0.05 } else { 0.0 };
        (recent + hot + crowded).min(MAX_RISK)
    }
}

impl Chooser for Ema {
    fn cut(&self, work: &FrameWork, peers: usize, cost: &CostMap) -> Vec<TileRect> {
        equal_costs(work, peers, cost)
    }

    fn choose(&mut self, tile: &TileTask, candidates: &[Candidate<'_>]) -> Option<usize> {
        least(candidates, |candidate| self.expected_ms(tile, candidate) / (1.0 - self.risk(tile, candidate)))
    }

    fn forecast(&self, tile: &TileTask, candidate: &Candidate<'_>) -> Option<Forecast> {
        let total_ms = self.expected_ms(tile, candidate);
        Some(Forecast { total_ms, interval_ms: None, failure_risk: self.risk(tile, candidate) })
    }

    fn observe(&mut self, peer: &PeerView, tile: &TileTask, ended: Option<(f64, f64, f64)>) {
        let hour = self.start.hour_after(tile.features.at.0) as u32;
        let known = self.histories.entry((peer.peer, tile.kind)).or_default();
        known.failed.push_back(ended.is_none());
        if known.failed.len() > REMEMBERED {
            known.failed.pop_front();
        }
        let Some((total_ms, _, _)) = ended else { return };
        known.times = known.times.saturating_add(1);
        let weight = EMA_WEIGHT.max(1.0 / f64::from(known.times));
        known.mean_ms += weight * (total_ms - known.mean_ms);
        let (mean_ms, count) = known.hours.entry(hour).or_insert((0.0, 0));
        *count = count.saturating_add(1);
        *mean_ms += EMA_WEIGHT.max(1.0 / f64::from(*count)) * (total_ms - *mean_ms);
    }

    fn max_tries(&self) -> usize {
        3
    }
}

/// Tiles per peer of earliest finish.
const TILES_PER_PEER: usize = 2;

/// Each tile where it is expected to be done first, by learned speeds: list scheduling.
pub struct EarliestFinish {
    model: EmaPredictor,
}

impl EarliestFinish {
    /// Knows nothing yet.
    pub fn new() -> Self {
        Self { model: EmaPredictor::new(Box::new(MemoryStore::default())) }
    }

    fn expected_ms(&self, tile: &TileTask, candidate: &Candidate<'_>) -> (f64, Prediction) {
        let predicted = self.model.predict(candidate.view, tile.kind, &tile.features);
        let ready_ms = candidate.backlog_ms.max(predicted.overhead_ms);
        (ready_ms + predicted.execution_ms, predicted)
    }
}

impl Chooser for EarliestFinish {
    fn cut(&self, work: &FrameWork, peers: usize, cost: &CostMap) -> Vec<TileRect> {
        equal_costs(work, peers * TILES_PER_PEER, cost)
    }

    fn choose(&mut self, tile: &TileTask, candidates: &[Candidate<'_>]) -> Option<usize> {
        least(candidates, |candidate| self.expected_ms(tile, candidate).0)
    }

    fn forecast(&self, tile: &TileTask, candidate: &Candidate<'_>) -> Option<Forecast> {
        let (total_ms, predicted) = self.expected_ms(tile, candidate);
        Some(Forecast {
            total_ms,
            interval_ms: Some((total_ms * predicted.low_factor, total_ms * predicted.high_factor)),
            failure_risk: predicted.failure_risk,
        })
    }

    fn observe(&mut self, peer: &PeerView, tile: &TileTask, ended: Option<(f64, f64, f64)>) {
        let (total_ms, result) = match ended {
            Some((total_ms, queue_ms, execution_ms)) => {
                (total_ms, OutcomeResult::Success { queue_ms, execution_ms })
            }
            None => (0.0, OutcomeResult::Failed),
        };
        self.model.observe(&Outcome {
            peer: *peer,
            kind: tile.kind,
            features: tile.features,
            total_ms,
            result,
        });
    }
}

#[cfg(test)]
mod tests {
    use p2c2r_protocol::tile::FrameSize;

    use super::*;

    #[test]
    fn equal_areas_cover_the_frame() {
        let size = FrameSize::new(640, 360).unwrap();
        let work = FrameWork {
            kind: WorkKind::RayTracing,
            size,
            samples: 1,
            bytes_per_pixel: 4.0,
            max_tile_pixels: u64::MAX,
            deadline: None,
        };
        for count in [1, 2, 3, 4, 5, 7, 12, 100, 256] {
            let tiles = equal_areas(&work, count);
            assert_eq!(tiles.len(), count);
            assert_eq!(tiles.iter().map(|tile| tile.pixels()).sum::<u64>(), size.pixels());
            for (index, a) in tiles.iter().enumerate() {
                assert!(tiles[index + 1..].iter().all(|b| !a.overlaps(*b)), "{count}");
            }
        }
    }
}
