//! The G-buffer: what each pixel sees first, without its light. Guides denoisers, fills the layers of pictures, and
//! tells where a pixel's surface was in an earlier frame.

use p2c2r_protocol::tile::{Camera, FrameSize};
use rayon::prelude::*;

use crate::{
    backend::{FrameView, RenderControl, RenderError, TileJob},
    frame::Features,
    kernel::{first_hit::FirstHit, path::PathTracer, wave::Wave},
    math::{Vec3, reciprocal},
    prepared::PreparedScene,
    projection::Projection,
};

/// The instance of pixels that see none.
pub const NO_INSTANCE: u32 = u32::MAX;
/// The motion of pixels whose surface the previous camera had behind it: no pixel is there.
pub const NEVER_SEEN: [f32; 2] = [f32::INFINITY; 2];

/// Paths whose first rays are traced together.
const PATHS_AT_ONCE: u32 = 512;

/// What each pixel sees first; rows from the top.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GBuffer {
    /// Albedo and normal, means over all samples, with zero for those that hit nothing; depth, the mean over those
    /// that hit something.
    pub features: Features,
    /// Index of the instance that the first sample hits, or [`NO_INSTANCE`].
    pub instance: Vec<u32>,
    /// What to add to the pixel's place to get to where the first sample's surface was in the previous frame, pixels,
    /// x to the right and y down; zero without a previous frame, [`NEVER_SEEN`] where it was behind the camera. It
    /// tells the camera's motion: instances are taken to be where they are now.
    pub motion: Vec<[f32; 2]>,
}

/// A pixel of the G-buffer.
#[derive(Debug, Clone, Copy)]
struct Pixel {
    albedo: [f32; 3],
    normal: [f32; 3],
    depth: f32,
    instance: u32,
    motion: [f32; 2],
}

/// Renders the G-buffer of a frame from the first `samples` (at least one, at most the view's) of its paths' first
/// hits: of the very rays that its radiance comes from. `previous` is the camera of the frame before. Runs on the
/// calling thread's rayon pool; the same bits whatever its size.
pub fn render(
    scene: &PreparedScene,
    view: &FrameView,
    previous: Option<&Camera>,
    samples: u32,
    control: &RenderControl<'_>,
) -> Result<GBuffer, RenderError> {
    TileJob { view: *view, rect: view.size.full() }.check()?;
    let tracer = PathTracer::new(scene, view.size, view.sampling, &view.camera);
    let films =
        previous.map(|before| [&view.camera, before].map(|camera| Projection::new(camera, view.size)));
    let (width, height) = (view.size.width_px(), view.size.height_px());
    let samples = samples.clamp(1, view.sampling.samples);
    let row = |y: u32| -> Result<Vec<Pixel>, RenderError> {
        let mut wave = Wave::default();
        let (mut pixels, mut paths) = (Vec::with_capacity(width as usize), Vec::new());
        let columns: Vec<u32> = (0..width).collect();
        for part in columns.chunks((PATHS_AT_ONCE / samples).max(1) as usize) {
            if control.is_cancelled() {
                return Err(RenderError::Cancelled);
            }
            paths.clear();
            for x in part {
                let sample = |index| (*x, y, view.sampling.first_sample.wrapping_add(index));
                paths.extend((0..samples).map(sample));
            }
            let hits = wave.first_hits(&tracer, &paths);
            pixels.extend(hits.chunks_exact(samples as usize).map(|hits| pixel(hits, films.as_ref())));
        }
        Ok(pixels)
    };
    let rows = (0..height).into_par_iter().map(row).collect::<Result<Vec<_>, _>>()?;
    Ok(assemble(rows, view.size))
}

fn assemble(rows: Vec<Vec<Pixel>>, size: FrameSize) -> GBuffer {
    let pixels = size.pixels() as usize;
    let mut buffer = GBuffer {
        features: Features {
            albedo: Vec::with_capacity(pixels),
            normal: Vec::with_capacity(pixels),
            depth: Vec::with_capacity(pixels),
        },
        instance: Vec::with_capacity(pixels),
        motion: Vec::with_capacity(pixels),
    };
    for pixel in rows.into_iter().flatten() {
        buffer.features.albedo.push(pixel.albedo);
        buffer.features.normal.push(pixel.normal);
        buffer.features.depth.push(pixel.depth);
        buffer.instance.push(pixel.instance);
        buffer.motion.push(pixel.motion);
    }
    buffer
}

/// Averages a pixel's hits, added up in the order of the samples.
fn pixel(hits: &[FirstHit], films: Option<&[Projection; 2]>) -> Pixel {
    let (mut albedo, mut normal, mut depth) = (Vec3::ZERO, Vec3::ZERO, 0.0);
    let (mut samples, mut surfaces) = (0_u32, 0_u32);
    let (mut instance, mut motion) = (NO_INSTANCE, [0.0; 2]);
    for hit in hits {
        if samples == 0 {
            instance = hit.surface.map_or(NO_INSTANCE, |surface| surface.instance);
            motion = films.map_or([0.0; 2], |[now, before]| moved(now, before, hit));
        }
        samples += 1;
        if let Some(surface) = hit.surface {
            surfaces += 1;
            albedo = albedo + surface.albedo();
            (normal, depth) = (normal + surface.normal, depth + surface.distance);
        }
    }
    let of_all = reciprocal(samples.max(1) as f32);
    Pixel {
        albedo: (albedo * of_all).to_array(),
        normal: (normal * of_all).to_array(),
        depth: depth * reciprocal(surfaces.max(1) as f32),
        instance,
        motion,
    }
}

/// From where a hit is on the film to where it was.
fn moved(now: &Projection, before: &Projection, hit: &FirstHit) -> [f32; 2] {
    // What hits nothing is infinitely far away: only turning moves it.
    let place = |film: &Projection| match hit.surface {
        Some(surface) => film.place_of_point(surface.position),
        None => film.place_of_direction(hit.direction),
    };
    match (place(now), place(before)) {
        (Some([x, y]), Some([old_x, old_y])) => [old_x - x, old_y - y],
        _ => NEVER_SEEN,
    }
}
