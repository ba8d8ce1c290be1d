//! Programs whose every sync takes longer, so that a fast disk can stand for a slow one. strace delays
//! the system calls.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::target::binary;

const TRACER: &str = "strace";

/// Why syncs cannot be delayed here, if they cannot.
pub fn missing() -> Option<String> {
    let found = binary::on_path(TRACER.as_ref()).is_some();
    (!found).then(|| format!("{TRACER} is not on the PATH"))
}

/// The command of a program whose every fsync and fdatasync takes `delay` longer.
pub(super) fn command(program: &Path, delay: Duration) -> Command {
    if delay.is_zero() {
        return Command::new(program);
    }
    let inject = format!("inject=fsync,fdatasync:delay_exit={}", delay.as_micros());
    let mut command = Command::new(TRACER);
    // All other system calls of the program run at full speed.
    command.args(["-f", "--seccomp-bpf", "-qq", "-o", "/dev/null"]);
    command.args(["-e", "trace=fsync,fdatasync", "-e", &inject]).arg(program);
    command
}
