//! Games of real nodes in one process.

use std::{path::Path, sync::mpsc::sync_channel};

use p2c2r_protocol::step::LevelSpec;
use p2c2r_render::{backend::BackendChoice, limit::MAX_PREPARED_BYTES};
use p2c2r_swarm::PeerStatus;
use tokio::task::{JoinHandle, spawn_blocking};

use super::*;
use crate::{
    config::{DeviceConfig, NodeConfig, Throttle},
    contributor::hindrance::Hindrance,
    data_dir::DataDir,
    game::{
        check,
        company::Company,
        link::{MAX_ARRIVALS, connect_self},
    },
    node::Node,
};

/// Far more frames than what is waited for takes.
const MANY_FRAMES: u32 = 60 * 60;

fn device() -> DeviceConfig {
    DeviceConfig {
        backend: BackendChoice::Cpu,
        threads: Some(1),
        scene_memory_bytes: MAX_PREPARED_BYTES,
        throttle: Throttle::default(),
    }
}

async fn node(folder: &Path, join: Vec<String>) -> Node {
    let join = join.iter().map(|ticket| ticket.parse().unwrap()).collect();
    let listen = vec!["/ip4/127.0.0.1/tcp/0".into()];
    let config = NodeConfig { listen, join, contribute: true, ..NodeConfig::alone(device()) };
    Node::start(&config, DataDir::open(folder).unwrap()).await.unwrap()
}

fn level() -> Arc<Level> {
    Arc::new(Level::new(LevelSpec { seed: 3, bodies: 12, agents: 12, sounds: 1 }))
}

fn begin(frames: u32, ends: Ends) -> JoinHandle<Played> {
    let spec = PlaySpec { frames, keep_every: 20, secret: 1 };
    spawn_blocking(move || play(spec, level(), ends))
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_peer_this_node_does_everything() {
    let node = Node::start_alone(device(), None).await.unwrap();
    let (arrived, arrivals) = sync_channel(MAX_ARRIVALS);
    let links = vec![connect_self(&node, level().spec, arrived.clone()).await.unwrap()];
    let checks = check::start(level(), arrived).unwrap();
    let (news, _heard) = mpsc::channel(8);
    let stopped = Arc::default();
    let played = begin(60, Ends { links, arrivals, checks, news, stopped }).await.unwrap();
    assert_eq!(played.frames.len(), 60);
    for (kind, tally) in &played.tally.subsystems {
        assert!(tally.met > 0, "{kind:?}: {tally:?}");
    }
    assert_eq!(played.tally.subsystems.len(), WorkKind::ALL.len());
    assert!(played.assignments.values().all(|peer| *peer == node.id));
    assert_eq!(played.tally.wrong, 0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_later_takes_part() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let owner = node(folders[0].path(), Vec::new()).await;
    let (arrived, arrivals) = sync_channel(MAX_ARRIVALS);
    let mut company = Company::new(&owner, level().spec, arrived.clone()).unwrap();
    let links = company.gather(&owner).await.unwrap();
    assert_eq!(links.len(), 1, "nobody else is there");
    let checks = check::start(level(), arrived).unwrap();
    let (news, mut heard) = mpsc::channel(8);
    let stopped = Arc::<AtomicBool>::default();
    let ends = Ends { links, arrivals, checks, news, stopped: Arc::clone(&stopped) };
    let playing = begin(MANY_FRAMES, ends);
    let ticket = owner.swarm.as_ref().unwrap().ticket().await.unwrap().to_string();
    let guest = node(folders[1].path(), vec![ticket]).await;
    let taken_over = async {
        while let Some(News { assigned, .. }) = heard.recv().await {
            if assigned.values().any(|peer| *peer == guest.id) {
                return true;
            }
        }
        false
    };
    let taken_over = tokio::select! {
        taken_over = taken_over => taken_over,
        never = company.welcome() => match never {},
    };
    stopped.store(true, Ordering::Relaxed);
    let played = playing.await.unwrap();
    assert!(taken_over, "{:?}", played.assignments);
    guest.stop().await;
    owner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_says_nothing_when_it_is_tried_takes_no_part_and_costs_nobody_else_the_game() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let owner = node(folders[0].path(), Vec::new()).await;
    let ticket = owner.swarm.as_ref().unwrap().ticket().await.unwrap().to_string();
    let honest = node(folders[1].path(), vec![ticket.clone()]).await;
    let silent = node(folders[2].path(), vec![ticket]).await;
    silent.contributor.hinder(Hindrance { fail_share: 1.0, silent_share: 1.0, ..Hindrance::default() }).await;
    let (arrived, arrivals) = sync_channel(MAX_ARRIVALS);
    let mut company = Company::new(&owner, level().spec, arrived.clone()).unwrap();
    all_heard(&owner, 2).await;
    let links = company.gather(&owner).await.unwrap();
    assert_eq!(links.len(), 3, "the owner and two guests");
    let checks = check::start(level(), arrived).unwrap();
    let (news, _heard) = mpsc::channel(8);
    let stopped = Arc::default();
    let played = begin(60, Ends { links, arrivals, checks, news, stopped }).await.unwrap();
    let moved_to = |node: &Node| played.tally.moves.iter().any(|(_, to)| to.to == node.id);
    assert!(!moved_to(&silent), "{:?}", played.tally.moves);
    assert!(moved_to(&honest), "{:?}", played.tally.moves);
    assert_eq!((played.frames.len(), played.assignments.len()), (60, WorkKind::ALL.len()));
    for node in [silent, honest, owner] {
        node.stop().await;
    }
}

/// Waits until a node has heard of so many others that do work.
async fn all_heard(owner: &Node, count: usize) {
    let heard = async {
        let willing = |status: &PeerStatus| status.heartbeat.as_ref().is_some_and(|beat| beat.contributing);
        while owner.swarm.as_ref().unwrap().peers().await.iter().filter(|status| willing(status)).count()
            < count
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), heard).await.expect("the others were not heard of");
}
