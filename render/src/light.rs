//! What shines: emissive triangles and lights without extent, chosen in proportion to their power in constant time
//! (Walker 1977; Vose 1991). `kernel/gpu/light.wgsl` is the twin of the functions that the kernels call.

use crate::{
    math::{Vec3, cross, dot, luminance, reciprocal, square_root, vec3},
    ray::Corners,
    real::Real,
    scene::PunctualLight,
};

/// The light index of a triangle that does not shine.
pub const NO_LIGHT: u32 = u32::MAX;
/// Densities end here: products of two of them stay finite.
const MAX_DENSITY: f32 = 1e18;
/// Triangles of less area give no light that is looked for.
const MIN_AREA: f32 = 1e-18;

/// Where a light's light comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Source {
    /// A triangle.
    Triangle(TriangleLight),
    /// No extent.
    Punctual(PunctualLight),
}

/// A light.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Light {
    /// Where its light comes from.
    pub source: Source,
    /// Probability that it is chosen; of a triangle per unit of its area.
    pub density: f32,
    /// Of the numbers that fall on this entry of the table, this share means the entry itself.
    pub threshold: f32,
    /// The others mean this one.
    pub alias: u32,
}

/// A light that is a triangle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TriangleLight {
    /// Its instance.
    pub instance: u32,
    /// Which of the instance's mesh.
    pub primitive: u32,
    /// World space.
    pub corners: Corners,
    /// Shines to both sides.
    pub double_sided: bool,
}

impl Light {
    /// The triangle, if it is one.
    #[inline(always)]
    pub fn triangle(&self) -> Option<&TriangleLight> {
        match &self.source {
            Source::Triangle(triangle) => Some(triangle),
            Source::Punctual(_) => None,
        }
    }
}

/// All lights of a scene.
#[derive(Debug, Default)]
pub struct LightTable {
    lights: Vec<Light>,
    environment_share: f32,
}

/// A light and how strong it is.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    /// The light.
    pub source: Source,
    /// Flux in any unit that is the same for all; not negative.
    pub power: f32,
}

impl LightTable {
    /// From all candidates that have power, in their order, and the power of the environment in the same unit.
    pub fn build(candidates: impl IntoIterator<Item = Candidate>, environment_power: f64) -> Self {
        let strong: Vec<Candidate> =
            candidates.into_iter().filter(|candidate| candidate.power > 0.0).collect();
        // Summed in double precision and in order: the same table everywhere.
        let total: f64 = strong.iter().map(|candidate| f64::from(candidate.power)).sum();
        let shares: Vec<f64> = strong.iter().map(|candidate| f64::from(candidate.power) / total).collect();
        let environment_share = environment_share(environment_power, total);
        let rest = 1.0 - f64::from(environment_share);
        let lights = strong.iter().zip(alias_table(&shares)).zip(&shares);
        let lights = lights
            .map(|((candidate, (threshold, alias)), share)| {
                let extent = match &candidate.source {
                    Source::Triangle(triangle) => f64::from(area(&triangle.corners)),
                    Source::Punctual(_) => 1.0,
                };
                let density = ((share * rest / extent) as f32).min(MAX_DENSITY);
                Light { source: candidate.source, density, threshold, alias }
            })
            .collect();
        Self { lights, environment_share }
    }

    /// Probability that the environment is looked at instead of one of the lights: a multiple of 2^-8, so that this
    /// and the rest of 1 are exact.
    pub fn environment_share(&self) -> f32 {
        self.environment_share
    }

    /// What a random number that does not mean the environment is stretched by to be one for [`Self::choose`].
    pub fn stretch(&self) -> f32 {
        if self.environment_share < 1.0 { reciprocal(1.0 - self.environment_share) } else { 1.0 }
    }

    /// The lights.
    pub fn lights(&self) -> &[Light] {
        &self.lights
    }

    /// The light for a random number.
    #[inline(always)]
    pub fn choose(&self, random: f32) -> u32 {
        let scaled = random * self.lights.len() as f32;
        let entry = (scaled as u32).min(self.lights.len() as u32 - 1);
        let light = &self.lights[entry as usize];
        if scaled - entry as f32 <= light.threshold { entry } else { light.alias }
    }
}

/// By power, but at least a tenth for either: power says little of what reaches a place.
fn environment_share(environment: f64, lights: f64) -> f32 {
    const STEPS: f64 = 256.0;
    if environment <= 0.0 {
        return 0.0;
    }
    if lights <= 0.0 {
        return 1.0;
    }
    let share = (environment / (environment + lights)).clamp(0.1, 0.9);
    ((share * STEPS).floor() / STEPS) as f32
}

/// For each entry the share of its numbers that it keeps, and who has the rest.
fn alias_table(shares: &[f64]) -> Vec<(f32, u32)> {
    let count = shares.len() as f64;
    let mut left: Vec<f64> = shares.iter().map(|share| share * count).collect();
    let mut table: Vec<(f32, u32)> = (0..shares.len() as u32).map(|entry| (1.0, entry)).collect();
    let (mut small, mut large): (Vec<usize>, Vec<usize>) =
        (0..shares.len()).partition(|entry| left[*entry] < 1.0);
    while let (Some(poor), Some(rich)) = (small.pop(), large.last().copied()) {
        table[poor] = (left[poor] as f32, rich as u32);
        left[rich] -= 1.0 - left[poor];
        if left[rich] < 1.0 {
            large.pop();
            small.push(rich);
        }
    }
    table
}

/// Area of a triangle; 0 for one that is too small to be looked for.
pub fn area(corners: &Corners) -> f32 {
    let normal = cross(corners.edge1, corners.edge2);
    let area = square_root(dot(normal, normal)) * 0.5;
    if area > MIN_AREA { area } else { 0.0 }
}

/// Flux of a light without extent; `radius` is that of the scene, which a light from far away covers.
pub fn punctual_power(light: &PunctualLight, radius: f32) -> f32 {
    const PI: f32 = std::f32::consts::PI;
    match light {
        PunctualLight::Directional { irradiance, .. } => {
            luminance((*irradiance).into()) * PI * radius * radius
        }
        PunctualLight::Point { intensity, .. } => luminance((*intensity).into()) * 4.0 * PI,
    }
}

/// An even point on a triangle from two random numbers, as weights of its second and third corner (Heitz 2019,
/// "low-distortion").
#[inline(always)]
pub fn triangle_point<R: Real>(r0: R, r1: R) -> (R, R) {
    let first = r0.lt(r1);
    let half = R::select(first, r0, r1) * 0.5;
    let rest = R::select(first, r1, r0) - half;
    (R::select(first, half, rest), R::select(first, rest, half))
}

/// Density of a light's point as seen from a surface, per solid angle: `distance_squared / cosine` turns area into
/// angle.
#[inline(always)]
pub fn solid_angle_density<R: Real>(area_density: R, distance_squared: R, cosine: R) -> R {
    (area_density * distance_squared * reciprocal(cosine.at_least(1e-6))).at_most(MAX_DENSITY)
}

/// How much a sample counts when another strategy could have drawn it too (Veach 1997, power heuristic).
#[inline(always)]
pub fn mis_weight<R: Real>(own: R, other: R) -> R {
    // Both are divided by the larger first: their squares would overflow.
    let scale = reciprocal(own.larger(other).at_least(1e-20));
    let (own, other) = (own * scale, other * scale);
    own * own * reciprocal((own * own + other * other).at_least(1e-20))
}

/// Brought down, colour kept, until no component is over the limit; a limit of 0 is none.
#[inline(always)]
pub fn limited<R: Real>(radiance: Vec3<R>, limit: f32) -> Vec3<R> {
    if limit <= 0.0 {
        return radiance;
    }
    let most = radiance.max_component();
    // No number is so large that its reciprocal would vanish, nor remains over the limit by rounding.
    let less = radiance * (reciprocal(most.at_most(1e30)) * limit);
    let less = vec3(less.x.at_most(limit), less.y.at_most(limit), less.z.at_most(limit));
    Vec3::select(most.above(limit), less, radiance)
}

/// What reaches a point from a light without extent, if nothing is in the way.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// Towards the light.
    pub direction: Vec3,
    /// To the light.
    pub distance: f32,
    /// Irradiance on a surface that faces it.
    pub irradiance: Vec3,
}

/// Farther than any scene reaches.
pub const FAR: f32 = 1e30;

/// What reaches a point.
#[inline(always)]
pub fn arrival(light: &PunctualLight, point: Vec3) -> Arrival {
    match light {
        PunctualLight::Directional { direction, irradiance } => {
            Arrival { direction: (*direction).into(), distance: FAR, irradiance: (*irradiance).into() }
        }
        PunctualLight::Point { position, intensity, axis, cone, range } => {
            let path = Vec3::from(*position) - point;
            let squared = dot(path, path).max(1e-12);
            let distance = square_root(squared);
            let direction = path * reciprocal(distance);
            let along = (-dot(direction, (*axis).into()) * cone[0] + cone[1]).clamp(0.0, 1.0);
            let mut falloff = along * along * reciprocal(squared);
            if *range > 0.0 {
                // Windowed as the extension recommends: 1 - (d / range)^4, not below 0.
                let share = squared * reciprocal((range * range).max(1e-12));
                falloff *= (1.0 - share * share).max(0.0);
            }
            Arrival { direction, distance, irradiance: Vec3::from(*intensity) * falloff }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn densities_and_weights_of_absurd_lights_stay_finite() {
        let density = solid_angle_density(1e19, 3e18, 0.1);
        assert!(density.is_finite());
        for (own, other) in [(density, density), (density, 0.0), (0.0, 0.0), (1e-30, density)] {
            assert!(mis_weight(own, other).is_finite(), "{own} {other}");
        }
    }

    fn point_light() -> PunctualLight {
        PunctualLight::Point {
            position: [0.0, 2.0, 0.0],
            intensity: [8.0; 3],
            axis: [0.0, -1.0, 0.0],
            cone: [0.0, 1.0],
            range: 0.0,
        }
    }

    #[test]
    fn lights_are_chosen_in_proportion_to_their_power() {
        let powers = [1.0, 5.0, 0.0, 2.0, 0.5, 8.0];
        let table = LightTable::build(
            powers.map(|power| Candidate { source: Source::Punctual(point_light()), power }),
            0.0,
        );
        assert_eq!(table.lights().len(), 5, "what has no power is never chosen");
        let draws = 100_000;
        let mut chosen = [0_u32; 5];
        for draw in 0..draws {
            chosen[table.choose((draw as f32 + 0.5) / draws as f32) as usize] += 1;
        }
        for (count, light) in chosen.iter().zip(table.lights()) {
            assert!((f64::from(*count) / f64::from(draws) - f64::from(light.density)).abs() < 1e-3);
        }
    }

    #[test]
    fn limited_radiance_keeps_its_colour_and_the_limit() {
        let bright = vec3(40.0, 20.0, 0.0);
        assert_eq!(limited(bright, 0.0), bright, "no limit");
        assert_eq!(limited(bright, 50.0), bright);
        assert_eq!(limited(bright, 10.0), vec3(10.0, 5.0, 0.0));
        for absurd in [f32::MAX, f32::INFINITY, 1e31] {
            assert_eq!(limited(vec3(absurd, 0.0, absurd), 3.0).max_component(), 3.0);
        }
    }

    #[test]
    fn the_environment_has_its_share_but_never_nearly_all() {
        let table = |power: f32, environment| {
            LightTable::build([Candidate { source: Source::Punctual(point_light()), power }], environment)
        };
        for (power, environment, share) in [
            (1.0, 0.0, 0.0),
            (0.0, 1.0, 1.0),
            (1.0, 1.0, 0.5),
            (1.0, 1e9, 230.0 / 256.0),
            (1e9, 1.0, 25.0 / 256.0),
        ] {
            let table = table(power, environment);
            assert_eq!(table.environment_share(), share);
            let rest: f32 = table.lights().iter().map(|light| light.density).sum();
            assert_eq!(rest, 1.0 - share);
        }
        assert_eq!(table(1.0, 1.0).stretch(), 2.0);
    }

    #[test]
    fn light_falls_with_the_square_of_the_distance_and_ends_at_the_cone() {
        let seen = arrival(&point_light(), Vec3::ZERO);
        assert_eq!((seen.distance, seen.irradiance), (2.0, vec3(2.0, 2.0, 2.0)));
        let PunctualLight::Point { position, intensity, axis, .. } = point_light() else { unreachable!() };
        let spot = PunctualLight::Point { position, intensity, axis, cone: [10.0, -9.0], range: 3.0 };
        assert!(arrival(&spot, Vec3::ZERO).irradiance.x > 0.0);
        assert_eq!(arrival(&spot, vec3(2.0, 0.0, 0.0)).irradiance, Vec3::ZERO, "45 degrees off the axis");
        assert_eq!(arrival(&spot, vec3(0.0, -2.0, 0.0)).irradiance, Vec3::ZERO, "out of range");
    }
}
