//! The clients of `clients/`: their own tests, and the conformance suite that all of them pass.

mod python;
mod typescript;

use std::process::{Command, Output, Stdio};

use crate::support::not_run;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What `clients/prepare` has installed; `None` where it cannot, which is told.
fn prepared(check: &str, what: &str) -> Option<String> {
    let prepare = Command::new("bash")
        .arg(format!("{ROOT}/clients/prepare"))
        .arg(what)
        .stdin(Stdio::null())
        .output()
        .expect("bash runs");
    if !prepare.status.success() {
        not_run(check, String::from_utf8_lossy(&prepare.stderr).trim());
        return None;
    }
    Some(String::from_utf8(prepare.stdout).expect("UTF-8").trim().to_owned())
}

/// Runs a command that must succeed, and returns what it printed.
fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("the command runs");
    let said = said(&output);
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{out}{err}")
}
