//! What an answer brings: the next moment of the world, a picture, a block of sound.

use p2c2r_protocol::id::WorkKind;

use super::{
    FrameLoop, Media,
    steps::{OpenStep, Work},
};
use crate::{
    layout::{AGENT_LEN, AgentState, AgentsLayout, BODY_LEN, BodyState, PhysicsLayout},
    limit::{BLOCK_SAMPLES, FRAMES_AHEAD, LIGHT_PX, PICTURE_PX},
    picture::PIXEL_BYTES,
    snapshot::Snapshot,
};

impl FrameLoop {
    /// Takes what a step brought.
    pub(super) fn take(&mut self, step: &OpenStep, output: &[u8]) -> bool {
        let Work { kind, tick, ticks, snapshot, due, .. } = &step.work;
        let target = tick.wrapping_add(u32::from(*ticks));
        // Probes may go farther ahead than what the player does is known.
        let may_learn = target <= self.tick + FRAMES_AHEAD;
        match kind {
            WorkKind::Physics => {
                let length = usize::from(self.level.spec.bodies) * BODY_LEN;
                states::<BODY_LEN>(snapshot, length, output).is_some_and(|states| {
                    // What followed from a moment that is not believed any more is not believed either.
                    let begins = PhysicsLayout::read(&snapshot.0, usize::from(self.level.spec.bodies)).0;
                    let may_learn = may_learn && self.bodies.at(*tick) == Some(begins.as_slice());
                    !may_learn || self.bodies.learn(target, states.into_iter().map(BodyState).collect())
                })
            }
            WorkKind::Ai => {
                let length = usize::from(self.level.spec.agents) * AGENT_LEN;
                states::<AGENT_LEN>(snapshot, length, output).is_some_and(|states| {
                    let begins = AgentsLayout::read(&snapshot.0, usize::from(self.level.spec.agents)).0;
                    let may_learn = may_learn && self.agents.at(*tick) == Some(begins.as_slice());
                    !may_learn || self.agents.learn(target, states.into_iter().map(AgentState).collect())
                })
            }
            WorkKind::Rendering | WorkKind::RayTracing | WorkKind::Audio => {
                let pixels = |(width, height): (u32, u32)| (width * height) as usize * PIXEL_BYTES;
                let (length, place) = match kind {
                    WorkKind::Rendering => (pixels(PICTURE_PX), &mut self.base),
                    WorkKind::RayTracing => (pixels(LIGHT_PX), &mut self.light),
                    _ => (BLOCK_SAMPLES * 4, &mut self.sound),
                };
                let is_newer = place.as_ref().is_none_or(|media| media.tick <= *tick);
                if output.len() == length && due.is_some() && is_newer {
                    *place = Some(Media { tick: *tick, bytes: output.to_vec() });
                }
                output.len() == length
            }
            _ => false,
        }
    }
}

/// The states that an output says, as the difference to those that its snapshot begins with.
fn states<const N: usize>(snapshot: &Snapshot, length: usize, output: &[u8]) -> Option<Vec<[i32; N]>> {
    let before = Snapshot(snapshot.0.get(..length)?.to_vec());
    let after = Snapshot::from_delta(output, Some(&before), length).ok()?;
    Some(after.0.chunks_exact(N).map(|state| std::array::from_fn(|index| state[index])).collect())
}
