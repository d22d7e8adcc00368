//! Snapshots: lists of integers, sent as the difference to one that the other side has.
//!
//! Runs of equal numbers are counted, the others are zigzag LEB128 of their difference (as in Protocol Buffers' sint32).

use p2c2r_protocol::step::SnapshotHash;

/// All that a step needs to know of the world, quantised: the layout is that of its kind of work ([`crate::layout`]).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot(pub Vec<i32>);

/// Why bytes are no snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// They end in the middle.
    #[error("the snapshot ends too early")]
    Short,
    /// They go on beyond its end, or a run does.
    #[error("the snapshot is longer than it may be")]
    Long,
    /// The base has another length.
    #[error("the snapshot's base belongs to other work")]
    Base,
}

impl Snapshot {
    /// Its name.
    pub fn hash(&self) -> SnapshotHash {
        let mut hasher = blake3::Hasher::new();
        for part in self.0.chunks(256) {
            let mut bytes = [0; 1024];
            for (four, value) in bytes.chunks_exact_mut(4).zip(part) {
                four.copy_from_slice(&value.to_le_bytes());
            }
            hasher.update(bytes.get(..part.len() * 4).unwrap_or_default());
        }
        SnapshotHash(*hasher.finalize().as_bytes())
    }

    /// As the difference to another one of the same length; of another length, that counts as all zero.
    pub fn delta(&self, base: Option<&Self>) -> Vec<u8> {
        let base = base.filter(|base| base.0.len() == self.0.len());
        let before = |index: usize| base.map_or(0, |base| base.0[index]);
        let mut bytes = Vec::with_capacity(self.0.len() / 2 + 16);
        let mut at = 0;
        while at < self.0.len() {
            let equal = (at..self.0.len()).take_while(|index| self.0[*index] == before(*index)).count();
            at += equal;
            let other = (at..self.0.len()).take_while(|index| self.0[*index] != before(*index)).count();
            put(&mut bytes, equal as u32);
            put(&mut bytes, other as u32);
            for index in at..at + other {
                put(&mut bytes, zigzag(self.0[index].wrapping_sub(before(index))));
            }
            at += other;
        }
        bytes
    }

    /// Reads one of `length` numbers.
    pub fn from_delta(bytes: &[u8], base: Option<&Self>, length: usize) -> Result<Self, SnapshotError> {
        if base.is_some_and(|base| base.0.len() != length) {
            return Err(SnapshotError::Base);
        }
        let mut values = base.map_or_else(|| vec![0; length], |base| base.0.clone());
        let (mut rest, mut places) = (bytes, values.iter_mut());
        while places.len() > 0 {
            let (equal, other) = (take(&mut rest)? as usize, take(&mut rest)? as usize);
            if equal.saturating_add(other) > places.len() {
                return Err(SnapshotError::Long);
            }
            if equal + other == 0 {
                return Err(SnapshotError::Short);
            }
            for value in places.by_ref().skip(equal).take(other) {
                *value = value.wrapping_add(unzigzag(take(&mut rest)?));
            }
            if other == 0 {
                // A run to the end: nothing was skipped by the loop above.
                places.by_ref().take(equal).for_each(drop);
            }
        }
        if rest.is_empty() { Ok(Self(values)) } else { Err(SnapshotError::Long) }
    }
}

fn zigzag(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)) as u32
}

fn unzigzag(code: u32) -> i32 {
    ((code >> 1) as i32) ^ -((code & 1) as i32)
}

fn put(bytes: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn take(bytes: &mut &[u8]) -> Result<u32, SnapshotError> {
    let mut value = 0_u64;
    for shift in (0..35).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(SnapshotError::Short)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return u32::try_from(value).map_err(|_| SnapshotError::Long);
        }
    }
    Err(SnapshotError::Long)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_sent_arrives(
            base in proptest::collection::vec(any::<i32>(), 0..200),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<i32>()), 0..40),
            with_base: bool,
        ) {
            let mut next = base.clone();
            for (place, value) in changes {
                if !next.is_empty() {
                    let place = place.index(next.len());
                    next[place] = value;
                }
            }
            let (base, next) = (Snapshot(base), Snapshot(next));
            let known = with_base.then_some(&base);
            let bytes = next.delta(known);
            prop_assert_eq!(Snapshot::from_delta(&bytes, known, next.0.len()).unwrap(), next);
        }

        #[test]
        fn b1_any_bytes_are_a_snapshot_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300), length in 0_usize..100) {
            if let Ok(snapshot) = Snapshot::from_delta(&bytes, None, length) {
                prop_assert_eq!(snapshot.0.len(), length);
            }
        }
    }

    #[test]
    fn little_changes_take_little_room() {
        let base = Snapshot((0..1000).collect());
        let mut next = base.clone();
        next.0[500] += 3;
        assert!(next.delta(Some(&base)).len() <= 8, "{:?}", next.delta(Some(&base)));
        assert_eq!(base.delta(Some(&base)).len(), 3);
        assert_ne!(base.hash(), next.hash());
    }

    #[test]
    fn b3_runs_that_lead_nowhere_and_foreign_bases_are_refused() {
        assert_eq!(Snapshot::from_delta(&[0, 0], None, 4), Err(SnapshotError::Short));
        assert_eq!(Snapshot::from_delta(&[5, 0], None, 4), Err(SnapshotError::Long));
        assert_eq!(Snapshot::from_delta(&[4, 0, 1], None, 4), Err(SnapshotError::Long));
        let base = Snapshot(vec![1, 2]);
        assert_eq!(Snapshot::from_delta(&[4, 0], Some(&base), 4), Err(SnapshotError::Base));
    }
}
