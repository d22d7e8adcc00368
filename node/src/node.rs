//! A node: swarm, contributor and coordinator, put together and taken apart again.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use p2c2r_protocol::{
    id::{JobId, NodeId},
    sign::SecretKey,
    tile::{Camera, PixelEncoding, Sampling},
};
use p2c2r_render::{
    backend::{self, FrameView},
    cost::cost_map,
    scene::NamedCamera,
};
use p2c2r_scheduler::{
    Scheduler, SchedulerConfig,
    history::MemoryStore,
    split::{cost_map::CostMap, hybrid::Strategy},
};
use p2c2r_swarm::{Reachability, SwarmConfig, SwarmEvent, SwarmHandle, SwarmLimits};
use tokio::{
    sync::{mpsc, watch},
    task::{AbortHandle, spawn_blocking},
};
use tracing::{debug, info};

use crate::{
    config::{DeviceConfig, NodeConfig},
    contributor::{Contributor, ContributorConfig, Device, NewContributor},
    control::RenderRequest,
    coordinator::{Canvas, Coordinator, Cut, Decisions, JobSpec, Policy},
    data_dir::DataDir,
    develop::{Negative, pace::DevelopPace},
    heartbeat::{HeartbeatSource, beat},
    memory,
    passes::{self, PassPlan, Preview},
    progress::Progress,
    report::{FrameReport, PictureReport},
    scene_library::{ResidentScene, SceneLibrary},
    shoot::{Shot, Subject, experience::SplitExperience},
    store::SledStore,
    swarm_memory::SwarmMemory,
};

/// Edge of a cell of the cost map, pixels.
const COST_CELL_PX: u32 = 16;

/// A running node.
pub struct Node {
    /// Who it is.
    pub id: NodeId,
    /// What renders here.
    pub device: Device,
    /// Whether work from others is taken.
    pub contributing: bool,
    /// When it started.
    pub started: Instant,
    /// Its scenes.
    pub library: Arc<SceneLibrary>,
    /// Its contributor.
    pub contributor: Contributor,
    /// Its coordinator.
    pub coordinator: Coordinator,
    /// Its swarm; none when it renders alone.
    pub swarm: Option<SwarmHandle>,
    store: Option<SledStore>,
    pace: Mutex<DevelopPace>,
    splits: Mutex<SplitExperience>,
    background: Vec<AbortHandle>,
    /// Released last: another node may take the directory only when this one is gone.
    _data: Option<DataDir>,
}

impl Node {
    /// Starts a node in a swarm.
    pub async fn start(config: &NodeConfig, data: DataDir) -> anyhow::Result<Self> {
        let key = data.secret_key()?;
        let store = SledStore::open(&data.store())?;
        let memory = SwarmMemory::new(store.clone());
        let library = Arc::new(SceneLibrary::on_disk(
            data.scenes(),
            config.scene_cache_bytes,
            config.device.scene_memory_bytes,
        ));
        let new = NewContributor::default();
        let (swarm, events) = p2c2r_swarm::start(SwarmConfig {
            hand_overs: new.desk(),
            secret: key.clone(),
            listen: config.listen.clone(),
            join: config.join.clone(),
            remembered: memory.neighbours(),
            preferred_ports: memory.ports(),
            swarm_key: config.swarm_key.clone(),
            allowed: config.allowed.clone(),
            denied: config.denied.clone(),
            external: config.external.clone(),
            mdns: config.mdns,
            relay: config.relay,
            upnp: config.upnp,
            blobs: Arc::clone(&library) as Arc<dyn p2c2r_swarm::BlobStore>,
            limits: SwarmLimits {
                upload_bytes_per_s: config.upload_bytes_per_s,
                download_bytes_per_s: config.download_bytes_per_s,
                ..SwarmLimits::default()
            },
            software: concat!("p2c2r-node/", env!("CARGO_PKG_VERSION")).to_owned(),
            #[cfg(feature = "webrtc")]
            webrtc_certificate: Some(crate::webrtc_certificate::kept(&data.webrtc_certificate())?),
            #[cfg(not(feature = "webrtc"))]
            webrtc_certificate: None,
        })
        .await?;
        let mut node =
            Self::assemble(config, &key, library, new, Some(swarm.clone()), Some(store), Some(data)).await?;
        let contributor = node.contributing.then(|| node.contributor.clone());
        node.background.push(tokio::spawn(serve(events, contributor)).abort_handle());
        let source = HeartbeatSource {
            key,
            device: node.device.clone(),
            contributing: node.contributing,
            declined: config.declined.clone(),
            contributor: node.contributor.clone(),
            library: Arc::clone(&node.library),
        };
        node.background.push(tokio::spawn(beat(source, swarm.clone())).abort_handle());
        node.background.push(tokio::spawn(memory.keep(swarm)).abort_handle());
        node.background.push(tokio::spawn(memory::tidy(node.contributor.clone())).abort_handle());
        info!(node = %node.id, device = %node.device.info.adapter, exact = node.device.info.exact, "the node is up");
        Ok(node)
    }

    /// Starts a node that renders alone and leaves nothing behind.
    pub async fn start_alone(device: DeviceConfig, decision_log: Option<PathBuf>) -> anyhow::Result<Self> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).context("the system gives no random numbers")?;
        let config = NodeConfig { decision_log, ..NodeConfig::alone(device) };
        Self::assemble(
            &config,
            &SecretKey::from_seed(seed),
            Arc::new(SceneLibrary::in_memory(device.scene_memory_bytes)),
            NewContributor::default(),
            None,
            None,
            None,
        )
        .await
    }

    async fn assemble(
        config: &NodeConfig,
        key: &SecretKey,
        library: Arc<SceneLibrary>,
        new: NewContributor,
        swarm: Option<SwarmHandle>,
        store: Option<SledStore>,
        data: Option<DataDir>,
    ) -> anyhow::Result<Self> {
        let contributor_config = ContributorConfig {
            device: config.device,
            kernel_cache: data.as_ref().map(DataDir::kernels),
            key: key.clone(),
            max_scene_bytes: config.max_scene_bytes,
            declined: config.declined.clone(),
        };
        let (contributor, device) =
            Contributor::start(contributor_config, new, Arc::clone(&library), swarm.clone()).await?;
        let learned: Box<dyn p2c2r_scheduler::history::Store + Send> = match &store {
            Some(store) => Box::new(store.clone()),
            None => Box::new(MemoryStore::default()),
        };
        let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |age| age.as_secs_f64() * 1e3);
        let scheduler =
            Scheduler::new(learned, SchedulerConfig { unix_ms_at_zero: unix_ms, ..Default::default() });
        let decisions = match &config.decision_log {
            Some(path) => Decisions::logged(scheduler, path)
                .with_context(|| format!("decisions cannot be written to {}", path.display()))?,
            None => Decisions::unlogged(scheduler),
        };
        let coordinator = Coordinator::start(key.node_id(), decisions, contributor.clone(), swarm.clone())
            .context("the system gives no random numbers")?;
        Ok(Self {
            id: key.node_id(),
            device,
            contributing: config.contribute,
            started: Instant::now(),
            library,
            contributor,
            coordinator,
            swarm,
            store,
            pace: Mutex::default(),
            splits: Mutex::default(),
            background: Vec::new(),
            _data: data,
        })
    }

    /// Renders a picture of a request and writes nothing: plans, and carries the frame through the swarm.
    pub async fn render(
        &self,
        request: &RenderRequest,
        shot: &Shot,
        subject: Subject,
        progress: Arc<watch::Sender<Progress>>,
    ) -> anyhow::Result<(Negative, FrameReport)> {
        let mut spec = self.job(request, &subject).await?;
        // Whoever is lost on the way does not hold the later frames up.
        spec.wait_peers = spec.wait_peers.filter(|_| shot.is_first);
        let view = FrameView { size: spec.size, sampling: spec.sampling, camera: spec.camera };
        let (film, report) = if let Some(plan) = pass_plan(request, shot) {
            passes::render(&self.coordinator, spec, &plan, progress).await?
        } else {
            let outcome = self.coordinator.render(spec, progress).await?;
            let Some(Canvas::Radiance(film)) = outcome.canvas else {
                anyhow::bail!("a frame came back in another form than that which was asked for");
            };
            (film, outcome.report)
        };
        Ok((Negative { film, scene: Some(subject.scene.prepared), view }, report))
    }

    /// What the coordinator is to do for a picture of a request.
    pub async fn job(&self, request: &RenderRequest, subject: &Subject) -> anyhow::Result<JobSpec> {
        let sampling = Sampling {
            first_sample: 0,
            samples: request.samples_per_pixel,
            max_depth: request.max_depth,
            seed: request.seed,
            clamp: request.clamp,
        };
        sampling.check()?;
        let own = subject.scene.prepared.scene().cameras.as_slice();
        let cameras = subject.cameras.as_deref().unwrap_or(own);
        let camera = camera(cameras, request)?;
        let scene = subject.scene.clone();
        let view = FrameView { size: request.size, sampling, camera };
        let cost = spawn_blocking(move || estimated_cost(&scene, &view)).await??;
        Ok(JobSpec {
            job: job_id()?,
            scene_name: file_name(&request.scene),
            scene: subject.scene.clone(),
            next_scene: subject.next,
            size: request.size,
            sampling,
            camera,
            deadline_ms: request.deadline_ms,
            wait_peers: request.wait_peers,
            cost,
            cut: Cut::Planned,
            encoding: PixelEncoding::RgbF32,
            sequence: None,
            policy: Policy::Learned,
            peers_only: false,
            pipeline: None,
        })
    }

    /// How long making pictures takes here.
    pub fn develop_pace(&self) -> DevelopPace {
        *self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far forecasts of the ways to split were off.
    pub fn split_experience(&self) -> SplitExperience {
        *self.splits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns from an animation that is done.
    pub fn note_split(&self, strategy: Strategy, forecast_ms: f64, measured_ms: f64) {
        let mut splits = self.splits.lock().unwrap_or_else(PoisonError::into_inner);
        splits.learn(strategy, forecast_ms, measured_ms);
    }

    /// Learns from a picture that was made here.
    pub fn note_picture(&self, request: &RenderRequest, output: &Path, report: &PictureReport) {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        pace.learn(request.size, request.samples_per_pixel, output, report);
    }

    /// Where what outlives the process is kept; nowhere if the node renders alone.
    pub fn store(&self) -> Option<&SledStore> {
        self.store.as_ref()
    }

    /// How many peers are remembered for the next run.
    pub fn remembered_peers(&self) -> usize {
        self.store.as_ref().map_or(0, |store| SwarmMemory::new(store.clone()).neighbours().len())
    }

    /// Ends jobs, hands tiles back, says goodbye, closes the store.
    pub async fn stop(&self) {
        self.coordinator.stop().await;
        self.contributor.drain().await;
        for task in &self.background {
            task.abort();
        }
        if let Some(swarm) = &self.swarm {
            if let Some(store) = &self.store {
                SwarmMemory::new(store.clone()).note(swarm).await;
            }
            swarm.shutdown().await;
        }
        if let Some(store) = &self.store {
            store.close();
        }
    }
}

/// Hands work sessions to the contributor; without one they are closed at once.
async fn serve(mut events: mpsc::Receiver<SwarmEvent>, contributor: Option<Contributor>) {
    while let Some(event) = events.recv().await {
        match event {
            SwarmEvent::Session(link) => {
                if let Some(contributor) = &contributor {
                    contributor.attach(link, false).await;
                }
            }
            SwarmEvent::Steps(link) => {
                if let Some(contributor) = &contributor {
                    contributor.serve_steps(link);
                }
            }
            SwarmEvent::Connected(peer) => debug!(peer = %peer.short(), "connected"),
            SwarmEvent::Disconnected(peer) => debug!(peer = %peer.short(), "disconnected"),
            SwarmEvent::Reachability(reachability) => info!("{}", reached(reachability)),
            SwarmEvent::Listening(address) => info!(%address, "listening"),
            _ => {}
        }
    }
}

/// What it means for the owner.
fn reached(reachability: Reachability) -> &'static str {
    match reachability {
        Reachability::Public => {
            "the Internet reaches this node directly; it passes on what comes for nodes behind routers"
        }
        Reachability::Relayed => {
            "others reach this node through a relay, and directly where the routers allow it; `p2c2r-node ticket` prints a ticket that says so"
        }
        _ => "others reach this node from its own network only",
    }
}

/// A job's random name.
pub fn job_id() -> anyhow::Result<JobId> {
    let mut name = [0; 16];
    getrandom::fill(&mut name).context("the system gives no random numbers")?;
    Ok(JobId(name))
}

/// The camera of a request, among those that there are.
pub fn camera(cameras: &[NamedCamera], request: &RenderRequest) -> anyhow::Result<Camera> {
    let named = match request.camera.as_str() {
        "auto" => cameras.first(),
        name => cameras.iter().find(|camera| camera.name == name),
    };
    let named = named.with_context(|| {
        let names: Vec<&str> = cameras.iter().map(|camera| camera.name.as_str()).collect();
        format!("the scene has no camera `{}`; it has: {}", request.camera, names.join(", "))
    })?;
    let camera = Camera {
        lens_radius: request.lens_radius,
        focus_distance: request.focus_distance,
        ..backend::camera(named, request.size)
    };
    camera.check()?;
    Ok(camera)
}

/// Whoever watches, or may run out of time, gets the frame in passes.
fn pass_plan(request: &RenderRequest, shot: &Shot) -> Option<PassPlan> {
    let preview = shot.preview.clone().map(|path| Preview { path, options: request.develop.picture });
    match (preview, request.deadline_ms) {
        (None, None) => None,
        (Some(preview), None) => Some(PassPlan::watched(request.samples_per_pixel, preview)),
        (preview, Some(_)) => Some(PassPlan { preview, ..PassPlan::hurried() }),
    }
}

/// Where the work lies in a frame, estimated. Blocks for some milliseconds.
pub fn estimated_cost(scene: &ResidentScene, view: &FrameView) -> anyhow::Result<CostMap> {
    let cells = cost_map(&scene.prepared, view, COST_CELL_PX);
    Ok(CostMap::new(view.size, cells.cell_px, &cells.cost)?)
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}
