//! Wavefront OBJ with its material libraries, turned into GLB on the scene owner's machine.
//!
//! The crate `tobj` reads the geometry, but only lines that [`checked`] has judged and rewritten: by itself it states
//! no line numbers, has no limits, takes a polyline of three points for a triangle and loses step when only some
//! corners have texture coordinates. Material libraries are read here: its reader panics at `Kd 0.5`.
//!
//! All faces of a material become one mesh with one node; groups and objects leave no trace. Polygons become fans of
//! triangles, which is right for convex ones.

mod checked;
mod document;
mod lines;
mod mesh;
mod mtl;
mod notes;
mod pictures;
mod surface;

use std::{collections::HashMap, path::Path};

use self::{checked::Checked, document::Document, mtl::Mtl, notes::Notes, pictures::Pictures};
use super::package::{BesideError, inner_path, read_beside};
use crate::{
    limit::{MAX_MATERIAL_LIBRARIES, MAX_MATERIAL_LIBRARY_BYTES, SceneLimits},
    scene::error::{SceneError, printable},
};

/// The scene as a self-contained GLB, and what of it was left out.
pub(super) fn to_glb(
    bytes: &[u8],
    folder: &Path,
    limits: &SceneLimits,
) -> Result<(Vec<u8>, Vec<String>), SceneError> {
    let mut notes = Notes::default();
    let mut checked = Checked::new(bytes, limits, &mut notes);
    let options = tobj::LoadOptions { single_index: true, triangulate: true, ..Default::default() };
    // Statements about materials never reach tobj, so it never asks for a library.
    let read = tobj::load_obj_buf(&mut checked, &options, |_| Err(tobj::LoadError::GenericFailure));
    let found = checked.finish()?;
    let (models, _) = read.map_err(|error| SceneError::at("the OBJ file", error.to_string()))?;
    let meshes = mesh::collect(models, &found.runs, limits, &mut notes)?;
    if meshes.is_empty() {
        return Err(SceneError::NoTriangles(String::new()));
    }
    let library = read_libraries(&found.libraries, folder, limits, &mut notes)?;
    let mut pictures = Pictures::new(folder, limits);
    let mut document = Document::new(limits);
    for (index, name) in found.materials.iter().enumerate() {
        let primitives: Vec<_> = meshes.iter().filter(|mesh| mesh.material as usize == index).collect();
        if primitives.is_empty() {
            continue;
        }
        let mtl = library.get(name.as_str());
        if mtl.is_none() && !name.is_empty() {
            notes.add(format!("the material \"{}\" is in no library and becomes grey", printable(name)));
        }
        let unknown = Mtl::named(name);
        let material = surface::to_gltf(mtl.unwrap_or(&unknown), &mut pictures, &mut notes)?;
        document.add_mesh(name, material, &primitives)?;
    }
    Ok((document.into_glb(pictures)?, notes.into_sentences()))
}

/// Reads the material libraries that a scene names; those that are not there are noted. The first material of a name
/// counts.
fn read_libraries(
    names: &[(u64, String)],
    folder: &Path,
    limits: &SceneLimits,
    notes: &mut Notes,
) -> Result<HashMap<String, Mtl>, SceneError> {
    let mut library = HashMap::new();
    let mut left_bytes = MAX_MATERIAL_LIBRARY_BYTES.min(limits.package_bytes);
    for (line, text) in names {
        let place = format!("line {line} of the OBJ file");
        // A name may have spaces, and one statement may have several names.
        let whole = [text.as_str()];
        let words: Vec<&str> = text.split_whitespace().collect();
        let is_one = words.len() == 1 || is_there(folder, text);
        for name in if is_one { &whole[..] } else { &words[..] } {
            match read_named(folder, name, left_bytes, &place)? {
                Some(bytes) => {
                    left_bytes -= bytes.len() as u64;
                    mtl::parse(&bytes, name, &mut library, notes)?;
                }
                None => notes.add(format!("the material library \"{}\" is missing", printable(name))),
            }
        }
    }
    Ok(library)
}

fn is_there(folder: &Path, name: &str) -> bool {
    inner_path(&portable(name)).is_ok_and(|path| folder.join(path).exists())
}

/// Names written on Windows use its separators.
fn portable(name: &str) -> String {
    name.replace('\\', "/")
}

/// The bytes of a file that a statement at `place` names; `None` when there is none. A name that leads out of the
/// scene's folder is refused, exactly as a URI of a glTF is.
fn read_named(
    folder: &Path,
    name: &str,
    limit_bytes: u64,
    place: &str,
) -> Result<Option<Vec<u8>>, SceneError> {
    let refuse =
        |problem: &str| SceneError::at(place, format!("the file \"{}\": {problem}", printable(name)));
    let path = inner_path(&portable(name)).map_err(refuse)?;
    match read_beside(folder, &path, limit_bytes) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(BesideError::Missing(_)) => Ok(None),
        Err(BesideError::Refused(problem)) => Err(refuse(&problem)),
    }
}

/// Refuses a statement that names more libraries than anybody has.
fn check_libraries(count: usize) -> Result<(), SceneError> {
    SceneError::check_limit("material libraries", count as u64, MAX_MATERIAL_LIBRARIES)
}
