//! The stages of a frame at different peers: what one of them is asked for, what it signs, and how it hands its work on.
//!
//! ```text
//! coordinator ── OfferStage(post) ──► C            C awaits what A and B will bring, and says Accepted
//! coordinator ── OfferStage(geometry, post at C) ──► A,   OfferStage(lighting, post at C) ──► B
//!                          A ── /p2c2r/stage/1: Plane(features) + Piece* ──► C
//!                          B ── /p2c2r/stage/1: Plane(film) + Piece* ──► C
//! coordinator ◄── HandedOver(statement) ── A, B           their own word for what they handed on
//! coordinator ◄── Result(statement) + Piece* ── C         the picture's file; the statement names what it was made of
//! ```
//! The pixels of a frame never pass through its coordinator. Hand-overs that were not announced are refused unread.

use serde::{Deserialize, Serialize};

use crate::{
    canon::{CanonError, to_canonical},
    frame::{FieldError, Header},
    id::{JobId, NodeId, PlaneHash, RequestHash},
    limit::{MAX_EXPOSURE_STOPS, MAX_PIECE_BYTES, MAX_PLANE_BYTES, MAX_SESSION_HEADER_BYTES},
    moment::SceneMoment,
    task::TaskCounters,
    tile::{Camera, FrameSize, GeometryError, Sampling},
};

/// A stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// What each pixel sees first: albedo, normal, depth.
    Geometry,
    /// The film: path tracing.
    Lighting,
    /// The picture: denoising, tone curve, file format.
    Post,
}

impl Stage {
    /// All of them, in the order in which a frame passes them.
    pub const ALL: [Self; 3] = [Self::Geometry, Self::Lighting, Self::Post];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Geometry => "geometry",
            Self::Lighting => "lighting",
            Self::Post => "post",
        }
    }
}

/// What one stage hands to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plane {
    /// Albedo (three), normal (three), depth (one) of each pixel, plane after plane, as little-endian binary32.
    Features,
    /// Linear radiance, three little-endian binary32 a pixel.
    Film,
}

impl Plane {
    /// Bytes of a frame's.
    pub const fn bytes(self, size: FrameSize) -> u64 {
        let values = match self {
            Self::Features => 7,
            Self::Film => 3,
        };
        size.pixels() * values * 4
    }
}

/// A tone curve, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Curve {
    /// `AgX`.
    Agx,
    /// ACES.
    Aces,
    /// None.
    Linear,
}

/// What is made of a film: a PNG.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PictureForm {
    /// Whether the a-trous filter takes the noise out: then there is a geometry stage.
    pub denoise: bool,
    /// The tone curve.
    pub curve: Curve,
    /// Exposure, stops: within ±[`MAX_EXPOSURE_STOPS`].
    pub exposure_stops: f32,
    /// Whether a channel has 16 bits instead of 8.
    pub is_deep: bool,
}

/// What a peer is asked for. Its canonical CBOR is what [`RequestHash`] names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageRequest {
    /// The job that the frame belongs to.
    pub job: JobId,
    /// Frame number within the job.
    pub frame: u32,
    /// How often the frame was begun: what an earlier attempt hands over late is not taken for this one's.
    pub attempt: u32,
    /// Which stage.
    pub stage: Stage,
    /// The scene, at the frame's moment.
    pub scene: SceneMoment,
    /// The frame's size.
    pub size: FrameSize,
    /// How it is sampled: all samples.
    pub sampling: Sampling,
    /// From where.
    pub camera: Camera,
    /// What is made of it.
    pub picture: PictureForm,
    /// Who renders the features; nobody if the picture needs none.
    pub geometry: Option<NodeId>,
    /// Who renders the film.
    pub lighting: NodeId,
    /// Who makes the picture.
    pub post: NodeId,
}

impl StageRequest {
    /// Whether the request can be carried out at all: everything finite and within the limits.
    pub fn check(&self) -> Result<(), GeometryError> {
        self.sampling.check()?;
        self.camera.check()?;
        let is_sound = self.picture.exposure_stops.abs() <= MAX_EXPOSURE_STOPS
            && self.picture.denoise == self.geometry.is_some()
            && (self.stage != Stage::Geometry || self.geometry.is_some());
        if is_sound && Plane::Features.bytes(self.size) <= u64::from(MAX_PLANE_BYTES) {
            Ok(())
        } else {
            Err(GeometryError::TileRect(self.size.full()))
        }
    }

    /// The request's name.
    pub fn hash(&self) -> Result<RequestHash, CanonError> {
        Ok(RequestHash(*blake3::hash(&to_canonical(self)?).as_bytes()))
    }

    /// What the stage hands on; nothing of the last one.
    pub const fn plane(&self) -> Option<Plane> {
        match self.stage {
            Stage::Geometry => Some(Plane::Features),
            Stage::Lighting => Some(Plane::Film),
            Stage::Post => None,
        }
    }

    /// What the last stage awaits, and from whom.
    pub fn awaited(&self) -> impl Iterator<Item = (Plane, NodeId)> + use<> {
        let features = self.geometry.map(|node| (Plane::Features, node));
        features.into_iter().chain([(Plane::Film, self.lighting)])
    }
}

/// What a peer signs for a finished stage (domain `p2c2r/stage/v1`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageStatement {
    /// The request that was carried out.
    pub request: RequestHash,
    /// BLAKE3 of what came of it: of a plane's bytes, or of the picture's file.
    pub output: PlaneHash,
    /// What it was made of: features (if any), film. Empty for the first stages.
    pub inputs: Vec<PlaneHash>,
    /// What it took.
    pub counters: TaskCounters,
}

/// The name of a plane's bytes, or of a file's.
pub fn plane_hash(bytes: &[u8]) -> PlaneHash {
    PlaneHash(*blake3::hash(bytes).as_bytes())
}

/// What a hand-over is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HandOver {
    /// The job.
    pub job: JobId,
    /// The frame.
    pub frame: u32,
    /// How often it was begun.
    pub attempt: u32,
    /// What is brought.
    pub plane: Plane,
    /// How much of it, bytes.
    pub bytes: u32,
    /// Its BLAKE3.
    pub hash: PlaneHash,
}

/// From the one that hands over, `/p2c2r/stage/1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HandOverMessage {
    /// Asks whether it is awaited.
    Bring(HandOver),
    /// The next bytes, in order: the frame's payload.
    Piece,
}

/// From the one that takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HandOverReply {
    /// It is awaited: go on.
    Go,
    /// Nobody awaits it.
    Refused,
    /// It is there, whole.
    Taken,
}

impl Header for HandOverMessage {
    const MAX_HEADER_BYTES: u32 = MAX_SESSION_HEADER_BYTES;
    const MAX_PAYLOAD_BYTES: u32 = MAX_PIECE_BYTES;

    fn max_payload_bytes(&self) -> u32 {
        match self {
            Self::Piece => MAX_PIECE_BYTES,
            Self::Bring(_) => 0,
        }
    }

    fn check(&self) -> Result<(), FieldError> {
        match self {
            Self::Bring(HandOver { bytes, .. }) if *bytes == 0 || *bytes > MAX_PLANE_BYTES => {
                Err(FieldError("plane size"))
            }
            _ => Ok(()),
        }
    }
}

impl Header for HandOverReply {
    const MAX_HEADER_BYTES: u32 = MAX_SESSION_HEADER_BYTES;
    const MAX_PAYLOAD_BYTES: u32 = 0;

    fn max_payload_bytes(&self) -> u32 {
        0
    }

    fn check(&self) -> Result<(), FieldError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SceneHash;

    fn node(index: u8) -> NodeId {
        NodeId::from_public_key([index; 32])
    }

    fn request(stage: Stage) -> StageRequest {
        StageRequest {
            job: JobId([3; 16]),
            frame: 7,
            attempt: 1,
            stage,
            scene: SceneMoment::start_of(SceneHash([9; 32])),
            size: FrameSize::new(640, 360).unwrap(),
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
            picture: PictureForm { denoise: true, curve: Curve::Agx, exposure_stops: 0.0, is_deep: false },
            geometry: Some(node(1)),
            lighting: node(2),
            post: node(3),
        }
    }

    #[test]
    fn requests_that_contradict_themselves_are_refused() {
        for stage in Stage::ALL {
            request(stage).check().unwrap();
        }
        let form =
            |denoise, exposure_stops| PictureForm { denoise, exposure_stops, ..request(Stage::Post).picture };
        for bad in [
            StageRequest { geometry: None, ..request(Stage::Post) },
            StageRequest { picture: form(false, 0.0), ..request(Stage::Post) },
            StageRequest { picture: form(false, 0.0), geometry: None, ..request(Stage::Geometry) },
            StageRequest { picture: form(true, f32::NAN), ..request(Stage::Post) },
            StageRequest { picture: form(true, 1e9), ..request(Stage::Post) },
            StageRequest { size: FrameSize::new(16_384, 8192).unwrap(), ..request(Stage::Lighting) },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_last_stage_awaits_what_the_others_hand_on() {
        let post = request(Stage::Post);
        assert_eq!(post.awaited().collect::<Vec<_>>(), [(Plane::Features, node(1)), (Plane::Film, node(2))]);
        let planes = Stage::ALL.map(|stage| request(stage).plane());
        assert_eq!(planes, [Some(Plane::Features), Some(Plane::Film), None]);
        let size = FrameSize::new(3, 2).unwrap();
        assert_eq!((Plane::Features.bytes(size), Plane::Film.bytes(size)), (168, 72));
        assert_ne!(post.hash().unwrap(), StageRequest { attempt: 2, ..post.clone() }.hash().unwrap());
    }

    #[test]
    fn b3_planes_of_impossible_sizes_are_refused_before_a_byte_is_read() {
        let bring = |bytes| {
            let hand_over = HandOver {
                job: JobId([1; 16]),
                frame: 0,
                attempt: 0,
                plane: Plane::Film,
                bytes,
                hash: plane_hash(b""),
            };
            HandOverMessage::Bring(hand_over).check()
        };
        assert!(bring(0).is_err() && bring(MAX_PLANE_BYTES + 1).is_err() && bring(MAX_PLANE_BYTES).is_ok());
    }
}
