//! The two rows of houses: bodies with setbacks, window grids, ledges, shops on the ground floor, things on the roof.

use super::{
    FRONT, ROW_END, ROW_START,
    facade::Facade,
    palette::{Model, Stuff},
    shop,
};
use crate::scene::generate::random::Random;

/// Height of the shops on the ground floor, and of each floor above.
const SHOP_HEIGHT: f32 = 4.2;
const FLOOR_HEIGHT: f32 = 3.3;
/// How far windows stand out of their wall: so little that their backs light nothing that is seen.
const RAISED: f32 = 0.012;
/// Beyond this distance down the street, houses lose what nobody would see.
const DETAIL_END: f32 = -80.0;

const WALLS: [Stuff; 3] = [Stuff::Concrete, Stuff::Brick, Stuff::Cladding];
const LIT: [Stuff; 6] = [
    Stuff::WindowWarm,
    Stuff::WindowAmber,
    Stuff::WindowDim,
    Stuff::WindowDim,
    Stuff::WindowCool,
    Stuff::WindowWarm,
];

/// How the windows of a wall look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Windows {
    /// Distance of neighbouring windows, and width of one.
    pub(super) pitch: f32,
    pub(super) width: f32,
    /// Lower edge and upper edge in a floor.
    pub(super) sill: f32,
    pub(super) lintel: f32,
    /// Probability that a window is lit.
    pub(super) lit: f32,
    /// What lit ones glow with.
    pub(super) glow: &'static [Stuff],
}

/// A house of the row.
struct House {
    /// -1 on the left, 1 on the right.
    side: f32,
    /// Nearest and farthest z.
    near: f32,
    far: f32,
    height: f32,
    depth: f32,
    wall: Stuff,
    windows: Windows,
}

/// Both rows, from behind the camera to the end of the street.
pub(super) fn add_rows(model: &mut Model, random: &mut Random, density: f32) {
    for side in [-1.0, 1.0] {
        let mut near = ROW_START;
        while near > ROW_END {
            let width = random.between(9.0, 17.0);
            let house = plan(random, side, near, width, density);
            add_house(model, random, &house);
            // Now and then an alley.
            near -= width + if random.chance(0.25) { random.between(1.5, 3.0) } else { 0.0 };
        }
    }
}

fn plan(random: &mut Random, side: f32, near: f32, width: f32, density: f32) -> House {
    // Farther houses are higher: the canyon closes towards the skyline, the sky stays open above the camera.
    let distance = ((ROW_START - near) / (ROW_START - ROW_END)).clamp(0.0, 1.0);
    let floors = random.between(2.0 + 3.0 * distance, 6.0 + 6.0 * distance).round();
    let office = random.chance(0.35);
    let pitch = if office { 1.7 } else { 2.5 } / density;
    House {
        side,
        near,
        far: near - width,
        height: SHOP_HEIGHT + floors * FLOOR_HEIGHT + 0.9,
        depth: random.between(11.0, 17.0),
        wall: random.pick(&WALLS),
        windows: Windows {
            pitch,
            width: pitch * if office { 0.84 } else { 0.5 },
            sill: if office { 0.7 } else { 1.0 },
            lintel: 2.75,
            // Fewer are lit far away, where there are many and each is small.
            lit: random.between(0.09, 0.24) * (1.0 - 0.75 * distance) / (density * density),
            glow: &LIT,
        },
    }
}

impl House {
    /// The wall towards the street of a body set back by `back`, between two heights.
    fn street_front(&self, back: f32, low: f32, high: f32) -> Facade {
        let x = self.side * (FRONT + back);
        let (start, along) = if self.side < 0.0 { (self.near, -1.0) } else { (self.far, 1.0) };
        Facade {
            corner: [x, low, start],
            along: [0.0, 0.0, along],
            width: self.near - self.far,
            height: high - low,
        }
    }

    /// The wall towards the camera.
    fn camera_front(&self, back: f32, low: f32, high: f32) -> Facade {
        let (inner, outer) = (self.side * (FRONT + back), self.side * (FRONT + self.depth));
        Facade {
            corner: [inner.min(outer), low, self.near],
            along: [1.0, 0.0, 0.0],
            width: self.depth - back,
            height: high - low,
        }
    }

    fn body(&self, model: &mut Model, back: f32, low: f32, high: f32) {
        let (inner, outer) = (self.side * (FRONT + back), self.side * (FRONT + self.depth));
        let (left, right) = (inner.min(outer), inner.max(outer));
        model.of(self.wall).cuboid([left, low, self.far], [right, high, self.near]);
    }
}

fn add_house(model: &mut Model, random: &mut Random, house: &House) {
    let near_enough = house.near > DETAIL_END;
    let tiers = if house.height > 24.0 && random.chance(0.6) { 2 } else { 1 };
    let shoulder = if tiers == 2 {
        SHOP_HEIGHT + ((house.height * random.between(0.5, 0.75)) / FLOOR_HEIGHT).floor() * FLOOR_HEIGHT
    } else {
        house.height
    };
    house.body(model, shop::DEPTH, 0.0, SHOP_HEIGHT);
    house.body(model, 0.0, SHOP_HEIGHT, shoulder);
    dress(model, random, house, &house.street_front(0.0, SHOP_HEIGHT, shoulder), near_enough);
    dress(model, random, house, &house.camera_front(0.0, SHOP_HEIGHT, shoulder), false);
    if tiers == 2 {
        let back = random.between(1.5, 3.0);
        house.body(model, back, shoulder, house.height);
        dress(model, random, house, &house.street_front(back, shoulder, house.height), false);
        dress(model, random, house, &house.camera_front(back, shoulder, house.height), false);
    }
    shop::add_row(model, random, &house.street_front(0.0, 0.0, SHOP_HEIGHT), house.wall, near_enough);
    add_roof(model, random, house);
}

/// Windows, and on near walls ledges between the floors.
fn dress(model: &mut Model, random: &mut Random, house: &House, wall: &Facade, with_ledges: bool) {
    add_windows(model, random, wall, house.windows);
    if !with_ledges {
        return;
    }
    let floors = (wall.height / FLOOR_HEIGHT) as u32;
    for floor in 0..=floors {
        let v = floor as f32 * FLOOR_HEIGHT;
        let thickness = if floor == 0 { 0.3 } else { 0.14 };
        wall.block(model.of(house.wall), [0.0, wall.width], [v, v + thickness], [0.0, thickness + 0.08]);
    }
}

/// A grid of windows: dark glass, some of it lit from within.
pub(super) fn add_windows(model: &mut Model, random: &mut Random, wall: &Facade, windows: Windows) {
    let columns = ((wall.width - 0.6) / windows.pitch).floor();
    let margin = (wall.width - columns * windows.pitch) * 0.5 + (windows.pitch - windows.width) * 0.5;
    let floors = (wall.height / FLOOR_HEIGHT) as u32;
    for floor in 0..floors {
        let v = floor as f32 * FLOOR_HEIGHT;
        // Somebody works late: a floor with more light.
        let busy = random.chance(0.09);
        let tint = random.pick(windows.glow);
        for column in 0..columns as u32 {
            let u = margin + column as f32 * windows.pitch;
            let lit = random.chance(if busy { 0.5_f32.min(windows.lit * 4.0) } else { windows.lit });
            let stuff = match (lit, busy) {
                (false, _) => Stuff::DarkGlass,
                (true, true) => tint,
                (true, false) => random.pick(windows.glow),
            };
            wall.rect(
                model.of(stuff),
                [u, u + windows.width],
                [v + windows.sill, v + windows.lintel],
                RAISED,
            );
        }
    }
}

/// A parapet, and on some roofs a water tank or a mast with a beacon.
fn add_roof(model: &mut Model, random: &mut Random, house: &House) {
    let inward = |distance: f32| house.side * (FRONT + distance);
    let z = (house.near + house.far) * 0.5;
    let base = [inward(house.depth * 0.55), house.height, z];
    let [x, y, _] = base;
    if random.chance(0.45) {
        let legs = y + 1.6;
        for (dx, dz) in [(-0.9, -0.9), (0.9, -0.9), (-0.9, 0.9), (0.9, 0.9)] {
            model
                .of(Stuff::Metal)
                .cuboid([x + dx - 0.08, y, z + dz - 0.08], [x + dx + 0.08, legs, z + dz + 0.08]);
        }
        model.of(Stuff::Brick).tube([x, legs, z], [x, legs + 2.6, z], [1.5, 1.5], 14);
        model.of(Stuff::Metal).tube([x, legs + 2.6, z], [x, legs + 3.6, z], [1.65, 0.02], 14);
    } else if random.chance(0.5) {
        model.of(Stuff::Metal).tube(base, [x, y + 7.0, z], [0.09, 0.04], 6);
        model.of(Stuff::Beacon).cuboid([x - 0.13, y + 7.0, z - 0.13], [x + 0.13, y + 7.26, z + 0.13]);
    } else {
        model.of(Stuff::Metal).cuboid([x - 1.4, y, z - 1.0], [x + 1.4, y + 1.5, z + 1.0]);
    }
}
