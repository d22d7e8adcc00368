//! Frames on their way into a stream.
//!
//! Short ones are gathered; the long payloads stay where they are, and are written from there. The transports cut what they
//! are given into packets of 16 KiB, so all parts but the last are multiples of that: odd ends would go out by themselves.

use bytes::{Bytes, BytesMut};
use p2c2r_protocol::{
    frame::{FrameError, encode_head},
    task::ContributorMessage,
};

/// What the transports (yamux) send at once.
const PACKET_BYTES: usize = 16 << 10;

/// Bytes to be written, in order.
#[derive(Debug, Default)]
pub(super) struct Batch {
    parts: Vec<Bytes>,
    /// The last part, not yet a whole packet.
    gathered: BytesMut,
    length_bytes: usize,
}

impl Batch {
    /// Adds a message with its payload.
    pub(super) fn push(
        &mut self,
        message: &ContributorMessage,
        mut payload: Bytes,
    ) -> Result<(), FrameError> {
        let before = self.gathered.len();
        encode_head(message, payload.len(), &mut self.gathered)?;
        self.length_bytes += self.gathered.len() - before + payload.len();
        let missing = self.gathered.len().next_multiple_of(PACKET_BYTES) - self.gathered.len();
        if payload.len() >= missing + PACKET_BYTES {
            self.gathered.extend_from_slice(&payload.split_to(missing));
            self.parts.push(self.gathered.split().freeze());
            self.parts.push(payload.split_to(payload.len() / PACKET_BYTES * PACKET_BYTES));
        }
        self.gathered.extend_from_slice(&payload);
        Ok(())
    }

    /// Bytes of all parts.
    pub(super) fn length_bytes(&self) -> usize {
        self.length_bytes
    }

    /// The parts, in order; none is empty.
    pub(super) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let parts = self.parts.iter().map(|part| &part[..]).chain([&self.gathered[..]]);
        parts.filter(|part| !part.is_empty())
    }

    /// Forgets all of it.
    pub(super) fn clear(&mut self) {
        self.parts.clear();
        self.gathered.clear();
        self.length_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use p2c2r_protocol::{frame::encode, id::TaskId};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_bytes_are_those_of_the_frames_and_long_payloads_are_not_copied(
            lengths in prop::collection::vec(0_usize..=64 << 10, 0..9)
        ) {
            let (mut batch, mut expected) = (Batch::default(), BytesMut::new());
            let mut in_place = 0;
            for (index, length) in lengths.iter().enumerate() {
                let payload = Bytes::from(vec![index as u8; *length]);
                let message = ContributorMessage::Piece { task: TaskId(index as u64), offset: 7 };
                encode(&message, &payload, &mut expected).unwrap();
                let place = payload.as_ptr_range();
                batch.push(&message, payload.clone()).unwrap();
                let there = batch.parts().filter(|part| place.contains(&part.as_ptr()));
                in_place += there.map(<[u8]>::len).sum::<usize>();
            }
            let parts: Vec<&[u8]> = batch.parts().collect();
            prop_assert_eq!(parts.concat(), expected.to_vec());
            prop_assert_eq!(batch.length_bytes(), expected.len());
            let whole = parts.len().saturating_sub(1);
            prop_assert!(parts[..whole].iter().all(|part| part.len() % PACKET_BYTES == 0));
            let long: usize = lengths.iter().map(|length| length.saturating_sub(2 * PACKET_BYTES)).sum();
            prop_assert!(in_place >= long, "{} of {}", in_place, long);
            batch.clear();
            prop_assert_eq!(batch.parts().count(), 0);
        }
    }
}
