//! The loop of a game: a picture every sixtieth of a second, on one thread, from what is there. It never waits for
//! anybody: light is ordered if there is place for the order, and taken if it has come.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use p2c2r_protocol::tile::{FrameSize, GeometryError};
use p2c2r_render::{
    prepared::PreparedScene,
    realtime::{
        base::{AmbientLight, BasePass, BaseView},
        compose::Composer,
        reproject::{CarriedCounts, CarriedLight, reproject},
    },
    tone::ToneMapping,
};
use tokio::sync::mpsc;

use super::{
    FRAMES_PER_LIGHT, FRAMES_PER_S,
    camera_path::CameraPath,
    light::{Light, LightOrder},
};

/// Light that is not known is taken for this much of the mean of what is.
const AMBIENT_SHARE: f32 = 0.8;

/// What the loop shows.
#[derive(Debug, Clone)]
pub struct LoopSpec {
    /// The scene.
    pub scene: Arc<PreparedScene>,
    /// Size of the pictures.
    pub size: FrameSize,
    /// Where the camera is.
    pub path: CameraPath,
    /// How many frames are shown.
    pub frames: u32,
    /// From radiance to what a screen shows.
    pub tone: ToneMapping,
    /// Of how many frames the picture of one is kept.
    pub keep_every: u32,
}

/// What became of an order for light.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderState {
    /// Not this frame's turn.
    NotDue,
    /// It was taken.
    Taken,
    /// Another one was still under way.
    NoPlace,
}

/// The light that a frame was shown under.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Staleness {
    /// Frames between that for which it was ordered and this one.
    pub frames: u32,
    /// Between when these were due, ms.
    pub age_ms: f64,
    /// Whether it is the first frame under it.
    pub is_new: bool,
}

/// One frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameRecord {
    /// From when it was due until it was done, ms.
    pub done_ms: f64,
    /// Of these, time at work on it, ms.
    pub work_ms: f64,
    /// Its light, if there was any yet.
    pub light: Option<Staleness>,
    /// Where the light of its pixels is from.
    pub pixels: CarriedCounts,
    /// Whether it ordered light.
    pub order: OrderState,
}

/// A picture that is kept.
#[derive(Debug, Clone)]
pub struct ShownPicture {
    /// Number of the frame.
    pub frame: u32,
    /// Three sRGB codes a pixel, rows from the top.
    pub rgb: Vec<u8>,
}

/// What came of the loop.
#[derive(Debug, Default)]
pub struct LoopOutcome {
    /// All frames, in order.
    pub frames: Vec<FrameRecord>,
    /// The pictures that were kept.
    pub pictures: Vec<ShownPicture>,
    /// From when the first frame was due until the last one was done.
    pub elapsed: Duration,
}

/// What a frame needs of the frames before it.
struct Stage {
    pass: BasePass,
    composer: Composer,
    ambient: AmbientLight,
    light: Option<Light>,
    /// Memory of the last base picture.
    memory: Vec<p2c2r_render::realtime::base::BasePixel>,
}

/// Shows all frames; stops early when told to.
pub fn run(
    spec: &LoopSpec,
    orders: &mpsc::Sender<LightOrder>,
    light: &mut mpsc::Receiver<Light>,
    stopped: &AtomicBool,
) -> Result<LoopOutcome, GeometryError> {
    let mut stage = Stage {
        pass: BasePass::new(),
        composer: Composer::new(spec.tone),
        ambient: AmbientLight::default(),
        light: None,
        memory: Vec::new(),
    };
    // Memory and tables are there before the first frame is due.
    stage.picture(spec, 0)?;
    let interval = Duration::from_secs(1) / FRAMES_PER_S;
    let start = Instant::now() + interval;
    let mut outcome = LoopOutcome::default();
    for frame in 0..spec.frames {
        let due = start + interval * frame;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if stopped.load(Ordering::Relaxed) {
            break;
        }
        let began = Instant::now();
        let is_new = stage.take_light(light);
        let order = order_light(spec, orders, frame, due);
        let (rgb, pixels) = stage.picture(spec, frame)?;
        let done = Instant::now();
        outcome.elapsed = done.saturating_duration_since(start);
        outcome.frames.push(FrameRecord {
            done_ms: ms(done.saturating_duration_since(due)),
            work_ms: ms(done.saturating_duration_since(began)),
            light: stage.light.as_ref().map(|light| Staleness {
                frames: frame - light.order.frame,
                age_ms: ms(due.saturating_duration_since(light.order.due)),
                is_new,
            }),
            pixels,
            order,
        });
        if frame.is_multiple_of(spec.keep_every.max(1)) || frame + 1 == spec.frames {
            outcome.pictures.push(ShownPicture { frame, rgb });
        }
    }
    Ok(outcome)
}

/// The camera of a frame.
pub fn camera_of(spec: &LoopSpec, frame: u32) -> p2c2r_protocol::tile::Camera {
    spec.path.at(frame as f32 / FRAMES_PER_S as f32, spec.size)
}

fn order_light(spec: &LoopSpec, orders: &mpsc::Sender<LightOrder>, frame: u32, due: Instant) -> OrderState {
    if !frame.is_multiple_of(FRAMES_PER_LIGHT) {
        return OrderState::NotDue;
    }
    let order = LightOrder { frame, camera: camera_of(spec, frame), due };
    if orders.try_send(order).is_ok() { OrderState::Taken } else { OrderState::NoPlace }
}

impl Stage {
    /// Takes the newest light that has come; whether there was any.
    fn take_light(&mut self, light: &mut mpsc::Receiver<Light>) -> bool {
        let mut is_new = false;
        while let Ok(newest) = light.try_recv() {
            self.ambient.level = newest.mean.map(|channel| channel * AMBIENT_SHARE);
            self.light = Some(newest);
            is_new = true;
        }
        is_new
    }

    fn picture(&mut self, spec: &LoopSpec, frame: u32) -> Result<(Vec<u8>, CarriedCounts), GeometryError> {
        let view = BaseView { size: spec.size, camera: camera_of(spec, frame) };
        let memory = std::mem::take(&mut self.memory);
        let base = self.pass.render_into(&spec.scene, &view, spec.size.full(), &self.ambient, memory)?;
        let carried = match &self.light {
            Some(light) => reproject(&light.layer, &base),
            None => CarriedLight::none(&base),
        };
        let rgb = self.composer.picture(&base, &carried);
        self.memory = base.pixels;
        Ok((rgb, carried.counts()))
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
