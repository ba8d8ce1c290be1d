//! Events that become lines, and events without a place.

use std::fs;

use super::*;
use crate::clock::SystemClock;

const TIME: UnixMillis = UnixMillis(1_769_860_800_007);

fn some_event() -> Event {
    let address = "192.0.2.7:4711".parse().unwrap();
    Event { status: Some(200), ..event(TIME, address, None, "resolve", EventOutcome::Ok) }
}

fn start(is_required: bool) -> (tempfile::TempDir, Audit) {
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        permissions: Default::default(),
        file: Some(dir.path().join("audit.log")),
        is_required,
        size_max_bytes: SIZE_MIN_BYTES,
        files_kept: 0,
        refused_size_max_bytes: SIZE_MIN_BYTES,
        refused_files_kept: 1,
        warns_of_replays: false,
        checkpoints: None,
    };
    let audit = Audit::start(&config, Arc::new(SystemClock::new())).unwrap();
    (dir, audit)
}

fn lines(dir: &tempfile::TempDir) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(dir.path().join("audit.log")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn what_was_handed_over_is_in_the_file_at_the_close() {
    let (dir, audit) = start(false);
    for _ in 0..3 {
        audit.tell(&mut audit.reserve(1).unwrap(), some_event());
    }
    audit.close();
    let lines = lines(&dir);
    let expected = serde_json::json!({
        "time": "2026-01-31T12:00:00.007Z", "seq": 3, "operation": "resolve", "outcome": "ok",
        "status": 200, "address": "192.0.2.7:4711",
    });
    assert_eq!((lines.len(), &lines[2]), (3, &expected));
    let stats = audit.stats();
    assert_eq!((stats.lines, stats.dropped, stats.is_failing), (3, 0, false));
    assert!(stats.free_bytes.is_some(), "it looks at its disk");
}

#[test]
fn p8_places_are_bounded_and_what_is_missing_is_told() {
    let (dir, audit) = start(false);
    let all = audit.reserve(EVENTS_MAX).unwrap();
    for _ in 0..5 {
        audit.tell(&mut Permit::default(), some_event());
    }
    assert_eq!(audit.stats().dropped, 5);
    drop(all);
    audit.tell(&mut Permit::default(), some_event());
    audit.close();
    let lines = lines(&dir);
    assert_eq!((lines.len(), &lines[0]["missing"], &lines[0]["seq"]), (1, &5.into(), &6.into()));
}

#[test]
fn where_it_is_required_no_place_is_a_refusal_and_unused_places_come_back() {
    let (_dir, audit) = start(true);
    let all = audit.reserve(EVENTS_MAX).unwrap();
    assert_eq!(audit.reserve(1).err(), Some(Refused::Full));
    drop(all);
    assert!(audit.reserve(EVENTS_MAX).is_ok());
    let sink = audit.0.sink.as_ref().unwrap();
    sink.shared.is_failing.store(true, Ordering::Release);
    assert_eq!(audit.reserve(1).err(), Some(Refused::Failing));
}

#[test]
fn who_asks_is_told_once_the_line_is_in_the_file() {
    let (dir, audit) = start(true);
    audit.tell(&mut audit.reserve(1).unwrap(), some_event());
    audit.written().unwrap().blocking_recv().unwrap();
    assert_eq!(lines(&dir).len(), 1);
    let (_dir, relaxed) = start(false);
    assert!(relaxed.written().is_none(), "no request waits if it is not required");
}

#[test]
fn p8_a_flood_of_refusals_takes_no_place_and_no_line_of_what_was_done() {
    let (dir, audit) = start(true);
    for n in 0..100_000 {
        // A refused request frees its place.
        let mut permit = audit.reserve(1).unwrap();
        let outcome =
            if n % 2 == 0 { EventOutcome::NotFound } else { EventOutcome::AlreadyConsumed };
        audit.tell(&mut permit, Event { outcome, ..some_event() });
    }
    audit.tell(&mut audit.reserve(1).unwrap(), some_event());
    audit.close();
    let done = lines(&dir);
    assert_eq!((done.len(), &done[0]["seq"], done[0].get("missing")), (1, &1.into(), None));
    let stats = audit.stats();
    assert_eq!((stats.lines, stats.dropped), (1, 0));
    assert_eq!(stats.refused_lines + stats.refused_dropped, 100_000);
    let mut bytes = 0;
    let names = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap());
    for entry in names.filter(|entry| entry.file_name().to_string_lossy().contains("refused")) {
        bytes += entry.metadata().unwrap().len();
    }
    assert!(bytes <= 2 * SIZE_MIN_BYTES, "{bytes} bytes");
}
