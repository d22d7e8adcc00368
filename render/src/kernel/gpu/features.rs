//! What a scene needs of the kernel. A kernel is compiled for each set that is met: code that a scene cannot reach
//! would still cost registers, and on software devices time.

use crate::{
    bvh::build::MAX_DEPTH,
    light::Source,
    prepared::PreparedScene,
    scene::{AlphaMode, Material},
};

/// Levels of a tree at most, rounded up.
const LEVELS: usize = 56;
const _: () = assert!(MAX_DEPTH < LEVELS, "every level of a tree may leave one child waiting");

/// Parts of the kernel that a scene needs beyond the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "each is a constant of the kernel")]
pub struct Features {
    /// More than one instance, or one that does not stand at the origin.
    instances: bool,
    /// Surfaces that are not there everywhere.
    alpha: bool,
    /// Pictures.
    textures: bool,
    /// Clear coats and transmission.
    layers: bool,
    /// Lights without extent.
    punctual: bool,
    /// Light from all around.
    environment: bool,
}

impl Features {
    /// What the scene needs.
    pub fn of(prepared: &PreparedScene) -> Self {
        let scene = prepared.scene();
        let any = |has: fn(&Material) -> bool| scene.materials.iter().any(has);
        Self {
            instances: !prepared.is_alone(),
            alpha: any(|material| material.alpha != AlphaMode::Opaque),
            textures: !scene.textures.is_empty(),
            layers: any(|material| material.clearcoat > 0.0 || material.transmission > 0.0),
            punctual: prepared
                .lights()
                .lights()
                .iter()
                .any(|light| matches!(light.source, Source::Punctual(_))),
            environment: prepared.environment().is_some(),
        }
    }

    /// The constants that the kernel is compiled with.
    pub fn constants(self) -> String {
        let Self { instances, alpha, textures, layers, punctual, environment } = self;
        let mesh_stack = if instances { LEVELS } else { 0 };
        format!(
            "const STACK_ENTRIES = {}u;\nconst MESH_STACK = {mesh_stack}u;\n\
             const HAS_INSTANCES = {instances};\nconst HAS_ALPHA = {alpha};\nconst HAS_TEXTURES = {textures};\n\
             const HAS_LAYERS = {layers};\nconst HAS_PUNCTUAL = {punctual};\n\
             const HAS_ENVIRONMENT = {environment};\n",
            mesh_stack + LEVELS
        )
    }
}
