// Whether the device's own reciprocals and square roots are correctly rounded: all fractions are tried, each with some
// exponent within the range that math.rs promises, and compared with the corrected ones.

// How many reciprocals, and how many roots, are not.
@group(0) @binding(0) var<storage, read_write> wrong: array<atomic<u32>, 2>;

const FRACTIONS = 0x800000u;

fn root_is_exact(a: f32) -> bool {
    return bitcast<u32>(device_root(a)) == bitcast<u32>(corrected_root(a));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    var wrong_reciprocals = 0u;
    var wrong_roots = 0u;
    for (var fraction = id.x; fraction < FRACTIONS; fraction = fraction + groups.x * 64u) {
        let exponent = 1u + (fraction * 0x9e3779b9u >> 16u) % 251u;
        let a = bitcast<f32>(exponent << 23u | fraction);
        let b = bitcast<f32>((exponent + 1u) << 23u | fraction);
        if (bitcast<u32>(device_reciprocal(a)) != bitcast<u32>(corrected_reciprocal(a))) {
            wrong_reciprocals = wrong_reciprocals + 1u;
        }
        // Roots depend on whether the exponent is even.
        if (!root_is_exact(a) || !root_is_exact(b)) {
            wrong_roots = wrong_roots + 1u;
        }
    }
    if (wrong_reciprocals != 0u) {
        atomicAdd(&wrong[0], wrong_reciprocals);
    }
    if (wrong_roots != 0u) {
        atomicAdd(&wrong[1], wrong_roots);
    }
}
