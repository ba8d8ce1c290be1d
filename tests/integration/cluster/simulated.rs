//! The simulated stream keeps the promises of `Stream`, and shows each kind of loss.

use std::time::Duration;

use jeton::cluster::stream::{Hint, Loss, Next, Stream, StreamError};
use jeton::model::time::UnixMillis;
use jeton::testkit::stream::{Client, Faults, Simulated};

use super::contract::{self, land, read};

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
const MOMENT: Duration = Duration::from_millis(10);

/// A stream with `count` messages, and a client that has followed it.
fn followed(count: u64) -> (Simulated, Client) {
    let stream = Simulated::new(1, NOW);
    let mut client = stream.client();
    for n in 1..=count {
        assert_eq!(land(&mut client, n, &n.to_le_bytes()), n);
    }
    (stream, client)
}

#[test]
fn stream_contract_holds_on_the_simulated_stream() {
    let stream = Simulated::new(0, NOW);
    contract::holds(&mut || Box::new(stream.client()));
}

#[test]
fn stream_contract_holds_whatever_is_dropped_repeated_and_delayed() {
    for seed in 0..20 {
        let stream = Simulated::new(seed, NOW);
        stream.set_faults(Faults { dropped: 10, repeated: 10, unanswered: 30, delay_ms: 50 });
        contract::holds(&mut || Box::new(stream.client()));
    }
}

#[test]
fn stream_that_is_deleted_or_made_anew_is_lost_for_good() {
    let (stream, mut client) = followed(3);
    stream.delete();
    assert_eq!(client.next(4, MOMENT), Err(Next::Lost(Loss::Gone)));
    stream.remake();
    assert_eq!(client.next(4, MOMENT), Err(Next::Lost(Loss::Gone)));

    let (stream, mut client) = followed(3);
    stream.remake();
    let mut other = stream.client();
    for n in 1..=5 {
        land(&mut other, n, b"new");
    }
    let lost = client.next(4, MOMENT);
    assert!(matches!(lost, Err(Next::Lost(Loss::Remade { was, is })) if was < is), "{lost:?}");
    assert_eq!(client.bounds().map_err(|error| matches!(error, StreamError::Lost(_))), Err(true));
}

#[test]
fn lost_suffix_is_lost_whether_it_is_written_over_or_not() {
    let (stream, mut client) = followed(5);
    stream.lose_last(2);
    let shorter = Loss::Shorter { followed: 5, last: 3 };
    assert_eq!(client.next(6, MOMENT), Err(Next::Lost(shorter)));

    let (stream, mut client) = followed(5);
    stream.lose_last(2);
    let mut other = stream.client();
    for n in 4..=7 {
        land(&mut other, n, b"other");
    }
    assert_eq!(client.next(6, MOMENT), Err(Next::Lost(Loss::Other { seq: 4 })));
}

#[test]
fn damage_in_the_middle_is_a_hole_and_no_trim() {
    let (stream, _) = followed(5);
    stream.damage(3);
    let mut new = stream.client();
    assert_eq!(read(&mut new, 2).seq, 2);
    assert_eq!(new.next(3, MOMENT), Err(Next::Lost(Loss::Hole { seq: 3 })));
}

#[test]
fn without_a_leader_nothing_lands_and_all_is_still_read() {
    let (stream, mut client) = followed(3);
    stream.elect(1_000);
    assert_eq!(client.propose(b"lost"), Ok(()));
    while client.answer().is_some_and(|answer| answer.is_ok()) {}
    assert_eq!(client.bounds(), Err(StreamError::NoLeader));
    assert_eq!(client.trim(2), Err(StreamError::NoLeader));
    assert_eq!(read(&mut stream.client(), 3).seq, 3);
    stream.advance(1_000);
    assert_eq!(land(&mut client, 4, b"landed"), 4);
}

#[test]
fn full_stream_takes_again_what_fits_once_it_was_trimmed() {
    let (stream, mut client) = followed(3);
    while client.answer().is_some() {}
    stream.limit(Some(30));
    assert_eq!(client.propose(&[0; 8]), Ok(()));
    assert_eq!(client.answer(), Some(Err(Hint::Full)));
    assert_eq!(client.next(4, MOMENT), Err(Next::Quiet));
    assert_eq!(client.trim(2), Ok(()));
    assert_eq!(land(&mut client, 4, &[0; 8]), 4);
}

#[test]
fn client_that_is_cut_off_knows_nothing_and_catches_up() {
    let (stream, mut client) = followed(3);
    stream.cut_off(&client, true);
    assert_eq!(client.propose(b"lost"), Err(Hint::NotConnected));
    assert!(matches!(client.bounds(), Err(StreamError::NotConnected(_))));
    assert_eq!(land(&mut stream.client(), 4, b"meanwhile"), 4);
    assert_eq!(client.next(4, MOMENT), Err(Next::Quiet));
    stream.cut_off(&client, false);
    assert_eq!(read(&mut client, 4).bytes, &b"meanwhile"[..]);
}
