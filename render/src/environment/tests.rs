use proptest::prelude::*;

use super::*;
use crate::{
    math::{dot, normalize},
    sample::{path_key, random},
    scene::environment::EnvironmentMap,
};

fn light(width: u32, height: u32, texel: impl Fn(u32, u32) -> [f32; 3]) -> EnvironmentLight {
    let radiance = (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).map(|(x, y)| texel(x, y));
    let map = EnvironmentMap { width, height, radiance: radiance.collect() };
    EnvironmentLight::build(&Environment { map, strength: 1.0, rotation_turns: 0.0 })
}

fn numbers(index: u32) -> [f32; 4] {
    let key = path_key(7, index, 0);
    [0, 1, 2, 3].map(|dimension| random(key, dimension))
}

#[test]
fn the_middle_of_the_map_lies_where_cameras_look_and_its_right_half_to_the_right() {
    let mut map = light(8, 4, |_, _| [1.0; 3]);
    for (direction, u, v) in [
        (vec3(0.0, 0.0, -1.0), 0.5, 0.5),
        (vec3(1.0, 0.0, 0.0), 0.75, 0.5),
        (vec3(-1.0, 0.0, 0.0), 0.25, 0.5),
        (vec3(0.0, 0.0, 1.0), 0.0, 0.5),
    ] {
        assert_eq!(map.place(direction), (u, v), "{direction:?}");
    }
    assert_eq!(map.place(vec3(0.0, 1.0, 0.0)).1, 0.0);
    assert_eq!(map.place(vec3(0.0, -1.0, 0.0)).1, 1.0);
    // What was in front is a quarter turn to the right now.
    map.rotation = 0.25;
    assert_eq!(map.place(vec3(1.0, 0.0, 0.0)), (0.5, 0.5));
}

#[test]
fn every_texel_is_drawn_as_often_as_its_density_says() {
    let map =
        light(6, 4, |x, y| if (x, y) == (4, 1) { [90.0, 80.0, 70.0] } else { [x as f32, 1.0, y as f32] });
    let draws = 200_000;
    let mut solid_angle = 0.0;
    let mut mean = 0.0;
    for index in 0..draws {
        let drawn = map.sample(numbers(index));
        assert!((dot(drawn.direction, drawn.direction) - 1.0).abs() < 1e-5);
        assert!(drawn.density > 0.0);
        solid_angle += 1.0 / f64::from(drawn.density);
        mean += f64::from(luminance(map.radiance(drawn.direction))) / f64::from(drawn.density);
    }
    let draws = f64::from(draws);
    assert!((solid_angle / draws / (4.0 * std::f64::consts::PI) - 1.0).abs() < 0.02);
    // The power takes each texel's part of the bilinear map for its mean: on so coarse a map that is a guess.
    assert!((mean / draws / map.power() - 1.0).abs() < 0.06, "{} {}", mean / draws, map.power());
}

#[test]
fn a_sun_of_one_texel_is_nearly_always_drawn() {
    let map = light(512, 256, |x, y| if (x, y) == (100, 40) { [1e5; 3] } else { [0.01; 3] });
    let near =
        (0..1000).filter(|index| luminance(map.radiance(map.sample(numbers(*index)).direction)) > 100.0);
    // The half of a neighbouring texel that lies away from the sun is dark, and drawn as often.
    assert!(near.count() > 700);
}

#[test]
fn b30_hostile_maps_give_finite_light() {
    let hostile = [f32::NAN, -1.0, f32::INFINITY, f32::NEG_INFINITY, 0.0, f32::MAX, 1e-40];
    for (index, bad) in hostile.into_iter().enumerate() {
        for map in [
            light(3, 2, |_, _| [bad; 3]),
            light(3, 2, |x, _| if x == 1 { [bad, 1.0, bad] } else { [0.5; 3] }),
            light(1, 1, |_, _| [0.0, bad, 0.0]),
        ] {
            for draw in 0..200 {
                let drawn = map.sample(numbers(draw + index as u32));
                let seen = map.radiance(drawn.direction);
                assert!(
                    drawn.density.is_finite() && seen.to_array().iter().all(|value| value.is_finite()),
                    "{bad}"
                );
                assert!(seen.x >= 0.0 && seen.y >= 0.0 && seen.z >= 0.0, "{bad}");
            }
            assert!(map.power().is_finite() && map.power() >= 0.0);
        }
    }
    assert_eq!(light(4, 2, |_, _| [0.0; 3]).power(), 0.0);
    assert_eq!(light(4, 2, |_, _| [0.0; 3]).words().len() as u64, EnvironmentLight::word_count(4, 2));
    let short = EnvironmentMap { width: 4, height: 2, radiance: vec![[1.0; 3]] };
    let environment = Environment { map: short, strength: 1.0, rotation_turns: 0.0 };
    assert_eq!(EnvironmentLight::build(&environment).size(), (1, 1), "a map that does not fit is black");
}

proptest! {
    #[test]
    fn a_drawn_direction_lies_in_the_texel_that_it_was_drawn_from(
        width in 1_u32..300, height in 1_u32..150, x in 0_u32..300, y in 0_u32..150,
        across in 0.02_f32..0.98, down in 0.02_f32..0.98, rotation in 0.0_f32..1.0,
    ) {
        let (x, y) = (x % width, y % height);
        let mut map = light(width, height, |_, _| [1.0; 3]);
        map.rotation = rotation;
        let number = |first: usize, at: u32| {
            (map.words[first + at as usize] as f32 + 0.5) / WHOLE as f32
        };
        let numbers = [number(map.rows_at(), y), number(map.columns_at(y), x), across, down];
        let drawn = map.sample(numbers);
        let (u, v) = map.place(drawn.direction);
        // Rows that are very thin at the poles are told apart only roughly.
        prop_assert!((u * width as f32 - (x as f32 + across)).abs() < 0.01, "{u} {x} {across}");
        let row = v * height as f32;
        prop_assert!(row > y as f32 - 0.01 && row < y as f32 + 1.01, "{row} {y}");
        prop_assert_eq!(drawn.density, map.density(drawn.direction));
    }

    #[test]
    fn any_direction_has_a_place_and_a_density(x in -1.0_f32..1.0, y in -1.0_f32..1.0, z in -1.0_f32..1.0) {
        let map = light(17, 9, |x, y| [x as f32, y as f32, 1.0]);
        let direction = normalize(vec3(x, y, z));
        let (u, v) = map.place(direction);
        prop_assert!((0.0..1.0).contains(&u) && (0.0..=1.0).contains(&v));
        prop_assert!(map.density(direction) > 0.0);
    }
}
