//! Bad files, flags, tickets and directories: one clear sentence, the right exit code, nothing half written.
#![allow(clippy::unwrap_used, reason = "a panic here is a test's report")]

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use p2c2r_testnet::{NodeOptions, Output, Testnet};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The command failed with this code and said so in one sentence with these words, without panic or backtrace.
#[track_caller]
fn assert_refused(output: &Output, code: i32, words: &[&str]) {
    assert_eq!(output.code, Some(code), "{output:?}");
    for word in words {
        assert!(output.stderr.contains(word), "`{word}` is not in: {}", output.stderr);
    }
    for word in ["panicked", "RUST_BACKTRACE", "stack backtrace"] {
        assert!(!output.stderr.contains(word), "{}", output.stderr);
    }
    let errors = output.stderr.lines().filter(|line| line.starts_with("error:")).count();
    assert_eq!(errors, 1, "one sentence: {}", output.stderr);
}

/// Renders alone and writes nothing when it fails.
#[track_caller]
fn refused_scene(testnet: &Testnet, scene: &Path, words: &[&str]) {
    let picture = testnet.path("never.png");
    let output =
        testnet.run(&["render", text(scene), "-o", text(&picture), "--local", "--spp", "1"]).unwrap();
    assert_refused(&output, 1, words);
    let left: Vec<_> = fs::read_dir(testnet.path("")).unwrap().filter_map(Result::ok).collect();
    assert!(left.iter().all(|entry| !entry.file_name().to_string_lossy().starts_with("never")), "{left:?}");
}

/// A one-triangle glTF with its buffer beside it.
fn triangle_gltf(buffer_uri: &str, byte_length: u64, image: &str) -> String {
    format!(
        r#"{{"asset":{{"version":"2.0"}},"scene":0,"scenes":[{{"nodes":[0]}}],"nodes":[{{"mesh":0}}],
        "meshes":[{{"primitives":[{{"attributes":{{"POSITION":0}}{material}}}]}}],
        "accessors":[{{"bufferView":0,"componentType":5126,"count":3,"type":"VEC3","min":[0,0,0],"max":[1,1,0]}}],
        "bufferViews":[{{"buffer":0,"byteLength":36}}],"buffers":[{{"uri":"{buffer_uri}","byteLength":{byte_length}}}]{image}}}"#,
        material = if image.is_empty() { "" } else { r#","material":0"# },
    )
}

fn corners(values: [f32; 9]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

const TRIANGLE: [f32; 9] = [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0];

#[test]
fn scenes_that_are_none() {
    let testnet = Testnet::new().unwrap();
    refused_scene(&testnet, &testnet.path("missing.glb"), &["missing.glb"]);
    refused_scene(&testnet, &testnet.path(""), &["file"]);
    let glb = testnet.path("cut.glb");
    testnet.run(&["scene", "cornell", "-o", text(&glb)]).unwrap();
    let whole = fs::read(&glb).unwrap();
    for length in [0, 3, 12, 19, 200, whole.len() - 1] {
        fs::write(&glb, &whole[..length]).unwrap();
        refused_scene(&testnet, &glb, &[]);
    }
    fs::write(&glb, b"this is a text, not a scene, and long enough to be one").unwrap();
    refused_scene(&testnet, &glb, &["glTF"]);
}

#[test]
fn b29_scenes_that_point_where_they_should_not() {
    let testnet = Testnet::new().unwrap();
    let folder = testnet.path("scenes");
    fs::create_dir(&folder).unwrap();
    fs::write(testnet.path("outside.bin"), corners(TRIANGLE)).unwrap();
    std::os::unix::fs::symlink(testnet.path("outside.bin"), folder.join("link.bin")).unwrap();
    let gltf = folder.join("scene.gltf");
    for uri in [
        "../outside.bin",
        "%2e%2e/outside.bin",
        "/etc/passwd",
        "http://example.org/a.bin",
        "file:///etc/passwd",
        "link.bin",
    ] {
        fs::write(&gltf, triangle_gltf(uri, 36, "")).unwrap();
        refused_scene(&testnet, &gltf, &["URI"]);
    }
    fs::write(&gltf, triangle_gltf("missing.bin", 36, "")).unwrap();
    refused_scene(&testnet, &gltf, &["missing.bin"]);
    fs::write(folder.join("short.bin"), [0; 20]).unwrap();
    fs::write(&gltf, triangle_gltf("short.bin", 36, "")).unwrap();
    refused_scene(&testnet, &gltf, &[]);
    fs::write(&gltf, triangle_gltf("short.bin", 1 << 40, "")).unwrap();
    refused_scene(&testnet, &gltf, &[]);
    fs::write(folder.join("good.bin"), corners(TRIANGLE)).unwrap();
    let image = r#","materials":[{"pbrMetallicRoughness":{"baseColorTexture":{"index":0}}}],"textures":[{"source":0}],"images":[{"uri":"missing.png"}]"#;
    fs::write(&gltf, triangle_gltf("good.bin", 36, image)).unwrap();
    refused_scene(&testnet, &gltf, &["missing.png"]);
}

#[test]
fn b28_scenes_with_impossible_geometry() {
    let testnet = Testnet::new().unwrap();
    let gltf = testnet.path("scene.gltf");
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut values = TRIANGLE;
        values[4] = bad;
        fs::write(testnet.path("a.bin"), corners(values)).unwrap();
        fs::write(&gltf, triangle_gltf("a.bin", 36, "")).unwrap();
        refused_scene(&testnet, &gltf, &["mesh"]);
    }
    fs::write(&gltf, r#"{"asset":{"version":"2.0"},"scene":0,"scenes":[{"nodes":[0]}],"nodes":[{}]}"#)
        .unwrap();
    refused_scene(&testnet, &gltf, &["no triangles"]);
}

#[test]
fn flags_out_of_range() {
    let testnet = Testnet::new().unwrap();
    let scene = testnet.path("c.glb");
    testnet.run(&["scene", "cornell", "-o", text(&scene)]).unwrap();
    let render = |more: &[&str]| {
        let mut arguments = vec!["render", text(&scene), "-o", "x.png", "--local"];
        arguments.extend(more);
        testnet.run(&arguments).unwrap()
    };
    assert_refused(&render(&["--size", "0x0"]), 2, &["0x0"]);
    assert_refused(&render(&["--size", "100000x100000"]), 2, &["100000x100000"]);
    assert_refused(&render(&["--size", "wide"]), 2, &["wide"]);
    assert_refused(&render(&["--spp", "0"]), 2, &["--spp"]);
    assert_refused(&render(&["--max-depth", "1000"]), 2, &["--max-depth"]);
    assert_refused(&render(&["--colour"]), 2, &["--colour"]);
    assert_refused(&render(&["--denoise", "optix"]), 2, &["optix", "atrous"]);
    assert_refused(&render(&["--tone", "film"]), 2, &["film", "agx"]);
    assert_refused(&render(&["--exposure", "99"]), 2, &["99", "stops"]);
    assert_refused(&render(&["--png-bits", "12"]), 2, &["12", "16"]);
    assert_refused(&render(&["--camera", "nobody"]), 1, &["nobody"]);
    assert_refused(&render(&["--frames", "1..5"]), 2, &["1..5", "1..=240"]);
    assert_refused(&render(&["--frames", "5..=1"]), 2, &["end before they begin"]);
    assert_refused(&render(&["--frames", "1..=9999999"]), 2, &["too many"]);
    assert_refused(&render(&["--frames", "1", "--fps", "fast"]), 2, &["fast", "30000/1001"]);
    assert_refused(&render(&["--fps", "24"]), 2, &["--frames"]);
    assert_refused(&render(&["--frames", "90000", "--fps", "1"]), 1, &["moment", "out of range"]);
    assert_refused(&testnet.run(&["dance"]).unwrap(), 2, &["dance"]);
}

#[test]
fn b44_outputs_that_cannot_be_written() {
    let testnet = Testnet::new().unwrap();
    let scene = testnet.path("c.glb");
    testnet.run(&["scene", "cornell", "-o", text(&scene)]).unwrap();
    let render = |output: &Path, more: &[&str]| {
        let mut arguments =
            vec!["render", text(&scene), "-o", text(output), "--local", "--size", "16x16", "--spp", "1"];
        arguments.extend(more);
        testnet.run(&arguments).unwrap()
    };
    assert_refused(&render(&testnet.path(""), &[]), 1, &[]);
    assert_refused(&render(&testnet.path("picture.bmp"), &[]), 1, &[".png", ".exr"]);
    assert_refused(&render(&testnet.path("nowhere/picture.png"), &[]), 1, &["nowhere"]);
    let picture = testnet.path("picture.png");
    fs::write(&picture, b"precious").unwrap();
    assert_refused(&render(&picture, &[]), 1, &["--force"]);
    assert_eq!(fs::read(&picture).unwrap(), b"precious");
    assert_eq!(render(&picture, &["--force"]).code, Some(0));
    assert_eq!(render(&testnet.path("picture.exr"), &[]).code, Some(0));
    // One frame that cannot be written is enough to render none.
    fs::write(testnet.path("walk.0002.png"), b"precious").unwrap();
    assert_refused(
        &render(&testnet.path("walk.png"), &["--frames", "0..=3"]),
        1,
        &["walk.0002.png", "--force"],
    );
    assert!(!testnet.path("walk.0000.png").exists());
    assert_eq!(render(&testnet.path("walk.png"), &["--frames", "0..=1"]).code, Some(0));
}

#[test]
fn b37_damaged_tickets() {
    let mut testnet = Testnet::new().unwrap();
    let ticket = testnet.start(&NodeOptions::default()).unwrap().ticket().unwrap();
    let damaged = format!("{}{}", &ticket[..ticket.len() - 4], "aaaa");
    let huge = "p".repeat(100_000);
    for (bad, word) in [
        (damaged.as_str(), "damaged"),
        ("hello", "not a ticket"),
        ("p2c2r2abc", "version"),
        (&huge, "longer"),
    ] {
        let output = testnet.run(&["run", "--join", bad]).unwrap();
        assert_refused(&output, 2, &[word]);
    }
}

#[test]
fn ports_and_directories_in_use() {
    let mut testnet = Testnet::new().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr().unwrap().port());
    assert_refused(&testnet.run(&["run", "--no-mdns", "--listen", &taken]).unwrap(), 1, &["in use", &taken]);
    assert_refused(&testnet.run(&["run", "--no-mdns", "--listen", "nonsense"]).unwrap(), 1, &["nonsense"]);

    let node = testnet.start(&NodeOptions::default()).unwrap();
    let second = node.run(&["run", "--no-mdns"]).unwrap();
    assert_refused(&second, 1, &["in use by another"]);

    let blocked = testnet.path("blocked");
    fs::write(&blocked, b"a file where a directory should be").unwrap();
    let output = testnet.run(&["run", "--no-mdns", "--data-dir", text(&blocked)]).unwrap();
    assert_refused(&output, 1, &["blocked"]);
    let nobody = testnet.run(&["status"]).unwrap();
    assert_refused(&nobody, 1, &["no node is running"]);
}

#[test]
fn b38_key_that_others_can_read() {
    let testnet = Testnet::new().unwrap();
    let data = testnet.path("open");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("key"), [7; 32]).unwrap();
    fs::set_permissions(data.join("key"), fs::Permissions::from_mode(0o644)).unwrap();
    let output = testnet.run(&["run", "--no-mdns", "--data-dir", text(&data)]).unwrap();
    assert_refused(&output, 1, &["chmod 600"]);
}

#[test]
fn b38_configuration_that_is_wrong() {
    let testnet = Testnet::new().unwrap();
    let config = testnet.path("config.toml");
    fs::write(&config, "mdns = true\nbandwith = 3\n").unwrap();
    let output = testnet.run(&["run", "--config", text(&config)]).unwrap();
    assert_refused(&output, 1, &["config.toml", "bandwith", "line 2"]);
}

#[test]
fn f14_corrupted_store_is_moved_aside_and_the_node_starts() {
    let mut testnet = Testnet::new().unwrap();
    let data = testnet.path("node-0");
    fs::create_dir_all(data.join("store")).unwrap();
    for name in ["conf", "db"] {
        fs::write(data.join("store").join(name), [0x5a; 8192]).unwrap();
    }
    let node = testnet.start(&NodeOptions::default()).unwrap();
    assert!(node.log().contains("moved aside"), "{}", node.log());
    assert_eq!(node.stop().unwrap(), Some(0));
}

#[test]
fn without_node_and_peers_the_picture_is_made_here_and_it_says_so() {
    let testnet = Testnet::new().unwrap();
    let scene = testnet.path("c.glb");
    testnet.run(&["scene", "cornell", "-o", text(&scene)]).unwrap();
    let picture = testnet.path("alone.png");
    let arguments =
        ["render", text(&scene), "-o", text(&picture), "--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0"];
    let output = testnet.run(&[&arguments[..], &["--size", "32x32", "--spp", "2"]].concat()).unwrap();
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    assert!(output.stderr.contains("rendering locally"), "{}", output.stderr);
    assert_eq!(&fs::read(&picture).unwrap()[1..4], b"PNG");
}
