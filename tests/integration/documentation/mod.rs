//! The documentation compared with the program: commands are run, and tables are compared with the
//! code.

mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jeton::audit::EventOutcome;
use jeton::cli::settings::flags;
use jeton::config::flags::Kind;
use jeton::warning::Warning;
use serde_json::Value;

use crate::access::Keys;
use crate::raw::{Conn, request};
use crate::server::{Server, jeton, output};
use crate::support::eventually;

/// A page of the book.
pub fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/src").join(name);
    std::fs::read_to_string(path).expect("the page")
}

/// The rows of all tables of a page, as cells.
pub fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = text.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    lines.map(|line| line.split(" | ").map(str::trim).collect())
}

/// The texts in backquotes.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The default of each flag according to `jeton config show`.
fn defaults() -> BTreeMap<String, String> {
    let shown = output(jeton().args(["config", "show"]));
    let shown = String::from_utf8(shown.stdout).expect("UTF-8");
    let setting = |line: &str| {
        let (key, rest) = line.split_once(" =")?;
        let value = rest.rsplit_once('#').map_or(rest, |(value, _)| value).trim();
        Some((key.trim_start_matches("# ").to_owned(), value.trim_matches('"').to_owned()))
    };
    shown.lines().filter_map(setting).collect()
}

#[test]
fn the_table_of_flags_is_what_serve_takes() {
    let text = page("operations/flags.md");
    let defaults = defaults();
    // The defaults of these flags depend on the machine or on other flags.
    let depends = [
        "workers",
        "secret-file",
        "miss-limit",
        "config",
        "sync",
        "max-memory",
        // Without --cluster they have none.
        "cluster-name",
        "cluster-answer-within",
        "cluster-staleness",
        "cluster-keep",
    ];
    let mut listed = BTreeMap::new();
    for row in rows(&text).filter(|row| row[0].starts_with("`--")) {
        let keys: Vec<_> = code(row[0]).map(|flag| flag.trim_start_matches("--")).collect();
        let values: Vec<_> = row[1].split(", ").map(|value| value.trim_matches('`')).collect();
        for (n, key) in keys.into_iter().enumerate() {
            let value = values.get(n).copied().unwrap_or(values[0]);
            assert!(listed.insert(key, value).is_none(), "--{key} is listed twice");
        }
    }
    for flag in flags() {
        let shown = listed.remove(&*flag.key);
        let shown = shown.unwrap_or_else(|| panic!("--{} is not listed", flag.key));
        if depends.contains(&&*flag.key) {
            continue;
        }
        let default = defaults.get(&flag.key).map_or("", String::as_str);
        let expected = match (flag.kind, default) {
            (Kind::Switch, "false") => &["off"][..],
            (_, "") => &["none", "nothing"],
            (_, value) => &[value],
        };
        assert!(expected.contains(&shown), "--{}: {shown}, not {expected:?}", flag.key);
    }
    assert!(listed.is_empty(), "no flags of serve: {listed:?}");
}

/// The metrics of a server with everything on that adds some: names and types.
pub fn served_metrics() -> BTreeSet<(String, String)> {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    let key = keys.add("*", "metrics", &[]);
    let audit = dir.path().join("audit.log");
    let server = Server::fresh_with(|launch| {
        launch
            .flag("--keys", keys.path())
            .flag("--audit", audit.to_str().expect("UTF-8"))
            // Some metrics are about the proxies that are trusted.
            .flag("--trusted-proxy", "192.0.2.1")
            // And some about spans, which no request causes here.
            .flag("--otlp", "http://192.0.2.1:4318")
            .flag("--max-memory", "1GiB")
    });
    let mut conn = Conn::open(server.admin).expect("a connection");
    let mut text = String::new();
    // A thread of its own looks at the disk; until it has, its gauges are left out.
    eventually("the disk of the log is known", || {
        conn.send(&request("GET", "/metrics", &[("Authorization", &key)], b"")).expect("sends");
        text = conn.response().expect("an answer").text().to_owned();
        text.contains("\njeton_data_disk_bytes ")
    });
    let described = text.lines().filter_map(|line| {
        let (name, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
        Some((name.to_owned(), kind.to_owned()))
    });
    // After a backup, and with TLS.
    let others = ["jeton_last_backup_time_seconds", "jeton_certificate_expiry_time_seconds"];
    let others = others.map(|name| (name.to_owned(), "gauge".to_owned()));
    described.chain(others).collect()
}

#[test]
fn the_table_of_metrics_is_what_the_server_has() {
    let served = served_metrics();
    let text = page("operations/monitoring.md");
    let listed: BTreeSet<_> = rows(&text)
        .filter(|row| row[0].starts_with("`jeton_") || row[0].starts_with("`process_"))
        .map(|row| (row[0].trim_matches('`').to_owned(), row[1].to_owned()))
        .collect();
    assert_eq!(listed, served);
    assert_named(&served);
}

/// The metrics that only a node of a cluster has. A test beside the code compares this table with
/// what a node serves.
pub fn metrics_of_a_node() -> BTreeSet<String> {
    let text = page("operations/cluster.md");
    let names = rows(&text).map(|row| row[0].trim_matches('`').to_owned());
    names.filter(|name| name.starts_with("jeton_cluster_")).collect()
}

/// Each metric that another page mentions is one of these, or one of a node.
fn assert_named(served: &BTreeSet<(String, String)>) {
    let of_node = metrics_of_a_node();
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/src");
    for file in crate::support::files_under(&top) {
        let text = std::fs::read_to_string(&file).expect("a page");
        let metrics = code(&text).filter(|code| code.starts_with("jeton_"));
        let metrics = metrics.map(|name| name.split(['{', ' ']).next().unwrap_or(name));
        // Names of files have other characters.
        let is_metric = |name: &&str| name.bytes().all(|c| c.is_ascii_lowercase() || c == b'_');
        for name in metrics.filter(is_metric) {
            let is_served = served.iter().any(|(known, _)| known == name) || of_node.contains(name);
            assert!(is_served, "{}: no metric {name}", file.display());
        }
    }
}

#[test]
fn the_table_of_warnings_has_each() {
    let text = page("operations/monitoring.md");
    let listed: Vec<_> = rows(&text).map(|row| row[0].trim_matches('`').to_owned()).collect();
    for warning in Warning::ALL {
        assert!(listed.iter().any(|name| name == warning.name()), "{}", warning.name());
    }
}

#[test]
fn the_fields_of_the_audit_log_name_each_outcome() {
    let page = page("operations/audit.md");
    let row = rows(&page).find(|row| row[0] == "`outcome`").expect("a row of the field");
    let named: BTreeSet<String> = code(row[2]).map(str::to_owned).collect();
    let each = EventOutcome::ALL.iter().map(|outcome| serde_json::json!(outcome));
    let each = each.map(|outcome| outcome.as_str().expect("a word").to_owned());
    // `connect` is the operation of the last two.
    assert_eq!(named, each.chain(["connect".to_owned()]).collect());
}

#[test]
fn the_table_of_requests_is_what_the_description_has() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/admin/openapi.json");
    let description = std::fs::read_to_string(path).expect("the description");
    let description: Value = serde_json::from_str(&description).expect("JSON");
    let paths = description["paths"].as_object().expect("paths");
    let described = paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().expect("methods").keys();
        let is_method =
            |name: &&String| ["get", "post", "put", "patch", "delete"].contains(&&***name);
        methods.filter(is_method).map(move |method| format!("{} {path}", method.to_uppercase()))
    });
    let text = page("api/requests.md");
    let listed: BTreeSet<_> =
        rows(&text).filter_map(|row| code(row[0]).next().map(str::to_owned)).collect();
    for request in described {
        assert!(listed.contains(&request), "{request} is not listed");
    }
}

#[test]
fn every_direct_dependency_has_its_reason() {
    let text = page("internals/dependencies.md");
    let listed: BTreeSet<_> =
        rows(&text).flat_map(|row| row[0].split(", ").collect::<Vec<_>>()).collect();
    let members = ["", "clients/rust/", "loadtest/", "tests/attacks/", "tests/book/"];
    for manifest in members.map(|member| format!("{member}Cargo.toml")) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(manifest);
        let manifest: toml::Table =
            std::fs::read_to_string(path).expect("a manifest").parse().expect("TOML");
        let targets = manifest.get("target").and_then(toml::Value::as_table);
        let tables = targets
            .into_iter()
            .flat_map(|targets| targets.values().filter_map(toml::Value::as_table));
        for table in tables.chain([&manifest]) {
            for kind in ["dependencies", "dev-dependencies"] {
                let crates = table.get(kind).and_then(toml::Value::as_table);
                for name in crates.into_iter().flat_map(toml::Table::keys) {
                    // Its tests need jeton itself, with the test support.
                    let is_known = name == "jeton" || listed.contains(&**name);
                    assert!(is_known, "{name} has no reason in {kind}");
                }
            }
        }
    }
}
