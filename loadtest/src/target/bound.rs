//! Children that end with the harness, however it ends. A signal that can be caught kills them and
//! what they started ([`super::process::end_on_interrupt`]); for SIGKILL the kernel must do it, and
//! only a process itself can ask it to. So each child begins as this program under a hidden command,
//! asks, and becomes the program that was meant, under the same process id.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};

use crate::failure::{Failure, io};

/// The hidden command.
pub const COMMAND: &str = "bound";

/// This program, even if its file was replaced or removed meanwhile: a new child is a copy of it.
const THIS: &str = "/proc/self/exe";
/// Whether this is the command line: a test has no hidden commands.
static IS_BINDING: AtomicBool = AtomicBool::new(false);

/// From now on children begin as this program. They end with the thread that started them, so it
/// must be one that stays, such as the first.
pub fn bind_children() {
    IS_BINDING.store(true, Ordering::Relaxed);
}

/// The same command for a child that ends with this process; without its streams, which the caller
/// sets.
pub(super) fn bound(command: &Command) -> Command {
    if !IS_BINDING.load(Ordering::Relaxed) {
        return copy(command, Command::new(command.get_program()));
    }
    let mut begin = Command::new(THIS);
    begin.args([COMMAND, "--parent", &getpid().to_string(), "--"]).arg(command.get_program());
    copy(command, begin)
}

/// Arguments, folder and what was changed of the environment.
fn copy(from: &Command, mut to: Command) -> Command {
    to.args(from.get_args());
    for (name, value) in from.get_envs() {
        match value {
            Some(value) => to.env(name, value),
            None => to.env_remove(name),
        };
    }
    if let Some(folder) = from.get_current_dir() {
        to.current_dir(folder);
    }
    to
}

/// Becomes the program in `words`, which ends with the process `parent`. Returns only where that
/// cannot be done.
pub fn become_bound(parent: i32, words: &[OsString]) -> Failure {
    let [program, arguments @ ..] = words else {
        return Failure::Input(format!("{COMMAND}: no program is named"));
    };
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return io("end with the harness")(error);
    }
    // It may have ended before the kernel was asked.
    if getppid().map(Pid::as_raw_nonzero).map(i32::from) != Some(parent) {
        return Failure::Input(format!("{COMMAND}: process {parent} has ended"));
    }
    let error = Command::new(program).args(arguments).exec();
    io(format!("start {}", program.to_string_lossy()))(error)
}
