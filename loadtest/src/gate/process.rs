//! Programs that the gate runs, and its progress messages.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::console;
use crate::failure::{Failure, Result, at, io};
use crate::target::{environment, process};

/// Says how far the gate is.
pub fn say(text: &str) {
    console::say(&format!("gate: {text}"));
}

/// Runs a program whose output people want to see while it works.
///
/// # Errors
/// It is not there, or did not succeed.
pub fn run(command: &mut Command) -> Result<()> {
    let line = line(command);
    say(&line);
    // What a program prints is progress here; standard output is the gate's own.
    let output = process::output(command, std::io::stderr().into(), Stdio::inherit());
    let status = output.map_err(io(&line))?.status;
    if status.success() { Ok(()) } else { Err(Failure::Input(format!("{line}: {status}"))) }
}

/// Runs a program and gives what it printed, without white space at the ends.
///
/// # Errors
/// It is not there, or did not succeed: with what it said.
pub fn output(command: &mut Command) -> Result<String> {
    let line = line(command);
    let output = process::output(command, Stdio::piped(), Stdio::piped()).map_err(io(&line))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure::Input(format!("{line}: {}: {}", output.status, said.trim())))
}

/// Removes a folder and its contents; does nothing if it does not exist.
///
/// # Errors
/// What the system said.
pub fn remove_dir(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

/// git, in a folder: not in the repository that a hook or another program had in mind.
pub fn git(folder: &Path) -> Command {
    let mut command = Command::new("git");
    environment::for_tool(&mut command);
    command.arg("-C").arg(folder);
    command
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
