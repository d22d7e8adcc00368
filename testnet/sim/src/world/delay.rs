//! How long a message is on its way.

use crate::random::Dice;

/// Bytes of a packet.
const PACKET_BYTES: f64 = 1200.0;
/// A lost packet is noticed and sent again after this many round trips.
const RESEND_ROUND_TRIPS: f64 = 1.25;
/// Rounds of sending again before a link counts as through.
const MAX_ROUNDS: u32 = 12;

/// Time from sending the last byte to hearing it, ms. Half of the round trip with its jitter; lost packets of a reliable
/// stream come a bit more than a round trip later.
pub fn one_way_ms(round_trip_ms: f64, jitter_ms: f64, loss: f64, bytes: f64, dice: &mut Dice) -> f64 {
    let half_ms = round_trip_ms / 2.0;
    // Two ways together have the jitter of the round trip.
    let jitter_ms = jitter_ms * std::f64::consts::FRAC_1_SQRT_2;
    let mut delay_ms = (half_ms + jitter_ms * dice.normal()).max(half_ms / 2.0);
    if loss > 0.0 {
        let mut packets = (bytes / PACKET_BYTES).ceil().max(1.0);
        for _ in 0..MAX_ROUNDS {
            if !dice.happens(1.0 - (1.0 - loss).powf(packets)) {
                break;
            }
            delay_ms += RESEND_ROUND_TRIPS * round_trip_ms.max(1.0);
            packets = (packets * loss).ceil().max(1.0);
        }
    }
    delay_ms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Purpose;

    fn mean(loss: f64, bytes: f64) -> f64 {
        let delay = |index| one_way_ms(40.0, 4.0, loss, bytes, &mut Dice::new(1, Purpose::Delay, &[index]));
        (0..20_000).map(delay).sum::<f64>() / 20_000.0
    }

    #[test]
    fn a_way_takes_half_of_the_round_trip() {
        assert!((mean(0.0, 1e6) - 20.0).abs() < 0.1);
    }

    #[test]
    fn losses_cost_round_trips() {
        // One packet in ten is sent again, one in a hundred twice.
        assert!((mean(0.1, 100.0) - (20.0 + 50.0 / 9.0)).abs() < 0.6, "{}", mean(0.1, 100.0));
        assert!(mean(0.01, 1e6) > mean(0.01, 1e3) + 40.0, "of many packets one is lost almost surely");
    }
}
