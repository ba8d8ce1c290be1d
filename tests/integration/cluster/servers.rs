//! Three nats-servers as one cluster, on ports and in a folder of their own.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use jeton::cluster::nats::{Config, Creation, Names, Nats};
use jeton::cluster::stream::{Stream, StreamError};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::not_run;

/// The name of the cluster of jeton.
pub const NAME: &str = "shop";
/// The longest message of the tests, and what the servers take.
pub const MESSAGE_LEN_MAX: usize = 1 << 20;
/// Bytes that the stream may hold.
pub const BYTES_MAX: u64 = 256 << 20;
/// Time for an election, a start or a restart.
const PATIENCE: Duration = Duration::from_secs(60);

/// The next port to try. Below those that the system gives to connections: between the choice and
/// its use, a connection could take one of them.
static PORT: AtomicU16 = AtomicU16::new(0);
/// Ports of servers in tests, in blocks: one for each process of tests.
const PORT_MIN: u16 = 26_000;
const PORT_END: u16 = 32_000;
const BLOCK: u16 = 1_500;

/// An IPv4 address, and the program with its arguments that starts another one there.
#[derive(Clone)]
pub struct Host {
    pub address: String,
    pub wrapper: Vec<String>,
}

/// How the servers are set up.
#[derive(Clone)]
pub struct Setup {
    pub syncs_always: [bool; 3],
    pub max_payload: [usize; 3],
    /// One server without the others.
    pub is_alone: bool,
    /// More lines of each configuration.
    pub more: String,
    /// Where each server runs, instead of the loopback interface of the test.
    pub hosts: Option<[Host; 3]>,
    /// The file with an operator's credentials, for `Cluster::api`, and the CA.
    pub credentials: Option<PathBuf>,
    pub ca: Option<PathBuf>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            syncs_always: [true; 3],
            max_payload: [MESSAGE_LEN_MAX; 3],
            is_alone: false,
            more: String::new(),
            hosts: None,
            credentials: None,
            ca: None,
        }
    }
}

struct Ports {
    client: u16,
    monitor: u16,
    route: u16,
}

/// Three servers. They are killed when it is dropped.
pub struct Cluster {
    pub dir: TempDir,
    setup: Setup,
    ports: Vec<Ports>,
    children: Vec<Option<Child>>,
}

impl Cluster {
    /// Starts the servers; `None` where there is no nats-server, which is told.
    pub fn start(check: &str, setup: Setup) -> Option<Self> {
        Self::start_in(check, tempfile::tempdir().expect("a folder"), setup)
    }

    /// The same in a folder that already has files.
    pub fn start_in(check: &str, dir: TempDir, setup: Setup) -> Option<Self> {
        if let Err(why) = program() {
            not_run(check, &why);
            return None;
        }
        let count = if setup.is_alone { 1 } else { 3 };
        let ports = (0..count).map(|_| Ports { client: free(), monitor: free(), route: free() });
        let mut cluster = Self {
            dir,
            setup,
            ports: ports.collect(),
            children: (0..count).map(|_| None).collect(),
        };
        (0..count).for_each(|n| cluster.run(n));
        Some(cluster)
    }

    /// The same with a stream.
    pub fn with_stream(check: &str, setup: Setup) -> Option<Self> {
        let cluster = Self::start(check, setup)?;
        cluster.create(cluster.config());
        Some(cluster)
    }

    /// Makes the stream as soon as the servers can.
    pub fn create(&self, config: Config) {
        let nats = Nats::open(config).expect("a thread");
        let chosen = Creation { copies: 3, bytes_max: BYTES_MAX };
        within("the stream is made", || nats.create(chosen).map_err(|error| error.to_string()));
        self.await_health();
    }

    /// The configuration of a node.
    pub fn config(&self) -> Config {
        let scheme = if self.setup.ca.is_some() { "tls" } else { "nats" };
        let urls = |scheme: &str, port: fn(&Ports) -> u16| {
            let servers = self.ports.iter().enumerate();
            let url = |(n, ports)| format!("{scheme}://{}:{}", self.address(n), port(ports));
            servers.map(url).collect()
        };
        Config {
            servers: urls(scheme, |ports| ports.client),
            name: NAME.to_owned(),
            node: "a".to_owned(),
            credentials: self.setup.credentials.clone(),
            ca: self.setup.ca.clone(),
            monitors: urls("http", |ports| ports.monitor),
            message_len_max: MESSAGE_LEN_MAX,
        }
    }

    /// A node's connection.
    pub fn open(&self) -> Nats {
        self.open_as("a")
    }

    /// The same for a node of this name.
    pub fn open_as(&self, node: &str) -> Nats {
        opened(Config { node: node.to_owned(), ..self.config() })
    }

    /// A request of an operator; the answer.
    pub fn api(&self, request: &str, body: &Value) -> Value {
        let config = self.config();
        within(request, || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let mut options = async_nats::ConnectOptions::new();
                if let Some(file) = &config.credentials {
                    options = options.credentials_file(file).await.expect("credentials");
                }
                if let Some(file) = &config.ca {
                    options = options.add_root_certificates(file.clone());
                }
                let servers: Vec<_> = config.servers.iter().map(String::as_str).collect();
                let client = options.connect(servers).await.map_err(|error| error.to_string())?;
                let names = Names::new(NAME);
                let subject = format!("$JS.API.{request}.{}", names.stream);
                let answer = client.request(subject, body.to_string().into()).await;
                let answer = answer.map_err(|error| error.to_string())?;
                let answer: Value = serde_json::from_slice(&answer.payload).expect("JSON");
                match answer.get("error") {
                    Some(error) if error["err_code"] == 10008 => Err(error.to_string()),
                    _ => Ok(answer),
                }
            })
        })
    }

    /// Changes settings of the stream. Panics if the server refuses them.
    pub fn edit(&self, changes: &Value) {
        let mut config = self.api("STREAM.INFO", &json!({}))["config"].clone();
        for (name, value) in changes.as_object().expect("settings") {
            config[name] = value.clone();
        }
        let answer = self.api("STREAM.UPDATE", &config);
        assert!(answer.get("error").is_none(), "{changes}: {answer}");
    }

    /// Kills a server with SIGKILL.
    pub fn kill(&mut self, n: usize) {
        let mut child = self.children[n].take().expect("it runs");
        child.kill().expect("killed");
        child.wait().expect("dead");
    }

    /// Sends a signal to a server.
    pub fn signal(&self, n: usize, signal: Signal) {
        let id = self.children[n].as_ref().expect("it runs").id();
        let pid = Pid::from_raw(i32::try_from(id).expect("a pid")).expect("not 0");
        kill_process(pid, signal).expect("sent");
    }

    /// Starts a server, again or for the first time.
    pub fn run(&mut self, n: usize) {
        let file = self.dir.path().join(format!("n{n}.conf"));
        std::fs::write(&file, self.text(n)).expect("written");
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.path().join(format!("n{n}.log")))
            .expect("a log");
        let child = self
            .program(n)
            .arg("--config")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn();
        self.children[n] = Some(child.expect("it starts"));
    }

    /// The command of a server, on its host.
    fn program(&self, n: usize) -> Command {
        let wrapper = self.setup.hosts.as_ref().map(|hosts| hosts[n].wrapper.as_slice());
        let Some([first, rest @ ..]) = wrapper else { return Command::new("nats-server") };
        let mut command = Command::new(first);
        command.args(rest).arg("nats-server");
        command
    }

    fn address(&self, n: usize) -> &str {
        self.setup.hosts.as_ref().map_or("127.0.0.1", |hosts| &hosts[n].address)
    }

    fn text(&self, n: usize) -> String {
        let (address, Ports { client, monitor, route }) = (self.address(n), &self.ports[n]);
        let routes = self.ports.iter().enumerate();
        let routes: Vec<_> = routes
            .map(|(n, ports)| format!("nats://{}:{}", self.address(n), ports.route))
            .collect();
        let cluster = format!(
            "cluster {{ name: c, listen: \"{address}:{route}\", routes: [{}] }}",
            routes.join(", ")
        );
        let cluster = if self.setup.is_alone { String::new() } else { cluster };
        let sync = if self.setup.syncs_always[n] { "sync_interval: always" } else { "" };
        format!(
            "server_name: n{n}\nlisten: \"{address}:{client}\"\nhttp: \"{address}:{monitor}\"\n\
             max_payload: {}\n\
             jetstream {{ store_dir: \"{}/n{n}\", max_file_store: 1073741824, {sync} }}\n\
             {cluster}\n{}\n",
            self.setup.max_payload[n],
            self.dir.path().display(),
            self.setup.more,
        )
    }

    /// The server that leads the stream.
    pub fn leader(&self) -> usize {
        let info = within("the stream has a leader", || {
            let info = self.api("STREAM.INFO", &json!({}));
            let has_leader = info["cluster"]["leader"].as_str().is_some_and(|it| !it.is_empty());
            if has_leader { Ok(info) } else { Err(info.to_string()) }
        });
        let name = info["cluster"]["leader"].as_str().expect("a name");
        name.trim_start_matches('n').parse().expect("a number")
    }

    /// Makes a server lead the stream.
    pub fn lead(&self, n: usize) {
        let to = json!({ "placement": { "preferred": format!("n{n}") } });
        within("the server leads the stream", || match self.leader() {
            leader if leader == n => Ok(()),
            leader => {
                let said = self.api("STREAM.LEADER.STEPDOWN", &to);
                Err(format!("n{leader} leads: {said}"))
            }
        });
    }

    /// The server to which a node of this name is connected.
    pub fn server_of(&self, node: &str) -> Option<usize> {
        (0..3).find(|n| {
            let connections = self.monitor(*n, "/connz");
            let connections = connections["connections"].as_array().cloned().unwrap_or_default();
            connections.iter().any(|one| one["name"] == format!("jeton {node}"))
        })
    }

    fn monitor(&self, n: usize, path: &str) -> Value {
        let Ok(mut socket) = TcpStream::connect((self.address(n), self.ports[n].monitor)) else {
            return Value::Null;
        };
        socket.set_read_timeout(Some(Duration::from_secs(2))).expect("set");
        let _ = write!(socket, "GET {path} HTTP/1.0\r\n\r\n");
        let mut answer = String::new();
        let _ = socket.read_to_string(&mut answer);
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body).unwrap_or_default()
    }

    /// Waits until all servers have all messages.
    pub fn await_health(&self) {
        within("all servers are current", || self.health());
    }

    /// Whether all servers have all messages.
    pub fn health(&self) -> Result<(), String> {
        let info = self.api("STREAM.INFO", &json!({}));
        let replicas = info["cluster"]["replicas"].as_array().cloned().unwrap_or_default();
        let is_current = |one: &Value| one["current"] == true && one["offline"] != true;
        let is_healthy = replicas.len() == 2 && replicas.iter().all(is_current);
        if is_healthy { Ok(()) } else { Err(info["cluster"].to_string()) }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for (n, child) in self.children.iter_mut().enumerate() {
            let Some(child) = child else { continue };
            let _ = child.kill();
            let _ = child.wait();
            if std::thread::panicking() {
                let log = std::fs::read_to_string(self.dir.path().join(format!("n{n}.log")));
                let log = log.unwrap_or_default();
                let lines: Vec<_> = log.lines().collect();
                let end = lines.len().saturating_sub(30);
                let log = lines[end..].join("\n");
                let _ = writeln!(std::io::stderr(), "-- the end of the log of n{n}\n{log}");
            }
        }
    }
}

/// Whether there is a nats-server that is new enough.
pub fn program() -> Result<(), String> {
    let said = Command::new("nats-server").arg("--version").output();
    let said = said.map_err(|_| "nats-server is not installed".to_owned())?;
    let text = String::from_utf8_lossy(&said.stdout);
    let version = text.trim().rsplit('v').next().unwrap_or_default();
    let numbers: Vec<u32> = version.split('.').map_while(|number| number.parse().ok()).collect();
    if numbers < vec![2, 14, 6] { Err(format!("{} is too old", text.trim())) } else { Ok(()) }
}

/// A connection that has been made.
pub fn opened(config: Config) -> Nats {
    let nats = Nats::open(config).expect("a thread");
    within("connected", || nats.connected());
    nats
}

/// A port that is free now, and that no other test uses: each process of tests holds the first port of
/// its block while it runs, and the demo's ports are lower.
fn free() -> u16 {
    static FIRST: OnceLock<TcpListener> = OnceLock::new();
    let bind = |port| TcpListener::bind(("127.0.0.1", port)).ok();
    let first = FIRST.get_or_init(|| {
        let mut blocks = (PORT_MIN..PORT_END).step_by(usize::from(BLOCK));
        blocks.find_map(bind).expect("a block of ports")
    });
    let first = first.local_addr().expect("bound").port();
    let mut ports =
        (0..BLOCK).map(|_| first + 1 + PORT.fetch_add(1, Ordering::Relaxed) % (BLOCK - 1));
    ports.find(|port| bind(*port).is_some()).expect("a free port")
}

/// Repeats until it succeeds.
pub fn within<T>(what: &str, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let begin = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(why) if begin.elapsed() > PATIENCE => panic!("never: {what}: {why}"),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// What a stream says of its setup.
pub fn promises(nats: &mut Nats) -> jeton::cluster::stream::Promises {
    within("the stream says how it is set up", || {
        nats.promises().map_err(|error: StreamError| error.to_string())
    })
}
