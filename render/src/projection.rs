//! A camera the other way round: where on its film a point of the world is seen.

use p2c2r_protocol::tile::{Camera, FrameSize};

use crate::math::{Vec3, cross, dot, reciprocal, safe_reciprocal};

/// A camera the other way round: from a direction to the film.
#[derive(Debug, Clone, Copy)]
pub struct Projection {
    origin: Vec3,
    /// Rows of the inverse of (forward, right, up), up to their common factor: it cancels out.
    forward: Vec3,
    right: Vec3,
    up: Vec3,
    half_width: f32,
    half_height: f32,
    /// Of a camera whose rays are parallel, the reciprocal of the common factor: it does not cancel out there.
    parallel: Option<f32>,
}

impl Projection {
    /// Of a camera whose film has so many pixels.
    pub fn new(camera: &Camera, size: FrameSize) -> Self {
        let [forward, right, up] = [camera.forward, camera.right, camera.up].map(Vec3::from);
        let across = cross(right, up);
        // A camera whose axes turn the other way has a negative factor.
        let sign = if dot(forward, across) < 0.0 { -1.0 } else { 1.0 };
        Self {
            origin: camera.origin.into(),
            forward: across * sign,
            right: cross(up, forward) * sign,
            up: cross(forward, right) * sign,
            half_width: size.width_px() as f32 * 0.5,
            half_height: size.height_px() as f32 * 0.5,
            parallel: camera.parallel.then(|| safe_reciprocal(dot(forward, across) * sign)),
        }
    }

    /// Where something infinitely far away is seen: by parallel rays everywhere, so that it never moves.
    pub fn place_of_direction(&self, direction: Vec3) -> Option<[f32; 2]> {
        if self.parallel.is_some() { Some([0.0; 2]) } else { self.place(direction) }
    }

    /// Where a point of the world is seen.
    pub fn place_of_point(&self, point: Vec3) -> Option<[f32; 2]> {
        self.place(point - self.origin)
    }

    /// Where what lies in a direction is seen, pixels from the film's top left; nothing if that is backwards, or nearly
    /// sideways.
    fn place(&self, direction: Vec3) -> Option<[f32; 2]> {
        let ahead = dot(self.forward, direction);
        if ahead <= 1e-12 {
            return None;
        }
        let nearness = self.parallel.unwrap_or_else(|| reciprocal(ahead));
        let (u, v) = (dot(self.right, direction) * nearness, dot(self.up, direction) * nearness);
        let place = [(1.0 + u) * self.half_width, (1.0 - v) * self.half_height];
        place.iter().all(|coordinate| coordinate.is_finite()).then_some(place)
    }
}
