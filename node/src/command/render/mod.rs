//! `render`: through the running node if there is one, else with a short-lived node; a picture, or one frame after the
//! other.

mod outcome;
mod request;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use self::outcome::Outcome;
use crate::{
    cli::{GlobalArgs, OfferArgs, RenderArgs},
    config::{DeviceConfig, NodeConfig},
    control::{RenderRequest, Reply, Request, client::Client},
    data_dir::{self, DataDir},
    exit::Exit,
    node::Node,
    progress::{Phase, Progress, ProgressView},
    shoot::{Shoot, check_outputs},
    signals::StopSignals,
};

/// A short-lived node looks for peers on the local network for this long.
const DISCOVERY: Duration = Duration::from_millis(1500);
/// With a ticket, or with peers asked for, it looks this long.
const JOIN_DISCOVERY: Duration = Duration::from_secs(15);
/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Renders a picture, or the frames of an animation.
pub async fn render(global: &GlobalArgs, args: RenderArgs) -> anyhow::Result<Exit> {
    let request = request::request(&args)?;
    // Whatever is wrong with the outputs is said before anything is rendered.
    if let Some(sequence) = &request.frames {
        sequence.check()?;
    }
    check_outputs(&request)?;
    outcome::check_reports(&args)?;
    let mut stop = StopSignals::listen()?;
    let view = ProgressView::new(global.quiet);
    if let Some(vain) = request::without_effect(&args) {
        view.note(&format!("warning: {vain}"));
    }
    let phase = view.phase();
    let mut outcome = Outcome::new(global, &args, view);
    let standing = outcome.standing();
    let ended = {
        let work = render_somewhere(global, &args, &request, &mut outcome);
        tokio::pin!(work);
        tokio::select! {
            ended = &mut work => Some(ended),
            // A picture that is being written is nearly there: it takes a second interruption to leave it.
            () = stop.recv() => match phase() {
                Phase::Writing => {
                    standing.stop();
                    tokio::select! {
                        ended = &mut work => Some(ended),
                        () = stop.recv() => None,
                    }
                }
                _ => None,
            },
        }
    };
    outcome.view().finish();
    let exit = match ended {
        None => Exit::Interrupted,
        Some(Ok(())) => outcome.exit(),
        Some(Err(error)) => {
            if standing.taken() > 0 {
                eprintln!("{} are written and stay", counted(standing.taken(), &request));
            }
            return Err(error);
        }
    };
    if exit == Exit::Interrupted {
        eprintln!("interrupted{}", what_stays(&args, &request, standing.taken(), phase()));
    }
    Ok(exit)
}

/// What an interruption leaves behind.
fn what_stays(args: &RenderArgs, request: &RenderRequest, taken: u32, phase: Phase) -> String {
    if request.frames.is_some() && taken > 0 {
        return format!("; {} are written and stay", counted(taken, request));
    }
    match phase {
        Phase::Writing => String::new(),
        _ if args.picture.progressive => "; what was shown of the passes stays".to_owned(),
        _ => "; nothing was written".to_owned(),
    }
}

fn counted(taken: u32, request: &RenderRequest) -> String {
    format!("{taken} of {} frames", request.pictures())
}

async fn render_somewhere(
    global: &GlobalArgs,
    args: &RenderArgs,
    request: &RenderRequest,
    outcome: &mut Outcome<'_>,
) -> anyhow::Result<()> {
    if args.local {
        let device = DeviceConfig::from_args(&args.device);
        let node = Node::start_alone(device, args.network.decision_log.clone()).await?;
        return render_on(node, request, outcome).await;
    }
    let root = data_dir::resolve(global.data_dir.as_deref())?;
    let asked = Request::Render(Box::new(request.clone()));
    if let Some(client) = Client::ask_if_running(&root, &asked).await? {
        if args.network.decision_log.is_some() {
            outcome
                .view()
                .note("warning: --decision-log is for the node that coordinates: start `run` with it");
        }
        return follow(client, outcome).await;
    }
    let offer = OfferArgs { no_contribute: true, ..OfferArgs::default() };
    let config = NodeConfig::load(None, &args.network, &args.device, &offer)?;
    let node = Node::start(&config, DataDir::open(&root)?).await?;
    find_peers(&node, &config, args, outcome.view()).await;
    render_on(node, request, outcome).await
}

/// Follows what the running node does, to the last picture.
async fn follow(mut client: Client, outcome: &mut Outcome<'_>) -> anyhow::Result<()> {
    loop {
        match client.reply().await? {
            Reply::Kept { frames } => {
                if outcome.kept(frames).is_break() {
                    return Ok(());
                }
            }
            Reply::Progress(progress) => outcome.progress(&progress),
            Reply::Rendered(report) => {
                if outcome.picture(&report)?.is_break() {
                    return Ok(());
                }
            }
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
async fn render_on(node: Node, request: &RenderRequest, outcome: &mut Outcome<'_>) -> anyhow::Result<()> {
    let ended = render_all(&node, request, outcome).await;
    node.stop().await;
    ended
}

async fn render_all(node: &Node, request: &RenderRequest, outcome: &mut Outcome<'_>) -> anyhow::Result<()> {
    let (progress, mut news) = watch::channel(Progress::default());
    let mut shoot = Shoot::begin(node, request, Arc::new(progress)).await?;
    if shoot.kept() > 0 && outcome.kept(shoot.kept()).is_break() {
        return Ok(());
    }
    loop {
        let report = {
            let picture = shoot.next();
            tokio::pin!(picture);
            loop {
                tokio::select! {
                    report = &mut picture => break report?,
                    Ok(()) = news.changed() => outcome.progress(&news.borrow_and_update()),
                }
            }
        };
        // What was left unshown was of this picture, not of the next.
        news.mark_unchanged();
        let Some(report) = report else { return Ok(()) };
        if outcome.picture(&report)?.is_break() {
            return Ok(());
        }
    }
}
