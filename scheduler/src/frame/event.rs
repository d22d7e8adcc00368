//! What happens to a frame.

use p2c2r_protocol::id::{NodeId, TaskId};
use serde::{Deserialize, Serialize};

use crate::peer::PeerView;

/// An event. Those about a task must come from the peer that holds it: the caller checks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// The first offers may go out.
    Start,
    /// A peer has the scene: for the first time, or again after it was lost.
    PeerReady(PeerView),
    /// A peer is gone, with everything that it holds.
    PeerLost(NodeId),
    /// A peer has put the task in its queue.
    Accepted {
        /// Which.
        task: TaskId,
    },
    /// A peer is at it.
    Progress {
        /// Which.
        task: TaskId,
        /// Share done, 0 to 1.
        fraction: f32,
    },
    /// A peer will not do it.
    Rejected {
        /// Which.
        task: TaskId,
        /// Before then another offer is pointless, ms.
        retry_after_ms: u32,
        /// Whether something is wrong there, as against being busy.
        fault: bool,
    },
    /// The result is there and was found valid.
    Delivered {
        /// Which.
        task: TaskId,
        /// Waiting at the peer, as it says, ms.
        queue_ms: f64,
        /// Rendering, as it says, ms.
        execution_ms: f64,
    },
    /// The result is there and is not believed.
    Invalid {
        /// Which.
        task: TaskId,
    },
    /// A withdrawn task is answered for.
    Cancelled {
        /// Which.
        task: TaskId,
        /// Whether it had been finished.
        finished: bool,
    },
    /// The time of the last [`crate::frame::Command::WakeAt`] has come.
    Wake,
    /// Of a sequence, only frames below this one are wanted for now: whoever takes them is behind, or others come first.
    FramesWanted {
        /// The first that is not.
        below: u32,
    },
    /// The deadline has come.
    Deadline,
    /// Nobody wants the frame any more.
    Abort,
}
