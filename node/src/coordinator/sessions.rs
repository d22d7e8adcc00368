//! The coordinator's work sessions, one per contributor: who is greeted, who has which scene, who still lives.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use p2c2r_protocol::{
    id::{Epoch, NodeId, TaskId},
    limit::MAX_CREDIT,
    moment::SceneMoment,
    stage::StageRequest,
    task::{ContributorMessage, CoordinatorMessage, Load, RejectReason, TileRequest},
};
use p2c2r_scheduler::PeerView;
use p2c2r_swarm::Traffic;
use tokio::sync::mpsc;

use super::line::Line;

/// Between two signs of life that are asked for.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// A contributor that was asked and says nothing for this long is taken for dead. Above the longest pause that a busy
/// two-core machine was seen to make.
const SILENCE_LIMIT: Duration = Duration::from_secs(5);
/// Weight of the newest round trip in the running mean.
const ROUND_TRIP_WEIGHT: f32 = 0.25;

/// Scenes whose state is remembered for each contributor: it keeps hardly more of them ready for us.
const MAX_KNOWN_SCENES: usize = 4;

/// Tells a session from an earlier one with the same peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generation(pub u64);

/// Where a scene stands at a contributor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SceneState {
    /// Asked for.
    Preparing,
    /// There.
    Ready,
    /// It will not come.
    Refused {
        /// Why.
        reason: RejectReason,
    },
}

/// One contributor.
pub struct Session {
    /// Which session with this peer.
    pub generation: Generation,
    /// Whether it is this node's own device.
    pub own: bool,
    /// What crossed the network.
    pub traffic: Arc<Traffic>,
    /// What it said in its welcome.
    pub welcome: Option<Welcome>,
    /// Its load, as last told.
    pub load: Load,
    /// The scene whose package it said is on its way there, and how many bytes have come.
    on_its_way: Option<(SceneMoment, u64)>,
    /// Whether more of it has come since that was asked last.
    got_on: bool,
    /// Bytes that it fetched for all scenes so far.
    fetched_bytes: u64,
    /// Where the scenes stand that were asked for last.
    scenes: VecDeque<(SceneMoment, SceneState)>,
    /// Round trip, ms.
    pub round_trip_ms: f32,
    /// Mean deviation from it, ms.
    jitter_ms: f32,
    line: Line,
    /// Tasks that wait for their scene to be ready there.
    deferred: Vec<(TaskId, Deferred)>,
    outbox: mpsc::Sender<CoordinatorMessage>,
    pub last_heard: Instant,
    asked: Option<Asked>,
    next_nonce: u64,
}

/// What is offered once its scene is ready.
#[derive(Debug)]
enum Deferred {
    Tile(TileRequest),
    Stage(Box<StageRequest>),
}

impl Deferred {
    fn scene(&self) -> SceneMoment {
        match self {
            Self::Tile(request) => request.scene,
            Self::Stage(request) => request.scene,
        }
    }

    fn into_message(self, task: TaskId, compress: bool) -> CoordinatorMessage {
        match self {
            Self::Tile(request) => CoordinatorMessage::Offer { task, request, compress },
            Self::Stage(request) => CoordinatorMessage::OfferStage { task, request },
        }
    }
}

/// What a contributor said at the start.
#[derive(Debug, Clone, Copy)]
pub struct Welcome {
    /// Tasks that it takes at once.
    pub credit: u32,
    /// Speed that it says it has.
    pub mrays_per_s: f32,
}

/// A question for a sign of life that is out.
#[derive(Debug, Clone, Copy)]
struct Asked {
    nonce: u64,
    at: Instant,
    answered: bool,
}

impl Session {
    /// Greets a contributor.
    pub fn open(
        generation: Generation,
        own: bool,
        outbox: mpsc::Sender<CoordinatorMessage>,
        traffic: Arc<Traffic>,
        epoch: Epoch,
        now: Instant,
    ) -> Self {
        let mut session = Self {
            generation,
            own,
            traffic,
            welcome: None,
            load: Load::default(),
            on_its_way: None,
            got_on: false,
            fetched_bytes: 0,
            scenes: VecDeque::new(),
            round_trip_ms: 0.0,
            jitter_ms: 0.0,
            line: Line::default(),
            deferred: Vec::new(),
            outbox,
            last_heard: now,
            asked: None,
            next_nonce: 0,
        };
        let software = concat!("p2c2r-node/", env!("CARGO_PKG_VERSION")).to_owned();
        session.send(CoordinatorMessage::Hello { epoch, software });
        session.ping(now);
        session
    }

    /// Sends; `false` when the contributor does not read or is gone.
    pub fn send(&self, message: CoordinatorMessage) -> bool {
        self.outbox.try_send(message).is_ok()
    }

    /// Asks for a scene, unless the answer is on its way or it is there. One that was ready may be gone again, so it is asked
    /// for anew.
    pub fn prepare(&mut self, scene: SceneMoment, size_bytes: u64) {
        let is_coming = self.state(&scene) == Some(SceneState::Preparing);
        if self.welcome.is_none() || is_coming || self.has(&scene) {
            return;
        }
        self.scenes.retain(|(known, _)| *known != scene);
        self.scenes.push_back((scene, SceneState::Preparing));
        if self.scenes.len() > MAX_KNOWN_SCENES {
            self.scenes.pop_front();
        }
        self.send(CoordinatorMessage::Prepare { scene, size_bytes });
    }

    /// Offers a tile of a frame whose scene is ready there; `false` when the contributor does not read or is gone.
    pub fn offer(&self, task: TaskId, request: TileRequest) -> bool {
        self.send(Deferred::Tile(request).into_message(task, self.line.is_slow()))
    }

    /// Offers a tile of a sequence, once its moment of the scene is ready there. Any but the one that was asked for last is
    /// asked for anew: one that it still has costs a word. `false` when it is gone.
    pub fn offer_at_moment(&mut self, task: TaskId, request: TileRequest, size_bytes: u64) -> bool {
        self.offer_when_ready(task, Deferred::Tile(request), size_bytes)
    }

    /// As [`Session::offer_at_moment`], a stage of a frame.
    pub fn offer_stage_at_moment(
        &mut self,
        task: TaskId,
        request: Box<StageRequest>,
        size_bytes: u64,
    ) -> bool {
        self.offer_when_ready(task, Deferred::Stage(request), size_bytes)
    }

    fn offer_when_ready(&mut self, task: TaskId, offer: Deferred, size_bytes: u64) -> bool {
        let scene = offer.scene();
        if self.has(&scene) {
            return self.send(offer.into_message(task, self.line.is_slow()));
        }
        self.prepare(scene, size_bytes);
        self.deferred.push((task, offer));
        !self.outbox.is_closed()
    }

    /// Offers the tasks whose scenes have become ready; gives those back whose scene is settled, with what came of it.
    pub fn offer_deferred(&mut self) -> Vec<(TaskId, SceneState)> {
        let (settled, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.deferred)
            .into_iter()
            .partition(|(_, offer)| self.is_settled(&offer.scene()));
        self.deferred = waiting;
        let mut outcomes = Vec::with_capacity(settled.len());
        for (task, offer) in settled {
            let Some(state) = self.state(&offer.scene()) else { continue };
            if self.is_ready(&offer.scene()) {
                // A contributor that does not read is found out when its stream ends.
                self.send(offer.into_message(task, self.line.is_slow()));
            }
            outcomes.push((task, state));
        }
        outcomes
    }

    /// Whether the task still waited here; then it does no more.
    pub fn take_back(&mut self, task: TaskId) -> bool {
        let before = self.deferred.len();
        self.deferred.retain(|(deferred, _)| *deferred != task);
        self.deferred.len() < before
    }

    /// The contributor has lost a scene: what else it is thought to have may be gone as well.
    pub fn forget_scenes(&mut self) {
        self.scenes.retain(|(_, state)| *state != SceneState::Ready);
    }

    fn state(&self, scene: &SceneMoment) -> Option<SceneState> {
        self.scenes.iter().find(|(known, _)| known == scene).map(|(_, state)| *state)
    }

    /// Notes a message that concerns the session itself; gives back one that concerns a task.
    pub fn note(&mut self, message: ContributorMessage, now: Instant) -> Option<ContributorMessage> {
        self.last_heard = now;
        match message {
            ContributorMessage::Welcome { credit, mrays_per_s, load, .. } if self.welcome.is_none() => {
                self.welcome = Some(Welcome { credit: credit.clamp(1, MAX_CREDIT), mrays_per_s });
                self.load = load;
            }
            ContributorMessage::Ready { scene, fetched_bytes, .. } => {
                if self.settle(scene, SceneState::Ready) {
                    self.fetched_bytes = self.fetched_bytes.saturating_add(fetched_bytes);
                }
            }
            ContributorMessage::Fetching { scene, bytes_here } => {
                if self.state(&scene) == Some(SceneState::Preparing) {
                    let before =
                        self.on_its_way.filter(|(known, _)| *known == scene).map_or(0, |(_, bytes)| bytes);
                    self.got_on |= bytes_here > before;
                    self.on_its_way = Some((scene, bytes_here));
                }
            }
            ContributorMessage::Refused { scene, reason } => {
                self.settle(scene, SceneState::Refused { reason });
            }
            ContributorMessage::Pong { nonce, load } => {
                self.load = load;
                self.pong(nonce, now);
            }
            message => {
                if let ContributorMessage::Accepted { load, .. } | ContributorMessage::Rejected { load, .. } =
                    &message
                {
                    self.load = *load;
                }
                return Some(message);
            }
        }
        None
    }

    /// Only what was asked for can be answered, and counts once.
    fn settle(&mut self, scene: SceneMoment, state: SceneState) -> bool {
        let asked = self.scenes.iter_mut().find(|(known, _)| *known == scene);
        asked.is_some_and(|(_, known)| mem::replace(known, state) == SceneState::Preparing)
    }

    /// Notes that something came (a result).
    pub fn heard(&mut self, load: Load, now: Instant) {
        self.last_heard = now;
        self.load = load;
        self.line.measure(&self.traffic);
    }

    fn pong(&mut self, nonce: u64, now: Instant) {
        let Some(asked) = self.asked.as_mut().filter(|asked| asked.nonce == nonce && !asked.answered) else {
            return;
        };
        asked.answered = true;
        let round_trip_ms = now.saturating_duration_since(asked.at).as_secs_f32() * 1e3;
        if self.round_trip_ms == 0.0 {
            self.round_trip_ms = round_trip_ms;
            return;
        }
        let deviation = round_trip_ms - self.round_trip_ms;
        self.round_trip_ms += ROUND_TRIP_WEIGHT * deviation;
        self.jitter_ms += ROUND_TRIP_WEIGHT * (deviation.abs() - self.jitter_ms);
    }

    /// Asks for a sign of life if it is time; `false` when the last question went unanswered for too long.
    pub fn keep_alive(&mut self, now: Instant) -> bool {
        if let Some(asked) = self.asked {
            let silent = now.saturating_duration_since(self.last_heard.max(asked.at));
            if !asked.answered {
                return silent < SILENCE_LIMIT;
            }
            if now.saturating_duration_since(asked.at) < PING_INTERVAL {
                return true;
            }
        }
        self.ping(now);
        true
    }

    fn ping(&mut self, now: Instant) {
        self.next_nonce += 1;
        self.asked = Some(Asked { nonce: self.next_nonce, at: now, answered: false });
        self.send(CoordinatorMessage::Ping { nonce: self.next_nonce });
    }

    /// Whether more of a scene has come there since this was asked last.
    pub fn take_got_on(&mut self) -> bool {
        mem::take(&mut self.got_on)
    }

    /// The share of a scene of that size that is there, by the contributor's own word; nothing if it is not asked for or
    /// will not come.
    pub fn scene_share(&self, scene: &SceneMoment, size_bytes: u64) -> Option<f64> {
        match self.state(scene)? {
            SceneState::Ready => Some(1.0),
            SceneState::Refused { .. } => None,
            SceneState::Preparing => {
                let here =
                    self.on_its_way.filter(|(coming, _)| coming == scene).map_or(0, |(_, bytes)| bytes);
                Some((here as f64 / size_bytes.max(1) as f64).min(1.0))
            }
        }
    }

    /// Whether the contributor can be offered tiles of the scene.
    pub fn is_ready(&self, scene: &SceneMoment) -> bool {
        self.welcome.is_some() && self.state(scene) == Some(SceneState::Ready)
    }

    /// Whether the scene is certainly there: a contributor keeps the last one that it was asked for.
    pub fn has(&self, scene: &SceneMoment) -> bool {
        self.is_ready(scene) && self.scenes.back().is_some_and(|(last, _)| last == scene)
    }

    /// Whether it is decided if the contributor will have the scene.
    pub fn is_settled(&self, scene: &SceneMoment) -> bool {
        matches!(self.state(scene), Some(SceneState::Ready | SceneState::Refused { .. }))
    }

    /// As the scheduler sees it.
    /// `fastest` is the most that a peer may claim of its speed.
    pub fn view(&self, peer: NodeId, scene: &SceneMoment, fastest: f32) -> PeerView {
        let welcome = self.welcome.unwrap_or(Welcome { credit: 1, mrays_per_s: 0.0 });
        let mrays_per_s = welcome.mrays_per_s.min(fastest);
        PeerView {
            is_self: self.own,
            mrays_per_s,
            round_trip_ms: if self.own { 0.0 } else { self.round_trip_ms },
            jitter_ms: if self.own { 0.0 } else { self.jitter_ms },
            bytes_per_ms: if self.own { 0.0 } else { self.line.bytes_per_ms() },
            credit: welcome.credit,
            queued: self.load.queued,
            ready: self.is_ready(scene),
            ..PeerView::unknown(peer)
        }
    }

    /// What crossed the network so far.
    pub fn traffic_now(&self) -> TrafficNow {
        TrafficNow {
            fetched_bytes: self.fetched_bytes,
            received_bytes: self.traffic.received_bytes.load(Ordering::Relaxed),
            request_bytes: self.traffic.request_bytes.load(Ordering::Relaxed),
            offers: self.traffic.offers.load(Ordering::Relaxed),
        }
    }
}

/// Counters of a session at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct TrafficNow {
    /// Bytes of scenes that the contributor fetched.
    pub fetched_bytes: u64,
    /// Bytes from the contributor.
    pub received_bytes: u64,
    /// Bytes of tile requests to it.
    pub request_bytes: u64,
    /// Tile requests to it.
    pub offers: u64,
}

#[cfg(test)]
mod tests {
    use p2c2r_protocol::{id::SceneHash, tile::SceneTime};

    use super::*;

    fn moment(us: u64) -> SceneMoment {
        SceneMoment { hash: SceneHash([1; 32]), time: SceneTime::from_us(us).unwrap() }
    }

    /// A greeted contributor, and what it is sent.
    fn greeted() -> (Session, mpsc::Receiver<CoordinatorMessage>) {
        let (outbox, mut sent) = mpsc::channel(4096);
        let now = Instant::now();
        let mut session = Session::open(Generation(1), false, outbox, Arc::default(), Epoch(1), now);
        let (load, software) = (Load::default(), String::new());
        let welcome = ContributorMessage::Welcome { credit: 1, mrays_per_s: 1.0, load, software };
        session.note(welcome, now);
        while sent.try_recv().is_ok() {}
        (session, sent)
    }

    fn ready(session: &mut Session, us: u64) {
        let scene = moment(us);
        let message = ContributorMessage::Ready { scene, fetched_bytes: us, elapsed_ms: 1.0 };
        assert_eq!(session.note(message, Instant::now()), None);
    }

    #[test]
    fn how_much_of_a_scene_is_there_is_known_while_it_is_on_its_way() {
        let (mut session, _sent) = greeted();
        let fetching = |session: &mut Session, bytes_here| {
            let message = ContributorMessage::Fetching { scene: moment(1), bytes_here };
            assert_eq!(session.note(message, Instant::now()), None);
            session.scene_share(&moment(1), 100)
        };
        assert_eq!(fetching(&mut session, 50), None, "it was not asked for");
        session.prepare(moment(1), 100);
        assert_eq!(session.scene_share(&moment(1), 100), Some(0.0));
        assert_eq!(fetching(&mut session, 62), Some(0.62));
        assert_eq!(fetching(&mut session, u64::MAX), Some(1.0), "no more than all of it");
        assert_eq!(session.scene_share(&moment(2), 100), None);
        let refused = ContributorMessage::Refused { scene: moment(1), reason: RejectReason::Busy };
        session.note(refused, Instant::now());
        assert_eq!(session.scene_share(&moment(1), 100), None);
        session.prepare(moment(3), 100);
        ready(&mut session, 3);
        assert_eq!(session.scene_share(&moment(3), 100), Some(1.0));
    }

    #[test]
    fn a_moment_is_asked_for_once_until_it_is_answered() {
        let (mut session, mut sent) = greeted();
        session.prepare(moment(1), 10);
        session.prepare(moment(1), 10);
        session.prepare(moment(2), 10);
        let asked = |sent: &mut mpsc::Receiver<CoordinatorMessage>| {
            let mut asked = Vec::new();
            while let Ok(CoordinatorMessage::Prepare { scene, .. }) = sent.try_recv() {
                asked.push(scene.time.us());
            }
            asked
        };
        assert_eq!(asked(&mut sent), [1, 2]);
        ready(&mut session, 1);
        assert!(session.is_ready(&moment(1)) && !session.is_settled(&moment(2)));
        ready(&mut session, 1);
        assert_eq!(session.traffic_now().fetched_bytes, 1, "what is said twice counts once");
        ready(&mut session, 2);
        session.prepare(moment(2), 10);
        assert_eq!(asked(&mut sent), [0; 0], "it keeps the last one that it was asked for");
        session.forget_scenes();
        session.prepare(moment(2), 10);
        assert_eq!(asked(&mut sent), [2], "unless it says that it does not know it");
        session.prepare(moment(1), 10);
        assert_eq!(asked(&mut sent), [1], "it may be gone again");
        assert!(!session.is_ready(&moment(1)));
    }

    #[test]
    fn what_nobody_asked_for_is_not_ready_and_old_moments_are_forgotten() {
        let (mut session, _sent) = greeted();
        ready(&mut session, 5);
        assert!(!session.is_settled(&moment(5)));
        for us in 0..1000 {
            session.prepare(moment(us), 10);
            ready(&mut session, us);
        }
        assert_eq!(session.scenes.len(), MAX_KNOWN_SCENES);
        assert!(session.is_ready(&moment(999)) && session.is_ready(&moment(998)));
    }
}
