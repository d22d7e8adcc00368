//! Measures the à-trous filter on a frame of noise: `denoise_speed [WIDTHxHEIGHT]`.

use std::{error::Error, time::Instant};

use p2c2r_protocol::tile::FrameSize;
use p2c2r_render::{
    denoise::{Denoiser, denoise},
    frame::{Features, Frame},
    tone::ToneMapping,
};

const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let text = std::env::args().nth(1).unwrap_or_else(|| "1920x1080".to_owned());
    let (width, height) = text.split_once('x').ok_or("a size looks like 1920x1080")?;
    let size = FrameSize::new(width.parse()?, height.parse()?)?;
    let frame = noise(size)?;
    for plain in [false, true] {
        for _ in 0..ROUNDS {
            let mut copy = frame.clone();
            if plain {
                copy.features = None;
            }
            let started = Instant::now();
            denoise(&mut copy, Denoiser::Atrous)?;
            let features = if plain { "without" } else { "with" };
            println!("à-trous {features} features: {:.3} s", started.elapsed().as_secs_f64());
        }
    }
    let started = Instant::now();
    let tone = ToneMapping::default();
    let sum: u64 = frame.radiance.iter().map(|pixel| u64::from(tone.to_srgb8(*pixel)[0])).sum();
    println!("tone curve on one thread: {:.3} s (sum {sum})", started.elapsed().as_secs_f64());
    Ok(())
}

/// A tilted floor in bands of two colours under noisy light.
fn noise(size: FrameSize) -> Result<Frame, Box<dyn Error>> {
    let (mut radiance, mut features, mut state) = (Vec::new(), Features::default(), 1_u64);
    for index in 0..size.pixels() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let light = (state >> 40) as f32 / (1_u32 << 23) as f32;
        let row = index / u64::from(size.width_px());
        let albedo = if row / 40 % 2 == 0 { [0.7, 0.6, 0.5] } else { [0.2, 0.3, 0.6] };
        radiance.push(albedo.map(|share: f32| share * light));
        features.albedo.push(albedo);
        features.normal.push([0.0, 1.0, 0.0]);
        features.depth.push(1000.0 / (1.0 + row as f32));
    }
    Ok(Frame::new(size, radiance, Some(features))?)
}
