//! Turns a scene on disk into one self-contained GLB: what is hashed, shipped and rendered.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read},
    path::{Component, Path, PathBuf},
};

use serde_json::{Value, json};

use super::{
    environment::{self, EnvironmentSource},
    error::{SceneError, printable},
    glb,
    gltf::picture_format,
    obj,
};
use crate::limit::{MAX_URI_BYTES, SceneLimits};

/// A scene that needs no other file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScenePackage {
    /// A GLB without URIs. The same files give the same bytes.
    pub bytes: Vec<u8>,
    /// The file's name without its ending.
    pub name: String,
    /// One sentence for each thing that the conversion to GLB left out or had to guess.
    pub warnings: Vec<String>,
}

/// Reads a `.glb`, `.gltf` or `.obj` from disk and takes in every buffer, picture and material that it refers to.
///
/// A GLB that refers to nothing outside is taken as it is, byte for byte. What a scene refers to must have a relative
/// path and stay inside the scene's folder, symbolic links followed.
pub fn pack(path: &Path, limits: &SceneLimits) -> Result<ScenePackage, SceneError> {
    let bytes = read_file(path, limits.package_bytes)?;
    let name = path.file_stem().map(|stem| printable(&stem.to_string_lossy())).unwrap_or_default();
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("obj")) {
        let (bytes, warnings) = obj::to_glb(&bytes, folder, limits)?;
        return Ok(ScenePackage { bytes, name, warnings });
    }
    let (json, binary) = if glb::is_glb(&bytes) {
        let glb = glb::split(&bytes)?;
        (glb.json, glb.binary)
    } else {
        (&bytes[..], &[][..])
    };
    SceneError::check_limit("bytes of JSON", json.len() as u64, limits.json_bytes)?;
    let mut document: Value = serde_json::from_slice(json).map_err(|error| {
        SceneError::NotGltf(format!("it is neither GLB nor JSON: {}", printable(&error.to_string())))
    })?;
    if document.get("asset").is_none() {
        return Err(SceneError::NotGltf("its JSON has no \"asset\"".into()));
    }
    if glb::is_glb(&bytes) && !refers_outside(&document) {
        return Ok(ScenePackage { bytes, name, warnings: Vec::new() });
    }
    let mut packer = Packer { folder, limits, embedded: binary, out: Vec::new() };
    packer.take_in_buffers(&mut document)?;
    packer.take_in_images(&mut document)?;
    packer.finish(document).map(|bytes| ScenePackage { bytes, name, warnings: Vec::new() })
}

/// [`pack`], with an environment map as the scene's light from all around.
pub fn pack_with_environment(
    path: &Path,
    environment: Option<&EnvironmentSource<'_>>,
    limits: &SceneLimits,
) -> Result<ScenePackage, SceneError> {
    let mut package = pack(path, limits)?;
    if let Some(source) = environment {
        environment::embed_source(&mut package, source, limits)?;
    }
    Ok(package)
}

/// Reads a regular file of at most `limit_bytes`.
pub(super) fn read_file(path: &Path, limit_bytes: u64) -> Result<Vec<u8>, SceneError> {
    let failed = |source| SceneError::Read { path: path.to_owned(), source };
    // Asked before opening: opening a pipe would wait for its other end.
    let size_bytes = match fs::metadata(path).map_err(failed)? {
        metadata if metadata.is_file() => metadata.len(),
        _ => return Err(SceneError::NotAFile(path.to_owned())),
    };
    SceneError::check_limit("bytes", size_bytes, limit_bytes)?;
    let mut bytes = Vec::new();
    // The file may grow while it is read.
    File::open(path).and_then(|file| file.take(limit_bytes + 1).read_to_end(&mut bytes)).map_err(failed)?;
    SceneError::check_limit("bytes", bytes.len() as u64, limit_bytes)?;
    Ok(bytes)
}

fn refers_outside(document: &Value) -> bool {
    ["buffers", "images"]
        .iter()
        .any(|list| elements(document, list).iter().any(|item| item.get("uri").is_some()))
}

fn elements<'a>(document: &'a Value, list: &str) -> &'a [Value] {
    document.get(list).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn elements_mut<'a>(document: &'a mut Value, list: &str) -> &'a mut [Value] {
    document.get_mut(list).and_then(Value::as_array_mut).map_or(&mut [], Vec::as_mut_slice)
}

/// Collects all buffers and pictures in one binary chunk.
struct Packer<'a> {
    folder: &'a Path,
    limits: &'a SceneLimits,
    /// The binary chunk of the file itself: its first buffer, when that has no URI.
    embedded: &'a [u8],
    out: Vec<u8>,
}

impl Packer<'_> {
    /// Appends every buffer and moves the buffer views along.
    fn take_in_buffers(&mut self, document: &mut Value) -> Result<(), SceneError> {
        let mut starts = Vec::new();
        for (index, buffer) in elements(document, "buffers").iter().enumerate() {
            let place = format!("buffer {index}");
            let length = buffer
                .get("byteLength")
                .and_then(Value::as_u64)
                .ok_or_else(|| SceneError::at(&*place, "its byteLength is missing or no whole number"))?;
            SceneError::check_limit("bytes", length, self.limits.package_bytes)?;
            let start = match buffer.get("uri") {
                Some(uri) => {
                    let bytes = self.resolve(uri_text(uri, &place)?)?;
                    self.append(&bytes, length, &place)?
                }
                None if index == 0 => self.append(self.embedded, length, &place)?,
                None => {
                    return Err(SceneError::at(
                        place,
                        "it has no URI, and only the first buffer may lack one",
                    ));
                }
            };
            starts.push(start);
        }
        for (index, view) in elements_mut(document, "bufferViews").iter_mut().enumerate() {
            let place = || format!("buffer view {index}");
            let number = |key: &str| view.get(key).map_or(Some(0), Value::as_u64);
            let buffer = view.get("buffer").and_then(Value::as_u64);
            let start = buffer.and_then(|buffer| starts.get(usize::try_from(buffer).ok()?)).copied();
            let start =
                start.ok_or_else(|| SceneError::at(place(), "it refers to a buffer that does not exist"))?;
            let offset = number("byteOffset")
                .and_then(|offset| offset.checked_add(start))
                .ok_or_else(|| SceneError::at(place(), "its byteOffset is out of range"))?;
            view["buffer"] = json!(0);
            view["byteOffset"] = json!(offset);
        }
        Ok(())
    }

    /// Appends every picture that has a URI, with a buffer view of its own.
    fn take_in_images(&mut self, document: &mut Value) -> Result<(), SceneError> {
        let mut views = Vec::new();
        let first_view = elements(document, "bufferViews").len();
        for (index, image) in elements_mut(document, "images").iter_mut().enumerate() {
            let place = format!("image {index}");
            let Some(uri) = image.get("uri") else { continue };
            let uri = uri_text(uri, &place)?.to_owned();
            let bytes = self.resolve(&uri)?;
            let mime_type = match picture_format(&bytes) {
                Some(format) => format.to_mime_type(),
                None => return Err(SceneError::uri(&uri, "the picture is neither PNG nor JPEG")),
            };
            let start = self.append(&bytes, bytes.len() as u64, &place)?;
            if let Some(fields) = image.as_object_mut() {
                fields.remove("uri");
                fields.insert("bufferView".into(), json!(first_view + views.len()));
                fields.insert("mimeType".into(), json!(mime_type));
            }
            views.push(json!({ "buffer": 0, "byteOffset": start, "byteLength": bytes.len() }));
        }
        if views.is_empty() {
            return Ok(());
        }
        match document.get_mut("bufferViews").and_then(Value::as_array_mut) {
            Some(list) => list.extend(views),
            None => document["bufferViews"] = Value::Array(views),
        }
        Ok(())
    }

    /// Appends the first `length` bytes, aligned for every component type; says where they start.
    fn append(&mut self, bytes: &[u8], length: u64, place: &str) -> Result<u64, SceneError> {
        let claimed = usize::try_from(length).ok().and_then(|length| bytes.get(..length));
        let claimed = claimed.ok_or_else(|| {
            SceneError::at(place, format!("it claims {length} bytes, and there are {}", bytes.len()))
        })?;
        let start = self.out.len().next_multiple_of(4);
        SceneError::check_limit("bytes", (start + claimed.len()) as u64, self.limits.package_bytes)?;
        self.out.resize(start, 0);
        self.out.extend_from_slice(claimed);
        Ok(start as u64)
    }

    fn finish(self, mut document: Value) -> Result<Vec<u8>, SceneError> {
        if !self.out.is_empty() {
            document["buffers"] = json!([{ "byteLength": self.out.len() }]);
        }
        let json = document.to_string();
        let total = (self.out.len() + json.len()) as u64;
        SceneError::check_limit("bytes", total, self.limits.package_bytes)?;
        let too_large = SceneError::Limit { what: "bytes", value: total, limit: u64::from(u32::MAX) };
        glb::join(json.as_bytes(), &self.out).ok_or(too_large)
    }

    /// The bytes that a URI stands for.
    fn resolve(&self, uri: &str) -> Result<Vec<u8>, SceneError> {
        match uri.strip_prefix("data:") {
            Some(data) => decode_data_uri(data).map_err(|problem| SceneError::uri(uri, problem)),
            None => self.read_beside(uri),
        }
    }

    /// Reads a file of the scene's own folder.
    fn read_beside(&self, uri: &str) -> Result<Vec<u8>, SceneError> {
        let refuse = |problem: String| SceneError::uri(uri, problem);
        let relative = relative_path(uri).map_err(|problem| refuse(problem.to_owned()))?;
        read_beside(self.folder, &relative, self.limits.package_bytes).map_err(|error| match error {
            BesideError::Missing(problem) | BesideError::Refused(problem) => refuse(problem),
        })
    }
}

/// Why a file beside the scene is not read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BesideError {
    /// There is none.
    Missing(String),
    /// It leads out of the folder, is no file or too large.
    Refused(String),
}

/// Reads a file of the scene's own folder.
pub(super) fn read_beside(folder: &Path, relative: &Path, limit_bytes: u64) -> Result<Vec<u8>, BesideError> {
    let canonical = |path: &Path| {
        path.canonicalize().map_err(|error| {
            let problem = format!("the file cannot be found: {error}");
            match error.kind() {
                ErrorKind::NotFound => BesideError::Missing(problem),
                _ => BesideError::Refused(problem),
            }
        })
    };
    let target = canonical(&folder.join(relative))?;
    if !target.starts_with(canonical(folder)?) {
        return Err(BesideError::Refused("it leads out of the scene's folder".into()));
    }
    read_file(&target, limit_bytes).map_err(|error| BesideError::Refused(error.to_string()))
}

fn uri_text<'a>(uri: &'a Value, place: &str) -> Result<&'a str, SceneError> {
    uri.as_str().ok_or_else(|| SceneError::at(place, "its URI is no text"))
}

/// The payload of `data:[media type];base64,…` without its `data:`.
fn decode_data_uri(data: &str) -> Result<Vec<u8>, &'static str> {
    let (media_type, payload) = data.split_once(',').ok_or("a data URI needs a comma before its data")?;
    if !media_type.ends_with(";base64") {
        return Err("a data URI must be in base64");
    }
    data_encoding::BASE64.decode(payload.as_bytes()).map_err(|_| "its base64 is damaged")
}

/// The path that a relative URI names, if it cannot lead out of the folder by its own words.
fn relative_path(uri: &str) -> Result<PathBuf, &'static str> {
    if uri.len() > MAX_URI_BYTES {
        return Err("it is too long");
    }
    let decoded = percent_encoding::percent_decode_str(uri)
        .decode_utf8()
        .map_err(|_| "it is not UTF-8 once its percent signs are decoded")?;
    inner_path(&decoded)
}

/// The path that a name means, if it cannot lead out of the folder by its own words.
pub(super) fn inner_path(name: &str) -> Result<PathBuf, &'static str> {
    if name.len() > MAX_URI_BYTES {
        return Err("it is too long");
    }
    // A colon before any slash is a scheme (`http:`, `file:`) or a Windows drive.
    if name.split('/').next().is_some_and(|first| first.contains(':')) {
        return Err("only files beside the scene are read, nothing is fetched");
    }
    if name.contains(['\\', '\0']) {
        return Err("it has a character that no portable path has");
    }
    let path = PathBuf::from(name);
    let mut parts = path.components().peekable();
    if parts.peek().is_none() {
        return Err("it is empty");
    }
    if path.is_absolute() || !parts.all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err("it must be a relative path inside the scene's folder");
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b29_paths_that_could_leave_the_folder_are_refused() {
        let hostile = [
            "../secret",
            "a/../../b",
            "/etc/passwd",
            "%2e%2e/secret",
            "..%2Fsecret",
            "http://host/a",
            "file:///a",
            "C:/a",
            "C%3A/a",
            "..\\a",
            "a%00b",
            "",
            "%ff",
        ];
        for uri in hostile {
            assert!(relative_path(uri).is_err(), "{uri}");
        }
        assert!(relative_path(&"a".repeat(MAX_URI_BYTES + 1)).is_err());
        assert_eq!(relative_path("textures/a%20b.png"), Ok(PathBuf::from("textures/a b.png")));
        assert_eq!(relative_path("./a.bin"), Ok(PathBuf::from("./a.bin")));
    }

    #[test]
    fn data_uris_are_base64() {
        assert_eq!(decode_data_uri("application/octet-stream;base64,AQID"), Ok(vec![1, 2, 3]));
        for damaged in ["base64", ";base64,A", ";base64,A*==", "text/plain,abc"] {
            assert!(decode_data_uri(damaged).is_err(), "{damaged}");
        }
    }
}
