//! The frames that demos render: the night city, over and over, with another seed each time.

use std::{sync::Arc, time::Duration};

use p2c2r_protocol::tile::{FrameSize, PixelEncoding, Sampling};
use p2c2r_render::{
    backend::{FrameView, camera},
    scene::generate::{SceneKind, generate},
};
use tokio::sync::watch;

use crate::{
    coordinator::{Canvas, Cut, JobOutcome, JobSpec, Policy},
    fleet::Fleet,
    node::{estimated_cost, job_id},
    progress::Progress,
};

/// A frame that takes longer has gone wrong.
const FRAME_LIMIT: Duration = Duration::from_mins(3);

/// The city at night, as a job.
pub async fn night_city(
    fleet: &Fleet,
    size: FrameSize,
    samples: u32,
    triangles: u32,
) -> anyhow::Result<JobSpec> {
    let package = tokio::task::spawn_blocking(move || generate(SceneKind::City, 1, Some(triangles))).await?;
    let scene = fleet.scene(package).await?;
    let Some(named) = scene.prepared.scene().cameras.first() else {
        anyhow::bail!("the city has no camera");
    };
    let camera = camera(named, size);
    let sampling = Sampling { first_sample: 0, samples, max_depth: 5, seed: 1, clamp: 0.0 };
    let view = FrameView { size, sampling, camera };
    let shown = scene.clone();
    let cost = tokio::task::spawn_blocking(move || estimated_cost(&shown, &view)).await??;
    Ok(JobSpec {
        job: job_id()?,
        scene,
        next_scene: None,
        scene_name: "city".into(),
        size,
        sampling,
        camera,
        deadline_ms: None,
        wait_peers: Some(fleet.members.len()),
        cost,
        cut: Cut::Planned,
        policy: Policy::Learned,
        peers_only: true,
        encoding: PixelEncoding::RgbF32,
        sequence: None,
        pipeline: None,
    })
}

/// Renders a frame with a seed of its own.
pub async fn shoot(fleet: &Fleet, spec: &JobSpec, policy: Policy, seed: u32) -> anyhow::Result<JobOutcome> {
    let (progress, _) = watch::channel(Progress::default());
    let spec =
        JobSpec { job: job_id()?, policy, sampling: Sampling { seed, ..spec.sampling }, ..spec.clone() };
    let rendering = fleet.node.coordinator.render(spec, Arc::new(progress));
    let outcome = tokio::time::timeout(FRAME_LIMIT, rendering).await;
    let outcome = outcome.map_err(|_| anyhow::anyhow!("a frame took longer than {FRAME_LIMIT:?}"))??;
    anyhow::ensure!(outcome.report.missing.is_empty(), "a frame has missing pixels");
    Ok(outcome)
}

/// The pixels of a frame.
pub fn film(outcome: JobOutcome) -> Option<p2c2r_render::film::Film> {
    match outcome.canvas {
        Some(Canvas::Radiance(film)) => Some(film),
        _ => None,
    }
}
