//! With whom work is under way: nobody closes a connection that carries it.

use std::{
    collections::HashMap,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite, StreamExt};
use libp2p::{PeerId, Stream};

/// Streams that are open with each peer. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct InUse(Arc<Mutex<HashMap<PeerId, usize>>>);

/// A stream that is counted for as long as it is held.
#[derive(Debug)]
pub(crate) struct Held<S = Stream> {
    stream: S,
    peer: PeerId,
    in_use: InUse,
}

impl InUse {
    /// Whether a stream is open with the peer.
    pub(crate) fn contains(&self, peer: &PeerId) -> bool {
        self.lock().contains_key(peer)
    }

    /// Counts a stream.
    pub(crate) fn hold<S>(&self, peer: PeerId, stream: S) -> Held<S> {
        *self.lock().entry(peer).or_default() += 1;
        Held { stream, peer, in_use: self.clone() }
    }

    /// Counts the streams that peers open.
    pub(crate) fn watch<I>(&self, incoming: I) -> impl futures::Stream<Item = (PeerId, Held)> + use<I>
    where
        I: futures::Stream<Item = (PeerId, Stream)>,
    {
        let in_use = self.clone();
        incoming.map(move |(peer, stream)| (peer, in_use.hold(peer, stream)))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PeerId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Drop for Held<S> {
    fn drop(&mut self) {
        let mut open = self.in_use.lock();
        if let Some(count) = open.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.peer);
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Held<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Held<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_in_use_while_one_of_its_streams_is_open() {
        let (in_use, peer) = (InUse::default(), PeerId::random());
        let (first, second) = (in_use.hold(peer, ()), in_use.hold(peer, ()));
        drop(first);
        assert!(in_use.contains(&peer) && !in_use.contains(&PeerId::random()));
        drop(second);
        assert!(!in_use.contains(&peer));
    }
}
