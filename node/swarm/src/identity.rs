//! One key, two names: the node id of the protocol and the peer id of libp2p.

use libp2p::{
    PeerId,
    identity::{Keypair, PublicKey, ed25519},
    multihash::Multihash,
};
use p2c2r_protocol::{id::NodeId, sign::SecretKey};

use crate::error::SwarmError;

/// The libp2p key pair of the node's secret key.
pub(crate) fn keypair(secret: &SecretKey) -> Result<Keypair, SwarmError> {
    Keypair::ed25519_from_bytes(secret.seed()).map_err(|error| SwarmError::Start(error.to_string()))
}

/// The node behind a peer id; `None` if its key is not ed25519, which no node of ours has.
pub(crate) fn node_id(peer: &PeerId) -> Option<NodeId> {
    let hash: &Multihash<64> = peer.as_ref();
    let key = PublicKey::try_decode_protobuf(hash.digest()).ok()?.try_into_ed25519().ok()?;
    Some(NodeId::from_public_key(key.to_bytes()))
}

/// The peer id of a node; `None` if the node id is no point of the curve.
pub(crate) fn peer_id(node: &NodeId) -> Option<PeerId> {
    let key = ed25519::PublicKey::try_from_bytes(node.public_key()).ok()?;
    Some(PublicKey::from(key).to_peer_id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_names_print_alike_and_lead_to_each_other() {
        let secret = SecretKey::from_seed([7; 32]);
        let peer = keypair(&secret).unwrap().public().to_peer_id();
        assert_eq!(peer.to_string(), secret.node_id().to_string());
        assert_eq!(node_id(&peer), Some(secret.node_id()));
        assert_eq!(peer_id(&secret.node_id()), Some(peer));
    }

    #[test]
    fn a_key_of_another_kind_is_no_node() {
        assert_eq!(node_id(&PeerId::random()), None);
        let mut off_curve = [0; 32];
        off_curve[0] = 2;
        assert_eq!(peer_id(&NodeId::from_public_key(off_curve)), None);
    }
}
