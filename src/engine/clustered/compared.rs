//! What other nodes report, compared with what this node knows of the same position.

use crate::engine::replicated::MessageHead;
use crate::model::cluster::NodeId;
use crate::model::record::replication::Report;

use super::Clustered;

impl Clustered {
    /// Compares a node's report with what this node knows of that position.
    pub(super) fn compare(&mut self, head: &MessageHead, report: Report) {
        let node = head.sender.node;
        let known = self.recent.iter().rev().find(|recent| recent.seq == report.seq).copied();
        if let Some(recent) = known {
            let reported = Some(report.outcomes).filter(|outcomes| outcomes.0 != [0; 16]);
            match (recent.outcomes, reported) {
                // One of both was given another message by its server. Who is right is decided as
                // for other outcomes: it may be this node.
                _ if recent.chain != report.chain => self.note_outcomes(node, report.seq, false),
                (Some(own), Some(reported)) => {
                    self.note_outcomes(node, report.seq, own == reported);
                }
                _ => {}
            }
        }
        self.reports.insert(node, report);
    }

    /// A node that had other outcomes once has other contents, whatever it reports later.
    fn note_outcomes(&mut self, node: NodeId, seq: u64, is_equal: bool) {
        if !is_equal {
            self.alike.remove(&node);
            self.diverged.entry(node).or_insert(seq);
        } else if !self.diverged.contains_key(&node) {
            self.alike.insert(node);
        }
    }

    /// Forgets what nodes have reported that are no members any more.
    pub(super) fn forget_strangers(&mut self) {
        let members = &self.replicated.members;
        self.reports.retain(|node, _| members.contains_key(node));
        self.alike.retain(|node| members.contains_key(node));
        self.diverged.retain(|node, _| members.contains_key(node));
    }
}
