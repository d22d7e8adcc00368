//! The p2c2r swarm: the only crate that knows libp2p.
