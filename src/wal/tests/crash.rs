//! Power cuts at every call to the disk: acknowledged frames survive.

use super::*;
use crate::testkit::disk::{Fault, Keep, Planned};
use crate::wal::{Clean, Step};

/// Writes, syncs, relocates and releases until the disk is off. Returns the numbers of the
/// acknowledged frames, and the number of attempted ones.
///
/// No frame of the script expires, but of each three only the last is relocated; the others are
/// dropped just before.
fn run(disk: &Memory) -> (Vec<u64>, u64) {
    let mut acknowledged = Vec::new();
    let mut tried = 0;
    let Ok(mut wal) = Wal::create(disk.storage(), TINY, &key()) else {
        return (acknowledged, tried);
    };
    while tried < 90 {
        tried += 1;
        let mut pending = vec![tried];
        if wal.append(tried, &numbered(tried)).is_err() {
            break;
        }
        if tried % 2 == 0 {
            tried += 1;
            pending.push(tried);
            if wal.append(tried, &numbered(tried)).is_err() {
                break;
            }
        }
        if wal.sync().is_err() {
            break;
        }
        acknowledged.extend(pending);
        if clean(&mut wal, &mut acknowledged).is_none() {
            break;
        }
    }
    (acknowledged, tried)
}

fn numbered(number: u64) -> FrameBuffer {
    let mut body = number.to_le_bytes().to_vec();
    body.resize(8 + number as usize * 37 % 600, number as u8);
    frame(&body)
}

fn number_of(body: &[u8]) -> u64 {
    u64::from_le_bytes(body[..8].try_into().unwrap())
}

fn clean(wal: &mut Wal, acknowledged: &mut Vec<u64>) -> Option<()> {
    wal.note_deadline(wal.current_seq(), u64::MAX);
    let Clean::Scan { seq } = wal.cleaning_due(0) else {
        return Some(());
    };
    let mut cleaner = wal.cleaner().ok()??;
    let mut relocated = Vec::new();
    while let Step::Frames(frames) = cleaner.step(1000).ok()? {
        let frames = frames.filter(|frame| !frame.body.is_empty());
        relocated.extend(frames.map(|frame| number_of(frame.body)));
    }
    acknowledged.retain(|number| number % 3 == 0 || !relocated.contains(number));
    for number in relocated.iter().filter(|number| **number % 3 == 0) {
        let time_ms = wal.last_time_ms();
        wal.append(time_ms, &numbered(*number)).ok()?;
    }
    let relocated = wal.sync().ok()?;
    wal.release_oldest(seq, relocated);
    let time_ms = wal.last_time_ms();
    wal.declare_released(time_ms).ok()
}

fn check(disk: &Memory, acknowledged: &[u64], tried: u64, context: &str) {
    let found = survey(&disk.storage()).unwrap_or_else(|error| panic!("{context}: {error}"));
    let Some(found) = found else {
        assert!(acknowledged.is_empty(), "{context}");
        return;
    };
    // The frame that records a release has no records of entries.
    let records = |found: &Survey| {
        let mut seen = read_all(found).unwrap_or_else(|error| panic!("{context}: {error}"));
        seen.retain(|(_, body)| !body.is_empty());
        seen
    };
    let seen = records(&found);
    let numbers: Vec<u64> = seen.iter().map(|(_, body)| number_of(body)).collect();
    for (number, (_, body)) in numbers.iter().zip(&seen) {
        assert!(*number <= tried, "{context}: {number} was never written");
        assert_eq!(numbered(*number).body_len(), body.len());
    }
    for number in acknowledged {
        assert!(numbers.contains(number), "{context}: {number} is gone");
    }
    // The log continues where it ended.
    let mut wal = Wal::resume(&disk.storage(), TINY, &found).unwrap();
    for _ in 0..20 {
        append(&mut wal, tried + 1, &[0xEE; 400]);
        wal.sync().unwrap();
    }
    let (frames, reused) = disk.nonces();
    assert!(frames >= 20 && reused == 0, "{context}: {reused} of {frames} nonces came again");
    let again = records(&survey(&disk.storage()).unwrap().unwrap());
    assert_eq!(again[..seen.len()], seen, "{context}");
    assert_eq!(again.len(), seen.len() + 20, "{context}");
}

#[test]
fn power_cut_at_every_call_loses_nothing_acknowledged() {
    let whole = Memory::new();
    let (acknowledged, tried) = run(&whole);
    assert!(tried >= 90 && acknowledged.len() > 20);
    let calls = whole.calls();
    assert!(calls > 150, "the script does much: {calls}");
    for call in 1..=calls {
        let disk = Memory::new();
        disk.switch_off_at(call);
        let (acknowledged, tried) = run(&disk);
        let keeps =
            [Keep::Synced, Keep::Everything, Keep::Some(call * 2), Keep::Some(call * 2 + 1)];
        for keep in keeps {
            let context = format!("off at call {call} of {calls}, {keep:?}");
            check(&disk.crash(keep), &acknowledged, tried, &context);
        }
    }
}

#[test]
fn power_cut_while_starting_is_no_worse() {
    let first = Memory::new();
    first.switch_off_at(100);
    let (acknowledged, tried) = run(&first);
    for seed in 0..16 {
        let left = first.crash(Keep::Some(seed));
        for call in 1..=8 {
            let disk = left.crash(Keep::Everything);
            disk.switch_off_at(call);
            if let Ok(Some(found)) = survey(&disk.storage()) {
                let _ = Wal::resume(&disk.storage(), TINY, &found);
            }
            let context = format!("seed {seed}, off at call {call} of the start");
            check(&disk.crash(Keep::Some(call)), &acknowledged, tried, &context);
        }
    }
}

#[test]
fn what_a_killed_process_left_in_the_cache_is_durable_once_it_was_seen() {
    let disk = Memory::new();
    let mut wal = create(&disk);
    append(&mut wal, 1, b"synced");
    wal.sync().unwrap();
    append(&mut wal, 2, b"written");
    drop(wal);
    let seen = recover(&disk).unwrap();
    assert_eq!(seen.0.len(), 2);
    assert_eq!(recover(&disk.crash(Keep::Synced)).unwrap(), seen);
}

#[test]
fn a_name_that_a_killed_process_gave_is_durable_once_it_was_seen() {
    let disk = Memory::new();
    // The process dies before it has synced the directory, but the machine does not.
    let at = 9;
    disk.plan(Planned { fault: Fault::FailedSync, at, is_lasting: true });
    assert!(Wal::create(disk.storage(), TINY, &key()).is_err());
    disk.mend();
    let mut wal = resume(&disk);
    append(&mut wal, 1, b"acknowledged");
    wal.sync().unwrap();
    assert_eq!(recover(&disk.crash(Keep::Synced)).unwrap().0.len(), 1);
}

#[test]
fn garbled_write_never_hurts_what_was_acknowledged_before_it() {
    for seed in 0..200 {
        let disk = Memory::new();
        let mut wal = create(&disk);
        append(&mut wal, 1, b"acknowledged");
        wal.sync().unwrap();
        append(&mut wal, 2, b"short");
        append(&mut wal, 3, &[3; 700]);
        let left = disk.crash(Keep::Some(seed));
        let (seen, _) = recover(&left).unwrap();
        assert_eq!(seen[0].1, b"acknowledged");
        // The start truncates the garbled bytes, and may be interrupted itself.
        left.switch_off_at(seed % 4 + 1);
        let found = survey(&left.storage());
        if let Ok(Some(found)) = found
            && let Ok(mut wal) = Wal::resume(&left.storage(), TINY, &found)
        {
            let _ = wal.append(4, &frame(b"next"));
        }
        let (seen, _) = recover(&left.crash(Keep::Some(seed))).unwrap();
        assert_eq!(seen[0].1, b"acknowledged", "seed {seed}");
    }
}
