//! How each server is started, and the few questions asked of them beside the load.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::failure::{Failure, Result, io};
use crate::process::{Process, Server};
use crate::requests::Target;
use crate::stats::Stats;
use crate::wire::{self, Protocol};

const READY_TIME: Duration = Duration::from_secs(300);
const ANSWER_TIME: Duration = Duration::from_secs(300);

/// A store that people use today, found on the PATH.
#[derive(Clone, Debug)]
pub struct Peer {
    pub name: &'static str,
    program: &'static str,
    pub protocol: Protocol,
    found: Option<PathBuf>,
}

impl Peer {
    /// Redis, and Valkey where it is there.
    pub fn redis_like() -> Vec<Self> {
        let redis = Self::find("redis", "redis-server", Protocol::Resp);
        let valkey = Self::find("valkey", "valkey-server", Protocol::Resp);
        let there = valkey.found.is_some();
        std::iter::once(redis).chain(there.then_some(valkey)).collect()
    }

    /// memcached.
    pub fn memcached() -> Self {
        Self::find("memcached", "memcached", Protocol::Memcached)
    }

    fn find(name: &'static str, program: &'static str, protocol: Protocol) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path)
            .map(|folder| folder.join(program))
            .find(|candidate| candidate.is_file());
        Self { name, program, protocol, found }
    }

    /// Why it cannot run here, if it cannot.
    pub fn missing(&self) -> Option<String> {
        let program = self.program;
        self.found.is_none().then(|| format!("not run: {program} is not on the PATH"))
    }

    /// The first line it prints about its version.
    pub fn version(&self) -> Option<String> {
        let output = Command::new(self.found.as_ref()?).arg("--version").output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let words = text.split_whitespace().find(|word| {
            let number = word.trim_start_matches("v=");
            number.starts_with(|first: char| first.is_ascii_digit())
        });
        words.map(|word| format!("{} {}", self.name, word.trim_start_matches("v=")))
    }

    /// Starts it with its files in `folder`; `arguments` go behind the common ones.
    pub fn start(&self, folder: &Path, arguments: &[&str]) -> Result<Server> {
        let program = self.found.as_ref().ok_or_else(|| Failure::Server {
            name: self.name.to_owned(),
            why: self.missing().unwrap_or_default(),
        })?;
        std::fs::create_dir_all(folder).map_err(io("create a folder"))?;
        let address = free_address()?;
        let port = address.port().to_string();
        let mut command = Command::new(program);
        command.current_dir(folder);
        if self.protocol == Protocol::Memcached {
            command.args(["-l", "127.0.0.1", "-p", &port, "-U", "0", "-u", "root"]);
        } else {
            command.args(["--bind", "127.0.0.1", "--port", &port, "--daemonize", "no", "--dir"]);
            command.arg(folder);
        }
        command.args(arguments);
        let started = Instant::now();
        let mut process = Process::start(self.name, command, log_path(folder, self.name), false)?;
        process.wait_until(READY_TIME, || is_ready(address, self.protocol))?;
        let target = Target::new(self.protocol, address);
        Ok(Server::new(process, target, started.elapsed()))
    }
}

/// The arguments that make a Redis keep nothing on disk.
pub const REDIS_IN_MEMORY: [&str; 4] = ["--appendonly", "no", "--save", ""];

/// Starts jeton on free ports with its log beside `folder`, which is its data directory.
pub fn jeton(name: &str, folder: &Path, arguments: &[&str]) -> Result<Server> {
    let program =
        std::env::var_os("JETON_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_jeton").into());
    let mut command = Command::new(program);
    command.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    command.arg("--data-dir").arg(folder).args(arguments);
    let started = Instant::now();
    let mut process = Process::start(name, command, log_path(folder, name), true)?;
    let line = process.wait_for_line("jeton ready: ")?;
    let start_time = started.elapsed();
    let field = |key: &str| line.split(' ').find_map(|word| word.strip_prefix(key));
    let address = |key: &str| field(key).and_then(|url| url.strip_prefix("http://")?.parse().ok());
    let wrong =
        || Failure::Wrong(format!("the ready line reads {}", wire::excerpt(line.as_bytes())));
    let target = Target::new(Protocol::Http, address("data=").ok_or_else(wrong)?);
    let mut server = Server::new(process, target, start_time);
    server.admin = Some(address("admin=").ok_or_else(wrong)?);
    server.tokens_at_start = Some(field("tokens=").and_then(|n| n.parse().ok()).ok_or_else(wrong)?);
    Ok(server)
}

/// Starts the floor, which answers `answer` to everything, with its files beside `folder`.
pub fn floor(folder: &Path, answer: &[u8]) -> Result<Server> {
    let file = folder.with_extension("answer");
    std::fs::write(&file, answer).map_err(io("write the fixed answer"))?;
    let program = std::env::current_exe().map_err(io("find this program"))?;
    let mut command = Command::new(program);
    command.arg("--floor-answer").arg(&file);
    let started = Instant::now();
    let mut process = Process::start("floor", command, log_path(folder, "floor"), true)?;
    let address = process.wait_for_line("floor ready: ")?.parse();
    let address = address.map_err(|_| Failure::Wrong("the floor's ready line".to_owned()))?;
    Ok(Server::new(process, Target::new(Protocol::Http, address), started.elapsed()))
}

impl Server {
    /// The number of tokens or keys it holds now.
    pub fn token_count(&self) -> Result<u64> {
        match self.target.protocol {
            Protocol::Http => self.stats()?.tokens(),
            Protocol::Resp => {
                let answer = self.ask(b"DBSIZE\r\n")?;
                let text = String::from_utf8_lossy(&answer);
                let count = text.trim().strip_prefix(':').and_then(|number| number.parse().ok());
                count.ok_or_else(|| Failure::Wrong(format!("DBSIZE: {text}")))
            }
            Protocol::Memcached => Err(self.failed("memcached cannot count")),
        }
    }

    /// What jeton's `/v1/stats` says.
    pub fn stats(&self) -> Result<Stats> {
        let admin = self.admin.ok_or_else(|| self.failed("it has no admin listener"))?;
        let request = format!("GET /v1/stats HTTP/1.1\r\nHost: {admin}\r\n\r\n");
        let answer = exchange(admin, Protocol::Http, request.as_bytes())?;
        let parts = wire::http_answer(&answer).map_err(Failure::Wrong)?;
        Stats::parse(parts.body)
    }

    /// Sends one request on a connection of its own; gives the answer.
    pub fn ask(&self, request: &[u8]) -> Result<Vec<u8>> {
        exchange(self.target.address, self.target.protocol, request)
    }
}

fn exchange(address: SocketAddr, protocol: Protocol, request: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).map_err(io(format!("connect {address}")))?;
    stream.set_read_timeout(Some(ANSWER_TIME)).map_err(io("set a time-out"))?;
    stream.write_all(request).map_err(io("send"))?;
    let (mut answer, mut part) = (Vec::new(), [0; 16 * 1024]);
    loop {
        let count = stream.read(&mut part).map_err(io("receive"))?;
        answer.extend_from_slice(&part[..count]);
        match wire::answer_len(protocol, &answer).map_err(Failure::Wrong)? {
            Some(length) => {
                answer.truncate(length);
                return Ok(answer);
            }
            None if count == 0 => return Err(Failure::Wrong("half an answer".to_owned())),
            None => {}
        }
    }
}

fn is_ready(address: SocketAddr, protocol: Protocol) -> bool {
    let probe: &[u8] = match protocol {
        Protocol::Memcached => b"version\r\n",
        Protocol::Resp | Protocol::Http => b"PING\r\n",
    };
    // While Redis loads its data it answers with an error.
    exchange(address, protocol, probe).is_ok_and(|answer| !answer.starts_with(b"-"))
}

/// A port that was free a moment ago: these servers cannot pick one themselves.
fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(io("bind"))?;
    listener.local_addr().map_err(io("bind"))
}

fn log_path(folder: &Path, name: &str) -> PathBuf {
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    folder.with_extension(format!("{name}.log"))
}
