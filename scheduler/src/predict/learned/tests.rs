use std::sync::Arc;

use super::*;
use crate::{
    history::MemoryStore,
    predict::{
        CancelledFate, OutcomeResult,
        ema::EmaPredictor,
        synthetic::{Noise, done, failed, refit, task, view},
    },
};

const KIND: WorkKind = WorkKind::RayTracing;
const HOUR_MS: f64 = 3_600_000.0;

fn model() -> LearnedPredictor {
    LearnedPredictor::new(Box::new(MemoryStore::default()), 0.0)
}

/// A task of ordinary cost whose execution takes so many ms per million rays, with 10 % noise.
fn ordinary(noise: &mut Noise, peer: PeerView, kind: WorkKind, at_ms: f64, ms_per_mray: f64) -> Outcome {
    let cost = 1e6 * (0.5 * noise.normal()).exp();
    let execution_ms = cost / 1e6 * ms_per_mray * (0.1 * noise.normal()).exp();
    done(peer, kind, task(cost, at_ms), execution_ms)
}

#[test]
fn twice_as_fast_at_one_kind() {
    let (mut model, mut noise) = (model(), Noise::new(1));
    for step in 0..80 {
        let at_ms = f64::from(step) * 500.0;
        model.observe(&ordinary(&mut noise, view(1), WorkKind::RayTracing, at_ms, 50.0));
        model.observe(&ordinary(&mut noise, view(1), WorkKind::Ai, at_ms, 100.0));
    }
    let time = |kind| model.predict(&view(1), kind, &task(1e6, 50_000.0)).execution_ms;
    let ratio = time(WorkKind::Ai) / time(WorkKind::RayTracing);
    assert!((1.85..2.15).contains(&ratio), "{ratio}");
}

#[test]
fn a_network_that_is_slow_from_20_to_21_h_is_expected_at_20_h() {
    let (mut model, mut noise) = (model(), Noise::new(2));
    let at_hour = |day: u32, hour: f64| (f64::from(day) * 24.0 + hour) * HOUR_MS;
    let outcome = |noise: &mut Noise, day, hour: f64| {
        let mut outcome = ordinary(noise, view(1), KIND, at_hour(day, hour), 60.0);
        if (20.0..21.0).contains(&hour) {
            outcome.total_ms += 60.0 + 10.0 * noise.uniform();
        }
        outcome
    };
    // Ten tasks an hour for eight days: the ping does not show the slowness, only the results do.
    for step in 0..8 * 240 {
        let outcome = outcome(&mut noise, step / 240, f64::from(step % 240) / 10.0);
        model.observe(&outcome);
        refit(&mut model);
    }
    assert!(model.report(&view(1).peer).unwrap().trees_speak);
    let total = |hour| model.predict(&view(1), KIND, &task(1e6, at_hour(8, hour))).total_ms();
    let (slow, usual) = (total(20.3), total(12.3));
    println!("expected at 20.3 h {slow:.1} ms, at 12.3 h {usual:.1} ms");
    assert!(slow > usual * 1.35, "{slow} {usual}");
    assert!((60.0..95.0).contains(&usual), "{usual}");
}

#[test]
fn one_in_five_fails_above_95_percent_utilisation() {
    let (mut model, mut noise) = (model(), Noise::new(3));
    for step in 0..2_400 {
        let mut peer = view(1 + (step % 4) as u8);
        peer.telemetry.utilisation = noise.uniform() as f32;
        if noise.uniform() < 0.3 {
            peer.telemetry.utilisation = 0.95 + 0.05 * noise.uniform() as f32;
        }
        let p = if peer.telemetry.utilisation > 0.95 { 0.2 } else { 0.02 };
        let outcome = ordinary(&mut noise, peer, KIND, f64::from(step) * 100.0, 50.0);
        let fails = noise.uniform() < p;
        model.observe(&if fails { failed(peer, KIND, outcome.features) } else { outcome });
        refit(&mut model);
    }
    let risk = |utilisation| {
        let mut peer = view(1);
        peer.telemetry.utilisation = utilisation;
        model.predict(&peer, KIND, &task(1e6, 250_000.0)).failure_risk
    };
    let (busy, usual) = (risk(0.98), risk(0.6));
    println!("risk at 98 % utilisation {busy:.3}, at 60 % {usual:.3}");
    assert!((0.12..0.26).contains(&busy), "{busy}");
    assert!(usual < 0.06, "{usual}");
}

#[test]
fn a_peer_that_slows_down_from_four_tasks_on() {
    let (mut model, mut noise) = (model(), Noise::new(4));
    for step in 0..300 {
        let in_flight = (noise.uniform() * 8.0) as u32;
        let slower = 1.0 + 0.25 * f64::from(in_flight.saturating_sub(3));
        let mut outcome = ordinary(&mut noise, view(1), KIND, f64::from(step) * 300.0, 50.0 * slower);
        outcome.features.in_flight = in_flight;
        model.observe(&outcome);
    }
    let time = |in_flight| {
        let features = TaskFeatures { in_flight, ..task(1e6, 100_000.0) };
        model.predict(&view(1), KIND, &features).execution_ms
    };
    let (one, three, seven) = (time(1), time(3), time(7));
    println!("execution with 1, 3, 7 in flight: {one:.1}, {three:.1}, {seven:.1} ms");
    assert!((0.88..1.15).contains(&(three / one)), "{one} {three}");
    assert!((1.75..2.25).contains(&(seven / one)), "{one} {seven}");
}

#[test]
fn f21_an_abrupt_change_of_speed_is_learned_within_eight_outcomes() {
    for (seed, factor) in (1..=20).zip([0.5, 2.0, 0.33, 3.0].into_iter().cycle()) {
        let (mut model, mut noise) = (model(), Noise::new(seed));
        for step in 0..300 {
            model.observe(&ordinary(&mut noise, view(1), KIND, f64::from(step) * 300.0, 60.0));
            refit(&mut model);
        }
        for step in 300..308 {
            model.observe(&ordinary(&mut noise, view(1), KIND, f64::from(step) * 300.0, 60.0 * factor));
            refit(&mut model);
        }
        let time_ms = model.predict(&view(1), KIND, &task(1e6, 93_000.0)).execution_ms;
        let off = time_ms / (60.0 * factor);
        assert!((0.83..1.2).contains(&off), "seed {seed}: {off} of the truth");
    }
}

#[test]
fn b14_a_liar_about_its_speed_is_found_out_by_its_results() {
    let (mut model, mut noise) = (model(), Noise::new(6));
    let peer = |index: u8, mrays_per_s| PeerView { mrays_per_s, ..view(index) };
    for step in 0..60 {
        for index in 1..=4 {
            model.observe(&ordinary(&mut noise, peer(index, 20.0), KIND, f64::from(step) * 300.0, 50.0));
        }
    }
    // It says ten times what it is.
    let liar = peer(9, 200.0);
    let time = |model: &LearnedPredictor| model.predict(&liar, KIND, &task(1e6, 2e4)).execution_ms;
    assert!(time(&model) < 10.0);
    for step in 0..6 {
        model.observe(&ordinary(&mut noise, liar, KIND, 2e4 + f64::from(step) * 300.0, 50.0));
    }
    assert!((35.0..60.0).contains(&time(&model)), "{}", time(&model));
}

#[test]
fn b14_lying_about_execution_hides_little() {
    let (mut model, mut noise) = (model(), Noise::new(7));
    for step in 0..60 {
        let mut outcome = ordinary(&mut noise, view(1), KIND, f64::from(step) * 900.0, 500.0);
        // All of it was the network, it says; or the queue.
        let queue_ms = if step % 2 == 0 { outcome.total_ms } else { 0.0 };
        outcome.result = OutcomeResult::Success { queue_ms, execution_ms: 1.0 };
        model.observe(&outcome);
    }
    let time_ms = model.predict(&view(1), KIND, &task(1e6, 60_000.0)).execution_ms;
    assert!(time_ms > 250.0, "{time_ms}");
}

#[test]
fn newcomers_start_from_what_others_taught() {
    let (mut model, mut noise) = (model(), Noise::new(8));
    // Announced speeds are worth half at artificial intelligence, with everybody.
    for step in 0..60 {
        for index in 1..=4_u8 {
            let peer = PeerView { mrays_per_s: 10.0 * f32::from(index), ..view(index) };
            let honest = 100.0 / f64::from(index);
            model.observe(&ordinary(&mut noise, peer, WorkKind::Ai, f64::from(step) * 300.0, honest * 2.0));
        }
    }
    let newcomer = PeerView { mrays_per_s: 25.0, ..view(9) };
    let predicted = model.predict(&newcomer, WorkKind::Ai, &task(1e6, 2e4));
    assert!((60.0..105.0).contains(&predicted.execution_ms), "{}", predicted.execution_ms);
    assert_eq!(predicted.outcomes, 0);
    // It is sure of less than with those that it knows.
    let known = model.predict(&PeerView { mrays_per_s: 20.0, ..view(2) }, WorkKind::Ai, &task(1e6, 2e4));
    assert!(predicted.high_factor > known.high_factor);
    assert_eq!(model.speed(&newcomer.peer, WorkKind::Ai), None);
}

#[test]
fn b36_absurd_outcomes_neither_spoil_the_model_nor_make_nonsense() {
    let (mut model, mut noise) = (model(), Noise::new(9));
    for step in 0..50 {
        model.observe(&ordinary(&mut noise, view(1), KIND, f64::from(step) * 300.0, 100.0));
    }
    let absurd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0, 1e30, 1e-30];
    for wild in absurd {
        let good = ordinary(&mut noise, view(1), KIND, 2e4, 100.0);
        model.observe(&Outcome { total_ms: wild, ..good });
        model.observe(&Outcome { features: TaskFeatures { cost: wild, ..good.features }, ..good });
        model.observe(&Outcome {
            result: OutcomeResult::Success { queue_ms: wild, execution_ms: 100.0 },
            ..good
        });
        let result = OutcomeResult::Success { queue_ms: 0.0, execution_ms: wild };
        model.observe(&Outcome { result, ..good });
        model.observe(&Outcome { features: task(1e6, wild), ..good });
    }
    let time_ms = model.predict(&view(1), KIND, &task(1e6, 3e4)).execution_ms;
    assert!((80.0..125.0).contains(&time_ms), "{time_ms}");
}

#[test]
fn b36_alternating_speeds_widen_the_interval_of_that_peer_alone() {
    let (mut model, mut noise) = (model(), Noise::new(10));
    for step in 0..200 {
        let at_ms = f64::from(step) * 300.0;
        let turns = if step % 2 == 0 { 30.0 } else { 120.0 };
        model.observe(&ordinary(&mut noise, view(1), KIND, at_ms, turns));
        model.observe(&ordinary(&mut noise, view(2), KIND, at_ms, 60.0));
    }
    let of = |index| model.predict(&view(index), KIND, &task(1e6, 7e4));
    let (turns, steady) = (of(1), of(2));
    assert!(turns.high_factor > 1.5 * steady.high_factor, "{turns:?} {steady:?}");
    assert!((54.0..66.0).contains(&steady.execution_ms), "{steady:?}");
}

#[test]
fn what_was_given_up_or_failed_does_not_make_a_peer_faster() {
    let (mut model, mut noise) = (model(), Noise::new(11));
    for step in 0..50 {
        model.observe(&ordinary(&mut noise, view(1), KIND, f64::from(step) * 300.0, 100.0));
    }
    let time = |model: &LearnedPredictor| model.predict(&view(1), KIND, &task(1e6, 3e4)).execution_ms;
    let (before, risk) = (time(&model), model.speed(&view(1).peer, KIND).unwrap().failure_risk);
    let end =
        |total_ms, result| Outcome { peer: view(1), kind: KIND, features: task(1e6, 2e4), total_ms, result };
    model.observe(&end(5.0, OutcomeResult::Failed));
    model.observe(&end(5.0, OutcomeResult::GivenUp));
    model.observe(&end(5.0, OutcomeResult::Cancelled { fate: CancelledFate::Unfinished }));
    model.observe(&end(5.0, OutcomeResult::Cancelled { fate: CancelledFate::Finished }));
    assert!((time(&model) - before).abs() < 1e-9);
    assert!(model.speed(&view(1).peer, KIND).unwrap().failure_risk > risk);
    // What was withdrawn because it was late says that it takes that long at least.
    for _ in 0..5 {
        model.observe(&end(2000.0, OutcomeResult::Cancelled { fate: CancelledFate::Unfinished }));
    }
    assert!(time(&model) > before * 1.2);
}

#[test]
fn a_backlog_that_does_not_hold_up_is_learned() {
    let (mut model, mut noise) = (model(), Noise::new(12));
    for step in 0..150 {
        let mut outcome = ordinary(&mut noise, view(1), KIND, f64::from(step) * 300.0, 50.0);
        // The caller expects a queue, but the peer works on several tasks at once.
        outcome.features.backlog_ms = 100.0 * noise.uniform();
        model.observe(&outcome);
    }
    let features = TaskFeatures { backlog_ms: 100.0, ..task(1e6, 5e4) };
    let predicted = model.predict(&view(1), KIND, &features);
    assert!(predicted.wait_ms < 25.0, "{predicted:?}");
}

/// A mixed world: loads, kinds, drift, stragglers, failures.
fn mixed(noise: &mut Noise, step: u32) -> Outcome {
    let index = 1 + (noise.uniform() * 5.0) as u8;
    let kind = if noise.uniform() < 0.7 { KIND } else { WorkKind::Ai };
    let mut peer = PeerView { mrays_per_s: 10.0, ..view(index) };
    peer.telemetry.utilisation = noise.uniform() as f32;
    peer.jitter_ms = 3.0;
    let in_flight = (noise.uniform() * 5.0) as u32;
    let drift = if step / 1500 % 2 == u32::from(index == 2) { 1.0 } else { 1.6 };
    let load = 1.0 + 0.5 * f64::from(peer.telemetry.utilisation).powi(3) + 0.1 * f64::from(in_flight);
    let late = if noise.uniform() < 0.03 { 1.0 + 2.0 * noise.uniform() } else { 1.0 };
    let speed = 40.0 + 10.0 * f64::from(index) + if kind == KIND { 0.0 } else { 40.0 };
    let mut outcome = ordinary(noise, peer, kind, f64::from(step) * 200.0, speed * load * drift * late);
    outcome.features.in_flight = in_flight;
    outcome.total_ms += 3.0 * noise.normal().abs();
    if noise.uniform() < 0.04 { failed(peer, kind, outcome.features) } else { outcome }
}

#[test]
fn intervals_cover_95_percent_of_a_world_that_drifts() {
    let (mut model, mut noise) = (model(), Noise::new(13));
    let mut inside: BTreeMap<NodeId, Vec<bool>> = BTreeMap::new();
    let (mut ours, mut theirs, mut count) = (0.0, 0.0, 0.0);
    let mut ema = EmaPredictor::new(Box::new(MemoryStore::default()));
    for step in 0..6_000 {
        let outcome = mixed(&mut noise, step);
        if step >= 300 && matches!(outcome.result, OutcomeResult::Success { .. }) {
            let predicted = model.predict(&outcome.peer, outcome.kind, &outcome.features);
            let ratio = outcome.total_ms / predicted.total_ms();
            let covered = (predicted.low_factor..=predicted.high_factor).contains(&ratio);
            inside.entry(outcome.peer.peer).or_default().push(covered);
            let other = ema.predict(&outcome.peer, outcome.kind, &outcome.features).total_ms();
            ours += ratio.ln().abs();
            theirs += (outcome.total_ms / other).ln().abs();
            count += 1.0;
        }
        model.observe(&outcome);
        ema.observe(&outcome);
        refit(&mut model);
    }
    let share =
        |window: &[bool]| window.iter().filter(|inside| **inside).count() as f64 / window.len() as f64;
    let all: Vec<bool> = inside.values().flatten().copied().collect();
    let mut windows: Vec<f64> =
        inside.values().flat_map(|inside| inside.chunks_exact(50).map(share)).collect();
    windows.sort_by(f64::total_cmp);
    let worst = &windows[..(windows.len() / 20).max(1)];
    let worst = worst.iter().sum::<f64>() / worst.len() as f64;
    let (ours, theirs) = (ours / count, theirs / count);
    println!(
        "coverage {:.3}, worst twentieth {worst:.3}; error of log {ours:.4}, EMA {theirs:.4}",
        share(&all)
    );
    assert!((0.93..=0.97).contains(&share(&all)));
    assert!(worst >= 0.85, "{worst}");
    assert!(ours < 0.8 * theirs);
}

#[test]
fn same_outcomes_same_predictions_bit_for_bit() {
    let run = || {
        let (mut model, mut noise) = (model(), Noise::new(14));
        let mut bits = Vec::new();
        for step in 0..900 {
            let outcome = mixed(&mut noise, step);
            let predicted = model.predict(&outcome.peer, outcome.kind, &outcome.features);
            bits.push((predicted.total_ms().to_bits(), predicted.failure_risk.to_bits()));
            bits.push((predicted.low_factor.to_bits(), predicted.high_factor.to_bits()));
            model.observe(&outcome);
            refit(&mut model);
        }
        bits
    };
    assert!(run() == run());
}

#[test]
fn trees_that_do_not_help_do_not_speak() {
    let (mut model, mut noise) = (model(), Noise::new(15));
    for step in 0..900 {
        model.observe(&ordinary(&mut noise, view(1), KIND, f64::from(step) * 300.0, 60.0));
        refit(&mut model);
    }
    let report = model.report(&view(1).peer).unwrap();
    println!("{report:?}");
    assert!(report.own_trees && report.compared > 500);
    assert!(!report.trees_speak, "{report:?}");
}

#[test]
fn a_fit_that_panics_is_dropped() {
    let mut model = model();
    model.install(Fitted { models: Models::Nothing });
    assert_eq!(model.dropped_fits(), 1);
}

#[test]
fn what_was_learned_survives_a_kill_and_damage_costs_only_its_record() {
    let store = Arc::new(MemoryStore::default());
    let (mut model, mut noise) = (LearnedPredictor::new(Box::new(Arc::clone(&store)), 0.0), Noise::new(16));
    for step in 0..1_500 {
        model.observe(&mixed(&mut noise, step));
        refit(&mut model);
    }
    // Nothing is written at the end: the process is gone.
    let again = LearnedPredictor::new(Box::new(Arc::clone(&store)), 0.0);
    for index in 1..=5 {
        let peer = PeerView { mrays_per_s: 10.0, jitter_ms: 3.0, ..view(index) };
        let of = |model: &LearnedPredictor| model.predict(&peer, KIND, &task(1e6, 300_000.0));
        let (before, after) = (of(&model), of(&again));
        // The few outcomes that are lost may decide whether the trees speak.
        assert!((before.total_ms() / after.total_ms()).ln().abs() < 0.2, "{before:?} {after:?}");
        assert!((before.failure_risk - after.failure_risk).abs() < 0.05);
        let (before, after) =
            (model.report(&view(index).peer).unwrap(), again.report(&view(index).peer).unwrap());
        // The open page of each kind is written every eight outcomes.
        assert!(before.outcomes - after.outcomes <= 14);
        assert_eq!(before.own_trees, after.own_trees);
    }
    // Every record damaged in turn: never a panic, and the others stay.
    for (key, value) in store.scan(b"").unwrap() {
        assert!(value.len() <= 16 << 10, "{} bytes at {key:?}", value.len());
        let mut damaged = value.clone();
        damaged[value.len() / 2] ^= 4;
        store.put(&key, &damaged).unwrap();
        let again = LearnedPredictor::new(Box::new(Arc::clone(&store)), 0.0);
        assert!(again.predict(&view(1), KIND, &task(1e6, 0.0)).total_ms().is_finite());
        assert!(again.peers.len() == 5);
        store.put(&key, &value).unwrap();
    }
}

/// Outcomes are told in the order in which tasks end, which is not that in which they began.
#[test]
fn outcomes_that_no_state_knew_of_are_learned_in_the_order_in_which_they_were_told() {
    let store = Arc::new(MemoryStore::default());
    let (mut model, mut noise) = (LearnedPredictor::new(Box::new(Arc::clone(&store)), 0.0), Noise::new(18));
    for step in 0..8 {
        // The last of the eight began first.
        model.observe(&ordinary(&mut noise, view(1), KIND, 1e6 - f64::from(step) * 500.0, 50.0));
    }
    let mut again = LearnedPredictor::new(Box::new(store), 0.0);
    assert_eq!(again.report(&view(1).peer).unwrap().outcomes, 8);
    assert!(again.take_refit().is_none());
}

#[test]
fn means_of_the_first_version_are_a_prior() {
    let store = Arc::new(MemoryStore::default());
    let mut first = EmaPredictor::new(Box::new(Arc::clone(&store)));
    let mut noise = Noise::new(17);
    for step in 0..40 {
        first.observe(&ordinary(&mut noise, view(1), KIND, f64::from(step), 123.0));
    }
    let model = LearnedPredictor::new(Box::new(store), 0.0);
    let predicted = model.predict(&view(1), KIND, &task(1e6, 0.0));
    assert!((105.0..140.0).contains(&predicted.execution_ms), "{predicted:?}");
    let risk = first.speed(&view(1).peer, KIND).unwrap().failure_risk;
    assert!((predicted.failure_risk - risk).abs() < 1e-9);
}
