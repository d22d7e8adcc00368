//! How fast frames follow each other, and the moments that this gives them: fractions and whole numbers only, so that a
//! frame's moment is the same on every machine.

use std::{fmt, str::FromStr};

use p2c2r_protocol::tile::{GeometryError, SceneTime};
use serde::{Deserialize, Serialize};

/// Slowest rate: a frame in so many seconds.
const MAX_SECONDS_A_FRAME: u64 = 1000;
/// Fastest rate, frames a second.
const MAX_FRAMES_A_SECOND: u64 = 1000;
/// Most digits behind the point of a rate.
const MAX_DECIMALS: usize = 6;
/// Microseconds of a second.
const US: u128 = 1_000_000;

/// A text that is no rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected frames per second such as 24, 29.97 or 30000/1001, from 1/{MAX_SECONDS_A_FRAME} to {MAX_FRAMES_A_SECOND}"
)]
pub struct RateError;

/// Frames a second, as a fraction: `frames` of them take `seconds`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FrameRate {
    frames: u32,
    seconds: u32,
}

impl FrameRate {
    /// What films have.
    pub const FILM: Self = Self { frames: 24, seconds: 1 };

    /// A rate within the limits.
    fn new(frames: u32, seconds: u32) -> Result<Self, RateError> {
        let (many, long) = (u64::from(frames), u64::from(seconds));
        let is_slow = many * MAX_SECONDS_A_FRAME < long;
        let is_fast = many > long * MAX_FRAMES_A_SECOND;
        if frames == 0 || seconds == 0 || is_slow || is_fast {
            Err(RateError)
        } else {
            Ok(Self { frames, seconds })
        }
    }

    /// The moment of a frame: its number divided by the rate, rounded to the nearest microsecond, halves up.
    pub fn time_of(self, frame: u32) -> Result<SceneTime, GeometryError> {
        let (frames, seconds) = (u128::from(self.frames), u128::from(self.seconds));
        let us = (2 * u128::from(frame) * seconds * US + frames) / (2 * frames);
        SceneTime::from_us(u64::try_from(us).unwrap_or(u64::MAX))
    }
}

impl FromStr for FrameRate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        if let Some((frames, seconds)) = text.split_once('/') {
            return Self::new(digits(frames)?, digits(seconds)?);
        }
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        if decimals.len() > MAX_DECIMALS {
            return Err(RateError);
        }
        let parts = 10_u32.pow(decimals.len() as u32);
        let (whole, decimals) = (digits(whole)?, digits(decimals)?);
        let frames = whole.checked_mul(parts).and_then(|whole| whole.checked_add(decimals));
        Self::new(frames.ok_or(RateError)?, parts)
    }
}

/// A number without sign.
fn digits(text: &str) -> Result<u32, RateError> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain).ok_or(RateError)
}

impl fmt::Display for FrameRate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.frames, self.seconds)
    }
}

impl TryFrom<String> for FrameRate {
    type Error = RateError;

    fn try_from(text: String) -> Result<Self, RateError> {
        text.parse()
    }
}

impl From<FrameRate> for String {
    fn from(rate: FrameRate) -> Self {
        rate.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(rate: &str, frame: u32) -> u64 {
        rate.parse::<FrameRate>().unwrap().time_of(frame).unwrap().us()
    }

    #[test]
    fn moments_are_exact_to_the_nearest_microsecond() {
        assert_eq!(us("24", 0), 0);
        assert_eq!(us("24", 1), 41_667);
        assert_eq!(us("24", 24), 1_000_000);
        assert_eq!(us("24", 24 * 3600), 3600 * 1_000_000);
        assert_eq!(us("30000/1001", 30_000), 1_001_000_000);
        assert_eq!(us("30000/1001", 1), 33_367);
        assert_eq!(us("29.97", 2997), 100_000_000);
        assert_eq!(us("0.5", 3), 6_000_000);
        assert_eq!(us("64", 1), 15_625);
        assert_eq!(us("800/3", 3), 11_250);
        assert_eq!(us("400000/999", 1), 2498, "2497.5");
    }

    #[test]
    fn the_same_rate_in_other_words_gives_the_same_moments() {
        for frame in [0, 1, 2, 3, 1000, 99_999] {
            assert_eq!(us("25", frame), us("25.0", frame));
            assert_eq!(us("25", frame), us("50/2", frame));
            assert_eq!(us("12.5", frame), us("25/2", frame));
        }
    }

    #[test]
    fn rates_that_are_none_or_out_of_range_are_refused() {
        for text in [
            "",
            "0",
            "0.0",
            "-24",
            "+24",
            "24fps",
            "nan",
            "inf",
            "1e3",
            ".",
            "24.",
            ".5",
            "1/0",
            "0/1",
            "/",
            "24/",
            "/1",
            "1000.1",
            "1001",
            "1/1001",
            "0.0009",
            "0.0000001",
            "4294967296",
            "4294967295.999999",
            "1/2/3",
            "24,0",
        ] {
            assert_eq!(text.parse::<FrameRate>(), Err(RateError), "{text}");
        }
        for text in ["1000", "0.001", "1/1000", "23.976", "24000/1001"] {
            let rate: FrameRate = text.parse().unwrap();
            assert_eq!(rate.to_string().parse(), Ok(rate), "{text}");
        }
    }
}
