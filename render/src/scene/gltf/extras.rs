//! What p2c2r's own generators say beyond glTF in a scene's `extras`, where other programs put other things.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::environment::Description;
use crate::scene::environment::EXTRAS_KEY;

/// What is read of a scene's `extras`. Everything else in there is passed over without being kept.
#[derive(Debug, Default)]
pub(super) struct SceneExtras {
    /// Radiance from below and from above.
    pub(super) p2c2r_sky: Option<[[f32; 3]; 2]>,
    /// Light from all around.
    pub(super) environment: Option<Description>,
}

impl<'de> Deserialize<'de> for SceneExtras {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ExtrasVisitor)
    }
}

/// Takes any JSON: `extras` is free for every application. Only what bears our name must be as we write it.
struct ExtrasVisitor;

impl<'de> Visitor<'de> for ExtrasVisitor {
    type Value = SceneExtras;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SceneExtras, A::Error> {
        let mut extras = SceneExtras::default();
        while let Some(key) = map.next_key::<String>()? {
            if key == "p2c2r_sky" {
                extras.p2c2r_sky = Some(map.next_value()?);
            } else if key == EXTRAS_KEY {
                extras.environment = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(extras)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<SceneExtras, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(SceneExtras::default())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<SceneExtras, E> {
        Ok(SceneExtras::default())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<SceneExtras, E> {
        Ok(SceneExtras::default())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<SceneExtras, E> {
        Ok(SceneExtras::default())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<SceneExtras, E> {
        Ok(SceneExtras::default())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<SceneExtras, E> {
        Ok(SceneExtras::default())
    }

    fn visit_unit<E: Error>(self) -> Result<SceneExtras, E> {
        Ok(SceneExtras::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_applications_may_put_anything_there() {
        let sky = |json: &str| serde_json::from_str::<SceneExtras>(json).unwrap().p2c2r_sky;
        for other in ["null", "true", "-1", "7", "0.5", "\"text\"", "[1, {}]", "{}", r#"{"a": [{}]}"#] {
            assert_eq!(sky(other), None, "{other}");
        }
        let ours = r#"{"a": 1, "p2c2r_sky": [[0, 0, 0.5], [1, 1, 1]], "z": null}"#;
        assert_eq!(sky(ours), Some([[0.0, 0.0, 0.5], [1.0; 3]]));
        assert!(serde_json::from_str::<SceneExtras>(r#"{"p2c2r_sky": "blue"}"#).is_err());
    }
}
