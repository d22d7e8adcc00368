//! Holds the loader's estimate against the memory that sound scenes really take.

use p2c2r_render::{
    limit::SceneLimits,
    prepared::PreparedScene,
    scene::{
        generate::{SceneKind, generate},
        gltf::parse_package,
    },
};

use super::memory::{live_bytes, with_peak};

/// The estimate is for the worst that triangles can be; for ordinary ones it is not more than so many times too high.
const MOST_TOO_HIGH: u64 = 5;

/// No scene takes more than was estimated, not even while it is loaded, nor is the estimate out of all proportion.
pub fn check_generated() {
    for (kind, triangles) in [
        (SceneKind::Cornell, 12),
        (SceneKind::Cornell, 30_000),
        (SceneKind::Spheres, 1000),
        (SceneKind::Spheres, 60_000),
        (SceneKind::City, 50_000),
    ] {
        let package = generate(kind, 1, Some(triangles));
        let before = live_bytes();
        let ((prepared, estimate), peak) = with_peak(|| {
            let loaded = parse_package(&package, &SceneLimits::default()).unwrap();
            let estimate = loaded.memory.total_bytes();
            (PreparedScene::build(loaded.scene), estimate)
        });
        let (held, geometry) = ((live_bytes() - before) as u64, prepared.memory_bytes() as u64);
        prepared.pair_trees();
        let with_pairs = prepared.memory_bytes() as u64;
        let unique = prepared.unique_triangle_count() as u64;
        eprintln!(
            "{kind}, {unique} triangles: {} bytes each by its own count, {} with the GPU's trees, {} held, {} while \
             loading, {} estimated",
            geometry / unique,
            with_pairs / unique,
            held / unique,
            peak as u64 / unique,
            estimate / unique,
        );
        assert!(with_pairs <= estimate, "{kind}: {with_pairs} bytes, and {estimate} were estimated");
        assert!(
            held <= geometry + geometry / 50 + FIXED_BYTES,
            "{kind}: {held} bytes held, {geometry} by its own count"
        );
        assert!(
            peak as u64 <= estimate + FIXED_BYTES,
            "{kind}: {peak} bytes while loading, {estimate} estimated"
        );
        assert!(estimate <= MOST_TOO_HIGH * with_pairs, "{kind}: {estimate} estimated for {with_pairs}");
    }
}

/// Materials, cameras and names are not in the estimate.
const FIXED_BYTES: u64 = 64 << 10;
