//! Whether every value makes sense.

use std::{
    collections::BTreeSet,
    fmt::Display,
    ops::{Bound, RangeBounds},
};

use p2c2r_protocol::tile::FrameSize;

use super::{Background, PeerEvent, PeerSpec, Scenario, ScenarioError, Work};

/// Most peers of a scenario.
const MAX_PEERS: u64 = 100_000;
/// Longest name, bytes.
const MAX_NAME_BYTES: usize = 64;
/// Longest time that a key may say, ms: an hour.
const HOUR_MS: f64 = 3_600_000.0;

/// Checks a scenario.
pub(super) fn check(scenario: &Scenario) -> Result<(), ScenarioError> {
    name("name", &scenario.name)?;
    work(&scenario.work)?;
    let mut names = BTreeSet::new();
    for spec in &scenario.peers {
        peer(spec)?;
        if !names.insert(spec.name.as_str()) {
            return Err(ScenarioError::Value(format!("two peers are named `{}`", spec.name)));
        }
    }
    let peers: u64 = scenario.peers.iter().map(|peer| u64::from(peer.count)).sum();
    if peers == 0 && scenario.work.local.is_none() {
        return Err(ScenarioError::Value("nobody works: give a [[peer]] or work.local".into()));
    }
    if peers > MAX_PEERS {
        return Err(ScenarioError::Value(format!("{peers} peers are too many (at most {MAX_PEERS})")));
    }
    Ok(())
}

fn work(work: &Work) -> Result<(), ScenarioError> {
    within("work.frames", work.frames, 1..=1_000_000)?;
    within("work.warm_up", work.warm_up, 0..=1_000_000)?;
    FrameSize::new(work.size_px[0], work.size_px[1])
        .map_err(|error| ScenarioError::Value(format!("work.size_px: {error}")))?;
    within("work.work_ms", work.work_ms, 0.001..=HOUR_MS)?;
    within("work.frame_bytes", work.frame_bytes, 0..=1 << 40)?;
    within("work.frame_interval_ms", work.frame_interval_ms, 0.0..=HOUR_MS)?;
    within("work.depth", work.depth, 1..=64)?;
    within("work.deadline_ms", work.deadline_ms, 0.0..=HOUR_MS)?;
    for (kind, share) in &work.kinds {
        within(&format!("work.kinds.{}", kind.name()), *share, 0.0..=1e6)?;
    }
    if work.kinds.values().sum::<f64>() <= 0.0 {
        return Err(ScenarioError::Value("work.kinds: no kind has a share".into()));
    }
    within("work.cost.low", work.cost.low, 0.0..=1e9)?;
    within("work.cost.high", work.cost.high, 1e-3..=1e9)?;
    if work.cost.low > work.cost.high {
        return Err(ScenarioError::Value("work.cost: low is more than high".into()));
    }
    within("work.estimate_error.frame", work.estimate_error.frame, 0.0..=2.0)?;
    within("work.estimate_error.tile", work.estimate_error.tile, 0.0..=2.0)?;
    if let Some(local) = work.local {
        within("work.local.speed", local.speed, 1e-3..=1e4)?;
    }
    within("work.heartbeat_s", work.heartbeat_s, 0.01..=3600.0)
}

fn peer(spec: &PeerSpec) -> Result<(), ScenarioError> {
    name("peer.name", &spec.name)?;
    let key = |key: &str| format!("peer `{}`: {key}", spec.name);
    within(&key("count"), spec.count, 1..=100_000)?;
    within(&key("latency_ms"), spec.latency_ms, 0.0..=60_000.0)?;
    within(&key("jitter_ms"), spec.jitter_ms, 0.0..=10_000.0)?;
    within(&key("bandwidth_mbps"), spec.bandwidth_mbps, 0.001..=1e6)?;
    within(&key("loss"), spec.loss, 0.0..=0.5)?;
    within(&key("speed"), spec.speed, 1e-3..=1e4)?;
    for (kind, factor) in &spec.affinity {
        within(&key(&format!("affinity.{}", kind.name())), *factor, 1e-3..=1e3)?;
    }
    within(&key("slots"), spec.slots, 1..=1024)?;
    if let Some(slowdown) = spec.slowdown {
        within(&key("slowdown.from_in_flight"), slowdown.from_in_flight, 1..=10_000)?;
        within(&key("slowdown.per_task"), slowdown.per_task, 0.0..=100.0)?;
    }
    within(&key("noise.sigma"), spec.noise.sigma, 0.0..=2.0)?;
    within(&key("noise.tail_probability"), spec.noise.tail_probability, 0.0..=1.0)?;
    within(&key("noise.tail_factor"), spec.noise.tail_factor, 1.0..=1000.0)?;
    within(&key("failure.base"), spec.failure.base, 0.0..=1.0)?;
    within(&key("failure.when_utilisation_over"), spec.failure.when_utilisation_over, 0.0..=1.0)?;
    if let Some(then) = spec.failure.then {
        within(&key("failure.then"), then, 0.0..=1.0)?;
    }
    within(&key("failure.silent"), spec.failure.silent, 0.0..=1.0)?;
    if let Some(background) = spec.background {
        self::background(&key("background"), background)?;
    }
    if let Some(peak) = spec.peak {
        within(&key("peak.from_hour"), peak.from_hour, 0.0..=24.0)?;
        within(&key("peak.to_hour"), peak.to_hour, 0.0..=24.0)?;
        within(&key("peak.latency_factor"), peak.latency_factor, 1e-3..=1000.0)?;
    }
    if let Some(uplink) = &spec.uplink {
        name(&key("uplink"), uplink)?;
    }
    if let Some(lies) = spec.lies {
        within(&key("lies.utilisation"), lies.utilisation.unwrap_or(0.0), 0.0..=1.0)?;
        within(&key("lies.speed"), lies.speed.unwrap_or(1.0), 1e-3..=1e6)?;
    }
    if let Some(cheats) = spec.cheats {
        within(&key("cheats.rate"), cheats.rate, 0.0..=1.0)?;
    }
    events(&key("events"), &spec.events)
}

fn background(key: &str, background: Background) -> Result<(), ScenarioError> {
    within(&format!("{key}.idle_s"), background.idle_s, 0.01..=1e6)?;
    within(&format!("{key}.busy_s"), background.busy_s, 0.01..=1e6)?;
    within(&format!("{key}.load_low"), background.load_low, 0.0..=1.0)?;
    within(&format!("{key}.load_high"), background.load_high, 0.0..=1.0)?;
    within(&format!("{key}.slows"), background.slows, 0.0..=0.99)
}

fn events(key: &str, events: &[PeerEvent]) -> Result<(), ScenarioError> {
    for event in events {
        within(&format!("{key}.at_frame"), event.at_frame, 0..=2_000_000)?;
        within(&format!("{key}.speed_factor"), event.speed_factor.unwrap_or(1.0), 1e-3..=1e3)?;
        let set = [event.speed_factor.is_some(), event.leave, event.join];
        if set.into_iter().filter(|set| *set).count() != 1 {
            return Err(ScenarioError::Value(format!(
                "{key}: the one at frame {} must have exactly one of speed_factor, leave = true, join = true",
                event.at_frame
            )));
        }
    }
    if events.windows(2).any(|pair| matches!(pair, [a, b] if a.at_frame > b.at_frame)) {
        return Err(ScenarioError::Value(format!("{key}: they must be in the order of their frames")));
    }
    Ok(())
}

fn name(key: &str, text: &str) -> Result<(), ScenarioError> {
    if text.is_empty() || text.len() > MAX_NAME_BYTES || text.chars().any(char::is_control) {
        return Err(ScenarioError::Value(format!(
            "{key} must have 1 to {MAX_NAME_BYTES} bytes and no control characters"
        )));
    }
    Ok(())
}

fn within<N: PartialOrd + Display + Copy>(
    key: &str,
    value: N,
    range: impl RangeBounds<N>,
) -> Result<(), ScenarioError> {
    if range.contains(&value) {
        return Ok(());
    }
    let bound = |bound: Bound<&N>| match bound {
        Bound::Included(value) | Bound::Excluded(value) => value.to_string(),
        Bound::Unbounded => "any".into(),
    };
    let (low, high) = (bound(range.start_bound()), bound(range.end_bound()));
    Err(ScenarioError::Value(format!("{key} is {value}; it must be between {low} and {high}")))
}
