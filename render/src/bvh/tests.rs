//! Every layout against trying all triangles, on scenes made to be awkward.

use proptest::prelude::*;

use super::{
    Aabb, FAR_FACTOR, Hit,
    build::{Tree, build},
    pair::{LEAF, PairBvh},
    wide::{Facing, Solid, Stack, Visit, WideBvh},
};
use crate::{
    math::{Vec3, normalize, safe_reciprocal, vec3},
    ray::{Corners, Ray},
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

/// Smallest t, then lowest index.
fn brute_force(triangles: &[Corners], ray: &Ray) -> Hit {
    let mut best = Hit::nothing(f32::INFINITY);
    for (index, corners) in triangles.iter().enumerate() {
        if let Some(hit) = corners.intersect(ray, true)
            && hit.t < best.t
        {
            best = Hit { t: hit.t, primitive: index as u32, ..best };
        }
    }
    best
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
    while let Some((code, near)) = stack.pop() {
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
            if let Some(hit) = triangles[*primitive as usize].intersect(ray, true)
                && hit.t * FAR_FACTOR >= near
                && (hit.t < best.t || (hit.t == best.t && *primitive < best.primitive))
            {
                best = Hit { t: hit.t, primitive: *primitive, ..best };
            }
        }
    }
    best
}

fn check(triangles: &[Corners], rays: &[Ray]) {
    let tree = build(&boxes(triangles));
    let both_sides = |_| Facing { double_sided: true, filtered: false };
    let (wide, pairs) = (WideBvh::new(&tree, triangles, &both_sides), PairBvh::new(&tree));
    let visit = Visit { instance: 0, near: 0.0, base: 0 };
    let any = |ray: &Ray, t_max: f32, stack: &mut Stack| {
        wide.trace::<true>(ray, visit, &Solid, &mut Hit::nothing(t_max), stack)
    };
    let mut stack = Stack::default();
    for ray in rays {
        let expected = brute_force(triangles, ray);
        let mut found = Hit::nothing(1e30);
        wide.trace::<false>(ray, visit, &Solid, &mut found, &mut stack);
        let found_in_pairs = closest_in_pairs(&pairs, triangles, ray);
        assert_eq!(found.primitive, expected.primitive, "8-wide, {ray:?}");
        assert_eq!(found_in_pairs.primitive, expected.primitive, "2-wide, {ray:?}");
        assert_eq!(any(ray, 1e30, &mut stack), expected.is_some());
        if expected.is_some() {
            assert_eq!(
                (found.t.to_bits(), found_in_pairs.t.to_bits()),
                (expected.t.to_bits(), expected.t.to_bits())
            );
            assert!(!any(ray, expected.t, &mut stack) || brute_force_before(triangles, ray, expected.t));
        }
    }
}

fn brute_force_before(triangles: &[Corners], ray: &Ray, t_max: f32) -> bool {
    triangles.iter().filter_map(|corners| corners.intersect(ray, true)).any(|hit| hit.t < t_max)
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
        rays in prop::collection::vec(ray(), 20),
    ) {
        check(&triangles, &rays);
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
