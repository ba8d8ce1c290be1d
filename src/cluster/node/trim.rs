//! Forgetting the begin of the stream: what enough nodes have in their logs.
//!
//! One node does it: the lowest id of those heard of lately. It never forgets what a node still
//! needs that was heard of within `--cluster-keep`, and what fewer than two nodes have on their
//! disks. A stream that is more than half full does not wait for silent nodes: they join anew. Some
//! messages stay beyond that, so that a node that restarts finds its place.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::cluster::stream::{Bounds, Hint, Message, Next, Promises, Stream, StreamError};
use crate::engine::clustered::NodeState;
use crate::model::cluster::NodeId;

/// Bytes that stay although no node needs them, at most a quarter of what the stream may hold.
const MARGIN_BYTES: u64 = 256 << 20;
/// A node heard of within this time of the log is there.
const PRESENT_WITHIN_MS: u64 = 5_000;
/// Nodes that must have a message on their disks before it is forgotten.
const COPIES_MIN: usize = 2;
/// Bytes between two marks, and maximum marks: they reach back twice the margin.
const MARK_BYTES: u64 = 1 << 20;
const MARKS_MAX: usize = 512;

/// Where messages are, in bytes of the stream.
#[derive(Clone, Default)]
pub(super) struct Sizes(Arc<Mutex<Marks>>);

#[derive(Default)]
struct Marks {
    /// Bytes of all messages that were followed.
    total: u64,
    last: u64,
    /// Numbers of messages with the bytes up to each, oldest first.
    marks: VecDeque<(u64, u64)>,
}

impl Sizes {
    fn add(&self, seq: u64, len: usize) {
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A message that is read again is not counted again.
        if seq <= marks.last {
            return;
        }
        marks.last = seq;
        marks.total += len as u64;
        let total = marks.total;
        if marks.marks.back().is_none_or(|(_, at)| total - at >= MARK_BYTES) {
            if marks.marks.len() == MARKS_MAX {
                marks.marks.pop_front();
            }
            marks.marks.push_back((seq, total));
        }
    }

    /// The newest known message with at least `bytes` between it and `seq`.
    fn before(&self, seq: u64, bytes: u64) -> Option<u64> {
        let marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, end) = marks.marks.iter().rev().find(|(at, _)| *at <= seq)?;
        let far = marks.marks.iter().rev().find(|(_, total)| total + bytes <= *end)?;
        Some(far.0)
    }
}

/// What is known of the stream that may be trimmed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filling {
    pub(super) first: u64,
    pub(super) bytes: u64,
    pub(super) bytes_max: Option<u64>,
}

/// The first message that must stay, if this node is to forget those before it.
pub(super) fn first_needed(
    state: &NodeState,
    node: NodeId,
    keep: Duration,
    filling: Filling,
    sizes: &Sizes,
) -> Option<u64> {
    let silent_ms = |node: &NodeId| {
        let row = state.members.iter().find(|row| row.node == *node)?;
        Some(state.log_time.since(row.heard))
    };
    let is_present = |node: &NodeId| silent_ms(node).is_some_and(|ms| ms <= PRESENT_WITHIN_MS);
    let lowest = state.members.iter().map(|row| row.node).filter(is_present).min();
    if lowest != Some(node) {
        return None;
    }
    let most = filling.bytes_max.unwrap_or(u64::MAX);
    let is_half_full = filling.bytes > most / 2;
    let keep_ms = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
    let holds = |node: &NodeId| match is_half_full {
        true => is_present(node),
        false => silent_ms(node).is_some_and(|ms| ms <= keep_ms),
    };
    let holding = state.members.iter().map(|row| row.node).filter(holds);
    // Of a node that has not reported since this one started, nothing is known: it is waited for.
    let durable: Option<Vec<u64>> =
        holding.map(|node| state.reports.get(&node).map(|report| report.durable)).collect();
    let mut durable = durable?;
    durable.sort_unstable();
    let least = *durable.first()?;
    let copied = *durable.iter().rev().nth(COPIES_MIN - 1)?;
    let needed = sizes.before(least.min(copied), MARGIN_BYTES.min(most / 4))?;
    (needed > filling.first).then_some(needed)
}

/// A stream whose followed messages are counted.
pub(super) struct Counted {
    stream: Box<dyn Stream>,
    sizes: Sizes,
}

impl Counted {
    pub(super) fn new(stream: Box<dyn Stream>, sizes: Sizes) -> Self {
        Self { stream, sizes }
    }
}

impl Stream for Counted {
    fn propose(&mut self, message: &[u8]) -> Result<(), Hint> {
        self.stream.propose(message)
    }

    fn answer(&mut self) -> Option<Result<u64, Hint>> {
        self.stream.answer()
    }

    fn next(&mut self, seq: u64, patience: Duration) -> Result<Message, Next> {
        let message = self.stream.next(seq, patience)?;
        self.sizes.add(message.seq, message.bytes.len());
        Ok(message)
    }

    fn bounds(&mut self) -> Result<Bounds, StreamError> {
        self.stream.bounds()
    }

    fn trim(&mut self, seq: u64) -> Result<(), StreamError> {
        self.stream.trim(seq)
    }

    fn promises(&mut self) -> Result<Promises, StreamError> {
        self.stream.promises()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cluster::{BootNonce, Chain, Epoch};
    use crate::model::record::replication::{Member, Report};
    use crate::model::time::UnixMillis;

    const HOUR: Duration = Duration::from_secs(3_600);
    const NOW: u64 = 100_000_000;

    /// Nodes with their id, the seconds since they were heard of, and what is durable there.
    fn state(nodes: &[(u64, u64, Option<u64>)]) -> NodeState {
        let mut state = NodeState { log_time: UnixMillis(NOW), ..NodeState::default() };
        for (node, silent_s, durable) in nodes {
            let (node, heard) = (NodeId(*node), UnixMillis(NOW - silent_s * 1_000));
            let nonce = BootNonce::default();
            state.members.push(Member { node, epoch: Epoch(1), nonce, high: 1, heard });
            let Some(durable) = *durable else { continue };
            let (chain, outcomes) = (Chain::default(), Chain::default());
            let report = Report {
                format: 1,
                seq: durable,
                durable,
                memory_max: 0,
                chain,
                outcomes,
                keys: [0; 16],
            };
            state.reports.insert(node, report);
        }
        state
    }

    /// Messages of 1 MiB.
    fn sizes(count: u64) -> Sizes {
        let sizes = Sizes::default();
        (1..=count).for_each(|seq| sizes.add(seq, 1 << 20));
        sizes
    }

    fn first(nodes: &[(u64, u64, Option<u64>)], filled_mib: u64) -> Option<u64> {
        let filling = Filling { first: 1, bytes: filled_mib << 20, bytes_max: Some(400 << 20) };
        first_needed(&state(nodes), NodeId(1), HOUR, filling, &sizes(400))
    }

    #[test]
    fn what_a_node_heard_of_lately_needs_is_kept() {
        // A quarter of the stream stays: 100 messages.
        assert_eq!(
            first(&[(1, 0, Some(390)), (2, 0, Some(380)), (3, 0, Some(300))], 10),
            Some(200)
        );
        assert_eq!(
            first(&[(1, 0, Some(390)), (2, 0, Some(380)), (3, 60, Some(150))], 10),
            Some(50)
        );
        assert_eq!(first(&[(1, 0, Some(390)), (2, 0, Some(380)), (3, 60, None)], 10), None);
        let gone = 2 * 3_600;
        assert_eq!(first(&[(1, 0, Some(390)), (2, 0, Some(380)), (3, gone, None)], 10), Some(280));
    }

    #[test]
    fn what_fewer_than_two_nodes_have_on_disk_is_kept() {
        assert_eq!(first(&[(1, 0, Some(390))], 10), None);
        assert_eq!(first(&[(1, 0, Some(390))], 399), None, "however full it is");
        assert_eq!(first(&[(1, 0, Some(390)), (2, 0, Some(0))], 10), None);
    }

    #[test]
    fn a_dead_node_never_fills_the_stream() {
        let nodes = [(1, 0, Some(390)), (2, 0, Some(380)), (3, 60, Some(10))];
        assert_eq!(first(&nodes, 199), None);
        assert_eq!(first(&nodes, 201), Some(280), "it must join anew");
    }

    #[test]
    fn only_the_lowest_node_that_is_there_forgets() {
        let nodes = [(1, 0, Some(390)), (2, 0, Some(380))];
        let filling = Filling { first: 1, bytes: 0, bytes_max: Some(400 << 20) };
        let of = |node| first_needed(&state(&nodes), NodeId(node), HOUR, filling, &sizes(400));
        assert_eq!((of(1), of(2)), (Some(280), None));
        let silent = [(1, 60, Some(390)), (2, 0, Some(380)), (3, 0, Some(380))];
        let of = |node| first_needed(&state(&silent), NodeId(node), HOUR, filling, &sizes(400));
        assert_eq!((of(1), of(2), of(3)), (None, Some(280), None));
    }

    #[test]
    fn nothing_is_forgotten_twice_and_what_was_not_followed_is_not_measured() {
        let nodes = state(&[(1, 0, Some(390)), (2, 0, Some(380))]);
        let filling = Filling { first: 280, bytes: 0, bytes_max: Some(400 << 20) };
        assert_eq!(first_needed(&nodes, NodeId(1), HOUR, filling, &sizes(400)), None);
        let filling = Filling { first: 1, ..filling };
        assert_eq!(first_needed(&nodes, NodeId(1), HOUR, filling, &Sizes::default()), None);
        let again = sizes(10);
        again.add(5, 1 << 30);
        assert_eq!(again.before(10, 5 << 20), Some(5), "a message that was read again");
    }
}
