//! The exact arithmetic: what every kernel, on every device, computes in the same order with the same roundings.
//!
//! Only `+ - *`, one reciprocal and one square root, each correctly rounded (IEEE 754 binary32); everything else is
//! made of these. No fused multiply-add, no library functions, no NaN: arguments are kept where all steps are finite.
//! `kernel/gpu/math.wgsl` is the twin of this file, function by function.

use std::ops::{Add, Mul, Neg, Sub};

/// Below this a number may come of, or lead to, subnormal ones.
pub const TINY: f32 = 1e-30;

/// Three numbers: a point, a direction, or a colour.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Vec3 {
    /// First.
    pub x: f32,
    /// Second.
    pub y: f32,
    /// Third.
    pub z: f32,
}

/// A vector of three numbers.
#[inline(always)]
pub const fn vec3(x: f32, y: f32, z: f32) -> Vec3 {
    Vec3 { x, y, z }
}

impl Vec3 {
    /// All zero.
    pub const ZERO: Self = vec3(0.0, 0.0, 0.0);
    /// All one.
    pub const ONE: Self = vec3(1.0, 1.0, 1.0);

    /// As an array.
    #[inline(always)]
    pub const fn to_array(self) -> [f32; 3] {
        [self.x, self.y, self.z]
    }

    /// The largest of the three.
    #[inline(always)]
    pub fn max_component(self) -> f32 {
        self.x.max(self.y).max(self.z)
    }
}

impl From<[f32; 3]> for Vec3 {
    #[inline(always)]
    fn from([x, y, z]: [f32; 3]) -> Self {
        vec3(x, y, z)
    }
}

impl Add for Vec3 {
    type Output = Self;

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        vec3(self.x + other.x, self.y + other.y, self.z + other.z)
    }
}

impl Sub for Vec3 {
    type Output = Self;

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        vec3(self.x - other.x, self.y - other.y, self.z - other.z)
    }
}

impl Mul for Vec3 {
    type Output = Self;

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        vec3(self.x * other.x, self.y * other.y, self.z * other.z)
    }
}

impl Mul<f32> for Vec3 {
    type Output = Self;

    #[inline(always)]
    fn mul(self, factor: f32) -> Self {
        vec3(self.x * factor, self.y * factor, self.z * factor)
    }
}

impl Neg for Vec3 {
    type Output = Self;

    #[inline(always)]
    fn neg(self) -> Self {
        vec3(-self.x, -self.y, -self.z)
    }
}

/// 1 / a, correctly rounded, for magnitudes from 2^-126 to 2^126.
#[inline(always)]
pub fn reciprocal(a: f32) -> f32 {
    1.0 / a
}

/// The square root, correctly rounded; of negative and of subnormal numbers, which some devices take for zero, 0.
#[inline(always)]
pub fn square_root(a: f32) -> f32 {
    if a < f32::MIN_POSITIVE { 0.0 } else { a.sqrt() }
}

/// Summed from x to z.
#[inline(always)]
pub fn dot(a: Vec3, b: Vec3) -> f32 {
    a.x * b.x + a.y * b.y + a.z * b.z
}

/// Vector product.
#[inline(always)]
pub fn cross(a: Vec3, b: Vec3) -> Vec3 {
    vec3(a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x)
}

/// To unit length; a vector that has none comes back as (0, 1, 0).
#[inline(always)]
pub fn normalize(a: Vec3) -> Vec3 {
    let squared = dot(a, a);
    if squared < 1e-30 {
        return vec3(0.0, 1.0, 0.0);
    }
    a * reciprocal(square_root(squared))
}

/// Perceived brightness (Rec. 709).
#[inline(always)]
pub fn luminance(color: Vec3) -> f32 {
    color.x * 0.2126 + color.y * 0.7152 + color.z * 0.0722
}

/// The reciprocal of a ray direction's component, kept finite.
#[inline(always)]
pub fn safe_reciprocal(a: f32) -> f32 {
    let magnitude = if a < 0.0 { -a } else { a };
    if magnitude < 1e-12 {
        return if a < 0.0 { -1e12 } else { 1e12 };
    }
    reciprocal(a)
}

/// Sine and cosine of `turn` whole turns, 0 to 1: a polynomial on a quarter turn around its middle, error below 1e-6.
#[inline(always)]
pub fn sin_cos_turn(turn: f32) -> (f32, f32) {
    let scaled = turn * 4.0;
    let quarter = scaled.floor();
    let f = scaled - quarter - 0.5;
    let g = f * f;
    let s = f
        * (std::f32::consts::FRAC_PI_2
            + g * (-0.645_964_1 + g * (0.079_692_62 + g * (-0.004_681_754 + g * 0.000_160_441_18))));
    let c = 1.0
        + g * (-1.233_700_5
            + g * (0.253_669_5 + g * (-0.020_863_48 + g * (0.000_919_260_2 - g * 0.000_025_202))));
    // sin and cos of (f + 1/2) quarter turns.
    let a = 0.707_106_77 * (c + s);
    let b = 0.707_106_77 * (c - s);
    match quarter as u32 {
        0 => (a, b),
        1 => (b, -a),
        2 => (-a, -b),
        _ => (-b, a),
    }
}

/// The angle of the point (x, y) from the x axis towards the y axis, in turns from 0 to below 1: the arc tangent by a
/// polynomial on an eighth of a turn, error below 1e-7. That of (0, 0) is 0.
#[inline(always)]
pub fn turn_of(y: f32, x: f32) -> f32 {
    let (wide, high) = (if x < 0.0 { -x } else { x }, if y < 0.0 { -y } else { y });
    let z = wide.min(high) * reciprocal(wide.max(high).max(1e-20));
    let g = z * z;
    let eighth = z
        * (0.159_154_92
            + g * (-0.053_049_23
                + g * (0.031_778_406
                    + g * (-0.022_286_93
                        + g * (0.015_706_787
                            + g * (-0.009_363_046 + g * (0.003_784_787_1 - g * 0.000_725_713_44)))))));
    let quarter = if high > wide { 0.25 - eighth } else { eighth };
    let half = if x < 0.0 { 0.5 - quarter } else { quarter };
    let turn = if y < 0.0 { 1.0 - half } else { half };
    if turn < 1.0 { turn } else { 0.0 }
}

/// Two unit vectors that make a right-handed frame with the unit vector n (Duff et al. 2017).
#[inline(always)]
pub fn tangent_frame(n: Vec3) -> (Vec3, Vec3) {
    let sign = if n.z >= 0.0 { 1.0 } else { -1.0 };
    let a = -reciprocal(sign + n.z);
    let b = n.x * n.y * a;
    let sx = sign * n.x;
    (vec3(1.0 + sx * n.x * a, sign * b, -sx), vec3(b, sign + n.y * n.y * a, -n.y))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sine_and_cosine_are_close_to_the_library() {
        for step in 0..4096 {
            let turn = step as f32 / 4096.0;
            let (sin, cos) = sin_cos_turn(turn);
            let angle = f64::from(turn) * std::f64::consts::TAU;
            assert!((f64::from(sin) - angle.sin()).abs() < 2e-6, "{turn}");
            assert!((f64::from(cos) - angle.cos()).abs() < 2e-6, "{turn}");
        }
    }

    #[test]
    fn angles_are_close_to_the_library() {
        for step in 0..40_000 {
            let angle = f64::from(step) / 40_000.0 * std::f64::consts::TAU;
            let (y, x) = ((angle.sin() * 3.0) as f32, (angle.cos() * 3.0) as f32);
            let exact = f64::from(y).atan2(f64::from(x)) / std::f64::consts::TAU;
            let error = (f64::from(turn_of(y, x)) - exact).rem_euclid(1.0);
            assert!(error.min(1.0 - error) < 1e-7, "{angle}");
            assert!((0.0..1.0).contains(&turn_of(y, x)));
        }
        let known = [(0.0, 1.0, 0.0), (1.0, 0.0, 0.25), (0.0, -1.0, 0.5), (-1.0, 0.0, 0.75), (0.0, 0.0, 0.0)];
        for (y, x, turn) in known {
            assert_eq!(turn_of(y, x), turn);
        }
        assert_eq!(turn_of(-1e-30, 1.0), 0.0);
    }

    #[test]
    fn frames_are_orthonormal_everywhere() {
        for n in
            [vec3(0.0, 0.0, 1.0), vec3(0.0, 0.0, -1.0), normalize(vec3(1.0, -2.0, 0.5)), vec3(0.0, 1.0, 0.0)]
        {
            let (t, b) = tangent_frame(n);
            for (p, q) in [(t, n), (b, n), (t, b)] {
                assert!(dot(p, q).abs() < 1e-6);
            }
            assert!((dot(t, t) - 1.0).abs() < 1e-5 && (dot(b, b) - 1.0).abs() < 1e-5);
            assert!(dot(cross(t, b), n) > 0.99);
        }
    }

    #[test]
    fn degenerate_arguments_stay_finite() {
        assert_eq!(normalize(Vec3::ZERO), vec3(0.0, 1.0, 0.0));
        for a in [0.0, -0.0, 1e-30, -1e-30] {
            assert!(safe_reciprocal(a).is_finite());
        }
        assert_eq!([square_root(-1.0), square_root(1e-40), square_root(4.0)], [0.0, 0.0, 2.0]);
    }
}
