//! What is offered comes out in order, within bounds, and what contradicts itself is a loss.

use bytes::Bytes;

use super::*;
use crate::cluster::stream::StreamId;

const NOW: Duration = Duration::ZERO;

fn message(seq: u64, text: &'static str) -> Message {
    Message { seq, stored_at: UnixMillis(seq), bytes: Bytes::from_static(text.as_bytes()) }
}

/// A follower that wants what comes after `seq`, and has read up to it.
fn followed(seq: u64) -> Shared {
    let shared = Shared::new();
    for n in 1..=seq {
        assert_eq!(shared.next(n, NOW), Err(Next::Quiet));
        assert_eq!(shared.offer(message(n, "a")), Offered::Taken);
        assert_eq!(shared.next(n, NOW), Ok(message(n, "a")));
    }
    shared
}

#[test]
fn only_the_next_number_is_taken() {
    let shared = followed(3);
    assert_eq!(shared.offer(message(5, "a")), Offered::Gap);
    assert_eq!(shared.offer(message(3, "a")), Offered::Old);
    assert_eq!(shared.offer(message(4, "a")), Offered::Taken);
    assert_eq!(shared.offer(message(5, "a")), Offered::Taken);
    assert_eq!(shared.next(4, NOW), Ok(message(4, "a")));
    assert_eq!(shared.next(5, NOW), Ok(message(5, "a")));
    assert_eq!(shared.next(6, NOW), Err(Next::Quiet));
    assert_eq!(shared.want().map(|want| want.from), Some(6));
}

#[test]
fn nothing_is_taken_that_nobody_wants() {
    let shared = Shared::new();
    assert_eq!(shared.offer(message(1, "a")), Offered::Unwanted);
    assert_eq!(shared.want(), None);
}

#[test]
fn another_wish_begins_another_turn() {
    let shared = followed(3);
    let turn = shared.want().map(|want| want.turn);
    assert_eq!(shared.offer(message(4, "a")), Offered::Taken);
    assert_eq!(shared.next(2, NOW), Err(Next::Quiet));
    let want = shared.want().expect("a want");
    assert!(Some(want.turn) > turn, "{want:?}");
    assert_eq!(want.from, 2);
    assert_eq!(shared.offer(message(2, "a")), Offered::Taken);
    assert_eq!(shared.next(2, NOW), Ok(message(2, "a")));
}

#[test]
fn another_message_at_a_known_number_is_a_loss() {
    for (seq, wanted) in [(3, 4), (2, 4), (2, 2)] {
        let shared = followed(3);
        assert_eq!(shared.next(wanted, NOW), Err(Next::Quiet));
        assert_eq!(shared.offer(message(seq, "b")), Offered::Unwanted);
        let lost = Err(Next::Lost(Loss::Other { seq }));
        assert_eq!(shared.next(wanted, NOW), lost, "{seq}, {wanted}");
        // For good.
        assert_eq!(shared.offer(message(wanted, "a")), Offered::Unwanted);
        assert_eq!(shared.next(wanted, NOW), lost, "{seq}, {wanted}");
    }
    // The same bytes at another time are another message.
    let shared = followed(3);
    let later = Message { stored_at: UnixMillis(9), ..message(3, "a") };
    assert_eq!(shared.offer(later), Offered::Unwanted);
    assert_eq!(shared.is_lost(), Some(Loss::Other { seq: 3 }));
}

#[test]
fn loss_takes_back_what_was_ready() {
    let shared = followed(3);
    assert_eq!(shared.offer(message(4, "a")), Offered::Taken);
    shared.lose(Loss::Gone);
    shared.lose(Loss::Hole { seq: 1 });
    assert_eq!(shared.next(4, NOW), Err(Next::Lost(Loss::Gone)));
}

#[test]
fn p8_ready_messages_are_bounded_in_number_and_in_bytes() {
    let shared = Shared::new();
    assert_eq!(shared.next(1, NOW), Err(Next::Quiet));
    for n in 1..=READY_MAX as u64 {
        assert_eq!(shared.offer(message(n, "a")), Offered::Taken);
    }
    assert_eq!(shared.offer(message(READY_MAX as u64 + 1, "a")), Offered::Unwanted);
    assert_eq!(shared.want(), None);
    assert!(shared.next(1, NOW).is_ok());
    assert_eq!(shared.want().map(|want| want.from), Some(READY_MAX as u64 + 1));

    let shared = Shared::new();
    assert_eq!(shared.next(1, NOW), Err(Next::Quiet));
    let long = Bytes::from(vec![0; 1 << 20]);
    let taken = (1..).take_while(|n| {
        let message = Message { seq: *n, stored_at: UnixMillis(0), bytes: long.clone() };
        shared.offer(message) == Offered::Taken
    });
    assert_eq!(taken.count(), READY_BYTES_MAX >> 20);
    for n in 1.. {
        shared.answer(Ok(n));
        if n > 2 * ANSWERS_MAX as u64 {
            break;
        }
    }
    let answers: Vec<_> = std::iter::from_fn(|| shared.take_answer()).collect();
    assert_eq!(answers.len(), ANSWERS_MAX);
    assert_eq!(answers.last(), Some(&Ok(2 * ANSWERS_MAX as u64 + 1)));
}

#[test]
fn begin_of_the_stream_is_told_to_those_alone_that_are_behind() {
    let shared = followed(3);
    shared.begins(4);
    assert_eq!(shared.next(4, NOW), Err(Next::Quiet));
    shared.begins(9);
    assert_eq!(shared.next(4, NOW), Err(Next::Trimmed { first: 9 }));
    assert_eq!(shared.next(4, NOW), Err(Next::Trimmed { first: 9 }));
    assert_eq!(shared.want(), None);
    assert_eq!(shared.next(9, NOW), Err(Next::Quiet));
    assert_eq!(shared.offer(message(9, "a")), Offered::Taken);
    // What was ready before the purge is still followed, and so is what comes after it.
    shared.begins(10);
    assert_eq!(shared.next(9, NOW), Ok(message(9, "a")));
    assert_eq!(shared.next(10, NOW), Err(Next::Quiet));
}

#[test]
fn doubt_is_believed_after_so_many_checks_in_a_row() {
    let shorter = |last| Loss::Shorter { followed: 3, last };
    let shared = followed(3);
    shared.doubt(shorter(1), 3);
    shared.doubt(shorter(1), 3);
    shared.no_doubt();
    shared.doubt(shorter(1), 3);
    shared.doubt(shorter(1), 3);
    assert!(shared.is_in_doubt() && shared.is_lost().is_none());
    shared.doubt(shorter(1), 3);
    assert_eq!(shared.is_lost(), Some(shorter(1)));
}

#[test]
fn p1_a_short_stream_that_others_write_on_is_believed_all_the_same() {
    let shared = followed(3);
    for last in 0..2 {
        shared.doubt(Loss::Shorter { followed: 3, last }, 3);
    }
    assert!(shared.is_lost().is_none());
    shared.doubt(Loss::Gone, 3);
    for last in 0..3 {
        assert!(shared.is_lost().is_none(), "another doubt was between");
        shared.doubt(Loss::Shorter { followed: 3, last }, 3);
    }
    assert_eq!(shared.is_lost(), Some(Loss::Shorter { followed: 3, last: 2 }));
}

#[test]
fn hole_is_doubted_until_its_message_comes() {
    let shared = followed(3);
    shared.doubt(Loss::Hole { seq: 4 }, 3);
    // That the stream is the same says nothing about a hole.
    shared.no_doubt();
    shared.doubt(Loss::Hole { seq: 4 }, 3);
    assert_eq!(shared.offer(message(4, "a")), Offered::Taken);
    assert!(!shared.is_in_doubt());
    shared.doubt(Loss::Hole { seq: 5 }, 3);
    shared.no_doubt();
    shared.doubt(Loss::Hole { seq: 5 }, 3);
    assert_eq!(shared.is_lost(), None);
    shared.no_doubt();
    shared.doubt(Loss::Hole { seq: 5 }, 3);
    assert_eq!(shared.is_lost(), Some(Loss::Hole { seq: 5 }));
}

#[test]
fn first_stream_is_the_one_that_is_followed() {
    let shared = Shared::new();
    assert_eq!(shared.id_or(StreamId(5)), StreamId(5));
    assert_eq!(shared.id_or(StreamId(6)), StreamId(5));
}

#[test]
fn proposals_need_a_connection_that_takes_their_length() {
    let shared = Shared::new();
    assert_eq!(shared.may_propose(1), Err(Hint::NotConnected));
    shared.set_connected(10);
    assert_eq!(shared.may_propose(10), Ok(()));
    assert_eq!(shared.may_propose(11), Err(Hint::TooLong { len: 11, most: 10 }));
    shared.set_disconnected("gone");
    assert_eq!(shared.may_propose(1), Err(Hint::NotConnected));
    assert_eq!(shared.connected(), Err("gone".to_owned()));
}

#[test]
fn waiting_handle_gets_the_message_as_soon_as_it_is_there() {
    let shared = followed(3);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| shared.next(4, Duration::from_secs(60)));
        while shared.offer(message(4, "a")) != Offered::Taken {
            std::thread::yield_now();
        }
        assert_eq!(waits.join().expect("no panic"), Ok(message(4, "a")));
        let waits = scope.spawn(|| shared.next(5, Duration::from_secs(60)));
        shared.lose(Loss::Gone);
        assert_eq!(waits.join().expect("no panic"), Err(Next::Lost(Loss::Gone)));
    });
}
