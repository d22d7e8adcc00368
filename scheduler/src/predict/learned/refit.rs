//! Fitting trees: a job with all it needs, so that a worker thread can do it while the scheduler goes on.

use std::panic::{AssertUnwindSafe, catch_unwind};

use p2c2r_protocol::id::{NodeId, WorkKind};

use super::peer::PeerModel;
use crate::{
    history::record::Record,
    predict::{
        failure::FailureTrees,
        features::{CLOCK_FEATURES, DAY_MS, FAILURE_FEATURES, LOAD_TERMS, TIME_FEATURES},
        time::{TimeTrees, load},
        trees::{FlatTrees, TreeSettings},
    },
};

/// Outcomes of a peer that its trees are fitted to, at most.
const PEER_ROWS: usize = 1000;
/// Of these, those that stand for the hours of the day, at most.
const HOURLY_ROWS: usize = 400;
/// Outcomes that the failure model is fitted to, at most: failures are few.
const FAILURE_ROWS: usize = 4000;
/// Outcomes that the time model over all peers is fitted to, at most.
const EVERYBODY_ROWS: usize = 2000;
/// Fewest outcomes that trees are fitted to.
const MIN_ROWS: usize = 40;
/// The hour of the day is learned only from outcomes that are spread over more than this, ms.
const MIN_SPAN_MS: f64 = 1.5 * DAY_MS;
/// Largest residual of log time that a row may teach.
const MAX_RESIDUAL: f64 = 1.5;
/// Rows that pull a day's level to the level of all days.
const DAY_PULL: f64 = 10.0;
/// How the trees of times are fitted; the seed is set for each fit.
const TIME_TREES: TreeSettings =
    TreeSettings { trees: 60, rate: 0.12, subsample: 0.7, min_leaf: 8, shrinkage_rows: 2.0, seed: 0 };

/// Rows of the time model and the residuals of log execution time.
#[derive(Debug, Clone, PartialEq, Default)]
struct TimeRows {
    rows: Vec<[f32; TIME_FEATURES]>,
    targets: Vec<f32>,
}

/// Rows of the failure model and whether each failed.
#[derive(Debug, Clone, PartialEq, Default)]
struct FailureRows {
    rows: Vec<[f32; FAILURE_FEATURES]>,
    failed: Vec<bool>,
}

#[derive(Debug, Clone, PartialEq)]
enum Job {
    Peer { peer: NodeId, beta: [f64; LOAD_TERMS], extra_ms: f64, times: TimeRows },
    Everybody { times: TimeRows, failures: FailureRows },
}

/// Trees that are to be fitted. Takes tens of milliseconds: for a worker thread, one at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Refit {
    job: Job,
    seed: u64,
}

/// What came of a [`Refit`]; to be installed.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    pub(super) models: Models,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Models {
    Peer {
        peer: NodeId,
        trees: TimeTrees,
    },
    Everybody {
        trees: Option<TimeTrees>,
        failures: Option<FailureTrees>,
    },
    /// There was too little to fit, or the fit panicked.
    Nothing,
}

impl Refit {
    /// The job for one peer's trees; `None` if there is too little.
    pub(super) fn of_peer(peer: NodeId, model: &PeerModel, seed: u64) -> Option<Self> {
        let records = peer_records(model);
        let extra_ms = median(
            records
                .iter()
                .map(|record| model.state.time.split(record).overhead_ms - record.sample.line_ms())
                .collect(),
        );
        let beta = model.state.time.beta;
        let structure = TimeTrees { trees: FlatTrees::default(), beta: Some(beta), extra_ms: Some(extra_ms) };
        let times = time_rows(model, &records, &structure);
        (times.rows.len() >= MIN_ROWS)
            .then_some(Self { job: Job::Peer { peer, beta, extra_ms, times }, seed })
    }

    /// The job for the models over all peers; `None` if there is too little.
    pub(super) fn of_everybody<'a>(
        models: impl Iterator<Item = &'a PeerModel> + Clone,
        seed: u64,
    ) -> Option<Self> {
        let peers = models.clone().filter(|model| model.records() > 0).count();
        let each = |rows: usize| rows.checked_div(peers).unwrap_or(0).max(1);
        let (mut times, mut failures) = (TimeRows::default(), FailureRows::default());
        for model in models.take(FAILURE_ROWS) {
            let mut newest: Vec<&Record> =
                model.rings.values().flat_map(|ring| ring.newest().take(each(FAILURE_ROWS))).collect();
            newest.sort_by_key(|record| std::cmp::Reverse(record.sequence));
            newest.truncate(each(FAILURE_ROWS));
            for record in &newest {
                if let Some(failed) = record.ended.failed() {
                    failures.rows.push(record.sample.failure_row());
                    failures.failed.push(failed);
                }
            }
            newest.retain(|record| record.has_time());
            newest.truncate(each(EVERYBODY_ROWS));
            if times.rows.len() >= EVERYBODY_ROWS {
                continue;
            }
            let structure = TimeTrees { trees: FlatTrees::default(), beta: None, extra_ms: None };
            let rows = time_rows(model, &newest, &structure);
            times.rows.extend(rows.rows);
            times.targets.extend(rows.targets);
        }
        let enough = failures.rows.len() >= MIN_ROWS;
        enough.then_some(Self { job: Job::Everybody { times, failures }, seed })
    }

    /// Fits. A fit that panics, as smartcore does on numbers that are none, is dropped.
    pub fn run(self) -> Fitted {
        let models = catch_unwind(AssertUnwindSafe(|| self.fit())).unwrap_or(Models::Nothing);
        Fitted { models }
    }

    fn fit(self) -> Models {
        let fit_times = |times: &TimeRows| {
            let settings = TreeSettings { seed: self.seed, ..TIME_TREES };
            if times.rows.len() < MIN_ROWS {
                return None;
            }
            FlatTrees::fit(&times.rows, &times.targets, settings)
        };
        match &self.job {
            Job::Peer { peer, beta, extra_ms, times } => match fit_times(times) {
                Some(trees) => Models::Peer {
                    peer: *peer,
                    trees: TimeTrees { trees, beta: Some(*beta), extra_ms: Some(*extra_ms) },
                },
                None => Models::Nothing,
            },
            Job::Everybody { times, failures } => Models::Everybody {
                trees: fit_times(times).map(|trees| TimeTrees { trees, beta: None, extra_ms: None }),
                failures: FailureTrees::fit(&failures.rows, &failures.failed, self.seed),
            },
        }
    }
}

/// A peer's outcomes that its trees learn from: the newest, and some of every hour.
fn peer_records(model: &PeerModel) -> Vec<&Record> {
    let hourly: Vec<&Record> =
        model.rings.values().flat_map(|ring| ring.hourly().filter(|record| record.has_time())).collect();
    let mut newest: Vec<&Record> =
        model.rings.values().flat_map(|ring| ring.newest().filter(|record| record.has_time())).collect();
    newest.sort_by_key(|record| std::cmp::Reverse(record.sequence));
    let every = hourly.len().div_ceil(HOURLY_ROWS).max(1);
    let mut records: Vec<&Record> = hourly.into_iter().step_by(every).collect();
    newest.truncate(PEER_ROWS - records.len());
    records.extend(newest);
    records.sort_by_key(|record| record.sequence);
    records
}

/// What the structure leaves of each record.
fn time_rows(model: &PeerModel, records: &[&Record], structure: &TimeTrees) -> TimeRows {
    let time = &model.state.time;
    let beta = structure.beta.as_ref().unwrap_or(&time.beta);
    let logs: Vec<f64> = records
        .iter()
        .map(|record| {
            let execution_ms = time.execution_by_total(record, &time.split(record), structure);
            (execution_ms / f64::from(record.sample.cost)).ln() - load(beta, &record.sample.load_terms())
        })
        .collect();
    let at = |record: &&Record| record.sample.at_unix_ms;
    let first = records.iter().map(at).fold(f64::INFINITY, f64::min);
    let last = records.iter().map(at).fold(f64::NEG_INFINITY, f64::max);
    let by_day = last - first >= MIN_SPAN_MS;
    let mut times = TimeRows::default();
    let days = DayLevels::new(records, &logs);
    for (record, log) in records.iter().zip(&logs) {
        let mut row = record.sample.time_row();
        let level = days.level(record);
        if !by_day {
            // Within a day, an hour cannot be told from what else changed meanwhile.
            row[CLOCK_FEATURES].fill(0.0);
        }
        let target = (log - level).clamp(-MAX_RESIDUAL, MAX_RESIDUAL);
        if target.is_finite() {
            times.rows.push(row);
            times.targets.push(target as f32);
        }
    }
    times
}

/// The mean level of each kind on each day. A moving average would follow the hours, and whatever else lasts for some
/// tasks, which are to be learned.
struct DayLevels {
    sums: std::collections::BTreeMap<(WorkKind, Option<u64>), (f64, f64)>,
}

impl DayLevels {
    fn new(records: &[&Record], logs: &[f64]) -> Self {
        let mut sums = std::collections::BTreeMap::new();
        for (record, log) in records.iter().zip(logs).filter(|(_, log)| log.is_finite()) {
            for day in [None, Some(day_of(record))] {
                let (sum, count) = sums.entry((record.sample.kind, day)).or_insert((0.0, 0.0));
                *sum += log;
                *count += 1.0;
            }
        }
        Self { sums }
    }

    fn level(&self, record: &Record) -> f64 {
        let of = |day| self.sums.get(&(record.sample.kind, day)).copied().unwrap_or((0.0, 0.0));
        let (sum, count) = of(None);
        let all = sum / f64::max(count, 1.0);
        let (sum, count) = of(Some(day_of(record)));
        (sum + DAY_PULL * all) / (count + DAY_PULL)
    }
}

fn day_of(record: &Record) -> u64 {
    (record.sample.at_unix_ms / DAY_MS) as u64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.retain(|value| value.is_finite());
    let middle = values.len() / 2;
    if values.is_empty() { 0.0 } else { *values.select_nth_unstable_by(middle, f64::total_cmp).1 }
}
