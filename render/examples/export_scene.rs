//! Writes a scene for other renderers, and rays to trace through it, so that they can be held against ours.
//!
//! `cargo run --release -p p2c2r-render --example export_scene -- SCENE.glb FOLDER` writes into FOLDER:
//!
//! - `triangles.bin`, `normals.bin`, `uvs.bin`: 9, 9 and 6 little-endian f32 a triangle (three corners, in world space;
//!   texture coordinates of the first set, v downwards), `materials.bin`: a u32 a triangle;
//! - `scene.json`: materials, cameras, the sky; `texture-N.png`: the pictures;
//! - `primary.bin` and `secondary.bin`: 6 f32 a ray (origin, direction): those of the first camera at 640x360 with 4 a
//!   pixel, in blocks of 16x16 pixels, and one diffuse bounce off what each of them hits.
//!
//! With `--speed` behind the folder it traces the folder's rays instead, in one thread, and prints a line of JSON: rays,
//! hits, and closest-hit rays per second of processor time. It writes `primary.distances.bin` and
//! `secondary.distances.bin`: an f32 a ray, 1e30 where it hits nothing.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use fearless_simd::{Level, dispatch};
use p2c2r_protocol::tile::FrameSize;
use p2c2r_render::{
    backend::camera,
    bvh::{
        Hit,
        walk::{Rays, Solid, Stack},
    },
    limit::SceneLimits,
    math::{Vec3, cross, dot, normalize, sin_cos_turn, square_root, tangent_frame},
    prepared::PreparedScene,
    ray::Ray,
    sample::{path_key, random},
    scene::{Instance, Material, Mesh, PunctualLight, Scene, TextureUse, gltf::parse_package},
};
use serde_json::{Value, json};

/// The picture whose rays are recorded, pixels.
const SIZE_PX: [u32; 2] = [640, 360];
/// Rays of each pixel.
const RAYS_PER_PIXEL: u32 = 4;
/// Edge of the blocks that rays are recorded in, pixels: neighbours stay together as in a renderer.
const BLOCK_PX: u32 = 16;
/// Rays that are traced at a time, as the kernel does it.
const BATCH: usize = 512;
/// The speed is the best of so many passes.
const PASSES: u32 = 2;
/// Farther than any scene.
const FAR: f32 = 1e30;
/// Bounced rays start this far off the surface, world units.
const OFFSET: f32 = 1e-4;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (source, folder, speed) = match arguments.as_slice() {
        [source, folder] => (source, PathBuf::from(folder), false),
        [source, folder, flag] if flag == "--speed" => (source, PathBuf::from(folder), true),
        _ => return Err("give a scene and a folder, and --speed to measure".into()),
    };
    let mut scene = parse_package(&fs::read(source)?, &SceneLimits::default())?.scene;
    if speed {
        see_both_sides(&mut scene);
        println!("{}", measured(&PreparedScene::build(scene), &folder)?);
        return Ok(());
    }
    fs::create_dir_all(&folder)?;
    write_triangles(&scene, &folder)?;
    write_pictures(&scene, &folder)?;
    fs::write(folder.join("scene.json"), serde_json::to_vec_pretty(&description(&scene))?)?;
    see_both_sides(&mut scene);
    write_rays(&PreparedScene::build(scene), &folder)
}

/// Plain triangles have two sides in every library of ray queries.
fn see_both_sides(scene: &mut Scene) {
    scene.materials.iter_mut().for_each(|material| material.double_sided = true);
}

/// The triangles of all instances, one behind the other.
fn write_triangles(scene: &Scene, folder: &Path) -> Result<(), Box<dyn Error>> {
    let (mut corners, mut normals, mut uvs, mut materials) = (vec![], vec![], vec![], vec![]);
    for instance in &scene.instances {
        let mesh = scene.meshes.get(instance.mesh as usize).ok_or("an instance has no mesh")?;
        for triangle in &mesh.triangles {
            materials.extend(triangle.material.to_le_bytes());
            for vertex in triangle.vertices {
                let placed = placed_vertex(mesh, instance, vertex as usize);
                append(&mut corners, &placed.position);
                append(&mut normals, &placed.normal);
                append(&mut uvs, &placed.uv);
            }
        }
    }
    fs::write(folder.join("triangles.bin"), corners)?;
    fs::write(folder.join("normals.bin"), normals)?;
    fs::write(folder.join("uvs.bin"), uvs)?;
    fs::write(folder.join("materials.bin"), materials)?;
    Ok(())
}

/// A corner in world space.
struct PlacedVertex {
    position: [f32; 3],
    normal: [f32; 3],
    uv: [f32; 2],
}

/// The indices of a loaded scene are in range.
fn placed_vertex(mesh: &Mesh, instance: &Instance, vertex: usize) -> PlacedVertex {
    let normal = instance.to_mesh.transposed_vector(mesh.normals[vertex].into());
    PlacedVertex {
        position: instance.to_world.point(mesh.positions[vertex].into()).to_array(),
        normal: normalize(normal).to_array(),
        uv: mesh.uvs[0].get(vertex).copied().unwrap_or_default(),
    }
}

fn append(bytes: &mut Vec<u8>, numbers: &[f32]) {
    bytes.extend(numbers.iter().copied().flat_map(f32::to_le_bytes));
}

fn write_pictures(scene: &Scene, folder: &Path) -> Result<(), Box<dyn Error>> {
    for (index, picture) in scene.images.iter().enumerate() {
        let path = folder.join(picture_name(index as u32));
        let texels = picture.texels.as_flattened();
        image::save_buffer(path, texels, picture.width, picture.height, image::ColorType::Rgba8)?;
    }
    Ok(())
}

fn picture_name(image: u32) -> String {
    format!("texture-{image}.png")
}

fn description(scene: &Scene) -> Value {
    let cameras = scene.cameras.iter().map(|camera| {
        let [right, up, forward] = camera.axes;
        json!({
            "name": camera.name, "origin": camera.origin, "right": right, "up": up, "forward": forward,
            "tan_half_fov_y": camera.half_height,
        })
    });
    let materials: Vec<Value> =
        scene.materials.iter().map(|material| material_json(scene, material)).collect();
    let lights: Vec<Value> = scene.lights.iter().map(light_json).collect();
    json!({
        "materials": materials, "cameras": cameras.collect::<Vec<_>>(), "lights": lights, "sky_down_up": scene.sky,
        "triangles": scene.placed_triangles(),
        "rays": { "width_px": SIZE_PX[0], "height_px": SIZE_PX[1], "per_pixel": RAYS_PER_PIXEL },
    })
}

fn material_json(scene: &Scene, material: &Material) -> Value {
    let picture = |texture: &Option<TextureUse>| {
        let texture = scene.textures.get(texture.as_ref()?.texture as usize)?;
        Some(picture_name(texture.image))
    };
    let [red, green, blue, opacity] = material.base_color;
    json!({
        "base_color": [red, green, blue], "opacity": opacity,
        "base_color_texture": picture(&material.base_color_texture),
        "metallic": material.metallic, "roughness": material.roughness,
        "metallic_roughness_texture": picture(&material.metallic_roughness_texture),
        "normal_texture": picture(&material.normal_texture),
        "emission": material.emission, "emissive_texture": picture(&material.emissive_texture),
        "dielectric_f0": material.dielectric_f0, "transmission": material.transmission,
        "clearcoat": material.clearcoat, "double_sided": material.double_sided, "unlit": material.unlit,
    })
}

fn light_json(light: &PunctualLight) -> Value {
    match light {
        PunctualLight::Directional { direction, irradiance } => {
            json!({ "kind": "directional", "towards": direction, "irradiance": irradiance })
        }
        PunctualLight::Point { position, intensity, axis, cone, .. } => {
            json!({ "kind": "point", "position": position, "intensity": intensity, "axis": axis, "cone": cone })
        }
    }
}

fn write_rays(scene: &PreparedScene, folder: &Path) -> Result<(), Box<dyn Error>> {
    let primary = primary_rays(scene)?;
    let mut stack = Stack::default();
    let bounced = (0_u32..).zip(&primary);
    let secondary: Vec<Ray> =
        bounced.filter_map(|(index, ray)| bounced_ray(scene, ray, index, &mut stack)).collect();
    for (name, rays) in [("primary.bin", &primary), ("secondary.bin", &secondary)] {
        let mut bytes = Vec::new();
        for ray in rays {
            append(&mut bytes, &ray.origin.to_array());
            append(&mut bytes, &ray.direction.to_array());
        }
        fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}

fn primary_rays(scene: &PreparedScene) -> Result<Vec<Ray>, Box<dyn Error>> {
    let [width, height] = SIZE_PX;
    let named = scene.scene().cameras.first().ok_or("the scene has no camera")?;
    let view = camera(named, FrameSize::new(width, height)?);
    let [origin, forward, right, up] = [view.origin, view.forward, view.right, view.up].map(Vec3::from);
    let mut rays = Vec::new();
    let blocks = |length: u32| (0..length).step_by(BLOCK_PX as usize);
    for (top, left) in blocks(height).flat_map(|top| blocks(width).map(move |left| (top, left))) {
        for y in top..(top + BLOCK_PX).min(height) {
            for (x, sample) in
                (left..(left + BLOCK_PX).min(width)).flat_map(|x| (0..RAYS_PER_PIXEL).map(move |s| (x, s)))
            {
                let key = path_key(1, y * width + x, sample);
                let across = (x as f32 + random(key, 0)) / width as f32 * 2.0 - 1.0;
                let upwards = 1.0 - (y as f32 + random(key, 1)) / height as f32 * 2.0;
                rays.push(Ray { origin, direction: normalize(forward + right * across + up * upwards) });
            }
        }
    }
    Ok(rays)
}

/// Off what the ray hits, in proportion to the cosine; nothing where it hits nothing.
fn bounced_ray(scene: &PreparedScene, ray: &Ray, index: u32, stack: &mut Stack) -> Option<Ray> {
    let hit = scene.closest_solid(ray, FAR, stack);
    if !hit.is_some() {
        return None;
    }
    let corners = scene.corners(&hit);
    let face = cross(corners.edge1, corners.edge2);
    let instance = &scene.instances()[hit.instance as usize];
    let outward = normalize(instance.to_mesh.transposed_vector(face));
    let normal = if dot(outward, ray.direction) > 0.0 { -outward } else { outward };
    let key = path_key(2, index, 0);
    let (tangent, bitangent) = tangent_frame(normal);
    let (sin, cos) = sin_cos_turn(random(key, 1));
    let radius = square_root(random(key, 0));
    let height = square_root(1.0 - random(key, 0));
    let direction = normalize(tangent * (radius * cos) + bitangent * (radius * sin) + normal * height);
    Some(Ray { origin: ray.at(hit.t) + normal * OFFSET, direction })
}

fn measured(scene: &PreparedScene, folder: &Path) -> Result<Value, Box<dyn Error>> {
    let mut figures = serde_json::Map::new();
    for name in ["primary", "secondary"] {
        let rays = read_rays(&folder.join(format!("{name}.bin")))?;
        let (mut best_s, mut hits) = (f64::MAX, 0);
        for _ in 0..PASSES {
            let mut found = vec![Hit::nothing(FAR); rays.len()];
            // Camera rays go about the same way, as the kernel knows.
            let seconds = traced(scene, &rays, &mut found, name == "primary");
            best_s = best_s.min(seconds);
            hits = found.iter().filter(|hit| hit.is_some()).count();
            let distances: Vec<u8> =
                found.iter().flat_map(|hit| if hit.is_some() { hit.t } else { FAR }.to_le_bytes()).collect();
            fs::write(folder.join(format!("{name}.distances.bin")), distances)?;
        }
        let speed = rays.len() as f64 / best_s;
        figures.insert(name.into(), json!({ "rays": rays.len(), "hits": hits, "rays_per_cpu_s": speed }));
    }
    Ok(figures.into())
}

fn read_rays(path: &Path) -> Result<Vec<Ray>, Box<dyn Error>> {
    let numbers: Vec<f32> = fs::read(path)?.as_chunks().0.iter().copied().map(f32::from_le_bytes).collect();
    let (rays, _) = numbers.as_chunks::<6>();
    let ray =
        |&[x, y, z, dx, dy, dz]: &[f32; 6]| Ray { origin: [x, y, z].into(), direction: [dx, dy, dz].into() };
    Ok(rays.iter().map(ray).collect())
}

/// Traces the rays; seconds of processor time that it took.
fn traced(scene: &PreparedScene, rays: &[Ray], found: &mut [Hit], coherent: bool) -> f64 {
    let (mut stack, level) = (Stack::default(), Level::new());
    let (forest, clock) = (scene.forest(), Clock::start());
    for (rays, hits) in rays.chunks(BATCH).zip(found.chunks_mut(BATCH)) {
        dispatch!(level, simd => forest.closest(simd, Rays { rays, hits, coherent }, &Solid, &mut stack));
    }
    clock.elapsed_s()
}

/// Processor time of this thread where the system tells it (Linux), else the time of day.
struct Clock {
    used_ns: Option<u64>,
    started: Instant,
}

impl Clock {
    fn start() -> Self {
        Self { used_ns: thread_ns(), started: Instant::now() }
    }

    fn elapsed_s(&self) -> f64 {
        match (self.used_ns, thread_ns()) {
            (Some(before), Some(now)) => (now - before) as f64 / 1e9,
            _ => self.started.elapsed().as_secs_f64(),
        }
    }
}

fn thread_ns() -> Option<u64> {
    fs::read_to_string("/proc/thread-self/schedstat").ok()?.split(' ').next()?.parse().ok()
}
