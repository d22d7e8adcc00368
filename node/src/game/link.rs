//! Streams of steps to peers: what they answer is checked to be theirs before the loop hears of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::SyncSender,
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::Bytes;
use p2c2r_game::frame_loop::Check;
use p2c2r_protocol::{
    id::{NodeId, WorkKind},
    step::{LevelSpec, StepMessage, StepReply, StepRequest, StepStatement},
    task::RejectReason,
};
use p2c2r_swarm::{StepOwnerLink, SwarmHandle};
use tokio::{sync::mpsc, time::timeout};
use tracing::warn;

/// A peer must have made the level ready by then.
const OPEN_LIMIT: Duration = Duration::from_secs(10);
/// Answers that wait for the loop: of more, some are lost.
pub const MAX_ARRIVALS: usize = 512;

/// What the loop hears.
#[derive(Debug)]
pub enum Arrival {
    /// A peer has done a step, and signed it.
    Answer {
        /// Who.
        peer: NodeId,
        /// Which.
        id: u64,
        /// What it signed.
        statement: StepStatement,
        /// What came of it.
        output: Bytes,
        /// When it arrived.
        at: Instant,
    },
    /// A peer does not do a step.
    Refused {
        /// Who.
        peer: NodeId,
        /// Which.
        id: u64,
        /// Why.
        reason: RejectReason,
    },
    /// A peer is gone, or signed what it did not do.
    Lost {
        /// Who.
        peer: NodeId,
    },
    /// An answer was computed again.
    Checked {
        /// Which.
        check: Check,
        /// Whether the same came of it.
        is_right: bool,
    },
}

/// A peer that does steps.
#[derive(Debug)]
pub struct PeerLink {
    /// Who.
    pub peer: NodeId,
    /// What it does.
    pub kinds: Vec<WorkKind>,
    /// To it; closed when it is gone.
    outbox: mpsc::Sender<(StepMessage, Bytes)>,
    /// Steps that it may still answer.
    asked: Arc<AtomicUsize>,
}

impl PeerLink {
    /// Sends a step; not if there is no room, or nobody.
    pub fn ask(&self, request: StepRequest, payload: Bytes) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let sent = self.outbox.try_send((StepMessage::Step(request), payload)).is_ok();
        if !sent {
            self.asked.fetch_sub(1, Ordering::Relaxed);
        }
        sent
    }
}

/// Opens a stream to a peer and has it make the level ready.
pub async fn connect(
    swarm: &SwarmHandle,
    peer: NodeId,
    kinds: Vec<WorkKind>,
    level: LevelSpec,
    arrivals: SyncSender<Arrival>,
) -> anyhow::Result<PeerLink> {
    let mut link = swarm.open_steps(peer).await?;
    let opening = async {
        link.outbox.send((StepMessage::Open(level), Bytes::new())).await.ok()?;
        link.inbox.recv().await
    };
    let opened = timeout(OPEN_LIMIT, opening).await.ok().flatten();
    anyhow::ensure!(
        matches!(opened, Some((StepReply::Opened, _))),
        "{} did not make the level ready within {} s",
        peer.short(),
        OPEN_LIMIT.as_secs()
    );
    let (outbox, asked) = (link.outbox.clone(), Arc::<AtomicUsize>::default());
    tokio::spawn(listen(link, Arc::clone(&asked), arrivals));
    Ok(PeerLink { peer, kinds, outbox, asked })
}

/// Opens streams to all that offer any such work.
pub async fn connect_all(
    swarm: &SwarmHandle,
    level: LevelSpec,
    arrivals: &SyncSender<Arrival>,
) -> anyhow::Result<Vec<PeerLink>> {
    let peers = swarm.peers().await.into_iter().filter_map(|status| {
        let heartbeat = status.heartbeat.filter(|heartbeat| heartbeat.contributing)?;
        Some((status.node, heartbeat.kinds))
    });
    let opening = peers.map(|(peer, kinds)| async move {
        let link = connect(swarm, peer, kinds, level, arrivals.clone()).await;
        link.inspect_err(|error| warn!(peer = %peer.short(), %error, "a peer takes no part in the game")).ok()
    });
    let links: Vec<PeerLink> = futures::future::join_all(opening).await.into_iter().flatten().collect();
    links.first().context("no peer takes part in the game")?;
    Ok(links)
}

async fn listen(mut link: StepOwnerLink, asked: Arc<AtomicUsize>, arrivals: SyncSender<Arrival>) {
    let peer = link.peer;
    while let Some((reply, output)) = link.inbox.recv().await {
        // Before anything is spent on it: nobody answers more than they were asked.
        let was_asked = |left: usize| left.checked_sub(1);
        if asked.fetch_update(Ordering::Relaxed, Ordering::Relaxed, was_asked).is_err() {
            warn!(peer = %peer.short(), "a peer answers what it was not asked");
            break;
        }
        let arrival = match reply {
            StepReply::Done { id, statement, signature } => {
                match StepStatement::open(&peer, &statement, &signature) {
                    Ok(statement) => Arrival::Answer { peer, id, statement, output, at: Instant::now() },
                    Err(error) => {
                        warn!(peer = %peer.short(), %error, "an answer is not what its signature says");
                        break;
                    }
                }
            }
            StepReply::Refused { id, reason } => Arrival::Refused { peer, id, reason },
            _ => break,
        };
        // A loop that does not keep up misses answers; it never holds the network up.
        let _ = arrivals.try_send(arrival);
    }
    // This one it must hear of; its end of the channel may be gone.
    let lost = tokio::task::spawn_blocking(move || arrivals.send(Arrival::Lost { peer }).is_ok());
    let _ = lost.await;
}
