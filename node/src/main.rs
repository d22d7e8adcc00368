//! `p2c2r-node`: join a swarm of machines, render on it, contribute to it.

mod bench;
mod cli;
mod command;
mod config;
mod contributor;
mod control;
mod coordinator;
mod data_dir;
mod demo;
mod develop;
mod exit;
mod fleet;
mod game;
mod headless;
mod heartbeat;
mod logging;
mod memory;
mod node;
mod overlay;
mod passes;
mod processor_time;
mod progress;
mod report;
mod scene_library;
mod sentence;
mod sequence;
mod shoot;
mod signals;
mod store;
mod swarm_memory;
#[cfg(feature = "webrtc")]
mod webrtc_certificate;

use std::{process::ExitCode, time::Duration};

use clap::Parser;

use crate::{
    cli::{BenchCommand, Cli, Command},
    exit::Exit,
    sentence::sentence,
};

/// What still runs on a blocking thread at the end gets this long.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    headless::prepare();
    let cli = Cli::parse();
    let stays = matches!(cli.command, Command::Run(_));
    logging::start(cli.global.log_format, cli.global.verbose, cli.global.quiet, stays);
    match dispatch(cli) {
        Ok(exit) => exit.into(),
        Err(error) => {
            // Never a backtrace: what was wrong, where, what to do.
            eprintln!("error: {}", sentence(&error));
            Exit::Failed.into()
        }
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<Exit> {
    let global = cli.global;
    match cli.command {
        Command::Run(args) => run(command::run::run(&global, args)),
        Command::Render(args) => run(command::render::render(&global, *args)),
        Command::Ticket(args) => run(command::query::ticket(&global, args)),
        Command::SwarmKey => command::swarm_key::swarm_key(),
        Command::Status(args) => run(command::query::status(&global, args)),
        Command::Peers(args) => run(command::query::peers(&global, args)),
        Command::Scene(args) => command::scene::scene(&global, &args),
        Command::Sim(args) => command::sim::sim(&args),
        Command::Demo(command) => run(demo::run(&global, command)),
        Command::Bench(BenchCommand::Render(args)) => bench::render::run(&global, &args),
        Command::Bench(BenchCommand::Split(args)) => run(bench::split::run(args)),
        Command::Bench(BenchCommand::Schedule(args)) => run(bench::schedule::run(&global, args)),
        Command::Bench(BenchCommand::Network(args)) => run(bench::network::run(&global, args)),
    }
}

/// Two workers carry the network on any machine; rendering has threads of its own.
fn run<F: Future<Output = anyhow::Result<Exit>>>(work: F) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(work);
    // A scene that is still being built for somebody is not waited for.
    runtime.shutdown_timeout(SHUTDOWN_GRACE);
    outcome
}
