//! Which of very many peers a coordinator works with.
//!
//! A frame needs tens of peers, a swarm has thousands: asking all of them would cost more than it brings. Each of four
//! views picks in turn: the nearest, the fastest, those that have served well before, and chance, so that a peer that
//! nothing is known of gets to show itself, and a crowd that lies about its speed takes no more than its share.

use std::{cmp::Ordering, collections::BTreeSet};

use p2c2r_protocol::id::NodeId;

/// A peer that would take work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Applicant {
    /// Who.
    pub peer: NodeId,
    /// Whether there is a connection to it.
    pub connected: bool,
    /// Round trip to it, ms, if it was measured.
    pub round_trip_ms: Option<f32>,
    /// Speed, million rays per second: measured here, or its own word as far as it is believed.
    pub mrays_per_s: f64,
    /// Tasks that it has finished for this node, less those that it failed.
    pub served: f64,
}

/// Chooses at most so many, those first that are connected.
pub fn choose(mut applicants: Vec<Applicant>, places: usize, draws: &mut fastrand::Rng) -> Vec<NodeId> {
    // The same applicants give the same choice, in whatever order they come.
    applicants.sort_by_key(|applicant| applicant.peer);
    if applicants.len() > places {
        applicants = shortlist(&applicants, places, draws);
    }
    applicants.sort_by_key(|applicant| (!applicant.connected, applicant.peer));
    applicants.into_iter().map(|applicant| applicant.peer).collect()
}

fn shortlist(applicants: &[Applicant], places: usize, draws: &mut fastrand::Rng) -> Vec<Applicant> {
    // Among equals chance decides: ids can be ground to come first.
    let mut applicants = applicants.to_vec();
    draws.shuffle(&mut applicants);
    let applicants = &applicants[..];
    let nearness = |applicant: &Applicant| applicant.round_trip_ms.map_or(f64::INFINITY, f64::from);
    let views = [
        sorted(applicants, |a, b| nearness(a).total_cmp(&nearness(b))),
        sorted(applicants, |a, b| b.mrays_per_s.total_cmp(&a.mrays_per_s)),
        sorted(applicants, |a, b| b.served.total_cmp(&a.served)),
        applicants.to_vec(),
    ];
    let mut views = views.map(Vec::into_iter);
    let mut chosen = Vec::with_capacity(places);
    let mut taken = BTreeSet::new();
    for view in (0..views.len()).cycle() {
        if chosen.len() >= places {
            break;
        }
        // There are more applicants than places, so every view has one left.
        let next = views[view].find(|applicant| taken.insert(applicant.peer));
        chosen.extend(next);
    }
    chosen
}

fn sorted(applicants: &[Applicant], order: impl Fn(&Applicant, &Applicant) -> Ordering) -> Vec<Applicant> {
    let mut sorted = applicants.to_vec();
    sorted.sort_by(order);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applicant(index: u8) -> Applicant {
        Applicant {
            peer: NodeId::from_public_key([index; 32]),
            connected: index.is_multiple_of(2),
            round_trip_ms: None,
            mrays_per_s: 1.0,
            served: 0.0,
        }
    }

    fn chosen(applicants: &[Applicant], places: usize) -> BTreeSet<NodeId> {
        choose(applicants.to_vec(), places, &mut fastrand::Rng::with_seed(7)).into_iter().collect()
    }

    #[test]
    fn all_are_chosen_where_there_is_room_those_that_are_connected_first() {
        let peers = choose((0..6).map(applicant).collect(), 6, &mut fastrand::Rng::with_seed(1));
        let connected: Vec<bool> = peers.iter().map(|peer| peer.public_key()[0].is_multiple_of(2)).collect();
        assert_eq!(connected, [true, true, true, false, false, false]);
    }

    #[test]
    fn the_near_the_fast_the_proven_and_some_others_each_get_a_quarter() {
        let mut applicants: Vec<Applicant> = (0..100).map(applicant).collect();
        for index in 0..10 {
            applicants[index].round_trip_ms = Some(1.0 + index as f32);
            applicants[10 + index].mrays_per_s = 100.0 - index as f64;
            applicants[20 + index].served = 50.0 - index as f64;
        }
        let chosen = chosen(&applicants, 40);
        assert_eq!(chosen.len(), 40);
        let of = |range: std::ops::Range<u8>| {
            range.filter(|index| chosen.contains(&applicant(*index).peer)).count()
        };
        assert_eq!((of(0..10), of(10..20), of(20..30)), (10, 10, 10));
        assert_eq!(of(30..100), 10, "of whom nothing is known");
    }

    #[test]
    fn b21_a_crowd_that_claims_to_be_fast_does_not_keep_the_others_out() {
        let mut applicants: Vec<Applicant> = (0..200).map(applicant).collect();
        applicants[8..].iter_mut().for_each(|liar| liar.mrays_per_s = 1e6);
        (0..8).for_each(|index| applicants[index].served = 3.0);
        let chosen = chosen(&applicants, 32);
        assert!((0..8).all(|index| chosen.contains(&applicant(index).peer)));
    }
}
