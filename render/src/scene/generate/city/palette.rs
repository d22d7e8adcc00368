//! What the city is made of. The numbers of a material are only here; the rest of the city calls it by name.

use crate::scene::write_glb::{Description, Mesh, Surface};

/// Names of materials, in the order of [`SURFACES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stuff {
    Puddle,
    WetAsphalt,
    DampAsphalt,
    Paving,
    Marking,
    Concrete,
    Brick,
    Cladding,
    DarkGlass,
    Metal,
    Rubber,
    CarPaintRed,
    CarPaintBlue,
    CarPaintGrey,
    Awning,
    Plaster,
    WindowWarm,
    WindowAmber,
    WindowCool,
    WindowDim,
    ShopWarm,
    ShopCool,
    ShopRose,
    GlowWarm,
    GlowCool,
    GlowRose,
    NeonPink,
    NeonCyan,
    NeonOrange,
    NeonViolet,
    NeonGreen,
    Lamp,
    Lantern,
    HeadLight,
    TailLight,
    Beacon,
    FarWarm,
    FarCool,
    FarPink,
    FarCyan,
}

const SURFACES: [Surface; 40] = [
    Surface::matter("puddle", [0.006, 0.007, 0.009], 0.0, 0.05),
    Surface::matter("wet asphalt", [0.016, 0.017, 0.02], 0.0, 0.2),
    Surface::matter("damp asphalt", [0.045, 0.045, 0.05], 0.0, 0.42),
    Surface::matter("wet paving", [0.07, 0.068, 0.07], 0.0, 0.28),
    Surface::matter("road marking", [0.42, 0.42, 0.40], 0.0, 0.35),
    Surface::matter("concrete", [0.32, 0.30, 0.29], 0.0, 0.8),
    Surface::matter("brick", [0.34, 0.16, 0.12], 0.0, 0.85),
    Surface::matter("cladding", [0.15, 0.18, 0.24], 0.2, 0.5),
    Surface::matter("dark glass", [0.02, 0.025, 0.035], 0.0, 0.08),
    Surface::matter("metal", [0.16, 0.16, 0.17], 0.8, 0.4),
    Surface::matter("rubber", [0.015, 0.015, 0.015], 0.0, 0.7),
    Surface::matter("red car paint", [0.30, 0.015, 0.02], 0.1, 0.16),
    Surface::matter("blue car paint", [0.015, 0.05, 0.16], 0.3, 0.16),
    Surface::matter("grey car paint", [0.20, 0.21, 0.23], 0.5, 0.2),
    Surface::matter("awning", [0.22, 0.03, 0.05], 0.0, 0.8),
    Surface::matter("plaster", [0.62, 0.58, 0.52], 0.0, 0.7),
    Surface::light("warm window", [1.0, 0.50, 0.18], 0.75),
    Surface::light("amber window", [1.0, 0.36, 0.09], 0.65),
    Surface::light("cool window", [0.40, 0.70, 1.0], 0.55),
    Surface::light("dim window", [1.0, 0.55, 0.28], 0.28),
    Surface::light("warm shop", [1.0, 0.60, 0.26], 9.0),
    Surface::light("cool shop", [0.34, 0.80, 1.0], 7.0),
    Surface::light("rose shop", [1.0, 0.26, 0.55], 8.0),
    Surface::light("warm shop wall", [1.0, 0.50, 0.18], 0.30),
    Surface::light("cool shop wall", [0.25, 0.75, 1.0], 0.22),
    Surface::light("rose shop wall", [1.0, 0.20, 0.50], 0.26),
    Surface::light("pink neon", [1.0, 0.05, 0.36], 6.0),
    Surface::light("cyan neon", [0.03, 0.72, 1.0], 5.5),
    Surface::light("orange neon", [1.0, 0.28, 0.02], 6.5),
    Surface::light("violet neon", [0.42, 0.10, 1.0], 7.5),
    Surface::light("green neon", [0.08, 1.0, 0.35], 5.0),
    Surface::light("street lamp", [1.0, 0.74, 0.44], 55.0),
    Surface::light("lantern", [1.0, 0.22, 0.08], 4.0),
    Surface::light("head light", [1.0, 0.93, 0.8], 40.0),
    Surface::light("tail light", [1.0, 0.02, 0.02], 14.0),
    Surface::light("beacon", [1.0, 0.05, 0.03], 6.0),
    // Lights are sampled by their power: what is far and large must be dim, or it would take the samples of what is near.
    Surface::light("far warm window", [1.0, 0.62, 0.32], 0.34),
    Surface::light("far cool window", [0.5, 0.75, 1.0], 0.28),
    Surface::light("far pink neon", [1.0, 0.10, 0.45], 1.1),
    Surface::light("far cyan neon", [0.08, 0.75, 1.0], 1.1),
];

/// The city as it is built: one mesh for each material.
pub(super) struct Model {
    meshes: Vec<Mesh>,
}

impl Model {
    pub(super) fn new() -> Self {
        Self { meshes: vec![Mesh::default(); SURFACES.len()] }
    }

    /// The mesh of everything made of this.
    pub(super) fn of(&mut self, stuff: Stuff) -> &mut Mesh {
        &mut self.meshes[stuff as usize]
    }

    /// Triangles so far.
    pub(super) fn triangles(&self) -> u32 {
        self.meshes.iter().map(|mesh| mesh.indices.len() as u32 / 3).sum()
    }

    /// The description without cameras and sky.
    pub(super) fn into_description(self) -> Description {
        Description {
            surfaces: SURFACES.to_vec(),
            meshes: (0..).zip(self.meshes).collect(),
            ..Description::default()
        }
    }
}
