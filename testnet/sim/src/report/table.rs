//! Results as tables on a terminal.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets::UTF8_BORDERS_ONLY};

use crate::{
    experiment::{Experiment, PolicyResult, RunResult},
    fault_run::FaultRun,
    metrics::{
        Learning, PredictionQuality, Summary,
        stats::{deviation, mean},
    },
};

/// The results side by side.
pub fn table(experiment: &Experiment, results: &[PolicyResult]) -> String {
    let work = &experiment.scenario.work;
    let mut text = format!(
        "{}: {} frames after {} of warm-up, {} in flight, {} seed{} from {}\n",
        experiment.scenario.name,
        work.frames,
        work.warm_up,
        work.depth,
        experiment.seeds,
        if experiment.seeds == 1 { "" } else { "s" },
        experiment.scenario.seed,
    );
    let parts =
        [times(results), work_done(results), failures(results), predictions(results), learning(results)];
    for part in parts.into_iter().flatten() {
        let _ = writeln!(text, "{part}");
    }
    text
}

fn titled(titles: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY).set_header(titles.iter().copied());
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Mean over the seeds, with its spread if there are several.
fn cell(result: &PolicyResult, digits: usize, of: impl Fn(&Summary) -> f64) -> String {
    let values: Vec<f64> = result.runs.iter().map(|run| of(&run.summary)).collect();
    spread(&values, digits)
}

fn spread(values: &[f64], digits: usize) -> String {
    let mean = format!("{:.digits$}", mean(values));
    if values.len() < 2 { mean } else { format!("{mean} ±{:.digits$}", deviation(values)) }
}

fn percent(result: &PolicyResult, of: impl Fn(&Summary) -> f64) -> String {
    cell(result, 1, |summary| of(summary) * 100.0)
}

fn times(results: &[PolicyResult]) -> Option<Table> {
    let mut table = titled(&[
        "policy", "frame ms", "p50", "p95", "p99", "x bound", "frames/s", "misses", "failed", "partial",
    ]);
    let first = results.first()?;
    let bound = cell(first, 1, |summary| summary.bound_ms);
    let dash = || "-".to_owned();
    table.add_row([
        "bound".to_owned(),
        bound,
        dash(),
        dash(),
        dash(),
        "1.000".to_owned(),
        dash(),
        dash(),
        dash(),
        dash(),
    ]);
    for result in results {
        table.add_row([
            result.policy.name().to_owned(),
            cell(result, 1, |summary| summary.mean_ms),
            cell(result, 1, |summary| summary.p50_ms),
            cell(result, 1, |summary| summary.p95_ms),
            cell(result, 1, |summary| summary.p99_ms),
            cell(result, 3, |summary| summary.ratio),
            cell(result, 2, |summary| summary.frames_per_s),
            cell(result, 0, |summary| summary.deadline_misses as f64),
            cell(result, 0, |summary| summary.frames_failed as f64),
            cell(result, 0, |summary| summary.frames_partial as f64),
        ]);
    }
    Some(table)
}

fn work_done(results: &[PolicyResult]) -> Option<Table> {
    let mut table = titled(&[
        "policy",
        "in use %",
        "useful %",
        "attempts",
        "copies",
        "extra work %",
        "too late",
        "planning ms",
    ]);
    results.first()?;
    for result in results {
        let planning: Vec<f64> = result.runs.iter().filter_map(|run: &RunResult| run.planning_ms).collect();
        table.add_row([
            result.policy.name().to_owned(),
            percent(result, |summary| summary.utilisation),
            percent(result, |summary| summary.useful_utilisation),
            cell(result, 0, |summary| summary.attempts as f64),
            cell(result, 0, |summary| summary.copies as f64),
            percent(result, |summary| summary.extra_share),
            cell(result, 0, |summary| summary.late_results as f64),
            if planning.is_empty() { "-".to_owned() } else { spread(&planning, 3) },
        ]);
    }
    Some(table)
}

fn failures(results: &[PolicyResult]) -> Option<Table> {
    let mut table = titled(&[
        "policy",
        "attempts failed %",
        "visible failures %",
        "forgeries found",
        "forgeries accepted",
        "distrusted",
    ]);
    results.first()?;
    for result in results {
        table.add_row([
            result.policy.name().to_owned(),
            percent(result, |summary| summary.failed_share),
            cell(result, 2, |summary| summary.visible_failure_share * 100.0),
            cell(result, 0, |summary| summary.forgeries_caught as f64),
            cell(result, 0, |summary| summary.forgeries_accepted as f64),
            cell(result, 1, |summary| f64::from(summary.distrusted)),
        ]);
    }
    Some(table)
}

fn predictions(results: &[PolicyResult]) -> Option<Table> {
    let mut table = titled(&[
        "policy",
        "time error %",
        "coverage %",
        "worst windows %",
        "Brier",
        "of the truth",
        "calibration error",
    ]);
    let of = |result: &PolicyResult, digits, of: &dyn Fn(&PredictionQuality) -> Option<f64>| {
        let values: Vec<f64> =
            result.runs.iter().filter_map(|run| run.summary.prediction.as_ref().and_then(of)).collect();
        if values.is_empty() { "-".to_owned() } else { spread(&values, digits) }
    };
    let mut any = false;
    for result in results {
        if result.runs.iter().all(|run| run.summary.prediction.is_none()) {
            continue;
        }
        any = true;
        table.add_row([
            result.policy.name().to_owned(),
            of(result, 1, &|quality| Some(quality.median_absolute_share * 100.0)),
            of(result, 1, &|quality| quality.coverage.map(|share| share * 100.0)),
            of(result, 1, &|quality| quality.worst_coverage.map(|share| share * 100.0)),
            of(result, 4, &|quality| Some(quality.brier)),
            of(result, 4, &|quality| Some(quality.true_brier)),
            of(result, 4, &|quality| Some(quality.calibration_error)),
        ]);
    }
    any.then_some(table)
}

fn learning(results: &[PolicyResult]) -> Option<Table> {
    let mut table = titled(&[
        "policy",
        "first 20 frames ms",
        "after 50",
        "after 100",
        "first 20 tasks ms",
        "after 50",
        "after 100",
    ]);
    results.first()?;
    for result in results {
        let of = |of: &dyn Fn(&Summary) -> Learning| {
            [
                cell(result, 1, |summary| of(summary).first_20_ms),
                cell(result, 1, |summary| of(summary).after_50_ms),
                cell(result, 1, |summary| of(summary).after_100_ms),
            ]
        };
        let (frames, tasks) = (of(&|summary| summary.frame_learning), of(&|summary| summary.task_learning));
        let name = [result.policy.name().to_owned()];
        table.add_row(name.into_iter().chain(frames).chain(tasks));
    }
    Some(table)
}

/// A run with faults in a line.
pub fn fault_line(scenario: &str, run: &FaultRun) -> String {
    format!(
        "{scenario}, seed {}: {} faults, {} frames, {} events, no invariant broken",
        run.seed, run.faults, run.frames, run.events
    )
}
