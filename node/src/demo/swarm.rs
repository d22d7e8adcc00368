//! `demo swarm`: frames of the night city on four machines, one of which fails in the middle; beside the naive coordinator
//! on the same machines, frame by frame in turn.

use std::path::Path;

use anyhow::Context;
use p2c2r_protocol::tile::FrameSize;
use p2c2r_render::{
    frame::Frame,
    picture::{self, PictureOptions},
};
use serde::Serialize;

use super::{
    claims::{self, Claim},
    fleet::{Fleet, Machine},
    shooting::{film, night_city, shoot},
    tally::{Figures, Tally},
};
use crate::{cli::DemoArgs, contributor::hindrance::Hindrance, coordinator::Policy};

/// The machines of the seed document's full system. Their speeds leave room for all of them on two cores.
const MACHINES: [Machine; 4] = [
    machine("RTX_4090", 2.0, 10, 0.02),
    machine("RTX_4070", 3.0, 20, 0.04),
    machine("RTX_3080", 3.6, 30, 0.06),
    machine("RTX_3070", 4.4, 40, 0.08),
];
/// Of these, the one that falls silent in the middle.
const FAILING: usize = 1;
/// Frames of the simulation beside it.
const SIMULATED_FRAMES: u32 = 400;

const fn machine(name: &'static str, throttle: f32, delay_ms: u32, fail_share: f32) -> Machine {
    Machine { name, throttle, hindrance: Hindrance { delay_ms, fail_share, silent_share: 0.3 } }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Outcome {
    schema: &'static str,
    naive: Figures,
    learned: Figures,
    claims: Vec<Claim>,
    simulated_naive: Figures,
    simulated_learned: Figures,
    simulated_claims: Vec<Claim>,
}

/// Runs the demo.
pub async fn run(args: &DemoArgs) -> anyhow::Result<()> {
    let frames = args.frames.unwrap_or(10);
    eprintln!("starting four nodes, slowed to stand for {}", names());
    let fleet = Fleet::start(&MACHINES).await?;
    let spec = night_city(&fleet, FrameSize::new(480, 270)?, 8, 60_000).await?;
    eprintln!("{frames} frames of the night city, 480x270 at 8 samples a pixel, by each coordinator in turn");
    let mut tallies = [Tally::of(MACHINES.len()), Tally::of(MACHINES.len())];
    let mut shown = None;
    for frame in 0..frames {
        for (policy, tally) in [Policy::Naive, Policy::Learned].into_iter().zip(&mut tallies) {
            let fails = frame == frames / 2;
            if fails {
                let silent = Hindrance { fail_share: 1.0, silent_share: 1.0, ..MACHINES[FAILING].hindrance };
                fleet.hinder(FAILING, silent).await?;
            }
            let outcome = shoot(&fleet, &spec, policy, frame + 1).await?;
            if fails {
                fleet.hinder(FAILING, MACHINES[FAILING].hindrance).await?;
            }
            let report = outcome.report.clone();
            eprintln!(
                "frame {:2} {}: {:5.0} ms{}{}",
                frame + 1,
                if policy == Policy::Naive { "naive" } else { "p2c2r" },
                report.frame_ms,
                if fails { format!(", {} fell silent in it", MACHINES[FAILING].name) } else { String::new() },
                match report.failures.attempts {
                    0 => String::new(),
                    1 => ", 1 attempt failed".to_owned(),
                    failed => format!(", {failed} attempts failed"),
                }
            );
            tally.add(report);
            shown = film(outcome).or(shown);
        }
    }
    let picture = match shown {
        Some(film) => Some(write(&Frame::from(film), &args.output)?),
        None => None,
    };
    fleet.stop().await;
    let [naive, learned] = tallies.map(|tally| tally.figures());
    eprintln!("the seed document's five machines in virtual time, {SIMULATED_FRAMES} frames by each");
    let (simulated_naive, simulated_learned) =
        tokio::task::spawn_blocking(|| claims::simulated(SIMULATED_FRAMES)).await??;
    let outcome = Outcome {
        schema: "p2c2r.demo.swarm/1",
        claims: claims::claims(&naive, &learned),
        simulated_claims: claims::claims(&simulated_naive, &simulated_learned),
        naive,
        learned,
        simulated_naive,
        simulated_learned,
    };
    if args.json {
        println!("{}", serde_json::to_string(&outcome)?);
    } else {
        print(&outcome, picture.as_deref());
    }
    Ok(())
}

fn print(outcome: &Outcome, picture: Option<&Path>) {
    println!(
        "\nFour nodes on this machine, {} frames by each coordinator, one node silent in the middle.\n\
         naive: min(latency + load x 15), a tile of the same area for each, the next peer after a failure.\n\
         p2c2r: tiles of the same predicted time, learned speeds and risks, copies of late tiles.\n{}",
        outcome.learned.frames,
        claims::table(&outcome.claims)
    );
    println!(
        "\nThe seed document's own five machines and round trips, in virtual time (100 ms of work a frame on the middle one):\n{}",
        claims::table(&outcome.simulated_claims)
    );
    println!(
        "\nIts 48 ms lie under what these machines can do at all (60 ms with their round trips): we say under which\n\
         conditions a figure holds. `p2c2r-node sim testnet/scenarios/seed-five.toml` has every policy and the bound."
    );
    if let Some(picture) = picture {
        println!("The last frame: {}", picture.display());
    }
}

fn names() -> String {
    MACHINES.map(|machine| machine.name).join(", ")
}

fn write(frame: &Frame, folder: &Path) -> anyhow::Result<std::path::PathBuf> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join("demo-swarm.png");
    picture::write(&path, frame, &PictureOptions::default())?;
    Ok(path)
}
