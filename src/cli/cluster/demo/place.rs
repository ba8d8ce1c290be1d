//! A process of the demo, and what it is started with: no setting of the caller, a folder and ports
//! of its own.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::failure::DemoFailure;
use crate::permissions::DIR_MODE;

/// Ports for listeners begin here, below those that the system gives to connections.
const PORT_MIN: u16 = 20_000;
/// Ports of a block: one that the demo holds, and those of its processes.
const BLOCK: u16 = 16;
const BLOCKS: u16 = 375;

/// A process, which is not running or is.
pub(super) struct Actor {
    pub(super) name: String,
    pub(super) child: Option<Child>,
}

impl Actor {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), child: None }
    }

    /// Kills it, if it runs, and waits for its end.
    pub(super) fn kill(&mut self) -> Result<(), DemoFailure> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let killed = kill_process(Pid::from_child(&child), Signal::KILL);
        let ended = child.wait();
        killed.map_err(|error| DemoFailure::io(format!("kill {}", self.name))(error.into()))?;
        ended.map(|_| ()).map_err(DemoFailure::io(format!("wait for {}", self.name)))
    }
}

/// No setting of the caller's environment and no Ctrl-C at the terminal: that is for the demo alone.
pub(super) fn prepare(command: &mut Command, dir: &Path) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("JETON_") {
            command.env_remove(name);
        }
    }
    command.current_dir(dir).stdin(Stdio::null()).process_group(0);
}

/// A folder for this demo alone.
pub(super) fn make_dir() -> Result<PathBuf, DemoFailure> {
    let mut random = [0; 6];
    let no_random = |_| std::io::Error::other("no random bytes");
    getrandom::fill(&mut random).map_err(no_random).map_err(DemoFailure::io("choose a name"))?;
    let dir = std::env::temp_dir().join(format!("jeton-demo-{}", const_hex::encode(random)));
    let made = fs::DirBuilder::new().mode(DIR_MODE).create(&dir);
    made.map_err(DemoFailure::io(format!("make {}", dir.display())))?;
    Ok(dir)
}

/// Ports for the processes of a demo. While this lives, no other demo uses them, also when the process
/// that listens at one of them was killed and has not started again.
pub(super) struct Ports {
    pub(super) list: Vec<u16>,
    /// Holds the first port of the block, so that nobody else takes the block.
    _first: TcpListener,
}

impl Ports {
    /// A block of ports that are all free.
    pub(super) fn free() -> std::io::Result<Self> {
        let begin = u16::try_from(std::process::id() % u32::from(BLOCKS)).unwrap_or_default();
        let blocks = (0..BLOCKS).map(|n| PORT_MIN + (begin + n) % BLOCKS * BLOCK);
        let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok();
        let mut found = blocks.filter_map(|first| {
            let list: Vec<u16> = (first + 1..first + BLOCK).collect();
            let _first = bind(first)?;
            list.iter().all(|port| bind(*port).is_some()).then_some(Self { list, _first })
        });
        found.next().ok_or_else(|| std::io::ErrorKind::AddrNotAvailable.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_demos_have_no_port_in_common_and_one_that_ended_leaves_its_ports() {
        let bound = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
        let (one, other) = (Ports::free().expect("a block"), Ports::free().expect("a block"));
        assert_eq!((one.list.len(), other.list.len()), (15, 15));
        assert!(one.list.iter().all(|port| !other.list.contains(port)));
        let first = one.list[0] - 1;
        assert!(!bound(&first));
        drop(one);
        assert!(bound(&first));
    }
}
