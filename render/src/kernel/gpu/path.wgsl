// The twin of kernel/path.rs.

const ROULETTE_FROM = 3u;
const MIN_SURVIVAL = 0.05;
const FAR = 1e30;
const SHADOW_REACH = 0.9999;

struct SurfacePoint {
    position: vec3<f32>,
    geometric: vec3<f32>,
    normal: vec3<f32>,
    surface: Surface,
    emission: vec3<f32>,
    light: u32,
}

var<private> rays: u32;

fn camera_ray(x: u32, y: u32, key: u32) -> Ray {
    let u = (f32(x) + random(key, FILM)) * reciprocal(f32(params.width)) * 2.0 - 1.0;
    let v = 1.0 - (f32(y) + random(key, FILM + 1u)) * reciprocal(f32(params.height)) * 2.0;
    return Ray(params.origin, normalize3(params.forward + params.right * u + params.up * v));
}

fn sky(direction: vec3<f32>) -> vec3<f32> {
    return params.sky_down + (params.sky_up - params.sky_down) * (direction.y * 0.5 + 0.5);
}

fn lift(point: SurfacePoint) -> vec3<f32> {
    return point.position + point.geometric * params.offset;
}

fn surface_point(ray: Ray, primitive: u32) -> SurfacePoint {
    let shading = shadings[primitive];
    let place = shading.place;
    let hit = intersect(place, ray);
    let u = hit.u;
    let v = hit.v;
    let w = 1.0 - u - v;
    let edge1 = triangles[place].edge1;
    let edge2 = triangles[place].edge2;
    var geometric = normalize3(cross3(edge1, edge2));
    if (dot3(geometric, ray.direction) > 0.0) {
        geometric = -geometric;
    }
    var normal = normalize3(shading.normal0 * w + shading.normal1 * u + shading.normal2 * v);
    if (dot3(normal, geometric) < 0.0) {
        normal = -normal;
    }
    if (dot3(normal, ray.direction) > -1e-3) {
        normal = geometric;
    }
    let m = shading.material;
    let uv = vec2<f32>(
        shading.uv0.x * w + shading.uv1.x * u + shading.uv2.x * v,
        shading.uv0.y * w + shading.uv1.y * u + shading.uv2.y * v,
    );
    var base_color = materials[m].base_color;
    if (materials[m].texture_width > 0u) {
        base_color = base_color * lookup(m, uv);
    }
    return SurfacePoint(
        triangles[place].corner + edge1 * u + edge2 * v,
        geometric,
        normal,
        make_surface(base_color, materials[m].metallic, materials[m].roughness),
        materials[m].emission,
        shading.light,
    );
}

fn hit_weight(ray: Ray, t: f32, point: SurfacePoint, density: f32) -> f32 {
    let cosine = -dot3(point.geometric, ray.direction);
    return mis_weight(density, solid_angle_density(lights[point.light].area_density, t * t, cosine));
}

fn light_sample(point: SurfacePoint, view: vec3<f32>, key: u32, first: u32) -> vec3<f32> {
    let light = choose_light(random(key, first + LIGHT_CHOICE));
    let primitive = lights[light].primitive;
    let place = shadings[primitive].place;
    let target_point = triangle_point(place, random(key, first + LIGHT_POINT), random(key, first + LIGHT_POINT + 1u));
    let origin = lift(point);
    let path = target_point - origin;
    let distance_squared = dot3(path, path);
    if (distance_squared < 1e-12) {
        return vec3<f32>(0.0, 0.0, 0.0);
    }
    let distance = square_root(distance_squared);
    let direction = path * reciprocal(distance);
    let facing = dot3(normalize3(cross3(triangles[place].edge1, triangles[place].edge2)), direction);
    let cosine_light = select(facing, -facing, facing < 0.0);
    let scattering = evaluate(point.surface, point.normal, view, direction);
    if (scattering.density <= 0.0 || cosine_light < 1e-6 || dot3(point.geometric, direction) <= 0.0) {
        return vec3<f32>(0.0, 0.0, 0.0);
    }
    rays = rays + 1u;
    if (trace(Ray(origin, direction), distance * SHADOW_REACH, true).primitive != NONE) {
        return vec3<f32>(0.0, 0.0, 0.0);
    }
    let emission = materials[shadings[primitive].material].emission;
    let density = solid_angle_density(lights[light].area_density, distance_squared, cosine_light);
    return scattering.value * emission * (mis_weight(density, scattering.density) * reciprocal(max(density, 1e-20)));
}

fn direct_light(point: SurfacePoint, view: vec3<f32>, key: u32, first: u32) -> vec3<f32> {
    var direct = vec3<f32>(0.0, 0.0, 0.0);
    if (params.light_count > 0u) {
        direct = direct + light_sample(point, view, key, first);
    }
    if (params.has_sun != 0u) {
        let direction = params.sun_direction;
        let scattering = evaluate(point.surface, point.normal, view, direction);
        if (scattering.density > 0.0 && dot3(point.geometric, direction) > 0.0) {
            rays = rays + 1u;
            if (trace(Ray(lift(point), direction), FAR, true).primitive == NONE) {
                direct = direct + scattering.value * params.sun_irradiance;
            }
        }
    }
    return direct;
}

fn path_radiance(x: u32, y: u32, sample_index: u32) -> vec3<f32> {
    let key = path_key(params.seed, y * params.width + x, sample_index);
    var ray = camera_ray(x, y, key);
    var throughput = vec3<f32>(1.0, 1.0, 1.0);
    var radiance = vec3<f32>(0.0, 0.0, 0.0);
    var density = 0.0;
    for (var bounce = 0u; bounce < params.max_depth; bounce = bounce + 1u) {
        let hit = trace(ray, FAR, false);
        rays = rays + 1u;
        if (hit.primitive == NONE) {
            radiance = radiance + throughput * sky(ray.direction);
            break;
        }
        let point = surface_point(ray, hit.primitive);
        if (point.light != NO_LIGHT) {
            var weight = 1.0;
            if (bounce != 0u) {
                weight = hit_weight(ray, hit.t, point, density);
            }
            radiance = radiance + throughput * point.emission * weight;
        }
        if (bounce + 1u >= params.max_depth) {
            break;
        }
        let first = CAMERA_DIMENSIONS + bounce * BOUNCE_DIMENSIONS;
        let view = -ray.direction;
        radiance = radiance + throughput * direct_light(point, view, key, first);
        let lobe = random(key, first + LOBE_CHOICE);
        let r0 = random(key, first + DIRECTION);
        let r1 = random(key, first + DIRECTION + 1u);
        let direction = sample_direction(point.surface, point.normal, view, lobe, r0, r1);
        let scattering = evaluate(point.surface, point.normal, view, direction);
        if (scattering.density <= 1e-12 || dot3(point.geometric, direction) <= 0.0) {
            break;
        }
        throughput = throughput * (scattering.value * reciprocal(scattering.density));
        density = scattering.density;
        if (bounce >= ROULETTE_FROM) {
            let largest = max(max(throughput.x, throughput.y), throughput.z);
            let survival = min(max(largest, MIN_SURVIVAL), 1.0);
            if (random(key, first + ROULETTE) >= survival) {
                break;
            }
            throughput = throughput * reciprocal(survival);
        }
        ray = Ray(lift(point), direction);
    }
    return radiance;
}

// Adds a range of samples to some rows of the tile, in the order of the samples.
@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.y + params.first_row;
    if (id.x >= params.tile_width || id.y >= params.row_count || row >= params.tile_height) {
        return;
    }
    let at = row * params.tile_width + id.x;
    var sum = vec3<f32>(0.0, 0.0, 0.0);
    rays = 0u;
    if (params.is_first == 0u) {
        sum = bitcast<vec3<f32>>(film[at].xyz);
        rays = film[at].w;
    }
    for (var index = 0u; index < params.samples; index = index + 1u) {
        sum = sum + path_radiance(id.x + params.left_px, row + params.top_px, params.first_sample + index);
    }
    film[at] = vec4<u32>(bitcast<vec3<u32>>(sum), rays);
}
