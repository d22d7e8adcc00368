//! What the contributor knows of one work session.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use p2c2r_protocol::{
    id::{Epoch, NodeId, TaskId},
    moment::SceneMoment,
    task::ContributorMessage,
};
use p2c2r_render::prepared::PreparedScene;
use p2c2r_swarm::ContributorEvent;
use tokio::{sync::mpsc, task::AbortHandle};

use super::{DownloadView, hindrance::delayed, render_thread::TaskProgress};

/// Scenes that one session may hold ready, and may have tiles of; an older one is let go. Moments count each: a frame
/// and the next one.
const MAX_SESSION_SCENES: usize = 2;

/// In so many steps a coordinator is told how far a scene's package is.
const FETCH_STEPS: u64 = 50;

/// A task that was accepted and not yet answered.
pub struct Task {
    /// Set to stop it.
    pub cancelled: Arc<AtomicBool>,
    /// How far it is.
    pub progress: Arc<TaskProgress>,
    /// The share that was last told.
    told_progress: u32,
    /// Whether it left the queue for the render thread.
    pub running: bool,
    /// What it is a tile of; nothing of a stage that needs no scene.
    scene: Option<SceneMoment>,
    /// Whether it is a stage of a frame.
    pub is_stage: bool,
}

impl Task {
    /// A task of a scene, at its start.
    pub fn new(scene: SceneMoment) -> Self {
        Self { scene: Some(scene), is_stage: false, ..Self::of_post() }
    }

    /// The last stage of a frame.
    pub fn of_post() -> Self {
        Self {
            cancelled: Arc::default(),
            progress: Arc::default(),
            told_progress: 0,
            running: false,
            scene: None,
            is_stage: true,
        }
    }
}

/// A scene that is ready at a moment.
type KeptScene = (SceneMoment, Arc<PreparedScene>);

/// A scene that is being made ready.
struct Preparation {
    scene: SceneMoment,
    handle: AbortHandle,
    /// Bytes of its package that the coordinator was told of last.
    told_bytes: u64,
}

/// One coordinator.
pub struct Session {
    /// Who it is.
    pub peer: NodeId,
    /// Whether it is this node's own.
    pub owner: bool,
    /// Its run, once it said hello.
    pub epoch: Option<Epoch>,
    /// What it has out here.
    pub tasks: BTreeMap<TaskId, Task>,
    /// When it was last heard.
    pub last_heard: Instant,
    outbox: mpsc::Sender<ContributorEvent>,
    /// The outbox itself, where answers are held back on their way to it.
    direct: Option<mpsc::Sender<ContributorEvent>>,
    /// Payload bytes of the events in the outbox.
    unread: VecDeque<u64>,
    scenes: Vec<KeptScene>,
    preparing: Vec<Preparation>,
    /// Moments that are kept or on their way, in the order in which they were asked for last.
    asked: Vec<SceneMoment>,
}

impl Session {
    /// A session that has said nothing yet.
    pub fn new(peer: NodeId, owner: bool, outbox: mpsc::Sender<ContributorEvent>, now: Instant) -> Self {
        Self {
            peer,
            owner,
            epoch: None,
            tasks: BTreeMap::new(),
            last_heard: now,
            outbox,
            direct: None,
            unread: VecDeque::new(),
            scenes: Vec::new(),
            preparing: Vec::new(),
            asked: Vec::new(),
        }
    }

    /// Holds every answer back so long.
    pub fn delay(&mut self, delay: Duration) {
        let direct = self.direct.take().unwrap_or_else(|| self.outbox.clone());
        if delay.is_zero() {
            self.outbox = direct;
        } else {
            self.outbox = delayed(direct.clone(), move || delay);
            self.direct = Some(direct);
        }
    }

    /// Sends, unless the coordinator does not read: then `false`, and the session is to be closed. The outbox holds
    /// more than the credit allows tasks, so an honest coordinator never fills it.
    pub fn send(&mut self, event: ContributorEvent) -> bool {
        self.forget_read();
        self.unread.push_back(match &event {
            ContributorEvent::Result(result) => result.payload.len() as u64,
            _ => 0,
        });
        self.outbox.try_send(event).is_ok()
    }

    /// Bytes of results that wait in the outbox.
    pub fn unread_bytes(&mut self) -> u64 {
        self.forget_read();
        self.unread.iter().sum()
    }

    /// The outbox is first in, first out: what is still in it are the last ones.
    fn forget_read(&mut self) {
        let waiting = self.outbox.max_capacity() - self.outbox.capacity();
        self.unread.drain(..self.unread.len().saturating_sub(waiting));
    }

    /// [`Session::send`] for a message without payload.
    pub fn say(&mut self, message: ContributorMessage) -> bool {
        self.send(ContributorEvent::Message(message))
    }

    /// Tells the share done of each running task, if it moved.
    pub fn tell_progress(&mut self) {
        let mut news = Vec::new();
        for (task, entry) in &mut self.tasks {
            let done = entry.progress.share();
            if entry.running && done > entry.told_progress {
                entry.told_progress = done;
                news.push(ContributorMessage::Progress { task: *task, fraction: done as f32 / 1000.0 });
            }
        }
        for message in news {
            // A coordinator that does not read is noticed at its next result.
            let _ = self.say(message);
        }
    }

    /// Tells how far the packages of scenes are that were asked for, in steps of [`FETCH_STEPS`].
    pub fn tell_downloads(&mut self, downloads: &[DownloadView]) {
        let mut news = Vec::new();
        for preparation in &mut self.preparing {
            let download = downloads.iter().find(|download| download.scene == preparation.scene.hash);
            let Some(download) = download else { continue };
            let step = download.size_bytes / FETCH_STEPS + 1;
            if download.bytes_here >= preparation.told_bytes.saturating_add(step) {
                preparation.told_bytes = download.bytes_here;
                let (scene, bytes_here) = (preparation.scene, download.bytes_here);
                news.push(ContributorMessage::Fetching { scene, bytes_here });
            }
        }
        for message in news {
            let _ = self.say(message);
        }
    }

    /// Whether scenes are being made ready.
    pub fn is_preparing(&self) -> bool {
        !self.preparing.is_empty()
    }

    /// A scene that this session prepared.
    pub fn scene(&self, scene: &SceneMoment) -> Option<Arc<PreparedScene>> {
        self.scenes.iter().find(|(moment, _)| moment == scene).map(|(_, prepared)| Arc::clone(prepared))
    }

    /// Whether a tile of the scene may be taken on: tiles hold on to their scenes, and only so many may be held.
    pub fn may_render(&self, scene: &SceneMoment) -> bool {
        let mut held: Vec<SceneMoment> = self.tasks.values().filter_map(|task| task.scene).collect();
        held.push(*scene);
        held.sort_unstable();
        held.dedup();
        held.len() <= MAX_SESSION_SCENES
    }

    /// Keeps a prepared scene for the session.
    pub fn keep_scene(&mut self, scene: SceneMoment, prepared: Arc<PreparedScene>) {
        if !self.asked.contains(&scene) {
            self.asked.push(scene);
        }
        self.preparing.retain(|preparation| preparation.scene != scene);
        self.scenes.retain(|(moment, _)| *moment != scene);
        self.scenes.push((scene, prepared));
        self.make_room(MAX_SESSION_SCENES);
    }

    /// Lets go of what was asked for longest ago, until no more than so many are kept.
    fn make_room(&mut self, most: usize) {
        while self.scenes.len() > most {
            let age = |scene: &KeptScene| self.asked.iter().position(|asked| *asked == scene.0);
            let oldest = self.scenes.iter().enumerate().min_by_key(|(_, scene)| age(scene));
            let Some(oldest) = oldest.map(|(index, _)| index) else { return };
            self.scenes.remove(oldest);
        }
        let (scenes, preparing) = (&self.scenes, &self.preparing);
        self.asked.retain(|asked| {
            scenes.iter().any(|(scene, _)| scene == asked)
                || preparing.iter().any(|preparation| preparation.scene == *asked)
        });
    }

    /// Whether the scene is not on its way yet, and not too many others are.
    pub fn may_prepare(&self, scene: &SceneMoment) -> bool {
        self.preparing.len() < MAX_SESSION_SCENES
            && !self.preparing.iter().any(|preparation| preparation.scene == *scene)
    }

    /// Notes a preparation, so that it ends with the session, and makes room for the scene among those that are kept.
    pub fn note_preparing(&mut self, scene: SceneMoment, handle: AbortHandle) {
        self.asked.retain(|asked| *asked != scene);
        self.asked.push(scene);
        self.preparing.push(Preparation { scene, handle, told_bytes: 0 });
        let is_kept = self.scene(&scene).is_some();
        self.make_room(MAX_SESSION_SCENES - usize::from(!is_kept));
    }

    /// Forgets a preparation that failed.
    pub fn preparation_failed(&mut self, scene: &SceneMoment) {
        self.preparing.retain(|preparation| preparation.scene != *scene);
    }
}

impl Drop for Session {
    /// Whatever the session still had here stops with it.
    fn drop(&mut self) {
        for task in self.tasks.values() {
            task.cancelled.store(true, Ordering::Relaxed);
        }
        for preparation in &self.preparing {
            preparation.handle.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use p2c2r_protocol::{id::SceneHash, tile::SceneTime};
    use p2c2r_render::{
        limit::SceneLimits,
        scene::{
            generate::{SceneKind, generate},
            gltf::parse_package,
        },
    };

    use super::*;

    fn moment(us: u64) -> SceneMoment {
        SceneMoment { hash: SceneHash([1; 32]), time: SceneTime::from_us(us).unwrap() }
    }

    fn session() -> Session {
        let (outbox, _) = mpsc::channel(1);
        Session::new(NodeId::from_public_key([1; 32]), false, outbox, Instant::now())
    }

    fn prepared() -> Arc<PreparedScene> {
        let package = generate(SceneKind::Cornell, 1, None);
        let scene = parse_package(&package, &SceneLimits::default()).unwrap().scene;
        Arc::new(PreparedScene::build(scene))
    }

    #[tokio::test]
    async fn the_next_scene_takes_the_place_of_the_oldest_before_it_is_ready() {
        let prepared = prepared();
        let mut session = session();
        let kept = |session: &Session| -> Vec<u64> {
            (0..4).filter(|us| session.scene(&moment(*us)).is_some()).collect()
        };
        session.keep_scene(moment(1), Arc::clone(&prepared));
        session.keep_scene(moment(2), Arc::clone(&prepared));
        let never = || tokio::spawn(std::future::pending::<()>()).abort_handle();
        session.note_preparing(moment(2), never());
        assert_eq!(kept(&session), [1, 2], "what is asked for again needs no room");
        session.keep_scene(moment(2), Arc::clone(&prepared));
        session.note_preparing(moment(3), never());
        assert_eq!(kept(&session), [2]);
    }

    #[tokio::test]
    async fn what_was_asked_for_last_stays_whichever_is_ready_first() {
        let prepared = prepared();
        let mut session = session();
        let never = || tokio::spawn(std::future::pending::<()>()).abort_handle();
        session.note_preparing(moment(1), never());
        session.note_preparing(moment(2), never());
        session.keep_scene(moment(2), Arc::clone(&prepared));
        session.keep_scene(moment(1), Arc::clone(&prepared));
        session.note_preparing(moment(3), never());
        assert!(session.scene(&moment(1)).is_none() && session.scene(&moment(2)).is_some());
        session.note_preparing(moment(2), never());
        session.keep_scene(moment(3), Arc::clone(&prepared));
        session.note_preparing(moment(4), never());
        assert!(session.scene(&moment(3)).is_none() && session.scene(&moment(2)).is_some());
        assert!(session.asked.len() <= 2 * MAX_SESSION_SCENES, "{:?}", session.asked);
    }

    #[test]
    fn of_a_thousand_moments_two_are_kept() {
        let prepared = prepared();
        let mut session = session();
        for us in 0..1000 {
            session.keep_scene(moment(us), Arc::clone(&prepared));
        }
        let kept: Vec<u64> = (0..1000).filter(|us| session.scene(&moment(*us)).is_some()).collect();
        assert_eq!(kept, [998, 999]);
        assert_eq!(Arc::strong_count(&prepared), 1 + MAX_SESSION_SCENES);
    }

    #[tokio::test]
    async fn of_a_thousand_moments_two_are_prepared_at_once() {
        let mut session = session();
        let mut begun = Vec::new();
        for us in 0..1000 {
            if session.may_prepare(&moment(us)) {
                let never = tokio::spawn(std::future::pending::<()>());
                session.note_preparing(moment(us), never.abort_handle());
                begun.push((us, never));
            }
        }
        assert_eq!(begun.iter().map(|(us, _)| *us).collect::<Vec<_>>(), [0, 1]);
        session.preparation_failed(&moment(0));
        assert!(session.may_prepare(&moment(7)) && !session.may_prepare(&moment(1)));
        drop(session);
        // Only the one that is still noted ends with the session.
        let (_, noted) = begun.remove(1);
        assert!(noted.await.unwrap_err().is_cancelled());
    }

    #[test]
    fn tiles_hold_on_to_no_more_than_two_moments() {
        let mut session = session();
        for us in 0..1000 {
            if session.may_render(&moment(us)) {
                session.tasks.insert(TaskId(us), Task::new(moment(us)));
            }
        }
        assert_eq!(session.tasks.len(), MAX_SESSION_SCENES);
        assert!(session.may_render(&moment(0)), "more tiles of a moment that is held anyway");
        session.tasks.remove(&TaskId(0));
        assert!(session.may_render(&moment(5)));
    }
}
