//! The command line: what can be said to the program. What it means is in [`crate::command`].

mod render;
mod sim;

use std::{
    num::{NonZeroU64, NonZeroUsize},
    path::PathBuf,
    str::FromStr,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use p2c2r_protocol::{
    id::{NodeId, WorkKind},
    limit::{MAX_FRAME_EDGE_PX, MAX_PATH_DEPTH, MAX_SAMPLES_PER_PIXEL},
    swarm_key::SwarmKey,
    ticket::Ticket,
    tile::FrameSize,
};
use p2c2r_render::backend::BackendChoice;

pub use self::{
    render::{PictureArgs, RenderArgs},
    sim::{SeedRange, SimArgs},
};

/// Work is not slowed more than that.
pub const MAX_THROTTLE: f32 = 1000.0;

/// Least limit of bandwidth, megabits a second: a chunk of a scene in 21 s.
pub const MIN_RATE_MBIT: f64 = 0.1;
/// Largest limit of bandwidth, megabits a second.
pub const MAX_RATE_MBIT: f64 = 1e6;

/// Shown below the help text.
const EXIT_CODES: &str =
    "Exit codes: 0 done, 1 failed, 2 bad usage, 3 finished with partial pixels, 130 interrupted.";

/// A peer-to-peer render swarm: every machine runs this program; together they are one renderer.
#[derive(Debug, Parser)]
#[command(name = "p2c2r-node", version, about, after_help = EXIT_CODES, arg_required_else_help = true)]
pub struct Cli {
    /// Options that every command understands.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command understands.
#[derive(Debug, Args)]
pub struct GlobalArgs {
    /// Where this node keeps its key, learned models and scenes
    /// [default: the platform's data directory for p2c2r]
    #[arg(long, global = true, env = "P2C2R_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Form of the log lines on stderr
    #[arg(long, global = true, env = "P2C2R_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// More log lines: once for info, twice for debug, three times for trace (`RUST_LOG` overrides)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Only errors on stderr, no progress
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
}

/// Form of the log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Join the swarm, contribute this machine, and take jobs from `render`
    #[command(after_help = "Example: p2c2r-node run --join p2c2r1…")]
    Run(RunArgs),
    /// Render a picture on the swarm: through the running node if there is one, else with a short-lived node
    #[command(
        after_help = "Example: p2c2r-node render city.glb -o city.png --size 1920x1080 --spp 64\n         p2c2r-node render walk.glb -o walk.png --frames 0..=239 --fps 24   (walk.0000.png to walk.0239.png)"
    )]
    Render(Box<RenderArgs>),
    /// Print the ticket that lets other nodes join the running node's swarm
    #[command(after_help = "Example: p2c2r-node ticket")]
    Ticket(QueryArgs),
    /// Make a key for a private swarm: nodes that are started with it connect to each other and to nobody else
    #[command(
        after_help = "Example: p2c2r-node swarm-key > swarm.key\n         P2C2R_SWARM_KEY=$(cat swarm.key) p2c2r-node run      (and the same on the other machines, with the same key)"
    )]
    SwarmKey,
    /// Show what the running node is doing
    #[command(after_help = "Example: p2c2r-node status --json")]
    Status(QueryArgs),
    /// List the peers that the running node knows
    #[command(after_help = "Example: p2c2r-node peers")]
    Peers(QueryArgs),
    /// Write one of the built-in scenes as a GLB file, or say what is in a scene file
    #[command(subcommand, after_help = "Example: p2c2r-node scene city -o city.glb --seed 7")]
    Scene(SceneCommand),
    /// Run a scenario in virtual time: ways to give out work side by side, with the bound that the hardware sets
    #[command(
        after_help = "Example: p2c2r-node sim testnet/scenarios/seed-five.toml --seeds 20\n         p2c2r-node sim testnet/scenarios/drift-churn.toml --faults 0..50"
    )]
    Sim(SimArgs),
    /// See it work: nodes on this machine, beside a coordinator that learns nothing; less than three minutes each
    #[command(subcommand, after_help = "Example: p2c2r-node demo swarm")]
    Demo(DemoCommand),
    /// Measure this machine
    #[command(subcommand, after_help = "Example: p2c2r-node bench schedule")]
    Bench(BenchCommand),
}

/// How a node takes part in the swarm.
#[derive(Debug, Args, Default)]
pub struct NetworkArgs {
    /// Address to listen on (a multiaddr; may be given several times)
    /// [default: QUIC and TCP on every interface, ports chosen by the system]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Vec<String>,
    /// Ticket of a node to join (may be given several times)
    #[arg(long, env = "P2C2R_JOIN", value_delimiter = ',', value_name = "TICKET")]
    pub join: Vec<Ticket>,
    /// Key of a private swarm: nodes without it cannot connect (`p2c2r-node swarm-key` makes one)
    #[arg(long, env = "P2C2R_SWARM_KEY", hide_env_values = true, value_name = "KEY")]
    pub swarm_key: Option<SwarmKey>,
    /// Let only this node connect (its id; may be given several times) [default: every node]
    #[arg(long, env = "P2C2R_ALLOW", value_delimiter = ',', value_name = "NODE")]
    pub allow: Vec<NodeId>,
    /// Do not let this node connect (its id; may be given several times)
    #[arg(long, env = "P2C2R_DENY", value_delimiter = ',', value_name = "NODE")]
    pub deny: Vec<NodeId>,
    /// Address under which the Internet reaches this node, if it does not find out itself (a multiaddr; may be given
    /// several times)
    #[arg(long, env = "P2C2R_EXTERNAL_ADDRESS", value_delimiter = ',', value_name = "ADDRESS")]
    pub external_address: Vec<String>,
    /// Do not pass on what comes for nodes behind routers, if the Internet reaches this node
    #[arg(long, env = "P2C2R_NO_RELAY")]
    pub no_relay: bool,
    /// Do not ask the router to forward a port
    #[arg(long, env = "P2C2R_NO_UPNP")]
    pub no_upnp: bool,
    /// Do not look for nodes on the local network
    #[arg(long, env = "P2C2R_NO_MDNS")]
    pub no_mdns: bool,
    /// Megabits a second in which scenes are sent to other nodes, at most [default: as much as the line takes]
    #[arg(long, env = "P2C2R_UPLOAD_LIMIT_MBIT", value_name = "MBIT", value_parser = rate_mbit)]
    pub upload_limit_mbit: Option<f64>,
    /// Megabits a second in which scenes are fetched from other nodes, at most [default: as much as the line takes]
    #[arg(long, env = "P2C2R_DOWNLOAD_LIMIT_MBIT", value_name = "MBIT", value_parser = rate_mbit)]
    pub download_limit_mbit: Option<f64>,
    /// Write every decision about the frames that this node coordinates to a file, begun anew at each start, for
    /// `sim --replay`
    #[arg(long, env = "P2C2R_DECISION_LOG", value_name = "FILE", hide_short_help = true)]
    pub decision_log: Option<PathBuf>,
}

/// What renders on this machine.
#[derive(Debug, Args, Default)]
pub struct DeviceArgs {
    /// What renders: auto takes a real GPU if there is one whose pictures are exact, else the CPU
    #[arg(long, env = "P2C2R_BACKEND", value_name = "auto|gpu|cpu")]
    pub backend: Option<BackendChoice>,
    /// Threads of the CPU renderer [default: one per core]
    #[arg(long, env = "P2C2R_THREADS", value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Memory for scenes, MiB; a scene that needs more is refused before it is loaded
    /// [default: half of the machine's]
    #[arg(long, env = "P2C2R_MEMORY_MIB", value_name = "N")]
    pub memory_mib: Option<NonZeroU64>,
    /// Take FACTOR times as long for every tile, to leave the machine to its owner or to try a swarm of unequal nodes
    #[arg(long, env = "P2C2R_THROTTLE", value_name = "FACTOR", value_parser = throttle_factor)]
    pub throttle: Option<f32>,
    /// Announce the speed of the unthrottled device, as a liar would (for trying a swarm)
    #[arg(long, requires = "throttle", hide_short_help = true)]
    pub throttle_hidden: bool,
}

/// A limit of bandwidth.
fn rate_mbit(text: &str) -> Result<f64, String> {
    rate_in_range(text.parse().map_err(|_| format!("`{text}` is no number"))?)
}

/// The limit of bandwidth, if it is one that transfers can live with.
pub fn rate_in_range(mbit_per_s: f64) -> Result<f64, String> {
    if (MIN_RATE_MBIT..=MAX_RATE_MBIT).contains(&mbit_per_s) {
        Ok(mbit_per_s)
    } else {
        Err(format!("megabits a second from {MIN_RATE_MBIT} to {MAX_RATE_MBIT} are needed"))
    }
}

/// A factor that work is slowed by.
fn throttle_factor(text: &str) -> Result<f32, String> {
    throttle_in_range(text.parse().map_err(|_| format!("`{text}` is no number"))?)
}

/// The factor, if work can be slowed by it.
pub fn throttle_in_range(factor: f32) -> Result<f32, String> {
    if (1.0..=MAX_THROTTLE).contains(&factor) {
        Ok(factor)
    } else {
        Err(format!("a factor from 1 to {MAX_THROTTLE} is needed"))
    }
}

/// `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Configuration file [default: p2c2r/config.toml in the platform's configuration directory, if it exists]
    #[arg(long, env = "P2C2R_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How to take part in the swarm.
    #[command(flatten)]
    pub network: NetworkArgs,
    /// What it does for others.
    #[command(flatten)]
    pub offer: OfferArgs,
    /// What renders here.
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// What a node does for others.
#[derive(Debug, Args, Default)]
pub struct OfferArgs {
    /// Take no work from other nodes
    #[arg(long, env = "P2C2R_NO_CONTRIBUTE")]
    pub no_contribute: bool,
    /// Take no work of this kind from other nodes (may be given several times)
    #[arg(
        long,
        env = "P2C2R_DECLINE",
        value_delimiter = ',',
        value_name = "ray_tracing|rendering|physics|ai|audio",
        value_parser = work_kind,
        conflicts_with = "no_contribute"
    )]
    pub decline: Vec<WorkKind>,
}

/// A kind of work, by its name.
pub fn work_kind(name: &str) -> Result<WorkKind, String> {
    WorkKind::from_name(name).ok_or_else(|| {
        let names = WorkKind::ALL.map(WorkKind::name).join(", ");
        format!("`{name}` is no kind of work; there are: {names}")
    })
}

/// `ticket`, `status`, `peers`.
#[derive(Debug, Args)]
pub struct QueryArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `scene`.
#[derive(Debug, Subcommand)]
pub enum SceneCommand {
    /// Write the Cornell box: diffuse light in a closed room
    #[command(after_help = "Example: p2c2r-node scene cornell -o cornell.glb")]
    Cornell(GenerateArgs),
    /// Write spheres of plastic and metal on a checkered floor
    #[command(after_help = "Example: p2c2r-node scene spheres -o spheres.glb --triangles 50000")]
    Spheres(GenerateArgs),
    /// Write a street at night
    #[command(after_help = "Example: p2c2r-node scene city -o city.glb --seed 7")]
    City(GenerateArgs),
    /// Write a bumpy knot in the Cornell box, purely diffuse
    #[command(after_help = "Example: p2c2r-node scene knot -o knot.glb --triangles 200000")]
    Knot(GenerateArgs),
    /// Say what is in a scene file, and whether it can be rendered
    #[command(after_help = "Example: p2c2r-node scene info city.glb --json")]
    Info(SceneInfoArgs),
}

/// `scene info`.
#[derive(Debug, Args)]
pub struct SceneInfoArgs {
    /// Scene: a .glb, .gltf or .obj file
    pub scene: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Memory that the scene may need, MiB [default: half of the machine's]
    #[arg(long, env = "P2C2R_MEMORY_MIB", value_name = "N")]
    pub memory_mib: Option<NonZeroU64>,
}

/// `scene cornell`, `scene spheres`, `scene city`, `scene knot`.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// GLB file to write
    #[arg(short, long, value_name = "FILE.glb")]
    pub output: PathBuf,
    /// Seed of the scene's layout
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// About how many triangles [default: what suits the scene]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(12..=20_000_000))]
    pub triangles: Option<u32>,
    /// Let the camera drive forward for so many seconds: an animation
    #[arg(long, value_name = "SECONDS", value_parser = drive_seconds)]
    pub drive: Option<f32>,
    /// Overwrite the output if it exists
    #[arg(long)]
    pub force: bool,
}

/// Reads how long a camera drives.
fn drive_seconds(text: &str) -> Result<f32, String> {
    let seconds = text.parse::<f32>().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
    seconds.ok_or_else(|| "expected seconds from 0.1 to 3600, such as 5".to_owned())
}

/// `demo`.
#[derive(Debug, Subcommand)]
pub enum DemoCommand {
    /// Five unequal, unreliable machines: how a coordinator learns what to expect of them
    #[command(after_help = "Example: p2c2r-node demo learning")]
    Learning(DemoArgs),
    /// An animation split by space, by time and by stage: the cuts drawn over the pictures
    #[command(after_help = "Example: p2c2r-node demo splitting -o out")]
    Splitting(DemoArgs),
    /// A game at sixty frames a second, its physics, agents, picture, light and sound each on another machine; one is
    /// killed, one is delayed
    #[command(after_help = "Example: p2c2r-node demo game -o out")]
    Game(DemoArgs),
    /// The night city on four machines, one of which fails in the middle: latency, failures, frames a second
    #[command(
        after_help = "Example: p2c2r-node demo swarm -o out\n         p2c2r-node demo swarm --overlay   (sixty pictures a second, under light from the swarm)"
    )]
    Swarm(SwarmDemoArgs),
}

/// `demo swarm`.
#[derive(Debug, Args)]
pub struct SwarmDemoArgs {
    /// Instead: a drive through the city at 60 frames a second, each frame made here, under ray-traced light that the swarm
    /// sends for every third
    #[arg(long)]
    pub overlay: bool,
    /// What all demos have in common.
    #[command(flatten)]
    pub demo: DemoArgs,
}

/// `demo learning`, `demo splitting`, `demo game`, `demo swarm`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Frames that each coordinator renders [default: what suits the demo]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub frames: Option<u32>,
    /// Folder for pictures
    #[arg(short, long, value_name = "DIR", default_value = "out")]
    pub output: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `bench`.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// The renderer: rays and samples per second, build time and memory on bundled scenes
    #[command(after_help = "Example: p2c2r-node bench render --backend cpu --threads 2")]
    Render(BenchRenderArgs),
    /// The network stack: results of a work session beside a bare stream, over TCP and QUIC on the loopback interface
    #[command(after_help = "Example: p2c2r-node bench network --json")]
    Network(BenchNetworkArgs),
    /// Coordinator overhead: tiles of almost no work on four contributor processes over loopback
    #[command(after_help = "Example: p2c2r-node bench schedule --json")]
    Schedule(BenchScheduleArgs),
    /// Whether the split of an animation that is expected to be done first is: twelve animations on three swarms of five
    /// nodes each (some minutes)
    #[command(after_help = "Example: p2c2r-node bench split")]
    Split(BenchSplitArgs),
}

/// `bench network`.
#[derive(Debug, Args)]
pub struct BenchNetworkArgs {
    /// Results in each measurement, 3 MiB each
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub results: u64,
    /// How often each is measured, the bare stream and the session in turn; medians are printed
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub repeats: u32,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `bench split`.
#[derive(Debug, Args)]
pub struct BenchSplitArgs {
    /// How often each way is measured, one after the other: what is compared are the means
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=20))]
    pub rounds: u32,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `bench render`.
#[derive(Debug, Args)]
pub struct BenchRenderArgs {
    /// Scene file instead of the bundled scenes (may be given several times)
    #[arg(long, value_name = "FILE")]
    pub scene: Vec<PathBuf>,
    /// Size in pixels
    #[arg(long, value_name = "WxH", default_value = "640x360", value_parser = parse_size)]
    pub size: FrameSize,
    /// Samples per pixel
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_SAMPLES_PER_PIXEL)))]
    pub spp: u32,
    /// Path segments at most
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_PATH_DEPTH)))]
    pub max_depth: u32,
    /// Times that each scene is rendered; the best counts
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub repeats: u32,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// What renders here.
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// `bench schedule`.
#[derive(Debug, Args)]
pub struct BenchScheduleArgs {
    /// Contributor processes
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=32))]
    pub contributors: u32,
    /// Tiles in flight together in the throughput part
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=16_384))]
    pub tiles: u32,
    /// Times that each part is repeated
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub repeats: u32,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Reads `960x540`.
fn parse_size(text: &str) -> Result<FrameSize, String> {
    let malformed = || format!("expected WIDTHxHEIGHT such as 960x540, each 1 to {MAX_FRAME_EDGE_PX}");
    let (width, height) = text.split_once(['x', 'X']).ok_or_else(malformed)?;
    let number = |part: &str| u32::from_str(part.trim()).map_err(|_| malformed());
    FrameSize::new(number(width)?, number(height)?).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_outside_the_limits_are_refused() {
        assert_eq!(parse_size("960x540").unwrap(), FrameSize::new(960, 540).unwrap());
        for text in ["0x0", "100000x100000", "960", "960x", "x540", "-1x5", "960x540x3"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
