//! WGSL to SPIR-V with contraction forbidden.
//!
//! A driver may fuse `a * b + c` into one operation with one rounding instead of two, and then pixels differ between
//! devices. SPIR-V forbids it with the decoration `NoContraction` (SPIR-V specification, section 3.20) on every
//! floating-point operation. WGSL has no word for it and naga never writes it, so it is added here.

use naga::{
    back::spv,
    front::wgsl,
    valid::{Capabilities, ValidationFlags, Validator},
};

/// Opcodes of the operations that may be contracted: `FNegate`, `FAdd`, `FSub`, `FMul`, `FDiv`,
/// `VectorTimesScalar`, `Dot`.
const CONTRACTIBLE: [u32; 7] = [127, 129, 131, 133, 136, 142, 148];
/// Opcode of `OpDecorate`, and its length in words without operands.
const DECORATE: u32 = (3 << 16) | 0x47;
/// The decoration.
const NO_CONTRACTION: u32 = 42;
/// Words before the first instruction.
const HEADER_WORDS: usize = 5;
/// Opcodes of type declarations, which follow the decorations (SPIR-V specification, section 2.4).
const TYPES: std::ops::RangeInclusive<u32> = 19..=39;

/// Why the kernel's source gave no SPIR-V. The source is a constant: only a change of the compiler can cause this.
#[derive(Debug, thiserror::Error)]
#[error("the GPU kernel does not compile: {0}")]
pub struct CompileError(String);

/// Compiles a compute kernel whose buffers are these bindings of group 0.
pub fn compile(source: &str, bindings: &[u32]) -> Result<Vec<u32>, CompileError> {
    let module = wgsl::parse_str(source).map_err(|error| CompileError(error.emit_to_string(source)))?;
    let info = Validator::new(ValidationFlags::all(), Capabilities::empty())
        .validate(&module)
        .map_err(|error| CompileError(error.emit_to_string(source)))?;
    let mut options =
        spv::Options { lang_version: (1, 3), force_loop_bounding: false, ..spv::Options::default() };
    // Vulkan sees them without gaps: so wgpu lays them out.
    let mut ordered = bindings.to_vec();
    ordered.sort_unstable();
    for (place, binding) in (0..).zip(ordered) {
        options.binding_map.insert(
            naga::ResourceBinding { group: 0, binding },
            spv::BindingInfo { descriptor_set: 0, binding: place, binding_array_size: None },
        );
    }
    let words =
        spv::write_vec(&module, &info, &options, None).map_err(|error| CompileError(error.to_string()))?;
    Ok(forbid_contraction(&words))
}

fn forbid_contraction(words: &[u32]) -> Vec<u32> {
    let (mut at, mut results, mut first_type) = (HEADER_WORDS, Vec::new(), None);
    while let Some(word) = words.get(at) {
        let (opcode, length) = (word & 0xffff, (word >> 16).max(1) as usize);
        if first_type.is_none() && TYPES.contains(&opcode) {
            first_type = Some(at);
        }
        // The operands of all of these are: result type, result, values.
        if CONTRACTIBLE.contains(&opcode)
            && let Some(result) = words.get(at + 2)
        {
            results.push(*result);
        }
        at += length;
    }
    let (head, tail) = words.split_at(first_type.unwrap_or(words.len()));
    let decorations = results.iter().flat_map(|result| [DECORATE, *result, NO_CONTRACTION]);
    head.iter().copied().chain(decorations).chain(tail.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_float_operation_is_decorated() {
        let source = "@group(0) @binding(0) var<storage, read_write> a: array<f32>;
            @compute @workgroup_size(1) fn main() { a[0] = a[1] * a[2] + a[3] / a[4] - a[5]; }";
        let words = compile(source, &[0]).unwrap();
        let decorations = words.windows(3).filter(|three| three[0] == DECORATE && three[2] == NO_CONTRACTION);
        assert_eq!(decorations.count(), 4);
    }
}
