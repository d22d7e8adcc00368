//! One direction of a line: what becomes of a frame, and when it comes out. Knows no clock and no device.

use fastrand::Rng;

/// What a line does to frames.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LineSpec {
    /// From one end to the other, ms.
    pub delay_ms: f64,
    /// The delay varies by up to so much in both directions, most often by little (a triangular distribution), ms. Frames
    /// keep their order: one that would overtake waits.
    pub jitter_ms: f64,
    /// Share of the frames that are lost, 0 to 1.
    pub loss_share: f64,
    /// Share of the frames that come twice, 0 to 1.
    pub duplicate_share: f64,
    /// Share of the frames that overtake all others: they have no delay, 0 to 1.
    pub reorder_share: f64,
    /// What goes through at most, Mbit/s; everything if not said.
    pub rate_mbit: Option<f64>,
    /// Frames that would wait longer for their turn are dropped, ms: the buffer of a router.
    pub queue_ms: f64,
    /// Nothing goes through.
    pub is_cut: bool,
}

impl Default for LineSpec {
    fn default() -> Self {
        Self {
            delay_ms: 0.0,
            jitter_ms: 0.0,
            loss_share: 0.0,
            duplicate_share: 0.0,
            reorder_share: 0.0,
            rate_mbit: None,
            queue_ms: 200.0,
            is_cut: false,
        }
    }
}

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The line loses it.
    Lost,
    /// The buffer is full.
    Dropped,
    /// It comes out then, µs on the caller's clock.
    Out {
        /// When.
        at_us: u64,
        /// Whether it comes twice.
        twice: bool,
    },
}

/// A direction of a line.
#[derive(Debug, Clone)]
pub struct Line {
    spec: LineSpec,
    random: Rng,
    /// When the last frame has left the buffer, µs.
    free_at_us: f64,
    /// When the last frame that keeps its order comes out, µs.
    last_out_us: f64,
}

impl Line {
    /// A line on which nothing is under way.
    pub fn new(spec: LineSpec, seed: u64) -> Self {
        Self { spec, random: Rng::with_seed(seed), free_at_us: 0.0, last_out_us: 0.0 }
    }

    /// Changes the line for the frames that come.
    pub fn set(&mut self, spec: LineSpec) {
        self.spec = spec;
        // What waited for a slow line leaves through the new one.
        self.free_at_us = 0.0;
    }

    /// A frame of so many bytes enters now.
    pub fn enter(&mut self, now_us: u64, bytes: usize) -> Fate {
        let spec = self.spec;
        if spec.is_cut || self.random.f64() < spec.loss_share {
            return Fate::Lost;
        }
        let now_us = now_us as f64;
        let mut leaves_us = now_us.max(self.free_at_us);
        if let Some(rate_mbit) = spec.rate_mbit {
            if leaves_us - now_us > spec.queue_ms * 1e3 {
                return Fate::Dropped;
            }
            // A Mbit/s is a bit in a µs.
            leaves_us += bytes as f64 * 8.0 / rate_mbit.max(1e-6);
            self.free_at_us = leaves_us;
        }
        let twice = self.random.f64() < spec.duplicate_share;
        if self.random.f64() < spec.reorder_share {
            return Fate::Out { at_us: leaves_us as u64, twice };
        }
        let jitter_ms = (self.random.f64() + self.random.f64() - 1.0) * spec.jitter_ms;
        let out_us = leaves_us + (spec.delay_ms + jitter_ms).max(0.0) * 1e3;
        self.last_out_us = self.last_out_us.max(out_us);
        Fate::Out { at_us: self.last_out_us as u64, twice }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FRAMES: u64 = 20_000;
    const BYTES: usize = 1250;

    /// Fates of frames that enter one after the other, so many µs apart; each with when it entered.
    fn fates(spec: LineSpec, gap_us: u64) -> Vec<(u64, Fate)> {
        let mut line = Line::new(spec, 7);
        (0..FRAMES).map(|frame| (frame * gap_us, line.enter(frame * gap_us, BYTES))).collect()
    }

    fn outs(fates: &[(u64, Fate)]) -> Vec<(u64, u64)> {
        let out = |(entered, fate): &(u64, Fate)| match fate {
            Fate::Out { at_us, .. } => Some((*entered, *at_us)),
            _ => None,
        };
        fates.iter().filter_map(out).collect()
    }

    fn share(count: usize) -> f64 {
        count as f64 / FRAMES as f64
    }

    #[test]
    fn a_line_that_nothing_is_wrong_with_passes_everything_at_once() {
        assert!(outs(&fates(LineSpec::default(), 10)).iter().all(|(entered, out)| entered == out));
    }

    #[test]
    fn frames_are_late_by_the_delay_and_vary_by_the_jitter() {
        let spec = LineSpec { delay_ms: 50.0, jitter_ms: 20.0, ..LineSpec::default() };
        // So far apart that none would overtake.
        let delays: Vec<f64> =
            outs(&fates(spec, 50_000)).iter().map(|(entered, out)| (out - entered) as f64 / 1e3).collect();
        let mean = delays.iter().sum::<f64>() / delays.len() as f64;
        let variance = delays.iter().map(|delay| (delay - mean).powi(2)).sum::<f64>() / delays.len() as f64;
        assert!((mean - 50.0).abs() < 0.5, "{mean}");
        assert!(delays.iter().all(|delay| (30.0..=70.0).contains(delay)));
        // Of a triangle that is 20 wide to each side: 20 / sqrt 6.
        assert!((variance.sqrt() - 8.16).abs() < 0.3, "{}", variance.sqrt());
    }

    #[test]
    fn as_many_are_lost_and_doubled_as_were_asked_for() {
        let spec = LineSpec { loss_share: 0.05, duplicate_share: 0.1, ..LineSpec::default() };
        let fates = fates(spec, 10);
        let lost = fates.iter().filter(|(_, fate)| *fate == Fate::Lost).count();
        let twice = fates.iter().filter(|(_, fate)| matches!(fate, Fate::Out { twice: true, .. })).count();
        assert!((share(lost) - 0.05).abs() < 0.006, "{lost}");
        assert!((share(twice) - 0.095).abs() < 0.008, "{twice}");
    }

    #[test]
    fn jitter_alone_does_not_reorder_and_reordering_does() {
        let overtaken = |spec| {
            let outs = outs(&fates(spec, 100));
            outs.windows(2).filter(|pair| pair[1].1 < pair[0].1).count()
        };
        let jitter = LineSpec { delay_ms: 20.0, jitter_ms: 10.0, ..LineSpec::default() };
        assert_eq!(overtaken(jitter), 0);
        let share = share(overtaken(LineSpec { reorder_share: 0.1, ..jitter }));
        assert!(
            (share - 0.09).abs() < 0.02,
            "those that follow one that overtook are not overtaken by it: {share}"
        );
    }

    #[test]
    fn the_rate_is_kept_and_the_buffer_is_as_deep_as_it_says() {
        let spec = LineSpec { rate_mbit: Some(10.0), queue_ms: 50.0, ..LineSpec::default() };
        // Twice as much as goes through: a frame of 1250 bytes takes a ms.
        let fates = fates(spec, 500);
        let outs = outs(&fates);
        let seconds = outs.last().unwrap().1 as f64 / 1e6;
        let mbit = outs.len() as f64 * BYTES as f64 * 8.0 / 1e6 / seconds;
        assert!((mbit - 10.0).abs() < 0.1, "{mbit}");
        assert!(
            outs.iter().all(|(entered, out)| out - entered <= 51_001),
            "no longer than the buffer and itself"
        );
        let dropped = fates.iter().filter(|(_, fate)| *fate == Fate::Dropped).count();
        assert!((share(dropped) - 0.5).abs() < 0.01);
    }

    #[test]
    fn a_cut_line_passes_nothing_until_it_is_mended() {
        let mut line = Line::new(LineSpec { is_cut: true, ..LineSpec::default() }, 1);
        assert_eq!(line.enter(5, BYTES), Fate::Lost);
        line.set(LineSpec::default());
        assert_eq!(line.enter(6, BYTES), Fate::Out { at_us: 6, twice: false });
    }

    proptest! {
        #[test]
        fn nothing_comes_out_before_it_enters(
            delay_ms in 0.0_f64..200.0,
            jitter_ms in 0.0_f64..300.0,
            reorder_share in 0.0_f64..1.0,
            rate_mbit in prop::option::of(0.1_f64..1000.0),
            gaps in prop::collection::vec(0_u64..5000, 1..200),
            seed: u64,
        ) {
            let spec = LineSpec { delay_ms, jitter_ms, reorder_share, rate_mbit, ..LineSpec::default() };
            let mut line = Line::new(spec, seed);
            let mut now_us = 0;
            for gap in gaps {
                now_us += gap;
                if let Fate::Out { at_us, .. } = line.enter(now_us, BYTES) {
                    prop_assert!(at_us >= now_us);
                }
            }
        }
    }
}
