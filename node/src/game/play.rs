//! The loop's thread: a frame every sixtieth of a second, from what is there.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender},
    },
    time::{Duration, Instant},
};

use p2c2r_game::{
    frame_loop::{Check, Command, FrameLoop, Tally},
    layout::Push,
    level::Level,
    limit::{FRAMES_AHEAD, FRAMES_PER_S},
    prediction::Source,
};
use p2c2r_protocol::{
    id::{NodeId, WorkKind},
    task::RejectReason,
};
use tokio::sync::mpsc;
use tracing::warn;

use super::{
    link::{Arrival, PeerLink},
    script,
};

/// Times that every peer is tried at everything before the first frame.
const TRIALS: usize = 4;
/// A trial takes no longer.
const TRIAL_LIMIT: Duration = Duration::from_secs(2);
/// When so long has been tried, the game begins.
const ALL_TRIALS_LIMIT: Duration = Duration::from_secs(10);
/// Answers that are still heard when a frame is due already.
const MAX_HEARD_LATE: usize = 64;
/// The loop looks whether it is stopped at least so often.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// What is played.
#[derive(Debug, Clone, Copy)]
pub struct PlaySpec {
    /// How many frames.
    pub frames: u32,
    /// Of how many frames the picture of one is kept.
    pub keep_every: u32,
    /// Decides which answers are checked.
    pub secret: u32,
}

/// What others may want to know while it is played.
#[derive(Debug, Clone)]
pub struct News {
    /// Frames that were shown.
    pub frame: u32,
    /// Who does what now.
    pub assigned: BTreeMap<WorkKind, NodeId>,
}

/// One frame.
#[derive(Debug, Clone)]
pub struct PlayedFrame {
    /// From when it was due until it was begun, ms.
    pub late_ms: f64,
    /// From its begin until it was shown and everything was sent, ms.
    pub work_ms: f64,
    /// Where its bodies are from.
    pub source: Source,
    /// Where they were shown, metres.
    pub bodies: Vec<[f32; 3]>,
}

/// A base picture and the light over it.
#[derive(Debug, Clone)]
pub struct KeptPicture {
    /// The base.
    pub base: Vec<u8>,
    /// The light, if any has come yet.
    pub light: Option<Vec<u8>>,
}

/// What came of it.
#[derive(Debug)]
pub struct Played {
    /// All frames, in order.
    pub frames: Vec<PlayedFrame>,
    /// Pictures that were kept.
    pub pictures: Vec<KeptPicture>,
    /// Blocks of sound, by frame.
    pub sound: BTreeMap<u32, Vec<u8>>,
    /// What the player did.
    pub pushes: Vec<Push>,
    /// What became of the steps.
    pub tally: Tally,
    /// Who did what at the end.
    pub assignments: BTreeMap<WorkKind, NodeId>,
}

/// Everything that the thread talks to.
pub struct Ends {
    /// The peers.
    pub links: Vec<PeerLink>,
    /// What they say.
    pub arrivals: Receiver<Arrival>,
    /// Takes answers to be computed again, if it has room.
    pub checks: SyncSender<Check>,
    /// Hears of every frame, if it has room.
    pub news: mpsc::Sender<News>,
    /// Whether to stop early.
    pub stopped: Arc<AtomicBool>,
}

struct Player {
    game: FrameLoop,
    links: BTreeMap<NodeId, PeerLink>,
    ends: Ends,
    began: Instant,
    played: Played,
}

/// Plays all frames; on the calling thread.
pub fn play(spec: PlaySpec, level: Arc<Level>, mut ends: Ends) -> Played {
    let bodies = level.spec.bodies;
    let game = FrameLoop::new(level, script::camera(0), spec.secret);
    let links = std::mem::take(&mut ends.links);
    let played = Played {
        frames: Vec::new(),
        pictures: Vec::new(),
        sound: BTreeMap::new(),
        pushes: Vec::new(),
        tally: Tally::default(),
        assignments: BTreeMap::new(),
    };
    let mut player = Player { game, links: BTreeMap::new(), ends, began: Instant::now(), played };
    for link in links {
        player.join(link);
    }
    player.try_out();
    let interval = Duration::from_secs(1) / FRAMES_PER_S;
    let start = Instant::now() + interval;
    for frame in 1..=spec.frames {
        let due = start + interval * (frame - 1);
        player.listen_until(due);
        if player.ends.stopped.load(Ordering::Relaxed) {
            break;
        }
        player.frame(frame, due, bodies);
        if frame.is_multiple_of(spec.keep_every.max(1)) {
            player.keep_picture();
        }
    }
    // The last answers are worth waiting for: they are due, too.
    player.listen_until(Instant::now() + interval * 6);
    player.played.tally = player.game.tally().clone();
    player.played.assignments = player.game.assignments();
    player.played
}

impl Player {
    fn now_us(&self) -> u64 {
        self.us(Instant::now())
    }

    fn us(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.began).as_micros() as u64
    }

    fn join(&mut self, link: PeerLink) {
        let kinds = link.kinds.iter().copied();
        if link.is_self {
            self.game.join_reserve(link.peer, kinds);
        } else {
            self.game.join(link.peer, kinds);
        }
        self.links.insert(link.peer, link);
    }

    /// Lets every peer show what it can, one after the other, so that nobody is measured beside the others. If that takes
    /// too long, those whose turn has not come show it while the game is on.
    fn try_out(&mut self) {
        let peers: Vec<NodeId> = self.links.keys().copied().collect();
        let until = Instant::now() + ALL_TRIALS_LIMIT;
        for peer in peers.repeat(TRIALS) {
            if !self.links.contains_key(&peer) {
                continue;
            }
            if Instant::now() >= until {
                let unknown: Vec<NodeId> =
                    self.links.keys().filter(|peer| !self.game.knows(peer)).copied().collect();
                let commands = self.game.probe_all(&unknown, self.now_us());
                self.send(commands);
                return;
            }
            let commands = self.game.probe_all(&[peer], self.now_us());
            self.send(commands);
            let limit = Instant::now() + TRIAL_LIMIT;
            while self.game.owes(&peer) && Instant::now() < limit {
                if self.ends.stopped.load(Ordering::Relaxed) {
                    return;
                }
                self.listen_until(Instant::now() + Duration::from_millis(1));
            }
            // This node itself is never given up: it is the one that is left.
            let is_given_up =
                self.game.owes(&peer) && self.links.get(&peer).is_some_and(|link| !link.is_self);
            if is_given_up {
                warn!(peer = %peer.short(), "a peer said nothing when it was tried, and takes no part");
                self.links.remove(&peer);
                self.game.lose(peer, self.now_us());
            }
        }
    }

    fn frame(&mut self, number: u32, due: Instant, bodies: u16) {
        let begun = Instant::now();
        let kick = script::kick(number, bodies);
        self.played.pushes.extend(kick.map(|(body, change)| Push::new(number + FRAMES_AHEAD, body, change)));
        let (frame, commands) = self.game.frame(self.us(begun), script::camera(number), kick);
        self.send(commands);
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        self.played.frames.push(PlayedFrame {
            late_ms: ms(begun.saturating_duration_since(due)),
            work_ms: ms(begun.elapsed()),
            source: frame.bodies.source,
            bodies: frame.bodies.states.iter().map(p2c2r_game::layout::BodyState::position).collect(),
        });
        // Whoever does not keep up misses some.
        let _ = self.ends.news.try_send(News { frame: number, assigned: self.game.assignments() });
    }

    fn keep_picture(&mut self) {
        if let Some(base) = self.game.base() {
            let light = self.game.light().map(|light| light.bytes.clone());
            self.played.pictures.push(KeptPicture { base: base.bytes.clone(), light });
        }
    }

    /// Hears what comes until the next frame is due, and then what is there already.
    fn listen_until(&mut self, due: Instant) {
        // What one frame hears is limited: whoever floods the loop does not hold it up.
        let mut heard_late = 0;
        while !self.ends.stopped.load(Ordering::Relaxed) && heard_late < MAX_HEARD_LATE {
            let left = due.saturating_duration_since(Instant::now());
            match self.ends.arrivals.recv_timeout(left.min(LOOK_INTERVAL)) {
                Ok(arrival) => {
                    self.hear(arrival);
                    heard_late += usize::from(left.is_zero());
                }
                Err(_) if left.is_zero() => return,
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(left.min(LOOK_INTERVAL)),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn hear(&mut self, arrival: Arrival) {
        let now_us = self.now_us();
        let commands = match arrival {
            Arrival::Answer { peer, id, statement, output, at } => {
                let at_us = self.us(at);
                let (check, commands) = self.game.answer(peer, id, &statement, output.to_vec(), at_us);
                if let Some(check) = check {
                    // A checker that is busy checks another one.
                    let _ = self.ends.checks.try_send(check);
                }
                if let Some(sound) = self.game.sound() {
                    self.played.sound.entry(sound.tick).or_insert_with(|| sound.bytes.clone());
                }
                commands
            }
            Arrival::Refused { peer, id, reason } => self.game.refused(peer, id, reason, now_us),
            Arrival::Lost { peer } => {
                self.links.remove(&peer);
                self.game.lose(peer, now_us)
            }
            // One whose stream has broken since was told of as lost already.
            Arrival::Joined { link } if link.is_closed() => Vec::new(),
            Arrival::Joined { link } => {
                let peer = link.peer;
                self.join(link);
                self.game.probe_all(&[peer], now_us)
            }
            Arrival::Checked { check, is_right } => self.game.checked(&check, is_right, now_us),
        };
        self.send(commands);
    }

    /// Sends what there is room for; a peer that has none is busy.
    fn send(&mut self, commands: Vec<Command>) {
        let mut waiting = commands;
        while let Some(Command { peer, request, payload }) = waiting.pop() {
            let sent = self.links.get(&peer).is_some_and(|link| link.ask(request, payload.into()));
            if !sent {
                let now_us = self.now_us();
                waiting.extend(self.game.refused(peer, request.id, RejectReason::Busy, now_us));
            }
        }
    }
}

#[cfg(test)]
mod tests;
