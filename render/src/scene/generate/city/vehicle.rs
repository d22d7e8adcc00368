//! Cars: parked at the kerbs, driving away with red lights, coming with white ones.

use super::palette::{Model, Stuff};
use crate::scene::generate::{
    random::Random,
    solids::{Point, add, scale},
};

const PAINTS: [Stuff; 3] = [Stuff::CarPaintRed, Stuff::CarPaintBlue, Stuff::CarPaintGrey];
/// Length, width and height.
const LENGTH: f32 = 4.3;
const WIDTH: f32 = 1.8;
const HEIGHT: f32 = 1.42;
const CLEARANCE: f32 = 0.22;
const WAIST: f32 = 0.78;
const WHEEL_RADIUS: f32 = 0.32;

/// Middle of the car on the road, z of its middle, whether it faces the camera, whether its lights are on.
const TRAFFIC: [(f32, f32, bool, bool); 6] = [
    (2.4, -12.5, false, true),
    (2.7, -33.0, false, true),
    (2.3, -64.0, false, true),
    (-2.4, -24.0, true, true),
    (-2.6, -52.0, true, true),
    (-2.3, -95.0, true, true),
];

/// Everything on wheels.
pub(super) fn add_traffic(model: &mut Model, random: &mut Random) {
    for (x, z, faces_camera, lights) in TRAFFIC {
        add_car(model, &Car { x, z, faces_camera, lights, paint: random.pick(&PAINTS) });
    }
    for side in [-1.0_f32, 1.0] {
        let mut z = -9.0 - random.between(0.0, 4.0);
        while z > -110.0 {
            if random.chance(0.55) {
                let car = Car {
                    x: side * 4.95,
                    z,
                    faces_camera: side < 0.0,
                    lights: false,
                    paint: random.pick(&PAINTS),
                };
                add_car(model, &car);
            }
            z -= random.between(6.0, 9.0);
        }
    }
}

struct Car {
    x: f32,
    z: f32,
    faces_camera: bool,
    lights: bool,
    paint: Stuff,
}

impl Car {
    /// A point of the car: `ahead` of its middle, `left` of it, `up` from the road.
    fn at(&self, ahead: f32, left: f32, up: f32) -> Point {
        let turn = if self.faces_camera { 1.0 } else { -1.0 };
        [self.x + turn * left, up, self.z + turn * ahead]
    }
}

fn add_car(model: &mut Model, car: &Car) {
    let (half_length, half_width) = (LENGTH * 0.5, WIDTH * 0.5);
    let parts = [
        Frustum {
            stuff: car.paint,
            base: [-half_length, half_length],
            top: [-half_length + 0.08, half_length - 0.14],
            heights: [CLEARANCE, WAIST],
            half_widths: [half_width, half_width - 0.06],
        },
        Frustum {
            stuff: Stuff::DarkGlass,
            base: [-1.55, 1.05],
            top: [-1.05, 0.35],
            heights: [WAIST, HEIGHT - 0.05],
            half_widths: [half_width - 0.1, half_width - 0.3],
        },
        Frustum {
            stuff: car.paint,
            base: [-1.07, 0.37],
            top: [-0.98, 0.28],
            heights: [HEIGHT - 0.05, HEIGHT],
            half_widths: [half_width - 0.29, half_width - 0.36],
        },
    ];
    for part in &parts {
        add_frustum(model, car, part);
    }
    for ahead in [-1.35, 1.35] {
        for left in [-half_width + 0.04, half_width - 0.26] {
            add_wheel(model, car, ahead, left);
        }
    }
    if car.lights {
        add_lights(model, car, half_length, half_width);
    }
}

/// A block whose top is smaller than its base: tail and nose of both, heights and half widths from the base up.
struct Frustum {
    stuff: Stuff,
    base: [f32; 2],
    top: [f32; 2],
    heights: [f32; 2],
    half_widths: [f32; 2],
}

fn add_frustum(model: &mut Model, car: &Car, part: &Frustum) {
    let corners = |[tail, nose]: [f32; 2], half: f32, up: f32| {
        [(tail, half), (nose, half), (nose, -half), (tail, -half)]
            .map(|(ahead, left)| car.at(ahead, left, up))
    };
    let base = corners(part.base, part.half_widths[0], part.heights[0]);
    let top = corners(part.top, part.half_widths[1], part.heights[1]);
    let mesh = model.of(part.stuff);
    for side in 0..4 {
        let next = (side + 1) % 4;
        mesh.quad([base[next], base[side], top[side], top[next]]);
    }
    mesh.quad([top[3], top[2], top[1], top[0]]);
}

fn add_wheel(model: &mut Model, car: &Car, ahead: f32, left: f32) {
    let (inner, outer) = (car.at(ahead, left, WHEEL_RADIUS), car.at(ahead, left + 0.22, WHEEL_RADIUS));
    let mesh = model.of(Stuff::Rubber);
    mesh.tube(inner, outer, [WHEEL_RADIUS; 2], 14);
    for face in [inner, outer] {
        let rim = |step: u32| {
            let angle = std::f32::consts::TAU * step as f32 / 14.0;
            add(face, scale([0.0, angle.sin(), angle.cos()], WHEEL_RADIUS))
        };
        let corners: Vec<(Point, Point)> = (0..14).map(|step| (rim(step), [1.0, 0.0, 0.0])).collect();
        mesh.polygon(&corners);
    }
}

fn add_lights(model: &mut Model, car: &Car, half_length: f32, half_width: f32) {
    for side in [-1.0, 1.0] {
        let (inner, outer) = (side * (half_width - 0.5), side * (half_width - 0.12));
        let mut lamp = |stuff: Stuff, ahead: f32, inner: f32, [low, high]: [f32; 2]| {
            let corners = [(inner, low), (outer, low), (outer, high), (inner, high)];
            model.of(stuff).quad(corners.map(|(left, up)| car.at(ahead, left, up)));
        };
        lamp(Stuff::HeadLight, half_length + 0.01, side * (half_width - 0.38), [0.54, 0.68]);
        lamp(Stuff::TailLight, -half_length - 0.01, inner, [0.58, 0.7]);
    }
}
