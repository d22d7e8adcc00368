//! Morph targets: differences that are added to a primitive's vertices by weight (glTF 2.0, section 3.7.2.2).

use super::{
    accessor::Source,
    document::{MorphTarget, Primitive},
    geometry::{LocalPrimitive, within},
};
use crate::{limit::MAX_MORPHED_VERTICES, scene::error::SceneError};

/// Vertices that were moved so far, counted once for each target.
#[derive(Debug, Default)]
pub(super) struct MorphWork(u64);

/// Adds the targets' differences. Targets beyond the weights stay out.
pub(super) fn apply(
    source: Source<'_>,
    primitive: &Primitive,
    weights: &[f32],
    read: &mut LocalPrimitive,
    place: &str,
    work: &mut MorphWork,
) -> Result<(), SceneError> {
    for (number, (target, weight)) in primitive.targets.iter().zip(weights).enumerate() {
        if *weight == 0.0 {
            continue;
        }
        work.0 = work.0.saturating_add(read.positions.len() as u64);
        SceneError::check_limit("vertices of morph targets", work.0, MAX_MORPHED_VERTICES)?;
        let place = format!("{place}, morph target {number}");
        let adder = Adder { source, place: &place, weight: f64::from(*weight) };
        let MorphTarget { position, normal, tangent, .. } = *target;
        adder.add(position, &mut read.positions)?;
        adder.add(normal, &mut read.normals)?;
        adder.add(tangent, &mut read.tangents)?;
    }
    if !read.positions.iter().all(|position| within(position, f32::MAX)) {
        return Err(SceneError::at(place, "its morph targets move a vertex out of all range"));
    }
    Ok(())
}

struct Adder<'a> {
    source: Source<'a>,
    place: &'a str,
    weight: f64,
}

impl Adder<'_> {
    /// Nothing to an attribute that the primitive has not; a tangent keeps its side.
    fn add<const N: usize>(&self, accessor: Option<u32>, list: &mut [[f32; N]]) -> Result<(), SceneError> {
        let Some(accessor) = accessor.filter(|_| !list.is_empty()) else { return Ok(()) };
        let here = || format!("{}, accessor {accessor}", self.place);
        let elements = self.source.elements(accessor, "VEC3", self.place)?;
        if elements.count != list.len() {
            let problem = format!("has {} elements for {} vertices", elements.count, list.len());
            return Err(SceneError::at(here(), problem));
        }
        for (value, difference) in list.iter_mut().zip(elements.vectors::<3>()) {
            if !within(&difference, f32::MAX) {
                return Err(SceneError::at(here(), "a difference is not finite"));
            }
            for (value, difference) in value.iter_mut().zip(difference) {
                *value = (f64::from(*value) + self.weight * f64::from(difference)) as f32;
            }
        }
        Ok(())
    }
}

/// Whether a target moves something that is not read.
pub(super) fn leaves_out(target: &MorphTarget) -> bool {
    target.texcoord0.is_some() || target.texcoord1.is_some() || target.color.is_some()
}
