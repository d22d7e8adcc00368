//! Streams of steps to peers, and to this node itself: what they answer is checked to be theirs before the loop hears of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::SyncSender,
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use p2c2r_game::frame_loop::Check;
use p2c2r_protocol::{
    id::{NodeId, WorkKind},
    step::{LevelSpec, StepMessage, StepReply, StepRequest, StepStatement},
    task::RejectReason,
};
use p2c2r_swarm::{StepOwnerLink, StepPeerLink, SwarmHandle, limit::STEP_QUEUE};
use tokio::{sync::mpsc, time::timeout};
use tracing::warn;

use crate::node::Node;

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
    /// A peer takes part from now on.
    Joined {
        /// It.
        link: PeerLink,
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
    /// Whether it is this very node.
    pub is_self: bool,
    /// To it; closed when it is gone.
    outbox: mpsc::Sender<(StepMessage, Bytes)>,
    /// Steps that it may still answer.
    asked: Arc<AtomicUsize>,
}

impl PeerLink {
    /// Whether the peer's end is gone.
    pub fn is_closed(&self) -> bool {
        self.outbox.is_closed()
    }

    /// Of use to see whether it is still open.
    pub fn watch(&self) -> LinkWatch {
        LinkWatch(self.outbox.downgrade())
    }

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

/// Tells whether a stream is still open.
#[derive(Debug)]
pub struct LinkWatch(mpsc::WeakSender<(StepMessage, Bytes)>);

impl LinkWatch {
    /// Whether anybody still has an end of it.
    pub fn is_open(&self) -> bool {
        self.0.upgrade().is_some_and(|outbox| !outbox.is_closed())
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
    let link = swarm.open_steps(peer).await?;
    Ok(PeerLink { kinds, ..open(link, level, arrivals).await? })
}

/// Has this very node make the level ready, as if it were a peer.
pub async fn connect_self(
    node: &Node,
    level: LevelSpec,
    arrivals: SyncSender<Arrival>,
) -> anyhow::Result<PeerLink> {
    let (outbox, steps) = mpsc::channel(STEP_QUEUE);
    let (replies, inbox) = mpsc::channel(STEP_QUEUE);
    node.contributor.serve_own_steps(StepPeerLink { owner: node.id, outbox: replies, inbox: steps });
    let link = StepOwnerLink { peer: node.id, outbox, inbox };
    Ok(PeerLink { is_self: true, ..open(link, level, arrivals).await? })
}

async fn open(
    link: StepOwnerLink,
    level: LevelSpec,
    arrivals: SyncSender<Arrival>,
) -> anyhow::Result<PeerLink> {
    let StepOwnerLink { peer, outbox, mut inbox } = link;
    let opening = async {
        outbox.send((StepMessage::Open(level), Bytes::new())).await.ok()?;
        inbox.recv().await
    };
    let opened = timeout(OPEN_LIMIT, opening).await.ok().flatten();
    anyhow::ensure!(
        matches!(opened, Some((StepReply::Opened, _))),
        "{} did not make the level ready within {} s",
        peer.short(),
        OPEN_LIMIT.as_secs()
    );
    let asked = Arc::<AtomicUsize>::default();
    tokio::spawn(listen(peer, inbox, Arc::clone(&asked), arrivals));
    Ok(PeerLink { peer, kinds: WorkKind::ALL.to_vec(), is_self: false, outbox, asked })
}

/// Hears what comes on a stream, until it ends; whoever drops its [`PeerLink`] ends it.
async fn listen(
    peer: NodeId,
    mut inbox: mpsc::Receiver<(StepReply, Bytes)>,
    asked: Arc<AtomicUsize>,
    arrivals: SyncSender<Arrival>,
) {
    while let Some((reply, output)) = inbox.recv().await {
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
