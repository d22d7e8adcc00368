//! A peer as the coordinator sees it now.

use p2c2r_protocol::id::NodeId;

/// A peer that may be given work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PeerView {
    /// Who.
    pub peer: NodeId,
    /// Whether it is the coordinator's own device.
    pub is_self: bool,
    /// Speed that it announces, million rays per second; believed only until it has been measured. 0: unknown.
    pub mrays_per_s: f32,
    /// Round trip, ms.
    pub round_trip_ms: f32,
    /// Tasks that it takes at once.
    pub credit: u32,
    /// Tasks that wait there already, of all coordinators.
    pub queued: u32,
    /// Whether it has the scene.
    pub ready: bool,
}
