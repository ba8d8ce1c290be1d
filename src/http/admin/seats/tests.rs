//! Which connection gives way, and that no client takes the places of another.

use std::future::Future as _;
use std::net::Ipv4Addr;
use std::task::Context;

use super::*;

/// The address of the crowd.
const CROWD: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fn is_given_up(seat: &Seat) -> bool {
    let given_up = std::pin::pin!(seat.given_up());
    given_up.poll(&mut Context::from_waker(std::task::Waker::noop())).is_ready()
}

#[test]
fn p8_who_has_done_nothing_for_longest_gives_way() {
    let seats = Rc::<Seats>::default();
    let all: Vec<_> = (0..SEATS_MAX).map(|_| seats.take(CROWD).unwrap()).collect();
    for seat in &all {
        seat.enter(Doing::Answering);
        seat.streams();
    }
    all[3].stall(true);
    assert!(
        seats.take(CROWD).is_none(),
        "a stream keeps its place, even while its peer reads \
        nothing"
    );
    all[9].enter(Doing::Idle);
    all[7].enter(Doing::Idle);
    all[7].enter(Doing::Head);
    for seat in [&all[5], &all[2]] {
        seat.enter(Doing::Answering);
    }
    all[5].stall(true);
    for expected in [9, 7, 5, 2] {
        let new = seats.take(CROWD).unwrap();
        assert!(is_given_up(&all[expected]), "{expected}");
        new.enter(Doing::Answering);
        new.streams();
        std::mem::forget(new);
    }
    assert!(seats.take(CROWD).is_none());
    drop(all);
    assert_eq!(
        seats.taken.borrow().len(),
        4,
        "a connection that gave way frees no other \
        place"
    );
}

#[test]
fn p8_a_crowd_takes_no_place_from_another_client() {
    for [crowd, alone] in [["192.0.2.1", "192.0.2.2"], ["2001:db8::1", "2001:db8:0:1::1"]] {
        let [crowd, alone] = [crowd, alone].map(|text| text.parse::<IpAddr>().unwrap());
        let seats = Rc::<Seats>::default();
        let probe = seats.take(alone).unwrap();
        let crowd: Vec<_> = (0..3 * SEATS_MAX).map(|_| seats.take(crowd).unwrap()).collect();
        assert!(!is_given_up(&probe), "{alone} connected before all others");
        assert!(is_given_up(&crowd[0]) && !is_given_up(&crowd[3 * SEATS_MAX - 1]));
    }
}

fn address(last: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, last as u8))
}

#[test]
fn p8_a_client_with_a_few_connections_is_no_crowd() {
    let seats = Rc::<Seats>::default();
    let older = seats.take(address(200)).unwrap();
    let honest: Vec<_> = (0..SHARE).map(|_| seats.take(CROWD).unwrap()).collect();
    let others: Vec<_> =
        (honest.len() + 1..SEATS_MAX).map(|i| seats.take(address(i)).unwrap()).collect();
    let _new = seats.take(address(100)).unwrap();
    assert!(is_given_up(&older), "the one that has been inactive for longest");
    assert!(!honest.iter().chain(&others).any(|seat| is_given_up(seat)));
}

#[test]
fn p8_a_backup_makes_no_client_a_crowd() {
    let seats = Rc::<Seats>::default();
    let older = seats.take(address(200)).unwrap();
    let all: Vec<_> = (0..2 * SHARE).map(|_| seats.take(CROWD).unwrap()).collect();
    let (streams, probes) = all.split_at(SHARE);
    for seat in streams {
        seat.enter(Doing::Answering);
        seat.streams();
    }
    let _others: Vec<_> =
        (all.len() + 1..SEATS_MAX).map(|i| seats.take(address(i)).unwrap()).collect();
    let _new = seats.take(address(100)).unwrap();
    assert!(is_given_up(&older) && !probes.iter().any(|seat| is_given_up(seat)));
}

#[test]
fn p8_among_the_busy_the_longest_answer_gives_way_whatever_its_client() {
    let seats = Rc::<Seats>::default();
    let older = seats.take(address(200)).unwrap();
    let all: Vec<_> = (1..SEATS_MAX).map(|_| seats.take(CROWD).unwrap()).collect();
    for seat in std::iter::once(&older).chain(&all) {
        seat.enter(Doing::Answering);
    }
    let _new = seats.take(CROWD).unwrap();
    assert!(is_given_up(&older) && !all.iter().any(|seat| is_given_up(seat)));
}

#[test]
fn p8_the_addresses_of_one_network_are_one_client() {
    let client = |text: &str| client_of(text.parse().unwrap());
    assert_eq!(client("2001:db8::1"), client("2001:db8::ffff:2"));
    assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
    assert_eq!(client("::ffff:192.0.2.1"), client("192.0.2.1"));
    assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
}

#[test]
fn the_last_bytes_of_a_stream_are_still_its_own() {
    let seats = Rc::<Seats>::default();
    let all: Vec<_> = (0..SEATS_MAX).map(|_| seats.take(CROWD).unwrap()).collect();
    for seat in &all {
        seat.enter(Doing::Answering);
        seat.streams();
    }
    all[1].stall(true);
    all[1].enter(Doing::Idle);
    assert!(seats.take(CROWD).is_none());
    all[1].stall(false);
    assert!(seats.take(CROWD).is_some());
}
