//! What the swarm tells the node by itself.

use p2c2r_protocol::{heartbeat::Heartbeat, id::NodeId};

use crate::{reach::Reachability, session::ContributorLink, step::StepPeerLink};

/// Something happened in the swarm. A node that does not keep up misses events, but never state:
/// [`crate::SwarmHandle::peers`] tells that at any time.
#[derive(Debug)]
#[non_exhaustive]
pub enum SwarmEvent {
    /// The swarm listens on this address (multiaddr).
    Listening(String),
    /// The first connection to this peer is up.
    Connected(NodeId),
    /// The last connection to this peer is gone.
    Disconnected(NodeId),
    /// A peer has begun to listen to heartbeats: one published now reaches it.
    Subscribed(NodeId),
    /// Others reach this node from elsewhere than before; its ticket has changed.
    Reachability(Reachability),
    /// A new, valid heartbeat.
    Heartbeat {
        /// Whose.
        node: NodeId,
        /// What it says.
        heartbeat: Heartbeat,
    },
    /// A coordinator opened a work session to this node and greeted. Dropping the link closes it.
    Session(ContributorLink),
    /// The owner of a game opened a stream of steps to this node. Dropping the link closes it.
    Steps(StepPeerLink),
}
