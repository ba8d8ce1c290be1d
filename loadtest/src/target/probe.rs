//! The few questions asked of a server beside the load, and of programs: are you there, and which
//! version are you?

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::access::{ANSWER_TIME, Access, Conversation};
use super::kind::Kind;
use super::process::{self, Process};
use super::{binary, environment};
use crate::failure::{Failure, Result};
use crate::patience::Patience;
use crate::report::model::Harness;

/// Whether a store answers and is done with loading its data.
pub(super) fn is_ready(kind: Kind, address: SocketAddr, access: &Access) -> bool {
    let ask = |request: &[u8], end: &[u8]| ask(address, access, request, end);
    match kind {
        Kind::Memcached | Kind::Pogocache => ask(b"version\r\n", b"\r\n").is_some(),
        Kind::JetonResp | Kind::Redis | Kind::Valkey => {
            // While it loads its data it answers with an error.
            ask(b"PING\r\n", b"\r\n").is_some_and(|answer| answer.starts_with("+PONG"))
        }
        Kind::Jeton | Kind::Floor => Patience::of(ANSWER_TIME).connect(address).is_ok(),
    }
}

/// What a running server says it is, with its version; none where it does not say.
pub fn server_version(kind: Kind, address: SocketAddr, access: &Access) -> Option<(Kind, String)> {
    let ask = |request: &[u8], end: &[u8]| ask(address, access, request, end);
    match kind {
        Kind::Memcached | Kind::Pogocache => {
            let answer = ask(b"stats\r\n", b"END\r\n")?;
            // memcached names no product; another may be asked in its protocol.
            let kind = match stat(&answer, "product") {
                Some("pogocache") => Kind::Pogocache,
                _ => Kind::Memcached,
            };
            Some((kind, stat(&answer, "version")?.to_owned()))
        }
        Kind::JetonResp | Kind::Redis | Kind::Valkey => {
            let answer = ask(b"INFO server\r\n", b"\r\n\r\n")?;
            let field = |name: &str| {
                let value = answer.lines().find_map(|line| line.strip_prefix(name))?;
                Some(value.trim().to_owned())
            };
            // jeton and Valkey state another version for clients that know Redis alone.
            if let Some(version) = field("jeton_version:") {
                return Some((Kind::JetonResp, version));
            }
            let valkey = field("valkey_version:").map(|version| (Kind::Valkey, version));
            valkey.or_else(|| Some((Kind::Redis, field("redis_version:")?)))
        }
        // Neither the contract nor the floor names a version over the wire.
        Kind::Jeton | Kind::Floor => None,
    }
}

/// Settings of Redis and Valkey that decide how fast they are, and how safe.
const STORE_SETTINGS: [&str; 8] = [
    "appendonly",
    "appendfsync",
    "save",
    "maxmemory",
    "maxmemory-policy",
    "io-threads",
    "hz",
    "activedefrag",
];
/// And of memcached.
const MEMCACHED_SETTINGS: [&str; 7] = [
    "maxbytes",
    "maxconns",
    "num_threads",
    "evictions",
    "item_size_max",
    "cas_enabled",
    "auth_enabled",
];

/// And of pogocache, which states little.
const POGOCACHE_SETTINGS: [&str; 3] = ["githash", "max_connections", "threads"];

/// The value in a line `STAT name value`.
fn stat<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = answer.lines().filter_map(|line| line.strip_prefix("STAT ")?.split_once(' '));
    lines.find(|(found, _)| *found == name).map(|(_, value)| value.trim())
}

/// How a running server says it is configured, by setting; none where it does not say. jeton says it
/// on its admin listener.
pub fn configuration(
    kind: Kind,
    address: SocketAddr,
    admin: Option<SocketAddr>,
    access: &Access,
) -> Option<BTreeMap<String, String>> {
    let ask = |request: &[u8], end: &[u8]| ask(address, access, request, end);
    let mut config = BTreeMap::new();
    match kind {
        Kind::Jeton | Kind::JetonResp => {
            config = jeton_configuration(admin?, access).ok()?;
        }
        Kind::Redis | Kind::Valkey => {
            for name in STORE_SETTINGS {
                let question = format!("CONFIG GET {name}\r\n");
                let answer = ask(question.as_bytes(), b"\r\n")?;
                config.extend(config_value(&answer).map(|value| (name.to_owned(), value)));
            }
        }
        Kind::Memcached | Kind::Pogocache => {
            let (question, names): (&[u8], &[&str]) = match kind {
                Kind::Memcached => (b"stats settings\r\n", &MEMCACHED_SETTINGS),
                _ => (b"stats\r\n", &POGOCACHE_SETTINGS),
            };
            let answer = ask(question, b"END\r\n")?;
            let settings = names.iter().filter_map(|name| Some((*name, stat(&answer, name)?)));
            config.extend(settings.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
        Kind::Floor => {}
    }
    (!config.is_empty()).then_some(config)
}

/// The value in `*2 $N name $N value`, each in a line.
fn config_value(answer: &str) -> Option<String> {
    let mut lines = answer.split("\r\n");
    (lines.next() == Some("*2")).then_some(())?;
    lines.nth(3).map(str::to_owned)
}

/// The version in the first line that a program prints when asked with `--version`; its log goes to
/// `folder`.
pub(super) fn program_version(program: &Path, folder: &Path) -> Option<String> {
    let mut command = Command::new(program);
    command.arg("--version");
    let mut process = Process::start("--version", &command, folder).ok()?;
    let line = process.wait_for_line("", ANSWER_TIME).ok()?;
    version_in(&line).map(str::to_owned)
}

/// The first word that is a number with dots, as in `Redis server v=7.0.15 sha=…`.
fn version_in(text: &str) -> Option<&str> {
    let words =
        text.split_whitespace().map(|word| word.trim_start_matches("v=").trim_start_matches('v'));
    let mut versions = words.filter(|word| {
        word.starts_with(|first: char| first.is_ascii_digit()) && word.contains('.')
    });
    versions.next()
}

/// This harness: its version, and the commit of the repository it was built in where that is still
/// there, with `+` where files were changed since.
pub fn harness() -> Harness {
    // git takes as long as a slice of the gate; what was built does not change.
    static COMMIT: OnceLock<Option<String>> = OnceLock::new();
    let commit = COMMIT.get_or_init(commit).clone();
    Harness { version: env!("CARGO_PKG_VERSION").to_owned(), commit }
}

fn commit() -> Option<String> {
    let root = binary::workspace()?;
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.arg("-C").arg(&root).args(arguments);
        environment::for_tool(&mut command);
        let output = process::output(&command, Stdio::piped(), Stdio::null());
        let output = output.ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "HEAD"])?;
    let changed = !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Some(if changed { format!("{commit}+") } else { commit })
}

/// The statistics of a jeton, from its admin listener: a JSON object.
///
/// # Errors
/// [`Failure::Target`] where no answer comes, or another one.
pub fn statistics(admin: SocketAddr) -> Result<serde_json::Value> {
    statistics_with(admin, &Access::default())
}

/// How a jeton says it is configured, on its admin listener.
///
/// # Errors
/// As for [`statistics`]; or it does not state its configuration, as older versions.
pub fn jeton_configuration(admin: SocketAddr, access: &Access) -> Result<BTreeMap<String, String>> {
    let mut statistics = statistics_with(admin, access)?;
    serde_json::from_value(statistics["config"].take()).map_err(|_| Failure::Target {
        target: statistics_url(admin, access),
        problem: "the statistics hold no configuration".to_owned(),
    })
}

fn statistics_url(admin: SocketAddr, access: &Access) -> String {
    let scheme = if access.tls.is_some() { "https" } else { "http" };
    format!("{scheme}://{admin}/v1/stats")
}

/// The same of a jeton that asks for TLS or a key.
pub(super) fn statistics_with(admin: SocketAddr, access: &Access) -> Result<serde_json::Value> {
    let key = access.admin_key.as_ref();
    let key = key.map(|key| format!("Authorization: Bearer {}\r\n", key.text()));
    let request = format!(
        "GET /v1/stats HTTP/1.1\r\nHost: {admin}\r\n{}Connection: close\r\n\r\n",
        key.unwrap_or_default()
    );
    // It closes behind its answer; no JSON holds this end.
    let answer = ask(admin, access, request.as_bytes(), b"\0");
    let document = answer.as_deref().and_then(|answer| answer.split_once("\r\n\r\n"));
    let document = document.and_then(|(_, body)| serde_json::from_str(body).ok());
    let problem = || match answer.as_deref().and_then(|answer| answer.get(9..12)) {
        Some(status @ ("401" | "403")) => {
            format!(
                "it asks for a key of namespace * with the scope admin ({status}): \
                 --server-admin-key-file names its file"
            )
        }
        _ => "no statistics came".to_owned(),
    };
    let is_good = answer.as_deref().is_some_and(|answer| answer.starts_with("HTTP/1.1 200"));
    let document = document.filter(|document: &serde_json::Value| is_good && document.is_object());
    document.ok_or_else(|| Failure::Target {
        target: statistics_url(admin, access),
        problem: problem(),
    })
}

/// How many replicas of a Redis or Valkey follow it.
pub fn replicas(address: SocketAddr) -> Option<usize> {
    let answer = ask(address, &Access::default(), b"INFO replication\r\n", b"\r\n\r\n")?;
    Some(answer.matches("state=online").count())
}

/// How many keys a Redis or Valkey says it holds; none where it does not say.
pub(super) fn keys(address: SocketAddr, access: &Access) -> Option<u64> {
    let answer = ask(address, access, b"DBSIZE\r\n", b"\r\n")?;
    answer.trim().strip_prefix(':')?.parse().ok()
}

/// Sends one request on a connection of its own; gives what comes up to an end.
fn ask(address: SocketAddr, access: &Access, request: &[u8], end: &[u8]) -> Option<String> {
    Conversation::open(address, access).ok()?.ask(request, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_print() {
        for (text, version) in [
            ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0", Some("7.0.15")),
            ("Server v=8.1.3 sha=0", Some("8.1.3")),
            ("memcached 1.6.18\n", Some("1.6.18")),
            ("jeton 0.1.0", Some("0.1.0")),
            ("no version", None),
        ] {
            assert_eq!(version_in(text), version);
        }
    }

    #[test]
    fn a_program_that_does_not_answer_has_no_version() {
        for (script, version) in [("echo some v1.2.3", Some("1.2.3")), ("exec sleep 60", None)] {
            let folder = tempfile::tempdir().expect("a folder");
            let program = folder.path().join("program");
            std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("a file");
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(&program, mode).expect("a mode");
            assert_eq!(program_version(&program, folder.path()).as_deref(), version);
        }
    }

    #[expect(clippy::print_stdout, reason = "a check that is not made says so")]
    #[test]
    fn the_harness_names_its_commit_where_there_is_one() {
        let harness = harness();
        assert_eq!(harness.version, env!("CARGO_PKG_VERSION"));
        let Some(commit) = harness.commit else {
            println!("not checked: no repository, or no git");
            return;
        };
        let commit = commit.trim_end_matches('+');
        assert!(
            commit.len() >= 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{commit}"
        );
    }
}
