//! Runs with faults.

use std::path::Path;

use crate::{
    fault::FaultPlan,
    invariant::{Broken, Invariant},
    policy::Policy,
    scenario::{Scenario, ScenarioError},
    sim::{Finished, RAYS_PER_MS, Setup, Simulation},
};

/// Why a run with faults is no success.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FaultError {
    /// The scenario.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// An invariant does not hold.
    #[error("{scenario}: {broken} (faults: {faults})")]
    Broken {
        /// In which scenario.
        scenario: String,
        /// What.
        broken: Broken,
        /// The plan, for whoever looks into it.
        faults: String,
    },
}

/// A run with faults that ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultRun {
    /// Its seed.
    pub seed: u64,
    /// Faults of its plan.
    pub faults: usize,
    /// Events.
    pub events: u64,
    /// Frames that ended.
    pub frames: usize,
    /// Hash of all events.
    pub event_hash: u64,
}

/// Runs the scenario under `learned` with the faults of a seed, twice: the events must be the same (I6).
pub fn run(scenario: &Scenario, folder: &Path, seed: u64) -> Result<FaultRun, FaultError> {
    let cells = scenario.cells(folder)?;
    let cost = cells.map(scenario.work.work_ms * RAYS_PER_MS).map_err(ScenarioError::from)?;
    let peers = scenario.each_peer().count();
    let plan = FaultPlan::draw(seed, peers);
    let failed = |broken| FaultError::Broken {
        scenario: scenario.name.clone(),
        broken,
        faults: format!("{:?}", plan.faults),
    };
    let once = || {
        let setup = Setup { scenario, cost: &cost, seed, faults: Some(&plan) };
        let coordinator = Policy::Learned.coordinator(&setup);
        Simulation::new(setup, coordinator).run()
    };
    let Finished { event_hash, events, recorder, .. } = once().map_err(failed)?;
    let again = once().map_err(failed)?;
    if (again.event_hash, again.events) != (event_hash, events) {
        let how = "a second run had other events".to_owned();
        return Err(failed(Broken { seed, event: events, invariant: Invariant::I6, how }));
    }
    Ok(FaultRun { seed, faults: plan.faults.len(), events, frames: recorder.frames.len(), event_hash })
}
