//! A version and a checksum around what is stored: what is damaged, or of another version, counts as absent.

/// Bytes in front of the content.
const HEAD: usize = 5;
/// Largest sealed value, bytes: what overwrites larger ones makes sled's files grow without bound.
pub const MAX_VALUE_BYTES: usize = 16 << 10;

/// Version, checksum, content.
pub fn seal(version: u8, content: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(HEAD + content.len());
    sealed.push(version);
    sealed.extend(checksum(version, content).to_le_bytes());
    sealed.extend(content);
    sealed
}

/// The content, if it is whole and of that version.
pub fn unseal(version: u8, sealed: &[u8]) -> Option<&[u8]> {
    let (found, rest) = sealed.split_first()?;
    let (sum, content) = rest.split_first_chunk::<4>()?;
    (*found == version && u32::from_le_bytes(*sum) == checksum(version, content)).then_some(content)
}

fn checksum(version: u8, content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[version]);
    hasher.update(content);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn f14_any_flipped_bit_makes_it_absent(
            content in prop::collection::vec(any::<u8>(), 0..64), place in any::<prop::sample::Index>(), bit in 0..8,
        ) {
            let mut sealed = seal(3, &content);
            prop_assert_eq!(unseal(3, &sealed), Some(content.as_slice()));
            prop_assert_eq!(unseal(4, &sealed), None);
            let place = place.index(sealed.len());
            sealed[place] ^= 1_u8 << bit;
            prop_assert_eq!(unseal(3, &sealed), None);
        }
    }
}
