//! OBJ scenes and their material libraries become GLB packages, and hostile ones one clear sentence.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::float_cmp,
    reason = "a panic is a test's report; the numbers are exact"
)]

use std::{fmt::Write as _, fs, io::Cursor};

use p2c2r_render::{
    limit::SceneLimits,
    scene::{
        SceneError,
        gltf::parse_package,
        package::{ScenePackage, pack},
    },
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A triangle without anything else.
const TRIANGLE: &str = "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n";

struct Files(TempDir);

impl Files {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        Self(folder)
    }

    fn pack_with(&self, limits: &SceneLimits) -> Result<ScenePackage, SceneError> {
        pack(&self.0.path().join("a.obj"), limits)
    }

    fn pack(&self) -> Result<ScenePackage, SceneError> {
        self.pack_with(&SceneLimits::default())
    }
}

fn document(package: &ScenePackage) -> Value {
    let length = u32::from_le_bytes(package.bytes[12..16].try_into().unwrap()) as usize;
    serde_json::from_slice(&package.bytes[20..20 + length]).unwrap()
}

fn pack_text(obj: &str) -> Result<ScenePackage, SceneError> {
    Files::new(&[("a.obj", obj.as_bytes())]).pack()
}

fn refusal(obj: &str) -> String {
    pack_text(obj).expect_err("must be refused").to_string()
}

/// The only material of a triangle, and the warnings.
fn material(mtl: &str, pictures: &[(&str, &[u8])]) -> (Value, Vec<String>) {
    let obj = format!("mtllib a.mtl\nusemtl m\n{TRIANGLE}");
    let mtl = format!("newmtl m\n{mtl}\n");
    let mut files = vec![("a.obj", obj.as_bytes()), ("a.mtl", mtl.as_bytes())];
    files.extend_from_slice(pictures);
    let package = Files::new(&files).pack().unwrap();
    parse_package(&package.bytes, &SceneLimits::default()).expect("the package loads");
    let document = document(&package);
    assert_eq!(document["materials"].as_array().unwrap().len(), 1);
    (document["materials"][0].clone(), package.warnings)
}

fn png(pixels: &[[u8; 3]]) -> Vec<u8> {
    let picture = image::RgbImage::from_raw(pixels.len() as u32, 1, pixels.as_flattened().to_vec()).unwrap();
    let mut bytes = Vec::new();
    picture.write_to(&mut Cursor::new(&mut bytes), image::ImageFormat::Png).unwrap();
    bytes
}

#[track_caller]
fn assert_says(sentences: &[String], part: &str) {
    assert!(sentences.iter().any(|sentence| sentence.contains(part)), "{sentences:?} do not say \"{part}\"");
}

#[track_caller]
fn assert_near(value: &Value, expected: f64) {
    let value = value.as_f64().expect("a number");
    assert!((value - expected).abs() < 1e-5, "{value} is not {expected}");
}

#[test]
fn two_materials_a_pentagon_and_negative_indices_become_a_scene() {
    let obj = "\
# a pentagon, and a square given from the end
mtllib my materials.mtl
o first
v 0 0 0
v 2 0 0
v 3 2 0
v 1 3 0
v -1 2 0
vt 0 0
vt 1 0.25
vt 0.5 1
vn 0 0 2
usemtl wood
f 1/1/1 2/2/1 3/3/1 4/1/1 5/2/1
o second
v 0 0 1 # a comment
v 1 0 1
v 1 1 \\
  1
v 0 1 1
usemtl lamp
f -4 -3 -2 -1
usemtl wood
f -4/-3/-1 -3/-2/-1 -2/-1/-1
";
    let mtl =
        "newmtl wood\nKd 0.5 0.25 1\nKs 1 1 1\nNs 30\nmap_Kd wood.png\nnewmtl lamp\nKd 0 0 0\nKe 4 2 0\n";
    let wood = png(&[[200, 100, 50], [0, 0, 0]]);
    let files =
        [("a.obj", obj.as_bytes()), ("my materials.mtl", mtl.as_bytes()), ("wood.png", wood.as_slice())];
    let package = Files::new(&files).pack().unwrap();
    assert_eq!(package.name, "a");
    assert_eq!(package.warnings, Vec::<String>::new());
    assert_eq!(package, Files::new(&files).pack().unwrap(), "the same files give the same bytes");
    let scene = parse_package(&package.bytes, &SceneLimits::default()).unwrap().scene;
    let of = |material: u32| {
        scene.meshes[0].triangles.iter().filter(|triangle| triangle.material == material).count()
    };
    assert_eq!((scene.placed_triangles(), of(0), of(1)), (6, 4, 2));
    let [wood, lamp, _] = &scene.materials[..] else { panic!("two materials and the default one") };
    assert_eq!((wood.base_color, wood.metallic), ([0.5, 0.25, 1.0, 1.0], 0.0));
    assert!((wood.roughness - 0.5).abs() < 1e-6, "(2 / 32)^(1/4) is a half, not {}", wood.roughness);
    assert_eq!(
        (lamp.base_color, lamp.emission, lamp.roughness),
        ([0.0, 0.0, 0.0, 1.0], [4.0, 2.0, 0.0], 1.0)
    );
    assert_eq!(scene.images[0].texels[0], [200, 100, 50, 255]);
    // The fan of the pentagon starts at its first corner; v is turned over.
    let mesh = &scene.meshes[0];
    let corner = |triangle: usize, corner: usize| {
        let vertex = mesh.triangles[triangle].vertices[corner] as usize;
        (mesh.positions[vertex], mesh.uvs[0][vertex], mesh.normals[vertex])
    };
    assert_eq!(corner(0, 1).0, [2.0, 0.0, 0.0]);
    assert_eq!((corner(0, 1).1, corner(0, 1).2), ([1.0, 0.75], [0.0, 0.0, 1.0]));
    assert_eq!([corner(2, 0).0, corner(2, 2).0], [[0.0; 3], [-1.0, 2.0, 0.0]]);
    // The last triangle, of the second object's vertices.
    assert_eq!(corner(3, 2).0, [1.0, 1.0, 1.0]);
    assert_eq!(corner(3, 0).1, [0.0, 1.0]);
    let document = document(&package);
    assert_eq!(document["nodes"].as_array().unwrap().len(), 2, "one node a material");
    assert!(document["meshes"][1]["primitives"][0]["attributes"].get("NORMAL").is_none());
    assert_eq!(document["materials"][0]["doubleSided"], true);
}

#[test]
fn material_values_have_their_counterparts() {
    let (glass, _) = material("Kd 0 0 0\nd 0.25\nNi 1.45\nillum 7", &[]);
    assert_near(&glass["extensions"]["KHR_materials_transmission"]["transmissionFactor"], 0.75);
    assert_near(&glass["extensions"]["KHR_materials_ior"]["ior"], 1.45);
    assert!(glass.get("alphaMode").is_none());
    let (veil, warnings) = material("Kd 1 0.5 0.25\nTr 0.75\nNi 1\nillum 2\nTf 1 1 1", &[]);
    assert_eq!(veil["pbrMetallicRoughness"]["baseColorFactor"], json!([1.0, 0.5, 0.25, 0.25]));
    assert_eq!((&veil["alphaMode"], veil.get("extensions")), (&json!("BLEND"), None));
    assert_eq!(warnings, Vec::<String>::new());
    let (opaque, warnings) = material("illum 6", &[]);
    assert!(opaque.get("extensions").is_none());
    assert_says(&warnings, "does not say how clear");
    let (metal, _) = material("Pm 0.75\nPr 0.5\nNs 900\nKs 1 1 1\nKe 0.5 0.25 0", &[]);
    let surface = &metal["pbrMetallicRoughness"];
    assert_eq!((&surface["metallicFactor"], &surface["roughnessFactor"]), (&json!(0.75), &json!(0.5)));
    assert_eq!(metal["emissiveFactor"], json!([0.5, 0.25, 0.0]));
    let (lamp, _) = material("Ke 8 4 0", &[]);
    assert_eq!(lamp["emissiveFactor"], json!([1.0, 0.5, 0.0]));
    assert_near(&lamp["extensions"]["KHR_materials_emissive_strength"]["emissiveStrength"], 8.0);
    let (_, warnings) = material("map_d a.png\ndisp b.png\nKa 1 1 1\nKe -1 0 1e9", &[]);
    assert_says(&warnings, "map_d is ignored");
    assert_says(&warnings, "disp is ignored");
    assert_says(&warnings, "its Ke is brought into");
}

#[test]
fn pictures_become_textures_and_bump_maps_of_heights_do_not() {
    let normals = png(&[[128, 128, 255], [200, 128, 232]]);
    let heights = png(&[[90, 90, 90], [128, 128, 128]]);
    let (rough, metal) = (png(&[[10, 10, 10], [20, 20, 20]]), png(&[[255, 255, 255]]));
    let files: [(&str, &[u8]); 4] =
        [("n.png", &normals), ("h.png", &heights), ("r.png", &rough), ("m.png", &metal)];
    let (bump, warnings) = material("map_Bump -bm 0.5 n.png\nmap_Ke -clamp on n.png", &files);
    assert_eq!(bump["normalTexture"], json!({ "index": 1, "scale": 0.5 }));
    assert_eq!(
        (&bump["emissiveTexture"]["index"], &bump["emissiveFactor"]),
        (&json!(0), &json!([1.0, 1.0, 1.0]))
    );
    assert_eq!(warnings, Vec::<String>::new());
    let (bump, warnings) = material("bump h.png", &files);
    assert!(bump.get("normalTexture").is_none());
    assert_says(&warnings, "heights, not normals");
    let (norm, _) = material("norm h.png", &files);
    assert_eq!(norm["normalTexture"]["index"], 0, "what is called a normal map is one");
    let (mixed, _) = material("map_Pr r.png\nmap_Pm m.png", &files);
    let surface = &mixed["pbrMetallicRoughness"];
    assert_eq!(surface["metallicRoughnessTexture"]["index"], 0);
    assert_eq!((&surface["metallicFactor"], &surface["roughnessFactor"]), (&json!(1.0), &json!(1.0)));
    let (black, warnings) = material("Kd 0 0 0\nmap_Kd -s 2 2 1 r.png", &files);
    assert_eq!(black["pbrMetallicRoughness"]["baseColorFactor"], json!([1.0, 1.0, 1.0, 1.0]));
    assert_says(&warnings, "counts as white");
    assert_says(&warnings, "option -s");
}

#[test]
fn combined_pictures_have_roughness_in_green_and_metal_in_blue() {
    let mtl = "newmtl m\nmap_Pr r.png\nmap_Pm m.png\n";
    let obj = format!("mtllib a.mtl\nusemtl m\n{TRIANGLE}");
    let (rough, metal) = (png(&[[10, 10, 10], [20, 20, 20]]), png(&[[30, 30, 30], [40, 40, 40]]));
    let files: [(&str, &[u8]); 4] =
        [("a.obj", obj.as_bytes()), ("a.mtl", mtl.as_bytes()), ("r.png", &rough), ("m.png", &metal)];
    let package = Files::new(&files).pack().unwrap();
    let document = document(&package);
    let json_length = u32::from_le_bytes(package.bytes[12..16].try_into().unwrap()) as usize;
    let view = &document["bufferViews"][document["images"][0]["bufferView"].as_u64().unwrap() as usize];
    let number = |key: &str| view[key].as_u64().unwrap() as usize;
    let bytes = &package.bytes[28 + json_length + number("byteOffset")..][..number("byteLength")];
    let picture = image::load_from_memory(bytes).unwrap().into_rgb8();
    let pixels: Vec<[u8; 2]> = picture.pixels().map(|pixel| [pixel.0[1], pixel.0[2]]).collect();
    assert_eq!(pixels, [[10, 30], [20, 40]]);
}

#[test]
fn missing_and_unreadable_companions_are_warned_about() {
    let obj = format!(
        "mtllib gone.mtl a.mtl\nusemtl m\n{TRIANGLE}usemtl other\ns 1\ng x\nf 3 2 1\nl 1 2 3\ncurv 1 2\n"
    );
    let mtl = "Kd 1 1 1\nnewmtl m\nmap_Kd gone.png\nmap_Ke a.obj\nKe 1 1 1\n";
    let package = Files::new(&[("a.obj", obj.as_bytes()), ("a.mtl", mtl.as_bytes())]).pack().unwrap();
    for part in [
        "the material library \"gone.mtl\" is missing",
        "line 3 of \"a.mtl\": the picture \"gone.png\" is missing",
        "line 4 of \"a.mtl\": the picture \"a.obj\" is neither PNG nor JPEG",
        "does not glow without its picture",
        "material \"other\" is in no library",
        "smoothing groups are ignored",
        "points and lines are ignored",
        "statements \"curv\" are ignored",
        "before the first material",
    ] {
        assert_says(&package.warnings, part);
    }
    let scene = parse_package(&package.bytes, &SceneLimits::default()).unwrap().scene;
    assert_eq!(scene.placed_triangles(), 2, "a polyline of three points is no triangle");
    assert_eq!(scene.materials[1].base_color, [0.8, 0.8, 0.8, 1.0]);
}

#[test]
fn corners_with_different_attributes_keep_their_own() {
    // The same vertices with and without texture coordinates, in turn, and a face of both kinds.
    let obj = format!("{TRIANGLE}vt 0.25 0.5\nvt 1 1\nf 1/1 2/2 3/1\nf 1 3 2\nf 3/2 2/1 1/2\nf 1/1 2 3/2\n");
    let package = pack_text(&obj).unwrap();
    assert_says(&package.warnings, "only some corners");
    let scene = parse_package(&package.bytes, &SceneLimits::default()).unwrap().scene;
    let uvs: Vec<[[f32; 2]; 3]> = scene.meshes[0]
        .triangles
        .iter()
        .map(|triangle| triangle.vertices.map(|index| scene.meshes[0].uvs[0][index as usize]))
        .collect();
    assert_eq!(uvs.len(), 5);
    let (first, second) = ([0.25, 0.5], [1.0, 0.0]);
    assert!(uvs.contains(&[first, second, first]) && uvs.contains(&[second, first, second]));
    assert_eq!(document(&package)["meshes"][0]["primitives"].as_array().unwrap().len(), 2);
}

#[test]
fn vertex_colours_are_linear() {
    let package = pack_text("v 0 0 0 1 0.5 0\nv 1 0 0 1 0.5 0\nv 0 1 0 1 0.5 0\nf 1 2 3\n").unwrap();
    let document = document(&package);
    let accessor = document["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"].as_u64().unwrap() as usize;
    let view = document["accessors"][accessor]["bufferView"].as_u64().unwrap() as usize;
    let json_length = u32::from_le_bytes(package.bytes[12..16].try_into().unwrap()) as usize;
    let start = 28 + json_length + document["bufferViews"][view]["byteOffset"].as_u64().unwrap() as usize;
    let green = f32::from_le_bytes(package.bytes[start + 4..start + 8].try_into().unwrap());
    assert!((green - 0.214_041).abs() < 1e-5, "{green}");
    let mixed = pack_text("v 0 0 0 1 0.5 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n").unwrap();
    assert_says(&mixed.warnings, "only some vertices have colours");
}

#[test]
fn b30_bad_lines_are_named() {
    for (bad, part) in [
        ("f 1 2 4", "the index 4 of a vertex is out of range: 3 are given"),
        ("f 1 2 0", "the index 0"),
        ("f -4 1 2", "the index -4"),
        ("f 1 2 99999999999999999999", "no index of a vertex"),
        ("f 1 2 -9223372036854775808", "out of range"),
        ("f 1 2 9223372036854775807", "out of range"),
        ("f 1 2 x", "\"x\" is no index"),
        ("f 1 2 /1", "no index"),
        ("f 1 2 1/1/1/1", "more than three"),
        ("v 1 2", "three coordinates"),
        ("v 1 2 x", "\"x\" is no finite number"),
        ("v 1 2 nan", "no finite number"),
        ("v inf 2 3", "no finite number"),
        ("v 1e39 2 3", "no finite number"),
        ("v 1e10 2 3", "farther than"),
        ("vt", "at least one number"),
        ("vt 1e7 0", "over"),
        ("vn 0 1", "three numbers"),
        ("usemtl", "a name is missing"),
        ("mtllib", "a name is missing"),
    ] {
        let sentence = refusal(&format!("{TRIANGLE}\n{bad}\nf 1 2 3\n"));
        assert!(sentence.contains("line 6 of the OBJ file") && sentence.contains(part), "{bad}: {sentence}");
    }
    let uv = refusal(&format!("{TRIANGLE}vt 0 0\nf 1/2 2/1 3/1\n"));
    assert!(uv.contains("the index 2 of a texture coordinate"), "{uv}");
    let later = refusal("f 1 2 3\nv 0 0 0\nv 1 0 0\nv 0 1 0\n");
    assert!(later.contains("line 1 ") && later.contains("given above it"), "{later}");
    for empty in ["", "# nothing\n", "v 0 0 0\n", "v 0 0 0\nf 1 1\n", "\0\u{1}binary"] {
        assert!(refusal(empty).contains("no triangles"), "{empty:?}");
    }
}

#[test]
fn b29_names_that_leave_the_folder_are_refused() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("scene");
    fs::create_dir(&folder).unwrap();
    fs::write(parent.path().join("secret.mtl"), "newmtl m\n").unwrap();
    fs::write(parent.path().join("secret.png"), png(&[[1, 2, 3]])).unwrap();
    let hostile =
        ["../secret", "/etc/secret", "..\\secret", "C:\\secret", "http://host/secret", "a/../../secret"];
    for name in hostile {
        let say = |obj: String, mtl: String| {
            fs::write(folder.join("a.obj"), obj).unwrap();
            fs::write(folder.join("a.mtl"), mtl).unwrap();
            pack(&folder.join("a.obj"), &SceneLimits::default()).expect_err(name).to_string()
        };
        let library = say(format!("mtllib {name}.mtl\n{TRIANGLE}"), String::new());
        assert!(library.contains("line 1 of the OBJ file") && library.contains("secret.mtl"), "{library}");
        for keyword in ["map_Kd", "map_Ke", "norm", "bump", "map_Pr", "map_Pm"] {
            let obj = format!("mtllib a.mtl\nusemtl m\n{TRIANGLE}");
            let picture = say(obj, format!("newmtl m\n{keyword} {name}.png\n"));
            assert!(picture.contains("line 2 of \"a.mtl\"") && picture.contains("secret.png"), "{picture}");
        }
    }
}

#[cfg(unix)]
#[test]
fn b29_symbolic_links_out_of_the_folder_are_refused() {
    let outside = Files::new(&[("secret.mtl", b"newmtl m\n")]);
    let files = Files::new(&[("a.obj", format!("mtllib link.mtl\n{TRIANGLE}").as_bytes())]);
    std::os::unix::fs::symlink(outside.0.path().join("secret.mtl"), files.0.path().join("link.mtl")).unwrap();
    let sentence = files.pack().unwrap_err().to_string();
    assert!(sentence.contains("leads out of the scene's folder"), "{sentence}");
}

#[test]
fn b26_limits_hold_before_memory_is_taken() {
    let says = |obj: &str, limits: SceneLimits, part: &str| {
        let files = Files::new(&[("a.obj", obj.as_bytes())]);
        let sentence = files.pack_with(&limits).unwrap_err().to_string();
        assert!(sentence.contains(part), "{sentence}");
    };
    let limits = SceneLimits::default();
    says(TRIANGLE, SceneLimits { package_bytes: 20, ..limits }, "at most 20");
    says(TRIANGLE, SceneLimits { package_bytes: 100, ..limits }, "bytes");
    says(
        TRIANGLE,
        SceneLimits { vertices: 2, ..limits },
        "line 3 of the OBJ file: the scene has vertices: 3",
    );
    let fan = format!("{TRIANGLE}f{}\n", " 1 2 3".repeat(50));
    says(
        &fan,
        SceneLimits { triangles: 100, ..limits },
        "line 5 of the OBJ file: the scene has triangles: 149",
    );
    let changes = (0..20).fold(TRIANGLE.to_owned(), |mut text, index| {
        writeln!(text, "usemtl m{index}\nf 1 2 3").unwrap();
        text
    });
    says(&changes, SceneLimits { nodes: 10, ..limits }, "changes of material: 11");
    let libraries = "mtllib a.mtl\n".repeat(300);
    says(&libraries, limits, "material libraries: 257");
}

#[test]
fn b31_long_lines_and_strange_bytes_are_survived() {
    let long = format!("{TRIANGLE}f{}\n", " 1 2 3".repeat(1 << 18));
    let package = pack_text(&long).unwrap();
    let scene = parse_package(&package.bytes, &SceneLimits::default()).unwrap().scene;
    assert_eq!(scene.placed_triangles(), 1 + 3 * (1 << 18) - 2);
    let name = "n".repeat(1 << 20);
    for line in [format!("usemtl {name}"), format!("mtllib {name}"), format!("v {name}"), format!("f {name}")]
    {
        let sentence = refusal(&format!("{TRIANGLE}{line}\n"));
        assert!(sentence.len() < 1000 && sentence.contains("line 5"), "{sentence}");
    }
    pack_text(&format!("{TRIANGLE}{name} 1\n# {name}\ng {name}\n")).unwrap();
    let latin = [b"# M\xFCller\ng \xFC\nusemtl \xFC\n".as_slice(), TRIANGLE.as_bytes()].concat();
    Files::new(&[("a.obj", &latin)]).pack().unwrap();
}

/// Thousands of damaged files: each is a package that loads, or an error.
#[test]
fn b31_mutated_files_never_panic() {
    let obj = "mtllib a.mtl\nusemtl m\nv 0 0 0\nv 1 0 0\nv 0 1 0\nv 1 1 0\nvt 0 1\nvt 1 1\nvn 0 0 1\n\
               f 1/1/1 2/2/1 4/1/1 3/2/1\ng b\nf -1//-1 -2//-1 -3//-1\ns 1\nf 1 2 3\n";
    let mtl =
        "newmtl m\nKd 0.5 0.5 0.5\nNs 20\nKs 1 1 1\nKe 2 1 1\nd 0.5\nmap_Kd p.png\nbump p.png\nillum 7\n";
    let picture = png(&[[128, 128, 255]]);
    let files = Files::new(&[("p.png", &picture)]);
    let mut state = 0x5EED_0B1E_0B1E_5EED_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut packed = 0;
    for round in 0..1200 {
        let (mut a, mut b) = (obj.as_bytes().to_vec(), mtl.as_bytes().to_vec());
        let bytes = if round % 2 == 0 { &mut a } else { &mut b };
        for _ in 0..=random(3) {
            let at = random(bytes.len());
            match random(4) {
                0 => bytes[at] = random(256) as u8,
                1 => bytes[at] = b" -/\\#\n.e9"[random(9)],
                2 => bytes.truncate(at.max(1)),
                _ => {
                    bytes.remove(at);
                }
            }
            if bytes.is_empty() {
                break;
            }
        }
        fs::write(files.0.path().join("a.obj"), &a).unwrap();
        fs::write(files.0.path().join("a.mtl"), &b).unwrap();
        if let Ok(package) = files.pack() {
            packed += 1;
            parse_package(&package.bytes, &SceneLimits::default()).expect("what is packed loads");
        }
    }
    assert!(packed > 200, "only {packed} mutants were packed: the test has lost its teeth");
}
