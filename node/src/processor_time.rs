//! How much processor time was used: on a busy machine it says more than the clock on the wall.

use std::time::{Duration, Instant};

/// Whose time is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Processor {
    /// That of the clock on the wall: work is done elsewhere, on a graphics device.
    Wall,
    /// That of this process, all of its threads.
    Process,
    /// That of the calling thread.
    Thread,
}

impl Processor {
    /// Processor time so far; none where the system does not tell.
    #[cfg(unix)]
    pub fn used(self) -> Option<Duration> {
        use rustix::time::{ClockId, clock_gettime};

        let used = clock_gettime(match self {
            Self::Wall => return None,
            Self::Process => ClockId::ProcessCPUTime,
            Self::Thread => ClockId::ThreadCPUTime,
        });
        let whole = Duration::from_secs(used.tv_sec.try_into().ok()?);
        Some(whole + Duration::from_nanos(used.tv_nsec.try_into().ok()?))
    }

    /// Processor time so far; none where the system does not tell.
    #[cfg(not(unix))]
    pub fn used(self) -> Option<Duration> {
        None
    }
}

/// Times a piece of work.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch {
    processor: Processor,
    began: Instant,
    used_before: Option<Duration>,
}

impl Stopwatch {
    /// From now on.
    pub fn start(processor: Processor) -> Self {
        Self { processor, began: Instant::now(), used_before: processor.used() }
    }

    /// When it was started.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// What the work has taken by now without the time that other programs took: processor time, or the time on the wall if
    /// that is less, as it is where several threads are at work.
    pub fn busy(&self) -> Duration {
        self.read().1
    }

    /// Time on the wall by now, and of it what [`Self::busy`] says: both of the same moment.
    pub fn read(&self) -> (Duration, Duration) {
        let elapsed = self.began.elapsed();
        let used = self.used_before.zip(self.processor.used());
        (elapsed, used.map_or(elapsed, |(before, now)| elapsed.min(now.saturating_sub(before))))
    }

    /// Until when a machine that takes so many times as long as this one would be at the work.
    pub fn done_at(&self, factor: f32) -> Instant {
        self.began + self.busy().mul_f32(factor.max(1.0))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn work() {
        let sum: u64 = (0..20_000_000_u64).fold(0, |sum, number| std::hint::black_box(sum ^ number));
        std::hint::black_box(sum);
    }

    #[test]
    fn work_takes_processor_time() {
        for processor in [Processor::Process, Processor::Thread] {
            let before = processor.used();
            work();
            assert!(processor.used() > before, "{before:?}");
        }
    }

    #[test]
    fn sleep_takes_none() {
        let watch = Stopwatch::start(Processor::Thread);
        let on_the_wall = Stopwatch::start(Processor::Wall);
        std::thread::sleep(Duration::from_millis(200));
        assert!(watch.busy() < Duration::from_millis(150), "{:?}", watch.busy());
        assert!(on_the_wall.busy() >= Duration::from_millis(200));
        assert!(watch.done_at(3.0) < watch.began() + Duration::from_millis(450));
    }
}
