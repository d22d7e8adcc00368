//! How much processor time this process has used: on a busy machine it says more than the clock on the wall.

/// Seconds of processor time of all threads so far; none where the system does not tell.
#[cfg(unix)]
#[allow(clippy::unnecessary_wraps, reason = "other systems do not tell")]
pub fn used_s() -> Option<f64> {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Some(used.tv_sec as f64 + used.tv_nsec as f64 / 1e9)
}

/// Seconds of processor time of all threads so far; none where the system does not tell.
#[cfg(not(unix))]
pub fn used_s() -> Option<f64> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn work_takes_processor_time() {
        let before = used_s();
        let sum: u64 = (0..20_000_000_u64).fold(0, |sum, number| std::hint::black_box(sum ^ number));
        std::hint::black_box(sum);
        assert!(used_s() > before, "{before:?}");
    }
}
