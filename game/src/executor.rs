//! Does a step: what a peer is asked for, from the snapshot to the bytes that it answers.

use std::sync::Arc;

use p2c2r_protocol::{id::WorkKind, step::LevelSpec};

use crate::{
    agents::Navigation,
    layout::{AgentsLayout, PhysicsLayout, PictureLayout, SoundLayout},
    level::Level,
    physics,
    picture::{Painter, Stand, light},
    snapshot::Snapshot,
    sound::Mixer,
};

/// Why a step cannot be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExecuteError {
    /// No subsystem does such work.
    #[error("no subsystem does that kind of work")]
    Kind,
    /// It has another length than its kind of work.
    #[error("the snapshot does not belong to that kind of work")]
    Length,
    /// The picture cannot be made.
    #[error("the picture cannot be made: {0}")]
    Picture(String),
}

/// Numbers of the snapshot of a kind of work.
pub fn snapshot_len(spec: &LevelSpec, kind: WorkKind) -> Option<usize> {
    let (bodies, agents) = (usize::from(spec.bodies), usize::from(spec.agents));
    match kind {
        WorkKind::Physics => Some(PhysicsLayout::len(bodies)),
        WorkKind::Ai => Some(AgentsLayout::len(agents, bodies)),
        WorkKind::Rendering | WorkKind::RayTracing => Some(PictureLayout::len(bodies, agents)),
        WorkKind::Audio => Some(SoundLayout::len(usize::from(spec.sounds))),
        _ => None,
    }
}

/// Does steps of one level. Not shared: each owner has one of its own.
pub struct Executor {
    level: Arc<Level>,
    navigation: Option<Navigation>,
    painter: Painter,
    mixer: Option<Mixer>,
}

impl Executor {
    /// For that level. What takes long to make ready is made when it is first needed.
    pub fn new(level: Arc<Level>) -> Self {
        Self { level, navigation: None, painter: Painter::default(), mixer: None }
    }

    /// The level.
    pub fn level(&self) -> &Level {
        &self.level
    }

    /// Makes ready what the first step of a kind of work would have to wait for.
    pub fn make_ready(&mut self, kind: WorkKind) {
        match kind {
            WorkKind::Ai => {
                self.navigation.get_or_insert_with(|| Navigation::new(&self.level));
            }
            WorkKind::Audio => {
                self.mixer.get_or_insert_with(Mixer::default);
            }
            _ => {}
        }
    }

    /// Does a step. What physics and agents answer is the difference to what they were given.
    pub fn run(
        &mut self,
        kind: WorkKind,
        tick: u32,
        ticks: u16,
        snapshot: &Snapshot,
    ) -> Result<Vec<u8>, ExecuteError> {
        let spec = self.level.spec;
        if snapshot_len(&spec, kind).ok_or(ExecuteError::Kind)? != snapshot.0.len() {
            return Err(ExecuteError::Length);
        }
        self.make_ready(kind);
        let level = Arc::clone(&self.level);
        match kind {
            WorkKind::Physics => {
                let (bodies, pushes) = PhysicsLayout::read(&snapshot.0, usize::from(spec.bodies));
                let after = physics::simulate(&level, tick, ticks, &bodies, &pushes);
                Ok(Snapshot(after.iter().flat_map(|body| body.0).collect())
                    .delta(Some(&Snapshot(bodies.iter().flat_map(|body| body.0).collect()))))
            }
            WorkKind::Ai => {
                let (agents, bodies) = AgentsLayout::read(&snapshot.0, usize::from(spec.agents));
                let navigation = self.navigation.get_or_insert_with(|| Navigation::new(&level));
                let after = navigation.walk(&level, ticks, &agents, &bodies);
                Ok(Snapshot(after.iter().flat_map(|agent| agent.0).collect())
                    .delta(Some(&Snapshot(agents.iter().flat_map(|agent| agent.0).collect()))))
            }
            WorkKind::Rendering | WorkKind::RayTracing => {
                let (camera, bodies, agents) = PictureLayout::read(&snapshot.0, usize::from(spec.bodies));
                let stand = Stand { camera, bodies: &bodies, agents: &agents };
                if kind == WorkKind::Rendering {
                    return self
                        .painter
                        .base(&level, &stand)
                        .map_err(|error| ExecuteError::Picture(error.to_string()));
                }
                light(&level, tick, &stand).map_err(|error| ExecuteError::Picture(error.to_string()))
            }
            WorkKind::Audio => {
                Ok(self.mixer.get_or_insert_with(Mixer::default).block(&level, tick, &snapshot.0))
            }
            _ => Err(ExecuteError::Kind),
        }
    }
}
