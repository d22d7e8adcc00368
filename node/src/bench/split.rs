//! Whether the split that is expected to be done first is: twelve animations on three swarms of real nodes, each split in
//! every way.

use std::{path::Path, sync::Arc, time::Instant};

use comfy_table::{CellAlignment, Table, presets::UTF8_BORDERS_ONLY};
use p2c2r_protocol::tile::FrameSize;
use p2c2r_render::{
    denoise::Denoiser,
    scene::generate::{SceneKind, generate_with_drive},
};
use p2c2r_scheduler::split::hybrid::{Forecast, Strategy};
use serde::Serialize;
use tokio::sync::watch;

use crate::{
    cli::BenchSplitArgs,
    contributor::hindrance::Hindrance,
    control::{RenderRequest, SplitChoice},
    develop::DevelopSettings,
    exit::Exit,
    fleet::{Fleet, Machine},
    progress::Progress,
    report::SplitReport,
    sequence::{FrameRate, FrameSequence},
    shoot::{Shoot, strategy::automatic},
    signals::until_stopped,
};

/// Nodes: names, how much slower than a core of this machine each is, and by how much its answers are late, ms.
type Nodes = [(&'static str, f32, u32); 4];

/// So many times as long as a core of this machine takes the owner's own device.
const OWN_THROTTLE: f32 = 2.0;
/// The swarms. All five of each have room on two cores: what one takes does not depend on what the others do.
const SWARMS: [(&str, Nodes); 3] = [
    ("equal", [("A", 4.0, 0), ("B", 4.0, 0), ("C", 4.0, 0), ("D", 4.0, 0)]),
    ("unequal", [("A", 3.0, 0), ("B", 4.0, 0), ("C", 6.0, 0), ("D", 8.0, 0)]),
    ("far away", [("A", 3.0, 60), ("B", 4.0, 90), ("C", 5.0, 120), ("D", 6.0, 60)]),
];
/// The works.
const WORKS: [Work; 4] = [
    Work { name: "2 large frames", frames: 2, size_px: (480, 270), samples: 8, denoise: false },
    Work { name: "6 frames, denoised", frames: 6, size_px: (320, 180), samples: 8, denoise: true },
    Work { name: "12 frames", frames: 12, size_px: (320, 180), samples: 4, denoise: false },
    Work { name: "24 small frames", frames: 24, size_px: (192, 108), samples: 4, denoise: true },
];
/// The ways to split that are measured, in the order of [`Strategy::ALL`].
const WAYS: [SplitChoice; 4] =
    [SplitChoice::Spatial, SplitChoice::Temporal, SplitChoice::Pipeline, SplitChoice::Nested];

#[derive(Debug, Clone, Copy)]
struct Work {
    name: &'static str,
    frames: u32,
    size_px: (u32, u32),
    samples: u32,
    denoise: bool,
}

/// An animation on a swarm.
#[derive(Debug, Serialize)]
struct Row {
    swarm: &'static str,
    work: &'static str,
    /// Predicted, ms, in the order of the ways.
    predicted_ms: Vec<f64>,
    /// Measured in each round, ms, in the order of the ways.
    measured_ms: Vec<Vec<f64>>,
    chosen: &'static str,
    /// The mean of what the chosen one took against that of the best one of all.
    of_best: f64,
    /// Against that of the best one that splits in one way only: all but the nested one.
    of_best_single: f64,
    /// The longest of a way's times against its shortest, for the way in which they differ most.
    spread: f64,
}

/// Runs the bench to its end, or until it is interrupted.
pub async fn run(args: BenchSplitArgs) -> anyhow::Result<Exit> {
    until_stopped(Box::pin(compare(args))).await
}

async fn compare(args: BenchSplitArgs) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for (swarm, nodes) in SWARMS {
        let machines: Vec<Machine> = nodes
            .iter()
            .map(|(name, throttle, delay_ms)| Machine {
                name,
                throttle: *throttle,
                hindrance: Hindrance { delay_ms: *delay_ms, ..Hindrance::default() },
            })
            .collect();
        let fleet = Fleet::start_with_owner(OWN_THROTTLE, &machines).await?;
        let scene = fleet.folder().join("drive.glb");
        std::fs::write(&scene, generate_with_drive(SceneKind::City, 1, Some(40_000), 2.0))?;
        // So that the nodes' speeds are known, what pictures take here, and how far forecasts are off.
        for work in &WORKS {
            let warm_up = Work { frames: 4, ..*work };
            for way in WAYS {
                measure(&fleet, &scene, &warm_up, way, machines.len()).await?;
            }
        }
        for work in &WORKS {
            eprintln!("{swarm}: {}", work.name);
            let (mut measured_ms, mut split) = (vec![Vec::new(); WAYS.len()], None);
            for round in 0..args.rounds as usize {
                for turn in 0..WAYS.len() {
                    // Another one is first in each round: what the machine does besides hits none more than others.
                    let way = (round + turn) % WAYS.len();
                    let (ms, report) = measure(&fleet, &scene, work, WAYS[way], machines.len()).await?;
                    measured_ms[way].push(ms);
                    // What was known before the first of them.
                    split = split.or(report);
                }
            }
            rows.extend(split.map(|split| row(swarm, work, &split, measured_ms)));
        }
        fleet.stop().await;
    }
    if args.json {
        println!("{}", serde_json::to_string(&rows)?);
    } else {
        print(&rows);
    }
    Ok(())
}

async fn measure(
    fleet: &Fleet,
    scene: &Path,
    work: &Work,
    split: SplitChoice,
    peers: usize,
) -> anyhow::Result<(f64, Option<SplitReport>)> {
    let denoiser = if work.denoise { Denoiser::Atrous } else { Denoiser::Off };
    let request = RenderRequest {
        scene: scene.to_owned(),
        output: fleet.folder().join("bench.png"),
        frames: Some(FrameSequence {
            frames: format!("0..={}", work.frames.saturating_sub(1)).parse()?,
            rate: FrameRate::FILM,
        }),
        force: true,
        size: FrameSize::new(work.size_px.0, work.size_px.1)?,
        samples_per_pixel: work.samples,
        max_depth: 5,
        seed: 1,
        clamp: 0.0,
        environment: None,
        lens_radius: 0.0,
        focus_distance: 0.0,
        camera: "auto".into(),
        deadline_ms: None,
        wait_peers: Some(peers),
        develop: DevelopSettings { denoiser, ..DevelopSettings::default() },
        preview: None,
        split,
        resume: false,
    };
    let since = Instant::now();
    let (progress, _) = watch::channel(Progress::default());
    let mut shoot = Shoot::begin(&fleet.node, &request, Arc::new(progress)).await?;
    let mut report = None;
    while let Some(frame) = shoot.next().await? {
        report = report.or(frame.split);
    }
    Ok((since.elapsed().as_secs_f64() * 1e3, report))
}

fn row(swarm: &'static str, work: &Work, split: &SplitReport, measured_ms: Vec<Vec<f64>>) -> Row {
    let ways = Strategy::ALL;
    let forecast = |way: &Strategy| {
        let found = split.forecasts.iter().find(|forecast| forecast.strategy == way.name());
        let (makespan_ms, whole_frames) =
            found.map_or((f64::NAN, 0), |forecast| (forecast.makespan_ms, forecast.whole_frames));
        Forecast { strategy: *way, makespan_ms, whole_frames }
    };
    let forecasts: Vec<Forecast> = ways.iter().map(forecast).collect();
    let chosen = automatic(&forecasts).map_or(Strategy::Spatial, |chosen| chosen.strategy);
    let means = || ways.iter().zip(measured_ms.iter().map(|rounds| mean(rounds)));
    let of_chosen = means().find(|(way, _)| **way == chosen).map_or(f64::NAN, |(_, ms)| ms);
    let best_ms = |of: fn(Strategy) -> bool| {
        means().filter(|(way, _)| of(**way)).map(|(_, ms)| ms).fold(f64::INFINITY, f64::min)
    };
    let spread = |rounds: &Vec<f64>| {
        rounds.iter().copied().fold(0.0, f64::max) / rounds.iter().copied().fold(f64::INFINITY, f64::min)
    };
    Row {
        swarm,
        work: work.name,
        predicted_ms: forecasts.iter().map(|forecast| forecast.makespan_ms).collect(),
        chosen: chosen.name(),
        of_best: of_chosen / best_ms(|_| true),
        of_best_single: of_chosen / best_ms(|way| way != Strategy::Nested),
        spread: measured_ms.iter().map(spread).fold(0.0, f64::max),
        measured_ms,
    }
}

fn mean(rounds_ms: &[f64]) -> f64 {
    rounds_ms.iter().sum::<f64>() / rounds_ms.len() as f64
}

fn print(rows: &[Row]) {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY);
    let ways =
        Strategy::ALL.iter().flat_map(|way| [format!("{}: predicted", way.name()), "measured s".to_owned()]);
    let around = |name: &str| name.to_owned();
    let header = ["swarm", "animation"].map(around).into_iter().chain(ways);
    table.set_header(header.chain(["chosen", "x best", "x best single", "spread"].map(around)));
    for row in rows {
        let mut cells = vec![row.swarm.to_owned(), row.work.to_owned()];
        for (predicted, measured) in row.predicted_ms.iter().zip(&row.measured_ms) {
            cells.extend([format!("{:.1}", predicted / 1e3), format!("{:.1}", mean(measured) / 1e3)]);
        }
        cells.push(row.chosen.to_owned());
        cells.extend([row.of_best, row.of_best_single, row.spread].map(|ratio| format!("{ratio:.2}")));
        table.add_row(cells);
    }
    for column in table.column_iter_mut().skip(2).take(2 * WAYS.len()) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let worst = |of: fn(&Row) -> f64| rows.iter().map(of).fold(0.0, f64::max);
    println!(
        "{table}\nthe chosen split takes at most {:.2} x the best one's time, {:.2} x that of the best single one (not nested)",
        worst(|row| row.of_best),
        worst(|row| row.of_best_single)
    );
}
