//! Streams of game steps, `/p2c2r/step/1`: typed channels at both ends, one libp2p stream between them.
//!
//! Nothing here waits for the other direction: what is to be written is written as it comes, what arrives is handed on.
//! Dropping a link's outbox closes the stream; the end of the stream closes the inbox.

use std::{collections::HashMap, io};

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use libp2p::{PeerId, StreamProtocol};
use p2c2r_protocol::{
    frame::{FrameError, Header, encode},
    id::NodeId,
    step::{StepMessage, StepReply},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
    task::AbortHandle,
    time::timeout,
};
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::{
    event::SwarmEvent,
    identity::node_id,
    in_use::Held,
    limit::{HANDSHAKE_TIMEOUT, MAX_STEP_STREAMS, STEP_QUEUE, STEP_STALL_TIMEOUT},
    wire::{FrameReader, ReadError, tokio_stream},
};

/// The stream protocol.
pub(crate) const PROTOCOL: StreamProtocol = StreamProtocol::new("/p2c2r/step/1");

/// The owner's end.
#[derive(Debug)]
pub struct StepOwnerLink {
    /// The other end.
    pub peer: NodeId,
    /// To the peer, each with its payload. Dropping it closes the stream.
    pub outbox: mpsc::Sender<(StepMessage, Bytes)>,
    /// From the peer; ends with the stream.
    pub inbox: mpsc::Receiver<(StepReply, Bytes)>,
}

/// The end of the one who does the steps.
#[derive(Debug)]
pub struct StepPeerLink {
    /// The owner.
    pub owner: NodeId,
    /// To the owner, each with its payload. Dropping it closes the stream.
    pub outbox: mpsc::Sender<(StepReply, Bytes)>,
    /// From the owner; ends with the stream.
    pub inbox: mpsc::Receiver<(StepMessage, Bytes)>,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum PumpError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the stream broke: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the other side does not read")]
    Stalled,
}

/// The owner's end of a fresh stream.
pub(crate) fn spawn_owner<S>(stream: S, peer: NodeId, pumps: &TaskTracker) -> StepOwnerLink
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (outbox, to_write) = mpsc::channel(STEP_QUEUE);
    let (arrived, inbox) = mpsc::channel(STEP_QUEUE);
    pumps.spawn(async move {
        if let Err(error) = pump(stream, arrived, to_write).await {
            debug!(peer = %peer.short(), %error, "a stream of steps broke off");
        }
    });
    StepOwnerLink { peer, outbox, inbox }
}

/// Takes streams until the swarm ends; a second one of the same owner replaces the first.
pub(crate) async fn accept(
    mut incoming: impl futures::Stream<Item = (PeerId, Held)> + Unpin,
    events: mpsc::Sender<SwarmEvent>,
    pumps: TaskTracker,
) {
    let mut streams = HashMap::<NodeId, AbortHandle>::new();
    while let Some((peer, stream)) = incoming.next().await {
        let Some(owner) = node_id(&peer) else { continue };
        streams.retain(|_, stream| !stream.is_finished());
        if streams.len() >= MAX_STEP_STREAMS && !streams.contains_key(&owner) {
            debug!(peer = %owner.short(), "a stream of steps was turned away: too many are open");
            continue;
        }
        let served = pumps.spawn(serve(tokio_stream(stream), owner, events.clone()));
        if let Some(former) = streams.insert(owner, served.abort_handle()) {
            former.abort();
        }
    }
}

async fn serve<S: AsyncRead + AsyncWrite>(stream: S, owner: NodeId, events: mpsc::Sender<SwarmEvent>) {
    let (outbox, to_write) = mpsc::channel(STEP_QUEUE);
    let (arrived, inbox) = mpsc::channel(STEP_QUEUE);
    let link = StepPeerLink { owner, outbox, inbox };
    if !matches!(timeout(HANDSHAKE_TIMEOUT, events.send(SwarmEvent::Steps(link))).await, Ok(Ok(()))) {
        return;
    }
    if let Err(error) = pump(stream, arrived, to_write).await {
        debug!(peer = %owner.short(), %error, "a stream of steps broke off");
    }
}

/// Moves messages both ways until one of them ends.
async fn pump<S, R, W>(
    stream: S,
    arrived: mpsc::Sender<(R, Bytes)>,
    mut to_write: mpsc::Receiver<(W, Bytes)>,
) -> Result<(), PumpError>
where
    S: AsyncRead + AsyncWrite,
    R: Header,
    W: Header,
{
    let (reader, mut writer) = tokio::io::split(stream);
    let mut messages = FrameReader::<_, R>::new(reader);
    let reading = async {
        while let Some(frame) = messages.next().await? {
            if arrived.send((frame.header, frame.payload)).await.is_err() {
                break;
            }
        }
        Ok::<(), PumpError>(())
    };
    let writing = async {
        let mut out = BytesMut::new();
        while let Some((message, payload)) = to_write.recv().await {
            encode(&message, &payload, &mut out)?;
            // What else waits goes with it.
            while out.len() < crate::limit::WRITE_BATCH_BYTES
                && let Ok((message, payload)) = to_write.try_recv()
            {
                encode(&message, &payload, &mut out)?;
            }
            let written = async {
                writer.write_all(&out).await?;
                writer.flush().await
            };
            timeout(STEP_STALL_TIMEOUT, written).await.map_err(|_| PumpError::Stalled)??;
            out.clear();
        }
        // Behind the last message the stream ends; what broke it already is no news.
        let _ = timeout(STEP_STALL_TIMEOUT, writer.shutdown()).await;
        Ok::<(), PumpError>(())
    };
    tokio::select! {
        ended = reading => ended,
        ended = writing => ended,
    }
}

#[cfg(test)]
mod tests {
    use p2c2r_protocol::step::LevelSpec;

    use super::*;

    #[tokio::test]
    async fn messages_go_both_ways_and_the_end_is_heard() {
        let (near, far) = tokio::io::duplex(1 << 16);
        let tasks = TaskTracker::new();
        let mut owner = spawn_owner(near, NodeId::from_public_key([1; 32]), &tasks);
        let (events_in, mut events) = mpsc::channel(1);
        tasks.spawn(serve(far, NodeId::from_public_key([2; 32]), events_in));
        let Some(SwarmEvent::Steps(mut peer)) = events.recv().await else { panic!("no link") };
        let open = StepMessage::Open(LevelSpec { seed: 1, bodies: 1, agents: 1, sounds: 1 });
        owner.outbox.send((open, Bytes::new())).await.unwrap();
        assert_eq!(peer.inbox.recv().await.unwrap().0, open);
        peer.outbox.send((StepReply::Opened, Bytes::new())).await.unwrap();
        assert_eq!(owner.inbox.recv().await.unwrap().0, StepReply::Opened);
        drop(peer.outbox);
        assert!(owner.inbox.recv().await.is_none());
    }

    #[tokio::test]
    async fn b3_a_level_beyond_the_limits_ends_the_stream() {
        let (near, far) = tokio::io::duplex(1 << 16);
        let (events_in, mut events) = mpsc::channel(1);
        let served = tokio::spawn(serve(far, NodeId::from_public_key([2; 32]), events_in));
        let Some(SwarmEvent::Steps(mut peer)) = events.recv().await else { panic!("no link") };
        let (_, mut writer) = tokio::io::split(near);
        // What the sender's own checks would refuse, byte by byte.
        let mut out = BytesMut::new();
        let open = StepMessage::Open(LevelSpec { seed: 1, bodies: 1, agents: 1, sounds: 1 });
        encode(&open, &[], &mut out).unwrap();
        let header: Vec<u8> = out[6..].to_vec();
        let huge = StepMessage::Open(LevelSpec { seed: 1, bodies: 0xffff, agents: 1, sounds: 1 });
        let huge = p2c2r_protocol::canon::to_canonical(&huge).unwrap();
        assert!(huge.len() > header.len());
        let mut bytes = ((huge.len() + 2) as u32).to_be_bytes().to_vec();
        bytes.extend((huge.len() as u16).to_be_bytes());
        bytes.extend(&huge);
        writer.write_all(&bytes).await.unwrap();
        assert!(peer.inbox.recv().await.is_none());
        served.await.unwrap();
    }
}
