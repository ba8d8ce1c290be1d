//! What callers and the committer tell each other, without a node.

use super::*;

fn member() -> Membership {
    Membership {
        node: NodeId(1),
        nonce: BootNonce::default(),
        answer_within: Duration::from_secs(10),
        format: 1,
        keys: [7; 16],
    }
}

#[test]
fn p8_any_number_of_waits_takes_one_place_in_the_queue() {
    let (follower, arrivals, told) = connect(&member());
    let pending: Vec<_> = (0..1_000).map(|_| follower.barrier().unwrap()).collect();
    assert_eq!(arrivals.len(), 1);
    let (waits, _) = told.waits.take();
    assert_eq!(waits.len(), pending.len());
    assert!(told.waits.take().0.is_empty(), "each is taken once");
    waits.into_iter().for_each(|wait| drop(wait.waiter.reply.deliver(Vec::new())));
    assert!(pending.into_iter().all(|one| one.wait() == Ok(Vec::new())));
    let _later = follower.barrier().unwrap();
    assert_eq!(arrivals.len(), 2, "the committer is woken again");
}

#[test]
fn a_full_queue_of_messages_refuses_no_wait_and_a_closed_node_all() {
    let (follower, arrivals, told) = connect(&member());
    while follower.has_room() {
        follower.caught_up();
    }
    assert_eq!(arrivals.len(), ARRIVALS_MAX - 1, "a message has room with the end behind it");
    follower.caught_up();
    let waiting = follower.barrier().unwrap();
    assert_eq!(arrivals.len(), ARRIVALS_MAX);
    told.waits.close();
    assert_eq!(waiting.wait(), Err(Rejected::Closed));
    assert_eq!(follower.barrier().err(), Some(Rejected::Closed));
    drop(arrivals);
    assert_eq!(follower.barrier().err(), Some(Rejected::Closed));
}

#[test]
fn position_and_log_time_are_those_of_the_last_turn() {
    let (follower, _arrivals, told) = connect(&member());
    assert_eq!(follower.position(), Position::default());
    let position = Position { era: Era(2), seq: 17 };
    let log_time = UnixMillis(7);
    told.tell(NodeState { position, log_time, ..NodeState::default() }, Duration::ZERO);
    assert_eq!((follower.position(), follower.log_time()), (position, log_time));
}

/// Whatever the wall clock shows.
#[test]
fn p3_between_messages_log_time_goes_on_with_the_forward_clock() {
    let (follower, _arrivals, told) = connect(&member());
    let tell = |log_time_ms, forward_ms| {
        let state = NodeState { log_time: UnixMillis(log_time_ms), ..NodeState::default() };
        told.tell(state, Duration::from_millis(forward_ms));
    };
    let at = |forward_ms| follower.log_time_at(Duration::from_millis(forward_ms)).0;
    tell(1_000, 50);
    assert_eq!((at(50), at(60), at(2_050)), (1_000, 1_010, 3_000));
    tell(1_000, 90);
    assert_eq!(at(90), 1_040, "a turn without a message changes nothing");
    tell(5_000, 100);
    assert_eq!((at(100), at(99), at(101)), (5_000, 5_000, 5_001), "never before the last message");
}

#[test]
fn the_fingerprint_of_the_keys_is_that_of_the_last_reload() {
    let (follower, _arrivals, told) = connect(&member());
    assert_eq!((told.keys(), follower.node()), ([7; 16], NodeId(1)));
    follower.set_keys([8; 16]);
    assert_eq!(told.keys(), [8; 16]);
}
