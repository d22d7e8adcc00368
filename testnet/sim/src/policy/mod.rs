//! Ways to give out work, all in the same world.

mod choose;
pub mod machine;
mod oracle;
mod simple;

use std::{fmt, str::FromStr};

use crate::{
    scenario::Scenario,
    sim::{Setup, desk::Coordinator},
};

/// A policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Policy {
    /// Equal tiles, each to a peer drawn at random.
    Random,
    /// Equal tiles, to the peers in turn.
    RoundRobin,
    /// Equal tiles, each to the peer with the least `latency + 15 x load`: the naive coordinator of the seed document.
    LeastLatency,
    /// The learning coordinator of the seed document: mean times per kind, rules for failures, three tries.
    Ema,
    /// Every tile to the peer that is expected to finish it first, by learned speeds.
    EarliestFinish,
    /// The scheduler of this workspace, as the node runs it.
    Learned,
    /// The same, knowing the true speeds and risks.
    Oracle,
}

impl Policy {
    /// Every policy, in the order of reports.
    pub const ALL: [Self; 7] = [
        Self::Random,
        Self::RoundRobin,
        Self::LeastLatency,
        Self::Ema,
        Self::EarliestFinish,
        Self::Learned,
        Self::Oracle,
    ];

    /// The name that the command line and reports use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::RoundRobin => "round_robin",
            Self::LeastLatency => "least_latency",
            Self::Ema => "ema",
            Self::EarliestFinish => "earliest_finish",
            Self::Learned => "learned",
            Self::Oracle => "oracle",
        }
    }

    /// A coordinator with this policy.
    pub fn coordinator(self, setup: &Setup<'_>) -> Box<dyn Coordinator> {
        let Scenario { work, start, .. } = setup.scenario;
        match self {
            Self::Learned => Box::new(machine::Machine::learned(*start)),
            Self::Oracle => Box::new(machine::Machine::oracle(setup)),
            Self::Random => simple::coordinator(choose::Random::new(setup.seed), work.work_ms),
            Self::RoundRobin => simple::coordinator(choose::RoundRobin::default(), work.work_ms),
            Self::LeastLatency => simple::coordinator(choose::LeastLatency, work.work_ms),
            Self::Ema => simple::coordinator(choose::Ema::new(*start), work.work_ms),
            Self::EarliestFinish => simple::coordinator(choose::EarliestFinish::new(), work.work_ms),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// A name that no policy has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "policy `{0}` is unknown; expected one of random, round_robin, least_latency, ema, earliest_finish, learned, oracle, bound"
)]
pub struct UnknownPolicy(String);

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(name: &str) -> Result<Self, UnknownPolicy> {
        Self::ALL
            .into_iter()
            .find(|policy| policy.name() == name)
            .ok_or_else(|| UnknownPolicy(name.to_owned()))
    }
}
