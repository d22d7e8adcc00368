//! Whole frames of a sequence at different peers: what is asked for, the films that are being filled, and how frames are
//! delivered as soon as they are whole.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use p2c2r_protocol::{
    moment::SceneMoment,
    tile::{Camera, FrameSize, PixelEncoding, SceneTime},
};
use p2c2r_render::{encode::TileData, prepared::PreparedScene, scene::SceneError};
use p2c2r_scheduler::split::temporal::PerFrame;
use tokio::sync::mpsc;

use super::{Canvas, JobSpec, canvas::CanvasError, job::Place};
use crate::{report::FrameReport, scene_library::SceneLibrary};

/// Frames that may be begun beyond those that were taken, for each peer: so many films may wait in memory.
const FRAMES_AHEAD_PER_PEER: usize = 2;
/// And besides.
pub const FRAMES_AHEAD: usize = 4;

/// A frame of a sequence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SequenceFrame {
    /// Its number.
    pub number: u32,
    /// Its moment.
    pub time: SceneTime,
    /// From where.
    pub camera: Camera,
    /// Its estimated cost over all samples, rays.
    pub cost: f64,
}

/// The frames of a sequence.
#[derive(Clone)]
pub struct SequenceSpec {
    /// In the order in which they are wanted.
    pub frames: Arc<[SequenceFrame]>,
    /// What each takes beside rendering.
    pub each: PerFrame,
    /// Makes the scene ready at each frame's moment, to check what others deliver.
    pub library: Arc<SceneLibrary>,
    /// Whole frames go there.
    pub deliver: mpsc::Sender<DeliveredFrame>,
}

/// A frame that is whole. It comes again if one who had a hand in it is found to forge.
pub struct DeliveredFrame {
    /// Its place in the sequence, counted from 0.
    pub index: u32,
    /// What came of it.
    pub content: FrameContent,
    /// Who rendered it.
    pub report: FrameReport,
}

/// What a frame is delivered as.
pub enum FrameContent {
    /// Its pixels.
    Film(Canvas),
    /// The picture's file, made by a peer.
    Picture(bytes::Bytes),
}

impl SequenceSpec {
    /// The same frames, for whoever takes them.
    #[must_use]
    pub fn without_delivery(self) -> Self {
        let (deliver, _) = mpsc::channel(1);
        Self { deliver, ..self }
    }

    /// The cost of each frame, rays.
    pub fn costs(&self) -> Vec<f64> {
        self.frames.iter().map(|frame| frame.cost).collect()
    }
}

impl JobSpec {
    /// Number, moment and camera of a frame.
    pub fn shot(&self, index: u32) -> (u32, SceneMoment, Camera) {
        let frames = self.sequence.as_ref().map(|sequence| &sequence.frames);
        match frames.and_then(|frames| frames.get(index as usize)) {
            Some(frame) => (frame.number, self.moment_of(frame.time), frame.camera),
            None => (0, self.scene.moment(), self.camera),
        }
    }

    /// A scene that does not move has one moment.
    fn moment_of(&self, time: SceneTime) -> SceneMoment {
        let first = self.scene.moment();
        if self.scene.moves { SceneMoment { time, ..first } } else { first }
    }

    /// The scene at a frame's moment. Blocks while it is made ready, if it is another one than the job's.
    pub fn scene_of(&self, index: u32) -> Result<Arc<PreparedScene>, SceneError> {
        let (_, moment, _) = self.shot(index);
        match &self.sequence {
            Some(sequence) if moment != self.scene.moment() => {
                Ok(sequence.library.prepare(&self.scene.package, moment.time)?.prepared)
            }
            _ => Ok(Arc::clone(&self.scene.prepared)),
        }
    }
}

/// The film of a frame that is not whole yet.
struct OpenFilm {
    canvas: Canvas,
    /// When its first tile was offered.
    since: Instant,
}

/// The accepted pixels of a run.
pub struct Films {
    size: FrameSize,
    encoding: PixelEncoding,
    is_sequence: bool,
    open: BTreeMap<u32, OpenFilm>,
    /// Whole frames of a sequence, to be delivered.
    whole: VecDeque<u32>,
    /// Frames that were taken.
    taken: usize,
}

impl Films {
    /// Without any tiles. `now` is when the first tile is offered.
    pub fn new(spec: &JobSpec, now: Instant) -> Self {
        let mut films = Self {
            size: spec.size,
            encoding: spec.encoding,
            is_sequence: spec.sequence.is_some(),
            open: BTreeMap::new(),
            whole: VecDeque::new(),
            taken: 0,
        };
        if !films.is_sequence {
            films.open_film(0, now);
        }
        films
    }

    /// A tile of the frame is offered.
    pub fn begin(&mut self, frame: u32, now: Instant) {
        self.open_film(frame, now);
    }

    fn open_film(&mut self, frame: u32, since: Instant) -> &mut OpenFilm {
        let (size, encoding) = (self.size, self.encoding);
        self.open.entry(frame).or_insert_with(|| OpenFilm { canvas: Canvas::new(size, encoding), since })
    }

    /// Takes a tile, or is as before.
    pub fn insert(&mut self, place: Place, data: &TileData) -> Result<(), CanvasError> {
        let film = self.open_film(place.frame, Instant::now());
        film.canvas.insert(place.rect, data)?;
        let is_whole = film.canvas.is_whole();
        if self.is_sequence && is_whole {
            self.whole.push_back(place.frame);
        }
        Ok(())
    }

    /// Takes a tile's pixels out again. A frame that was delivered is begun anew.
    pub fn remove(&mut self, place: Place) {
        self.whole.retain(|frame| *frame != place.frame);
        if let Some(film) = self.open.get_mut(&place.frame) {
            film.canvas.remove(place.rect);
        }
    }

    /// The next whole frame: its index, its pixels, and when it was begun.
    pub fn take_whole(&mut self) -> Option<(u32, Canvas, Instant)> {
        let frame = self.whole.pop_front()?;
        let film = self.open.remove(&frame)?;
        Some((frame, film.canvas, film.since))
    }

    /// The film of a run that is no sequence.
    pub fn take_only(&mut self) -> Option<Canvas> {
        if self.is_sequence { None } else { self.open.remove(&0).map(|film| film.canvas) }
    }

    /// Notes that a frame was taken by whoever waits for it.
    pub fn note_taken(&mut self) {
        self.taken += 1;
    }

    /// The first frame that is not to be begun yet with so many peers: films that nobody takes fill the memory.
    pub fn wanted_below(&self, peers: usize) -> u32 {
        (self.taken + FRAMES_AHEAD + FRAMES_AHEAD_PER_PEER * peers) as u32
    }
}
