//! The coordinator's pump: offers out, whole results in.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::BytesMut;
use p2c2r_protocol::{
    frame::encode,
    id::NodeId,
    task::{ContributorMessage, CoordinatorMessage},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, WriteHalf},
    pin,
    sync::mpsc,
    time::timeout,
};
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::{ContributorEvent, CoordinatorLink, Traffic, assembly::Assembly};
use crate::{
    limit::{CLOSE_GRACE, SESSION_QUEUE, WRITE_BATCH_BYTES},
    wire::{FrameReader, ReadError},
};

/// Starts the pump on a stream that is open; it runs until either side closes.
pub(crate) fn spawn<S>(stream: S, peer: NodeId, pumps: &TaskTracker) -> CoordinatorLink
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (outbox, outgoing) = mpsc::channel(SESSION_QUEUE);
    let (incoming, inbox) = mpsc::channel(SESSION_QUEUE);
    let traffic = Arc::<Traffic>::default();
    let pump = Pump { peer, assembly: Mutex::default(), traffic: Arc::clone(&traffic) };
    pumps.spawn(async move { pump.run(stream, outgoing, incoming).await });
    CoordinatorLink { peer, outbox, inbox, traffic }
}

struct Pump {
    peer: NodeId,
    assembly: Mutex<Assembly>,
    traffic: Arc<Traffic>,
}

impl Pump {
    async fn run<S: AsyncRead + AsyncWrite>(
        &self,
        stream: S,
        outgoing: mpsc::Receiver<CoordinatorMessage>,
        incoming: mpsc::Sender<ContributorEvent>,
    ) {
        let (reader, writer) = tokio::io::split(stream);
        let read = self.read(FrameReader::new(reader).counting(Arc::clone(&self.traffic)), &incoming);
        pin!(read);
        let ended = tokio::select! {
            ended = &mut read => ended,
            written = self.write(writer, outgoing) => match written {
                // What the contributor said last may still be on its way.
                Ok(()) => timeout(CLOSE_GRACE, read).await.unwrap_or(Ok(())),
                Err(error) => Err(error),
            },
        };
        if let Err(error) = ended {
            debug!(peer = %self.peer.short(), %error, "a work session broke off");
        }
    }

    async fn read<R: AsyncRead + Unpin>(
        &self,
        mut frames: FrameReader<R, ContributorMessage>,
        incoming: &mpsc::Sender<ContributorEvent>,
    ) -> Result<(), ReadError> {
        loop {
            let received = match frames.next().await {
                Ok(Some(frame)) => self.book().received(frame).map_err(|violation| violation.to_string()),
                Ok(None) => return Ok(()),
                Err(ReadError::Frame(error)) => Err(error.to_string()),
                Err(error) => return Err(error),
            };
            let (event, last) = match received {
                Ok(None) => continue,
                Ok(Some(event)) => (event, false),
                Err(violation) => (ContributorEvent::Violation(violation), true),
            };
            if incoming.send(event).await.is_err() || last {
                return Ok(());
            }
        }
    }

    async fn write<S: AsyncRead + AsyncWrite>(
        &self,
        mut writer: WriteHalf<S>,
        mut outgoing: mpsc::Receiver<CoordinatorMessage>,
    ) -> Result<(), ReadError> {
        let mut batch = BytesMut::new();
        while let Some(message) = outgoing.recv().await {
            self.append(&message, &mut batch)?;
            while batch.len() < WRITE_BATCH_BYTES
                && let Ok(message) = outgoing.try_recv()
            {
                self.append(&message, &mut batch)?;
            }
            writer.write_all(&batch).await?;
            writer.flush().await?;
            self.traffic.add_sent(batch.len());
            batch.clear();
        }
        Ok(writer.shutdown().await?)
    }

    /// The book is written before the bytes leave: no answer can come too early for it.
    fn append(&self, message: &CoordinatorMessage, batch: &mut BytesMut) -> Result<(), ReadError> {
        let before = batch.len();
        encode(message, &[], batch)?;
        if matches!(message, CoordinatorMessage::Offer { .. }) {
            self.traffic.add_offer(batch.len() - before);
        }
        self.book().sent(message);
        Ok(())
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Assembly> {
        self.assembly.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
