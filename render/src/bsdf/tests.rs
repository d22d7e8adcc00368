use super::*;
use crate::sample::{path_key, random};

const NORMAL: Vec3 = vec3(0.0, 0.0, 1.0);

fn white() -> Surface {
    Surface {
        base_color: Vec3::ONE,
        metallic: 0.0,
        roughness: 0.5,
        dielectric_f0: 0.04,
        transmission: 0.0,
        coat: 0.0,
        coat_roughness: 0.0,
    }
}

/// Points that fill the unit cube evenly, so that the mean over them has hardly any noise: multiples of the first
/// powers of 1 / 1.2207, where 1.2207^4 = 1.2207 + 1 (Roberts 2018).
fn evenly(index: u32) -> [f32; 3] {
    const LESS_THAN_ONE: f32 = 1.0 - f32::EPSILON;
    [0.819_172_513_396_164_4, 0.671_043_606_703_789_2, 0.549_700_477_901_970_3]
        .map(|step: f64| ((0.5 + f64::from(index) * step).fract() as f32).min(LESS_THAN_ONE))
}

/// What comes back of light of radiance 1 from everywhere.
fn furnace(surface: &Surface, view: Vec3) -> f64 {
    let bsdf = seen_from(&albedo::TABLE, surface, NORMAL, view);
    let samples = 200_000;
    let mut sum = 0.0_f64;
    for index in 0..samples {
        let [r0, r1, r2] = evenly(index);
        let light = sample(&bsdf, NORMAL, view, r0, r1, r2);
        let scattering = evaluate(&bsdf, NORMAL, view, light);
        if scattering.density > 0.0 {
            sum += f64::from(scattering.value.y / scattering.density);
        }
    }
    sum / f64::from(samples)
}

fn views() -> [Vec3; 4] {
    [(0.0, 1.0), (0.6, 0.8), (0.9, 0.435_89), (0.98, 0.198_997)].map(|(x, z)| vec3(x, 0.0, z))
}

#[test]
fn white_surfaces_of_every_kind_return_all_light() {
    for roughness in [0.0, 0.1, 0.3, 0.6, 1.0] {
        let kinds = [
            ("dielectric", Surface { roughness, ..white() }),
            ("metal", Surface { roughness, metallic: 1.0, ..white() }),
            ("half metal", Surface { roughness, metallic: 0.5, ..white() }),
            ("glass", Surface { roughness, transmission: 1.0, ..white() }),
            ("half glass", Surface { roughness, transmission: 0.5, ..white() }),
            ("coated metal", Surface { roughness, metallic: 1.0, coat: 1.0, ..white() }),
            ("coated", Surface { roughness: 0.9, coat: 0.7, coat_roughness: roughness, ..white() }),
            ("dense", Surface { roughness, dielectric_f0: 0.3, ..white() }),
        ];
        for (kind, surface) in kinds {
            for view in views() {
                let back = furnace(&surface, view);
                assert!((back - 1.0).abs() < 0.005, "{kind}, {roughness} at {}: {back}", view.z);
            }
        }
    }
}

#[test]
fn densities_integrate_to_one_less_what_points_below_the_surface() {
    for (roughness, least) in [(0.3, 0.98), (0.6, 0.93), (1.0, 0.7)] {
        let surface = Surface {
            base_color: vec3(0.8, 0.5, 0.2),
            metallic: 0.3,
            roughness,
            transmission: 0.4,
            coat: 0.5,
            coat_roughness: 0.4,
            ..white()
        };
        let view = normalize(vec3(0.5, 0.2, 0.8));
        let bsdf = seen_from(&albedo::TABLE, &surface, NORMAL, view);
        let samples = 400_000;
        let mut sum = 0.0_f64;
        for index in 0..samples {
            let key = path_key(9, index, 1);
            let z = random(key, 0) * 2.0 - 1.0;
            let (sin, cos) = sin_cos_turn(random(key, 1));
            let radius = square_root(1.0 - z * z);
            let density = evaluate(&bsdf, NORMAL, view, vec3(radius * cos, radius * sin, z)).density;
            sum += f64::from(density) * 2.0 * std::f64::consts::TAU;
        }
        let integral = sum / f64::from(samples);
        assert!((least..1.01).contains(&integral), "roughness {roughness}: {integral}");
    }
}

#[test]
fn black_surfaces_stay_finite() {
    let black = Surface { base_color: Vec3::ZERO, dielectric_f0: 0.0, ..white() };
    let bsdf = seen_from(&albedo::TABLE, &black, NORMAL, NORMAL);
    for (layer, r0) in [(0.0, 0.0), (0.5, 0.5), (0.999_999, 0.999_999)] {
        let light = sample(&bsdf, NORMAL, NORMAL, layer, r0, 0.3);
        let scattering = evaluate(&bsdf, NORMAL, NORMAL, light);
        assert!(light.x.is_finite() && scattering.value.x.is_finite() && scattering.density.is_finite());
    }
}
