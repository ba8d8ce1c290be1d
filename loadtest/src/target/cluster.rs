//! A cluster of jeton on this machine: three NATS servers and three nodes, each a process that can
//! be killed, stopped and started again. For figures of what that costs its clients.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

pub mod delayed;

use super::access::{Access, Conversation};
use super::folder::{self, Folder};
use super::process::{self, Process};
use super::{binary, environment};
use crate::failure::{Failure, Result, io};

/// Servers, and nodes.
pub const COUNT: usize = 3;
const PROGRAM: &str = "nats-server";
const NAME: &str = "figures";
/// For an election, a start and a catch-up.
const PATIENCE: Duration = Duration::from_secs(300);
/// Pause before something is looked at again.
const LOOK: Duration = Duration::from_millis(20);
/// Bytes that the stream may hold.
const STREAM_MAX: &str = "8GiB";
/// Ports begin here, below those that the system gives to connections.
const PORT_MIN: u16 = 20_000;
const BLOCK: u16 = 16;
const BLOCKS: u16 = 375;

/// A NATS server.
struct Server {
    client: u16,
    route: u16,
    monitor: u16,
    process: Option<Process>,
}

/// A node.
struct Node {
    data: u16,
    admin: u16,
    process: Option<Process>,
}

/// The processes. Dropping it kills them and removes their data.
pub struct Cluster {
    // Processes are dropped first: they write into the folder.
    nodes: Vec<Node>,
    servers: Vec<Server>,
    jeton: PathBuf,
    nats: PathBuf,
    /// What every sync of the servers takes longer.
    delay: Duration,
    folder: Folder,
    /// Holds the block of ports.
    _first: TcpListener,
}

/// Why no cluster can be started here, if none can.
pub fn missing() -> Option<String> {
    let found = binary::on_path(PROGRAM.as_ref()).is_some();
    (!found).then(|| format!("{PROGRAM} is not on the PATH"))
}

impl Cluster {
    /// Starts everything and waits until all nodes serve. `server_bin` is jeton's binary, if it is not
    /// to be built or looked for; data goes below `scratch`.
    ///
    /// # Errors
    /// A program is not there, or does not become ready.
    pub fn start(server_bin: Option<&Path>, scratch: Option<&Path>) -> Result<Self> {
        Self::start_delayed(server_bin, scratch, Duration::ZERO)
    }

    /// The same, with servers whose every sync takes so much longer, see [`delayed::missing`].
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_delayed(
        server_bin: Option<&Path>,
        scratch: Option<&Path>,
        delay: Duration,
    ) -> Result<Self> {
        let jeton = binary::jeton(server_bin)?;
        let nats = binary::on_path(PROGRAM.as_ref()).ok_or_else(|| Failure::Target {
            target: PROGRAM.to_owned(),
            problem: missing().unwrap_or_default(),
        })?;
        let base = binary::scratch(scratch);
        folder::remove_abandoned(&base);
        let folder = Folder::new(&base)?;
        let (_first, mut ports) = free_ports()?;
        let mut port = || ports.next().unwrap_or_default();
        let mut cluster =
            Self { nodes: vec![], servers: vec![], jeton, nats, delay, folder, _first };
        for _ in 0..COUNT {
            let (client, route, monitor) = (port(), port(), port());
            cluster.servers.push(Server { client, route, monitor, process: None });
            cluster.nodes.push(Node { data: port(), admin: port(), process: None });
        }
        cluster.begin()?;
        Ok(cluster)
    }

    fn begin(&mut self) -> Result<()> {
        for n in 0..COUNT {
            for name in [server_name(n), node_name(n)] {
                std::fs::create_dir(self.path(&name)).map_err(io(format!("make {name}")))?;
            }
            let text = self.configuration(n)?;
            let file = self.path(&server_name(n)).join("nats.conf");
            std::fs::write(&file, text).map_err(io(format!("write {}", file.display())))?;
        }
        (0..COUNT).try_for_each(|n| self.start_server(n))?;
        self.make_secret()?;
        let mut words = vec!["cluster".into(), "init".into()];
        words.extend(["--stream-max-bytes".into(), STREAM_MAX.into()]);
        words.extend(self.settings());
        let begun = now();
        loop {
            // Servers that have just started may not know each other yet.
            match self.run(&words) {
                Err(_) if begun.elapsed() < PATIENCE => std::thread::sleep(LOOK * 10),
                made => break made.map(|_| ())?,
            }
        }
        self.await_current()?;
        (0..COUNT).try_for_each(|n| self.start_node(n).map(|_| ()))
    }

    fn make_secret(&self) -> Result<()> {
        let file = self.path("secret.key");
        let mut options = OpenOptions::new();
        let made = options.write(true).create_new(true).mode(0o600).open(&file);
        let written = made.and_then(|mut made| made.write_all(&rand::random::<[u8; 32]>()));
        written.map_err(io(format!("write {}", file.display())))
    }

    /// Where the data is.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where the nodes take the load.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| local(node.data)).collect()
    }

    /// What `jeton cluster nats-config` prints for a server.
    fn configuration(&self, n: usize) -> Result<String> {
        let routes: Vec<String> =
            self.servers.iter().map(|one| format!("nats://{}", local(one.route))).collect();
        let Server { client, route, monitor, .. } = self.servers[n];
        let mut words: Vec<OsString> = vec!["cluster".into(), "nats-config".into()];
        for (flag, value) in [
            ("--server-name", server_name(n)),
            ("--routes", routes.join(",")),
            ("--cluster-name", NAME.to_owned()),
            ("--listen", local(client).to_string()),
            ("--route-listen", local(route).to_string()),
            ("--monitor-listen", local(monitor).to_string()),
            ("--store-dir", self.path(&server_name(n)).display().to_string()),
            ("--store-max-bytes", "12GiB".to_owned()),
        ] {
            words.extend([flag.into(), value.into()]);
        }
        self.run(&words)
    }

    fn settings(&self) -> Vec<OsString> {
        let all = |url: &dyn Fn(&Server) -> String| -> OsString {
            self.servers.iter().map(url).collect::<Vec<_>>().join(",").into()
        };
        let clients = all(&|server| format!("nats://{}", local(server.client)));
        let monitors = all(&|server| format!("http://{}", local(server.monitor)));
        vec![
            "--cluster".into(),
            clients,
            "--cluster-monitor".into(),
            monitors,
            "--cluster-name".into(),
            NAME.into(),
            "--secret-file".into(),
            self.path("secret.key").into(),
        ]
    }

    /// Runs a command of jeton to its end; gives what it printed.
    fn run(&self, words: &[OsString]) -> Result<String> {
        let mut command = Command::new(&self.jeton);
        command.args(words).current_dir(self.folder.path());
        environment::for_tool(&mut command);
        let output = process::output(&command, Stdio::piped(), Stdio::piped());
        let output = output.map_err(io("start jeton"))?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(Failure::Target {
                target: "jeton cluster".to_owned(),
                problem: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            }),
        }
    }

    /// Starts a NATS server, for the first time or again.
    ///
    /// # Errors
    /// It does not listen in time.
    pub fn start_server(&mut self, n: usize) -> Result<()> {
        let folder = self.path(&server_name(n));
        let mut command = delayed::command(&self.nats, self.delay);
        command.arg("--config").arg(folder.join("nats.conf"));
        let mut process = Process::start(PROGRAM, &command, &folder)?;
        let client = local(self.servers[n].client);
        process.wait_until(PATIENCE, || std::net::TcpStream::connect(client).is_ok())?;
        self.servers[n].process = Some(process);
        Ok(())
    }

    /// The process of a NATS server; 0 where it does not run.
    pub fn server_pid(&self, n: usize) -> u32 {
        self.servers[n].process.as_ref().map_or(0, Process::pid)
    }

    /// The process of a node; 0 where it does not run.
    pub fn node_pid(&self, n: usize) -> u32 {
        self.nodes[n].process.as_ref().map_or(0, Process::pid)
    }

    /// Takes note that a NATS server was ended, and starts it again. All copies are then current.
    ///
    /// # Errors
    /// As [`Self::start_server`] and [`Self::await_current`].
    pub fn restart_server(&mut self, n: usize) -> Result<()> {
        self.servers[n].process = None;
        self.start_server(n)?;
        self.await_current()
    }

    /// Ends a node with SIGKILL.
    pub fn kill_node(&mut self, n: usize) {
        self.nodes[n].process = None;
    }

    /// Starts a node, for the first time or again; gives how long it took until it served.
    ///
    /// # Errors
    /// It does not serve in time.
    pub fn start_node(&mut self, n: usize) -> Result<Duration> {
        let folder = self.path(&node_name(n));
        let mut command = Command::new(&self.jeton);
        command.arg("serve").arg("--data-dir").arg(folder.join("data"));
        let Node { data, admin, .. } = self.nodes[n];
        command.args(["--listen", &local(data).to_string()]);
        command.args(["--admin-listen", &local(admin).to_string()]).args(self.settings());
        let begun = now();
        let mut process = Process::start("jeton", &command, &folder)?;
        process.wait_for_line("jeton ready: ", PATIENCE)?;
        self.nodes[n].process = Some(process);
        Ok(begun.elapsed())
    }

    /// The NATS server that leads the stream.
    ///
    /// # Errors
    /// None says so in time.
    pub fn leader(&self) -> Result<usize> {
        let begun = now();
        loop {
            let told = self.servers.iter().find_map(|server| {
                leader_in(&get(local(server.monitor), "/jsz?accounts=true&streams=true")?)
            });
            match told {
                Some(leader) => return Ok(leader),
                None if begun.elapsed() > PATIENCE => return Err(late("a leader of the stream")),
                None => std::thread::sleep(LOOK),
            }
        }
    }

    /// Waits until every NATS server has every message.
    ///
    /// # Errors
    /// One has not in time.
    pub fn await_current(&self) -> Result<()> {
        let begun = now();
        let is_current = |server: &Server| {
            get(local(server.monitor), "/healthz").is_some_and(|told| told["status"] == "ok")
        };
        while !self.servers.iter().all(is_current) {
            if begun.elapsed() > PATIENCE {
                return Err(late("current copies of the stream"));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// The last message that a node has landed.
    pub fn position(&self, n: usize) -> Option<u64> {
        let told = get(local(self.nodes[n].admin), "/cluster")?;
        told["position"].as_str()?.split('.').next_back()?.parse().ok()
    }
}

/// Sends a signal to a process; gives whether it was there.
pub fn signal(pid: u32, signal: Signal) -> bool {
    Pid::from_raw(pid.cast_signed()).is_some_and(|pid| kill_process(pid, signal).is_ok())
}

fn late(what: &str) -> Failure {
    let problem = format!("{what}: not within {} s", PATIENCE.as_secs());
    Failure::Target { target: "the cluster".to_owned(), problem }
}

fn server_name(n: usize) -> String {
    format!("n{}", n + 1)
}

fn node_name(n: usize) -> String {
    format!("node-{}", n + 1)
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// A document of JSON over HTTP.
fn get(address: SocketAddr, path: &str) -> Option<Value> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let mut open = Conversation::open(address, &Access::default()).ok()?;
    // It closes behind its answer; no JSON holds this end.
    let answer = open.ask(request.as_bytes(), b"\0")?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    // The body may come in chunks; the document is between the outer braces.
    let document = body.get(body.find('{')?..=body.rfind('}')?)?;
    serde_json::from_str(document).ok()
}

fn leader_in(jsz: &Value) -> Option<usize> {
    let accounts = jsz["account_details"].as_array()?.iter();
    let mut streams = accounts.filter_map(|one| one["stream_detail"].as_array()).flatten();
    let stream = format!("jeton-{NAME}");
    let leader = streams.find(|one| one["name"] == stream)?["cluster"]["leader"].as_str()?;
    (0..COUNT).find(|n| server_name(*n) == leader)
}

/// A block of ports that are all free, and the listener of the first that keeps others off it.
fn free_ports() -> Result<(TcpListener, RangeInclusive<u16>)> {
    let begin = u16::try_from(std::process::id() % u32::from(BLOCKS)).unwrap_or_default();
    let mut blocks = (0..BLOCKS).map(|n| PORT_MIN + (begin + n) % BLOCKS * BLOCK);
    let bind = |port| TcpListener::bind(local(port)).ok();
    let taken = |first| {
        let (held, ports) = (bind(first)?, first + 1..=first + BLOCK - 1);
        ports.clone().all(|port| bind(port).is_some()).then_some((held, ports))
    };
    let none = || io("find free ports")(std::io::ErrorKind::AddrNotAvailable);
    blocks.find_map(taken).ok_or_else(none)
}

#[expect(clippy::disallowed_methods, reason = "how long real processes take")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leader_is_that_of_the_stream() {
        let of = |stream: &str, leader: &str| {
            let detail = serde_json::json!([{ "name": stream, "cluster": { "leader": leader } }]);
            leader_in(&serde_json::json!({ "account_details": [{ "stream_detail": detail }] }))
        };
        assert_eq!(of("jeton-figures", "n3"), Some(2));
        assert_eq!(of("jeton-figures", ""), None);
        assert_eq!(of("other", "n3"), None);
        assert_eq!(leader_in(&Value::Null), None);
    }

    #[test]
    fn two_clusters_have_no_port_in_common() {
        let (one, other) = (free_ports().expect("a block"), free_ports().expect("a block"));
        assert!(one.1.len() == COUNT * 5 && one.1.clone().all(|port| !other.1.contains(&port)));
    }
}
