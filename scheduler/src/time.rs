//! Time as the caller tells it.

use std::ops::{Add, Sub};

use serde::{Deserialize, Serialize};

/// Milliseconds since a moment that the caller chose; never goes backwards.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, Serialize, Deserialize)]
pub struct TimeMs(pub f64);

impl Add<f64> for TimeMs {
    type Output = Self;

    fn add(self, ms: f64) -> Self {
        Self(self.0 + ms)
    }
}

impl Sub for TimeMs {
    type Output = f64;

    fn sub(self, earlier: Self) -> f64 {
        self.0 - earlier.0
    }
}
