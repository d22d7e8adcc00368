//! The loop of a game: a picture every sixtieth of a second, on one thread, from what is there. It never waits for
//! anybody: light is ordered if there is place for the order, and taken if it has come. Frames that the next one has
//! overtaken are left out.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use p2c2r_protocol::tile::{Camera, FrameSize, GeometryError};
use p2c2r_render::{
    prepared::PreparedScene,
    realtime::{
        base::{AmbientLight, BasePass, BasePixel, BaseView},
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
/// Pictures that are made to find out how long one takes, after one that readies the memory: the first ones, for which
/// there is light.
const TRIED_PICTURES: u32 = 9;

/// What the loop shows.
#[derive(Debug, Clone)]
pub struct LoopSpec {
    /// The scene.
    pub scene: Arc<PreparedScene>,
    /// Size of the pictures.
    pub size: FrameSize,
    /// Where the camera is.
    pub path: CameraPath,
    /// How many frames there are.
    pub frames: u32,
    /// From radiance to what a screen shows.
    pub tone: ToneMapping,
    /// Of how many frames the picture of one is kept: the first that is shown.
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
    /// The frames that were shown, in order.
    pub frames: Vec<FrameRecord>,
    /// Frames that were left out because the next one was due.
    pub left_out: u32,
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
    memory: Vec<BasePixel>,
}

/// Shows all frames; stops early when told to.
pub fn run(
    spec: &LoopSpec,
    orders: &mpsc::Sender<LightOrder>,
    light: &mut mpsc::Receiver<Light>,
    stopped: &AtomicBool,
) -> Result<LoopOutcome, GeometryError> {
    let mut stage = Stage::new(spec.tone);
    // Memory and tables are there before the first frame is due.
    stage.picture(spec, 0)?;
    let interval = Duration::from_secs(1) / FRAMES_PER_S;
    let start = Instant::now() + interval;
    let mut outcome = LoopOutcome::default();
    let (mut light_turns, mut kept_turns) = (Turns::every(FRAMES_PER_LIGHT), Turns::every(spec.keep_every));
    let mut next = 0;
    while next < spec.frames {
        thread::sleep((start + interval * next).saturating_duration_since(Instant::now()));
        if stopped.load(Ordering::Relaxed) {
            break;
        }
        let frame = newest_due(next, start.elapsed(), interval).min(spec.frames - 1);
        let due = start + interval * frame;
        let began = Instant::now();
        let is_new = stage.take_light(light);
        let order =
            if light_turns.take(frame) { order_light(spec, orders, frame, due) } else { OrderState::NotDue };
        let (rgb, pixels) = stage.picture(spec, frame)?;
        let done = Instant::now();
        outcome.elapsed = done.saturating_duration_since(start);
        outcome.left_out += frame - next;
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
        if kept_turns.take(frame) || frame + 1 == spec.frames {
            outcome.pictures.push(ShownPicture { frame, rgb });
        }
        next = frame + 1;
    }
    Ok(outcome)
}

/// The frame that is shown next: that of which the time has come, so that a loop that is behind leaves out those before it.
fn newest_due(next: u32, since_start: Duration, interval: Duration) -> u32 {
    let due = since_start.as_nanos() / interval.as_nanos().max(1);
    next.max(u32::try_from(due).unwrap_or(u32::MAX))
}

/// Turns that come once in so many frames, with the first of these that is shown.
struct Turns {
    every: u32,
    last: Option<u32>,
}

impl Turns {
    fn every(every: u32) -> Self {
        Self { every: every.max(1), last: None }
    }

    /// Whether it is this frame's turn. Frames come in order, some of them not at all.
    fn take(&mut self, frame: u32) -> bool {
        let turn = Some(frame / self.every);
        turn != std::mem::replace(&mut self.last, turn)
    }
}

/// The camera of a frame.
pub fn camera_of(spec: &LoopSpec, frame: u32) -> Camera {
    spec.path.at(frame as f32 / FRAMES_PER_S as f32, spec.size)
}

/// Median time that one of the first pictures takes under the light of the first one, ms.
pub fn picture_ms(spec: &LoopSpec, light: &Light) -> Result<f64, GeometryError> {
    let mut stage = Stage::new(spec.tone);
    stage.shine(light.clone());
    stage.picture(spec, 0)?;
    let mut times = Vec::new();
    for frame in 0..TRIED_PICTURES {
        let began = Instant::now();
        stage.picture(spec, frame)?;
        times.push(ms(began.elapsed()));
    }
    times.sort_by(f64::total_cmp);
    Ok(times.get(times.len() / 2).copied().unwrap_or_default())
}

fn order_light(spec: &LoopSpec, orders: &mpsc::Sender<LightOrder>, frame: u32, due: Instant) -> OrderState {
    let order = LightOrder { frame, camera: camera_of(spec, frame), due };
    if orders.try_send(order).is_ok() { OrderState::Taken } else { OrderState::NoPlace }
}

impl Stage {
    fn new(tone: ToneMapping) -> Self {
        Self {
            pass: BasePass::new(),
            composer: Composer::new(tone),
            ambient: AmbientLight::default(),
            light: None,
            memory: Vec::new(),
        }
    }

    /// Takes the newest light that has come; whether there was any.
    fn take_light(&mut self, light: &mut mpsc::Receiver<Light>) -> bool {
        let mut is_new = false;
        while let Ok(newest) = light.try_recv() {
            self.shine(newest);
            is_new = true;
        }
        is_new
    }

    fn shine(&mut self, light: Light) {
        self.ambient.level = light.mean.map(|channel| channel * AMBIENT_SHARE);
        self.light = Some(light);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_that_the_next_one_has_overtaken_are_left_out() {
        let interval = Duration::from_millis(10);
        let at = |ms| Duration::from_millis(ms);
        assert_eq!(newest_due(3, at(12), interval), 3, "early");
        assert_eq!(newest_due(3, at(39), interval), 3, "late, and the next one is not due");
        assert_eq!(newest_due(3, at(75), interval), 7);
    }

    #[test]
    fn every_third_frame_has_its_turn_even_if_it_is_left_out() {
        let mut turns = Turns::every(3);
        let taken: Vec<u32> =
            [0, 1, 2, 4, 5, 6, 8, 12].into_iter().filter(|frame| turns.take(*frame)).collect();
        assert_eq!(taken, [0, 4, 6, 12]);
    }
}
