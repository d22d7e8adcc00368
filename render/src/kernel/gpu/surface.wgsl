// The twin of kernel/surface.rs and of the files in kernel/surface/.

const MIN_COSINE = 1e-3;
const OFFSET_SHARE = 2e-6;
const OFFSET_PER_DISTANCE = 2e-6;

struct SurfacePoint {
    position: vec3<f32>,
    geometric: vec3<f32>,
    normal: vec3<f32>,
    surface: Surface,
    emission: vec3<f32>,
    light: u32,
    unlit: bool,
    offset: f32,
}

struct Between {
    // Both coordinate sets.
    uvs: vec4<f32>,
    color: vec4<f32>,
}

// What a material's pictures show at a point; ones where it has none.
struct Seen {
    base_color: vec4<f32>,
    metallic_roughness: vec4<f32>,
    normal: vec4<f32>,
    emissive: vec4<f32>,
    transmission: f32,
    coat: f32,
    coat_roughness: f32,
}

// The materials' textures, in the order of Material.textures.
const BASE_COLOR = 0u;
const METALLIC_ROUGHNESS = 1u;
const NORMAL = 2u;
const EMISSIVE = 3u;
const TRANSMISSION = 4u;
const COAT = 5u;
const COAT_ROUGHNESS = 6u;

struct Tangent {
    along: vec3<f32>,
    hand: f32,
}

fn lifted(point: SurfacePoint, direction: vec3<f32>) -> vec3<f32> {
    let side = select(-point.offset, point.offset, dot3(point.geometric, direction) >= 0.0);
    return point.position + point.geometric * side;
}

fn read2(first: u32, vertex: u32) -> vec2<f32> {
    let at = first + vertex * 2u;
    return vec2<f32>(attribute_at(at), attribute_at(at + 1u));
}

fn read3(first: u32, vertex: u32) -> vec3<f32> {
    let at = first + vertex * 3u;
    return vec3<f32>(attribute_at(at), attribute_at(at + 1u), attribute_at(at + 2u));
}

fn read4(first: u32, vertex: u32) -> vec4<f32> {
    let at = first + vertex * 4u;
    return vec4<f32>(attribute_at(at), attribute_at(at + 1u), attribute_at(at + 2u), attribute_at(at + 3u));
}

fn vertex_uvs(mesh: u32, vertex: u32) -> vec4<f32> {
    var uvs = vec4<f32>(0.0, 0.0, 0.0, 0.0);
    if (!HAS_TEXTURES) {
        return uvs;
    }
    if (meshes[mesh].uvs0 != ABSENT) {
        let uv = read2(meshes[mesh].uvs0, vertex);
        uvs.x = uv.x;
        uvs.y = uv.y;
    }
    if (meshes[mesh].uvs1 != ABSENT) {
        let uv = read2(meshes[mesh].uvs1, vertex);
        uvs.z = uv.x;
        uvs.w = uv.y;
    }
    return uvs;
}

fn between_at(mesh: u32, vertices: vec3<u32>, w: f32, u: f32, v: f32) -> Between {
    var color = vec4<f32>(1.0, 1.0, 1.0, 1.0);
    let colors = meshes[mesh].colors;
    if (colors != ABSENT) {
        color = read4(colors, vertices.x) * w + read4(colors, vertices.y) * u + read4(colors, vertices.z) * v;
    }
    return Between(uvs_at(mesh, vertices, w, u, v), color);
}

fn uvs_at(mesh: u32, vertices: vec3<u32>, w: f32, u: f32, v: f32) -> vec4<f32> {
    return vertex_uvs(mesh, vertices.x) * w + vertex_uvs(mesh, vertices.y) * u + vertex_uvs(mesh, vertices.z) * v;
}

fn vertices_of(triangle: ShadedTriangle) -> vec3<u32> {
    return vec3<u32>(triangle.vertex0, triangle.vertex1, triangle.vertex2);
}

// Looks up all pictures of a material. One place in the kernel for all of them: software devices compile each anew.
fn pictures_at(material: u32, uvs: vec4<f32>) -> Seen {
    let ones = vec4<f32>(1.0, 1.0, 1.0, 1.0);
    var seen = Seen(ones, ones, ones, ones, 1.0, 1.0, 1.0);
    if (!HAS_TEXTURES) {
        return seen;
    }
    let slots = select(TRANSMISSION, COAT_ROUGHNESS + 1u, HAS_LAYERS);
    for (var slot = 0u; slot < slots; slot = slot + 1u) {
        let texture = materials[material].textures[slot];
        if (texture == ABSENT) {
            continue;
        }
        let value = lookup(texture, slot == BASE_COLOR || slot == EMISSIVE, uvs);
        switch (slot) {
            case BASE_COLOR: {
                seen.base_color = value;
            }
            case METALLIC_ROUGHNESS: {
                seen.metallic_roughness = value;
            }
            case NORMAL: {
                seen.normal = value;
            }
            case EMISSIVE: {
                seen.emissive = value;
            }
            case TRANSMISSION: {
                seen.transmission = value.x;
            }
            case COAT: {
                seen.coat = value.x;
            }
            default: {
                seen.coat_roughness = value.y;
            }
        }
    }
    return seen;
}

fn base_color_at(material: u32, between: Between) -> vec4<f32> {
    var color = materials[material].base_color * between.color;
    let texture = materials[material].textures[BASE_COLOR];
    if (HAS_TEXTURES && texture != ABSENT) {
        color = color * lookup(texture, true, between.uvs);
    }
    return color;
}

fn surface_at(material: u32, color: vec3<f32>, seen: Seen) -> Surface {
    var surface = Surface(
        color,
        materials[material].metallic * seen.metallic_roughness.z,
        materials[material].roughness * seen.metallic_roughness.y,
        materials[material].dielectric_f0,
        0.0,
        0.0,
        0.0,
    );
    if (HAS_LAYERS) {
        surface.transmission = materials[material].transmission * seen.transmission;
        surface.coat = materials[material].clearcoat * seen.coat;
        surface.coat_roughness = materials[material].clearcoat_roughness * seen.coat_roughness;
    }
    return surface;
}

fn outward(instance: u32, normal: vec3<f32>, from_behind: bool) -> vec3<f32> {
    var world = normal;
    if (HAS_INSTANCES && instances[instance].at_origin == 0u) {
        world = normal_to_world(instance, normal);
    }
    let unit = normalize3(world);
    return select(unit, -unit, from_behind);
}

fn tangent_at(mesh: u32, vertices: vec3<u32>, edge1: vec3<f32>, edge2: vec3<f32>, texture: u32, w: f32, u: f32, v: f32) -> Tangent {
    let tangents = meshes[mesh].tangents;
    if (tangents != ABSENT) {
        let along = read4(tangents, vertices.x) * w + read4(tangents, vertices.y) * u + read4(tangents, vertices.z) * v;
        if (dot3(along.xyz, along.xyz) > 1e-12) {
            return Tangent(along.xyz, select(1.0, -1.0, along.w < 0.0));
        }
    }
    let second_set = (textures[texture].flags & 32u) != 0u;
    let all0 = vertex_uvs(mesh, vertices.x);
    let all1 = vertex_uvs(mesh, vertices.y);
    let all2 = vertex_uvs(mesh, vertices.z);
    let a = select(all0.xy, all0.zw, second_set);
    let b = select(all1.xy, all1.zw, second_set);
    let c = select(all2.xy, all2.zw, second_set);
    let du1 = b.x - a.x;
    let dv1 = b.y - a.y;
    let du2 = c.x - a.x;
    let dv2 = c.y - a.y;
    let determinant = du1 * dv2 - du2 * dv1;
    let tangent = edge1 * dv2 - edge2 * dv1;
    if (determinant < 0.0) {
        return Tangent(-tangent, 1.0);
    }
    return Tangent(tangent, -1.0);
}

fn mapped(normal: vec3<f32>, seen: vec4<f32>, scale: f32, instance: u32, tangent: Tangent, from_behind: bool) -> vec3<f32> {
    var world = tangent.along;
    var hand = tangent.hand;
    if (HAS_INSTANCES && instances[instance].at_origin == 0u) {
        world = vector_to_world(instance, tangent.along);
        hand = select(hand, -hand, instances[instance].mirrors != 0u);
    }
    let front = select(normal, -normal, from_behind);
    let across = world - front * dot3(front, world);
    let length_squared = dot3(across, across);
    if (length_squared < 1e-20) {
        return normal;
    }
    let along = normalize3(across);
    let bitangent = cross3(front, along) * hand;
    let x = (seen.x * 2.0 - 1.0) * scale;
    let y = (seen.y * 2.0 - 1.0) * scale;
    let z = seen.z * 2.0 - 1.0;
    let bent = normalize3(along * x + bitangent * y + front * z);
    return select(bent, -bent, from_behind);
}

fn surface_offset(position: vec3<f32>, distance: f32) -> f32 {
    let magnitude = abs(position);
    let reach = max(max(magnitude.x, magnitude.y), magnitude.z);
    return reach * OFFSET_SHARE + distance * OFFSET_PER_DISTANCE;
}

fn surface_point(ray: Ray, hit: Hit) -> SurfacePoint {
    let instance = hit.instance;
    let mesh = instances[instance].mesh;
    let triangle = shaded_at(meshes[mesh].first_triangle + hit.primitive);
    let material = triangle.material;
    let corners = corners_at(triangle.place);
    let vertices = vertices_of(triangle);
    let inner_ray = inward(instance, ray);
    let found = intersect(corners, inner_ray, true);
    let u = found.u;
    let v = found.v;
    let w = 1.0 - u - v;
    let between = between_at(mesh, vertices, w, u, v);
    let seen = pictures_at(material, between.uvs);
    let edge1 = corners.edge1;
    let edge2 = corners.edge2;
    let face = cross3(edge1, edge2);
    let from_behind = dot3(face, inner_ray.direction) > 0.0;
    let geometric = outward(instance, face, from_behind);
    let normals = meshes[mesh].normals;
    let n0 = read3(normals, vertices.x);
    let n1 = read3(normals, vertices.y);
    let n2 = read3(normals, vertices.z);
    var normal = outward(instance, n0 * w + n1 * u + n2 * v, from_behind);
    let normal_texture = materials[material].textures[NORMAL];
    if (HAS_TEXTURES && normal_texture != ABSENT) {
        let tangent = tangent_at(mesh, vertices, edge1, edge2, normal_texture, w, u, v);
        normal = mapped(normal, seen.normal, materials[material].normal_scale, instance, tangent, from_behind);
    }
    if (dot3(normal, geometric) < 0.0) {
        normal = -normal;
    }
    if (dot3(normal, ray.direction) > -MIN_COSINE) {
        normal = geometric;
    }
    let inner = corners.corner + edge1 * u + edge2 * v;
    var position = inner;
    if (HAS_INSTANCES && instances[instance].at_origin == 0u) {
        position = point_to_world(instance, inner);
    }
    let color = (materials[material].base_color * between.color * seen.base_color).xyz;
    let flags = materials[material].flags;
    let emitter = triangle.emitter;
    let unlit = (flags & 2u) != 0u;
    let shines = emitter != ABSENT && ((flags & 1u) != 0u || !from_behind);
    var emission = vec3<f32>(0.0, 0.0, 0.0);
    if (unlit) {
        emission = color;
    } else if (shines) {
        emission = materials[material].emission * seen.emissive.xyz;
    }
    var light = NO_LIGHT;
    if (shines) {
        light = instances[instance].first_light + emitter;
    }
    return SurfacePoint(
        position,
        geometric,
        normal,
        surface_at(material, color, seen),
        emission,
        light,
        unlit,
        surface_offset(position, hit.t),
    );
}

fn counts(instance: u32, primitive: u32, u: f32, v: f32, key: u32) -> bool {
    let mesh = instances[instance].mesh;
    let triangle = shaded_at(meshes[mesh].first_triangle + primitive);
    let material = triangle.material;
    let between = between_at(mesh, vertices_of(triangle), 1.0 - u - v, u, v);
    let opacity = base_color_at(material, between).w;
    if (materials[material].alpha_mode == 0u) {
        return true;
    }
    if (materials[material].alpha_mode == 1u) {
        return opacity >= materials[material].alpha_cutoff;
    }
    return random(hash(key + hash(instance)), primitive) < opacity;
}

fn emission_of(instance: u32, primitive: u32, u: f32, v: f32) -> vec3<f32> {
    let mesh = instances[instance].mesh;
    let triangle = shaded_at(meshes[mesh].first_triangle + primitive);
    let material = triangle.material;
    let texture = materials[material].textures[EMISSIVE];
    if (!HAS_TEXTURES || texture == ABSENT) {
        return materials[material].emission;
    }
    let uvs = uvs_at(mesh, vertices_of(triangle), 1.0 - u - v, u, v);
    return materials[material].emission * lookup(texture, true, uvs).xyz;
}
