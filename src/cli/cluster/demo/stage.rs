//! The processes of the demo and their folder. Whatever ends the demo removes both.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::time::sleep;

use super::bound::bound;
use super::failure::DemoFailure;
use super::place::{Actor, Ports, make_dir, prepare};
use super::program::NatsServer;
use crate::cli::out::{tell, write_new};
use crate::clock::{Clock, SystemClock};

/// Name of the cluster.
pub(super) const CLUSTER: &str = "demo";
/// Servers, and nodes.
pub(super) const COUNT: usize = 3;
/// Names of the nodes.
pub(super) const NODES: [&str; COUNT] = ["a", "b", "c"];
/// Names of the NATS servers.
pub(super) const SERVERS: [&str; COUNT] = ["n1", "n2", "n3"];
/// Time for the start of a process and for an election.
const PATIENCE: Duration = Duration::from_secs(40);
/// Pause before something is looked at again.
const LOOK: Duration = Duration::from_millis(50);
/// Lines of a log in a message.
const LOG_LINES: usize = 6;

/// The ports of a NATS server.
#[derive(Clone, Copy)]
pub(super) struct ServerPorts {
    client: u16,
    route: u16,
    monitor: u16,
}

/// The ports of a node.
#[derive(Clone, Copy)]
pub(super) struct NodePorts {
    data: u16,
    admin: u16,
}

/// The processes and the folder.
pub(super) struct Stage {
    pub(super) clock: SystemClock,
    pub(super) nats: NatsServer,
    jeton: PathBuf,
    dir: PathBuf,
    servers: [(Actor, ServerPorts); COUNT],
    nodes: [(Actor, NodePorts); COUNT],
    /// Whether processes stay when the demo ends well.
    outlives: bool,
    keeps_folder: bool,
    _ports: Ports,
}

impl Stage {
    /// Makes the folder and chooses the ports.
    pub(super) fn new(nats: NatsServer, outlives: bool) -> Result<Self, DemoFailure> {
        let jeton = std::env::current_exe().map_err(DemoFailure::io("find this program"))?;
        let ports = Ports::free().map_err(DemoFailure::io("find free ports"))?;
        let actor = |name: &str| Actor::new(name);
        let servers = [0, 1, 2].map(|n| {
            let [client, route, monitor] = [0, 1, 2].map(|kind| ports.list[3 * n + kind]);
            (actor(&format!("nats-server {}", SERVERS[n])), ServerPorts { client, route, monitor })
        });
        let nodes = [0, 1, 2].map(|n| {
            let [data, admin] = [0, 1].map(|kind| ports.list[COUNT * 3 + 2 * n + kind]);
            (actor(&format!("node {}", NODES[n])), NodePorts { data, admin })
        });
        let dir = make_dir()?;
        let clock = SystemClock::new();
        let (keeps_folder, _ports) = (false, ports);
        Ok(Self { clock, nats, jeton, dir, servers, nodes, outlives, keeps_folder, _ports })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where a node answers.
    pub(super) fn data(&self, n: usize) -> String {
        url("http", self.nodes[n].1.data)
    }

    /// Where a node answers operators.
    pub(super) fn admin(&self, n: usize) -> String {
        url("http", self.nodes[n].1.admin)
    }

    /// Where a NATS server tells what it does.
    pub(super) fn monitor(&self, n: usize) -> String {
        url("http", self.servers[n].1.monitor)
    }

    /// Where a NATS server answers nodes.
    pub(super) fn client(&self, n: usize) -> String {
        url("nats", self.servers[n].1.client)
    }

    /// Writes the configuration of a NATS server.
    pub(super) async fn configure_server(&mut self, n: usize) -> Result<(), DemoFailure> {
        let routes = self.servers.each_ref().map(|(_, ports)| url("nats", ports.route)).join(",");
        let at = |port: u16| format!("127.0.0.1:{port}");
        let ServerPorts { client, route, monitor } = self.servers[n].1;
        let store_dir = self.dir.join(SERVERS[n]).display().to_string();
        let words = [
            ["--server-name", SERVERS[n]],
            ["--routes", &routes],
            ["--cluster-name", CLUSTER],
            ["--listen", &at(client)],
            ["--route-listen", &at(route)],
            ["--monitor-listen", &at(monitor)],
            ["--store-dir", &store_dir],
            ["--store-max-bytes", "2GiB"],
        ];
        let words = ["cluster", "nats-config"].into_iter().chain(words.into_iter().flatten());
        let text = self.run(&words.collect::<Vec<_>>()).await?;
        let file = self.dir.join(format!("{}.conf", SERVERS[n]));
        fs::write(&file, text).map_err(DemoFailure::io(format!("write {}", file.display())))
    }

    pub(super) fn start_server(&mut self, n: usize) -> Result<(), DemoFailure> {
        let file = self.dir.join(format!("{}.conf", SERVERS[n]));
        let words = [self.nats.program.clone().into(), "--config".into(), file.into()];
        self.start(SERVERS[n], &words, |stage| &mut stage.servers[n].0)
    }

    /// What all nodes are given.
    pub(super) fn settings(&self) -> Vec<String> {
        let joined = |url: &dyn Fn(usize) -> String| [0, 1, 2].map(url).join(",");
        [
            ("--cluster", joined(&|n| self.client(n))),
            ("--cluster-monitor", joined(&|n| self.monitor(n))),
            ("--cluster-name", CLUSTER.to_owned()),
            ("--secret-file", self.dir.join("secret.key").display().to_string()),
        ]
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect()
    }

    /// Makes the secret and the stream.
    pub(super) async fn begin_cluster(&mut self) -> Result<String, DemoFailure> {
        let mut secret = [0; 32];
        let no_random = |_| std::io::Error::other("no random bytes");
        getrandom::fill(&mut secret)
            .map_err(no_random)
            .map_err(DemoFailure::io("make a secret"))?;
        let file = self.dir.join("secret.key");
        write_new(&file, &secret).map_err(DemoFailure::io(format!("write {}", file.display())))?;
        let settings = self.settings();
        let mut words = vec!["cluster", "init", "--stream-max-bytes", "1GiB"];
        words.extend(settings.iter().map(String::as_str));
        let begin = self.clock.monotonic();
        loop {
            match self.run(&words).await {
                // Servers that have just started may not know each other yet.
                Err(DemoFailure::Ended { .. }) if self.within(begin) => sleep(LOOK * 4).await,
                made => return made,
            }
        }
    }

    /// Starts a node; it is ready some time later.
    pub(super) fn start_node(&mut self, n: usize) -> Result<(), DemoFailure> {
        let NodePorts { data, admin } = self.nodes[n].1;
        let data_dir = self.dir.join(format!("node-{}", NODES[n]));
        let mut words: Vec<OsString> = vec![self.jeton.clone().into(), "serve".into()];
        for (flag, value) in [
            ("--listen", format!("127.0.0.1:{data}")),
            ("--admin-listen", format!("127.0.0.1:{admin}")),
            ("--data-dir", data_dir.display().to_string()),
            ("--workers", "1".to_owned()),
            ("--segment-size", "16MiB".to_owned()),
            ("--log-min-size", "64MiB".to_owned()),
        ] {
            words.extend([flag.into(), value.into()]);
        }
        words.extend(self.settings().into_iter().map(OsString::from));
        self.start(&format!("node-{}", NODES[n]), &words, |stage| &mut stage.nodes[n].0)
    }

    /// Waits for the ready line of a node.
    pub(super) async fn await_node(&mut self, n: usize) -> Result<(), DemoFailure> {
        let begin = self.clock.monotonic();
        let file = self.dir.join(format!("node-{}.out", NODES[n]));
        while !fs::read_to_string(&file).unwrap_or_default().contains("jeton ready: ") {
            self.check_running()?;
            if !self.within(begin) {
                let log = self.log_end(&format!("node-{}", NODES[n]));
                return Err(slow(&format!("the start of node {}", NODES[n]), log));
            }
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// SIGKILL for the server `n`.
    pub(super) fn kill_server(&mut self, n: usize) -> Result<(), DemoFailure> {
        self.servers[n].0.kill()
    }

    /// SIGKILL for the node `n`.
    pub(super) fn kill_node(&mut self, n: usize) -> Result<(), DemoFailure> {
        self.nodes[n].0.kill()
    }

    /// A process that has ended by itself fails the demo.
    pub(super) fn check_running(&mut self) -> Result<(), DemoFailure> {
        let servers =
            self.servers.iter_mut().map(|(actor, _)| actor).zip(SERVERS.map(String::from));
        let nodes = self.nodes.iter_mut().map(|(actor, _)| actor);
        let nodes = nodes.zip(NODES.map(|name| format!("node-{name}")));
        let mut ended = None;
        for (actor, log) in servers.chain(nodes) {
            let Some(child) = &mut actor.child else { continue };
            let status = child.try_wait().map_err(DemoFailure::io("wait for a process"))?;
            if let Some(status) = status {
                ended = Some((actor.name.clone(), status.to_string(), log));
            }
        }
        match ended {
            None => Ok(()),
            Some((name, status, log)) => {
                Err(DemoFailure::Ended { name, status, log: self.log_end(&log) })
            }
        }
    }

    /// Whether less than the patience has passed since `begin`.
    pub(super) fn within(&self, begin: Duration) -> bool {
        self.clock.monotonic().saturating_sub(begin) < PATIENCE
    }

    fn log_end(&self, name: &str) -> String {
        let text = fs::read_to_string(self.dir.join(format!("{name}.log"))).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    /// Starts a process with its outputs in the folder.
    fn start(
        &mut self,
        file: &str,
        words: &[OsString],
        actor: impl Fn(&mut Self) -> &mut Actor,
    ) -> Result<(), DemoFailure> {
        let output = |end: &str| {
            let path = self.dir.join(format!("{file}.{end}"));
            // A start after a kill must not find the ready line of the life before.
            let kept = end == "log";
            let mut options = File::options();
            let options = options.create(true).write(true).append(kept).truncate(!kept);
            options.open(&path).map_err(DemoFailure::io(format!("write {}", path.display())))
        };
        let (log, out) = (output("log")?, output("out")?);
        let mut command = match self.outlives {
            true => {
                let mut command = Command::new(&words[0]);
                command.args(&words[1..]);
                command
            }
            false => bound(&self.jeton, words),
        };
        prepare(&mut command, &self.dir);
        let name = actor(self).name.clone();
        let child = command.stdout(out).stderr(log).spawn();
        let child = child.map_err(DemoFailure::io(format!("start {name}")))?;
        actor(self).child = Some(child);
        Ok(())
    }

    /// Runs a command of jeton to its end, and returns what it printed.
    async fn run(&self, words: &[&str]) -> Result<String, DemoFailure> {
        let all: Vec<OsString> =
            [self.jeton.clone().into()].into_iter().chain(words.iter().map(Into::into)).collect();
        let mut command = bound(&self.jeton, &all);
        prepare(&mut command, &self.dir);
        let name = format!("jeton {}", words[..2].join(" "));
        let begun = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = begun.map_err(DemoFailure::io(format!("start {name}")))?;
        while child.try_wait().map_err(DemoFailure::io(format!("wait for {name}")))?.is_none() {
            sleep(LOOK).await;
        }
        let output = child.wait_with_output().map_err(DemoFailure::io(format!("read {name}")))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => {
                let (status, log) = (output.status.to_string(), text(&output.stderr));
                Err(DemoFailure::Ended { name, status, log })
            }
        }
    }

    /// Leaves the folder alone at the end.
    pub(super) fn keep_folder(&mut self) -> &Path {
        self.keeps_folder = true;
        &self.dir
    }

    /// Leaves everything running; how to use and stop it.
    pub(super) fn leave(&mut self) -> String {
        let (mut text, mut pids) = (String::from("\nEverything keeps running:\n"), Vec::new());
        let mut line = |name: &str, what: String, actor: &mut Actor| {
            let Some(child) = actor.child.take() else { return };
            pids.push(child.id().to_string());
            text.push_str(&format!("   {name:<3} process {:<8} {what}\n", child.id()));
        };
        for (n, (actor, ports)) in self.servers.iter_mut().enumerate() {
            line(SERVERS[n], url("nats", ports.client), actor);
        }
        for (n, (actor, ports)) in self.nodes.iter_mut().enumerate() {
            let (data, admin) = (url("http", ports.data), url("http", ports.admin));
            line(NODES[n], format!("{data}, for operators {admin}"), actor);
        }
        self.keeps_folder = true;
        let admin = self.admin(0);
        text.push_str(&format!("   jeton cluster status --server {admin}\nStop it with:\n"));
        let (pids, dir) = (pids.join(" "), self.dir.display());
        // Nodes end with SIGTERM in order, which takes a moment.
        text + &format!("   kill {pids}; sleep 2; rm -r {dir}\n")
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let actors = self.nodes.iter_mut().map(|(actor, _)| actor);
        for actor in actors.chain(self.servers.iter_mut().map(|(actor, _)| actor)) {
            // It may have ended by itself.
            let _ = actor.kill();
        }
        if self.keeps_folder {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            tell!("can't remove {}: {error}", self.dir.display());
        }
    }
}

/// A process that took too long.
pub(super) fn slow(what: &str, why: String) -> DemoFailure {
    DemoFailure::Slow { what: what.to_owned(), seconds: PATIENCE.as_secs(), why }
}

fn url(scheme: &str, port: u16) -> String {
    format!("{scheme}://127.0.0.1:{port}")
}
