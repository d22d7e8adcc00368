//! How much light a GGX surface gives back in all: a table made at the start, by exact arithmetic, so that it is the
//! same on every machine. With it no material loses the light that a single reflection loses (Turquin 2019), and what
//! is not reflected at the surface is there for what lies below. `kernel/gpu/albedo.wgsl` is the twin of [`lookup`].

use std::sync::LazyLock;

use crate::{
    bsdf::{MIN_ALPHA, ggx_masking, visible_normal},
    math::{dot, normalize, reciprocal, square_root, vec3},
    real::{Real, always},
};

/// Entries along each axis.
pub const EDGE: usize = 32;
/// Normals drawn for an entry: how far they lean, and to which side.
const LEANS: u32 = 48;
/// Half of the sides: the others give the same.
const SIDES: u32 = 16;

/// Share of light reflected from a direction, with all of it (`scale`) and none of it (`bias`) reflected head-on:
/// with a reflectance of f0 it is `f0 * scale + bias`. Rows of equal roughness, from smooth to rough; in a row from
/// grazing to head-on.
pub static TABLE: LazyLock<Vec<[f32; 2]>> = LazyLock::new(|| {
    let at = |index: usize| index as f32 / (EDGE - 1) as f32;
    (0..EDGE * EDGE).map(|entry| integrate(cosine_of(at(entry % EDGE)), at(entry / EDGE))).collect()
});

/// Cosines lie closer together where the surface is seen edge-on and the table is steep.
fn cosine_of(position: f32) -> f32 {
    (position * position).max(1e-4)
}

fn integrate(cosine_view: f32, roughness: f32) -> [f32; 2] {
    let alpha = (roughness * roughness).max(MIN_ALPHA);
    let view = vec3(square_root(1.0 - cosine_view * cosine_view), 0.0, cosine_view);
    let (mut scale, mut bias) = (0.0_f64, 0.0_f64);
    for index in 0..LEANS * SIDES {
        let [lean, side] =
            [(index % LEANS, LEANS), (index / LEANS, SIDES)].map(|(at, of)| (at as f32 + 0.5) / of as f32);
        // Closer together towards those that lean most: few, but they lose most of the light.
        let rest = 1.0 - lean;
        let share = f64::from(2.0 * rest);
        let half = visible_normal(alpha, view, 1.0 - rest * rest, side * 0.5);
        let cosine_half = dot(view, half).max(0.0);
        let light = normalize(half * (2.0 * cosine_half) - view);
        if light.z <= 0.0 {
            continue;
        }
        // The weight of a drawn direction is both maskings over that of the view.
        let weight = both_maskings(alpha, cosine_view, light.z) * reciprocal(ggx_masking(alpha, cosine_view));
        let m = 1.0 - cosine_half;
        let m5 = m * m * m * m * m;
        scale += f64::from(weight * (1.0 - m5)) * share;
        bias += f64::from(weight * m5) * share;
    }
    let count = f64::from(LEANS * SIDES);
    [(scale / count) as f32, (bias / count) as f32]
}

/// Smith's masking of both directions, with their heights correlated (Heitz 2014).
fn both_maskings(alpha: f32, cosine_view: f32, cosine_light: f32) -> f32 {
    let a2 = alpha * alpha;
    let root = |cosine: f32| square_root(a2 + (1.0 - a2) * cosine * cosine);
    let sum = cosine_light * root(cosine_view) + cosine_view * root(cosine_light);
    2.0 * cosine_light * cosine_view * reciprocal(sum.max(1e-12))
}

/// Scale and bias for a direction and a roughness, between the entries.
#[inline(always)]
pub fn lookup<R: Real>(table: &[[f32; 2]], cosine_view: R, roughness: R) -> [R; 2] {
    let last = (EDGE - 1) as f32;
    let (x, y) = (square_root(cosine_view.at_most(1.0)) * last, roughness * last);
    let most = (EDGE - 2) as f32;
    let (column, row) = (x.at_least(0.0).at_most(most).floor(), y.at_least(0.0).at_most(most).floor());
    let (along, down) = (x - column, y - row);
    let entry = always!(|lane: usize, right: usize, below: usize| {
        let at = row.lane(lane) as usize * EDGE + column.lane(lane) as usize;
        table[at + below * EDGE + right]
    });
    let token = x.token();
    let corner = always!(|right, below, part: usize| {
        R::from_lanes(token, always!(|lane: usize| entry(lane, right, below)[part]))
    });
    let between = always!(|part: usize| {
        let (above, below) = (corner(0, 0, part), corner(0, 1, part));
        let upper = above + (corner(1, 0, part) - above) * along;
        let lower = below + (corner(1, 1, part) - below) * along;
        upper + (lower - upper) * down
    });
    [between(0), between(1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smooth_surfaces_give_everything_back_and_rough_ones_what_the_integral_says() {
        let table = &*TABLE;
        for cosine in [0.2, 0.5, 1.0] {
            let [scale, bias] = lookup(table, cosine, 0.0);
            assert!((scale + bias - 1.0).abs() < 2e-3, "{cosine}: {scale} {bias}");
        }
        for entry in table {
            assert!(entry.iter().all(|part| (0.0..=1.0).contains(part)), "{entry:?}");
            assert!(entry[0] + entry[1] <= 1.0 + 1e-5);
        }
    }
}
