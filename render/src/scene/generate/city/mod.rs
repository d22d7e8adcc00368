//! A street at night after rain. It runs along -z from the camera, between two rows of buildings, towards a skyline.
//!
//! Units are metres. The street lies between x = -[`STREET_HALF`] and +[`STREET_HALF`], pavements on both sides, house
//! fronts at ±[`FRONT`].

mod building;
mod facade;
mod ground;
mod lettering;
mod palette;
mod shop;
mod skyline;
mod street;
mod vehicle;

use self::palette::Model;
use super::random::Random;
use crate::scene::write_glb::{Description, View};

/// Triangles when nothing is asked for.
pub(super) const DEFAULT_TRIANGLES: u32 = 48_000;
/// Share of the triangles that the buildings take at the default density.
const BUILDING_TRIANGLES: f32 = 30_000.0;
/// Fewest triangles of the ground.
const MIN_GROUND_TRIANGLES: u32 = 1_500;

/// From the middle of the street to the kerb.
const STREET_HALF: f32 = 6.5;
/// From the middle of the street to the house fronts.
const FRONT: f32 = 10.5;
/// Where the rows of houses begin (behind the camera) and end.
const ROW_START: f32 = 24.0;
const ROW_END: f32 = -170.0;

/// About as many triangles as asked for: windows get finer within reason, the ground takes the rest.
pub(super) fn describe(seed: u64, triangles: u32) -> Description {
    let density = (triangles as f32 * 0.7 / BUILDING_TRIANGLES).sqrt().clamp(0.55, 1.6);
    let mut random = Random::new(seed);
    let mut model = Model::new();
    building::add_rows(&mut model, &mut random, density);
    skyline::add(&mut model, &mut random, density);
    street::add(&mut model, &mut random);
    vehicle::add_traffic(&mut model, &mut random);
    let rest = triangles.saturating_sub(model.triangles()).max(MIN_GROUND_TRIANGLES);
    ground::add(&mut model, seed, rest);
    Description {
        views: vec![
            View { name: "street", eye: [-1.6, 1.7, 10.0], target: [0.5, 6.0, -46.0], yfov_degrees: 52.0 },
            View { name: "above", eye: [5.5, 17.0, 20.0], target: [-2.0, 7.0, -50.0], yfov_degrees: 50.0 },
        ],
        sky: [[0.20, 0.09, 0.24], [0.006, 0.014, 0.045]],
        ..model.into_description()
    }
}
