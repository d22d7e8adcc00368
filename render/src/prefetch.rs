//! Asks for memory ahead of its use, where the processor can be asked.

#![allow(unsafe_code, reason = "the instruction is only to be had through an unsafe intrinsic")]

/// Bytes that come together.
const LINE_BYTES: usize = 64;

/// Asks for all of a value.
#[inline(always)]
pub fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let first = std::ptr::from_ref(value).cast::<i8>();
        let mut offset = 0;
        while offset < size_of::<T>() {
            // SAFETY: asking for memory never faults, whatever the address, and this one lies inside of `value`.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(first.wrapping_add(offset)) };
            offset += LINE_BYTES;
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (value, LINE_BYTES);
}
