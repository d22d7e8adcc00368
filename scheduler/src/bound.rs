//! The bound that the hardware sets: no noise, no failures, work divisible at will (DESIGN.md section 7).

/// A peer as the bound sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Capacity {
    /// Work per ms.
    pub speed: f64,
    /// Time before its first result can be there, ms.
    pub overhead_ms: f64,
}

/// The smallest T with Σ speed · max(0, T − overhead) ≥ work: water-filling. `None` when nobody has any speed.
pub fn smallest_time_ms(capacities: &[Capacity], work: f64) -> Option<f64> {
    let mut by_overhead: Vec<Capacity> = capacities
        .iter()
        .copied()
        .filter(|capacity| capacity.speed > 0.0 && capacity.speed.is_finite())
        .collect();
    by_overhead.sort_by(|a, b| a.overhead_ms.total_cmp(&b.overhead_ms));
    // With the first k peers: T = (work + Σ speed · overhead) / Σ speed, valid while the next has a larger overhead.
    let (mut speed, mut debt) = (0.0, work);
    let mut best: Option<f64> = None;
    for capacity in by_overhead {
        if best.is_some_and(|time_ms| time_ms <= capacity.overhead_ms) {
            break;
        }
        speed += capacity.speed;
        debt += capacity.speed * capacity.overhead_ms;
        best = Some(debt / speed);
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(speed: f64, overhead_ms: f64) -> Capacity {
        Capacity { speed, overhead_ms }
    }

    #[test]
    fn equal_peers_share_the_work() {
        assert_eq!(smallest_time_ms(&[peer(1.0, 0.0); 4], 100.0), Some(25.0));
        assert_eq!(smallest_time_ms(&[peer(2.0, 10.0)], 100.0), Some(60.0));
    }

    #[test]
    fn a_peer_too_far_away_is_left_out() {
        let near = smallest_time_ms(&[peer(1.0, 0.0)], 10.0);
        assert_eq!(smallest_time_ms(&[peer(1.0, 0.0), peer(100.0, 50.0)], 10.0), near);
    }

    #[test]
    fn nobody_or_nothing() {
        assert_eq!(smallest_time_ms(&[], 1.0), None);
        assert_eq!(smallest_time_ms(&[peer(0.0, 1.0), peer(f64::NAN, 1.0)], 1.0), None);
        assert_eq!(smallest_time_ms(&[peer(1.0, 3.0)], 0.0), Some(3.0));
    }
}
