//! Arrays of a scene that can be larger than what a device binds at once: they are cut into parts, each with a binding
//! of its own, and read through functions that know the part of an index.

use crate::backend::RenderError;

/// Parts of an array at most.
const MAX_PARTS: u64 = 4;
/// Bindings of the second parts and those beyond: three for each array, from here on.
const FIRST_EXTRA_BINDING: u32 = 12;
/// Arrays that can be cut.
pub const ARRAYS: usize = 5;

/// An array that can be cut.
struct Array {
    name: &'static str,
    element: &'static str,
    element_bytes: u64,
    accessor: &'static str,
    binding: u32,
}

const fn array(
    name: &'static str,
    element: &'static str,
    element_bytes: u64,
    accessor: &'static str,
    binding: u32,
) -> Array {
    Array { name, element, element_bytes, accessor, binding }
}

/// As scene.wgsl declares the elements.
const DECLARED: [Array; ARRAYS] = [
    array("nodes", "Node", 64, "node_at", 1),
    array("triangles", "Corners", 48, "corners_at", 2),
    array("shaded", "ShadedTriangle", 32, "shaded_at", 3),
    array("attributes", "f32", 4, "attribute_at", 4),
    array("words", "u32", 4, "word_at", 9),
];

/// How the arrays of a scene are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Parts {
    /// Of each array.
    counts: [u32; ARRAYS],
    /// A part of each array has 2 to the power of this elements.
    shifts: [u32; ARRAYS],
}

impl Parts {
    /// For arrays of these sizes in bytes, on a device that allows so many in a buffer.
    pub fn of(bytes: [u64; ARRAYS], allowed_bytes: u64) -> Result<Self, RenderError> {
        let mut parts = Self { counts: [1; ARRAYS], shifts: [0; ARRAYS] };
        for (index, (array, bytes)) in DECLARED.iter().zip(bytes).enumerate() {
            let shift = (allowed_bytes / array.element_bytes).max(1).ilog2().min(31);
            let fits = bytes <= allowed_bytes;
            let count = if fits { 1 } else { bytes.div_ceil(array.element_bytes << shift) };
            if count > MAX_PARTS {
                let allowed = (array.element_bytes << shift) * MAX_PARTS;
                return Err(RenderError::TooLarge {
                    needed_mib: bytes.div_ceil(1 << 20),
                    allowed_mib: allowed >> 20,
                });
            }
            parts.counts[index] = count as u32;
            // Of no meaning, and not to be a reason for another kernel, where nothing is cut.
            parts.shifts[index] = if count > 1 { shift } else { 0 };
        }
        Ok(parts)
    }

    /// The parts of one array, each with its binding.
    pub fn cut<'a>(&self, index: usize, data: &'a [u8]) -> Vec<(u32, &'a [u8])> {
        let bytes = match self.counts[index] {
            1 => data.len().max(1),
            _ => (DECLARED[index].element_bytes << self.shifts[index]) as usize,
        };
        let parts = if data.is_empty() { vec![data] } else { data.chunks(bytes).collect() };
        (0..).zip(parts).map(|(part, data)| (binding(index, part), data)).collect()
    }

    /// The declarations of the arrays, and the functions that read them.
    pub fn declarations(&self) -> String {
        (0..ARRAYS).map(|index| self.declared(index)).collect()
    }

    fn declared(&self, index: usize) -> String {
        let Array { name, element, accessor, .. } = &DECLARED[index];
        let (count, shift) = (self.counts[index], self.shifts[index]);
        let declaration = |part: u32| {
            let binding = binding(index, part);
            format!("@group(0) @binding({binding}) var<storage, read> {name}{part}_: array<{element}>;")
        };
        let mut lines: Vec<String> = (0..count).map(declaration).collect();
        lines.push(format!("fn {accessor}(index: u32) -> {element} {{"));
        if count == 1 {
            lines.push(format!("    return {name}0_[index];"));
        } else {
            lines.push(format!("    let within = index & {}u;", (1_u32 << shift) - 1));
            let later = 1..count;
            lines.extend(later.map(|part| {
                format!("    if (index >> {shift}u == {part}u) {{ return {name}{part}_[within]; }}")
            }));
            lines.push(format!("    return {name}0_[within];"));
        }
        lines.push("}\n".into());
        lines.join("\n")
    }
}

fn binding(index: usize, part: u32) -> u32 {
    match part {
        0 => DECLARED[index].binding,
        _ => FIRST_EXTRA_BINDING + index as u32 * (MAX_PARTS as u32 - 1) + part - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_hold_every_byte_once_under_different_bindings() {
        let data: Vec<u8> = (0..64 * 100).map(|byte| byte as u8).collect();
        let parts = Parts::of([data.len() as u64; ARRAYS], 4000).unwrap();
        let mut bindings = Vec::new();
        for index in 0..ARRAYS {
            let cut = parts.cut(index, &data);
            assert_eq!(cut.iter().flat_map(|(_, data)| *data).copied().collect::<Vec<u8>>(), data);
            assert!(cut.iter().all(|(_, data)| data.len() <= 4000));
            bindings.extend(cut.iter().map(|(binding, _)| *binding));
        }
        let all = bindings.len();
        bindings.sort_unstable();
        bindings.dedup();
        assert_eq!((bindings.len(), bindings.iter().any(|binding| (5..9).contains(binding))), (all, false));
    }

    #[test]
    fn what_fits_is_not_cut_and_what_never_fits_is_refused() {
        let whole = Parts::of([4000; ARRAYS], 4000).unwrap();
        assert_eq!(whole, Parts::of([64; ARRAYS], 1 << 27).unwrap(), "one kernel for both");
        assert!(Parts::of([0; ARRAYS], 4000).unwrap().cut(0, &[]).len() == 1);
        assert!(matches!(
            Parts::of([0, 0, 0, 1 << 30, 0], 1 << 27),
            Err(RenderError::TooLarge { needed_mib: 1024, allowed_mib: 512 })
        ));
    }
}
