//! What a ray has hit: place, directions, and the material with its textures looked up. `kernel/gpu/surface.wgsl` is
//! the twin of this file.

use crate::{
    bsdf::Surface,
    bvh::{Hit, walk::Filter},
    light::NO_LIGHT,
    math::{Vec3, cross, dot, normalize, vec3},
    prepared::{PreparedInstance, PreparedMesh, PreparedScene, ShadedTriangle, blended},
    ray::{Corners, Ray},
    sample::{hash, random},
    scene::{AlphaMode, Material, Scene, TextureUse},
    texture::{Content, lookup},
};

/// A normal that makes a smaller cosine with the view would scatter light into the surface.
const MIN_COSINE: f32 = 1e-3;
/// Rays start this share of a point's largest coordinate off the surface, so that they do not hit it again.
const OFFSET_SHARE: f32 = 2e-6;
/// And this share of how far they came.
const OFFSET_PER_DISTANCE: f32 = 2e-6;

/// A surface that a ray has hit.
pub struct SurfacePoint {
    /// World space.
    pub position: Vec3,
    /// Of the triangle, on the side that the ray came from.
    pub geometric: Vec3,
    /// Interpolated and mapped, on the same side.
    pub normal: Vec3,
    /// What scatters.
    pub surface: Surface,
    /// What it gives off towards the ray.
    pub emission: Vec3,
    /// The light that it is a part of, or [`NO_LIGHT`].
    pub light: u32,
    /// Scatters nothing.
    pub unlit: bool,
    /// How far off the surface rays start.
    pub offset: f32,
}

impl SurfacePoint {
    /// Where a ray to that direction starts.
    #[inline(always)]
    pub fn lifted(&self, direction: Vec3) -> Vec3 {
        let side = if dot(self.geometric, direction) >= 0.0 { self.offset } else { -self.offset };
        self.position + self.geometric * side
    }
}

/// Texture coordinates and colour between a triangle's corners.
struct Between {
    uvs: [[f32; 2]; 2],
    color: [f32; 4],
}

#[inline(always)]
fn between(mesh: &PreparedMesh, triangle: &ShadedTriangle, w: f32, u: f32, v: f32) -> Between {
    let corners = triangle.vertices.map(|vertex| mesh.uvs(vertex));
    let colors = &mesh.attributes().colors;
    let color = if colors.is_empty() {
        [1.0; 4]
    } else {
        let [a, b, c] = triangle.vertices.map(|vertex| colors[vertex as usize]);
        std::array::from_fn(|channel| a[channel] * w + b[channel] * u + c[channel] * v)
    };
    Between { uvs: blended(&corners, w, u, v), color }
}

/// Linear colour and opacity.
#[inline(always)]
fn base_color(scene: &Scene, material: &Material, between: &Between) -> [f32; 4] {
    let factor = material.base_color;
    let mut color = std::array::from_fn(|channel| factor[channel] * between.color[channel]);
    if let Some(texture) = &material.base_color_texture {
        let seen = lookup(scene, texture, Content::Color, &between.uvs);
        color = std::array::from_fn(|channel| color[channel] * seen[channel]);
    }
    color
}

#[inline(always)]
fn channel(scene: &Scene, texture: Option<&TextureUse>, between: &Between, channel: usize) -> f32 {
    texture.map_or(1.0, |texture| lookup(scene, texture, Content::Data, &between.uvs)[channel])
}

#[inline(always)]
fn surface(scene: &Scene, material: &Material, color: [f32; 4], between: &Between) -> Surface {
    let mut surface = Surface {
        base_color: vec3(color[0], color[1], color[2]),
        metallic: material.metallic,
        roughness: material.roughness,
        dielectric_f0: material.dielectric_f0,
        transmission: material.transmission,
        coat: material.clearcoat,
        coat_roughness: material.clearcoat_roughness,
    };
    if let Some(texture) = &material.metallic_roughness_texture {
        let seen = lookup(scene, texture, Content::Data, &between.uvs);
        surface.roughness *= seen[1];
        surface.metallic *= seen[2];
    }
    if material.transmission > 0.0 {
        surface.transmission *= channel(scene, material.transmission_texture.as_ref(), between, 0);
    }
    if material.clearcoat > 0.0 {
        surface.coat *= channel(scene, material.clearcoat_texture.as_ref(), between, 0);
        surface.coat_roughness *= channel(scene, material.clearcoat_roughness_texture.as_ref(), between, 1);
    }
    surface
}

/// Emitted radiance at texture coordinates.
#[inline(always)]
pub fn emission_at(scene: &Scene, material: &Material, uvs: &[[f32; 2]; 2]) -> Vec3 {
    let factor = Vec3::from(material.emission);
    match &material.emissive_texture {
        None => factor,
        Some(texture) => {
            let [red, green, blue, _] = lookup(scene, texture, Content::Color, uvs);
            factor * vec3(red, green, blue)
        }
    }
}

/// The surface where a ray hit.
#[inline(always)]
pub fn surface_point(prepared: &PreparedScene, ray: &Ray, hit: &Hit) -> SurfacePoint {
    let scene = prepared.scene();
    let instance = &prepared.instances()[hit.instance as usize];
    let mesh = &prepared.meshes()[instance.mesh as usize];
    let triangle = &mesh.triangles()[hit.primitive as usize];
    let material = &scene.materials[triangle.material as usize];
    let corners = prepared.corners(hit);
    let inward = instance.inward(ray);
    let (u, v) = corners.intersect(&inward, true).map_or((0.0, 0.0), |found| (found.u, found.v));
    let w = 1.0 - u - v;
    let between = between(mesh, triangle, w, u, v);
    let face = cross(corners.edge1, corners.edge2);
    let from_behind = dot(face, inward.direction) > 0.0;
    let outward = |normal: Vec3| {
        let world = if instance.at_origin { normal } else { instance.to_mesh.transposed_vector(normal) };
        let unit = normalize(world);
        if from_behind { -unit } else { unit }
    };
    let geometric = outward(face);
    let normals = &mesh.attributes().normals;
    let [n0, n1, n2] = triangle.vertices.map(|vertex| Vec3::from(normals[vertex as usize]));
    let mut normal = outward(n0 * w + n1 * u + n2 * v);
    if let Some(texture) = &material.normal_texture {
        let seen = lookup(scene, texture, Content::Data, &between.uvs);
        let edge = TangentEdge { instance, mesh, triangle, corners: &corners, uv_set: texture.uv_set };
        normal = mapped(normal, seen, material.normal_scale, &edge, (w, u, v), from_behind);
    }
    if dot(normal, geometric) < 0.0 {
        normal = -normal;
    }
    if dot(normal, ray.direction) > -MIN_COSINE {
        normal = geometric;
    }
    let inner = corners.corner + corners.edge1 * u + corners.edge2 * v;
    let position = if instance.at_origin { inner } else { instance.to_world.point(inner) };
    let color = base_color(scene, material, &between);
    let shines = triangle.emitter != crate::prepared::NO_EMITTER && (material.double_sided || !from_behind);
    let emission = if material.unlit {
        vec3(color[0], color[1], color[2])
    } else if shines {
        emission_at(scene, material, &between.uvs)
    } else {
        Vec3::ZERO
    };
    SurfacePoint {
        offset: offset(position, hit.t),
        position,
        geometric,
        normal,
        surface: surface(scene, material, color, &between),
        emission,
        light: if shines { instance.first_light + triangle.emitter } else { NO_LIGHT },
        unlit: material.unlit,
    }
}

/// Grows with the coordinates and with the way: both round.
#[inline(always)]
fn offset(position: Vec3, distance: f32) -> f32 {
    let magnitude = |value: f32| if value < 0.0 { -value } else { value };
    let reach = magnitude(position.x).max(magnitude(position.y)).max(magnitude(position.z));
    reach * OFFSET_SHARE + distance * OFFSET_PER_DISTANCE
}

/// What tangents come from.
struct TangentEdge<'a> {
    instance: &'a PreparedInstance,
    mesh: &'a PreparedMesh,
    triangle: &'a ShadedTriangle,
    corners: &'a Corners,
    uv_set: u32,
}

impl TangentEdge<'_> {
    /// Direction of growing u in the mesh's space, and the sign of the bitangent: of the vertices if they have
    /// tangents, else of the triangle.
    #[inline(always)]
    fn tangent(&self, (w, u, v): (f32, f32, f32)) -> (Vec3, f32) {
        let tangents = &self.mesh.attributes().tangents;
        if !tangents.is_empty() {
            let [a, b, c] = self.triangle.vertices.map(|vertex| tangents[vertex as usize]);
            let along = |axis: usize| a[axis] * w + b[axis] * u + c[axis] * v;
            let tangent = vec3(along(0), along(1), along(2));
            if dot(tangent, tangent) > 1e-12 {
                return (tangent, if along(3) < 0.0 { -1.0 } else { 1.0 });
            }
        }
        let set = self.uv_set as usize & 1;
        let [a, b, c] = self.triangle.vertices.map(|vertex| self.mesh.uvs(vertex)[set]);
        let (du1, dv1, du2, dv2) = (b[0] - a[0], b[1] - a[1], c[0] - a[0], c[1] - a[1]);
        let determinant = du1 * dv2 - du2 * dv1;
        let tangent = self.corners.edge1 * dv2 - self.corners.edge2 * dv1;
        // v runs down the picture, the green channel up: without mirroring the determinant is negative.
        if determinant < 0.0 { (-tangent, 1.0) } else { (tangent, -1.0) }
    }
}

/// The normal that a normal texture makes of another one.
#[inline(always)]
fn mapped(
    normal: Vec3,
    seen: [f32; 4],
    scale: f32,
    edge: &TangentEdge<'_>,
    weights: (f32, f32, f32),
    from_behind: bool,
) -> Vec3 {
    let (tangent, hand) = edge.tangent(weights);
    let (world, hand) = if edge.instance.at_origin {
        (tangent, hand)
    } else {
        (edge.instance.to_world.vector(tangent), if edge.instance.mirrors { -hand } else { hand })
    };
    // Of the side that the texture was made for.
    let front = if from_behind { -normal } else { normal };
    let across = world - front * dot(front, world);
    let length_squared = dot(across, across);
    if length_squared < 1e-20 {
        return normal;
    }
    let tangent = normalize(across);
    let bitangent = cross(front, tangent) * hand;
    let [red, green, blue, _] = seen;
    let (x, y, z) = ((red * 2.0 - 1.0) * scale, (green * 2.0 - 1.0) * scale, blue * 2.0 - 1.0);
    let bent = normalize(tangent * x + bitangent * y + front * z);
    if from_behind { -bent } else { bent }
}

/// Lets rays through what is masked out, and through blended surfaces by chance.
pub struct Opacity<'a> {
    /// What they go through.
    pub prepared: &'a PreparedScene,
    /// Where the random numbers of each ray come from.
    pub keys: &'a [u32],
}

impl Filter for Opacity<'_> {
    #[inline(never)]
    fn counts(&self, ray: usize, instance: u32, primitive: u32, u: f32, v: f32) -> bool {
        let scene = self.prepared.scene();
        let mesh = &self.prepared.meshes()[self.prepared.instances()[instance as usize].mesh as usize];
        let triangle = &mesh.triangles()[primitive as usize];
        let material = &scene.materials[triangle.material as usize];
        let between = between(mesh, triangle, 1.0 - u - v, u, v);
        let opacity = base_color(scene, material, &between)[3];
        match material.alpha {
            AlphaMode::Opaque => true,
            AlphaMode::Mask { cutoff } => opacity >= cutoff,
            AlphaMode::Blend => {
                random(hash(self.keys[ray].wrapping_add(hash(instance))), primitive) < opacity
            }
        }
    }
}

/// A light's triangle at a point of it: what it gives off there.
#[inline(always)]
pub fn emission_of(prepared: &PreparedScene, instance: u32, primitive: u32, u: f32, v: f32) -> Vec3 {
    let scene = prepared.scene();
    let mesh = &prepared.meshes()[prepared.instances()[instance as usize].mesh as usize];
    let triangle = &mesh.triangles()[primitive as usize];
    let material = &scene.materials[triangle.material as usize];
    if material.emissive_texture.is_none() {
        return material.emission.into();
    }
    let corners = triangle.vertices.map(|vertex| mesh.uvs(vertex));
    emission_at(scene, material, &blended(&corners, 1.0 - u - v, u, v))
}
