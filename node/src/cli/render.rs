//! What can be said to `render`.

use std::{path::PathBuf, str::FromStr};

use clap::Args;
use p2c2r_protocol::{
    limit::{MAX_PATH_DEPTH, MAX_SAMPLES_PER_PIXEL},
    tile::FrameSize,
};
use p2c2r_render::{
    denoise::Denoiser,
    picture::PngBits,
    tone::{MAX_EXPOSURE_STOPS, ToneCurve},
};

use super::{DeviceArgs, NetworkArgs, parse_size};
use crate::{
    control::SplitChoice,
    sequence::{FrameRange, FrameRate},
};

/// `render`.
#[derive(Debug, Args)]
pub struct RenderArgs {
    /// Scene: a .glb, .gltf or .obj file
    pub scene: PathBuf,
    /// Picture to write: .png (to be looked at), or .exr (linear radiance with layers of albedo, normal and depth, 32
    /// bit float); with --frames, the frame's number goes before the ending: OUT.0001.png
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Size in pixels
    #[arg(long, value_name = "WxH", default_value = "960x540", value_parser = parse_size)]
    pub size: FrameSize,
    /// Samples per pixel
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_SAMPLES_PER_PIXEL)))]
    pub spp: u32,
    /// Path segments at most
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_PATH_DEPTH)))]
    pub max_depth: u32,
    /// Seed of the random numbers
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u32,
    /// Limit what a single indirect contribution may bring, as radiance: fireflies go, and a little light with them
    /// [default: no limit]
    #[arg(long, value_name = "RADIANCE", default_value_t = 0.0, hide_default_value = true)]
    pub clamp: f32,
    /// Light from all around: an equirectangular .hdr or .exr picture
    #[arg(long, value_name = "FILE")]
    pub env: Option<PathBuf>,
    /// Turn that picture to the right by so many degrees
    #[arg(
        long,
        value_name = "DEGREES",
        default_value_t = 0.0,
        requires = "env",
        allow_negative_numbers = true
    )]
    pub env_rotation: f32,
    /// Multiply that picture's radiance
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, requires = "env")]
    pub env_strength: f32,
    /// Radius of the camera's lens in world units: what is not in focus blurs
    /// [default: a pinhole]
    #[arg(long, value_name = "RADIUS", requires = "focus_distance")]
    pub aperture: Option<f32>,
    /// Distance that the lens sees sharply, world units
    #[arg(long, value_name = "DISTANCE", requires = "aperture")]
    pub focus_distance: Option<f32>,
    /// Render these frames of the scene's animations, A..=B or a single one; frame N is at N / FPS seconds
    #[arg(long, value_name = "A..=B")]
    pub frames: Option<FrameRange>,
    /// Frames a second: a number such as 24 or 29.97, or a fraction such as 30000/1001 [default: 24]
    #[arg(long, value_name = "FPS", requires = "frames")]
    pub fps: Option<FrameRate>,
    /// Camera of the scene by name; auto takes the first
    #[arg(long, value_name = "NAME|auto", default_value = "auto")]
    pub camera: String,
    /// Stop after this time, each frame by itself, with what is there: the frame is rendered in passes, so that there are
    /// fewer samples rather than missing pixels (exit code 3)
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    pub deadline_ms: Option<u64>,
    /// Render on this machine alone
    #[arg(long, conflicts_with_all = ["wait_peers", "join", "listen"])]
    pub local: bool,
    /// Start only when this many peers are ready (waits two minutes at most; with --frames, before the first one)
    #[arg(long, value_name = "N")]
    pub wait_peers: Option<usize>,
    /// Write a report of who rendered what; with --frames one for each, numbered like the pictures
    #[arg(long, value_name = "FILE.json")]
    pub report: Option<PathBuf>,
    /// Print the report on stdout as JSON; with --frames a line for each
    #[arg(long)]
    pub json: bool,
    /// Overwrite the output if it exists
    #[arg(long)]
    pub force: bool,
    /// How the work goes to the peers.
    #[command(flatten)]
    pub sharing: SharingArgs,
    /// What is made and shown of the film.
    #[command(flatten)]
    pub picture: PictureArgs,
    /// How the short-lived node takes part in the swarm (when no node is running).
    #[command(flatten)]
    pub network: NetworkArgs,
    /// What renders here (when no node is running).
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// How the work of `render` goes to the peers.
#[derive(Debug, Args)]
pub struct SharingArgs {
    /// How the work is split among the peers: spatial cuts each frame into tiles, temporal gives whole frames of an
    /// animation to different peers, nested does so and cuts the last ones, pipeline gives the stages of each frame to
    /// different peers; auto takes what is predicted to be done first, of all but pipeline
    #[arg(long, value_name = "auto|spatial|temporal|nested|pipeline", value_enum, default_value_t = SplitChoice::Auto, hide_possible_values = true)]
    pub split: SplitChoice,
    /// Keep the frames that the same command has finished before, and render the others: after an interruption, a crash,
    /// or a power cut
    #[arg(long, requires = "frames", conflicts_with = "local")]
    pub resume: bool,
}

/// What `render` makes and shows of the film, which is the same whatever is chosen here.
#[derive(Debug, Args)]
pub struct PictureArgs {
    /// Take the noise out: atrous (a wavelet filter, the same on every machine; what `--denoise` alone means) or oidn
    /// (Open Image Denoise, where it is installed)
    #[arg(long, value_name = "off|atrous|oidn", num_args = 0..=1, default_value = "off", default_missing_value = "atrous")]
    pub denoise: Denoiser,
    /// Tone curve of a PNG [default: agx]
    #[arg(long, value_name = "agx|aces|linear")]
    pub tone: Option<ToneCurve>,
    /// Exposure of a PNG in stops: 1 doubles the light, -1 halves it [default: 0]
    #[arg(long, value_name = "EV", allow_negative_numbers = true, value_parser = parse_exposure)]
    pub exposure: Option<f32>,
    /// Bits of each channel of a PNG [default: 8]
    #[arg(long, value_name = "8|16")]
    pub png_bits: Option<PngBits>,
    /// Render in passes, an eighth of the samples first, and write the picture anew after each
    #[arg(long)]
    pub progressive: bool,
    /// With --progressive: show the passes in this file and write the output only at the end
    #[arg(long, value_name = "FILE", requires = "progressive")]
    pub preview_file: Option<PathBuf>,
}

/// Reads stops.
fn parse_exposure(text: &str) -> Result<f32, String> {
    f32::from_str(text).ok().filter(|stops| stops.abs() <= MAX_EXPOSURE_STOPS).ok_or_else(|| {
        format!("expected stops from -{MAX_EXPOSURE_STOPS} to {MAX_EXPOSURE_STOPS}, such as 0.5")
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn render(arguments: &[&str]) -> Result<Box<RenderArgs>, clap::Error> {
        let cli =
            Cli::try_parse_from([&["p2c2r-node", "render", "a.glb", "-o", "a.png"], arguments].concat())?;
        match cli.command {
            Command::Render(args) => Ok(args),
            other => panic!("{other:?}"),
        }
    }

    fn picture(arguments: &[&str]) -> Result<PictureArgs, clap::Error> {
        render(arguments).map(|args| args.picture)
    }

    #[test]
    fn the_denoiser_is_off_unless_asked_for_and_atrous_if_not_named() {
        assert_eq!(picture(&[]).unwrap().denoise, Denoiser::Off);
        assert_eq!(picture(&["--denoise"]).unwrap().denoise, Denoiser::Atrous);
        assert_eq!(picture(&["--denoise", "oidn"]).unwrap().denoise, Denoiser::Oidn);
        assert!(picture(&["--denoise", "optix"]).unwrap_err().to_string().contains("no denoiser"));
    }

    #[test]
    fn exposures_are_stops_within_reason() {
        assert_eq!(picture(&["--exposure", "-1.5"]).unwrap().exposure, Some(-1.5));
        for absurd in ["nan", "inf", "65", "bright", ""] {
            assert!(picture(&["--exposure", absurd]).is_err(), "{absurd}");
        }
    }

    #[test]
    fn frames_have_a_rate_and_a_rate_has_frames() {
        let args = render(&["--frames", "1..=10", "--fps", "29.97"]).unwrap();
        assert_eq!((args.frames, args.fps), ("1..=10".parse().ok(), "2997/100".parse().ok()));
        for (bad, word) in [
            (&["--fps", "24"][..], "--frames"),
            (&["--frames", "1..10"], "1..=240"),
            (&["--frames", "5..=4"], "end before they begin"),
            (&["--frames", "1..=2000000"], "at most 100000"),
            (&["--frames", "1", "--fps", "0"], "frames per second"),
        ] {
            let refused = render(bad).unwrap_err().to_string();
            assert!(refused.contains(word), "{bad:?}: {refused}");
        }
    }
}
