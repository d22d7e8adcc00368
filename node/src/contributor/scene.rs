//! Makes a scene ready at a moment. Its package is fetched ([`super::downloads`]) if it is neither in memory nor in the disk
//! cache: another moment of a known package needs no network.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Instant,
};

use p2c2r_protocol::{
    id::{NodeId, SceneHash},
    moment::SceneMoment,
    task::RejectReason,
};
use p2c2r_render::scene::SceneError;
use p2c2r_swarm::SwarmHandle;
use tokio::{
    sync::{Mutex as AsyncMutex, OwnedMutexGuard, Semaphore},
    task::spawn_blocking,
};
use tracing::warn;

use super::{
    ReadyScene,
    downloads::{DownloadView, Downloads},
};
use crate::scene_library::SceneLibrary;

/// Scenes being built at once; more wait for their turn.
const MAX_PREPARING: usize = 2;

/// Where scenes come from.
#[derive(Clone)]
pub struct SceneSource {
    library: Arc<SceneLibrary>,
    downloads: Downloads,
    max_scene_bytes: u64,
    preparing: Arc<Semaphore>,
    packages: Arc<PackageLocks>,
}

/// Of all moments of a package that one coordinator asks for, one is made ready at a time: the others find the package
/// here then. Another coordinator does not wait for it: the first might never deliver.
#[derive(Default)]
struct PackageLocks(Mutex<HashMap<AskedPackage, Weak<AsyncMutex<()>>>>);

/// Whose package.
type AskedPackage = (NodeId, SceneHash);

impl PackageLocks {
    async fn lock(&self, peer: NodeId, package: SceneHash) -> OwnedMutexGuard<()> {
        self.of((peer, package)).lock_owned().await
    }

    fn of(&self, package: AskedPackage) -> Arc<AsyncMutex<()>> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = locks.get(&package).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::default();
        locks.insert(package, Arc::downgrade(&lock));
        lock
    }
}

impl SceneSource {
    /// Scenes from the library, else over the swarm if there is one.
    pub fn new(library: Arc<SceneLibrary>, swarm: Option<SwarmHandle>, max_scene_bytes: u64) -> Self {
        let preparing = Arc::new(Semaphore::new(MAX_PREPARING));
        let downloads = Downloads::new(Arc::clone(&library), swarm);
        Self { library, downloads, max_scene_bytes, preparing, packages: Arc::default() }
    }

    /// Makes the scene ready, asking `peer` for its package if this node does not have it.
    pub async fn prepare(
        &self,
        peer: NodeId,
        scene: SceneMoment,
        size_bytes: u64,
    ) -> Result<ReadyScene, RejectReason> {
        let started = Instant::now();
        let ready = |prepared, fetched_bytes| ReadyScene {
            prepared,
            fetched_bytes,
            elapsed_ms: started.elapsed().as_secs_f32() * 1e3,
        };
        if let Some(found) = self.library.resident(&scene) {
            return Ok(ready(found.prepared, 0));
        }
        if size_bytes > self.max_scene_bytes {
            return Err(RejectReason::TooLarge);
        }
        // Whoever waits for a package that is on its way takes no place from others.
        let package_lock = self.packages.lock(peer, scene.hash).await;
        if let Some(found) = self.library.resident(&scene) {
            return Ok(ready(found.prepared, 0));
        }
        // A package that was fetched is in memory: its download's place is kept until the scene is made of it.
        let arrival = if self.library.has_package(&scene.hash) {
            None
        } else {
            Some(self.downloads.fetch(peer, scene.hash, size_bytes).await?)
        };
        let fetched_bytes = arrival.as_ref().map_or(0, |arrival| arrival.fetched_bytes);
        let turn = Arc::clone(&self.preparing).acquire_owned();
        let turn = turn.await.map_err(|_| RejectReason::NotContributing)?;
        if let Some(found) = self.library.resident(&scene) {
            return Ok(ready(found.prepared, fetched_bytes));
        }
        // Sessions and tiles hold on to their scenes; new ones have to wait until some are let go.
        if self.library.is_overdrawn() {
            return Err(RejectReason::Busy);
        }
        let library = Arc::clone(&self.library);
        // The turn ends with the work, not with whoever waits for it: a session that is gone does not stop a build.
        let building = spawn_blocking(move || {
            let _held = (turn, package_lock);
            let package = match &arrival {
                Some(arrival) => arrival.package.clone(),
                // What the disk has is read when it is its turn, not before.
                None => library.cached_package(&scene.hash)?,
            };
            let prepared = library.prepare(&package, scene.time);
            if prepared.is_err() {
                library.forget(&scene.hash);
            }
            Some(prepared)
        });
        match building.await {
            Ok(Some(Ok(found))) => Ok(ready(found.prepared, fetched_bytes)),
            // It was damaged, and is gone: whoever asks again has it fetched.
            Ok(None) => Err(RejectReason::Busy),
            Ok(Some(Err(error))) => {
                warn!(%scene, %error, "a coordinator's scene did not load");
                Err(match error {
                    SceneError::Memory { .. } | SceneError::Limit { .. } => RejectReason::TooLarge,
                    _ => RejectReason::SceneFailed,
                })
            }
            Err(_) => Err(RejectReason::Internal),
        }
    }

    /// The packages on their way here.
    pub fn downloads(&self) -> Vec<DownloadView> {
        self.downloads.views()
    }
}
