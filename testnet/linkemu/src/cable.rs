//! A cable: two interfaces of the kernel whose other ends are in this process, and a line in each direction.
//!
//! TAP devices, because a frame that one of them is given is not heard again on it, as it is on a raw socket, and because
//! they offload nothing: every frame is one that a wire would carry.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use crate::line::{Fate, Line, LineSpec};

/// Largest frame of an interface with any MTU, bytes.
const MAX_FRAME_BYTES: usize = 65_600;
/// Bytes under way in one direction; frames beyond are dropped, as by a full buffer.
const MAX_UNDER_WAY_BYTES: usize = 64 << 20;
/// A thread that waits for frames to come out looks at least so often.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What became of the frames of one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// That entered.
    pub entered: u64,
    /// That the line lost.
    pub lost: u64,
    /// For which the buffer had no room.
    pub dropped: u64,
    /// That came out.
    pub out: u64,
}

/// Two interfaces and what connects them.
pub struct Cable {
    directions: [Arc<Direction>; 2],
}

struct Direction {
    from: Arc<SyncDevice>,
    to: Arc<SyncDevice>,
    epoch: Instant,
    state: Mutex<State>,
    entered: Condvar,
}

struct State {
    line: Line,
    counts: Counts,
    /// By when they come out, and in which order they entered.
    under_way: BinaryHeap<Reverse<(u64, u64, Vec<u8>)>>,
    bytes: usize,
}

impl Cable {
    /// Makes both interfaces, and passes on what the kernel gives to either of them from then on.
    pub fn lay(names: [&str; 2], specs: [LineSpec; 2], seed: u64) -> io::Result<Self> {
        let [a, b] = names.map(|name| DeviceBuilder::new().name(name).layer(Layer::L2).build_sync());
        let (a, b, epoch) = (Arc::new(a?), Arc::new(b?), Instant::now());
        let direction = |from: &Arc<SyncDevice>, to: &Arc<SyncDevice>, spec, seed| {
            let state = State {
                line: Line::new(spec, seed),
                counts: Counts::default(),
                under_way: BinaryHeap::new(),
                bytes: 0,
            };
            let (from, to) = (Arc::clone(from), Arc::clone(to));
            Arc::new(Direction { from, to, epoch, state: Mutex::new(state), entered: Condvar::new() })
        };
        let [a_to_b, b_to_a] = specs;
        let directions = [direction(&a, &b, a_to_b, seed), direction(&b, &a, b_to_a, seed ^ 1)];
        for direction in &directions {
            let (entry, exit) = (Arc::clone(direction), Arc::clone(direction));
            thread::Builder::new().name("entry".into()).spawn(move || entry.take_in())?;
            thread::Builder::new().name("exit".into()).spawn(move || exit.give_out())?;
        }
        Ok(Self { directions })
    }

    /// Changes both directions.
    pub fn set(&self, specs: [LineSpec; 2]) {
        for (direction, spec) in self.directions.iter().zip(specs) {
            direction.lock().line.set(spec);
        }
    }

    /// What became of the frames so far, of each direction.
    pub fn counts(&self) -> [Counts; 2] {
        [0, 1].map(|index: usize| self.directions[index].lock().counts)
    }
}

impl Direction {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_us(&self) -> u64 {
        self.epoch.elapsed().as_micros() as u64
    }

    /// Until the interface is gone.
    fn take_in(&self) {
        let mut buffer = vec![0; MAX_FRAME_BYTES];
        // An interface that is not up yet has nothing to say.
        while let Ok(length) = self.from.recv(&mut buffer) {
            let frame = buffer.get(..length).unwrap_or_default();
            self.lock().enter(frame, self.now_us());
            self.entered.notify_one();
        }
    }

    fn give_out(&self) {
        loop {
            let frame = self.next_out();
            // An interface that is down loses what it is given.
            let _ = self.to.send(&frame);
        }
    }

    /// Waits for the next frame to come out.
    fn next_out(&self) -> Vec<u8> {
        let mut state = self.lock();
        loop {
            let now_us = self.now_us();
            let wait = match state.under_way.peek() {
                Some(Reverse((out_us, ..))) if *out_us <= now_us => {
                    if let Some(Reverse((_, _, frame))) = state.under_way.pop() {
                        state.bytes -= frame.len();
                        state.counts.out += 1;
                        return frame;
                    }
                    continue;
                }
                Some(Reverse((out_us, ..))) => Duration::from_micros(out_us - now_us).min(LOOK_INTERVAL),
                None => LOOK_INTERVAL,
            };
            state = self.entered.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl State {
    fn enter(&mut self, frame: &[u8], now_us: u64) {
        self.counts.entered += 1;
        match self.line.enter(now_us, frame.len()) {
            Fate::Lost => self.counts.lost += 1,
            Fate::Out { at_us, twice } if self.bytes + 2 * frame.len() <= MAX_UNDER_WAY_BYTES => {
                for _ in 0..=u8::from(twice) {
                    self.bytes += frame.len();
                    let order = self.counts.entered;
                    self.under_way.push(Reverse((at_us, order, frame.to_vec())));
                }
            }
            Fate::Dropped | Fate::Out { .. } => self.counts.dropped += 1,
        }
    }
}
