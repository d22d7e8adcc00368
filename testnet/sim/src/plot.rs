//! Learning curves as a picture.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

use crate::{experiment::PolicyResult, metrics::stats::quantiles};

/// Size of the picture and of its borders, px.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 540.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 160.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;
/// Frames over which a curve is averaged, and points of a curve at most.
const WINDOW: usize = 25;
const MAX_POINTS: usize = 400;
/// Lines across.
const GRID: usize = 5;

/// Colours that can be told apart with any eyes (Okabe and Ito 2008); the bound is black.
const COLOURS: [&str; 7] = ["#999999", "#e69f00", "#d55e00", "#cc79a7", "#009e73", "#0072b2", "#56b4e9"];

/// Why there is no picture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlotError {
    /// Its name does not say what it is to be.
    #[error("{0} must end in .svg")]
    Format(PathBuf),
}

/// What a picture is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlotFormat {
    /// Lines and letters.
    Svg,
}

impl PlotFormat {
    /// As a file's name says.
    pub fn of(path: &Path) -> Result<Self, PlotError> {
        let is = |ending: &str| path.extension().is_some_and(|found| found.eq_ignore_ascii_case(ending));
        if is("svg") { Ok(Self::Svg) } else { Err(PlotError::Format(path.to_owned())) }
    }
}

/// Frame times of each policy over the frames, mean over the seeds, with the bound.
pub fn picture(scenario: &str, results: &[PolicyResult], format: PlotFormat) -> Result<Vec<u8>, PlotError> {
    match format {
        PlotFormat::Svg => Ok(svg(scenario, results).into_bytes()),
    }
}

/// A line of the plot.
struct Curve {
    name: String,
    colour: &'static str,
    values: Vec<f64>,
}

/// Frame times of each policy over the frames, mean over the seeds, with the bound: an SVG picture.
pub fn svg(scenario: &str, results: &[PolicyResult]) -> String {
    let mut curves: Vec<Curve> = results
        .iter()
        .zip(COLOURS.iter().cycle())
        .map(|(result, colour)| Curve {
            name: result.policy.name().to_owned(),
            colour,
            values: averaged(
                &result.runs.iter().map(|run| run.frame_times_ms.as_slice()).collect::<Vec<_>>(),
            ),
        })
        .collect();
    if let Some(first) = results.first() {
        let bounds: Vec<&[f32]> = first.runs.iter().map(|run| run.bounds_ms.as_slice()).collect();
        curves.push(Curve { name: "bound".into(), colour: "#000000", values: averaged(&bounds) });
    }
    let all: Vec<f64> = curves.iter().flat_map(|curve| curve.values.iter().copied()).collect();
    let [high] = quantiles(&all, [0.99]);
    let high = nice(high * 1.1);
    let frames = curves.iter().map(|curve| curve.values.len()).max().unwrap_or(1).max(2);
    let mut picture = frame(scenario, high, frames);
    for (index, curve) in curves.iter().enumerate() {
        line(&mut picture, curve, index, high, frames);
    }
    picture.push_str("</svg>\n");
    picture
}

/// Mean over the runs, then over a window of frames.
fn averaged(runs: &[&[f32]]) -> Vec<f64> {
    let frames = runs.iter().map(|run| run.len()).min().unwrap_or(0);
    let means: Vec<f64> = (0..frames)
        .map(|frame| {
            let values = runs.iter().filter_map(|run| run.get(frame));
            values.map(|value| f64::from(*value)).sum::<f64>() / runs.len().max(1) as f64
        })
        .collect();
    (0..frames)
        .map(|frame| {
            let window = means.get(frame.saturating_sub(WINDOW - 1)..=frame).unwrap_or_default();
            window.iter().sum::<f64>() / window.len().max(1) as f64
        })
        .collect()
}

/// The next of 1, 2, 5, 10, 20 ... above.
fn nice(value: f64) -> f64 {
    let value = value.max(1e-3);
    let decade = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * decade);
    steps.into_iter().find(|step| *step >= value).unwrap_or(decade * 10.0)
}

fn x(frame: usize, frames: usize) -> f64 {
    LEFT + (WIDTH - LEFT - RIGHT) * frame as f64 / (frames - 1) as f64
}

fn y(value: f64, high: f64) -> f64 {
    HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value / high).clamp(0.0, 1.0)
}

fn frame(scenario: &str, high: f64, frames: usize) -> String {
    let name: String = scenario
        .chars()
        .map(|letter| match letter {
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '&' => "&amp;".to_owned(),
            letter => letter.to_string(),
        })
        .collect();
    let mut picture = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"16\">{name}: frame time, mean of {WINDOW} frames (ms)</text>\n"
    );
    for step in 0..=GRID {
        let (value, frame) = (high * step as f64 / GRID as f64, (frames - 1) * step / GRID);
        let (right, at) = (WIDTH - RIGHT, y(value, high));
        let _ = writeln!(
            picture,
            "<line x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\" stroke=\"#dddddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{frame}</text>",
            LEFT - 8.0,
            at + 4.0,
            x(frame, frames),
            HEIGHT - BOTTOM + 20.0,
        );
    }
    let middle = f64::midpoint(LEFT, WIDTH - RIGHT);
    let _ = writeln!(
        picture,
        "<text x=\"{middle}\" y=\"{:.1}\" text-anchor=\"middle\">frame, warm-up included</text>",
        HEIGHT - 8.0
    );
    picture
}

fn line(picture: &mut String, curve: &Curve, index: usize, high: f64, frames: usize) {
    let step = curve.values.len().div_ceil(MAX_POINTS).max(1);
    let points: Vec<String> = curve
        .values
        .iter()
        .enumerate()
        .step_by(step)
        .map(|(frame, value)| format!("{:.1},{:.1}", x(frame, frames), y(*value, high)))
        .collect();
    let (legend_x, legend_y) = (WIDTH - RIGHT + 12.0, TOP + 12.0 + 20.0 * index as f64);
    let _ = writeln!(
        picture,
        "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\" points=\"{}\"/>\
         <line x1=\"{legend_x}\" y1=\"{legend_y}\" x2=\"{:.1}\" y2=\"{legend_y}\" stroke=\"{colour}\" stroke-width=\"3\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
        points.join(" "),
        legend_x + 18.0,
        legend_x + 24.0,
        legend_y + 4.0,
        curve.name,
        colour = curve.colour,
    );
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "these numbers are exact")]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        assert_eq!([0.9, 1.0, 1.1, 4.0, 51.0, 230.0].map(nice), [1.0, 1.0, 2.0, 5.0, 100.0, 500.0]);
    }

    #[test]
    fn nothing_to_draw_is_still_a_picture() {
        let picture = svg("<none>", &[]);
        assert!(picture.starts_with("<svg") && picture.ends_with("</svg>\n"));
        assert!(picture.contains("&lt;none&gt;"));
    }
}
