//! What a public node passes on for others, and the limits of it.

use libp2p::{StreamProtocol, relay};

use crate::limit::{
    MAX_CIRCUIT_BYTES, MAX_CIRCUIT_DURATION, MAX_CIRCUITS, MAX_CIRCUITS_PER_PEER, MAX_RESERVATIONS,
    MAX_RESERVATIONS_PER_PEER, RESERVATION_DURATION,
};

/// By this protocol a relay is known (circuit relay v2).
pub(crate) const HOP_PROTOCOL: StreamProtocol = StreamProtocol::new("/libp2p/circuit/relay/0.2.0/hop");

/// The limits of a relay. Those of the library are for signalling only: a tile would die on them. Its limits on the rate of
/// reservations and circuits, per peer and per address, stay.
pub(crate) fn relay_limits() -> relay::Config {
    relay::Config {
        max_reservations: MAX_RESERVATIONS,
        max_reservations_per_peer: MAX_RESERVATIONS_PER_PEER,
        reservation_duration: RESERVATION_DURATION,
        max_circuits: MAX_CIRCUITS,
        max_circuits_per_peer: MAX_CIRCUITS_PER_PEER,
        max_circuit_duration: MAX_CIRCUIT_DURATION,
        max_circuit_bytes: MAX_CIRCUIT_BYTES,
        ..relay::Config::default()
    }
}
