//! Tests across the crates of p2c2r: real processes, real sockets, faults, hostile peers.
