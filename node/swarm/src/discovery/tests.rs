//! The plan against a clock of the test's own.

use super::*;

fn address(port: u16) -> Multiaddr {
    format!("/ip4/192.0.2.1/tcp/{port}").parse().unwrap()
}

fn plan(target_peers: usize) -> (Discovery, Instant) {
    let now = Instant::now();
    (Discovery::new(PeerId::random(), target_peers, now), now)
}

#[test]
fn a_seed_is_dialled_at_once_and_for_ever_with_growing_waits() {
    let (mut plan, mut now) = plan(16);
    let seed = PeerId::random();
    plan.add_seed(seed, vec![address(1)], now);
    let mut waits = Vec::new();
    for _ in 0..20 {
        assert_eq!(plan.dials(0, now).len(), 1);
        plan.dial_failed(seed, now);
        let next = plan.candidates[&seed].next_dial;
        waits.push(next - now);
        now = next;
    }
    assert!(waits[0] <= FIRST_RETRY && waits[3] > FIRST_RETRY);
    assert!(waits.iter().all(|wait| *wait <= MAX_RETRY_ALONE), "{waits:?}");
}

#[test]
fn f12_remembered_peers_are_tried_for_as_long_as_the_node_is_alone() {
    let (mut plan, mut now) = plan(16);
    let (gone, other) = (PeerId::random(), PeerId::random());
    plan.remember(gone, vec![address(1)], now);
    let fail = |plan: &mut Discovery, now: &mut Instant| {
        assert_eq!(plan.dials(0, *now).len(), 1);
        plan.dial_failed(gone, *now);
        *now += MAX_RETRY;
    };
    for _ in 0..3 * MAX_DIAL_ATTEMPTS {
        fail(&mut plan, &mut now);
    }
    plan.connected(other, Some(address(1)), now);
    fail(&mut plan, &mut now);
    assert_eq!(plan.dials(0, now), [], "others are there");
}

#[test]
fn f05_a_lost_neighbour_is_dialled_every_few_seconds_at_first_and_forgotten_in_the_end() {
    let (mut plan, start) = plan(16);
    let (lost, other) = (PeerId::random(), PeerId::random());
    plan.learn(lost, vec![address(1)], start);
    plan.connected(lost, Some(address(1)), start);
    plan.connected(other, Some(address(1)), start);
    plan.disconnected(lost, start);
    let (mut now, mut longest) = (start + YIELD, Duration::ZERO);
    while now < start + RECENT_LOSS {
        assert_eq!(plan.dials(0, now).len(), 1);
        plan.dial_failed(lost, now);
        let next = plan.candidates[&lost].next_dial;
        longest = longest.max(next - now);
        now = next;
    }
    assert!(longest <= MAX_RETRY_LOST, "{longest:?}");
    while !plan.addresses(&lost).is_empty() {
        now += MAX_RETRY;
        plan.dials(0, now);
        plan.dial_failed(lost, now);
        assert!(now < start + 2 * FORGET_LOST);
    }
    assert!(now >= start + FORGET_LOST);
}

#[test]
fn a_dial_to_a_lost_neighbour_is_begun_anew_when_it_takes_long_but_not_always() {
    let (mut plan, start) = plan(16);
    let lost = PeerId::random();
    plan.learn(lost, vec![address(1)], start);
    assert_eq!(plan.dials(0, start + YIELD).len(), 1);
    assert_eq!(plan.overdue(start + YIELD + LOST_DIAL_PATIENCE), [], "it was never a neighbour");
    plan.connected(lost, Some(address(1)), start);
    plan.disconnected(lost, start);
    let mut now = start + YIELD;
    let mut overdue = Vec::new();
    for _ in 0..2 * PATIENT_DIAL {
        assert_eq!(plan.dials(0, now).len(), 1);
        assert_eq!(plan.overdue(now + LOST_DIAL_PATIENCE / 2), []);
        overdue.push(plan.overdue(now + LOST_DIAL_PATIENCE) == [lost]);
        plan.dial_failed(lost, now);
        now = plan.candidates[&lost].next_dial;
    }
    assert_eq!(overdue, [true, true, true, true, false, true, true, true, true, false]);
    plan.note_round_trip(&lost, LOST_DIAL_PATIENCE);
    plan.dials(0, now);
    assert_eq!(plan.overdue(now + LOST_DIAL_PATIENCE), [], "it is far away");
    assert_eq!(plan.overdue(now + LOST_DIAL_PATIENCE * LOST_DIAL_ROUND_TRIPS), [lost]);
    plan.dials(0, now);
    plan.connected(lost, None, now);
    assert_eq!(plan.overdue(now + LOST_DIAL_PATIENCE), []);
}

#[test]
fn b21_neighbours_that_come_and_go_do_not_fill_the_plan() {
    let (mut plan, now) = plan(16);
    for port in 0..2 * MAX_LOST_NEIGHBOURS as u16 {
        let peer = PeerId::random();
        plan.learn(peer, vec![address(port)], now);
        plan.connected(peer, Some(address(1)), now);
        plan.disconnected(peer, now + Duration::from_millis(u64::from(port)));
    }
    let lost = plan.candidates.values().filter(|candidate| candidate.lost.is_some());
    assert_eq!(lost.count(), MAX_LOST_NEIGHBOURS);
}

#[test]
fn a_relay_does_not_dial_through_itself() {
    let (mut plan, now) = plan(16);
    let through_us = format!("/ip4/192.0.2.1/tcp/1/p2p/{}/p2p-circuit", plan.own).parse().unwrap();
    plan.learn(PeerId::random(), vec![through_us], now);
    assert_eq!(plan.candidates.len(), 0);
}

#[test]
fn a_small_swarm_is_meshed_and_a_large_one_is_not() {
    let (mut plan, now) = plan(4);
    for port in 1..=10 {
        plan.learn(PeerId::random(), vec![address(port)], now);
    }
    let later = now + YIELD;
    let dials = plan.dials(0, later);
    assert_eq!(dials.len(), 4);
    for dial in dials {
        plan.connected(dial.peer, Some(address(1)), later);
    }
    assert_eq!(plan.dials(0, later + MAX_RETRY), []);
    assert_eq!(plan.dials(99, later + MAX_RETRY), []);
    let lost = *plan.connected.first().unwrap();
    plan.disconnected(lost, later);
    assert_eq!(plan.dials(0, later + MAX_RETRY).len(), 1);
}

#[test]
fn one_of_two_yields() {
    let now = Instant::now();
    let (a, b) = (PeerId::random(), PeerId::random());
    let dials_at_once = |own, other| {
        let mut plan = Discovery::new(own, 16, now);
        plan.learn(other, vec![address(1)], now);
        !plan.dials(0, now).is_empty()
    };
    assert_ne!(dials_at_once(a, b), dials_at_once(b, a));
}

#[test]
fn b21_what_peers_name_is_bounded_and_forgotten() {
    let (mut plan, mut now) = plan(16);
    for port in 0..=MAX_KNOWN_PEERS as u16 {
        plan.learn(PeerId::random(), vec![address(port)], now);
    }
    assert_eq!(plan.candidates.len(), MAX_KNOWN_PEERS);
    let peer = *plan.candidates.keys().next().unwrap();
    for port in 0..20 {
        plan.learn(peer, vec![address(port)], now);
    }
    assert_eq!(plan.addresses(&peer).len(), MAX_ADDRESSES_PER_PEER);
    plan.candidates.retain(|candidate, _| *candidate == peer);
    now += YIELD;
    for _ in 0..MAX_DIAL_ATTEMPTS {
        assert_eq!(plan.dials(0, now).len(), 1);
        plan.dial_failed(peer, now);
        now += MAX_RETRY;
    }
    assert_eq!(plan.addresses(&peer).len(), 0, "nobody answers there");
}

#[test]
fn looking_calms_down_and_wakes_up() {
    let (mut plan, mut now) = plan(16);
    assert_eq!(plan.look(now), None, "nobody to ask");
    let peer = PeerId::random();
    plan.learn(peer, vec![address(1)], now);
    plan.connected(peer, Some(address(1)), now);
    now += FIRST_RETRY;
    let mut looks = Vec::new();
    for _ in 0..QUIET_LOOKS + 2 {
        assert_eq!(plan.look(now), Some(plan.own));
        looks.push(plan.next_look - now);
        now = plan.next_look;
    }
    assert_eq!((looks[0], *looks.last().unwrap()), (EAGER_LOOK, LAZY_LOOK));
    let stranger = PeerId::random();
    assert!(plan.look(now).is_some());
    plan.heard_of(stranger, now);
    assert_eq!(plan.look(now + FIRST_RETRY), Some(stranger));
}

#[test]
fn f5_who_was_lost_in_the_middle_of_work_is_dialled_beyond_the_target() {
    let (mut plan, mut now) = plan(1);
    let (missed, other) = (PeerId::random(), PeerId::random());
    for peer in [missed, other] {
        plan.learn(peer, vec![address(1)], now);
        plan.connected(peer, Some(address(1)), now);
    }
    plan.disconnected(missed, now);
    now += YIELD;
    assert_eq!(plan.dials(2, now), [], "there are neighbours enough");
    plan.miss(&missed);
    assert_eq!(plan.dials(2, now).len(), 1);
    plan.connected(missed, None, now);
    plan.disconnected(missed, now);
    assert_eq!(plan.dials(2, now + YIELD), [], "it was back");
}

/// There each look meets new names for long, and makes connections to ask those.
#[test]
fn in_a_crowd_who_has_neighbours_enough_looks_seldom() {
    let (mut plan, mut now) = plan(16);
    plan.dials(100, now);
    for _ in 0..TARGET_PEERS_IN_A_CROWD {
        let peer = PeerId::random();
        plan.learn(peer, vec![address(1)], now);
        plan.connected(peer, Some(address(1)), now);
    }
    let mut waits = Vec::new();
    for _ in 0..QUIET_LOOKS + 2 {
        now = plan.next_look.max(now);
        plan.learn(PeerId::random(), vec![address(2)], now);
        assert!(plan.look(now).is_some());
        waits.push(plan.next_look - now);
    }
    assert_eq!((waits[0], *waits.last().unwrap()), (EAGER_LOOK, LAZY_LOOK_IN_A_CROWD));
}
