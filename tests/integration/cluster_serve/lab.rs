//! Three nats-servers with the stream of a cluster, and what is needed to start nodes on it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;
use crate::cluster::servers::{Cluster, NAME, Setup, within};
use crate::raw::{Conn, Response, request};
use crate::server::{Launch, Refused, Server, jeton, output};

/// What the servers take; the longest message of a node.
pub const MAX_PAYLOAD: usize = 2 << 20;
/// The secret of a cluster.
const SECRET: [u8; 32] = [7; 32];
/// Bytes that the stream may hold, in the tests.
const STREAM_MAX: &str = "256MiB";

/// The servers of a cluster. Everything is gone when it is dropped.
pub struct Lab {
    pub nats: Cluster,
    dir: TempDir,
}

/// How the servers of a node's cluster are set up.
pub fn setup() -> Setup {
    Setup { max_payload: [MAX_PAYLOAD; 3], ..Setup::default() }
}

impl Lab {
    /// Servers without a stream; `None` where there is no nats-server, which is told.
    pub fn empty(check: &str, setup: Setup) -> Option<Self> {
        Self::empty_in(check, tempfile::tempdir().expect("a folder"), setup)
    }

    /// The same, with the servers in a folder that already has files.
    pub fn empty_in(check: &str, dir: TempDir, setup: Setup) -> Option<Self> {
        let nats = Cluster::start_in(check, dir, setup)?;
        let lab = Self { nats, dir: tempfile::tempdir().expect("a folder") };
        lab.write_secret("secret.key", SECRET[0]);
        Some(lab)
    }

    /// Servers with the stream of a cluster that has begun.
    pub fn begun(check: &str) -> Option<Self> {
        Self::begun_with(check, setup())
    }

    /// The same on servers that are set up otherwise.
    pub fn begun_with(check: &str, setup: Setup) -> Option<Self> {
        Self::begun_in(check, tempfile::tempdir().expect("a folder"), setup)
    }

    /// The same, with the servers in a folder that already has files.
    pub fn begun_in(check: &str, dir: TempDir, setup: Setup) -> Option<Self> {
        Self::begun_of(check, dir, setup, STREAM_MAX)
    }

    /// The same with a stream of this length.
    pub fn begun_of(check: &str, dir: TempDir, setup: Setup, stream_max: &str) -> Option<Self> {
        let lab = Self::empty_in(check, dir, setup)?;
        let made = lab.init_with(stream_max);
        assert!(made.status.success(), "{made:?}");
        lab.nats.await_health();
        Some(lab)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write_secret(&self, name: &str, byte: u8) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, [byte; 32]).expect("written");
        path
    }

    /// `jeton cluster init`, until the servers are ready for it.
    pub fn init(&self) -> Output {
        self.init_with(STREAM_MAX)
    }

    /// The same with another program than the one under test.
    pub fn init_by(&self, program: &str) {
        within("the cluster begins", || {
            let mut command = self.command(&["cluster", "init", "--stream-max-bytes", STREAM_MAX]);
            let words: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
            let kept: Vec<_> = command.get_envs().map(|(name, _)| name.to_owned()).collect();
            command = Command::new(program);
            command.args(words);
            for name in kept {
                command.env_remove(name);
            }
            let made = output(&mut command);
            match made.status.success() {
                true => Ok(()),
                false => Err(String::from_utf8_lossy(&made.stderr).into_owned()),
            }
        });
        self.nats.await_health();
    }

    fn init_with(&self, stream_max: &str) -> Output {
        let args = ["cluster", "init", "--stream-max-bytes", stream_max];
        let mut last = None;
        within("the cluster begins", || {
            let made = output(&mut self.command(&args));
            let said = String::from_utf8_lossy(&made.stderr).into_owned();
            // Servers that have just started know no peers yet.
            let is_early = said.contains("insufficient resources") || said.contains("no suitable");
            last = Some(made);
            if is_early { Err(said) } else { Ok(()) }
        });
        last.expect("it ran")
    }

    /// A command with the settings of this cluster.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = jeton();
        command.args(args);
        for (name, value) in self.flags() {
            command.arg(name).arg(value);
        }
        command
    }

    /// The flags of a node, without its data directory.
    pub fn flags(&self) -> Vec<(&'static str, String)> {
        let config = self.nats.config();
        vec![
            ("--cluster", config.servers.join(",")),
            ("--cluster-monitor", config.monitors.join(",")),
            ("--cluster-name", NAME.to_owned()),
            ("--secret-file", shown(&self.path("secret.key"))),
        ]
    }

    /// A node with this data directory.
    pub fn node(&self, name: &str) -> Launch {
        self.node_without("", name)
    }

    /// The same without a flag.
    pub fn node_without(&self, flag: &str, name: &str) -> Launch {
        let begin = Launch::on(&self.path(name))
            .flag("--segment-size", "16MiB")
            .flag("--log-min-size", "64MiB");
        let flags = self.flags().into_iter().filter(|(name, _)| *name != flag);
        flags.fold(begin, |launch, (name, value)| launch.flag(name, &value))
    }

    /// The log of a new node, from a backup of a running one.
    pub fn restore(&self, from: &Server, name: &str) {
        let (backup, dir) = (self.path(&format!("backup-{name}")), self.path(name));
        let url = format!("http://{}", from.admin);
        let taken = output(jeton().args(["backup", "--server", &url]).arg(&backup));
        assert!(taken.status.success(), "{taken:?}");
        let mut restore = jeton();
        restore.arg("restore").arg(&backup).arg("--data-dir").arg(&dir);
        let restored = output(restore.arg("--secret-file").arg(self.path("secret.key")));
        assert!(restored.status.success(), "{restored:?}");
    }

    /// Nodes with these data directories, started at the same time.
    pub fn start<const N: usize>(&self, names: [&str; N]) -> [Server; N] {
        started(&names.map(|name| self.node(name)))
    }
}

/// Servers that are started at the same time.
pub fn started<const N: usize>(launches: &[Launch; N]) -> [Server; N] {
    std::thread::scope(|scope| {
        let starting = launches.each_ref().map(|launch| scope.spawn(|| launch.start()));
        starting.map(|starting| starting.join().expect("it starts"))
    })
}

fn shown(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

/// An answer of the admin listener.
pub fn admin(server: &Server, path: &str) -> Response {
    let mut conn = Conn::open(server.admin).expect("a connection");
    conn.send(&request("GET", path, &[], b"")).expect("sent");
    conn.response().expect("an answer")
}

/// What a node knows of its cluster.
pub fn report(server: &Server) -> Value {
    let answer = admin(server, "/cluster");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Waits until a node is ready for everything.
pub fn await_ready(server: &Server) {
    within("the node is ready", || {
        let answer = admin(server, "/readyz?for=changes");
        if answer.status == 200 { Ok(()) } else { Err(answer.text().to_owned()) }
    });
}

/// Waits until a node says that its stream is lost, and returns the whole sentence.
pub fn await_lost(server: &Server) -> String {
    within("it is lost", || match admin(server, "/readyz") {
        answer if answer.status == 503 && answer.text().starts_with("lost: ") => {
            Ok(answer.text().to_owned())
        }
        other => Err(other.text().to_owned()),
    })
}

/// Waits until a node knows a token that was issued elsewhere.
pub fn await_known(server: &Server, token: &str) -> Response {
    let mut client = Client::of(server);
    within("the token is known", || match client.resolve(token) {
        found if found.status == 200 => Ok(found),
        other => Err(other.text().to_owned()),
    })
}

/// Waits until all nodes are at the same position, and returns their chains there.
pub fn await_equal(servers: &[&Server]) -> Vec<(String, String)> {
    within("the nodes are at the same position", || {
        let reports: Vec<Value> = servers.iter().map(|server| report(server)).collect();
        let positions: Vec<&Value> = reports.iter().map(|report| &report["position"]).collect();
        if positions.windows(2).any(|pair| pair[0] != pair[1]) {
            return Err(format!("{positions:?}"));
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let chains = reports.iter().map(|one| (text(&one["chain"]), text(&one["outcomes"])));
        Ok(chains.collect())
    })
}

/// The position at the end of a log, as `jeton verify` prints it: an era and a number.
pub fn position(dir: &Path) -> (u64, u64) {
    let secret = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(secret.path(), SECRET).expect("written");
    let mut verify = jeton();
    verify.arg("verify").arg(dir).arg("--secret-file").arg(secret.path());
    let verified = output(&mut verify);
    let text = String::from_utf8_lossy(&verified.stdout).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("position"));
    let position = line.and_then(|line| line.trim().split_once(',')).expect("a position").0;
    let (era, seq) = position.split_once('.').expect("an era and a number");
    (era.parse().expect("a number"), seq.parse().expect("a number"))
}

/// The message of a node that must not start.
pub fn refused(launch: &Launch) -> Refused {
    match launch.try_start() {
        Ok(_) => panic!("it started"),
        Err(refused) => refused,
    }
}
