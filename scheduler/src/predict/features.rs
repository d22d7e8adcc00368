//! What the models see of a task at a peer: always finite, whatever came in.

use p2c2r_protocol::id::WorkKind;
use serde::{Deserialize, Serialize};

use super::TaskFeatures;
use crate::peer::PeerView;

/// Features of the time model's trees.
pub const TIME_FEATURES: usize = 20;
/// Features of the failure model's trees.
pub const FAILURE_FEATURES: usize = 12;
/// Terms of the time model's linear part.
pub const LOAD_TERMS: usize = 7;
/// Where the hour's sine, the hour's cosine and the day of the week are among the time features.
pub const CLOCK_FEATURES: std::ops::Range<usize> = 11..14;
/// Costs outside are no costs.
pub const SANE_COST: std::ops::RangeInclusive<f64> = 1e-6..=1e18;
/// Times outside are no measurements, ms.
pub const SANE_MS: std::ops::RangeInclusive<f64> = 1e-6..=1e9;
/// Milliseconds of a day.
pub const DAY_MS: f64 = 86_400_000.0;
/// Longest that a transfer is expected to take, ms.
const MAX_TRANSFER_MS: f64 = 60_000.0;
/// Failures that are older than this are all the same, s.
const MAX_SINCE_FAILURE_S: f32 = 604_800.0;

/// A task and the peer that it is for, as they were when it was offered. Every number is finite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// When it was offered, ms since 1970.
    pub at_unix_ms: f64,
    /// The kind of work.
    pub kind: WorkKind,
    /// Estimated cost, rays.
    pub cost: f32,
    /// Pixels of the tile.
    pub pixels: f32,
    /// Bytes of the result.
    pub bytes: f32,
    /// Time until the result of the last task that it holds is expected, ms.
    pub backlog_ms: f32,
    /// Tasks of ours that the peer holds already.
    pub in_flight: f32,
    /// Tasks that wait there, of all coordinators.
    pub queued: f32,
    /// Round trip, ms.
    pub round_trip_ms: f32,
    /// Mean deviation of the round trip, ms.
    pub jitter_ms: f32,
    /// Bandwidth from it to here, bytes per ms; 0: unknown.
    pub bytes_per_ms: f32,
    /// Share of the device that is busy.
    pub utilisation: f32,
    /// Share of the processor time that is used.
    pub cpu_load: f32,
    /// Share of the memory that is used.
    pub memory_pressure: f32,
    /// Share of the clock speed that is taken away.
    pub throttle: f32,
    /// Of the device, degrees Celsius; 0: unknown.
    pub temperature_c: f32,
    /// Since its start, s.
    pub uptime_s: f32,
    /// Moving average of its failures.
    pub failure_ema: f32,
    /// Time since its last failure, s.
    pub since_failure_s: f32,
}

/// A peer's last failures.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct FailureTrace {
    /// Moving average, 0 to 1.
    pub ema: f64,
    /// When the last one was, ms since 1970; 0: never.
    pub last_unix_ms: f64,
}

fn sane(value: f32, most: f32) -> f32 {
    if value.is_nan() { 0.0 } else { value.clamp(0.0, most) }
}

fn sane_wide(value: f64, most: f64) -> f32 {
    if value.is_nan() { 0.0 } else { value.clamp(0.0, most) as f32 }
}

impl Sample {
    /// Of a task for a peer.
    pub fn new(
        peer: &PeerView,
        kind: WorkKind,
        features: &TaskFeatures,
        unix_ms_at_zero: f64,
        failures: FailureTrace,
    ) -> Self {
        let at = unix_ms_at_zero + features.at.0;
        let at_unix_ms = if at.is_finite() { at.clamp(0.0, 1e14) } else { 0.0 };
        let since_failure_s = if failures.last_unix_ms > 0.0 {
            sane_wide((at_unix_ms - failures.last_unix_ms) / 1e3, f64::from(MAX_SINCE_FAILURE_S))
        } else {
            MAX_SINCE_FAILURE_S
        };
        let telemetry = &peer.telemetry;
        Self {
            at_unix_ms,
            kind,
            cost: sane_wide(features.cost, *SANE_COST.end()),
            pixels: sane_wide(features.pixels, 1e12),
            bytes: sane_wide(features.bytes, 1e12),
            backlog_ms: sane_wide(features.backlog_ms, 1e7),
            in_flight: features.in_flight.min(10_000) as f32,
            queued: peer.queued.min(10_000) as f32,
            round_trip_ms: sane(peer.round_trip_ms, 1e6),
            jitter_ms: sane(peer.jitter_ms, 1e6),
            bytes_per_ms: sane(peer.bytes_per_ms, 1e9),
            utilisation: sane(telemetry.utilisation, 1.0),
            cpu_load: sane(telemetry.cpu_load, 1.0),
            memory_pressure: sane(telemetry.memory_pressure, 1.0),
            throttle: sane(telemetry.throttle, 1.0),
            temperature_c: sane(telemetry.temperature_c, 200.0),
            uptime_s: sane(telemetry.uptime_s, 1e9),
            failure_ema: sane_wide(failures.ema, 1.0),
            since_failure_s,
        }
    }

    /// Time of the result on the line, ms; 0 if the bandwidth is unknown.
    pub fn transfer_ms(&self) -> f64 {
        if self.bytes_per_ms > 0.0 {
            (f64::from(self.bytes) / f64::from(self.bytes_per_ms)).min(MAX_TRANSFER_MS)
        } else {
            0.0
        }
    }

    /// Round trip and transfer, ms.
    pub fn line_ms(&self) -> f64 {
        f64::from(self.round_trip_ms) + self.transfer_ms()
    }

    /// Tasks of others that wait there.
    pub fn others_queued(&self) -> f64 {
        f64::from((self.queued - self.in_flight).max(0.0))
    }

    /// Whether its cost can be learned from.
    pub fn has_cost(&self) -> bool {
        SANE_COST.contains(&f64::from(self.cost))
    }

    /// The linear terms of the log of execution time; the first is the constant.
    pub fn load_terms(&self) -> [f64; LOAD_TERMS] {
        [
            1.0,
            f64::from(self.in_flight.min(32.0)),
            f64::from((self.in_flight.min(32.0) - 3.0).max(0.0)),
            f64::from(self.utilisation),
            f64::from(self.cpu_load),
            f64::from(self.memory_pressure),
            f64::from(self.throttle),
        ]
    }

    /// What the time model's trees see.
    pub fn time_row(&self) -> [f32; TIME_FEATURES] {
        let day = self.at_unix_ms / DAY_MS;
        let hour_angle = (day.fract() as f32) * std::f32::consts::TAU;
        [
            self.kind as u8 as f32,
            self.cost.ln_1p(),
            self.pixels.ln_1p(),
            self.bytes.ln_1p(),
            self.in_flight,
            self.utilisation,
            self.cpu_load,
            self.memory_pressure,
            self.throttle,
            self.round_trip_ms.ln_1p(),
            self.jitter_ms.ln_1p(),
            hour_angle.sin(),
            hour_angle.cos(),
            // The first of January 1970 was a Thursday; only that the week repeats matters.
            (day.floor() % 7.0) as f32,
            self.failure_ema,
            self.since_failure_s.ln_1p(),
            self.others_queued() as f32,
            self.temperature_c,
            (self.transfer_ms() as f32).ln_1p(),
            self.backlog_ms.ln_1p(),
        ]
    }

    /// What the failure model's trees see.
    pub fn failure_row(&self) -> [f32; FAILURE_FEATURES] {
        [
            self.utilisation,
            self.throttle,
            self.temperature_c,
            self.failure_ema,
            self.jitter_ms.ln_1p(),
            self.uptime_s.ln_1p(),
            self.in_flight,
            self.since_failure_s.ln_1p(),
            self.cpu_load,
            self.memory_pressure,
            self.others_queued() as f32,
            self.cost.ln_1p(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use p2c2r_protocol::id::NodeId;
    use proptest::prelude::*;

    use super::*;
    use crate::{peer::Telemetry, time::TimeMs};

    proptest! {
        #[test]
        fn b05_whatever_comes_in_every_feature_is_finite(
            peer in prop::array::uniform9(any::<f32>()),
            task in prop::array::uniform5(any::<f64>()),
            counts in prop::array::uniform2(any::<u32>()),
        ) {
            let [round_trip_ms, jitter_ms, bytes_per_ms, utilisation, cpu_load, memory_pressure, throttle,
                temperature_c, uptime_s] = peer;
            let telemetry =
                Telemetry { utilisation, cpu_load, memory_pressure, throttle, temperature_c, uptime_s };
            let node = NodeId::from_public_key([1; 32]);
            let peer = PeerView {
                round_trip_ms, jitter_ms, bytes_per_ms, queued: counts[0], telemetry, ..PeerView::unknown(node)
            };
            let [cost, pixels, bytes, backlog_ms, at] = task;
            let features =
                TaskFeatures { cost, pixels, bytes, backlog_ms, in_flight: counts[1], at: TimeMs(at) };
            let trace = FailureTrace { ema: cost, last_unix_ms: at };
            let sample = Sample::new(&peer, WorkKind::Ai, &features, at, trace);
            prop_assert!(sample.time_row().iter().all(|value| value.is_finite()));
            prop_assert!(sample.failure_row().iter().all(|value| value.is_finite()));
            prop_assert!(sample.load_terms().iter().all(|value| value.is_finite()));
            prop_assert!(sample.line_ms().is_finite());
        }
    }
}
