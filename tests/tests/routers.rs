//! Two nodes behind routers of their own and a public one, in network namespaces with real packets: `testnet/netns.sh --nat`.
//! Needs root, `ip`, `iptables` and /dev/net/tun; skips loudly without.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic here is a test's report")]

use std::{path::Path, process::Command};

use p2c2r_protocol::swarm_key::SwarmKey;
use p2c2r_testnet::program;

/// What the script says about a swarm behind routers of this kind; `None` if it cannot run here.
fn behind(routers: &str, swarm_key: Option<&SwarmKey>) -> Option<String> {
    let program = program();
    let target = program.parent().and_then(Path::parent).unwrap();
    let profile = program.parent().and_then(Path::file_name).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testnet/netns.sh");
    let mut command = Command::new(script);
    command.args(["3", "--built", "--nat", routers]).env("CARGO_TARGET_DIR", target);
    if profile == "debug" {
        command.arg("--debug");
    }
    if let Some(key) = swarm_key {
        command.env("P2C2R_SWARM_KEY", key.to_text());
    }
    let output = command.args(["--", "--size", "160x90", "--spp", "2"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr);
    if complaints.contains("SKIPPED") {
        eprintln!("{complaints}");
        assert!(std::env::var_os("P2C2R_REQUIRE_ROUTERS").is_none(), "{complaints}");
        return None;
    }
    assert!(output.status.success(), "{said}\n{complaints}");
    assert!(said.contains("identical to local"), "{said}");
    Some(said)
}

/// The same where holes can be punched. Both ends have to call within the same moment, which a busy machine may miss: three swarms
/// may try.
fn punched(swarm_key: Option<&SwarmKey>) -> Option<String> {
    let mut said = behind("cone", swarm_key)?;
    for _ in 0..2 {
        if said.contains("host 2 was reached directly") {
            break;
        }
        said = behind("cone", swarm_key)?;
    }
    Some(said)
}

#[test]
fn nodes_behind_routers_meet_through_holes_or_else_through_the_relay() {
    if let Some(said) = punched(None) {
        assert!(said.contains("host 2 was reached directly"), "{said}");
    }
    if let Some(said) = behind("symmetric", None) {
        assert!(said.contains("host 2 was reached through the relay"), "{said}");
    }
    if let Some(said) = behind("no-udp", None) {
        assert!(said.contains("host 2 was reached"), "{said}");
    }
}

#[test]
fn a_private_swarm_meets_through_holes_as_well() {
    let key = SwarmKey::from_random([7; 32]);
    if let Some(said) = punched(Some(&key)) {
        assert!(said.contains("host 2 was reached directly"), "{said}");
    }
}
