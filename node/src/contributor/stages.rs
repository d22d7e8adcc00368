//! What a contributor does for a stage of a frame: the features on the render thread, the picture on a thread pool of as
//! many threads as the device has; each signed for.

use std::{collections::BTreeMap, sync::Arc, thread, time::Instant};

use bytes::Bytes;
use p2c2r_protocol::{
    canon::to_canonical,
    id::PlaneHash,
    sign::{Domain, SecretKey},
    stage::{Curve, PictureForm, Plane, StageRequest, StageStatement, plane_hash},
    task::{RejectReason, TaskCounters},
    tile::PixelEncoding,
};
use p2c2r_render::{
    backend::{FrameView, RenderControl, RenderError},
    denoise::{Denoiser, denoise},
    encode::{TileData, decode_features, decode_tile, encode_features},
    frame::Frame,
    gbuffer,
    picture::{PictureOptions, PngBits, encode_png},
    prepared::PreparedScene,
    tone::{ToneCurve, ToneMapping},
};
use tracing::{error, warn};

use super::{hand_overs::ArrivedPlane, render_thread::RenderedTile};
use crate::{
    config::Throttle,
    develop::feature_samples,
    processor_time::{Processor, Stopwatch},
};

/// What stages are done with.
#[derive(Clone)]
pub struct StageTools {
    /// Signs the results.
    pub key: SecretKey,
    /// As many threads as the device has.
    pub pool: Arc<rayon::ThreadPool>,
    /// How much slower than it could be.
    pub throttle: Throttle,
}

/// The features of a frame, as they travel.
pub fn geometry(
    tools: &StageTools,
    scene: &PreparedScene,
    request: &StageRequest,
    control: &RenderControl<'_>,
) -> Result<Vec<u8>, RenderError> {
    let view = FrameView { size: request.size, sampling: request.sampling, camera: request.camera };
    let samples = feature_samples(request.sampling.samples);
    let buffer = tools.pool.install(|| gbuffer::render(scene, &view, None, samples, control))?;
    Ok(encode_features(&buffer.features))
}

/// The picture of a frame, signed for. Blocks.
pub fn post(
    tools: &StageTools,
    request: &StageRequest,
    mut planes: BTreeMap<Plane, ArrivedPlane>,
    queue_ms: f32,
) -> Result<RenderedTile, RejectReason> {
    let watch = Stopwatch::start(Processor::Process);
    // In the order of the planes.
    let inputs: Vec<PlaneHash> = planes.values().map(|plane| plane.hash).collect();
    let film = planes.remove(&Plane::Film).ok_or(RejectReason::Internal)?;
    let picture = tools.pool.install(|| picture(request, &film, planes.get(&Plane::Features)))?;
    if tools.throttle.factor > 1.0 {
        thread::sleep(watch.done_at(tools.throttle.factor).saturating_duration_since(Instant::now()));
    }
    let counters = TaskCounters {
        queue_ms,
        execution_ms: watch.began().elapsed().as_secs_f32() * 1e3,
        ..TaskCounters::default()
    };
    let (statement, signature) = seal(&tools.key, request, plane_hash(&picture), inputs, counters)?;
    Ok(RenderedTile { statement, signature, payload: Bytes::from(picture) })
}

fn picture(
    request: &StageRequest,
    film: &ArrivedPlane,
    features: Option<&ArrivedPlane>,
) -> Result<Vec<u8>, RejectReason> {
    let size = request.size;
    let decoded = decode_tile(&film.bytes, size.full(), PixelEncoding::RgbF32, request.sampling.samples);
    let Ok(TileData::Radiance(radiance)) = decoded else { return Err(RejectReason::Invalid) };
    let features = match features {
        Some(plane) => Some(decode_features(&plane.bytes, size).ok_or(RejectReason::Invalid)?),
        None => None,
    };
    let mut frame = Frame::new(size, radiance, features).map_err(|_| RejectReason::Invalid)?;
    let failed = |reason: &dyn std::fmt::Display| {
        warn!(%reason, "a picture could not be made");
        RejectReason::Internal
    };
    if request.picture.denoise {
        denoise(&mut frame, Denoiser::Atrous).map_err(|error| failed(&error))?;
    }
    encode_png(&frame, &options(request.picture)).map_err(|error| failed(&error))
}

/// The picture that a form stands for.
fn options(form: PictureForm) -> PictureOptions {
    let curve = match form.curve {
        Curve::Agx => ToneCurve::AgX,
        Curve::Aces => ToneCurve::Aces,
        Curve::Linear => ToneCurve::Linear,
    };
    PictureOptions {
        tone: ToneMapping { curve, exposure_stops: form.exposure_stops },
        png_bits: if form.is_deep { PngBits::Sixteen } else { PngBits::Eight },
    }
}

/// The form that stands for a picture.
pub fn form(options: &PictureOptions, denoise: bool) -> PictureForm {
    let curve = match options.tone.curve {
        ToneCurve::AgX => Curve::Agx,
        ToneCurve::Aces => Curve::Aces,
        ToneCurve::Linear => Curve::Linear,
    };
    PictureForm {
        denoise,
        curve,
        exposure_stops: options.tone.exposure_stops,
        is_deep: options.png_bits == PngBits::Sixteen,
    }
}

/// The statement of a stage and the signature over it.
pub fn seal(
    key: &SecretKey,
    request: &StageRequest,
    output: PlaneHash,
    inputs: Vec<PlaneHash>,
    counters: TaskCounters,
) -> Result<(Vec<u8>, Vec<u8>), RejectReason> {
    let sealed = request
        .hash()
        .and_then(|request| to_canonical(&StageStatement { request, output, inputs, counters }));
    let statement = sealed.map_err(|reason| {
        error!(%reason, "a stage could not be signed");
        RejectReason::Internal
    })?;
    let signature = key.sign(Domain::Stage, &statement).0.to_vec();
    Ok((statement, signature))
}
