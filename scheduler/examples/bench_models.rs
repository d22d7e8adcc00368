//! What the model of the peers costs: time of a prediction and of a fit, memory, loading, the store on disk.
//!
//! `cargo run --release -p p2c2r-scheduler --example bench_models`

use std::{error::Error, fs, hint::black_box, path::Path, time::Instant};

use p2c2r_protocol::id::{NodeId, WorkKind};
use p2c2r_scheduler::{
    Outcome, OutcomeResult, PeerView, TaskFeatures,
    history::{MemoryStore, Store, StoreError},
    predict::{
        Predictor,
        features::{FailureTrace, Sample, TIME_FEATURES},
        learned::LearnedPredictor,
        trees::{FlatTrees, TreeSettings},
    },
    time::TimeMs,
};

const PEERS: u32 = 5;
const OUTCOMES_OF_A_PEER: u32 = 1000;
const SAVES: u32 = 2000;

fn main() -> Result<(), Box<dyn Error>> {
    trees();
    let mut model = LearnedPredictor::new(Box::new(MemoryStore::default()), 0.0);
    let outcomes: Vec<Outcome> = (0..PEERS * OUTCOMES_OF_A_PEER).map(outcome).collect();
    let before = Instant::now();
    for outcome in &outcomes {
        model.observe(outcome);
    }
    let observe_us = before.elapsed().as_secs_f64() * 1e6 / outcomes.len() as f64;
    println!("observe: {observe_us:.1} µs an outcome");
    let before = Instant::now();
    let mut fits = 0;
    while let Some(job) = model.take_refit() {
        model.install(job.run());
        fits += 1;
    }
    let fit_ms = before.elapsed().as_secs_f64() * 1e3;
    println!(
        "refit of {PEERS} peers x {OUTCOMES_OF_A_PEER} outcomes and of all together ({fits} fits): {fit_ms:.0} ms"
    );
    let before = Instant::now();
    let mut sum = 0.0;
    for _ in 0..20 {
        for outcome in &outcomes {
            let predicted = model.predict(black_box(&outcome.peer), outcome.kind, &outcome.features);
            sum += predicted.total_ms();
        }
    }
    let predict_ns = before.elapsed().as_secs_f64() * 1e9 / (20.0 * outcomes.len() as f64);
    println!(
        "whole prediction (time, interval, failure): {predict_ns:.0} ns ({:.0} ms on average)",
        sum / 1e5
    );
    if let Some(report) = model.report(&outcomes[0].peer.peer) {
        println!(
            "memory of a peer: model {} bytes, history {} bytes",
            report.model_bytes, report.history_bytes
        );
    }
    let mut young = LearnedPredictor::new(Box::new(MemoryStore::default()), 0.0);
    for outcome in outcomes.iter().take(10 * PEERS as usize) {
        young.observe(outcome);
    }
    if let Some(report) = young.report(&outcomes[0].peer.peer) {
        println!(
            "after 10 outcomes: model {} bytes, history {} bytes",
            report.model_bytes, report.history_bytes
        );
    }
    // sled's own segments, and smaller ones: it keeps about ten of them, whatever is in them.
    store(512 << 10)?;
    store(64 << 10)
}

/// One row through the trees alone.
fn trees() {
    let rows: Vec<[f32; TIME_FEATURES]> = (0..OUTCOMES_OF_A_PEER)
        .map(|index| {
            let outcome = outcome(index);
            let trace = FailureTrace::default();
            Sample::new(&outcome.peer, outcome.kind, &outcome.features, 0.0, trace).time_row()
        })
        .collect();
    let targets: Vec<f32> = rows.iter().map(|row| (row[5] * 3.0).sin() + row[1] * 0.01).collect();
    let settings =
        TreeSettings { trees: 60, rate: 0.12, subsample: 0.7, min_leaf: 8, shrinkage_rows: 2.0, seed: 1 };
    let before = Instant::now();
    let Some(trees) = FlatTrees::fit(&rows, &targets, settings) else { return };
    println!(
        "fit of 60 trees to 1000 rows: {:.0} ms, {} bytes",
        before.elapsed().as_secs_f64() * 1e3,
        trees.bytes()
    );
    let before = Instant::now();
    let mut sum = 0.0;
    for _ in 0..200 {
        for row in &rows {
            sum += trees.predict(black_box(row));
        }
    }
    let ns = before.elapsed().as_secs_f64() * 1e9 / (200.0 * rows.len() as f64);
    println!("60 trees: {ns:.0} ns a row ({:.1} on average)", sum / 2e5);
}

/// The store on disk after many saves, and how long loading takes.
fn store(segment_bytes: usize) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("store");
    let config = sled::Config::new().path(&path).mode(sled::Mode::LowSpace).segment_size(segment_bytes);
    let database = config.open()?;
    let mut model = LearnedPredictor::new(Box::new(Sled(database.clone())), 0.0);
    // A peer's state is saved with every 32 of its outcomes.
    let outcomes = SAVES * 32;
    for step in 0..outcomes {
        model.observe(&outcome(step));
        while let Some(job) = model.take_refit() {
            model.install(job.run());
        }
    }
    database.flush()?;
    drop((model, database));
    let bytes = size_of_folder(&path)?;
    println!(
        "store after {outcomes} outcomes, that is {SAVES} saves of a model, in segments of {} KiB: {:.2} MB",
        segment_bytes >> 10,
        bytes as f64 / 1e6
    );
    let database = reopen(&config)?;
    let before = Instant::now();
    let model = LearnedPredictor::new(Box::new(Sled(database)), 0.0);
    let load_ms = before.elapsed().as_secs_f64() * 1e3;
    let known = model.report(&outcome(0).peer.peer).map_or(0, |report| report.outcomes);
    println!("loading {PEERS} peers: {load_ms:.1} ms ({known} outcomes of the first)");
    Ok(())
}

/// sled lets go of its file a moment after it is dropped.
fn reopen(config: &sled::Config) -> Result<sled::Db, sled::Error> {
    for _ in 0..100 {
        if let Ok(database) = config.open() {
            return Ok(database);
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    config.open()
}

fn size_of_folder(path: &Path) -> std::io::Result<u64> {
    fs::read_dir(path)?.try_fold(0, |sum, entry| {
        let entry = entry?;
        let size = if entry.file_type()?.is_dir() {
            size_of_folder(&entry.path())?
        } else {
            entry.metadata()?.len()
        };
        Ok(sum + size)
    })
}

/// An outcome of one of the peers; nothing about it is random.
fn outcome(step: u32) -> Outcome {
    let wave = |period: f64| (f64::from(step) / period).sin();
    let peer_index = step % PEERS;
    let mut peer = PeerView {
        mrays_per_s: 20.0,
        round_trip_ms: 10.0,
        jitter_ms: 1.0,
        bytes_per_ms: 1e4,
        credit: 8,
        ready: true,
        ..PeerView::unknown(NodeId::from_public_key([peer_index as u8 + 1; 32]))
    };
    peer.telemetry.utilisation = (0.5 + 0.5 * wave(37.3)) as f32;
    let cost = 1e6 * (1.5 + wave(7.7));
    let features = TaskFeatures {
        cost,
        pixels: 4096.0,
        bytes: 5e4,
        in_flight: step % 3,
        backlog_ms: 0.0,
        at: TimeMs(f64::from(step) * 20_000.0),
    };
    let slower = 1.0 + 0.5 * f64::from(peer.telemetry.utilisation).powi(3) + 0.1 * wave(1.3);
    let execution_ms = cost / 2e4 * f64::from(peer_index + 1) * slower;
    let result = if step.is_multiple_of(29) {
        OutcomeResult::Failed
    } else {
        OutcomeResult::Success { queue_ms: 0.0, execution_ms }
    };
    Outcome { peer, kind: WorkKind::RayTracing, features, total_ms: execution_ms + 17.0, result }
}

/// sled behind the scheduler's store, without the checks that `node` has around it.
struct Sled(sled::Db);

impl Store for Sled {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.0.get(key).map_err(|error| StoreError::new(error.to_string()))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.0.insert(key, value).map(drop).map_err(|error| StoreError::new(error.to_string()))
    }

    fn remove(&self, key: &[u8]) -> Result<(), StoreError> {
        self.0.remove(key).map(drop).map_err(|error| StoreError::new(error.to_string()))
    }

    fn scan(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        self.0
            .scan_prefix(prefix)
            .map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec())))
            .collect::<Result<_, _>>()
            .map_err(|error| StoreError::new(error.to_string()))
    }
}
