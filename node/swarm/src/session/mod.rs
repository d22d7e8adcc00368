//! Work sessions, `/p2c2r/task/1`: typed channels at both ends, one libp2p stream between them.
//!
//! A pump per end moves messages between its channels and the stream. It keeps the session's rules, so that the node
//! sees only whole, expected results: [`assembly`] at the coordinator, [`queue`] at the contributor. Dropping a link's
//! outbox flushes and closes the stream; the end of the stream closes the inbox. Every queue is bounded, and a full
//! inbox stops the reading.

mod accept;
mod assembly;
mod batch;
mod contributor;
mod coordinator;
mod local;
mod payload;
mod queue;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use libp2p::StreamProtocol;
use p2c2r_protocol::{
    id::{NodeId, TaskId},
    task::{ContributorMessage, CoordinatorMessage, Load},
};
use tokio::sync::mpsc;

pub(crate) use self::{accept::accept, coordinator::spawn as spawn_coordinator};
pub use local::local_pair;
pub use payload::Payload;
#[cfg(test)]
pub(crate) use tests::{offer, result};

/// The stream protocol.
pub(crate) const PROTOCOL: StreamProtocol = StreamProtocol::new("/p2c2r/task/1");

/// The coordinator's end of a work session.
#[derive(Debug)]
pub struct CoordinatorLink {
    /// The contributor.
    pub peer: NodeId,
    /// To the contributor. Dropping it closes the session.
    pub outbox: mpsc::Sender<CoordinatorMessage>,
    /// From the contributor; ends with the session.
    pub inbox: mpsc::Receiver<ContributorEvent>,
    /// What has gone over the wire; stays zero for the node's own device.
    pub traffic: Arc<Traffic>,
}

/// The contributor's end of a work session.
#[derive(Debug)]
pub struct ContributorLink {
    /// The coordinator.
    pub peer: NodeId,
    /// To the coordinator. Dropping it closes the session when everything in it is sent.
    pub outbox: mpsc::Sender<ContributorEvent>,
    /// From the coordinator; ends with the session.
    pub inbox: mpsc::Receiver<CoordinatorMessage>,
    /// What has gone over the wire; stays zero for the node's own device.
    pub traffic: Arc<Traffic>,
}

/// What a contributor says, with results put together.
#[derive(Debug, Clone, PartialEq)]
pub enum ContributorEvent {
    /// A message; never a `Result` or `Piece`, which travel inside [`ContributorEvent::Result`].
    Message(ContributorMessage),
    /// A whole result, as large as its request asks. Neither its signature nor its pixels are checked here.
    Result(TileResult),
    /// The contributor broke the protocol; the session closes behind this.
    Violation(String),
}

/// A finished tile.
#[derive(Debug, Clone, PartialEq)]
pub struct TileResult {
    /// The attempt's name.
    pub task: TaskId,
    /// The canonical CBOR of the [`p2c2r_protocol::task::ResultStatement`], as signed.
    pub statement: Vec<u8>,
    /// The contributor's signature over it.
    pub signature: Vec<u8>,
    /// The encoded pixels.
    pub payload: Payload,
    /// The contributor's load.
    pub load: Load,
}

/// What a session has moved, in bytes of its stream (without what the transport adds).
#[derive(Debug, Default)]
pub struct Traffic {
    /// Sent.
    pub sent_bytes: AtomicU64,
    /// Received.
    pub received_bytes: AtomicU64,
    /// Of the sent ones: offers.
    pub request_bytes: AtomicU64,
    /// How many offers these were.
    pub offers: AtomicU64,
    /// Of the received ones: those that came while the rest of a message was on its way, when only the line was waited for.
    pub line_bytes: AtomicU64,
    /// How long that took, µs.
    pub line_us: AtomicU64,
}

impl Traffic {
    fn add_sent(&self, bytes: usize) {
        self.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn add_received(&self, bytes: usize) {
        self.received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn add_from_line(&self, bytes: usize, elapsed: Duration) {
        self.line_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.line_us.fetch_add(elapsed.as_micros() as u64, Ordering::Relaxed);
    }

    fn add_offer(&self, bytes: usize) {
        self.request_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.offers.fetch_add(1, Ordering::Relaxed);
    }
}
