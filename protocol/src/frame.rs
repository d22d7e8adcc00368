//! Framing of the stream protocols, without a stream: bytes in, messages out.
//!
//! ```text
//! u32 length | u16 header length | header: CBOR | payload: the rest       (integers big-endian)
//! ```
//! `length` counts everything behind itself. It is checked against the largest frame of the protocol before anything
//! is reserved; the payload is checked against what the header's message may carry.

use std::marker::PhantomData;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};

use crate::canon::{CanonError, decode_bounded};

/// Bytes of the two lengths.
const PREFIX_BYTES: usize = 6;

/// A message that heads a frame.
pub trait Header: Serialize + DeserializeOwned {
    /// Largest encoded header of the protocol, bytes; at most 65,535.
    const MAX_HEADER_BYTES: u32;
    /// Largest payload of the protocol, bytes.
    const MAX_PAYLOAD_BYTES: u32;

    /// Largest payload that this message may carry, bytes.
    fn max_payload_bytes(&self) -> u32;

    /// Whether every field is within its limits; the error names what is not.
    fn check(&self) -> Result<(), FieldError>;
}

/// A field is outside its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is out of range")]
pub struct FieldError(pub &'static str);

/// Why bytes are no frame. The stream cannot be trusted any more after any of these.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The frame claims more bytes than any message has.
    #[error("a frame claims {length} bytes, at most {limit} are allowed")]
    TooLong {
        /// Claimed.
        length: u64,
        /// Allowed.
        limit: u64,
    },
    /// The header does not fit into the frame, or is larger than headers are.
    #[error("a frame's header length {0} is out of range")]
    HeaderLength(u32),
    /// The header is no message.
    #[error("a message cannot be read: {0}")]
    Header(#[from] CanonError),
    /// A field is outside its limits.
    #[error("a message's {}", .0)]
    Field(#[from] FieldError),
    /// The message carries more than it may.
    #[error("a message carries {length} bytes, at most {limit} are allowed")]
    Payload {
        /// Carried.
        length: usize,
        /// Allowed.
        limit: u32,
    },
    /// A header that is too large to send.
    #[error("a message of {0} bytes is too large to send")]
    Encode(usize),
}

/// A message with its payload.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame<H> {
    /// The message.
    pub header: H,
    /// Its payload; empty for most.
    pub payload: Bytes,
}

/// Appends a frame to `out`.
pub fn encode<H: Header>(header: &H, payload: &[u8], out: &mut BytesMut) -> Result<(), FrameError> {
    encode_head(header, payload.len(), out)?;
    out.put_slice(payload);
    Ok(())
}

/// Appends all of a frame but its payload, which is to follow: whoever has it elsewhere need not copy it.
pub fn encode_head<H: Header>(
    header: &H,
    payload_bytes: usize,
    out: &mut BytesMut,
) -> Result<(), FrameError> {
    let start = out.len();
    out.put_bytes(0, PREFIX_BYTES);
    let written = ciborium::into_writer(header, (&mut *out).writer());
    let header_bytes = out.len() - start - PREFIX_BYTES;
    let failed = match written {
        Err(error) => Some(FrameError::Header(CanonError::Encode(error.to_string()))),
        Ok(()) if header_bytes as u64 > u64::from(H::MAX_HEADER_BYTES) => {
            Some(FrameError::Encode(header_bytes))
        }
        Ok(()) if payload_bytes as u64 > u64::from(header.max_payload_bytes()) => {
            Some(FrameError::Payload { length: payload_bytes, limit: header.max_payload_bytes() })
        }
        Ok(()) => None,
    };
    if let Some(error) = failed {
        out.truncate(start);
        return Err(error);
    }
    let length = (PREFIX_BYTES - 4 + header_bytes + payload_bytes) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    out[start + 4..start + PREFIX_BYTES].copy_from_slice(&(header_bytes as u16).to_be_bytes());
    Ok(())
}

/// Cuts a byte stream into frames.
#[derive(Debug)]
pub struct Decoder<H> {
    buffer: BytesMut,
    message: PhantomData<fn() -> H>,
}

impl<H> Default for Decoder<H> {
    fn default() -> Self {
        Self { buffer: BytesMut::new(), message: PhantomData }
    }
}

impl<H: Header> Decoder<H> {
    /// Largest value of the length field.
    const MAX_LENGTH: u64 =
        (PREFIX_BYTES - 4) as u64 + H::MAX_HEADER_BYTES as u64 + H::MAX_PAYLOAD_BYTES as u64;

    /// Where incoming bytes go. Read into it directly, then call [`Decoder::next_frame`] until it has no more: then
    /// it never holds more than one frame and what was read beyond it.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Adds incoming bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, if it is there.
    pub fn next_frame(&mut self) -> Result<Option<Frame<H>>, FrameError> {
        let Some(prefix) = self.buffer.first_chunk::<4>() else { return Ok(None) };
        let length = u64::from(u32::from_be_bytes(*prefix));
        if length > Self::MAX_LENGTH {
            return Err(FrameError::TooLong { length, limit: Self::MAX_LENGTH });
        }
        let Some(&[_, _, _, _, high, low]) = self.buffer.first_chunk::<PREFIX_BYTES>() else {
            return Ok(None);
        };
        let header_bytes = u32::from(u16::from_be_bytes([high, low]));
        if header_bytes > H::MAX_HEADER_BYTES || u64::from(header_bytes) + 2 > length {
            return Err(FrameError::HeaderLength(header_bytes));
        }
        let whole = 4 + length as usize;
        if self.buffer.len() < whole {
            self.buffer.reserve(whole - self.buffer.len());
            return Ok(None);
        }
        let mut frame = self.buffer.split_to(whole).freeze();
        frame.advance(PREFIX_BYTES);
        let header = frame.split_to(header_bytes as usize);
        Self::finish(&header, frame).map(Some)
    }

    fn finish(header: &[u8], payload: Bytes) -> Result<Frame<H>, FrameError> {
        let header: H = decode_bounded(header, H::MAX_HEADER_BYTES as usize)?;
        header.check()?;
        let limit = header.max_payload_bytes();
        if payload.len() as u64 > u64::from(limit) {
            return Err(FrameError::Payload { length: payload.len(), limit });
        }
        Ok(Frame { header, payload })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        id::{Epoch, TaskId},
        limit::{MAX_PIECE_BYTES, MAX_SESSION_HEADER_BYTES},
        task::{ContributorMessage, CoordinatorMessage},
    };

    fn decode_all<H: Header>(decoder: &mut Decoder<H>) -> Result<Vec<Frame<H>>, FrameError> {
        std::iter::from_fn(|| decoder.next_frame().transpose()).collect()
    }

    fn piece(bytes: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        encode(&ContributorMessage::Piece { task: TaskId(9), offset: 0 }, bytes, &mut out).unwrap();
        out
    }

    #[test]
    fn hello_has_these_bytes() {
        let mut out = BytesMut::new();
        let hello = CoordinatorMessage::Hello { epoch: Epoch(5), software: "x".into() };
        encode(&hello, &[], &mut out).unwrap();
        assert_eq!(
            &out[..],
            b"\x00\x00\x00\x1c\x00\x1a\xa1\x65hello\xa2\x65epoch\x05\x68software\x61x",
            "a change of these bytes is a change of the protocol"
        );
    }

    #[test]
    fn b2_claimed_length_is_refused_with_the_first_four_bytes() {
        let mut decoder = Decoder::<ContributorMessage>::default();
        decoder.feed(&[0xff; 4]);
        assert!(matches!(decoder.next_frame(), Err(FrameError::TooLong { .. })));
        assert!(decoder.buffer.capacity() < 1024);
    }

    #[test]
    fn payload_on_a_message_without_one_is_refused() {
        let mut out = BytesMut::new();
        let goodbye = ContributorMessage::Goodbye;
        assert!(matches!(encode(&goodbye, b"x", &mut out), Err(FrameError::Payload { .. })));
        assert!(out.is_empty());
        let mut framed = BytesMut::new();
        encode(&goodbye, &[], &mut framed).unwrap();
        framed[3] += 1;
        framed.put_u8(0);
        let mut decoder = Decoder::<ContributorMessage>::default();
        decoder.feed(&framed);
        assert_eq!(decoder.next_frame(), Err(FrameError::Payload { length: 1, limit: 0 }));
    }

    #[test]
    fn header_longer_than_its_frame_is_refused() {
        let mut decoder = Decoder::<ContributorMessage>::default();
        decoder.feed(&[0, 0, 0, 4, 0, 3, 0, 0]);
        assert_eq!(decoder.next_frame(), Err(FrameError::HeaderLength(3)));
        let mut decoder = Decoder::<ContributorMessage>::default();
        let length = (MAX_SESSION_HEADER_BYTES + 1) as u16;
        decoder.feed(&[&[0, 0, 0xff, 0xff][..], &length.to_be_bytes()].concat());
        assert_eq!(decoder.next_frame(), Err(FrameError::HeaderLength(u32::from(length))));
    }

    proptest! {
        #[test]
        fn byte_by_byte_equals_at_once(payload in prop::collection::vec(any::<u8>(), 0..300), cut in 1_usize..64) {
            let mut stream = piece(&payload);
            stream.extend_from_slice(&piece(&payload[..payload.len() / 2]));
            let (mut whole, mut pieces) = (Decoder::<ContributorMessage>::default(), Decoder::default());
            whole.feed(&stream);
            let at_once = decode_all(&mut whole).unwrap();
            let mut trickled = Vec::new();
            for part in stream.chunks(cut) {
                pieces.feed(part);
                trickled.extend(decode_all(&mut pieces).unwrap());
            }
            prop_assert_eq!(at_once.len(), 2);
            prop_assert_eq!(&at_once[0].payload[..], &payload[..]);
            prop_assert_eq!(at_once, trickled);
        }

        #[test]
        fn b1_any_bytes_give_frames_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut decoder = Decoder::<ContributorMessage>::default();
            decoder.feed(&bytes);
            let _ = decode_all(&mut decoder);
            let mut decoder = Decoder::<CoordinatorMessage>::default();
            decoder.feed(&bytes);
            let _ = decode_all(&mut decoder);
        }

        #[test]
        fn mutated_frames_give_frames_or_an_error(at in 0_usize..60, value: u8) {
            let mut stream = piece(b"some pixels");
            let at = at % stream.len();
            stream[at] = value;
            let mut decoder = Decoder::<ContributorMessage>::default();
            decoder.feed(&stream);
            for frame in decode_all(&mut decoder).unwrap_or_default() {
                prop_assert!(frame.payload.len() <= MAX_PIECE_BYTES as usize);
            }
        }
    }
}
