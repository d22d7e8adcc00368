//! Neighbours that are worth remembering: ways back into the swarm after a restart.

use std::collections::HashMap;

use libp2p::Multiaddr;
use p2c2r_protocol::id::NodeId;

use crate::{
    address::{Scope, scope, subnet},
    limit::{MAX_PEERS_PER_SUBNET, MAX_REMEMBERED_PEERS},
};

/// A peer, and where it was found (multiaddrs).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownPeer {
    /// Who.
    pub node: NodeId,
    /// Where it says that it listens, as far as that was believable.
    pub addresses: Vec<String>,
}

/// Of connected peers those to remember: at most [`MAX_REMEMBERED_PEERS`], and not too many of one public network, so that
/// whoever owns one network is not all that is left of the swarm.
pub(crate) fn worth_remembering<'a>(
    connected: impl Iterator<Item = (NodeId, &'a [Multiaddr])>,
) -> Vec<KnownPeer> {
    let mut of_subnet = HashMap::new();
    connected
        .filter(|(_, addresses)| !addresses.is_empty())
        .filter(|(_, addresses)| {
            let mut public = addresses.iter().filter(|address| scope(address) == Some(Scope::Public));
            let Some(network) = public.find_map(subnet) else { return true };
            let count = of_subnet.entry(network).or_insert(0);
            *count += 1;
            *count <= MAX_PEERS_PER_SUBNET
        })
        .take(MAX_REMEMBERED_PEERS)
        .map(|(node, addresses)| KnownPeer {
            node,
            addresses: addresses.iter().map(ToString::to_string).collect(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remembered(addresses: impl Iterator<Item = String>) -> usize {
        let peers: Vec<(NodeId, Vec<Multiaddr>)> = (1_u8..)
            .zip(addresses)
            .map(|(key, address)| (NodeId::from_public_key([key; 32]), vec![address.parse().unwrap()]))
            .collect();
        worth_remembering(peers.iter().map(|(node, addresses)| (*node, addresses.as_slice()))).len()
    }

    #[test]
    fn b22_one_public_network_is_not_all_that_is_remembered() {
        let one_network = (1..=40).map(|host| format!("/ip4/203.0.113.{host}/tcp/4001"));
        let others = (1..=3).map(|net| format!("/ip4/198.51.{net}.1/tcp/4001"));
        assert_eq!(remembered(one_network.chain(others)), MAX_PEERS_PER_SUBNET + 3);
        let lan = (1..=40).map(|host| format!("/ip4/192.168.0.{host}/tcp/4001"));
        assert_eq!(remembered(lan), 40);
    }

    #[test]
    fn there_are_not_too_many_and_none_without_an_address() {
        let many = (1..=100).map(|port| format!("/ip4/127.0.0.1/tcp/{port}"));
        assert_eq!(remembered(many), MAX_REMEMBERED_PEERS);
        let nowhere: [(NodeId, &[Multiaddr]); 1] = [(NodeId::from_public_key([1; 32]), &[])];
        assert_eq!(worth_remembering(nowhere.into_iter()), []);
    }
}
