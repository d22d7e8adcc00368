//! Damages what is read beside GLBs: `.gltf` with its data inside, Wavefront OBJ, and environment maps.

use std::{fs, path::Path};

use image::ImageFormat;
use p2c2r_render::scene::{environment::EnvironmentMap, package::pack};

use super::{
    Fate, Finding, fate,
    glb::split,
    limits,
    mutate::{Random, damage_bytes, damage_json, numbers_unquoted},
    watch,
};

const OBJ: &str = "mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 1 1 0.5\nv 0 1 0 0.5 0.5 0.5\nvt 0 0\nvt 1 0\nvt 1 1\nvn 0 0 1\n\
    usemtl red\nf 1/1/1 2/2/1 3/3/1\nusemtl glow\nf -4//1 -2//1 -1//1\no more\ng parts\ns 1\nf 1 2 3 4\nl 1 2\n";
const MTL: &str = "newmtl red\nKd 0.8 0.1 0.1\nKs 0.5 0.5 0.5\nNs 50\nd 0.5\nillum 2\nmap_Kd -s 2 2 1 a.png\n\
    map_Bump -bm 0.5 a.png\nnewmtl glow\nKe 3 2 1\nNi 1.4\nPr 0.3\nPm 0.7\nTr 0.1\n";

/// So many damaged files of each kind, and what came of them.
pub fn check(corpus: &[(&str, Vec<u8>)], count: u64) -> Vec<Finding> {
    let folder = tempfile::tempdir().unwrap();
    image::RgbImage::from_fn(3, 2, |x, y| image::Rgb([x as u8 * 80, y as u8 * 90, 7]))
        .save_with_format(folder.path().join("a.png"), ImageFormat::Png)
        .unwrap();
    let mut findings = Vec::new();
    for number in 0..count {
        let mut random = Random::new(number);
        findings.push(gltf(corpus, number, folder.path(), &mut random));
        findings.push(wavefront(number, folder.path(), &mut random));
        findings.push(environment(number, &mut random));
    }
    findings
}

/// Packs a file, then loads and renders what came of it.
fn packed(path: &Path) -> Fate {
    match pack(path, &limits()) {
        Ok(package) => fate(&package.bytes),
        Err(error) => Fate::Refused(error.to_string()),
    }
}

fn gltf(corpus: &[(&str, Vec<u8>)], number: u64, folder: &Path, random: &mut Random) -> Finding {
    let (name, original) = &corpus[random.below(corpus.len())];
    let (mut document, binary) = split(original);
    let data = data_encoding::BASE64.encode(&binary);
    let mime = "data:application/octet-stream;base64,";
    document["buffers"][0]["uri"] = format!("{mime}{data}").into();
    let text = if random.below(4) == 0 {
        damage_bytes(document.to_string().into_bytes(), random)
    } else {
        damage_json(&mut document, random);
        numbers_unquoted(&document.to_string()).into_bytes()
    };
    let path = folder.join("a.gltf");
    fs::write(&path, &text).unwrap();
    watch(&format!("mutant {number} of \"{name}\" as .gltf"), text.len(), || packed(&path))
}

fn wavefront(number: u64, folder: &Path, random: &mut Random) -> Finding {
    let mut parts = [OBJ, MTL].map(|text| text.as_bytes().to_vec());
    let damaged = random.below(2);
    parts[damaged] = damage_bytes(parts[damaged].clone(), random);
    let path = folder.join("a.obj");
    fs::write(&path, &parts[0]).unwrap();
    fs::write(folder.join("a.mtl"), &parts[1]).unwrap();
    watch(&format!("mutant {number} of the OBJ"), OBJ.len() + MTL.len(), || packed(&path))
}

fn environment(number: u64, random: &mut Random) -> Finding {
    let mut hdr = b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 4 +X 8\n".to_vec();
    for row in 0..4_u8 {
        hdr.extend([2, 2, 0, 8]);
        // Each channel as a run of five and three single values.
        (0..4_u8).for_each(|channel| hdr.extend([128 + 5, 120 + channel, 3, row, 90, 130]));
    }
    let bytes = damage_bytes(if random.below(2) == 0 { hdr } else { exr_picture() }, random);
    let (width, height) = (8_usize, 4_usize);
    watch(&format!("mutant {number} of an environment map"), bytes.len() + width * height * 12, || {
        match EnvironmentMap::from_picture(&bytes) {
            Err(problem) => Fate::Refused(problem),
            Ok(loaded) if loaded.map.radiance.as_flattened().iter().all(|value| value.is_finite()) => {
                Fate::Rendered
            }
            Ok(_) => Fate::Broken("a radiance is not finite".into()),
        }
    })
}

fn exr_picture() -> Vec<u8> {
    use exr::prelude::{Image, SpecificChannels, WritableImage};
    let pixels = |at: exr::math::Vec2<usize>| (at.x() as f32, at.y() as f32, 0.5_f32);
    let mut bytes = std::io::Cursor::new(Vec::new());
    Image::from_channels((8, 4), SpecificChannels::rgb(pixels)).write().to_buffered(&mut bytes).unwrap();
    bytes.into_inner()
}
