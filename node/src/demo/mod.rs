//! Demos on real nodes that the command itself starts: what the seed document shows, with figures that were measured.

mod animation;
mod claims;
mod game;
mod learning;
mod overlay;
mod sheet;
mod shooting;
mod splitting;
mod stop;
mod swarm;
mod tally;

use crate::{
    cli::{DemoCommand, GlobalArgs},
    exit::Exit,
    signals::until_stopped,
};

/// Runs a demo to its end, or until it is interrupted; its nodes end with it.
pub async fn run(_global: &GlobalArgs, command: DemoCommand) -> anyhow::Result<Exit> {
    until_stopped(Box::pin(async {
        match &command {
            DemoCommand::Learning(args) => learning::run(args).await,
            DemoCommand::Splitting(args) => splitting::run(args).await,
            DemoCommand::Game(args) => game::run(args).await,
            DemoCommand::Swarm(args) if args.overlay => overlay::run(&args.demo).await,
            DemoCommand::Swarm(args) => swarm::run(&args.demo).await,
        }
    }))
    .await
}
