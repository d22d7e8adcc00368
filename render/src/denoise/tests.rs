use p2c2r_protocol::tile::FrameSize;

use super::*;
use crate::frame::Features;

/// Numbers of 0 to 1 that look random.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1_u32 << 24) as f32
    }
}

/// A floor up to the horizon, a wall that stands on it, and a textured post before both: the frame without noise.
fn scene(width: u32, height: u32) -> Frame {
    let size = FrameSize::new(width, height).unwrap();
    let (mut radiance, mut features) = (Vec::new(), Features::default());
    for y in 0..height {
        for x in 0..width {
            let (u, v) = (x as f32 / width as f32, y as f32 / height as f32);
            let check = if (x / 3 + y / 3) % 2 == 0 { 0.8 } else { 0.3 };
            let (albedo, normal, depth) = if v < 0.2 {
                ([0.0; 3], [0.0; 3], 0.0)
            } else if (0.4..0.6).contains(&u) {
                ([check, 0.4, check], [0.0, 0.0, 1.0], 2.0)
            } else if v < 0.6 {
                ([0.7, 0.7, 0.7], [0.6, 0.0, 0.8], 8.0 + u)
            } else {
                ([0.2, 0.5, 0.3], [0.0, 1.0, 0.0], 3.2 / (v - 0.2))
            };
            // Light that changes slowly, and a shadow's sharp edge across everything.
            let light = (0.5 + u * v) * if u + v > 1.1 { 1.0 } else { 0.25 };
            radiance.push(if v < 0.2 { [u, v, 3.0] } else { albedo.map(|share| share * light) });
            features.albedo.push(albedo);
            features.normal.push(normal);
            features.depth.push(depth);
        }
    }
    Frame::new(size, radiance, Some(features)).unwrap()
}

/// Noise like that of a few paths for each pixel: seldom bright, right on average, and none in the sky.
fn noisy(clean: &Frame, fireflies: bool) -> Frame {
    let (mut noise, mut frame) = (Noise(7), clean.clone());
    let features = clean.features.as_ref().unwrap();
    for (pixel, depth) in frame.radiance.iter_mut().zip(&features.depth) {
        let gain =
            (0..4).map(|_| if noise.next() < 0.5 { 2.0 * noise.next() } else { 1.0 }).sum::<f32>() / 4.0;
        let tint = [0.9 + 0.2 * noise.next(), 0.9 + 0.2 * noise.next(), 0.9 + 0.2 * noise.next()];
        let flash = if fireflies && noise.next() < 0.002 { 200.0 } else { 1.0 };
        if *depth > 0.0 {
            *pixel = [0, 1, 2].map(|place| pixel[place] * gain * tint[place] * flash);
        }
    }
    frame
}

fn mean_squared_error(a: &Frame, b: &Frame) -> f64 {
    let differences = a.radiance.as_flattened().iter().zip(b.radiance.as_flattened());
    let sum: f64 = differences.map(|(a, b)| f64::from(a - b) * f64::from(a - b)).sum();
    sum / a.radiance.len() as f64
}

fn filtered(frame: &Frame, choice: Denoiser) -> Frame {
    let mut frame = frame.clone();
    denoise(&mut frame, choice).unwrap();
    frame
}

#[test]
fn names_survive_and_others_are_refused_with_the_choice() {
    for choice in Denoiser::ALL {
        assert_eq!(choice.to_string().parse(), Ok(choice));
    }
    let refused = "optix".parse::<Denoiser>().unwrap_err().to_string();
    assert_eq!(refused, "`optix` is no denoiser; choose off, atrous or oidn");
}

#[test]
fn off_changes_nothing_and_frames_that_do_not_fit_are_refused() {
    let frame = noisy(&scene(32, 16), true);
    assert_eq!(filtered(&frame, Denoiser::Off), frame);
    let mut broken = frame;
    broken.features.as_mut().unwrap().albedo.pop();
    for choice in Denoiser::ALL {
        assert!(matches!(denoise(&mut broken, choice), Err(DenoiseError::Frame(_))));
    }
}

#[test]
fn noise_falls_and_edges_stay() {
    let clean = scene(240, 160);
    let frame = noisy(&clean, false);
    let after = filtered(&frame, Denoiser::Atrous);
    let (before_error, after_error) =
        (mean_squared_error(&clean, &frame), mean_squared_error(&clean, &after));
    eprintln!(
        "mean squared error: {before_error:.3e} to {after_error:.3e}, {:.1}",
        before_error / after_error
    );
    assert!(after_error * 8.0 < before_error, "{before_error} to {after_error}");
    // Beside the post, whose albedo, normal and depth end sharply: no light bleeds over.
    let mut edge = 0.0_f64;
    for y in 40..150_usize {
        for x in [95, 96, 143, 144_usize] {
            let index = y * 240 + x;
            edge += f64::from((after.radiance[index][1] - clean.radiance[index][1]).abs());
        }
    }
    let edge = edge / (110.0 * 4.0);
    eprintln!("mean error at the edges of the post: {edge:.4}");
    assert!(edge < 0.03, "{edge}");
    assert_eq!(after.features, frame.features);
    assert_eq!(after.radiance[..240 * 32], frame.radiance[..240 * 32], "the sky is as it was");
}

#[test]
fn edges_without_noise_stay_as_they_are() {
    let clean = scene(240, 160);
    let after = filtered(&clean, Denoiser::Atrous);
    let error = mean_squared_error(&clean, &after);
    eprintln!("of a frame without noise: {error:.3e}");
    assert!(error < 3e-5, "{error}");
    // The worst are the corners of the shadow's stairs, which a 3x3 median rounds.
    for (before, after) in clean.radiance.as_flattened().iter().zip(after.radiance.as_flattened()) {
        assert!((before - after).abs() < 0.08, "{before} became {after}");
    }
}

#[test]
fn fireflies_are_dimmed() {
    let clean = scene(240, 160);
    let frame = noisy(&clean, true);
    let after = filtered(&frame, Denoiser::Atrous);
    let brightest = after.radiance[240 * 32..].as_flattened().iter().copied().fold(0.0, f32::max);
    let (before_error, after_error) =
        (mean_squared_error(&clean, &frame), mean_squared_error(&clean, &after));
    eprintln!("with fireflies: {before_error:.3e} to {after_error:.3e}, brightest {brightest}");
    assert!(brightest < 2.0, "{brightest}");
    assert!(after_error * 500.0 < before_error, "{before_error} to {after_error}");
}

#[test]
fn a_lamp_of_one_pixel_is_no_firefly() {
    let mut frame = scene(64, 64);
    let index = 50 * 64 + 10;
    frame.radiance[index] = [40.0; 3];
    let features = frame.features.as_mut().unwrap();
    features.albedo[index] = [0.0; 3];
    features.depth[index] = 1.0;
    features.normal[index] = [0.0, 0.0, 1.0];
    let after = filtered(&frame, Denoiser::Atrous);
    assert!((after.radiance[index][0] - 40.0).abs() < 0.5, "{:?}", after.radiance[index]);
}

#[test]
fn without_features_noise_falls_too() {
    // Beside the post: texture as fine and strong as the post's cannot be told from noise without features.
    let beside = |mut frame: Frame| {
        let rows = frame.radiance.chunks_exact(240).flat_map(|row| &row[..90]);
        frame.radiance = rows.copied().collect();
        frame.size = FrameSize::new(90, 160).unwrap();
        frame.features = None;
        frame
    };
    let (clean, frame) = (beside(scene(240, 160)), beside(noisy(&scene(240, 160), false)));
    let after = filtered(&frame, Denoiser::Atrous);
    let (before_error, after_error) =
        (mean_squared_error(&clean, &frame), mean_squared_error(&clean, &after));
    eprintln!("without features: {before_error:.3e} to {after_error:.3e}, {:.1}", before_error / after_error);
    assert!(after_error * 4.0 < before_error, "{before_error} to {after_error}");
}

#[test]
fn what_is_the_same_everywhere_stays_so() {
    for (width, height) in [(1, 1), (2, 1), (3, 40), (64, 33)] {
        let size = FrameSize::new(width, height).unwrap();
        let pixels = size.pixels() as usize;
        let color = [0.1, 0.73, 12.5];
        let features = Features {
            albedo: vec![[0.9, 0.01, 0.4]; pixels],
            normal: vec![[0.0, 1.0, 0.0]; pixels],
            depth: vec![3.0; pixels],
        };
        for features in [None, Some(features)] {
            let frame = Frame::new(size, vec![color; pixels], features).unwrap();
            for pixel in filtered(&frame, Denoiser::Atrous).radiance {
                for (found, expected) in pixel.into_iter().zip(color) {
                    assert!((found - expected).abs() <= 1e-6 * expected, "{found} is not {expected}");
                }
            }
        }
    }
}

#[test]
fn numbers_that_are_none_do_not_spread() {
    let mut frame = noisy(&scene(48, 48), false);
    for (place, bad) in [f32::NAN, f32::INFINITY, -1.0, f32::MAX, 1e-40].into_iter().enumerate() {
        frame.radiance[48 * 30 + 9 * place] = [bad, 0.1, bad];
        let features = frame.features.as_mut().unwrap();
        features.albedo[48 * 35 + 9 * place] = [bad; 3];
        features.normal[48 * 40 + 9 * place] = [bad; 3];
        features.depth[48 * 45 + 9 * place] = bad;
    }
    for features in [frame.features.clone(), None] {
        let after = filtered(&Frame { features, ..frame.clone() }, Denoiser::Atrous);
        assert!(after.radiance.as_flattened().iter().all(|value| value.is_finite() && *value >= 0.0));
    }
}

/// A fingerprint of bits (FNV-1a).
fn fingerprint(frame: &Frame) -> u64 {
    let bytes = frame.radiance.as_flattened().iter().flat_map(|value| value.to_bits().to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[test]
fn the_same_bits_with_any_number_of_threads() {
    let frame = noisy(&scene(131, 67), true);
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        fingerprint(&pool.install(|| filtered(&frame, Denoiser::Atrous)))
    };
    let first = with(1);
    for threads in [2, 3, 8] {
        assert_eq!(with(threads), first, "{threads} threads");
    }
    // On every machine: a change here is a change of everybody's pictures.
    assert_eq!(first, 0x9532_5fc7_e26f_535e, "{first:#018x}");
}

#[test]
fn open_image_denoise_lowers_the_noise_where_it_is_installed() {
    let clean = scene(240, 160);
    let mut after = noisy(&clean, false);
    let before_error = mean_squared_error(&clean, &after);
    match denoise(&mut after, Denoiser::Oidn) {
        Err(DenoiseError::NotInstalled { tried }) => {
            eprintln!("SKIPPED: no Open Image Denoise on this machine ({tried}); name one with P2C2R_OIDN");
            return;
        }
        outcome => outcome.unwrap(),
    }
    let after_error = mean_squared_error(&clean, &after);
    eprintln!(
        "Open Image Denoise: {before_error:.3e} to {after_error:.3e}, {:.1}",
        before_error / after_error
    );
    assert!(after_error * 2.0 < before_error, "{before_error} to {after_error}");
    let mut plain = Frame { features: None, ..noisy(&clean, false) };
    denoise(&mut plain, Denoiser::Oidn).unwrap();
    assert!(mean_squared_error(&clean, &plain) < before_error);
}
