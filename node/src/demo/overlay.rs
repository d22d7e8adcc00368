//! `demo swarm --overlay`: a drive through the night city at 60 frames a second, under light that four nodes trace.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use anyhow::Context;
use p2c2r_protocol::tile::{FrameSize, Sampling};
use p2c2r_render::{
    backend::FrameView,
    film::Film,
    realtime::base::{AmbientLight, BasePass, BaseView},
    tone::{ToneMapping, ToneTable},
};
use serde::Serialize;
use tokio::task::spawn_blocking;

use super::{
    animation,
    sheet::{Sheet, enlarged},
    shooting::{film, night_city, shoot},
    stop::StopWithMe,
};
use crate::{
    cli::DemoArgs,
    coordinator::{JobSpec, Policy},
    fleet::{Fleet, Machine},
    overlay::{
        FRAMES_PER_LIGHT, FRAMES_PER_S,
        camera_path::CameraPath,
        figures::{FRAME_MS, OverlayFigures},
        frame_loop::{self, LoopOutcome, LoopSpec, ShownPicture, camera_of},
        light::{Light, LightOrder, LightSource, LightTally},
        size::LoopSize,
    },
};

/// Four machines with nothing wrong: as fast as the cores of this one that they share.
const MACHINES: [Machine; 4] = [
    Machine::of("node-1", 1.0),
    Machine::of("node-2", 1.0),
    Machine::of("node-3", 1.0),
    Machine::of("node-4", 1.0),
];
/// Paths of a pixel of light. Those of the frames before add to them.
const LIGHT_SAMPLES: u32 = 2;
/// Of the city.
const TRIANGLES: u32 = 60_000;
/// Frames of the loop.
const FRAMES: u32 = 600;
/// Frames before the loop, in which the nodes get the scene and their speeds are learned.
const WARM_UP: u32 = 6;
/// Every second picture goes into the animation, and no more than this many.
const KEEP_EVERY: u32 = 2;
const ANIMATION_FRAMES: usize = 90;
/// No picture of it is shown for more frames than that: it would seem to have stopped.
const LONGEST_SHOWN: u32 = FRAMES_PER_S / 2;
/// Paths of a pixel of the picture that the last one is compared with.
const REFERENCE_SAMPLES: u32 = 128;

/// What `--json` prints.
#[derive(Serialize)]
struct Outcome {
    schema: &'static str,
    size_px: FrameSize,
    light_size_px: FrameSize,
    light_samples_per_pixel: u32,
    contributors: usize,
    figures: OverlayFigures,
    /// Of the last picture.
    difference: Difference,
    animation: PathBuf,
    comparison: PathBuf,
}

/// How far pictures are from the path-traced one: mean difference of their 8-bit codes.
#[derive(Debug, Clone, Copy, Serialize)]
struct Difference {
    /// Without light from the swarm.
    base: f64,
    /// As it was shown.
    shown: f64,
}

/// Runs the demo.
pub async fn run(args: &DemoArgs) -> anyhow::Result<()> {
    eprintln!("starting four nodes");
    let fleet = Fleet::start(&MACHINES).await?;
    let largest = LoopSize::largest()?;
    let spec = night_city(&fleet, largest.light, LIGHT_SAMPLES, TRIANGLES).await?;
    let spec = JobSpec { sampling: Sampling { max_depth: 4, clamp: 4.0, ..spec.sampling }, ..spec };
    let mut warm_up = None;
    for seed in 1..=WARM_UP {
        warm_up = film(shoot(&fleet, &spec, Policy::Learned, seed).await?);
    }
    let looped = LoopSpec {
        size: largest.picture,
        path: CameraPath::from(spec.scene.prepared.scene().cameras.first().context("no camera")?.clone()),
        scene: Arc::clone(&spec.scene.prepared),
        frames: args.frames.unwrap_or(FRAMES),
        tone: ToneMapping::default(),
        keep_every: KEEP_EVERY,
    };
    let size = size_in_time(&looped, &spec, warm_up.context("no light came")?).await?;
    let looped = LoopSpec { size: size.picture, ..looped };
    // From here on nobody is waited for.
    let spec = JobSpec { size: size.light, wait_peers: None, ..spec };
    eprintln!(
        "{} frames at {FRAMES_PER_S} a second, {}{}; light for every third, {} at {LIGHT_SAMPLES} samples a pixel",
        looped.frames,
        in_words(looped.size),
        if size == largest { "" } else { " (larger ones would take this machine too long)" },
        in_words(spec.size)
    );
    let (shown, tally) = drive(&fleet, &spec, &looped).await?;
    eprintln!("the last picture once more, path-traced at {REFERENCE_SAMPLES} samples a pixel");
    std::fs::create_dir_all(&args.output)
        .with_context(|| format!("cannot make {}", args.output.display()))?;
    let animation = write_animation(&args.output, looped.size, &shown.pictures)?;
    let (comparison, difference) = compare(&fleet, &spec, &looped, &shown, &args.output).await?;
    fleet.stop().await;
    let outcome = Outcome {
        schema: "p2c2r.demo.overlay/1",
        size_px: looped.size,
        light_size_px: spec.size,
        light_samples_per_pixel: LIGHT_SAMPLES,
        contributors: MACHINES.len(),
        figures: OverlayFigures::of(&shown, &tally),
        difference,
        animation,
        comparison,
    };
    if args.json {
        println!("{}", serde_json::to_string(&outcome)?);
    } else {
        print(&outcome);
    }
    Ok(())
}

/// Finds the size while nothing else is at work, with the light of the last frame of the warm-up.
async fn size_in_time(looped: &LoopSpec, spec: &JobSpec, film: Film) -> anyhow::Result<LoopSize> {
    let sampling = Sampling { seed: WARM_UP, ..spec.sampling };
    let view = FrameView { size: spec.size, sampling, camera: spec.camera };
    let order = LightOrder { frame: 0, camera: spec.camera, due: Instant::now() };
    let looped = looped.clone();
    spawn_blocking(move || {
        let (light, _) = Light::of(&looped.scene, order, &view, &film, None)?;
        Ok(LoopSize::in_time(&looped, &light)?)
    })
    .await?
}

/// Runs the loop on a thread of its own.
async fn drive(
    fleet: &Fleet,
    spec: &JobSpec,
    looped: &LoopSpec,
) -> anyhow::Result<(LoopOutcome, LightTally)> {
    let source = LightSource::start(fleet.node.coordinator.clone(), spec.clone())?;
    let (orders, mut light, end) = source.split();
    let stop = StopWithMe::default();
    let (stopped, looped) = (stop.flag(), looped.clone());
    let shown = spawn_blocking(move || frame_loop::run(&looped, &orders, &mut light, &stopped)).await??;
    Ok((shown, end.tally().await?))
}

fn write_animation(folder: &Path, size: FrameSize, pictures: &[ShownPicture]) -> anyhow::Result<PathBuf> {
    let path = folder.join("demo-overlay.png");
    let from = pictures.len().saturating_sub(ANIMATION_FRAMES);
    let pictures = pictures.get(from..).unwrap_or_default();
    // Each is shown until the next one, whose frames before it may have been left out.
    let until = pictures.iter().skip(1).map(|next| next.frame).chain([u32::MAX]);
    let shown = pictures.iter().zip(until).map(|(picture, until)| {
        let frames = (until - picture.frame).min(LONGEST_SHOWN);
        (frames as u16, picture.rgb.as_slice())
    });
    let shown: Vec<(u16, &[u8])> = shown.collect();
    animation::write(&path, size.into(), FRAMES_PER_S as u16, shown.into_iter())?;
    Ok(path)
}

/// The last picture beside the base alone and the path-traced truth.
async fn compare(
    fleet: &Fleet,
    spec: &JobSpec,
    looped: &LoopSpec,
    shown: &LoopOutcome,
    folder: &Path,
) -> anyhow::Result<(PathBuf, Difference)> {
    let last = shown.pictures.last().context("no frame was shown")?;
    let camera = camera_of(looped, last.frame);
    let view = BaseView { size: looped.size, camera };
    let base = BasePass::new().render(&looped.scene, &view, looped.size.full(), &AmbientLight::default())?;
    let sampling = Sampling { samples: REFERENCE_SAMPLES, ..spec.sampling };
    let truth = JobSpec { size: looped.size, camera, sampling, deadline_ms: None, ..spec.clone() };
    let truth = film(shoot(fleet, &truth, Policy::Learned, 1).await?).context("no path-traced picture")?;
    let table = ToneTable::new(looped.tone);
    let codes = |radiance: [f32; 3]| table.to_srgb8(radiance);
    let base: Vec<u8> = base.radiance().flat_map(codes).collect();
    let truth: Vec<u8> = truth.pixels().iter().copied().flat_map(codes).collect();
    let difference = Difference { base: apart(&base, &truth), shown: apart(&last.rgb, &truth) };
    let path = folder.join("demo-overlay-comparison.png");
    let panels = [
        ("made here, without the swarm", base),
        ("as it was shown, with its light", last.rgb.clone()),
        ("path-traced, for comparison", truth),
    ];
    side_by_side(looped.size, panels)?.save(&path)?;
    Ok((path, difference))
}

fn side_by_side(size: FrameSize, panels: [(&str, Vec<u8>); 3]) -> anyhow::Result<Sheet> {
    const GAP: u32 = 8;
    const TITLE_PX: u32 = 24;
    // Titles are not wider than this.
    const LEAST_WIDTH_PX: u32 = 240;
    let times = LEAST_WIDTH_PX.div_ceil(size.width_px());
    let (width, height) = (size.width_px() * times, size.height_px() * times);
    let mut sheet = Sheet::new(3 * (width + GAP) + GAP, height + TITLE_PX + GAP);
    for (left, (title, pixels)) in (GAP..).step_by((width + GAP) as usize).zip(panels) {
        let panel = Sheet::of_pixels(width, height, enlarged(&pixels, size.width_px(), times))?;
        sheet.write(left, 4, title)?;
        sheet.paste(&panel, left, TITLE_PX);
    }
    Ok(sheet)
}

fn in_words(size: FrameSize) -> String {
    format!("{}x{}", size.width_px(), size.height_px())
}

/// Mean difference of codes.
fn apart(a: &[u8], b: &[u8]) -> f64 {
    let sum: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / a.len().max(1) as f64
}

fn print(outcome: &Outcome) {
    let figures = &outcome.figures;
    let light = &figures.light;
    let percent = |share: f64| share * 100.0;
    println!(
        "\nA game at {FRAMES_PER_S} frames a second ({:.1} ms each) on one thread of this process; {} nodes on the same \
         machine trace its light.",
        FRAME_MS, outcome.contributors
    );
    println!(
        "frames         {} of {} shown at {:.1} Hz, {} left out; {:.1} ms from when a frame is due until it is done (95 %: {:.1}, slowest {:.1}); {} later than {:.1} ms",
        figures.frames,
        in_words(outcome.size_px),
        figures.base_hz,
        figures.left_out,
        figures.frame_ms.mean,
        figures.frame_ms.p95,
        figures.frame_ms.most,
        figures.late_frames,
        FRAME_MS
    );
    println!(
        "light          {:.1} Hz of at most {:.0}; {} ordered, {} came, {} not in full, {} not at all; {} skipped since another was under way",
        figures.overlay_hz,
        f64::from(FRAMES_PER_S) / f64::from(FRAMES_PER_LIGHT),
        light.due - light.skipped,
        light.fetched,
        light.partial,
        light.failed,
        light.skipped
    );
    println!(
        "               {:.0} ms on its way (95 %: {:.0}), of these {:.1} to find who is ready; {} missed their deadline of {} ms",
        light.light_ms.mean,
        light.light_ms.p95,
        light.gather_ms.mean,
        light.missed_deadlines,
        light.deadline_ms
    );
    println!(
        "staleness      the light of a frame is {:.1} frames old ({:.0} ms; 95 %: {:.0} frames, {:.0} ms); the first {} frames had none yet",
        figures.staleness_frames.mean,
        figures.staleness_ms.mean,
        figures.staleness_frames.p95,
        figures.staleness_ms.p95,
        figures.frames_without_light
    );
    println!(
        "reprojection   {:.1} % of the pixels have their light from the earlier camera, {:.1} % from their neighbours, {:.1} % none",
        percent(figures.reprojected_share),
        percent(figures.filled_share),
        percent(figures.missing_share)
    );
    println!(
        "the last frame {:.1} of 255 from the path-traced picture on average; {:.1} without the swarm's light",
        outcome.difference.shown, outcome.difference.base
    );
    println!(
        "pictures       {} (an animation: open it in a browser), {}",
        outcome.animation.display(),
        outcome.comparison.display()
    );
}
