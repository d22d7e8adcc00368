//! Which frames: `A..=B`, or one.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use serde::{Deserialize, Serialize};

/// Most frames of a sequence: more than an hour.
pub const MAX_FRAMES: u32 = 100_000;
/// Largest number of a frame.
pub const MAX_FRAME_NUMBER: u32 = 9_999_999;

/// Why a text names no frames.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RangeError {
    /// Neither a range nor a number.
    #[error(
        "expected frames such as 1..=240, or a single one such as 12; numbers from 0 to {MAX_FRAME_NUMBER}"
    )]
    Malformed,
    /// It ends before it begins.
    #[error("the frames end before they begin: the first is {first}, the last {last}")]
    Backwards {
        /// The first, as asked for.
        first: u32,
        /// The last, as asked for.
        last: u32,
    },
    /// Too many at once.
    #[error("{0} frames are too many for one sequence (at most {MAX_FRAMES}); render it in parts")]
    TooMany(u32),
}

/// Frames one after the other: 1 to [`MAX_FRAMES`] of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FrameRange {
    first: u32,
    last: u32,
}

impl FrameRange {
    /// The number of the last.
    pub const fn last(self) -> u32 {
        self.last
    }

    /// How many there are.
    pub const fn count(self) -> u32 {
        self.last - self.first + 1
    }

    /// Their numbers.
    pub const fn numbers(self) -> RangeInclusive<u32> {
        self.first..=self.last
    }
}

impl FromStr for FrameRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let number = |part: &str| {
            let is_plain = part.bytes().all(|byte| byte.is_ascii_digit());
            let number = part.parse().ok().filter(|number| is_plain && *number <= MAX_FRAME_NUMBER);
            number.ok_or(RangeError::Malformed)
        };
        let (first, last) = match text.split_once("..=") {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(text)?, number(text)?),
        };
        if first > last {
            return Err(RangeError::Backwards { first, last });
        }
        let range = Self { first, last };
        if range.count() > MAX_FRAMES { Err(RangeError::TooMany(range.count())) } else { Ok(range) }
    }
}

impl fmt::Display for FrameRange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}..={}", self.first, self.last)
    }
}

impl TryFrom<String> for FrameRange {
    type Error = RangeError;

    fn try_from(text: String) -> Result<Self, RangeError> {
        text.parse()
    }
}

impl From<FrameRange> for String {
    fn from(range: FrameRange) -> Self {
        range.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<(u32, u32), RangeError> {
        text.parse::<FrameRange>().map(|range| (*range.numbers().start(), range.last()))
    }

    #[test]
    fn ranges_and_single_frames_are_read() {
        assert_eq!(parsed("1..=240"), Ok((1, 240)));
        assert_eq!(parsed("7"), Ok((7, 7)));
        assert_eq!(parsed("0..=0"), Ok((0, 0)));
        assert_eq!("1..=240".parse::<FrameRange>().unwrap().count(), 240);
        let told: FrameRange = serde_json::from_str("\"3..=4\"").unwrap();
        assert_eq!(serde_json::to_string(&told).unwrap(), "\"3..=4\"");
    }

    #[test]
    fn whatever_names_no_frames_is_refused() {
        for text in
            ["", "..=", "1..=", "..=5", "1..5", "1-5", "-1", "+1", " 1", "1.5", "a", "1..=2..=3", "10000000"]
        {
            assert_eq!(parsed(text), Err(RangeError::Malformed), "{text}");
        }
        assert_eq!(parsed("5..=4"), Err(RangeError::Backwards { first: 5, last: 4 }));
        assert_eq!(parsed("1..=100000"), Ok((1, MAX_FRAMES)));
        assert_eq!(parsed("0..=100000"), Err(RangeError::TooMany(MAX_FRAMES + 1)));
        assert!(serde_json::from_str::<FrameRange>("\"0..=4294967295\"").is_err());
    }
}
