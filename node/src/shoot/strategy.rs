//! How an animation is split: what is predicted for each way, and which one is taken.

use std::path::Path;

use anyhow::Context;
use p2c2r_scheduler::split::hybrid::{Animation, Forecast, Strategy, choose};

use super::Subject;
use crate::{
    control::{RenderRequest, SplitChoice},
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
    let spec = node.job(request, subject).await?;
    let develop =
        node.develop_pace().expected(request.size, request.samples_per_pixel, &request.develop, output);
    let moment_ms = if subject.scene.moves { subject.scene.prepare_ms } else { 0.0 };
    let animation = Animation { frames, develop_ms: develop.total_ms(), moment_ms };
    let forecasts = node.coordinator.survey(spec, animation).await?;
    let taken = match request.split {
        SplitChoice::Auto => choose(&forecasts).context("no peer can render")?,
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

fn forecast_report(forecast: &Forecast) -> ForecastReport {
    ForecastReport { strategy: forecast.strategy.name().to_owned(), makespan_ms: forecast.makespan_ms }
}
