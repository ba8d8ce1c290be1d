//! What a service manager is told, by the protocol of systemd's sd_notify.

use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::time::{ClockId, clock_gettime};
use tempfile::TempDir;

use crate::server::{Launch, Server, jeton, wait};
use crate::support::eventually;

/// A service manager that only listens.
struct Manager {
    socket: UnixDatagram,
    dir: TempDir,
}

impl Manager {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let socket = UnixDatagram::bind(dir.path().join("notify")).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        Self { socket, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A server that tells this manager.
    fn launch(&self) -> Launch {
        let socket = self.path("notify");
        Launch::on(&self.path("data")).env("NOTIFY_SOCKET", socket.to_str().expect("UTF-8"))
    }

    /// The next message, a list of assignments.
    fn message(&self) -> Vec<String> {
        let mut bytes = [0; 4096];
        let len = self.socket.recv(&mut bytes).expect("a message");
        let text = std::str::from_utf8(&bytes[..len]).expect("UTF-8");
        text.lines().map(str::to_owned).collect()
    }

    /// The next message with this assignment.
    fn until(&self, assignment: &str) -> Vec<String> {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(30) {
            let message = self.message();
            if message.iter().any(|one| one == assignment) {
                return message;
            }
        }
        panic!("never {assignment}");
    }

    /// Whether a sign of life comes within this time.
    fn feels(&self, within: Duration) -> bool {
        self.socket.set_read_timeout(Some(within)).expect("set");
        let mut bytes = [0; 4096];
        let read = self.socket.recv(&mut bytes);
        read.is_ok_and(|len| bytes[..len].starts_with(b"WATCHDOG=1"))
    }
}

fn signal(server: &Server, signal: Signal) {
    kill_process(server.pid(), signal).expect("it runs");
}

fn now_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).expect("positive") * 1_000_000
        + u64::try_from(now.tv_nsec).expect("positive") / 1_000
}

#[test]
fn the_service_manager_hears_of_start_reload_and_stop() {
    let manager = Manager::new();
    let server = manager.launch().flag("--drain-delay", "300ms").start();
    let first = manager.message();
    assert!(first[0].starts_with("STATUS=recovering: the log is being read"), "{first:?}");
    assert!(first[1].starts_with("EXTEND_TIMEOUT_USEC="), "{first:?}");
    assert_eq!(manager.until("READY=1"), ["READY=1", "STATUS=ready"]);
    // systemd compares the time with that of its signal: an earlier message is not the answer to it.
    let before = now_us();
    signal(&server, Signal::HUP);
    let reloading = manager.message();
    assert_eq!(reloading[0], "RELOADING=1", "{reloading:?}");
    let at = reloading[1].strip_prefix("MONOTONIC_USEC=").expect("a time");
    assert!((before..=now_us()).contains(&at.parse().expect("a number")), "{reloading:?}");
    assert_eq!(manager.message()[0], "READY=1");
    let (status, said) = server.stop(Signal::TERM);
    assert_eq!(status.code(), Some(0), "{said}");
    let stopping = manager.message();
    assert_eq!(stopping[0], "STOPPING=1", "{stopping:?}");
    assert!(stopping.iter().any(|one| one.starts_with("EXTEND_TIMEOUT_USEC=")), "{stopping:?}");
}

/// It would count as started again.
#[test]
fn p8_a_reload_while_the_server_stops_is_not_told() {
    let manager = Manager::new();
    let server = manager.launch().flag("--drain-delay", "10m").start();
    manager.until("READY=1");
    signal(&server, Signal::TERM);
    manager.until("STOPPING=1");
    signal(&server, Signal::HUP);
    eventually("it reads its files", || server.stderr().contains("SIGHUP: no file to reload"));
    // The delay ends at a signal that comes a while after the first.
    std::thread::sleep(Duration::from_millis(600));
    let (status, said) = server.stop(Signal::TERM);
    assert_eq!(status.code(), Some(0), "{said}");
    manager.socket.set_nonblocking(true).expect("set");
    let mut bytes = [0; 4096];
    while let Ok(len) = manager.socket.recv(&mut bytes) {
        let told = String::from_utf8_lossy(&bytes[..len]);
        assert!(!told.contains("READY=1") && !told.contains("RELOADING=1"), "{told}");
    }
}

#[test]
fn signs_of_life_come_while_the_server_works_and_until_it_stops() {
    let manager = Manager::new();
    let launch = manager.launch().flag("--drain-delay", "10m").env("WATCHDOG_USEC", "1000000");
    let server = launch.start();
    manager.until("READY=1");
    let life = || (0..3).all(|_| manager.feels(Duration::from_secs(20)));
    assert!(life());
    signal(&server, Signal::TERM);
    manager.until("STOPPING=1");
    assert!(life(), "it still serves");
    server.kill9();
    // Messages that were sent before may wait.
    while manager.feels(Duration::from_millis(1)) {}
    // Not meant for this process, as in a child of the service.
    let launch = manager.launch().env("WATCHDOG_USEC", "1000000").env("WATCHDOG_PID", "1");
    let server = launch.start();
    while !manager.message().contains(&"READY=1".to_owned()) {}
    assert!(!manager.feels(Duration::from_secs(2)));
    server.stop_well();
}

/// Recovery, or the wait for a cluster, may take longer than the service manager waits for a start.
#[test]
fn a_start_that_takes_long_asks_for_more_time() {
    let manager = Manager::new();
    let secret = manager.path("secret.key");
    std::fs::write(&secret, [7; 32]).expect("a secret");
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .expect("its mode");
    let mut child = jeton()
        .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        // Nobody listens there.
        .args(["--cluster", "nats://127.0.0.1:1", "--secret-file"])
        .arg(secret)
        .arg("--data-dir")
        .arg(manager.path("data"))
        .env("NOTIFY_SOCKET", manager.path("notify"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    for _ in 0..2 {
        let message = manager.message();
        assert!(message[0].starts_with("STATUS=starting: "), "{message:?}");
        assert_eq!(message[1], "EXTEND_TIMEOUT_USEC=60000000");
    }
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
    assert_eq!(wait(&mut child).code(), Some(0));
}

/// A manager that has gone away, or is none, changes nothing.
#[test]
fn a_service_manager_that_does_not_listen_is_no_reason_to_stop() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Launch::on(dir.path()).env("NOTIFY_SOCKET", "/nowhere/notify").start();
    signal(&server, Signal::HUP);
    server.stop_well();
}

/// The log of a server whose standard error is the journal, if it is named as that.
fn journal(format: &str, is_named: bool) -> String {
    let dir = tempfile::tempdir().expect("a folder");
    let log = dir.path().join("log");
    let made = std::fs::File::create(&log).expect("a file").metadata().expect("its metadata");
    let inode = if is_named { made.ino() } else { made.ino() + 1 };
    let server = Launch::on(&dir.path().join("data"))
        .flag("--log-format", format)
        // A warning at each start.
        .env("JETON_NO_SUCH_FLAG", "1")
        .env("JOURNAL_STREAM", &format!("{}:{inode}", made.dev()))
        .stderr(&log)
        .start();
    server.stop_well();
    std::fs::read_to_string(&log).expect("a log")
}

#[test]
fn lines_of_the_journal_have_a_priority_and_no_time() {
    let log = journal("text", true);
    assert!(log.lines().count() > 2, "{log}");
    for line in log.lines() {
        let level = line.get(3..).unwrap_or_default().trim_start().split(' ').next();
        let expected = match level {
            Some("WARN") => "<4>",
            Some("INFO") => "<6>",
            _ => panic!("{line}"),
        };
        assert!(line.starts_with(expected), "{line}");
    }
    assert!(log.contains("<4> WARN ") && log.contains("JETON_NO_SUCH_FLAG"), "{log}");
    for line in journal("json", true).lines() {
        let json = line.strip_prefix("<4>").or(line.strip_prefix("<6>")).expect("a priority");
        let json: serde_json::Value = serde_json::from_str(json).expect("JSON");
        assert!(json.get("level").is_some() && json.get("timestamp").is_none(), "{line}");
    }
    let elsewhere = journal("text", false);
    assert!(elsewhere.lines().all(|line| line.starts_with("20")), "{elsewhere}");
}

/// A start that fails before it logs is an error there too.
#[test]
fn an_error_of_a_start_has_its_priority_in_the_journal() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = std::fs::File::create(dir.path().join("log")).expect("a file");
    let made = log.metadata().expect("its metadata");
    let mut child = jeton()
        .args(["serve", "--workers", "no"])
        .env("JOURNAL_STREAM", format!("{}:{}", made.dev(), made.ino()))
        .stderr(log)
        .spawn()
        .expect("it runs");
    assert_eq!(wait(&mut child).code(), Some(2));
    let said = std::fs::read_to_string(dir.path().join("log")).expect("a log");
    assert!(said.starts_with("<3>error: ") && said.contains("--workers"), "{said}");
}
