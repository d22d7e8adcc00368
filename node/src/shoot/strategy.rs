//! How an animation is split: what is predicted for each way, and which one is taken.

use std::path::Path;

use anyhow::Context;
use p2c2r_render::{denoise::Denoiser, picture::is_layered};
use p2c2r_scheduler::split::hybrid::{Animation, Forecast, Strategy, choose};

use super::{Shot, Subject};
use crate::{
    contributor::stages::form,
    control::{RenderRequest, SplitChoice},
    coordinator::PipelineSpec,
    node::Node,
    report::{ForecastReport, SplitReport},
};

/// Asks what each way is expected to take for so many frames, and takes the best, or the one that was asked for.
pub async fn decide(
    node: &Node,
    request: &RenderRequest,
    subject: &Subject,
    frames: u32,
    output: &Path,
) -> anyhow::Result<(Strategy, SplitReport)> {
    let mut spec = node.job(request, subject).await?;
    if check_pipeline(request).is_ok() {
        spec.pipeline = Some(pipeline_spec(node, request, output));
    }
    let develop =
        node.develop_pace().expected(request.size, request.samples_per_pixel, &request.develop, output);
    let moment_ms = if subject.scene.moves { subject.scene.prepare_ms } else { 0.0 };
    let animation = Animation { frames, develop_ms: develop.total_ms(), moment_ms };
    let forecasts = node.coordinator.survey(spec, animation).await?;
    let taken = match request.split {
        SplitChoice::Auto => {
            // A picture that a peer made of what others brought cannot be probed: that is for machines one knows.
            let probed = |forecast: &&Forecast| forecast.strategy != Strategy::Pipeline;
            let probed: Vec<Forecast> = forecasts.iter().filter(probed).copied().collect();
            choose(&probed).context("no peer can render")?
        }
        SplitChoice::Spatial => Strategy::Spatial,
        SplitChoice::Temporal => Strategy::Temporal,
        SplitChoice::Pipeline => Strategy::Pipeline,
    };
    let report = SplitReport {
        strategy: taken.name().to_owned(),
        is_chosen: request.split == SplitChoice::Auto,
        frames,
        forecasts: forecasts.iter().map(forecast_report).collect(),
    };
    Ok((taken, report))
}

/// What stages make of each frame.
pub fn pipeline(node: &Node, request: &RenderRequest, shots: &[Shot]) -> PipelineSpec {
    pipeline_spec(node, request, shots.first().map_or(request.output.as_path(), |shot| shot.output.as_path()))
}

fn pipeline_spec(node: &Node, request: &RenderRequest, output: &Path) -> PipelineSpec {
    let samples = request.samples_per_pixel;
    PipelineSpec {
        picture: form(&request.develop.picture, request.develop.denoiser == Denoiser::Atrous),
        develop: node.develop_pace().expected(request.size, samples, &request.develop, output),
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
    ForecastReport { strategy: forecast.strategy.name().to_owned(), makespan_ms: forecast.makespan_ms }
}
