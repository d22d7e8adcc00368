//! `run`: a node that stays.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use tracing::info;

use crate::{
    cli::{GlobalArgs, RunArgs},
    config::NodeConfig,
    control::server::ControlServer,
    data_dir::{self, DataDir},
    exit::Exit,
    node::Node,
    signals::StopSignals,
};

/// A stop that takes longer is cut short; what is lost then can be rendered again.
const STOP_LIMIT: Duration = Duration::from_secs(12);

/// Runs until SIGINT or SIGTERM.
pub async fn run(global: &GlobalArgs, args: RunArgs) -> anyhow::Result<Exit> {
    let config = NodeConfig::load(args.config.as_deref(), &args.network, &args.device, &args.offer)?;
    let root = data_dir::resolve(global.data_dir.as_deref())?;
    let data = DataDir::open(&root)?;
    let mut stop = StopSignals::listen()?;
    let node = tokio::select! {
        node = Node::start(&config, data) => Arc::new(node?),
        () = stop.recv() => return Ok(Exit::Done),
    };
    let control = ControlServer::bind(&root)?;
    if !global.quiet {
        announce(&node).await;
    }
    tokio::select! {
        () = control.serve(Arc::clone(&node)) => {}
        () = stop.recv() => info!("stopping: handing tiles back"),
    }
    drop(control);
    end(node, &mut stop).await
}

/// A second signal ends the stop at once.
async fn end(node: Arc<Node>, stop: &mut StopSignals) -> anyhow::Result<Exit> {
    tokio::select! {
        stopped = tokio::time::timeout(STOP_LIMIT, node.stop()) => {
            stopped.context("the node did not stop in time; its tiles are placed anew by their owners")?;
            Ok(Exit::Done)
        }
        () = stop.recv() => Ok(Exit::Interrupted),
    }
}

/// What a person who started the node wants to know next.
async fn announce(node: &Node) {
    let device = &node.device;
    eprintln!(
        "node {}\n  renders on {} ({}), {:.1} Mrays/s, class {}",
        node.id,
        device.info.adapter,
        device.info.kind,
        device.mrays_per_s,
        if device.info.exact { "exact" } else { "tolerant" },
    );
    if let Some(swarm) = &node.swarm
        && let Ok(ticket) = swarm.ticket().await
    {
        eprintln!("  others join with: p2c2r-node run --join {ticket}");
    }
}
