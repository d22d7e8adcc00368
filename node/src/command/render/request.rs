//! From the command line to what is asked of a node.

use std::path::Path;

use anyhow::Context;
use p2c2r_render::{
    picture::{PictureOptions, is_layered},
    tone::ToneMapping,
};

use crate::{
    cli::{PictureArgs, RenderArgs},
    control::{EnvironmentRequest, PreviewTarget, RenderRequest},
    develop::DevelopSettings,
    sequence::{FrameRate, FrameSequence},
};

/// What is asked of a node.
pub fn request(args: &RenderArgs) -> anyhow::Result<RenderRequest> {
    let absolute = |path: &Path| {
        std::path::absolute(path).with_context(|| format!("cannot resolve the path {}", path.display()))
    };
    let preview = match &args.picture.preview_file {
        Some(path) => PreviewTarget::File(absolute(path)?),
        None => PreviewTarget::Picture,
    };
    let environment = args
        .env
        .as_ref()
        .map(|path| -> anyhow::Result<EnvironmentRequest> {
            let (strength, rotation_turns) = (args.env_strength, args.env_rotation / 360.0);
            Ok(EnvironmentRequest { path: absolute(path)?, strength, rotation_turns })
        })
        .transpose()?;
    Ok(RenderRequest {
        preview: args.picture.progressive.then_some(preview),
        scene: absolute(&args.scene)?,
        output: absolute(&args.output)?,
        frames: args.frames.map(|frames| {
            let rate = args.fps.unwrap_or(FrameRate::FILM);
            FrameSequence { frames, rate }
        }),
        force: args.force,
        size: args.size,
        samples_per_pixel: args.spp,
        max_depth: args.max_depth,
        seed: args.seed,
        clamp: args.clamp,
        environment,
        lens_radius: args.aperture.unwrap_or_default(),
        focus_distance: args.focus_distance.unwrap_or_default(),
        camera: args.camera.clone(),
        deadline_ms: args.deadline_ms,
        wait_peers: args.wait_peers,
        develop: develop_settings(&args.picture),
        split: args.sharing.split,
        resume: args.sharing.resume,
    })
}

fn develop_settings(args: &PictureArgs) -> DevelopSettings {
    let tone = ToneMapping {
        curve: args.tone.unwrap_or_default(),
        exposure_stops: args.exposure.unwrap_or_default(),
    };
    DevelopSettings {
        denoiser: args.denoise,
        picture: PictureOptions { tone, png_bits: args.png_bits.unwrap_or_default() },
    }
}

/// What was asked for and cannot be had in a file of that format.
pub fn without_effect(args: &RenderArgs) -> Option<String> {
    let PictureArgs { tone, exposure, png_bits, .. } = &args.picture;
    let asked = tone.is_some() || exposure.is_some() || png_bits.is_some();
    (asked && is_layered(&args.output)).then(|| {
        format!(
            "{} keeps linear radiance: --tone, --exposure and --png-bits are for PNG",
            args.output.display()
        )
    })
}
