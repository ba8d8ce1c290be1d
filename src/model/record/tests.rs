//! Records: every kind survives the round trip, and any other bytes are damage.

use super::*;
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
    ]
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
        which in 0..8usize, at in 0..48usize, value: u8,
    ) {
        let mut sample = samples()[which].clone();
        let at = at % sample.len();
        sample[at] = value;
        if let Ok((record, end)) = Record::decode(&sample, 0) {
            prop_assert_eq!(&bytes(&record)[..], &sample[..end]);
        }
    }
}
