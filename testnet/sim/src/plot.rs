//! Learning curves as a picture.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use plotters::{
    backend::{BitMapBackend, DrawingBackend, SVGBackend},
    chart::{ChartBuilder, LabelAreaPosition},
    drawing::{DrawingArea, IntoDrawingArea},
    element::{PathElement, Text},
    series::LineSeries,
    style::{Color, FontStyle, RGBColor, WHITE, register_font},
};

use crate::{experiment::PolicyResult, metrics::stats::quantiles};

/// Size of the picture, px.
const SIZE_PX: (u32, u32) = (960, 540);
/// Width of the names at the side, and from one to the next, px.
const NAMES_PX: u32 = 140;
const LINE_PX: i32 = 20;
/// Frames over which a curve is averaged, and points of a curve at most.
const WINDOW: usize = 25;
const MAX_POINTS: usize = 400;
/// The name under which plots ask for their font.
const FONT: &str = "sans-serif";

/// Colours that can be told apart with any eyes (Okabe and Ito 2008); the bound is black.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0x99, 0x99, 0x99),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0x56, 0xb4, 0xe9),
];
const BOUND_COLOUR: RGBColor = RGBColor(0, 0, 0);

/// Why there is no picture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlotError {
    /// Its name does not say what it is to be.
    #[error("{0} must end in .svg or .png")]
    Format(PathBuf),
    /// It could not be drawn.
    #[error("the curves could not be drawn: {0}")]
    Drawing(String),
}

/// What a picture is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlotFormat {
    /// Lines and letters.
    Svg,
    /// Pixels.
    Png,
}

impl PlotFormat {
    /// As a file's name says.
    pub fn of(path: &Path) -> Result<Self, PlotError> {
        let is = |ending: &str| path.extension().is_some_and(|found| found.eq_ignore_ascii_case(ending));
        match (is("svg"), is("png")) {
            (true, _) => Ok(Self::Svg),
            (_, true) => Ok(Self::Png),
            _ => Err(PlotError::Format(path.to_owned())),
        }
    }
}

/// Frame times of each policy over the frames, mean over the seeds, with the bound.
pub fn picture(scenario: &str, results: &[PolicyResult], format: PlotFormat) -> Result<Vec<u8>, PlotError> {
    static FONT_KNOWN: OnceLock<bool> = OnceLock::new();
    let register = || register_font(FONT, FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT).is_ok();
    if !*FONT_KNOWN.get_or_init(register) {
        return Err(PlotError::Drawing("the font cannot be read".into()));
    }
    let curves = curves(results);
    match format {
        PlotFormat::Svg => {
            let mut text = String::new();
            draw(&SVGBackend::with_string(&mut text, SIZE_PX).into_drawing_area(), scenario, &curves)?;
            Ok(text.into_bytes())
        }
        PlotFormat::Png => {
            let mut pixels = vec![0; SIZE_PX.0 as usize * SIZE_PX.1 as usize * 3];
            draw(&BitMapBackend::with_buffer(&mut pixels, SIZE_PX).into_drawing_area(), scenario, &curves)?;
            png(&pixels)
        }
    }
}

fn png(pixels: &[u8]) -> Result<Vec<u8>, PlotError> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, SIZE_PX.0, SIZE_PX.1);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().and_then(|mut writer| writer.write_image_data(pixels)).map_err(failed)?;
    Ok(file)
}

fn failed(error: impl std::fmt::Display) -> PlotError {
    PlotError::Drawing(error.to_string())
}

/// A line of the plot.
struct Curve {
    name: String,
    colour: RGBColor,
    values: Vec<f64>,
}

fn curves(results: &[PolicyResult]) -> Vec<Curve> {
    let mut curves: Vec<Curve> = results
        .iter()
        .zip(COLOURS.iter().cycle())
        .map(|(result, colour)| Curve {
            name: result.policy.name().to_owned(),
            colour: *colour,
            values: averaged(
                &result.runs.iter().map(|run| run.frame_times_ms.as_slice()).collect::<Vec<_>>(),
            ),
        })
        .collect();
    if let Some(first) = results.first() {
        let bounds: Vec<&[f32]> = first.runs.iter().map(|run| run.bounds_ms.as_slice()).collect();
        curves.push(Curve { name: "bound".into(), colour: BOUND_COLOUR, values: averaged(&bounds) });
    }
    curves
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

fn draw<B: DrawingBackend>(
    area: &DrawingArea<B, plotters::coord::Shift>,
    scenario: &str,
    curves: &[Curve],
) -> Result<(), PlotError> {
    let all: Vec<f64> = curves.iter().flat_map(|curve| curve.values.iter().copied()).collect();
    let [high] = quantiles(&all, [0.99]);
    let high_ms = (high * 1.1).max(1.0);
    let frames = curves.iter().map(|curve| curve.values.len()).max().unwrap_or(0).max(2);
    area.fill(&WHITE).map_err(failed)?;
    let (plot, names) = area.split_horizontally(SIZE_PX.0 - NAMES_PX);
    let mut chart = ChartBuilder::on(&plot)
        .caption(format!("{scenario}: frame time, mean of {WINDOW} frames"), (FONT, 18))
        .margin(12)
        .set_label_area_size(LabelAreaPosition::Left, 60)
        .set_label_area_size(LabelAreaPosition::Bottom, 44)
        .build_cartesian_2d(0..frames - 1, 0.0..high_ms)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .x_desc("frame, warm-up included")
        .y_desc("ms")
        .label_style((FONT, 14))
        .light_line_style(WHITE)
        .draw()
        .map_err(failed)?;
    for curve in curves {
        let step = curve.values.len().div_ceil(MAX_POINTS).max(1);
        let points = curve.values.iter().enumerate().step_by(step);
        let colour = curve.colour;
        chart
            .draw_series(LineSeries::new(
                points.map(|(frame, value)| (frame, value.min(high_ms))),
                colour.stroke_width(2),
            ))
            .map_err(failed)?;
    }
    name(&names, curves)?;
    area.present().map_err(failed)
}

/// The curves' names, beside them: wherever they stood among them they would hide some.
fn name<B: DrawingBackend>(
    area: &DrawingArea<B, plotters::coord::Shift>,
    curves: &[Curve],
) -> Result<(), PlotError> {
    for (curve, y) in curves.iter().zip((4 * LINE_PX..).step_by(LINE_PX as usize)) {
        let stroke = curve.colour.stroke_width(3);
        area.draw(&PathElement::new([(0, y), (18, y)], stroke)).map_err(failed)?;
        area.draw(&Text::new(curve.name.as_str(), (26, y - 5), (FONT, 14))).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_to_draw_is_still_a_picture() {
        let drawn = picture("<none>", &[], PlotFormat::Svg).map(String::from_utf8);
        assert!(drawn.is_ok_and(|text| text.is_ok_and(|text| text.contains("&lt;none&gt;"))));
        let drawn = picture("<none>", &[], PlotFormat::Png).unwrap_or_default();
        assert!(drawn.starts_with(b"\x89PNG"));
    }

    #[test]
    fn other_endings_are_refused_by_name() {
        assert_eq!(
            PlotFormat::of(Path::new("curves.pdf")).map_err(|error| error.to_string()),
            Err("curves.pdf must end in .svg or .png".into())
        );
    }
}
