//! The part of a report that is about each server, where several were asked.

use serde::{Deserialize, Serialize};

/// All servers.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Nodes {
    /// The longest time without a right answer of any server, in seconds.
    pub silence_s: f64,
    /// In the order of `--target`.
    pub nodes: Vec<NodeReport>,
}

/// One server.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct NodeReport {
    /// Host and port.
    pub address: String,
    /// Right answers that came while measuring.
    pub answers: u64,
    /// Errors on its connections, in the warm-up too.
    pub errors: u64,
    /// Connections to it that ended while measuring and were made again.
    pub reconnects: u64,
    /// The longest time without a right answer of it, in seconds.
    pub silence_s: f64,
}

impl NodeReport {
    /// The columns of a table.
    pub const HEADINGS: [&str; 5] = ["node", "answers", "errors", "reconnects", "longest silence"];
}
