//! What the demo measured, and how it says so.

use std::{collections::BTreeMap, path::PathBuf};

use comfy_table::{CellAlignment, Table, presets::UTF8_BORDERS_ONLY};
use p2c2r_game::{
    frame_loop::SubsystemTally,
    level::Level,
    limit::{FRAMES_PER_S, MAX_EXTRAPOLATED_FRAMES, MAX_OFFSET_M, MAX_SPEED},
    physics,
    prediction::Source,
    subsystem::Subsystem,
};
use p2c2r_protocol::id::NodeId;
use p2c2r_scheduler::functional::{Move, MoveReason};
use serde::Serialize;

use crate::game::play::Played;

/// What the demo measured.
#[derive(Serialize)]
pub(super) struct Outcome {
    pub(super) schema: &'static str,
    pub(super) frames: usize,
    pub(super) contributors: usize,
    pub(super) subsystems: Vec<SubsystemFigures>,
    /// Share of all steps that were answered in time.
    pub(super) met_share: f64,
    pub(super) frame_loop: LoopFigures,
    pub(super) prediction: PredictionFigures,
    pub(super) moves: Vec<MoveFigure>,
    pub(super) accidents: Vec<Accident>,
    pub(super) checked: u64,
    pub(super) wrong: u64,
    pub(super) pictures: PathBuf,
    pub(super) sound: PathBuf,
}

#[derive(Serialize)]
pub(super) struct SubsystemFigures {
    pub(super) kind: &'static str,
    pub(super) deadline_ms: u32,
    pub(super) due: u64,
    pub(super) met: u64,
    pub(super) met_share: f64,
    pub(super) late: u64,
    pub(super) refused: u64,
    pub(super) lost: u64,
    pub(super) copies: u64,
    pub(super) answer_ms: Quantiles,
    pub(super) execution_ms: Quantiles,
    /// Of a step's snapshot, as it was sent.
    pub(super) sent_bytes_per_step: f64,
    /// The same without deltas.
    pub(super) snapshot_bytes_per_step: f64,
    pub(super) received_bytes_per_step: f64,
    pub(super) done_by: Option<&'static str>,
}

#[derive(Serialize, Default)]
pub(super) struct Quantiles {
    pub(super) mean: f64,
    pub(super) p95: f64,
    pub(super) most: f64,
}

#[derive(Serialize)]
pub(super) struct LoopFigures {
    /// From when a frame was due until it was begun, ms.
    pub(super) late_ms: Quantiles,
    /// From its begin until everything was sent, ms.
    pub(super) work_ms: Quantiles,
    /// Frames that took longer than a frame's time: none may.
    pub(super) blocked: usize,
}

#[derive(Serialize)]
pub(super) struct PredictionFigures {
    /// Frames whose bodies were predicted, since nobody had computed them yet.
    pub(super) predicted_frames: usize,
    /// Frames whose bodies were put between moments that somebody had computed.
    pub(super) between_frames: usize,
    /// Farthest that a body was shown from where it truly was, over all frames, mm.
    pub(super) divergence_mm: Quantiles,
    /// What a guess can be off by at most, until it is given up and everything stands still, mm.
    pub(super) bound_mm: f64,
    pub(super) jumps: u64,
}

#[derive(Serialize)]
pub(super) struct MoveFigure {
    pub(super) frame: u32,
    pub(super) kind: &'static str,
    pub(super) from: Option<&'static str>,
    pub(super) to: &'static str,
    pub(super) reason: &'static str,
}

#[derive(Serialize, Clone)]
pub(super) struct Accident {
    pub(super) frame: u32,
    pub(super) machine: &'static str,
    pub(super) what: String,
}

pub(super) fn frames_from(played: &Played, source: Source) -> usize {
    played.frames.iter().filter(|frame| frame.source == source).count()
}

/// Of each frame, how far the body that was shown most wrongly was from where it truly was.
pub(super) fn divergence_mm(level: &Level, played: &Played) -> Vec<f64> {
    let mut bodies = level.bodies();
    let mut all = Vec::with_capacity(played.frames.len());
    for (before, frame) in (0..).zip(&played.frames) {
        bodies = physics::simulate(level, before, 1, &bodies, &played.pushes);
        let distances = frame.bodies.iter().zip(&bodies).map(|(shown, truth)| {
            let truth = truth.position();
            (0..3).map(|axis| f64::from(shown[axis] - truth[axis]).powi(2)).sum::<f64>().sqrt() * 1e3
        });
        all.push(distances.fold(0.0, f64::max));
    }
    all
}

/// A body that was lost sight of moves on, or away, no faster than bodies can, and no longer than guesses are made; a
/// correction adds what may slide.
pub(super) fn bound_mm() -> f64 {
    let blind_s = f64::from(MAX_EXTRAPOLATED_FRAMES) / f64::from(FRAMES_PER_S);
    let speed = f64::from(MAX_SPEED) * 3_f64.sqrt();
    (2.0 * speed * blind_s + f64::from(MAX_OFFSET_M)) * 1e3
}

pub(super) fn met_share(played: &Played) -> f64 {
    let sum = |of: fn(&SubsystemTally) -> u64| played.tally.subsystems.values().map(of).sum::<u64>() as f64;
    sum(|tally| tally.met) / sum(|tally| tally.due).max(1.0)
}

pub(super) fn figures(
    subsystem: &Subsystem,
    played: &Played,
    names: &BTreeMap<NodeId, &'static str>,
) -> SubsystemFigures {
    let tally = played.tally.subsystems.get(&subsystem.kind).cloned().unwrap_or_default();
    let per_step = |bytes: u64| bytes as f64 / (tally.due + tally.copies).max(1) as f64;
    let done_by = played.assignments.get(&subsystem.kind);
    SubsystemFigures {
        kind: subsystem.kind.name(),
        deadline_ms: subsystem.deadline_ms,
        due: tally.due,
        met: tally.met,
        met_share: tally.met as f64 / tally.due.max(1) as f64,
        late: tally.late,
        refused: tally.refused,
        lost: tally.lost,
        copies: tally.copies,
        answer_ms: quantiles(tally.answer_ms.iter().map(|ms| f64::from(*ms))),
        execution_ms: quantiles(tally.execution_ms.iter().map(|ms| f64::from(*ms))),
        sent_bytes_per_step: per_step(tally.sent_bytes),
        snapshot_bytes_per_step: per_step(tally.snapshot_bytes),
        received_bytes_per_step: per_step(tally.received_bytes),
        done_by: done_by.and_then(|peer| names.get(peer).copied()),
    }
}

pub(super) fn loop_figures(played: &Played) -> LoopFigures {
    let frame_ms = 1000.0 / f64::from(FRAMES_PER_S);
    LoopFigures {
        late_ms: quantiles(played.frames.iter().map(|frame| frame.late_ms)),
        work_ms: quantiles(played.frames.iter().map(|frame| frame.work_ms)),
        blocked: played.frames.iter().filter(|frame| frame.late_ms + frame.work_ms > frame_ms).count(),
    }
}

pub(super) fn move_figure(frame: u32, change: &Move, names: &BTreeMap<NodeId, &'static str>) -> MoveFigure {
    let name = |peer: &NodeId| names.get(peer).copied().unwrap_or("?");
    MoveFigure {
        frame,
        kind: change.kind.name(),
        from: change.from.as_ref().map(name),
        to: name(&change.to),
        reason: match change.reason {
            MoveReason::First => "its first",
            MoveReason::Lost => "its node is gone",
            MoveReason::Missed => "its node missed deadlines",
            MoveReason::Better => "another one is better",
        },
    }
}

pub(super) fn quantiles(values: impl Iterator<Item = f64>) -> Quantiles {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let at =
        |share: f64| values.get((share * (values.len().saturating_sub(1)) as f64).round() as usize).copied();
    Quantiles {
        mean: values.iter().sum::<f64>() / values.len().max(1) as f64,
        p95: at(0.95).unwrap_or(0.0),
        most: at(1.0).unwrap_or(0.0),
    }
}

pub(super) fn print(outcome: &Outcome) {
    println!(
        "\nA game at {FRAMES_PER_S} frames a second; {} nodes on the same machine do its work, each subsystem's by its own \
         deadline.",
        outcome.contributors
    );
    println!("{}", table(outcome));
    println!("deadlines   {:.2} % of all steps were answered in time", outcome.met_share * 100.0);
    let looped = &outcome.frame_loop;
    println!(
        "loop        {} frames; begun {:.2} ms after they were due (slowest {:.1}), {:.2} ms of work each (slowest {:.1}); \
         {} were held up",
        outcome.frames,
        looped.late_ms.mean,
        looped.late_ms.most,
        looped.work_ms.mean,
        looped.work_ms.most,
        looped.blocked
    );
    let prediction = &outcome.prediction;
    println!(
        "prediction  {} frames showed bodies where they were expected to be, {} between what was known; they were shown {:.2} mm \
         from where they truly were (95 % of frames: {:.1}, worst {:.1}; a guess of 0.2 s is off by {:.0} at most), {} jumped",
        prediction.predicted_frames,
        prediction.between_frames,
        prediction.divergence_mm.mean,
        prediction.divergence_mm.p95,
        prediction.divergence_mm.most,
        prediction.bound_mm,
        prediction.jumps
    );
    println!(
        "checked     {} answers were computed again here, {} were wrong",
        outcome.checked, outcome.wrong
    );
    let first = outcome.moves.iter().filter(|change| change.from.is_none());
    let first: Vec<String> = first.map(|change| format!("{} {}", change.kind, change.to)).collect();
    println!("at first    {}", first.join(", "));
    for accident in &outcome.accidents {
        println!("frame {:>4}  {} is {}", accident.frame, accident.machine, accident.what);
    }
    for change in outcome.moves.iter().filter(|change| change.from.is_some()) {
        println!(
            "frame {:>4}  {} goes from {} to {}: {}",
            change.frame,
            change.kind,
            change.from.unwrap_or("nobody"),
            change.to,
            change.reason
        );
    }
    println!(
        "files       {} (an animation: open it in a browser), {} (what it sounds like)",
        outcome.pictures.display(),
        outcome.sound.display()
    );
}

fn table(outcome: &Outcome) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY);
    table.set_header([
        "",
        "deadline",
        "steps",
        "in time",
        "answered after",
        "95 %",
        "of that work",
        "sent, bytes",
        "whole",
        "came back",
        "copies",
        "done by",
    ]);
    for row in &outcome.subsystems {
        table.add_row([
            row.kind.to_owned(),
            format!("{} ms", row.deadline_ms),
            row.due.to_string(),
            format!("{:.1} %", row.met_share * 100.0),
            format!("{:.1} ms", row.answer_ms.mean),
            format!("{:.1}", row.answer_ms.p95),
            format!("{:.1} ms", row.execution_ms.mean),
            format!("{:.0}", row.sent_bytes_per_step),
            format!("{:.0}", row.snapshot_bytes_per_step),
            format!("{:.0}", row.received_bytes_per_step),
            row.copies.to_string(),
            row.done_by.unwrap_or("nobody").to_owned(),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
