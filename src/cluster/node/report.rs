//! What `GET /cluster` answers: what a node knows of itself, the stream and the other nodes.

use serde::Serialize;

use crate::cluster::stream::Server;
use crate::engine::clustered::{Follower, NodeState, Standing, Times};
use crate::engine::replicated::is_gone;
use crate::keys::Fingerprint;
use crate::model::cluster::NodeId;
use crate::model::metrics::Summary;
use crate::model::record::replication::Member;

use super::check::is_sync_verified;
use super::fullness::{FILLING, Fullness};
use super::keys::differing;
use super::presence::is_present;
use super::view::NodeView;
use super::word::Word;

/// What a node knows of its cluster.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Name of the cluster.
    pub name: String,
    /// The word for what the node can do.
    pub state: &'static str,
    /// The same as a sentence.
    pub sentence: String,
    /// What a person should look at before they stop another process, each as a sentence; empty if
    /// the cluster is healthy.
    pub degraded: Vec<String>,
    /// Whether the node should get reads.
    pub reads: bool,
    /// Whether the node should get changes.
    pub changes: bool,
    /// The node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Number of its present life, which its start began; once that counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The cluster's id, once it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The last message that was landed, as `ERA.SEQ`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
    /// The chain of messages up to there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<String>,
    /// The chain of outcomes up to there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcomes: Option<String>,
    /// Everything up to this sequence number is durable in the node's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub durable: Option<u64>,
    /// Log time, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_time: Option<String>,
    /// The format of messages and logs that the nodes have agreed on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<u16>,
    /// How old the knowledge of this node is at most, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fresh_seconds: Option<f64>,
    /// The stream, as of the last check.
    pub stream: StreamReport,
    /// All nodes that the cluster knows.
    pub nodes: Vec<NodeReport>,
}

/// The stream and its servers.
#[derive(Clone, Debug, Default, Serialize)]
pub struct StreamReport {
    /// Its first message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// Its last message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<u64>,
    /// Bytes that it holds, and may hold.
    pub bytes: u64,
    /// The limit of its bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_max: Option<u64>,
    /// Servers that keep a copy.
    pub copies: usize,
    /// The servers.
    pub servers: Vec<ServerReport>,
    /// Whether a majority of the copies is known to sync each message.
    pub sync_verified: bool,
    /// Settings with which an acknowledged change could be lost, each as a sentence.
    pub mistakes: Vec<String>,
    /// What could not be found out, each as a sentence.
    pub unverified: Vec<String>,
    /// The time since the last check began that had an answer, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checked_seconds: Option<f64>,
    /// Why the last check had no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unchecked: Option<String>,
    /// Why this node could not trim the stream when it last tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub untrimmed: Option<String>,
    /// Whether the stream is so full that a person should look.
    pub filling: bool,
}

/// A server of the stream.
#[derive(Clone, Debug, Serialize)]
pub struct ServerReport {
    /// Its name.
    pub name: String,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether it keeps a copy of the stream.
    pub has_copy: bool,
    /// What is wrong with its copy, as the stream's leader sees it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copy_fault: Option<String>,
    /// Whether it syncs each message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syncs_always: Option<bool>,
}

/// A node as the others hear of it.
#[derive(Clone, Debug, Serialize)]
pub struct NodeReport {
    /// The node.
    pub node: String,
    /// Number of its present life.
    pub epoch: u64,
    /// Log time of its last message, RFC 3339.
    pub heard: String,
    /// Whether it was heard of in the last 5 s of log time.
    pub present: bool,
    /// Whether it was not heard of for 24 h of log time, and so counts as removed.
    pub removed: bool,
    /// Its position when it last reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// What is durable there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub durable: Option<u64>,
    /// Bytes that its tokens may use (`--max-memory`), if it has such a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_max: Option<u64>,
    /// The latest format that it reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<u32>,
    /// Whether its content differs from that of the node that tells this.
    pub diverged: bool,
    /// Whether it is present and has another keys file than the node that tells this.
    pub keys_differ: bool,
}

impl NodeView {
    /// The number of this life, once its first message has landed.
    fn epoch(&self, state: Option<&NodeState>) -> Option<u64> {
        let state = state.filter(|state| state.standing == Standing::Serving)?;
        let row = state.members.iter().find(|row| Some(row.node) == self.node());
        row.map(|row| row.epoch.0)
    }

    /// What the node knows of its cluster.
    #[must_use]
    pub fn report(&self) -> Report {
        let (word, sentence) = self.standing();
        let state = self.state();
        let stream = self.stream_report();
        let has_landed = |state: &&NodeState| state.position.seq > 0;
        let landed = state.as_ref().filter(has_landed);
        let with_keys = |state| node_reports(state, self.keys());
        let nodes = state.as_ref().map(with_keys).unwrap_or_default();
        let mut degraded = Vec::new();
        if word != Word::Ready {
            degraded.push(format!("this node is {}: {sentence}", word.name()));
        }
        degraded.extend(stream.complaints(self.config().accepts_unverified_sync));
        degraded.extend(nodes.iter().filter_map(NodeReport::complaint));
        Report {
            name: self.config().name.clone(),
            state: word.name(),
            sentence,
            degraded,
            reads: word.takes_reads(),
            changes: word.takes_changes(),
            node: self.node().map(|node| node.to_string()),
            epoch: self.epoch(state.as_ref()),
            address: self.config().address.clone(),
            cluster: landed.map(|state| const_hex::encode(state.cluster.0)),
            position: landed.map(|state| state.position.to_string()),
            chain: landed.map(|state| state.chain.to_string()),
            outcomes: landed.and_then(|state| Some(state.outcomes?.to_string())),
            durable: landed.map(|state| state.durable),
            log_time: landed.map(|state| state.log_time.to_string()),
            format: landed.map(|state| state.agreed.max(1)),
            fresh_seconds: self.age().map(|age| age.as_secs_f64()),
            stream,
            nodes,
        }
    }
}

impl NodeView {
    /// How often a replica skipped a message of the stream, as of the last check.
    #[must_use]
    pub fn gaps(&self) -> u64 {
        self.known().gaps
    }

    /// How long this node's messages take to land, and how long callers wait for a barrier.
    #[must_use]
    pub fn times(&self) -> (Summary, Summary) {
        let times = self.follower().map(Follower::times);
        let summary = |times: &Times| (times.proposals.summary(), times.barriers.summary());
        times.map(summary).unwrap_or_default()
    }

    fn stream_report(&self) -> StreamReport {
        let known = self.known();
        let promises = &known.promises;
        let server = |server: &Server| ServerReport {
            name: server.name.clone(),
            version: server.version.clone(),
            has_copy: server.has_copy,
            copy_fault: server.copy_fault.clone(),
            syncs_always: server.syncs_always,
        };
        StreamReport {
            first: known.bounds.map(|bounds| bounds.first),
            last: known.bounds.map(|bounds| bounds.last),
            bytes: promises.bytes,
            bytes_max: promises.bytes_max,
            copies: promises.copies,
            servers: promises.servers.iter().map(server).collect(),
            sync_verified: known.bounds.is_none() || is_sync_verified(promises),
            mistakes: promises.mistakes.iter().map(ToString::to_string).collect(),
            unverified: promises.unverified.clone(),
            checked_seconds: self.check_age(&known).map(|age| age.as_secs_f64()),
            unchecked: known.unchecked.clone(),
            untrimmed: known.untrimmed.clone(),
            filling: known.fullness >= Fullness::Filling,
        }
    }
}

impl StreamReport {
    fn complaints(&self, accepts_unverified_sync: bool) -> Vec<String> {
        let unchecked =
            self.unchecked.iter().map(|why| format!("the stream was not checked: {why}"));
        let faults = self.servers.iter().filter_map(ServerReport::complaint);
        let sync = (!self.sync_verified).then(|| {
            "it is not known whether a majority of the servers sync each message".to_owned()
        });
        let unverified = sync.into_iter().chain(self.unverified.iter().cloned());
        let unverified = unverified.filter(|_| !accepts_unverified_sync);
        let untrimmed =
            self.untrimmed.iter().map(|why| format!("the stream was not trimmed: {why}"));
        let filling = format!("the stream is more than {FILLING} % full");
        let filling = self.filling.then_some(filling);
        let mistakes = self.mistakes.iter().cloned();
        let of_servers = mistakes.chain(faults).chain(unverified);
        unchecked.chain(of_servers).chain(untrimmed).chain(filling).collect()
    }
}

impl ServerReport {
    fn complaint(&self) -> Option<String> {
        let Self { name, copy_fault, .. } = self;
        copy_fault.as_ref().map(|fault| format!("server {name} {fault}"))
    }
}

impl NodeReport {
    /// What is wrong with the node, as this one sees it. A node that was removed is no complaint.
    fn complaint(&self) -> Option<String> {
        let Self { node, heard, .. } = self;
        if self.diverged {
            return Some(format!("node {node} has other content than this one"));
        }
        if self.keys_differ {
            return Some(format!("node {node} has another keys file than this one (--keys)"));
        }
        (!self.present && !self.removed)
            .then(|| format!("node {node} has not been heard of since {heard}"))
    }
}

fn node_reports(state: &NodeState, keys: Fingerprint) -> Vec<NodeReport> {
    let differing = differing(state, keys);
    let report = |row: &Member| {
        let said = state.reports.get(&row.node);
        let has_diverged = |node: &NodeId| state.diverged.contains_key(node);
        NodeReport {
            node: row.node.to_string(),
            epoch: row.epoch.0,
            heard: row.heard.to_string(),
            present: is_present(state, row),
            removed: is_gone(row, state.log_time),
            seq: said.map(|said| said.seq),
            durable: said.map(|said| said.durable),
            memory_max: said.map(|said| said.memory_max).filter(|most| *most > 0),
            format: said.map(|said| said.format),
            diverged: has_diverged(&row.node),
            keys_differ: differing.contains(&row.node),
        }
    };
    state.members.iter().map(report).collect()
}
