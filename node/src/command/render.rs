//! `render`: through the running node if there is one, else with a short-lived node.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use p2c2r_render::{
    picture::{PictureOptions, check_target, is_layered},
    tone::ToneMapping,
};
use tokio::sync::watch;

use crate::{
    cli::{GlobalArgs, PictureArgs, RenderArgs},
    config::{DeviceConfig, NodeConfig},
    control::{EnvironmentRequest, RenderRequest, Reply, Request, client::Client, server::render_to_file},
    data_dir::{self, DataDir},
    develop::DevelopSettings,
    exit::Exit,
    node::Node,
    progress::{Phase, Progress, ProgressView},
    report::FrameReport,
    signals::StopSignals,
};

/// A short-lived node looks for peers on the local network for this long.
const DISCOVERY: Duration = Duration::from_millis(1500);
/// With a ticket, or with peers asked for, it looks this long.
const JOIN_DISCOVERY: Duration = Duration::from_secs(15);
/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Renders a picture.
pub async fn render(global: &GlobalArgs, args: RenderArgs) -> anyhow::Result<Exit> {
    let request = request(&args)?;
    // Whatever is wrong with the output is said before anything is rendered.
    check_target(&request.output, request.force)?;
    if let Some(report) = &args.report {
        check_report(report)?;
    }
    let mut stop = StopSignals::listen()?;
    let mut view = ProgressView::new(global.quiet);
    if let Some(vain) = without_effect(&args) {
        view.note(&format!("warning: {vain}"));
    }
    let phase = view.phase();
    let outcome = {
        let work = render_somewhere(global, &args, &request, &mut view);
        tokio::pin!(work);
        tokio::select! {
            outcome = &mut work => Some(outcome),
            // A picture that is being written is nearly there: it takes a second interruption to leave it.
            () = stop.recv() => match phase() {
                Phase::Writing => tokio::select! {
                    outcome = &mut work => Some(outcome),
                    () = stop.recv() => None,
                },
                _ => None,
            },
        }
    };
    view.finish();
    match outcome {
        None => {
            let written = match phase() {
                Phase::Writing => "",
                _ if args.picture.progressive => "; what was shown of the passes stays",
                _ => "; nothing was written",
            };
            eprintln!("interrupted{written}");
            Ok(Exit::Interrupted)
        }
        Some(report) => finish(global, &args, &report?),
    }
}

async fn render_somewhere(
    global: &GlobalArgs,
    args: &RenderArgs,
    request: &RenderRequest,
    view: &mut ProgressView,
) -> anyhow::Result<FrameReport> {
    if args.local {
        let node = Node::start_alone(DeviceConfig::from_args(&args.device)).await?;
        return render_on(node, request, view).await;
    }
    let root = data_dir::resolve(global.data_dir.as_deref())?;
    let asked = Request::Render(Box::new(request.clone()));
    if let Some(client) = Client::ask_if_running(&root, &asked).await? {
        return follow(client, view).await;
    }
    let config = NodeConfig::load(None, &args.network, &args.device, true)?;
    let node = Node::start(&config, DataDir::open(&root)?).await?;
    find_peers(&node, &config, args, view).await;
    render_on(node, request, view).await
}

/// Follows a job on the running node.
async fn follow(mut client: Client, view: &mut ProgressView) -> anyhow::Result<FrameReport> {
    loop {
        match client.reply().await? {
            Reply::Progress(progress) => view.show(&progress),
            Reply::Rendered(report) => return Ok(*report),
            _ => anyhow::bail!("the running node answered something else; restart it with this version"),
        }
    }
}

/// Gives the swarm a moment to show itself, and says what came of it.
async fn find_peers(node: &Node, config: &NodeConfig, args: &RenderArgs, view: &ProgressView) {
    let Some(swarm) = &node.swarm else { return };
    let patience =
        if config.join.is_empty() && args.wait_peers.is_none() { DISCOVERY } else { JOIN_DISCOVERY };
    let wanted = args.wait_peers.unwrap_or(1);
    let since = Instant::now();
    loop {
        let peers = swarm.peers().await;
        let willing = peers
            .iter()
            .filter(|peer| peer.heartbeat.as_ref().is_some_and(|heartbeat| heartbeat.contributing))
            .count();
        if willing >= wanted {
            return view.note(&format!("found {willing} contributing peers"));
        }
        if since.elapsed() >= patience {
            if willing == 0 {
                view.note("no node is running here and no peers were found: rendering locally");
            }
            return;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Renders on a node of our own and stops it.
async fn render_on(
    node: Node,
    request: &RenderRequest,
    view: &mut ProgressView,
) -> anyhow::Result<FrameReport> {
    let (progress, mut news) = watch::channel(Progress::default());
    let outcome = {
        let job = render_to_file(&node, request, Arc::new(progress));
        tokio::pin!(job);
        loop {
            tokio::select! {
                outcome = &mut job => break outcome,
                Ok(()) = news.changed() => view.show(&news.borrow_and_update()),
            }
        }
    };
    node.stop().await;
    outcome
}

fn request(args: &RenderArgs) -> anyhow::Result<RenderRequest> {
    let absolute = |path: &Path| {
        std::path::absolute(path).with_context(|| format!("cannot resolve the path {}", path.display()))
    };
    let shown = args.picture.preview_file.as_ref().unwrap_or(&args.output);
    let environment = args
        .env
        .as_ref()
        .map(|path| -> anyhow::Result<EnvironmentRequest> {
            let (strength, rotation_turns) = (args.env_strength, args.env_rotation / 360.0);
            Ok(EnvironmentRequest { path: absolute(path)?, strength, rotation_turns })
        })
        .transpose()?;
    Ok(RenderRequest {
        preview: args.picture.progressive.then(|| absolute(shown)).transpose()?,
        scene: absolute(&args.scene)?,
        output: absolute(&args.output)?,
        force: args.force,
        size: args.size,
        samples_per_pixel: args.spp,
        max_depth: args.max_depth,
        seed: args.seed,
        clamp: args.clamp,
        environment,
        lens_radius: args.aperture.unwrap_or_default(),
        focus_distance: args.focus_distance.unwrap_or_default(),
        camera: args.camera.clone(),
        deadline_ms: args.deadline_ms,
        wait_peers: args.wait_peers,
        develop: develop_settings(&args.picture),
    })
}

fn develop_settings(args: &PictureArgs) -> DevelopSettings {
    let tone = ToneMapping {
        curve: args.tone.unwrap_or_default(),
        exposure_stops: args.exposure.unwrap_or_default(),
    };
    DevelopSettings {
        denoiser: args.denoise,
        picture: PictureOptions { tone, png_bits: args.png_bits.unwrap_or_default() },
    }
}

/// What was asked for and cannot be had in a file of that format.
fn without_effect(args: &RenderArgs) -> Option<String> {
    let PictureArgs { tone, exposure, png_bits, .. } = &args.picture;
    let asked = tone.is_some() || exposure.is_some() || png_bits.is_some();
    (asked && is_layered(&args.output)).then(|| {
        format!(
            "{} keeps linear radiance: --tone, --exposure and --png-bits are for PNG",
            args.output.display()
        )
    })
}

fn check_report(path: &Path) -> anyhow::Result<()> {
    if path.is_dir() {
        anyhow::bail!("{} is a directory; name a file to write the report to", path.display());
    }
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .map_or(PathBuf::from("."), Path::to_owned);
    if !folder.is_dir() {
        anyhow::bail!("the report's folder {} does not exist", folder.display());
    }
    Ok(())
}

/// Shows the report and writes it where it was asked for.
fn finish(global: &GlobalArgs, args: &RenderArgs, report: &FrameReport) -> anyhow::Result<Exit> {
    if !global.quiet {
        for warning in &report.warnings {
            eprintln!("warning: {warning}");
        }
        eprintln!("{}\n{}", report.table(), report.summary());
        eprintln!("wrote {}", args.output.display());
    }
    if let Some(path) = &args.report {
        write_report(path, report).with_context(|| format!("cannot write the report {}", path.display()))?;
    }
    if args.json {
        println!("{}", serde_json::to_string(report)?);
    }
    if report.least_samples_per_pixel >= report.samples_per_pixel {
        return Ok(Exit::Done);
    }
    if report.missing.is_empty() {
        let (least, asked) = (report.least_samples_per_pixel, report.samples_per_pixel);
        eprintln!(
            "the picture is partial: pixels have {least} samples at least, not {asked}, see the report"
        );
    } else {
        eprintln!("the picture is partial: {} rectangles are missing, see the report", report.missing.len());
    }
    Ok(Exit::Partial)
}

/// Whole or not at all.
fn write_report(path: &Path, report: &FrameReport) -> io::Result<()> {
    let beside = path.with_extension("json.partial");
    std::fs::write(&beside, serde_json::to_vec_pretty(report)?)?;
    std::fs::rename(beside, path)
}
