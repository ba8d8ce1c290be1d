//! Frames come back as they were written, and damaged ones are noticed.

use super::encode::Encoder;
use super::*;
use crate::model::token::{Digester, Secret};
use crate::wal::key::LogKey;
use crate::wal::segment::Features;

const BEFORE: Tag = Tag([9; TAG_LEN]);
/// Offset of a frame that is not the first of its segment.
const LATER: u64 = 8192;

fn key() -> LogKey {
    LogKey::new(&Digester::new(&Secret::from_bytes([7; 32]), "default"))
}

fn header() -> SegmentHeader {
    SegmentHeader::first(Features::NONE, key().id(), 1 << 20, [1; 32])
}

fn fields(body_len: usize, kind: Kind, offset: u64) -> Fields {
    let lsn = header().lsn_at(offset);
    let (carries_tag, synced_lsn) = (is_first(offset), Lsn(4000));
    Fields { kind, body_len, lsn, log_time_ms: 77, older: 3, synced_lsn, carries_tag }
}

fn frame(body: &[u8], offset: u64) -> Vec<u8> {
    let fields = fields(body.len(), Kind::Records, offset);
    let (cipher, mut encoder) = (key().cipher(&header()), Encoder::default());
    let (bytes, tag) = encoder.encode(&cipher, 5, &fields, BEFORE, body).unwrap();
    assert_eq!(fields.tag(bytes), tag);
    bytes.to_vec()
}

/// Verifies and decrypts one frame that follows one with the tag `before`.
fn opened(bytes: &[u8], fields: Fields, before: Tag) -> Result<Vec<u8>, usize> {
    let (mut bytes, mut tag) = (bytes.to_vec(), before);
    let spans = [Span { at: 0, fields }];
    decrypt(&key().cipher(&header()), &mut bytes, &spans, &mut tag)?;
    assert_eq!(tag, fields.tag(&bytes));
    let mut frames = Frames { bytes: &bytes, spans: spans.iter() };
    Ok(frames.next().unwrap().body.to_vec())
}

#[test]
fn frame_comes_back_with_any_length() {
    for offset in [HEADER_BLOCK_LEN, LATER] {
        for len in 0..40 {
            let body = vec![0xAB; len];
            let bytes = frame(&body, offset);
            assert_eq!(bytes.len() as u64, frame_len(len, is_first(offset)));
            let expected = fields(len, Kind::Records, offset);
            assert_eq!(parse(&bytes, &header(), 5, offset), Parsed::Valid(expected));
            assert!(len < 4 || !bytes.windows(4).any(|some| some == &body[..4]), "plain text");
            assert_eq!(opened(&bytes, expected, BEFORE), Ok(body));
        }
    }
}

#[test]
fn another_identity_place_or_room_makes_it_invalid() {
    let bytes = frame(b"records", LATER);
    let whole = bytes.len() as u64;
    assert_eq!(parse(&bytes, &header(), 6, LATER), Parsed::Invalid);
    assert_eq!(parse(&bytes, &header(), 5, LATER + 8), Parsed::Invalid);
    let short = SegmentHeader { size: LATER + whole - 8, ..header() };
    assert_eq!(parse(&bytes, &short, 5, LATER), Parsed::Invalid);
    let known = &bytes[..whole as usize - 1];
    assert_eq!(parse(known, &header(), 5, LATER), Parsed::Short(whole));
    assert_eq!(parse(&bytes[..9], &header(), 5, LATER), Parsed::Short(44));
}

#[test]
fn every_flipped_bit_but_those_of_the_padding_is_noticed() {
    for offset in [HEADER_BLOCK_LEN, LATER] {
        let bytes = frame(b"records", offset);
        for bit in 0..(body_at(is_first(offset)) + 7 + TAG_LEN) * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let parsed = parse(&flipped, &header(), 5, offset);
            assert!(!matches!(parsed, Parsed::Valid(_)), "bit {bit}");
        }
    }
}

/// The checksum is mended, so only the tag notices it.
#[test]
fn p9_every_flipped_bit_with_a_right_checksum_has_a_wrong_tag() {
    for offset in [HEADER_BLOCK_LEN, LATER] {
        let bytes = frame(b"records", offset);
        let end = body_at(is_first(offset)) + 7 + TAG_LEN;
        for bit in LEN_AT * 8..end * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let checksum = crc32c::crc32c_append(5, &flipped[LEN_AT..end]);
            flipped[..LEN_AT].copy_from_slice(&checksum.to_le_bytes());
            if let Parsed::Valid(fields) = parse(&flipped, &header(), 5, offset) {
                assert_eq!(opened(&flipped, fields, BEFORE), Err(0), "bit {bit}");
            } else {
                let of_lsn_or_len = (LEN_AT..TIME_AT).contains(&(bit / 8));
                assert!(of_lsn_or_len, "bit {bit}: only a wrong length or Lsn is no frame");
            }
        }
    }
}

#[test]
fn p9_frame_behind_another_one_or_under_another_key_has_a_wrong_tag() {
    let bytes = frame(b"records", LATER);
    let own = fields(7, Kind::Records, LATER);
    assert!(opened(&bytes, own, BEFORE).is_ok());
    assert_eq!(opened(&bytes, own, Tag([8; TAG_LEN])), Err(0));
    let other_salt = SegmentHeader { salt: [2; 32], ..header() };
    let other_seq = SegmentHeader { seq: 2, ..header() };
    for other in [other_salt, other_seq] {
        let (mut bytes, mut tag) = (bytes.clone(), BEFORE);
        let spans = [Span { at: 0, fields: own }];
        assert_eq!(decrypt(&key().cipher(&other), &mut bytes, &spans, &mut tag), Err(0));
    }
}

/// The same frame, written again: another nonce, and so other bytes.
#[test]
fn p9_each_try_has_a_nonce_of_its_own() {
    let nonce = |bytes: &[u8]| bytes[NONCE_AT..FRAME_HEADER_LEN].to_vec();
    let (one, again) = (frame(b"records", LATER), frame(b"records", LATER));
    assert_ne!(nonce(&one), nonce(&again));
    assert_ne!(one[FRAME_HEADER_LEN..], again[FRAME_HEADER_LEN..]);
    assert_eq!(one[LEN_AT..NONCE_AT], again[LEN_AT..NONCE_AT]);
}

#[test]
fn seal_and_mark_have_tags() {
    let (cipher, mut encoder) = (key().cipher(&header()), Encoder::default());
    for kind in [Kind::Seal, Kind::Records] {
        let own = fields(0, kind, LATER);
        let (bytes, _) = encoder.encode(&cipher, 5, &own, BEFORE, &[]).unwrap();
        assert_eq!(parse(bytes, &header(), 5, LATER), Parsed::Valid(own));
        assert_eq!(opened(bytes, own, BEFORE), Ok(Vec::new()));
        assert_eq!(opened(bytes, Fields { ..own }, Tag::NONE), Err(0));
    }
}

#[test]
fn zeros_are_no_frame_anywhere() {
    assert_eq!(parse(&[0; 96], &header(), 0, LATER), Parsed::Invalid);
    assert_eq!(claim(&[0; 96], &header(), LATER), None);
}

#[test]
fn debug_shows_no_body() {
    let lsn = Lsn(4096);
    let shown = format!("{:?}", Frame { lsn, log_time_ms: 1, body: b"secret", file_len: 72 });
    assert!(!shown.contains("115") && shown.contains("body_len: 6"));
}
