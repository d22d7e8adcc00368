//! Who may enter the Kademlia table: peers met on a connection, not too many of one network.

use std::collections::HashSet;

use libp2p::{Multiaddr, PeerId, kad};

use crate::{
    address::{Scope, Subnet, is_relayed, preferred, scope, subnet},
    limit::{MAX_PEERS_PER_LOCAL_SUBNET, MAX_PEERS_PER_SUBNET, MAX_RELAYED_PEERS_PER_SUBNET},
};

/// The table.
type Table = kad::Behaviour<kad::store::MemoryStore>;

/// Adds a peer whose addresses were found believable, unless its networks are well represented already.
pub(crate) fn admit(table: &mut Table, peer: &PeerId, addresses: &[Multiaddr]) {
    for address in preferred(addresses) {
        if has_room(table, peer, &address) {
            table.add_address(peer, address);
        }
    }
}

/// Adds the address for browsers of a peer that was admitted: of no use to nodes, but browsers learn of it through the table.
pub(crate) fn admit_for_browsers(table: &mut Table, peer: &PeerId, address: Multiaddr) {
    let is_there = table
        .kbucket(*peer)
        .is_some_and(|bucket| bucket.iter().any(|entry| entry.node.key.preimage() == peer));
    if is_there {
        table.add_address(peer, address);
    }
}

fn has_room(table: &mut Table, peer: &PeerId, address: &Multiaddr) -> bool {
    let Some(subnet) = subnet(address) else { return true };
    let limit = match scope(address) {
        Some(Scope::Public) if is_relayed(address) => MAX_RELAYED_PEERS_PER_SUBNET,
        Some(Scope::Public) => MAX_PEERS_PER_SUBNET,
        Some(Scope::Private | Scope::Loopback) => MAX_PEERS_PER_LOCAL_SUBNET,
        None => return false,
    };
    neighbours(table, peer, subnet) < limit
}

/// Other peers of the table that have an address in the subnet.
fn neighbours(table: &mut Table, peer: &PeerId, wanted: Subnet) -> usize {
    let mut found = HashSet::new();
    for bucket in table.kbuckets() {
        for entry in bucket.iter() {
            let other = *entry.node.key.preimage();
            if other != *peer && entry.node.value.iter().any(|address| subnet(address) == Some(wanted)) {
                found.insert(other);
            }
        }
    }
    found.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let own = PeerId::random();
        Table::new(own, kad::store::MemoryStore::new(own))
    }

    fn entries(table: &mut Table) -> usize {
        table.kbuckets().map(|bucket| bucket.num_entries()).sum()
    }

    #[test]
    fn one_public_network_cannot_fill_the_table() {
        let mut table = table();
        for host in 1..=40 {
            let address = format!("/ip4/203.0.113.{host}/tcp/4001").parse().unwrap();
            admit(&mut table, &PeerId::random(), &[address]);
        }
        assert!(entries(&mut table) <= MAX_PEERS_PER_SUBNET);
        admit(&mut table, &PeerId::random(), &["/ip4/198.51.100.1/tcp/4001".parse().unwrap()]);
        assert_eq!(entries(&mut table), MAX_PEERS_PER_SUBNET + 1);
    }

    #[test]
    fn an_address_for_browsers_brings_nobody_into_the_table() {
        let (mut table, peer) = (table(), PeerId::random());
        let for_browsers: Multiaddr = "/ip4/127.0.0.1/udp/1/webrtc-direct".parse().unwrap();
        admit_for_browsers(&mut table, &peer, for_browsers.clone());
        assert_eq!(entries(&mut table), 0);
        admit(&mut table, &peer, &["/ip4/127.0.0.1/tcp/1".parse().unwrap()]);
        admit_for_browsers(&mut table, &peer, for_browsers.clone());
        let mut addresses = Vec::new();
        for bucket in table.kbuckets() {
            addresses.extend(bucket.iter().flat_map(|entry| entry.node.value.iter()).cloned());
        }
        let known = crate::address::for_browsers(&addresses, &peer, Scope::Loopback);
        assert_eq!((known, addresses.len()), (Some(for_browsers), 2));
    }

    #[test]
    fn one_machine_may_run_many_nodes() {
        let mut table = table();
        for port in 1..=16 {
            admit(&mut table, &PeerId::random(), &[format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()]);
        }
        assert_eq!(entries(&mut table), 16);
    }
}
