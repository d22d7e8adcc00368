//! Several policies and seeds in the same scenario.

use std::{
    num::NonZeroUsize,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{
    invariant::Broken,
    metrics::Summary,
    policy::Policy,
    scenario::{Scenario, ScenarioError},
    sim::{Finished, RAYS_PER_MS, Setup, Simulation},
};

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Experiment {
    /// The scenario.
    pub scenario: Scenario,
    /// The policies, in the order of the report.
    pub policies: Vec<Policy>,
    /// Seeds, from the scenario's own on.
    pub seeds: u32,
    /// Runs at the same time.
    pub threads: NonZeroUsize,
}

/// Why there are no results.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExperimentError {
    /// The scenario.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// Something that must never happen.
    #[error("{policy}: {broken}")]
    Broken {
        /// Under which policy.
        policy: Policy,
        /// What.
        broken: Broken,
    },
    /// A run ended without a result.
    #[error("a run of {0} was lost")]
    Lost(Policy),
}

/// One run of a policy.
#[derive(Debug, Clone, PartialEq)]
pub struct RunResult {
    /// Its seed.
    pub seed: u64,
    /// What came of it.
    pub summary: Summary,
    /// Times of all frames in the order of their ends, warm-up included, ms.
    pub frame_times_ms: Vec<f32>,
    /// Their bounds, ms.
    pub bounds_ms: Vec<f32>,
    /// Hash of all events.
    pub event_hash: u64,
    /// Events.
    pub events: u64,
    /// Mean time to plan a frame, wall clock, ms; none if the policy does not plan. Not the same in every run.
    pub planning_ms: Option<f64>,
}

/// All runs of a policy.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyResult {
    /// The policy.
    pub policy: Policy,
    /// By seed.
    pub runs: Vec<RunResult>,
}

impl Experiment {
    /// Runs everything. `folder` is where the scenario's other files are.
    pub fn run(&self, folder: &Path) -> Result<Vec<PolicyResult>, ExperimentError> {
        let cells = self.scenario.cells(folder)?;
        let cost = cells.map(self.scenario.work.work_ms * RAYS_PER_MS).map_err(ScenarioError::from)?;
        let jobs: Vec<(Policy, u64)> = self
            .policies
            .iter()
            .flat_map(|policy| {
                (0..u64::from(self.seeds)).map(|index| (*policy, self.scenario.seed.wrapping_add(index)))
            })
            .collect();
        let results: Vec<Mutex<Option<Result<RunResult, Broken>>>> =
            jobs.iter().map(|_| Mutex::new(None)).collect();
        let next = AtomicUsize::new(0);
        let work = || {
            while let (index, Some((policy, seed))) = {
                let index = next.fetch_add(1, Ordering::Relaxed);
                (index, jobs.get(index).copied())
            } {
                let setup = Setup { scenario: &self.scenario, cost: &cost, seed, faults: None };
                let result = run_one(policy, setup);
                if let Some(slot) = results.get(index) {
                    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.threads.get().min(jobs.len()) {
                scope.spawn(work);
            }
            work();
        });
        let mut by_policy: Vec<PolicyResult> = Vec::new();
        for ((policy, _), slot) in jobs.into_iter().zip(results) {
            let result = slot.into_inner().unwrap_or_else(PoisonError::into_inner);
            let run = result
                .ok_or(ExperimentError::Lost(policy))?
                .map_err(|broken| ExperimentError::Broken { policy, broken })?;
            match by_policy.last_mut().filter(|last| last.policy == policy) {
                Some(last) => last.runs.push(run),
                None => by_policy.push(PolicyResult { policy, runs: vec![run] }),
            }
        }
        Ok(by_policy)
    }
}

fn run_one(policy: Policy, setup: Setup<'_>) -> Result<RunResult, Broken> {
    let seed = setup.seed;
    let coordinator = policy.coordinator(&setup);
    let finished = Simulation::new(setup, coordinator).run()?;
    let Finished { recorder, event_hash, events, planning_ms: (planning_ms, planned) } = finished;
    Ok(RunResult {
        seed,
        summary: Summary::of(&recorder),
        frame_times_ms: recorder.frames.iter().map(|frame| frame.time_ms as f32).collect(),
        bounds_ms: recorder.frames.iter().map(|frame| frame.bound_ms as f32).collect(),
        event_hash,
        events,
        planning_ms: (planned > 0).then(|| planning_ms / planned as f64),
    })
}
