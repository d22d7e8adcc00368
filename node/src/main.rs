//! `p2c2r-node`: join a swarm of machines, render on it, contribute to it.

mod bench;
mod cli;
mod command;
mod config;
mod contributor;
mod control;
mod coordinator;
mod data_dir;
mod exit;
mod headless;
mod heartbeat;
mod logging;
mod node;
mod progress;
mod report;
mod scene_library;
mod sentence;
mod signals;
mod store;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    cli::{BenchCommand, Cli, Command},
    exit::Exit,
    sentence::sentence,
};

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
        Command::Run(args) => runtime()?.block_on(command::run::run(&global, args)),
        Command::Render(args) => runtime()?.block_on(command::render::render(&global, args)),
        Command::Ticket(args) => runtime()?.block_on(command::query::ticket(&global, args)),
        Command::Status(args) => runtime()?.block_on(command::query::status(&global, args)),
        Command::Peers(args) => runtime()?.block_on(command::query::peers(&global, args)),
        Command::Scene(args) => command::scene::scene(&args),
        Command::Bench(BenchCommand::Schedule(args)) => {
            runtime()?.block_on(bench::schedule::run(&global, args))
        }
    }
}

/// Two workers carry the network on any machine; rendering has threads of its own.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}
