//! Torn tails are truncated and counted; all other damage is refused and named.

use super::*;
use crate::testkit::disk::Keep;
use crate::wal::{DamageKind, Lsn};

fn segment(seq: u64) -> String {
    crate::wal::segment::segment_name(seq)
}

fn refusal(disk: &Memory) -> crate::wal::Damage {
    match recover(disk) {
        Err(ReadError::Damage(damage)) => damage,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the damage was not noticed"),
    }
}

/// A closed log of three segments, and its content.
fn three_segments() -> (Memory, Vec<Seen>) {
    let disk = Memory::new();
    let mut wal = create(&disk);
    let mut wrote = Vec::new();
    for number in 0..36_u64 {
        let body = vec![number as u8 + 1; 30 * number as usize % 700 + 1];
        append(&mut wal, number, &body);
        wrote.push((number, body));
        if number % 3 != 0 {
            wal.sync().unwrap();
        }
    }
    assert_eq!(wal.current_seq(), 3);
    wal.close(40).unwrap();
    (disk, wrote)
}

#[test]
fn closed_log_reads_back_whole_with_nothing_torn() {
    let (disk, wrote) = three_segments();
    assert_eq!(recover(&disk).unwrap(), (wrote.clone(), 0));
    let lost = disk.crash(Keep::Synced);
    assert_eq!(recover(&lost).unwrap(), (wrote, 0));
}

#[test]
fn every_flipped_bit_of_a_closed_log_changes_nothing_or_is_refused() {
    let disk = Memory::new();
    let mut wal = create(&disk);
    let mut wrote = Vec::new();
    for number in 0..6_u64 {
        let body = vec![0x40 + number as u8; 20 * number as usize + 1];
        append(&mut wal, number, &body);
        if number % 2 == 0 {
            wal.sync().unwrap();
        }
        wrote.push((number, body));
    }
    let end = (wal.close(9).unwrap().0 - Lsn::FIRST.0) as usize + 4096;
    let mut refused = 0;
    // The header, and everything from the first frame to the end of the mark.
    for byte in (0..138).chain(4096..end + 16) {
        for bit in 0..8 {
            disk.edit(&segment(1), |bytes| bytes[byte] ^= 1 << bit);
            match recover(&disk) {
                Ok((seen, _)) => assert_eq!(seen, wrote, "byte {byte}, bit {bit}"),
                Err(ReadError::Damage(damage)) => {
                    assert_eq!(damage.file, segment(1));
                    assert!(damage.offset <= byte as u64, "byte {byte}, bit {bit}");
                    refused += 1;
                }
                Err(other) => panic!("{other}"),
            }
            disk.edit(&segment(1), |bytes| bytes[byte] ^= 1 << bit);
        }
    }
    // All of the header, all frames with their bodies, but not the mark.
    let bodies: usize = wrote.iter().map(|(_, body)| body.len()).sum();
    assert_eq!(refused, (134 + 16 + 6 * 60 + bodies) * 8);
}

#[test]
fn log_torn_at_any_byte_keeps_what_was_synced_and_goes_on() {
    let disk = Memory::new();
    let mut wal = create(&disk);
    append(&mut wal, 1, &[1; 100]);
    append(&mut wal, 2, &[2; 700]);
    wal.sync().unwrap();
    let synced = recover(&disk).unwrap().0;
    append(&mut wal, 3, &[3; 600]);
    append(&mut wal, 4, &[4; 50]);
    let all = recover(&disk).unwrap().0;
    let end = (wal.head().0 - Lsn::FIRST.0) as usize + 4096;
    // The frame of 100 bytes, the one of 700 after it, and the next sector.
    let start = (4096_usize + 176 + 760).next_multiple_of(512);
    for cut in start..=end {
        let torn = disk.crash(Keep::Everything);
        torn.edit(&segment(1), |bytes| bytes[cut..].fill(0));
        let (seen, torn_bytes) = recover(&torn).unwrap();
        assert!(seen.len() >= synced.len() && all.starts_with(&seen), "cut at {cut}");
        // Before its header is complete, a frame leaves no trace.
        let whole = seen.len() == all.len();
        let traced = cut >= start + 32 && seen.len() == 2 && !whole;
        assert!(!traced || torn_bytes == 664, "cut at {cut}: {torn_bytes}");
        let mut wal = resume(&torn);
        append(&mut wal, 5, b"new");
        wal.sync().unwrap();
        let mut expected = seen;
        expected.push((5, b"new".to_vec()));
        assert_eq!(recover(&torn).unwrap(), (expected, 0), "cut at {cut}");
    }
}

#[test]
fn whole_frames_behind_a_torn_one_never_come_back() {
    let disk = Memory::new();
    let mut wal = create(&disk);
    append(&mut wal, 1, b"kept");
    wal.sync().unwrap();
    append(&mut wal, 2, &[2; 1000 - 60]);
    append(&mut wal, 3, &[3; 1000 - 60]);
    append(&mut wal, 4, &[4; 1000 - 60]);
    let first = 4096 + 512;
    disk.edit(&segment(1), |bytes| bytes[first + 40] ^= 1);
    let (seen, torn_bytes) = recover(&disk).unwrap();
    assert_eq!((seen.len(), torn_bytes), (1, 3000));
    let mut wal = resume(&disk);
    // As long as the torn one, so that the next position is that of a complete one.
    append(&mut wal, 5, &[5; 1000 - 60]);
    let (seen, torn_bytes) = recover(&disk).unwrap();
    assert_eq!((seen.len(), torn_bytes), (2, 0));
}

#[test]
fn damage_before_something_durable_is_refused_with_its_offset() {
    let (disk, _) = three_segments();
    for seq in 1..=3 {
        let hurt = disk.crash(Keep::Everything);
        hurt.edit(&segment(seq), |bytes| bytes[4096 + 32] ^= 4);
        let damage = refusal(&hurt);
        assert_eq!((damage.file, damage.offset), (segment(seq), 4096));
        assert_eq!(damage.what, DamageKind::NoFrame);
    }
}

#[test]
fn damaged_frame_that_ends_within_its_sector_is_not_stepped_over() {
    let disk = Memory::new();
    let mut wal = create(&disk);
    append(&mut wal, 1, b"first");
    append(&mut wal, 2, b"second");
    wal.sync().unwrap();
    append(&mut wal, 3, b"third, in the next sector");
    wal.sync().unwrap();
    for byte in 4096 + 88..4096 + 88 + 60 + 6 {
        let hurt = disk.crash(Keep::Everything);
        hurt.edit(&segment(1), |bytes| bytes[byte] ^= 1);
        let damage = refusal(&hurt);
        assert_eq!(damage.offset, 4096 + 88, "byte {byte}");
    }
}

#[test]
fn damaged_seal_is_noticed_by_the_torn_frame_behind_it() {
    let disk = Memory::new();
    let mut wal = create(&disk);
    while wal.current_seq() == 1 {
        append(&mut wal, 1, &[1; 900]);
    }
    // Only one frame is in the second segment; it was not acknowledged.
    disk.edit(&segment(2), |bytes| bytes[4096 + 100] ^= 1);
    assert!(recover(&disk).unwrap().1 > 0);
    let seal_at = survey(&disk.storage()).unwrap().unwrap().segments[0]
        .read()
        .unwrap()
        .iter()
        .last()
        .map(|last| (last.lsn.0 + last.file_len) as usize);
    disk.edit(&segment(1), |bytes| bytes[seal_at.unwrap()] ^= 1);
    let damage = refusal(&disk);
    assert_eq!((damage.file, damage.what), (segment(1), DamageKind::NoFrame));
}

#[test]
fn missing_segments_are_named() {
    let (disk, _) = three_segments();
    // The end of the ring is missing from one segment on: the one before it is sealed.
    for gone in [2, 3] {
        let hurt = disk.crash(Keep::Everything);
        for seq in gone..=4 {
            let _ = hurt.storage().remove(&segment(seq));
        }
        let damage = refusal(&hurt);
        assert_eq!(damage.what, DamageKind::MissingSegment { seq: gone });
        assert_eq!(damage.file, segment(gone - 1));
    }
    let hurt = disk.crash(Keep::Everything);
    hurt.storage().rename(&segment(2), "elsewhere").unwrap();
    let damage = refusal(&hurt);
    assert_eq!(damage.what, DamageKind::MissingSegment { seq: 2 });
    assert_eq!(damage.file, segment(3));
}

/// Removed, or moved elsewhere with a link in its place: the last frame records that the log still
/// needs it.
#[test]
fn p5_oldest_segment_that_is_missing_is_refused_by_name() {
    let (disk, wrote) = three_segments();
    for gone in 1..=2 {
        let hurt = disk.crash(Keep::Everything);
        for seq in 1..=gone {
            hurt.storage().remove(&segment(seq)).unwrap();
        }
        let damage = refusal(&hurt);
        assert_eq!(damage.what, DamageKind::MissingOldest { seq: gone });
        assert_eq!(damage.file, segment(gone + 1));
    }
    // A released segment is no loss, but the next one is.
    let mut wal = resume(&disk);
    free(&mut wal, 1, Lsn::ZERO);
    assert!(!disk.names().contains(&segment(1)));
    let (seen, _) = recover(&disk).unwrap();
    assert!(wrote.ends_with(&seen) && seen.len() < wrote.len());
    disk.storage().remove(&segment(2)).unwrap();
    assert_eq!(refusal(&disk).what, DamageKind::MissingOldest { seq: 2 });
}

/// The current segment has no frame yet: the one before it, or the header, records it.
#[test]
fn p5_oldest_segment_is_missed_by_a_log_without_a_frame_in_its_last_segment() {
    let disk = Memory::new();
    let mut wal = create(&disk);
    while wal.current_seq() < 3 {
        append(&mut wal, 1, &[1; 900]);
    }
    wal.sync().unwrap();
    disk.edit(&segment(3), |bytes| bytes[4096..].fill(0));
    assert!(recover(&disk).is_ok());
    for gone in 1..=2 {
        disk.storage().remove(&segment(gone)).unwrap();
        assert_eq!(refusal(&disk).what, DamageKind::MissingOldest { seq: gone });
    }
}

#[test]
fn p5_segment_that_is_a_link_or_no_file_is_refused_by_name() {
    use crate::wal::{Disk, Shelf};
    use std::os::unix::fs::symlink;
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("data");
    let storage: Arc<dyn Storage> = Arc::new(Disk::open(&dir).unwrap());
    let mut wal = Wal::create(Arc::clone(&storage), TINY, &key()).unwrap();
    while wal.current_seq() < 3 {
        append(&mut wal, 1, &[1; 900]);
    }
    wal.close(1).unwrap();
    let elsewhere = home.path().join("elsewhere");
    for name in [segment(1), segment(2), segment(3)] {
        std::fs::rename(dir.join(&name), &elsewhere).unwrap();
        for is_link in [true, false] {
            match is_link {
                true => symlink(&elsewhere, dir.join(&name)).unwrap(),
                false => std::fs::create_dir(dir.join(&name)).unwrap(),
            }
            let shelf: Arc<dyn Storage> = Arc::new(Shelf::new(&dir));
            for storage in [&storage, &shelf] {
                match survey(storage) {
                    Err(ReadError::Damage(damage)) => {
                        assert_eq!(
                            (damage.file, damage.what),
                            (name.clone(), DamageKind::NotRegular)
                        );
                    }
                    other => panic!("{:?}", other.err()),
                }
            }
            match is_link {
                true => std::fs::remove_file(dir.join(&name)).unwrap(),
                false => std::fs::remove_dir(dir.join(&name)).unwrap(),
            }
        }
        std::fs::rename(&elsewhere, dir.join(&name)).unwrap();
    }
    for name in ["spare-0000000000000009.log", "fresh-0000000000000009.tmp"] {
        symlink(&elsewhere, dir.join(name)).unwrap();
        assert!(survey(&storage).is_err(), "{name}");
        std::fs::remove_file(dir.join(name)).unwrap();
    }
    assert!(survey(&storage).is_ok());
}

/// The header of the prepared segment records how far the log was durable.
#[test]
fn p5_older_copy_of_the_newest_segment_is_refused() {
    let disk = Memory::new();
    let mut wal = create(&disk);
    append(&mut wal, 1, b"early");
    wal.mark(1).unwrap();
    let early = disk.bytes(&segment(1));
    while disk.names().len() < 2 {
        append(&mut wal, 2, &[2; 700]);
        wal.sync().unwrap();
    }
    assert!(recover(&disk).is_ok());
    disk.edit(&segment(1), |bytes| bytes.clone_from(&early));
    let damage = refusal(&disk);
    assert!(matches!(damage.what, DamageKind::EndsTooEarly { seq: 2, .. }), "{damage}");
    assert_eq!(damage.file, segment(1));
}

/// A header of each format that was not encrypted, with its checksum where it was.
#[test]
fn p5_log_that_was_not_encrypted_is_refused_by_its_version_and_not_changed() {
    for (version, identity_at) in [(1_u8, 56), (2, 64), (3, 64), (4, 64)] {
        let (disk, _) = three_segments();
        for seq in 1..=3 {
            disk.edit(&segment(seq), |bytes| {
                bytes[8] = version;
                let identity = crc32c::crc32c(&bytes[..identity_at]);
                bytes[identity_at..identity_at + 4].copy_from_slice(&identity.to_le_bytes());
            });
        }
        let calls = disk.calls();
        let damage = refusal(&disk);
        assert_eq!(damage.what, DamageKind::Plain(version.into()));
        let text = damage.to_string();
        assert!(text.contains(&format!("format version {version}")), "{text}");
        assert!(text.contains("empty data directory"), "it says what to do: {text}");
        // The directory is synced before it is read.
        assert_eq!(disk.calls(), calls + 1);
    }
}

#[test]
fn header_faults_are_named() {
    let (disk, _) = three_segments();
    let hurt = |name: &str, edit: &dyn Fn(&mut Vec<u8>)| {
        let hurt = disk.crash(Keep::Everything);
        hurt.edit(name, edit);
        refusal(&hurt).what
    };
    let two = segment(2);
    assert_eq!(hurt(&two, &|bytes| bytes[0] = 0), DamageKind::Magic);
    assert_eq!(hurt(&two, &|bytes| bytes[33] = 1), DamageKind::HeaderChecksum);
    let short = DamageKind::ShortFile { len: 8192, expected: 12 << 10 };
    assert_eq!(hurt(&two, &|bytes| bytes.truncate(8192)), short);
    let one = disk.bytes(&segment(1));
    let copied = hurt(&two, &|bytes| bytes.clone_from(&one));
    assert_eq!(copied, DamageKind::WrongName { seq: 1 });
}

#[test]
fn segment_of_another_log_is_refused() {
    let (disk, _) = three_segments();
    let other = Memory::new();
    let mut wal = Wal::create(other.storage(), TINY, &key_of(1)).unwrap();
    while wal.current_seq() < 3 {
        append(&mut wal, 1, &[0; 900]);
    }
    disk.edit(&segment(2), |bytes| *bytes = other.bytes(&segment(2)));
    assert_eq!(refusal(&disk).what, DamageKind::ForeignLog);
}

#[test]
fn frames_of_another_log_are_not_taken_for_its_own() {
    let (disk, _) = three_segments();
    let other = Memory::new();
    let mut wal = Wal::create(other.storage(), TINY, &key_of(1)).unwrap();
    while wal.current_seq() < 2 {
        append(&mut wal, 1, &[0; 900]);
    }
    // The header stays; the frames have the same positions as in this log.
    let frames = other.bytes(&segment(1)).split_off(4096);
    disk.edit(&segment(1), |bytes| bytes[4096..].copy_from_slice(&frames));
    let damage = refusal(&disk);
    assert_eq!((damage.file, damage.offset), (segment(1), 4096));
}

#[test]
fn spares_without_a_segment_are_refused_and_fresh_files_are_not() {
    let disk = Memory::new();
    disk.storage().create("fresh-0000000000000001.tmp", 0).unwrap();
    disk.storage().create("secret.key", 0).unwrap();
    assert!(survey(&disk.storage()).unwrap().is_none());
    create(&disk);
    assert_eq!(disk.names(), ["secret.key".to_owned(), segment(1)]);
    disk.storage().rename(&segment(1), "spare-0000000000000001.log").unwrap();
    assert_eq!(refusal(&disk).what, DamageKind::NoSegments);
}

#[test]
fn copied_file_name_is_refused() {
    let (disk, _) = three_segments();
    disk.storage().create("segment-1 (copy).log", 0).unwrap();
    assert_eq!(refusal(&disk).what, DamageKind::BadName);
}
