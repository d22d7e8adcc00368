//! For tests: a near plane in front of a far one, each with light of its own colour.

use p2c2r_protocol::tile::{Camera, FrameSize};

use super::{
    base::{Base, BasePixel, BaseView},
    layer::{LayerPixel, LightingLayer},
};

/// What light may differ by that was looked up between pixels.
pub const ROUND: f32 = 0.02;

const WIDTH: u32 = 48;
const HEIGHT: u32 = 32;
/// Of the cameras.
const HEIGHT_ABOVE: f32 = 10.0;
/// Of the near plane, which is a square around the middle of this half edge.
const NEAR: f32 = 5.0;
const NEAR_HALF: f32 = 1.5;

/// Looks down on the planes, a world unit for each pixel.
pub fn parallel(x: f32) -> Camera {
    looking_down(x, [WIDTH as f32 * 0.5, HEIGHT as f32 * 0.5], true)
}

/// Looks down on the planes.
pub fn perspective(x: f32) -> Camera {
    looking_down(x, [0.6, 0.4], false)
}

fn looking_down(x: f32, [half_width, half_height]: [f32; 2], parallel: bool) -> Camera {
    Camera {
        origin: [x, 0.0, HEIGHT_ABOVE],
        forward: [0.0, 0.0, -1.0],
        right: [half_width, 0.0, 0.0],
        up: [0.0, half_height, 0.0],
        lens_radius: 0.0,
        focus_distance: 0.0,
        parallel,
    }
}

/// The planes as a camera sees them.
pub struct Planes {
    view: BaseView,
}

impl Planes {
    pub fn seen_from(camera: Camera) -> Self {
        Self::sized(camera, WIDTH, HEIGHT)
    }

    pub fn sized(camera: Camera, width: u32, height: u32) -> Self {
        Self { view: BaseView { size: FrameSize::new(width, height).unwrap(), camera } }
    }

    pub fn width(&self) -> usize {
        self.view.size.width_px() as usize
    }

    pub fn is_near(&self, index: usize) -> bool {
        self.place(index)[2] > 0.0
    }

    /// Red on the near plane, green on the far one; both change slowly.
    pub fn light(&self, index: usize) -> [f32; 3] {
        let [x, y, z] = self.place(index);
        let light = 1.0 + 0.01 * x + 0.02 * y;
        if z > 0.0 { [light, 0.0, 0.0] } else { [0.0, light, 0.0] }
    }

    pub fn layer(&self) -> LightingLayer {
        let pixels = (0..self.pixels()).map(|index| LayerPixel {
            light: self.light(index),
            position: self.place(index),
            normal: [0.0, 0.0, 1.0],
            distance: self.distance(index),
            history: 1.0,
        });
        LightingLayer { view: self.view, pixels: pixels.collect() }
    }

    pub fn base(&self) -> Base {
        let pixels = (0..self.pixels()).map(|index| BasePixel {
            radiance: [0.1; 3],
            albedo: [0.5, 0.25, 0.125],
            emission: [0.0, 0.0, 0.05],
            normal: [0.0, 0.0, 1.0],
            position: self.place(index),
            distance: self.distance(index),
        });
        Base { view: self.view, rect: self.view.size.full(), pixels: pixels.collect() }
    }

    fn pixels(&self) -> usize {
        self.view.size.pixels() as usize
    }

    fn distance(&self, index: usize) -> f32 {
        let ([x, y, z], [from_x, from_y, from_z]) = (self.place(index), self.view.camera.origin);
        if self.view.camera.parallel {
            return from_z - z;
        }
        ((x - from_x).powi(2) + (y - from_y).powi(2) + (z - from_z).powi(2)).sqrt()
    }

    fn place(&self, index: usize) -> [f32; 3] {
        let (size, camera) = (self.view.size, &self.view.camera);
        let (column, row) = (index % self.width(), index / self.width());
        let u = (column as f32 + 0.5) / size.width_px() as f32 * 2.0 - 1.0;
        let v = 1.0 - (row as f32 + 0.5) / size.height_px() as f32 * 2.0;
        let at = |z: f32| {
            let reach = if camera.parallel { 1.0 } else { camera.origin[2] - z };
            [camera.origin[0] + camera.right[0] * u * reach, camera.up[1] * v * reach, z]
        };
        let near = at(NEAR);
        if near[0].abs() < NEAR_HALF && near[1].abs() < NEAR_HALF { near } else { at(0.0) }
    }
}
