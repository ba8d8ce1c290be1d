//! P9: without the secret a log shows no body, and every change that is made to it is refused.

use super::*;
use crate::testkit::disk::Keep;
use crate::wal::segment::{HEADER_LEN, SegmentHeader, segment_name};
use crate::wal::{Damage, DamageKind, Step};

const BODY: &[u8] = b"a payload that nobody may read";

fn refusal(disk: &Memory) -> Damage {
    match recover(disk) {
        Err(ReadError::Damage(damage)) => damage,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the change was not noticed"),
    }
}

/// Writes frames of one length until segment `seq` has two.
fn write(wal: &mut Wal, seq: u64, text: u8) {
    let mut time_ms = wal.last_time_ms();
    loop {
        time_ms += 1;
        let body = [BODY, &[text; 400]].concat();
        append(wal, time_ms, &body);
        append(wal, time_ms, &body);
        wal.sync().unwrap();
        if wal.current_seq() >= seq {
            return;
        }
    }
}

fn closed(seq: u64, text: u8) -> Memory {
    let disk = Memory::new();
    let mut wal = create(&disk);
    write(&mut wal, seq, text);
    let time_ms = wal.last_time_ms();
    wal.close(time_ms).unwrap();
    disk
}

fn header_of(bytes: &[u8]) -> Option<SegmentHeader> {
    let head: &[u8; HEADER_LEN] = bytes[..HEADER_LEN].try_into().unwrap();
    SegmentHeader::decode(head).ok()
}

/// Offsets and lengths of the frames of a file, by their heads alone.
fn frames_in(bytes: &[u8]) -> Vec<(usize, usize)> {
    let base = u64::from_le_bytes(bytes[40..48].try_into().unwrap());
    let (mut at, mut frames) = (4096, Vec::new());
    while at + 60 <= bytes.len() {
        let lsn = u64::from_le_bytes(bytes[at + 8..at + 16].try_into().unwrap());
        if lsn != base + at as u64 - 4096 {
            at = (at + 1).next_multiple_of(512);
            continue;
        }
        let body = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap()) & (u32::MAX >> 1);
        let len = body as usize + if at == 4096 { 76 } else { 60 };
        frames.push((at, len));
        at = (at + len).next_multiple_of(8);
    }
    frames
}

/// Makes all checksums of a file right, as anyone can.
fn mend(bytes: &mut [u8], frames: &[(usize, usize)]) {
    let identity = crc32c::crc32c(&bytes[..HEADER_LEN - 4]);
    bytes[HEADER_LEN - 4..HEADER_LEN].copy_from_slice(&identity.to_le_bytes());
    for (at, len) in frames {
        let checksum = crc32c::crc32c_append(identity, &bytes[at + 4..at + len]);
        bytes[*at..at + 4].copy_from_slice(&checksum.to_le_bytes());
    }
}

#[test]
fn p9_no_file_of_a_log_shows_a_body() {
    let disk = closed(4, b'x');
    assert!(disk.names().len() >= 4);
    for name in disk.names() {
        let bytes = disk.bytes(&name);
        let shows = bytes.windows(8).any(|some| some == &BODY[..8] || some == [b'x'; 8]);
        assert!(!shows, "{name}");
    }
    let found = crate::wal::survey(&disk.storage()).unwrap().unwrap();
    let plain = found.segments[0].read().unwrap();
    assert!(plain.iter().all(|frame| !frame.body.starts_with(BODY)), "read without the key");
    let seen = recover(&disk).unwrap().0;
    assert!(seen.iter().all(|(_, body)| body.starts_with(BODY)));
}

#[test]
fn p9_another_secret_is_refused_before_anything_is_written() {
    let disk = closed(2, b'x');
    let calls = disk.calls();
    let found = crate::wal::survey(&disk.storage()).unwrap().unwrap();
    let after = disk.calls();
    let Err(ReadError::Damage(refused)) = found.with_key(&key_of(1)) else { panic!("opened") };
    assert_eq!(refused.what, DamageKind::ForeignLog);
    assert_eq!(disk.calls(), after, "{calls}");
    let found = crate::wal::survey(&disk.storage()).unwrap().unwrap();
    let refused = Wal::resume(&disk.storage(), TINY, &found).err().map(|error| error.to_string());
    assert!(refused.is_some_and(|text| text.contains("key was not given")));
}

/// Every bit of headers and frames is flipped and every checksum made right again: nothing is read,
/// and nothing is cut. A frame that is not the last one is refused by its tag or its place. The last
/// one is no frame with a wrong Lsn, length or synced Lsn: then it is a torn tail.
#[test]
fn p9_every_flipped_bit_with_mended_checksums_is_refused() {
    let disk = Memory::new();
    let mut wal = create(&disk);
    append(&mut wal, 1, BODY);
    wal.sync().unwrap();
    append(&mut wal, 2, b"second");
    append(&mut wal, 3, b"third");
    wal.close(4).unwrap();
    let (name, all) = (segment_name(1), recover(&disk).unwrap().0);
    let whole = disk.bytes(&name);
    let frames = frames_in(&whole);
    assert_eq!(frames.len(), 4);
    let ranges = frames.iter().map(|(at, len)| at + 4..at + len);
    let last = frames[3].0;
    let (mut refused, mut cut) = (0, 0);
    for byte in std::iter::once(8..HEADER_LEN - 4).chain(ranges).flatten() {
        for bit in 0..8 {
            disk.edit(&name, |bytes| {
                bytes[byte] ^= 1 << bit;
                mend(bytes, &frames);
            });
            match recover(&disk) {
                Err(ReadError::Damage(damage)) => {
                    assert_eq!(damage.file, name);
                    refused += 1;
                }
                Err(other) => panic!("{other}"),
                Ok((seen, torn_bytes)) => {
                    let is_place = matches!(byte - last, 4..16 | 24..32);
                    assert!(is_place, "byte {byte}, bit {bit}");
                    assert_eq!(seen, all, "only the mark is cut");
                    assert!(torn_bytes > 0 || byte >= last + 8);
                    cut += 1;
                }
            }
            disk.edit(&name, |bytes| bytes.clone_from(&whole));
        }
    }
    assert!(refused > 3_000 && cut <= 20 * 8, "{refused} {cut}");
}

/// A frame that anyone appends behind the end, with a right checksum.
#[test]
fn p9_frame_without_the_secret_at_the_end_of_the_log_is_refused_and_not_cut() {
    let disk = closed(1, b'x');
    let name = segment_name(1);
    let frames = frames_in(&disk.bytes(&name));
    let (at, len) = frames[frames.len() - 1];
    disk.edit(&name, |bytes| {
        let next = (at + len).next_multiple_of(512);
        let mut forged = bytes[at..at + len].to_vec();
        forged[8..16].copy_from_slice(&(next as u64).to_le_bytes());
        // At a sector's start its synced Lsn must be the end of the frame before.
        let end = (at + len).next_multiple_of(8) as u64;
        forged[24..32].copy_from_slice(&end.to_le_bytes());
        bytes[next..next + len].copy_from_slice(&forged);
        mend(bytes, &[&frames[..], &[(next, len)]].concat());
    });
    assert_eq!(refusal(&disk).what, DamageKind::Tag);
    let text = refusal(&disk).to_string();
    assert!(text.contains("without this secret"), "{text}");
}

#[test]
fn p9_frames_that_change_places_are_refused() {
    let disk = Memory::new();
    let mut wal = create(&disk);
    write(&mut wal, 1, b'x');
    write(&mut wal, 1, b'x');
    let name = segment_name(1);
    let whole = disk.bytes(&name);
    let frames = frames_in(&whole);
    // The second and the third have the same length; both keep their Lsn and their synced Lsn.
    let [one, other] = [frames[1], frames[2]];
    assert_eq!(one.1, other.1);
    disk.edit(&name, |bytes| {
        for (to, from) in [(one.0, other.0), (other.0, one.0)] {
            bytes[to + 32..to + one.1].copy_from_slice(&whole[from + 32..from + one.1]);
        }
        mend(bytes, &frames);
    });
    let damage = refusal(&disk);
    assert_eq!((damage.what, damage.offset), (DamageKind::Tag, one.0 as u64));
}

#[test]
fn p9_headers_frames_and_segments_of_another_log_of_the_same_secret_are_refused() {
    let [own, other] = [closed(3, b'x'), closed(3, b'y')];
    for seq in 1..=3 {
        let name = segment_name(seq);
        let foreign = other.bytes(&name);
        let swapped = own.crash(Keep::Everything);
        swapped.edit(&name, |bytes| bytes.clone_from(&foreign));
        let what = refusal(&swapped).what;
        assert!(matches!(what, DamageKind::OtherHistory { .. }), "{what}");
        // Even without the secret.
        let found = crate::wal::survey(&swapped.storage()).unwrap().unwrap();
        assert!(read_all(&found).is_err(), "segment {seq}");

        let headed = own.crash(Keep::Everything);
        headed.edit(&name, |bytes| {
            let frames = frames_in(bytes);
            bytes[..HEADER_LEN].copy_from_slice(&foreign[..HEADER_LEN]);
            mend(bytes, &frames);
        });
        let damage = refusal(&headed);
        assert_eq!((damage.what, damage.offset), (DamageKind::Tag, 4096), "its header");

        let framed = own.crash(Keep::Everything);
        framed.edit(&name, |bytes| {
            let frames = frames_in(&foreign);
            bytes[4096..].copy_from_slice(&foreign[4096..]);
            mend(bytes, &frames);
        });
        let damage = refusal(&framed);
        assert_eq!((damage.what, damage.offset), (DamageKind::Tag, 4096), "its frames");
    }
}

/// Two copies of one directory continue: in the same segment, with the same key.
#[test]
fn p9_segments_of_two_copies_of_a_log_are_refused_in_one_directory() {
    let first = closed(2, b'x');
    let goes_on = |text| {
        let disk = first.crash(Keep::Everything);
        let mut wal = resume(&disk);
        write(&mut wal, 4, text);
        let time_ms = wal.last_time_ms();
        wal.close(time_ms).unwrap();
        disk
    };
    let [one, two] = [goes_on(b'a'), goes_on(b'b')];
    assert_eq!(one.nonces().1, 0, "both wrote the same Lsns with one key");
    assert_eq!(one.bytes(&segment_name(1)), two.bytes(&segment_name(1)));
    for seq in 2..=4 {
        let mixed = one.crash(Keep::Everything);
        let name = segment_name(seq);
        mixed.edit(&name, |bytes| bytes.clone_from(&two.bytes(&name)));
        let what = refusal(&mixed).what;
        assert!(matches!(what, DamageKind::OtherHistory { .. }), "segment {seq}: {what}");
    }
    assert!(header_of(&one.bytes(&segment_name(2))) == header_of(&two.bytes(&segment_name(2))));
}

#[test]
fn p9_header_that_was_made_without_the_secret_is_refused() {
    let disk = closed(2, b'x');
    let name = segment_name(2);
    disk.edit(&name, |bytes| {
        let frames = frames_in(bytes);
        // What a start would take for durable.
        bytes[56] ^= 8;
        mend(bytes, &frames);
    });
    assert_eq!(refusal(&disk).what, DamageKind::HeaderMac);
}

/// Number of frames that a pass over the oldest segment shows.
fn cleaned(wal: &Wal, budget_bytes: u64) -> Result<usize, ReadError> {
    let mut cleaner = wal.cleaner()?.expect("there is a sealed segment");
    let mut count = 0;
    while let Step::Frames(frames) = cleaner.step(budget_bytes)? {
        count += frames.count();
    }
    Ok(count)
}

fn refused_cleaning(wal: &Wal, budget_bytes: u64) -> Damage {
    match cleaned(wal, budget_bytes) {
        Err(ReadError::Damage(damage)) => damage,
        Err(other) => panic!("{other}"),
        Ok(count) => panic!("the end was believed after {count} frames"),
    }
}

/// Somebody without the secret ends the oldest segment of a running log early: what is behind the
/// forged seal must not be released with the segment.
#[test]
fn p5_forged_seal_is_not_the_end_of_a_segment_that_is_cleaned() {
    let disk = Memory::new();
    let mut wal = create(&disk);
    write(&mut wal, 2, b'x');
    let name = segment_name(1);
    let whole = disk.bytes(&name);
    let frames = frames_in(&whole);
    assert!(frames.len() > 10);
    for (at, _) in &frames {
        let len = if *at == 4096 { 76 } else { 60 };
        disk.edit(&name, |bytes| {
            bytes[at + 4..at + 8].copy_from_slice(&(1_u32 << 31).to_le_bytes());
            // The last frame is the real seal.
            bytes[at + len - 1] ^= 1;
            mend(bytes, &[(*at, len)]);
        });
        for budget in [0, 700, u64::MAX] {
            let damage = refused_cleaning(&wal, budget);
            let place = (damage.what, damage.file, damage.offset);
            assert_eq!(place, (DamageKind::Tag, name.clone(), *at as u64), "budget {budget}");
        }
        disk.edit(&name, |bytes| bytes.clone_from(&whole));
    }
    assert_eq!(cleaned(&wal, 700).unwrap(), frames.len() - 1);
}

/// The other copy wrote its own frames with the same key, and a real seal.
#[test]
fn p5_segment_of_another_copy_is_not_cleaned_as_the_own_one() {
    let first = closed(1, b'x');
    let goes_on = |text| {
        let disk = first.crash(Keep::Everything);
        let mut wal = resume(&disk);
        write(&mut wal, 3, text);
        (disk, wal)
    };
    let [(own, wal), (other, _)] = [goes_on(b'a'), goes_on(b'b')];
    let [name, next] = [1, 2].map(segment_name);
    assert!(cleaned(&wal, 700).is_ok());
    own.edit(&name, |bytes| bytes.clone_from(&other.bytes(&name)));
    let damage = refused_cleaning(&wal, 700);
    assert_eq!((damage.what, damage.file), (DamageKind::OtherHistory { seq: 2 }, next.clone()));
    // The tag that the next segment carries is changed to the one of the other copy's seal.
    own.edit(&next, |bytes| {
        let frames = frames_in(bytes);
        bytes[4096 + 44..4096 + 60].copy_from_slice(&other.bytes(&next)[4096 + 44..4096 + 60]);
        mend(bytes, &frames);
    });
    let damage = refused_cleaning(&wal, 700);
    assert_eq!((damage.what, damage.file, damage.offset), (DamageKind::Tag, next, 4096));
}
