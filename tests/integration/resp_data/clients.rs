//! Real clients, unchanged: programs of the redis package, and libraries that `tests/clients/prepare`
//! installs. What the machine has not is NOT RUN.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::redis::Jeton;
use crate::access::Keys;
use crate::pki::{Ca, Files};
use crate::server::{Launch, output};
use crate::support::{not_run, prepared_by, said};

pub const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");

/// A server for clients.
struct Case {
    jeton: Jeton,
    key: Option<String>,
    /// Set with TLS.
    ca: Option<PathBuf>,
}

/// A server without keys, one with keys, and one with keys and TLS.
fn cases(dir: &Path) -> [Case; 3] {
    let (keys, ca) = (Keys::in_dir(dir), Ca::new("servers"));
    let key = keys.add("shop", "issue,import,resolve,consume,revoke", &[]);
    let key = key.strip_prefix("Bearer ").expect("a header's value").to_owned();
    let files = Files::in_dir(dir, &ca.issue(&["127.0.0.1"]), &ca);
    let with_keys =
        |launch: Launch| launch.flag("--keys", keys.path()).flag("--miss-limit", "1000000");
    let with_tls = |launch: Launch| {
        let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        with_keys(launch)
            .flag("--tls-cert", &text(&files.cert))
            .flag("--tls-key", &text(&files.key))
    };
    let (keyed, secured) = (Jeton::start_with(with_keys), Jeton::start_with(with_tls));
    [
        Case { jeton: Jeton::start(), key: None, ca: None },
        Case { jeton: keyed, key: Some(key.clone()), ca: None },
        Case { jeton: secured, key: Some(key), ca: Some(files.ca) },
    ]
}

/// What `tests/clients/prepare` has installed; where it installs nothing, the check is not run.
pub fn prepared(check: &str, what: &str) -> Option<String> {
    prepared_by(&format!("{FOLDER}/prepare"), check, what)
}

/// Runs a script against each server.
fn run(check: &str, program: &str, script: &str, env: &[(&str, &str)]) {
    let dir = tempfile::tempdir().expect("a folder");
    for (place_in_list, Case { jeton, key, ca }) in cases(dir.path()).into_iter().enumerate() {
        let mut command = Command::new(program);
        command.arg(format!("{FOLDER}/{script}")).args(place(jeton.address)).args(&key).args(&ca);
        let output = output(command.envs(env.iter().copied()));
        let said = said(&output);
        let is_well = output.status.success() && output.stdout.ends_with(b"ok\n");
        assert!(is_well, "{check}, case {place_in_list}: {said}");
    }
}

fn place(address: SocketAddr) -> [String; 2] {
    [address.ip().to_string(), address.port().to_string()]
}

fn python(check: &str, script: &str, env: &[(&str, &str)]) {
    if let Some(python) = prepared(check, "python") {
        run(check, &python, script, env);
    }
}

fn node(check: &str, script: &str) {
    if let Some(folder) = prepared(check, "node") {
        run(check, "node", script, &[("NODE_PATH", &format!("{folder}/node_modules"))]);
    }
}

/// Clients of Rust, without TLS: its part is rustls, on both sides.
fn rust(check: &str, client: &str) {
    let Some(program) = prepared(check, "rust") else { return };
    let dir = tempfile::tempdir().expect("a folder");
    for Case { jeton, key, ca } in cases(dir.path()) {
        if ca.is_none() {
            let mut command = Command::new(&program);
            command.arg(client).args(place(jeton.address)).args(&key);
            let output = output(&mut command);
            assert_eq!(output.stdout, b"ok\n", "{check}: {}", said(&output));
        }
    }
}

#[test]
fn redis_py_runs_unchanged() {
    python("redis-py", "redis_py.py", &[]);
}

#[test]
fn redis_py_without_hiredis_runs_unchanged() {
    python("redis-py without hiredis", "redis_py.py", &[("WITHOUT_HIREDIS", "yes")]);
}

#[test]
fn the_caches_of_django_and_flask_run_unchanged() {
    python("the Redis caches of Django and Flask", "caches.py", &[]);
}

#[test]
fn ioredis_runs_unchanged() {
    node("ioredis", "ioredis.js");
}

#[test]
fn node_redis_runs_unchanged() {
    node("node-redis", "node_redis.js");
}

#[test]
fn redis_rs_and_deadpool_run_unchanged() {
    rust("redis-rs with deadpool", "redis-rs");
}

#[test]
fn fred_runs_unchanged() {
    rust("fred", "fred");
}

/// The flags of the programs of the redis package.
fn tls(ca: Option<&Path>) -> Vec<OsString> {
    let flags = |ca: &Path| vec!["--tls".into(), "--cacert".into(), ca.into()];
    ca.map(flags).unwrap_or_default()
}

fn is_there(check: &str, program: &str) -> bool {
    let is_there = Command::new(program).arg("--version").output().is_ok();
    if !is_there {
        not_run(check, &format!("{program} is not on the PATH"));
    }
    is_there
}

#[test]
fn redis_cli_runs_unchanged() {
    if !is_there("redis-cli", "redis-cli") {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    for Case { jeton, key, ca } in cases(dir.path()) {
        let [host, port] = place(jeton.address);
        let cli = |words: &[&str]| {
            let mut command = Command::new("redis-cli");
            command.args(["-h", &host, "-p", &port, "--no-auth-warning"]);
            command.args(tls(ca.as_deref())).args(words);
            command.envs(key.iter().map(|key| ("REDISCLI_AUTH", key)));
            said(&output(&mut command)).trim().to_owned()
        };
        assert_eq!(cli(&["PING"]), "PONG");
        assert_eq!(cli(&["SET", "cli:a", "1", "EX", "100"]), "OK");
        assert_eq!(cli(&["GET", "cli:a"]), "1");
        assert_eq!(cli(&["-3", "GET", "cli:none"]), "");
        assert_eq!(cli(&["--raw", "MGET", "cli:a", "cli:a"]), "1\n1");
        assert!(cli(&["NOSUCH"]).starts_with("ERR unknown command"));
        assert_eq!(cli(&["-r", "3", "DEL", "cli:a"]), "1\n0\n0");
    }
}

#[test]
fn redis_benchmark_runs_unchanged() {
    if !is_there("redis-benchmark", "redis-benchmark") {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    for Case { jeton, key, ca } in cases(dir.path()) {
        let [host, port] = place(jeton.address);
        for more in [&["-P", "1"][..], &["-P", "16"], &["-P", "16", "-3"], &["--threads", "2"]] {
            let mut command = Command::new("redis-benchmark");
            command.args(["-h", &host, "-p", &port, "-q", "-n", "2000", "-c", "20", "-r", "1000"]);
            command.args(["-t", "ping,set,get,mset"]).args(more);
            command.args(key.iter().flat_map(|key| ["-a", key])).args(tls(ca.as_deref()));
            let output = output(&mut command);
            let said = said(&output);
            let is_well = output.status.success() && !said.contains("Error");
            assert!(is_well && said.contains("GET:"), "{more:?}: {said}");
        }
    }
}
