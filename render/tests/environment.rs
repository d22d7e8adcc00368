//! Environment maps: pictures in, texels out, and back again on the contributor.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::float_cmp,
    reason = "a panic is a test's report; the numbers are exact"
)]

use std::{fs, io::Cursor, path::Path};

use exr::prelude::{Image, SpecificChannels, Vec2, WritableImage};
use p2c2r_render::{
    limit::{MAX_ENVIRONMENT_HEIGHT, MAX_ENVIRONMENT_WIDTH, MAX_RADIANCE, SceneLimits},
    scene::{
        environment::{EXTRAS_KEY, EnvironmentMap, EnvironmentSource},
        generate::{SceneKind, generate},
        gltf::parse_package,
        package::{ScenePackage, pack, pack_with_environment},
    },
};
use serde_json::Value;

const WIDTH: usize = 16;
const HEIGHT: usize = 8;

/// Texels of a small map, none of them alike.
fn texels() -> Vec<[u8; 4]> {
    (0..WIDTH * HEIGHT).map(|index| [128 + index as u8 / 2, index as u8, 7, 120 + index as u8 / 8]).collect()
}

fn radiance_of([red, green, blue, exponent]: [u8; 4]) -> [f32; 3] {
    [red, green, blue].map(|mantissa| f32::from(mantissa) * 2_f32.powi(i32::from(exponent) - 136))
}

fn header(resolution: &str) -> Vec<u8> {
    format!("#?RADIANCE\n# made by a test\nFORMAT=32-bit_rle_rgbe\n\n{resolution}\n").into_bytes()
}

/// A row whose channels are written as runs where a value repeats and as literals elsewhere.
fn encoded_row(row: &[[u8; 4]]) -> Vec<u8> {
    let mut bytes = vec![2, 2, (row.len() >> 8) as u8, row.len() as u8];
    for channel in 0..4 {
        let values: Vec<u8> = row.iter().map(|texel| texel[channel]).collect();
        for run in values.chunk_by(|a, b| a == b) {
            if run.len() > 1 {
                bytes.extend([128 + run.len() as u8, run[0]]);
            } else {
                bytes.extend([1, run[0]]);
            }
        }
    }
    bytes
}

fn hdr() -> Vec<u8> {
    let mut bytes = header(&format!("-Y {HEIGHT} +X {WIDTH}"));
    bytes.extend(texels().chunks(WIDTH).flat_map(encoded_row));
    bytes
}

fn exr(width: usize, height: usize, pixel: impl Fn(usize, usize) -> [f32; 3] + Sync) -> Vec<u8> {
    let channels = SpecificChannels::rgb(|at: Vec2<usize>| {
        let [red, green, blue] = pixel(at.x(), at.y());
        (red, green, blue)
    });
    let mut bytes = Cursor::new(Vec::new());
    Image::from_channels((width, height), channels).write().non_parallel().to_buffered(&mut bytes).unwrap();
    bytes.into_inner()
}

fn read(bytes: &[u8]) -> EnvironmentMap {
    EnvironmentMap::from_picture(bytes).unwrap().map
}

#[test]
fn a_radiance_picture_is_read_exactly_and_survives_the_package() {
    let map = read(&hdr());
    assert_eq!((map.width as usize, map.height as usize), (WIDTH, HEIGHT));
    let expected: Vec<[f32; 3]> = texels().into_iter().map(radiance_of).collect();
    assert_eq!(map.radiance, expected);
    let encoded = map.encode();
    assert_eq!(encoded.as_chunks::<4>().0, texels());
    assert_eq!(EnvironmentMap::decode(&encoded, map.width, map.height).unwrap(), map);
}

#[test]
fn flat_and_old_run_length_rows_give_the_same_picture() {
    let mut flat = header(&format!("-Y {HEIGHT} +X {WIDTH}"));
    flat.extend(texels().as_flattened());
    assert_eq!(read(&flat), read(&hdr()));
    // 600 = 1 + 2 * 256 + 87 texels of one colour: a repetition of low and then of high order.
    let mut old = header("-Y 1 +X 600");
    old.extend([9, 9, 9, 129, 1, 1, 1, 87, 1, 1, 1, 2]);
    assert_eq!(read(&old).radiance, [[9.0 / 128.0; 3]; 600]);
}

#[test]
fn flipped_axes_and_exposure_are_undone() {
    let upright = read(&hdr());
    let mut flipped = header(&format!("+Y {HEIGHT} -X {WIDTH}"));
    flipped.extend(texels().iter().rev().flatten());
    assert_eq!(read(&flipped), upright);
    let exposed =
        [b"#?RGBE\nEXPOSURE=4\nEXPOSURE= 0.5\n\n-Y 1 +X 1\n".to_vec(), vec![128, 64, 32, 129]].concat();
    assert_eq!(read(&exposed).radiance, [[0.5, 0.25, 0.125]]);
}

#[test]
fn an_exr_keeps_its_values_within_the_encoding() {
    let pixel = |x: usize, y: usize| [x as f32 * 0.37, 100.0 + y as f32, 1e-3 * (x * y) as f32];
    let map = read(&exr(24, 12, pixel));
    for (index, texel) in map.radiance.iter().enumerate() {
        assert_eq!(*texel, pixel(index % 24, index / 24));
    }
    let encoded = map.encode();
    let decoded = EnvironmentMap::decode(&encoded, 24, 12).unwrap();
    for (before, after) in map.radiance.iter().zip(&decoded.radiance) {
        let brightest = before.iter().copied().fold(0.0, f32::max);
        for (a, b) in before.iter().zip(after) {
            assert!((a - b).abs() <= brightest / 256.0, "{a} became {b}");
        }
    }
    assert_eq!(decoded.encode(), encoded, "encoding what was decoded changes nothing");
}

#[test]
fn values_that_are_no_radiance_become_one_with_a_warning() {
    let bad = [f32::NAN, f32::INFINITY, -2.0, f32::MAX];
    let loaded = EnvironmentMap::from_picture(&exr(4, 2, |x, _| [bad[x], 1.0, 0.0])).unwrap();
    let reds: Vec<f32> = loaded.map.radiance[..4].iter().map(|texel| texel[0]).collect();
    assert_eq!(reds, [0.0, MAX_RADIANCE, 0.0, MAX_RADIANCE]);
    for what in [
        "2 values of the environment map are no numbers",
        "2 values of the environment map are negative",
        "4 values",
    ] {
        assert!(loaded.warnings.iter().any(|warning| warning.contains(what)), "{:?}", loaded.warnings);
    }
    let square = EnvironmentMap::from_picture(&exr(4, 4, |_, _| [1.0; 3])).unwrap();
    assert!(square.warnings[0].contains("twice as wide as high"), "{:?}", square.warnings);
}

#[test]
fn a_large_map_is_averaged_down() {
    let wide = MAX_ENVIRONMENT_WIDTH as usize * 2;
    let map = read(&exr(wide, 2, |x, _| [(x % 2) as f32 * 2.0, 3.0, (x / 2) as f32]));
    assert_eq!((map.width, map.height), (MAX_ENVIRONMENT_WIDTH, 2));
    assert_eq!(map.radiance[0], [1.0, 3.0, 0.0]);
    assert_eq!(map.radiance[7], [1.0, 3.0, 7.0]);
}

#[test]
fn b30_hostile_pictures_are_refused_in_one_sentence() {
    let refusal = |bytes: &[u8]| EnvironmentMap::from_picture(bytes).expect_err("must be refused");
    assert!(refusal(b"not a picture").contains("neither"));
    let row = header("-Y 1 +X 8");
    let with = |more: &[u8]| refusal(&[row.clone(), more.to_vec()].concat());
    assert!(with(&[2, 2, 0, 9]).contains("another width"));
    assert!(with(&[2, 2, 0, 8, 128 + 9, 1]).contains("leaves the row"));
    assert!(with(&[2, 2, 0, 8, 0]).contains("leaves the row"));
    assert!(with(&[2, 2, 0, 8, 8, 1, 2]).contains("truncated"));
    assert!(with(&[1, 1, 1, 5]).contains("repetition of nothing"));
    assert!(with(&[5, 5, 5, 5, 1, 1, 1, 8]).contains("leaves the row"));
    let zero_runs = [[5, 5, 5, 5].as_slice(), &[1, 1, 1, 0].repeat(100)].concat();
    assert!(with(&zero_runs).contains("truncated"));
    for size in
        ["-Y 20000 +X 8", "-Y 16384 +X 16384", "-Y 0 +X 8", "-Y 99999999999 +X 1", "+X 1 -Y 1", "-Y 1", ""]
    {
        assert!(EnvironmentMap::from_picture(&header(size)).is_err(), "{size}");
    }
    assert!(
        refusal(b"#?RADIANCE\nFORMAT=32-bit_rle_xyze\n\n-Y 1 +X 1\n\0\0\0\0").contains("red, green and blue")
    );
    assert!(refusal(b"#?RADIANCE\nEXPOSURE=0\n\n-Y 1 +X 1\n\0\0\0\0").contains("exposure"));
    assert!(refusal(&[b"#?".to_vec(), vec![b'a'; 1 << 20]].concat()).contains("header"));
}

#[test]
fn b31_cut_and_mutated_pictures_never_panic() {
    let (hdr, exr) = (hdr(), exr(16, 8, |x, y| [x as f32, y as f32, 0.5]));
    for length in 0..hdr.len() {
        assert!(EnvironmentMap::from_picture(&hdr[..length]).is_err(), "{length} bytes");
    }
    for length in (0..exr.len()).step_by(3) {
        let _ = EnvironmentMap::from_picture(&exr[..length]);
    }
    let mut state = 0x0DDB_1A5E_5BAD_5EED_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for original in [hdr, exr] {
        for _ in 0..1500 {
            let mut bytes = original.clone();
            for _ in 0..=random(4) {
                let at = random(bytes.len());
                bytes[at] = random(256) as u8;
            }
            if let Ok(loaded) = EnvironmentMap::from_picture(&bytes) {
                let values = loaded.map.radiance.as_flattened();
                assert!(values.iter().all(|value| (0.0..=MAX_RADIANCE).contains(value)));
            }
        }
    }
}

#[test]
fn b30_texels_from_a_stranger_are_judged() {
    let says = |bytes: &[u8], width, height, part: &str| {
        let sentence = EnvironmentMap::decode(bytes, width, height).unwrap_err().to_string();
        assert!(sentence.contains(part), "{sentence}");
    };
    says(&[0; 7], 2, 1, "7 bytes");
    says(&[0; 12], 2, 1, "12 bytes");
    says(&[], 0, 1, "0 x 1");
    says(&[], u32::MAX, u32::MAX, "are allowed");
    says(&[0; 4], MAX_ENVIRONMENT_WIDTH + 1, 1, "are allowed");
    says(&[0; 4], 1, MAX_ENVIRONMENT_HEIGHT + 1, "are allowed");
    says(&[0, 0, 0, 0, 255, 0, 0, 255], 2, 1, "texel 1 is brighter");
    // Any mantissas with an exponent that means black, and a texel at the limit.
    let map = EnvironmentMap::decode(&[255, 255, 255, 95, 244, 0, 0, 148], 2, 1).unwrap();
    assert_eq!(map.radiance, [[0.0; 3], [999_424.0, 0.0, 0.0]]);
    let brightest = EnvironmentMap { width: 1, height: 1, radiance: vec![[MAX_RADIANCE; 3]] };
    EnvironmentMap::decode(&brightest.encode(), 1, 1).expect("the brightest radiance survives");
}

fn parts(package: &ScenePackage) -> (Value, Vec<u8>) {
    let bytes = &package.bytes;
    let length = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
    let document = serde_json::from_slice(&bytes[20..20 + length]).unwrap();
    (document, bytes[28 + length..].to_vec())
}

fn source(path: &Path) -> EnvironmentSource<'_> {
    EnvironmentSource { path, strength: 2.5, rotation_turns: -0.25 }
}

#[test]
fn a_package_carries_its_environment() {
    let folder = tempfile::tempdir().unwrap();
    let (scene, sky) = (folder.path().join("a.glb"), folder.path().join("sky.hdr"));
    fs::write(&scene, generate(SceneKind::Cornell, 1, None)).unwrap();
    fs::write(&sky, hdr()).unwrap();
    let limits = SceneLimits::default();
    let package = pack_with_environment(&scene, Some(&source(&sky)), &limits).unwrap();
    assert_eq!(package, pack_with_environment(&scene, Some(&source(&sky)), &limits).unwrap());
    let (document, binary) = parts(&package);
    let named = &document["scenes"][0]["extras"][EXTRAS_KEY];
    assert_eq!(named["encoding"], "RGBE");
    assert_eq!((named["strength"].as_f64(), named["rotation"].as_f64()), (Some(2.5), Some(0.75)));
    assert!(document["scenes"][0]["extras"]["p2c2r_sky"].is_array(), "other extras stay");
    let view = &document["bufferViews"][named["bufferView"].as_u64().unwrap() as usize];
    let number = |key: &str| view[key].as_u64().unwrap() as usize;
    let bytes = &binary[number("byteOffset")..][..number("byteLength")];
    let map = EnvironmentMap::decode(bytes, WIDTH as u32, HEIGHT as u32).unwrap();
    assert_eq!(map, read(&hdr()));
    let carried = parse_package(&package.bytes, &limits).unwrap().scene.environment.unwrap();
    assert_eq!((carried.map, carried.strength, carried.rotation_turns), (map, 2.5, 0.75));
    let plain = parse_package(&pack(&scene, &limits).unwrap().bytes, &limits).unwrap().scene;
    assert_eq!(parse_package(&package.bytes, &limits).unwrap().scene.meshes, plain.meshes);
    assert_eq!(pack_with_environment(&scene, None, &limits).unwrap(), pack(&scene, &limits).unwrap());
}

#[test]
fn b30_damaged_descriptions_of_a_map_are_refused() {
    let refusal = |described: &str| {
        let text = format!(
            r#"{{"asset":{{"version":"2.0"}},"scene":0,"scenes":[{{"nodes":[0],"extras":{{"{EXTRAS_KEY}":{described}}}}}],
            "nodes":[{{"mesh":0}}],"meshes":[{{"primitives":[{{"attributes":{{"POSITION":0}}}}]}}],
            "accessors":[{{"bufferView":0,"componentType":5126,"count":3,"type":"VEC3"}}],
            "bufferViews":[{{"buffer":0,"byteLength":36}}],
            "buffers":[{{"byteLength":36,"uri":"data:;base64,AAAAAAAAAAAAAAAAAACAPwAAAAAAAAAAAAAAAAAAgD8AAAAA"}}]}}"#
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.gltf");
        fs::write(&path, text).unwrap();
        let limits = SceneLimits::default();
        let package = pack(&path, &limits).unwrap();
        parse_package(&package.bytes, &limits).map(|loaded| loaded.scene.environment)
    };
    let good = r#"{"bufferView":0,"width":3,"height":3,"encoding":"RGBE","strength":1,"rotation":0.5}"#;
    assert!(refusal(good).unwrap().is_some());
    for (from, to, part) in [
        ("\"width\":3", "\"width\":4", "do not fit"),
        ("\"width\":3", "\"width\":-1", "extras"),
        ("RGBE", "PNG", "encoding"),
        ("\"strength\":1", "\"strength\":-1", "strength"),
        ("\"rotation\":0.5", "\"rotation\":1.5", "rotation"),
        ("\"bufferView\":0", "\"bufferView\":9", "buffer view"),
        (good, "7", "extras"),
    ] {
        let sentence = refusal(&good.replace(from, to)).unwrap_err().to_string();
        assert!(sentence.contains(part), "{sentence}");
    }
}

#[test]
fn a_document_without_scenes_gets_one_of_its_roots() {
    let folder = tempfile::tempdir().unwrap();
    let (scene, sky) = (folder.path().join("a.gltf"), folder.path().join("sky.hdr"));
    let text = r#"{"asset":{"version":"2.0"},"nodes":[{},{"children":[0]},{}]}"#;
    fs::write(&scene, text).unwrap();
    fs::write(&sky, hdr()).unwrap();
    let package = pack_with_environment(&scene, Some(&source(&sky)), &SceneLimits::default()).unwrap();
    let (document, _) = parts(&package);
    assert_eq!(document["scenes"][0]["nodes"], serde_json::json!([1, 2]));
    for (text, part) in [
        (r#"{"asset":{},"scene":3,"scenes":[{}]}"#, "scene 3"),
        (r#"{"asset":{},"scenes":[{"extras":5}]}"#, "extras"),
        (r#"{"asset":{},"scenes":{}}"#, "list"),
    ] {
        fs::write(&scene, text).unwrap();
        let refused = pack_with_environment(&scene, Some(&source(&sky)), &SceneLimits::default());
        let sentence = refused.unwrap_err().to_string();
        assert!(sentence.contains(part), "{sentence}");
    }
}

#[test]
fn strength_rotation_and_missing_files_are_judged() {
    let folder = tempfile::tempdir().unwrap();
    let (scene, sky) = (folder.path().join("a.glb"), folder.path().join("sky.hdr"));
    fs::write(&scene, generate(SceneKind::Cornell, 1, None)).unwrap();
    fs::write(&sky, hdr()).unwrap();
    let refusal = |source: EnvironmentSource<'_>| {
        pack_with_environment(&scene, Some(&source), &SceneLimits::default()).unwrap_err().to_string()
    };
    for strength in [-1.0, f32::NAN, f32::INFINITY, 1e7] {
        assert!(refusal(EnvironmentSource { strength, ..source(&sky) }).contains("strength"));
    }
    assert!(refusal(EnvironmentSource { rotation_turns: f32::NAN, ..source(&sky) }).contains("rotation"));
    assert!(refusal(source(&folder.path().join("gone.hdr"))).contains("cannot read"));
    assert!(refusal(source(&scene)).contains("neither a Radiance"));
    let small =
        SceneLimits { package_bytes: fs::metadata(&scene).unwrap().len() + 100, ..SceneLimits::default() };
    let large = pack_with_environment(&scene, Some(&source(&sky)), &small).unwrap_err().to_string();
    assert!(large.contains("bytes"), "{large}");
}
