//! The ground floor: open shops as lit rooms with goods in them, here and there a closed shutter.

use super::{
    facade::Facade,
    palette::{Model, Stuff},
};
use crate::scene::generate::random::Random;

/// How deep a shop reaches into its house.
pub(super) const DEPTH: f32 = 3.2;
/// Upper edge of a shop's opening.
const OPENING: f32 = 3.1;
/// Lower edge: the pavement.
const FLOOR: f32 = 0.14;
/// Width of a shop, about.
const BAY: f32 = 4.6;
/// Half the width of the pier between two shops.
const PIER: f32 = 0.32;

/// Lamps under the ceiling, and the wall at the back that they light.
const LIGHTS: [(Stuff, Stuff); 4] = [
    (Stuff::ShopWarm, Stuff::GlowWarm),
    (Stuff::ShopCool, Stuff::GlowCool),
    (Stuff::ShopRose, Stuff::GlowRose),
    (Stuff::ShopWarm, Stuff::GlowWarm),
];
const GOODS: [Stuff; 6] =
    [Stuff::CarPaintRed, Stuff::CarPaintBlue, Stuff::Awning, Stuff::Brick, Stuff::Plaster, Stuff::Cladding];

/// All shops of a house, in the whole of its front's width and height. `in_detail`: with goods and frames.
pub(super) fn add_row(model: &mut Model, random: &mut Random, wall: &Facade, stuff: Stuff, in_detail: bool) {
    let bays = (wall.width / BAY).floor().max(1.0);
    let pitch = wall.width / bays;
    wall.block(model.of(stuff), [0.0, wall.width], [OPENING, wall.height], [-DEPTH, 0.0]);
    for pier in 0..=bays as u32 {
        let u = (pier as f32 * pitch).clamp(PIER, wall.width - PIER);
        wall.block(model.of(stuff), [u - PIER, u + PIER], [0.0, OPENING], [-DEPTH, 0.0]);
    }
    for bay in 0..bays as u32 {
        let opening = [bay as f32 * pitch + PIER, (bay + 1) as f32 * pitch - PIER];
        if random.chance(0.3) {
            wall.block(model.of(Stuff::Metal), opening, [FLOOR, OPENING], [-0.25, -0.15]);
        } else {
            add_shop(model, random, wall, opening, in_detail);
        }
    }
}

fn add_shop(model: &mut Model, random: &mut Random, wall: &Facade, [u0, u1]: [f32; 2], in_detail: bool) {
    let inside = [u0 + 0.02, u1 - 0.02];
    let (lamp, glow) = random.pick(&LIGHTS);
    wall.rect(model.of(glow), inside, [FLOOR, OPENING], 0.01 - DEPTH);
    // Along the street one sees the side walls of a shop rather than its back.
    let [left, right] = inside;
    for u in [left, right] {
        let corner = |v: f32, d: f32| wall.at(u, v, d);
        let (front, back) = (-0.25, 0.01 - DEPTH);
        model.of(glow).quad([
            corner(FLOOR, front),
            corner(FLOOR, back),
            corner(OPENING, back),
            corner(OPENING, front),
        ]);
    }
    for (front, back) in [(-0.55, -0.8), (-2.2, -2.45)] {
        let (a, b) = (u0 + 0.3, u1 - 0.3);
        let v = OPENING - 0.02;
        model.of(lamp).quad([
            wall.at(a, v, back),
            wall.at(b, v, back),
            wall.at(b, v, front),
            wall.at(a, v, front),
        ]);
    }
    if in_detail {
        add_frame(model, wall, [u0, u1]);
        add_goods(model, random, wall, [u0, u1]);
    }
    if random.chance(0.4) {
        let [low, high] = [[OPENING - 0.25, 1.2], [OPENING + 0.45, 0.05]];
        let corner = |u: f32, [v, d]: [f32; 2]| wall.at(u, v, d);
        model.of(Stuff::Awning).quad([corner(u0, low), corner(u1, low), corner(u1, high), corner(u0, high)]);
    }
}

/// A plinth and slim posts around the panes.
fn add_frame(model: &mut Model, wall: &Facade, [u0, u1]: [f32; 2]) {
    let mesh = model.of(Stuff::Metal);
    wall.block(mesh, [u0, u1], [FLOOR, 0.5], [-0.2, -0.12]);
    wall.block(mesh, [u0, u1], [2.45, 2.51], [-0.2, -0.12]);
    for post in 0..=3_u32 {
        let u = u0 + (u1 - u0) * post as f32 / 3.0;
        wall.block(mesh, [u - 0.04, u + 0.04], [0.5, OPENING], [-0.2, -0.12]);
    }
}

/// Shelves along the back, tables and figures towards the street.
fn add_goods(model: &mut Model, random: &mut Random, wall: &Facade, [u0, u1]: [f32; 2]) {
    for shelf in [0.9, 1.6, 2.2] {
        let mut u = u0 + 0.3;
        while u < u1 - 0.7 {
            let (width, height) = (random.between(0.15, 0.5), random.between(0.15, 0.45));
            wall.block(model.of(random.pick(&GOODS)), [u, u + width], [shelf, shelf + height], [-3.0, -2.75]);
            u += width + random.between(0.05, 0.3);
        }
        wall.block(model.of(Stuff::Metal), [u0 + 0.1, u1 - 0.1], [shelf - 0.05, shelf], [-3.1, -2.7]);
    }
    let mut u = u0 + random.between(0.3, 0.9);
    while u < u1 - 0.9 {
        let (width, height) = (random.between(0.3, 0.8), random.between(0.7, 1.75));
        let d = random.between(-1.9, -0.9);
        wall.block(model.of(random.pick(&GOODS)), [u, u + width], [FLOOR, height], [d - 0.35, d]);
        u += width + random.between(0.4, 1.4);
    }
}
