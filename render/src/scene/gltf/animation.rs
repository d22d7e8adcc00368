//! What the animations of a file make of its nodes at a moment.
//!
//! All animations play together, each from the scene's first moment on. Before its first key frame and after its last a
//! property keeps the value of that key frame. Where two animations drive the same property, the first one does.

use std::{borrow::Cow, collections::BTreeMap};

use p2c2r_protocol::tile::SceneTime;
use serde::Serialize;

use super::{
    accessor::{Elements, Source},
    document::{Accessor, Animation, AnimationSampler, Channel, Node, element},
    interpolate::{Interpolation, Track},
    transform::Transform,
    warnings::Warnings,
};
use crate::{
    limit::{MAX_KEY_FRAMES, MAX_POSED_WEIGHTS},
    scene::error::{SceneError, printable},
};

/// An animation of the file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AnimationSpan {
    /// Its name; `animation N` when the file has none.
    pub name: String,
    /// Its last key frame, seconds from the scene's first moment.
    pub end_s: f64,
}

/// What animations make of one node.
#[derive(Debug, Default)]
struct NodePose {
    translation: Option<[f64; 3]>,
    rotation: Option<[f64; 4]>,
    scale: Option<[f64; 3]>,
    weights: Option<Vec<f32>>,
}

/// All nodes that are moved from where the file puts them.
#[derive(Debug, Default)]
pub(super) struct Pose {
    nodes: BTreeMap<u32, NodePose>,
}

impl Pose {
    /// A node's own transform.
    pub(super) fn transform(&self, index: u32, node: &Node) -> Transform {
        match self.nodes.get(&index) {
            None => Transform::of_node(node),
            Some(pose) if pose.translation.is_none() && pose.rotation.is_none() && pose.scale.is_none() => {
                Transform::of_node(node)
            }
            Some(pose) => Transform::from_parts(
                pose.translation.unwrap_or_else(|| node.translation.unwrap_or([0.0; 3]).map(f64::from)),
                pose.rotation.unwrap_or_else(|| node.rotation.unwrap_or([0.0, 0.0, 0.0, 1.0]).map(f64::from)),
                pose.scale.unwrap_or_else(|| node.scale.unwrap_or([1.0; 3]).map(f64::from)),
            ),
        }
    }

    /// Whether an animation drives the node itself.
    pub(super) fn drives(&self, index: u32) -> bool {
        self.nodes.contains_key(&index)
    }

    /// A node's own weights of its mesh's morph targets, which stand in place of the mesh's.
    pub(super) fn weights<'a>(&mut self, index: u32, node: &'a Node) -> Option<Cow<'a, [f32]>> {
        let animated = self.nodes.get_mut(&index).and_then(|pose| pose.weights.take());
        animated.map(Cow::Owned).or_else(|| node.weights.as_deref().map(Cow::Borrowed))
    }
}

/// Poses the nodes of a document for a moment.
pub(super) fn pose(
    source: Source<'_>,
    time: SceneTime,
    warnings: &mut Warnings,
) -> Result<(Pose, Vec<AnimationSpan>), SceneError> {
    let at_s = time.us() as f64 / 1e6;
    let mut poser = Poser {
        source,
        at_s,
        warnings,
        pose: Pose::default(),
        read: BTreeMap::new(),
        key_frames: 0,
        weights: 0,
    };
    let mut spans = Vec::new();
    for (index, animation) in source.document.animations.iter().enumerate() {
        spans.push(poser.play(index, animation)?);
    }
    Ok((poser.pose, spans))
}

struct Poser<'a, 'w> {
    source: Source<'a>,
    at_s: f64,
    warnings: &'w mut Warnings,
    pose: Pose,
    /// Accessors that were looked at, and whether their elements were found to be times.
    read: BTreeMap<u32, (Elements<'a>, bool)>,
    /// Elements of those accessors.
    key_frames: u64,
    /// Morph weights of the pose.
    weights: u64,
}

impl<'a> Poser<'a, '_> {
    fn play(&mut self, index: usize, animation: &Animation) -> Result<AnimationSpan, SceneError> {
        let name = printable(&animation.name);
        let place = format!("animation {index} \"{name}\"");
        let mut end_s = 0.0_f64;
        for (number, channel) in animation.channels.iter().enumerate() {
            let place = format!("{place}, channel {number}");
            let sampler = element(&animation.samplers, channel.sampler, "sampler", || place.clone())?;
            end_s = end_s.max(self.drive(channel, sampler, &place)?);
        }
        let name = if name.is_empty() { format!("animation {index}") } else { name };
        Ok(AnimationSpan { name, end_s })
    }

    /// Moves what a channel drives; tells the time of its last key frame, seconds.
    fn drive(
        &mut self,
        channel: &Channel,
        sampler: &AnimationSampler,
        place: &str,
    ) -> Result<f64, SceneError> {
        let path = channel.target.path.as_str();
        // A channel without a node is there for extensions.
        let Some(index) = channel.target.node else { return Ok(0.0) };
        let node = element(&self.source.document.nodes, index, "node", || place.to_owned())?;
        let (shape, width) = match path {
            "translation" | "scale" => ("VEC3", 1),
            "rotation" => ("VEC4", 1),
            "weights" => ("SCALAR", target_count(self.source, node)),
            _ => {
                self.warnings.add(format!("{place}: the unknown path \"{}\" is ignored", printable(path)));
                return Ok(0.0);
            }
        };
        if node.matrix.is_some() && path != "weights" {
            self.warnings.add(format!("{place}: node {index} has a matrix, which is not animated"));
            return Ok(0.0);
        }
        if width == 0 {
            self.warnings.add(format!("{place}: the mesh of node {index} has no morph targets; ignored"));
            return Ok(0.0);
        }
        let track = self.track(sampler, shape, width, place)?;
        let [end_s] = track.times.vector::<1>(track.times.count.saturating_sub(1));
        if !self.apply(index, path, &track, place)? {
            self.warnings.add(format!("{place}: the {path} of node {index} is animated already; ignored"));
        }
        Ok(f64::from(end_s))
    }

    /// Whether the property was free.
    fn apply(&mut self, node: u32, path: &str, track: &Track<'_>, place: &str) -> Result<bool, SceneError> {
        let pose = self.pose.nodes.entry(node).or_default();
        let at_s = self.at_s;
        match path {
            "translation" => set(&mut pose.translation, || finite(track.vector(0, at_s), place)),
            "scale" => set(&mut pose.scale, || finite(track.vector(0, at_s), place)),
            "rotation" => set(&mut pose.rotation, || finite(track.rotation(at_s), place)),
            _ => {
                let total = &mut self.weights;
                set(&mut pose.weights, || {
                    *total += track.width as u64;
                    SceneError::check_limit("animated morph weights", *total, MAX_POSED_WEIGHTS)?;
                    let weight = |number| finite(track.vector::<1>(number, at_s), place);
                    (0..track.width).map(|number| weight(number).map(|[weight]| weight as f32)).collect()
                })
            }
        }
    }

    fn track(
        &mut self,
        sampler: &AnimationSampler,
        shape: &str,
        width: usize,
        place: &str,
    ) -> Result<Track<'a>, SceneError> {
        let named = sampler.interpolation.as_deref();
        let interpolation = Interpolation::from_name(named).ok_or_else(|| {
            let named = printable(named.unwrap_or_default());
            SceneError::at(place, format!("the interpolation \"{named}\" is unknown"))
        })?;
        let times = self.times(sampler.input, place)?;
        let values = self.elements(sampler.output, shape, place)?.0;
        // Both are far below what overflows: they are limited.
        let expected = times.count * interpolation.parts() * width;
        if values.count == expected {
            return Ok(Track { times, values, interpolation, width });
        }
        let problem =
            format!("has {} values where its {} key frames take {expected}", values.count, times.count);
        Err(SceneError::at(format!("{place}, accessor {}", sampler.output), problem))
    }

    fn times(&mut self, accessor: u32, place: &str) -> Result<Elements<'a>, SceneError> {
        let (times, checked) = self.elements(accessor, "SCALAR", place)?;
        if checked {
            return Ok(times);
        }
        let here = || format!("{place}, accessor {accessor}");
        if times.count == 0 {
            return Err(SceneError::at(here(), "there are no key frames"));
        }
        let mut before = f32::NEG_INFINITY;
        for key in 0..times.count {
            let [time] = times.vector::<1>(key);
            if !(time.is_finite() && time > before) {
                let problem = format!("key frame {key} at {time} s does not follow that at {before} s");
                return Err(SceneError::at(here(), problem));
            }
            before = time;
        }
        self.read.insert(accessor, (times, true));
        Ok(times)
    }

    /// Looks at every accessor once, so that many channels that share one cost no more than one does.
    fn elements(
        &mut self,
        accessor: u32,
        shape: &str,
        place: &str,
    ) -> Result<(Elements<'a>, bool), SceneError> {
        let has_shape = |found: &Accessor| found.shape == shape;
        if let Some(found) = self.read.get(&accessor)
            && self.source.document.accessors.get(accessor as usize).is_some_and(has_shape)
        {
            return Ok(*found);
        }
        let elements = self.source.elements(accessor, shape, place)?;
        self.key_frames = self.key_frames.saturating_add(elements.count as u64);
        SceneError::check_limit("key frames", self.key_frames, MAX_KEY_FRAMES)?;
        self.read.insert(accessor, (elements, false));
        Ok((elements, false))
    }
}

/// Morph targets of a node's mesh; 0 if it has none.
fn target_count(source: Source<'_>, node: &Node) -> usize {
    let mesh = node.mesh.and_then(|mesh| source.document.meshes.get(mesh as usize));
    mesh.and_then(|mesh| mesh.primitives.first()).map_or(0, |primitive| primitive.targets.len())
}

fn set<T>(
    property: &mut Option<T>,
    value: impl FnOnce() -> Result<T, SceneError>,
) -> Result<bool, SceneError> {
    let is_free = property.is_none();
    if is_free {
        *property = Some(value()?);
    }
    Ok(is_free)
}

fn finite<const N: usize>(values: [f64; N], place: &str) -> Result<[f64; N], SceneError> {
    if values.iter().all(|value| value.abs() <= f64::from(f32::MAX)) {
        Ok(values)
    } else {
        Err(SceneError::at(place, "a value is not finite or too large"))
    }
}
