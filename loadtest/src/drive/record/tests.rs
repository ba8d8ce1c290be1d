//! What counts as measured, and what a disturbed harness sets apart.

use super::*;

const MS: u64 = 1_000_000;

fn record() -> Record {
    Record::new(Window { from_ns: 1_000 * MS, to_ns: 2_000 * MS })
}

fn slices(record: &Record) -> u64 {
    record.slices.iter().map(|slice| slice.requests).sum()
}

#[test]
fn latencies_go_by_when_a_request_was_due_and_slices_by_when_it_was_answered() {
    // Due and answered, in ms; whether its latency counts; whether a slice holds it.
    let cases = [
        (900, 950, false, false),
        (900, 1_100, false, true),
        (1_000, 1_000, true, true),
        (1_500, 1_600, true, true),
        (1_999, 2_000, true, false),
        (2_000, 2_001, false, false),
    ];
    for (due, answered, latency, slice) in cases {
        let mut record = record();
        record.answer(Operation::Batch, 100, due * MS, answered * MS, 0);
        assert_eq!(record.requests == 1, latency, "{due} {answered}");
        assert_eq!(record.tokens, 100 * record.requests);
        assert_eq!(record.all_latencies().len(), record.requests);
        assert_eq!(slices(&record) == 1, slice, "{due} {answered}");
    }
}

#[test]
fn what_happens_before_and_after_the_window_is_not_of_it() {
    let mut record = record();
    for (at_ms, inside) in [(999, 0), (1_000, 1), (1_999, 2), (2_000, 2)] {
        record.sent(Moved { wire: 10, plain: 7 }, at_ms * MS);
        record.received(Moved { wire: 20, plain: 9 }, at_ms * MS);
        record.reconnected(0, at_ms * MS);
        let counted = (record.bytes_sent, record.bytes_received, record.reconnects);
        assert_eq!(counted, (10 * inside, 20 * inside, inside), "at {at_ms} ms");
        let plain = (record.connects.plain_sent, record.connects.plain_received);
        assert_eq!(plain, (7 * inside, 9 * inside), "at {at_ms} ms");
    }
}

#[test]
fn what_came_while_the_harness_was_disturbed_is_told_apart() {
    let mut record = record();
    let look = |from_ms: u64, to_ms: u64, is_disturbed| Found {
        from_ns: from_ms * MS,
        to_ns: to_ms * MS,
        longest_ns: 7,
        waited_ns: 3,
        own_ns: 4,
        is_disturbed,
    };
    record.answer(Operation::Resolve, 1, 1_100 * MS, 1_101 * MS, 0);
    record.settle(look(1_000, 1_150, false));
    record.answer(Operation::Resolve, 1, 1_200 * MS, 1_700 * MS, 0);
    record.settle(look(1_150, 1_720, true));
    record.answer(Operation::Resolve, 1, 1_730 * MS, 1_731 * MS, 0);
    record.settle(look(1_720, 1_900, false));
    assert_eq!((record.all_latencies().len(), record.clean_latencies().len()), (3, 2));
    assert!(record.clean_latencies().max() < 2 * MS);
    let marked: Vec<u64> = record.slices.iter().map(|slice| slice.disturbed_ns / MS).collect();
    assert_eq!(marked, [0, 50, 100, 100, 100, 100, 100, 20, 0, 0]);
    record.settle(look(2_000, 2_100, true));
    assert_eq!(record.own_ns, 3 * 4, "what it was busy with in the window");
}

#[test]
fn a_pause_after_the_end_is_named_where_answers_of_the_window_come_late_by_it() {
    let mut record = record();
    let found = Found {
        from_ns: 2_010 * MS,
        to_ns: 2_600 * MS,
        longest_ns: 500 * MS,
        waited_ns: 0,
        own_ns: 0,
        is_disturbed: true,
    };
    record.settle(found);
    assert_eq!(record.stall_max_ns, 0, "nothing was measured then");
    record.answer(Operation::Resolve, 1, 1_990 * MS, 2_550 * MS, 0);
    record.settle(found);
    assert_eq!((record.stall_max_ns, record.disturbed_ns.len()), (500 * MS, 1));
}

#[test]
fn a_queue_is_told_from_a_late_harness() {
    // Due, free from, sent, in ms; how late, and what it counts as.
    for (due, free, sent, late_ms, queued, delayed) in [
        (1_100, 1_000, 1_130, 30, 0, 0),
        (1_100, 1_120, 1_130, 10, 0, 0),
        (1_900, 2_100, 2_110, 10, 1, 0),
        (1_900, 1_800, 2_110, 210, 0, 1),
        (2_000, 1_800, 2_110, 0, 0, 0),
    ] {
        let mut record = record();
        record.open_loop(due * MS, free * MS, sent * MS);
        let late = record.late_ns.max() as f64 / MS as f64;
        assert!((late - f64::from(late_ms)).abs() < 3.0, "{late} {late_ms}");
        assert_eq!((record.queued, record.delayed), (queued, delayed), "{due} {free} {sent}");
    }
}

#[test]
fn threads_add_up() {
    let (mut one, mut other) = (record(), record());
    one.answer(Operation::Issue, 1, 1_100 * MS, 1_101 * MS, 0);
    other.answer(Operation::Issue, 1, 1_100 * MS, 1_150 * MS, 0);
    other.answer(Operation::Miss, 1, 1_900 * MS, 1_901 * MS, 0);
    other.bytes_sent = 7;
    one.merge(&other);
    assert_eq!((one.requests, one.tokens, slices(&one), one.bytes_sent), (3, 3, 3, 7));
    let operations = one.latency_ns.iter().flatten().map(Histogram::len).collect::<Vec<_>>();
    assert_eq!(operations, [2, 1]);
}
