//! What can go wrong in the swarm.

use p2c2r_protocol::{blob, frame::FrameError, id::NodeId};

use crate::wire::ReadError;

/// Why the swarm, or something asked of it, failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SwarmError {
    /// A listen address that is no multiaddr, or one of a transport that this program does not have.
    #[error(
        "`{0}` is no listen address (expected something like /ip4/0.0.0.0/tcp/4001 or /ip4/0.0.0.0/udp/4001/quic-v1)"
    )]
    ListenAddress(String),
    /// An external address that the Internet cannot dial.
    #[error(
        "`{0}` is no address at which the Internet could reach this node (expected something like /ip4/203.0.113.7/udp/4001/quic-v1 or /dns4/example.org/tcp/4001)"
    )]
    ExternalAddress(String),
    /// Somebody else listens there.
    #[error("cannot listen on {0}: the port is in use; stop the other program or choose another port")]
    PortInUse(String),
    /// The system does not let us listen there.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// Where.
        address: String,
        /// What the system says.
        reason: String,
    },
    /// No address to listen on, or none that works.
    #[error("the swarm listens nowhere: give at least one address that exists on this machine")]
    NoListener,
    /// A ticket whose addresses or node id cannot be used.
    #[error("the ticket of {0} names no address that this program can dial")]
    Ticket(NodeId),
    /// A part of the network stack did not start.
    #[error("the network stack did not start: {0}")]
    Start(String),
    /// The peer cannot be reached.
    #[error("cannot reach {peer}: {reason}")]
    Unreachable {
        /// Who.
        peer: NodeId,
        /// Why.
        reason: String,
    },
    /// The swarm has been shut down.
    #[error("the swarm has been shut down")]
    Closed,
}

/// Why a package could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// No stream to the peer.
    #[error(transparent)]
    Swarm(#[from] SwarmError),
    /// The stream broke.
    #[error("the transfer broke off: {0}")]
    Io(#[from] std::io::Error),
    /// Nothing came, or nothing was taken, for too long.
    #[error("the transfer stalled")]
    Stalled,
    /// The peer sent something that is no message.
    #[error("the peer broke the protocol: {0}")]
    Frame(#[from] FrameError),
    /// The peer sent a message that does not answer the question.
    #[error("the peer answered something that was not asked")]
    Unexpected,
    /// The peer does not have the package.
    #[error("the peer does not have this package")]
    NotHere,
    /// The peer serves too many others.
    #[error("the peer is busy serving others; try again later")]
    Busy,
    /// The bytes are not the package's.
    #[error("the peer sent wrong bytes: {0}")]
    Corrupt(#[from] blob::BlobError),
    /// A chunk could not be kept here.
    #[error("the package cannot be kept here: {0}")]
    NotKept(std::io::Error),
    /// The package is not as large as it was said to be.
    #[error("the package is {found_bytes} bytes, not the {expected_bytes} that were announced")]
    Size {
        /// What the peer says.
        found_bytes: u64,
        /// What was announced.
        expected_bytes: u64,
    },
}

impl BlobError {
    /// Whether another stream to the same peer may help.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Io(_) | Self::Stalled | Self::Swarm(_) | Self::Busy)
    }

    /// Whether no honest peer does this.
    pub(crate) fn is_lie(&self) -> bool {
        matches!(self, Self::Corrupt(_) | Self::Frame(_) | Self::Unexpected)
    }
}

/// Why something could not be handed over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandOverError {
    /// No stream to the peer.
    #[error(transparent)]
    Swarm(#[from] SwarmError),
    /// The stream broke.
    #[error("the hand-over broke off: {0}")]
    Io(#[from] std::io::Error),
    /// The stream ended.
    #[error("the hand-over ended in the middle")]
    Ended,
    /// Nothing came, or nothing was taken, for too long.
    #[error("the hand-over stalled")]
    Stalled,
    /// The peer sent something that is no message.
    #[error("the peer broke the protocol: {0}")]
    Frame(#[from] FrameError),
    /// The peer sent a message in the wrong place.
    #[error("the peer sent a message in the wrong place")]
    Unexpected,
    /// The peer does not await it.
    #[error("the peer does not await it")]
    Refused,
    /// The bytes are not those that were named.
    #[error("the bytes are not those that were named")]
    Hash,
}

impl From<ReadError> for HandOverError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(error) => Self::Io(error),
            ReadError::Frame(error) => Self::Frame(error),
        }
    }
}
