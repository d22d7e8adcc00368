//! `scene`: writes a built-in scene, or looks into a scene file.

use anyhow::Context;
use p2c2r_render::scene::generate::{SceneKind, generate, generate_with_drive};

use super::scene_info;
use crate::{
    cli::{GenerateArgs, GlobalArgs, SceneCommand},
    exit::Exit,
};

/// Does what was asked for.
pub fn scene(global: &GlobalArgs, command: &SceneCommand) -> anyhow::Result<Exit> {
    match command {
        SceneCommand::Cornell(args) => write(SceneKind::Cornell, args),
        SceneCommand::Spheres(args) => write(SceneKind::Spheres, args),
        SceneCommand::City(args) => write(SceneKind::City, args),
        SceneCommand::Knot(args) => write(SceneKind::Knot, args),
        SceneCommand::Info(args) => scene_info::info(global, args),
    }
}

/// Writes the scene, whole or not at all.
fn write(kind: SceneKind, args: &GenerateArgs) -> anyhow::Result<Exit> {
    let path = &args.output;
    if path.is_dir() {
        anyhow::bail!("{} is a directory; name a file to write the scene to", path.display());
    }
    if path.exists() && !args.force {
        anyhow::bail!("{} exists; overwrite it with --force", path.display());
    }
    let package = match args.drive {
        None => generate(kind, args.seed, args.triangles),
        Some(drive_s) => generate_with_drive(kind, args.seed, args.triangles, drive_s),
    };
    let beside = path.with_extension("glb.partial");
    let written = std::fs::write(&beside, &package).and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        // What cannot be written cannot be left half written either.
        let _ = std::fs::remove_file(&beside);
    }
    written.with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("wrote {} ({} KiB)", path.display(), package.len() / 1024);
    Ok(Exit::Done)
}
