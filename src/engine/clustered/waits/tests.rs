//! Waits without a node.

use super::*;
use crate::engine::mailbox::Pending;
use crate::model::cluster::Era;

fn at(seq: u64) -> Position {
    Position { era: Era(1), seq }
}

fn until(seq: u64, patience_ms: u64) -> Until {
    Until::Position(at(seq), Duration::from_millis(patience_ms))
}

/// Adds a wait whose caller goes away without a word.
fn add(waits: &Waits, until: Until) -> Result<u64, Rejected> {
    waits.add(until, Pending::new().1).map(|(number, _)| number)
}

/// What the committer does with the waits.
fn take(waits: &Waits, positions: &mut Positions) {
    let (new, left) = waits.take();
    for Wait { until, number, waiter } in new {
        if let Until::Position(position, patience) = until {
            positions.add(position, number, patience, waiter);
        }
    }
    left.into_iter().for_each(|(position, number)| drop(positions.remove(position, number)));
}

#[test]
fn p8_a_wait_counts_until_it_is_answered() {
    let waits = Waits::default();
    for _ in 0..WAITS_MAX {
        add(&waits, Until::Barrier).unwrap();
    }
    let (taken, _) = waits.take();
    assert_eq!(add(&waits, Until::Barrier), Err(Rejected::QueueFull), "it is taken, not answered");
    assert!(add(&waits, until(1, 1)).is_ok(), "who waits for a position has other places");
    drop(taken);
    assert!(add(&waits, Until::Barrier).is_ok());
}

#[test]
fn p8_a_caller_that_goes_away_frees_its_place() {
    let (waits, mut positions) = (Waits::default(), Positions::default());
    for round in 0..3 {
        let numbers: Vec<_> =
            (0..WAITS_MAX).map(|_| add(&waits, until(9, 2_000)).unwrap()).collect();
        assert_eq!(add(&waits, until(9, 2_000)), Err(Rejected::QueueFull), "round {round}");
        take(&waits, &mut positions);
        numbers.iter().for_each(|number| waits.leave(until(9, 2_000), *number));
        take(&waits, &mut positions);
        assert!(positions.waiting.is_empty() && positions.ends.is_empty(), "round {round}");
    }
    // Before the committer has seen it, too.
    let number = add(&waits, until(9, 2_000)).unwrap();
    waits.leave(until(9, 2_000), number);
    take(&waits, &mut positions);
    assert!(positions.waiting.is_empty());
}

#[test]
fn a_wait_ends_with_its_position_or_its_time() {
    let (waits, mut positions) = (Waits::default(), Positions::default());
    for (seq, patience_ms) in [(7, 30), (5, 50), (6, 10), (5, 40)] {
        add(&waits, until(seq, patience_ms)).unwrap();
    }
    take(&waits, &mut positions);
    let mut over = |seq, now_ms| {
        let now = Duration::from_millis(now_ms);
        std::iter::from_fn(|| positions.next_over(at(seq), now)).count()
    };
    assert_eq!(over(4, 9), 0);
    assert_eq!(over(5, 9), 2, "both that wait for it");
    assert_eq!(over(5, 10), 1, "the time of one is over");
    assert_eq!(over(6, 29), 0);
    assert_eq!(over(7, 29), 1);
    assert!(positions.waiting.is_empty() && positions.ends.is_empty());
}

#[test]
fn a_closed_node_rejects_every_wait() {
    let waits = Waits::default();
    let (pending, reply) = Pending::new();
    assert!(waits.add(Until::Barrier, reply).is_ok_and(|(_, is_first)| is_first));
    waits.close();
    assert_eq!(pending.wait(), Err(Rejected::Closed));
    assert_eq!(add(&waits, Until::Barrier), Err(Rejected::Closed));
}
