//! Frames on a byte stream, read one by one.

use std::{io, sync::Arc, time::Instant};

use p2c2r_protocol::frame::{Decoder, Frame, FrameError, Header};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt};

use crate::{
    limit::{BULK_READ_BYTES, READ_BYTES},
    session::Traffic,
};

/// A stream gives that much at once.
const ENOUGH_ROOM_BYTES: usize = 16 << 10;

/// Why there are no more frames.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The stream broke.
    #[error("the stream broke: {0}")]
    Io(#[from] io::Error),
    /// The peer sent something that is no message.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// A libp2p stream as tokio's traits see it.
pub(crate) fn tokio_stream<S: futures::AsyncRead + futures::AsyncWrite>(stream: S) -> Compat<S> {
    stream.compat()
}

/// Reads frames.
pub(crate) struct FrameReader<R, H> {
    stream: R,
    decoder: Decoder<H>,
    traffic: Option<Arc<Traffic>>,
    /// The last read brought much: more of the kind is to be expected.
    is_bulk: bool,
}

impl<R: AsyncRead + Unpin, H: Header> FrameReader<R, H> {
    /// A reader at the start of a stream.
    pub(crate) fn new(stream: R) -> Self {
        Self { stream, decoder: Decoder::default(), traffic: None, is_bulk: false }
    }

    /// The same reader, which counts what it reads.
    pub(crate) fn counting(self, traffic: Arc<Traffic>) -> Self {
        Self { traffic: Some(traffic), ..self }
    }

    /// Without it, a read would get by with whatever is left in the buffer. Making it moves what is there, so it is made seldom.
    fn make_room(&mut self) {
        let buffer = self.decoder.buffer();
        if buffer.capacity() - buffer.len() < ENOUGH_ROOM_BYTES {
            buffer.reserve(if self.is_bulk { BULK_READ_BYTES } else { READ_BYTES });
        }
    }

    /// The next frame; `None` at the end of the stream, even in the middle of a frame: a peer that died did no wrong.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame<H>>, ReadError> {
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return Ok(Some(frame));
            }
            self.make_room();
            let (is_in_frame, began) = (!self.decoder.buffer().is_empty(), Instant::now());
            let read_bytes = self.stream.read_buf(self.decoder.buffer()).await?;
            self.is_bulk = read_bytes >= ENOUGH_ROOM_BYTES / 2;
            if read_bytes == 0 {
                return Ok(None);
            }
            if let Some(traffic) = &self.traffic {
                traffic.add_received(read_bytes);
                if is_in_frame {
                    traffic.add_from_line(read_bytes, began.elapsed());
                }
            }
        }
    }
}
