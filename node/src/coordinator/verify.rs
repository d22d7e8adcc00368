//! Judges a delivered tile before it may touch the film: signature, size, root, and a few pixels rendered anew.

use bytes::Bytes;
use p2c2r_protocol::{
    canon::from_canonical,
    id::{NodeId, TaskId},
    merkle::encoded_root,
    sign::{Domain, verify as verify_signature},
    task::{ResultStatement, TaskCounters, TileRequest},
};
use p2c2r_render::{
    backend::{FrameView, render_pixel_sums},
    compress::decompress,
    encode::{TileData, decode_tile, rounded},
    prepared::PreparedScene,
};
use p2c2r_swarm::TileResult;

/// Pixels of a stranger's tile that are rendered anew: together far below 2 % of any tile's cost.
const PROBES_PER_TILE: u64 = 4;
/// A segment of a path is one ray and at most two towards lights.
const MAX_RAYS_PER_SEGMENT: u64 = 3;
/// Largest statement accepted, bytes.
const MAX_STATEMENT_BYTES: usize = 512;

/// A tile that may go into the film.
pub struct VerifiedTile {
    /// Rows from the top.
    pub pixels: TileData,
    /// What the contributor says it took.
    pub counters: TaskCounters,
    /// Pixels that were rendered anew and found equal.
    pub probes: u32,
}

/// Why a tile is not believed. All of these are the contributor's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Forgery {
    /// The statement cannot be read.
    #[error("its statement is malformed")]
    Statement,
    /// The signature is not the contributor's.
    #[error("its signature is wrong")]
    Signature,
    /// It answers another request.
    #[error("it answers another request")]
    Request,
    /// Nobody can have done what it claims.
    #[error("its counters are impossible")]
    Counters,
    /// The pixels do not have the root that was signed.
    #[error("its pixels are not those that were signed")]
    Root,
    /// The payload is not a tile's encoded pixels.
    #[error("its pixels are malformed: {0}")]
    Pixels(String),
    /// The scene could not be made ready here to check it; nobody's fault over there.
    #[error("it cannot be checked: {0}")]
    Unjudged(String),
    /// A pixel rendered anew came out different.
    #[error("pixel ({x}, {y}) is not what rendering gives")]
    Probe {
        /// Frame column.
        x: u32,
        /// Frame row.
        y: u32,
    },
}

/// Draws the pixels to probe: unpredictable without the secret, which never leaves this process.
#[derive(Clone)]
pub struct ProbeSecret([u8; 32]);

impl ProbeSecret {
    /// From 32 random bytes.
    pub const fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// Frame coordinates to probe in the tile of an attempt.
    fn probes(&self, task: TaskId, request: &TileRequest) -> Vec<(u32, u32)> {
        let rect = request.rect;
        (0..PROBES_PER_TILE.min(rect.pixels()))
            .map(|index| {
                let mut hasher = blake3::Hasher::new_keyed(&self.0);
                hasher.update(&task.0.to_le_bytes()).update(&index.to_le_bytes());
                let mut word = [0; 8];
                hasher.finalize_xof().fill(&mut word);
                let pixel = u64::from_le_bytes(word) % rect.pixels();
                let (row, column) = (pixel / u64::from(rect.width), pixel % u64::from(rect.width));
                (rect.x + column as u32, rect.y + row as u32)
            })
            .collect()
    }
}

/// Everything that a tile is judged by.
pub struct Judgement<'a> {
    /// Who delivered it.
    pub peer: NodeId,
    /// What was asked for.
    pub request: &'a TileRequest,
    /// The scene.
    pub scene: &'a PreparedScene,
    /// Chooses the probes; `None` for the node's own device, which need not be checked against itself.
    pub secret: Option<&'a ProbeSecret>,
}

impl Judgement<'_> {
    /// Believes the tile, or says why not. Takes as long as rendering the probes.
    pub fn verify(&self, result: &TileResult) -> Result<VerifiedTile, Forgery> {
        let statement = self.statement(result)?;
        let pixels = self.pixels(&result.payload.join(), &statement)?;
        let probes = self.secret.map_or(Ok(0), |secret| self.probe(secret, result.task, &pixels))?;
        Ok(VerifiedTile { pixels, counters: statement.counters, probes })
    }

    fn statement(&self, result: &TileResult) -> Result<ResultStatement, Forgery> {
        verify_signature(&self.peer, Domain::Result, &result.statement, &result.signature)
            .map_err(|_| Forgery::Signature)?;
        let statement: ResultStatement =
            from_canonical(&result.statement, MAX_STATEMENT_BYTES).map_err(|_| Forgery::Statement)?;
        let asked = self.request.hash().map_err(|_| Forgery::Request)?;
        if statement.request != asked {
            return Err(Forgery::Request);
        }
        if self.are_possible(&statement.counters) { Ok(statement) } else { Err(Forgery::Counters) }
    }

    /// Whether that much work can have been done: all samples, and of each path no more rays than it may have.
    fn are_possible(&self, counters: &TaskCounters) -> bool {
        let sampling = self.request.sampling;
        let samples = self.request.rect.pixels().saturating_mul(u64::from(sampling.samples));
        let most_rays =
            samples.saturating_mul(u64::from(sampling.max_depth)).saturating_mul(MAX_RAYS_PER_SEGMENT);
        counters.check().is_ok() && counters.samples == samples && counters.rays <= most_rays
    }

    fn pixels(&self, payload: &Bytes, statement: &ResultStatement) -> Result<TileData, Forgery> {
        let (rect, encoding) = (self.request.rect, self.request.encoding);
        let expected = self.request.payload_bytes() as usize;
        let decompressed;
        let payload = if payload.len() < expected {
            decompressed = decompress(payload, encoding, expected)
                .ok_or_else(|| Forgery::Pixels("they cannot be decompressed".to_owned()))?;
            &decompressed[..]
        } else {
            &payload[..]
        };
        let root =
            encoded_root(payload, rect, encoding).map_err(|error| Forgery::Pixels(error.to_string()))?;
        if root != statement.root {
            return Err(Forgery::Root);
        }
        decode_tile(payload, rect, encoding, self.request.sampling.samples)
            .map_err(|error| Forgery::Pixels(error.to_string()))
    }

    fn probe(&self, secret: &ProbeSecret, task: TaskId, pixels: &TileData) -> Result<u32, Forgery> {
        let TileRequest { size, sampling, camera, rect, encoding, .. } = *self.request;
        let probes = secret.probes(task, self.request);
        let expected = render_pixel_sums(self.scene, &FrameView { size, sampling, camera }, &probes);
        for (&(x, y), expected) in probes.iter().zip(&expected) {
            let index = u64::from(y - rect.y) * u64::from(rect.width) + u64::from(x - rect.x);
            let index = usize::try_from(index).map_err(|_| Forgery::Probe { x, y })?;
            let is_right = match pixels {
                TileData::Radiance(pixels) => {
                    let bits = |pixel: [f32; 3]| pixel.map(f32::to_bits);
                    let mean = rounded(expected.mean(sampling.samples), encoding);
                    pixels.get(index).copied().map(bits) == Some(bits(mean))
                }
                TileData::Sums(pixels) => pixels.get(index) == Some(expected),
            };
            if !is_right {
                return Err(Forgery::Probe { x, y });
            }
        }
        Ok(probes.len() as u32)
    }
}
