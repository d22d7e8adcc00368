//! Base and light become the picture that is shown.

use super::{
    base::{Base, BasePixel, texture},
    reproject::{CarriedLight, Source},
};
use crate::tone::{ToneMapping, ToneTable};

/// Over so many pixels light that is known fades into the ambient light where none is.
const FEATHER_PX: u8 = 8;

/// Makes pictures of base and light. Made once: it keeps its memory and its tables.
pub struct Composer {
    tone: ToneTable,
    /// Of each pixel, steps to the nearest one without light, up to [`FEATHER_PX`] and one more.
    steps: Vec<u8>,
}

impl Composer {
    /// With this tone curve.
    pub fn new(tone: ToneMapping) -> Self {
        Self { tone: ToneTable::new(tone), steps: Vec::new() }
    }

    /// The picture, three sRGB codes a pixel, rows from the top. The light belongs to the base: pixels without light of
    /// their own are as the base has them. On the calling thread alone.
    pub fn picture(&mut self, base: &Base, light: &CarriedLight) -> Vec<u8> {
        self.measure(light, base.rect.width as usize);
        let pixels = base.pixels.iter().zip(&light.light).zip(&light.sources).zip(&self.steps);
        let mut picture = Vec::with_capacity(base.pixels.len() * 3);
        for (((pixel, light), source), steps) in pixels {
            let radiance = match source {
                Source::Surroundings | Source::Missing => pixel.radiance,
                Source::Carried | Source::Filled => blended(pixel, *light, *steps),
            };
            picture.extend(self.tone.to_srgb8(radiance));
        }
        picture
    }

    /// Counts the steps from each pixel to the nearest one without light, diagonal ones too: once down the picture, once
    /// up.
    fn measure(&mut self, light: &CarriedLight, width: usize) {
        let far = FEATHER_PX + 1;
        let start = |source: &Source| if *source == Source::Missing { 0 } else { far };
        self.steps.clear();
        self.steps.extend(light.sources.iter().map(start));
        if width == 0 || !self.steps.contains(&0) {
            return;
        }
        let rows = self.steps.len() / width;
        for row in 0..rows {
            self.spread(row * width, row.checked_sub(1).map(|above| above * width), width);
        }
        for row in (0..rows).rev() {
            self.spread(row * width, (row + 1 < rows).then_some((row + 1) * width), width);
        }
    }

    /// Steps of a row, from those of a neighbouring row and of its own pixels.
    fn spread(&mut self, row: usize, other: Option<usize>, width: usize) {
        if let Some(other) = other {
            for x in 0..width {
                let near = x.saturating_sub(1)..(x + 2).min(width);
                let least = near.map(|column| self.steps[other + column]).min().unwrap_or(u8::MAX);
                self.steps[row + x] = self.steps[row + x].min(least.saturating_add(1));
            }
        }
        for x in 1..width {
            self.steps[row + x] = self.steps[row + x].min(self.steps[row + x - 1].saturating_add(1));
        }
        for x in (1..width).rev() {
            self.steps[row + x - 1] = self.steps[row + x - 1].min(self.steps[row + x].saturating_add(1));
        }
    }
}

/// The pixel under its light, and near those without light more and more as the base has it.
fn blended(pixel: &BasePixel, light: [f32; 3], steps: u8) -> [f32; 3] {
    let share = f32::from(steps) / f32::from(FEATHER_PX + 1);
    let texture = texture(pixel.albedo);
    std::array::from_fn(|channel| {
        let lit = pixel.emission[channel] + texture[channel] * light[channel];
        pixel.radiance[channel] + (lit - pixel.radiance[channel]) * share
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        realtime::{
            planes::{Planes, parallel},
            reproject::reproject,
        },
        tone::ToneCurve,
    };

    fn linear() -> ToneMapping {
        ToneMapping { curve: ToneCurve::Linear, exposure_stops: 0.0 }
    }

    #[test]
    fn lit_pixels_are_colour_times_light_and_what_they_give_off() {
        let planes = Planes::seen_from(parallel(0.0));
        let base = planes.base();
        let light = reproject(&planes.layer(), &base);
        let picture = Composer::new(linear()).picture(&base, &light);
        let table = ToneTable::new(linear());
        for (index, codes) in picture.chunks_exact(3).enumerate() {
            let (pixel, texture) = (&base.pixels[index], texture(base.pixels[index].albedo));
            let light = planes.light(index);
            let lit =
                std::array::from_fn(|channel| pixel.emission[channel] + texture[channel] * light[channel]);
            assert_eq!(codes, table.to_srgb8(lit));
        }
    }

    #[test]
    fn without_light_the_base_is_shown() {
        let base = Planes::seen_from(parallel(0.0)).base();
        let picture = Composer::new(linear()).picture(&base, &CarriedLight::none(&base));
        let table = ToneTable::new(linear());
        let expected: Vec<u8> = base.radiance().flat_map(|radiance| table.to_srgb8(radiance)).collect();
        assert_eq!(picture, expected);
    }

    #[test]
    fn where_light_ends_it_fades_in_even_steps() {
        let mut base = Planes::seen_from(parallel(0.0)).base();
        for pixel in &mut base.pixels {
            (pixel.radiance, pixel.emission, pixel.albedo) = ([0.0; 3], [0.0; 3], [1.0; 3]);
        }
        let width = base.rect.width as usize;
        let mut light = CarriedLight::none(&base);
        for (index, (light, source)) in light.light.iter_mut().zip(&mut light.sources).enumerate() {
            if index % width < 24 {
                (*light, *source) = ([1.0; 3], Source::Carried);
            }
        }
        let mut composer = Composer::new(linear());
        composer.measure(&light, width);
        let row = &composer.steps[3 * width..4 * width];
        let shares: Vec<u8> = row[12..28].to_vec();
        assert_eq!(shares, [9, 9, 9, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0, 0]);
        let picture = composer.picture(&base, &light);
        let reds: Vec<u8> = picture[3 * width * 3..4 * width * 3].iter().step_by(3).copied().collect();
        assert!(reds.is_sorted_by(|left, right| left >= right) && reds[0] == 255 && reds[width - 1] == 0);
    }
}
