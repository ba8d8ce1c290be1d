//! Standard output and standard error that cannot be written: a full disk (`/dev/full`), a pipe
//! whose reader has exited, a pipe that is not read.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::fs::OFlags;
use rustix::process::Signal;

use crate::client::{Client, expect};
use crate::server::{Launch, Server, jeton, wait};
use crate::support::eventually;

const FULL: &str = "/dev/full";
const SIGPIPE: i32 = 13;

/// A pipe with a name, and its reading end.
fn pipe(dir: &Path) -> (PathBuf, File) {
    let path = dir.join("pipe");
    let made = Command::new("mkfifo").arg(&path).status();
    assert!(made.is_ok_and(|status| status.success()), "mkfifo is part of every system");
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).expect("a flag of the system");
    let reader = File::options().read(true).custom_flags(flags).open(&path).expect("a pipe");
    (path, reader)
}

fn dropped(server: &Server) -> u64 {
    let metrics = crate::admin::metrics(server);
    let name = "jeton_log_lines_dropped_total ";
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.expect("a metric").parse().expect("a number")
}

/// The server works while its log lines are dropped, and stops cleanly.
fn serves_without_a_log(server: Server) {
    let mut client = Client::of(&server);
    let before = dropped(&server);
    for round in 0..50 {
        let issued = client.issued(&format!(r#"{{"payload":{round}}}"#));
        expect(&client.consume(&issued.token), 200);
        expect(&client.resolve(&issued.token), 404);
    }
    rustix::process::kill_process(server.pid(), Signal::HUP).expect("it runs");
    eventually("a line is dropped and counted", || dropped(&server) > before);
    let (status, _) = server.stop(Signal::TERM);
    assert!(status.success(), "{status}");
}

#[test]
fn p6_a_server_whose_log_is_on_a_full_disk_serves() {
    let dir = tempfile::tempdir().expect("a folder");
    serves_without_a_log(Launch::on(dir.path()).stderr(Path::new(FULL)).start());
}

#[test]
fn p6_a_server_whose_log_has_no_reader_any_more_serves() {
    let dir = tempfile::tempdir().expect("a folder");
    let (path, reader) = pipe(dir.path());
    let server = Launch::on(&dir.path().join("data")).stderr(&path).start();
    drop(reader);
    serves_without_a_log(server);
}

#[test]
fn p6_a_server_whose_log_nobody_reads_serves() {
    let dir = tempfile::tempdir().expect("a folder");
    let (path, reader) = pipe(dir.path());
    rustix::pipe::fcntl_setpipe_size(&reader, 4096).expect("a pipe of a page");
    let launch = Launch::on(&dir.path().join("data")).stderr(&path);
    let server = launch.flag("--log-level", "trace").start();
    serves_without_a_log(server);
    drop(reader);
}

#[test]
fn p6_a_server_whose_ready_line_is_lost_serves() {
    let dir = tempfile::tempdir().expect("a folder");
    let (path, _reader) = pipe(dir.path());
    let full = File::options().write(true).open(FULL).expect("/dev/full");
    let mut child = jeton()
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
            "--memory-only",
        ])
        .stdout(full)
        .stderr(File::options().write(true).open(path).expect("a pipe"))
        .spawn()
        .expect("jeton runs");
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(child.try_wait().expect("a child of ours").is_none(), "it serves");
    child.kill().expect("it runs");
    child.wait().expect("it has ended");
}

/// Runs a command with its standard output on `stdout`.
fn run_onto(stdout: impl Into<Stdio>, arguments: &[&str]) -> Output {
    let mut command = jeton();
    command.args(arguments).stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
    let mut child = command.spawn().expect("jeton runs");
    wait(&mut child);
    child.wait_with_output().expect("its output")
}

/// Every command with a result, each able to print it.
fn commands(server: &Server, dir: &Path) -> Vec<Vec<String>> {
    let url = format!("http://{}", server.data);
    let keys = dir.join("keys.toml").to_str().expect("UTF-8").to_owned();
    let config = dir.join("jeton.toml");
    std::fs::write(&config, "").expect("written");
    let log = dir.join("log");
    let other = Launch::on(&log).start();
    let backup = dir.join("backup");
    let admin = format!("http://{}", other.admin);
    let taken = jeton().args(["backup", "--server", &admin]).arg(&backup).output();
    assert!(taken.is_ok_and(|output| output.status.success()));
    other.stop_well();
    let [config, log, backup] =
        [config, log, backup].map(|path| path.to_str().expect("UTF-8").to_owned());
    let token = Client::of(server).issued(r#"{"payload":1,"uses":100}"#).token;
    [
        &["issue", "1", "--server", &url][..],
        &["resolve", &token, "--server", &url],
        &["consume", &token, "--server", &url],
        &["status", &token, "--server", &url],
        &["keys", "add", "--keys", &keys, "--scope", "issue"],
        &["keys", "list", "--keys", &keys],
        &["config", "check", &config],
        &["config", "show"],
        &["verify", &log],
        &["backup", "verify", &backup],
        &["--version"],
        &["--help"],
        &["serve", "--help"],
    ]
    .iter()
    .map(|command| command.iter().map(ToString::to_string).collect())
    .collect()
}

#[test]
fn what_a_command_cannot_print_is_3_and_a_closed_pipe_is_sigpipe() {
    let (server, dir) = (Server::fresh(), tempfile::tempdir().expect("a folder"));
    for command in commands(&server, dir.path()) {
        let command: Vec<_> = command.iter().map(String::as_str).collect();
        let full = File::options().write(true).open(FULL).expect("/dev/full");
        let output = run_onto(full, &command);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{command:?}: {said}");
        assert!(said.contains("standard output can't be written"), "{command:?}: {said}");
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = run_onto(writer, &command);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.signal(), Some(SIGPIPE), "{command:?}: {said}");
        assert_eq!(said, "", "{command:?}");
        let output = run_onto(Stdio::null(), &command);
        assert!(output.status.success(), "{command:?} alone");
    }
}

#[test]
fn p2_a_payload_that_was_consumed_and_not_printed_can_be_printed_again() {
    let server = Server::shared();
    let url = format!("http://{}", server.data);
    let full = || File::options().write(true).open(FULL).expect("/dev/full");
    for given in [&[][..], &["--idempotency-key", "k"]] {
        let token = Client::of(&server).issued(r#"{"payload":"only once"}"#).token;
        let consume = [&["consume", &token, "--server", &url], given].concat();
        let output = run_onto(full(), &consume);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(!said.contains("only once"), "{said}");
        let key = said.split_once("--idempotency-key=").expect("the key is told").1;
        let (key, then) = key.split_once(' ').expect("more is told");
        assert_eq!(then.trim_end(), "prints the payloads again");
        let consume = ["consume", &token, "--server", &url, "--idempotency-key", key];
        let again = jeton().args(consume).output().expect("jeton runs");
        assert_eq!(again.stdout, b"\"only once\"\n");
    }
}

#[test]
fn what_a_command_cannot_say_on_standard_error_changes_nothing() {
    let server = Server::shared();
    let url = format!("http://{}", server.data);
    let full = || File::options().write(true).open(FULL).expect("/dev/full");
    let dir = tempfile::tempdir().expect("a folder");
    let keys = dir.path().join("keys.toml");
    let mut add = jeton();
    add.args(["keys", "add", "--scope", "issue", "--keys"]).arg(&keys).stderr(full());
    let added = add.output().expect("jeton runs");
    assert!(added.status.success() && added.stdout.starts_with(b"jeton_"), "{added:?}");
    for (code, arguments) in [
        (1, ["resolve", &"A".repeat(32), "--server", &url]),
        (2, ["issue", "{", "--server", &url]),
        (2, ["issue", "1", "--server", "nowhere"]),
        (3, ["issue", "1", "--server", "http://127.0.0.1:1"]),
        (2, ["issue", "1", "--no-such-flag", "x"]),
    ] {
        let output = jeton().args(arguments).stderr(full()).output().expect("jeton runs");
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
    }
    let refused = jeton().args(["serve", "--max-ttl", "x"]).stderr(full()).output();
    assert_eq!(refused.expect("jeton runs").status.code(), Some(2));
}
