//! What a peer is like: its speed, its owner's own use, its moods, its failures.
//!
//! Everything here is a function of the scenario, the seed and the time. Whoever knows these can have a copy of his own:
//! the oracle has one.

use std::collections::VecDeque;

use p2c2r_protocol::id::WorkKind;

use crate::{
    random::{Dice, Purpose},
    scenario::{Background, Failure, Noise, PeerSpec, Start},
};

/// A peer's utilisation moves a little around its background load, standard deviation.
const WIGGLE: f64 = 0.02;
/// And stays where it is for this long, ms.
const WIGGLE_MS: f64 = 1000.0;

/// A peer as it truly is.
#[derive(Debug, Clone)]
pub struct Nature {
    seed: u64,
    index: u64,
    /// As the scenario has it.
    pub spec: PeerSpec,
    /// Factor on its speed that the last event set.
    pub speed_factor: f64,
    /// Stretches of background load that have been drawn: their ends (ms) and loads.
    stretches: VecDeque<(f64, f64)>,
    drawn: u64,
}

/// How one execution goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TaskFate {
    /// Time that it takes, or until it fails, ms.
    pub duration_ms: f64,
    /// Time that it would take if it did not fail, ms.
    pub whole_ms: f64,
    /// Probability with which it had to fail.
    pub failure_probability: f64,
    /// Whether it fails.
    pub fails: bool,
    /// And never says so.
    pub silently: bool,
}

/// What an execution is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Execution {
    /// Kind of work.
    pub kind: WorkKind,
    /// Time that a peer of speed 1 needs, ms.
    pub work_ms: f64,
    /// Tasks that the peer holds, this one included.
    pub in_flight: usize,
    /// The frame, and the how manieth of it at this peer.
    pub occasion: [u64; 2],
}

impl Nature {
    /// The peer of this index.
    pub fn new(seed: u64, index: usize, spec: PeerSpec) -> Self {
        Self { seed, index: index as u64, spec, speed_factor: 1.0, stretches: VecDeque::new(), drawn: 0 }
    }

    /// The coordinator's own device.
    pub fn own_device(seed: u64, index: usize, speed: f64) -> Self {
        let spec = PeerSpec {
            name: "local".into(),
            count: 1,
            latency_ms: 0.0,
            jitter_ms: 0.0,
            bandwidth_mbps: 1e6,
            loss: 0.0,
            speed,
            affinity: std::collections::BTreeMap::new(),
            slots: 1,
            slowdown: None,
            noise: Noise::default(),
            failure: Failure::default(),
            background: None,
            peak: None,
            uplink: None,
            lies: None,
            events: Vec::new(),
            cheats: None,
        };
        Self::new(seed, index, spec)
    }

    /// The load by the owner's own use at a time, 0 to 1. Times may not go back by more than was asked for before.
    pub fn background_load(&mut self, at_ms: f64) -> f64 {
        let Some(background) = self.spec.background else { return 0.0 };
        self.draw_until(at_ms, background);
        let stretch = self.stretches.iter().find(|(end_ms, _)| at_ms < *end_ms);
        stretch.map_or(background.load_low, |(_, load)| *load)
    }

    /// Forgets the stretches of background load that ended before a time.
    pub fn forget_before(&mut self, now_ms: f64) {
        while self.stretches.len() > 1 && self.stretches.front().is_some_and(|(end_ms, _)| *end_ms < now_ms) {
            self.stretches.pop_front();
        }
    }

    fn draw_until(&mut self, at_ms: f64, background: Background) {
        loop {
            let last = self.stretches.back().copied();
            if last.is_some_and(|(end_ms, _)| end_ms > at_ms) {
                return;
            }
            let mut dice = Dice::new(self.seed, Purpose::Background, &[self.index, self.drawn]);
            self.drawn += 1;
            let busy_next = match last {
                // In the long run it is busy for this share of the time.
                None => dice.happens(background.busy_s / (background.idle_s + background.busy_s)),
                Some((_, load)) => load.to_bits() == background.load_low.to_bits(),
            };
            let (mean_s, load) = if busy_next {
                (background.busy_s, background.load_high)
            } else {
                (background.idle_s, background.load_low)
            };
            let from_ms = last.map_or(0.0, |(end_ms, _)| end_ms);
            self.stretches.push_back((from_ms + dice.exponential(mean_s * 1e3).max(1.0), load));
        }
    }

    /// Share of the device that is busy with the owner's own use, as a meter shows it, 0 to 1.
    pub fn utilisation(&mut self, at_ms: f64) -> f64 {
        let load = self.background_load(at_ms);
        if self.spec.background.is_none() {
            return load;
        }
        let stretch = (at_ms / WIGGLE_MS) as u64;
        let wiggle = WIGGLE * Dice::new(self.seed, Purpose::Wiggle, &[self.index, stretch]).normal();
        (load + wiggle).clamp(0.0, 1.0)
    }

    /// Probability that a task that begins now fails.
    pub fn failure_probability(&mut self, at_ms: f64) -> f64 {
        let failure = self.spec.failure;
        match failure.then {
            Some(then) if self.utilisation(at_ms) > failure.when_utilisation_over => then,
            _ => failure.base,
        }
    }

    /// Probability that a task fails, over all times.
    pub fn mean_failure_probability(&self) -> f64 {
        self.spec.failure.base
    }

    /// Its speed for a kind of work while nobody else uses it.
    pub fn full_speed(&self, kind: WorkKind) -> f64 {
        self.spec.speed * self.spec.affinity.get(&kind).copied().unwrap_or(1.0) * self.speed_factor
    }

    /// Its speed for a kind of work now, the owner's own use taken off.
    pub fn speed_now(&mut self, kind: WorkKind, at_ms: f64) -> f64 {
        let slows = self.spec.background.map_or(0.0, |background| background.slows);
        self.full_speed(kind) * (1.0 - slows * self.background_load(at_ms))
    }

    /// Its speed for a kind of work in the long run, all slots together, without noise and failures.
    pub fn mean_speed(&self, kind: WorkKind) -> f64 {
        let share = self.spec.background.map_or(1.0, |own| {
            let busy = own.busy_s / (own.idle_s + own.busy_s);
            1.0 - own.slows * (own.load_high * busy + own.load_low * (1.0 - busy))
        });
        self.full_speed(kind) * share * f64::from(self.spec.slots)
    }

    /// Round trip now without jitter, ms.
    pub fn round_trip_ms(&self, start: Start, at_ms: f64) -> f64 {
        let Some(peak) = self.spec.peak else { return self.spec.latency_ms };
        let hour = start.hour_after(at_ms);
        let (from, to) = (peak.from_hour, peak.to_hour);
        let in_peak = if from <= to { (from..to).contains(&hour) } else { hour >= from || hour < to };
        self.spec.latency_ms * if in_peak { peak.latency_factor } else { 1.0 }
    }

    /// Bytes per ms that it can send.
    pub fn bytes_per_ms(&self) -> f64 {
        self.spec.bandwidth_mbps * 125.0
    }

    /// Factor on the time by the tasks that it holds.
    pub fn slowdown(&self, in_flight: usize) -> f64 {
        self.spec.slowdown.map_or(1.0, |slowdown| {
            let over = (in_flight + 1).saturating_sub(slowdown.from_in_flight as usize);
            1.0 + slowdown.per_task * over as f64
        })
    }

    /// How an execution that begins now goes.
    pub fn execute(&mut self, execution: &Execution, now_ms: f64) -> TaskFate {
        self.forget_before(now_ms);
        let [frame, turn] = execution.occasion;
        let occasion = [self.index, frame, turn];
        let Noise { sigma, tail_probability, tail_factor } = self.spec.noise;
        let mut dice = Dice::new(self.seed, Purpose::Noise, &occasion);
        let mut noise = dice.lognormal(sigma);
        if dice.happens(tail_probability) {
            noise *= tail_factor;
        }
        let undisturbed_ms =
            execution.work_ms * noise * self.slowdown(execution.in_flight) / self.full_speed(execution.kind);
        let whole_ms = self.disturbed_ms(undisturbed_ms, now_ms);
        let failure_probability = self.failure_probability(now_ms);
        let mut dice = Dice::new(self.seed, Purpose::Failure, &occasion);
        let fails = dice.happens(failure_probability);
        let (silently, share) = (dice.happens(self.spec.failure.silent), dice.uniform());
        TaskFate {
            duration_ms: if fails { whole_ms * share } else { whole_ms },
            whole_ms,
            failure_probability,
            fails,
            silently,
        }
    }

    /// Time that something takes which takes so long undisturbed: the owner's use slows it, more and less by turns.
    fn disturbed_ms(&mut self, undisturbed_ms: f64, now_ms: f64) -> f64 {
        let Some(background) = self.spec.background else { return undisturbed_ms };
        let (mut left_ms, mut at_ms) = (undisturbed_ms, now_ms);
        self.draw_until(now_ms, background);
        let mut index = self.stretches.iter().position(|(end_ms, _)| now_ms < *end_ms).unwrap_or(0);
        loop {
            if index >= self.stretches.len() {
                let end_ms = self.stretches.back().map_or(now_ms, |(end_ms, _)| *end_ms);
                self.draw_until(end_ms, background);
            }
            let Some((end_ms, load)) = self.stretches.get(index).copied() else { return left_ms };
            let rate = 1.0 - background.slows * load;
            let here_ms = (end_ms - at_ms).max(0.0);
            if left_ms <= here_ms * rate {
                return at_ms + left_ms / rate - now_ms;
            }
            left_ms -= here_ms * rate;
            at_ms = end_ms;
            index += 1;
        }
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "these numbers are exact")]
mod tests {
    use super::*;
    use crate::scenario::Slowdown;

    fn nature() -> Nature {
        let mut nature = Nature::own_device(7, 3, 2.0);
        nature.spec.background =
            Some(Background { idle_s: 9.0, busy_s: 5.0, load_low: 0.5, load_high: 0.92, slows: 0.6 });
        nature
    }

    fn task(turn: u64) -> Execution {
        Execution { kind: WorkKind::RayTracing, work_ms: 100.0, in_flight: 1, occasion: [0, turn] }
    }

    #[test]
    fn the_background_is_busy_for_its_share_of_the_time() {
        let mut nature = nature();
        let (mut busy, looks) = (0, 200_000);
        for look in 0..looks {
            busy += u32::from(nature.background_load(f64::from(look) * 100.0) > 0.9);
            nature.forget_before(f64::from(look) * 100.0);
        }
        let share = f64::from(busy) / f64::from(looks);
        assert!((share - 5.0 / 14.0).abs() < 0.02, "{share}");
    }

    #[test]
    fn mean_times_are_as_the_mean_speed_says() {
        let mut nature = nature();
        // One long task sees many stretches.
        let fate = nature.execute(&Execution { work_ms: 2e7, ..task(0) }, 0.0);
        let expected = 2e7 / nature.mean_speed(WorkKind::RayTracing);
        assert!((fate.duration_ms / expected - 1.0).abs() < 0.03, "{} {expected}", fate.duration_ms);
    }

    #[test]
    fn noise_has_its_spread_and_its_tail() {
        let mut nature = Nature::own_device(7, 3, 1.0);
        nature.spec.noise = Noise { sigma: 0.12, tail_probability: 0.02, tail_factor: 4.0 };
        let mut times: Vec<f64> =
            (0..20_000).map(|turn| nature.execute(&task(turn), 0.0).duration_ms).collect();
        times.sort_by(f64::total_cmp);
        let tail = times.iter().filter(|time| **time > 250.0).count();
        assert!((300..500).contains(&tail), "{tail}");
        assert!((times[10_000] - 100.0).abs() < 1.0);
        assert!((times[16_800] - 113.0).abs() < 2.0, "one standard deviation: {}", times[16_800]);
    }

    #[test]
    fn failures_depend_on_utilisation() {
        let mut nature = nature();
        nature.spec.background =
            Some(Background { idle_s: 5.0, busy_s: 5.0, load_low: 0.2, load_high: 0.99, slows: 0.0 });
        nature.spec.failure = Failure { base: 0.1, when_utilisation_over: 0.9, then: Some(0.6), silent: 0.3 };
        let (mut failed, mut silent, mut due) = (0.0, 0.0, 0.0);
        for turn in 0..20_000 {
            let fate = nature.execute(&task(turn), turn as f64 * 50.0);
            due += fate.failure_probability;
            failed += f64::from(u8::from(fate.fails));
            silent += f64::from(u8::from(fate.fails && fate.silently));
        }
        assert!((0.3..0.4).contains(&(due / 20_000.0)), "{due}");
        assert!((failed / due - 1.0_f64).abs() < 0.03, "{failed} {due}");
        assert!((silent / failed - 0.3_f64).abs() < 0.02, "{silent} {failed}");
    }

    #[test]
    fn many_tasks_slow_a_peer_down() {
        let mut nature = Nature::own_device(7, 3, 1.0);
        nature.spec.slowdown = Some(Slowdown { from_in_flight: 4, per_task: 0.25 });
        let factors = [1, 3, 4, 6].map(|held| nature.slowdown(held));
        assert_eq!(factors, [1.0, 1.0, 1.25, 1.75]);
    }

    #[test]
    fn peak_hours_may_go_over_midnight() {
        let mut nature = Nature::own_device(7, 3, 1.0);
        nature.spec.latency_ms = 10.0;
        nature.spec.peak = Some(crate::scenario::Peak { from_hour: 23.0, to_hour: 1.0, latency_factor: 3.0 });
        let start = Start::default();
        let at = |hours: f64| nature.round_trip_ms(start, hours * 3_600_000.0);
        assert_eq!([at(0.0), at(11.5), at(12.5), at(13.5)], [10.0, 30.0, 30.0, 10.0]);
    }
}
