//! Frames come back as they were written, and damaged ones are noticed.

use super::buffer::FrameBuffer;
use super::*;

const LSN: Lsn = Lsn(4096);

fn fields(body_len: usize, kind: Kind) -> Fields {
    Fields { kind, body_len, lsn: LSN, log_time_ms: 77, older: 3, synced_lsn: Lsn(4000) }
}

fn frame(body: &[u8]) -> Vec<u8> {
    let mut buffer = FrameBuffer::new();
    buffer.writer().extend_from_slice(body);
    buffer.finish(5, &fields(body.len(), Kind::Records)).to_vec()
}

#[test]
fn frame_comes_back_with_any_length() {
    for len in 0..40 {
        let body = vec![0xAB; len];
        let bytes = frame(&body);
        assert_eq!(bytes.len() as u64, frame_len(len));
        let expected = Parsed::Valid(fields(len, Kind::Records));
        assert_eq!(parse(&bytes, 5, LSN, bytes.len() as u64), expected);
    }
}

#[test]
fn another_identity_place_or_room_makes_it_invalid() {
    let bytes = frame(b"records");
    let room = bytes.len() as u64;
    assert_eq!(parse(&bytes, 6, LSN, room), Parsed::Invalid);
    assert_eq!(parse(&bytes, 5, Lsn(4104), room), Parsed::Invalid);
    assert_eq!(parse(&bytes, 5, LSN, room - 1), Parsed::Invalid);
    assert_eq!(parse(&bytes[..room as usize - 1], 5, LSN, room), Parsed::Short(room));
    assert_eq!(parse(&bytes[..9], 5, LSN, room), Parsed::Short(32));
}

#[test]
fn every_flipped_bit_but_those_of_the_padding_is_noticed() {
    let bytes = frame(b"records");
    for bit in 0..(FRAME_HEADER_LEN + 7) * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let parsed = parse(&flipped, 5, LSN, bytes.len() as u64);
        assert!(!matches!(parsed, Parsed::Valid(_)), "bit {bit}");
    }
}

#[test]
fn buffer_can_be_finished_again_and_reused() {
    let mut buffer = FrameBuffer::new();
    buffer.writer().extend_from_slice(b"abc");
    let once = buffer.finish(1, &fields(3, Kind::Records)).to_vec();
    let again = buffer.finish(1, &fields(3, Kind::Records)).to_vec();
    assert_eq!(once, again);
    assert_eq!(buffer.body_len(), 3);
    buffer.writer().extend_from_slice(b"de");
    assert_eq!(buffer.body_len(), 5);
    buffer.clear();
    assert!(buffer.is_empty());
    let seal = buffer.finish(1, &fields(0, Kind::Seal)).to_vec();
    assert_eq!(parse(&seal, 1, LSN, 32), Parsed::Valid(fields(0, Kind::Seal)));
}

#[test]
fn zeros_are_no_frame_anywhere() {
    assert_eq!(parse(&[0; 64], 0, LSN, 64), Parsed::Invalid);
    assert_eq!(claim(&[0; 64], LSN), None);
}

#[test]
fn debug_shows_no_body() {
    let shown = format!("{:?}", Frame { lsn: LSN, log_time_ms: 1, body: b"secret" });
    assert!(!shown.contains("115") && shown.contains("body_len: 6"));
}
