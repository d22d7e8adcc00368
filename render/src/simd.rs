//! The sets of instructions that the CPU kernel is compiled for. Which one is used is found out at run time; all give the
//! same bits.

use fearless_simd::Level;

/// Evaluates an expression with the instructions of a [`Level`]: on x86-64 AVX-512, AVX2 or the baseline. (The levels
/// between bring the kernel nothing and would each have it compiled once more.)
macro_rules! with_level {
    ($level:expr, $simd:ident => $run:expr) => {{
        let level: ::fearless_simd::Level = $level;
        #[cfg(target_arch = "x86_64")]
        {
            use ::fearless_simd::Simd as _;
            if let Some($simd) = level.as_avx512() {
                $simd.vectorize(#[inline(always)] || $run)
            } else if let Some($simd) = level.as_avx2() {
                $simd.vectorize(#[inline(always)] || $run)
            } else if let Some($simd) = level.as_sse2() {
                $simd.vectorize(#[inline(always)] || $run)
            } else {
                // Every x86-64 processor has SSE2.
                unreachable!()
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            ::fearless_simd::dispatch!(level, $simd => $run)
        }
    }};
}
pub(crate) use with_level;

/// Every set of instructions that this machine has and the kernel is compiled for, the best first.
pub fn levels() -> Vec<Level> {
    let best = Level::new();
    #[cfg(target_arch = "x86_64")]
    {
        use fearless_simd::Simd;
        let known = [
            best.as_avx512().map(Simd::level),
            best.as_avx2().map(Simd::level),
            best.as_sse2().map(Simd::level),
        ];
        known.into_iter().flatten().collect()
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        vec![best]
    }
}
