//! Which way to split an animation is expected to be done first: the makespan of each, from what the models say.
//!
//! What the peers do is predicted by them; what every frame takes besides is given by whoever asks: the owner makes a
//! picture of each film, and a scene that moves is made ready anew for each frame, by everybody who renders a part of it.

use serde::{Deserialize, Serialize};

use super::{cost_map::CostMap, spatial::SpatialSplitter};
use crate::{PeerView, Scheduler, time::TimeMs, work::FrameWork};

/// Part of the expected time by which another way must be better than cutting each frame: that one has the first frame
/// first, and stops with less half done.
const PREFERENCE: f64 = 0.03;

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
}

impl Strategy {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Spatial, Self::Temporal, Self::Pipeline];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spatial => "spatial",
            Self::Temporal => "temporal",
            Self::Pipeline => "pipeline",
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
    /// What it takes to make the scene ready at a frame's moment, ms; 0 for a scene that does not move.
    pub moment_ms: f64,
}

/// What is expected of a strategy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// Which.
    pub strategy: Strategy,
    /// Until the last picture is written, ms.
    pub makespan_ms: f64,
}

/// What is expected of cutting each frame, and of whole frames.
pub fn forecasts(
    scheduler: &Scheduler,
    work: &FrameWork,
    peers: &[PeerView],
    cost: &CostMap,
    animation: &Animation,
    now: TimeMs,
) -> Vec<Forecast> {
    let frames = f64::from(animation.frames);
    let plan = scheduler.plan(work, peers, cost, &SpatialSplitter, now);
    // Everybody has the next moment to make ready while this one is rendered, on the same processor.
    let frame_ms = plan.expected_ms + animation.moment_ms + animation.develop_ms;
    let spatial = Forecast { strategy: Strategy::Spatial, makespan_ms: frames * frame_ms };
    let costs = vec![cost.total() * f64::from(work.samples.max(1)); animation.frames as usize];
    let plan = scheduler.plan_sequence(work, peers, &costs, animation.moment_ms, now);
    // The owner makes pictures of the films as they come, and checks them at their moments.
    let first_ms = plan.tiles.first().map_or(0.0, |tile| tile.predicted_ms);
    let owner_ms = first_ms + frames * animation.develop_ms.max(animation.moment_ms);
    let temporal = Forecast {
        strategy: Strategy::Temporal,
        makespan_ms: (plan.expected_ms + animation.develop_ms).max(owner_ms),
    };
    vec![spatial, temporal]
}

/// The strategy that is expected to be done first; cutting each frame if none is clearly better.
pub fn choose(forecasts: &[Forecast]) -> Option<Strategy> {
    let weighed_ms = |forecast: &&Forecast| match forecast.strategy {
        Strategy::Spatial => forecast.makespan_ms * (1.0 - PREFERENCE),
        _ => forecast.makespan_ms,
    };
    let sound = forecasts.iter().filter(|forecast| forecast.makespan_ms.is_finite());
    sound.min_by(|a, b| weighed_ms(a).total_cmp(&weighed_ms(b))).map(|forecast| forecast.strategy)
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

    fn chosen(peers: &[PeerView], animation: Animation) -> Strategy {
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
        choose(&forecasts(&scheduler, &work, peers, &cost, &animation, TimeMs(0.0))).unwrap()
    }

    #[test]
    fn few_frames_are_cut_and_many_go_whole() {
        let peers = [peer(0, 10.0, 0.0), peer(1, 10.0, 30.0), peer(2, 10.0, 30.0), peer(3, 10.0, 30.0)];
        let animation = |frames| Animation { frames, develop_ms: 50.0, moment_ms: 0.0 };
        assert_eq!(chosen(&peers, animation(1)), Strategy::Spatial);
        assert_eq!(chosen(&peers, animation(5)), Strategy::Spatial, "the fifth would be alone");
        assert_eq!(chosen(&peers, animation(48)), Strategy::Temporal);
    }

    #[test]
    fn scenes_that_take_long_to_make_ready_are_made_ready_by_one_peer_for_each_frame() {
        let peers = [peer(0, 10.0, 0.0), peer(1, 10.0, 1.0), peer(2, 10.0, 1.0), peer(3, 10.0, 1.0)];
        let animation = |moment_ms| Animation { frames: 8, develop_ms: 0.0, moment_ms };
        assert_eq!(chosen(&peers, animation(500.0)), Strategy::Temporal);
    }

    #[test]
    fn a_forecast_that_is_no_number_is_not_chosen() {
        let of = |strategy, makespan_ms| Forecast { strategy, makespan_ms };
        let forecasts = [of(Strategy::Temporal, f64::NAN), of(Strategy::Pipeline, 10.0)];
        assert_eq!(choose(&forecasts), Some(Strategy::Pipeline));
        assert_eq!(choose(&[]), None);
    }
}
