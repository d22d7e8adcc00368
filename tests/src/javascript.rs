//! The js-libp2p client of `tests/javascript`: found, run, and what it prints.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

/// The oldest Node.js that the client runs on.
const MIN_NODE_JS: u32 = 20;
/// Set to 1 where Node.js and the packages have been installed: what is missing then is a failure, not a skip.
const REQUIRED: &str = "P2C2R_REQUIRE_JAVASCRIPT";

/// The client's folder, if Node.js and the packages are there; else says loudly why the test that asks is skipped.
///
/// # Panics
/// If something is missing although `P2C2R_REQUIRE_JAVASCRIPT` is 1.
pub fn client() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("javascript");
    match missing(&folder) {
        None => Some(folder),
        Some(missing) => {
            skip(REQUIRED, &missing);
            None
        }
    }
}

/// Says loudly that a test is skipped.
///
/// # Panics
/// If the environment says that it must not be.
pub fn skip(required: &str, missing: &str) {
    let must_run = std::env::var(required).is_ok_and(|wanted| wanted == "1");
    assert!(!must_run, "{required} is set: {missing}");
    eprintln!("SKIPPED: {missing}");
}

fn missing(folder: &Path) -> Option<String> {
    let version = Command::new("node").arg("--version").output().ok();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let major: Option<u32> =
        version.as_deref().and_then(|text| text.strip_prefix('v')?.split('.').next()?.parse().ok());
    match major {
        None => return Some("no Node.js".to_owned()),
        Some(major) if major < MIN_NODE_JS => {
            return Some(format!("Node.js {} is older than {MIN_NODE_JS}", version.unwrap_or_default()));
        }
        Some(_) => {}
    }
    let installed = folder.join("node_modules/.package-lock.json").exists();
    (!installed).then(|| "its packages are missing; run `npm ci --prefix tests/javascript`".to_owned())
}

/// Runs a script of the client to its end, and reads what it prints. The script ends by itself, come what may.
///
/// # Panics
/// If it fails.
pub fn run(folder: &Path, script: &str, arguments: &[&str]) -> Value {
    let output = Command::new("node")
        .arg(folder.join("src").join(script))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("node starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script} failed: {errors}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        let printed = String::from_utf8_lossy(&output.stdout);
        panic!("{script} printed no JSON ({error}): {printed}{errors}")
    })
}
