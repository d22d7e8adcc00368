//! `linkemu`: a bad line between two network interfaces, for kernels without `netem`; and a probe that measures lines.

#[cfg(target_os = "linux")]
mod cable;
mod line;
mod order;
mod probe;

use std::{io::BufRead, net::SocketAddr, thread, time::Duration};

use anyhow::Context;
use clap::{Parser, Subcommand};

use self::{line::LineSpec, order::LineArgs};

/// Lays a bad line between two network interfaces, or measures one.
#[derive(Debug, Parser)]
#[command(name = "linkemu", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes two interfaces that are the ends of a line, and stays. Needs root and /dev/net/tun; give the interfaces to
    /// network namespaces with `ip link set NAME netns NS`. Lines on stdin change it: `delay 50 jitter 20 loss 1 rate 10`, `cut`;
    /// `counts` prints what became of the frames
    #[command(after_help = "Example: linkemu lay left right --delay 50 --loss 1 --rate 10")]
    Lay {
        /// Names of the interfaces.
        #[arg(num_args = 2, required = true, value_names = ["A", "B"])]
        names: Vec<String>,
        #[command(flatten)]
        line: LineArgs,
        /// What is drawn by chance is the same for the same seed.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Sends back every datagram that comes, until it is stopped.
    Echo {
        /// Where to listen.
        at: SocketAddr,
    },
    /// Sends datagrams to an echo and prints how many came back, how late, and in which order, as JSON.
    Probe {
        /// The echo.
        to: SocketAddr,
        /// How many datagrams.
        #[arg(long, default_value_t = 200)]
        count: u32,
        /// Between two of them, ms.
        #[arg(long, default_value_t = 5.0)]
        interval_ms: f64,
        /// Size of each, bytes.
        #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(16..=1400))]
        bytes: u16,
    },
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Lay { names, line, seed } => lay(&names, line.spec()?, seed),
        Command::Echo { at } => Ok(probe::echo(at)?),
        Command::Probe { to, count, interval_ms, bytes } => {
            let interval = Duration::try_from_secs_f64(interval_ms / 1e3).context("no such interval")?;
            let measured = probe::probe(to, count, interval, bytes.into())?;
            println!("{}", serde_json::to_string(&measured)?);
            Ok(())
        }
    }
}

#[cfg(target_os = "linux")]
fn lay(names: &[String], spec: LineSpec, seed: u64) -> anyhow::Result<()> {
    let [a, b] = names else { anyhow::bail!("a line has two ends") };
    let cable = cable::Cable::lay([a, b], [spec; 2], seed)
        .context("cannot make the interfaces; this needs root and /dev/net/tun")?;
    println!("ready");
    for order in std::io::stdin().lock().lines() {
        match order::parse(&order?) {
            Ok(order::Order::Set(spec)) => cable.set([spec; 2]),
            Ok(order::Order::Counts) => println!("{}", serde_json::to_string(&cable.counts())?),
            Err(error) => eprintln!("error: {error}"),
        }
    }
    // Whoever has nothing more to say wants the line to stay.
    loop {
        thread::park();
    }
}

#[cfg(not(target_os = "linux"))]
fn lay(_names: &[String], _spec: LineSpec, _seed: u64) -> anyhow::Result<()> {
    anyhow::bail!("lines can only be laid on Linux")
}
