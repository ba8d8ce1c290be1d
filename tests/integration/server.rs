//! Starts the real `jeton serve`, waits for its ready line, and stops or kills it.
//!
//! Names that the tests need (flags of limits, the log filter's variable) are defined here once, so
//! that a renaming changes one line.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Time limit of a request body.
pub const BODY_TIMEOUT: &str = "--body-timeout";
/// Time limit of a request head.
pub const HEADER_TIMEOUT: &str = "--header-timeout";
/// The variable that sets the log filter.
pub const LOG_FILTER: &str = "JETON_LOG_LEVEL";

/// Starting and stopping take well under a second; this limit only prevents a broken build from
/// hanging.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Settings for starting a server; every setting has a small default.
#[derive(Clone)]
pub struct Launch {
    flags: BTreeMap<String, Option<String>>,
    /// A program, with its arguments, that executes the server.
    wrapper: Vec<String>,
    env: Vec<(String, String)>,
    /// Destination of its log, instead of the test.
    stderr: Option<PathBuf>,
}

/// A running server; dropping it kills it.
pub struct Server {
    child: Child,
    pub data: SocketAddr,
    pub admin: SocketAddr,
    /// Living tokens at the start, as the ready line said.
    pub tokens: u64,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
    _own_dir: Option<TempDir>,
}

/// A server that ended before it was ready.
#[derive(Debug)]
pub struct Refused {
    pub status: ExitStatus,
    pub stderr: String,
}

impl Launch {
    /// On `dir` and free ports, with a log so small that its ring turns within a test.
    pub fn on(dir: &Path) -> Self {
        let dir = dir.to_str().expect("the path of a temporary folder is UTF-8");
        Self::bare()
            .flag("--listen", "127.0.0.1:0")
            .flag("--admin-listen", "127.0.0.1:0")
            .flag("--data-dir", dir)
            .flag("--workers", "2")
            .flag("--segment-size", "1MiB")
            .flag("--log-min-size", "4MiB")
    }

    /// Without any flag at all.
    pub fn bare() -> Self {
        Self { flags: BTreeMap::new(), wrapper: Vec::new(), env: Vec::new(), stderr: None }
    }

    pub fn flag(mut self, name: &str, value: &str) -> Self {
        self.flags.insert(name.to_owned(), Some(value.to_owned()));
        self
    }

    pub fn switch(mut self, name: &str) -> Self {
        self.flags.insert(name.to_owned(), None);
        self
    }

    /// Started by another program, one that does not fork.
    pub fn under(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(ToString::to_string).collect();
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With its standard error on a file, a device or a pipe.
    pub fn stderr(mut self, path: &Path) -> Self {
        self.stderr = Some(path.to_owned());
        self
    }

    pub fn start(&self) -> Server {
        self.try_start().unwrap_or_else(|refused| panic!("the server did not start: {refused:?}"))
    }

    /// Starts a server and kills it after `delay`, whether or not it is ready.
    pub fn start_and_kill9(&self, delay: Duration) {
        self.start_and_do(delay, || {});
    }

    /// The same, and runs `cut` just before.
    pub fn start_and_do(&self, delay: Duration, before: impl FnOnce()) {
        let mut child = self.spawn();
        std::thread::sleep(delay);
        before();
        child.kill().expect("a child of ours");
        child.wait().expect("it has ended");
    }

    /// Starts it, and waits for nothing.
    pub fn spawn(&self) -> Child {
        let mut command = jeton_under(&self.wrapper);
        command.arg("serve");
        for (name, value) in &self.flags {
            command.arg(name).args(value);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        let log = self.stderr.as_ref().map_or_else(Stdio::piped, |path| {
            File::options().write(true).open(path).expect("a log").into()
        });
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the jeton binary runs")
    }

    /// The server, or its message when it refused to start.
    pub fn try_start(&self) -> Result<Server, Refused> {
        let mut child = self.spawn();
        let (line_sender, lines) = mpsc::channel();
        let (stdout, out_reader) = collect(child.stdout.take().expect("piped"), Some(line_sender));
        let log: Box<dyn Read + Send> = match child.stderr.take() {
            Some(log) => Box::new(log),
            None => Box::new(std::io::empty()),
        };
        let (stderr, err_reader) = collect(log, None);
        let readers = vec![out_reader, err_reader];
        match lines.recv_timeout(LONGEST_WAIT) {
            Ok(line) => {
                let (data, admin, tokens) = parse_ready_line(&line);
                let _own_dir = None;
                Ok(Server { child, data, admin, tokens, stdout, stderr, readers, _own_dir })
            }
            Err(RecvTimeoutError::Disconnected) => {
                let status = child.wait().expect("the server has ended");
                readers.into_iter().for_each(|reader| reader.join().expect("collects"));
                Err(Refused { status, stderr: snapshot(&stderr) })
            }
            Err(RecvTimeoutError::Timeout) => {
                let _ = child.kill();
                panic!("no ready line within {LONGEST_WAIT:?}: {}", snapshot(&stderr));
            }
        }
    }
}

impl Server {
    /// A separate server for this test, on an empty folder that is removed with it.
    pub fn fresh() -> Self {
        Self::fresh_with(|launch| launch)
    }

    /// The same, with more flags.
    pub fn fresh_with(settings: impl FnOnce(Launch) -> Launch) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut server = settings(Launch::on(dir.path())).start();
        server._own_dir = Some(dir);
        server
    }

    /// One server shared by all tests that only use their own tokens. It ends with its last user.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return server;
        }
        let server = Arc::new(Self::fresh());
        *shared = Arc::downgrade(&server);
        server
    }

    /// A crash: SIGKILL, without flushing anything.
    pub fn kill9(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it has ended");
    }

    /// Sends `signal` and waits for the end.
    pub fn stop(mut self, signal: Signal) -> (ExitStatus, String) {
        kill_process(self.pid(), signal).expect("it runs");
        let status = wait(&mut self.child);
        self.readers.drain(..).for_each(|reader| reader.join().expect("collects"));
        (status, self.stderr())
    }

    /// Waits for it to end by itself, and returns its exit status.
    pub fn ended(mut self) -> ExitStatus {
        wait(&mut self.child)
    }

    /// Whether it is running.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours").is_none()
    }

    /// SIGTERM; the exit status must be 0.
    pub fn stop_well(self) {
        let (status, stderr) = self.stop(Signal::TERM);
        assert!(status.success(), "SIGTERM ended with {status}: {stderr}");
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The standard error output so far.
    pub fn stderr(&self) -> String {
        snapshot(&self.stderr)
    }

    /// The standard output so far.
    pub fn stdout(&self) -> String {
        snapshot(&self.stdout)
    }

    /// Resident memory of the process, in KiB.
    pub fn resident_kib(&self) -> u64 {
        self.memory_kib("VmRSS:")
    }

    /// Peak resident memory of the process, in KiB.
    pub fn peak_kib(&self) -> u64 {
        self.memory_kib("VmHWM:")
    }

    fn memory_kib(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.pid().as_raw_nonzero());
        let status = std::fs::read_to_string(path).expect("the server runs");
        let line = status.lines().find(|line| line.starts_with(name)).expect("in its status");
        line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
    }

    /// Open file descriptors of the process.
    pub fn descriptors(&self) -> usize {
        let path = format!("/proc/{}/fd", self.pid().as_raw_nonzero());
        std::fs::read_dir(path).expect("the server runs").count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary under test, free of settings from the environment the tests run in.
pub fn jeton() -> Command {
    jeton_under(&[])
}

fn jeton_under(wrapper: &[String]) -> Command {
    let words = [wrapper, &[env!("CARGO_BIN_EXE_jeton").to_owned()]].concat();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("JETON_")) {
        command.env_remove(name);
    }
    command
}

/// Runs a command that should end by itself, and collects its output (less than a pipe holds).
pub fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the jeton binary runs");
    wait(&mut child);
    child.wait_with_output().expect("its output")
}

/// Waits for the end of a child that should end by itself.
pub fn wait(child: &mut Child) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            return status;
        }
        if begun.elapsed() > LONGEST_WAIT {
            let _ = child.kill();
            panic!("the process did not end within {LONGEST_WAIT:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Collects an output in the background, and forwards its lines.
fn collect(
    output: impl Read + Send + 'static,
    lines: Option<mpsc::Sender<String>>,
) -> (Arc<Mutex<String>>, JoinHandle<()>) {
    let text = Arc::new(Mutex::new(String::new()));
    let sink = Arc::clone(&text);
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            let mut text = sink.lock().expect("no reader panics");
            text.push_str(&line);
            text.push('\n');
            lines.as_ref().map(|lines| lines.send(line));
        }
    });
    (text, reader)
}

fn snapshot(text: &Mutex<String>) -> String {
    text.lock().expect("no reader panics").clone()
}

/// `jeton ready: data=http://127.0.0.1:PORT admin=http://127.0.0.1:PORT tokens=N`, or https both.
fn parse_ready_line(line: &str) -> (SocketAddr, SocketAddr, u64) {
    let line = &line.replace("=https://", "=http://");
    let parts = line.strip_prefix("jeton ready: data=http://").and_then(|rest| {
        let (data, rest) = rest.split_once(" admin=http://")?;
        let (admin, tokens) = rest.split_once(" tokens=")?;
        let admin = admin.split(' ').next()?;
        Some((data.parse().ok()?, admin.parse().ok()?, tokens.parse().ok()?))
    });
    parts.unwrap_or_else(|| panic!("not a ready line: {line:?}"))
}

#[test]
fn the_ready_line_is_read_to_the_letter() {
    let line = "jeton ready: data=http://127.0.0.1:7450 admin=http://127.0.0.1:7451 tokens=12";
    let (data, admin, tokens) = parse_ready_line(line);
    assert_eq!((data.port(), admin.port(), tokens), (7450, 7451, 12));
    assert!(std::panic::catch_unwind(|| parse_ready_line("jeton ready")).is_err());
}
