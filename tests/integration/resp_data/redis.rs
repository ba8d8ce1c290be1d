//! A real redis-server, and a jeton that speaks its protocol.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::wire::Wire;
use crate::server::{Launch, Server};
use crate::support::{comes_true, not_run};

/// Programs that are the reference, the first of them that the machine has.
const PROGRAMS: [&str; 2] = ["valkey-server", "redis-server"];

/// A real server with an empty memory; dropping it kills it.
pub struct Redis {
    child: Child,
    pub address: SocketAddr,
    /// Its version, as major and minor number.
    pub version: (u32, u32),
    _dir: TempDir,
}

impl Redis {
    /// `None` where the machine has none, which is told.
    pub fn start(check: &str) -> Option<Self> {
        let Some((program, version)) = PROGRAMS.iter().find_map(|it| Some((*it, version(it)?)))
        else {
            not_run(check, "neither valkey-server nor redis-server is on the PATH");
            return None;
        };
        let dir = tempfile::tempdir().expect("a temporary folder");
        // A free port may be taken again before the server has it: then the next one is tried.
        for _ in 0..16 {
            let address = free();
            let mut child = spawn(program, address, &dir);
            if comes_up(&mut child, address) {
                return Some(Self { child, address, version, _dir: dir });
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("{program} does not start");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(program: &str, address: SocketAddr, dir: &TempDir) -> Child {
    let port = address.port().to_string();
    Command::new(program)
        .args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"])
        .arg("--dir")
        .arg(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts")
}

fn comes_up(child: &mut Child, address: SocketAddr) -> bool {
    let mut is_over = false;
    let is_up = comes_true(|| {
        is_over = child.try_wait().expect("a child of ours").is_some();
        is_over || Wire::try_open(address).is_ok()
    });
    is_up && !is_over
}

/// The version of a program, as it prints it: `Redis server v=7.0.15 …`.
fn version(program: &str) -> Option<(u32, u32)> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut numbers = text.split_once(" v=")?.1.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound")
}

/// A jeton with the Redis protocol, on an empty folder.
pub struct Jeton {
    pub server: Server,
    pub address: SocketAddr,
}

impl Jeton {
    pub fn start() -> Self {
        Self::start_with(|launch| launch)
    }

    pub fn start_with(settings: impl FnOnce(Launch) -> Launch) -> Self {
        let on_resp = |launch: Launch| settings(launch.flag("--resp-listen", "127.0.0.1:0"));
        Self::of(Server::fresh_with(on_resp))
    }

    pub fn of(server: Server) -> Self {
        let address = resp_address(&server.stdout());
        Self { server, address }
    }

    pub fn wire(&self) -> Wire {
        Wire::open(self.address)
    }
}

/// The address in the ready line: `… resp=redis://127.0.0.1:PORT …`, or rediss.
fn resp_address(ready: &str) -> SocketAddr {
    let ready = ready.replace("=rediss://", "=redis://");
    let after = ready.split_once(" resp=redis://").map(|(_, after)| after);
    let address = after.and_then(|after| after.split_whitespace().next());
    let parsed = address.and_then(|address| address.parse().ok());
    parsed.unwrap_or_else(|| panic!("no Redis protocol in the ready line: {ready:?}"))
}

/// Time for what a server does by itself.
pub const MOMENT: Duration = Duration::from_millis(5);
