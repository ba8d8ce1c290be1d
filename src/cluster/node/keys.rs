//! Compares the keys files of the nodes by what they report.
//!
//! Each node has a file of its own, and files change while nodes run. A caller that one node admits
//! and another refuses is a mistake of the operator, so the nodes that differ are named. Nothing
//! depends on it, unless `--cluster-require-same-keys` says so.

use std::collections::BTreeMap;

use crate::engine::clustered::NodeState;
use crate::keys::Fingerprint;
use crate::model::cluster::NodeId;

use super::presence::is_present;

/// The fingerprints of the nodes that are present.
fn fingerprints(state: &NodeState) -> BTreeMap<NodeId, Fingerprint> {
    let present = state.members.iter().filter(|row| is_present(state, row));
    let reported = present.filter_map(|row| Some((row.node, state.reports.get(&row.node)?)));
    reported.map(|(node, report)| (node, Fingerprint(report.keys))).collect()
}

/// The nodes that are present and have another keys file than this one, which has `own`.
pub(super) fn differing(state: &NodeState, own: Fingerprint) -> Vec<NodeId> {
    let others = fingerprints(state).into_iter().filter(|(_, keys)| *keys != own);
    others.map(|(node, _)| node).collect()
}

/// Whether most of the nodes that are present agree on another keys file than this node has.
pub(super) fn has_odd_keys(state: &NodeState, own: Fingerprint) -> bool {
    let all = fingerprints(state);
    all.values().any(|keys| {
        let like_it = all.values().filter(|other| *other == keys).count();
        *keys != own && 2 * like_it > all.len()
    })
}

#[cfg(test)]
mod tests {
    use super::super::presence::tests::{add, empty, report};
    use super::*;
    use crate::model::record::replication::Report;

    /// Nodes 1 and up with these fingerprints, each heard of so many seconds ago.
    fn state(nodes: &[(u8, u64)]) -> NodeState {
        let mut state = empty();
        for (node, (keys, silent_s)) in (1..).zip(nodes) {
            add(&mut state, node, *silent_s);
            state.reports.insert(NodeId(node), Report { keys: [*keys; 16], ..report(1, 1) });
        }
        state
    }

    fn odd(nodes: &[(u8, u64)]) -> bool {
        has_odd_keys(&state(nodes), Fingerprint([nodes[0].0; 16]))
    }

    #[test]
    fn the_odd_node_is_the_one_that_most_others_differ_from() {
        let named = |nodes: &[(u8, u64)]| differing(&state(nodes), Fingerprint([nodes[0].0; 16]));
        assert!(!odd(&[(1, 0), (1, 0), (1, 0)]) && named(&[(1, 0), (1, 0), (1, 0)]).is_empty());
        let nodes = [(1, 0), (2, 0), (2, 0)];
        assert!(odd(&nodes));
        assert_eq!(named(&nodes), [NodeId(2), NodeId(3)]);
        let nodes = [(1, 0), (1, 0), (2, 0)];
        assert!(!odd(&nodes), "the other one is odd");
        assert_eq!(named(&nodes), [NodeId(3)]);
        assert!(!odd(&[(1, 0), (2, 0)]), "nobody knows which of two is right");
        assert!(!odd(&[(1, 0), (2, 0), (3, 0)]), "all differ");
        let gone = [(1, 0), (2, 60), (2, 60)];
        assert!(!odd(&gone) && named(&gone).is_empty(), "they are not heard of");
    }
}
