//! Light as a layer of its own: what arrives at the surfaces that a frame shows, without their colours.

use p2c2r_protocol::tile::GeometryError;

use super::base::{BaseView, texture};
use crate::{
    backend::FrameView,
    denoise::{DenoiseError, Denoiser, denoise},
    film::Film,
    frame::{Features, Frame},
    kernel::{first_hit::FirstHit, path::PathTracer, wave::Wave},
    math::{Vec3, normalize, reciprocal},
    prepared::PreparedScene,
};

/// Paths whose first rays are traced together.
const PATHS_AT_ONCE: usize = 512;
/// Frames of light that one pixel's light is the mean of at most: older light has seen things that are no longer seen.
const MAX_HISTORY: f32 = 12.0;

/// Why there is no layer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// A film that is not of that frame.
    #[error("the film is not of the frame's size")]
    Size,
    /// A frame that is none.
    #[error(transparent)]
    View(#[from] GeometryError),
    /// The filter refused.
    #[error(transparent)]
    Denoise(#[from] DenoiseError),
}

/// The light of a pixel, and where it falls.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LayerPixel {
    /// Radiance that a white surface would reflect towards the camera.
    pub light: [f32; 3],
    /// Mean of the points that the pixel's samples hit, world space.
    pub position: [f32; 3],
    /// Unit normal there, world space.
    pub normal: [f32; 3],
    /// Mean distance along the rays, world units; 0 where there is no surface.
    pub distance: f32,
    /// Frames of light that it is the mean of; 0 where none is known.
    pub history: f32,
}

impl LayerPixel {
    /// Whether there is light to be had.
    pub fn is_lit(&self) -> bool {
        self.history > 0.0
    }
}

/// The light of a frame; rows from the top.
#[derive(Debug, Clone, PartialEq)]
pub struct LightingLayer {
    /// From where it was seen.
    pub view: BaseView,
    /// Its pixels.
    pub pixels: Vec<LayerPixel>,
}

/// What the samples of a pixel see first, on average.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    albedo: [f32; 3],
    emission: [f32; 3],
    position: [f32; 3],
    normal: [f32; 3],
    distance: f32,
}

/// A film with what its pixels show first: what it takes to tell light from colour.
pub struct LitFrame {
    view: BaseView,
    seen: Vec<Seen>,
    /// Reflected radiance: without what surfaces give off themselves.
    reflected: Vec<[f32; 3]>,
    covered: Vec<bool>,
}

impl LitFrame {
    /// Of a path-traced film of that view. The very same rays are traced once more as far as their first hits, so that
    /// what the surfaces give off themselves can be taken off to the last bit; on the calling thread.
    pub fn new(scene: &PreparedScene, view: &FrameView, film: &Film) -> Result<Self, LayerError> {
        if film.size() != view.size {
            return Err(LayerError::Size);
        }
        let base = BaseView { size: view.size, camera: view.camera };
        base.check(view.size.full())?;
        view.sampling.check()?;
        let seen = look(scene, view);
        let reflected = film.pixels().iter().zip(&seen);
        let reflected = reflected
            .map(|(radiance, seen)| {
                std::array::from_fn(|channel| (radiance[channel] - seen.emission[channel]).max(0.0))
            })
            .collect();
        Ok(Self { view: base, seen, reflected, covered: film.coverage().to_vec() })
    }

    /// The light, mixed with that of an earlier layer as far as that has seen the same places: noise becomes less with
    /// every frame.
    pub fn layer(&self, earlier: Option<&LightingLayer>) -> LightingLayer {
        let pixels = self.seen.iter().zip(&self.reflected).zip(&self.covered);
        let mut layer = LightingLayer {
            view: self.view,
            pixels: pixels.map(|((seen, light), covered)| lit(seen, *light, *covered)).collect(),
        };
        if let Some(earlier) = earlier {
            layer.mix(earlier);
        }
        layer
    }

    /// A layer of this frame without the noise that is left. Uses the calling thread's rayon pool.
    pub fn denoised(&self, layer: &LightingLayer) -> Result<LightingLayer, LayerError> {
        let mut features = Features::default();
        let mut radiance = Vec::with_capacity(layer.pixels.len());
        for (seen, pixel) in self.seen.iter().zip(&layer.pixels) {
            let (albedo, normal) =
                if pixel.is_lit() { (seen.albedo, seen.normal) } else { ([0.0; 3], [0.0; 3]) };
            features.albedo.push(albedo);
            features.normal.push(normal);
            features.depth.push(if pixel.is_lit() { pixel.distance } else { 0.0 });
            radiance.push(scaled(pixel.light, texture(albedo)));
        }
        let mut frame = Frame { size: self.view.size, radiance, features: Some(features) };
        denoise(&mut frame, Denoiser::Atrous)?;
        let mut layer = layer.clone();
        for ((pixel, seen), radiance) in layer.pixels.iter_mut().zip(&self.seen).zip(frame.radiance) {
            if pixel.is_lit() {
                pixel.light = divided(radiance, texture(seen.albedo));
            }
        }
        Ok(layer)
    }
}

impl LightingLayer {
    /// Mean light of the pixels that have any.
    pub fn mean_light(&self) -> Option<[f32; 3]> {
        let (mut sum, mut lit) = (Vec3::ZERO, 0_u32);
        for pixel in self.pixels.iter().filter(|pixel| pixel.is_lit()) {
            sum = sum + pixel.light.into();
            lit += 1;
        }
        (lit > 0).then(|| (sum * reciprocal(lit as f32)).to_array())
    }

    /// Mixes in the light of an earlier layer, each frame of it with the same weight.
    fn mix(&mut self, earlier: &Self) {
        let lookup = earlier.lookup();
        for pixel in self.pixels.iter_mut().filter(|pixel| pixel.distance > 0.0) {
            let Some(before) = lookup.at(pixel.position.into(), pixel.normal.into(), pixel.distance) else {
                continue;
            };
            let all = (before.history + pixel.history).min(MAX_HISTORY);
            let share = pixel.history * reciprocal(all);
            pixel.light = std::array::from_fn(|channel| {
                before.light[channel] + (pixel.light[channel] - before.light[channel]) * share
            });
            pixel.history = all;
        }
    }
}

fn lit(seen: &Seen, reflected: [f32; 3], covered: bool) -> LayerPixel {
    if seen.distance <= 0.0 {
        return LayerPixel::default();
    }
    let (light, history) =
        if covered { (divided(reflected, texture(seen.albedo)), 1.0) } else { ([0.0; 3], 0.0) };
    LayerPixel { light, position: seen.position, normal: seen.normal, distance: seen.distance, history }
}

fn scaled(color: [f32; 3], by: [f32; 3]) -> [f32; 3] {
    std::array::from_fn(|channel| color[channel] * by[channel])
}

/// What it is divided by is never near zero.
fn divided(color: [f32; 3], by: [f32; 3]) -> [f32; 3] {
    std::array::from_fn(|channel| color[channel] * reciprocal(by[channel]))
}

/// What each pixel's samples see first.
fn look(scene: &PreparedScene, view: &FrameView) -> Vec<Seen> {
    let tracer = PathTracer::new(scene, view.size, view.sampling, &view.camera);
    let mut wave = Wave::default();
    let (width, samples) = (view.size.width_px(), view.sampling.samples);
    let pixels: Vec<(u32, u32)> =
        (0..view.size.height_px()).flat_map(|y| (0..width).map(move |x| (x, y))).collect();
    let (mut seen, mut paths) = (Vec::with_capacity(pixels.len()), Vec::new());
    for part in pixels.chunks((PATHS_AT_ONCE / samples as usize).max(1)) {
        paths.clear();
        // Sample by sample, so that neighbours in the list are neighbours in the picture.
        for sample in 0..samples {
            let index = view.sampling.first_sample.wrapping_add(sample);
            paths.extend(part.iter().map(|(x, y)| (*x, *y, index)));
        }
        let hits = wave.first_hits(&tracer, &paths);
        seen.extend(
            (0..part.len()).map(|pixel| mean(&tracer, hits.iter().skip(pixel).step_by(part.len()), samples)),
        );
    }
    seen
}

fn mean<'a>(tracer: &PathTracer<'_>, hits: impl Iterator<Item = &'a FirstHit>, samples: u32) -> Seen {
    let (mut albedo, mut emission) = (Vec3::ZERO, Vec3::ZERO);
    let (mut position, mut normal, mut distance) = (Vec3::ZERO, Vec3::ZERO, 0.0);
    let mut surfaces = 0_u32;
    for hit in hits {
        let Some(surface) = hit.surface else {
            emission = emission + tracer.surroundings(hit.direction);
            continue;
        };
        surfaces += 1;
        (albedo, emission) = (albedo + surface.base_color, emission + surface.emission);
        (position, normal) = (position + surface.position, normal + surface.normal);
        distance += surface.distance;
    }
    let (of_all, of_surfaces) = (reciprocal(samples.max(1) as f32), reciprocal(surfaces.max(1) as f32));
    if surfaces == 0 {
        return Seen { emission: (emission * of_all).to_array(), ..Seen::default() };
    }
    Seen {
        albedo: (albedo * of_all).to_array(),
        emission: (emission * of_all).to_array(),
        position: (position * of_surfaces).to_array(),
        normal: normalize(normal).to_array(),
        distance: distance * of_surfaces,
    }
}

#[cfg(test)]
mod tests {
    use p2c2r_protocol::tile::{FrameSize, Sampling, TileRect};

    use super::*;
    use crate::{
        backend::{camera, render_pixels},
        limit::SceneLimits,
        scene::{
            generate::{SceneKind, generate},
            gltf::parse_package,
        },
    };

    fn cornell() -> PreparedScene {
        let package = generate(SceneKind::Cornell, 1, None);
        PreparedScene::build(parse_package(&package, &SceneLimits::default()).unwrap().scene)
    }

    fn view(scene: &PreparedScene, seed: u32, samples: u32) -> FrameView {
        let size = FrameSize::new(24, 18).unwrap();
        let sampling = Sampling { first_sample: 0, samples, max_depth: 4, seed, clamp: 0.0 };
        FrameView { size, sampling, camera: camera(&scene.scene().cameras[0], size) }
    }

    fn film(scene: &PreparedScene, view: &FrameView) -> Film {
        let pixels: Vec<_> = (0..18).flat_map(|y| (0..24).map(move |x| (x, y))).collect();
        let mut film = Film::new(view.size);
        film.insert(view.size.full(), &render_pixels(scene, view, &pixels)).unwrap();
        film
    }

    #[test]
    fn light_times_colour_and_what_surfaces_give_off_are_the_film_again() {
        let scene = cornell();
        let view = view(&scene, 3, 4);
        let film = film(&scene, &view);
        let frame = LitFrame::new(&scene, &view, &film).unwrap();
        let layer = frame.layer(None);
        for ((pixel, seen), radiance) in layer.pixels.iter().zip(&frame.seen).zip(film.pixels()) {
            let texture = texture(seen.albedo);
            for channel in 0..3 {
                let again = seen.emission[channel] + texture[channel] * pixel.light[channel];
                assert!((again - radiance[channel]).abs() <= 1e-4 * radiance[channel].max(1.0));
            }
        }
        assert!(layer.mean_light().unwrap()[0] > 0.0);
    }

    #[test]
    fn light_of_several_frames_is_nearer_to_the_truth() {
        let scene = cornell();
        let truth = {
            let view = view(&scene, 99, 512);
            LitFrame::new(&scene, &view, &film(&scene, &view)).unwrap().layer(None)
        };
        let error = |layer: &LightingLayer| {
            let pairs = layer.pixels.iter().zip(&truth.pixels);
            pairs.map(|(a, b)| (a.light[1] - b.light[1]).powi(2)).sum::<f32>()
        };
        let mut layer: Option<LightingLayer> = None;
        let mut errors = Vec::new();
        for seed in 1..=6 {
            let view = view(&scene, seed, 2);
            let frame = LitFrame::new(&scene, &view, &film(&scene, &view)).unwrap();
            let next = frame.layer(layer.as_ref());
            errors.push((error(&next), error(&frame.denoised(&next).unwrap())));
            layer = Some(next);
        }
        let ((first, first_denoised), (last, _)) = (errors[0], errors[5]);
        assert!(last < first * 0.5, "{errors:?}");
        assert!(first_denoised < first, "{errors:?}");
    }

    #[test]
    fn pixels_that_did_not_arrive_have_the_light_of_before_or_none() {
        let scene = cornell();
        let view = view(&scene, 3, 1);
        let whole = film(&scene, &view);
        let mut film = whole.clone();
        film.remove(TileRect { x: 0, y: 0, width: 24, height: 9 });
        let frame = LitFrame::new(&scene, &view, &film).unwrap();
        let layer = frame.denoised(&frame.layer(None)).unwrap();
        let (upper, lower) = layer.pixels.split_at(24 * 9);
        assert!(!upper.iter().any(LayerPixel::is_lit) && lower.iter().any(LayerPixel::is_lit));
        assert!(upper.iter().all(|pixel| pixel.light == [0.0; 3]));
        let before = LitFrame::new(&scene, &view, &whole).unwrap().layer(None);
        let again = frame.layer(Some(&before));
        for (index, (pixel, same)) in again.pixels[..24 * 9].iter().zip(&before.pixels).enumerate() {
            assert_eq!(pixel.is_lit(), same.is_lit());
            // It is mixed of the pixels around that place, so it lies between them.
            let (x, y) = (index % 24, index / 24);
            let around = (y.saturating_sub(1)..=y + 1)
                .flat_map(|y| (x.saturating_sub(1)..=(x + 1).min(23)).map(move |x| y * 24 + x))
                .map(|index| before.pixels[index].light[0]);
            let (least, most) =
                around.fold((f32::MAX, 0.0_f32), |(least, most), light| (least.min(light), most.max(light)));
            let between = (least - 1e-4)..=(most * 1.0001);
            assert!(between.contains(&pixel.light[0]), "{x} {y}: {pixel:?} is not in {between:?}");
        }
        let other = Film::new(FrameSize::new(3, 3).unwrap());
        assert!(matches!(LitFrame::new(&scene, &view, &other), Err(LayerError::Size)));
    }
}
