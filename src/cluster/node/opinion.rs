//! Whether the content of this node is the right one, as far as the others have reported.
//!
//! The engine compares chains of outcomes where positions are the same. A node whose chain differs
//! from those of several others, which agree, is wrong and ends. Where half of the nodes differ, or
//! have stopped for that reason, nobody knows whose content is right: this node stops as well, for
//! good. A later Hello begins the chains anew and makes them equal, but not the contents.

use crate::engine::clustered::NodeState;
use crate::model::cluster::NodeId;

use super::presence::voices;

/// What the other nodes think of this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opinion {
    /// Most have the same content, or none has reported yet.
    Alike,
    /// Half or more may have another content, but some have not reported.
    Undecided,
    /// As many have another content as have the same.
    Split,
    /// All others have another content, and there are several.
    Alone {
        /// How many they are.
        others: usize,
    },
}

/// Compares this node with the others that were heard of lately.
pub(super) fn opinion(state: &NodeState, node: NodeId) -> Opinion {
    let (mut differ, mut stopped, mut agree, mut unknown) = (0, 0, 0, 0);
    for other in voices(state, node) {
        let has_stopped = state.reports.get(&other).is_some_and(|report| report.has_stopped);
        *match () {
            () if state.diverged.contains_key(&other) => &mut differ,
            () if has_stopped => &mut stopped,
            () if state.alike.contains(&other) => &mut agree,
            () => &mut unknown,
        } += 1;
    }
    if differ + stopped < agree + 1 {
        return Opinion::Alike;
    }
    match (differ, stopped, agree, unknown) {
        (.., 1..) => Opinion::Undecided,
        (others @ 2.., 0, 0, 0) => Opinion::Alone { others },
        _ => Opinion::Split,
    }
}

#[cfg(test)]
mod tests {
    use super::super::presence::tests::{add, empty, report};
    use super::*;

    #[derive(Clone, Copy, PartialEq)]
    enum Other {
        Differs,
        Agrees,
        Unknown,
        HasStopped,
        Silent,
    }

    fn think(others: &[Other]) -> Opinion {
        let mut state = empty();
        add(&mut state, 1, 0);
        for (number, other) in (2..).zip(others) {
            let node = NodeId(number);
            add(&mut state, number, if *other == Other::Silent { 60 } else { 1 });
            let mut report = report(1, 1);
            match other {
                Other::Differs | Other::Silent => drop(state.diverged.insert(node, 1)),
                Other::Agrees => drop(state.alike.insert(node)),
                Other::HasStopped => report.has_stopped = true,
                Other::Unknown => continue,
            }
            state.reports.insert(node, report);
        }
        opinion(&state, NodeId(1))
    }

    #[test]
    fn only_a_node_that_is_alone_against_several_ends_itself() {
        use Other::{Agrees, Differs};
        assert_eq!(think(&[]), Opinion::Alike);
        assert_eq!(think(&[Agrees, Agrees]), Opinion::Alike);
        assert_eq!(think(&[Differs]), Opinion::Split, "one against one");
        assert_eq!(think(&[Differs, Differs]), Opinion::Alone { others: 2 });
        assert_eq!(think(&[Differs, Agrees]), Opinion::Alike, "the other one is odd");
        assert_eq!(think(&[Differs, Differs, Agrees]), Opinion::Split);
    }

    #[test]
    fn a_node_that_is_silent_has_no_voice() {
        use Other::{Differs, Silent};
        assert_eq!(think(&[Differs, Silent]), Opinion::Split);
        assert_eq!(think(&[Silent, Silent]), Opinion::Alike);
    }

    #[test]
    fn nothing_is_decided_for_good_before_all_have_reported() {
        use Other::{Agrees, Differs, Unknown};
        assert_eq!(think(&[Unknown, Unknown]), Opinion::Alike);
        assert_eq!(think(&[Differs, Unknown]), Opinion::Undecided);
        assert_eq!(think(&[Differs, Differs, Unknown]), Opinion::Undecided);
        assert_eq!(think(&[Differs, Agrees, Unknown]), Opinion::Alike);
    }

    #[test]
    fn p2_a_node_that_starts_among_stopped_ones_stops_too() {
        use Other::{Agrees, Differs, HasStopped};
        assert_eq!(think(&[HasStopped, HasStopped]), Opinion::Split);
        assert_eq!(think(&[HasStopped]), Opinion::Split);
        assert_eq!(think(&[HasStopped, Agrees]), Opinion::Alike, "the odd one has stopped");
        assert_eq!(think(&[HasStopped, Differs, Agrees]), Opinion::Split);
    }
}
