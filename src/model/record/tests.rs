//! Records: every kind survives the round trip, and any other bytes are damage.

use super::asked::{Asked, AskedPut};
use super::replication::{Ended, Member, Origin, Report, Verdict};
use super::*;
use crate::model::cluster::{
    BootNonce, Chain, ClusterId, Epoch, Era, MessageHash, NodeId, Position,
};
use crate::model::condition::{DeadlineWhen, When};
use proptest::prelude::*;

fn digest(n: u8) -> Digest {
    Digest::from_bytes([n; DIGEST_LEN])
}

fn bytes(record: &Record<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    record.encode(&mut out);
    out
}

fn samples() -> Vec<Vec<u8>> {
    [logged(), asked()].concat()
}

fn asked() -> Vec<Vec<u8>> {
    vec![
        bytes(&Record::Asked(Asked::Put(asked_put()))),
        bytes(&Record::Asked(Asked::SetDeadline {
            digest: digest(7),
            deadline: UnixMillis(9),
            when: DeadlineWhen::Earlier,
        })),
        bytes(&Record::Asked(Asked::Read { digest: digest(8) })),
        bytes(&Record::Asked(Asked::Together { count: 7 })),
    ]
}

fn logged() -> Vec<Vec<u8>> {
    let parts = Parts {
        payload: b"{\"a\":1}",
        deadline: UnixMillis(77),
        issued_at: UnixMillis(7),
        uses_left: 2,
        uses_total: 5,
        peek: true,
        derived: true,
        keys: &[ConsumeKey([1; 16]), ConsumeKey([2; 16]), ConsumeKey([3; 16])],
    };
    let mut carry = Vec::new();
    Record::encode_carry(digest(4), &parts, &mut carry);
    let issue = Record::Issue {
        digest: digest(1),
        deadline: UnixMillis(99),
        uses: 3,
        peek: false,
        derived: true,
        replaces: false,
        payload: b"[1, 2]",
    };
    let extend = Record::Extend { digest: digest(3), deadline: UnixMillis(5), life_ms_max: 1_000 };
    let key = Some(ConsumeKey([9; 16]));
    vec![
        bytes(&issue),
        carry,
        bytes(&Record::Consume { digest: digest(2), key: None, remembered_until: None }),
        bytes(&Record::Consume { digest: digest(2), key, remembered_until: None }),
        bytes(&Record::Consume {
            digest: digest(2),
            key: None,
            remembered_until: Some(UnixMillis(1 << 40 | 3)),
        }),
        bytes(&extend),
        bytes(&Record::Revoke { digest: digest(3) }),
        bytes(&Record::Time),
        origin().encode().to_vec(),
        Member {
            node: NodeId(3),
            retired: true,
            epoch: Epoch(4),
            nonce: BootNonce([5; 16]),
            high: 6,
            heard: UnixMillis(1 << 40 | 7),
        }
        .encode()
        .to_vec(),
        Report {
            has_stopped: true,
            format: 1,
            seq: 9,
            durable: 8,
            memory_max: 1 << 30,
            chain: Chain([1; 16]),
            outcomes: Chain([2; 16]),
            keys: [3; 16],
        }
        .encode()
        .to_vec(),
        Ended { position: Position { era: Era(2), seq: 9 }, chain: Chain([4; 16]) }
            .encode()
            .to_vec(),
    ]
}

fn asked_put() -> AskedPut<'static> {
    AskedPut {
        digest: digest(6),
        lifetime: UnixMillis(8),
        keeps: true,
        uses: 3,
        peek: true,
        when: When::Absent,
        asks: true,
        payload: b"[1, 2]",
    }
}

#[test]
fn p5_what_a_node_asks_for_out_of_its_limits_is_no_record() {
    let samples = samples();
    for (which, at, byte) in [
        (12, 1, 16 | 32), // two conditions of a put
        (12, 2, 0),       // no use
        (13, 1, 3),       // an unknown condition
        (14, 1, 1),       // a read with a flag
        (15, 4, 0),       // nothing together
    ] {
        let mut changed = samples[which].clone();
        changed[at] = byte;
        assert!(Record::decode(&changed, 0).is_err(), "byte {at} of sample {which}");
    }
}

fn origin() -> Origin {
    Origin {
        agreed: 1,
        verdict: Verdict::Counted,
        attempt: 2,
        position: Position { era: Era(1), seq: 9 },
        node: NodeId(3),
        epoch: Epoch(4),
        batch: 6,
        cluster: ClusterId([6; 16]),
        hash: MessageHash([7; 16]),
        chain: Chain([8; 16]),
        outcomes: Chain([9; 16]),
    }
}

#[test]
fn p5_an_origin_without_the_sender_that_its_verdict_needs_is_damage() {
    let decoded = |origin: Origin| Record::decode(&origin.encode(), 0).is_ok();
    let none = Origin { attempt: 0, node: NodeId(0), epoch: Epoch(0), batch: 0, ..origin() };
    for (verdict, has_sender) in [
        (Verdict::Restated, false),
        (Verdict::Counted, true),
        (Verdict::Repeat, true),
        (Verdict::Unopened, false),
        (Verdict::Hello, true),
        (Verdict::Genesis, true),
        (Verdict::Refused, true),
    ] {
        assert_eq!(decoded(Origin { verdict, ..origin() }), has_sender, "{verdict:?}");
        assert_eq!(decoded(Origin { verdict, ..none }), !has_sender, "{verdict:?}");
    }
    let position = Position { era: Era(1), seq: 0 };
    assert!(!decoded(Origin { position, ..origin() }), "a position before all messages");
    let mut unknown = origin().encode();
    unknown[1] = 7;
    assert!(Record::decode(&unknown, 0).is_err(), "an unknown verdict");
}

#[test]
fn p5_a_member_and_a_report_out_of_their_limits_are_damage() {
    let samples = samples();
    for (which, at, byte) in [
        (9, 8, 0),  // no node
        (9, 16, 0), // no epoch
        (9, 39, 1), // a time after 2248
        (10, 4, 0), // no format
        (10, 8, 7), // durable beyond the position
    ] {
        let mut changed = samples[which].clone();
        changed[at] = byte;
        assert!(Record::decode(&changed, 0).is_err(), "byte {at} of sample {which}");
    }
}

#[test]
fn every_kind_survives_the_round_trip() {
    let body = samples().concat();
    let decoded: Vec<_> = records(&body).collect::<Result<_, _>>().unwrap();
    let again: Vec<_> = decoded.iter().map(bytes).collect();
    assert_eq!(again, samples());
}

#[test]
fn p5_a_record_cut_short_is_damage() {
    for sample in samples() {
        for len in 1..sample.len() {
            assert!(Record::decode(&sample[..len], 0).is_err(), "{len} of {}", sample.len());
        }
    }
}

#[test]
fn p5_an_entry_with_more_uses_and_keys_than_it_was_issued_with_is_damage() {
    let carry = samples().swap_remove(1);
    assert!(Record::decode(&carry, 0).is_ok());
    let uses_total_at = ISSUE_HEAD_LEN + 8;
    let mut fewer = carry.clone();
    fewer[uses_total_at] -= 1;
    assert!(Record::decode(&fewer, 0).is_err(), "two left and three keys of four");
}

#[test]
fn the_documented_lengths_hold() {
    let samples = samples();
    assert_eq!(samples[0].len(), issue_len(6));
    assert_eq!(samples[1].len(), carry_len(7, 3));
}

proptest! {
    #[test]
    fn any_bytes_are_a_record_or_an_error(body in prop::collection::vec(any::<u8>(), 0..200)) {
        for record in records(&body).flatten() {
            prop_assert!(!bytes(&record).is_empty());
        }
    }

    #[test]
    fn what_decodes_encodes_to_the_same_bytes(
        which in 0..16usize, at in 0..112usize, value: u8,
    ) {
        let mut sample = samples()[which].clone();
        let at = at % sample.len();
        sample[at] = value;
        if let Ok((record, end)) = Record::decode(&sample, 0) {
            prop_assert_eq!(&bytes(&record)[..], &sample[..end]);
        }
    }
}
