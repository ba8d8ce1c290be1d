//! Tools that the exact part needs besides cargo: valgrind, and the runner that belongs to the bench.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::{output, run};
use crate::failure::{Failure, Result, io};

const RUNNER: &str = "gungraun-runner";

/// Checks that valgrind is there; gives its version.
///
/// # Errors
/// It is not: says how to get it, and how to do without.
pub fn valgrind() -> Result<String> {
    output(Command::new("valgrind").arg("--version")).map_err(|error| {
        Failure::Input(format!(
            "{error}\nThe exact part needs valgrind: install it (apt-get install valgrind), or \
             leave that part out with --only pairs"
        ))
    })
}

/// The folder of the runner of this version: that on the PATH where it is the right one, else one
/// below `folder`, where it is installed if need be. None where it is on the PATH.
///
/// # Errors
/// It could not be installed: says how to do it by hand.
pub fn runner(folder: &Path, version: &str) -> Result<Option<PathBuf>> {
    if is_version(Command::new(RUNNER), version) {
        return Ok(None);
    }
    let root = folder.join("tools").join(version);
    let bin = root.join("bin");
    if !is_version(Command::new(bin.join(RUNNER)), version) {
        let exact = format!("={version}");
        let mut install = Command::new("cargo");
        install.args(["install", RUNNER, "--version", &exact, "--locked", "--force", "--root"]);
        run(install.arg(&root)).map_err(|error| {
            Failure::Input(format!(
                "{error}\nThe exact part needs {RUNNER} {version}: install it with `cargo install \
                 {RUNNER} --version {version}`, or leave that part out with --only pairs"
            ))
        })?;
    }
    Ok(Some(bin))
}

/// The PATH with a folder before all others.
///
/// # Errors
/// The folder's name cannot be in a PATH.
pub fn path_with(folder: &Path) -> Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&path));
    std::env::join_paths(folders)
        .map_err(|error| io(folder.display())(std::io::Error::other(error)))
}

fn is_version(mut command: Command, version: &str) -> bool {
    let said = output(command.arg("--version"));
    said.is_ok_and(|said| said.split_whitespace().any(|word| word == version))
}
