//! One outcome as it is kept: 97 bytes.

use p2c2r_protocol::id::WorkKind;

use crate::predict::{
    CancelledFate, OutcomeResult,
    features::{SANE_MS, Sample},
};

/// Bytes of a stored record; the kind is in its key.
pub const RECORD_BYTES: usize = 8 + 4 + 1 + 4 * NUMBERS;
/// `f32` numbers of a record.
const NUMBERS: usize = 21;

/// How a task ended, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Ended {
    /// Verified.
    Success = 0,
    /// Lost, refused with a fault, or not believed.
    Failed = 1,
    /// Not there after all the patience there was.
    GivenUp = 2,
    /// Cancelled when it was done already.
    CancelledFinished = 3,
    /// Cancelled before it was done.
    CancelledUnfinished = 4,
    /// Cancelled when it had failed already.
    CancelledFailed = 5,
}

impl Ended {
    /// Whether it counts as a failure; `None` when it is not known.
    pub const fn failed(self) -> Option<bool> {
        match self {
            Self::Success | Self::CancelledFinished => Some(false),
            Self::Failed | Self::GivenUp | Self::CancelledFailed => Some(true),
            Self::CancelledUnfinished => None,
        }
    }

    /// How an outcome ended, and the waiting and the execution that the peer told of, ms.
    pub const fn of(result: &OutcomeResult) -> (Self, f64, f64) {
        match *result {
            OutcomeResult::Success { queue_ms, execution_ms } => (Self::Success, queue_ms, execution_ms),
            OutcomeResult::Failed => (Self::Failed, 0.0, 0.0),
            OutcomeResult::GivenUp => (Self::GivenUp, 0.0, 0.0),
            OutcomeResult::Cancelled { fate: CancelledFate::Finished } => (Self::CancelledFinished, 0.0, 0.0),
            OutcomeResult::Cancelled { fate: CancelledFate::Unfinished } => {
                (Self::CancelledUnfinished, 0.0, 0.0)
            }
            OutcomeResult::Cancelled { fate: CancelledFate::Failed } => (Self::CancelledFailed, 0.0, 0.0),
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Success,
            1 => Self::Failed,
            2 => Self::GivenUp,
            3 => Self::CancelledFinished,
            4 => Self::CancelledUnfinished,
            5 => Self::CancelledFailed,
            _ => return None,
        })
    }
}

/// One outcome.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Record {
    /// Which of the peer's outcomes it is, counted over all kinds.
    pub sequence: u32,
    /// The task and the peer when it was offered.
    pub sample: Sample,
    /// How it ended.
    pub ended: Ended,
    /// From offer to result or failure, ms.
    pub total_ms: f32,
    /// Waiting at the peer, as it said, ms.
    pub queue_ms: f32,
    /// Execution, as it said, ms.
    pub execution_ms: f32,
    /// Log of execution time over cost that was expected then, without load.
    pub level: f32,
}

impl Record {
    /// Whether a time can be learned from it.
    pub fn has_time(&self) -> bool {
        self.ended == Ended::Success
            && self.execution_ms > 0.0
            && SANE_MS.contains(&f64::from(self.total_ms))
            && self.sample.has_cost()
    }

    /// Whether it says that a time was at least its total.
    pub fn took_at_least(&self) -> bool {
        matches!(self.ended, Ended::GivenUp | Ended::CancelledUnfinished) && self.total_ms > 0.0
    }

    /// Writes it.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.sample.at_unix_ms.to_le_bytes());
        out.extend(self.sequence.to_le_bytes());
        out.push(self.ended as u8);
        for number in self.numbers() {
            out.extend(number.to_le_bytes());
        }
    }

    /// Reads one; `None` if it is none.
    pub fn read(bytes: &[u8; RECORD_BYTES], kind: WorkKind) -> Option<Self> {
        let (at, rest) = bytes.split_first_chunk::<8>()?;
        let (sequence, rest) = rest.split_first_chunk::<4>()?;
        let (ended, rest) = rest.split_first()?;
        let mut numbers = [0.0; NUMBERS];
        for (number, bytes) in numbers.iter_mut().zip(rest.as_chunks::<4>().0) {
            *number = f32::from_le_bytes(*bytes);
        }
        let at_unix_ms = f64::from_le_bytes(*at);
        let finite = at_unix_ms.is_finite() && numbers.iter().all(|number| number.is_finite());
        let ended = Ended::from_byte(*ended)?;
        finite.then(|| Self::from_numbers(u32::from_le_bytes(*sequence), at_unix_ms, kind, ended, numbers))
    }

    fn numbers(&self) -> [f32; NUMBERS] {
        let sample = &self.sample;
        [
            sample.cost,
            sample.pixels,
            sample.bytes,
            sample.backlog_ms,
            sample.in_flight,
            sample.queued,
            sample.round_trip_ms,
            sample.jitter_ms,
            sample.bytes_per_ms,
            sample.utilisation,
            sample.cpu_load,
            sample.memory_pressure,
            sample.throttle,
            sample.temperature_c,
            sample.uptime_s,
            sample.failure_ema,
            sample.since_failure_s,
            self.total_ms,
            self.queue_ms,
            self.execution_ms,
            self.level,
        ]
    }

    fn from_numbers(
        sequence: u32,
        at_unix_ms: f64,
        kind: WorkKind,
        ended: Ended,
        numbers: [f32; NUMBERS],
    ) -> Self {
        let [
            cost,
            pixels,
            bytes,
            backlog_ms,
            in_flight,
            queued,
            round_trip_ms,
            jitter_ms,
            bytes_per_ms,
            utilisation,
            cpu_load,
            memory_pressure,
            throttle,
            temperature_c,
            uptime_s,
            failure_ema,
            since_failure_s,
            total_ms,
            queue_ms,
            execution_ms,
            level,
        ] = numbers;
        let sample = Sample {
            at_unix_ms,
            kind,
            cost,
            pixels,
            bytes,
            backlog_ms,
            in_flight,
            queued,
            round_trip_ms,
            jitter_ms,
            bytes_per_ms,
            utilisation,
            cpu_load,
            memory_pressure,
            throttle,
            temperature_c,
            uptime_s,
            failure_ema,
            since_failure_s,
        };
        Self { sequence, sample, ended, total_ms, queue_ms, execution_ms, level }
    }
}
