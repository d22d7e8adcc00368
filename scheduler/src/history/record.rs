//! One outcome as it is kept: 77 bytes.

use p2c2r_protocol::id::WorkKind;

use crate::predict::{
    CancelledFate, OutcomeResult,
    features::{SANE_MS, Sample},
};

/// Bytes of a stored record; the kind is in its key.
pub const RECORD_BYTES: usize = 8 + 4 + 1 + 4 * NUMBERS + 2 * STEPS + SHARES;
/// `f32` numbers of a record.
const NUMBERS: usize = 13;
/// Numbers of which two bytes are enough.
const STEPS: usize = 4;
/// Shares, in 255ths.
const SHARES: usize = 4;
/// Steps of the moving average of failures.
const FAILURE_STEPS: f32 = 65_535.0;
/// Steps of a degree.
const DEGREE_STEPS: f32 = 100.0;

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
    /// Not there after all the patience there was, without a sign of life.
    Lost = 6,
}

impl Ended {
    /// Whether it counts as a failure; `None` when it is not known.
    pub const fn failed(self) -> Option<bool> {
        match self {
            Self::Success | Self::CancelledFinished => Some(false),
            Self::Failed | Self::GivenUp | Self::CancelledFailed | Self::Lost => Some(true),
            Self::CancelledUnfinished => None,
        }
    }

    /// How an outcome ended, and the waiting and the execution that the peer told of, ms.
    pub const fn of(result: &OutcomeResult) -> (Self, f64, f64) {
        match *result {
            OutcomeResult::Success { queue_ms, execution_ms } => (Self::Success, queue_ms, execution_ms),
            OutcomeResult::Failed => (Self::Failed, 0.0, 0.0),
            OutcomeResult::GivenUp => (Self::GivenUp, 0.0, 0.0),
            OutcomeResult::Lost => (Self::Lost, 0.0, 0.0),
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
            6 => Self::Lost,
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
        let sample = &self.sample;
        let steps = [
            sample.in_flight,
            sample.queued,
            sample.failure_ema * FAILURE_STEPS,
            sample.temperature_c * DEGREE_STEPS,
        ];
        for step in steps {
            out.extend((step.round() as u16).to_le_bytes());
        }
        let shares = [sample.utilisation, sample.cpu_load, sample.memory_pressure, sample.throttle];
        out.extend(shares.map(|share| (share * 255.0).round() as u8));
    }

    /// Reads one; `None` if it is none.
    pub fn read(bytes: &[u8; RECORD_BYTES], kind: WorkKind) -> Option<Self> {
        let (at, rest) = bytes.split_first_chunk::<8>()?;
        let (sequence, rest) = rest.split_first_chunk::<4>()?;
        let (ended, rest) = rest.split_first()?;
        let (numbers, rest) = rest.split_at_checked(4 * NUMBERS)?;
        let (steps, shares) = rest.split_at_checked(2 * STEPS)?;
        let numbers: Vec<f32> =
            numbers.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let steps: Vec<f32> =
            steps.as_chunks::<2>().0.iter().map(|bytes| f32::from(u16::from_le_bytes(*bytes))).collect();
        let shares: Vec<f32> = shares.iter().map(|share| f32::from(*share) / 255.0).collect();
        let at_unix_ms = f64::from_le_bytes(*at);
        // The last, the level, is a logarithm.
        let finite = at_unix_ms.is_finite()
            && numbers.iter().all(|number| number.is_finite())
            && numbers.iter().take(NUMBERS - 1).all(|number| *number >= 0.0);
        let [
            cost,
            pixels,
            bytes,
            backlog_ms,
            round_trip_ms,
            jitter_ms,
            bytes_per_ms,
            uptime_s,
            since_failure_s,
            ref own @ ..,
        ] = numbers[..]
        else {
            return None;
        };
        let ([total_ms, queue_ms, execution_ms, level], [in_flight, queued, failures, degrees]) =
            (own, &steps[..])
        else {
            return None;
        };
        let [utilisation, cpu_load, memory_pressure, throttle] = shares[..] else { return None };
        let sample = Sample {
            at_unix_ms,
            kind,
            cost,
            pixels,
            bytes,
            backlog_ms,
            in_flight: *in_flight,
            queued: *queued,
            round_trip_ms,
            jitter_ms,
            bytes_per_ms,
            utilisation,
            cpu_load,
            memory_pressure,
            throttle,
            temperature_c: degrees / DEGREE_STEPS,
            uptime_s,
            failure_ema: failures / FAILURE_STEPS,
            since_failure_s,
        };
        let (total_ms, queue_ms, execution_ms, level) = (*total_ms, *queue_ms, *execution_ms, *level);
        let ended = Ended::from_byte(*ended)?;
        let sequence = u32::from_le_bytes(*sequence);
        finite.then_some(Self { sequence, sample, ended, total_ms, queue_ms, execution_ms, level })
    }

    fn numbers(&self) -> [f32; NUMBERS] {
        let sample = &self.sample;
        [
            sample.cost,
            sample.pixels,
            sample.bytes,
            sample.backlog_ms,
            sample.round_trip_ms,
            sample.jitter_ms,
            sample.bytes_per_ms,
            sample.uptime_s,
            sample.since_failure_s,
            self.total_ms,
            self.queue_ms,
            self.execution_ms,
            self.level,
        ]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::predict::{
        features::FailureTrace,
        synthetic::{task, view},
    };

    /// Half of the coarsest step, and the rounding of the numbers themselves.
    const STEP: f32 = 0.00502;

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written(
            shares in prop::array::uniform4(0.0_f32..=1.0), cost in 1.0_f64..1e12, total_ms in 0.0_f32..1e6,
            degrees in 0.0_f32..150.0, counts in prop::array::uniform2(0_u32..20_000), ema in 0.0_f64..=1.0,
        ) {
            let mut peer = view(1);
            let [utilisation, cpu_load, memory_pressure, throttle] = shares;
            peer.telemetry = crate::peer::Telemetry {
                utilisation, cpu_load, memory_pressure, throttle, temperature_c: degrees, uptime_s: 12.5,
            };
            peer.queued = counts[0];
            let features = crate::TaskFeatures { in_flight: counts[1], ..task(cost, 1e12) };
            let trace = FailureTrace { ema, last_unix_ms: 1e11 };
            let sample = Sample::new(&peer, WorkKind::Ai, &features, 0.0, trace);
            let record = Record {
                sequence: 7, sample, ended: Ended::GivenUp, total_ms, queue_ms: 1.5, execution_ms: 2.5, level: -9.0,
            };
            let mut bytes = Vec::new();
            record.write(&mut bytes);
            let read = Record::read(bytes.as_slice().try_into().unwrap(), WorkKind::Ai).unwrap();
            for (a, b) in record.sample.time_row().iter().zip(read.sample.time_row()) {
                prop_assert!((a - b).abs() <= STEP, "{a} {b}");
            }
            for (a, b) in record.sample.failure_row().iter().zip(read.sample.failure_row()) {
                prop_assert!((a - b).abs() <= STEP, "{a} {b}");
            }
            prop_assert_eq!(Record { sample, ..read }, record);
        }

        #[test]
        fn f14_any_bytes_are_a_finite_record_or_none(bytes in prop::array::uniform32(any::<u8>()), fill in any::<u8>()) {
            let mut record = [fill; RECORD_BYTES];
            record[..32].copy_from_slice(&bytes);
            if let Some(record) = Record::read(&record, WorkKind::Ai) {
                prop_assert!(record.sample.time_row().iter().all(|value| value.is_finite()));
            }
        }
    }
}
