//! Downloads in virtual time: single decisions, and whole swarms of pickers with lines of given speeds.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::{super::seeding::Seeding, *};
use crate::limit::FIRST_CHUNK_WINDOW;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn node(index: u8) -> NodeId {
    NodeId::from_public_key([index; 32])
}

fn set(chunk_count: u32, indices: &[u32]) -> ChunkSet {
    let mut set = ChunkSet::none(chunk_count);
    for index in indices {
        assert!(set.insert(*index));
    }
    set
}

/// A download of so many chunks, with sources that have these.
fn picker(chunk_count: u32, sources: &[&[u32]]) -> Picker {
    let mut picker = Picker::new(ChunkSet::none(chunk_count), 7);
    for (index, has) in sources.iter().enumerate() {
        picker.add(node(index as u8), false, Duration::ZERO);
        picker.note_has(&node(index as u8), set(chunk_count, has));
    }
    picker
}

fn all_asks(picker: &mut Picker, now: Duration) -> Vec<(NodeId, Ask)> {
    std::iter::from_fn(|| picker.next(now)).collect()
}

#[test]
fn the_rarest_chunk_comes_first_and_each_is_asked_for_once() {
    let mut picker = picker(4, &[&[0, 1, 2, 3], &[0, 1, 2]]);
    let asks = all_asks(&mut picker, Duration::ZERO);
    let first_of_full = asks.iter().find(|(source, _)| *source == node(0)).unwrap();
    assert_eq!(first_of_full.1, Ask::Chunk(3));
    let mut chunks: Vec<Ask> = asks.iter().map(|(_, ask)| ask.clone()).collect();
    chunks.sort_by_key(|ask| if let Ask::Chunk(index) = ask { *index } else { u32::MAX });
    assert_eq!(chunks, (0..4).map(Ask::Chunk).collect::<Vec<_>>());
}

#[test]
fn those_who_fetch_side_by_side_ask_for_different_chunks() {
    let firsts: BTreeSet<u32> = (0..20)
        .map(|seed| {
            let mut picker = Picker::new(ChunkSet::none(1000), seed);
            picker.add(node(1), false, Duration::ZERO);
            picker.note_has(&node(1), ChunkSet::all(1000));
            let Some((_, Ask::Chunk(index))) = picker.next(Duration::ZERO) else {
                panic!("nothing is asked")
            };
            index
        })
        .collect();
    assert!(firsts.len() >= 15, "{firsts:?}");
}

#[test]
fn a_fast_source_gets_more_requests_than_a_slow_one() {
    let chunk_count = 400;
    let all: Vec<u32> = (0..chunk_count).collect();
    let mut picker = picker(chunk_count, &[&all, &all]);
    let mut now = Duration::ZERO;
    let mut last_slow = now;
    let mut owed = [VecDeque::new(), VecDeque::new()];
    for _ in 0..100 {
        for (source, ask) in all_asks(&mut picker, now) {
            let Ask::Chunk(index) = ask else { panic!("nobody is the owner") };
            owed[usize::from(source == node(1))].push_back(index);
        }
        now += 10 * MS;
        picker.arrived(&node(0), owed[0].pop_front().unwrap(), now);
        if now >= last_slow + 400 * MS {
            last_slow = now;
            picker.arrived(&node(1), owed[1].pop_front().unwrap(), now);
        }
    }
    assert!(owed[0].len() >= 15 && owed[1].len() <= 3, "{} {}", owed[0].len(), owed[1].len());
}

#[test]
fn b30_a_source_that_sent_a_wrong_chunk_is_never_asked_again() {
    let mut picker = picker(3, &[&[0, 1, 2], &[0, 1, 2]]);
    let asks = all_asks(&mut picker, Duration::ZERO);
    assert!(asks.iter().any(|(source, _)| *source == node(0)));
    picker.shun(node(0));
    picker.add(node(0), false, SECOND);
    picker.note_has(&node(0), ChunkSet::all(3));
    for (source, ask) in asks.iter().filter(|(source, _)| *source == node(1)) {
        let Ask::Chunk(index) = ask else { panic!() };
        picker.arrived(source, *index, SECOND);
    }
    let again = all_asks(&mut picker, SECOND);
    assert!(!again.is_empty() && again.iter().all(|(source, _)| *source == node(1)), "{again:?}");
    assert_eq!(picker.into_liars(), [node(0)]);
}

#[test]
fn b24_a_source_that_stalls_loses_its_chunks_to_others_and_is_dropped_in_the_end() {
    let mut picker = picker(2, &[&[0, 1]]);
    assert_eq!(all_asks(&mut picker, Duration::ZERO).len(), 2);
    assert_eq!(picker.look_for_stalls(9 * SECOND), []);
    picker.add(node(1), false, 9 * SECOND);
    picker.note_has(&node(1), ChunkSet::all(2));
    assert_eq!(picker.look_for_stalls(11 * SECOND), []);
    let taken = all_asks(&mut picker, 11 * SECOND);
    assert_eq!(taken.len(), 2);
    assert!(taken.iter().all(|(source, _)| *source == node(1)));
    assert_eq!(picker.look_for_stalls(MAX_BLOB_SILENCE + SECOND), [node(0)]);
    // What it sends after all still counts.
    assert!(picker.arrived(&node(0), 0, MAX_BLOB_SILENCE + SECOND));
    assert!(!picker.arrived(&node(1), 0, MAX_BLOB_SILENCE + SECOND), "but only once");
}

#[test]
fn the_last_chunks_are_asked_of_a_second_source_that_is_faster() {
    let all: Vec<u32> = (0..6).collect();
    let mut picker = picker(6, &[&all, &all]);
    let mut now = Duration::ZERO;
    let mut slow = Vec::new();
    // One answers within 10 ms; the other took five seconds once, and owes the rest.
    for (source, ask) in all_asks(&mut picker, now) {
        let Ask::Chunk(index) = ask else { panic!() };
        if source == node(0) {
            picker.arrived(&source, index, 10 * MS);
        } else {
            slow.push(index);
        }
    }
    now += 5 * SECOND;
    picker.arrived(&node(1), slow.remove(0), now);
    let owed: BTreeSet<u32> = slow.into_iter().collect();
    let mut copied = BTreeSet::new();
    for _ in 0..10 {
        for (source, ask) in all_asks(&mut picker, now) {
            let Ask::Chunk(index) = ask else { panic!() };
            now += 10 * MS;
            if source == node(0) {
                picker.arrived(&source, index, now);
                copied.insert(index);
            }
        }
    }
    assert!(picker.here().is_full() && copied.is_superset(&owed), "{owed:?} {copied:?}");
}

#[test]
fn the_owner_is_asked_for_what_nobody_has_and_then_left_alone() {
    let mut picker = picker(8, &[&[0, 1]]);
    let owner = node(9);
    picker.add(owner, true, Duration::ZERO);
    picker.note_has(&owner, ChunkSet::all(8));
    let asks = all_asks(&mut picker, Duration::ZERO);
    let of_owner: Vec<&Ask> =
        asks.iter().filter(|(source, _)| *source == owner).map(|(_, ask)| ask).collect();
    assert!(of_owner.iter().all(|ask| matches!(ask, Ask::Any(_))) && of_owner.len() == FIRST_CHUNK_WINDOW);
    for _ in of_owner {
        picker.declined(&owner, Duration::ZERO);
    }
    assert_eq!(picker.next(500 * MS), None, "the others will have them soon");
    picker.note_has(&node(0), set(8, &[0, 1, 2, 3]));
    let (source, ask) = picker.next(500 * MS).map_or((node(0), Ask::Chunk(2)), |next| next);
    assert_eq!(source, node(0), "{ask:?}");
    let later = std::iter::from_fn(|| picker.next(4 * SECOND)).find(|(source, _)| *source == owner).unwrap();
    assert!(matches!(later.1, Ask::Chunk(4..)), "nobody else has them: {later:?}");
    // What it answers to questions in between does not put that off.
    let mut picker = self::picker(3, &[&[0]]);
    picker.add(owner, true, Duration::ZERO);
    picker.note_has(&owner, ChunkSet::all(3));
    let (mut named, mut given) = (None, false);
    for step in 0..100 {
        let now = step * 100 * MS;
        while let Some((source, ask)) = picker.next(now) {
            match ask {
                Ask::Chunk(index) if source == owner => named = Some(index),
                Ask::Any(_) if !given => given = picker.arrived(&source, 1, now + 50 * MS),
                Ask::Any(_) => picker.declined(&source, now),
                Ask::Chunk(index) => assert!(picker.arrived(&source, index, now)),
            }
        }
    }
    assert_eq!(named, Some(2));
    let mut alone = Picker::new(ChunkSet::none(8), 1);
    alone.add(owner, true, Duration::ZERO);
    alone.note_has(&owner, ChunkSet::all(8));
    alone.next(Duration::ZERO).unwrap();
    alone.declined(&owner, Duration::ZERO);
    assert_eq!(alone.next(500 * MS), None, "it is about to name the others");
    assert!(matches!(alone.next(SECOND), Some((_, Ask::Chunk(_)))), "there is nobody else");
}

/// A swarm in virtual time: an owner and those who fetch, each with an uplink of so many chunks a second.
struct World {
    pickers: Vec<Picker>,
    seeding: Seeding,
    /// What node `i` is to answer to node `j`: `queues[i][j]`.
    queues: Vec<Vec<VecDeque<Ask>>>,
    chunks_per_s: Vec<f64>,
    credit: Vec<f64>,
    turn: Vec<usize>,
    sent: Vec<u32>,
    liars: Vec<bool>,
    draws: fastrand::Rng,
    chunk_count: u32,
}

const OWNER: usize = 0;
const STEP: Duration = Duration::from_millis(5);

impl World {
    fn new(chunk_count: u32, chunks_per_s: Vec<f64>, liars: Vec<bool>, seed: u64) -> Self {
        let count = chunks_per_s.len();
        let mut pickers = Vec::new();
        for own in 0..count {
            let mut picker = Picker::new(ChunkSet::none(chunk_count), seed + own as u64);
            for other in (0..count).filter(|other| *other != own && own != OWNER) {
                picker.add(node(other as u8), other == OWNER, Duration::ZERO);
            }
            pickers.push(picker);
        }
        Self {
            pickers,
            seeding: Seeding::default(),
            queues: vec![vec![VecDeque::new(); count]; count],
            chunks_per_s,
            credit: vec![0.0; count],
            turn: vec![0; count],
            sent: vec![0; count],
            liars,
            draws: fastrand::Rng::with_seed(seed),
            chunk_count,
        }
    }

    fn has(&self, who: usize) -> ChunkSet {
        if who == OWNER { ChunkSet::all(self.chunk_count) } else { self.pickers[who].here().clone() }
    }

    /// Runs until everybody has everything; says how long it took.
    fn run(&mut self, limit: Duration) -> Option<Duration> {
        let count = self.pickers.len();
        let mut now = Duration::ZERO;
        while now < limit {
            // News travels every 100 ms.
            if now.as_millis().is_multiple_of(100) {
                for teller in 0..count {
                    let has = self.has(teller);
                    for hearer in 1..count {
                        self.pickers[hearer].note_has(&node(teller as u8), has.clone());
                    }
                }
            }
            for who in 1..count {
                for silent in self.pickers[who].look_for_stalls(now) {
                    self.pickers[who].remove(&silent);
                }
                while let Some((source, ask)) = self.pickers[who].next(now) {
                    self.queues[usize::from(source.public_key()[0])][who].push_back(ask);
                }
            }
            (0..count).for_each(|server| self.serve(server, now));
            if self.pickers[1..].iter().all(|picker| picker.here().is_full()) {
                return Some(now);
            }
            now += STEP;
        }
        None
    }

    /// Answers in turn, as far as the uplink goes.
    fn serve(&mut self, server: usize, now: Duration) {
        let count = self.pickers.len();
        self.credit[server] = (self.credit[server] + self.chunks_per_s[server] * STEP.as_secs_f64()).min(2.0);
        for _ in 0..count {
            if self.credit[server] < 1.0 {
                return;
            }
            let client = self.turn[server] % count;
            self.turn[server] += 1;
            let Some(ask) = self.queues[server][client].pop_front() else { continue };
            let from = node(server as u8);
            let scene = p2c2r_protocol::id::SceneHash([0; 32]);
            let (picker, draws) = (&mut self.pickers[client], &mut self.draws);
            let index = match ask {
                Ask::Chunk(index) => index,
                Ask::Any(wanted) => {
                    let all = ChunkSet::all(self.chunk_count);
                    let Some(index) = self.seeding.give(scene, &all, &wanted, |most| draws.u32(..most))
                    else {
                        picker.declined(&from, now);
                        continue;
                    };
                    index
                }
            };
            self.credit[server] -= 1.0;
            self.sent[server] += 1;
            if server == OWNER {
                self.seeding.note_given(scene, self.chunk_count, index);
            }
            if self.liars[server] {
                picker.shun(from);
                self.queues[server][client].clear();
            } else {
                picker.arrived(&from, index, now);
            }
        }
    }
}

#[test]
fn a_scene_for_eight_costs_its_owner_little_more_than_one_copy() {
    for chunks_per_s in [4.0, 40.0, 400.0] {
        let mut world = World::new(800, vec![chunks_per_s; 9], vec![false; 9], 3);
        let took = world.run(Duration::from_hours(1)).unwrap();
        let copies = f64::from(world.sent[OWNER]) / 800.0;
        assert!(copies <= 1.25, "{copies} copies at {chunks_per_s} chunks a second");
        // Everybody sends as much as everybody fetches: eight copies on nine lines.
        let bound = 8.0 / 9.0 * 800.0 / chunks_per_s;
        assert!(took.as_secs_f64() < 2.0 * bound + 4.0, "{took:?}, at best {bound} s");
    }
}

#[test]
fn an_owner_helps_where_the_others_are_slow() {
    // Two fetch; neither can give the other much.
    let mut world = World::new(200, vec![50.0, 1.0, 1.0], vec![false; 3], 3);
    let took = world.run(Duration::from_hours(1)).unwrap();
    assert!(took < 20 * SECOND, "{took:?}: through the slow lines alone it would take a minute and more");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn everybody_gets_everything_whoever_is_slow_or_lies(
        chunk_count in 1_u32..120,
        lines in prop::collection::vec((prop_oneof![Just(0.0), Just(1.0), 2.0_f64..60.0], any::<bool>()), 1..6),
        seed in any::<u32>(),
    ) {
        let mut chunks_per_s = vec![30.0];
        let mut liars = vec![false];
        // One never sends anything, one sends wrong chunks, one is slow.
        for (rate, lies) in lines {
            chunks_per_s.push(rate);
            liars.push(lies);
        }
        let mut world = World::new(chunk_count, chunks_per_s, liars, u64::from(seed));
        prop_assert!(world.run(Duration::from_hours(1)).is_some());
        let fetching = world.pickers.len() as u32 - 1;
        prop_assert!(world.sent[OWNER] <= chunk_count * fetching, "nobody fetches anything twice from the owner");
    }
}
