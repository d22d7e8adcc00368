//! The simulator without the node: `cargo run --release -p p2c2r-sim --example sim -- SCENARIO.toml [SEEDS] [POLICY]…`,
//! or `… -- SCENARIO.toml faults FIRST END`.

use std::{error::Error, num::NonZeroUsize, path::Path, time::Instant};

use p2c2r_sim::{
    experiment::Experiment,
    fault_run,
    policy::Policy,
    report::{fault_line, table},
    scenario::Scenario,
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let path = arguments.first().ok_or("which scenario?")?;
    let scenario = Scenario::read(Path::new(path))?;
    let folder = Path::new(path).parent().unwrap_or(Path::new("."));
    let since = Instant::now();
    if arguments.get(1).is_some_and(|word| word == "faults") {
        let number = |index: usize| arguments.get(index).map_or(Ok(0), |text| text.parse::<u64>());
        for seed in number(2)?..number(3)? {
            println!("{}", fault_line(&scenario.name, &fault_run::run(&scenario, folder, seed)?));
        }
    } else {
        let seeds = arguments.get(1).map_or(Ok(1), |seeds| seeds.parse())?;
        let named: Result<Vec<Policy>, _> = arguments.iter().skip(2).map(|name| name.parse()).collect();
        let policies = Some(named?).filter(|named| !named.is_empty()).unwrap_or(Policy::ALL.to_vec());
        let experiment = Experiment { scenario, policies, seeds, threads: NonZeroUsize::MIN };
        println!("{}", table(&experiment, &experiment.run(folder)?));
    }
    eprintln!("{:.1} s", since.elapsed().as_secs_f64());
    Ok(())
}
