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
const PORTS: u16 = 12_000;

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

/// Ports that are free now, all different.
pub(super) fn free_ports(count: usize) -> std::io::Result<Vec<u16>> {
    let begin = u16::try_from(std::process::id() % u32::from(PORTS)).unwrap_or_default();
    let candidates = (0..PORTS).map(|n| PORT_MIN + (begin + n) % PORTS);
    let bound = candidates.filter_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok());
    // All are held until the last one is found.
    let held: Vec<TcpListener> = bound.take(count).collect();
    if held.len() < count {
        return Err(std::io::ErrorKind::AddrNotAvailable.into());
    }
    held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}
