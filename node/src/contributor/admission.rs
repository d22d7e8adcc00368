//! Which accepted tile is rendered next: the owner's own first, then one of each coordinator in turn.

use std::collections::{BTreeMap, VecDeque};

use p2c2r_protocol::{
    id::{TaskId, WorkKind},
    limit::MAX_TILE_BYTES,
    task::{RejectReason, TileRequest},
    tile::{PixelEncoding, Sampling},
};

use super::{SessionId, render_thread::RenderJob};

/// Tiles that one coordinator may have waiting or running here.
pub const CREDIT: u32 = 64;
/// Tiles waiting in all.
pub const MAX_QUEUED: usize = 1024;
/// Most path segments (pixels x samples x depth) of one tile: about ten minutes of a CPU core.
pub const MAX_TASK_SEGMENTS: u64 = 1 << 31;

/// Most pixels of one tile: their sums, 32 bytes each, fit into the 128 MiB that every GPU binds at once.
pub const MAX_TILE_PIXELS: u64 = 1 << 22;

/// The only kind of work that this node does.
const KIND: WorkKind = WorkKind::RayTracing;

/// Whether a request is of a kind and a size that this node takes on at all.
pub fn admissible(request: &TileRequest) -> Result<(), RejectReason> {
    if request.kind != KIND {
        return Err(RejectReason::UnsupportedKind);
    }
    fits(request.rect.pixels(), &request.sampling, request.encoding)
}

/// Whether so many pixels are no more work, and no more bytes, than this node takes on at once.
pub fn fits(pixels: u64, sampling: &Sampling, encoding: PixelEncoding) -> Result<(), RejectReason> {
    let segments = pixels
        .checked_mul(u64::from(sampling.samples))
        .and_then(|paths| paths.checked_mul(u64::from(sampling.max_depth)));
    let bytes = pixels.checked_mul(u64::from(encoding.bytes_per_pixel()));
    if segments.is_none_or(|segments| segments > MAX_TASK_SEGMENTS)
        || pixels > MAX_TILE_PIXELS
        || bytes.is_none_or(|bytes| bytes > u64::from(MAX_TILE_BYTES))
    {
        return Err(RejectReason::TooLarge);
    }
    Ok(())
}

/// Most pixels of a tile that every contributor takes, for so many samples of paths of such a length.
pub fn max_tile_pixels(encoding: PixelEncoding, sampling: Sampling) -> u64 {
    let segments = u64::from(sampling.samples.max(1)).saturating_mul(u64::from(sampling.max_depth.max(1)));
    let by_bytes = u64::from(MAX_TILE_BYTES) / u64::from(encoding.bytes_per_pixel());
    by_bytes.min(MAX_TILE_PIXELS).min(MAX_TASK_SEGMENTS / segments).max(1)
}

/// The waiting tiles, by session.
#[derive(Default)]
pub struct AdmissionQueue {
    waiting: BTreeMap<SessionId, VecDeque<RenderJob>>,
    queued: usize,
    /// The session that was served last.
    last_served: Option<SessionId>,
}

impl AdmissionQueue {
    /// Tiles waiting.
    pub fn len(&self) -> usize {
        self.queued
    }

    /// Puts a tile at the end of its session's line.
    pub fn push(&mut self, job: RenderJob) -> Result<(), RejectReason> {
        // The owner's tiles are limited by their credit alone: strangers cannot lock the owner out.
        if self.queued >= MAX_QUEUED && !job.session.is_owner() {
            return Err(RejectReason::Busy);
        }
        self.waiting.entry(job.session).or_default().push_back(job);
        self.queued += 1;
        Ok(())
    }

    /// Puts a tile back to where it came from.
    pub fn push_front(&mut self, job: RenderJob) {
        self.waiting.entry(job.session).or_default().push_front(job);
        self.queued += 1;
    }

    /// The next tile: the owner's own coordinator first, the others in turn.
    pub fn pop(&mut self) -> Option<RenderJob> {
        let session = self.next_session()?;
        let line = self.waiting.get_mut(&session)?;
        let job = line.pop_front();
        if line.is_empty() {
            self.waiting.remove(&session);
        }
        if job.is_some() {
            self.queued -= 1;
            self.last_served = Some(session);
        }
        job
    }

    fn next_session(&self) -> Option<SessionId> {
        if let Some(owner) = self.waiting.keys().next().filter(|session| session.is_owner()) {
            return Some(*owner);
        }
        let after = self.last_served.and_then(|last| {
            self.waiting.range((std::ops::Bound::Excluded(last), std::ops::Bound::Unbounded)).next()
        });
        after.or_else(|| self.waiting.iter().next()).map(|(session, _)| *session)
    }

    /// Takes one tile out.
    pub fn remove(&mut self, session: SessionId, task: TaskId) -> Option<RenderJob> {
        let line = self.waiting.get_mut(&session)?;
        let index = line.iter().position(|job| job.task == task)?;
        let job = line.remove(index);
        if line.is_empty() {
            self.waiting.remove(&session);
        }
        self.queued -= 1;
        job
    }

    /// Takes all tiles of a session out.
    pub fn remove_session(&mut self, session: SessionId) -> Vec<RenderJob> {
        let line = self.waiting.remove(&session).unwrap_or_default();
        self.queued -= line.len();
        line.into()
    }

    /// Takes all tiles out.
    pub fn remove_all(&mut self) -> Vec<RenderJob> {
        self.queued = 0;
        std::mem::take(&mut self.waiting).into_values().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use p2c2r_protocol::{
        id::{JobId, SceneHash},
        moment::SceneMoment,
        tile::{Camera, FrameSize, TileRect},
    };

    use super::*;

    fn request(kind: WorkKind) -> TileRequest {
        TileRequest {
            job: JobId([3; 16]),
            frame: 0,
            kind,
            scene: SceneMoment::start_of(SceneHash([9; 32])),
            size: FrameSize::new(640, 360).unwrap(),
            rect: TileRect { x: 0, y: 0, width: 64, height: 64 },
            sampling: Sampling { first_sample: 0, samples: 16, max_depth: 4, seed: 1, clamp: 0.0 },
            camera: Camera {
                origin: [0.0, 1.0, 5.0],
                forward: [0.0, 0.0, -1.0],
                right: [0.8, 0.0, 0.0],
                up: [0.0, 0.45, 0.0],
                lens_radius: 0.0,
                focus_distance: 0.0,
                parallel: false,
            },
            encoding: PixelEncoding::RgbF32,
        }
    }

    #[test]
    fn only_ray_tracing_is_taken() {
        for kind in WorkKind::ALL {
            let expected =
                if kind == WorkKind::RayTracing { Ok(()) } else { Err(RejectReason::UnsupportedKind) };
            assert_eq!(admissible(&request(kind)), expected, "{kind:?}");
        }
    }
}
