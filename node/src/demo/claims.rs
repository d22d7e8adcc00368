//! What the seed document claims, beside what was measured; and what the simulator says for its five machines.

use std::num::NonZeroUsize;

use comfy_table::{CellAlignment, Table, presets::UTF8_BORDERS_ONLY};
use p2c2r_sim::{experiment::Experiment, metrics::Summary, policy::Policy, scenario::Scenario};
use serde::Serialize;

use super::tally::Figures;

/// The seed document's five machines, in virtual time.
const SEED_FIVE: &str = include_str!("../../../testnet/scenarios/seed-five.toml");

/// A figure of both coordinators.
#[derive(Debug, Clone, Serialize)]
pub struct Claim {
    /// What of.
    pub figure: &'static str,
    /// What the seed document says.
    pub claimed: &'static str,
    /// The naive coordinator's.
    pub naive: f64,
    /// Ours.
    pub learned: f64,
    /// The difference, as the document puts it.
    pub measured: String,
}

fn change(naive: f64, learned: f64) -> String {
    if naive > 0.0 { format!("{:+.0} %", (learned / naive - 1.0) * 100.0) } else { "-".to_owned() }
}

/// The claims about a swarm, with these figures beside them.
pub fn claims(naive: &Figures, learned: &Figures) -> Vec<Claim> {
    let claim =
        |figure, claimed, naive, learned, measured| Claim { figure, claimed, naive, learned, measured };
    vec![
        claim(
            "average latency, ms",
            "120 -> 48 (-60 %)",
            naive.latency_ms,
            learned.latency_ms,
            change(naive.latency_ms, learned.latency_ms),
        ),
        claim(
            "failures that are felt, % of tasks",
            "18 -> 3 (-80 %)",
            naive.visible_failure_share * 100.0,
            learned.visible_failure_share * 100.0,
            change(naive.visible_failure_share, learned.visible_failure_share),
        ),
        claim(
            "frames a second",
            "8 -> 20 (+150 %)",
            naive.frames_per_s,
            learned.frames_per_s,
            change(naive.frames_per_s, learned.frames_per_s),
        ),
        claim(
            "utilisation, %",
            "45 -> 92",
            naive.utilisation * 100.0,
            learned.utilisation * 100.0,
            format!("{:.0} %", learned.utilisation * 100.0),
        ),
    ]
}

/// A table of claims.
pub fn table(claims: &[Claim]) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY);
    table.set_header(["", "naive", "p2c2r", "measured", "the seed document says"]);
    for claim in claims {
        table.add_row([
            claim.figure.to_owned(),
            format!("{:.1}", claim.naive),
            format!("{:.1}", claim.learned),
            claim.measured.clone(),
            claim.claimed.to_owned(),
        ]);
    }
    for column in table.column_iter_mut().skip(1).take(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

/// The same figures of the seed document's five machines in virtual time: naive, then ours.
pub fn simulated(frames: u32) -> anyhow::Result<(Figures, Figures)> {
    let mut scenario = Scenario::parse(SEED_FIVE)?;
    scenario.work.frames = frames as _;
    let experiment = Experiment {
        scenario,
        policies: vec![Policy::LeastLatency, Policy::Learned],
        seeds: 1,
        threads: NonZeroUsize::MIN.saturating_add(1),
    };
    let results = experiment.run(std::path::Path::new("."))?;
    let of = |policy: Policy| {
        let result = results.iter().find(|result| result.policy == policy);
        result.and_then(|result| result.runs.first()).map(|run| figures(&run.summary))
    };
    match (of(Policy::LeastLatency), of(Policy::Learned)) {
        (Some(naive), Some(learned)) => Ok((naive, learned)),
        _ => anyhow::bail!("the simulator gave no result"),
    }
}

fn figures(summary: &Summary) -> Figures {
    Figures {
        frames: summary.frames,
        latency_ms: summary.mean_ms,
        latency_p95_ms: summary.p95_ms,
        failed_share: summary.failed_share,
        visible_failure_share: summary.visible_failure_share,
        frames_per_s: summary.frames_per_s,
        utilisation: summary.utilisation,
    }
}
