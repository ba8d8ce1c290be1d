//! Rows about each server, where several were asked: the table and the page share them.

use super::model::{NodeReport, Nodes};
use super::units;

/// A row for each server, and one for all.
pub fn rows(nodes: &Nodes) -> Vec<Vec<String>> {
    let row = |name: &str, one: &NodeReport| {
        vec![
            name.to_owned(),
            units::count(one.answers),
            units::count(one.errors),
            units::count(one.reconnects),
            units::seconds(one.silence_s),
        ]
    };
    let sum = |of: fn(&NodeReport) -> u64| nodes.nodes.iter().map(of).sum();
    let all = NodeReport {
        answers: sum(|one| one.answers),
        errors: sum(|one| one.errors),
        reconnects: sum(|one| one.reconnects),
        silence_s: nodes.silence_s,
        ..NodeReport::default()
    };
    let each = nodes.nodes.iter().map(|one| row(&one.address, one));
    each.chain([row("all", &all)]).collect()
}
