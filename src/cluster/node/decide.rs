//! What a person decides on a running node: that it leaves, that another node is forgotten, or that
//! an upgrade is finished. The node proposes the decision, and all nodes obey it when it lands.

use crate::engine::Pending;
use crate::engine::clustered::{NodeState, Standing};
use crate::engine::replicated::FORMAT_FIRST;
use crate::model::cluster::NodeId;
use crate::model::record::replication::Decision;

use super::presence::is_present;
use super::view::NodeView;

/// What a person wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The node that is asked leaves the cluster for good.
    Leave,
    /// Another node is taken out, whether it runs or not.
    Forget(NodeId),
    /// Every node runs a version that knows this format, and it may be used from now on.
    FinishUpgrade(u16),
}

/// Why a wish is not fulfilled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfulfilled {
    /// The node cannot propose anything now.
    #[error("this node's changes do not land now: {0}; nothing was decided")]
    NotServing(String),
    /// No such node.
    #[error("the cluster has no node {0} (or no longer): see jeton cluster status")]
    Unknown(NodeId),
    /// A node does not forget itself.
    #[error("this is the node that was asked: it leaves with jeton cluster leave")]
    Itself,
    /// Nobody would be left.
    #[error(
        "the last node cannot leave: nobody else has the tokens (no other node has been heard of in \
         the last 5 s); to end the cluster, just stop its nodes"
    )]
    Alone,
    /// Not every node is known to run a version that is new enough.
    #[error("the upgrade is not finished: {}", .0.join("; "))]
    Unfinished(Vec<String>),
    /// It has landed, and changed nothing.
    #[error("the decision has landed and changed nothing: see jeton cluster status, and ask again")]
    Unchanged,
    /// It was proposed and has not landed: it may still happen.
    #[error("not known: the decision has not landed, and may still land (jeton cluster status)")]
    Unanswered,
}

impl NodeView {
    /// Proposes what a person wants. When the result is there, [`NodeView::fulfilled`] says what
    /// became of it.
    ///
    /// # Errors
    /// It must not be, or the node cannot propose anything.
    pub fn wish(&self, wish: Wish) -> Result<Pending, Unfulfilled> {
        let (word, sentence) = self.standing();
        let not_serving = || Unfulfilled::NotServing(format!("{}: {sentence}", word.name()));
        let (Some(node), Some(follower)) = (self.node(), self.follower()) else {
            return Err(not_serving());
        };
        let state = follower.state();
        if state.standing != Standing::Serving || !state.has_quorum || !self.may_propose() {
            return Err(not_serving());
        }
        let decision = decision(&state, node, wish)?;
        follower.decide(decision).map_err(|_| not_serving())
    }

    /// What became of a wish whose message has landed, as a sentence.
    ///
    /// # Errors
    /// The message changed nothing.
    pub fn fulfilled(&self, wish: Wish) -> Result<String, Unfulfilled> {
        let (Some(node), Some(state)) = (self.node(), self.state()) else {
            return Err(Unfulfilled::Unanswered);
        };
        fulfilled(&state, node, &self.config().name, wish)
    }
}

/// The sentence about a wish whose message has landed, if this is the state that it wanted.
fn fulfilled(
    state: &NodeState,
    own: NodeId,
    name: &str,
    wish: Wish,
) -> Result<String, Unfulfilled> {
    let is_member = |node| state.members.iter().any(|row| row.node == node);
    match wish {
        // Another one has left at the same time.
        Wish::Leave if is_member(own) => Err(match decision(state, own, wish) {
            Ok(_) => Unfulfilled::Unchanged,
            Err(why) => why,
        }),
        Wish::Leave => Ok(format!("node {own} has left the cluster {name}, and ends")),
        Wish::Forget(other) if is_member(other) => Err(Unfulfilled::Unchanged),
        Wish::Forget(other) => {
            Ok(format!("node {other} is no longer part of the cluster {name}; if it runs, it ends"))
        }
        Wish::FinishUpgrade(format) if state.agreed < format => Err(Unfulfilled::Unchanged),
        Wish::FinishUpgrade(format) => Ok(format!(
            "the {} nodes of the cluster {name} have agreed on format {format}",
            state.members.len()
        )),
    }
}

/// The decision that fulfils a wish, as far as this node knows.
fn decision(state: &NodeState, own: NodeId, wish: Wish) -> Result<Decision, Unfulfilled> {
    let others = state.members.iter().filter(|row| row.node != own);
    match wish {
        Wish::Leave => match others.into_iter().any(|row| is_present(state, row)) {
            true => Ok(Decision::Retire(own)),
            false => Err(Unfulfilled::Alone),
        },
        Wish::Forget(node) if node == own => Err(Unfulfilled::Itself),
        Wish::Forget(node) => match others.into_iter().any(|row| row.node == node) {
            true => Ok(Decision::Retire(node)),
            false => Err(Unfulfilled::Unknown(node)),
        },
        Wish::FinishUpgrade(format) => {
            let behind = behind(state, format);
            match behind.is_empty() {
                true => Ok(Decision::Agree(format.max(FORMAT_FIRST))),
                false => Err(Unfulfilled::Unfinished(behind)),
            }
        }
    }
}

/// The nodes that are not known to read this format, each as a sentence. A node that is silent may
/// come back as the version that it was.
fn behind(state: &NodeState, format: u16) -> Vec<String> {
    let sentence = |row: &crate::model::record::replication::Member| {
        let node = row.node;
        match state.reports.get(&node) {
            Some(said) if said.format < u32::from(format) => {
                Some(format!("node {node} knows formats up to {}, not {format}", said.format))
            }
            _ if !is_present(state, row) => Some(format!(
                "node {node} has not been heard of since {}: start it, or forget it",
                row.heard
            )),
            Some(_) => None,
            None => Some(format!("node {node} has not said yet what it knows: ask again")),
        }
    };
    state.members.iter().filter_map(sentence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cluster::{BootNonce, Chain, Epoch};
    use crate::model::record::replication::{Member, Report};
    use crate::model::time::UnixMillis;

    /// Nodes with the seconds since they were heard of, and the format that they have reported.
    fn state(nodes: &[(u64, u64, Option<u32>)]) -> NodeState {
        let mut state = NodeState { log_time: UnixMillis(1_000_000), ..NodeState::default() };
        for (node, silent, format) in nodes {
            let (node, nonce) = (NodeId(*node), BootNonce::default());
            let heard = UnixMillis(1_000_000 - silent * 1_000);
            let (retired, epoch) = (false, Epoch(1));
            state.members.push(Member { node, retired, epoch, nonce, high: 1, heard });
            if let Some(format) = *format {
                let (chain, outcomes) = (Chain::default(), Chain::default());
                let said = Report {
                    has_stopped: false,
                    format,
                    seq: 1,
                    durable: 1,
                    memory_max: 0,
                    chain,
                    outcomes,
                    keys: [0; 16],
                };
                state.reports.insert(node, said);
            }
        }
        state
    }

    fn wish(nodes: &[(u64, u64, Option<u32>)], wish: Wish) -> Result<Decision, Unfulfilled> {
        decision(&state(nodes), NodeId(1), wish)
    }

    #[test]
    fn a_node_leaves_only_where_another_one_is_there() {
        let alone = wish(&[(1, 0, None), (2, 6, None)], Wish::Leave);
        assert_eq!(alone, Err(Unfulfilled::Alone));
        let both = wish(&[(1, 0, None), (2, 5, None)], Wish::Leave);
        assert_eq!(both, Ok(Decision::Retire(NodeId(1))));
    }

    #[test]
    fn another_node_is_forgotten_whether_it_runs_or_not_and_nobody_else() {
        let nodes = [(1, 0, None), (2, 0, None), (3, 600, None)];
        for node in [2, 3] {
            let forgotten = wish(&nodes, Wish::Forget(NodeId(node)));
            assert_eq!(forgotten, Ok(Decision::Retire(NodeId(node))));
        }
        assert_eq!(wish(&nodes, Wish::Forget(NodeId(1))), Err(Unfulfilled::Itself));
        let unknown = Err(Unfulfilled::Unknown(NodeId(4)));
        assert_eq!(wish(&nodes, Wish::Forget(NodeId(4))), unknown);
    }

    #[test]
    fn a_decision_that_changed_nothing_is_no_success() {
        let mut state = state(&[(1, 0, None), (2, 0, None), (3, 0, None)]);
        let said = |state: &NodeState, wish| fulfilled(state, NodeId(1), "shop", wish);
        let forget = Wish::Forget(NodeId(3));
        for wish in [forget, Wish::Leave, Wish::FinishUpgrade(1)] {
            assert_eq!(said(&state, wish), Err(Unfulfilled::Unchanged), "{wish:?}");
        }
        state.agreed = 1;
        assert!(said(&state, Wish::FinishUpgrade(1)).is_ok());
        state.members.truncate(1);
        assert!(said(&state, forget).is_ok());
        assert_eq!(said(&state, Wish::Leave), Err(Unfulfilled::Alone));
        state.members.clear();
        assert!(said(&state, Wish::Leave).is_ok());
    }

    #[test]
    fn an_upgrade_is_finished_when_every_node_is_known_to_be_new_enough() {
        let finish = |nodes: &[(u64, u64, Option<u32>)]| wish(nodes, Wish::FinishUpgrade(2));
        let agreed = finish(&[(1, 0, Some(2)), (2, 0, Some(3))]);
        assert_eq!(agreed, Ok(Decision::Agree(2)));
        let why = |nodes: &[(u64, u64, Option<u32>)]| finish(nodes).unwrap_err().to_string();
        let old = why(&[(1, 0, Some(2)), (2, 0, Some(1))]);
        assert!(old.contains("node 0000000000000002 knows formats up to 1, not 2"), "{old}");
        let silent = why(&[(1, 0, Some(2)), (2, 6, Some(2))]);
        assert!(silent.contains("has not been heard of since"), "{silent}");
        assert!(why(&[(1, 0, Some(2)), (2, 0, None)]).contains("ask again"));
    }
}
