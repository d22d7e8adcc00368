//! Signatures: ed25519 (RFC 8032), verified strictly, every message in a domain of its own.

use std::fmt;

use ed25519_dalek::{Signature as DalekSignature, Signer, SigningKey, VerifyingKey};

use crate::id::NodeId;

/// What a signature is for. The domain is signed with the message, so that no signature can be used for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// A [`crate::heartbeat::Heartbeat`].
    Heartbeat,
    /// A [`crate::task::ResultStatement`].
    Result,
    /// A [`crate::stage::StageStatement`].
    Stage,
    /// A [`crate::step::StepStatement`].
    Step,
}

impl Domain {
    const fn prefix(self) -> &'static [u8] {
        match self {
            Self::Heartbeat => b"p2c2r/heartbeat/v1\0",
            Self::Result => b"p2c2r/result/v1\0",
            Self::Stage => b"p2c2r/stage/v1\0",
            Self::Step => b"p2c2r/step/v1\0",
        }
    }
}

/// An ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

impl fmt::Debug for Signature {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Signature({}…)", data_encoding::HEXLOWER.encode(&self.0[..6]))
    }
}

/// Why a signature does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The node id is no point of the curve, or one of small order, for which anybody can sign anything.
    #[error("the signer's key is weak or no key at all")]
    Key,
    /// Not 64 bytes.
    #[error("the signature is not 64 bytes long")]
    Length,
    /// Not this key's signature of these bytes in this domain.
    #[error("the signature does not hold")]
    Invalid,
}

/// A node's secret key. Wiped from memory when dropped, never printed.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// The key of a 32-byte seed.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(SigningKey::from_bytes(&seed))
    }

    /// The seed, for the transport layer that needs the same identity.
    pub fn seed(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The node that this key is.
    pub fn node_id(&self) -> NodeId {
        NodeId::from_public_key(self.0.verifying_key().to_bytes())
    }

    /// Signs bytes in a domain.
    pub fn sign(&self, domain: Domain, bytes: &[u8]) -> Signature {
        Signature(self.0.sign(&in_domain(domain, bytes)).to_bytes())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SecretKey(of {})", self.node_id())
    }
}

/// Whether `signature` is the node's signature of the bytes in the domain.
pub fn verify(node: &NodeId, domain: Domain, bytes: &[u8], signature: &[u8]) -> Result<(), SignError> {
    let signature: [u8; 64] = signature.try_into().map_err(|_| SignError::Length)?;
    let key = VerifyingKey::from_bytes(node.public_key()).map_err(|_| SignError::Key)?;
    if key.is_weak() {
        return Err(SignError::Key);
    }
    key.verify_strict(&in_domain(domain, bytes), &DalekSignature::from_bytes(&signature))
        .map_err(|_| SignError::Invalid)
}

fn in_domain(domain: Domain, bytes: &[u8]) -> Vec<u8> {
    [domain.prefix(), bytes].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SecretKey {
        SecretKey::from_seed([7; 32])
    }

    #[test]
    fn own_signature_holds_only_for_its_bytes_and_domain() {
        let signature = key().sign(Domain::Heartbeat, b"hello").0;
        let node = key().node_id();
        assert_eq!(verify(&node, Domain::Heartbeat, b"hello", &signature), Ok(()));
        assert_eq!(verify(&node, Domain::Heartbeat, b"hellp", &signature), Err(SignError::Invalid));
        assert_eq!(verify(&node, Domain::Result, b"hello", &signature), Err(SignError::Invalid));
        assert_eq!(verify(&node, Domain::Heartbeat, b"hello", &signature[..63]), Err(SignError::Length));
        let other = SecretKey::from_seed([8; 32]).node_id();
        assert_eq!(verify(&other, Domain::Heartbeat, b"hello", &signature), Err(SignError::Invalid));
    }

    #[test]
    fn b18_small_order_key_cannot_sign() {
        // R = identity, s = 0 verifies for every message under a lax check.
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut forged = [0; 64];
        forged[0] = 1;
        let node = NodeId::from_public_key(identity);
        assert_eq!(verify(&node, Domain::Heartbeat, b"anything", &forged), Err(SignError::Key));
    }

    #[test]
    fn b18_malleated_signature_is_refused() {
        // s + L is another encoding of the same scalar (L: the order of the base point, little endian).
        const L: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let mut signature = key().sign(Domain::Result, b"m").0;
        let mut carry = 0_u16;
        for (byte, order) in signature[32..].iter_mut().zip(L) {
            carry += u16::from(*byte) + u16::from(order);
            *byte = (carry & 0xff) as u8;
            carry >>= 8;
        }
        assert_eq!(verify(&key().node_id(), Domain::Result, b"m", &signature), Err(SignError::Invalid));
    }

    #[test]
    fn secret_is_not_printed() {
        let printed = format!("{:?}", key());
        assert!(printed.contains("12D3KooW") && !printed.contains("0707"), "{printed}");
    }
}
