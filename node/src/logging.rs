//! Log lines on stderr.

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, fmt};

use crate::cli::LogFormat;

/// Starts logging for the rest of the process. `RUST_LOG` overrides what the flags say. A node that stays tells what
/// happens to it; a command that ends tells only what went wrong.
pub fn start(format: LogFormat, verbose: u8, quiet: bool, stays: bool) {
    let directives = match (quiet, verbose) {
        (true, _) => "error",
        // libp2p warns about every peer that goes away; to our users that is everyday life.
        (false, 0) if stays => "warn,libp2p=error,libp2p_gossipsub=error,libp2p_mdns=error,p2c2r_node=info",
        (false, 0) => "warn,libp2p=error,libp2p_gossipsub=error,libp2p_mdns=error",
        (false, 1) => "info,libp2p=warn,wgpu_core=warn,wgpu_hal=warn,sled=warn",
        (false, 2) => {
            "info,p2c2r_node=debug,p2c2r_swarm=debug,p2c2r_render=debug,p2c2r_scheduler=debug,sled=warn"
        }
        (false, _) => {
            "debug,p2c2r_node=trace,p2c2r_swarm=trace,p2c2r_render=trace,p2c2r_scheduler=trace,sled=info"
        }
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(directives));
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = fmt().with_env_filter(filter).with_ansi(colour).with_writer(io::stderr);
    match format {
        LogFormat::Text => lines.with_target(false).compact().init(),
        LogFormat::Json => lines.json().init(),
    }
}
