//! The outcomes of one (peer, kind): the 500 newest, and 500 more that stand for every hour of the day.
//!
//! In the store they are pages of 32. The newest go around a ring of pages, of which only the open one is written
//! again; what falls out of the ring may take a place in the page of its hour, where each day has a few.

use std::collections::VecDeque;

use p2c2r_protocol::id::{NodeId, WorkKind};

use super::{
    Store,
    record::{RECORD_BYTES, Record},
    seal::{seal, unseal},
};
use crate::predict::features::DAY_MS;

/// Records of a page.
const PAGE_RECORDS: usize = 32;
/// Pages of the ring: the open one and the full ones.
const RING_PAGES: u32 = 17;
/// Full pages that are kept.
const NEWEST: usize = PAGE_RECORDS * (RING_PAGES as usize - 1);
/// Records of each hour of the day.
const PER_HOUR: usize = 21;
/// Records of one hour of one day: so there is room for a week.
const PER_HOUR_AND_DAY: usize = 3;
/// Page numbers of the hours begin here.
const FIRST_HOUR_PAGE: u8 = 32;
/// The open page is written after so many records.
const SAVE_EVERY: u32 = 8;
/// Form of the pages.
const PAGE_VERSION: u8 = 1;
/// Keys of the pages begin so.
pub const KEY_PREFIX: &[u8] = b"history/1/";

/// The outcomes of one (peer, kind).
#[derive(Debug, Clone, Default)]
pub struct Ring {
    newest: VecDeque<Record>,
    hours: Vec<Vec<Record>>,
    /// Records that ever came.
    pushed: u32,
}

impl Ring {
    /// Takes an outcome, and writes what the store should have of it by now.
    pub fn push(&mut self, record: Record, store: &dyn Store, peer: &NodeId, kind: WorkKind) {
        self.newest.push_back(record);
        self.pushed = self.pushed.wrapping_add(1);
        if self.pushed.is_multiple_of(SAVE_EVERY) {
            self.save_open_page(store, peer, kind);
        }
        if self.newest.len() >= NEWEST + PAGE_RECORDS {
            let mut changed = [false; 24];
            for _ in 0..PAGE_RECORDS {
                if let Some(oldest) = self.newest.pop_front() {
                    let hour = hour_of(&oldest);
                    self.keep_for_its_hour(oldest, hour);
                    changed[hour] = true;
                }
            }
            for hour in (0..24).filter(|hour| changed[*hour]) {
                self.save_hour(hour, store, peer, kind);
            }
        }
    }

    /// Each hour keeps a few outcomes of each of the last days: an hour's habit shows only across days.
    fn keep_for_its_hour(&mut self, record: Record, hour: usize) {
        self.hours.resize_with(24, Vec::new);
        let Some(kept) = self.hours.get_mut(hour) else { return };
        let day = day_of(&record);
        let of_day: Vec<usize> = kept
            .iter()
            .enumerate()
            .filter(|(_, other)| day_of(other) == day)
            .map(|(place, _)| place)
            .collect();
        if of_day.len() >= PER_HOUR_AND_DAY {
            // The places of a day are taken in turn, by a number that any outcome has: no randomness.
            let turn = of_day[record.sequence as usize % of_day.len()];
            if record.sequence.is_multiple_of(4) {
                kept[turn] = record;
            }
        } else if kept.len() < PER_HOUR {
            kept.push(record);
        } else if let Some(oldest) =
            kept.iter_mut().min_by(|a, b| a.sample.at_unix_ms.total_cmp(&b.sample.at_unix_ms))
        {
            *oldest = record;
        }
    }

    /// How many outcomes are kept.
    pub fn count(&self) -> usize {
        self.newest.len() + self.hours.iter().map(Vec::len).sum::<usize>()
    }

    /// The newest, newest first.
    pub fn newest(&self) -> impl Iterator<Item = &Record> {
        self.newest.iter().rev()
    }

    /// Those that stand for the hours of the day.
    pub fn hourly(&self) -> impl Iterator<Item = &Record> {
        self.hours.iter().flatten()
    }

    fn save_open_page(&self, store: &dyn Store, peer: &NodeId, kind: WorkKind) {
        let page = self.pushed.wrapping_sub(1) / PAGE_RECORDS as u32;
        let open = (self.pushed.wrapping_sub(1) as usize % PAGE_RECORDS) + 1;
        let skip = self.newest.len().saturating_sub(open);
        let value = page_value(page, self.newest.iter().skip(skip));
        // A store that fails costs what was learned since, never a frame; it says so itself.
        let _ = store.put(&key(peer, kind, (page % RING_PAGES) as u8), &value);
    }

    fn save_hour(&self, hour: usize, store: &dyn Store, peer: &NodeId, kind: WorkKind) {
        let Some(kept) = self.hours.get(hour) else { return };
        let _ = store.put(&key(peer, kind, FIRST_HOUR_PAGE + hour as u8), &page_value(0, kept.iter()));
    }

    /// Takes a page as it was stored. To be called with every page of the (peer, kind), then [`Self::settle`].
    fn take_page(&mut self, number: u8, value: &[u8], kind: WorkKind) {
        let Some(content) = unseal(PAGE_VERSION, value) else { return };
        let Some((page, records)) = content.split_first_chunk::<4>() else { return };
        let page = u32::from_le_bytes(*page);
        let records = records.as_chunks::<RECORD_BYTES>().0.iter().take(PAGE_RECORDS);
        let records = records.filter_map(|bytes| Record::read(bytes, kind));
        if let Some(hour) = number.checked_sub(FIRST_HOUR_PAGE) {
            self.hours.resize_with(24, Vec::new);
            if let Some(kept) = self.hours.get_mut(usize::from(hour)) {
                kept.extend(records.take(PER_HOUR));
            }
        } else if u32::from(number) < RING_PAGES {
            let before = self.newest.len();
            self.newest.extend(records);
            let end = page.wrapping_mul(PAGE_RECORDS as u32) + (self.newest.len() - before) as u32;
            self.pushed = self.pushed.max(end);
        }
    }

    /// Puts what was loaded in order.
    fn settle(&mut self) {
        let newest = self.newest.make_contiguous();
        newest.sort_by_key(|record| record.sequence);
        let first = newest.first().map_or(u32::MAX, |record| record.sequence);
        // After an abrupt end an outcome may be in the ring still and in its hour already.
        for kept in &mut self.hours {
            kept.retain(|record| record.sequence < first);
        }
    }
}

fn hour_of(record: &Record) -> usize {
    ((record.sample.at_unix_ms / DAY_MS).fract() * 24.0) as usize % 24
}

fn day_of(record: &Record) -> u64 {
    (record.sample.at_unix_ms / DAY_MS) as u64
}

fn page_value<'a>(page: u32, records: impl Iterator<Item = &'a Record>) -> Vec<u8> {
    let mut content = page.to_le_bytes().to_vec();
    for record in records {
        record.write(&mut content);
    }
    seal(PAGE_VERSION, &content)
}

fn key(peer: &NodeId, kind: WorkKind, page: u8) -> Vec<u8> {
    [KEY_PREFIX, peer.public_key(), kind.name().as_bytes(), &[b'/', page]].concat()
}

/// The peer, kind and page number of a key.
fn parse_key(key: &[u8]) -> Option<(NodeId, WorkKind, u8)> {
    let (public_key, rest) = key.strip_prefix(KEY_PREFIX)?.split_first_chunk::<32>()?;
    let (page, rest) = rest.split_last()?;
    let name = rest.strip_suffix(b"/")?;
    let kind = WorkKind::ALL.into_iter().find(|kind| kind.name().as_bytes() == name)?;
    Some((NodeId::from_public_key(*public_key), kind, *page))
}

/// Every ring that a store has.
pub fn load_all(store: &dyn Store) -> Vec<(NodeId, WorkKind, Ring)> {
    let mut rings: Vec<(NodeId, WorkKind, Ring)> = Vec::new();
    for (key, value) in store.scan(KEY_PREFIX).unwrap_or_default() {
        let Some((peer, kind, page)) = parse_key(&key) else { continue };
        // Keys come in order, so those of one ring follow each other.
        if rings.last().is_none_or(|(last_peer, last_kind, _)| (*last_peer, *last_kind) != (peer, kind)) {
            rings.push((peer, kind, Ring::default()));
        }
        if let Some((_, _, ring)) = rings.last_mut() {
            ring.take_page(page, &value, kind);
        }
    }
    for (_, _, ring) in &mut rings {
        ring.settle();
    }
    rings.retain(|(_, _, ring)| ring.count() > 0);
    rings
}

/// Forgets a peer's outcomes.
pub fn forget(store: &dyn Store, peer: &NodeId) {
    let prefix = [KEY_PREFIX, peer.public_key()].concat();
    for (key, _) in store.scan(&prefix).unwrap_or_default() {
        let _ = store.remove(&key);
    }
}
