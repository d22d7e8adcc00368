//! Makes a scene ready: from memory, from the disk cache, or fetched from the coordinator in verified chunks.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use p2c2r_protocol::{
    id::{NodeId, SceneHash},
    task::RejectReason,
};
use p2c2r_render::scene::SceneError;
use p2c2r_swarm::SwarmHandle;
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};
use tracing::{info, warn};

use super::ReadyScene;
use crate::scene_library::SceneLibrary;

/// Scenes being fetched or built at once; more wait for their turn.
const MAX_PREPARING: usize = 2;
/// A fetch that takes longer is given up, so that a slow coordinator cannot hold a place for ever.
const FETCH_TIMEOUT: Duration = Duration::from_mins(10);

/// Where scenes come from.
#[derive(Clone)]
pub struct SceneSource {
    library: Arc<SceneLibrary>,
    swarm: Option<SwarmHandle>,
    max_scene_bytes: u64,
    preparing: Arc<Semaphore>,
}

impl SceneSource {
    /// Scenes from the library, else over the swarm if there is one.
    pub fn new(library: Arc<SceneLibrary>, swarm: Option<SwarmHandle>, max_scene_bytes: u64) -> Self {
        Self { library, swarm, max_scene_bytes, preparing: Arc::new(Semaphore::new(MAX_PREPARING)) }
    }

    /// Makes the scene ready, asking `peer` for it if this node does not have it.
    pub async fn prepare(
        &self,
        peer: NodeId,
        scene: SceneHash,
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
        let turn = Arc::clone(&self.preparing).acquire_owned();
        let turn = turn.await.map_err(|_| RejectReason::NotContributing)?;
        if let Some(found) = self.library.resident(&scene) {
            return Ok(ready(found.prepared, 0));
        }
        let library = Arc::clone(&self.library);
        let cached = spawn_blocking(move || library.cached_package(&scene)).await.ok().flatten();
        let (package, fetched_bytes) = match cached {
            Some(package) => (package, 0),
            None => (self.fetch(peer, scene, size_bytes).await?, size_bytes),
        };
        let library = Arc::clone(&self.library);
        // The turn ends with the work, not with whoever waits for it: a session that is gone does not stop a build.
        let building = spawn_blocking(move || {
            let _turn = turn;
            library.admit(package)
        });
        match building.await {
            Ok(Ok(found)) => Ok(ready(found.prepared, fetched_bytes)),
            Ok(Err(error)) => {
                warn!(scene = %scene.short(), %error, "a coordinator's scene did not load");
                Err(match error {
                    SceneError::Memory { .. } | SceneError::Limit { .. } => RejectReason::TooLarge,
                    _ => RejectReason::SceneFailed,
                })
            }
            Err(_) => Err(RejectReason::Internal),
        }
    }

    async fn fetch(
        &self,
        peer: NodeId,
        scene: SceneHash,
        size_bytes: u64,
    ) -> Result<bytes::Bytes, RejectReason> {
        let swarm = self.swarm.as_ref().ok_or(RejectReason::SceneFailed)?;
        match timeout(FETCH_TIMEOUT, swarm.fetch_blob(peer, scene, size_bytes, |_| ())).await {
            Ok(Ok((package, _))) => {
                info!(scene = %scene.short(), bytes = package.len(), from = %peer.short(), "fetched a scene");
                Ok(package)
            }
            Ok(Err(error)) => {
                warn!(scene = %scene.short(), from = %peer.short(), %error, "a scene could not be fetched");
                Err(RejectReason::SceneFailed)
            }
            Err(_) => {
                warn!(scene = %scene.short(), from = %peer.short(), "fetching a scene took too long");
                Err(RejectReason::SceneFailed)
            }
        }
    }
}
