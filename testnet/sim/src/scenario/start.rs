//! The wall clock at the beginning of a scenario.

use serde::Deserialize;
use toml::value::{Datetime, Offset};

/// ms of a day.
const DAY_MS: f64 = 86_400_000.0;

/// A moment of the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct Start {
    /// Since 1970 in UTC, ms.
    pub unix_ms: f64,
}

impl Default for Start {
    /// Noon of the first day of 2026, UTC.
    fn default() -> Self {
        Self { unix_ms: days_since_1970(2026, 1, 1) as f64 * DAY_MS + DAY_MS / 2.0 }
    }
}

impl TryFrom<String> for Start {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let malformed = || format!("`{text}` is no moment such as 2026-01-01T19:30:00Z");
        let moment: Datetime = text.parse().map_err(|_| malformed())?;
        let (Some(date), Some(time), Some(offset)) = (moment.date, moment.time, moment.offset) else {
            return Err(malformed());
        };
        let offset_minutes = match offset {
            Offset::Z => 0,
            Offset::Custom { minutes } => minutes,
        };
        let minutes = f64::from(time.hour) * 60.0 + f64::from(time.minute) - f64::from(offset_minutes);
        let seconds = minutes * 60.0 + time.second.map_or(0.0, f64::from);
        let days = days_since_1970(i64::from(date.year), i64::from(date.month), i64::from(date.day));
        let parts_ms = time.nanosecond.map_or(0.0, |nanoseconds| f64::from(nanoseconds) / 1e6);
        Ok(Self { unix_ms: days as f64 * DAY_MS + seconds * 1e3 + parts_ms })
    }
}

impl Start {
    /// Hour of day (UTC) so many ms later, parts of an hour included.
    pub fn hour_after(self, ms: f64) -> f64 {
        (self.unix_ms + ms).rem_euclid(DAY_MS) / 3_600_000.0
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar (Hinnant, "chrono-compatible low-level date algorithms").
const fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read() {
        for (text, unix_s) in [
            ("1970-01-01T00:00:00Z", 0.0),
            ("2000-02-29T12:00:00Z", 951_825_600.0),
            ("2026-01-01T19:30:00Z", 1_767_295_800.0),
            ("2026-01-01T19:30:00+01:00", 1_767_292_200.0),
            ("2026-12-31T23:59:59.5Z", 1_798_761_599.5),
        ] {
            assert_eq!(Start::try_from(text.to_owned()), Ok(Start { unix_ms: unix_s * 1e3 }), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in ["", "noon", "2026-01-01", "19:30:00", "2026-01-01T19:30:00", "2026-13-01T00:00:00Z"] {
            assert!(Start::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn hours_go_round() {
        let start = Start::try_from("2026-01-01T19:30:00Z".to_owned()).unwrap();
        assert!((start.hour_after(0.0) - 19.5).abs() < 1e-9);
        assert!((start.hour_after(5.0 * 3_600_000.0) - 0.5).abs() < 1e-9);
    }
}
