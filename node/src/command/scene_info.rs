//! `scene info`: what is in a scene file.

use std::fmt::Write as _;

use anyhow::Context;
use p2c2r_protocol::blob::scene_hash;
use p2c2r_render::{
    limit::SceneLimits,
    scene::{
        SceneSummary,
        gltf::{AnimationSpan, parse_package},
        package::pack,
    },
};
use serde::Serialize;

use crate::{
    cli::{GlobalArgs, SceneInfoArgs},
    exit::Exit,
    memory,
};

/// The form's name and version; a reader checks it first.
const SCHEMA: &str = "p2c2r.scene/1";
/// Most names of a list that the table shows.
const MAX_SHOWN: usize = 12;
const MIB: f64 = 1_048_576.0;

/// Everything that is known of a scene file.
#[derive(Debug, Serialize)]
struct SceneInfo {
    /// [`SCHEMA`].
    schema: &'static str,
    /// The file's name without its ending.
    name: String,
    /// Size of the file itself, without what it refers to.
    file_bytes: u64,
    /// Size of the package that contributors fetch.
    package_bytes: u64,
    /// BLAKE3 of the package: what the swarm calls the scene.
    package_blake3: String,
    #[serde(flatten)]
    summary: SceneSummary,
    /// What is not rendered as the file says.
    warnings: Vec<String>,
}

/// Packs and loads the scene, and prints what is in it.
pub fn info(global: &GlobalArgs, args: &SceneInfoArgs) -> anyhow::Result<Exit> {
    let path = &args.scene;
    let limits =
        SceneLimits { prepared_bytes: memory::for_scenes_bytes(args.memory_mib), ..SceneLimits::default() };
    let package = pack(path, &limits)?;
    let here = || format!("scene {}", path.display());
    let loaded = parse_package(&package.bytes, &limits).with_context(here)?;
    let info = SceneInfo {
        schema: SCHEMA,
        name: package.name,
        file_bytes: std::fs::metadata(path).with_context(here)?.len(),
        package_bytes: package.bytes.len() as u64,
        package_blake3: scene_hash(&package.bytes).to_string(),
        summary: SceneSummary::new(&package.bytes, &loaded)?,
        warnings: package.warnings.into_iter().chain(loaded.warnings).collect(),
    };
    if args.json {
        println!("{}", serde_json::to_string(&info)?);
        return Ok(Exit::Done);
    }
    print!("{}", table(&info));
    if !global.quiet {
        for warning in &info.warnings {
            eprintln!("warning: {warning}");
        }
    }
    Ok(Exit::Done)
}

fn table(info: &SceneInfo) -> String {
    let SceneSummary { lights, bounds: [low, high], .. } = &info.summary;
    let summary = &info.summary;
    let none = || "none".to_owned();
    let rows = [
        ("scene", format!("{} ({})", info.name, info.package_blake3)),
        ("file", format!("{} bytes, package {} bytes", info.file_bytes, info.package_bytes)),
        ("memory", format!("at most {:.1} MiB", summary.memory_bytes as f64 / MIB)),
        (
            "triangles",
            format!("{} in memory, {} as seen", summary.unique_triangles, summary.placed_triangles),
        ),
        ("vertices", summary.vertices.to_string()),
        ("meshes", format!("{} in {} nodes, {} instances", summary.meshes, summary.nodes, summary.instances)),
        ("materials", summary.materials.to_string()),
        ("textures", format!("{}, {} texels", summary.textures, summary.texels)),
        (
            "lights",
            format!(
                "{} directional, {} point, {} spot, {} emissive triangles",
                lights.directional, lights.point, lights.spot, lights.emissive_triangles
            ),
        ),
        (
            "environment",
            summary.environment_map.map_or_else(none, |[width, height]| format!("{width} x {height} texels")),
        ),
        ("cameras", names(&summary.cameras)),
        ("animations", names(&summary.animations.iter().map(animation).collect::<Vec<_>>())),
        ("skins", format!("{}, {} morph targets", summary.skins, summary.morph_targets)),
        ("extensions", names(&summary.extensions_used)),
        ("bounds", format!("{low:?} to {high:?}")),
    ];
    let mut text = String::new();
    for (key, value) in rows {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{key:<12} {value}");
    }
    text
}

fn animation(animation: &AnimationSpan) -> String {
    format!("{} ({:.2} s)", animation.name, animation.end_s)
}

/// The first names and how many more there are.
fn names(list: &[String]) -> String {
    if list.is_empty() {
        return "none".into();
    }
    let shown = list.iter().take(MAX_SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match list.len().saturating_sub(MAX_SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
