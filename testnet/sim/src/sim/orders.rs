//! What the coordinator orders is done, and watched.

use std::collections::VecDeque;

use p2c2r_protocol::{id::TaskId, tile::TileRect};
use p2c2r_scheduler::time::TimeMs;

use super::{
    RAYS_PER_MS, Simulation,
    desk::{Ending, Forecast, News, Order, RunId},
    queue::What,
    state::{Phase, Task},
};
use crate::{
    invariant::Invariant,
    random::{Dice, Purpose},
};

/// An offer of a tile.
#[derive(Debug, Clone, Copy)]
struct Offer {
    task: TaskId,
    peer: usize,
    tile: usize,
    rect: TileRect,
    forecast: Option<Forecast>,
}

impl Simulation<'_> {
    /// Does what was ordered. News that follow at once are added to `news`.
    pub(super) fn carry_out(&mut self, news: &mut VecDeque<News>) {
        let orders = std::mem::take(&mut self.orders);
        for order in &orders {
            match *order {
                Order::Offer { task, peer, tile, rect, forecast } => {
                    self.offer(Offer { task, peer, tile, rect, forecast }, news);
                }
                Order::Cancel(task) => self.cancel(task),
                Order::WakeAt(run, at) => self.wake_at(run, at),
                Order::Accept(task) => self.accept(task),
                Order::Retract(run, tile) => self.retract(run, tile),
                Order::Distrust(peer) => {
                    self.distrust(peer);
                    news.push_back(News::PeerLost(peer));
                }
                Order::Done(run, ending) => self.done(run, ending),
            }
        }
        // The memory is used again.
        self.orders = orders;
        self.orders.clear();
    }

    fn offer(&mut self, offer: Offer, news: &mut VecDeque<News>) {
        let id = RunId::of(offer.task);
        let up = self.notes.get(offer.peer).is_some_and(|note| note.up && !note.distrusted);
        let (Some(run), true) = (self.runs.get_mut(&id), up) else {
            // As in the node: whoever cannot be written to is lost.
            return news.push_back(News::PeerLost(offer.peer));
        };
        let Some(peer) = self.peers.get(offer.peer) else { return };
        let cost = self.setup.cost.cost(offer.rect);
        let TileRect { x, y, width, height } = offer.rect;
        let place = [
            u64::from(run.frame),
            (u64::from(x) << 32) | u64::from(y),
            (u64::from(width) << 32) | u64::from(height),
        ];
        let sigma = self.setup.scenario.work.estimate_error.tile;
        // On average the estimate is right.
        let error = Dice::new(self.setup.seed, Purpose::TileCost, &place).lognormal(sigma)
            * (-sigma * sigma / 2.0).exp();
        let pixels =
            f64::from(self.setup.scenario.work.size_px[0]) * f64::from(self.setup.scenario.work.size_px[1]);
        let task = Task {
            run: id,
            peer: offer.peer,
            session: peer.heard_session,
            tile: offer.tile,
            rect: offer.rect,
            kind: run.kind,
            work_ms: cost / RAYS_PER_MS * run.cost_factor * error,
            bytes: self.setup.scenario.work.frame_bytes as f64 * offer.rect.pixels() as f64 / pixels,
            forecast: offer.forecast,
            measured: run.measured,
            wanted: true,
            phase: Phase::Travelling,
            offered_ms: self.now_ms,
            arrived_ms: 0.0,
            started_ms: 0.0,
            execution_ms: 0.0,
            sending_ms: 0.0,
            fate: None,
            forged: false,
            delivered: false,
        };
        run.tiles.insert(offer.tile);
        let copies = self.tasks.range(id.first_task()..RunId(id.0 + 1).first_task());
        let extra = copies.filter(|(_, other)| other.tile == offer.tile && other.wanted).count() > 0;
        self.recorder.offered(&task, extra);
        if self.tasks.insert(offer.task, task).is_some() {
            self.watch.broken(Invariant::I8, format!("{:?} was named twice", offer.task));
        }
        let at_ms = self.arrival_there_ms(offer.peer);
        self.queue.push(at_ms, What::OfferArrives(offer.task));
    }

    fn cancel(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        task.wanted = false;
        let (peer, session) = (task.peer, task.session);
        let at_ms = self.arrival_there_ms(peer);
        self.queue.push(at_ms, What::CancelArrives(id, peer, session));
    }

    fn wake_at(&mut self, id: RunId, at: TimeMs) {
        let now_ms = self.now_ms;
        let Some(run) = self.runs.get_mut(&id) else { return };
        if at.0 <= now_ms {
            let what = format!("{id:?} wants to be woken at {} ms, now or before", at.0);
            return self.watch.broken(Invariant::I5, what);
        }
        if run.wake_at_ms.is_none_or(|pending_ms| at.0 < pending_ms) {
            run.wake_at_ms = Some(at.0);
            self.queue.push(at.0, What::Wake(id));
        }
    }

    fn accept(&mut self, id: TaskId) {
        let run_id = RunId::of(id);
        let (Some(task), Some(run)) = (self.tasks.get(&id), self.runs.get_mut(&run_id)) else {
            return self.watch.broken(Invariant::I8, format!("{id:?} is accepted and is not out"));
        };
        if !task.delivered {
            self.watch.broken(Invariant::I2, format!("{id:?} is accepted and was not delivered"));
        }
        if let Some((before, _)) = run.film.insert(task.tile, (id, task.rect)) {
            let what = format!("tile {} is in the film twice, by {before:?} and {id:?}", task.tile);
            self.watch.broken(Invariant::I1, what);
        }
        self.watch.receipt(id);
        self.recorder.accepted(task, self.now_ms);
    }

    fn retract(&mut self, id: RunId, tile: usize) {
        let out = self.runs.get_mut(&id).and_then(|run| run.film.remove(&tile));
        match out {
            Some((task, _)) => {
                self.watch.retracted(task);
                self.forget(task);
            }
            None => {
                self.watch.broken(Invariant::I1, format!("tile {tile} is taken out and was not in the film"));
            }
        }
    }

    fn distrust(&mut self, index: usize) {
        let honest = self
            .peers
            .get(index)
            .is_some_and(|peer| peer.nature.spec.cheats.is_none() && !self.has_forged(index));
        if honest {
            self.watch.broken(Invariant::I7, format!("peer {index} is honest and is not believed any more"));
        }
        let Some(note) = self.notes.get_mut(index) else { return };
        (note.distrusted, note.up, note.view.ready) = (true, false, false);
        self.recorder.distrusted();
        if let Some(peer) = self.peers.get_mut(index) {
            let (session, link) = (peer.session, peer.link);
            peer.session += 1;
            self.drop_tasks(index, session, link);
        }
        for task in self.tasks.values_mut().filter(|task| task.peer == index) {
            task.wanted = false;
        }
    }

    fn done(&mut self, id: RunId, ending: Ending) {
        let Some(run) = self.runs.remove(&id) else {
            return self.watch.broken(Invariant::I1, format!("{id:?} ends and is not under way"));
        };
        if ending == Ending::Complete {
            let size = self.setup.cost.size();
            let rects: Vec<TileRect> = run.film.values().map(|(_, rect)| *rect).collect();
            self.watch.film(&rects, size);
        }
        self.recorder.frame_done(&run, self.now_ms, ending, self.setup.scenario.work.deadline_ms);
        let range = id.first_task()..RunId(id.0 + 1).first_task();
        let over: Vec<TaskId> = self.tasks.range(range).map(|(id, _)| *id).collect();
        for task in over {
            self.forget(task);
        }
        self.frame_over(ending == Ending::Complete || !run.film.is_empty());
    }

    /// A copy of a tile is lost. If it was the last one, the frame waits for the coordinator to notice: a failure that
    /// can be seen.
    pub(super) fn copy_lost(&mut self, id: TaskId) {
        let Some((run_id, tile, wanted)) = self.tasks.get(&id).map(|task| (task.run, task.tile, task.wanted))
        else {
            return;
        };
        let copies = self.tasks.range(run_id.first_task()..RunId(run_id.0 + 1).first_task());
        let alive =
            copies.filter(|(_, other)| other.tile == tile && other.wanted && other.is_alive()).count();
        if let Some(run) = self.runs.get_mut(&run_id)
            && wanted
            && alive == 0
            && !run.film.contains_key(&tile)
        {
            run.exposed.insert(tile);
        }
    }
}
