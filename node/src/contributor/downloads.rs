//! Packages on their way here. Whoever asks for one that is being fetched already joins in, and adds itself as a source.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use p2c2r_protocol::{
    id::{NodeId, SceneHash},
    task::RejectReason,
};
use p2c2r_swarm::{BlobError, BlobOrder, BlobOwners, ChunkSink, Fetched, SwarmHandle};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::timeout,
};
use tracing::{info, warn};

use crate::scene_library::{Package, Partial, SceneLibrary};

/// Packages being fetched at once, or in memory until scenes are made of them; more wait for their turn.
const MAX_DOWNLOADS: usize = 4;
/// Of these, for one coordinator.
const MAX_DOWNLOADS_PER_OWNER: usize = 1;
/// A download that takes longer is given up, so that a slow coordinator cannot hold a place for ever. What has come is
/// kept: whoever asks again goes on from there.
const DOWNLOAD_LIMIT: Duration = Duration::from_mins(30);

/// A package that has come.
#[derive(Clone)]
pub struct Arrival {
    /// It.
    pub package: Package,
    /// The bytes that were fetched for it.
    pub fetched_bytes: u64,
    /// Its place among the downloads, until everybody who waited for it has let go.
    _places: Arc<[OwnedSemaphorePermit; 2]>,
}

type Outcome = Result<Arrival, RejectReason>;

/// The packages on their way. Clones share them.
#[derive(Clone)]
pub struct Downloads {
    swarm: Option<SwarmHandle>,
    library: Arc<SceneLibrary>,
    /// By name, and by the size that was announced: a wrong one must not stand in the way of the right one.
    running: Arc<Mutex<HashMap<(SceneHash, u64), Download>>>,
    places: Arc<Semaphore>,
    /// The places of each coordinator that has some.
    owners: Arc<Mutex<HashMap<NodeId, Weak<Semaphore>>>>,
}

struct Download {
    owners: BlobOwners,
    state: Arc<State>,
    /// Ends when nobody waits for it any more.
    outcome: WeakShared<BoxFuture<'static, Outcome>>,
}

#[derive(Default)]
struct State {
    bytes_here: AtomicU64,
    sources: AtomicUsize,
}

/// How far a download is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DownloadView {
    /// The package.
    pub scene: SceneHash,
    /// Bytes that are here and checked.
    pub bytes_here: u64,
    /// Of so many.
    pub size_bytes: u64,
    /// Nodes that it comes from.
    pub sources: usize,
}

impl Downloads {
    /// Downloads over the swarm, if there is one.
    pub fn new(library: Arc<SceneLibrary>, swarm: Option<SwarmHandle>) -> Self {
        let places = Arc::new(Semaphore::new(MAX_DOWNLOADS));
        Self { swarm, library, running: Arc::default(), places, owners: Arc::default() }
    }

    /// What is on its way.
    pub fn views(&self) -> Vec<DownloadView> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let mut views: Vec<DownloadView> = running
            .iter()
            .filter(|(_, download)| {
                download.outcome.upgrade().is_some_and(|outcome| outcome.peek().is_none())
            })
            .map(|((scene, size_bytes), download)| DownloadView {
                scene: *scene,
                bytes_here: download.state.bytes_here.load(Ordering::Relaxed),
                size_bytes: *size_bytes,
                sources: download.state.sources.load(Ordering::Relaxed),
            })
            .collect();
        views.sort_by_key(|view| view.scene);
        views
    }

    /// Fetches a package that `owner` has.
    pub async fn fetch(&self, owner: NodeId, scene: SceneHash, size_bytes: u64) -> Outcome {
        let swarm = self.swarm.clone().ok_or(RejectReason::SceneFailed)?;
        self.join(swarm, owner, scene, size_bytes).await
    }

    fn places_of(&self, owner: NodeId) -> Arc<Semaphore> {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        owners.retain(|_, places| places.strong_count() > 0);
        if let Some(places) = owners.get(&owner).and_then(Weak::upgrade) {
            return places;
        }
        let places = Arc::new(Semaphore::new(MAX_DOWNLOADS_PER_OWNER));
        owners.insert(owner, Arc::downgrade(&places));
        places
    }

    fn join(
        &self,
        swarm: SwarmHandle,
        owner: NodeId,
        scene: SceneHash,
        size_bytes: u64,
    ) -> Shared<BoxFuture<'static, Outcome>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running
            .retain(|_, download| download.outcome.upgrade().is_some_and(|outcome| outcome.peek().is_none()));
        if let Some(download) = running.get(&(scene, size_bytes))
            && let Some(outcome) = download.outcome.upgrade()
        {
            download.owners.add(owner);
            return outcome;
        }
        let (owners, state) = (BlobOwners::default(), Arc::<State>::default());
        owners.add(owner);
        let partial = self.library.new_partial(scene);
        let told = Arc::clone(&state);
        let order = BlobOrder {
            scene,
            size_bytes,
            owners: owners.clone(),
            sink: Arc::clone(&partial) as Arc<dyn ChunkSink>,
            progress: Arc::new(move |progress| {
                told.bytes_here.store(progress.bytes_here, Ordering::Relaxed);
                told.sources.store(progress.sources, Ordering::Relaxed);
            }),
        };
        let (library, places) = (Arc::clone(&self.library), Arc::clone(&self.places));
        let own = self.places_of(owner);
        let outcome = async move {
            let own = own.acquire_owned().await.map_err(|_| RejectReason::NotContributing)?;
            let place = places.acquire_owned().await.map_err(|_| RejectReason::NotContributing)?;
            fetch(swarm, library, order, partial, [own, place]).await
        };
        let outcome = outcome.boxed().shared();
        if let Some(weak) = outcome.downgrade() {
            running.insert((scene, size_bytes), Download { owners, state, outcome: weak });
        }
        outcome
    }
}

async fn fetch(
    swarm: SwarmHandle,
    library: Arc<SceneLibrary>,
    order: BlobOrder,
    partial: Arc<Partial>,
    places: [OwnedSemaphorePermit; 2],
) -> Outcome {
    let scene = order.scene;
    let fetched = timeout(DOWNLOAD_LIMIT, swarm.fetch_blob(order)).await;
    match fetched.unwrap_or(Err(BlobError::Stalled)) {
        Ok(Fetched { fetched_bytes, .. }) => {
            let finished = spawn_blocking(move || partial.finish()).await;
            let finished = finished.map_err(std::io::Error::other).and_then(|finished| finished);
            let package = finished.map_err(|error| {
                warn!(scene = %scene.short(), %error, "a scene that was fetched cannot be read");
                RejectReason::SceneFailed
            })?;
            // Those who still fetch it get it from memory now.
            library.offer(&package);
            info!(scene = %scene.short(), fetched_bytes, bytes = package.size_bytes(), "fetched a scene");
            Ok(Arrival { package, fetched_bytes, _places: Arc::new(places) })
        }
        Err(error) => {
            warn!(scene = %scene.short(), %error, "a scene could not be fetched");
            Err(RejectReason::SceneFailed)
        }
    }
}
