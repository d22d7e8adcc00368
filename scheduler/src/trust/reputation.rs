//! What one peer has earned: a Beta-Bernoulli estimate whose evidence fades (Jøsang & Ismail, The Beta Reputation System,
//! 2002), and how closely its work is looked at (the rule of BOINC's adaptive replication: ever less often, never not at all).

use serde::{Deserialize, Serialize};

/// What is believed of a peer that nothing is known of: one good result in so many. Identities cost nothing, so it is little.
const PRIOR_GOOD: f64 = 1.0;
/// See [`PRIOR_GOOD`].
const PRIOR_BAD: f64 = 9.0;
/// Evidence counts half after this long, ms.
const HALF_LIFE_MS: f64 = 30.0 * DAY_MS;
/// Valid results after which a peer is no newcomer any more.
const PROBATION: u32 = 10;
/// A peer that has shown itself is looked at closely at least this often.
const MIN_CLOSE_LOOKS: f64 = 0.05;
/// Pixels of a tile that are rendered anew when it is looked at closely.
const CLOSE_PROBES: u64 = 64;
/// The same otherwise: a tile of which a third is wrong passes once in 600.
const USUAL_PROBES: u64 = 16;
/// Of small tiles no more than this share, so that checking stays far below 2 % of the work.
const MAX_PROBED_SHARE: f64 = 0.01;
/// But as many as this of any tile.
const MIN_PROBES: u64 = 4;
/// A forger is left alone this long at first, and twice as long each time again, ms.
const FIRST_BAN_MS: f64 = 7.0 * DAY_MS;
/// No ban is longer, ms.
const MAX_BAN_MS: f64 = 365.0 * DAY_MS;
const DAY_MS: f64 = 24.0 * 3600.0 * 1000.0;

/// Bytes of a stored record.
const BYTES: usize = 32;

/// How a peer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Too little of its work was seen.
    Newcomer,
    /// It has delivered what it should for a while.
    Proven,
    /// It has forged, and is not to be worked with for now.
    Banned,
}

/// What is known of one peer's honesty. Times are this node's wall clock, ms since 1970: a clock that is set back stops the
/// fading until it has caught up, and does nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Reputation {
    /// Valid results, faded, at `seen_ms`.
    good: f64,
    /// Valid results since it last forged.
    valid: u32,
    /// Times that it was found to forge.
    forgeries: u32,
    /// When `good` was last reckoned.
    seen_ms: u64,
    /// It is banned until then.
    banned_until_ms: u64,
}

impl Reputation {
    /// A result was checked and found right.
    pub fn note_valid(&mut self, now_ms: u64) {
        self.good = self.good_at(now_ms) + 1.0;
        self.seen_ms = self.seen_ms.max(now_ms);
        self.valid = self.valid.saturating_add(1);
    }

    /// It forged a result, and that is certain. What it had earned is gone.
    pub fn note_forgery(&mut self, now_ms: u64) {
        self.forgeries = self.forgeries.saturating_add(1);
        (self.good, self.valid) = (0.0, 0);
        self.seen_ms = self.seen_ms.max(now_ms);
        let doublings = (self.forgeries - 1).min(16);
        let ban_ms = (FIRST_BAN_MS * f64::from(1_u32 << doublings)).min(MAX_BAN_MS);
        self.banned_until_ms = self.banned_until_ms.max(now_ms.saturating_add(ban_ms as u64));
    }

    /// How it stands.
    pub fn standing(&self, now_ms: u64) -> Standing {
        if now_ms < self.banned_until_ms {
            Standing::Banned
        } else if self.valid < PROBATION {
            Standing::Newcomer
        } else {
            Standing::Proven
        }
    }

    /// How far it is believed, above 0 and below 1. A fresh identity is never believed more than one with a record: else a
    /// new name would be worth having.
    pub fn trust(&self, now_ms: u64) -> f64 {
        let good = self.good_at(now_ms) + PRIOR_GOOD;
        good / (good + PRIOR_BAD)
    }

    /// Pixels of a tile of so many that are to be rendered anew; `draw` is random, from 0 to 1, and its owner's secret.
    pub fn probes(&self, pixels: u64, draw: f64) -> u64 {
        let close_looks = (f64::from(PROBATION) / f64::from(self.valid.max(1))).max(MIN_CLOSE_LOOKS);
        let wanted = if draw < close_looks { CLOSE_PROBES } else { USUAL_PROBES };
        let share = (pixels as f64 * MAX_PROBED_SHARE) as u64;
        wanted.min(share).max(MIN_PROBES).min(pixels)
    }

    /// As it is stored.
    pub(super) fn to_bytes(self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&self.good.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.valid.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.forgeries.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.seen_ms.to_le_bytes());
        bytes[24..].copy_from_slice(&self.banned_until_ms.to_le_bytes());
        bytes
    }

    /// From what was stored; `None` if it cannot have been this.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (good, rest) = bytes.split_first_chunk::<8>()?;
        let (valid, rest) = rest.split_first_chunk::<4>()?;
        let (forgeries, rest) = rest.split_first_chunk::<4>()?;
        let (seen_ms, rest) = rest.split_first_chunk::<8>()?;
        let banned_until_ms: &[u8; 8] = rest.try_into().ok()?;
        let reputation = Self {
            good: f64::from_le_bytes(*good),
            valid: u32::from_le_bytes(*valid),
            forgeries: u32::from_le_bytes(*forgeries),
            seen_ms: u64::from_le_bytes(*seen_ms),
            banned_until_ms: u64::from_le_bytes(*banned_until_ms),
        };
        (reputation.good.is_finite() && reputation.good >= 0.0).then_some(reputation)
    }

    fn good_at(&self, now_ms: u64) -> f64 {
        let elapsed_ms = now_ms.saturating_sub(self.seen_ms) as f64;
        self.good * (-elapsed_ms / HALF_LIFE_MS).exp2()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn proven() -> Reputation {
        let mut peer = Reputation::default();
        (0..1000).for_each(|_| peer.note_valid(NOW));
        peer
    }

    #[test]
    fn trust_is_earned_fades_and_is_lost_at_once() {
        let (fresh, mut peer) = (Reputation::default(), proven());
        assert_eq!((fresh.standing(NOW), peer.standing(NOW)), (Standing::Newcomer, Standing::Proven));
        assert!(peer.trust(NOW) > 0.98 && fresh.trust(NOW) < 0.11);
        let years_later = NOW + 365 * DAY_MS as u64;
        assert!(peer.trust(years_later) < peer.trust(NOW) / 4.0, "{}", peer.trust(years_later));
        peer.note_forgery(NOW);
        assert_eq!(peer.standing(NOW), Standing::Banned);
        let after = NOW + FIRST_BAN_MS as u64;
        assert_eq!((peer.standing(after - 1), peer.standing(after)), (Standing::Banned, Standing::Newcomer));
        peer.note_forgery(after);
        assert_eq!(
            peer.standing(after + FIRST_BAN_MS as u64),
            Standing::Banned,
            "twice as long the second time"
        );
    }

    #[test]
    fn b12_even_who_has_served_long_is_looked_at_closely_now_and_then() {
        let peer = proven();
        assert_eq!(peer.probes(100_000, MIN_CLOSE_LOOKS / 2.0), CLOSE_PROBES);
        assert_eq!(peer.probes(100_000, 0.5), USUAL_PROBES);
        assert_eq!(Reputation::default().probes(100_000, 0.999), CLOSE_PROBES);
        assert_eq!(Reputation::default().probes(3, 0.5), 3, "no more than there are");
        assert_eq!(Reputation::default().probes(256, 0.5), MIN_PROBES);
    }

    proptest! {
        #[test]
        fn b21_a_fresh_identity_never_outranks_one_with_a_record(
            deeds in prop::collection::vec((any::<bool>(), 0_u64..1 << 36), 0..50), later in any::<u64>(),
        ) {
            let (mut peer, mut now) = (Reputation::default(), NOW);
            for (valid, wait) in deeds {
                now += wait;
                if valid { peer.note_valid(now) } else { peer.note_forgery(now) }
                prop_assert_eq!(Reputation::from_bytes(&peer.to_bytes()), Some(peer));
            }
            for at in [now, NOW, now.saturating_add(later), 0] {
                prop_assert!(peer.trust(at) >= Reputation::default().trust(at));
                prop_assert!(peer.trust(at) < 1.0);
            }
        }

        #[test]
        fn checking_stays_below_two_percent_of_any_tile_worth_a_message(
            pixels in 256_u64..1 << 40, valid in any::<u32>(), draw in 0.0_f64..1.0,
        ) {
            let probes = Reputation { valid, ..Reputation::default() }.probes(pixels, draw);
            prop_assert!(probes >= MIN_PROBES && probes * 50 <= pixels);
        }
    }
}
