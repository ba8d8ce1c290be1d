//! Whether two runs asked the same question: what differs beside the figures, by name.

use crate::report::model::{Report, Target};
use crate::report::units;

/// Flags of servers whose value differs from start to start: addresses and folders.
const PLACES: [&str; 5] = ["--listen", "--admin-listen", "--data-dir", "--port", "--dir"];

/// Flags whose presence matters, and whose value is a file that is made for each start.
const MADE: [&str; 3] = ["--tls-cert", "--tls-key", "--keys"];

/// Why the two cannot be compared; empty where they can. A difference in what was asked, or in how
/// the server was started, is a difference of its own, and no verdict on the program.
pub fn obstacles(a: &Report, b: &Report) -> Vec<String> {
    let mut obstacles: Vec<String> =
        [durability(a, b), server_arguments(a, b)].into_iter().flatten().collect();
    obstacles.extend(configuration(a, b));
    let tls = |report: &Report| match report.tls {
        Some(_) => "spoken".to_owned(),
        None => "none".to_owned(),
    };
    obstacles.extend(differ("TLS", &tls(a), &tls(b)));
    let targets = |report: &Report| report.target.nodes.len().max(1).to_string();
    obstacles.extend(differ("targets", &targets(a), &targets(b)));
    let parts = workload_differences(a, b);
    if !parts.is_empty() {
        obstacles.push(format!("workload: {} differ", parts.join(", ")));
    }
    let rate = |report: &Report| {
        let rate = report.totals.rate.map(|rate| format!("{}/s", units::rate(rate)));
        rate.unwrap_or_else(|| "none (closed loop)".to_owned())
    };
    let objectives = |report: &Report| {
        let all: Vec<_> = report.objectives.iter().map(|one| one.objective.as_str()).collect();
        if all.is_empty() { "none".to_owned() } else { all.join(" ") }
    };
    obstacles.extend(differ("rate", &rate(a), &rate(b)));
    obstacles.extend(differ("objectives", &objectives(a), &objectives(b)));
    obstacles
}

fn differ(what: &str, a: &str, b: &str) -> Option<String> {
    (a != b).then(|| format!("{what}: A {a}, B {b}"))
}

fn durability(a: &Report, b: &Report) -> Option<String> {
    let text = |target| {
        let on_disk = if is_durable(target)? { "" } else { "not " };
        Some(format!("{on_disk}on disk before the answer"))
    };
    differ("durability", &text(&a.target)?, &text(&b.target)?)
}

/// Different kinds of servers have different flags, and are compared all the same.
fn server_arguments(a: &Report, b: &Report) -> Option<String> {
    if a.target.kind != b.target.kind {
        return None;
    }
    differ("server arguments", &quoted(&arguments(&a.target)?), &quoted(&arguments(&b.target)?))
}

/// Each setting that both servers state, and state otherwise. A setting that one of them does not
/// have is none: it may be new.
fn configuration(a: &Report, b: &Report) -> Vec<String> {
    let (Some(of_a), Some(of_b)) = (&a.target.config, &b.target.config) else { return Vec::new() };
    if a.target.kind != b.target.kind {
        return Vec::new();
    }
    let both = of_a.iter().filter(|(name, _)| !is_place(name));
    both.filter_map(|(name, value)| {
        differ(&format!("server setting {name}"), value, of_b.get(name)?)
    })
    .collect()
}

/// Whether a setting says where a server is, which differs from start to start.
pub(super) fn is_place(name: &str) -> bool {
    let mut flags = PLACES.iter().chain(&MADE);
    flags.any(|flag| flag.trim_start_matches('-') == name)
}

/// The parts of the workload that differ; the seed, the name and the rate are none of them.
fn workload_differences(a: &Report, b: &Report) -> Vec<&'static str> {
    let (a, b) = (&a.workload, &b.workload);
    let load = |load: &crate::workload::Load| crate::workload::Load { rate: None, ..load.clone() };
    let parts = [
        ("load", load(&a.load) == load(&b.load)),
        ("time", a.time == b.time),
        ("keys", a.keys == b.keys),
        ("payload", a.payload == b.payload),
        ("ttl", a.ttl == b.ttl),
        ("mix", a.mix == b.mix),
    ];
    parts.into_iter().filter(|(_, same)| !same).map(|(part, _)| part).collect()
}

/// Whether each change is on disk before its answer; none where the report does not say.
fn is_durable(target: &Target) -> Option<bool> {
    let words = target.command.as_ref()?;
    let value = |flag: &str| {
        let at = words.iter().position(|word| word == flag)?;
        words.get(at + 1).map(String::as_str)
    };
    match target.kind.as_str() {
        "jeton" => {
            let synced = value("--sync").is_none_or(|sync| sync == "always")
                && !words.iter().any(|word| {
                    word == "--memory-only"
                        || word.starts_with("--sync=") && word != "--sync=always"
                });
            Some(synced)
        }
        "redis" | "valkey" => Some(value("--appendfsync") == Some("always")),
        "memcached" | "pogocache" => Some(false),
        _ => None,
    }
}

/// What the server was started with, without the program and without places; none where the
/// harness did not start it.
pub(super) fn arguments(target: &Target) -> Option<Vec<String>> {
    let mut words = target.command.as_ref()?.iter().skip(1);
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        if PLACES.contains(&word.as_str())
            || matches!(target.kind.as_str(), "memcached" | "pogocache") && word == "-p"
        {
            words.next();
        } else if MADE.contains(&word.as_str()) {
            kept.push(word.clone());
            words.next();
        } else if !PLACES.iter().any(|flag| word.starts_with(&format!("{flag}="))) {
            kept.push(word.clone());
        }
    }
    Some(kept)
}

fn quoted(words: &[String]) -> String {
    format!("`{}`", words.join(" "))
}
