//! What is needed to run jeton in production, in `deploy/`: each file is checked by the program that
//! reads it, as far as this machine has it.

mod alerts;
mod containers;
mod dashboard;
mod floor;
mod unit;
mod workflow;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::documentation::{metrics_of_a_node, served_metrics};

/// A file below `deploy/`.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

fn file(name: &str) -> String {
    std::fs::read_to_string(path(name)).expect("a file of deploy/")
}

/// The metrics of a real server, and those of a node.
fn known_metrics() -> BTreeSet<String> {
    let served = served_metrics().into_iter().map(|(name, _)| name);
    served.chain(metrics_of_a_node()).collect()
}

/// The names in an expression that are those of metrics; that of a histogram for its buckets.
fn metrics(expression: &str) -> Vec<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_metric = |word: &str| ["jeton_", "process_"].iter().any(|it| word.starts_with(it));
    let words = expression.split(|c| !is_part(c)).filter(|word| is_metric(word));
    words.map(|word| word.strip_suffix("_bucket").unwrap_or(word)).collect()
}
