//! Towers beyond the end of the street: silhouettes with rows of light, against the glow of the city.

use super::{
    building::{Windows, add_windows},
    facade::Facade,
    lettering,
    palette::{Model, Stuff},
};
use crate::scene::generate::random::Random;

const TOWERS: u32 = 26;
const EDGES: [Stuff; 2] = [Stuff::FarCyan, Stuff::FarPink];
const LIT: [Stuff; 3] = [Stuff::FarWarm, Stuff::FarWarm, Stuff::FarCool];

/// The towers, and the landmark in the axis of the street.
pub(super) fn add(model: &mut Model, random: &mut Random, density: f32) {
    for tower in 0..TOWERS {
        let x = -190.0 + 380.0 * tower as f32 / (TOWERS - 1) as f32 + random.between(-9.0, 9.0);
        let z = random.between(-420.0, -225.0);
        let middle = 1.0 - (x.abs() / 200.0).min(1.0);
        let height = random.between(38.0, 62.0) + 62.0 * middle * random.between(0.4, 1.0);
        let width = random.between(13.0, 22.0);
        add_tower(model, random, [x, z], [width, height], density);
    }
    add_landmark(model, random, density);
}

fn front([x, z]: [f32; 2], [width, height]: [f32; 2], low: f32) -> Facade {
    Facade {
        corner: [x - width * 0.5, low, z + width * 0.5],
        along: [1.0, 0.0, 0.0],
        width,
        height: height - low,
    }
}

fn add_tower(
    model: &mut Model,
    random: &mut Random,
    place: [f32; 2],
    [width, height]: [f32; 2],
    density: f32,
) {
    let steps = 1 + (random.unit() * 3.0) as u32;
    let (mut low, mut narrowed) = (0.0, width);
    for step in 0..steps {
        let high = height * (0.62 + 0.38 * (step + 1) as f32 / steps as f32);
        add_shaft(model, place, narrowed, low, high);
        let wall = front(place, [narrowed, high], low);
        let pitch = 4.4 / density;
        let windows = Windows {
            pitch,
            width: pitch * 0.6,
            sill: 1.0,
            lintel: 2.6,
            lit: random.between(0.015, 0.05) / (density * density),
            glow: &LIT,
        };
        add_windows(model, random, &wall, windows);
        (low, narrowed) = (high, narrowed * 0.72);
    }
    if random.chance(0.4) {
        let stuff = random.pick(&EDGES);
        let wall = front(place, [width, height * 0.62], 0.0);
        wall.rect(model.of(stuff), [0.0, 0.35], [12.0, wall.height], 0.1);
        wall.rect(model.of(stuff), [width - 0.35, width], [12.0, wall.height], 0.1);
    }
    let [x, z] = place;
    model.of(Stuff::Metal).tube([x, height, z], [x, height + 12.0, z], [0.4, 0.15], 5);
    model.of(Stuff::Beacon).cuboid([x - 0.4, height + 12.0, z - 0.4], [x + 0.4, height + 12.8, z + 0.4]);
}

fn add_shaft(model: &mut Model, [x, z]: [f32; 2], width: f32, low: f32, high: f32) {
    let half = width * 0.5;
    model.of(Stuff::Cladding).cuboid([x - half, low, z - half], [x + half, high, z + half]);
}

/// The tower at the end of the street, with its name down the front.
fn add_landmark(model: &mut Model, random: &mut Random, density: f32) {
    let (place, width, height) = ([7.0, -214.0], 19.0, 88.0);
    add_shaft(model, place, width, 0.0, height);
    let wall = front(place, [width, height], 0.0);
    let windows = Windows {
        pitch: 2.6 / density,
        width: 1.7 / density,
        sill: 0.9,
        lintel: 2.6,
        lit: 0.07 / (density * density),
        glow: &LIT,
    };
    add_windows(model, random, &wall, windows);
    for (row, letter) in (0_u32..).zip("SWARM".chars()) {
        let v = 69.0 - 11.5 * row as f32;
        let board = [width * 0.5 - 4.2, width * 0.5 + 4.2];
        wall.rect(model.of(Stuff::Rubber), board, [v - 0.9, v + 10.2], 0.3);
        let raised = Facade { corner: wall.at(0.0, 0.0, 0.35), ..wall };
        lettering::draw(model.of(Stuff::FarCyan), &raised, letter, [width * 0.5 - 2.9, v], [5.8, 9.0], 1.2);
    }
    for u in [[0.0, 0.6], [width - 0.6, width]] {
        wall.rect(model.of(Stuff::FarPink), u, [8.0, height], 0.2);
    }
    wall.rect(model.of(Stuff::FarPink), [0.0, width], [height - 0.8, height], 0.2);
}
