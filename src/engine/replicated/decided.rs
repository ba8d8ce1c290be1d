//! What a person has decided about the cluster, as all nodes take it.

use super::{Replicated, is_present};
use crate::model::cluster::NodeId;
use crate::model::record::replication::{Decision, Member};
use crate::model::time::UnixMillis;

impl Replicated {
    /// Takes the decisions of a message that counted; returns the rows that it changed. A decision
    /// that must not be changes nothing, on every node alike.
    pub fn decide(&mut self, decisions: &[Decision], log_time: UnixMillis) -> Vec<Member> {
        decisions.iter().filter_map(|decision| self.decide_one(decision, log_time)).collect()
    }

    fn decide_one(&mut self, decision: &Decision, log_time: UnixMillis) -> Option<Member> {
        match *decision {
            Decision::Retire(node) => {
                // All may leave at the same time, but one that is there stays. What a dead node has
                // on its disk, nobody may ever see again.
                let mut others = self.members.values().filter(|row| row.node != node);
                let has_another = others.any(|row| is_present(row, log_time));
                let row = self.members.get_mut(&node)?;
                if row.retired || !has_another {
                    return None;
                }
                (row.retired, row.heard) = (true, log_time);
                Some(*row)
            }
            Decision::Agree(format) => {
                self.agreed = self.agreed.max(format);
                None
            }
        }
    }

    /// Whether this node was taken out of the cluster.
    #[must_use]
    pub fn is_retired(&self, node: NodeId) -> bool {
        self.members.get(&node).is_some_and(|row| row.retired)
    }
}
