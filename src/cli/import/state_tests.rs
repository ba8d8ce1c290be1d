//! Tests of the state file.

use super::super::counts::Kind;
use super::*;

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> std::path::PathBuf {
        self.0.path().join("state")
    }

    fn open(&self) -> State {
        State::open(&self.file(), b"scope").unwrap()
    }
}

#[test]
fn p2_a_key_that_was_about_to_be_put_is_known_after_a_kill() {
    let place = Place::new();
    let mut state = place.open();
    let (name, other) = (state.name(b"cart:7"), state.name(b"cart:8"));
    let (key, value) = (state.key(b"cart:7"), state.value(b"{}"));
    state.intend(&name, key, value);
    state.intend(&other, key, value);
    state.sync().unwrap();
    state.settle(&name);
    state.withdraw(&other);
    state.sync().unwrap();
    state.intend(&other, key, value);
    // Not written: the process is killed here.
    drop(state);
    let state = place.open();
    let record = Record { is_settled: true, ..Record::new(key, value) };
    assert_eq!((state.record(&name), state.record(&other)), (Some(record), None));
    assert_eq!((state.name(b"cart:7"), state.len()), (name, 1), "the same digests as before");
}

#[test]
fn p2_a_value_that_was_about_to_replace_another_is_known_after_a_kill_and_so_is_the_other() {
    let place = Place::new();
    let mut state = place.open();
    let (name, [before, after]) = (state.name(b"cart:7"), [[1; 8], [2; 8]]);
    state.intend(&name, [7; 4], before);
    state.settle(&name);
    state.intend_instead(&name, before, after);
    state.sync().unwrap();
    drop(state);
    let mut state = place.open();
    let record = Record { before: Some(before), ..Record::new([7; 4], after) };
    assert_eq!(state.record(&name), Some(record));
    state.settle(&name);
    let record = Record { is_settled: true, ..Record::new([7; 4], after) };
    assert_eq!(state.record(&name), Some(record));
}

#[test]
fn a_cursor_is_of_one_start_of_a_server_with_its_slots_of_one_pattern_and_of_one_pass() {
    let place = Place::new();
    let mut counts = Counts::default();
    counts.add(Kind::TooBig);
    let progress = Progress { cursor: u64::MAX, is_over: false, counts };
    let mut state = place.open();
    let slots = BTreeSet::from([0, 1]);
    let scan = state.scan("a", &slots, Some("cart:*"));
    state.advance(&scan, progress).unwrap();
    drop(state);
    let mut state = place.open();
    assert_eq!(state.scan("a", &slots, Some("cart:*")), scan, "the same digest as before");
    assert_eq!(state.progress(&scan), progress);
    let one = BTreeSet::from([0]);
    for (run_id, slots, pattern) in [
        ("b", &slots, Some("cart:*")),
        ("a", &one, Some("cart:*")),
        ("a", &slots, Some("session:*")),
        ("a", &slots, None),
    ] {
        let other = state.scan(run_id, slots, pattern);
        assert_eq!(state.progress(&other), Progress::default(), "{run_id} {slots:?} {pattern:?}");
    }
    assert_eq!(state.progress(&scan).counts.of(Kind::TooBig), 1);
    state.end_pass().unwrap();
    drop(state);
    assert_eq!(place.open().progress(&scan), Progress::default());
}

#[test]
fn p4_a_torn_end_is_cut_and_what_was_before_stays() {
    let place = Place::new();
    let mut state = place.open();
    let (first, second) = (state.name(b"1"), state.name(b"2"));
    state.intend(&first, [1; 4], [1; 8]);
    state.sync().unwrap();
    state.intend(&second, [2; 4], [2; 8]);
    state.sync().unwrap();
    drop(state);
    let whole = std::fs::read(place.file()).unwrap();
    let frame_len = (whole.len() - HEAD_LEN) / 2;
    for cut in 1..frame_len {
        std::fs::write(place.file(), &whole[..whole.len() - cut]).unwrap();
        let mut state = place.open();
        assert_eq!((state.len(), state.record(&second)), (1, None), "{cut}");
        state.intend(&second, [2; 4], [2; 8]);
        state.sync().unwrap();
        drop(state);
        assert_eq!(std::fs::read(place.file()).unwrap(), whole, "{cut}");
    }
}

#[test]
fn p9_the_file_holds_no_key_and_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let mut state = place.open();
    let name = state.name(b"cart:7");
    let (key, value) = (state.key(b"cart:7"), state.value(b"the value"));
    state.intend(&name, key, value);
    let scan = state.scan("run-of-the-server", &BTreeSet::new(), Some("cart:*"));
    state.advance(&scan, Progress::default()).unwrap();
    let bytes = std::fs::read(place.file()).unwrap();
    for text in [&b"cart:"[..], b"the value", b"run-of"] {
        assert!(!bytes.windows(text.len()).any(|part| part == text));
    }
    let mode = std::fs::metadata(place.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn another_file_another_scope_and_another_user_are_refused() {
    let place = Place::new();
    let state = place.open();
    let again = || State::open(&place.file(), b"scope").err().unwrap();
    assert!(matches!(again(), StateError::Locked));
    drop(state);
    let other = State::open(&place.file(), b"other").err().unwrap();
    assert!(matches!(other, StateError::Scope));
    for foreign in [&b"hello"[..], &[0; 200]] {
        std::fs::write(place.file(), foreign).unwrap();
        assert!(matches!(again(), StateError::Foreign));
        assert_eq!(std::fs::read(place.file()).unwrap(), foreign, "it is left as it was");
    }
}
