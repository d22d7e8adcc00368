//! Lists of a document, which end at their limits, and references into them.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};

use crate::{limit::MAX_MORPH_TARGETS, scene::error::SceneError};

/// Most elements of any list of the document: parsed, they take many times their size in the file.
const MAX_ELEMENTS: usize = 1 << 20;

/// A list of at most [`MAX_ELEMENTS`].
pub(super) fn bounded<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    at_most::<MAX_ELEMENTS, T, D>(deserializer)
}

/// A list that is refused as soon as it is too long, before the rest of it is read.
pub(super) fn at_most<'de, const MAX: usize, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    struct Bounded<const MAX: usize, T>(PhantomData<T>);
    impl<'de, const MAX: usize, T: Deserialize<'de>> Visitor<'de> for Bounded<MAX, T> {
        type Value = Vec<T>;

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(out, "a list of at most {MAX} elements")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut elements = Vec::new();
            while let Some(element) = list.next_element()? {
                if elements.len() == MAX {
                    return Err(serde::de::Error::invalid_length(MAX + 1, &self));
                }
                elements.push(element);
            }
            Ok(elements)
        }
    }
    deserializer.deserialize_seq(Bounded::<MAX, T>(PhantomData))
}

/// Weights of morph targets; `None` where there are none.
pub(super) fn weights<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<f32>>, D::Error> {
    at_most::<MAX_MORPH_TARGETS, f32, D>(deserializer).map(Some)
}

/// The element at an index that the file gave, or an error that names both ends of the broken reference.
pub(in super::super) fn element<'a, T>(
    list: &'a [T],
    index: u32,
    what: &str,
    place: impl FnOnce() -> String,
) -> Result<&'a T, SceneError> {
    list.get(index as usize).ok_or_else(|| {
        SceneError::at(place(), format!("refers to {what} {index}, and the file has {} of them", list.len()))
    })
}
