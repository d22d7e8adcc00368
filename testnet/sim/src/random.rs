//! Randomness that is a function of what it is for.
//!
//! Every number is a hash of a seed, a purpose and a few indices, never the next of one common stream: what one policy
//! does cannot shift what another one meets ("common random numbers").

/// What a number is drawn for. Each purpose has numbers of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// The owner's own use of a peer.
    Background = 1,
    /// Small movements of a peer's utilisation.
    Wiggle,
    /// How long a task takes beyond what its cost says.
    Noise,
    /// Whether and how a task fails.
    Failure,
    /// Delay of a message.
    Delay,
    /// Error of a frame's estimated cost.
    FrameCost,
    /// Error of a tile's estimated cost.
    TileCost,
    /// Kind of work of a frame.
    Kind,
    /// Whether a result is forged, and whether that shows.
    Cheat,
    /// Phase of heartbeats.
    Heartbeat,
    /// Choices of a policy.
    Policy,
    /// Faults to inject.
    Fault,
    /// The pattern of a cost map.
    Pattern,
}

/// Numbers for one purpose and one occasion.
#[derive(Debug, Clone)]
pub struct Dice {
    state: u64,
}

/// The finaliser of `SplitMix64` (Steele, Lea, Flood 2014).
const fn scrambled(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Distance between two states of `SplitMix64`.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Dice {
    /// The numbers of an occasion.
    pub fn new(seed: u64, purpose: Purpose, occasion: &[u64]) -> Self {
        let mut state = scrambled(seed.wrapping_add(GOLDEN)) ^ (purpose as u64).wrapping_mul(GOLDEN);
        for word in occasion {
            state = scrambled(state.wrapping_add(GOLDEN) ^ scrambled(word.wrapping_add(GOLDEN)));
        }
        Self { state }
    }

    /// Any number.
    pub fn word(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        scrambled(self.state)
    }

    /// Evenly from 0 up to, but not including, 1.
    pub fn uniform(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Evenly from a range.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// An index below `count`; 0 when there is none.
    pub fn below(&mut self, count: usize) -> usize {
        ((self.uniform() * count as f64) as usize).min(count.saturating_sub(1))
    }

    /// Whether something of this probability happens.
    pub fn happens(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// From the standard normal distribution (Box and Muller 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// From the exponential distribution of this mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.uniform()).ln()
    }

    /// From the lognormal distribution of median 1.
    pub fn lognormal(&mut self, sigma: f64) -> f64 {
        (sigma * self.normal()).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn many(draw: impl Fn(&mut Dice) -> f64) -> (f64, f64) {
        let values: Vec<f64> =
            (0..20_000).map(|index| draw(&mut Dice::new(7, Purpose::Noise, &[index, 3]))).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64;
        (mean, variance.sqrt())
    }

    #[test]
    fn distributions_have_their_moments() {
        let close = |(mean, deviation): (f64, f64), expected: (f64, f64)| {
            assert!((mean - expected.0).abs() < 0.02, "mean {mean}, expected {}", expected.0);
            assert!((deviation - expected.1).abs() < 0.02, "deviation {deviation}, expected {}", expected.1);
        };
        close(many(Dice::uniform), (0.5, 1.0 / 12_f64.sqrt()));
        close(many(Dice::normal), (0.0, 1.0));
        close(many(|dice| dice.exponential(1.0)), (1.0, 1.0));
        close(many(|dice| f64::from(u8::from(dice.happens(0.3)))), (0.3, 0.21_f64.sqrt()));
    }

    #[test]
    fn occasions_do_not_share_their_numbers() {
        let first = |seed, purpose, occasion: &[u64]| Dice::new(seed, purpose, occasion).word();
        let words = [
            first(1, Purpose::Noise, &[1, 2]),
            first(1, Purpose::Noise, &[2, 1]),
            first(1, Purpose::Noise, &[1]),
            first(1, Purpose::Failure, &[1, 2]),
            first(2, Purpose::Noise, &[1, 2]),
        ];
        let distinct: std::collections::BTreeSet<u64> = words.into();
        assert_eq!(distinct.len(), words.len());
        assert_eq!(first(1, Purpose::Noise, &[1, 2]), words[0]);
    }
}
