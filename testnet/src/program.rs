//! The program under test, built once per test run.

use std::{path::PathBuf, process::Command, sync::OnceLock};

/// The path of `p2c2r-node`, in the same profile as the running test. Builds it first if need be: a test of another
/// crate does not make cargo do that. It is built as `cargo test --workspace` builds it, for nothing else shares that
/// command's choice of features, and everything below would be compiled a second time.
pub fn program() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(build).clone()
}

#[allow(clippy::panic, reason = "without the program no test can run; the message says why")]
fn build() -> PathBuf {
    // target/<profile>/deps/<test>
    let test = std::env::current_exe().unwrap_or_default();
    let folder = test.parent().and_then(|deps| deps.parent()).map(PathBuf::from).unwrap_or_default();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["test", "--workspace", "--no-run", "--quiet"]);
    // What cargo says to a test of its package is not said to those who call cargo: build scripts that look at it (ring's) would
    // run again, and with them half of the workspace be compiled again, here and the next time elsewhere.
    for (name, _) in std::env::vars_os() {
        let is_of_a_test = |prefix| name.to_string_lossy().starts_with(prefix);
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_EXE_", "CARGO_CRATE_"].into_iter().any(is_of_a_test) {
            build.env_remove(&name);
        }
    }
    if cfg!(feature = "webrtc") {
        build.args(["--features", "webrtc"]);
    }
    if folder.ends_with("release") {
        build.arg("--release");
    }
    match build.status() {
        Ok(status) if status.success() => folder.join("p2c2r-node"),
        outcome => panic!("p2c2r-node could not be built: {outcome:?}"),
    }
}
