//! `demo game`: a game at sixty frames a second whose subsystems other nodes do, one of which is killed and one delayed.

mod figures;
mod files;

use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc::sync_channel},
};

use anyhow::Context;
use p2c2r_game::{level::Level, limit::FRAMES_PER_S, prediction::Source, subsystem::Subsystem};
use p2c2r_protocol::{
    id::{NodeId, WorkKind},
    step::LevelSpec,
};
use tokio::{sync::mpsc, task::spawn_blocking};

use self::{
    figures::{
        Accident, Outcome, PredictionFigures, bound_mm, divergence_mm, figures, frames_from, loop_figures,
        met_share, move_figure, print, quantiles,
    },
    files::{write_pictures, write_sound},
};
use super::stop::StopWithMe;
use crate::{
    cli::DemoArgs,
    contributor::hindrance::Hindrance,
    fleet::{Fleet, Machine},
    game::{
        check,
        company::Company,
        link::MAX_ARRIVALS,
        play::{Ends, News, PlaySpec, Played, play},
    },
};

/// Five alike machines; who does what is learned.
const MACHINES: [Machine; 5] = [
    Machine::of("Anna", 1.0),
    Machine::of("Ben", 1.0),
    Machine::of("Cleo", 1.0),
    Machine::of("Dan", 1.0),
    Machine::of("Eve", 1.0),
];
/// What the game is about: sized so that two cores can carry six processes.
const LEVEL: LevelSpec = LevelSpec { seed: 7, bodies: 96, agents: 240, sounds: 8 };
/// Ten seconds.
const FRAMES: u32 = 600;
/// The delay of the second accident, ms.
const DELAY_MS: u32 = 80;
/// Of how many frames one is in the animation.
const KEEP_EVERY: u32 = 6;
/// News that wait.
const NEWS_WAITING: usize = 64;

/// Runs the demo.
pub async fn run(args: &DemoArgs) -> anyhow::Result<()> {
    eprintln!("starting five nodes");
    let mut fleet = Fleet::start(&MACHINES).await?;
    let mut names: BTreeMap<NodeId, &'static str> =
        fleet.members.iter().map(|member| (member.id, member.name)).collect();
    names.insert(fleet.node.id, "this node");
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

/// Plays it on a thread of its own, and lets the accidents happen.
async fn drive(fleet: &mut Fleet, frames: u32, level: Arc<Level>) -> anyhow::Result<(Played, Vec<Accident>)> {
    let node = Arc::clone(&fleet.node);
    let (arrived, arrivals) = sync_channel(MAX_ARRIVALS);
    let mut company = Company::new(&node, level.spec, arrived.clone())?;
    let links = company.gather(&node).await?;
    let checks = check::start(Arc::clone(&level), arrived)?;
    let (news, heard) = mpsc::channel(NEWS_WAITING);
    let stop = StopWithMe::default();
    let ends = Ends { links, arrivals, checks, news, stopped: stop.flag() };
    let spec = PlaySpec { frames, keep_every: KEEP_EVERY, secret: getrandom::u32()? };
    let playing = spawn_blocking(move || play(spec, level, ends));
    let accidents = tokio::select! {
        accidents = let_accidents_happen(fleet, frames, heard) => accidents?,
        never = company.welcome() => match never {},
    };
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
        // While this node itself does it, there is nobody that something could happen to.
        if fleet.members.iter().all(|member| member.id != *physicist) {
            continue;
        }
        if accidents.is_empty() && frame >= frames / 3 {
            fleet.kill(physicist);
            accidents.push(Accident { frame, machine, what: "killed".to_owned() });
        } else if accidents.len() == 1 && frame >= frames / 3 * 2 {
            fleet.hinder_node(physicist, Hindrance { delay_ms: DELAY_MS, ..Hindrance::default() }).await?;
            accidents.push(Accident { frame, machine, what: format!("delayed by {DELAY_MS} ms") });
        }
    }
    Ok(accidents)
}
