//! What a contributor's line brings, as it is measured while results come in.

use std::sync::atomic::Ordering;

use p2c2r_swarm::Traffic;

/// Weight of the newest measurement in the running mean.
const NEWEST_WEIGHT: f32 = 0.5;
/// On a line that brings less, bytes per ms, pixels come compressed: a quarter less to be sent takes longer to save on one
/// that is faster, and the processor has better things to do.
const COMPRESS_BELOW: f32 = 25_000.0;
/// Less than this tells nothing.
const MIN_MEASURED_BYTES: f32 = 128.0 * 1024.0;

/// A line, from a contributor to here.
#[derive(Debug, Default)]
pub struct Line {
    /// Bytes per ms; 0: not measured yet.
    bytes_per_ms: f32,
    /// What had come when that was measured last.
    bytes: u64,
    /// In what time, µs.
    elapsed_us: u64,
}

impl Line {
    /// What it brings, bytes per ms; 0: not measured yet.
    pub fn bytes_per_ms(&self) -> f32 {
        self.bytes_per_ms
    }

    /// Whether pixels are sooner here if they are compressed over there.
    pub fn is_slow(&self) -> bool {
        self.bytes_per_ms > 0.0 && self.bytes_per_ms < COMPRESS_BELOW
    }

    /// Takes in what has come since the last time, unless that is too little to tell.
    pub fn measure(&mut self, traffic: &Traffic) {
        let all_bytes = traffic.line_bytes.load(Ordering::Relaxed);
        let all_us = traffic.line_us.load(Ordering::Relaxed);
        let bytes = all_bytes.saturating_sub(self.bytes) as f32;
        let elapsed_us = all_us.saturating_sub(self.elapsed_us) as f32;
        if bytes < MIN_MEASURED_BYTES || elapsed_us <= 0.0 {
            return;
        }
        (self.bytes, self.elapsed_us) = (all_bytes, all_us);
        let newest = bytes / elapsed_us * 1e3;
        let before = if self.bytes_per_ms > 0.0 { self.bytes_per_ms } else { newest };
        self.bytes_per_ms = before + NEWEST_WEIGHT * (newest - before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_line_brings_is_measured_when_there_is_enough_to_tell() {
        let (traffic, mut line) = (Traffic::default(), Line::default());
        let mut brings = |bytes, us| {
            traffic.line_bytes.fetch_add(bytes, Ordering::Relaxed);
            traffic.line_us.fetch_add(us, Ordering::Relaxed);
            line.measure(&traffic);
            line.bytes_per_ms()
        };
        assert!(brings(1000, 10) == 0.0, "too little");
        assert!((brings(999_000, 990_089) - 1010.0).abs() < 0.1);
        assert!((brings(2_020_000, 1_000_000) - 1515.0).abs() < 0.1, "half of the way to twice as much");
        assert!((brings(0, 9_000_000) - 1515.0).abs() < 0.1, "nothing came");
        assert!(line.is_slow() && !Line::default().is_slow());
    }
}
