//! What one stage of a frame hands to the next, from node to node, `/p2c2r/stage/1`: a stream for each plane.
//!
//! The one that brings it asks first; what is not awaited is refused before a byte of it is read.

use std::{collections::HashMap, future::Future, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use libp2p::{PeerId, StreamProtocol};
use p2c2r_protocol::{
    frame::{Frame, Header, encode},
    id::NodeId,
    limit::MAX_PIECE_BYTES,
    stage::{HandOver, HandOverMessage, HandOverReply, plane_hash},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::Semaphore,
    time::timeout,
};
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::{
    error::HandOverError,
    identity::node_id,
    in_use::Held,
    limit::{
        HAND_OVER_FIRST_RESERVE_BYTES, HAND_OVER_STALL_TIMEOUT, MAX_HAND_OVERS, MAX_HAND_OVERS_PER_PEER,
    },
    wire::{FrameReader, tokio_stream},
};

/// The stream protocol.
pub(crate) const PROTOCOL: StreamProtocol = StreamProtocol::new("/p2c2r/stage/1");

/// Takes what others hand over. Called from the network's tasks: it must not block.
pub trait HandOverStore: Send + Sync {
    /// Whether exactly this is awaited of that node.
    fn awaits(&self, from: &NodeId, brought: &HandOver) -> bool;
    /// It is here, and its bytes are those that it names. `false` if it is not awaited any more.
    fn take(&self, from: &NodeId, brought: &HandOver, bytes: Bytes) -> bool;
}

/// Awaits nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHandOvers;

impl HandOverStore for NoHandOvers {
    fn awaits(&self, _: &NodeId, _: &HandOver) -> bool {
        false
    }

    fn take(&self, _: &NodeId, _: &HandOver, _: Bytes) -> bool {
        false
    }
}

/// Serves streams until the swarm ends.
pub(crate) async fn serve(
    mut incoming: impl futures::Stream<Item = (PeerId, Held)> + Unpin,
    store: Arc<dyn HandOverStore>,
    tasks: TaskTracker,
) {
    let streams = Arc::new(Semaphore::new(MAX_HAND_OVERS));
    let mut peers = HashMap::<PeerId, Arc<Semaphore>>::new();
    while let Some((peer, stream)) = incoming.next().await {
        peers.retain(|_, own| own.available_permits() < MAX_HAND_OVERS_PER_PEER);
        let own = peers.entry(peer).or_insert_with(|| Arc::new(Semaphore::new(MAX_HAND_OVERS_PER_PEER)));
        // Beyond these the stream just closes; whoever brings something in earnest comes again.
        let Ok(own_permit) = Arc::clone(own).try_acquire_owned() else { continue };
        let Ok(permit) = Arc::clone(&streams).try_acquire_owned() else { continue };
        let Some(from) = node_id(&peer) else { continue };
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let _permits = (own_permit, permit);
            if let Err(error) = receive(tokio_stream(stream), from, store.as_ref()).await {
                debug!(%peer, %error, "a hand-over broke off");
            }
        });
    }
}

/// Takes one plane, or refuses it.
async fn receive<S>(stream: S, from: NodeId, store: &dyn HandOverStore) -> Result<(), HandOverError>
where
    S: AsyncRead + AsyncWrite,
{
    let (reader, mut writer) = tokio::io::split(stream);
    let mut messages = FrameReader::<_, HandOverMessage>::new(reader);
    let asked = unless_stalled(messages.next()).await?.ok_or(HandOverError::Ended)?;
    let HandOverMessage::Bring(brought) = asked.header else { return Err(HandOverError::Unexpected) };
    if !store.awaits(&from, &brought) {
        send(&mut writer, &HandOverReply::Refused, &[]).await?;
        return unless_stalled(writer.shutdown()).await;
    }
    send(&mut writer, &HandOverReply::Go, &[]).await?;
    let whole = brought.bytes as usize;
    let mut bytes = BytesMut::with_capacity(whole.min(HAND_OVER_FIRST_RESERVE_BYTES));
    while bytes.len() < whole {
        let Frame { header, payload } = unless_stalled(messages.next()).await?.ok_or(HandOverError::Ended)?;
        if header != HandOverMessage::Piece || payload.is_empty() || payload.len() > whole - bytes.len() {
            return Err(HandOverError::Unexpected);
        }
        bytes.extend_from_slice(&payload);
    }
    if plane_hash(&bytes) != brought.hash {
        return Err(HandOverError::Hash);
    }
    let taken = store.take(&from, &brought, bytes.freeze());
    send(&mut writer, if taken { &HandOverReply::Taken } else { &HandOverReply::Refused }, &[]).await?;
    unless_stalled(writer.shutdown()).await
}

/// Brings one plane.
pub(crate) async fn bring<S>(stream: S, brought: HandOver, bytes: &Bytes) -> Result<(), HandOverError>
where
    S: AsyncRead + AsyncWrite,
{
    let (reader, mut writer) = tokio::io::split(stream);
    let mut replies = FrameReader::<_, HandOverReply>::new(reader);
    send(&mut writer, &HandOverMessage::Bring(brought), &[]).await?;
    let reply = unless_stalled(replies.next()).await?.ok_or(HandOverError::Ended)?;
    match reply.header {
        HandOverReply::Go => {}
        HandOverReply::Refused => return Err(HandOverError::Refused),
        _ => return Err(HandOverError::Unexpected),
    }
    for piece in bytes.chunks(MAX_PIECE_BYTES as usize) {
        send(&mut writer, &HandOverMessage::Piece, piece).await?;
    }
    match unless_stalled(replies.next()).await?.ok_or(HandOverError::Ended)?.header {
        HandOverReply::Taken => Ok(()),
        HandOverReply::Refused => Err(HandOverError::Refused),
        _ => Err(HandOverError::Unexpected),
    }
}

async fn send<W, H>(writer: &mut W, message: &H, payload: &[u8]) -> Result<(), HandOverError>
where
    W: AsyncWrite + Unpin,
    H: Header,
{
    let mut out = BytesMut::with_capacity(payload.len() + 64);
    encode(message, payload, &mut out)?;
    unless_stalled(writer.write_all(&out)).await?;
    unless_stalled(writer.flush()).await
}

/// Fails when a step takes too long.
async fn unless_stalled<T, E>(step: impl Future<Output = Result<T, E>>) -> Result<T, HandOverError>
where
    HandOverError: From<E>,
{
    Ok(timeout(HAND_OVER_STALL_TIMEOUT, step).await.map_err(|_| HandOverError::Stalled)??)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use p2c2r_protocol::{id::JobId, limit::MAX_PLANE_BYTES, stage::Plane};

    use super::*;

    /// Awaits one plane of one node, and keeps what came.
    struct Shelf {
        from: NodeId,
        plane: HandOver,
        came: Mutex<Vec<Bytes>>,
    }

    impl HandOverStore for Shelf {
        fn awaits(&self, from: &NodeId, brought: &HandOver) -> bool {
            *from == self.from && *brought == self.plane
        }

        fn take(&self, _: &NodeId, _: &HandOver, bytes: Bytes) -> bool {
            self.came.lock().unwrap().push(bytes);
            true
        }
    }

    fn node(index: u8) -> NodeId {
        NodeId::from_public_key([index; 32])
    }

    fn of(bytes: &[u8]) -> HandOver {
        HandOver {
            job: JobId([1; 16]),
            frame: 3,
            attempt: 0,
            plane: Plane::Film,
            bytes: bytes.len() as u32,
            hash: plane_hash(bytes),
        }
    }

    async fn handed_over(
        shelf: &Shelf,
        from: NodeId,
        brought: HandOver,
        bytes: Vec<u8>,
    ) -> (Result<(), HandOverError>, Result<(), HandOverError>) {
        let (near, far) = tokio::io::duplex(1 << 16);
        let bytes = Bytes::from(bytes);
        tokio::join!(bring(near, brought, &bytes), receive(far, from, shelf))
    }

    fn shelf(plane: HandOver) -> Shelf {
        Shelf { from: node(1), plane, came: Mutex::default() }
    }

    #[tokio::test]
    async fn what_is_awaited_arrives_whole() {
        let bytes: Vec<u8> = (0..300_000_u32).map(|index| (index % 251) as u8).collect();
        let shelf = shelf(of(&bytes));
        let (brought, received) = handed_over(&shelf, node(1), of(&bytes), bytes.clone()).await;
        assert!(brought.is_ok() && received.is_ok(), "{brought:?} {received:?}");
        assert_eq!(*shelf.came.lock().unwrap(), [Bytes::from(bytes)]);
    }

    #[tokio::test]
    async fn b10_what_nobody_awaits_is_refused_unread() {
        let bytes = vec![7; 1000];
        let shelf = shelf(of(&bytes));
        let other = HandOver { frame: 4, ..of(&bytes) };
        let huge = HandOver { bytes: MAX_PLANE_BYTES, ..of(&bytes) };
        for (from, brought) in [(node(2), of(&bytes)), (node(1), other), (node(1), huge)] {
            let (refused, _) = handed_over(&shelf, from, brought, bytes.clone()).await;
            assert!(matches!(refused, Err(HandOverError::Refused)), "{refused:?}");
        }
        assert!(shelf.came.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn b10_bytes_that_are_not_those_that_were_named_are_not_taken() {
        let bytes = vec![7; 1000];
        let shelf = shelf(of(&bytes));
        for wrong in [vec![8; 1000], vec![7; 2000]] {
            let (brought, received) = handed_over(&shelf, node(1), of(&bytes), wrong).await;
            assert!(brought.is_err() && received.is_err());
        }
        assert!(shelf.came.lock().unwrap().is_empty());
    }
}
