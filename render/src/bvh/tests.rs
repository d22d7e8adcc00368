//! Every layout against trying all triangles, on scenes made to be awkward.

use proptest::prelude::*;

use super::{
    Aabb, FAR_FACTOR, Hit,
    build::{Tree, build},
    pack::Facing,
    pair::{LEAF, PairBvh},
    reinsert::improved,
    walk::{Forest, Placement, Rays, Solid, Stack},
    wide::WideBvh,
};
use crate::{
    math::{Vec3, normalize, safe_reciprocal, vec3},
    ray::{Corners, Ray},
    scene::Affine,
    simd::{levels, with_level},
};

/// Larger than rounding at the coordinates of these scenes, as in the prepared scene.
const MARGIN: f32 = 1e-5;

fn boxes(triangles: &[Corners]) -> Vec<Aabb> {
    let points = |t: &Corners| [t.corner, t.corner + t.edge1, t.corner + t.edge2].map(Vec3::to_array);
    triangles
        .iter()
        .map(|t| points(t).into_iter().fold(Aabb::EMPTY, Aabb::with_point).grown(MARGIN))
        .collect()
}

/// Smallest t, then lowest index; none before its own box.
fn brute_force(triangles: &[Corners], ray: &Ray) -> Hit {
    let mut best = Hit::nothing(f32::INFINITY);
    for (index, corners) in triangles.iter().enumerate() {
        if let Some(t) = hit_in_box(corners, ray)
            && t < best.t
        {
            best = Hit { t, primitive: index as u32, ..best };
        }
    }
    best
}

fn hit_in_box(corners: &Corners, ray: &Ray) -> Option<f32> {
    let t = corners.hit(ray, true)?.t;
    let bounds = corners.bounds().grown(MARGIN);
    box_distance(bounds.low, bounds.high, ray, t).map(|_| t)
}

/// Distance to a box, as bvh.wgsl computes it.
fn box_distance(low: [f32; 3], high: [f32; 3], ray: &Ray, t_max: f32) -> Option<f32> {
    let (origin, direction) = (ray.origin.to_array(), ray.direction.to_array());
    let (mut near, mut far) = (0.0_f32, t_max);
    for axis in 0..3 {
        let inverse = safe_reciprocal(direction[axis]);
        let sides = [(low[axis] - origin[axis]) * inverse, (high[axis] - origin[axis]) * inverse];
        let first = usize::from(direction[axis] < 0.0);
        near = near.max(sides[first]);
        far = far.min(sides[1 - first]);
    }
    (near <= far * FAR_FACTOR).then_some(near)
}

/// The GPU's tree, visited in another order than any kernel does: depth first, the second child first.
fn closest_in_pairs(bvh: &PairBvh, triangles: &[Corners], ray: &Ray) -> Hit {
    let mut best = Hit::nothing(1e30);
    let mut stack = vec![(0_u32, 0.0_f32)];
    while let Some((code, _)) = stack.pop() {
        if code & LEAF == 0 {
            let node = &bvh.nodes[code as usize];
            for (low, high, code) in
                [(node.low0, node.high0, node.code0), (node.low1, node.high1, node.code1)]
            {
                stack.extend(box_distance(low, high, ray, best.t).map(|near| (code, near)));
            }
            continue;
        }
        let (first, count) = ((code & 0x07ff_ffff) as usize, (code >> 27 & 15) as usize);
        for primitive in &bvh.order[first..first + count] {
            if let Some(t) = hit_in_box(&triangles[*primitive as usize], ray)
                && (t < best.t || (t == best.t && *primitive < best.primitive))
            {
                best = Hit { t, primitive: *primitive, ..best };
            }
        }
    }
    best
}

fn forest(tree: &Tree, triangles: &[Corners]) -> Forest {
    let both_sides = |_| Facing { double_sided: true, filtered: false };
    let only = Placement {
        to_mesh: Affine::IDENTITY,
        at_origin: true,
        bounds: *tree.bounds(),
        root: 0,
        margin: MARGIN,
    };
    Forest { trees: WideBvh::new(tree, triangles, &both_sides), placements: vec![only], alone: true }
}

fn check(triangles: &[Corners], rays: &[Ray]) {
    let built = build(&boxes(triangles));
    check_tree(&built, triangles, rays);
    let areas_before = areas(&built);
    let better = improved(built);
    assert!(areas(&better) <= areas_before * 1.0001, "boxes do not grow");
    let mut held = primitives(&better);
    held.sort_unstable();
    assert!(held.iter().copied().eq(0..triangles.len() as u32), "every triangle is there once");
    check_tree(&better, triangles, rays);
}

/// Of all boxes together.
fn areas(tree: &Tree) -> f32 {
    let below = match tree {
        Tree::Leaf { .. } => 0.0,
        Tree::Inner { children, .. } => children.iter().map(areas).sum(),
    };
    tree.bounds().half_area() + below
}

/// Indices of the triangles, each of which lies in all the boxes above it.
fn primitives(tree: &Tree) -> Vec<u32> {
    match tree {
        Tree::Leaf { primitives, .. } => primitives.clone(),
        Tree::Inner { bounds, children } => {
            assert!(children.iter().all(|child| bounds.union(child.bounds()) == *bounds));
            children.iter().flat_map(primitives).collect()
        }
    }
}

fn check_tree(tree: &Tree, triangles: &[Corners], rays: &[Ray]) {
    let (forest, pairs) = (forest(tree, triangles), PairBvh::new(tree));
    let mut stack = Stack::default();
    let mut any = |ray: &Ray, t_max: f32| forest.any_solid(ray, t_max, &mut stack);
    let expected: Vec<Hit> = rays.iter().map(|ray| brute_force(triangles, ray)).collect();
    for (ray, expected) in rays.iter().zip(&expected) {
        let found = closest_in_pairs(&pairs, triangles, ray);
        assert_eq!(found.primitive, expected.primitive, "2-wide, {ray:?}");
        assert_eq!(any(ray, 1e30), expected.is_some());
        if expected.is_some() {
            assert_eq!(found.t.to_bits(), expected.t.to_bits());
            assert!(!any(ray, expected.t), "the reach is not part of the way");
            assert!(any(ray, expected.t.next_up()));
        }
    }
    for level in levels() {
        // One by one, and as many as there are in packets.
        for coherent in [false, true] {
            let mut hits = vec![Hit::nothing(1e30); rays.len()];
            let (batch, mut stack) = (Rays { rays, hits: &mut hits, coherent }, Stack::default());
            with_level!(level, simd => forest.closest(simd, batch, &Solid, &mut stack));
            for (ray, (found, expected)) in rays.iter().zip(hits.iter().zip(&expected)) {
                assert_eq!(found.primitive, expected.primitive, "{level:?}, {coherent}, {ray:?}");
                assert!(
                    !expected.is_some() || found.t.to_bits() == expected.t.to_bits(),
                    "{level:?}, {ray:?}"
                );
            }
        }
    }
}

/// Corners on a small grid: many are shared, coplanar, equal, or degenerate, and rays run along them.
fn on_grid() -> impl Strategy<Value = Vec3> {
    [-3_i8..=3, -3_i8..=3, -3_i8..=3].prop_map(|[x, y, z]| vec3(f32::from(x), f32::from(y), f32::from(z)))
}

fn anywhere() -> impl Strategy<Value = Vec3> {
    [-4.0_f32..4.0, -4.0_f32..4.0, -4.0_f32..4.0].prop_map(Vec3::from)
}

fn triangle() -> impl Strategy<Value = Corners> {
    let corners = |point: BoxedStrategy<Vec3>| (point.clone(), point.clone(), point);
    prop_oneof![corners(on_grid().boxed()), corners(anywhere().boxed())].prop_map(|(a, b, c)| Corners {
        corner: a,
        edge1: b - a,
        edge2: c - a,
    })
}

fn ray() -> impl Strategy<Value = Ray> {
    let origin = prop_oneof![on_grid(), anywhere()];
    let direction = prop_oneof![on_grid(), anywhere()];
    (origin, direction).prop_map(|(origin, direction)| Ray { origin, direction: normalize(direction) })
}

proptest! {
    #[test]
    fn every_layout_finds_what_trying_all_triangles_finds(
        triangles in prop::collection::vec(triangle(), 1..200),
        rays in prop::collection::vec(ray(), 36),
    ) {
        check(&triangles, &rays);
        // Of one octant, so that packets stay together.
        let turned = |ray: &Ray| {
            let Vec3 { x, y, z } = ray.direction;
            Ray { direction: vec3(x.abs(), y.abs(), z.abs()), ..*ray }
        };
        check(&triangles, &rays.iter().map(turned).collect::<Vec<_>>());
    }
}

#[test]
fn equal_triangles_are_told_apart_by_their_order() {
    let one = Corners { corner: Vec3::ZERO, edge1: vec3(1.0, 0.0, 0.0), edge2: vec3(0.0, 1.0, 0.0) };
    let ray = Ray { origin: vec3(0.2, 0.2, 5.0), direction: vec3(0.0, 0.0, -1.0) };
    let triangles = vec![one; 1000];
    assert_eq!(brute_force(&triangles, &ray).primitive, 0);
    check(&triangles, &[ray]);
}

#[test]
fn tree_does_not_depend_on_the_number_of_threads() {
    let random = |index: u32| crate::sample::random(5, index) * 100.0;
    let triangles: Vec<Corners> = (0..20_000)
        .map(|index| Corners {
            corner: vec3(random(index * 9), random(index * 9 + 1), random(index * 9 + 2)),
            edge1: vec3(random(index * 9 + 3), 0.1, 0.2) * 0.01,
            edge2: vec3(0.3, random(index * 9 + 4), 0.1) * 0.01,
        })
        .collect();
    let boxes = boxes(&triangles);
    let with_threads = |threads| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| build(&boxes))
    };
    assert!(same(&with_threads(1), &with_threads(4)));
}

fn same(a: &Tree, b: &Tree) -> bool {
    match (a, b) {
        (Tree::Leaf { primitives: a, .. }, Tree::Leaf { primitives: b, .. }) => a == b,
        (Tree::Inner { children: a, .. }, Tree::Inner { children: b, .. }) => {
            same(&a[0], &b[0]) && same(&a[1], &b[1])
        }
        _ => false,
    }
}
