//! What operations cost the nodes that land them, in memory and in time, is bounded where they are
//! proposed.

use std::pin::pin;
use std::task::Poll;

use super::admission::{Served, poll};
use super::asked::{agreed, digest, put, put_of_other, read};
use super::*;
use crate::engine::overlay::{LEN_GOOD, TOGETHER_LEN_MAX};
use crate::engine::{Outcome, Rejected, When};
use crate::model::record::asked::{Asked, AskedPut};
use crate::model::record::records;

/// Tokens of this size, by another node.
const PAYLOAD_LEN: usize = 256 << 10;

/// A node that knows `count` such tokens, in the namespace of 1.
fn knows(count: u64) -> (Served, Vec<Digest>) {
    let mut served = agreed();
    served.begin_other();
    let payload = vec![b'1'; PAYLOAD_LEN];
    let digests: Vec<_> = (1..=count).map(numbered).collect();
    for (batch, digest) in (1..).zip(&digests) {
        let Asked::Put(put) = put_of_other(0, &payload) else { unreachable!() };
        let put = Asked::Put(AskedPut { digest: *digest, ..put });
        served.land_of_other(batch, FORMAT, &[put]);
    }
    (served, digests)
}

fn numbered(number: u64) -> Digest {
    let mut bytes = digest(1).to_bytes();
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    Digest::from_bytes(bytes)
}

fn consume(digest: &Digest) -> Op {
    Op::Consume { digest: *digest, key: None }
}

/// What lands next: whether a record is decided by the exact state, and how many consumes it has.
fn in_flight(served: &Served) -> (bool, usize) {
    let proposed = served.proposed.lock().unwrap();
    let records: Vec<_> = records(&proposed[0].1).flatten().collect();
    let is_exact = |record: &Record<'_>| matches!(record, Record::Asked(asked) if asked.is_exact());
    let is_consume = |record: &&Record<'_>| matches!(record, Record::Consume { .. });
    (records.iter().any(is_exact), records.iter().filter(is_consume).count())
}

/// Each node copies the entries that a message concerns, payloads included, once one of its records
/// has a condition.
#[test]
fn p8_a_message_with_a_condition_concerns_little_memory() {
    for puts_first in [true, false] {
        let (mut served, digests) = knows(60);
        let engine = served.node.engine().clone();
        let put = || engine.submit(vec![put(250, b"1", When::Absent)]).unwrap();
        let before = puts_first.then(put);
        let consumes = engine.submit(digests.iter().map(consume).collect()).unwrap();
        let after = (!puts_first).then(put);
        served.node.turn(false);
        let mut left = digests.len();
        let mut had_exact = false;
        while !served.proposed.lock().unwrap().is_empty() {
            let (is_exact, count) = in_flight(&served);
            let most = LEN_GOOD / PAYLOAD_LEN + 1;
            assert!(!is_exact || count <= most, "{count} consumes beside a condition");
            (left, had_exact) = (left - count, had_exact || is_exact);
            served.land_next();
        }
        assert_eq!((left, had_exact), (0, true));
        let outcomes = consumes.wait().unwrap();
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Consumed { .. })));
        for put in [before, after].into_iter().flatten() {
            assert!(matches!(put.wait().unwrap()[..], [Outcome::Put { .. }]));
        }
    }
}

#[test]
fn p8_what_is_performed_together_concerns_at_most_64_mib() {
    let (mut served, digests) = knows((TOGETHER_LEN_MAX / PAYLOAD_LEN) as u64 + 1);
    let engine = served.node.engine().clone();
    let refused = engine.submit_together(digests.iter().map(consume).collect()).unwrap();
    served.node.turn(false);
    let Err(Rejected::Invalid(why)) = refused.wait() else { panic!("it was accepted") };
    assert!(why.contains("64 MiB"), "{why}");
    assert!(served.proposed.lock().unwrap().is_empty());
    // Revocations copy nothing, and what is named twice is copied once.
    let twice = digests[..2].iter().cycle().take(digests.len()).map(consume);
    let revokes = digests[2..].iter().map(|digest| Op::Revoke { digest: *digest });
    let outcomes = served.perform(twice.chain(revokes).collect(), true);
    let count = |is: fn(&Outcome) -> bool| outcomes.iter().filter(|outcome| is(outcome)).count();
    assert_eq!(count(|outcome| matches!(outcome, Outcome::Consumed { .. })), 2);
    assert_eq!(count(|outcome| *outcome == Outcome::Revoked), digests.len() - 2);
}

#[test]
fn p8_operations_without_a_record_are_counted_and_not_their_calls() {
    let mut served = agreed();
    let engine = served.node.engine().clone();
    let group = || engine.submit_together(vec![read(1); 3_000]).unwrap();
    let mut waiting = [group(), group(), group()].map(Box::pin);
    served.node.turn(false);
    for landed in 0..waiting.len() {
        served.land_next();
        // Each fills a message.
        for (number, one) in waiting.iter_mut().enumerate().skip(landed) {
            assert_eq!(poll(one.as_mut()).is_ready(), number == landed, "{number} of {landed}");
        }
    }
    // One that is longer than any message has one for itself.
    let mut long = pin!(engine.submit_together(vec![read(1); 9_000]).unwrap());
    served.node.turn(false);
    served.land_next();
    assert!(matches!(poll(long.as_mut()), Poll::Ready(Ok(outcomes)) if outcomes.len() == 9_000));
}

/// What another node does meanwhile makes it a change, so it is asked again, as a record.
#[test]
fn what_is_asked_again_is_counted_once() {
    let mut served = agreed();
    served.begin_other();
    served.land_of_other(1, FORMAT, &[put_of_other(1, b"1"), put_of_other(2, b"2")]);
    served.perform(vec![Op::Consume { digest: digest(2), key: None }], false);
    let counts = |served: &Served| {
        let stats = served.node.engine().stats();
        (stats.resolves, stats.replays)
    };
    let before = counts(&served);
    let ops = vec![
        read(1),
        Op::Consume { digest: digest(2), key: None },
        Op::Revoke { digest: digest(3) },
    ];
    let together = served.node.engine().submit_together(ops).unwrap();
    served.node.turn(false);
    served.land_of_other(2, FORMAT, &[put_of_other(3, b"3")]);
    // The message that it waited for, and the one with its records.
    served.land_next();
    served.land_next();
    let outcomes = together.wait().unwrap();
    assert!(matches!(outcomes[..], [Outcome::Found { .. }, Outcome::NotFound, Outcome::Revoked]));
    let after = counts(&served);
    assert_eq!((after.0 - before.0, after.1 - before.1), (1, 1));
}
