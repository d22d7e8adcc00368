// The twin of ray.rs and of what bvh/wide.rs finds: another layout, the same hit.

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
    primitive: u32,
}

fn intersect(place: u32, ray: Ray) -> Barycentric {
    let edge1 = triangles[place].edge1;
    let edge2 = triangles[place].edge2;
    let p = cross3(ray.direction, edge2);
    let determinant = dot3(edge1, p);
    if (abs(determinant) < TINY) {
        return Barycentric(-1.0, 0.0, 0.0);
    }
    let inverse = reciprocal(determinant);
    let s = ray.origin - triangles[place].corner;
    let u = dot3(s, p) * inverse;
    let q = cross3(s, edge1);
    let v = dot3(ray.direction, q) * inverse;
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

fn trace(ray: Ray, t_max: f32, any_hit: bool) -> Hit {
    let inverse = safe_reciprocal3(ray.direction);
    let negative = ray.direction < vec3<f32>(0.0);
    var best = Hit(t_max, NONE);
    var stack: array<u32, 64>;
    var stack_near: array<f32, 64>;
    var top = 0u;
    var code = 0u;
    var near = 0.0;
    loop {
        if ((code & LEAF) != 0u) {
            let first = code & 0x07ffffffu;
            let count = (code >> 27u) & 15u;
            for (var place = first; place < first + count; place = place + 1u) {
                let hit = intersect(place, ray);
                let primitive = triangles[place].primitive;
                let inside_box = hit.t * FAR_FACTOR >= near;
                if (hit.t > 0.0 && inside_box && (hit.t < best.t || (hit.t == best.t && best.primitive != NONE && primitive < best.primitive))) {
                    best = Hit(hit.t, primitive);
                    if (any_hit) {
                        return best;
                    }
                }
            }
        } else {
            let d0 = box_distance(nodes[code].low0, nodes[code].high0, ray.origin, inverse, negative, best.t);
            let d1 = box_distance(nodes[code].low1, nodes[code].high1, ray.origin, inverse, negative, best.t);
            let code0 = nodes[code].code0;
            let code1 = nodes[code].code1;
            if (d0 >= 0.0 && d1 >= 0.0) {
                let swap = d1 < d0;
                stack[top] = select(code1, code0, swap);
                stack_near[top] = max(d0, d1);
                top = top + 1u;
                code = select(code0, code1, swap);
                near = min(d0, d1);
                continue;
            }
            if (d0 >= 0.0) {
                code = code0;
                near = d0;
                continue;
            }
            if (d1 >= 0.0) {
                code = code1;
                near = d1;
                continue;
            }
        }
        loop {
            if (top == 0u) {
                return best;
            }
            top = top - 1u;
            code = stack[top];
            near = stack_near[top];
            if (near <= best.t * FAR_FACTOR) {
                break;
            }
        }
    }
    return best;
}
