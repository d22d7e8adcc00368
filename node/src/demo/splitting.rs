//! `demo splitting`: the same animation, split by space, by time, by both and by stage; the cuts drawn over the pictures.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use anyhow::Context;
use comfy_table::{CellAlignment, Table, presets::UTF8_BORDERS_ONLY};
use p2c2r_protocol::tile::FrameSize;
use p2c2r_render::{
    denoise::Denoiser,
    scene::generate::{SceneKind, generate_with_drive},
};
use serde::Serialize;
use tokio::sync::watch;

use super::sheet::{COLOURS, Sheet};
use crate::{
    cli::DemoArgs,
    control::{RenderRequest, SplitChoice},
    develop::DevelopSettings,
    fleet::{Fleet, Machine},
    progress::Progress,
    report::FrameReport,
    sequence::{FrameRate, FrameSequence, numbered},
    shoot::Shoot,
};

/// Four unequal machines. With this node they leave room on two cores, so that nobody is measured beside the others.
const MACHINES: [Machine; 4] =
    [Machine::of("Fast", 3.0), Machine::of("Good", 4.0), Machine::of("Fair", 6.0), Machine::of("Slow", 8.0)];
/// This node's own device takes so many times as long as a core.
const OWN_THROTTLE: f32 = 2.0;
/// Width and height of the frames, px.
const SIZE_PX: (u32, u32) = (480, 270);
/// Frames of the animation.
const FRAMES: u32 = 8;
/// The ways to split.
const WAYS: [SplitChoice; 4] =
    [SplitChoice::Spatial, SplitChoice::Temporal, SplitChoice::Nested, SplitChoice::Pipeline];
/// Between things on a sheet, and height of a line, px.
const GAP_PX: u32 = 10;
const LINE_PX: u32 = 22;

/// What came of a way to split.
#[derive(Serialize)]
struct Way {
    split: String,
    /// Expected before it began, ms.
    predicted_ms: Option<f64>,
    /// From the asking to the last picture, ms.
    measured_ms: f64,
    /// Until the first picture was written, ms.
    first_picture_ms: f64,
    /// What each machine did: name, parts, share of the work.
    shares: Vec<(String, u32, f64)>,
    picture: PathBuf,
}

/// Runs the demo.
pub async fn run(args: &DemoArgs) -> anyhow::Result<()> {
    let frames = args.frames.unwrap_or(FRAMES).min(16);
    std::fs::create_dir_all(&args.output)
        .with_context(|| format!("cannot make {}", args.output.display()))?;
    let slowed = MACHINES.map(|machine| machine.throttle.to_string()).join(", ");
    eprintln!("starting four nodes, slowed by {slowed}; this one is slowed by {OWN_THROTTLE}");
    let fleet = Fleet::start_with_owner(OWN_THROTTLE, &MACHINES).await?;
    let folder = fleet.folder().to_owned();
    let scene = folder.join("drive.glb");
    std::fs::write(&scene, generate_with_drive(SceneKind::City, 1, Some(40_000), 2.0))?;
    // So that the machines' speeds are known.
    let warm_up = request(&scene, &folder.join("warm-up.png"), 2.min(frames), SplitChoice::Spatial)?;
    shoot(&fleet, &warm_up).await?;
    let mut ways = Vec::new();
    for split in WAYS {
        let name = format!("{split:?}").to_lowercase();
        eprintln!("{frames} frames, split {name}");
        let output = folder.join(format!("{name}.png"));
        let asked = request(&scene, &output, frames, split)?;
        let (reports, measured_ms, first_picture_ms) = shoot(&fleet, &asked).await?;
        let picture = args.output.join(format!("demo-splitting-{name}.png"));
        draw(&fleet, split, &reports, &output, &picture)?;
        let predicted_ms = reports.first().and_then(|report| report.split.as_ref()).and_then(|split| {
            split
                .forecasts
                .iter()
                .find(|forecast| forecast.strategy == name)
                .map(|forecast| forecast.makespan_ms)
        });
        let shares = shares(&fleet, &reports);
        ways.push(Way { split: name, predicted_ms, measured_ms, first_picture_ms, shares, picture });
    }
    fleet.stop().await;
    if args.json {
        println!("{}", serde_json::to_string(&ways)?);
    } else {
        print(&ways, frames);
    }
    Ok(())
}

fn request(scene: &Path, output: &Path, frames: u32, split: SplitChoice) -> anyhow::Result<RenderRequest> {
    let last = frames.saturating_sub(1);
    Ok(RenderRequest {
        scene: scene.to_owned(),
        output: output.to_owned(),
        frames: Some(FrameSequence { frames: format!("0..={last}").parse()?, rate: FrameRate::FILM }),
        force: true,
        size: FrameSize::new(SIZE_PX.0, SIZE_PX.1)?,
        samples_per_pixel: 4,
        max_depth: 5,
        seed: 1,
        clamp: 0.0,
        environment: None,
        lens_radius: 0.0,
        focus_distance: 0.0,
        camera: "auto".into(),
        deadline_ms: None,
        wait_peers: Some(MACHINES.len()),
        develop: DevelopSettings { denoiser: Denoiser::Atrous, ..DevelopSettings::default() },
        preview: None,
        split,
        resume: false,
    })
}

/// Renders all of it: the reports, how long it took, and how long until the first picture, ms.
async fn shoot(fleet: &Fleet, request: &RenderRequest) -> anyhow::Result<(Vec<FrameReport>, f64, f64)> {
    let since = Instant::now();
    let (progress, _) = watch::channel(Progress::default());
    let mut shoot = Shoot::begin(&fleet.node, request, Arc::new(progress)).await?;
    let (mut reports, mut first_ms) = (Vec::new(), 0.0);
    while let Some(report) = shoot.next().await? {
        if reports.is_empty() {
            first_ms = since.elapsed().as_secs_f64() * 1e3;
        }
        reports.push(report);
    }
    Ok((reports, since.elapsed().as_secs_f64() * 1e3, first_ms))
}

/// What each machine did.
fn shares(fleet: &Fleet, reports: &[FrameReport]) -> Vec<(String, u32, f64)> {
    let mut shares: Vec<(String, u32, f64)> = Vec::new();
    let busy_ms: f64 = reports.iter().flat_map(|report| &report.peers).map(|peer| peer.busy_ms).sum();
    for peer in reports.iter().flat_map(|report| &report.peers).filter(|peer| peer.tiles > 0) {
        let name = fleet.name_of(&peer.node).to_owned();
        let share = peer.busy_ms / busy_ms.max(1e-9);
        match shares.iter_mut().find(|(known, _, _)| *known == name) {
            Some(known) => (known.1, known.2) = (known.1 + peer.tiles, known.2 + share),
            None => shares.push((name, peer.tiles, share)),
        }
    }
    shares.sort_by(|a, b| b.2.total_cmp(&a.2));
    shares
}

fn colour(fleet: &Fleet, node: &str) -> [u8; 3] {
    let index = fleet.members.iter().position(|member| member.id.to_string() == node);
    COLOURS[index.map_or(COLOURS.len() - 1, |index| index.min(COLOURS.len() - 2))]
}

/// Draws who did what over the pictures.
fn draw(
    fleet: &Fleet,
    split: SplitChoice,
    reports: &[FrameReport],
    output: &Path,
    picture: &Path,
) -> anyhow::Result<()> {
    match split {
        SplitChoice::Temporal => {
            let title = "temporal: whole frames, in order, each to the machine that is done with it first";
            draw_frames(fleet, title, reports, output, picture)
        }
        SplitChoice::Nested => {
            let title = "nested: whole frames while there are enough for all, the last ones cut among all";
            draw_frames(fleet, title, reports, output, picture)
        }
        SplitChoice::Pipeline => draw_stages(fleet, reports, output, picture),
        _ => draw_tiles(fleet, reports, output, picture),
    }
}

fn legend(sheet: &mut Sheet, fleet: &Fleet, top: u32, lines: &[(String, String)]) -> anyhow::Result<()> {
    for (line, (node, text)) in (0_u32..).zip(lines) {
        let y = top + line * LINE_PX;
        sheet.fill([GAP_PX, y + 2, 14, 14], colour(fleet, node));
        sheet.write(GAP_PX + 24, y, text)?;
    }
    Ok(())
}

/// The last frame with its tiles.
fn draw_tiles(fleet: &Fleet, reports: &[FrameReport], output: &Path, picture: &Path) -> anyhow::Result<()> {
    let report = reports.last().context("no frame")?;
    let mut frame = Sheet::read(&numbered(output, report.frame.unwrap_or_default()))?;
    for tile in &report.tiles {
        frame.frame(tile.rect, 3, colour(fleet, tile.peer.as_deref().unwrap_or_default()));
    }
    let lines: Vec<(String, String)> = report
        .peers
        .iter()
        .filter(|peer| peer.tiles > 0)
        .map(|peer| {
            let name = fleet.name_of(&peer.node);
            let share = peer.share * 100.0;
            let text =
                format!("{name}: {} tiles, {share:.0} % of the work, {:.0} ms", peer.tiles, peer.busy_ms);
            (peer.node.clone(), text)
        })
        .collect();
    let (width, height) = frame.size_px();
    let mut sheet = Sheet::new(width + 2 * GAP_PX, height + 3 * GAP_PX + LINE_PX * (lines.len() as u32 + 1));
    sheet.write(
        GAP_PX,
        GAP_PX / 2,
        &format!("spatial: tiles of equal predicted time, {:.0} ms a frame", report.frame_ms),
    )?;
    sheet.paste(&frame, GAP_PX, GAP_PX + LINE_PX);
    legend(&mut sheet, fleet, height + 2 * GAP_PX + LINE_PX, &lines)?;
    sheet.save(picture)
}

/// All frames, each, or each of its tiles, framed in the colour of its peer.
fn draw_frames(
    fleet: &Fleet,
    title: &str,
    reports: &[FrameReport],
    output: &Path,
    picture: &Path,
) -> anyhow::Result<()> {
    let columns = 2;
    let (width, height) = SIZE_PX;
    let rows = (reports.len() as u32).div_ceil(columns);
    let cell = (width + GAP_PX, height + GAP_PX);
    let mut sheet = Sheet::new(
        columns * cell.0 + GAP_PX,
        rows * cell.1 + 2 * GAP_PX + LINE_PX * (MACHINES.len() as u32 + 2),
    );
    sheet.write(GAP_PX, GAP_PX / 2, title)?;
    // How many frames each has rendered; parts of frames by their pixels.
    let mut counts: Vec<(String, f64)> = Vec::new();
    for (place, report) in (0_u32..).zip(reports) {
        let mut frame = Sheet::read(&numbered(output, report.frame.unwrap_or_default()))?;
        for tile in &report.tiles {
            let node = tile.peer.clone().unwrap_or_default();
            frame.frame(tile.rect, 5, colour(fleet, &node));
            let [.., tile_width, tile_height] = tile.rect;
            let part = f64::from(tile_width * tile_height) / f64::from(width * height);
            match counts.iter_mut().find(|(known, _)| *known == node) {
                Some((_, count)) => *count += part,
                None => counts.push((node, part)),
            }
        }
        sheet.paste(&frame, GAP_PX + place % columns * cell.0, GAP_PX + LINE_PX + place / columns * cell.1);
    }
    counts.sort_by(|a, b| b.1.total_cmp(&a.1));
    let lines: Vec<(String, String)> = counts
        .into_iter()
        .map(|(node, count)| {
            let count = (count * 10.0).round() / 10.0;
            let text = format!("{}: {count} of {} frames", fleet.name_of(&node), reports.len());
            (node, text)
        })
        .collect();
    legend(&mut sheet, fleet, rows * cell.1 + GAP_PX + LINE_PX, &lines)?;
    sheet.save(picture)
}

/// The last frame, and a bar for each stage.
fn draw_stages(fleet: &Fleet, reports: &[FrameReport], output: &Path, picture: &Path) -> anyhow::Result<()> {
    let report = reports.last().context("no frame")?;
    let stages = report.pipeline.as_ref().map(|pipeline| pipeline.stages.clone()).unwrap_or_default();
    let frame = Sheet::read(&numbered(output, report.frame.unwrap_or_default()))?;
    let (width, height) = frame.size_px();
    let mut sheet =
        Sheet::new(width + 2 * GAP_PX, height + 3 * GAP_PX + LINE_PX * (2 * stages.len() as u32 + 1));
    sheet.write(GAP_PX, GAP_PX / 2, "pipeline: each stage of every frame at its own machine")?;
    sheet.paste(&frame, GAP_PX, GAP_PX + LINE_PX);
    let each_ms = |busy_ms: f64, frames: u32| busy_ms / f64::from(frames.max(1));
    let longest = stages.iter().map(|stage| each_ms(stage.busy_ms, stage.frames)).fold(1e-9, f64::max);
    for (line, stage) in (0_u32..).zip(&stages) {
        let y = height + 2 * GAP_PX + LINE_PX + 2 * line * LINE_PX;
        let ms = each_ms(stage.busy_ms, stage.frames);
        let text = format!(
            "{} at {}: {} frames, {ms:.0} ms each",
            stage.stage,
            fleet.name_of(&stage.peer),
            stage.frames
        );
        sheet.write(GAP_PX, y, &text)?;
        let length = (f64::from(width) * ms / longest).max(2.0) as u32;
        sheet.fill([GAP_PX, y + LINE_PX - 2, length, 12], colour(fleet, &stage.peer));
    }
    sheet.save(picture)
}

fn print(ways: &[Way], frames: u32) {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY);
    table.set_header([
        "split",
        "predicted s",
        "measured s",
        "first picture s",
        "who did how much",
        "drawn in",
    ]);
    for way in ways {
        let shares: Vec<String> = way
            .shares
            .iter()
            .map(|(name, parts, share)| format!("{name} {:.0} % ({parts})", share * 100.0))
            .collect();
        table.add_row([
            way.split.clone(),
            way.predicted_ms.map_or("-".to_owned(), |ms| format!("{:.1}", ms / 1e3)),
            format!("{:.1}", way.measured_ms / 1e3),
            format!("{:.1}", way.first_picture_ms / 1e3),
            shares.join(", "),
            way.picture.display().to_string(),
        ]);
    }
    for column in table.column_iter_mut().skip(1).take(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!(
        "\n{frames} denoised frames of a drive through the night city on four unequal machines and this one:\n{table}\n\
         `render --frames` asks for these forecasts each time, and takes the split that is done first."
    );
}
