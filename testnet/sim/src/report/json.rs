//! Results as JSON.

use serde_json::{Map, Number, Value, json};

use crate::{
    experiment::{Experiment, PolicyResult},
    fault_run::FaultRun,
    metrics::stats::{deviation, mean},
};

/// The form of the results.
const SCHEMA: &str = "p2c2r.sim/1";
/// The form of the results of runs with faults.
const FAULT_SCHEMA: &str = "p2c2r.sim.faults/1";

/// Results of an experiment. With `timing`, wall-clock times are in it, and it is not the same in every run.
pub fn json(experiment: &Experiment, results: &[PolicyResult], timing: bool) -> Value {
    let policies: Vec<Value> = results.iter().map(|result| policy(result, timing)).collect();
    let bounds = results.iter().flat_map(|result| &result.runs).map(|run| run.summary.bound_ms);
    let bounds: Vec<f64> = bounds.take(experiment.seeds as usize).collect();
    json!({
        "schema": SCHEMA,
        "scenario": experiment.scenario.name,
        "first_seed": experiment.scenario.seed,
        "seeds": experiment.seeds,
        "bound_ms": mean(&bounds),
        "policies": policies,
    })
}

fn policy(result: &PolicyResult, timing: bool) -> Value {
    let runs: Vec<Value> = result
        .runs
        .iter()
        .map(|run| {
            let mut value = serde_json::to_value(&run.summary).unwrap_or(Value::Null);
            if let Value::Object(fields) = &mut value {
                fields.insert("seed".into(), run.seed.into());
                fields.insert("events".into(), run.events.into());
                fields.insert("event_hash".into(), format!("{:016x}", run.event_hash).into());
                if timing {
                    fields.insert("planning_ms".into(), json!(run.planning_ms));
                }
            }
            value
        })
        .collect();
    let summaries: Vec<Value> =
        result.runs.iter().filter_map(|run| serde_json::to_value(&run.summary).ok()).collect();
    json!({
        "policy": result.policy.name(),
        "mean": over(&summaries, mean),
        "spread": over(&summaries, deviation),
        "runs": runs,
    })
}

/// A statistic of every number of values that are alike; of a number that some lack, over those that have it.
fn over(values: &[Value], statistic: fn(&[f64]) -> f64) -> Value {
    if let Some(Value::Object(fields)) = values.iter().find(|value| value.is_object()) {
        let each = fields.keys().map(|key| {
            let of_key: Vec<Value> = values.iter().filter_map(|value| value.get(key)).cloned().collect();
            (key.clone(), over(&of_key, statistic))
        });
        return Value::Object(each.collect::<Map<String, Value>>());
    }
    let numbers: Vec<f64> = values.iter().filter_map(Value::as_f64).collect();
    if numbers.is_empty() {
        return Value::Null;
    }
    Number::from_f64(statistic(&numbers)).map_or(Value::Null, Value::Number)
}

/// Results of runs with faults.
pub fn fault_json(scenario: &str, runs: &[FaultRun]) -> Value {
    let runs: Vec<Value> = runs
        .iter()
        .map(|run| {
            json!({
                "seed": run.seed,
                "faults": run.faults,
                "events": run.events,
                "frames": run.frames,
                "event_hash": format!("{:016x}", run.event_hash),
            })
        })
        .collect();
    json!({ "schema": FAULT_SCHEMA, "scenario": scenario, "broken": 0, "runs": runs })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_go_into_nested_values() {
        let values = [json!({"a": 1.0, "b": {"c": 2}, "d": null}), json!({"a": 3.0, "b": {"c": 4}, "d": 5})];
        assert_eq!(over(&values, mean), json!({"a": 2.0, "b": {"c": 3.0}, "d": 5.0}));
    }
}
