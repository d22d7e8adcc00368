//! Whether a device divides and takes square roots exactly. Vulkan asks for 2.5 units in the last place only
//! ("Precision and Operation of SPIR-V Instructions"), most devices do better, and correcting every result costs
//! a part of the kernel's time to compile and of its speed: so each device is asked.

use super::device::{Gpu, KernelSource};
use crate::backend::RenderError;

/// The kernel that asks; math.wgsl goes in front of it.
const PROBE: &str = include_str!("probe.wgsl");
/// Workgroups of the probe: enough to fill a device, each thread tries 128.
const PROBE_GROUPS: u32 = 1024;

/// Which of the device's own operations are correctly rounded; the others are corrected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arithmetic {
    /// 1 / a.
    pub exact_reciprocal: bool,
    /// The square root.
    pub exact_root: bool,
}

impl Arithmetic {
    /// Everything is corrected.
    pub const CORRECTED: Self = Self { exact_reciprocal: false, exact_root: false };

    /// The constants of math.wgsl.
    pub fn constants(self) -> String {
        let Self { exact_reciprocal, exact_root } = self;
        format!("const EXACT_RECIPROCAL = {exact_reciprocal};\nconst EXACT_ROOT = {exact_root};\n")
    }

    /// Asks the device; `math` is math.wgsl.
    pub fn probe(gpu: &Gpu, math: &str) -> Result<Self, RenderError> {
        let layout = gpu.layout(&[0], 0)?;
        let text = Self::CORRECTED.constants() + math + PROBE;
        let pipeline =
            gpu.compile(&KernelSource { name: "probe", text: &text, workgroup: (64, 1, 1) }, &layout)?;
        let wrong = gpu.film(16)?;
        let unused = gpu.params(4)?;
        let bound = layout.bind(gpu, &[&wrong.written]);
        gpu.submit((&pipeline, &bound), (&unused, &[0; 4]), (PROBE_GROUPS, 1), None);
        let (exact, _) = gpu.read(&wrong, 8, None, |counts| {
            let exact = |count: Option<&[u8]>| count.is_some_and(|count| count == [0; 4]);
            (exact(counts.get(..4)), exact(counts.get(4..8)))
        })?;
        Ok(Self { exact_reciprocal: exact.0, exact_root: exact.1 })
    }
}

#[cfg(test)]
mod tests {
    /// The twin of `corrected_reciprocal`, on a device that is wrong by so many units in the last place.
    fn corrected_reciprocal(a: f32, error: i32) -> f32 {
        let bits = a.to_bits();
        let (exponent, fraction, sign) = (bits >> 23 & 255, bits & 0x7f_ffff, bits & 0x8000_0000);
        if fraction == 0 {
            return f32::from_bits(sign | (254 - exponent) << 23);
        }
        let m = (fraction | 0x80_0000).cast_signed();
        let estimate = off_by(1.0 / f32::from_bits(fraction | 0x3f80_0000), error);
        let mut q = (estimate * 16_777_216.0) as i32;
        let mut rest = m.wrapping_mul(q).wrapping_neg();
        let units = (rest as f32 * (estimate * 1.192_092_9e-7) + 0.5).floor() as i32;
        q += units;
        rest -= units * m;
        q += i32::from(2 * rest > m) - i32::from(2 * rest < -m);
        f32::from_bits(sign | (253 - exponent) << 23 | (q as u32 & 0x7f_ffff))
    }

    /// The twin of `corrected_root`.
    fn corrected_root(a: f32, error: i32) -> f32 {
        let (exponent, fraction) = (a.to_bits() >> 23, a.to_bits() & 0x7f_ffff);
        let odd = (exponent + 1) & 1;
        let estimate = off_by(f32::from_bits(fraction | (127 + odd) << 23).sqrt(), error);
        let mut q = (estimate * 8_388_608.0) as i32;
        let mut rest = ((fraction | 0x80_0000) << (23 + odd)).cast_signed().wrapping_sub(q.wrapping_mul(q));
        let units = (rest as f32 * off_by(1.0 / (2 * q) as f32, error) + 0.5).floor() as i32;
        rest -= units * (2 * q + units);
        q += units;
        q += i32::from(rest > q) - i32::from(rest <= -q);
        f32::from_bits(((exponent + 127) >> 1) << 23 | (q as u32 & 0x7f_ffff))
    }

    fn off_by(value: f32, units: i32) -> f32 {
        f32::from_bits(value.to_bits().wrapping_add_signed(units))
    }

    /// All fractions; the exponents only move the result's.
    #[test]
    fn corrected_results_are_correctly_rounded_however_wrong_the_device_may_be() {
        for fraction in 0..0x80_0000_u32 {
            let exponent = 1 + (fraction.wrapping_mul(0x9e37_79b9) >> 16) % 251;
            let sign = (fraction & 1) << 31;
            let a = f32::from_bits(sign | exponent << 23 | fraction);
            for error in [-3, -1, 0, 2, 3] {
                assert_eq!(corrected_reciprocal(a, error).to_bits(), (1.0 / a).to_bits(), "1 / {a:e}");
            }
            for exponent in [exponent, exponent + 1] {
                let a = f32::from_bits(exponent << 23 | fraction);
                for error in [-3, 0, 1, 3] {
                    assert_eq!(corrected_root(a, error).to_bits(), a.sqrt().to_bits(), "root of {a:e}");
                }
            }
        }
    }
}
