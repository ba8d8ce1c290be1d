//! Starting the servers: jeton, the stores that people use today, and the floor.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::access::Access;
use super::environment::command_with;
use super::folder::{self, Folder};
use super::halted::{Halted, disk_bytes, listening};
use super::kind::Kind;
use super::options::Options;
use super::process::Process;
use super::{binary, floor, probe, secured, usage};
use crate::failure::{Failure, Result, io};
use crate::report::model::Target;
use crate::secret::{self, Words};

/// A store with all its tokens on disk may take minutes.
const READY_TIME: Duration = Duration::from_secs(300);

/// A server that was started here. Dropping it kills it and removes its data.
#[derive(Debug)]
pub struct Spawned {
    // The process is dropped first: it writes into the folder.
    process: Process,
    kind: Kind,
    address: SocketAddr,
    admin: Option<SocketAddr>,
    access: Access,
    version: Option<String>,
    command: Words,
    begun_at: Instant,
    start_time: Duration,
    folder: Folder,
}

impl Spawned {
    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where it takes the load.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where jeton's admin listener is.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// The key, password or certificate to ask it with.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Its process id, for [`super::usage`].
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// As a report names it.
    pub fn report(&self) -> Target {
        Target {
            kind: self.kind.name().to_owned(),
            address: self.address.to_string(),
            version: self.version.clone(),
            command: Some(secret::hidden(self.command.0.clone())),
            config: probe::configuration(self.kind, self.address, self.admin, &self.access),
            nodes: Vec::new(),
        }
    }

    /// How many living tokens it says it holds; of Redis and Valkey, keys. None where this kind of
    /// server is not asked.
    ///
    /// # Errors
    /// As for [`probe::statistics`], or it does not say.
    pub fn tokens(&self) -> Result<Option<u64>> {
        match (self.kind, self.admin) {
            (Kind::Jeton | Kind::JetonResp, Some(admin)) => {
                Ok(probe::statistics_with(admin, &self.access)?["tokens"].as_u64())
            }
            (Kind::Redis | Kind::Valkey, _) => {
                let count = probe::keys(self.address, &self.access);
                let problem = "did not say how many keys it holds";
                count.map(Some).ok_or_else(|| self.failed(problem))
            }
            _ => Ok(None),
        }
    }

    /// From when its process began until it was ready.
    pub fn start_time(&self) -> Duration {
        self.start_time
    }

    /// What its files take on the disk.
    ///
    /// # Errors
    /// They can't be read.
    pub fn disk_bytes(&self) -> Result<u64> {
        disk_bytes(self.folder.path())
    }

    /// Ends it in order and keeps its data, so that it can be started again.
    ///
    /// # Errors
    /// As [`Self::stop`].
    pub fn halt(self) -> Result<Halted> {
        let Self { process, kind, address, access, version, command, folder, .. } = self;
        process.stop()?;
        Ok(Halted { kind, address, access, version, command, folder })
    }

    /// A failure of this server, with the end of what it logged.
    pub fn failed(&self, problem: &str) -> Failure {
        self.process.failed(problem)
    }

    /// Ends it in order.
    ///
    /// # Errors
    /// It had ended before, ended with a failure, or had to be killed.
    pub fn stop(self) -> Result<()> {
        self.process.stop()
    }
}

/// Why a server of this kind can't be started here, if it can't: its program is not on the PATH.
pub fn missing(kind: Kind) -> Option<String> {
    let program = program(kind)?;
    let found = binary::on_path(program.as_ref()).is_some();
    (!found).then(|| format!("{program} is not on the PATH"))
}

/// Starts a server on a free port of this machine and waits until it is ready.
///
/// # Errors
/// Its program is not there, or it does not become ready; with the end of what it logged.
pub fn start(kind: Kind, options: &Options) -> Result<Spawned> {
    secured::check(kind, options)?;
    let base = binary::scratch(options.scratch.as_deref());
    folder::remove_abandoned(&base);
    let folder = Folder::new(&base)?;
    match kind {
        Kind::Jeton | Kind::JetonResp => jeton(kind, folder, options),
        Kind::Floor => floor(folder, options),
        Kind::Redis | Kind::Valkey | Kind::Memcached | Kind::Pogocache => {
            store(kind, folder, options)
        }
    }
}

/// Starts a server that was halted again, where it listened before.
///
/// # Errors
/// As for [`start`].
pub fn start_again(halted: Halted) -> Result<Spawned> {
    let Halted { kind, address, access, version, command, folder } = halted;
    let Some((program, arguments)) = command.split_first() else {
        let problem = "it was not started here".to_owned();
        return Err(Failure::Target { target: kind.name().to_owned(), problem });
    };
    let mut again = Command::new(program);
    again.args(listening(arguments, address)).current_dir(folder.path());
    let mut started = begin(kind, &again, folder, version, access)?;
    ready(&mut started, address)?;
    Ok(started)
}

fn jeton(kind: Kind, folder: Folder, options: &Options) -> Result<Spawned> {
    let program = binary::jeton(options.server_bin.as_deref())?;
    let mut command = command_with(program.as_os_str(), &options.environment)?;
    command.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    if kind == Kind::JetonResp {
        command.args(["--resp-listen", "127.0.0.1:0"]);
    }
    command.arg("--data-dir").arg(folder.path().join("data"));
    command.args((!options.durable).then_some("--memory-only"));
    let secured = secured::jeton(folder.path(), &program, options)?;
    command.args(&secured.arguments).args(options.arguments.iter());
    let version = probe::program_version(&program, folder.path());
    let mut started = begin(kind, &command, folder, version, secured.access)?;
    jeton_ready(&mut started)?;
    Ok(started)
}

fn jeton_ready(started: &mut Spawned) -> Result<()> {
    let line = started.process.wait_for_line("jeton ready: ", READY_TIME)?;
    let scheme = if started.access.tls.is_some() { "https://" } else { "http://" };
    if scheme == "http://" && line.contains("data=https://") {
        let problem = "it speaks TLS: give --tls, which makes a certificate for it, or start it \
                       yourself and give --target https://HOST:PORT";
        return Err(started.failed(problem));
    }
    let address = |name: &str, scheme: &str| {
        let url = line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix(scheme));
        url.and_then(|address| address.parse().ok())
    };
    started.admin = address("admin=", scheme);
    let found = match started.kind {
        Kind::JetonResp => address("resp=", "redis://"),
        _ => address("data=", scheme),
    };
    started.address = found.ok_or_else(|| started.failed(&format!("its ready line is: {line}")))?;
    started.start_time = since(started.begun_at);
    Ok(())
}

/// Waits until a server is ready that was started to listen at this address.
fn ready(started: &mut Spawned, address: SocketAddr) -> Result<()> {
    let kind = started.kind;
    if matches!(kind, Kind::Jeton | Kind::JetonResp) {
        return jeton_ready(started);
    }
    let access = started.access.clone();
    started.process.wait_until(READY_TIME, || probe::is_ready(kind, address, &access))?;
    started.address = address;
    started.start_time = since(started.begun_at);
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "how long a real process takes to start")]
fn now() -> Instant {
    Instant::now()
}

fn since(begun_at: Instant) -> Duration {
    now().saturating_duration_since(begun_at)
}

fn floor(folder: Folder, options: &Options) -> Result<Spawned> {
    let program = match &options.harness_bin {
        Some(program) => program.clone(),
        None => std::env::current_exe().map_err(io("find this program"))?,
    };
    let mut command = command_with(program.as_os_str(), &options.environment)?;
    command.args(["floor", "--listen", "127.0.0.1:0", "--body-bytes"]);
    command.arg(options.floor_body_bytes.to_string()).args(options.arguments.iter());
    let version = Some(env!("CARGO_PKG_VERSION").to_owned());
    let mut started = begin(Kind::Floor, &command, folder, version, Access::default())?;
    let line = started.process.wait_for_line(floor::READY, READY_TIME)?;
    started.address = line
        .parse()
        .map_err(|_| started.failed(&format!("its ready line is: {}{line}", floor::READY)))?;
    started.start_time = since(started.begun_at);
    Ok(started)
}

fn store(kind: Kind, folder: Folder, options: &Options) -> Result<Spawned> {
    let found = program(kind).and_then(|program| binary::on_path(program.as_ref()));
    let program = found.ok_or_else(|| Failure::Target {
        target: kind.name().to_owned(),
        problem: missing(kind).unwrap_or_else(|| "its program was not found".to_owned()),
    })?;
    let address = free_address()?;
    let mut command = command_with(program.as_os_str(), &options.environment)?;
    let secured = secured::store(folder.path(), address.port(), options)?;
    let plain_port = if options.tls { 0 } else { address.port() };
    command.args(&secured.arguments);
    command.args(store_arguments(kind, plain_port, folder.path(), options.durable));
    command.args(options.arguments.iter()).current_dir(folder.path());
    let version = probe::program_version(&program, folder.path());
    let mut started = begin(kind, &command, folder, version, secured.access)?;
    ready(&mut started, address)?;
    Ok(started)
}

/// Starts a process; where it listens is not known yet.
fn begin(
    kind: Kind,
    command: &Command,
    folder: Folder,
    version: Option<String>,
    access: Access,
) -> Result<Spawned> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words = words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>();
    let begun_at = now();
    let process = Process::start(kind.name(), command, folder.path())?;
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    Ok(Spawned {
        process,
        kind,
        address,
        admin: None,
        access,
        version,
        command: words.into(),
        begun_at,
        start_time: Duration::ZERO,
        folder,
    })
}

/// The program of a store; none for servers that the harness finds in other ways.
fn program(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Redis => Some("redis-server"),
        Kind::Valkey => Some("valkey-server"),
        Kind::Memcached => Some("memcached"),
        Kind::Pogocache => Some("pogocache"),
        Kind::Jeton | Kind::JetonResp | Kind::Floor => None,
    }
}

fn store_arguments(kind: Kind, port: u16, folder: &Path, durable: bool) -> Vec<String> {
    match kind {
        Kind::Memcached => return memcached_arguments(port),
        Kind::Pogocache => return pogocache_arguments(port),
        _ => {}
    }
    let (port, folder) = (port.to_string(), folder.display().to_string());
    let common = ["--bind", "127.0.0.1", "--port", &port, "--daemonize", "no"];
    let files = ["--dir", &folder, "--save", ""];
    let log: &[&str] = if durable {
        &["--appendonly", "yes", "--appendfsync", "always"]
    } else {
        &["--appendonly", "no"]
    };
    [&common[..], &files, log].concat().into_iter().map(str::to_owned).collect()
}

fn memcached_arguments(port: u16) -> Vec<String> {
    let machine = usage::machine();
    // It silently forgets what exceeds its limit, which would count as lost here.
    let limit_mib = (machine.memory_bytes / 4 * 3) >> 20;
    let (port, threads) = (port.to_string(), machine.cores.to_string());
    let (limit, user) = (limit_mib.to_string(), rustix::process::geteuid().is_root());
    let network = ["-l", "127.0.0.1", "-p", &port, "-U", "0", "-c", "16384"];
    // An item of 1 MiB with its key does not fit into the limit of 1 MiB that it has by itself.
    let sizes = ["-t", &threads, "-m", &limit, "-I", "2m"];
    // It runs as root only with this flag.
    let user: &[&str] = if user { &["-u", "root"] } else { &[] };
    [&network[..], &sizes, user].concat().into_iter().map(str::to_owned).collect()
}

/// By default it forgets entries at its limit, which would count as lost here: `--evict no` makes it
/// refuse new ones instead.
fn pogocache_arguments(port: u16) -> Vec<String> {
    let machine = usage::machine();
    let limit = format!("{}M", (machine.memory_bytes / 4 * 3) >> 20);
    let (port, threads) = (port.to_string(), machine.cores.to_string());
    let network = ["-h", "127.0.0.1", "-p", &port, "--maxconns", "16384"];
    let memory = ["--threads", &threads, "--maxmemory", &limit, "--evict", "no"];
    [&network[..], &memory].concat().into_iter().map(str::to_owned).collect()
}

/// A port that was free a moment ago: the stores can't pick one themselves.
fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(io("find a free port"))?;
    listener.local_addr().map_err(io("find a free port"))
}
