//! The exact arithmetic: what every kernel, on every device, computes in the same order with the same roundings.
//!
//! Only `+ - *`, one reciprocal and one square root, each correctly rounded (IEEE 754 binary32); everything else is
//! made of these. No fused multiply-add, no library functions, no NaN: arguments are kept where all steps are finite.
//! Written for one number or for several side by side ([`Real`]). `kernel/gpu/math.wgsl` is the twin of this file,
//! function by function.

use std::ops::{Add, Mul, Neg, Sub};

use crate::real::{MAX_LANES, Real, always};

/// Below this a number may come of, or lead to, subnormal ones.
pub const TINY: f32 = 1e-30;

/// Three numbers: a point, a direction, or a colour; or several, lane by lane.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Vec3<R = f32> {
    /// First.
    pub x: R,
    /// Second.
    pub y: R,
    /// Third.
    pub z: R,
}

/// A vector of three numbers.
#[inline(always)]
pub const fn vec3<R: Copy>(x: R, y: R, z: R) -> Vec3<R> {
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
}

impl<R: Real> Vec3<R> {
    /// The same number three times.
    #[inline(always)]
    pub fn all(value: R) -> Self {
        vec3(value, value, value)
    }

    /// A vector for each lane.
    #[inline(always)]
    pub fn from_lanes(token: R::Token, mut value: impl FnMut(usize) -> Vec3) -> Self {
        // Each lane's vector is made once.
        let mut lanes = [Vec3::ZERO; MAX_LANES];
        for (lane, vector) in lanes.iter_mut().enumerate().take(R::LANES) {
            *vector = value(lane);
        }
        vec3(
            R::from_lanes(token, always!(|lane: usize| lanes[lane].x)),
            R::from_lanes(token, always!(|lane: usize| lanes[lane].y)),
            R::from_lanes(token, always!(|lane: usize| lanes[lane].z)),
        )
    }

    /// The vector of a lane.
    #[inline(always)]
    pub fn lane(self, lane: usize) -> Vec3 {
        vec3(self.x.lane(lane), self.y.lane(lane), self.z.lane(lane))
    }

    /// The first where the mask says so, elsewhere the second.
    #[inline(always)]
    pub fn select(mask: R::Mask, yes: Self, no: Self) -> Self {
        vec3(R::select(mask, yes.x, no.x), R::select(mask, yes.y, no.y), R::select(mask, yes.z, no.z))
    }

    /// The largest of the three.
    #[inline(always)]
    pub fn max_component(self) -> R {
        self.x.larger(self.y).larger(self.z)
    }
}

impl<R> From<[R; 3]> for Vec3<R> {
    #[inline(always)]
    fn from([x, y, z]: [R; 3]) -> Self {
        Self { x, y, z }
    }
}

impl<R: Real> Add for Vec3<R> {
    type Output = Self;

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        vec3(self.x + other.x, self.y + other.y, self.z + other.z)
    }
}

impl<R: Real> Sub for Vec3<R> {
    type Output = Self;

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        vec3(self.x - other.x, self.y - other.y, self.z - other.z)
    }
}

impl<R: Real> Mul for Vec3<R> {
    type Output = Self;

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        vec3(self.x * other.x, self.y * other.y, self.z * other.z)
    }
}

impl<R: Real> Mul<R> for Vec3<R> {
    type Output = Self;

    #[inline(always)]
    fn mul(self, factor: R) -> Self {
        vec3(self.x * factor, self.y * factor, self.z * factor)
    }
}

impl<R: Real> Neg for Vec3<R> {
    type Output = Self;

    #[inline(always)]
    fn neg(self) -> Self {
        vec3(-self.x, -self.y, -self.z)
    }
}

/// 1 / a, correctly rounded, for magnitudes from 2^-126 to 2^126.
#[inline(always)]
pub fn reciprocal<R: Real>(a: R) -> R {
    a.inverse()
}

/// The square root, correctly rounded; of negative and of subnormal numbers, which some devices take for zero, 0.
#[inline(always)]
pub fn square_root<R: Real>(a: R) -> R {
    R::select(a.below(f32::MIN_POSITIVE), a.same(0.0), a.root())
}

/// Summed from x to z.
#[inline(always)]
pub fn dot<R: Real>(a: Vec3<R>, b: Vec3<R>) -> R {
    a.x * b.x + a.y * b.y + a.z * b.z
}

/// Vector product.
#[inline(always)]
pub fn cross<R: Real>(a: Vec3<R>, b: Vec3<R>) -> Vec3<R> {
    vec3(a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x)
}

/// To unit length; a vector that has none comes back as (0, 1, 0).
#[inline(always)]
pub fn normalize<R: Real>(a: Vec3<R>) -> Vec3<R> {
    let squared = dot(a, a);
    let (zero, one) = (squared.same(0.0), squared.same(1.0));
    Vec3::select(squared.below(1e-30), vec3(zero, one, zero), a * reciprocal(square_root(squared)))
}

/// Perceived brightness (Rec. 709).
#[inline(always)]
pub fn luminance<R: Real>(color: Vec3<R>) -> R {
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
pub fn sin_cos_turn<R: Real>(turn: R) -> (R, R) {
    let scaled = turn * 4.0;
    let quarter = scaled.floor();
    let f = scaled - quarter - 0.5;
    let g = f * f;
    let s = f
        * (g * (g * (g * (g * 0.000_160_441_18 + -0.004_681_754) + 0.079_692_62) + -0.645_964_1)
            + std::f32::consts::FRAC_PI_2);
    let c = g
        * (g * (g * (g * (g * -0.000_025_202 + 0.000_919_260_2) + -0.020_863_48) + 0.253_669_5)
            + -1.233_700_5)
        + 1.0;
    // sin and cos of (f + 1/2) quarter turns.
    let a = (c + s) * 0.707_106_77;
    let b = (c - s) * 0.707_106_77;
    // (a, b), (b, -a), (-a, -b), (-b, a), quarter by quarter.
    let first = quarter.below(1.0);
    let half = quarter.below(2.0);
    let odd = (half & !first) | !quarter.below(3.0);
    let (p, q) = (R::select(odd, b, a), R::select(odd, a, b));
    let sine = R::select(half, p, -p);
    let cosine = R::select(first | !quarter.below(3.0), q, -q);
    (sine, cosine)
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
pub fn tangent_frame<R: Real>(n: Vec3<R>) -> (Vec3<R>, Vec3<R>) {
    let sign = R::select(n.z.below(0.0), n.z.same(-1.0), n.z.same(1.0));
    let a = -reciprocal(sign + n.z);
    let b = n.x * n.y * a;
    let sx = sign * n.x;
    (vec3(sx * n.x * a + 1.0, sign * b, -sx), vec3(b, sign + n.y * n.y * a, -n.y))
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
