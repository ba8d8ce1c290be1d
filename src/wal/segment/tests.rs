//! Headers come back as they were made, and damaged ones are noticed.

use super::*;

fn header() -> SegmentHeader {
    let first = SegmentHeader::first(Features::NONE, LogId([7; 16]), 1 << 20, [1; SALT_LEN]);
    let synced_lsn = Lsn(first.base_lsn.0 + 800);
    let next = first.next(Features::NONE, 2 << 20, 1, synced_lsn, [2; SALT_LEN]);
    SegmentHeader { mac: [3; MAC_LEN], ..next }
}

#[test]
fn header_comes_back_and_every_flipped_bit_is_noticed() {
    for features in [Features::NONE, Features::CLUSTER, Features::PUTS] {
        let own = SegmentHeader { features, ..header() };
        let bytes = own.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(own));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            let refused = SegmentHeader::decode(&flipped);
            assert!(matches!(refused, Err(HeaderFault::Magic | HeaderFault::Checksum)), "{bit}");
        }
    }
}

#[test]
fn identity_is_another_for_another_log_segment_place_or_salt() {
    let own = header();
    let others = [
        SegmentHeader { log_id: LogId([8; 16]), ..own },
        SegmentHeader { seq: own.seq + 1, ..own },
        SegmentHeader { base_lsn: Lsn(own.base_lsn.0 + SECTOR_LEN), ..own },
        SegmentHeader { salt: [9; SALT_LEN], ..own },
    ];
    assert!(others.iter().all(|other| other.identity() != own.identity()));
}

#[test]
fn features_stay_with_a_log() {
    let first = SegmentHeader::first(Features::CLUSTER, LogId([7; 16]), 1 << 20, [1; SALT_LEN]);
    let own = first.next(Features::NONE, 1 << 20, 1, first.base_lsn, [2; SALT_LEN]);
    assert!(first.is_of_cluster() && own.is_of_cluster() && !header().is_of_cluster());
    let later = own.next(Features::PUTS, 1 << 20, 1, own.base_lsn, [3; SALT_LEN]);
    assert!(later.is_of_cluster() && later.features.contains(Features::PUTS));
}

#[test]
fn numbers_that_cannot_be_are_refused() {
    let own = header();
    for wrong in [
        SegmentHeader { older: 2, ..own },
        SegmentHeader { synced_lsn: Lsn(own.base_lsn.0 + 1), ..own },
        SegmentHeader { size: own.size + 8, ..own },
        SegmentHeader { size: SEGMENT_SIZE_MAX + SECTOR_LEN, ..own },
        // A sparse file of this length costs nothing, and a reader would ask for its memory.
        SegmentHeader { size: 1 << 40, ..own },
    ] {
        assert_eq!(SegmentHeader::decode(&wrong.encode()), Err(HeaderFault::Fields));
    }
    let largest = SegmentHeader { size: SEGMENT_SIZE_MAX, ..own };
    assert_eq!(SegmentHeader::decode(&largest.encode()), Ok(largest));
}

fn mended(mut bytes: [u8; HEADER_LEN], identity_at: usize) -> [u8; HEADER_LEN] {
    let identity = crc32c::crc32c(&bytes[..identity_at]).to_le_bytes();
    bytes[identity_at..identity_at + 4].copy_from_slice(&identity);
    bytes
}

#[test]
fn another_version_is_named() {
    let mut bytes = header().encode();
    bytes[VERSION_AT] = 9;
    let newer = mended(bytes, IDENTITY_AT);
    assert_eq!(SegmentHeader::decode(&newer), Err(HeaderFault::Version(9)));
    for (version, identity_at) in [(1, 56), (2, 64), (3, 64), (4, 64)] {
        bytes[VERSION_AT] = version;
        let refused = SegmentHeader::decode(&mended(bytes, identity_at));
        assert_eq!(refused, Err(HeaderFault::Plain(version.into())));
        assert_eq!(SegmentHeader::decode(&bytes), Err(HeaderFault::Checksum));
    }
}

#[test]
fn unknown_feature_is_named() {
    let own = SegmentHeader { features: Features(0b1010), ..header() };
    assert_eq!(SegmentHeader::decode(&own.encode()), Err(HeaderFault::Features(0b1000)));
}

#[test]
fn next_segment_begins_where_this_one_is_full() {
    let first = SegmentHeader::first(Features::NONE, LogId([0; 16]), 1 << 20, [1; SALT_LEN]);
    assert_eq!(first.lsn_at(HEADER_BLOCK_LEN), Lsn::FIRST);
    assert_eq!(header().base_lsn, first.end_lsn());
}
