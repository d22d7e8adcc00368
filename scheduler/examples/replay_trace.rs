//! Runs the scheduler's model over a recorded trace, as it would have run: predicts at each offer from what had come by
//! then, learns at each result.
//!
//! `replay_trace TRACE.csv PREDICTIONS.csv [ema]`: see `testnet/models/trace.py` for the columns.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    fmt::Write,
    fs,
};

use p2c2r_protocol::id::{NodeId, WorkKind};
use p2c2r_scheduler::{
    Outcome, OutcomeResult, PeerView, Prediction, TaskFeatures,
    history::MemoryStore,
    peer::Telemetry,
    predict::{Predictor, ema::EmaPredictor, learned::LearnedPredictor},
    time::TimeMs,
};

/// The wall clock of time 0: a Monday.
const UNIX_MS_AT_ZERO: f64 = 1_767_571_200_000.0;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [trace, predictions, model @ ..] = arguments.as_slice() else {
        return Err("usage: replay_trace TRACE.csv PREDICTIONS.csv [ema]".into());
    };
    let store = Box::new(MemoryStore::default());
    let mut model: Box<dyn Predictor> = if model.first().is_some_and(|name| name == "ema") {
        Box::new(EmaPredictor::new(store))
    } else {
        Box::new(LearnedPredictor::new(store, UNIX_MS_AT_ZERO))
    };
    let outcomes = read(&fs::read_to_string(trace)?)?;
    let mut written = String::from("total_ms,low_ms,high_ms,p95_ms,risk,wait_ms,overhead_ms,execution_ms\n");
    // Results in the order in which they come; the key is their time, in microseconds, and their row.
    let mut under_way: BTreeMap<(u64, usize), Outcome> = BTreeMap::new();
    for (row, outcome) in outcomes.iter().enumerate() {
        let now = (outcome.features.at.0 * 1e3) as u64;
        while let Some(entry) = under_way.first_entry().filter(|entry| entry.key().0 <= now) {
            model.observe(&entry.remove());
            while let Some(job) = model.take_refit() {
                model.install(job.run());
            }
        }
        let predicted = model.predict(&outcome.peer, outcome.kind, &outcome.features);
        let total_ms = predicted.total_ms();
        let [low, high, p95] =
            [predicted.low_factor, predicted.high_factor, predicted.p95_total_factor].map(|f| f * total_ms);
        let Prediction { failure_risk, wait_ms, overhead_ms, execution_ms, .. } = predicted;
        writeln!(
            written,
            "{total_ms},{low},{high},{p95},{failure_risk},{wait_ms},{overhead_ms},{execution_ms}"
        )?;
        under_way.insert((now + (outcome.total_ms * 1e3) as u64, row), *outcome);
    }
    fs::write(predictions, written)?;
    Ok(())
}

/// The rows of a trace.
fn read(text: &str) -> Result<Vec<Outcome>, Box<dyn Error>> {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().ok_or("the trace is empty")?.split(',').collect();
    lines.map(|line| outcome(&names.iter().copied().zip(line.split(',')).collect())).collect()
}

fn outcome(row: &HashMap<&str, &str>) -> Result<Outcome, Box<dyn Error>> {
    let text = |name: &str| row.get(name).copied().ok_or_else(|| format!("the trace has no column {name}"));
    let number = |name: &str| -> Result<f64, Box<dyn Error>> { Ok(text(name)?.parse()?) };
    let telemetry = Telemetry {
        utilisation: number("utilisation")? as f32,
        cpu_load: number("cpu_load")? as f32,
        memory_pressure: number("memory_pressure")? as f32,
        throttle: number("throttle")? as f32,
        temperature_c: number("temperature_c")? as f32,
        uptime_s: number("uptime_s")? as f32,
    };
    let peer = PeerView {
        mrays_per_s: number("mrays_per_s")? as f32,
        round_trip_ms: number("round_trip_ms")? as f32,
        jitter_ms: number("jitter_ms")? as f32,
        bytes_per_ms: number("bytes_per_ms")? as f32,
        credit: 8,
        queued: number("queued")? as u32,
        ready: true,
        telemetry,
        ..PeerView::unknown(NodeId::from_public_key([number("peer")? as u8 + 1; 32]))
    };
    let name = text("kind")?;
    let kind = WorkKind::ALL.into_iter().find(|kind| kind.name() == name).ok_or("an unknown kind of work")?;
    let features = TaskFeatures {
        cost: number("cost")?,
        pixels: number("pixels")?,
        bytes: number("bytes")?,
        in_flight: number("in_flight")? as u32,
        backlog_ms: number("backlog_ms")?,
        at: TimeMs(number("at_ms")?),
    };
    let result = if text("ended")? == "success" {
        OutcomeResult::Success { queue_ms: number("queue_ms")?, execution_ms: number("execution_ms")? }
    } else {
        OutcomeResult::Failed
    };
    Ok(Outcome { peer, kind, features, total_ms: number("total_ms")?, result })
}
