//! A finished frame: radiance, and what is known of the surfaces that each pixel sees.

use p2c2r_protocol::tile::{FrameSize, TileRect};

use crate::film::Film;

/// A plane that does not fit the frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the frame of {width_px}x{height_px} pixels needs {expected} values of {plane}, not {found}")]
pub struct FrameError {
    /// Which plane: radiance, albedo, normal or depth.
    pub plane: &'static str,
    /// Width of the frame.
    pub width_px: u32,
    /// Height of the frame.
    pub height_px: u32,
    /// Pixels of the frame.
    pub expected: u64,
    /// Values that the plane has.
    pub found: u64,
}

/// What the first hit of each pixel's rays tells, averaged over its samples; rows from the top.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Features {
    /// Share of the light that the surface reflects, 0 to 1; black where nothing was hit.
    pub albedo: Vec<[f32; 3]>,
    /// Normal in world space; the zero vector where nothing was hit.
    pub normal: Vec<[f32; 3]>,
    /// Distance along the ray, world units; 0 where nothing was hit.
    pub depth: Vec<f32>,
}

impl Features {
    /// Makes the pixels of a rectangle like those whose rays hit nothing. What lies outside the planes is passed over.
    pub fn clear(&mut self, size: FrameSize, rect: TileRect) {
        for y in rect.y..rect.y.saturating_add(rect.height).min(size.height_px()) {
            let start = y as usize * size.width_px() as usize;
            let right = rect.x.saturating_add(rect.width).min(size.width_px());
            for index in start + rect.x as usize..start + right as usize {
                let planes =
                    (self.albedo.get_mut(index), self.normal.get_mut(index), self.depth.get_mut(index));
                if let (Some(albedo), Some(normal), Some(depth)) = planes {
                    (*albedo, *normal, *depth) = ([0.0; 3], [0.0; 3], 0.0);
                }
            }
        }
    }
}

/// A frame's planes; rows from the top.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// The frame's size.
    pub size: FrameSize,
    /// Linear radiance.
    pub radiance: Vec<[f32; 3]>,
    /// What is known of the surfaces, if anything.
    pub features: Option<Features>,
}

impl Frame {
    /// A frame of these planes, each of which must have a value for every pixel.
    pub fn new(
        size: FrameSize,
        radiance: Vec<[f32; 3]>,
        features: Option<Features>,
    ) -> Result<Self, FrameError> {
        let frame = Self { size, radiance, features };
        frame.check().map(|()| frame)
    }

    /// Whether every plane has a value for every pixel: the planes can be changed from outside, so who relies on their
    /// lengths asks first.
    pub fn check(&self) -> Result<(), FrameError> {
        let expected = self.size.pixels();
        let fits = |plane, length: usize| {
            let (width_px, height_px) = (self.size.width_px(), self.size.height_px());
            let found = length as u64;
            if found == expected {
                return Ok(());
            }
            Err(FrameError { plane, width_px, height_px, expected, found })
        };
        fits("radiance", self.radiance.len())?;
        let Some(features) = &self.features else { return Ok(()) };
        fits("albedo", features.albedo.len())?;
        fits("normal", features.normal.len())?;
        fits("depth", features.depth.len())
    }
}

impl From<Film> for Frame {
    fn from(film: Film) -> Self {
        Self { size: film.size(), radiance: film.into_pixels(), features: None }
    }
}

impl From<&Film> for Frame {
    fn from(film: &Film) -> Self {
        Self { size: film.size(), radiance: film.pixels().to_vec(), features: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_of_the_wrong_length_are_refused_by_name() {
        let size = FrameSize::new(3, 2).unwrap();
        let features = |albedo: usize, normal: usize, depth: usize| {
            Some(Features {
                albedo: vec![[0.0; 3]; albedo],
                normal: vec![[0.0; 3]; normal],
                depth: vec![0.0; depth],
            })
        };
        assert!(Frame::new(size, vec![[0.0; 3]; 6], features(6, 6, 6)).is_ok());
        assert!(Frame::new(size, vec![[0.0; 3]; 6], None).is_ok());
        for (radiance, features, plane) in [
            (5, None, "radiance"),
            (6, features(7, 6, 6), "albedo"),
            (6, features(6, 0, 6), "normal"),
            (6, features(6, 6, 5), "depth"),
        ] {
            assert_eq!(Frame::new(size, vec![[0.0; 3]; radiance], features).unwrap_err().plane, plane);
        }
        let text = Frame::new(size, Vec::new(), None).unwrap_err().to_string();
        assert_eq!(text, "the frame of 3x2 pixels needs 6 values of radiance, not 0");
    }

    #[test]
    fn only_the_rectangle_is_cleared_whatever_its_edges() {
        let size = FrameSize::new(3, 2).unwrap();
        let mut features =
            Features { albedo: vec![[0.5; 3]; 6], normal: vec![[1.0; 3]; 6], depth: vec![2.0; 6] };
        features.clear(size, TileRect { x: 1, y: 1, width: u32::MAX, height: u32::MAX });
        features.clear(size, TileRect { x: 7, y: 9, width: 1, height: 1 });
        assert_eq!(features.depth, [2.0, 2.0, 2.0, 2.0, 0.0, 0.0]);
        assert_eq!((features.albedo[3], features.albedo[4]), ([0.5; 3], [0.0; 3]));
        assert_eq!((features.normal[2], features.normal[5]), ([1.0; 3], [0.0; 3]));
    }

    #[test]
    fn a_film_becomes_a_frame_without_features() {
        let size = FrameSize::new(2, 1).unwrap();
        let mut film = Film::new(size);
        film.insert(size.full(), &[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]).unwrap();
        let frame = Frame::from(&film);
        assert_eq!((frame.size, &frame.radiance[..]), (size, film.pixels()));
        assert!(frame.features.is_none() && frame.check().is_ok());
        assert_eq!(Frame::from(film), frame);
    }
}
