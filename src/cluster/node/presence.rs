//! Whether a node was heard of lately, by the time of the log.

use crate::engine::clustered::NodeState;
use crate::engine::replicated::{self, PRESENT_WITHIN_MS};
use crate::model::cluster::NodeId;
use crate::model::record::replication::Member;

/// Nodes unheard of for this time of the log have no voice in what the right content is. It is
/// longer, so that a short silence does not change a majority.
const VOICE_WITHIN_MS: u64 = 2 * PRESENT_WITHIN_MS;

/// Whether the node is there.
pub(super) fn is_present(state: &NodeState, row: &Member) -> bool {
    replicated::is_present(row, state.log_time)
}

/// The nodes that have a voice, other than this one.
pub(super) fn voices(state: &NodeState, this: NodeId) -> impl Iterator<Item = NodeId> {
    let is_heard = |row: &&Member| state.log_time.since(row.heard) <= VOICE_WITHIN_MS;
    let others = state.members.iter().filter(is_heard).map(|row| row.node);
    others.filter(move |node| *node != this)
}

#[cfg(test)]
pub(super) mod tests {
    use crate::engine::clustered::NodeState;
    use crate::model::cluster::{BootNonce, Chain, Epoch, NodeId};
    use crate::model::record::replication::{Member, Report};
    use crate::model::time::UnixMillis;

    /// Log time of a state.
    pub(in crate::cluster::node) const NOW: UnixMillis = UnixMillis(100_000_000);

    /// A state without members.
    pub(in crate::cluster::node) fn empty() -> NodeState {
        NodeState { log_time: NOW, ..NodeState::default() }
    }

    /// Adds a node that was heard of so many seconds ago.
    pub(in crate::cluster::node) fn add(state: &mut NodeState, node: u64, silent_s: u64) {
        let (node, heard) = (NodeId(node), UnixMillis(NOW.0 - silent_s * 1_000));
        let nonce = BootNonce::default();
        let (retired, epoch) = (false, Epoch(1));
        state.members.push(Member { node, retired, epoch, nonce, high: 1, heard });
    }

    /// A report of this position.
    pub(in crate::cluster::node) fn report(seq: u64, durable: u64) -> Report {
        Report {
            has_stopped: false,
            format: 1,
            seq,
            durable,
            memory_max: 0,
            chain: Chain::default(),
            outcomes: Chain::default(),
            keys: [0; 16],
        }
    }
}
