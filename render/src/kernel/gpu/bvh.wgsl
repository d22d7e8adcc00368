// The twin of ray.rs and of what bvh/walk.rs finds: another layout, the same hit.

const FAR_FACTOR = 1.0000007;
const LEAF = 0x80000000u;
const NONE = 0xffffffffu;

struct Ray {
    origin: vec3<f32>,
    direction: vec3<f32>,
}

// t is negative when there is no hit.
struct Barycentric {
    t: f32,
    u: f32,
    v: f32,
}

struct Hit {
    t: f32,
    instance: u32,
    primitive: u32,
}

// What waits to be visited, one entry for each level of a tree: first of the tree above the instances, from
// MESH_STACK on of a mesh's. No larger than it must be: software devices keep it in slow memory. Not a variable of the
// function that uses it: such a one would be set to zero for every ray.
var<private> stack_code: array<u32, STACK_ENTRIES>;
var<private> stack_near: array<f32, STACK_ENTRIES>;
var<private> best: Hit;

fn intersect(corners: Corners, ray: Ray, double_sided: bool) -> Barycentric {
    let edge1 = corners.edge1;
    let edge2 = corners.edge2;
    let p = cross3(ray.direction, edge2);
    let determinant = dot3(edge1, p);
    let turned = select(determinant, -determinant, double_sided);
    if (max(determinant, turned) < TINY) {
        return Barycentric(-1.0, 0.0, 0.0);
    }
    let s = ray.origin - corners.corner;
    let u_scaled = dot3(s, p);
    let q = cross3(s, edge1);
    let v_scaled = dot3(ray.direction, q);
    // Most triangles are missed by far more than rounding could make good: no need to divide, exactly, to see that.
    let size = abs(determinant);
    let side = select(1.0, -1.0, determinant < 0.0);
    if (min(u_scaled * side, v_scaled * side) < -1e-6 * size || (u_scaled + v_scaled) * side > 1.0001 * size) {
        return Barycentric(-1.0, 0.0, 0.0);
    }
    let inverse = reciprocal(determinant);
    let u = u_scaled * inverse;
    let v = v_scaled * inverse;
    let t = dot3(edge2, q) * inverse;
    if (u >= 0.0 && v >= 0.0 && u + v <= 1.0 && t > 0.0) {
        return Barycentric(t, u, v);
    }
    return Barycentric(-1.0, 0.0, 0.0);
}

// Distance to a box, or a negative number when it is missed.
fn box_distance(low: vec3<f32>, high: vec3<f32>, origin: vec3<f32>, inverse: vec3<f32>, negative: vec3<bool>, t_max: f32) -> f32 {
    let near3 = (select(low, high, negative) - origin) * inverse;
    let far3 = (select(high, low, negative) - origin) * inverse;
    let near = max(max(near3.x, near3.y), max(near3.z, 0.0));
    let far = min(min(far3.x, far3.y), min(far3.z, t_max));
    return select(-1.0, near, near <= far * FAR_FACTOR);
}

// Whether the hit found so far has to yield: to a nearer one, or to one as near and first in the scene's order.
fn yields_to(t: f32, instance: u32, primitive: u32) -> bool {
    if (t != best.t) {
        return t < best.t;
    }
    let first = instance < best.instance || (instance == best.instance && primitive < best.primitive);
    return best.primitive != NONE && first;
}

// Whether the ray enters a triangle's own box before the hit.
fn is_in_box(corners: Corners, margin: f32, ray: Ray, inverse: vec3<f32>, negative: vec3<bool>, t: f32) -> bool {
    let a = corners.corner;
    let b = a + corners.edge1;
    let c = a + corners.edge2;
    let low = min(min(a, b), c) - vec3<f32>(margin);
    let high = max(max(a, b), c) + vec3<f32>(margin);
    return box_distance(low, high, ray.origin, inverse, negative, t) >= 0.0;
}

fn leaf(code: u32, ray: Ray, inverse: vec3<f32>, negative: vec3<bool>, instance: u32, instance_near: f32, key: u32) -> bool {
    let margin = meshes[instances[instance].mesh].margin;
    let first = code & 0x07ffffffu;
    let count = (code >> 27u) & 15u;
    var found = false;
    for (var place = first; place < first + count; place = place + 1u) {
        let corners = corners_at(place);
        let hit = intersect(corners, ray, corners.double_sided != 0u);
        let primitive = corners.primitive;
        if (hit.t > 0.0 && hit.t * FAR_FACTOR >= instance_near && yields_to(hit.t, instance, primitive)) {
            if (!is_in_box(corners, margin, ray, inverse, negative, hit.t)) {
                continue;
            }
            if (!HAS_ALPHA || corners.filtered == 0u || counts(instance, primitive, hit.u, hit.v, key)) {
                best = Hit(hit.t, instance, primitive);
                found = true;
            }
        }
    }
    return found;
}

// Takes the next of what waits above the bottom off the stack, unless the hit found so far is nearer; NONE if no more does.
fn next_waiting(top: ptr<function, u32>) -> u32 {
    while (*top > MESH_STACK) {
        *top = *top - 1u;
        if (stack_near[*top] <= best.t * FAR_FACTOR) {
            return stack_code[*top];
        }
    }
    return NONE;
}

// Looks for a hit in a mesh; true if there was one and any is enough. First down to a leaf, then its triangles: so the
// threads that a GPU runs in step do the same more often.
fn trace_mesh(ray: Ray, instance: u32, instance_near: f32, any_hit: bool, key: u32) -> bool {
    let inverse = safe_reciprocal3(ray.direction);
    let negative = ray.direction < vec3<f32>(0.0);
    var top = MESH_STACK;
    var code = meshes[instances[instance].mesh].root;
    loop {
        // NONE looks like a leaf.
        while ((code & LEAF) == 0u) {
            let node = node_at(code);
            let d0 = box_distance(node.low0, node.high0, ray.origin, inverse, negative, best.t);
            let d1 = box_distance(node.low1, node.high1, ray.origin, inverse, negative, best.t);
            let swap = d1 < d0;
            if (min(d0, d1) >= 0.0) {
                stack_code[top] = select(node.code1, node.code0, swap);
                stack_near[top] = max(d0, d1);
                top = top + 1u;
                code = select(node.code0, node.code1, swap);
            } else if (max(d0, d1) >= 0.0) {
                code = select(node.code1, node.code0, swap);
            } else {
                code = next_waiting(&top);
            }
        }
        if (code == NONE) {
            return false;
        }
        if (leaf(code, ray, inverse, negative, instance, instance_near, key) && any_hit) {
            return true;
        }
        code = next_waiting(&top);
    }
    return false;
}

fn trace(ray: Ray, t_max: f32, any_hit: bool, key: u32) -> Hit {
    best = Hit(t_max, 0u, NONE);
    if (!HAS_INSTANCES) {
        trace_mesh(ray, 0u, 0.0, any_hit, key);
        return best;
    }
    let inverse = safe_reciprocal3(ray.direction);
    let negative = ray.direction < vec3<f32>(0.0);
    var top = 1u;
    stack_code[0] = 0u;
    stack_near[0] = 0.0;
    while (top > 0u) {
        top = top - 1u;
        let code = stack_code[top];
        let near = stack_near[top];
        if (near > best.t * FAR_FACTOR) {
            continue;
        }
        if ((code & LEAF) != 0u) {
            let instance = code & 0x7fffffffu;
            if (trace_mesh(inward(instance, ray), instance, near, any_hit, key)) {
                return best;
            }
            continue;
        }
        let node = node_at(code);
        let d0 = box_distance(node.low0, node.high0, ray.origin, inverse, negative, best.t);
        let d1 = box_distance(node.low1, node.high1, ray.origin, inverse, negative, best.t);
        let nearer_first = d1 < d0;
        let far_code = select(node.code1, node.code0, nearer_first);
        let near_code = select(node.code0, node.code1, nearer_first);
        if (max(d0, d1) >= 0.0) {
            stack_code[top] = far_code;
            stack_near[top] = max(d0, d1);
            top = top + 1u;
        }
        if (min(d0, d1) >= 0.0) {
            stack_code[top] = near_code;
            stack_near[top] = min(d0, d1);
            top = top + 1u;
        }
    }
    return best;
}
