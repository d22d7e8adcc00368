//! A smooth way of a camera through a street.

use p2c2r_protocol::tile::{Camera, FrameSize};
use p2c2r_render::{backend::camera, scene::NamedCamera};

/// World units that the camera goes forward in a second: metres in the built-in city.
const SPEED: f32 = 3.0;
/// How far it sways to each side, world units, and turns to each side, radians.
const SWAY: f32 = 0.8;
const TURN: f32 = 0.22;
/// Seconds of one sway, and of one turn.
const SWAY_S: f32 = 7.0;
const TURN_S: f32 = 5.0;

/// Goes forward from where a camera stands, swaying and looking to both sides.
#[derive(Debug, Clone)]
pub struct CameraPath {
    start: NamedCamera,
}

impl CameraPath {
    /// From that camera.
    pub fn from(start: NamedCamera) -> Self {
        Self { start }
    }

    /// The camera so many seconds after the start.
    pub fn at(&self, seconds: f32, size: FrameSize) -> Camera {
        let wave = |period_s: f32| (seconds / period_s * std::f32::consts::TAU).sin();
        let [right, up, forward] = self.start.axes;
        let (sine, cosine) = (TURN * wave(TURN_S)).sin_cos();
        let mixed = |a: [f32; 3], of_a: f32, b: [f32; 3], of_b: f32| {
            std::array::from_fn(|axis| a[axis] * of_a + b[axis] * of_b)
        };
        let (ahead, aside) = (SPEED * seconds, SWAY * wave(SWAY_S));
        // On the level, whichever way the camera looks.
        let level = {
            let length = forward[0].hypot(forward[2]).max(1e-6);
            [forward[0] / length, 0.0, forward[2] / length]
        };
        let moved: [f32; 3] = mixed(level, ahead, right, aside);
        let named = NamedCamera {
            name: self.start.name.clone(),
            origin: mixed(self.start.origin, 1.0, moved, 1.0),
            axes: [mixed(right, cosine, forward, -sine), up, mixed(forward, cosine, right, sine)],
            ..self.start
        };
        camera(&named, size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path() -> CameraPath {
        CameraPath::from(NamedCamera {
            name: "street".into(),
            origin: [0.0, 1.7, 10.0],
            axes: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, -1.0]],
            half_height: 0.5,
            parallel: false,
        })
    }

    #[test]
    fn it_begins_where_the_camera_stands_and_goes_forward_without_a_jerk() {
        let size = FrameSize::new(32, 18).unwrap();
        let path = path();
        let start = path.at(0.0, size);
        assert!((start.origin[2] - 10.0).abs() < 1e-6 && (start.forward[2] + 1.0).abs() < 1e-6);
        let mut before = start;
        for frame in 1..600 {
            let camera = path.at(frame as f32 / 60.0, size);
            camera.check().unwrap();
            assert!(camera.origin[2] < before.origin[2]);
            for axis in 0..3 {
                assert!((camera.origin[axis] - before.origin[axis]).abs() < 0.06);
                assert!((camera.forward[axis] - before.forward[axis]).abs() < 0.006);
            }
            before = camera;
        }
    }
}
