//! What a loop's frames and orders come to.

use serde::Serialize;

use super::{
    FRAMES_PER_S, LIGHT_DEADLINE_MS,
    frame_loop::{FrameRecord, LoopOutcome, OrderState},
    light::LightTally,
};

/// A frame has this long, ms.
pub const FRAME_MS: f64 = 1000.0 / FRAMES_PER_S as f64;

/// A number of values in few words.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Spread {
    /// Their mean.
    pub mean: f64,
    /// 95 % of them are not above this.
    pub p95: f64,
    /// The largest.
    pub most: f64,
}

impl Spread {
    /// Of these values; all zero if there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = ((sorted.len() as f64 * 0.95).ceil() as usize).saturating_sub(1);
        Self {
            mean: sorted.iter().sum::<f64>() / sorted.len().max(1) as f64,
            p95: sorted.get(at).copied().unwrap_or_default(),
            most: sorted.last().copied().unwrap_or_default(),
        }
    }
}

/// The figures.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct OverlayFigures {
    /// Frames shown.
    pub frames: u32,
    /// Frames left out, because the next one was due before they were begun.
    pub left_out: u32,
    /// Frames shown that were done after the next one was due.
    pub late_frames: u32,
    /// Frames a second.
    pub base_hz: f64,
    /// From when a frame was due until it was done, ms.
    pub frame_ms: Spread,
    /// Of these, at work on it, ms.
    pub work_ms: Spread,
    /// Frames a second for which light came.
    pub overlay_hz: f64,
    /// Frames shown before any light had come.
    pub frames_without_light: u32,
    /// How many frames earlier the light of a frame was ordered.
    pub staleness_frames: Spread,
    /// How much earlier, ms.
    pub staleness_ms: Spread,
    /// Share of the pixels that show surfaces whose light was carried over from the earlier camera.
    pub reprojected_share: f64,
    /// Share of those that have the light of their neighbours.
    pub filled_share: f64,
    /// Share of those without light, which the base lights.
    pub missing_share: f64,
    /// How light was fetched.
    pub light: LightFigures,
}

/// How light was fetched.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct LightFigures {
    /// Frames for which light was due: one of every three.
    pub due: u32,
    /// Of these, those that found another order under way, and ordered none.
    pub skipped: u32,
    /// Orders that brought light.
    pub fetched: u32,
    /// Of these, those of which some pixels did not come in time.
    pub partial: u32,
    /// Orders that brought none.
    pub failed: u32,
    /// Orders that were not answered in full within their deadline.
    pub missed_deadlines: u32,
    /// The deadline, ms.
    pub deadline_ms: u32,
    /// From when a frame was due until its light was here, ms.
    pub light_ms: Spread,
    /// Of these, finding out which peers are ready, ms.
    pub gather_ms: Spread,
}

impl OverlayFigures {
    /// Of a loop and its orders.
    pub fn of(outcome: &LoopOutcome, light: &LightTally) -> Self {
        let frames = &outcome.frames;
        let elapsed_s = outcome.elapsed.as_secs_f64().max(1e-9);
        let lit = || frames.iter().filter_map(|frame| frame.light);
        let pixels = |of: fn(&FrameRecord) -> u32| -> f64 {
            let lit = frames.iter().filter(|frame| frame.light.is_some());
            lit.map(|frame| f64::from(of(frame))).sum()
        };
        let carried = pixels(|frame| frame.pixels.carried);
        let filled = pixels(|frame| frame.pixels.filled);
        let missing = pixels(|frame| frame.pixels.missing);
        let surfaces = (carried + filled + missing).max(1.0);
        Self {
            frames: frames.len() as u32,
            left_out: outcome.left_out,
            late_frames: frames.iter().filter(|frame| frame.done_ms > FRAME_MS).count() as u32,
            base_hz: frames.len() as f64 / elapsed_s.max(frames.len() as f64 / f64::from(FRAMES_PER_S)),
            frame_ms: Spread::of(frames.iter().map(|frame| frame.done_ms)),
            work_ms: Spread::of(frames.iter().map(|frame| frame.work_ms)),
            overlay_hz: lit().filter(|light| light.is_new).count() as f64 / elapsed_s,
            frames_without_light: frames.iter().filter(|frame| frame.light.is_none()).count() as u32,
            staleness_frames: Spread::of(lit().map(|light| f64::from(light.frames))),
            staleness_ms: Spread::of(lit().map(|light| light.age_ms)),
            reprojected_share: carried / surfaces,
            filled_share: filled / surfaces,
            missing_share: missing / surfaces,
            light: LightFigures::of(frames, light),
        }
    }
}

impl LightFigures {
    fn of(frames: &[FrameRecord], tally: &LightTally) -> Self {
        let orders = |state| frames.iter().filter(|frame| frame.order == state).count() as u32;
        let late = tally.fetched.iter().filter(|light| !light.kept_deadline()).count() as u32;
        Self {
            due: orders(OrderState::Taken) + orders(OrderState::NoPlace),
            skipped: orders(OrderState::NoPlace),
            fetched: tally.fetched.len() as u32,
            partial: tally.fetched.iter().filter(|light| !light.is_whole).count() as u32,
            failed: tally.failed,
            missed_deadlines: late + tally.failed,
            deadline_ms: LIGHT_DEADLINE_MS,
            light_ms: Spread::of(tally.fetched.iter().map(|light| light.light_ms)),
            gather_ms: Spread::of(tally.fetched.iter().map(|light| light.gather_ms)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use p2c2r_render::realtime::reproject::CarriedCounts;

    use super::*;
    use crate::overlay::{frame_loop::Staleness, light::LightFetched};

    fn frame(number: u32, done_ms: f64, light: Option<u32>) -> FrameRecord {
        let staleness = |of: u32| Staleness {
            frames: number - of,
            age_ms: f64::from(number - of) * FRAME_MS,
            is_new: number - of == 2,
        };
        FrameRecord {
            done_ms,
            work_ms: done_ms,
            light: light.map(staleness),
            pixels: CarriedCounts { carried: 8, filled: 1, missing: 1 },
            order: if number.is_multiple_of(3) { OrderState::Taken } else { OrderState::NotDue },
        }
    }

    #[test]
    fn frames_and_orders_are_counted() {
        let frames = vec![
            frame(0, 5.0, None),
            frame(1, 20.0, None),
            frame(2, 5.0, Some(0)),
            frame(3, 5.0, Some(0)),
            frame(4, 5.0, Some(0)),
            frame(5, 5.0, Some(3)),
        ];
        let outcome = LoopOutcome { frames, elapsed: Duration::from_millis(90), ..LoopOutcome::default() };
        let fetched = |light_ms, is_whole| LightFetched { light_ms, gather_ms: 1.0, is_whole };
        let light = LightTally { fetched: vec![fetched(30.0, true), fetched(101.0, false)], failed: 1 };
        let figures = OverlayFigures::of(&outcome, &light);
        assert_eq!((figures.frames, figures.late_frames, figures.frames_without_light), (6, 1, 2));
        assert!((figures.base_hz - 60.0).abs() < 1e-6, "{}", figures.base_hz);
        assert!((figures.staleness_frames.mean - 2.75).abs() < 1e-9, "2, 3, 4 and 2 frames");
        assert!((figures.staleness_frames.p95 - 4.0).abs() < 1e-9);
        assert!((figures.reprojected_share - 0.8).abs() < 1e-9);
        assert!((figures.overlay_hz - 2.0 / 0.09).abs() < 1e-6);
        assert_eq!((figures.light.due, figures.light.fetched, figures.light.partial), (2, 2, 1));
        assert_eq!((figures.light.missed_deadlines, figures.light.skipped), (2, 0));
    }

    #[test]
    fn without_frames_there_is_nothing_to_divide_by() {
        let figures = OverlayFigures::of(&LoopOutcome::default(), &LightTally::default());
        assert!(figures.base_hz.is_finite() && figures.reprojected_share.is_finite());
    }
}
