//! What a node is told to be: flag, else environment (`P2C2R_*`, read by the command line), else TOML file, else
//! default.

use std::{
    fs, io,
    num::{NonZeroU64, NonZeroUsize},
    path::{Path, PathBuf},
};

use p2c2r_protocol::{
    id::{NodeId, WorkKind},
    swarm_key::SwarmKey,
    ticket::Ticket,
};
use p2c2r_render::backend::BackendChoice;
use serde::Deserialize;

use crate::{
    cli::{DeviceArgs, NetworkArgs, OfferArgs, rate_in_range, throttle_in_range, work_kind},
    data_dir::{self, DataDirError},
    memory,
};

/// Largest configuration file, bytes.
const MAX_CONFIG_BYTES: u64 = 1 << 20;
/// Scenes kept on disk unless told otherwise, MiB.
const DEFAULT_SCENE_CACHE_MIB: u64 = 4096;
/// Largest scene accepted from others unless told otherwise, MiB.
const DEFAULT_MAX_SCENE_MIB: u64 = 1024;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read configuration file {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is too large to be a configuration.
    #[error("configuration file {} is larger than 1 MiB", .0.display())]
    TooLarge(PathBuf),
    /// The file says something that is no configuration. The message of the TOML reader names line and key.
    #[error("configuration file {}: {source}", path.display())]
    Parse {
        /// Which.
        path: PathBuf,
        /// What is wrong, with line, column and the keys that exist.
        source: Box<toml::de::Error>,
    },
    /// A value that is read as text and does not mean anything.
    #[error("configuration file {}: `{key}`: {reason}", path.display())]
    Value {
        /// Which.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What is wrong with its value.
        reason: String,
    },
    /// There is no place to look for the default file.
    #[error(transparent)]
    Place(#[from] DataDirError),
}

/// The TOML file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    /// Multiaddrs to listen on.
    listen: Vec<String>,
    /// Tickets of nodes to join.
    join: Vec<String>,
    /// Key of a private swarm.
    swarm_key: Option<String>,
    /// Ids of the only nodes that may connect.
    allow: Vec<String>,
    /// Ids of nodes that may not connect.
    deny: Vec<String>,
    /// Addresses under which the Internet reaches this node.
    external_addresses: Vec<String>,
    /// Look for nodes on the local network.
    mdns: Option<bool>,
    /// Pass on what comes for nodes behind routers.
    relay: Option<bool>,
    /// Ask the router for a port.
    upnp: Option<bool>,
    /// Take work from other nodes.
    contribute: Option<bool>,
    /// `auto`, `gpu` or `cpu`.
    backend: Option<String>,
    /// Threads of the CPU renderer.
    threads: Option<NonZeroUsize>,
    /// Memory for scenes, MiB.
    memory_mib: Option<NonZeroU64>,
    /// Disk for cached scenes, MiB.
    scene_cache_mib: Option<u64>,
    /// Largest scene accepted from others, MiB.
    max_scene_mib: Option<u64>,
    /// Scenes are sent to others with so many megabits a second at most.
    upload_limit_mbit: Option<f64>,
    /// Scenes are fetched from others with so many megabits a second at most.
    download_limit_mbit: Option<f64>,
    /// Every tile takes so many times as long.
    throttle: Option<f32>,
    /// Kinds of work that are not done for others.
    decline: Vec<String>,
}

/// Everything that a node is told.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct NodeConfig {
    /// Multiaddrs to listen on.
    pub listen: Vec<String>,
    /// Nodes to join.
    pub join: Vec<Ticket>,
    /// Key of a private swarm.
    pub swarm_key: Option<SwarmKey>,
    /// The only nodes that may connect, if there are any.
    pub allowed: Vec<NodeId>,
    /// Nodes that may not connect.
    pub denied: Vec<NodeId>,
    /// Addresses under which the Internet reaches this node (multiaddrs).
    pub external: Vec<String>,
    /// Look for nodes on the local network.
    pub mdns: bool,
    /// Pass on what comes for nodes behind routers.
    pub relay: bool,
    /// Ask the router for a port.
    pub upnp: bool,
    /// Take work from other nodes.
    pub contribute: bool,
    /// What renders here.
    pub device: DeviceConfig,
    /// Disk for cached scenes, bytes.
    pub scene_cache_bytes: u64,
    /// Largest scene accepted from others, bytes.
    pub max_scene_bytes: u64,
    /// Scenes sent to others, bytes a second; without, as much as the line takes.
    pub upload_bytes_per_s: Option<NonZeroU64>,
    /// Scenes fetched from others, bytes a second; without, as much as the line takes.
    pub download_bytes_per_s: Option<NonZeroU64>,
    /// Kinds of work that are not done for others.
    pub declined: Vec<WorkKind>,
    /// Where decisions are written down.
    pub decision_log: Option<PathBuf>,
}

/// What renders on this machine.
#[derive(Debug, Clone, Copy)]
pub struct DeviceConfig {
    /// Which backend.
    pub backend: BackendChoice,
    /// Threads of the CPU backend; one per core if not said.
    pub threads: Option<usize>,
    /// Memory for scenes, bytes.
    pub scene_memory_bytes: u64,
    /// How much slower it works than it could.
    pub throttle: Throttle,
}

/// How much slower a device works than it could.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Throttle {
    /// Every tile takes so many times as long; 1 or more.
    pub factor: f32,
    /// The announced speed does not tell.
    pub hidden: bool,
}

impl Default for Throttle {
    fn default() -> Self {
        Self { factor: 1.0, hidden: false }
    }
}

impl DeviceConfig {
    /// From the command line alone.
    pub fn from_args(args: &DeviceArgs) -> Self {
        Self {
            backend: args.backend.unwrap_or(BackendChoice::Auto),
            threads: args.threads.map(NonZeroUsize::get),
            scene_memory_bytes: memory::for_scenes_bytes(args.memory_mib),
            throttle: Throttle { factor: args.throttle.unwrap_or(1.0), hidden: args.throttle_hidden },
        }
    }
}

impl NodeConfig {
    /// A node that renders alone.
    pub fn alone(device: DeviceConfig) -> Self {
        Self {
            listen: Vec::new(),
            join: Vec::new(),
            swarm_key: None,
            allowed: Vec::new(),
            denied: Vec::new(),
            external: Vec::new(),
            mdns: false,
            relay: false,
            upnp: false,
            contribute: false,
            device,
            scene_cache_bytes: 0,
            max_scene_bytes: DEFAULT_MAX_SCENE_MIB << 20,
            upload_bytes_per_s: None,
            download_bytes_per_s: None,
            declined: Vec::new(),
            decision_log: None,
        }
    }

    /// Puts flags, file and defaults together. A file that was named must exist; the default one may be missing.
    pub fn load(
        named: Option<&Path>,
        network: &NetworkArgs,
        device: &DeviceArgs,
        offer: &OfferArgs,
    ) -> Result<Self, ConfigError> {
        let (path, file) = if let Some(path) = named {
            (path.to_owned(), read(path)?)
        } else {
            let path = data_dir::default_config_file()?;
            let file = if path.exists() { read(&path)? } else { File::default() };
            (path, file)
        };
        Self::merge(&path, file, network, device, offer)
    }

    fn merge(
        path: &Path,
        file: File,
        network: &NetworkArgs,
        device: &DeviceArgs,
        offer: &OfferArgs,
    ) -> Result<Self, ConfigError> {
        let value = |key, reason: String| ConfigError::Value { path: path.to_owned(), key, reason };
        let from_file = DeviceArgs {
            backend: file
                .backend
                .map(|text| text.parse().map_err(|error| value("backend", error)))
                .transpose()?,
            threads: file.threads,
            memory_mib: file.memory_mib,
            throttle: file
                .throttle
                .map(|factor| throttle_in_range(factor).map_err(|reason| value("throttle", reason)))
                .transpose()?,
            throttle_hidden: false,
        };
        let rate = |flag: Option<f64>, key, from_file: Option<f64>| {
            let from_file = from_file.map(|mbit| rate_in_range(mbit).map_err(|reason| value(key, reason)));
            Ok::<_, ConfigError>(flag.or(from_file.transpose()?).and_then(bytes_per_s))
        };
        let upload_bytes_per_s =
            rate(network.upload_limit_mbit, "upload_limit_mbit", file.upload_limit_mbit)?;
        let download_bytes_per_s =
            rate(network.download_limit_mbit, "download_limit_mbit", file.download_limit_mbit)?;
        let mut declined = offer.decline.clone();
        if declined.is_empty() {
            for name in &file.decline {
                declined.push(work_kind(name).map_err(|reason| value("decline", reason))?);
            }
        }
        let mut join = network.join.clone();
        if join.is_empty() {
            for text in &file.join {
                join.push(text.parse().map_err(|error| value("join", format!("{error}")))?);
            }
        }
        let mut listen = if network.listen.is_empty() { file.listen } else { network.listen.clone() };
        if listen.is_empty() {
            listen = default_listen();
        }
        Ok(Self {
            listen,
            join,
            swarm_key: network.swarm_key.clone().map_or_else(
                || {
                    file.swarm_key
                        .map(|text| text.parse().map_err(|error| value("swarm_key", format!("{error}"))))
                        .transpose()
                },
                |key| Ok(Some(key)),
            )?,
            allowed: nodes(&network.allow, &file.allow).map_err(|reason| value("allow", reason))?,
            denied: nodes(&network.deny, &file.deny).map_err(|reason| value("deny", reason))?,
            external: if network.external_address.is_empty() {
                file.external_addresses
            } else {
                network.external_address.clone()
            },
            mdns: !network.no_mdns && file.mdns.unwrap_or(true),
            relay: !network.no_relay && file.relay.unwrap_or(true),
            upnp: !network.no_upnp && file.upnp.unwrap_or(true),
            declined,
            contribute: !offer.no_contribute && file.contribute.unwrap_or(true),
            device: DeviceConfig::from_args(&DeviceArgs {
                backend: device.backend.or(from_file.backend),
                threads: device.threads.or(from_file.threads),
                memory_mib: device.memory_mib.or(from_file.memory_mib),
                throttle: device.throttle.or(from_file.throttle),
                throttle_hidden: device.throttle_hidden,
            }),
            scene_cache_bytes: file
                .scene_cache_mib
                .unwrap_or(DEFAULT_SCENE_CACHE_MIB)
                .saturating_mul(1 << 20),
            upload_bytes_per_s,
            download_bytes_per_s,
            max_scene_bytes: file.max_scene_mib.unwrap_or(DEFAULT_MAX_SCENE_MIB).saturating_mul(1 << 20),
            decision_log: network.decision_log.clone(),
        })
    }
}

/// Megabits a second as bytes a second; the limits were checked.
fn bytes_per_s(mbit_per_s: f64) -> Option<NonZeroU64> {
    NonZeroU64::new((mbit_per_s * 1e6 / 8.0) as u64)
}

/// Nodes that flags name, or else the file.
fn nodes(flags: &[NodeId], file: &[String]) -> Result<Vec<NodeId>, String> {
    if !flags.is_empty() {
        return Ok(flags.to_vec());
    }
    let node = |text: &String| text.parse().map_err(|error| format!("`{text}`: {error}"));
    file.iter().map(node).collect()
}

/// Every interface, ports chosen by the system.
fn default_listen() -> Vec<String> {
    let mut listen = vec!["/ip4/0.0.0.0/udp/0/quic-v1", "/ip4/0.0.0.0/tcp/0"];
    if cfg!(feature = "webrtc") {
        listen.push("/ip4/0.0.0.0/udp/0/webrtc-direct");
    }
    listen.into_iter().map(str::to_owned).collect()
}

fn read(path: &Path) -> Result<File, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_owned(), source };
    if fs::metadata(path).map_err(failed)?.len() > MAX_CONFIG_BYTES {
        return Err(ConfigError::TooLarge(path.to_owned()));
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    toml::from_str(&text)
        .map_err(|source| ConfigError::Parse { path: path.to_owned(), source: Box::new(source) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, device: &DeviceArgs) -> Result<NodeConfig, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        fs::write(&path, text).unwrap();
        NodeConfig::load(Some(&path), &NetworkArgs::default(), device, &OfferArgs::default())
    }

    #[test]
    fn flag_stands_over_file_and_file_over_default() {
        let text = "threads = 3\nmdns = false\nscene_cache_mib = 1\nmemory_mib = 2";
        let config = load(text, &DeviceArgs::default()).unwrap();
        assert_eq!((config.device.threads, config.mdns, config.scene_cache_bytes), (Some(3), false, 1 << 20));
        assert!(config.contribute);
        let flags = DeviceArgs { threads: NonZeroUsize::new(5), ..DeviceArgs::default() };
        assert_eq!(load(text, &flags).unwrap().device.threads, Some(5));
        assert_eq!(config.device.scene_memory_bytes, 2 << 20);
        let flags = DeviceArgs { memory_mib: NonZeroU64::new(7), ..DeviceArgs::default() };
        assert_eq!(load(text, &flags).unwrap().device.scene_memory_bytes, 7 << 20);
        assert_eq!(load("", &flags).unwrap().device.scene_memory_bytes, 7 << 20);
    }

    #[test]
    fn b38_unknown_key_and_wrong_type_name_line_and_key() {
        let unknown = load("mdns = true\nbandwith = 5", &DeviceArgs::default()).unwrap_err().to_string();
        assert!(unknown.contains("line 2") && unknown.contains("bandwith"), "{unknown}");
        let wrong = load("threads = \"many\"", &DeviceArgs::default()).unwrap_err().to_string();
        assert!(wrong.contains("line 1"), "{wrong}");
        let backend = load("backend = \"abacus\"", &DeviceArgs::default()).unwrap_err().to_string();
        assert!(backend.contains("`backend`"), "{backend}");
    }

    #[test]
    fn limits_of_bandwidth_are_bytes_and_have_limits() {
        let rates = |text: &str, network: &NetworkArgs| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("config.toml");
            fs::write(&path, text).unwrap();
            let (device, offer) = (DeviceArgs::default(), OfferArgs::default());
            NodeConfig::load(Some(&path), network, &device, &offer)
                .map(|config| (config.upload_bytes_per_s, config.download_bytes_per_s))
        };
        let text = "upload_limit_mbit = 8.0\ndownload_limit_mbit = 0.5";
        let bytes = |count| NonZeroU64::new(count);
        assert_eq!(rates(text, &NetworkArgs::default()).unwrap(), (bytes(1_000_000), bytes(62_500)));
        let flag = NetworkArgs { upload_limit_mbit: Some(80.0), ..NetworkArgs::default() };
        assert_eq!(rates(text, &flag).unwrap().0, bytes(10_000_000));
        assert_eq!(rates("", &NetworkArgs::default()).unwrap(), (None, None));
        for wrong in ["0.0", "-1.0", "nan", "inf"] {
            let refused = rates(&format!("upload_limit_mbit = {wrong}"), &NetworkArgs::default());
            assert!(refused.unwrap_err().to_string().contains("`upload_limit_mbit`"), "{wrong}");
        }
    }

    #[test]
    fn kinds_of_work_are_declined_by_flag_or_file() {
        let text = "decline = [\"physics\", \"audio\"]";
        let declined = load(text, &DeviceArgs::default()).unwrap().declined;
        assert_eq!(declined, [WorkKind::Physics, WorkKind::Audio]);
        let wrong = load("decline = [\"cooking\"]", &DeviceArgs::default()).unwrap_err().to_string();
        assert!(wrong.contains("`decline`") && wrong.contains("ray_tracing"), "{wrong}");
    }

    #[test]
    fn browsers_are_waited_for_where_they_can_come_in() {
        let listen = load("", &DeviceArgs::default()).unwrap().listen;
        let for_browsers = listen.iter().filter(|address| address.contains("webrtc-direct")).count();
        assert_eq!((for_browsers, listen.len() - for_browsers), (usize::from(cfg!(feature = "webrtc")), 2));
        let named = load("listen = [\"/ip4/127.0.0.1/tcp/0\"]", &DeviceArgs::default()).unwrap().listen;
        assert_eq!(named, ["/ip4/127.0.0.1/tcp/0"]);
    }

    #[test]
    fn missing_named_file_is_an_error() {
        let missing = Path::new("/nonexistent/p2c2r.toml");
        let (network, device, offer) = (NetworkArgs::default(), DeviceArgs::default(), OfferArgs::default());
        let loaded = NodeConfig::load(Some(missing), &network, &device, &offer);
        assert!(matches!(loaded, Err(ConfigError::Read { .. })));
    }
}
