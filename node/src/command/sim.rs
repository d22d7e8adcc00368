//! `sim`: a scenario in virtual time, policies side by side.

use std::{
    fs::File,
    io::{self, BufReader, Write},
    num::NonZeroUsize,
    path::Path,
};

use anyhow::Context;
use p2c2r_scheduler::decision::{
    self,
    replay::{Replayed, replay},
};
use p2c2r_sim::{
    experiment::Experiment,
    fault_run,
    plot::{self, PlotFormat},
    policy::Policy,
    report,
    scenario::Scenario,
};

use crate::{
    cli::{SeedRange, SimArgs},
    exit::Exit,
};

/// Does what was asked for.
pub fn sim(args: &SimArgs) -> anyhow::Result<Exit> {
    if let Some(log) = &args.replay {
        return replayed(log);
    }
    let path = args.scenario.as_deref().context("which scenario?")?;
    let scenario = Scenario::read(path).with_context(|| format!("{} is no scenario", path.display()))?;
    let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
    if let Some(seeds) = &args.faults {
        return faults(args, &scenario, &folder, seeds);
    }
    // Before the work, not after it.
    let plot_format = args.plot.as_deref().map(PlotFormat::of).transpose()?;
    let experiment = Experiment {
        scenario,
        policies: policies(args),
        seeds: args.seeds,
        threads: args.threads.or(std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN),
    };
    let results = experiment.run(&folder)?;
    if let (Some(path), Some(format)) = (&args.plot, plot_format) {
        let picture = plot::picture(&experiment.scenario.name, &results, format)?;
        std::fs::write(path, picture).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if args.json {
        print(&format!("{:#}\n", report::json(&experiment, &results, args.timing)))?;
    } else {
        print(&report::table(&experiment, &results))?;
    }
    Ok(Exit::Done)
}

/// The decisions of a log, made again.
fn replayed(log: &Path) -> anyhow::Result<Exit> {
    let name = log.display();
    let file = File::open(log).with_context(|| format!("cannot open {name}"))?;
    let replayed = replay(decision::file::read(BufReader::new(file)))
        .with_context(|| format!("the decisions of {name} cannot be made again"))?;
    let Replayed { frames, decisions, commands } = replayed;
    print(&format!(
        "{frames} frames, {decisions} decisions, {commands} commands: all made again, to the bit\n"
    ))?;
    Ok(Exit::Done)
}

/// Those that were named, each once; all if none was. The bound comes with any of them.
fn policies(args: &SimArgs) -> Vec<Policy> {
    let mut policies: Vec<Policy> = Vec::new();
    for policy in args.policies.iter().filter_map(|choice| choice.0) {
        if !policies.contains(&policy) {
            policies.push(policy);
        }
    }
    match (policies.is_empty(), args.policies.is_empty()) {
        (false, _) => policies,
        (true, true) => Policy::ALL.to_vec(),
        (true, false) => vec![Policy::Learned],
    }
}

fn faults(args: &SimArgs, scenario: &Scenario, folder: &Path, seeds: &SeedRange) -> anyhow::Result<Exit> {
    let mut runs = Vec::new();
    for seed in seeds.0.clone() {
        let run = fault_run::run(scenario, folder, seed)?;
        if !args.json {
            print(&(report::fault_line(&scenario.name, &run) + "\n"))?;
        }
        runs.push(run);
    }
    if args.json {
        print(&format!("{:#}\n", report::fault_json(&scenario.name, &runs)))?;
    }
    Ok(Exit::Done)
}

/// Prints; a reader that has read enough is no error.
fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("cannot print"),
        _ => Ok(()),
    }
}
