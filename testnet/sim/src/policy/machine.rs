//! The scheduler and the frame machine, driven as the node drives them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Instant,
};

use p2c2r_protocol::id::NodeId;
use p2c2r_scheduler::{
    FramePlan, PeerView, Scheduler, SchedulerConfig,
    decision::{Cut, DecisionLog, Entry, FrameStart},
    frame::{Command, Event, Frame, FrameConfig, FrameEnd, Outbox},
    history::MemoryStore,
    work::FrameWork,
};

use super::oracle::{OraclePredictor, Truth};
use crate::{
    scenario::Start,
    sim::{
        Setup,
        desk::{Coordinator, Desk, Ending, Forecast, News, Order, RunId, index_of},
    },
};

/// A frame that is under way.
struct Running {
    frame: Frame,
    /// Whether peers that come may join.
    open: bool,
}

/// The coordinator of this workspace.
pub struct Machine {
    scheduler: Scheduler,
    /// Makes a scheduler that goes on with what the store remembers.
    make: Box<dyn Fn() -> Scheduler>,
    truth: Option<Truth>,
    running: BTreeMap<RunId, Running>,
    /// Frames that begin when others have ended.
    waiting: VecDeque<(RunId, FrameWork)>,
    planning_ms: f64,
    planned: u64,
    log: Option<DecisionLog>,
    sink: Option<Sink>,
}

/// Hears of every decision.
pub type Sink = Arc<dyn Fn(Entry) + Send + Sync>;

impl Machine {
    /// From now on the sink hears of every decision.
    #[must_use]
    pub fn logged(mut self, sink: Sink) -> Self {
        self.sink = Some(sink);
        self.renew();
        self
    }

    /// A scheduler that knows only what is stored.
    fn renew(&mut self) {
        let scheduler = (self.make)();
        let Some(sink) = self.sink.clone() else {
            self.scheduler = scheduler;
            return;
        };
        let (scheduler, said) = scheduler.overhear();
        self.scheduler = scheduler;
        self.log = Some(DecisionLog::new(said, Box::new(move |entry| sink(entry))));
    }

    /// As the node runs it.
    pub fn learned(start: Start) -> Self {
        let store = Arc::new(MemoryStore::default());
        let make = move || Scheduler::new(Box::new(Arc::clone(&store)), config(start));
        Self::new(Box::new(make), None)
    }

    /// With predictions that are the truth.
    pub fn oracle(setup: &Setup<'_>) -> Self {
        let (truth, start) = (Truth::new(setup), setup.scenario.start);
        let known = truth.clone();
        let make =
            move || Scheduler::with_predictor(Box::new(OraclePredictor::new(known.clone())), config(start));
        Self::new(Box::new(make), Some(truth))
    }

    fn new(make: Box<dyn Fn() -> Scheduler>, truth: Option<Truth>) -> Self {
        Self {
            scheduler: make(),
            make,
            truth,
            running: BTreeMap::new(),
            waiting: VecDeque::new(),
            planning_ms: 0.0,
            planned: 0,
            log: None,
            sink: None,
        }
    }

    fn event(&mut self, id: RunId, event: Event, desk: &mut Desk<'_>) {
        let Some(running) = self.running.get_mut(&id) else { return };
        let mut outbox = Outbox::default();
        running.frame.handle(desk.now, event, &mut self.scheduler, &mut outbox);
        if let Some(log) = &mut self.log {
            log.decided(id.first_task(), desk.now, event, &outbox);
        }
        while let Some(command) = outbox.pop() {
            self.carry_out(id, command, desk);
        }
    }

    fn event_for_all(&mut self, event: Event, desk: &mut Desk<'_>) {
        let all: Vec<RunId> = self.running.keys().copied().collect();
        for id in all {
            self.event(id, event, desk);
        }
    }

    fn begin(&mut self, run: RunId, work: FrameWork, desk: &mut Desk<'_>) {
        // The node fits trees on another thread; here the time is virtual, and they are ready for the next frame.
        while let Some(refit) = self.scheduler.take_refit() {
            self.scheduler.install(refit.run());
        }
        let start = FrameStart {
            first_task: run.first_task(),
            work,
            peers: desk.views().copied().collect(),
            cost: desk.cost.clone(),
            cut: Cut::Spatial,
            now: desk.now,
            config: FrameConfig::beside(self.running.len()),
        };
        let since = Instant::now();
        let plan = start.plan(&self.scheduler);
        self.planning_ms += since.elapsed().as_secs_f64() * 1e3;
        self.planned += 1;
        let whole = start.peers.len() <= SchedulerConfig::default().max_peers;
        let crew = (!whole).then(|| crew(&plan, &start.peers));
        let in_time = plan.is_in_time(&work, desk.now);
        let frame = start.frame(plan.clone(), crew.as_deref());
        if let Some(log) = &mut self.log {
            log.planned(start, &self.scheduler, &plan, crew);
        }
        if !in_time {
            return desk.order(Order::Done(run, Ending::Aborted));
        }
        self.running.insert(run, Running { frame, open: whole });
        self.event(run, Event::Start, desk);
    }

    fn tell_frames(&mut self, news: News, desk: &mut Desk<'_>) {
        let (task, event) = match news {
            News::PeerReady(peer) => {
                let Some(note) = desk.notes.get(peer) else { return };
                let open: Vec<RunId> =
                    self.running.iter().filter(|(_, running)| running.open).map(|(id, _)| *id).collect();
                for id in open {
                    self.event(id, Event::PeerReady(note.view), desk);
                }
                return;
            }
            News::PeerLost(peer) => {
                let Some(note) = desk.notes.get(peer) else { return };
                return self.event_for_all(Event::PeerLost(note.view.peer), desk);
            }
            News::Wake(run) => return self.event(run, Event::Wake, desk),
            News::Deadline(run) => {
                self.event(run, Event::Deadline, desk);
                return self.give_up_waiting(run, desk);
            }
            News::Accepted(task) => (task, Event::Accepted { task }),
            News::Progress(task, fraction) => (task, Event::Progress { task, fraction }),
            News::Cancelled(task, finished) => (task, Event::Cancelled { task, finished }),
            News::Failed(task) => (task, Event::Rejected { task, retry_after_ms: 0, fault: true }),
            News::Busy(task, retry_after_ms) => {
                (task, Event::Rejected { task, retry_after_ms, fault: false })
            }
            News::Delivered(task, queue_ms, execution_ms) => {
                (task, Event::Delivered { task, queue_ms, execution_ms })
            }
            News::Invalid(task) => (task, Event::Invalid { task }),
        };
        self.event(RunId::of(task), event, desk);
    }

    /// Begins frames that wait, as many as may be in flight.
    fn begin_waiting(&mut self, desk: &mut Desk<'_>) {
        while self.running.len() < SchedulerConfig::default().max_frames_in_flight {
            let Some((run, work)) = self.waiting.pop_front() else { return };
            self.begin(run, work, desk);
        }
    }

    fn give_up_waiting(&mut self, run: RunId, desk: &mut Desk<'_>) {
        if let Some(index) = self.waiting.iter().position(|(waiting, _)| *waiting == run) {
            self.waiting.remove(index);
            desk.order(Order::Done(run, Ending::Aborted));
        }
    }

    fn carry_out(&mut self, id: RunId, command: Command, desk: &mut Desk<'_>) {
        match command {
            Command::Offer { task, peer, tile, rect, predicted, .. } => {
                let peer = index_of(peer);
                let total_ms = predicted.total_ms();
                let forecast = Some(Forecast {
                    total_ms,
                    interval_ms: Some((total_ms * predicted.low_factor, total_ms * predicted.high_factor)),
                    failure_risk: predicted.failure_risk,
                });
                desk.order(Order::Offer { task, peer, tile, rect, forecast });
            }
            Command::Cancel { task, .. } => {
                desk.order(Order::Cancel(task));
            }
            Command::Accept { task, .. } => desk.order(Order::Accept(task)),
            Command::Retract { tile, .. } => desk.order(Order::Retract(id, tile)),
            Command::Distrust { peer, .. } => desk.order(Order::Distrust(index_of(peer))),
            Command::WakeAt(at) => desk.order(Order::WakeAt(id, at)),
            Command::Done(end) => {
                self.running.remove(&id);
                let ending = match end {
                    FrameEnd::Complete => Ending::Complete,
                    FrameEnd::Partial { .. } => Ending::Partial,
                    FrameEnd::Aborted => Ending::Aborted,
                };
                desk.order(Order::Done(id, ending));
            }
        }
    }
}

/// Of very many peers only those that the plan names take part in a frame.
fn crew(plan: &FramePlan, views: &[PeerView]) -> Vec<NodeId> {
    let named: BTreeSet<NodeId> =
        plan.tiles.iter().flat_map(|tile| tile.primary.iter().chain(&tile.backups)).copied().collect();
    let takes_part = |view: &&PeerView| view.is_self || named.contains(&view.peer);
    views.iter().filter(takes_part).map(|view| view.peer).collect()
}

fn config(start: Start) -> SchedulerConfig {
    SchedulerConfig { unix_ms_at_zero: start.unix_ms, ..SchedulerConfig::default() }
}

impl Coordinator for Machine {
    fn start(&mut self, run: RunId, work: &FrameWork, desk: &mut Desk<'_>) {
        self.waiting.push_back((run, *work));
        self.begin_waiting(desk);
    }

    fn hear(&mut self, news: News, desk: &mut Desk<'_>) {
        self.tell_frames(news, desk);
        self.begin_waiting(desk);
    }

    fn verifies(&self) -> bool {
        true
    }

    fn restart(&mut self) {
        self.renew();
        self.running.clear();
        self.waiting.clear();
    }

    fn truth(&mut self, peer: usize, speed_factor: f64) {
        if let Some(truth) = &self.truth {
            truth.set_speed_factor(peer, speed_factor);
        }
    }

    fn planning_ms(&self) -> (f64, u64) {
        (self.planning_ms, self.planned)
    }
}
