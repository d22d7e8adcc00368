//! Streams over a WebRTC connection: not too many, and each written in pieces that fit into a message.
//!
//! libp2p's stream joins what is written between two flushes into one message of the data channel, which the other side
//! refuses beyond 16 KiB (libp2p/rust-libp2p #6557), and libp2p's own reader already beyond 8 KiB: its buffer is set to 16,
//! but on a copy that is not used. So every piece is flushed before the next is written.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use tokio::sync::OwnedSemaphorePermit;
use tracing::debug;

use crate::limit::{MAX_WEBRTC_STREAMS, WEBRTC_WRITE_BYTES};

/// A connection whose streams are paced and counted.
pub(crate) struct PacedMuxer<M> {
    inner: M,
    /// One for each stream that is open, and this one.
    open: Arc<()>,
    /// Given back when the connection is gone.
    _place: OwnedSemaphorePermit,
}

impl<M> PacedMuxer<M> {
    /// A connection that takes up a place for as long as it lives.
    pub(super) fn new(inner: M, place: OwnedSemaphorePermit) -> Self {
        Self { inner, open: Arc::new(()), _place: place }
    }

    fn paced<S>(&self, stream: S) -> PacedStream<S> {
        PacedStream { inner: stream, _open: Arc::clone(&self.open) }
    }

    fn is_full(&self) -> bool {
        Arc::strong_count(&self.open) > MAX_WEBRTC_STREAMS
    }
}

impl<M> StreamMuxer for PacedMuxer<M>
where
    M: StreamMuxer + Unpin,
    M::Substream: Unpin,
{
    type Substream = PacedStream<M::Substream>;
    type Error = M::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        loop {
            let stream = ready!(Pin::new(&mut self.inner).poll_inbound(cx))?;
            if !self.is_full() {
                return Poll::Ready(Ok(self.paced(stream)));
            }
            debug!("a browser has opened too many streams; the newest is closed");
        }
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        let stream = ready!(Pin::new(&mut self.inner).poll_outbound(cx))?;
        Poll::Ready(Ok(self.paced(stream)))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

/// A stream whose writes become messages of a size that everybody takes.
pub(crate) struct PacedStream<S> {
    inner: S,
    _open: Arc<()>,
}

impl<S: AsyncRead + Unpin> AsyncRead for PacedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PacedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
        let (piece, _) = bytes.split_at(bytes.len().min(WEBRTC_WRITE_BYTES));
        Pin::new(&mut self.inner).poll_write(cx, piece)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The word of the end is a message like any other.
        ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
        Pin::new(&mut self.inner).poll_close(cx)
    }
}
