//! Values between key frames (glTF 2.0, section 3.11 and appendix C), with correctly rounded arithmetic only.

use super::accessor::Elements;

/// Halvings of an arc before the rest of it counts as straight. The error of that falls with the third power of the
/// rest's angle and is far below the rounding of `f32`.
const ARC_HALVINGS: u32 = 16;

/// How values follow from key frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interpolation {
    /// The value of the key frame before.
    Step,
    /// Along a straight line; rotations along the shorter arc.
    Linear,
    /// Along a cubic spline with tangents in the file.
    CubicSpline,
}

impl Interpolation {
    /// By its name in the file; linear if it has none.
    pub(super) fn from_name(name: Option<&str>) -> Option<Self> {
        match name {
            None | Some("LINEAR") => Some(Self::Linear),
            Some("STEP") => Some(Self::Step),
            Some("CUBICSPLINE") => Some(Self::CubicSpline),
            Some(_) => None,
        }
    }

    /// Values in the file for each value of a key frame: splines have a tangent before and after.
    pub(super) const fn parts(self) -> usize {
        match self {
            Self::Step | Self::Linear => 1,
            Self::CubicSpline => 3,
        }
    }
}

/// Where a moment lies among key frames.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Span {
    /// The key frame at or before the moment; the first one before all of them.
    key: usize,
    /// The one after; the same one beyond the last.
    next: usize,
    /// From one to the other, seconds; 0 if they are the same.
    seconds: f64,
    /// How far the moment is between them, 0 to 1.
    factor: f64,
}

/// Key frames of one property: everything in range, times finite and increasing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Track<'a> {
    /// Seconds, at least one.
    pub(super) times: Elements<'a>,
    /// `width` times [`Interpolation::parts`] for each of the times.
    pub(super) values: Elements<'a>,
    pub(super) interpolation: Interpolation,
    /// Values of a key frame: one, or one for each morph target.
    pub(super) width: usize,
}

impl Track<'_> {
    /// The value of a number below the width, at so many seconds.
    pub(super) fn vector<const N: usize>(&self, number: usize, at_s: f64) -> [f64; N] {
        let span = self.span(at_s);
        // A spline's tangents stand around its value.
        let is_spline = self.interpolation == Interpolation::CubicSpline;
        let value = |key: usize| self.part::<N>(key, usize::from(is_spline), number);
        match self.interpolation {
            Interpolation::Step => value(span.key),
            Interpolation::Linear => mix(value(span.key), value(span.next), span.factor),
            Interpolation::CubicSpline => {
                let tangents = [self.part(span.key, 2, number), self.part(span.next, 0, number)];
                hermite([value(span.key), value(span.next)], tangents, &span)
            }
        }
    }

    /// A rotation, at so many seconds: a quaternion (x, y, z, w) of any length.
    pub(super) fn rotation(&self, at_s: f64) -> [f64; 4] {
        if self.interpolation != Interpolation::Linear {
            return self.vector(0, at_s);
        }
        let span = self.span(at_s);
        slerp(self.part(span.key, 0, 0), self.part(span.next, 0, 0), span.factor)
    }

    fn part<const N: usize>(&self, key: usize, part: usize, number: usize) -> [f64; N] {
        let index = (key * self.interpolation.parts() + part) * self.width + number;
        self.values.vector::<N>(index).map(f64::from)
    }

    fn time_s(&self, key: usize) -> f64 {
        let [time_s] = self.times.vector::<1>(key);
        f64::from(time_s)
    }

    fn span(&self, at_s: f64) -> Span {
        // The first key frame after the moment.
        let (mut low, mut high) = (0, self.times.count);
        while low < high {
            let middle = low.midpoint(high);
            if self.time_s(middle) <= at_s { low = middle + 1 } else { high = middle }
        }
        let key = low.saturating_sub(1);
        let next = low.min(self.times.count.saturating_sub(1));
        let seconds = self.time_s(next) - self.time_s(key);
        let factor = if seconds > 0.0 { (at_s - self.time_s(key)) / seconds } else { 0.0 };
        Span { key, next, seconds, factor }
    }
}

fn mix<const N: usize>(from: [f64; N], to: [f64; N], factor: f64) -> [f64; N] {
    std::array::from_fn(|axis| from[axis] * (1.0 - factor) + to[axis] * factor)
}

/// A cubic Hermite spline; tangents are per second.
fn hermite<const N: usize>(values: [[f64; N]; 2], tangents: [[f64; N]; 2], span: &Span) -> [f64; N] {
    let t = span.factor;
    let (square, cube) = (t * t, t * t * t);
    let of_values = [2.0 * cube - 3.0 * square + 1.0, 3.0 * square - 2.0 * cube];
    let of_tangents = [cube - 2.0 * square + t, cube - square].map(|weight| weight * span.seconds);
    std::array::from_fn(|axis| {
        let along_values = values[0][axis] * of_values[0] + values[1][axis] * of_values[1];
        let along_tangents = tangents[0][axis] * of_tangents[0] + tangents[1][axis] * of_tangents[1];
        along_values + along_tangents
    })
}

/// A rotation on the shorter arc between two. The arc is halved again and again around the point that is sought, which
/// takes nothing but square roots where the textbook's formula takes an arc cosine and sines.
fn slerp(from: [f64; 4], to: [f64; 4], factor: f64) -> [f64; 4] {
    let (mut low, mut high, mut factor) = (unit(from), unit(to), factor);
    let product: f64 = low[0] * high[0] + low[1] * high[1] + low[2] * high[2] + low[3] * high[3];
    if product < 0.0 {
        high = high.map(|value| -value);
    }
    for _ in 0..ARC_HALVINGS {
        let middle = unit(std::array::from_fn(|axis| low[axis] + high[axis]));
        factor *= 2.0;
        if factor < 1.0 {
            high = middle;
        } else {
            low = middle;
            factor -= 1.0;
        }
    }
    mix(low, high, factor)
}

/// The quaternion at length 1; no rotation for one without length.
fn unit(quaternion: [f64; 4]) -> [f64; 4] {
    let [x, y, z, w] = quaternion;
    let length = (x * x + y * y + z * z + w * w).sqrt();
    if length > 0.0 && length.is_finite() {
        quaternion.map(|value| value / length)
    } else {
        [0.0, 0.0, 0.0, 1.0]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// About z.
    fn turned(radians: f64) -> [f64; 4] {
        [0.0, 0.0, (radians * 0.5).sin(), (radians * 0.5).cos()]
    }

    fn assert_close(a: [f64; 4], b: [f64; 4]) {
        let apart = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(apart < 1e-9, "{a:?} {b:?}");
    }

    #[test]
    fn arcs_are_followed_at_constant_speed() {
        for (end, factor) in [(1.0, 0.25), (3.0, 0.5), (2.5, 0.9), (1e-6, 0.3), (3.1, 1.0), (3.1, 0.0)] {
            assert_close(unit(slerp(turned(0.0), turned(end), factor)), turned(end * factor));
        }
    }

    #[test]
    fn the_shorter_arc_is_taken() {
        // 350 degrees one way are 10 the other; the same rotation has two quaternions.
        let to = turned(350_f64.to_radians());
        let halfway = unit(slerp(turned(0.0), to, 0.5));
        assert_close(halfway, turned(-5_f64.to_radians()));
        assert_close(unit(slerp(turned(0.0), to.map(|value| -value), 0.5)), halfway);
    }

    #[test]
    fn splines_start_and_end_with_their_values_and_tangents() {
        let at = |factor| {
            hermite([[1.0], [5.0]], [[2.0], [-3.0]], &Span { key: 0, next: 1, seconds: 4.0, factor })[0]
        };
        let step = 1e-6;
        assert!((at(0.0) - 1.0).abs() < 1e-12 && (at(1.0) - 5.0).abs() < 1e-12);
        // Per second: the span takes four.
        assert!(((at(step) - at(0.0)) / (4.0 * step) - 2.0).abs() < 1e-4);
        assert!(((at(1.0) - at(1.0 - step)) / (4.0 * step) + 3.0).abs() < 1e-4);
    }

    proptest! {
        #[test]
        fn a_rotation_between_two_is_finite_and_nearly_unit(
            from in prop::array::uniform4(-1.0..1.0_f64), to in prop::array::uniform4(-1.0..1.0_f64), factor in 0.0..=1.0,
        ) {
            let between = slerp(from, to, factor);
            let length: f64 = between.iter().map(|value| value * value).sum();
            prop_assert!((length - 1.0).abs() < 1e-6, "{between:?}");
        }
    }
}
