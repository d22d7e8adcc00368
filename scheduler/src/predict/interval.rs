//! Intervals that hold what they promise: adaptive conformal inference (Gibbs & Candès 2021).
//!
//! Residuals are those of predictions made before the outcome was known, in units of the spread expected then. The
//! interval is between two quantiles of the last of them; which quantiles is corrected after every outcome by whether
//! it lay inside. The spread itself follows the last few residuals, so that a peer that begins to surprise is expected
//! to go on.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Outcomes after which the state is remembered, for those that are still under way.
pub const REMEMBERED: usize = 12;
/// Residuals that are kept.
const CAPACITY: usize = 250;
/// Step of the correction (γ).
const STEP: f64 = 0.01;
/// Share of outcomes that may lie under the interval, over it, and over the 95 % quantile.
const TARGETS: [f64; 3] = [0.025, 0.025, 0.05];
/// The corrected shares stay within.
const SHARE_RANGE: (f64, f64) = (0.0005, 0.3);
/// Residuals from which on they are believed alone.
const SETTLED: usize = 20;
/// The same quantiles of a normal distribution, a little wider: used until there are residuals.
const FIRST_QUANTILES: [f32; 3] = [-2.4, 2.4, 2.0];
/// Weights of the newest squared residual in the steady and the quick spread.
const SPREAD_WEIGHTS: [f64; 2] = [0.01, 0.12];
/// Share of the quick one. Without it, intervals are 5 % narrower on steady streams, but a stream that becomes three
/// times as noisy every now and then is covered at 83 % in the worst twentieth of its windows; so it is at 88 %.
const QUICK_SHARE: f64 = 0.7;
/// Spread of log time before anything is known.
const PRIOR_SPREAD: f64 = 0.3;
/// Spread is never believed to be outside.
const SPREAD_RANGE: (f64, f64) = (0.01, 2.0);
/// Largest residual of log time: a factor of half a billion.
const MAX_RESIDUAL: f64 = 20.0;
/// A residual counts as this many spreads at most where the spread is learned.
const MAX_DEVIATIONS: f64 = 4.0;

/// Standard deviations of log time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spreads {
    /// As it is expected now: by it residuals are clipped.
    pub now: f64,
    /// Over many outcomes: by it changes are found.
    pub steady: f64,
}

/// Shares of waiting in the expected time from which on a class of tasks begins: the longer the queue, the less sure.
const CLASSES: [f64; 2] = [0.1, 0.4];
/// Weight of the newest outcome in how much more a class spreads.
const CLASS_WEIGHT: f64 = 0.02;
/// Classes spread at most so much more or less.
const CLASS_RANGE: (f64, f64) = (0.25, 16.0);

/// The interval of the log of a time around its prediction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intervals {
    /// The last residuals in spreads; the oldest is overwritten.
    residuals: Vec<f32>,
    next: u16,
    outcomes: u64,
    shares: [f64; 3],
    quantiles: [f32; 3],
    /// Mean squared residual: steady, quick.
    squares: [f64; 2],
    /// The same of the classes with waiting, relative to the one without.
    classes: [f64; 2],
    /// As it was lately: an outcome is judged by what was said when its task was offered.
    #[serde(skip)]
    moments: VecDeque<Moment>,
}

/// What predictions were made with from a moment on.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Moment {
    at_unix_ms: f64,
    spread: f64,
    quantiles: [f32; 3],
    classes: [f64; 2],
}

/// An interval of log time relative to its prediction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogInterval {
    /// 2.5 % lie under it.
    pub low: f64,
    /// 2.5 % lie over it.
    pub high: f64,
    /// 5 % lie over it.
    pub p95: f64,
    /// Standard deviation of the log of the time.
    pub spread: f64,
}

impl Default for Intervals {
    fn default() -> Self {
        Self {
            residuals: Vec::new(),
            next: 0,
            outcomes: 0,
            shares: TARGETS,
            quantiles: FIRST_QUANTILES,
            squares: [PRIOR_SPREAD * PRIOR_SPREAD; 2],
            classes: [1.0; 2],
            moments: VecDeque::new(),
        }
    }
}

impl Intervals {
    /// Outcomes that it was learned from.
    pub fn outcomes(&self) -> u64 {
        self.outcomes
    }

    /// Memory that is taken beside the struct itself, bytes.
    pub fn bytes(&self) -> usize {
        self.residuals.capacity() * size_of::<f32>() + self.moments.capacity() * size_of::<Moment>()
    }

    /// The spread that is expected of the next residual.
    pub fn spread(&self) -> f64 {
        let square = self.squares[0] * (1.0 - QUICK_SHARE) + self.squares[1] * QUICK_SHARE;
        square.sqrt().clamp(SPREAD_RANGE.0, SPREAD_RANGE.1)
    }

    /// The spread now, and as it is over many outcomes.
    pub fn spreads(&self) -> Spreads {
        let steady = self.squares[0].sqrt().clamp(SPREAD_RANGE.0, SPREAD_RANGE.1);
        Spreads { now: self.spread(), steady }
    }

    /// As it is now, or as it was when a task was offered.
    fn moment(&self, offered_unix_ms: Option<f64>) -> Moment {
        let then = offered_unix_ms.and_then(|at| {
            let before = self.moments.iter().rev().find(|moment| moment.at_unix_ms <= at);
            before.or_else(|| self.moments.front()).copied()
        });
        then.unwrap_or_else(|| Moment {
            at_unix_ms: 0.0,
            spread: self.spread(),
            quantiles: self.quantiles,
            classes: self.classes,
        })
    }

    /// The interval for a prediction, now or as it was when the task was offered: `widening` is how much wider than usual
    /// it is for other reasons than the share of waiting. While this peer has too few residuals, what all peers came to
    /// counts too.
    pub fn interval(
        &self,
        everybody: &Self,
        widening: f64,
        wait_share: f64,
        offered_unix_ms: Option<f64>,
    ) -> LogInterval {
        let moment = self.moment(offered_unix_ms);
        let class = class_of(wait_share).map_or(1.0, |class| moment.classes[class].sqrt());
        let spread = moment.spread * class * widening;
        let own = (self.residuals.len() as f64 / SETTLED as f64).min(1.0);
        let others = if everybody.residuals.len() >= SETTLED { everybody.quantiles } else { FIRST_QUANTILES };
        let at = |index: usize| {
            let (own_quantile, other) = (f64::from(moment.quantiles[index]), f64::from(others[index]));
            spread * (own * own_quantile + (1.0 - own) * other)
        };
        LogInterval { low: at(0), high: at(1), p95: at(2), spread }
    }

    /// Learns how much wider the residuals are of tasks of which so much of the time is waiting.
    fn learn_class(&mut self, residual: f64, wait_share: f64, widening: f64) {
        let square = (residual / (self.spread() * widening)).powi(2).min(CLASS_RANGE.1);
        if let Some(class) = class_of(wait_share).filter(|_| square.is_finite()) {
            let mean = &mut self.classes[class];
            *mean = (*mean + CLASS_WEIGHT * (square - *mean)).clamp(CLASS_RANGE.0, CLASS_RANGE.1);
        }
    }

    /// Learns from a residual of log time that became known then; `expected` is the interval as it was given, with the same
    /// `widening` and `wait_share`.
    pub fn learn(
        &mut self,
        residual: f64,
        expected: LogInterval,
        widening: f64,
        wait_share: f64,
        known_unix_ms: f64,
    ) {
        if !residual.is_finite() {
            return;
        }
        let residual = residual.clamp(-MAX_RESIDUAL, MAX_RESIDUAL);
        let outside = [residual < expected.low, residual > expected.high, residual > expected.p95];
        self.learn_class(residual, wait_share, widening);
        let widening = widening * class_of(wait_share).map_or(1.0, |class| self.classes[class].sqrt());
        for ((share, target), outside) in self.shares.iter_mut().zip(TARGETS).zip(outside) {
            *share += STEP * (target - f64::from(u8::from(outside)));
            *share = share.clamp(SHARE_RANGE.0, SHARE_RANGE.1);
        }
        let in_spreads = (residual / expected.spread.max(SPREAD_RANGE.0)) as f32;
        match self.residuals.get_mut(usize::from(self.next)) {
            Some(oldest) => *oldest = in_spreads,
            None => self.residuals.push(in_spreads),
        }
        self.next = (self.next + 1) % CAPACITY as u16;
        let limit = MAX_DEVIATIONS * self.spread();
        let square = (residual / widening).clamp(-limit, limit).powi(2);
        // The first outcomes weigh by their number.
        let first = 1.0 / (self.outcomes as f64 + 3.0);
        for (mean, weight) in self.squares.iter_mut().zip(SPREAD_WEIGHTS) {
            *mean += weight.max(first) * (square - *mean);
        }
        self.outcomes += 1;
        self.settle();
        if self.moments.len() >= REMEMBERED {
            self.moments.pop_front();
        }
        self.moments.push_back(Moment { at_unix_ms: known_unix_ms, ..self.moment(None) });
    }

    /// The quantiles of the residuals that are kept.
    fn settle(&mut self) {
        let mut sorted = self.residuals.clone();
        sorted.sort_unstable_by(f32::total_cmp);
        self.quantiles = [
            quantile(&sorted, self.shares[0]),
            quantile(&sorted, 1.0 - self.shares[1]),
            quantile(&sorted, 1.0 - self.shares[2]),
        ];
    }

    /// Whether every number is one: what a store gave back may be anything.
    pub fn is_whole(&self) -> bool {
        self.residuals.len() <= CAPACITY
            && usize::from(self.next) <= self.residuals.len()
            && self.residuals.iter().chain(&self.quantiles).all(|number| number.is_finite())
            && self.shares.iter().chain(&self.squares).chain(&self.classes).all(|number| number.is_finite())
    }
}

/// Which class with waiting; `None`: the one without.
fn class_of(wait_share: f64) -> Option<usize> {
    CLASSES.iter().rposition(|from| wait_share >= *from)
}

/// The quantile of sorted values; beyond the outermost ones it goes on as they do.
fn quantile(sorted: &[f32], share: f64) -> f32 {
    let (Some(first), Some(last)) = (sorted.first(), sorted.last()) else { return 0.0 };
    let place = share * (sorted.len() as f64 + 1.0) - 1.0;
    if place < 0.0 {
        return first + (place as f32) * first.abs() * 0.5;
    }
    let below = place.floor() as usize;
    match (sorted.get(below), sorted.get(below + 1)) {
        (Some(low), Some(high)) => low + (high - low) * (place - below as f64) as f32,
        _ => last + (place - (sorted.len() as f64 - 1.0)).max(0.0) as f32 * last.abs() * 0.5,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::predict::synthetic::Noise;

    /// Shares of outcomes inside: of all, and in the worst twentieth of the windows of 50.
    fn coverage(inside: &[bool]) -> (f64, f64) {
        let share = |window: &[bool]| {
            window.iter().filter(|inside| **inside).count() as f64 / window.len().max(1) as f64
        };
        let mut windows: Vec<f64> = inside.chunks_exact(50).map(share).collect();
        windows.sort_by(f64::total_cmp);
        let worst = &windows[..(windows.len() / 20).max(1)];
        (share(inside), worst.iter().sum::<f64>() / worst.len() as f64)
    }

    /// Runs a stream of residuals through it: the first 100 are not judged.
    fn run(mut residual: impl FnMut(usize, &mut Noise) -> f64, seed: u64) -> (f64, f64, f64) {
        let mut noise = Noise::new(seed);
        let (mut intervals, everybody) = (Intervals::default(), Intervals::default());
        let (mut inside, mut under_p95) = (Vec::new(), Vec::new());
        for step in 0..5_100 {
            let (residual, expected) =
                (residual(step, &mut noise), intervals.interval(&everybody, 1.0, 0.0, None));
            intervals.learn(residual, expected, 1.0, 0.0, 0.0);
            if step >= 100 {
                inside.push((expected.low..=expected.high).contains(&residual));
                under_p95.push(residual <= expected.p95);
            }
        }
        let (all, worst) = coverage(&inside);
        (all, worst, coverage(&under_p95).0)
    }

    fn check(name: &str, residual: impl Fn(usize, &mut Noise) -> f64 + Copy) {
        for seed in 1..=5 {
            let (all, worst, p95) = run(residual, seed);
            println!("{name}: coverage {all:.3}, worst twentieth of windows {worst:.3}, p95 {p95:.3}");
            assert!((0.93..=0.97).contains(&all), "{name}: {all}");
            assert!(worst >= 0.85, "{name}: {worst}");
            assert!((0.93..=0.97).contains(&p95), "{name}: {p95}");
        }
    }

    #[test]
    fn they_cover_what_they_promise() {
        check("steady", |_, noise| 0.15 * noise.normal());
        check("heavy tail", |_, noise| {
            let late = if noise.uniform() < 0.03 { noise.uniform() } else { 0.0 };
            0.12 * noise.normal() + late
        });
        check("noisier every now and then", |step, noise| {
            let spread = if step / 400 % 2 == 0 { 0.1 } else { 0.3 };
            spread * noise.normal()
        });
        // The speed changes by up to two about every 200 outcomes; the level follows in some.
        check("drift", |step, noise| {
            let since = step % 200;
            let change = if step / 200 % 2 == 0 { 0.7 } else { -0.7 };
            0.12 * noise.normal() + change * 0.7_f64.powf(since as f64)
        });
    }

    proptest! {
        #[test]
        fn b05_whatever_comes_the_interval_is_finite_and_in_order(
            residuals in prop::collection::vec(prop_oneof![any::<f64>(), -1.0..1.0], 0..400),
        ) {
            let (mut intervals, everybody) = (Intervals::default(), Intervals::default());
            for residual in residuals {
                let expected = intervals.interval(&everybody, 1.0, 0.0, None);
                intervals.learn(residual, expected, 1.0, 0.0, 0.0);
            }
            let LogInterval { low, high, p95, .. } = intervals.interval(&everybody, 1.0, 0.0, None);
            prop_assert!(low.is_finite() && high.is_finite() && p95.is_finite());
            prop_assert!(low <= p95 && low <= high, "{low} {p95} {high}");
            prop_assert!(intervals.is_whole());
        }
    }
}
