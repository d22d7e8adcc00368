//! The contributor's pump: offers in, results out in pieces.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use p2c2r_protocol::{frame::FrameError, id::NodeId, task::CoordinatorMessage};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    pin,
    sync::mpsc,
    time::timeout,
};

use super::{
    ContributorEvent, ContributorLink, Traffic,
    batch::Batch,
    queue::{SendQueue, TooManyCancels},
};
use crate::{
    limit::{CLOSE_GRACE, HANDSHAKE_TIMEOUT, SESSION_QUEUE, WRITE_BATCH_BYTES},
    wire::{FrameReader, ReadError},
};

/// Why a session ended before its time.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error("the coordinator did not greet in time")]
    Silent,
    #[error("the coordinator opened with something else than a greeting")]
    NoHello,
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the stream broke: {0}")]
    Write(#[from] io::Error),
    #[error("a message of our own cannot be sent: {0}")]
    Encode(#[from] FrameError),
    #[error(transparent)]
    Cancels(#[from] TooManyCancels),
}

/// A session whose coordinator has greeted, ready to run.
pub(super) struct Pump<S> {
    frames: FrameReader<ReadHalf<S>, CoordinatorMessage>,
    writer: WriteHalf<S>,
    incoming: mpsc::Sender<CoordinatorMessage>,
    outgoing: mpsc::Receiver<ContributorEvent>,
    traffic: Arc<Traffic>,
}

/// Waits for the coordinator's greeting; it lies in the link's inbox then.
pub(super) async fn greet<S>(stream: S, peer: NodeId) -> Result<(ContributorLink, Pump<S>), SessionError>
where
    S: AsyncRead + AsyncWrite,
{
    let (reader, writer) = tokio::io::split(stream);
    let (incoming, inbox) = mpsc::channel(SESSION_QUEUE);
    let (outbox, outgoing) = mpsc::channel(SESSION_QUEUE);
    let traffic = Arc::<Traffic>::default();
    let mut frames = FrameReader::new(reader).counting(Arc::clone(&traffic));
    let first = timeout(HANDSHAKE_TIMEOUT, frames.next()).await.map_err(|_| SessionError::Silent)??;
    match first.map(|frame| frame.header) {
        // The channel is new and has room.
        Some(hello @ CoordinatorMessage::Hello { .. }) => drop(incoming.try_send(hello)),
        _ => return Err(SessionError::NoHello),
    }
    let link = ContributorLink { peer, outbox, inbox, traffic: Arc::clone(&traffic) };
    Ok((link, Pump { frames, writer, incoming, outgoing, traffic }))
}

impl<S: AsyncRead + AsyncWrite> Pump<S> {
    /// Moves messages until either side closes.
    pub(super) async fn run(self) -> Result<(), SessionError> {
        let Self { frames, writer, incoming, outgoing, traffic } = self;
        let queue = Mutex::<SendQueue>::default();
        let read = read(frames, &incoming, &queue);
        pin!(read);
        tokio::select! {
            ended = &mut read => ended,
            written = write(writer, outgoing, &queue, &traffic) => {
                written?;
                timeout(CLOSE_GRACE, read).await.unwrap_or(Ok(()))
            }
        }
    }
}

async fn read<R: AsyncRead + Unpin>(
    mut frames: FrameReader<R, CoordinatorMessage>,
    incoming: &mpsc::Sender<CoordinatorMessage>,
    queue: &Mutex<SendQueue>,
) -> Result<(), SessionError> {
    while let Some(frame) = frames.next().await? {
        if let CoordinatorMessage::Cancel { task } = &frame.header {
            lock(queue).cancel(*task)?;
        }
        if incoming.send(frame.header).await.is_err() {
            break;
        }
    }
    Ok(())
}

async fn write<W: AsyncWrite + Unpin>(
    mut writer: W,
    mut outgoing: mpsc::Receiver<ContributorEvent>,
    queue: &Mutex<SendQueue>,
    traffic: &Traffic,
) -> Result<(), SessionError> {
    let mut batch = Batch::default();
    loop {
        if lock(queue).is_empty() {
            // Only here: a flush for every batch of a long result would break it up into small packets.
            writer.flush().await?;
            match outgoing.recv().await {
                Some(event) => lock(queue).push(event),
                None => return Ok(writer.shutdown().await?),
            }
        }
        lock(queue).gather(&mut outgoing, &mut batch)?;
        for part in batch.parts() {
            writer.write_all(part).await?;
        }
        traffic.add_sent(batch.length_bytes());
        batch.clear();
    }
}

impl SendQueue {
    /// Takes over what has come up meanwhile, and cuts the next batch.
    fn gather(
        &mut self,
        outgoing: &mut mpsc::Receiver<ContributorEvent>,
        batch: &mut Batch,
    ) -> Result<(), FrameError> {
        while !self.is_full()
            && let Ok(event) = outgoing.try_recv()
        {
            self.push(event);
        }
        self.fill(batch, WRITE_BATCH_BYTES)
    }
}

fn lock(queue: &Mutex<SendQueue>) -> MutexGuard<'_, SendQueue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}
