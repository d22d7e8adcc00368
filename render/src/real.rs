//! A real number, or several side by side: what the kernel's arithmetic is written for, once. With one lane it is an
//! `f32`; with eight, one instruction does the work of eight paths. Each lane has the bits that the single number has.

use std::{
    fmt::Debug,
    ops::{Add, BitAnd, BitOr, Mul, Neg, Not, Sub},
};

use fearless_simd::{Simd, f32x4, f32x8, i32x8, mask32x4, mask32x8, prelude::*, u32x8};

/// Most lanes of a [`Real`].
pub const MAX_LANES: usize = 8;

/// A real number in each lane.
#[allow(clippy::return_self_not_must_use, reason = "it is arithmetic")]
pub trait Real:
    Copy
    + Debug
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Neg<Output = Self>
    + Add<f32, Output = Self>
    + Sub<f32, Output = Self>
    + Mul<f32, Output = Self>
{
    /// How many lanes there are.
    const LANES: usize;
    /// The instructions that it takes.
    type Token: Copy;
    /// Yes or no in each lane.
    type Mask: Copy + BitAnd<Output = Self::Mask> + BitOr<Output = Self::Mask> + Not<Output = Self::Mask>;

    /// The same number in each lane.
    fn splat(token: Self::Token, value: f32) -> Self;
    /// A number for each lane.
    fn from_lanes(token: Self::Token, value: impl FnMut(usize) -> f32) -> Self;
    /// The instructions that it takes.
    fn token(self) -> Self::Token;
    /// The number in a lane.
    fn lane(self, lane: usize) -> f32;
    /// 1 over it, correctly rounded.
    fn inverse(self) -> Self;
    /// Its square root, correctly rounded; of no meaning where it is negative.
    fn root(self) -> Self;
    /// The largest integer that is not larger.
    fn floor(self) -> Self;
    /// The larger of two; the second one if they are equal.
    fn larger(self, other: Self) -> Self;
    /// The smaller of two; the second one if they are equal.
    fn smaller(self, other: Self) -> Self;
    /// Where it is less than another.
    fn lt(self, other: Self) -> Self::Mask;
    /// Where it is less than another, or equal.
    fn le(self, other: Self) -> Self::Mask;
    /// The first where the mask says so, elsewhere the second.
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self;
    /// Yes or no for each lane.
    fn mask(token: Self::Token, value: impl FnMut(usize) -> bool) -> Self::Mask;
    /// A bit for each lane.
    fn bits(mask: Self::Mask) -> u32;
    /// Random numbers of a dimension, 0 or more, less than 1: of the path's key in each lane
    /// ([`crate::sample::random`]).
    fn random(token: Self::Token, keys: &[u32; MAX_LANES], dimension: u32) -> Self;

    /// The same number in each lane.
    #[inline(always)]
    fn same(self, value: f32) -> Self {
        Self::splat(self.token(), value)
    }

    /// Where it is more than a number.
    #[inline(always)]
    fn above(self, limit: f32) -> Self::Mask {
        self.same(limit).lt(self)
    }

    /// Where it is less than a number.
    #[inline(always)]
    fn below(self, limit: f32) -> Self::Mask {
        self.lt(self.same(limit))
    }

    /// At least so much.
    #[inline(always)]
    fn at_least(self, limit: f32) -> Self {
        self.larger(self.same(limit))
    }

    /// At most so much.
    #[inline(always)]
    fn at_most(self, limit: f32) -> Self {
        self.smaller(self.same(limit))
    }

    /// 1 less it.
    #[inline(always)]
    fn complement(self) -> Self {
        self.same(1.0) - self
    }

    /// Whether a mask says yes anywhere.
    #[inline(always)]
    fn any(mask: Self::Mask) -> bool {
        Self::bits(mask) != 0
    }

    /// Whether a mask says yes everywhere.
    #[inline(always)]
    fn all(mask: Self::Mask) -> bool {
        !Self::any(!mask)
    }

    /// What a mask says of a lane.
    #[inline(always)]
    fn holds(mask: Self::Mask, lane: usize) -> bool {
        Self::bits(mask) >> lane & 1 != 0
    }
}

/// A closure that is inlined always: only then are its instructions those of the function that calls it.
macro_rules! always {
    ($($closure:tt)*) => {
        $crate::real::inlined(#[inline(always)] $($closure)*)
    };
}
pub(crate) use always;

/// The closure itself: an argument can be marked to be inlined, what `let` names cannot.
#[inline(always)]
pub const fn inlined<F>(closure: F) -> F {
    closure
}

impl Real for f32 {
    const LANES: usize = 1;
    type Token = ();
    type Mask = bool;

    #[inline(always)]
    fn splat((): (), value: f32) -> Self {
        value
    }

    #[inline(always)]
    fn from_lanes((): (), mut value: impl FnMut(usize) -> f32) -> Self {
        value(0)
    }

    #[inline(always)]
    fn token(self) {}

    #[inline(always)]
    fn lane(self, _lane: usize) -> f32 {
        self
    }

    #[inline(always)]
    fn inverse(self) -> Self {
        1.0 / self
    }

    #[inline(always)]
    fn root(self) -> Self {
        self.sqrt()
    }

    #[inline(always)]
    fn floor(self) -> Self {
        self.floor()
    }

    #[inline(always)]
    fn larger(self, other: Self) -> Self {
        if self > other { self } else { other }
    }

    #[inline(always)]
    fn smaller(self, other: Self) -> Self {
        if self < other { self } else { other }
    }

    #[inline(always)]
    fn lt(self, other: Self) -> bool {
        self < other
    }

    #[inline(always)]
    fn le(self, other: Self) -> bool {
        self <= other
    }

    #[inline(always)]
    fn select(mask: bool, yes: Self, no: Self) -> Self {
        if mask { yes } else { no }
    }

    #[inline(always)]
    fn mask((): (), mut value: impl FnMut(usize) -> bool) -> bool {
        value(0)
    }

    #[inline(always)]
    fn bits(mask: bool) -> u32 {
        u32::from(mask)
    }

    #[inline(always)]
    fn random((): (), keys: &[u32; MAX_LANES], dimension: u32) -> Self {
        crate::sample::random(keys[0], dimension)
    }
}

/// What several lanes of a width have in common.
macro_rules! lanes {
    ($real:ident, $mask:ident, $lanes:literal, $random:expr) => {
        impl<S: Simd> Real for $real<S> {
            const LANES: usize = $lanes;
            type Token = S;
            type Mask = $mask<S>;

            #[inline(always)]
            fn splat(token: S, value: f32) -> Self {
                <Self as SimdFrom<f32, S>>::simd_from(token, value)
            }

            #[inline(always)]
            fn from_lanes(token: S, mut value: impl FnMut(usize) -> f32) -> Self {
                let mut lanes = [0.0; $lanes];
                for (lane, number) in lanes.iter_mut().enumerate() {
                    *number = value(lane);
                }
                Self::simd_from(token, lanes)
            }

            #[inline(always)]
            fn token(self) -> S {
                self.simd
            }

            #[inline(always)]
            fn lane(self, lane: usize) -> f32 {
                self[lane]
            }

            #[inline(always)]
            fn inverse(self) -> Self {
                <Self as Real>::splat(self.simd, 1.0) / self
            }

            #[inline(always)]
            fn root(self) -> Self {
                SimdFloat::sqrt(self)
            }

            #[inline(always)]
            fn floor(self) -> Self {
                SimdFloat::floor(self)
            }

            #[inline(always)]
            fn larger(self, other: Self) -> Self {
                SimdBase::max(self, other)
            }

            #[inline(always)]
            fn smaller(self, other: Self) -> Self {
                SimdBase::min(self, other)
            }

            #[inline(always)]
            fn lt(self, other: Self) -> $mask<S> {
                self.simd_lt(other)
            }

            #[inline(always)]
            fn le(self, other: Self) -> $mask<S> {
                self.simd_le(other)
            }

            #[inline(always)]
            fn select(mask: $mask<S>, yes: Self, no: Self) -> Self {
                Select::select(mask, yes, no)
            }

            #[inline(always)]
            fn mask(token: S, mut value: impl FnMut(usize) -> bool) -> $mask<S> {
                let mut bits = 0;
                for lane in 0..$lanes {
                    bits |= u64::from(value(lane)) << lane;
                }
                $mask::from_bitmask(token, bits)
            }

            #[inline(always)]
            fn bits(mask: $mask<S>) -> u32 {
                mask.to_bitmask() as u32
            }

            #[inline(always)]
            fn random(token: S, keys: &[u32; MAX_LANES], dimension: u32) -> Self {
                $random(token, keys, dimension)
            }
        }
    };
}

lanes!(f32x4, mask32x4, 4, |token, keys: &[u32; MAX_LANES], dimension| {
    f32x4::from_lanes(token, |lane| keys.get(lane).map_or(0.0, |key| crate::sample::random(*key, dimension)))
});
lanes!(f32x8, mask32x8, 8, random_of_eight);

/// [`crate::sample::random`], eight at a time, operation by operation.
#[inline(always)]
fn random_of_eight<S: Simd>(simd: S, keys: &[u32; MAX_LANES], dimension: u32) -> f32x8<S> {
    let key = u32x8::from_slice(simd, keys);
    let word = key + dimension.wrapping_mul(crate::sample::DIMENSION_STEP);
    let state = word * crate::sample::HASH_FACTOR + crate::sample::HASH_STEP;
    let word = (simd.shrv_u32x8(state, (state >> 28) + 4) ^ state) * crate::sample::HASH_MIX;
    let word = (word >> 22) ^ word;
    // 24 bits are as well a signed number.
    let whole: i32x8<S> = (word >> 8).bitcast();
    let real: f32x8<S> = whole.to_float();
    real * crate::sample::RANDOM_STEP
}

#[cfg(test)]
mod tests {
    use fearless_simd::Level;

    use super::*;
    use crate::{sample::random, simd::with_level};

    #[test]
    fn eight_random_numbers_are_those_of_eight_keys() {
        let keys: [u32; 8] = std::array::from_fn(|lane| (lane as u32).wrapping_mul(0x9137_a5c3) ^ 0x4d);
        for level in crate::simd::levels() {
            for dimension in [0, 1, 9, 77, u32::MAX] {
                let lanes: [f32; 8] = with_level!(level, simd => {
                    let numbers = f32x8::random(simd, &keys, dimension);
                    std::array::from_fn(|lane| numbers.lane(lane))
                });
                assert_eq!(lanes, keys.map(|key| random(key, dimension)));
            }
        }
    }

    const A: [f32; 8] = [0.3, -7.25, 1e-20, 5.0, 3.0, -0.0, 0.0, 2.5];
    const B: [f32; 8] = [9.0, 2.0, 3.0, 5.0, 1e-9, 0.0, -0.0, 4.0];

    /// Everything that a lane can do, as bits.
    fn all<R: Real>(a: R, b: R) -> ([R; 10], [u32; 6]) {
        let chosen = R::select(a.lt(b), a, b);
        let other = R::select(b.le(a), a.complement(), b);
        let (less, equal) = (a.lt(b), a.le(b) & b.le(a));
        let masks = [less, equal, less | equal, !less & equal, !equal, a.above(1.0)].map(R::bits);
        let reals =
            [a + b, a - b, a * b, a.inverse(), b.root(), a.floor(), a.larger(b), a.smaller(b), chosen, other];
        (reals, masks)
    }

    fn compare(from: usize, lanes: usize, reals: &[[f32; 8]; 10], masks: [u32; 6], level: Level) {
        for lane in 0..lanes {
            let (single, bits) = all(A[from + lane], B[from + lane]);
            assert_eq!(
                reals.map(|real| real[lane].to_bits()),
                single.map(f32::to_bits),
                "{level:?}, lane {lane} of {lanes} from {from}"
            );
            assert_eq!(masks.map(|mask| mask >> lane & 1), bits.map(|bit| bit & 1), "{level:?}, lane {lane}");
        }
    }

    #[test]
    fn lanes_compute_what_single_numbers_do() {
        for level in crate::simd::levels() {
            let (reals, masks) = with_level!(level, simd => {
                let of = |values: [f32; 8]| f32x8::from_lanes(simd, |lane| values[lane]);
                let (reals, masks) = all(of(A), of(B));
                (reals.map(|real| std::array::from_fn(|lane| real.lane(lane))), masks)
            });
            compare(0, 8, &reals, masks, level);
            for from in [0, 4] {
                let (reals, masks) = with_level!(level, simd => {
                    let of = |values: [f32; 8]| f32x4::from_lanes(simd, |lane| values[from + lane]);
                    let (reals, masks) = all(of(A), of(B));
                    let padded = |real: f32x4<_>| std::array::from_fn(|lane| if lane < 4 { real.lane(lane) } else { 0.0 });
                    (reals.map(padded), masks)
                });
                compare(from, 4, &reals, masks, level);
            }
        }
    }
}
