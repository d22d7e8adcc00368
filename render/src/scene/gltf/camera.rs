//! Cameras of the file, and the one that a file without any gets.

use super::{
    document::{Camera, Node, Orthographic, Perspective},
    transform::{Transform, cross, dot, unit},
    trigonometry::tangent,
    warnings::Warnings,
};
use crate::{
    limit::MAX_COORDINATE,
    scene::{
        NamedCamera, Scene,
        error::{SceneError, printable},
    },
};

/// Field of view of the default camera: 40 degrees, tangent and sine of its half.
const DEFAULT_TAN_HALF_FOV: f32 = 0.363_970_23;
const DEFAULT_SIN_HALF_FOV: f64 = 0.342_020_143_325_668_7;
/// From the scene's centre towards the default camera: in front, to the right, and above.
const DEFAULT_DIRECTION: [f64; 3] = [0.5, 0.35, 1.0];

/// Reads a camera at the place of its node; `None` (with a warning) when it cannot be rendered.
pub(super) fn read(
    index: u32,
    camera: &Camera,
    node: &Node,
    transform: &Transform,
    warnings: &mut Warnings,
) -> Result<Option<NamedCamera>, SceneError> {
    let name = [&camera.name, &node.name]
        .into_iter()
        .map(|name| printable(name))
        .find(|name| !name.is_empty())
        .unwrap_or_else(|| format!("camera {index}"));
    let place = || format!("camera {index} \"{name}\"");
    let parallel = camera.perspective.is_none();
    let half_height = match (&camera.perspective, &camera.orthographic) {
        (Some(perspective), _) => {
            tan_half_fov(perspective).map_err(|problem| SceneError::at(place(), problem))?
        }
        (None, Some(orthographic)) => {
            half_film(orthographic).map_err(|problem| SceneError::at(place(), problem))?
        }
        (None, None) => {
            warnings.add(format!("{} is neither perspective nor orthographic and is ignored", place()));
            return Ok(None);
        }
    };
    let origin = transform.origin();
    let axes = orthonormal(transform);
    let Some(axes) = axes.filter(|_| origin.iter().all(|value| value.abs() <= MAX_COORDINATE)) else {
        return Err(SceneError::at(place(), "its node's transform leaves it without a place or direction"));
    };
    Ok(Some(NamedCamera { name, origin, axes, half_height, parallel }))
}

fn tan_half_fov(perspective: &Perspective) -> Result<f32, String> {
    if !(perspective.yfov > 1e-4 && perspective.yfov < 3.1) {
        return Err(format!("a vertical field of view of {} radians cannot be rendered", perspective.yfov));
    }
    Ok(tangent(f64::from(perspective.yfov) * 0.5) as f32)
}

/// World units. The width follows from the picture's shape, as it does for perspective cameras.
fn half_film(orthographic: &Orthographic) -> Result<f32, String> {
    // The specification leaves the sign of a mirrored film to the viewer.
    let half_height = orthographic.ymag.abs();
    if !(1e-5..=1e5).contains(&half_height) {
        return Err(format!("a film of {half_height} units of half height cannot be rendered"));
    }
    Ok(half_height)
}

/// Right, up and forward of a node, at right angles and of unit length whatever its scale: glTF cameras look along
/// their -z.
fn orthonormal(transform: &Transform) -> Option<[[f32; 3]; 3]> {
    let [_, y, z] = transform.axes();
    look_along(z.map(|value| -value), y)
}

fn look_along(forward: [f64; 3], up: [f64; 3]) -> Option<[[f32; 3]; 3]> {
    let forward = unit(forward)?;
    let right = unit(cross(forward, unit(up)?))?;
    let up = cross(right, forward);
    Some([right, up, forward].map(|axis| axis.map(|value| value as f32)))
}

/// A camera that sees the whole scene from the front right, slightly from above.
pub(super) fn framing(scene: &Scene) -> NamedCamera {
    let (mut low, mut high) = ([f64::INFINITY; 3], [f64::NEG_INFINITY; 3]);
    for instance in &scene.instances {
        for position in scene.meshes.get(instance.mesh as usize).into_iter().flat_map(|mesh| &mesh.positions)
        {
            let placed = instance.to_world.point((*position).into()).to_array().map(f64::from);
            for axis in 0..3 {
                low[axis] = low[axis].min(placed[axis]);
                high[axis] = high[axis].max(placed[axis]);
            }
        }
    }
    let centre: [f64; 3] = std::array::from_fn(|axis| (low[axis] + high[axis]) * 0.5);
    let half: [f64; 3] = std::array::from_fn(|axis| (high[axis] - low[axis]) * 0.5);
    let radius = dot(half, half).sqrt();
    let distance = if radius > 0.0 { radius / DEFAULT_SIN_HALF_FOV } else { 1.0 };
    let length = dot(DEFAULT_DIRECTION, DEFAULT_DIRECTION).sqrt();
    let origin =
        std::array::from_fn(|axis| (centre[axis] + distance * (DEFAULT_DIRECTION[axis] / length)) as f32);
    // invariant: the default direction is neither zero nor vertical.
    let axes = look_along(DEFAULT_DIRECTION.map(|value| -value), [0.0, 1.0, 0.0]).unwrap_or_default();
    NamedCamera { name: "default".into(), origin, axes, half_height: DEFAULT_TAN_HALF_FOV, parallel: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::{Affine, Instance, Mesh};

    #[test]
    fn the_default_camera_sees_every_corner() {
        let corners = [[-3.0, 0.0, 1.0], [5.0, 2.0, -7.0], [0.0, 9.0, 0.0]];
        let mesh = Mesh { positions: corners.to_vec(), ..Mesh::default() };
        let instance = Instance { mesh: 0, to_world: Affine::IDENTITY, to_mesh: Affine::IDENTITY };
        let scene = Scene { meshes: vec![mesh], instances: vec![instance], ..Scene::default() };
        let camera = framing(&scene);
        let [right, up, forward] = camera.axes;
        for corner in corners {
            let offset: [f32; 3] = std::array::from_fn(|axis| corner[axis] - camera.origin[axis]);
            let along = |axis: [f32; 3]| axis.iter().zip(offset).map(|(a, b)| a * b).sum::<f32>();
            let depth = along(forward);
            assert!(depth > 0.0);
            assert!(along(up).abs() <= depth * camera.half_height);
            assert!(along(right).abs() <= depth * camera.half_height);
        }
    }
}
