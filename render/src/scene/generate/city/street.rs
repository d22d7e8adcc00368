//! What stands and hangs in the street: neon signs, a screen, street lamps, lanterns on wires.

use super::{
    FRONT, STREET_HALF,
    facade::Facade,
    lettering,
    palette::{Model, Stuff},
};
use crate::scene::generate::random::Random;

const NEONS: [Stuff; 5] =
    [Stuff::NeonPink, Stuff::NeonCyan, Stuff::NeonOrange, Stuff::NeonViolet, Stuff::NeonGreen];

/// Signs that stick out of the house fronts, read from top to bottom: side, z, height of the lower edge, letter
/// width, word, colour.
const BLADES: [(f32, f32, f32, f32, &str, Stuff); 9] = [
    (-1.0, -14.5, 4.6, 1.25, "P2C2R", Stuff::NeonPink),
    (1.0, -19.0, 5.2, 1.15, "HOTEL", Stuff::NeonCyan),
    (-1.0, -30.0, 5.0, 1.1, "RAYS", Stuff::NeonOrange),
    (1.0, -36.0, 6.0, 1.2, "NOODLE", Stuff::NeonOrange),
    (-1.0, -46.0, 7.0, 1.2, "PEER", Stuff::NeonCyan),
    (1.0, -50.0, 5.0, 1.2, "CAFE", Stuff::NeonPink),
    (-1.0, -62.0, 6.0, 1.4, "TILES", Stuff::NeonViolet),
    (1.0, -74.0, 7.5, 1.5, "NODE", Stuff::NeonGreen),
    (-1.0, -88.0, 8.0, 1.6, "OPEN 24", Stuff::NeonPink),
];

/// All of it.
pub(super) fn add(model: &mut Model, random: &mut Random) {
    for (side, z, low, width, word, stuff) in BLADES {
        add_blade(model, side, z, low, width, word, stuff);
    }
    add_strips(model, random);
    add_screen(model);
    for lamp in 0..9 {
        let z = 2.0 - 19.0 * lamp as f32;
        add_lamp(model, if lamp % 2 == 0 { 1.0 } else { -1.0 }, z);
    }
    for (z, height) in [(-20.0, 7.4), (-36.0, 8.2), (-55.0, 8.0)] {
        add_lanterns(model, z, height);
    }
}

/// A board at right angles to the house front, letters on the side towards the camera, tubes around it.
fn add_blade(model: &mut Model, side: f32, z: f32, low: f32, letter_width: f32, word: &str, stuff: Stuff) {
    let (margin, letter_height) = (0.22, letter_width * 1.28);
    let width = letter_width + 2.0 * margin;
    let height = word.len() as f32 * (letter_height + margin) + margin;
    let (inner, outer) = (side * (FRONT - 0.3), side * (FRONT - 0.3 - width));
    let board = Facade { corner: [inner.min(outer), low, z], along: [1.0, 0.0, 0.0], width, height };
    board.block(model.of(Stuff::Rubber), [0.0, width], [0.0, height], [-0.3, 0.0]);
    for arm in [0.15, 0.85] {
        let y = low + height * arm;
        let wall = side * FRONT;
        model.of(Stuff::Metal).cuboid([inner.min(wall), y, z - 0.2], [inner.max(wall), y + 0.08, z - 0.12]);
    }
    for (row, letter) in (0_u32..).zip(word.chars()) {
        let v = height - (row + 1) as f32 * (letter_height + margin);
        lettering::draw(
            model.of(stuff),
            &board,
            letter,
            [margin, v],
            [letter_width, letter_height],
            letter_width * 0.15,
        );
    }
    let tube = 0.05;
    let frame = model.of(if stuff == Stuff::NeonCyan { Stuff::NeonPink } else { Stuff::NeonCyan });
    board.rect(frame, [0.0, tube], [0.0, height], 0.04);
    board.rect(frame, [width - tube, width], [0.0, height], 0.04);
    board.rect(frame, [0.0, width], [height - tube, height], 0.04);
    board.rect(frame, [0.0, width], [0.0, tube], 0.04);
}

/// Horizontal tubes above the shops.
fn add_strips(model: &mut Model, random: &mut Random) {
    for side in [-1.0_f32, 1.0] {
        let mut z = 14.0;
        while z > -120.0 {
            let length = random.between(3.0, 9.0);
            if random.chance(0.8) {
                let y = random.between(3.45, 3.75);
                let x = side * (FRONT - 0.16);
                model.of(random.pick(&NEONS)).tube([x, y, z - length], [x, y, z], [0.05, 0.05], 4);
            }
            z -= length + random.between(1.0, 5.0);
        }
    }
}

/// A screen on a house front: bands of colour from pink over violet to cyan.
fn add_screen(model: &mut Model) {
    let wall =
        Facade { corner: [FRONT - 0.35, 10.5, -47.0], along: [0.0, 0.0, 1.0], width: 9.0, height: 6.0 };
    wall.block(model.of(Stuff::Metal), [-0.2, wall.width + 0.2], [-0.2, wall.height + 0.2], [-0.3, -0.02]);
    let bands =
        [Stuff::FarPink, Stuff::ShopRose, Stuff::FarPink, Stuff::FarCyan, Stuff::ShopCool, Stuff::FarCyan];
    let (columns, rows) = (bands.len() as u32, 6_u32);
    let (du, dv) = (wall.width / columns as f32, wall.height / rows as f32);
    for row in 0..rows {
        for column in 0..columns {
            let shifted = (column + row / 2) % columns;
            let (u, v) = (column as f32 * du, row as f32 * dv);
            wall.rect(
                model.of(bands[shifted as usize]),
                [u + 0.06, u + du - 0.06],
                [v + 0.06, v + dv - 0.06],
                0.0,
            );
        }
    }
}

/// A pole at the kerb with an arm over the road.
fn add_lamp(model: &mut Model, side: f32, z: f32) {
    let (pole, head, top) = (side * (STREET_HALF + 0.5), side * (STREET_HALF - 1.4), 7.6);
    model.of(Stuff::Metal).tube([pole, 0.0, z], [pole, top, z], [0.10, 0.06], 8);
    model.of(Stuff::Metal).tube([pole, top, z], [head, top + 0.35, z], [0.05, 0.05], 6);
    model.of(Stuff::Metal).cuboid([head - 0.5, top + 0.3, z - 0.18], [head + 0.5, top + 0.42, z + 0.18]);
    let y = top + 0.29;
    model.of(Stuff::Lamp).quad([
        [head - 0.4, y, z - 0.13],
        [head + 0.4, y, z - 0.13],
        [head + 0.4, y, z + 0.13],
        [head - 0.4, y, z + 0.13],
    ]);
}

/// Paper lanterns on a wire that sags across the street.
fn add_lanterns(model: &mut Model, z: f32, height: f32) {
    let sag = |x: f32| height + 1.2 * (x / FRONT) * (x / FRONT);
    let pieces = 12;
    let x_at = |piece: i32| -FRONT + 2.0 * FRONT * piece as f32 / pieces as f32;
    for piece in 0..pieces {
        let (a, b) = (x_at(piece), x_at(piece + 1));
        model.of(Stuff::Rubber).tube([a, sag(a), z], [b, sag(b), z], [0.018, 0.018], 4);
        if piece % 2 == 1 {
            let y = sag(a) - 0.1;
            let mesh = model.of(Stuff::Lantern);
            mesh.tube([a, y - 0.62, z], [a, y - 0.31, z], [0.13, 0.27], 5);
            mesh.tube([a, y - 0.31, z], [a, y, z], [0.27, 0.13], 5);
        }
    }
}
