//! What the game sounds like: every source at its distance, with the shift of its speed, and the echo of the square.
//!
//! A source is a voice: a function of time. What is heard of it now left it when it was as far away as its distance
//! tells; interpolating the distance through a block shifts the pitch by itself (Doppler). The echo is the convolution
//! with a decaying noise, block by block in the frequency domain (uniformly partitioned, Gardner 1995).

use std::{collections::BTreeMap, f64::consts::TAU, sync::Arc};

use realfft::{ComplexToReal, RealFftPlanner, RealToComplex, num_complex::Complex};

use crate::{
    dice::signed,
    layout::{LISTENER_LEN, SoundLayout, metres, turn},
    level::Level,
    limit::{BLOCK_SAMPLES, ECHO_FRAMES, SAMPLE_RATE},
};

/// Speed of sound, metres a second.
const SOUND_SPEED: f64 = 343.0;
/// Farther away nothing is heard, metres.
const HEARD_M: f64 = 200.0;
/// Points of a transform: two blocks.
const TRANSFORM: usize = BLOCK_SAMPLES * 2;
/// The echo is so much quieter after as many frames as it lasts: a thousandth, which is 60 dB.
const ECHO_DECAY: f64 = 1e-3;
/// How loud the echo is beside what comes straight.
const ECHO_LEVEL: f32 = 0.02;
/// How loud everything is: a mix of a few sources near by stays below what 16 bits hold.
const LEVEL: f32 = 0.25;
/// Blocks that are kept because the next step needs them again.
const KEPT_BLOCKS: usize = 2 * ECHO_FRAMES;

/// A block's samples, left and right.
type Stereo = [Vec<f32>; 2];
type Spectrum = Vec<Complex<f32>>;

/// What came straight in one block, and its spectrum.
struct Dry {
    stereo: Stereo,
    spectrum: Spectrum,
}

/// Mixes sound. Keeps what the echo needs of earlier blocks; what it does not have it computes again, so that every
/// answer depends on the snapshot alone.
pub struct Mixer {
    forward: Arc<dyn RealToComplex<f32>>,
    backward: Arc<dyn ComplexToReal<f32>>,
    /// Spectra of the echo's parts, left and right.
    echo: [Vec<Spectrum>; 2],
    /// By the rows that they were made of.
    kept: BTreeMap<(u32, [u8; 32]), Dry>,
}

impl Default for Mixer {
    fn default() -> Self {
        let mut planner = RealFftPlanner::new();
        let (forward, backward) = (planner.plan_fft_forward(TRANSFORM), planner.plan_fft_inverse(TRANSFORM));
        let echo =
            [0, 1].map(|side| (0..ECHO_FRAMES - 1).map(|part| echo_part(&*forward, side, part)).collect());
        Self { forward, backward, echo, kept: BTreeMap::new() }
    }
}

impl Mixer {
    /// The block of a frame: [`BLOCK_SAMPLES`] pairs of 16-bit little-endian samples, left and right.
    pub fn block(&mut self, level: &Level, tick: u32, rows: &[i32]) -> Vec<u8> {
        // Part p of the echo belongs to the block p frames ago; the oldest row is only where its block begins.
        let names: Vec<(u32, [u8; 32])> = (0..ECHO_FRAMES as u32 - 1)
            .map(|part| tick.wrapping_sub(part))
            .map(|block| (block, name(level, block, rows)))
            .collect();
        for name in &names {
            if !self.kept.contains_key(name) {
                let dry = self.dry(level, name.0, rows);
                self.kept.insert(*name, dry);
            }
        }
        let wet = [0, 1].map(|side| self.wet(side, &names));
        let straight = names.first().and_then(|name| self.kept.get(name));
        let mut bytes = Vec::with_capacity(BLOCK_SAMPLES * 4);
        for index in 0..BLOCK_SAMPLES {
            for (side, wet) in wet.iter().enumerate() {
                let straight = straight.and_then(|dry| dry.stereo[side].get(index)).copied().unwrap_or(0.0);
                let sum = straight + wet.get(index).copied().unwrap_or(0.0) * ECHO_LEVEL;
                let sample = (sum * LEVEL * 32_767.0).clamp(-32_768.0, 32_767.0) as i16;
                bytes.extend(sample.to_le_bytes());
            }
        }
        self.forget();
        bytes
    }

    fn forget(&mut self) {
        while self.kept.len() > KEPT_BLOCKS {
            self.kept.pop_first();
        }
    }

    fn dry(&self, level: &Level, block: u32, rows: &[i32]) -> Dry {
        let stereo = straight(level, block, rows);
        let mut samples = vec![0.0; TRANSFORM];
        for ((sample, left), right) in samples.iter_mut().zip(&stereo[0]).zip(&stereo[1]) {
            *sample = (left + right) * 0.5;
        }
        Dry { spectrum: transformed(&*self.forward, samples), stereo }
    }

    /// The echo of all kept blocks in this one: overlap-save would need two blocks of input; with one block and a
    /// filter of one block the result spans two, so each part is heard once in its own frame and once in the next.
    fn wet(&self, side: usize, names: &[(u32, [u8; 32])]) -> Vec<f32> {
        let mut now = vec![Complex::default(); TRANSFORM / 2 + 1];
        let mut before = now.clone();
        for (part, filter) in self.echo[side].iter().enumerate() {
            if let Some(dry) = names.get(part).and_then(|name| self.kept.get(name)) {
                accumulate(&mut now, &dry.spectrum, filter);
            }
            if let Some(dry) = names.get(part + 1).and_then(|name| self.kept.get(name)) {
                accumulate(&mut before, &dry.spectrum, filter);
            }
        }
        let (now, before) = (self.samples(now), self.samples(before));
        let tail = before.iter().skip(BLOCK_SAMPLES);
        now.iter()
            .take(BLOCK_SAMPLES)
            .zip(tail)
            .map(|(now, before)| (now + before) / TRANSFORM as f32)
            .collect()
    }

    fn samples(&self, mut spectrum: Spectrum) -> Vec<f32> {
        let mut samples = vec![0.0; TRANSFORM];
        // Sums of transforms of real signals: their ends are real up to rounding.
        if let Some(first) = spectrum.first_mut() {
            first.im = 0.0;
        }
        if let Some(last) = spectrum.last_mut() {
            last.im = 0.0;
        }
        // Lengths are those that it was planned for.
        let _ = self.backward.process(&mut spectrum, &mut samples);
        samples
    }
}

fn accumulate(sum: &mut [Complex<f32>], signal: &[Complex<f32>], filter: &[Complex<f32>]) {
    for ((sum, signal), filter) in sum.iter_mut().zip(signal).zip(filter) {
        *sum += signal * filter;
    }
}

fn transformed(forward: &dyn RealToComplex<f32>, mut samples: Vec<f32>) -> Spectrum {
    let mut spectrum = forward.make_output_vec();
    // Lengths are those that it was planned for.
    let _ = forward.process(&mut samples, &mut spectrum);
    spectrum
}

/// A block of the echo: noise that becomes quieter.
fn echo_part(forward: &dyn RealToComplex<f32>, side: usize, part: usize) -> Spectrum {
    let mut samples = vec![0.0; TRANSFORM];
    let all = (BLOCK_SAMPLES * ECHO_FRAMES) as f64;
    for (index, sample) in samples.iter_mut().take(BLOCK_SAMPLES).enumerate() {
        let at = part * BLOCK_SAMPLES + index;
        *sample = signed(side as u32 + 77, at as u32) * ECHO_DECAY.powf(at as f64 / all) as f32;
    }
    transformed(forward, samples)
}

/// Names a block by all that it depends on.
fn name(level: &Level, block: u32, rows: &[i32]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for tick in [block.wrapping_sub(1), block] {
        for value in row(level, tick, rows) {
            hasher.update(&value.to_le_bytes());
        }
    }
    *hasher.finalize().as_bytes()
}

fn row<'a>(level: &Level, tick: u32, rows: &'a [i32]) -> &'a [i32] {
    let sounds = usize::from(level.spec.sounds);
    let at = SoundLayout::row(tick, sounds);
    rows.get(at..at + SoundLayout::row_len(sounds)).unwrap_or_default()
}

/// Where a source is heard from: distance, metres, and share of the right ear, 0 to 1.
fn heard(row: &[i32], source: usize) -> Option<(f64, f64)> {
    let (listener, sources) = row.split_at_checked(LISTENER_LEN)?;
    let [x, z, right_x, right_z] = *listener else { return None };
    let place: [i32; 3] = sources.get(source * 3..source * 3 + 3)?.try_into().ok()?;
    let ([lx, lz], [sx, sy, sz], [rx, rz]) = (metres([x, z]), metres(place), turn([right_x, right_z]));
    let (dx, dy, dz) = (f64::from(sx - lx), f64::from(sy), f64::from(sz - lz));
    let distance = (dx * dx + dy * dy + dz * dz).sqrt().clamp(0.1, HEARD_M);
    let aside = ((dx * f64::from(rx) + dz * f64::from(rz)) / distance).clamp(-1.0, 1.0);
    Some((distance, 0.5 + 0.5 * aside))
}

/// What comes straight from all sources.
fn straight(level: &Level, block: u32, rows: &[i32]) -> Stereo {
    let mut stereo = [vec![0.0; BLOCK_SAMPLES], vec![0.0; BLOCK_SAMPLES]];
    let (begin, end) = (row(level, block.wrapping_sub(1), rows), row(level, block, rows));
    for source in 0..usize::from(level.spec.sounds) {
        let (Some(from), Some(to)) = (heard(begin, source), heard(end, source)) else { continue };
        for index in 0..BLOCK_SAMPLES {
            let share = index as f64 / BLOCK_SAMPLES as f64;
            let (distance, right) = (from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share);
            let now = (f64::from(block) * BLOCK_SAMPLES as f64 + index as f64) / f64::from(SAMPLE_RATE);
            let sample = voice(source, now - distance / SOUND_SPEED) / (1.0 + distance);
            for (samples, ear) in stereo.iter_mut().zip([1.0 - right, right]) {
                if let Some(heard) = samples.get_mut(index) {
                    *heard += (sample * ear) as f32;
                }
            }
        }
    }
    stereo
}

/// What a source gives off at a time, seconds: a hum with two overtones that swells and fades.
fn voice(source: usize, at_s: f64) -> f64 {
    // A pentatonic scale over two octaves, so that it sounds like something.
    const STEPS: [i32; 5] = [0, 2, 4, 7, 9];
    let note = STEPS[source % 5] + 12 * (source as i32 / 5 % 2);
    let pitch_hz = 110.0 * f64::from(note).mul_add(1.0 / 12.0, 0.0).exp2();
    let phase = (at_s * pitch_hz).fract() * TAU;
    let swell = 0.6 + 0.4 * (TAU * (at_s * (0.3 + 0.07 * source as f64)).fract()).sin();
    swell * (phase.sin() + 0.4 * (2.0 * phase).sin() + 0.2 * (3.0 * phase).sin())
}

#[cfg(test)]
mod tests {
    use p2c2r_protocol::step::LevelSpec;

    use super::*;
    use crate::layout::{place_steps, turn_steps};

    fn level(sounds: u16) -> Level {
        Level::new(LevelSpec { seed: 3, bodies: 8, agents: 40, sounds })
    }

    /// A listener in the middle who looks north; one source at `x` metres to the right in each frame.
    fn rows(tick: u32, x: impl Fn(u32) -> f32) -> Vec<i32> {
        let mut rows = vec![0; SoundLayout::len(1)];
        for tick in tick.saturating_sub(ECHO_FRAMES as u32 - 1)..=tick {
            let at = SoundLayout::row(tick, 1);
            let [lx, lz] = place_steps([0.0, 0.0]);
            let [rx, rz] = turn_steps([1.0, 0.0]);
            let [sx, sy, sz] = place_steps([x(tick), 0.0, 0.0]);
            rows[at..at + 7].copy_from_slice(&[lx, lz, rx, rz, sx, sy, sz]);
        }
        rows
    }

    fn ears(block: &[u8]) -> [Vec<f64>; 2] {
        let samples: Vec<f64> =
            block.chunks_exact(2).map(|two| f64::from(i16::from_le_bytes([two[0], two[1]]))).collect();
        [0, 1].map(|side| samples.iter().skip(side).step_by(2).copied().collect())
    }

    fn power(samples: &[f64]) -> f64 {
        samples.iter().map(|sample| sample * sample).sum::<f64>() / samples.len() as f64
    }

    #[test]
    fn near_is_louder_than_far_and_right_is_heard_on_the_right() {
        let (mut mixer, level) = (Mixer::default(), level(1));
        let near = ears(&mixer.block(&level, 100, &rows(100, |_| 2.0)));
        let far = ears(&mixer.block(&level, 100, &rows(100, |_| 20.0)));
        assert!(power(&near[1]) > 10.0 * power(&near[0]), "{} {}", power(&near[1]), power(&near[0]));
        assert!(power(&near[1]) > 10.0 * power(&far[1]));
    }

    #[test]
    fn what_comes_nearer_sounds_higher() {
        let level = level(1);
        let speed = 40.0 / 60.0;
        // Counts upward crossings of what comes straight over many blocks: the mean pitch.
        let pitch = |x: &dyn Fn(u32) -> f32| {
            let samples: Vec<f32> = (200..260)
                .flat_map(|tick| straight(&level, tick, &rows(tick, x)).into_iter().nth(1).unwrap())
                .collect();
            samples.windows(2).filter(|two| two[0] <= 0.0 && two[1] > 0.0).count() as f64
        };
        let (still, coming) = (pitch(&|_| 50.0), pitch(&|tick| 190.0 - speed * (tick as f32 - 169.0)));
        let expected = SOUND_SPEED / (SOUND_SPEED - 40.0);
        assert!((coming / still - 1.0 - 40.0 / SOUND_SPEED).abs() < 0.03, "{still} {coming} {expected}");
    }

    #[test]
    fn an_echo_stays_when_the_source_is_gone_and_another_mixer_hears_the_same() {
        let level = level(1);
        let gone = |tick: u32| if tick < 95 { 1.0 } else { 1e5 };
        let mut mixer = Mixer::default();
        let mut last = Vec::new();
        for tick in 80..=100 {
            last = mixer.block(&level, tick, &rows(tick, gone));
        }
        let silence = Mixer::default().block(&level, 100, &rows(100, |_| 1e5));
        assert!(power(&ears(&last)[0]) > 4.0 * power(&ears(&silence)[0]));
        let other = Mixer::default().block(&level, 100, &rows(100, gone));
        assert_eq!(other, last);
    }
}
