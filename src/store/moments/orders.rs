//! Every interleaving of a reader with changes that are made together, under `loom`. The command is in
//! tests/README.md.
//!
//! Two numbers stand for two entries. They are read as the tables are, where a look-up that finds a
//! change acquires what was written before it.

use std::sync::Arc;

use loom::thread;

use super::*;

/// Maximum switches of threads that nobody asked for, in a model of several changes.
const SWITCHES_MAX: usize = 3;

/// Two entries and the moments at which they change.
#[derive(Default)]
struct Pair {
    moments: Moments,
    entries: [AtomicU64; 2],
}

impl Pair {
    /// Sets both entries to `value`.
    fn set(&self, value: u64) {
        let _together = self.moments.change_together();
        self.entries.iter().for_each(|entry| entry.store(value, Ordering::Relaxed));
    }

    fn get(&self, place: usize) -> u64 {
        self.entries[place].load(Ordering::Acquire)
    }
}

/// A reader beside a thread that changes both entries `times` times. Of several changes only the orders
/// with few switches of threads are tried: there are too many of all.
fn beside(times: u64, read: impl Fn(&Pair) + Send + Sync + 'static) {
    let read = Arc::new(read);
    let mut model = loom::model::Builder::new();
    model.preemption_bound = (times > 1).then_some(SWITCHES_MAX);
    model.check(move || {
        let pair = Arc::new(Pair::default());
        let changes = {
            let pair = pair.clone();
            thread::spawn(move || (1..=times).for_each(|value| pair.set(value)))
        };
        read(&pair);
        changes.join().unwrap();
        assert_eq!(pair.moments.settled(), 2 * times);
        assert_eq!([pair.get(0), pair.get(1)], [times; 2]);
    });
}

/// What is looked up together is of one moment, also for a reader that waits for one change and then
/// makes the next one wait.
#[test]
fn p4_no_order_shows_half_of_what_is_changed_together() {
    for times in [1, 2] {
        beside(times, |pair| {
            let mut found = [0; 2];
            pair.moments.read_one(|| {
                let [first, second] = &pair.entries;
                found = [first.load(Ordering::Relaxed), second.load(Ordering::Relaxed)];
            });
            assert_eq!(found[0], found[1]);
        });
    }
}

/// Who has found one of the changes finds the others too, whichever entry it reads first.
#[test]
fn p4_no_order_shows_a_change_and_then_the_other_undone() {
    for (first, second) in [(0, 1), (1, 0)] {
        beside(1, move |pair| {
            let read = |place| {
                pair.moments.settled();
                pair.get(place)
            };
            let (found, then) = (read(first), read(second));
            assert!(then >= found, "{found} and then {then}");
        });
    }
}
