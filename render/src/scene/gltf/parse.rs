//! From a package's JSON to a [`Document`].

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error, Visitor},
};

use super::document::{Document, is_supported};
use crate::{
    limit::MAX_JSON_OBJECTS,
    scene::error::{SceneError, printable},
};

/// Most extensions that an error names.
const MAX_NAMED_EXTENSIONS: usize = 8;

/// The part of a document that says of which version it is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Versioned {
    asset: Asset,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asset {
    version: Version,
}

/// A text by the standard; a number in many files of glTF 1.0, which are to be told so.
#[derive(Debug, Default)]
struct Version(String);

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct VersionVisitor;
        impl Visitor<'_> for VersionVisitor {
            type Value = Version;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a version such as \"2.0\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Version, E> {
                Ok(Version(text.to_owned()))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Version, E> {
                Ok(Version(number.to_string()))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Version, E> {
                Ok(Version(format!("{number:?}")))
            }
        }
        deserializer.deserialize_any(VersionVisitor)
    }
}

/// Parses the JSON and refuses documents that this renderer cannot show.
pub(super) fn parse(json: &[u8]) -> Result<Document, SceneError> {
    // Before anything of it is kept: `{}` is two bytes here and some hundred in memory.
    let objects = json.split(|byte| *byte == b'{').count() as u64 - 1;
    SceneError::check_limit("JSON objects", objects, MAX_JSON_OBJECTS)?;
    // First of all: a document of another version has another form.
    let Version(version) = read::<Versioned>(json)?.asset.version;
    if !(version == "2" || version.starts_with("2.")) {
        let version = if version.is_empty() { "missing".into() } else { printable(&version) };
        return Err(SceneError::NotGltf(format!(
            "its asset.version is {version}, and only 2.x is supported: convert it to glTF 2.0"
        )));
    }
    let document: Document = read(json)?;
    let missing: Vec<String> = document
        .extensions_required
        .iter()
        .filter(|name| !is_supported(name))
        .take(MAX_NAMED_EXTENSIONS)
        .map(|name| printable(name))
        .collect();
    if missing.is_empty() { Ok(document) } else { Err(SceneError::Extensions(missing)) }
}

fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T, SceneError> {
    serde_json::from_slice(json).map_err(|error| {
        if !error.is_data() {
            return SceneError::NotGltf(format!("its JSON is damaged: {}", printable(&error.to_string())));
        }
        // Read once more to learn where, which is too slow to do for everybody.
        let mut again = serde_json::Deserializer::from_slice(json);
        let place = match serde_path_to_error::deserialize::<_, T>(&mut again) {
            Err(located) => printable(&located.path().to_string()),
            Ok(_) => ".".into(),
        };
        // Line and column are those of the package, not of the file that it was made of.
        let problem = error.to_string();
        let problem = problem.rsplit_once(" at line ").map_or(problem.as_str(), |(problem, _)| problem);
        let place = if place == "." { "the document".into() } else { place };
        SceneError::at(place, printable(problem))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_type_is_told_with_its_place() {
        let says = |json: &str| parse(json.as_bytes()).unwrap_err().to_string();
        let factor = r#"{"asset":{"version":"2.0"},"materials":[{},{"pbrMetallicRoughness":
            {"baseColorFactor":[1,1,"red",1]}}]}"#;
        assert_eq!(
            says(factor),
            "materials[1].pbrMetallicRoughness.baseColorFactor[2]: invalid type: string \"red\", expected f32"
        );
        assert!(says("3").contains("the document"), "{}", says("3"));
        assert!(says(r#"{"asset":{"version":"2.0"},"nodes":["#).contains("damaged"));
    }

    #[test]
    fn versions_of_gltf_1_are_told_to_be_converted_however_they_are_written() {
        for version in ["\"1.0\"", "\"1.1\"", "1", "1.0"] {
            let json = format!("{{\"asset\":{{\"version\":{version}}}}}");
            let told = parse(json.as_bytes()).unwrap_err().to_string();
            assert!(told.contains("asset.version is 1") && told.contains("convert"), "{told}");
        }
        assert!(parse(br#"{"asset":{"version":"2.0"}}"#).is_ok());
        assert!(parse(br#"{"asset":{"version":[2]}}"#).unwrap_err().to_string().contains("asset.version"));
    }

    #[test]
    fn objects_are_counted_before_they_are_kept() {
        let many = format!("[{}]", "{},".repeat(MAX_JSON_OBJECTS as usize + 1));
        assert!(parse(many.as_bytes()).unwrap_err().to_string().contains("JSON objects"));
    }

    #[test]
    fn lists_end_at_their_limits() {
        for (list, many) in [("materials", 65_537), ("nodes", (1 << 20) + 1)] {
            let elements = "{},".repeat(many);
            let json = format!(
                "{{\"asset\":{{\"version\":\"2.0\"}},\"{list}\":[{}]}}",
                elements.trim_end_matches(',')
            );
            let told = parse(json.as_bytes()).unwrap_err().to_string();
            assert!(told.contains(list) && told.contains("at most"), "{told}");
        }
    }
}
