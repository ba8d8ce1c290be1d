//! Forgetting the begin of the stream: what enough nodes have in their logs.
//!
//! Below half of the bytes that the stream may hold nothing is forgotten, and above it never more
//! than down to half: a node that joins, or that comes back, finds its place. What a node needs that
//! was heard of within `--cluster-keep` stays until the stream is three quarters full; then silent
//! nodes are not waited for, and must join anew. What fewer than two nodes have on their disks always
//! stays. Where the servers say for 10 s that they store no more, the stream is as full as it can be,
//! whatever it may hold. Every node does this, each at its own moments: to forget twice does no harm,
//! and no single node can prevent it.

use std::time::Duration;

use crate::engine::clustered::NodeState;
use crate::model::cluster::NodeId;
use crate::model::record::replication::{Member, Report};

use super::fullness::percent;
use super::presence::is_present;
use super::sizes::Sizes;

/// Nodes that must have a message on their disks before it is forgotten.
const COPIES_MIN: usize = 2;
/// From this percentage on silent nodes are not waited for.
pub(super) const SILENT_UNTIL: u64 = 75;
/// From this percentage on a node is not waited for whose log does not become durable. It goes on,
/// because it has landed what is forgotten; after a crash it must join anew.
pub(super) const UNSYNCED_UNTIL: u64 = 90;

/// What is known of the stream that may be trimmed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filling {
    /// Its first message.
    pub(super) first: u64,
    /// Bytes that it may hold.
    pub(super) bytes_max: Option<u64>,
    /// The servers have said for long that it is full, whatever it may hold.
    pub(super) is_refused: bool,
}

/// What a node has landed, and what of it is durable there.
#[derive(Clone, Copy, Debug)]
struct Had {
    seq: u64,
    durable: u64,
}

/// The first message that must stay, if `this` node is to forget older ones.
pub(super) fn first_needed(
    state: &NodeState,
    this: NodeId,
    keep: Duration,
    filling: Filling,
    sizes: &Sizes,
) -> Option<u64> {
    let bytes = sizes.filled();
    let most = if filling.is_refused { bytes } else { filling.bytes_max? };
    let excess = bytes.checked_sub(most / 2).filter(|excess| *excess > 0)?;
    let filled = percent(bytes, most);
    let keep_ms = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
    let is_waited_for = |row: &&Member| match filled {
        ..SILENT_UNTIL => state.log_time.since(row.heard) <= keep_ms,
        SILENT_UNTIL.. => is_present(state, row),
    };
    let others = state.members.iter().filter(|row| row.node != this).filter(is_waited_for);
    // Of a node that has not reported since this one started, nothing is known. This one knows of
    // itself also while its reports do not land.
    let others = others.map(|row| {
        let Report { seq, durable, .. } = *state.reports.get(&row.node)?;
        Some(Had { seq, durable })
    });
    let own = Had { seq: state.position.seq, durable: state.durable };
    let had: Vec<Had> = others.chain([Some(own)]).collect::<Option<_>>()?;
    let needs = |had: &Had| match filled {
        ..UNSYNCED_UNTIL => had.durable,
        UNSYNCED_UNTIL.. => had.seq,
    };
    let needed = had.iter().map(needs).min()?;
    let mut durable: Vec<u64> = had.iter().map(|had| had.durable).collect();
    durable.sort_unstable();
    let copied = *durable.iter().rev().nth(COPIES_MIN - 1)?;
    let first = needed.min(copied).min(sizes.oldest(filling.first, excess)?);
    (first > filling.first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::super::presence::tests::{add, empty, report};
    use super::super::sizes::tests::followed;
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    /// The stream may hold 400 MiB.
    const MOST: u64 = 400 << 20;

    /// A node: its id, the seconds since it was heard of, its position and what is durable there.
    type Node = (u64, u64, Option<(u64, u64)>);

    const THIS: NodeId = NodeId(1);

    fn state(nodes: &[Node]) -> NodeState {
        let mut state = empty();
        for (node, silent_s, said) in nodes {
            add(&mut state, *node, *silent_s);
            match (NodeId(*node), said) {
                (THIS, Some((seq, durable))) => {
                    (state.position.seq, state.durable) = (*seq, *durable);
                }
                (node, Some((seq, durable))) => {
                    state.reports.insert(node, report(*seq, *durable));
                }
                (_, None) => {}
            }
        }
        state
    }

    /// A stream with so many messages of 1 MiB.
    fn first(nodes: &[Node], filled: u64) -> Option<u64> {
        let filling = Filling { first: 1, bytes_max: Some(MOST), is_refused: false };
        first_needed(&state(nodes), THIS, HOUR, filling, &followed(0, filled, MOST))
    }

    fn at(durable: u64) -> Option<(u64, u64)> {
        Some((durable, durable))
    }

    #[test]
    fn below_half_nothing_is_forgotten_and_above_it_no_more_than_down_to_half() {
        let nodes = [(1, 0, at(390)), (2, 0, at(380)), (3, 0, at(370))];
        assert_eq!(first(&nodes, 200), None);
        let first = first(&nodes, 240).unwrap();
        assert!(first.abs_diff(40) <= 1, "{first}: 200 MiB stay, for nodes that nobody knows of");
    }

    #[test]
    fn what_a_node_heard_of_lately_needs_is_kept() {
        let others = [(1, 0, at(390)), (2, 0, at(380))];
        let with = |third| first(&[others[0], others[1], third], 290);
        assert_eq!(with((3, 0, at(60))), Some(60));
        assert_eq!(with((3, 60, at(50))), Some(50), "a restart is not a reason to join anew");
        assert_eq!(with((3, 60, None)), None, "nobody knows what it needs");
        let gone = with((3, 2 * 3_600, at(1))).unwrap();
        assert!(gone.abs_diff(90) <= 1, "{gone}");
    }

    #[test]
    fn p1_what_fewer_than_two_nodes_have_on_disk_is_kept() {
        assert_eq!(first(&[(1, 0, at(390))], 399), None, "however full it is");
        assert_eq!(first(&[(1, 0, at(390)), (2, 0, at(0))], 299), None);
        assert_eq!(first(&[(1, 0, Some((399, 390))), (2, 0, Some((399, 7)))], 399), Some(7));
    }

    #[test]
    fn p8_a_silent_node_never_fills_the_stream() {
        let nodes = [(1, 0, at(390)), (2, 0, at(380)), (3, 60, at(10))];
        assert_eq!(first(&nodes, 299), Some(10));
        let first = first(&nodes, 301).unwrap();
        assert!(first.abs_diff(101) <= 1, "{first}: it must join anew");
    }

    #[test]
    fn p8_a_node_whose_log_never_becomes_durable_does_not_fill_the_stream() {
        let nodes = [(1, 0, at(390)), (2, 0, at(380)), (3, 0, Some((350, 10)))];
        assert_eq!(first(&nodes, 350), Some(10));
        let first = first(&nodes, 365).unwrap();
        assert!(first.abs_diff(165) <= 1, "{first}");
        let slow = [(1, 0, at(390)), (2, 0, at(380)), (3, 0, Some((90, 10)))];
        assert_eq!(super::tests::first(&slow, 399), Some(90), "what it has not landed stays");
    }

    #[test]
    fn servers_that_store_no_more_make_the_stream_full() {
        let nodes = [(1, 0, at(90)), (2, 0, at(80))];
        let of = |is_refused, bytes_max| {
            let filling = Filling { first: 1, bytes_max, is_refused };
            first_needed(&state(&nodes), THIS, HOUR, filling, &followed(0, 100, MOST))
        };
        assert_eq!((of(false, Some(MOST)), of(false, None)), (None, None));
        let first = of(true, None).unwrap();
        assert!(first.abs_diff(50) <= 1, "{first}");
    }

    #[test]
    fn a_node_whose_reports_do_not_land_makes_room_for_them() {
        // Silent for the others too, because its messages are refused.
        let nodes = [(1, 60, at(390)), (2, 0, at(380))];
        assert!(first(&nodes, 399).is_some_and(|first| first > 190));
    }

    #[test]
    fn nothing_is_forgotten_twice() {
        let nodes = state(&[(1, 0, at(390)), (2, 0, at(380))]);
        let filling = Filling { first: 60, bytes_max: Some(MOST), is_refused: false };
        let sizes = followed(0, 260, MOST);
        assert!(
            first_needed(&nodes, THIS, HOUR, Filling { first: 1, ..filling }, &sizes) >= Some(59)
        );
        let held = state(&[(1, 0, at(390)), (2, 0, at(60))]);
        assert_eq!(first_needed(&held, THIS, HOUR, filling, &sizes), None);
    }
}
