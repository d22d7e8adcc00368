//! How an animation is split: what is predicted for each way, and which one is taken.

use std::{path::Path, thread};

use anyhow::Context;
use p2c2r_render::{backend::BackendKind, denoise::Denoiser, picture::is_layered};
use p2c2r_scheduler::split::{
    hybrid::{Animation, Forecast, Strategy, choose},
    temporal::PerFrame,
};

use super::{Shot, Subject};
use crate::{
    contributor::stages::form,
    control::{RenderRequest, SplitChoice},
    coordinator::PipelineSpec,
    develop::pace::DevelopTimes,
    node::Node,
    report::{ForecastReport, SplitReport},
};

/// What was decided.
pub struct Decided {
    /// The way that is gone.
    pub strategy: Strategy,
    /// Frames, from the first, that are not cut.
    pub whole_frames: usize,
    /// What the models say that it takes, without what was learned of their being off, ms.
    pub forecast_ms: Option<f64>,
    /// All of it, for the owner.
    pub report: SplitReport,
}

/// Asks what each way is expected to take for so many frames, and takes the best, or the one that was asked for.
pub async fn decide(
    node: &Node,
    request: &RenderRequest,
    subject: &Subject,
    frames: u32,
    output: &Path,
) -> anyhow::Result<Decided> {
    let mut spec = node.job(request, subject).await?;
    if check_pipeline(request).is_ok() {
        spec.pipeline = Some(pipeline_spec(node, request, output));
    }
    let develop_ms = develop_times(node, request, output).total_ms();
    let animation = Animation { frames, develop_ms, each: per_frame(node, subject, develop_ms) };
    let raw = node.coordinator.survey(spec, animation).await?;
    let experience = node.split_experience();
    let forecasts: Vec<Forecast> = raw.iter().map(|forecast| experience.corrected(*forecast)).collect();
    let (strategy, whole_frames) = match request.split {
        SplitChoice::Auto => {
            let chosen = automatic(&forecasts).context("no peer can render")?;
            (chosen.strategy, chosen.whole_frames)
        }
        SplitChoice::Spatial => (Strategy::Spatial, 0),
        SplitChoice::Temporal => (Strategy::Temporal, frames),
        SplitChoice::Pipeline => (Strategy::Pipeline, frames),
        SplitChoice::Nested => {
            // Without a forecast there is one frame, or nobody to be asked about it: the last one is cut.
            let nested = raw.iter().find(|forecast| forecast.strategy == Strategy::Nested);
            (Strategy::Nested, nested.map_or(frames.saturating_sub(1), |nested| nested.whole_frames))
        }
    };
    let report = SplitReport {
        strategy: strategy.name().to_owned(),
        is_chosen: request.split == SplitChoice::Auto,
        frames,
        whole_frames,
        forecasts: forecasts.iter().map(forecast_report).collect(),
    };
    let forecast_ms =
        raw.iter().find(|forecast| forecast.strategy == strategy).map(|forecast| forecast.makespan_ms);
    Ok(Decided { strategy, whole_frames: whole_frames as usize, forecast_ms, report })
}

/// What making a picture of a film is expected to take here.
pub fn develop_times(node: &Node, request: &RenderRequest, output: &Path) -> DevelopTimes {
    node.develop_pace().expected(request.size, request.samples_per_pixel, &request.develop, output)
}

/// What a whole frame takes beside rendering. A device minds what the processors do as far as it is made of them.
pub fn per_frame(node: &Node, subject: &Subject, develop_ms: f64) -> PerFrame {
    let moment_ms = if subject.scene.moves { subject.scene.prepare_ms } else { 0.0 };
    let info = &node.device.info;
    let processors = thread::available_parallelism().map_or(1.0, |count| count.get() as f64);
    let shared =
        if info.kind == BackendKind::Cpu { (f64::from(info.threads) / processors).min(1.0) } else { 0.0 };
    PerFrame { moment_ms, owner_ms: (moment_ms + develop_ms) * shared }
}

/// What is taken if nothing is asked for. A picture that a peer made of what others brought cannot be probed: pipelines
/// are for machines that one knows.
pub fn automatic(forecasts: &[Forecast]) -> Option<Forecast> {
    let is_probed = |forecast: &&Forecast| forecast.strategy != Strategy::Pipeline;
    let probed: Vec<Forecast> = forecasts.iter().filter(is_probed).copied().collect();
    choose(&probed)
}

/// What stages make of each frame.
pub fn pipeline(node: &Node, request: &RenderRequest, shots: &[Shot]) -> PipelineSpec {
    pipeline_spec(node, request, shots.first().map_or(request.output.as_path(), |shot| shot.output.as_path()))
}

fn pipeline_spec(node: &Node, request: &RenderRequest, output: &Path) -> PipelineSpec {
    PipelineSpec {
        picture: form(&request.develop.picture, request.develop.denoiser == Denoiser::Atrous),
        develop: develop_times(node, request, output),
    }
}

/// Whether the request's pictures can be made by others: the same bits as here.
pub fn check_pipeline(request: &RenderRequest) -> anyhow::Result<()> {
    anyhow::ensure!(
        !is_layered(&request.output),
        "--split pipeline makes PNG pictures: name the output .png, or choose another split"
    );
    anyhow::ensure!(
        request.develop.denoiser != Denoiser::Oidn,
        "--split pipeline denoises with atrous, which gives the same bits everywhere; leave oidn out"
    );
    Ok(())
}

fn forecast_report(forecast: &Forecast) -> ForecastReport {
    let Forecast { strategy, makespan_ms, whole_frames } = *forecast;
    ForecastReport { strategy: strategy.name().to_owned(), makespan_ms, whole_frames }
}
