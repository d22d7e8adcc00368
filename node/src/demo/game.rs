//! `demo game`: a game at sixty frames a second whose subsystems other nodes do, one of which is killed and one delayed.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::sync_channel,
    },
};

use anyhow::Context;
use comfy_table::{CellAlignment, Table, presets::UTF8_BORDERS_ONLY};
use p2c2r_game::{
    frame_loop::SubsystemTally,
    level::Level,
    limit::{
        BLOCK_SAMPLES, FRAMES_PER_S, MAX_EXTRAPOLATED_FRAMES, MAX_OFFSET_M, MAX_SPEED, PICTURE_PX,
        SAMPLE_RATE,
    },
    physics,
    picture::compose,
    prediction::Source,
    subsystem::Subsystem,
};
use p2c2r_protocol::{
    id::{NodeId, WorkKind},
    step::LevelSpec,
};
use p2c2r_render::tone::{ToneMapping, ToneTable};
use p2c2r_scheduler::functional::{Move, MoveReason};
use serde::Serialize;
use tokio::{sync::mpsc, task::spawn_blocking};

use super::animation;
use crate::{
    cli::DemoArgs,
    contributor::hindrance::Hindrance,
    fleet::{Fleet, Machine},
    game::{
        check,
        link::{MAX_ARRIVALS, connect_all},
        play::{Ends, News, PlaySpec, Played, play},
    },
};

/// Five alike machines; who does what is learned.
const MACHINES: [Machine; 5] =
    [machine("Anna"), machine("Ben"), machine("Cleo"), machine("Dan"), machine("Eve")];
/// What the game is about: sized so that two cores can carry six processes.
const LEVEL: LevelSpec = LevelSpec { seed: 7, bodies: 96, agents: 240, sounds: 8 };
/// Ten seconds.
const FRAMES: u32 = 600;
/// The delay of the second accident, ms.
const DELAY_MS: u32 = 80;
/// Of how many frames one is in the animation.
const KEEP_EVERY: u32 = 6;
/// Edge of the square that a pixel is shown as.
const ENLARGED: u32 = 3;
/// News that wait.
const NEWS_WAITING: usize = 64;

const fn machine(name: &'static str) -> Machine {
    Machine { name, throttle: 1.0, hindrance: Hindrance { delay_ms: 0, fail_share: 0.0, silent_share: 0.0 } }
}

/// What the demo measured.
#[derive(Serialize)]
struct Outcome {
    schema: &'static str,
    frames: usize,
    contributors: usize,
    subsystems: Vec<SubsystemFigures>,
    /// Share of all steps that were answered in time.
    met_share: f64,
    frame_loop: LoopFigures,
    prediction: PredictionFigures,
    moves: Vec<MoveFigure>,
    accidents: Vec<Accident>,
    checked: u64,
    wrong: u64,
    pictures: PathBuf,
    sound: PathBuf,
}

#[derive(Serialize)]
struct SubsystemFigures {
    kind: &'static str,
    deadline_ms: u32,
    due: u64,
    met: u64,
    met_share: f64,
    late: u64,
    refused: u64,
    lost: u64,
    copies: u64,
    answer_ms: Quantiles,
    execution_ms: Quantiles,
    /// Of a step's snapshot, as it was sent.
    sent_bytes_per_step: f64,
    /// The same without deltas.
    snapshot_bytes_per_step: f64,
    received_bytes_per_step: f64,
    done_by: Option<&'static str>,
}

#[derive(Serialize, Default)]
struct Quantiles {
    mean: f64,
    p95: f64,
    most: f64,
}

#[derive(Serialize)]
struct LoopFigures {
    /// From when a frame was due until it was begun, ms.
    late_ms: Quantiles,
    /// From its begin until everything was sent, ms.
    work_ms: Quantiles,
    /// Frames that took longer than a frame's time: none may.
    blocked: usize,
}

#[derive(Serialize)]
struct PredictionFigures {
    /// Frames whose bodies were predicted, since nobody had computed them yet.
    predicted_frames: usize,
    /// Frames whose bodies were put between moments that somebody had computed.
    between_frames: usize,
    /// Farthest that a body was shown from where it truly was, over all frames, mm.
    divergence_mm: Quantiles,
    /// What a guess can be off by at most, until it is given up and everything stands still, mm.
    bound_mm: f64,
    jumps: u64,
}

#[derive(Serialize)]
struct MoveFigure {
    frame: u32,
    kind: &'static str,
    from: Option<&'static str>,
    to: &'static str,
    reason: &'static str,
}

#[derive(Serialize, Clone)]
struct Accident {
    frame: u32,
    machine: &'static str,
    what: String,
}

/// Runs the demo.
pub async fn run(args: &DemoArgs) -> anyhow::Result<()> {
    eprintln!("starting five nodes");
    let mut fleet = Fleet::start(&MACHINES).await?;
    let names: BTreeMap<NodeId, &'static str> =
        fleet.members.iter().map(|member| (member.id, member.name)).collect();
    let frames = args.frames.unwrap_or(FRAMES);
    let level = Arc::new(Level::new(LEVEL));
    eprintln!(
        "{frames} frames at {FRAMES_PER_S} a second: {} bodies, {} agents, {} sounds; one node is killed at frame {}, \
         another one delayed by {DELAY_MS} ms from frame {}",
        LEVEL.bodies,
        LEVEL.agents,
        LEVEL.sounds,
        frames / 3,
        frames / 3 * 2
    );
    let (played, accidents) = drive(&mut fleet, frames, Arc::clone(&level)).await?;
    eprintln!("computing the true physics, to compare");
    let (truth_level, played) = (Arc::clone(&level), Arc::new(played));
    let compared = Arc::clone(&played);
    let divergence_mm = spawn_blocking(move || divergence_mm(&truth_level, &compared)).await?;
    std::fs::create_dir_all(&args.output)
        .with_context(|| format!("cannot make {}", args.output.display()))?;
    let outcome = Outcome {
        schema: "p2c2r.demo.game/1",
        frames: played.frames.len(),
        contributors: MACHINES.len(),
        met_share: met_share(&played),
        subsystems: Subsystem::ALL.iter().map(|subsystem| figures(subsystem, &played, &names)).collect(),
        frame_loop: loop_figures(&played),
        prediction: PredictionFigures {
            predicted_frames: frames_from(&played, Source::Predicted),
            between_frames: frames_from(&played, Source::Between),
            divergence_mm: quantiles(divergence_mm.iter().copied()),
            bound_mm: bound_mm(),
            jumps: played.tally.jumps,
        },
        moves: played.tally.moves.iter().map(|(frame, change)| move_figure(*frame, change, &names)).collect(),
        accidents,
        checked: played.tally.checked,
        wrong: played.tally.wrong,
        pictures: write_pictures(&args.output, &played)?,
        sound: write_sound(&args.output, &played)?,
    };
    fleet.stop().await;
    if args.json {
        println!("{}", serde_json::to_string(&outcome)?);
    } else {
        print(&outcome);
    }
    Ok(())
}

/// Tells the loop to stop when nobody waits for it any more.
struct StopWithMe(Arc<AtomicBool>);

impl Drop for StopWithMe {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Plays it on a thread of its own, and lets the accidents happen.
async fn drive(fleet: &mut Fleet, frames: u32, level: Arc<Level>) -> anyhow::Result<(Played, Vec<Accident>)> {
    let swarm = fleet.node.swarm.clone().context("this node has no swarm")?;
    let (arrived, arrivals) = sync_channel(MAX_ARRIVALS);
    let links = connect_all(&swarm, level.spec, &arrived).await?;
    let checks = check::start(Arc::clone(&level), arrived)?;
    let (news, heard) = mpsc::channel(NEWS_WAITING);
    let stop = StopWithMe(Arc::default());
    let ends = Ends { links, arrivals, checks, news, stopped: Arc::clone(&stop.0) };
    let spec = PlaySpec { frames, keep_every: KEEP_EVERY, secret: getrandom::u32()? };
    let playing = spawn_blocking(move || play(spec, level, ends));
    let accidents = let_accidents_happen(fleet, frames, heard).await?;
    Ok((playing.await?, accidents))
}

/// Whoever does the physics is killed after a third of the frames; whoever does it after two thirds is delayed.
async fn let_accidents_happen(
    fleet: &mut Fleet,
    frames: u32,
    mut heard: mpsc::Receiver<News>,
) -> anyhow::Result<Vec<Accident>> {
    let mut accidents = Vec::new();
    while let Some(News { frame, assigned }) = heard.recv().await {
        let Some(physicist) = assigned.get(&WorkKind::Physics) else { continue };
        let machine = fleet.name_of(&physicist.to_string());
        if accidents.is_empty() && frame >= frames / 3 {
            fleet.kill(physicist);
            accidents.push(Accident { frame, machine, what: "killed".to_owned() });
        } else if accidents.len() == 1
            && frame >= frames / 3 * 2
            && fleet.members.iter().any(|member| member.id == *physicist)
        {
            fleet.hinder_node(physicist, Hindrance { delay_ms: DELAY_MS, ..Hindrance::default() }).await?;
            accidents.push(Accident { frame, machine, what: format!("delayed by {DELAY_MS} ms") });
        }
    }
    Ok(accidents)
}

fn frames_from(played: &Played, source: Source) -> usize {
    played.frames.iter().filter(|frame| frame.source == source).count()
}

/// Of each frame, how far the body that was shown most wrongly was from where it truly was.
fn divergence_mm(level: &Level, played: &Played) -> Vec<f64> {
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
fn bound_mm() -> f64 {
    let blind_s = f64::from(MAX_EXTRAPOLATED_FRAMES) / f64::from(FRAMES_PER_S);
    let speed = f64::from(MAX_SPEED) * 3_f64.sqrt();
    (2.0 * speed * blind_s + f64::from(MAX_OFFSET_M)) * 1e3
}

fn met_share(played: &Played) -> f64 {
    let sum = |of: fn(&SubsystemTally) -> u64| played.tally.subsystems.values().map(of).sum::<u64>() as f64;
    sum(|tally| tally.met) / sum(|tally| tally.due).max(1.0)
}

fn figures(
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

fn loop_figures(played: &Played) -> LoopFigures {
    let frame_ms = 1000.0 / f64::from(FRAMES_PER_S);
    LoopFigures {
        late_ms: quantiles(played.frames.iter().map(|frame| frame.late_ms)),
        work_ms: quantiles(played.frames.iter().map(|frame| frame.work_ms)),
        blocked: played.frames.iter().filter(|frame| frame.late_ms + frame.work_ms > frame_ms).count(),
    }
}

fn move_figure(frame: u32, change: &Move, names: &BTreeMap<NodeId, &'static str>) -> MoveFigure {
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

fn quantiles(values: impl Iterator<Item = f64>) -> Quantiles {
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

fn write_pictures(folder: &Path, played: &Played) -> anyhow::Result<PathBuf> {
    let path = folder.join("demo-game.png");
    let tone = ToneTable::new(ToneMapping::default());
    let pictures: Vec<Vec<u8>> = played
        .pictures
        .iter()
        .map(|picture| enlarged(&compose(&picture.base, picture.light.as_deref(), &tone)))
        .collect();
    anyhow::ensure!(!pictures.is_empty(), "no base picture has come");
    let size_px = (PICTURE_PX.0 * ENLARGED, PICTURE_PX.1 * ENLARGED);
    animation::write(&path, size_px, (FRAMES_PER_S / KEEP_EVERY) as u16, pictures.iter().map(Vec::as_slice))?;
    Ok(path)
}

/// Each pixel as a square: a picture that suits two cores is hard to see.
fn enlarged(picture: &[u8]) -> Vec<u8> {
    let row =
        |row: &[u8]| -> Vec<u8> { row.chunks(3).flat_map(|pixel| pixel.repeat(ENLARGED as usize)).collect() };
    let rows = picture.chunks(PICTURE_PX.0 as usize * 3);
    rows.flat_map(|pixels| row(pixels).repeat(ENLARGED as usize)).collect()
}

/// All blocks in a WAV file of 16-bit stereo; where one did not come, silence.
fn write_sound(folder: &Path, played: &Played) -> anyhow::Result<PathBuf> {
    let path = folder.join("demo-game.wav");
    let silence = vec![0; BLOCK_SAMPLES * 4];
    let frames = 1..=played.frames.len() as u32;
    let samples: Vec<u8> =
        frames.flat_map(|frame| played.sound.get(&frame).unwrap_or(&silence).iter().copied()).collect();
    let size = u32::try_from(samples.len())?;
    // The 44 bytes that every WAV file of plain samples begins with (RIFF, Microsoft and IBM 1991): the crate for it has
    // had no release since 2023.
    let mut file = Vec::with_capacity(samples.len() + 44);
    file.extend(b"RIFF");
    file.extend((36 + size).to_le_bytes());
    file.extend(b"WAVEfmt ");
    for (value, bytes) in [(16, 4), (1, 2), (2, 2), (SAMPLE_RATE, 4), (SAMPLE_RATE * 4, 4), (4, 2), (16, 2)] {
        file.extend(value.to_le_bytes().into_iter().take(bytes));
    }
    file.extend(b"data");
    file.extend(size.to_le_bytes());
    file.extend(samples);
    std::fs::File::create(&path)
        .and_then(|mut out| out.write_all(&file))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn print(outcome: &Outcome) {
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
