//! A task for each source of a download: one stream tells what the source has, another brings chunks.
//!
//! Requests follow each other without waiting for answers, so that one stream fills the line: further ones over the same
//! connection would share its congestion window.

use std::{collections::VecDeque, convert::Infallible, io, sync::Arc};

use p2c2r_protocol::{
    blob::{BlobReply, BlobRequest, ChunkManifest},
    chunk_set::ChunkSet,
    frame::Frame,
    id::{NodeId, SceneHash},
};
use tokio::{
    sync::mpsc,
    task::spawn_blocking,
    time::{Instant, sleep_until},
};

use super::{
    ChunkSink,
    client::{BlobNetwork, Conversation, refusal},
    picker::Ask,
};
use crate::{error::BlobError, limit::MAX_BLOB_SILENCE};

/// What a source's task says.
#[derive(Debug)]
pub(super) struct News {
    /// The source.
    pub(super) node: NodeId,
    /// Which of its tasks: an older one may still be heard.
    pub(super) task: u64,
    /// What happened.
    pub(super) event: Event,
}

/// What happened at a source.
#[derive(Debug)]
pub(super) enum Event {
    /// It says what it has, and who else may have some.
    Has { chunks: ChunkSet, others: Vec<NodeId> },
    /// A chunk came, was right, and is kept.
    Arrived { index: u32, bytes: u32 },
    /// It has no such chunk.
    Refused { index: u32 },
    /// It gave all that was wanted to others.
    Declined,
    /// The chunk could not be kept: this node's own trouble.
    NotKept(io::Error),
    /// There is nothing more to be had from it on these streams.
    Lost(BlobError),
}

/// A source's task, before it runs.
pub(super) struct SourceTask<N> {
    pub(super) network: N,
    pub(super) node: NodeId,
    pub(super) task: u64,
    pub(super) scene: SceneHash,
    pub(super) manifest: Arc<ChunkManifest>,
    pub(super) sink: Arc<dyn ChunkSink>,
    pub(super) asks: mpsc::Receiver<Ask>,
    pub(super) news: mpsc::Sender<News>,
}

impl<N: BlobNetwork> SourceTask<N> {
    /// Runs until the source is lost or not wanted any more.
    pub(super) async fn run(mut self) {
        let Err(error) = self.converse().await;
        self.tell(Event::Lost(error)).await;
    }

    async fn tell(&self, event: Event) {
        // Nobody hears it when the download has ended.
        let _ = self.news.send(News { node: self.node, task: self.task, event }).await;
    }

    async fn converse(&mut self) -> Result<Infallible, BlobError> {
        let mut watch = Conversation::on(self.network.open(self.node).await?);
        watch.ask(&BlobRequest::Watch { scene: self.scene }, &[]).await?;
        let mut data = Conversation::on(self.network.open(self.node).await?);
        // In the order in which it is answered.
        let mut owed = VecDeque::<Ask>::new();
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                said = watch.reply() => {
                    heard = Instant::now();
                    self.note_has(said?).await?;
                }
                // Whoever is alive says so, chunks or not.
                () = sleep_until(heard + MAX_BLOB_SILENCE) => return Err(BlobError::Stalled),
                ask = self.asks.recv() => {
                    let Some(ask) = ask else { return Err(BlobError::Stalled) };
                    self.ask(&ask, &mut data).await?;
                    owed.push_back(ask);
                }
                reply = data.reply() => {
                    heard = Instant::now();
                    self.take(reply?, &mut owed).await?;
                }
            }
        }
    }

    async fn note_has(&self, said: Frame<BlobReply>) -> Result<(), BlobError> {
        let BlobReply::Has { others } = said.header else { return Err(refusal(&said.header)) };
        let chunks = ChunkSet::from_bytes(self.manifest.chunk_count(), &said.payload)
            .map_err(|_| BlobError::Unexpected)?;
        self.tell(Event::Has { chunks, others }).await;
        Ok(())
    }

    async fn ask(&self, ask: &Ask, data: &mut Conversation) -> Result<(), BlobError> {
        let scene = self.scene;
        match ask {
            Ask::Chunk(index) => data.ask(&BlobRequest::Chunk { scene, index: *index }, &[]).await,
            Ask::Any(wanted) => data.ask(&BlobRequest::Any { scene }, wanted.as_bytes()).await,
        }
    }

    async fn take(&self, reply: Frame<BlobReply>, owed: &mut VecDeque<Ask>) -> Result<(), BlobError> {
        // The only word that is said unasked: there are too many streams.
        if reply.header == BlobReply::Busy {
            return Err(BlobError::Busy);
        }
        let asked = owed.pop_front().ok_or(BlobError::Unexpected)?;
        let event = match (reply.header, asked) {
            (BlobReply::Chunk { index }, Ask::Chunk(asked)) if index == asked => {
                self.keep(index, reply.payload).await?
            }
            // Not one that is here already, or it could send the same for ever.
            (BlobReply::Chunk { index }, Ask::Any(wanted)) if wanted.contains(index) => {
                self.keep(index, reply.payload).await?
            }
            (BlobReply::NotHere, Ask::Chunk(index)) => Event::Refused { index },
            (BlobReply::Declined, Ask::Any(_)) => Event::Declined,
            (other, _) => return Err(refusal(&other)),
        };
        self.tell(event).await;
        Ok(())
    }

    /// Checks a chunk and keeps it, off the network's threads.
    async fn keep(&self, index: u32, payload: bytes::Bytes) -> Result<Event, BlobError> {
        let (manifest, sink) = (Arc::clone(&self.manifest), Arc::clone(&self.sink));
        let kept = spawn_blocking(move || {
            manifest.verify_chunk(index, &payload)?;
            Ok::<_, BlobError>(match sink.write(index, &payload) {
                Ok(()) => Event::Arrived { index, bytes: payload.len() as u32 },
                Err(error) => Event::NotKept(error),
            })
        });
        kept.await.unwrap_or_else(|error| Ok(Event::NotKept(io::Error::other(error.to_string()))))
    }
}
