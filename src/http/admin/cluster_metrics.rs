//! The metrics of a node of a cluster. A single server has none of them.

use std::fmt;

use super::sheet::Sheet;
use crate::cluster::node::{NodeReport, NodeView, Word};
use crate::engine::clustered::LandedCounts;
use crate::model::metrics::Summary;

/// One reading of a node.
#[derive(Debug)]
pub(in crate::http) struct ClusterReading {
    word: Word,
    position: u64,
    durable: u64,
    lag_messages: u64,
    fresh_seconds: Option<f64>,
    proposed: (u64, u64),
    landed: LandedCounts,
    gaps: u64,
    members: u64,
    present: u64,
    diverged: u64,
    keys_differ: u64,
    has_quorum: bool,
    is_clock_right: bool,
    mistakes: u64,
    unverified: u64,
    is_sync_verified: bool,
    copies_faulty: u64,
    stream_bytes: u64,
    stream_bytes_max: Option<u64>,
    trimmed_to: Option<u64>,
    memory_max: Option<u64>,
    clock_difference_ms: Option<i64>,
    /// The nodes that have reported, with what is durable there.
    members_durable: Vec<(String, u64)>,
    propose: Summary,
    barrier: Summary,
}

impl ClusterReading {
    pub(in crate::http) fn of(view: &NodeView) -> Self {
        let report = view.report();
        let state = view.state().unwrap_or_default();
        let position = state.position.seq;
        let (propose, barrier) = view.times();
        let durable = |node: &NodeReport| Some((node.node.clone(), node.durable?));
        Self {
            word: view.standing().0,
            position,
            durable: state.durable,
            lag_messages: report.stream.last.unwrap_or(position).saturating_sub(position),
            fresh_seconds: report.fresh_seconds,
            proposed: view.proposed(),
            landed: state.landed,
            gaps: view.gaps(),
            members: report.nodes.len() as u64,
            present: report.nodes.iter().filter(|node| node.present).count() as u64,
            diverged: report.nodes.iter().filter(|node| node.diverged).count() as u64,
            keys_differ: report.nodes.iter().filter(|node| node.keys_differ).count() as u64,
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
            trimmed_to: report.stream.first,
            memory_max: report.nodes.iter().filter_map(|node| node.memory_max).min(),
            clock_difference_ms: state.clock_difference_ms,
            members_durable: report.nodes.iter().filter_map(durable).collect(),
            propose,
            barrier,
        }
    }

    pub(super) fn encode(&self, sheet: &mut Sheet<'_, '_>) -> fmt::Result {
        let help = "1 for the word that /readyz answers, 0 for the others";
        let value = |word: &Word| (word.name(), u64::from(*word == self.word));
        sheet.gauges(("cluster_state", help, "state"), Word::ALL.iter().map(value))?;
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
            (
                "cluster_members_keys_differ",
                "Nodes whose keys file differs from that of this node",
                self.keys_differ,
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
            sheet.gauge(name, help, value)?;
        }
        self.encode_known(sheet)?;
        if let Some(fresh) = self.fresh_seconds {
            let help = "How old the knowledge of this node is at most, in seconds";
            sheet.fraction("cluster_fresh_seconds", help, fresh)?;
        }
        self.encode_times(sheet)?;
        self.encode_counters(sheet)
    }

    fn encode_times(&self, sheet: &mut Sheet<'_, '_>) -> fmt::Result {
        if let Some(ahead_ms) = self.clock_difference_ms {
            let help = "Least by which this node's clock is ahead of the stream's, in seconds";
            sheet.fraction("cluster_clock_difference_seconds", help, ahead_ms as f64 / 1e3)?;
        }
        let help = "Number of the last message that a node has reported as durable";
        let nodes = self.members_durable.iter().map(|(node, seq)| (&**node, *seq));
        sheet.gauges(("cluster_member_durable", help, "node"), nodes)?;
        let help = "Time from the first proposal of a message until it has landed";
        sheet.histogram("cluster_propose_seconds", help, &self.propose)?;
        let help = "Time that callers waited for a message of this node to land";
        sheet.histogram("cluster_barrier_seconds", help, &self.barrier)
    }

    /// What may not be known, or is not limited.
    fn encode_known(&self, sheet: &mut Sheet<'_, '_>) -> fmt::Result {
        let known = [
            ("cluster_stream_bytes_max", "Bytes that the stream may hold", self.stream_bytes_max),
            (
                "cluster_trimmed_to",
                "Number of the first message of the stream at its last check",
                self.trimmed_to,
            ),
            (
                "cluster_members_memory_max",
                "Least --max-memory of the nodes that have one",
                self.memory_max,
            ),
        ];
        for (name, help, value) in known {
            if let Some(value) = value {
                sheet.gauge(name, help, value)?;
            }
        }
        Ok(())
    }

    fn encode_counters(&self, sheet: &mut Sheet<'_, '_>) -> fmt::Result {
        let (proposed, again) = self.proposed;
        sheet.counter("cluster_proposed", "Messages that this node has proposed", proposed)?;
        let help = "Messages that this node has proposed again, because they had not landed";
        sheet.counter("cluster_proposed_again", help, again)?;
        let LandedCounts { all, repeats, unopened } = self.landed;
        sheet.counter("cluster_landed", "Messages that this node has landed", all)?;
        let help = "Landed messages that had counted before";
        sheet.counter("cluster_repeats", help, repeats)?;
        let help = "Landed messages that do not open with the secret of the cluster";
        sheet.counter("cluster_unopened", help, unopened)?;
        let help = "Messages that a server skipped and the stream's leader had";
        sheet.counter("cluster_gaps", help, self.gaps)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::cluster::Config;
    use crate::http::admin::exposition::Reading;
    use crate::testkit::clock::ManualClock;

    #[test]
    fn the_book_has_each_metric_of_a_node() {
        let view = NodeView::new(Config::default(), Arc::new(ManualClock::default()));
        let cluster = ClusterReading {
            fresh_seconds: Some(0.5),
            stream_bytes_max: Some(7),
            trimmed_to: Some(3),
            memory_max: Some(1 << 30),
            clock_difference_ms: Some(-1_500),
            members_durable: vec![("00000000000000a1".to_owned(), 41)],
            ..ClusterReading::of(&view)
        };
        let reading = Reading { cluster: Some(cluster), ..Reading::new(None, None, true) };
        let text = reading.expose().unwrap();
        let served = text.lines().filter_map(|line| {
            let (name, kind) = line.strip_prefix("# TYPE jeton_cluster_")?.split_once(' ')?;
            Some(format!("{name}{}", if kind == "counter" { "_total" } else { "" }))
        });
        let served: BTreeSet<String> = served.collect();
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/src/operations/cluster.md");
        let page = std::fs::read_to_string(page).unwrap();
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `jeton_cluster_"));
        let listed = rows.filter_map(|row| Some(row.split_once('`')?.0.to_owned()));
        assert_eq!(served, listed.collect());
        assert!(text.contains("jeton_cluster_state{state=\"starting\"} 1\n"), "{text}");
        for line in [
            "jeton_cluster_fresh_seconds 0.5\n",
            "jeton_cluster_clock_difference_seconds -1.5\n",
            "jeton_cluster_member_durable{node=\"00000000000000a1\"} 41\n",
            "jeton_cluster_propose_seconds_count 0\n",
            "jeton_cluster_barrier_seconds_count 0\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }

    #[test]
    fn the_description_and_the_book_have_each_word() {
        let description: serde_json::Value =
            serde_json::from_str(include_str!("openapi.json")).unwrap();
        let words = &description["components"]["schemas"]["Cluster"]["properties"]["state"]["enum"];
        assert_eq!(*words, serde_json::json!(Word::ALL.map(Word::name)));
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/src/operations/cluster.md");
        let page = std::fs::read_to_string(page).unwrap();
        for word in Word::ALL {
            let status = |is_ready| if is_ready { "200" } else { "503" };
            let (reads, changes) = (status(word.takes_reads()), status(word.takes_changes()));
            let row = format!("| `{}` | {reads} | {changes} |", word.name());
            assert!(page.contains(&row), "{row}");
        }
    }
}
