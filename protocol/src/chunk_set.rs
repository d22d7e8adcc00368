//! Which chunks of a package a node has, or wants: one bit a chunk, as it travels in [`crate::blob`].

use crate::{frame::FieldError, limit::MAX_SCENE_CHUNKS};

/// Most bytes of a set as it travels.
pub const MAX_CHUNK_SET_BYTES: u32 = MAX_SCENE_CHUNKS.div_ceil(8);

/// A set of chunks of one package.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChunkSet {
    /// How many chunks the package has.
    chunk_count: u32,
    /// How many of them are in the set.
    len: u32,
    /// Bit `i % 8` of byte `i / 8` is chunk `i`; bits behind the last chunk are zero.
    bits: Vec<u8>,
}

impl ChunkSet {
    /// No chunk of a package of so many, at most [`MAX_SCENE_CHUNKS`].
    pub fn none(chunk_count: u32) -> Self {
        let chunk_count = chunk_count.min(MAX_SCENE_CHUNKS);
        Self { chunk_count, len: 0, bits: vec![0; chunk_count.div_ceil(8) as usize] }
    }

    /// All chunks of a package of so many, at most [`MAX_SCENE_CHUNKS`].
    pub fn all(chunk_count: u32) -> Self {
        let mut set = Self::none(chunk_count);
        for index in 0..set.chunk_count {
            set.insert(index);
        }
        set
    }

    /// A set as it came from a peer, of a package of so many chunks. It has one form only.
    pub fn from_bytes(chunk_count: u32, bytes: &[u8]) -> Result<Self, FieldError> {
        if chunk_count > MAX_SCENE_CHUNKS || bytes.len() != chunk_count.div_ceil(8) as usize {
            return Err(FieldError("length of a chunk set"));
        }
        let behind = chunk_count % 8;
        if behind != 0 && bytes.last().is_some_and(|last| last >> behind != 0) {
            return Err(FieldError("chunk set"));
        }
        let len = bytes.iter().map(|byte| byte.count_ones()).sum();
        Ok(Self { chunk_count, len, bits: bytes.to_vec() })
    }

    /// The set as it travels.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bits
    }

    /// How many chunks the package has.
    pub fn chunk_count(&self) -> u32 {
        self.chunk_count
    }

    /// How many chunks are in the set.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether it has no chunk.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether it has every chunk of the package.
    pub fn is_full(&self) -> bool {
        self.len == self.chunk_count
    }

    /// Whether the chunk is in the set; `false` for one that the package does not have.
    pub fn contains(&self, index: u32) -> bool {
        self.bits.get(index as usize / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1)
    }

    /// Adds a chunk; `false` if it was there, or the package has no such chunk.
    pub fn insert(&mut self, index: u32) -> bool {
        let is_new = index < self.chunk_count && !self.contains(index);
        if is_new && let Some(byte) = self.bits.get_mut(index as usize / 8) {
            *byte |= 1 << (index % 8);
            self.len += 1;
        }
        is_new
    }

    /// Takes a chunk out; `false` if it was not in.
    pub fn remove(&mut self, index: u32) -> bool {
        let is_in = self.contains(index);
        if is_in && let Some(byte) = self.bits.get_mut(index as usize / 8) {
            *byte &= !(1 << (index % 8));
            self.len -= 1;
        }
        is_in
    }

    /// The chunks in the set, in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.chunk_count).filter(|index| self.contains(*index))
    }

    /// The chunks that are in this set and in none of the others, which are of the same package.
    #[must_use]
    pub fn without(&self, others: &[&Self]) -> Self {
        let mut rest = self.clone();
        for other in others {
            for (byte, taken) in rest.bits.iter_mut().zip(&other.bits) {
                *byte &= !taken;
            }
        }
        rest.len = rest.bits.iter().map(|byte| byte.count_ones()).sum();
        rest
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_set_has_one_form_and_nothing_behind_its_last_chunk() {
        assert_eq!(ChunkSet::from_bytes(9, &[0xff, 1]).unwrap(), ChunkSet::all(9));
        assert!(ChunkSet::from_bytes(9, &[0xff, 2]).is_err(), "there is no tenth chunk");
        assert!(ChunkSet::from_bytes(9, &[0xff]).is_err() && ChunkSet::from_bytes(9, &[0, 0, 0]).is_err());
        assert!(ChunkSet::from_bytes(u32::MAX, &[]).is_err());
        assert_eq!(ChunkSet::all(u32::MAX).as_bytes().len() as u32, MAX_CHUNK_SET_BYTES);
        assert!(ChunkSet::from_bytes(0, &[]).unwrap().is_full());
    }

    proptest! {
        #[test]
        fn a_set_is_what_was_put_in_and_not_taken_out(
            chunk_count in 1_u32..70, steps in prop::collection::vec((any::<bool>(), 0_u32..80), 0..200),
        ) {
            let mut set = ChunkSet::none(chunk_count);
            let mut model = std::collections::BTreeSet::new();
            for (insert, index) in steps {
                if insert {
                    prop_assert_eq!(set.insert(index), index < chunk_count && model.insert(index));
                } else {
                    prop_assert_eq!(set.remove(index), model.remove(&index));
                }
            }
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(set.len() as usize, model.len());
            prop_assert_eq!(ChunkSet::from_bytes(chunk_count, set.as_bytes()).unwrap(), set.clone());
            let rest = ChunkSet::all(chunk_count).without(&[&set]);
            prop_assert_eq!(rest.len() + set.len(), chunk_count);
            prop_assert!(set.iter().all(|index| !rest.contains(index)));
        }
    }
}
