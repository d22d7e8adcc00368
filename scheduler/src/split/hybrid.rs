//! Which way to split an animation is expected to be done first: the makespan of each, from what the models say.
//!
//! What the peers do is predicted by them; what every frame takes besides is given by whoever asks: the owner makes a
//! picture of each film, and a scene that moves is made ready anew for each frame, by everybody who renders a part of it.

use serde::{Deserialize, Serialize};

use super::{cost_map::CostMap, spatial::SpatialSplitter, temporal::PerFrame};
use crate::{PeerView, Scheduler, time::TimeMs, work::FrameWork};

/// Part of the expected time by which whole frames must be better than cutting each, and both ways together than one of
/// them: cut frames are there one after the other, and whoever stops has less half done.
const PREFERENCE: f64 = 0.03;

/// Of so many frames at the end is reckoned what cutting them would take.
const MAX_CUT: usize = 16;

/// A way to split an animation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Each frame is cut into tiles, one frame after the other.
    Spatial,
    /// Whole frames go to different peers.
    Temporal,
    /// The stages of each frame go to different peers.
    Pipeline,
    /// Splits within a split: whole frames go to different peers while there are enough for everybody, each of the last
    /// ones is cut among all.
    Nested,
}

impl Strategy {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Spatial, Self::Temporal, Self::Pipeline, Self::Nested];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spatial => "spatial",
            Self::Temporal => "temporal",
            Self::Pipeline => "pipeline",
            Self::Nested => "nested",
        }
    }

    /// Its expected time, weighed by what else speaks for it.
    fn weight(self) -> f64 {
        match self {
            Self::Spatial => 1.0 - PREFERENCE,
            Self::Temporal | Self::Pipeline => 1.0,
            Self::Nested => 1.0 + PREFERENCE,
        }
    }
}

/// Frames that are alike.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Animation {
    /// How many.
    pub frames: u32,
    /// What the owner does for each by itself once its film is there (features, denoising, writing), ms.
    pub develop_ms: f64,
    /// What each takes if it is not cut.
    pub each: PerFrame,
}

/// What is expected of a strategy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// Which.
    pub strategy: Strategy,
    /// Until the last picture is written, ms.
    pub makespan_ms: f64,
    /// How many of the frames, from the first, are not cut.
    pub whole_frames: u32,
}

/// What is expected of cutting each frame, of whole frames, and of the best way to have both.
pub fn forecasts(
    scheduler: &Scheduler,
    work: &FrameWork,
    peers: &[PeerView],
    cost: &CostMap,
    animation: &Animation,
    now: TimeMs,
) -> Vec<Forecast> {
    let frames = animation.frames;
    let plan = scheduler.plan(work, peers, cost, &SpatialSplitter, now);
    // Everybody has the next moment to make ready while this one is rendered, on the same processor.
    let cut_ms = plan.expected_ms + animation.each.moment_ms + animation.develop_ms;
    let costs = vec![cost.total() * f64::from(work.samples.max(1)); frames as usize];
    let whole_ms = |count: u32| {
        let costs = costs.get(..count as usize).unwrap_or_default();
        let plan = scheduler.plan_sequence(work, peers, costs, animation.each, now);
        // The owner makes pictures of the films as they come, and checks them at their moments.
        let first_ms = plan.tiles.first().map_or(0.0, |tile| tile.predicted_ms);
        let owner_ms = first_ms + f64::from(count) * animation.develop_ms.max(animation.each.moment_ms);
        (plan.expected_ms + animation.develop_ms).max(owner_ms)
    };
    let nested = |whole_frames: u32| Forecast {
        strategy: Strategy::Nested,
        makespan_ms: whole_ms(whole_frames) + f64::from(frames - whole_frames) * cut_ms,
        whole_frames,
    };
    // No more frames are left over than there are peers to deal them to.
    let most_cut = (peers.len().min(MAX_CUT) as u32).min(frames.saturating_sub(1));
    let nestings = (1..=most_cut).map(|cut| nested(frames - cut));
    let best_nesting = nestings.min_by(|a, b| a.makespan_ms.total_cmp(&b.makespan_ms));
    let spatial =
        Forecast { strategy: Strategy::Spatial, makespan_ms: f64::from(frames) * cut_ms, whole_frames: 0 };
    let temporal =
        Forecast { strategy: Strategy::Temporal, makespan_ms: whole_ms(frames), whole_frames: frames };
    [spatial, temporal].into_iter().chain(best_nesting).collect()
}

/// What is expected to be done first; cutting each frame if none is clearly better, and one way if both together are not.
pub fn choose(forecasts: &[Forecast]) -> Option<Forecast> {
    let weighed_ms = |forecast: &Forecast| forecast.makespan_ms * forecast.strategy.weight();
    let sound = forecasts.iter().filter(|forecast| forecast.makespan_ms.is_finite());
    sound.min_by(|a, b| weighed_ms(a).total_cmp(&weighed_ms(b))).copied()
}

#[cfg(test)]
mod tests {
    use p2c2r_protocol::{
        id::{NodeId, WorkKind},
        tile::FrameSize,
    };

    use super::*;
    use crate::{SchedulerConfig, history::MemoryStore};

    fn peer(index: u8, mrays_per_s: f32, round_trip_ms: f32) -> PeerView {
        PeerView {
            is_self: index == 0,
            mrays_per_s,
            round_trip_ms,
            credit: 8,
            ready: true,
            ..PeerView::unknown(NodeId::from_public_key([index; 32]))
        }
    }

    fn chosen(peers: &[PeerView], animation: Animation) -> Forecast {
        choose(&forecast(peers, animation)).unwrap()
    }

    fn forecast(peers: &[PeerView], animation: Animation) -> Vec<Forecast> {
        let size = FrameSize::new(960, 540).unwrap();
        let work = FrameWork {
            kind: WorkKind::RayTracing,
            size,
            samples: 16,
            bytes_per_pixel: 12.0,
            max_tile_pixels: 1 << 22,
            deadline: None,
        };
        let scheduler = Scheduler::new(Box::new(MemoryStore::default()), SchedulerConfig::default());
        let cost = CostMap::uniform(size, 4.0);
        forecasts(&scheduler, &work, peers, &cost, &animation, TimeMs(0.0))
    }

    #[test]
    fn few_frames_are_cut_and_many_go_whole() {
        let peers = [peer(0, 10.0, 0.0), peer(1, 10.0, 30.0), peer(2, 10.0, 30.0), peer(3, 10.0, 30.0)];
        let animation = |frames| Animation { frames, develop_ms: 50.0, each: PerFrame::default() };
        let chosen = |frames| chosen(&peers, animation(frames)).strategy;
        assert_eq!(chosen(1), Strategy::Spatial);
        assert_eq!(chosen(3), Strategy::Spatial, "one peer would have nothing to do");
        assert_eq!(chosen(48), Strategy::Temporal);
    }

    #[test]
    fn frames_that_are_left_over_are_cut() {
        let peers = [peer(0, 10.0, 0.0), peer(1, 10.0, 300.0), peer(2, 10.0, 300.0), peer(3, 10.0, 300.0)];
        let animation = |frames| Animation { frames, develop_ms: 0.0, each: PerFrame::default() };
        let five = chosen(&peers, animation(5));
        assert_eq!(
            (five.strategy, five.whole_frames),
            (Strategy::Nested, 4),
            "the fifth would be alone, and each that is cut costs a way"
        );
        let many = chosen(&peers, animation(81));
        assert_eq!((many.strategy, many.whole_frames), (Strategy::Temporal, 81), "it is not worth it");
    }

    #[test]
    fn scenes_that_take_long_to_make_ready_are_made_ready_by_one_peer_for_each_frame() {
        let peers = [peer(0, 10.0, 0.0), peer(1, 10.0, 1.0), peer(2, 10.0, 1.0), peer(3, 10.0, 1.0)];
        let each = |moment_ms| PerFrame { moment_ms, owner_ms: 0.0 };
        let animation = |moment_ms| Animation { frames: 8, develop_ms: 0.0, each: each(moment_ms) };
        assert_eq!(chosen(&peers, animation(500.0)).strategy, Strategy::Temporal);
    }

    #[test]
    fn an_owner_that_is_busy_with_every_frame_makes_whole_frames_take_longer() {
        const FRAMES: u32 = 240;
        let temporal_ms = |owner: bool, owner_ms| {
            let mut peers = [peer(0, 10.0, 0.0), peer(1, 10.0, 0.0)];
            peers[0].is_self = owner;
            let each = PerFrame { moment_ms: 0.0, owner_ms };
            let forecasts = forecast(&peers, Animation { frames: FRAMES, develop_ms: 0.0, each });
            forecasts.iter().find(|forecast| forecast.strategy == Strategy::Temporal).unwrap().makespan_ms
        };
        let idle_ms = temporal_ms(true, 0.0);
        let busy_ms = temporal_ms(true, 400.0);
        // Two equal machines, of which one is away for 400 ms a frame: the other takes half of that over, in whole frames.
        let frame_ms = idle_ms * 2.0 / f64::from(FRAMES);
        let more_ms = f64::from(FRAMES) * 400.0 / 2.0;
        assert!((busy_ms - idle_ms - more_ms).abs() <= frame_ms, "{idle_ms} {busy_ms}");
        assert!((temporal_ms(false, 400.0) - idle_ms).abs() <= frame_ms, "it is nobody else's work");
    }

    #[test]
    fn a_forecast_that_is_no_number_is_not_chosen() {
        let of = |strategy, makespan_ms| Forecast { strategy, makespan_ms, whole_frames: 0 };
        let forecasts = [of(Strategy::Temporal, f64::NAN), of(Strategy::Pipeline, 10.0)];
        assert_eq!(choose(&forecasts), Some(forecasts[1]));
        assert_eq!(choose(&[]), None);
    }
}
