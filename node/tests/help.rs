//! The program explains itself.
#![allow(clippy::unwrap_used, reason = "a panic here is a test's report")]

use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_p2c2r-node")).args(arguments).output().unwrap()
}

#[test]
fn every_command_has_a_help_text_with_an_example() {
    for command in [
        &["run"][..],
        &["render"],
        &["ticket"],
        &["status"],
        &["peers"],
        &["scene"],
        &["scene", "city"],
        &["scene", "info"],
        &["bench", "schedule"],
        &["sim"],
    ] {
        let output = run(&[command, &["--help"]].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{command:?}");
        assert!(text.contains("Example: p2c2r-node"), "{command:?}: {text}");
        assert!(text.contains("--data-dir"), "{command:?}");
    }
}

#[test]
fn without_arguments_it_explains_itself_and_version_is_known() {
    let output = run(&[]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2));
    for command in ["run", "render", "ticket", "status", "peers", "scene"] {
        assert!(text.contains(command), "{text}");
    }
    assert!(String::from_utf8(run(&["--version"]).stdout).unwrap().starts_with("p2c2r-node "));
}
