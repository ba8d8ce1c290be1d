//! What nodes that join need of the stream while they have no voice of their own.
//!
//! `jeton cluster join` copies the log of a running node. That node keeps the stream for the new one
//! from where the copy begins: it reports no later position as durable, and so nobody forgets what
//! comes after. The new node needs no rights, no id and no row before it has anything, so joiners that
//! fail again and again leave nothing behind.
//!
//! A hold ends with its copy if that breaks off, and in any case after [`HOLD_MAX`]. A new node that
//! reports at least what a copy has ends one: it does not say which copy it is from, so the latest that
//! it can be from ends, and what the earlier ones hold is enough for the nodes of the others. Only its
//! first report counts: later it has all that any copy has, wherever it is from. A stream that fills
//! ends holds too, as it does for nodes of the same kind: while the copy is read, from where a present
//! node is no longer waited for; after that, from where a silent one is not.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::engine::clustered::NodeState;
use crate::model::cluster::{NodeId, Position};
use crate::model::record::replication::Member;

use super::trim::{SILENT_UNTIL, UNSYNCED_UNTIL};

/// Maximum time from the begin of a copy for which the stream is kept for it.
const HOLD_MAX: Duration = Duration::from_secs(10 * 60);
/// Maximum holds of a node. One more ends the oldest.
const HOLDS_MAX: usize = 64;

/// The holds of a node, oldest first.
#[derive(Debug, Default)]
pub(super) struct Holds {
    list: Vec<Hold>,
    last: u64,
}

#[derive(Debug)]
struct Hold {
    number: u64,
    /// What was durable here when the copy was asked for. The copy has at least that.
    from: Position,
    /// Monotonic time of that.
    since: Duration,
    /// The nodes that were known then.
    known: BTreeSet<NodeId>,
    is_copied: bool,
}

impl Holds {
    /// A copy is about to begin. Returns the number of its hold.
    pub(super) fn begin(&mut self, state: &NodeState, now: Duration) -> u64 {
        if self.list.len() == HOLDS_MAX {
            self.list.remove(0);
        }
        self.last += 1;
        let from = Position { era: state.position.era, seq: state.durable };
        let known = state.members.iter().map(|row| row.node).collect();
        self.list.push(Hold { number: self.last, from, since: now, known, is_copied: false });
        self.last
    }

    /// The whole copy was handed over: the new node reads it, and follows.
    pub(super) fn copied(&mut self, number: u64) {
        if let Some(hold) = self.list.iter_mut().find(|hold| hold.number == number) {
            hold.is_copied = true;
        }
    }

    /// The copy has ended. One that broke off holds nothing any more.
    pub(super) fn end(&mut self, number: u64) {
        self.list.retain(|hold| hold.number != number || hold.is_copied);
    }

    /// Up to where the node may report its log as durable, where the stream is `filled` to this
    /// percentage; `None` for no limit. Ends the holds that are over.
    pub(super) fn least(
        &mut self,
        state: &NodeState,
        filled: u64,
        now: Duration,
    ) -> Option<Position> {
        let is_young = |hold: &Hold| now.saturating_sub(hold.since) < HOLD_MAX;
        self.list.retain(|hold| hold.from.era == state.position.era && is_young(hold));
        let durable = |row: &Member| Some((row.node, state.reports.get(&row.node)?.durable));
        for (node, durable) in state.members.iter().filter_map(durable) {
            let is_it = |hold: &Hold| {
                hold.is_copied && hold.from.seq <= durable && !hold.known.contains(&node)
            };
            // The list is in the order of positions.
            if let Some(at) = self.list.iter().rposition(is_it) {
                self.list.remove(at);
            }
            for hold in &mut self.list {
                hold.known.insert(node);
            }
        }
        let until = |hold: &&Hold| if hold.is_copied { SILENT_UNTIL } else { UNSYNCED_UNTIL };
        let holding = self.list.iter().filter(|hold| filled < until(hold));
        holding.map(|hold| hold.from).min()
    }
}

#[cfg(test)]
mod tests {
    use super::super::presence::tests::{add, empty, report};
    use super::*;
    use crate::model::cluster::Era;

    const MINUTE: Duration = Duration::from_secs(60);

    /// Node 1 with what is durable there, and node 2.
    fn state(durable: u64) -> NodeState {
        let mut state = empty();
        add(&mut state, 1, 0);
        add(&mut state, 2, 0);
        state.reports.insert(NodeId(2), report(durable, durable));
        state.position = Position { era: Era(1), seq: durable + 5 };
        state.durable = durable;
        state
    }

    fn least(holds: &mut Holds, state: &NodeState, filled: u64, now: Duration) -> Option<u64> {
        holds.least(state, filled, now).map(|held| held.seq)
    }

    #[test]
    fn a_copy_keeps_the_stream_from_its_begin_and_one_that_breaks_off_keeps_nothing() {
        let mut holds = Holds::default();
        assert_eq!(least(&mut holds, &state(70), 0, MINUTE), None);
        let (first, second) = (holds.begin(&state(70), MINUTE), holds.begin(&state(80), MINUTE));
        assert_eq!(least(&mut holds, &state(99), 0, MINUTE), Some(70));
        holds.end(first);
        assert_eq!(least(&mut holds, &state(99), 0, MINUTE), Some(80));
        holds.copied(second);
        holds.end(second);
        assert_eq!(least(&mut holds, &state(99), 0, MINUTE), Some(80), "it follows now");
    }

    #[test]
    fn a_hold_ends_after_ten_minutes_and_with_its_stream() {
        let mut holds = Holds::default();
        holds.begin(&state(70), MINUTE);
        let end = MINUTE + HOLD_MAX;
        let almost = end.checked_sub(Duration::from_millis(1)).unwrap();
        assert_eq!(least(&mut holds, &state(99), 0, almost), Some(70));
        assert_eq!(least(&mut holds, &state(99), 0, end), None);
        holds.begin(&state(70), end);
        let mut next = state(3);
        next.position.era = Era(2);
        assert_eq!(least(&mut holds, &next, 0, end), None, "positions begin anew");
    }

    /// Two nodes have copied, from 70 and from 80 on.
    fn two_copies() -> Holds {
        let mut holds = Holds::default();
        for durable in [70, 80] {
            let number = holds.begin(&state(durable), MINUTE);
            holds.copied(number);
        }
        holds
    }

    #[test]
    fn a_node_that_reports_takes_the_place_of_one_copy() {
        let mut holds = two_copies();
        let mut joined = state(99);
        add(&mut joined, 3, 0);
        assert_eq!(least(&mut holds, &joined, 0, MINUTE), Some(70), "it has not reported yet");
        joined.reports.insert(NodeId(3), report(90, 85));
        // It may be from either copy. What the other one's node needs stays.
        assert_eq!(least(&mut holds, &joined, 0, MINUTE), Some(70));
        assert_eq!(least(&mut holds, &joined, 0, MINUTE), Some(70), "it counts once");
        add(&mut joined, 4, 0);
        joined.reports.insert(NodeId(4), report(90, 85));
        assert_eq!(least(&mut holds, &joined, 0, MINUTE), None);
    }

    #[test]
    fn a_node_with_less_than_a_copy_does_not_end_its_hold() {
        let mut holds = two_copies();
        let mut joined = state(99);
        add(&mut joined, 3, 0);
        joined.reports.insert(NodeId(3), report(90, 69));
        assert_eq!(least(&mut holds, &joined, 0, MINUTE), Some(70), "it is from another node");
        add(&mut joined, 4, 0);
        joined.reports.insert(NodeId(4), report(90, 79));
        assert_eq!(least(&mut holds, &joined, 0, MINUTE), Some(80), "it is from the first copy");
    }

    /// It was made from the copy of another node, or was there before.
    #[test]
    fn p8_a_node_whose_first_report_has_less_than_a_copy_does_not_end_its_hold_later() {
        let mut holds = Holds::default();
        let number = holds.begin(&state(80), MINUTE);
        let mut joined = state(99);
        add(&mut joined, 3, 0);
        joined.reports.insert(NodeId(3), report(90, 95));
        assert_eq!(least(&mut holds, &joined, 0, MINUTE), Some(80), "the copy is still read");
        holds.copied(number);
        assert_eq!(least(&mut holds, &joined, 0, MINUTE), Some(80), "it was there before");
        add(&mut joined, 4, 0);
        joined.reports.insert(NodeId(4), report(90, 79));
        assert_eq!(least(&mut holds, &joined, 0, MINUTE), Some(80), "it has less than the copy");
        joined.reports.insert(NodeId(4), report(99, 95));
        assert_eq!(least(&mut holds, &joined, 0, MINUTE), Some(80), "its first report counts");
        add(&mut joined, 5, 0);
        joined.reports.insert(NodeId(5), report(99, 80));
        assert_eq!(least(&mut holds, &joined, 0, MINUTE), None);
    }

    #[test]
    fn p8_no_number_of_joiners_fills_the_stream() {
        let mut holds = Holds::default();
        let reading = holds.begin(&state(70), MINUTE);
        assert_eq!(least(&mut holds, &state(99), UNSYNCED_UNTIL - 1, MINUTE), Some(70));
        assert_eq!(least(&mut holds, &state(99), UNSYNCED_UNTIL, MINUTE), None);
        holds.copied(reading);
        assert_eq!(least(&mut holds, &state(99), SILENT_UNTIL - 1, MINUTE), Some(70));
        assert_eq!(least(&mut holds, &state(99), SILENT_UNTIL, MINUTE), None);
        for durable in 100..200 {
            let number = holds.begin(&state(durable), MINUTE);
            holds.copied(number);
        }
        assert_eq!(holds.list.len(), HOLDS_MAX);
        assert_eq!(least(&mut holds, &state(200), 0, MINUTE), Some(200 - HOLDS_MAX as u64));
    }
}
