//! Why a scene cannot be loaded or packed.

use std::{io, path::PathBuf};

use crate::limit::MAX_NAME_BYTES;

/// Most warnings that explain why a scene has nothing to render.
const MAX_REASONS: usize = 3;

/// Why a scene cannot be loaded or packed. Every message is one sentence that names the place in the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SceneError {
    /// The file system refused.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A directory, device or pipe where a file was expected.
    #[error("{} is not a regular file; name a .glb, .gltf or .obj scene", .0.display())]
    NotAFile(PathBuf),
    /// Neither a GLB container nor glTF JSON.
    #[error("not a glTF 2.0 scene: {0}")]
    NotGltf(String),
    /// A number over its limit.
    #[error("the scene has {what}: {value}, and at most {limit} are allowed")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much the scene asks for.
        value: u64,
        /// How much is allowed.
        limit: u64,
    },
    /// More memory than is allowed.
    #[error(
        "the scene needs up to {needed_mib} MiB of memory, most of it for {largest}, and {allowed_mib} MiB are \
         allowed; allow more (--memory-mib), or give the scene fewer triangles or smaller textures"
    )]
    Memory {
        /// What the prepared scene takes at most, MiB.
        needed_mib: u64,
        /// What is allowed, MiB.
        allowed_mib: u64,
        /// What most of it is for.
        largest: &'static str,
    },
    /// The file says that it cannot be shown without extensions that this renderer lacks.
    #[error("the scene requires glTF extensions that are not supported: {}", .0.join(", "))]
    Extensions(Vec<String>),
    /// Something in the document is wrong.
    #[error("{place}: {problem}")]
    Document {
        /// Where, for example `mesh 3 "box", primitive 0, accessor 7`.
        place: String,
        /// What is wrong there.
        problem: String,
    },
    /// A buffer or picture outside the file that cannot be taken in.
    #[error("URI \"{uri}\": {problem}")]
    Uri {
        /// The URI as it stands in the file, shortened.
        uri: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A picture that is no environment map.
    #[error("environment map {}: {problem}", path.display())]
    Environment {
        /// The picture.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Nothing to render, and what was passed over.
    #[error("the scene has no triangles to render{0}")]
    NoTriangles(String),
}

impl SceneError {
    /// An error at a place of the document.
    pub(crate) fn at(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Document { place: place.into(), problem: problem.into() }
    }

    /// Nothing to render, with the first things that were passed over: one of them is probably why.
    pub(crate) fn no_triangles(warnings: &[String]) -> Self {
        let first: Vec<&str> = warnings.iter().take(MAX_REASONS).map(String::as_str).collect();
        let colon = if first.is_empty() { "" } else { ": " };
        Self::NoTriangles(format!("{colon}{}", first.join("; ")))
    }

    /// An error about a URI.
    pub(crate) fn uri(uri: &str, problem: impl Into<String>) -> Self {
        Self::Uri { uri: printable(uri), problem: problem.into() }
    }

    /// Refuses a value over its limit.
    pub(crate) fn check_limit(what: &'static str, value: u64, limit: u64) -> Result<(), Self> {
        if value <= limit { Ok(()) } else { Err(Self::Limit { what, value, limit }) }
    }
}

/// A text from a file, fit for a terminal and a log: no control characters, at most [`MAX_NAME_BYTES`].
pub(crate) fn printable(text: &str) -> String {
    let mut kept = String::new();
    for character in text.chars().filter(|character| !character.is_control()) {
        if kept.len() + character.len_utf8() > MAX_NAME_BYTES {
            kept.push('…');
            break;
        }
        kept.push(character);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b32_names_are_short_and_without_control_characters() {
        assert_eq!(printable("a\u{1b}[31mb\n"), "a[31mb");
        let long = printable(&"ü".repeat(1000));
        assert!(long.len() <= MAX_NAME_BYTES + '…'.len_utf8());
        assert!(long.ends_with('…'));
    }
}
