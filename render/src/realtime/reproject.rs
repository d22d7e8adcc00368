//! Carries the light of an earlier camera over to the present one.
//!
//! Each pixel of the base picture asks the layer for the light at the place that it shows: where the earlier camera saw
//! that place is known from its depth, which is what motion vectors are made of. Light comes only from pixels that
//! showed the same surface, so nothing smears over the edges of what stood in front.

use super::{
    base::{Base, BasePixel},
    layer::{LayerPixel, LightingLayer},
};
use crate::{
    math::{Vec3, dot, reciprocal},
    projection::Projection,
};

/// Two points lie on one surface if one is no farther from the other's plane than this share of the distance from which
/// they are seen: about as much as a pixel of a small frame covers.
const PLANE_TOLERANCE: f32 = 0.01;
/// And their normals make a larger cosine than this.
const LEAST_COSINE: f32 = 0.7;
/// Where a place was seen is rounded to such parts of a pixel, as texture units do: a camera that stands still then finds
/// each pixel exactly where it is.
const PARTS_OF_PIXEL: f32 = 256.0;
/// Neighbours with less influence than this together are none.
const LEAST_WEIGHT: f32 = 0.05;
/// How far light is fetched from neighbours that have some, pixels.
const FILL_REACH_PX: isize = 8;

/// Where the light of a pixel comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// It needs none: it shows what is beyond the scene.
    Surroundings,
    /// From where the earlier camera saw the same place.
    Carried,
    /// The earlier camera did not see the place, but the same surface beside it.
    Filled,
    /// Nothing is known: the place was hidden, or outside the earlier picture.
    Missing,
}

/// Light for a base picture; rows from the top.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CarriedLight {
    /// As [`LayerPixel::light`]; black where there is none.
    pub light: Vec<[f32; 3]>,
    /// Where it comes from.
    pub sources: Vec<Source>,
}

/// How many pixels that show surfaces have their light from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CarriedCounts {
    /// [`Source::Carried`].
    pub carried: u32,
    /// [`Source::Filled`].
    pub filled: u32,
    /// [`Source::Missing`].
    pub missing: u32,
}

impl CarriedCounts {
    /// Share of the pixels that show surfaces whose light was carried over, 0 to 1; 1 if there are none.
    pub fn share(&self) -> f32 {
        let all = self.carried + self.filled + self.missing;
        if all == 0 { 1.0 } else { self.carried as f32 / all as f32 }
    }
}

impl CarriedLight {
    /// No light for any surface of the picture.
    pub fn none(base: &Base) -> Self {
        let sources = base.pixels.iter().map(source_without_light).collect();
        Self { light: vec![[0.0; 3]; base.pixels.len()], sources }
    }

    /// Where the light comes from.
    pub fn counts(&self) -> CarriedCounts {
        let mut counts = CarriedCounts::default();
        for source in &self.sources {
            match source {
                Source::Surroundings => {}
                Source::Carried => counts.carried += 1,
                Source::Filled => counts.filled += 1,
                Source::Missing => counts.missing += 1,
            }
        }
        counts
    }
}

fn source_without_light(pixel: &BasePixel) -> Source {
    if pixel.is_surface() { Source::Missing } else { Source::Surroundings }
}

/// The light of a layer at the places that a base picture shows. On the calling thread alone.
pub fn reproject(layer: &LightingLayer, base: &Base) -> CarriedLight {
    let lookup = layer.lookup();
    let mut carried = CarriedLight::none(base);
    for ((pixel, light), source) in base.pixels.iter().zip(&mut carried.light).zip(&mut carried.sources) {
        if *source == Source::Missing
            && let Some(found) = lookup.at(pixel.position.into(), pixel.normal.into(), pixel.distance)
        {
            (*light, *source) = (found.light, Source::Carried);
        }
    }
    fill(base, &mut carried);
    carried
}

/// Light at a place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct FoundLight {
    pub light: [f32; 3],
    pub history: f32,
}

/// A layer with the way from the world to its pixels.
pub(super) struct Lookup<'a> {
    layer: &'a LightingLayer,
    film: Projection,
    width: usize,
    height: usize,
}

impl LightingLayer {
    /// To look light up by where it falls.
    pub(super) fn lookup(&self) -> Lookup<'_> {
        let size = self.view.size;
        Lookup {
            layer: self,
            film: Projection::new(&self.view.camera, size),
            width: size.width_px() as usize,
            height: size.height_px() as usize,
        }
    }
}

impl Lookup<'_> {
    /// The light at a place, from the up to four pixels around where it was seen that showed its surface. `distance`: from
    /// how far the place is seen now.
    pub fn at(&self, position: Vec3, normal: Vec3, distance: f32) -> Option<FoundLight> {
        let [x, y] = self.film.place_of_point(position)?.map(|coordinate| {
            // Pixels are where their middles are.
            ((coordinate - 0.5) * PARTS_OF_PIXEL).round() / PARTS_OF_PIXEL
        });
        if x <= -1.0 || y <= -1.0 || x >= self.width as f32 || y >= self.height as f32 {
            return None;
        }
        let (left, top) = (x.floor(), y.floor());
        let (right_share, lower_share) = (x - left, y - top);
        let (mut light, mut history, mut weights) = (Vec3::ZERO, 0.0, 0.0);
        for (column, row, weight) in [
            (left, top, (1.0 - right_share) * (1.0 - lower_share)),
            (left + 1.0, top, right_share * (1.0 - lower_share)),
            (left, top + 1.0, (1.0 - right_share) * lower_share),
            (left + 1.0, top + 1.0, right_share * lower_share),
        ] {
            if weight <= 0.0 {
                continue;
            }
            let Some(pixel) = self.pixel(column, row) else { continue };
            if pixel.shows(position, normal, distance) {
                light = light + Vec3::from(pixel.light) * weight;
                history += pixel.history * weight;
                weights += weight;
            }
        }
        if weights < LEAST_WEIGHT {
            return None;
        }
        let share = reciprocal(weights);
        Some(FoundLight { light: (light * share).to_array(), history: history * share })
    }

    fn pixel(&self, column: f32, row: f32) -> Option<&LayerPixel> {
        if column < 0.0 || row < 0.0 {
            return None;
        }
        let (column, row) = (column as usize, row as usize);
        let inside = column < self.width && row < self.height;
        inside.then(|| self.layer.pixels.get(row * self.width + column)).flatten()
    }
}

impl LayerPixel {
    /// Whether it shows the surface that is at that place.
    fn shows(&self, position: Vec3, normal: Vec3, distance: f32) -> bool {
        self.is_lit()
            && same_surface((self.position.into(), self.normal.into()), (position, normal), distance)
    }
}

fn same_surface((a, normal_a): (Vec3, Vec3), (b, normal_b): (Vec3, Vec3), distance: f32) -> bool {
    let apart = dot(normal_a, b - a);
    dot(normal_a, normal_b) > LEAST_COSINE && apart.abs() <= PLANE_TOLERANCE * distance
}

/// Gives pixels without light that of neighbours that have some and show the same surface; near ones count more.
fn fill(base: &Base, carried: &mut CarriedLight) {
    let width = base.rect.width as usize;
    let missing = (0..carried.sources.len()).filter(|index| carried.sources[*index] == Source::Missing);
    let filled: Vec<(usize, [f32; 3])> =
        missing.filter_map(|index| Some((index, from_neighbours(base, carried, index, width)?))).collect();
    for (index, light) in filled {
        (carried.light[index], carried.sources[index]) = (light, Source::Filled);
    }
}

fn from_neighbours(base: &Base, carried: &CarriedLight, index: usize, width: usize) -> Option<[f32; 3]> {
    const WAYS: [(isize, isize); 8] = [(-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (1, -1), (-1, 1), (1, 1)];
    let here = &base.pixels[index];
    let place = (here.position.into(), here.normal.into());
    let height = carried.sources.len() / width;
    let (x, y) = ((index % width).cast_signed(), (index / width).cast_signed());
    let (mut light, mut weights) = (Vec3::ZERO, 0.0);
    for (right, down) in WAYS {
        let nearest = (1..=FILL_REACH_PX).find_map(|steps| {
            let (x, y) = (usize::try_from(x + right * steps).ok()?, usize::try_from(y + down * steps).ok()?);
            let other = (x < width && y < height).then_some(y * width + x)?;
            let there = &base.pixels[other];
            let alike = carried.sources[other] == Source::Carried
                && same_surface((there.position.into(), there.normal.into()), place, here.distance);
            alike.then_some((other, steps))
        });
        if let Some((other, steps)) = nearest {
            let weight = reciprocal((steps * steps) as f32);
            light = light + Vec3::from(carried.light[other]) * weight;
            weights += weight;
        }
    }
    (weights > 0.0).then(|| (light * reciprocal(weights)).to_array())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::realtime::planes::{Planes, ROUND, parallel, perspective};

    #[test]
    fn a_camera_that_stands_still_finds_the_layer_as_it_is() {
        for camera in [parallel(0.0), perspective(0.3)] {
            let planes = Planes::seen_from(camera);
            let carried = reproject(&planes.layer(), &planes.base());
            let lights: Vec<_> = planes.layer().pixels.iter().map(|pixel| pixel.light).collect();
            assert_eq!(carried.light, lights);
            assert_eq!(carried.counts().share(), 1.0);
        }
    }

    #[test]
    fn a_parallel_camera_that_moves_by_whole_pixels_shifts_the_layer_exactly() {
        let (before, after) = (Planes::seen_from(parallel(0.0)), Planes::seen_from(parallel(3.0)));
        let (layer, carried) = (before.layer(), reproject(&before.layer(), &after.base()));
        let width = before.width();
        for (index, (light, source)) in carried.light.iter().zip(&carried.sources).enumerate() {
            if index % width + 3 < width {
                assert_eq!((*light, *source), (layer.pixels[index + 3].light, Source::Carried));
            } else {
                assert_ne!(*source, Source::Carried, "it was outside the picture");
            }
        }
    }

    #[test]
    fn what_stood_in_front_does_not_smear() {
        let before = Planes::seen_from(perspective(-0.5));
        let (mut hidden, mut all) = (0, 0);
        for step in 1..=20 {
            let after = Planes::seen_from(perspective(-0.5 + step as f32 * 0.05));
            let base = after.base();
            let carried = reproject(&before.layer(), &base);
            for (index, light) in carried.light.iter().enumerate() {
                // The near plane's light is red, the far one's green.
                let other = if after.is_near(index) { light[1] } else { light[0] };
                assert_eq!(other, 0.0, "pixel {index} at step {step} has light of the other plane");
                let expected = after.light(index);
                let found = carried.sources[index];
                if found == Source::Carried {
                    let error = (light[0] - expected[0]).abs() + (light[1] - expected[1]).abs();
                    assert!(error < ROUND, "{light:?} {expected:?}");
                }
                hidden += u32::from(found != Source::Carried);
                all += 1;
            }
        }
        assert!(hidden > 0 && hidden * 4 < all, "{hidden} of {all} pixels were hidden");
    }

    #[test]
    fn a_layer_of_a_quarter_of_the_pixels_lights_them_all() {
        let camera = perspective(0.2);
        let small = Planes::sized(camera, 24, 16).layer();
        let large = Planes::sized(camera, 48, 32);
        let carried = reproject(&small, &large.base());
        let counts = carried.counts();
        assert!(counts.share() > 0.95 && counts.missing == 0, "{counts:?}");
    }

    #[test]
    fn what_the_layer_does_not_know_is_missing_or_filled() {
        let planes = Planes::seen_from(parallel(0.0));
        let mut layer = planes.layer();
        let width = planes.width();
        for (index, pixel) in layer.pixels.iter_mut().enumerate() {
            if index % width >= 20 {
                *pixel = LayerPixel::default();
            }
        }
        let carried = reproject(&layer, &planes.base());
        let source = |x: usize| carried.sources[2 * width + x];
        assert_eq!((source(19), source(20), source(29)), (Source::Carried, Source::Filled, Source::Missing));
        let counts = carried.counts();
        assert_eq!(u64::from(counts.carried + counts.filled + counts.missing), planes.base().rect.pixels());
    }
}
