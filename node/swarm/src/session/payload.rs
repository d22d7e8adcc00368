//! A result's bytes, as they came.

use bytes::{Bytes, BytesMut};

/// A piece that is smaller is copied: it would keep the whole of what was read at once in memory.
const SMALL_BYTES: usize = 32 << 10;

/// The bytes of a result, in the pieces in which they came. Joining them is for whoever reads them: on the network's tasks, which
/// bring everything, a copy more is a tenth of what a line of some Gbit/s could bring.
#[derive(Debug, Clone, Default)]
pub struct Payload {
    parts: Vec<Bytes>,
    /// Small pieces that came last.
    tail: BytesMut,
    length: usize,
}

impl Payload {
    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// All bytes in one place; they are where they were if they came in one piece.
    pub fn join(&self) -> Bytes {
        match self.parts.as_slice() {
            [] => Bytes::copy_from_slice(&self.tail),
            [whole] if self.tail.is_empty() => whole.clone(),
            parts => {
                let mut joined = Vec::with_capacity(self.length);
                for part in parts {
                    joined.extend_from_slice(part);
                }
                joined.extend_from_slice(&self.tail);
                joined.into()
            }
        }
    }

    /// Adds what has come.
    pub(super) fn push(&mut self, piece: Bytes) {
        self.length += piece.len();
        if piece.len() < SMALL_BYTES {
            return self.tail.extend_from_slice(&piece);
        }
        if !self.tail.is_empty() {
            self.parts.push(self.tail.split().freeze());
        }
        self.parts.push(piece);
    }
}

impl From<Bytes> for Payload {
    fn from(whole: Bytes) -> Self {
        Self { length: whole.len(), parts: vec![whole], tail: BytesMut::new() }
    }
}

impl From<Vec<u8>> for Payload {
    fn from(whole: Vec<u8>) -> Self {
        Bytes::from(whole).into()
    }
}

/// Equal bytes, in whatever pieces.
impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.length == other.length && self.join() == other.join()
    }
}

impl Eq for Payload {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_of_any_size_join_to_what_was_sent_and_large_ones_are_not_copied(
            lengths in prop::collection::vec(prop_oneof![1..9_usize, SMALL_BYTES..2 * SMALL_BYTES], 0..12)
        ) {
            let (mut payload, mut sent) = (Payload::default(), Vec::new());
            let mut large = 0;
            for (index, length) in lengths.iter().enumerate() {
                let piece = Bytes::from(vec![index as u8; *length]);
                sent.extend_from_slice(&piece);
                let place = piece.as_ptr();
                payload.push(piece);
                if *length >= SMALL_BYTES {
                    large += 1;
                    prop_assert_eq!(payload.parts.last().map(|part| part.as_ptr()), Some(place));
                }
            }
            prop_assert_eq!(payload.len(), sent.len());
            prop_assert_eq!(&payload.join()[..], &sent[..]);
            prop_assert_eq!(&payload, &Payload::from(sent));
            prop_assert!(payload.parts.len() <= 2 * large + 1, "small ones are together");
        }
    }
}
