//! The metrics of a node of a cluster. A single server has none of them.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::cluster::node::{NodeView, Word};

/// One reading of a node.
#[derive(Debug)]
pub(in crate::http) struct ClusterReading {
    word: Word,
    position: u64,
    durable: u64,
    lag_messages: u64,
    fresh_seconds: Option<f64>,
    proposed: (u64, u64),
    gaps: u64,
    members: u64,
    present: u64,
    diverged: u64,
    has_quorum: bool,
    is_clock_right: bool,
    mistakes: u64,
    unverified: u64,
    is_sync_verified: bool,
    copies_faulty: u64,
    stream_bytes: u64,
    stream_bytes_max: Option<u64>,
}

impl ClusterReading {
    pub(in crate::http) fn of(view: &NodeView) -> Self {
        let report = view.report();
        let state = view.state().unwrap_or_default();
        let position = state.position.seq;
        Self {
            word: view.standing().0,
            position,
            durable: state.durable,
            lag_messages: report.stream.last.unwrap_or(position).saturating_sub(position),
            fresh_seconds: report.fresh_seconds,
            proposed: view.proposed(),
            gaps: view.gaps(),
            members: report.nodes.len() as u64,
            present: report.nodes.iter().filter(|node| node.present).count() as u64,
            diverged: report.nodes.iter().filter(|node| node.diverged).count() as u64,
            has_quorum: state.has_quorum,
            is_clock_right: state.is_clock_right,
            mistakes: report.stream.mistakes.len() as u64,
            unverified: report.stream.unverified.len() as u64,
            is_sync_verified: report.stream.sync_verified,
            copies_faulty: report
                .stream
                .servers
                .iter()
                .filter(|server| server.copy_fault.is_some())
                .count() as u64,
            stream_bytes: report.stream.bytes,
            stream_bytes_max: report.stream.bytes_max,
        }
    }

    pub(super) fn encode(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_states(out)?;
        let gauges = [
            ("cluster_position", "Number of the last message that was landed", self.position),
            ("cluster_durable", "Number of the last message that is durable here", self.durable),
            (
                "cluster_lag_messages",
                "Messages of the stream at its last check that are not landed yet",
                self.lag_messages,
            ),
            ("cluster_members", "Nodes that the cluster knows", self.members),
            ("cluster_members_present", "Nodes heard of in the last 5 s", self.present),
            (
                "cluster_members_diverged",
                "Nodes whose content differs from that of this node",
                self.diverged,
            ),
            ("cluster_has_quorum", "1 while the changes of this node land", self.has_quorum.into()),
            (
                "cluster_clock_right",
                "1 while this node's clock is within 10 s of the stream's",
                self.is_clock_right.into(),
            ),
            (
                "cluster_wrong_settings",
                "Settings with which an acknowledged change could be lost",
                self.mistakes,
            ),
            (
                "cluster_unverified",
                "Settings of the stream's servers that could not be found out",
                self.unverified,
            ),
            (
                "cluster_sync_verified",
                "1 while a majority of the stream's servers is known to sync each message",
                self.is_sync_verified.into(),
            ),
            (
                "cluster_copies_faulty",
                "Servers whose copy of the stream is offline, silent or far behind",
                self.copies_faulty,
            ),
            ("cluster_stream_bytes", "Bytes of the stream at its last check", self.stream_bytes),
        ];
        for (name, help, value) in gauges {
            gauge(out, name, help, value)?;
        }
        if let Some(most) = self.stream_bytes_max {
            gauge(out, "cluster_stream_bytes_max", "Bytes that the stream may hold", most)?;
        }
        if let Some(fresh) = self.fresh_seconds {
            let help = "How old the knowledge of this node is at most, in seconds";
            let metric = ConstGauge::new(fresh);
            let kind = metric.metric_type();
            metric.encode(out.encode_descriptor("cluster_fresh_seconds", help, None, kind)?)?;
        }
        let (proposed, again) = self.proposed;
        counter(out, "cluster_proposed", "Messages that this node has proposed", proposed)?;
        let help = "Messages that this node has proposed again, because they had not landed";
        counter(out, "cluster_proposed_again", help, again)?;
        let help = "Messages that a server skipped and the stream's leader had";
        counter(out, "cluster_gaps", help, self.gaps)
    }

    /// One gauge for each word, so that alerts can be defined in advance.
    fn encode_states(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let kind = ConstGauge::new(0_u64).metric_type();
        let help = "1 for the word that /readyz answers, 0 for the others";
        let mut family = out.encode_descriptor("cluster_state", help, None, kind)?;
        for word in Word::ALL {
            let labels = [("state", word.name())];
            let value = u64::from(word == self.word);
            ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn gauge(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let metric = ConstGauge::new(value);
    metric.encode(out.encode_descriptor(name, help, None, metric.metric_type())?)
}

fn counter(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let metric = ConstCounter::new(value);
    metric.encode(out.encode_descriptor(name, help, None, metric.metric_type())?)
}
