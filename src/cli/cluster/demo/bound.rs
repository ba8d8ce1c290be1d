//! Child processes that end with the demo, also if it is killed with SIGKILL: each begins as this
//! program, asks the kernel for a signal at the end of its parent, and becomes the other program.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use clap::Args;
use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};

use crate::cli::exit::FAILED;
use crate::cli::out;

/// Name of the hidden subcommand of `jeton cluster`.
const COMMAND: &str = "bound";

/// `jeton cluster bound`
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct BoundArgs {
    /// The process with which the program ends
    #[arg(long)]
    parent: i32,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    words: Vec<OsString>,
}

/// A command that runs `words` and ends with this thread.
pub(super) fn bound(jeton: &std::path::Path, words: &[OsString]) -> Command {
    let parent = getpid().as_raw_nonzero().to_string();
    let mut command = Command::new(jeton);
    command.args(["cluster", COMMAND, "--parent", &parent, "--"]).args(words);
    command
}

/// Becomes the program. Returns only if that fails.
pub(in crate::cli) fn become_bound(args: &BoundArgs) -> ExitCode {
    let [program, rest @ ..] = &*args.words else { return ExitCode::from(FAILED) };
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return out::failed(&error, FAILED);
    }
    // The parent may have ended before the kernel was asked.
    if getppid().map(Pid::as_raw_nonzero).map(i32::from) != Some(args.parent) {
        return ExitCode::from(FAILED);
    }
    let error = Command::new(program).args(rest).exec();
    let program = program.to_string_lossy();
    out::failed(&format_args!("can't start {program}: {error}"), FAILED)
}
