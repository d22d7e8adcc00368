//! What is simulated: the work, the peers, what happens to them. Read from a TOML file.

mod check;
mod defaults;
mod pattern;
mod start;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use p2c2r_protocol::id::WorkKind;
use serde::Deserialize;

pub use self::{
    pattern::{CostCells, PatternError},
    start::Start,
};

/// Why a file is no scenario.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no TOML, has a key that no scenario has, lacks one, or has one of another type.
    #[error("line {line}: {message}")]
    Form {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
    /// A value makes no sense.
    #[error("{0}")]
    Value(String),
    /// The cost map.
    #[error("work.cost: {0}")]
    Pattern(#[from] PatternError),
}

/// A scenario. Every value is within its range.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name, for reports.
    pub name: String,
    /// The first seed.
    #[serde(default = "defaults::seed")]
    pub seed: u64,
    /// The wall clock at the beginning.
    #[serde(default)]
    pub start: Start,
    /// What there is to do.
    pub work: Work,
    /// Who does it. Each entry stands for `count` peers.
    #[serde(rename = "peer", default)]
    pub peers: Vec<PeerSpec>,
}

/// What there is to do.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Work {
    /// Frames that are measured.
    pub frames: u32,
    /// Frames before them that are not.
    #[serde(default)]
    pub warm_up: u32,
    /// Width and height, pixels.
    #[serde(default = "defaults::size_px")]
    pub size_px: [u32; 2],
    /// Time that a peer of speed 1 needs for one frame, alone and undisturbed, ms.
    pub work_ms: f64,
    /// Bytes of a whole frame's result, shared out by area.
    #[serde(default = "defaults::frame_bytes")]
    pub frame_bytes: u64,
    /// Time between two frames, ms; 0: the next one starts when one of those in flight ends.
    #[serde(default)]
    pub frame_interval_ms: f64,
    /// Frames in flight at once.
    #[serde(default = "defaults::depth")]
    pub depth: u32,
    /// Time that a frame has, ms; 0: as long as it takes.
    #[serde(default)]
    pub deadline_ms: f64,
    /// Share of each kind of work among the frames; only the ratios count.
    #[serde(default = "defaults::kinds")]
    pub kinds: BTreeMap<WorkKind, f64>,
    /// Where in the frame the work lies.
    #[serde(default)]
    pub cost: CostSpec,
    /// How wrong estimated costs are.
    #[serde(default)]
    pub estimate_error: EstimateError,
    /// The coordinator's own device, if it takes part.
    #[serde(default)]
    pub local: Option<LocalSpec>,
    /// Time between two heartbeats of a peer, s.
    #[serde(default = "defaults::heartbeat_s")]
    pub heartbeat_s: f64,
}

/// Where in the frame the work lies.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostSpec {
    /// `uniform`, `city` (sky above buildings), `hotspot` (one expensive place), or a grayscale PNG file whose black is
    /// `low` and whose white is `high`.
    pub pattern: String,
    /// Cost of the cheapest places; only the ratio to `high` counts.
    #[serde(default = "defaults::low")]
    pub low: f64,
    /// Cost of the most expensive places.
    #[serde(default = "defaults::high")]
    pub high: f64,
}

/// How wrong estimated costs are: standard deviations of the logarithm of true to estimated cost.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EstimateError {
    /// Of a whole frame's.
    pub frame: f64,
    /// Of a tile's beside its frame's.
    pub tile: f64,
}

/// The coordinator's own device: no way to it, no failures.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalSpec {
    /// Its speed.
    pub speed: f64,
}

/// A peer, or several of the same kind.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerSpec {
    /// Its name; several are numbered.
    pub name: String,
    /// How many there are.
    #[serde(default = "defaults::count")]
    pub count: u32,
    /// Round trip, ms.
    pub latency_ms: f64,
    /// Standard deviation of the round trip, ms.
    #[serde(default)]
    pub jitter_ms: f64,
    /// From it to the coordinator, Mbit/s.
    #[serde(default = "defaults::bandwidth_mbps")]
    pub bandwidth_mbps: f64,
    /// Share of packets that are lost and sent again.
    #[serde(default)]
    pub loss: f64,
    /// Its speed; `work_ms` is for speed 1.
    pub speed: f64,
    /// Factor on the speed for each kind of work.
    #[serde(default)]
    pub affinity: BTreeMap<WorkKind, f64>,
    /// Tasks that run at once, each at full speed.
    #[serde(default = "defaults::slots")]
    pub slots: u32,
    /// How it slows down with the number of tasks that it holds.
    #[serde(default)]
    pub slowdown: Option<Slowdown>,
    /// How long tasks take beyond what their cost says.
    #[serde(default)]
    pub noise: Noise,
    /// How tasks fail.
    #[serde(default)]
    pub failure: Failure,
    /// The owner's own use.
    #[serde(default)]
    pub background: Option<Background>,
    /// Hours in which the network is slower.
    #[serde(default)]
    pub peak: Option<Peak>,
    /// Peers that name the same uplink share its bandwidth: the widest that one of them has.
    #[serde(default)]
    pub uplink: Option<String>,
    /// What the heartbeat claims instead of the truth.
    #[serde(default)]
    pub lies: Option<Lies>,
    /// What happens to it.
    #[serde(default)]
    pub events: Vec<PeerEvent>,
    /// Whether it forges results.
    #[serde(default)]
    pub cheats: Option<Cheats>,
}

/// A peer slows down when it holds many tasks.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slowdown {
    /// From this many tasks on, waiting ones included.
    pub from_in_flight: u32,
    /// Each of them adds this share to the time.
    pub per_task: f64,
}

/// Noise of execution times.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Noise {
    /// Standard deviation of the logarithm.
    pub sigma: f64,
    /// Share of tasks that take much longer.
    pub tail_probability: f64,
    /// By this factor.
    pub tail_factor: f64,
}

/// How tasks fail.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Failure {
    /// Probability.
    pub base: f64,
    /// Above this utilisation the probability is another one.
    pub when_utilisation_over: f64,
    /// This one; without it, `base`.
    pub then: Option<f64>,
    /// Share of failures that the peer never reports.
    pub silent: f64,
}

/// The owner's own use of a peer: idle and busy by turns.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Background {
    /// Mean time of light use, s.
    pub idle_s: f64,
    /// Mean time of heavy use, s.
    pub busy_s: f64,
    /// Utilisation in light use.
    pub load_low: f64,
    /// Utilisation in heavy use.
    pub load_high: f64,
    /// Tasks run at `1 - slows x load` of the speed.
    pub slows: f64,
}

/// Hours in which the network is slower.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peak {
    /// Hour of day (UTC) at which they begin; parts of an hour count.
    pub from_hour: f64,
    /// And end; before `from_hour`: on the next day.
    pub to_hour: f64,
    /// Factor on the round trip.
    pub latency_factor: f64,
}

/// What a heartbeat claims.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lies {
    /// Utilisation instead of the true one.
    #[serde(default)]
    pub utilisation: Option<f64>,
    /// Speed instead of the true one.
    #[serde(default)]
    pub speed: Option<f64>,
    /// From this measured frame on; 0: from the very first.
    #[serde(default)]
    pub from_frame: u32,
}

/// Something that happens to a peer. Exactly one of the three is set.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerEvent {
    /// Before this measured frame; those of the warm-up do not count.
    pub at_frame: u32,
    /// From now on this times its speed in the file.
    #[serde(default)]
    pub speed_factor: Option<f64>,
    /// It goes away.
    #[serde(default)]
    pub leave: bool,
    /// It comes (back).
    #[serde(default)]
    pub join: bool,
}

/// Forged results.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cheats {
    /// How.
    pub kind: CheatKind,
    /// Share of its results.
    pub rate: f64,
}

/// Ways to forge a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheatKind {
    /// Fewer samples than asked for.
    SkipSamples,
    /// Random pixels.
    Noise,
    /// The pixels of an earlier frame.
    Stale,
    /// Pixels of another tile.
    Copy,
}

impl CheatKind {
    /// Share of the time of honest work that it takes.
    pub const fn time_share(self) -> f64 {
        match self {
            Self::SkipSamples => 0.25,
            Self::Noise | Self::Stale | Self::Copy => 0.02,
        }
    }

    /// Share of the pixels that are not what rendering gives.
    pub const fn wrong_share(self) -> f64 {
        match self {
            // A pixel of sky is the same with fewer samples.
            Self::SkipSamples => 0.9,
            Self::Noise => 1.0,
            // What did not move is right by chance.
            Self::Stale => 0.6,
            Self::Copy => 0.95,
        }
    }
}

impl Scenario {
    /// Reads a scenario from a file.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ScenarioError::Read { path: path.to_owned(), source })?;
        Self::parse(&text)
    }

    /// Reads a scenario.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or("");
            let line = before.matches('\n').count() + 1;
            ScenarioError::Form { line, message: error.message().trim().replace('\n', " ") }
        })?;
        check::check(&scenario)?;
        Ok(scenario)
    }

    /// Its peers, one by one, with their names.
    pub fn each_peer(&self) -> impl Iterator<Item = (String, &PeerSpec)> {
        self.peers.iter().flat_map(|spec| {
            (1..=spec.count).map(move |index| {
                let name = if spec.count == 1 { spec.name.clone() } else { format!("{}-{index}", spec.name) };
                (name, spec)
            })
        })
    }

    /// Its cost map's cells. A PNG file is looked for beside the scenario.
    pub fn cells(&self, folder: &Path) -> Result<CostCells, ScenarioError> {
        Ok(pattern::cells(&self.work, folder)?)
    }
}

#[cfg(test)]
mod tests;
