//! Servers of Redis or Valkey to import from, which can be started again on the same place.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use crate::resp_data::redis::Jeton;
use crate::resp_data::wire::{Wire, encode, show};
use crate::server::jeton;
use crate::support::{comes_true, not_run};

const PROGRAMS: [&str; 2] = ["valkey-server", "redis-server"];

/// A server; dropping it kills it.
pub struct Source {
    program: &'static str,
    flags: Vec<String>,
    child: Child,
    pub address: SocketAddr,
    dir: TempDir,
}

impl Source {
    /// `None` where the machine has no such server, which is told.
    pub fn start(check: &str) -> Option<Self> {
        Self::start_with(check, &[])
    }

    /// The same with more flags.
    pub fn start_with(check: &str, flags: &[&str]) -> Option<Self> {
        let program = Self::program(check)?;
        let flags: Vec<_> = flags.iter().map(ToString::to_string).collect();
        // A free port may be taken again before the server has it: then the next one is tried.
        for _ in 0..16 {
            let dir = tempfile::tempdir().expect("a temporary folder");
            let address = free();
            let mut child = spawn(program, address, &flags, &dir);
            if comes_up(&mut child, address) {
                return Some(Self { program, flags, child, address, dir });
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("{program} does not start");
    }

    /// The first program that this machine has.
    pub fn program(check: &str) -> Option<&'static str> {
        let has = |program: &&&str| {
            let version = Command::new(program).arg("--version").stdout(Stdio::null()).status();
            version.is_ok_and(|status| status.success())
        };
        let program = PROGRAMS.iter().find(has);
        if program.is_none() {
            not_run(check, "neither valkey-server nor redis-server is on the PATH");
        }
        program.copied()
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    pub fn wire(&self) -> Wire {
        Wire::open(self.address)
    }

    /// Says one command, whose answer is no error.
    pub fn say(&self, words: &str) -> String {
        let answer = self.wire().say(words);
        assert!(!answer.starts_with('-'), "{words}: {answer}");
        answer
    }

    /// Stops it with its keys on the disk, and starts it again with them.
    pub fn restart(&mut self) {
        self.wire().send(&encode(&[b"SHUTDOWN", b"SAVE"]));
        self.child.wait().expect("a child of ours");
        self.child = spawn(self.program, self.address, &self.flags, &self.dir);
        assert!(comes_up(&mut self.child, self.address), "it starts again");
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(program: &str, address: SocketAddr, flags: &[String], dir: &TempDir) -> Child {
    let port = address.port().to_string();
    Command::new(program)
        .args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"])
        .arg("--dir")
        .arg(dir.path())
        .args(flags)
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
        let ready = || {
            let mut wire = Wire::try_open(address).ok()?;
            wire.try_send(&encode(&[b"PING"])).ok()?;
            Some(!show(&wire.try_answer().ok()?).contains("LOADING"))
        };
        is_over || ready().unwrap_or(false)
    });
    is_up && !is_over
}

/// A port that nobody uses, and whose cluster port exists.
pub fn free() -> SocketAddr {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        if address.port() < 55_000 {
            return address;
        }
    }
}

/// An import from `source` into `jeton` with a state file in `dir`.
pub fn import(source: &str, to: &Jeton, dir: &TempDir) -> Command {
    let mut command = jeton();
    command.args(["import", source, "--server", &format!("redis://{}", to.address), "--state"]);
    command.arg(dir.path().join("state")).env_remove("REDISCLI_AUTH");
    command
}

/// Starts an import; its output is kept.
pub fn begun(import: &mut Command) -> Child {
    let import = import.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    import.spawn().expect("it starts")
}

/// Starts an import whose output nobody reads.
pub fn begun_unread(import: &mut Command) -> Child {
    let import = import.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    import.spawn().expect("it starts")
}

/// What an import has printed on both outputs, with its exit code.
pub fn said(output: &Output) -> (i32, String) {
    let text = [&output.stdout[..], &output.stderr].concat();
    let text = String::from_utf8(text).expect("UTF-8");
    (output.status.code().expect("an exit code"), text)
}

/// The number of keys of a kind in what an import has printed; 0 without a line.
pub fn count(text: &str, kind: &str) -> u64 {
    let line = text.lines().find_map(|line| {
        let line = line.strip_prefix("not copied: ").unwrap_or(line);
        line.strip_prefix(kind)?.strip_prefix(' ')
    });
    let number = line.and_then(|line| line.split(' ').next());
    number.map_or(0, |number| number.parse().expect("a number"))
}
