//! A coordinator among simulated peers: discrete events in virtual time.
//!
//! The world's side of a task is in `peers`, the coordinator's in `hearing` and `orders`, the frames' in
//! `frames`, faults in `trouble`.

pub mod desk;
mod frames;
mod hearing;
mod orders;
mod peers;
mod queue;
pub(crate) mod state;
mod trouble;

use std::collections::{BTreeMap, VecDeque};

use p2c2r_protocol::id::TaskId;
use p2c2r_scheduler::split::cost_map::CostMap;

pub use self::queue::EventName;
use self::{
    desk::{Coordinator, Desk, News, Note, Order, RunId},
    queue::{Queue, What},
    state::{Peer, Run, Task},
};
use crate::{
    fault::{Fault, FaultPlan},
    invariant::{Broken, Watch},
    metrics::Recorder,
    random::Dice,
    scenario::{PeerEvent, Scenario},
    world::{Nature, link::Link},
};

/// Rays of a ms of a peer of speed 1: the scheduler counts cost in rays.
pub const RAYS_PER_MS: f64 = 10_000.0;
/// The speed that a peer of speed 1 announces, million rays per second.
pub const MRAYS_PER_S: f64 = RAYS_PER_MS / 1e3;
/// A frame that takes longer than this of virtual time never ends, ms.
const ENDLESS_MS: f64 = 900_000.0;
/// With faults: so long after the last of them, or after its own beginning, every frame has ended, ms.
const LIVENESS_MS: f64 = 60_000.0;
/// Frames that are begun after the last fault.
const LIVENESS_FRAMES: u32 = 20;

/// A scenario with its seed, ready to run.
#[derive(Debug, Clone)]
pub struct Setup<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// Estimated cost of every frame, rays.
    pub cost: &'a CostMap,
    /// The seed.
    pub seed: u64,
    /// Faults to inject; none for measurements.
    pub faults: Option<&'a FaultPlan>,
}

/// A simulation under way.
pub struct Simulation<'a> {
    setup: Setup<'a>,
    coordinator: Box<dyn Coordinator>,
    now_ms: f64,
    queue: Queue,
    links: Vec<Link>,
    peers: Vec<Peer>,
    notes: Vec<Note>,
    tasks: BTreeMap<TaskId, Task>,
    runs: BTreeMap<RunId, Run>,
    next_run: u64,
    next_frame: u32,
    /// Frames that are due and not begun, with their times.
    waiting: VecDeque<(u32, f64)>,
    /// What happens to peers before which measured frame.
    peer_events: VecDeque<(u32, usize, PeerEvent)>,
    orders: Vec<Order>,
    recorder: Recorder,
    watch: Watch,
    /// Faults that are at work.
    active_faults: BTreeMap<usize, Fault>,
    frames_after_faults: u32,
}

/// What a simulation comes to.
#[derive(Debug)]
pub struct Finished {
    /// What was measured.
    pub recorder: Recorder,
    /// A hash of every event.
    pub event_hash: u64,
    /// Events.
    pub events: u64,
    /// Time spent planning, wall clock, ms, and frames planned.
    pub planning_ms: (f64, u64),
}

impl<'a> Simulation<'a> {
    /// A simulation at its beginning.
    pub fn new(setup: Setup<'a>, coordinator: Box<dyn Coordinator>) -> Self {
        let scenario = setup.scenario;
        let (mut peers, mut links): (Vec<Peer>, Vec<Link>) = (Vec::new(), Vec::new());
        let mut shared: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, spec) in scenario.each_peer() {
            let bytes_per_ms = spec.bandwidth_mbps * 125.0;
            let link = match spec.uplink.as_deref().and_then(|uplink| shared.get(uplink)) {
                Some(link) => *link,
                None => links.len(),
            };
            match links.get_mut(link) {
                Some(link) => link.widen(bytes_per_ms),
                None => links.push(Link::new(bytes_per_ms)),
            }
            if let Some(uplink) = &spec.uplink {
                shared.insert(uplink, link);
            }
            peers.push(Peer::new(Nature::new(setup.seed, peers.len(), spec.clone()), link));
        }
        if let Some(local) = scenario.work.local {
            links.push(Link::new(1e9));
            let nature = Nature::own_device(setup.seed, peers.len(), local.speed);
            peers.push(Peer { own: true, ..Peer::new(nature, links.len() - 1) });
        }
        let mut peer_events: Vec<(u32, usize, PeerEvent)> = Vec::new();
        for (index, peer) in peers.iter().enumerate() {
            peer_events.extend(peer.nature.spec.events.iter().map(|event| (event.at_frame, index, *event)));
        }
        peer_events.sort_by_key(|(frame, index, _)| (*frame, *index));
        let notes = (0..peers.len()).map(state::unknown_note).collect();
        let (seed, faulty) = (setup.seed, setup.faults.is_some());
        Self {
            setup,
            coordinator,
            now_ms: 0.0,
            queue: Queue::default(),
            links,
            peers,
            notes,
            tasks: BTreeMap::new(),
            runs: BTreeMap::new(),
            next_run: 1,
            next_frame: 0,
            waiting: VecDeque::new(),
            peer_events: peer_events.into(),
            orders: Vec::new(),
            recorder: Recorder::default(),
            watch: Watch::new(seed, faulty),
            active_faults: BTreeMap::new(),
            frames_after_faults: 0,
        }
    }

    /// Runs to the end of the scenario.
    pub fn run(mut self) -> Result<Finished, Broken> {
        self.begin();
        while let Some((at_ms, what)) = self.queue.pop() {
            if self.is_over() {
                break;
            }
            self.now_ms = at_ms.max(self.now_ms);
            self.watch.event(self.now_ms, &what);
            self.happen(what);
            self.check()?;
        }
        self.recorder.end(self.now_ms, &self.peers);
        self.watch.liveness(self.is_over(), "frames are left and nothing happens any more")?;
        Ok(Finished {
            recorder: self.recorder,
            event_hash: self.watch.hash(),
            events: self.watch.events(),
            planning_ms: self.coordinator.planning_ms(),
        })
    }

    fn begin(&mut self) {
        for index in 0..self.peers.len() {
            if self.peers[index].starts_present() {
                self.peers[index].present = true;
                self.hear_joined(index);
                self.queue.push(self.first_beat_ms(index), What::Beat(index, self.peers[index].session));
            }
        }
        self.schedule_faults();
        let at_once = if self.setup.scenario.work.frame_interval_ms > 0.0 { 1 } else { self.depth() };
        for _ in 0..at_once {
            self.queue.push(0.0, What::FrameDue);
        }
    }

    fn is_over(&self) -> bool {
        self.is_last_begun() && self.runs.is_empty() && self.waiting.is_empty()
    }

    /// With faults, frames go on until some were begun after the last of them: the liveness phase.
    fn is_last_begun(&self) -> bool {
        match self.setup.faults {
            Some(_) => self.frames_after_faults >= LIVENESS_FRAMES,
            None => self.next_frame >= self.total_frames(),
        }
    }

    fn faults_end_ms(&self) -> Option<f64> {
        self.setup.faults.map(|plan| plan.end_ms)
    }

    fn total_frames(&self) -> u32 {
        self.setup.scenario.work.warm_up + self.setup.scenario.work.frames
    }

    fn depth(&self) -> usize {
        self.setup.scenario.work.depth as usize
    }

    fn dice(&self, purpose: crate::random::Purpose, occasion: &[u64]) -> Dice {
        Dice::new(self.setup.seed, purpose, occasion)
    }

    fn happen(&mut self, what: What) {
        if let Some(until_ms) = self.held_up_until(&what) {
            return self.queue.push(until_ms, what);
        }
        match what {
            What::FrameDue => self.frame_due(),
            What::Begin => self.begin_waiting(),
            What::Deadline(run) => {
                if self.runs.contains_key(&run) {
                    self.news(News::Deadline(run));
                }
            }
            What::Wake(run) => self.wake(run),
            What::OfferArrives(task) => self.offer_arrives(task),
            What::CancelArrives(task, peer, session) => self.cancel_arrives(task, peer, session),
            What::Finishes(task) => self.finishes(task),
            What::Tells(task) => self.tells(task),
            What::LinkStep(link, generation) => self.link_step(link, generation),
            What::Hears(peer, session, said) => self.hears(peer, session, said),
            What::Beat(peer, session) => self.beat(peer, session),
            What::FaultBegins(index) => self.fault_begins(index),
            What::FaultEnds(index) => self.fault_ends(index),
            What::Silence(peer, session) => self.silence(peer, session),
        }
    }

    fn wake(&mut self, id: RunId) {
        let now_ms = self.now_ms;
        let due = self.runs.get_mut(&id).is_some_and(|run| {
            let due = run.wake_at_ms.is_some_and(|at_ms| at_ms <= now_ms);
            if due {
                run.wake_at_ms = None;
            }
            due
        });
        if due {
            self.news(News::Wake(id));
        }
    }

    /// Tells the coordinator and carries its orders out, with the news that these cause in turn.
    fn news(&mut self, news: News) {
        let mut waiting = VecDeque::from([news]);
        while let Some(news) = waiting.pop_front() {
            self.with_desk(|coordinator, desk| coordinator.hear(news, desk));
            self.carry_out(&mut waiting);
        }
    }

    fn with_desk(&mut self, act: impl FnOnce(&mut dyn Coordinator, &mut Desk<'_>)) {
        let mut desk = Desk {
            now: p2c2r_scheduler::time::TimeMs(self.now_ms),
            notes: &self.notes,
            cost: self.setup.cost,
            orders: &mut self.orders,
        };
        act(self.coordinator.as_mut(), &mut desk);
    }

    /// What must be so after every event.
    fn check(&mut self) -> Result<(), Broken> {
        let oldest_ms = self.runs.values().next().map_or(self.now_ms, |run| run.started_ms);
        let by_ms = match self.faults_end_ms() {
            Some(end_ms) => oldest_ms.max(end_ms) + LIVENESS_MS.max(self.setup.scenario.work.work_ms * 50.0),
            None => oldest_ms + ENDLESS_MS,
        };
        self.watch.liveness(self.now_ms < by_ms, "a frame does not end")?;
        self.watch.limits(self.queue.len(), self.tasks.len(), self.peers.len(), self.runs.len())?;
        self.watch.take()
    }
}
