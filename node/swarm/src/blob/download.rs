//! A download: finds sources, lets the [`Picker`] decide, and carries out what it decides.

mod candidates;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use p2c2r_protocol::{blob::ChunkManifest, id::NodeId, limit::SCENE_CHUNK_BYTES};
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet, spawn_blocking},
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::{debug, warn};

use self::candidates::Candidates;
use super::{
    BlobNetwork, BlobOrder, DownloadProgress, Fetched, Transfers,
    client::{Known, Proven, fetch_manifest},
    picker::{Ask, Picker},
    source::{Event, News, SourceTask},
};
use crate::{
    counters::Counters,
    error::BlobError,
    limit::{BLOB_RETRY, MAX_BLOB_ATTEMPTS, MAX_CHUNK_WINDOW, MAX_DOWNLOAD_PAUSE},
};

/// What an answer takes of the line.
const CHUNK_BYTES: u64 = SCENE_CHUNK_BYTES as u64;
/// How often stalls and new candidates are looked for.
const TICK: Duration = Duration::from_millis(100);
/// How often the known nodes are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Of those who announced the package, so many are asked for its chunk list.
const MAX_LISTS_ASKED: usize = 4;
/// News that wait to be taken in.
const NEWS_QUEUE: usize = 256;

/// Fetches a package from everybody who has some of it. What has arrived stays in the order's sink if it fails or is
/// given up.
pub(crate) async fn fetch<N: BlobNetwork>(
    network: N,
    order: BlobOrder,
    transfers: Arc<Transfers>,
    counters: Arc<Counters>,
) -> Result<Fetched, BlobError> {
    let Proven { manifest, last_chunk } = first_manifest(&network, &order, &transfers, &counters).await?;
    let last_bytes = last_chunk.len() as u64;
    Counters::add(&counters.blob_bytes_received, last_bytes);
    let (sink, list) = (Arc::clone(&order.sink), manifest.clone());
    let begun = spawn_blocking(move || {
        let mut here = sink.begin(&list)?;
        let last = list.chunk_count().saturating_sub(1);
        let is_new = !here.contains(last);
        if is_new {
            sink.write(last, &last_chunk)?;
            here.insert(last);
        }
        Ok((here, is_new))
    });
    let begun = begun.await.map_err(std::io::Error::other).and_then(|begun| begun);
    let (here, is_new) = begun.map_err(BlobError::NotKept)?;
    if !is_new {
        Counters::add(&counters.blob_bytes_repeated, last_bytes);
    }
    let (news_out, news) = mpsc::channel(NEWS_QUEUE);
    let download = Download {
        picker: Picker::new(here, fastrand::u64(..)),
        manifest: Arc::new(manifest),
        candidates: Candidates::default(),
        known: Known::default(),
        looked_at: None,
        open: BTreeMap::new(),
        tasks: JoinSet::new(),
        next_task: 0,
        news_out,
        began: Instant::now(),
        last_arrival: Duration::ZERO,
        may_ask_at: Instant::now(),
        fetched_bytes: if is_new { last_bytes } else { 0 },
        network,
        order,
        transfers,
        counters,
    };
    download.run(news).await
}

/// The chunk list, from whichever owner gives it first, or from somebody who announced the package. All are asked side by side:
/// one that stalls holds nobody up, nor does it keep out an owner that comes later.
async fn first_manifest<N: BlobNetwork>(
    network: &N,
    order: &BlobOrder,
    transfers: &Transfers,
    counters: &Counters,
) -> Result<Proven, BlobError> {
    let mut attempt = 1;
    loop {
        let mut asked = BTreeSet::new();
        let mut answers = FuturesUnordered::new();
        let mut first_error = None;
        let announced = network.known(order.scene).await.announced;
        let announced = announced.into_iter().filter(|node| *node != network.own()).take(MAX_LISTS_ASKED);
        let announced: Vec<NodeId> = announced.collect();
        loop {
            for node in order.owners.list().into_iter().chain(announced.iter().copied()) {
                if !transfers.is_shunned(&node) && asked.insert(node) {
                    let answer = fetch_manifest(network, node, order.scene, order.size_bytes);
                    answers.push(async move { (node, answer.await) });
                }
            }
            let (node, answer) = match timeout(LOOK_INTERVAL, answers.next()).await {
                Err(_) => continue,
                Ok(None) => break,
                Ok(Some(answer)) => answer,
            };
            match answer {
                Ok(proven) => return Ok(proven),
                Err(error) => {
                    if error.is_lie() {
                        shun(transfers, counters, node, &error);
                    }
                    first_error.get_or_insert(error);
                }
            }
        }
        let error = first_error.unwrap_or(BlobError::NotHere);
        if !error.is_transient() || attempt >= MAX_BLOB_ATTEMPTS {
            return Err(error);
        }
        sleep(jittered(BLOB_RETRY * 2_u32.pow(attempt - 1))).await;
        attempt += 1;
    }
}

fn shun(transfers: &Transfers, counters: &Counters, node: NodeId, error: &BlobError) {
    warn!(peer = %node.short(), %error, "a source of a scene lies; nothing more is fetched from it");
    transfers.shun(node);
    Counters::count(&counters.blob_sources_shunned);
}

/// A random part of the wait, so that those who collided do not collide again.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(0.5 + fastrand::f64() / 2.0)
}

/// A source with streams of its own.
struct OpenSource {
    task: u64,
    asks: mpsc::Sender<Ask>,
    abort: AbortHandle,
}

impl Drop for OpenSource {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

struct Download<N> {
    network: N,
    order: BlobOrder,
    transfers: Arc<Transfers>,
    counters: Arc<Counters>,
    manifest: Arc<ChunkManifest>,
    picker: Picker,
    candidates: Candidates,
    known: Known,
    looked_at: Option<Instant>,
    open: BTreeMap<NodeId, OpenSource>,
    /// Ends the sources' tasks with the download.
    tasks: JoinSet<()>,
    next_task: u64,
    news_out: mpsc::Sender<News>,
    began: Instant,
    last_arrival: Duration,
    /// The limit of the node's downloads allows no request before then.
    may_ask_at: Instant,
    fetched_bytes: u64,
}

impl<N: BlobNetwork> Download<N> {
    async fn run(mut self, mut news: mpsc::Receiver<News>) -> Result<Fetched, BlobError> {
        let mut next_tick = Instant::now();
        loop {
            if self.picker.here().is_full() {
                self.tell_progress();
                return Ok(Fetched {
                    manifest: self.manifest.as_ref().clone(),
                    fetched_bytes: self.fetched_bytes,
                    liars: self.picker.into_liars(),
                });
            }
            if Instant::now() >= next_tick {
                self.tick().await?;
                next_tick = Instant::now() + TICK;
            }
            self.ask();
            let now = Instant::now();
            let wake = if self.may_ask_at > now { next_tick.min(self.may_ask_at) } else { next_tick };
            tokio::select! {
                // The download holds a sender of its own: there is no end to it.
                Some(news) = news.recv() => self.apply(news)?,
                () = sleep_until(wake) => {}
            }
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    async fn tick(&mut self) -> Result<(), BlobError> {
        while self.tasks.try_join_next().is_some() {}
        if self.looked_at.is_none_or(|at| at.elapsed() >= LOOK_INTERVAL) {
            self.known = self.network.known(self.order.scene).await;
            self.looked_at = Some(Instant::now());
            for node in self.known.announced.clone() {
                self.note_candidate(node);
            }
        }
        for owner in self.order.owners.list() {
            if !self.transfers.is_shunned(&owner) {
                self.candidates.add_owner(owner);
            }
        }
        let now = self.now();
        for node in self.picker.look_for_stalls(now) {
            self.close(node, BlobError::Stalled);
        }
        for (node, is_owner) in self.candidates.due(now, self.open.len()) {
            self.open(node, is_owner);
        }
        self.tell_progress();
        if let Some(error) = self.candidates.hopeless() {
            return Err(error);
        }
        let paused = now.saturating_sub(self.last_arrival) > MAX_DOWNLOAD_PAUSE;
        if paused { Err(BlobError::Stalled) } else { Ok(()) }
    }

    /// Somebody names a node as a source: it is tried if this node knows it, for others could be named to have them dialled.
    fn note_candidate(&mut self, node: NodeId) {
        let is_known = self.known.nodes.contains(&node) && node != self.network.own();
        if is_known && !self.transfers.is_shunned(&node) {
            self.candidates.add(node);
        }
    }

    fn open(&mut self, node: NodeId, is_owner: bool) {
        let (asks_out, asks) = mpsc::channel(MAX_CHUNK_WINDOW * 2);
        self.next_task += 1;
        let task = SourceTask {
            network: self.network.clone(),
            node,
            task: self.next_task,
            scene: self.order.scene,
            manifest: Arc::clone(&self.manifest),
            sink: Arc::clone(&self.order.sink),
            asks,
            news: self.news_out.clone(),
        };
        let abort = self.tasks.spawn(task.run());
        self.open.insert(node, OpenSource { task: self.next_task, asks: asks_out, abort });
        self.picker.add(node, is_owner, self.now());
    }

    /// Asks as much as sources, picker and limit allow.
    fn ask(&mut self) {
        while Instant::now() >= self.may_ask_at {
            let Some((node, ask)) = self.picker.next(self.now()) else { return };
            // One whose task has just ended is heard of in a moment.
            if let Some(source) = self.open.get(&node) {
                let _ = source.asks.try_send(ask);
            }
            self.may_ask_at = self.transfers.download.take(CHUNK_BYTES, Instant::now());
        }
    }

    fn apply(&mut self, news: News) -> Result<(), BlobError> {
        let News { node, task, event } = news;
        if self.open.get(&node).is_none_or(|source| source.task != task) {
            return Ok(());
        }
        let now = self.now();
        match event {
            Event::Has { chunks, others } => {
                self.picker.note_has(&node, chunks);
                for other in others {
                    self.note_candidate(other);
                }
            }
            Event::Arrived { index, bytes } => {
                Counters::add(&self.counters.blob_bytes_received, u64::from(bytes));
                if self.picker.arrived(&node, index, now) {
                    self.candidates.note_useful(&node);
                    self.last_arrival = now;
                    self.fetched_bytes += u64::from(bytes);
                } else {
                    Counters::add(&self.counters.blob_bytes_repeated, u64::from(bytes));
                }
            }
            Event::Refused { index } => {
                self.transfers.download.give_back(CHUNK_BYTES);
                if self.picker.refused(&node, index, now) {
                    self.close(node, BlobError::NotHere);
                }
            }
            Event::Declined => {
                self.transfers.download.give_back(CHUNK_BYTES);
                self.picker.declined(&node, now);
            }
            Event::NotKept(error) => return Err(BlobError::NotKept(error)),
            Event::Lost(error) => self.close(node, error),
        }
        Ok(())
    }

    fn close(&mut self, node: NodeId, error: BlobError) {
        debug!(peer = %node.short(), %error, "a source of a scene is gone");
        self.open.remove(&node);
        if error.is_lie() {
            self.picker.shun(node);
            shun(&self.transfers, &self.counters, node, &error);
        } else {
            self.picker.remove(&node);
        }
        let now = self.now();
        self.candidates.failed(node, error, now);
    }

    fn tell_progress(&self) {
        let here = self.picker.here();
        let last = self.manifest.chunk_count().saturating_sub(1);
        // All chunks are equally large but for the last.
        let missing_of_last = if here.contains(last) {
            u64::from(SCENE_CHUNK_BYTES)
                - u64::from(self.manifest.chunk_bytes(last).unwrap_or(SCENE_CHUNK_BYTES))
        } else {
            0
        };
        let bytes_here = u64::from(here.len()) * u64::from(SCENE_CHUNK_BYTES) - missing_of_last;
        (self.order.progress)(DownloadProgress { bytes_here, sources: self.open.len() });
    }
}
