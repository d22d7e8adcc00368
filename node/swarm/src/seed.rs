//! A ticket, read as what libp2p can dial.

use libp2p::{Multiaddr, PeerId};
use p2c2r_protocol::{id::NodeId, limit::MAX_TICKET_ADDRESSES, ticket::Ticket};

use crate::{
    address::{Scope, believable},
    error::SwarmError,
    identity::peer_id,
    limit::MAX_ADDRESSES_PER_PEER,
    neighbours::KnownPeer,
};

/// A way into the swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seed {
    /// Whom to dial.
    pub(crate) peer: PeerId,
    /// Where, at least one.
    pub(crate) addresses: Vec<Multiaddr>,
}

impl Seed {
    /// The ticket's node and those of its addresses that our transports understand. A person vouches for a ticket, so
    /// near addresses are fine.
    pub(crate) fn of(ticket: &Ticket) -> Result<Self, SwarmError> {
        Self::at(ticket.node, &ticket.addresses, MAX_TICKET_ADDRESSES).ok_or(SwarmError::Ticket(ticket.node))
    }

    /// A neighbour of an earlier run; its addresses were judged then.
    pub(crate) fn remembered(known: &KnownPeer) -> Option<Self> {
        Self::at(known.node, &known.addresses, MAX_ADDRESSES_PER_PEER)
    }

    fn at(node: NodeId, addresses: &[String], most: usize) -> Option<Self> {
        let peer = peer_id(&node)?;
        let readable = addresses.iter().filter_map(|text| text.parse().ok());
        let addresses = believable(readable, &peer, Scope::Loopback, most);
        (!addresses.is_empty()).then_some(Self { peer, addresses })
    }
}

#[cfg(test)]
mod tests {
    use p2c2r_protocol::sign::SecretKey;

    use super::*;

    #[test]
    fn what_cannot_be_dialled_is_left_out() {
        let ticket = |addresses: &[&str]| Ticket {
            node: SecretKey::from_seed([7; 32]).node_id(),
            addresses: addresses.iter().map(|text| (*text).to_owned()).collect(),
        };
        let seed = Seed::of(&ticket(&["nonsense", "/ip4/127.0.0.1/tcp/9", "/ip4/1.2.3.4/udp/5"])).unwrap();
        assert_eq!(seed.addresses, ["/ip4/127.0.0.1/tcp/9".parse().unwrap()]);
        assert!(matches!(Seed::of(&ticket(&["/memory/1"])), Err(SwarmError::Ticket(_))));
    }
}
