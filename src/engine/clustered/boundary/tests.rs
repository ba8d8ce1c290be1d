//! Waits of callers, without a node.

use super::*;

#[test]
fn p8_any_number_of_waits_takes_one_place_in_the_queue() {
    let (follower, arrivals, told) = connect();
    let pending: Vec<_> = (0..WAITS_MAX).map(|_| follower.barrier().unwrap()).collect();
    assert_eq!(arrivals.len(), 1);
    assert_eq!(follower.barrier().err(), Some(Rejected::QueueFull));
    let waits = told.take_waits();
    assert_eq!(waits.len(), pending.len());
    assert!(told.take_waits().is_empty(), "each is taken once");
    waits.into_iter().for_each(|wait| drop(wait.reply.deliver(Vec::new())));
    assert!(pending.into_iter().all(|one| one.wait() == Ok(Vec::new())));
    let _later = follower.barrier().unwrap();
    assert_eq!(arrivals.len(), 2, "the committer is woken again");
}

#[test]
fn a_full_queue_of_messages_refuses_no_wait_and_a_closed_node_all() {
    let (follower, arrivals, told) = connect();
    while follower.has_room() {
        follower.caught_up();
    }
    let waiting = follower.barrier().unwrap();
    assert_eq!(arrivals.len(), ARRIVALS_MAX);
    told.close_waits();
    assert_eq!(waiting.wait(), Err(Rejected::Closed));
    assert_eq!(follower.barrier().err(), Some(Rejected::Closed));
    drop(arrivals);
    assert_eq!(follower.barrier().err(), Some(Rejected::Closed));
}

#[test]
fn position_and_log_time_are_those_of_the_last_turn() {
    let (follower, _arrivals, told) = connect();
    assert_eq!(follower.position(), Position::default());
    let position = Position { era: Era(2), seq: 17 };
    let log_time = UnixMillis(7);
    told.tell(NodeState { position, log_time, ..NodeState::default() });
    assert_eq!((follower.position(), follower.log_time()), (position, log_time));
}
