//! A work session without a stream: the node's own device takes part like any other.

use std::sync::Arc;

use p2c2r_protocol::id::NodeId;
use tokio::sync::mpsc;

use super::{ContributorLink, CoordinatorLink, Traffic};
use crate::limit::SESSION_QUEUE;

/// Both ends of a session of a node with itself. Results keep their buffers; nothing is copied or encoded.
pub fn local_pair(node: NodeId) -> (CoordinatorLink, ContributorLink) {
    let (to_contributor, from_coordinator) = mpsc::channel(SESSION_QUEUE);
    let (to_coordinator, from_contributor) = mpsc::channel(SESSION_QUEUE);
    let traffic = Arc::<Traffic>::default();
    let coordinator = CoordinatorLink {
        peer: node,
        outbox: to_contributor,
        inbox: from_contributor,
        traffic: Arc::clone(&traffic),
    };
    (coordinator, ContributorLink { peer: node, outbox: to_coordinator, inbox: from_coordinator, traffic })
}
