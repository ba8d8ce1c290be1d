//! What a server denies itself before it reads a secret: core dumps, other processes of its user that
//! look into its memory, and privileges of programs that it starts.

use std::fs;
use std::io;

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, geteuid, getrlimit, set_dumpable_behavior, setrlimit,
};
use rustix::thread::set_no_new_privs;

use super::cgroup;

/// Applies the restrictions to this process, which has one thread so far: new threads inherit them.
/// `allow_core` leaves out those that are in the way of a core dump or a debugger. Returns what an
/// operator should know, to be logged.
pub(super) fn harden(allow_core: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut note = |what: &str, done: io::Result<()>| {
        if let Err(error) = done {
            warnings.push(format!("can't {what}: {error}"));
        }
    };
    note("forbid new privileges", set_no_new_privs(true).map_err(Into::into));
    if !allow_core {
        note("forbid core dumps", forbid_core());
        // Neither a debugger of the same user nor /proc/PID/mem shows the memory.
        let done = set_dumpable_behavior(DumpableBehavior::NotDumpable);
        note("make the process undumpable", done.map_err(Into::into));
    } else {
        warnings.push(
            "--allow-core: a core dump or a debugger shows the secret and all payloads".to_owned(),
        );
    }
    if geteuid().is_root() {
        warnings.push(
            "the server runs as root, and needs no privilege: run it as a user of its own"
                .to_owned(),
        );
    }
    if may_swap() {
        warnings.push(
            "the system may write memory with the secret and payloads to its swap: encrypt the \
             swap, turn it off, or forbid it for this service (MemorySwapMax=0)"
                .to_owned(),
        );
    }
    warnings
}

/// The hard limit too, so that no code of the process raises it again.
fn forbid_core() -> io::Result<()> {
    let limit = getrlimit(Resource::Core);
    if limit.current == Some(0) && limit.maximum == Some(0) {
        return Ok(());
    }
    Ok(setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?)
}

/// Whether the system has swap that this process may use. What cannot be read counts as none.
fn may_swap() -> bool {
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
    has_swap(&swaps) && cgroup::swap_limit() != Some(0)
}

/// Whether the text of `/proc/swaps` has an entry below its heading.
fn has_swap(swaps: &str) -> bool {
    swaps.lines().skip(1).any(|line| !line.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_is_an_entry_below_the_heading() {
        let heading = "Filename\tType\tSize\tUsed\tPriority\n";
        assert!(!has_swap(heading) && !has_swap(""));
        assert!(has_swap(&format!("{heading}/dev/zram0 partition 8388604 0 100\n")));
    }
}
