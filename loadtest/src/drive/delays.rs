//! Delays that a thread of the harness causes itself, so that the server is not blamed for them: pauses
//! of the loop (a stopped process, a machine that stands still, work of its own), and time in which
//! the thread could have run and no CPU was free.
//!
//! No moment of a turn goes unseen. A turn sleeps until something comes or is due, and then works
//! until it sleeps again. The end of each sleep is compared with the end that was asked for
//! ([`Delays::slept`]), and all work since then counts as one piece ([`Delays::worked`]), wherever in
//! the loop it was done. What can hide is a pause within a sleep: up to [`HEARTBEAT_NS`] of it, and
//! nothing of it where the process was stopped, because that ends the sleep.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// A sleep of the loop is never longer, so that a pause shows.
pub(super) const HEARTBEAT_NS: u64 = 10_000_000;
/// A pause this long is counted.
const STALL_NS: u64 = 5_000_000;
/// Share of the time between two looks above which the wait for a CPU counts as a disturbance.
const WAITED_SHARE: f64 = 0.25;

/// Observes the thread that made it.
#[derive(Debug, Default)]
pub(super) struct Delays {
    /// `/proc/thread-self/schedstat`; none where the kernel has none.
    schedstat: Option<File>,
    /// How long the thread had run and waited at the last look.
    before: Scheduled,
    /// Since then the loop works: from the end of its last sleep, or of its last pause.
    working_since_ns: u64,
    /// The longest pause since the last look.
    longest_ns: u64,
    /// Up to here the loop's own time was added up.
    added_ns: u64,
    /// Time since the last look in which the loop did not sleep, or slept too long.
    awake_ns: u64,
    /// Until here requests queue behind those of the last pause.
    recovering_until_ns: u64,
    looked_ns: u64,
}

/// What the kernel says of a thread since it began.
#[derive(Clone, Copy, Debug, Default)]
struct Scheduled {
    /// Nanoseconds on a CPU.
    ran_ns: u64,
    /// Nanoseconds in which it was ready and had none.
    waited_ns: u64,
}

/// What was found between two looks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Found {
    /// The last look.
    pub(super) from_ns: u64,
    /// This one.
    pub(super) to_ns: u64,
    /// The longest pause.
    pub(super) longest_ns: u64,
    /// Without a CPU.
    pub(super) waited_ns: u64,
    /// Time in which the thread did not wait for something to come or become due: what it cannot have
    /// let the server wait for is the rest.
    pub(super) own_ns: u64,
    /// Whether latencies of this time are not the server's alone.
    pub(super) is_disturbed: bool,
}

impl Delays {
    /// Of this thread, which was to begin at `from_ns`.
    pub(super) fn of_this_thread(from_ns: u64) -> Self {
        let schedstat = File::open("/proc/thread-self/schedstat").ok();
        let since = Self { working_since_ns: from_ns, added_ns: from_ns, ..Self::default() };
        let begun = Self { looked_ns: from_ns, ..since };
        let mut delays = Self { schedstat, ..begun };
        delays.before = delays.scheduled();
        delays
    }

    /// The loop worked until `now_ns`. Returns how long that was where it was a pause, else 0.
    pub(super) fn worked(&mut self, now_ns: u64) -> u64 {
        self.awake_ns += now_ns.saturating_sub(self.added_ns);
        self.added_ns = now_ns;
        self.note(self.working_since_ns, now_ns)
    }

    /// The loop was to sleep until `until_ns` at the latest, and slept until `now_ns`. Returns how
    /// long the pause was that kept it from waking, or 0.
    pub(super) fn slept(&mut self, until_ns: u64, now_ns: u64) -> u64 {
        let pause_ns = self.note(until_ns, now_ns);
        self.awake_ns += now_ns.saturating_sub(until_ns);
        (self.working_since_ns, self.added_ns) = (now_ns, now_ns);
        pause_ns
    }

    fn note(&mut self, from_ns: u64, to_ns: u64) -> u64 {
        let pause_ns = to_ns.saturating_sub(from_ns);
        if pause_ns < STALL_NS {
            return 0;
        }
        self.working_since_ns = to_ns;
        self.longest_ns = self.longest_ns.max(pause_ns);
        // What became due meanwhile is sent at once, and the server needs time for it too.
        self.recovering_until_ns = self.recovering_until_ns.max(to_ns + pause_ns);
        pause_ns
    }

    /// What happened since the last look.
    pub(super) fn look(&mut self, now_ns: u64) -> Found {
        let scheduled = self.scheduled();
        let waited_since_ns = scheduled.waited_ns.saturating_sub(self.before.waited_ns);
        let ran_since_ns = scheduled.ran_ns.saturating_sub(self.before.ran_ns);
        let span_ns = now_ns.saturating_sub(self.looked_ns);
        let is_starved = waited_since_ns as f64 > span_ns as f64 * WAITED_SHARE;
        let found = Found {
            from_ns: self.looked_ns,
            to_ns: now_ns,
            longest_ns: self.longest_ns,
            waited_ns: waited_since_ns,
            // The kernel counts no time in which the process was stopped, and the loop none in which
            // it could not wake before the end of its sleep.
            own_ns: self.awake_ns.max(ran_since_ns + waited_since_ns),
            is_disturbed: is_starved
                || self.longest_ns > 0
                || self.looked_ns < self.recovering_until_ns,
        };
        self.before = scheduled;
        self.looked_ns = now_ns;
        (self.longest_ns, self.awake_ns) = (0, 0);
        found
    }

    /// The first two numbers of the file; zeros where there is none.
    fn scheduled(&mut self) -> Scheduled {
        let mut text = String::new();
        let mut read = || {
            let file = self.schedstat.as_mut()?;
            file.seek(SeekFrom::Start(0)).ok()?;
            file.read_to_string(&mut text).ok()?;
            let mut numbers = text.split_whitespace().map_while(|number| number.parse().ok());
            Some(Scheduled { ran_ns: numbers.next()?, waited_ns: numbers.next()? })
        };
        read().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_pause_disturbs_until_what_it_held_up_is_through() {
        let mut delays = Delays::default();
        assert_eq!(delays.slept(20 * MS, 23 * MS), 0);
        assert!(!delays.look(100 * MS).is_disturbed, "3 ms are nothing");
        assert_eq!(delays.slept(120 * MS, 370 * MS), 250 * MS);
        let found = delays.look(400 * MS);
        assert_eq!((found.is_disturbed, found.longest_ns), (true, 250 * MS));
        let after: Vec<bool> =
            [500, 600, 700, 800].map(|at| delays.look(at * MS).is_disturbed).into();
        // The pause ended at 370 ms, and 250 ms more are needed for what it held up.
        assert_eq!(after, [true, true, true, false]);
    }

    #[test]
    fn work_between_two_sleeps_is_one_piece_wherever_it_is_looked_at() {
        let mut delays = Delays { schedstat: None, ..Delays::of_this_thread(10 * MS) };
        assert_eq!(delays.slept(20 * MS, 21 * MS), 0);
        assert_eq!(delays.worked(24 * MS), 0, "3 ms until now");
        assert_eq!(delays.worked(27 * MS), 6 * MS, "all since the sleep");
        assert_eq!(delays.worked(30 * MS), 0, "no moment counts twice");
        assert_eq!(delays.slept(31 * MS, 31 * MS), 0);
        assert_eq!(delays.worked(35 * MS), 0, "a new turn");
        let found = delays.look(40 * MS);
        assert_eq!(found.longest_ns, 6 * MS);
        // The first sleep was 1 ms too long; it worked from 21 to 30 ms and from 31 to 35 ms.
        assert_eq!(found.own_ns, (1 + 9 + 4) * MS);
        assert_eq!(delays.look(50 * MS).own_ns, 0, "no moment counts twice");
    }

    #[test]
    fn a_thread_that_begins_late_begins_with_a_pause() {
        let mut delays = Delays::of_this_thread(100 * MS);
        assert_eq!(delays.worked(400 * MS), 300 * MS);
        let found = delays.look(410 * MS);
        assert_eq!((found.from_ns, found.longest_ns), (100 * MS, 300 * MS));
    }

    #[test]
    fn this_thread_can_be_looked_at() {
        let mut delays = Delays::of_this_thread(5);
        assert!(delays.schedstat.is_some(), "Linux counts it");
        let found = delays.look(100 * MS);
        assert_eq!((found.from_ns, found.to_ns), (5, 100 * MS));
    }
}
