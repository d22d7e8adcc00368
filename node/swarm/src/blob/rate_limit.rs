//! How fast packages may move: a token bucket, as the virtual scheduling form of the generic cell rate algorithm (ITU-T
//! I.371): all that is kept is the moment at which the bucket is full again. It is too small for a crate of its own.

use std::{
    num::NonZeroU64,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use p2c2r_protocol::limit::SCENE_CHUNK_BYTES;
use tokio::time::{Instant, sleep_until};

/// The bucket holds what may move in this time, and no less than two chunks.
const BURST: Duration = Duration::from_millis(100);

/// A limit that all transfers in one direction share. Whoever comes first is served first.
#[derive(Debug)]
pub(crate) struct RateLimit {
    bytes_per_s: Option<NonZeroU64>,
    /// When the bucket is full again.
    full_at: Mutex<Option<Instant>>,
}

impl RateLimit {
    /// So many bytes a second; without, no limit.
    pub(crate) fn new(bytes_per_s: Option<NonZeroU64>) -> Self {
        Self { bytes_per_s, full_at: Mutex::new(None) }
    }

    /// Takes so many bytes out of the bucket; says when they may move.
    pub(crate) fn take(&self, bytes: u64, now: Instant) -> Instant {
        let Some(rate) = self.bytes_per_s else { return now };
        let seconds = |bytes: u64| Duration::from_secs_f64(bytes as f64 / rate.get() as f64);
        let burst = BURST.max(seconds(2 * u64::from(SCENE_CHUNK_BYTES)));
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let filled = full_at.map_or(now, |at| at.max(now)) + seconds(bytes);
        *full_at = Some(filled);
        filled.checked_sub(burst).map_or(now, |at| at.max(now))
    }

    /// What was taken did not move after all.
    pub(crate) fn give_back(&self, bytes: u64) {
        let Some(rate) = self.bytes_per_s else { return };
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        *full_at =
            full_at.and_then(|at| at.checked_sub(Duration::from_secs_f64(bytes as f64 / rate.get() as f64)));
    }

    /// Waits until so many bytes may move.
    pub(crate) async fn wait(&self, bytes: u64) {
        if self.bytes_per_s.is_some() {
            sleep_until(self.take(bytes, Instant::now())).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: u64 = SCENE_CHUNK_BYTES as u64;

    #[test]
    fn in_the_long_run_no_more_moves_than_the_limit_allows() {
        let limit = RateLimit::new(NonZeroU64::new(4 * CHUNK));
        let start = Instant::now();
        let mut last = start;
        for _ in 0..40 {
            last = limit.take(CHUNK, last);
        }
        let seconds = (last - start).as_secs_f64();
        // Forty chunks at four a second; the first two are in the bucket.
        assert!((9.4..=9.6).contains(&seconds), "{seconds}");
    }

    #[test]
    fn what_was_not_used_is_not_saved_up() {
        let limit = RateLimit::new(NonZeroU64::new(CHUNK));
        let start = Instant::now();
        limit.take(CHUNK, start);
        let later = start + Duration::from_secs(1000);
        let third = (0..3).map(|_| limit.take(CHUNK, later)).last();
        assert_eq!(
            third,
            Some(later + Duration::from_secs(1)),
            "two are in the bucket, however long it stood"
        );
        let free = RateLimit::new(None);
        assert_eq!(free.take(u64::MAX, start), start);
    }
}
