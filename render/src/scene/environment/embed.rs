//! Puts an environment map into a package.

use serde_json::{Map, Value, json};

use super::{ENCODING, EXTRAS_KEY, EnvironmentMap, EnvironmentSource, LoadedEnvironment};
use crate::{
    limit::{MAX_RADIANCE, SceneLimits},
    scene::{
        error::{SceneError, printable},
        glb,
        package::ScenePackage,
    },
};

/// Reads the source's picture and adds it to the package.
pub(in crate::scene) fn embed_source(
    package: &mut ScenePackage,
    source: &EnvironmentSource<'_>,
    limits: &SceneLimits,
) -> Result<(), SceneError> {
    let refuse = |problem: String| SceneError::Environment { path: source.path.to_owned(), problem };
    if !(0.0..=MAX_RADIANCE).contains(&source.strength) {
        let strength = source.strength;
        return Err(refuse(format!("its strength of {strength} is not between 0 and {MAX_RADIANCE:e}")));
    }
    if !source.rotation_turns.is_finite() {
        return Err(refuse(format!("its rotation of {} turns is not a number", source.rotation_turns)));
    }
    let LoadedEnvironment { map, warnings } = EnvironmentMap::read(source.path)?;
    package.warnings.extend(warnings);
    let turns = source.rotation_turns.rem_euclid(1.0);
    // The remainder of a tiny negative number rounds up to 1, which is the same direction as 0.
    let rotation = if turns < 1.0 { turns } else { 0.0 };
    let description = json!({
        "width": map.width, "height": map.height, "encoding": ENCODING,
        "strength": source.strength, "rotation": rotation,
    });
    package.bytes = embed(&package.bytes, &map.encode(), description, limits)?;
    Ok(())
}

/// The GLB with `texels` in a buffer view of its own, and `description` of them in its default scene.
fn embed(
    bytes: &[u8],
    texels: &[u8],
    mut description: Value,
    limits: &SceneLimits,
) -> Result<Vec<u8>, SceneError> {
    let glb = glb::split(bytes)?;
    SceneError::check_limit("bytes of JSON", glb.json.len() as u64, limits.json_bytes)?;
    let mut document: Value = serde_json::from_slice(glb.json)
        .map_err(|error| SceneError::NotGltf(printable(&error.to_string())))?;
    let start = glb.binary.len().next_multiple_of(4);
    let end = (start + texels.len()) as u64;
    SceneError::check_limit("bytes", end + glb.json.len() as u64, limits.package_bytes)?;
    let mut binary = Vec::with_capacity(start + texels.len());
    binary.extend_from_slice(glb.binary);
    binary.resize(start, 0);
    binary.extend_from_slice(texels);

    let buffers = list(&mut document, "buffers")?;
    if buffers.is_empty() {
        buffers.push(json!({}));
    }
    if let Some(buffer) = buffers.first_mut() {
        fields(buffer, "buffer 0")?.insert("byteLength".into(), json!(end));
    }
    let views = list(&mut document, "bufferViews")?;
    description["bufferView"] = json!(views.len());
    views.push(json!({ "buffer": 0, "byteOffset": start, "byteLength": texels.len() }));
    let extras = fields(default_scene(&mut document)?, "the default scene")?;
    let extras = extras.entry("extras").or_insert_with(|| json!({}));
    fields(extras, "the default scene's extras")?.insert(EXTRAS_KEY.into(), description);

    let json = document.to_string();
    let total = (binary.len() + json.len()) as u64;
    SceneError::check_limit("bytes", total, limits.package_bytes)?;
    let too_large = SceneError::Limit { what: "bytes", value: total, limit: u64::from(u32::MAX) };
    glb::join(json.as_bytes(), &binary).ok_or(too_large)
}

/// A list of the document, made when there is none.
fn list<'a>(document: &'a mut Value, key: &str) -> Result<&'a mut Vec<Value>, SceneError> {
    fields(document, "the document")?
        .entry(key)
        .or_insert_with(|| json!([]))
        .as_array_mut()
        .ok_or_else(|| SceneError::at("the document", format!("its {key} are no list")))
}

fn fields<'a>(value: &'a mut Value, place: &str) -> Result<&'a mut Map<String, Value>, SceneError> {
    value.as_object_mut().ok_or_else(|| SceneError::at(place, "it is no JSON object"))
}

/// The scene that is shown: the named one, else the first. A document without scenes shows every node that has no
/// parent, so it gets a scene of those.
fn default_scene(document: &mut Value) -> Result<&mut Value, SceneError> {
    let index = match document.get("scene") {
        None => 0,
        Some(index) => index.as_u64().and_then(|index| usize::try_from(index).ok()).ok_or_else(|| {
            SceneError::at("the document", "the number of its default scene is no whole number")
        })?,
    };
    let has_none = document.get("scene").is_none() && list(document, "scenes")?.is_empty();
    if has_none {
        let scene = json!({ "nodes": roots(document) });
        list(document, "scenes")?.push(scene);
    }
    let scenes = list(document, "scenes")?;
    scenes
        .get_mut(index)
        .ok_or_else(|| SceneError::at("the document", format!("its default scene {index} does not exist")))
}

/// The nodes without a parent.
fn roots(document: &Value) -> Vec<usize> {
    let nodes = document.get("nodes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut is_child = vec![false; nodes.len()];
    let children = nodes.iter().filter_map(|node| node.get("children")?.as_array()).flatten();
    for child in children.filter_map(Value::as_u64) {
        if let Some(known) = usize::try_from(child).ok().and_then(|child| is_child.get_mut(child)) {
            *known = true;
        }
    }
    (0..nodes.len()).zip(is_child).filter(|(_, is_child)| !is_child).map(|(index, _)| index).collect()
}
