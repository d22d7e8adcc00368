//! The key of a private swarm: whoever has it is let in.
//!
//! Printed it is `p2c2rkey1` followed by base32 (RFC 4648, lower case, no padding) of its 32 bytes and the first four bytes of
//! their BLAKE3 hash, so that a slip of the hand is noticed. A key is made by a machine: nobody can guess it, however often he
//! hears it used.

use std::{fmt, str::FromStr};

use data_encoding::BASE32_NOPAD;

/// What every key begins with.
const PREFIX: &str = "p2c2rkey1";
/// Bytes of the checksum.
const CHECKSUM_BYTES: usize = 4;
/// The domain of the key's own use of BLAKE3.
const CONTEXT: &str = "p2c2r/swarm-key/v1";

/// The secret of a private swarm.
#[derive(Clone, PartialEq, Eq)]
pub struct SwarmKey([u8; 32]);

/// Why a text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SwarmKeyError {
    /// It does not begin like one.
    #[error("not a swarm key: one begins with `{PREFIX}` (`p2c2r-node swarm-key` makes one)")]
    NotAKey,
    /// Characters are missing or changed.
    #[error("the swarm key is damaged; copy it again, whole")]
    Damaged,
}

impl SwarmKey {
    /// The key of these random bytes.
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A code that only who has the key can make for these bytes.
    pub fn code(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&blake3::derive_key(CONTEXT, &self.0));
        for part in parts {
            // Lengths, so that no two lists of parts are the same bytes.
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        *hasher.finalize().as_bytes()
    }

    /// Whether the code is the one for these bytes; takes as long for every wrong one.
    pub fn verifies(&self, parts: &[&[u8]], code: [u8; 32]) -> bool {
        blake3::Hash::from_bytes(self.code(parts)) == blake3::Hash::from_bytes(code)
    }

    /// The key as it is handed to friends. Whoever reads it is in.
    pub fn to_text(&self) -> String {
        let checksum = blake3::hash(&self.0);
        let mut bytes = self.0.to_vec();
        bytes.extend(checksum.as_bytes().iter().take(CHECKSUM_BYTES));
        format!("{PREFIX}{}", BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
    }
}

impl fmt::Debug for SwarmKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SwarmKey(…)")
    }
}

impl FromStr for SwarmKey {
    type Err = SwarmKeyError;

    fn from_str(text: &str) -> Result<Self, SwarmKeyError> {
        let lower = text.trim().to_ascii_lowercase();
        let body = lower.strip_prefix(PREFIX).ok_or(SwarmKeyError::NotAKey)?;
        let decoded = BASE32_NOPAD.decode(body.to_ascii_uppercase().as_bytes());
        let bytes = decoded.map_err(|_| SwarmKeyError::Damaged)?;
        let key = bytes.first_chunk::<32>().copied().map(Self).ok_or(SwarmKeyError::Damaged)?;
        if key.to_text() == lower { Ok(key) } else { Err(SwarmKeyError::Damaged) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_copying_and_slips_are_noticed() {
        let key = SwarmKey::from_random([7; 32]);
        let text = key.to_text();
        assert_eq!(format!(" {} \n", text.to_uppercase()).parse::<SwarmKey>().unwrap(), key);
        assert_eq!(format!("{key:?}"), "SwarmKey(…)");
        assert_eq!("letmein".parse::<SwarmKey>(), Err(SwarmKeyError::NotAKey));
        for place in PREFIX.len()..text.len() {
            let mut slip = text.clone().into_bytes();
            slip[place] = if slip[place] == b'a' { b'b' } else { b'a' };
            let slip = String::from_utf8(slip).unwrap();
            assert_eq!(slip.parse::<SwarmKey>(), Err(SwarmKeyError::Damaged), "{slip}");
            assert!(text[..place].parse::<SwarmKey>().is_err());
        }
        assert!(format!("{text}a").parse::<SwarmKey>().is_err());
    }

    #[test]
    fn a_code_is_of_its_key_and_of_its_parts() {
        let (key, other) = (SwarmKey::from_random([7; 32]), SwarmKey::from_random([8; 32]));
        let code = key.code(&[b"a", b"bc"]);
        assert!(key.verifies(&[b"a", b"bc"], code));
        assert!(!key.verifies(&[b"ab", b"c"], code) && !other.verifies(&[b"a", b"bc"], code));
    }
}
