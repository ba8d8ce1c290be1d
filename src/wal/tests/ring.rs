//! Rolling, recycling, a full disk, a failing disk.

use super::*;
use crate::testkit::disk::{Call, Fault, Keep, Planned};
use crate::wal::{AppendError, Clean, Disk, Step};

fn fill_until(wal: &mut Wal, seq: u64) {
    while wal.current_seq() < seq {
        let time_ms = wal.last_time_ms();
        append(wal, time_ms, &[7; 800]);
        wal.sync().unwrap();
    }
}

#[test]
fn p1_a_durable_frame_makes_those_before_it_durable_too() {
    let disk = Memory::new();
    let mut wal = create(&disk);
    // Longer than a page, which a write of the second would make durable with it.
    append(&mut wal, 1, &[1; 5_000]);
    for body in [&b"second"[..], b"third", b"fourth"] {
        wal.append_durably(2, &frame(body)).unwrap();
        assert_eq!(wal.durable(), wal.head());
        let (seen, torn_bytes) = recover(&disk.crash(Keep::Synced)).unwrap();
        assert_eq!(seen.last(), Some(&(2, body.to_vec())));
        assert_eq!((seen[0].clone(), torn_bytes), ((1, vec![1; 5_000]), 0));
    }
    assert_eq!(wal.counters().syncs, 3);
}

#[test]
fn ring_recycles_its_files_and_old_frames_are_never_seen() {
    let disk = Memory::new();
    let mut wal = create(&disk);
    fill_until(&mut wal, 3);
    for turn in 0..30 {
        // None of them has live entries.
        while let Clean::Expired { seq } = wal.cleaning_due(1) {
            free(&mut wal, seq, Lsn::ZERO);
        }
        let next = wal.current_seq() + 1;
        fill_until(&mut wal, next);
        let seen = recover(&disk.crash(Keep::Synced)).unwrap();
        assert_eq!(seen.1, 0, "turn {turn}");
    }
    let counters = wal.counters();
    assert!(counters.segments_recycled > 25, "{counters:?}");
    assert!(counters.segments_created < 5, "{counters:?}");
    assert!(disk.names().len() <= 5, "{:?}", disk.names());
}

#[test]
fn segment_is_due_when_all_in_it_has_expired_or_the_log_is_long() {
    let disk = Memory::new();
    let mut wal = create(&disk);
    wal.note_deadline(1, 500);
    assert_eq!(wal.cleaning_due(1000), Clean::Nothing);
    fill_until(&mut wal, 2);
    assert_eq!(wal.cleaning_due(500), Clean::Nothing);
    assert_eq!(wal.cleaning_due(501), Clean::Expired { seq: 1 });
    fill_until(&mut wal, 4);
    assert_eq!(wal.cleaning_due(500), Clean::Scan { seq: 1 });
    // With more alive the log may be longer.
    wal.add_live(4, 40 << 10);
    assert_eq!(wal.log_limit(), 80 << 10);
    assert_eq!(wal.cleaning_due(500), Clean::Nothing);
}

#[test]
fn cleaner_shows_every_frame_with_any_budget() {
    let disk = Memory::new();
    let mut wal = create(&disk);
    let mut time_ms = 0;
    while wal.current_seq() == 1 {
        time_ms += 1;
        append(&mut wal, time_ms, &vec![time_ms as u8; 50 * time_ms as usize % 900]);
        if time_ms % 2 == 0 {
            wal.sync().unwrap();
        }
    }
    let found = survey(&disk.storage()).unwrap().unwrap();
    let frames = found.segments[0].read().unwrap();
    let expected: Vec<_> = frames.iter().collect();
    for budget in [0, 1, 700, 5000, u64::MAX] {
        let mut cleaner = wal.cleaner().unwrap().unwrap();
        let mut at = 0;
        while let Step::Frames(some) = cleaner.step(budget).unwrap() {
            for frame in some {
                assert_eq!(frame, expected[at], "budget {budget}");
                at += 1;
            }
        }
        assert_eq!(at, expected.len());
        assert!(cleaner.is_done());
        assert_eq!(cleaner.progress().0, cleaner.progress().1);
    }
    let name = found.segments[0].file_name();
    disk.edit(&name, |bytes| bytes[4096 + 32] ^= 1);
    let mut cleaner = wal.cleaner().unwrap().unwrap();
    let refused = cleaner.step(1 << 20).err().unwrap().to_string();
    assert!(refused.contains(&name) && refused.contains("4096"), "{refused}");
}

#[test]
fn full_disk_refuses_and_writes_come_back_with_space() {
    let disk = Memory::new();
    let mut wal = create(&disk);
    append(&mut wal, 1, b"before");
    wal.sync().unwrap();
    // Room for half of the frame's bytes.
    disk.set_space_left(Some(200));
    let refused = frame(&[9; 400]);
    for _ in 0..3 {
        let error = wal.append(2, &refused).unwrap_err();
        assert!(matches!(error, AppendError::NoSpace(_)), "{error}");
    }
    assert!(wal.failure().is_none());
    disk.set_space_left(None);
    wal.append(2, &refused).unwrap();
    wal.sync().unwrap();
    let expected = vec![(1, b"before".to_vec()), (2, vec![9; 400])];
    assert_eq!(recover(&disk.crash(Keep::Synced)).unwrap(), (expected, 0));
}

#[test]
fn p6_a_frame_whose_sync_finds_no_space_is_refused_and_is_not_found_after_a_restart() {
    let disk = Memory::new();
    let mut wal = create(&disk);
    wal.append_durably(1, &frame(b"before")).unwrap();
    for body in [vec![9; 400], vec![9; 9], vec![9; 4_000]] {
        let asked = disk.asked();
        disk.plan(Planned { fault: Fault::NoSpace, at: asked + 2, is_lasting: false });
        let error = wal.append_durably(2, &frame(&body)).unwrap_err();
        assert!(matches!(error, AppendError::NoSpace(_)), "{error}");
        for keep in (0..100).map(Keep::Some).chain([Keep::Everything]) {
            let seen = recover(&disk.crash(keep)).unwrap();
            assert_eq!(seen.0, [(1, b"before".to_vec())], "{} bytes, {keep:?}", body.len());
        }
    }
    assert!(wal.failure().is_none());
    disk.mend();
    wal.append_durably(2, &frame(b"after")).unwrap();
    let expected = vec![(1, b"before".to_vec()), (2, b"after".to_vec())];
    assert_eq!(recover(&disk.crash(Keep::Synced)).unwrap(), (expected, 0));
}

/// Its caller must not hear that nothing was changed.
#[test]
fn p6_a_frame_that_is_not_taken_back_for_sure_may_have_happened() {
    let refused = |at, fault| Planned { fault, at, is_lasting: false };
    for second in [Fault::NoSpace, Fault::FailedSync, Fault::Io] {
        let disk = Memory::new();
        let mut wal = create(&disk);
        wal.append_durably(1, &frame(b"before")).unwrap();
        let asked = disk.asked();
        disk.plan(refused(asked + 2, Fault::NoSpace));
        // The sync of the bytes that take its place.
        disk.plan_also(refused(asked + 4, second));
        let error = wal.append_durably(3, &frame(b"perhaps")).unwrap_err();
        assert!(matches!(error, AppendError::Failed(_)), "{second:?}: {error}");
    }
    // They cannot be written, and whether the frame is there is seen, or not.
    for read in [None, Some(Fault::Io)] {
        let disk = Memory::new();
        let mut wal = create(&disk);
        wal.append_durably(1, &frame(b"before")).unwrap();
        let asked = disk.asked();
        disk.plan(refused(asked + 2, Fault::NoSpace));
        disk.plan_also(refused(asked + 3, Fault::NoSpace));
        read.into_iter().for_each(|fault| disk.plan_also(refused(asked + 4, fault)));
        let error = wal.append_durably(3, &frame(b"perhaps")).unwrap_err();
        assert!(matches!(error, AppendError::Failed(_)), "{read:?}: {error}");
    }
}

#[test]
fn full_disk_without_a_next_segment_refuses_until_there_is_one() {
    let disk = Memory::new();
    let mut wal = create(&disk);
    // Enough for this segment, and not for another.
    disk.set_space_left(Some(9 << 10));
    let mut wrote = 0;
    let error = loop {
        match wal.append(0, &frame(&[1; 900])) {
            Ok(_) => wrote += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, AppendError::NoSpace(_)), "{error}");
    assert_eq!(wal.current_seq(), 1);
    disk.set_space_left(None);
    append(&mut wal, 0, &[1; 900]);
    wal.sync().unwrap();
    assert_eq!(wal.current_seq(), 2);
    assert_eq!(recover(&disk.crash(Keep::Synced)).unwrap().0.len(), wrote + 1);
}

#[test]
fn full_disk_goes_on_with_the_file_of_an_expired_segment() {
    let disk = Memory::new();
    let mut wal = create(&disk);
    fill_until(&mut wal, 2);
    // Enough for this segment, and not for another.
    disk.set_space_left(Some(11 << 10));
    while wal.append(0, &frame(&[1; 900])).is_ok() {}
    disk.set_space_left(Some(8 << 10));
    let before = wal.current_seq();
    let again = wal.append(0, &frame(&[1; 900])).unwrap_err();
    assert!(matches!(again, AppendError::NoSpace(_)), "{again}");
    assert!(matches!(wal.cleaning_due(1), Clean::Expired { .. }));
    if let Clean::Expired { seq } = wal.cleaning_due(1) {
        free(&mut wal, seq, Lsn::ZERO);
    }
    // The next segment is created from it at once, so that cleaning can stop.
    assert_eq!(wal.log_bytes(), 2 * TINY.segment_size);
    append(&mut wal, 0, &[1; 900]);
    assert_eq!(wal.current_seq(), before + 1);
    assert_eq!(wal.cleaning_due(0), Clean::Nothing);
    assert_eq!(wal.counters().segments_recycled, 1);
}

#[test]
fn spare_that_finds_no_space_for_its_header_stays_a_spare() {
    let disk = Memory::new();
    let mut wal = create(&disk);
    fill_until(&mut wal, 2);
    disk.set_space_left(Some(11 << 10));
    while wal.append(0, &frame(&[1; 900])).is_ok() {}
    disk.set_space_left(Some(100));
    free(&mut wal, 1, Lsn::ZERO);
    assert!(wal.append(0, &frame(&[1; 900])).is_err());
    disk.set_space_left(Some(8 << 10));
    append(&mut wal, 0, &[1; 900]);
    assert_eq!(wal.counters().segments_recycled, 1);
}

#[test]
fn segments_that_cannot_be_renamed_leave_no_gap() {
    let disk = Memory::new();
    let mut wal = create(&disk);
    fill_until(&mut wal, 4);
    disk.set_full_names(true);
    free(&mut wal, 1, Lsn::ZERO);
    disk.set_full_names(false);
    assert!(recover(&disk).is_ok());
    free(&mut wal, 2, Lsn::ZERO);
    let found = survey(&disk.crash(Keep::Synced).storage()).unwrap().unwrap();
    assert_eq!(found.segments[0].header.seq, 3);
    disk.set_full_names(true);
    free(&mut wal, 3, Lsn::ZERO);
    assert!(recover(&disk).is_ok());
}

/// The directory's sync failed, so a crash may bring the old name back: with the header of a later
/// segment in that file, the log would not open (P5).
#[test]
fn p5_spare_whose_old_name_may_come_back_is_not_written() {
    // So long that the next segment waits for a spare, which is then used at once.
    let begun = |seed| {
        let disk = Memory::seeded(seed);
        let mut wal = create(&disk);
        fill_until(&mut wal, 4);
        (0..4).for_each(|_| append(&mut wal, 0, &[7; 800]));
        wal.sync().unwrap();
        // The frame, its sync, the new name, and then that of the directory.
        let sync_dir = disk.asked() + 4;
        (disk, wal, sync_dir)
    };
    let (disk, mut wal, sync_dir) = begun(0);
    free(&mut wal, 1, Lsn::ZERO);
    let since = &disk.history()[sync_dir as usize..];
    assert!(since.contains(&Call::Write), "on a healthy disk it is written: {since:?}");
    for (seed, calls) in (0..20).flat_map(|seed| (4..12).map(move |calls| (seed, calls))) {
        let (disk, mut wal, sync_dir) = begun(seed);
        disk.plan(Planned { fault: Fault::FailedSync, at: sync_dir, is_lasting: false });
        disk.switch_off_at(disk.calls() + calls);
        free(&mut wal, 1, Lsn::ZERO);
        assert!(disk.struck().contains_key(&Fault::FailedSync) || calls == 4);
        let refused = (0..20).find_map(|_| wal.append(0, &frame(&[2; 800])).err());
        assert!(matches!(refused, Some(AppendError::Failed(_))), "{refused:?}");
        let since = &disk.history()[sync_dir as usize..];
        assert!(!since.contains(&Call::Write), "a later sync proves nothing: {since:?}");
        for keep in [Keep::Synced, Keep::Everything, Keep::Some(seed)] {
            recover(&disk.crash(keep)).unwrap_or_else(|error| panic!("{seed}: {error}"));
        }
    }
}

#[test]
fn failed_sync_is_final_and_never_tried_again() {
    let disk = Memory::new();
    let mut wal = create(&disk);
    append(&mut wal, 1, b"acknowledged");
    wal.sync().unwrap();
    append(&mut wal, 2, b"lost");
    disk.set_failing_syncs(true);
    let failure = wal.sync().unwrap_err();
    disk.set_failing_syncs(false);
    let calls = disk.calls();
    assert_eq!(wal.sync().unwrap_err(), failure);
    let refused = wal.append(3, &frame(b"more")).unwrap_err();
    assert!(matches!(refused, AppendError::Failed(again) if again == failure));
    assert!(wal.mark(3).is_err());
    assert_eq!(disk.calls(), calls, "the disk was not touched again");
    assert!(wal.durable() < wal.head());
    let kept = recover(&disk.crash(Keep::Synced)).unwrap().0;
    assert_eq!(kept, [(1, b"acknowledged".to_vec())]);
}

#[test]
fn failed_write_is_final() {
    let disk = Memory::new();
    let mut wal = create(&disk);
    disk.set_failing_writes(true);
    let refused = wal.append(1, &frame(b"x")).unwrap_err();
    assert!(matches!(refused, AppendError::Failed(_)));
    disk.set_failing_writes(false);
    assert!(wal.append(1, &frame(b"x")).is_err());
    assert!(wal.failure().unwrap().to_string().contains("write of segment-"));
}

#[test]
fn body_over_the_limit_is_refused_and_one_at_the_limit_is_not() {
    let disk = Memory::new();
    let mut wal = create(&disk);
    let max = wal.max_body_len();
    for _ in 0..20 {
        append(&mut wal, 1, &vec![1; max]);
    }
    let max = crate::wal::BODY_LEN_MAX;
    let refused = wal.append(1, &frame(&vec![1; max + 1])).unwrap_err();
    assert!(matches!(refused, AppendError::TooLong { .. }));
    assert_eq!(recover(&disk).unwrap().0.len(), 20);
}

/// A frame of an earlier, larger segment size is relocated to a segment that has room for four.
#[test]
fn p7_frames_longer_than_a_segment_make_longer_segments() {
    let disk = Memory::new();
    let mut wal = create(&disk);
    fill_until(&mut wal, 3);
    free(&mut wal, 1, Lsn::ZERO);
    for number in 0..12 {
        append(&mut wal, 0, &[number; 20_000]);
    }
    wal.sync().unwrap();
    let long: Vec<u64> = wal.segments().map(|segment| segment.header.size).collect();
    assert!(long.iter().all(|size| *size == 12 << 10 || *size > 80_000), "{long:?}");
    assert!(long.len() < 10, "three to four frames share a segment: {long:?}");
    // Spares of the old length are removed, and the log can be read and cleaned like any other.
    assert!(!disk.names().iter().any(|name| name.starts_with("spare")), "{:?}", disk.names());
    let seen = recover(&disk.crash(Keep::Synced)).unwrap().0;
    assert_eq!(seen.iter().filter(|(_, body)| body.len() == 20_000).count(), 12);
    while let Clean::Expired { seq } = wal.cleaning_due(1) {
        free(&mut wal, seq, Lsn::ZERO);
    }
    assert!(wal.segments().len() == 1);
}

/// The disk is full and so is the segment: the reserved sector records the release, and the
/// released file becomes the next segment.
#[test]
fn p6_full_segment_on_a_full_disk_still_says_what_was_released() {
    let disk = Memory::new();
    let mut wal = create(&disk);
    fill_until(&mut wal, 2);
    disk.set_space_left(Some(0));
    let room = 12_288 - 2 * 512;
    disk.set_space_left(Some(60 << 10));
    while wal.ring.table.current().used_bytes + 512 <= room {
        if wal.append(0, &frame(&[1; 300])).is_err() {
            break;
        }
        wal.sync().unwrap();
        disk.set_space_left(Some(6 << 10));
    }
    disk.set_space_left(Some(6 << 10));
    assert!(matches!(wal.append(0, &frame(&[1; 900])), Err(AppendError::NoSpace(_))));
    assert!(matches!(wal.mark(0), Err(AppendError::NoSpace(_))), "not a sector to spare");
    wal.release_oldest(1, Lsn::ZERO);
    wal.declare_released(0).unwrap();
    append(&mut wal, 0, &[1; 900]);
    wal.sync().unwrap();
    assert_eq!(wal.counters().segments_recycled, 1);
    let found = survey(&disk.crash(Keep::Synced).storage()).unwrap().unwrap();
    assert_eq!(found.segments[0].header.seq, 2);
}

#[test]
fn p5_release_is_durable_before_the_file_loses_its_name() {
    let disk = Memory::new();
    let mut wal = create(&disk);
    fill_until(&mut wal, 4);
    let first = crate::wal::segment::segment_name(1);
    wal.release_oldest(1, Lsn::ZERO);
    assert!(wal.owes_declaration() && disk.names().contains(&first));
    // Any frame records it; only the sync releases the file.
    append(&mut wal, 0, b"x");
    assert!(!wal.owes_declaration() && disk.names().contains(&first));
    let asked = disk.asked() as usize;
    wal.sync().unwrap();
    assert!(!disk.names().contains(&first));
    assert_eq!(disk.history()[asked..asked + 2], [Call::Sync, Call::Rename]);
}

#[test]
fn larger_segments_than_before_take_longer_frames_at_once() {
    let disk = Memory::new();
    let mut wal = create(&disk);
    append(&mut wal, 1, &[1; 2000]);
    append(&mut wal, 1, &[1; 2000]);
    wal.close(1).unwrap();
    let config = Config { segment_size: 64 << 10, log_min_size: 256 << 10, ..TINY };
    let found = survey(&disk.storage()).unwrap().unwrap();
    let mut wal = Wal::resume(&disk.storage(), config, &found).unwrap();
    append(&mut wal, 2, &[2; 10_000]);
    wal.close(3).unwrap();
    assert_eq!(recover(&disk).unwrap().0.len(), 3);
}

#[test]
#[should_panic(expected = "relocated entries are not durable")]
fn segment_is_not_released_before_what_was_relocated_is_durable() {
    let disk = Memory::new();
    let mut wal = create(&disk);
    fill_until(&mut wal, 2);
    append(&mut wal, 0, b"relocated");
    let head = wal.head();
    wal.release_oldest(1, head);
}

#[test]
#[should_panic(expected = "log time runs backwards")]
fn time_does_not_run_backwards() {
    let disk = Memory::new();
    let mut wal = create(&disk);
    append(&mut wal, 5, b"x");
    append(&mut wal, 4, b"x");
}

#[test]
fn real_directory_and_thread_do_the_same() {
    let home = tempfile::tempdir().unwrap();
    let config = Config { segment_size: 1 << 20, log_min_size: 4 << 20, ..Config::default() };
    assert_eq!(config.mistakes(), []);
    let disk: Arc<dyn Storage> = Arc::new(Disk::open(home.path()).unwrap());
    assert!(survey(&disk).unwrap().is_none());
    let mut wal = Wal::create(disk, config, &key()).unwrap();
    for number in 0..40_u64 {
        append(&mut wal, number, &vec![number as u8; 150_000]);
        wal.sync().unwrap();
        if let Clean::Expired { seq } = wal.cleaning_due(1) {
            free(&mut wal, seq, Lsn::ZERO);
        }
    }
    wal.close(40).unwrap();
    let disk: Arc<dyn Storage> = Arc::new(Disk::open(home.path()).unwrap());
    let found = survey(&disk).unwrap().unwrap();
    let seen = read_all(&found).unwrap();
    assert_eq!((seen[seen.len() - 1].0, found.tail.torn_bytes), (40, 0));
    let last = &seen[seen.len() - 2];
    assert_eq!(*last, (39, vec![39; 150_000]));
    Wal::resume(&disk, config, &found).unwrap().close(41).unwrap();
}

#[test]
fn p8_a_segment_is_not_scanned_before_the_next_one_has_a_frame() {
    let disk = Memory::new();
    let mut wal = create(&disk);
    while wal.segments().len() < 2 {
        append(&mut wal, 1, &[7; 800]);
    }
    let disk = disk.crash(Keep::Synced);
    let found = survey(&disk.storage()).unwrap().unwrap();
    let config = Config { max_age: Some(crate::wal::config::MAX_AGE_MIN), ..TINY };
    let mut wal = Wal::resume(&disk.storage(), config, &found).unwrap();
    wal.note_deadline(1, 1_000_000);
    assert_eq!((wal.cleaning_due(100_000), wal.scannable()), (Clean::Nothing, None));
    assert!(wal.seal_aged(100_000).unwrap());
    assert_eq!((wal.cleaning_due(100_000), wal.scannable()), (Clean::Aged { seq: 1 }, Some(1)));
}
