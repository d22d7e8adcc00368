// The twin of kernel/path.rs and kernel/direct.rs.

const ROULETTE_FROM = 3u;
const MIN_SURVIVAL = 0.05;
const SHADOW_REACH = 0.9999;

struct Vertex {
    point: SurfacePoint,
    bsdf: Bsdf,
    view: vec3<f32>,
    key: u32,
    first: u32,
}

var<private> rays: u32;

fn camera_ray(x: u32, y: u32, key: u32) -> Ray {
    let u = (f32(x) + random(key, FILM)) * reciprocal(f32(params.width)) * 2.0 - 1.0;
    let v = 1.0 - (f32(y) + random(key, FILM + 1u)) * reciprocal(f32(params.height)) * 2.0;
    let film = params.right * u + params.up * v;
    let parallel = params.parallel != 0u;
    let origin = select(params.origin, params.origin + film, parallel);
    let direction = select(params.forward + film, params.forward, parallel);
    if (params.lens_radius <= 0.0) {
        return Ray(origin, normalize3(direction));
    }
    let distance = square_root(random(key, LENS)) * params.lens_radius;
    let turned = sin_cos_turn(random(key, LENS + 1u));
    let aside = normalize3(params.right) * (turned.y * distance) + normalize3(params.up) * (turned.x * distance);
    return Ray(origin + aside, normalize3(direction * params.focus_distance - aside));
}

fn sky(direction: vec3<f32>) -> vec3<f32> {
    return params.sky_down + (params.sky_up - params.sky_down) * (direction.y * 0.5 + 0.5);
}

fn background(direction: vec3<f32>, bounce: u32, density: f32) -> vec3<f32> {
    if (!HAS_ENVIRONMENT) {
        return sky(direction);
    }
    let radiance = environment_radiance(direction);
    if (bounce == 0u) {
        return radiance;
    }
    return radiance * mis_weight(density, environment_density(direction) * params.environment_share);
}

fn tamed(light: vec3<f32>, scatterings: u32) -> vec3<f32> {
    if (scatterings > 1u) {
        return limited(light, params.clamp_to);
    }
    return light;
}

fn same_side(point: SurfacePoint, direction: vec3<f32>) -> bool {
    return dot3(point.geometric, direction) * dot3(point.normal, direction) > 0.0;
}

fn emission_weight(ray: Ray, t: f32, point: SurfacePoint, density: f32) -> f32 {
    let cosine = -dot3(point.geometric, ray.direction);
    return mis_weight(density, solid_angle_density(lights[point.light].density, t * t, cosine));
}

// A light's point; none at all if the distance is negative.
struct Candidate {
    ray: Ray,
    distance: f32,
    // Irradiance of lights without extent, else radiance.
    light: vec3<f32>,
    // Probability of lights without extent, else density per solid angle.
    density: f32,
    has_extent: bool,
}

fn no_candidate() -> Candidate {
    let nothing = vec3<f32>(0.0, 0.0, 0.0);
    return Candidate(Ray(nothing, nothing), -1.0, nothing, 0.0, false);
}

fn at_triangle(vertex: Vertex, light: u32) -> Candidate {
    let r0 = random(vertex.key, vertex.first + LIGHT_POINT);
    let r1 = random(vertex.key, vertex.first + LIGHT_POINT + 1u);
    let at = triangle_point(r0, r1);
    let edge1 = lights[light].b;
    let edge2 = lights[light].c;
    let target_point = lights[light].a + edge1 * at.x + edge2 * at.y;
    let origin = lifted(vertex.point, target_point - vertex.point.position);
    let path = target_point - origin;
    let distance_squared = dot3(path, path);
    if (distance_squared < 1e-12) {
        return no_candidate();
    }
    let distance = square_root(distance_squared);
    let direction = path * reciprocal(distance);
    let facing = -dot3(normalize3(cross3(edge1, edge2)), direction);
    let cosine_light = select(facing, -facing, facing < 0.0 && lights[light].double_sided != 0u);
    if (cosine_light < 1e-6) {
        return no_candidate();
    }
    let density = solid_angle_density(lights[light].density, distance_squared, cosine_light);
    let emission = emission_of(lights[light].instance, lights[light].primitive, at.x, at.y);
    return Candidate(Ray(origin, direction), distance, emission, density, true);
}

fn at_punctual_light(vertex: Vertex, light: u32) -> Candidate {
    let seen = arrival(light, vertex.point.position);
    let ray = Ray(lifted(vertex.point, seen.direction), seen.direction);
    return Candidate(ray, seen.distance, seen.irradiance, lights[light].density, false);
}

fn at_environment(vertex: Vertex) -> Candidate {
    let r0 = random(vertex.key, vertex.first + LIGHT_POINT);
    let r1 = random(vertex.key, vertex.first + LIGHT_POINT + 1u);
    let r2 = random(vertex.key, vertex.first + TEXEL_POINT);
    let r3 = random(vertex.key, vertex.first + TEXEL_POINT + 1u);
    let seen = sample_environment(vec4<f32>(r0, r1, r2, r3));
    let ray = Ray(lifted(vertex.point, seen.direction), seen.direction);
    let density = seen.density * params.environment_share;
    return Candidate(ray, FAR, environment_radiance(seen.direction), density, true);
}

fn candidate_at(vertex: Vertex) -> Candidate {
    let choice = random(vertex.key, vertex.first + LIGHT_CHOICE);
    if (HAS_ENVIRONMENT && choice < params.environment_share) {
        return at_environment(vertex);
    }
    if (params.light_count == 0u) {
        return no_candidate();
    }
    let light = choose_light((choice - params.environment_share) * params.stretch);
    if (HAS_PUNCTUAL && lights[light].kind != TRIANGLE) {
        return at_punctual_light(vertex, light);
    }
    return at_triangle(vertex, light);
}

// What comes of a light if nothing is in the way.
fn direct_light(candidate: Candidate, point: SurfacePoint, scattering: Scattering) -> vec3<f32> {
    if (candidate.distance < 0.0 || scattering.density <= 0.0 || !same_side(point, candidate.ray.direction)) {
        return vec3<f32>(0.0, 0.0, 0.0);
    }
    let share = reciprocal(max(candidate.density, 1e-20));
    if (HAS_PUNCTUAL && !candidate.has_extent) {
        return scattering.value * candidate.light * share;
    }
    return scattering.value * (mis_weight(candidate.density, scattering.density) * share) * candidate.light;
}

// Each function that is long to compile is called at one place: software devices compile every call anew. So the steps
// of a path take turns, one that follows it to the next surface, one that asks whether the light seen there is hidden,
// and one loop evaluates the surface for both directions.
fn path_radiance(x: u32, y: u32, sample_index: u32) -> vec3<f32> {
    let key = path_key(params.seed, y * params.width + x, sample_index);
    var ray = camera_ray(x, y, key);
    var throughput = vec3<f32>(1.0, 1.0, 1.0);
    var radiance = vec3<f32>(0.0, 0.0, 0.0);
    var density = 0.0;
    let nothing = vec3<f32>(0.0, 0.0, 0.0);
    var shadow_ray = ray;
    var shadow_reach = -1.0;
    var awaited = nothing;
    var ends = false;
    for (var step = 0u; step < params.max_depth * 2u; step = step + 1u) {
        let bounce = step >> 1u;
        let first = CAMERA_DIMENSIONS + bounce * BOUNCE_DIMENSIONS;
        let asks = (step & 1u) != 0u;
        if (asks && shadow_reach < 0.0) {
            if (ends) {
                break;
            }
            continue;
        }
        var traced = ray;
        var reach = FAR;
        if (asks) {
            traced = shadow_ray;
            reach = shadow_reach;
        }
        let hit = trace(traced, reach, asks, key + first + select(SEE_THROUGH, LIGHT_CHOICE, asks));
        rays = rays + 1u;
        if (asks) {
            if (hit.primitive == NONE) {
                radiance = radiance + awaited;
            }
            if (ends) {
                break;
            }
            continue;
        }
        if (hit.primitive == NONE) {
            radiance = radiance + tamed(throughput * background(ray.direction, bounce, density), bounce);
            break;
        }
        let point = surface_point(ray, hit);
        if (point.light != NO_LIGHT || point.unlit) {
            var weight = 1.0;
            if (bounce > 0u && point.light != NO_LIGHT) {
                weight = emission_weight(ray, hit.t, point, density);
            }
            radiance = radiance + tamed(throughput * point.emission * weight, bounce);
        }
        if (point.unlit || bounce + 1u >= params.max_depth) {
            break;
        }
        let view = -ray.direction;
        let bsdf = seen_from(point.surface, point.normal, view);
        let candidate = candidate_at(Vertex(point, bsdf, view, key, first));
        let layer = random(key, first + LOBE_CHOICE);
        let r0 = random(key, first + DIRECTION);
        let r1 = random(key, first + DIRECTION + 1u);
        let direction = sample_direction(bsdf, point.normal, view, layer, r0, r1);
        var to_light = Scattering(nothing, 0.0);
        var scattering = to_light;
        for (var turn = select(0u, 1u, candidate.distance < 0.0); turn < 2u; turn = turn + 1u) {
            to_light = scattering;
            scattering = evaluate(bsdf, point.normal, view, select(candidate.ray.direction, direction, turn == 1u));
        }
        let direct = direct_light(candidate, point, to_light);
        shadow_reach = select(candidate.distance * SHADOW_REACH, -1.0, all(direct == nothing));
        shadow_ray = candidate.ray;
        awaited = tamed(throughput * direct, bounce + 1u);
        if (scattering.density <= 1e-12 || !same_side(point, direction)) {
            ends = true;
            continue;
        }
        throughput = throughput * (scattering.value * reciprocal(scattering.density));
        density = scattering.density;
        if (bounce >= ROULETTE_FROM) {
            let largest = max(max(throughput.x, throughput.y), throughput.z);
            let survival = min(max(largest, MIN_SURVIVAL), 1.0);
            if (random(key, first + ROULETTE) >= survival) {
                ends = true;
                continue;
            }
            throughput = throughput * reciprocal(survival);
        }
        ray = Ray(lifted(point, direction), direction);
    }
    return radiance;
}

// Adds a range of samples to some rows of the tile.
@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.y + params.first_row;
    if (id.x >= params.tile_width || id.y >= params.row_count || row >= params.tile_height) {
        return;
    }
    // Two words of four for each pixel: red and green, then blue and the rays.
    let at = (row * params.tile_width + id.x) * 2u;
    let nothing = vec2<u32>(0u, 0u);
    var sum = RadianceSum(nothing, nothing, nothing);
    rays = 0u;
    if (params.is_first == 0u) {
        sum = RadianceSum(film[at].xy, film[at].zw, film[at + 1u].xy);
        rays = film[at + 1u].z;
    }
    for (var index = 0u; index < params.samples; index = index + 1u) {
        let radiance = path_radiance(id.x + params.left_px, row + params.top_px, params.first_sample + index);
        sum = add_sample(sum, radiance);
    }
    film[at] = vec4<u32>(sum.red, sum.green);
    film[at + 1u] = vec4<u32>(sum.blue, rays, 0u);
}
