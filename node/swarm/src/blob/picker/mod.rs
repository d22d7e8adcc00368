//! Which chunk of a package to ask of whom: a state machine without stream, clock or randomness of its own.
//!
//! - The chunk that the fewest have comes first; among equals chance decides, so that those who fetch side by side get
//!   different ones and can give them to each other.
//! - The package's owner is asked for whatever it gave nobody yet. Once it has given everything, it is left alone: it is
//!   asked for a chunk by its number only if nobody else has it, or if the others together are slower.
//! - A source has as many requests in flight as it answers in half a second ([`source`]).
//! - A source that stalls loses its requests to others. Near the end, a chunk that is waited for is asked for a second
//!   time, of a source that is expected to be faster.
//!
//! Time is a [`Duration`] since some moment of the caller's.

mod source;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use p2c2r_protocol::{chunk_set::ChunkSet, id::NodeId};

use self::source::Source;
use crate::limit::{MAX_BLOB_SILENCE, MAX_CHUNK_COPIES};

/// After it declined, the owner is left alone for this long, and for so many times as long as it takes for a chunk: what
/// the others were given last must have arrived, and their word of it.
const GRACE: (Duration, u32) = (Duration::from_secs(3), 3);
/// After it declined, an owner that is the only source is left alone for this long: it has given what it has to others,
/// and names them.
const GRACE_ALONE: Duration = Duration::from_secs(1);
/// After it declined, the owner is asked again for what it gave nobody when so much time has passed: what did not arrive
/// somewhere is free again.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// The owner is called in beside slower sources only if they would take longer than this, and are so many times as slow
/// as it is: all who fetch think the same, and would have to share it.
const WORTH_CALLING: (Duration, f64) = (Duration::from_secs(10), 4.0);
/// A second copy of a chunk is asked for if that is expected to save more than this.
const WORTH_COPYING: Duration = Duration::from_secs(1);

/// Something to ask of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    /// This chunk.
    Chunk(u32),
    /// Any of these that nobody has.
    Any(ChunkSet),
}

/// What is in flight at a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Chunk(u32),
    Any,
}

/// The state of one download.
#[derive(Debug)]
pub(crate) struct Picker {
    here: ChunkSet,
    /// Who was asked for each chunk that is not here.
    asked: BTreeMap<u32, Vec<NodeId>>,
    sources: BTreeMap<NodeId, Source>,
    /// How many sources have each chunk.
    copies: Vec<u16>,
    /// Sent a wrong chunk: never asked again.
    liars: BTreeSet<NodeId>,
    draws: fastrand::Rng,
}

impl Picker {
    /// A download of which these chunks are here. `seed` decides between equals.
    pub(crate) fn new(here: ChunkSet, seed: u64) -> Self {
        let copies = vec![0; here.chunk_count() as usize];
        Self {
            here,
            asked: BTreeMap::new(),
            sources: BTreeMap::new(),
            copies,
            liars: BTreeSet::new(),
            draws: fastrand::Rng::with_seed(seed),
        }
    }

    /// The chunks that are here.
    pub(crate) fn here(&self) -> &ChunkSet {
        &self.here
    }

    /// Whether the source may be asked anything, now or ever.
    pub(crate) fn is_liar(&self, node: &NodeId) -> bool {
        self.liars.contains(node)
    }

    /// The sources that sent wrong chunks.
    pub(crate) fn into_liars(self) -> Vec<NodeId> {
        self.liars.into_iter().collect()
    }

    /// A source is there. `is_owner`: it gives each chunk once before it gives any twice.
    pub(crate) fn add(&mut self, node: NodeId, is_owner: bool, now: Duration) {
        if !self.is_liar(&node) {
            let source = Source::new(is_owner, ChunkSet::none(self.here.chunk_count()), now);
            self.remove(&node);
            self.sources.insert(node, source);
        }
    }

    /// A source says what it has.
    pub(crate) fn note_has(&mut self, node: &NodeId, has: ChunkSet) {
        let Some(source) = self.sources.get_mut(node) else { return };
        count(&mut self.copies, &source.has, u16::saturating_sub);
        count(&mut self.copies, &has, u16::saturating_add);
        source.has = has;
    }

    /// A chunk came and is what its name says; `false` if it was here already.
    pub(crate) fn arrived(&mut self, node: &NodeId, index: u32, now: Duration) -> bool {
        if let Some(source) = self.sources.get_mut(node) {
            source.answered(true, now);
        }
        self.asked.remove(&index);
        self.here.insert(index)
    }

    /// A source does not have a chunk that it was asked for; whether that is so often that it is not worth asking.
    pub(crate) fn refused(&mut self, node: &NodeId, index: u32, now: Duration) -> bool {
        let mut is_empty_talk = false;
        if let Some(source) = self.sources.get_mut(node) {
            source.answered(false, now);
            is_empty_talk = source.is_empty_talk();
            if source.has.remove(index)
                && let Some(copies) = self.copies.get_mut(index as usize)
            {
                *copies = copies.saturating_sub(1);
            }
        }
        self.release(node, index);
        is_empty_talk
    }

    /// The owner has given all that was wanted to others.
    pub(crate) fn declined(&mut self, node: &NodeId, now: Duration) {
        if let Some(source) = self.sources.get_mut(node) {
            source.answered(false, now);
            let since = source.declined.map_or(now, |(since, _)| since);
            source.declined = Some((since, now));
        }
    }

    /// A source is gone: what it was asked for is free.
    pub(crate) fn remove(&mut self, node: &NodeId) {
        let Some(source) = self.sources.remove(node) else { return };
        count(&mut self.copies, &source.has, u16::saturating_sub);
        for index in source.asked() {
            self.release(node, index);
        }
    }

    /// A source sent something wrong: it is never asked again.
    pub(crate) fn shun(&mut self, node: NodeId) {
        self.remove(&node);
        self.liars.insert(node);
    }

    /// Takes requests away from those that stall, and gives those back that were silent for too long: they are to be
    /// removed.
    pub(crate) fn look_for_stalls(&mut self, now: Duration) -> Vec<NodeId> {
        let mut silent = Vec::new();
        let mut freed = Vec::new();
        for (node, source) in &mut self.sources {
            if source.is_stalling(now) {
                source.stalled = true;
                freed.extend(source.asked().map(|index| (*node, index)));
            }
            if source.silent_for(now) > MAX_BLOB_SILENCE {
                silent.push(*node);
            }
        }
        for (node, index) in freed {
            self.release(&node, index);
        }
        silent
    }

    /// The next thing to ask, and of whom; `None` while there is nothing to ask or everybody has enough to do.
    pub(crate) fn next(&mut self, now: Duration) -> Option<(NodeId, Ask)> {
        let mut free: Vec<(bool, usize, u32, NodeId)> = self
            .sources
            .iter()
            .filter(|(_, source)| source.has_room())
            .map(|(node, source)| (source.is_owner, source.in_flight.len(), self.draws.u32(..), *node))
            .collect();
        // Whoever is not the owner comes first: what they have costs the owner nothing.
        free.sort_unstable();
        let choices = free.iter().map(|(.., node)| *node);
        let (node, ask) =
            choices.clone().find_map(|node| Some((node, self.ask_of(&node, now)?))).or_else(|| {
                choices.clone().find_map(|node| Some((node, Ask::Chunk(self.copy_from(&node, now)?))))
            })?;
        let wanted = match &ask {
            Ask::Chunk(index) => {
                self.asked.entry(*index).or_default().push(node);
                Wanted::Chunk(*index)
            }
            Ask::Any(_) => Wanted::Any,
        };
        self.sources.get_mut(&node)?.in_flight.push_back((wanted, now));
        Some((node, ask))
    }

    /// What to ask of a source that nobody was asked for.
    fn ask_of(&mut self, node: &NodeId, now: Duration) -> Option<Ask> {
        let source = self.sources.get(node)?;
        let mut open = source.has.without(&[&self.here]);
        for index in self.asked.keys().copied().chain(source.asked()) {
            open.remove(index);
        }
        // As many chunks are on their way as were asked for without a number.
        let unnamed: usize = self.sources.values().map(Source::unnamed).sum();
        if open.len() as usize <= if source.is_owner { unnamed } else { 0 } {
            return None;
        }
        if !source.is_owner {
            return self.rarest(&open).map(Ask::Chunk);
        }
        let Some((since, last)) = source.declined else { return Some(Ask::Any(open)) };
        let waited = now.saturating_sub(since);
        if self.sources.len() == 1 && waited >= GRACE_ALONE {
            return self.rarest(&open).map(Ask::Chunk);
        }
        if waited >= GRACE.0 + source.pace().unwrap_or_default() * GRACE.1 {
            // Whoever comes late has had nothing of the owner: one chunk tells whether it is worth calling in.
            if source.pace().is_none() && source.in_flight.is_empty() {
                return self.rarest(&open).map(Ask::Chunk);
            }
            if self.others_are_slow(node, now) {
                return self.rarest(&open).map(Ask::Chunk);
            }
            // One at a time: each that somebody gets, all others can get there.
            if source.in_flight.is_empty() {
                let others = self.sources.iter().filter(|(other, source)| *other != node && !source.stalled);
                let elsewhere: Vec<&ChunkSet> = others.map(|(_, source)| &source.has).collect();
                let only_here = open.without(&elsewhere);
                if let Some(index) = self.draws.choice(only_here.iter().collect::<Vec<_>>()) {
                    return Some(Ask::Chunk(index));
                }
            }
        }
        let may_ask_again = now.saturating_sub(last) >= ASK_AGAIN && source.in_flight.is_empty();
        may_ask_again.then_some(Ask::Any(open))
    }

    /// The chunk that the fewest have.
    fn rarest(&mut self, among: &ChunkSet) -> Option<u32> {
        let mut fewest = u16::MAX;
        let mut rarest = Vec::new();
        for index in among.iter() {
            let copies = self.copies.get(index as usize).copied().unwrap_or(0);
            if copies < fewest {
                fewest = copies;
                rarest.clear();
            }
            if copies == fewest {
                rarest.push(index);
            }
        }
        self.draws.choice(rarest)
    }

    /// Whether the sources beside the owner would take long for the rest, and longer than the owner alone.
    fn others_are_slow(&self, owner: &NodeId, now: Duration) -> bool {
        let missing = f64::from(self.here.chunk_count() - self.here.len());
        let rate = |is_counted: &dyn Fn(&NodeId, &Source) -> bool| -> f64 {
            let counted = self.sources.iter().filter(|(node, source)| is_counted(node, source));
            counted.map(|(_, source)| source.chunks_per_s()).sum()
        };
        let may_help = |source: &Source| !source.is_owner && !source.stalled && !source.has.is_empty();
        // One that was just met is not slow; if it never answers, it will have stalled.
        if self.sources.values().any(|source| may_help(source) && source.is_new(now)) {
            return false;
        }
        let owners = rate(&|node, _| node == owner);
        let others = rate(&|_, source| may_help(source));
        others * WORTH_CALLING.1 < owners && missing > others * WORTH_CALLING.0.as_secs_f64()
    }

    /// A chunk that somebody else was asked for and that this source is expected to bring much sooner.
    fn copy_from(&self, node: &NodeId, now: Duration) -> Option<u32> {
        let source = self.sources.get(node)?;
        let own_wait = source.expected_wait(source.in_flight.len(), now)?;
        let waits = self.asked.iter().filter_map(|(index, askers)| {
            let wait =
                askers.iter().filter_map(|asker| self.sources.get(asker)?.wait_for(*index, now)).min()?;
            let may_copy = askers.len() < MAX_CHUNK_COPIES && !askers.contains(node);
            (may_copy && source.has.contains(*index)).then_some((wait, *index))
        });
        let (longest, index) = waits.max()?;
        (longest > own_wait * 2 + WORTH_COPYING).then_some(index)
    }

    fn release(&mut self, node: &NodeId, index: u32) {
        if let Some(askers) = self.asked.get_mut(&index) {
            askers.retain(|asker| asker != node);
            if askers.is_empty() {
                self.asked.remove(&index);
            }
        }
    }
}

fn count(copies: &mut [u16], has: &ChunkSet, change: impl Fn(u16, u16) -> u16) {
    for index in has.iter() {
        if let Some(copies) = copies.get_mut(index as usize) {
            *copies = change(*copies, 1);
        }
    }
}
