//! What can be said to `sim`.

use std::{num::NonZeroUsize, path::PathBuf, str::FromStr};

use clap::Args;
use p2c2r_sim::policy::Policy;

/// Help of `--policy`: its names have underscores.
const POLICY_HELP: &str = "Policy to run (may be given several times): random, round_robin, least_latency, ema, earliest_finish, learned or oracle; the bound is always shown [default: all of them]";

/// `sim`.
#[derive(Debug, Args)]
pub struct SimArgs {
    /// Scenario: a .toml file
    #[arg(required_unless_present = "replay")]
    pub scenario: Option<PathBuf>,
    /// Make the decisions of a node's `--decision-log` again, and tell the first that this version makes otherwise
    #[arg(long, value_name = "FILE", conflicts_with_all = ["scenario", "policies", "faults", "plot", "json", "threads", "timing"])]
    pub replay: Option<PathBuf>,
    /// Policy to run.
    #[arg(long = "policy", value_name = "POLICY", value_parser = parse_policy, help = POLICY_HELP)]
    pub policies: Vec<PolicyChoice>,
    /// Seeds to run, from the scenario's own on; the table shows mean and spread
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub seeds: u32,
    /// Inject the random faults of a seed, or of several, and check what must always hold
    #[arg(long, value_name = "SEED|A..B", conflicts_with_all = ["policies", "plot"])]
    pub faults: Option<SeedRange>,
    /// Runs at the same time [default: one per core]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Write learning curves as a picture
    #[arg(long, value_name = "FILE.svg|FILE.png")]
    pub plot: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// With --json: also how long planning took, which is not the same in every run
    #[arg(long, requires = "json")]
    pub timing: bool,
}

/// A policy, or the bound, which is no policy and always shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyChoice(pub Option<Policy>);

fn parse_policy(text: &str) -> Result<PolicyChoice, String> {
    if text == "bound" {
        return Ok(PolicyChoice(None));
    }
    text.parse().map(|policy| PolicyChoice(Some(policy))).map_err(|error| format!("{error}"))
}

/// Seeds from one to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedRange(pub std::ops::Range<u64>);

impl FromStr for SeedRange {
    type Err = String;

    /// Reads `7` or `0..1000`.
    fn from_str(text: &str) -> Result<Self, String> {
        let malformed = |_| "expected a seed such as 7, or seeds such as 0..1000".to_owned();
        let Some((first, end)) = text.split_once("..") else {
            let seed: u64 = text.parse().map_err(malformed)?;
            return Ok(Self(seed..seed.saturating_add(1)));
        };
        let (first, end): (u64, u64) = (first.parse().map_err(malformed)?, end.parse().map_err(malformed)?);
        if first < end { Ok(Self(first..end)) } else { Err(format!("there is no seed in {text}")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_read() {
        assert_eq!("7".parse(), Ok(SeedRange(7..8)));
        assert_eq!("0..1000".parse(), Ok(SeedRange(0..1000)));
        for text in ["", "x", "1..", "..5", "5..5", "-1", "1..2..3"] {
            assert!(text.parse::<SeedRange>().is_err(), "{text}");
        }
    }

    #[test]
    fn policies_are_read_by_their_names() {
        assert_eq!(parse_policy("bound"), Ok(PolicyChoice(None)));
        assert_eq!(parse_policy("least_latency"), Ok(PolicyChoice(Some(Policy::LeastLatency))));
        assert!(parse_policy("best").unwrap_err().contains("least_latency"));
    }
}
