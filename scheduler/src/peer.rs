//! A peer as the coordinator sees it now.

use p2c2r_protocol::id::NodeId;
use serde::{Deserialize, Serialize};

/// What a peer last said of its state. Hints for the models; nothing is decided by them alone.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Telemetry {
    /// Share of its device that is busy, with whatever, 0 to 1.
    pub utilisation: f32,
    /// Share of its processor time that is used, 0 to 1.
    pub cpu_load: f32,
    /// Share of its memory that is used, 0 to 1.
    pub memory_pressure: f32,
    /// Share of its clock speed that heat or battery take away, 0 to 1.
    pub throttle: f32,
    /// Of its device, degrees Celsius; 0: unknown.
    pub temperature_c: f32,
    /// Since its start, s.
    pub uptime_s: f32,
}

/// A peer that may be given work.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PeerView {
    /// Who.
    pub peer: NodeId,
    /// Whether it is the coordinator's own device.
    pub is_self: bool,
    /// Speed that it announces, million rays per second; believed only until it has been measured. 0: unknown.
    pub mrays_per_s: f32,
    /// Round trip, ms.
    pub round_trip_ms: f32,
    /// Mean deviation of the round trip, ms.
    pub jitter_ms: f32,
    /// Measured bandwidth from it to here, bytes per ms; 0: unknown.
    pub bytes_per_ms: f32,
    /// Tasks that it takes at once.
    pub credit: u32,
    /// Tasks that wait there already, of all coordinators.
    pub queued: u32,
    /// Whether it has the scene.
    pub ready: bool,
    /// As it last said.
    pub telemetry: Telemetry,
}

impl PeerView {
    /// A peer of which nothing is known yet.
    pub const fn unknown(peer: NodeId) -> Self {
        Self {
            peer,
            is_self: false,
            mrays_per_s: 0.0,
            round_trip_ms: 0.0,
            jitter_ms: 0.0,
            bytes_per_ms: 0.0,
            credit: 1,
            queued: 0,
            ready: false,
            telemetry: Telemetry {
                utilisation: 0.0,
                cpu_load: 0.0,
                memory_pressure: 0.0,
                throttle: 0.0,
                temperature_c: 0.0,
                uptime_s: 0.0,
            },
        }
    }
}
