//! Engine time under clocks that jump, stop, sleep, or are wrong.

use super::*;
use crate::testkit::clock::ManualClock;

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;
/// A plausible present: the tests' clocks are right from a day before it.
const NOW_MS: u64 = 1_769_860_800_000;

struct Bench {
    clock: Arc<ManualClock>,
    time: EngineTime,
    observer: Observer,
}

impl Bench {
    fn at(wall_ms: u64) -> Self {
        Self::with(wall_ms, 0, ClockRules::default())
    }

    fn with(wall_ms: u64, floor_ms: u64, rules: ClockRules) -> Self {
        let clock = ManualClock::at(UnixMillis(wall_ms)).right_from(UnixMillis(1_000));
        let clock = Arc::new(clock);
        let time = EngineTime::new(clock.clone(), UnixMillis(floor_ms), rules);
        Self { clock, time, observer: Observer::default() }
    }

    fn observe(&mut self) -> u64 {
        self.time.observe(&mut self.observer, false).0
    }

    fn now(&self) -> u64 {
        self.time.now().0
    }

    /// Lets time pass with an observation every tick, as the committer does.
    fn pass(&mut self, ms: u64) -> u64 {
        for _ in 0..ms / 50 {
            self.clock.advance(50);
            self.observe();
        }
        self.clock.advance(ms % 50);
        self.observe()
    }

    fn step(&self, ms: u64) {
        self.clock.jump_to(UnixMillis(self.clock.wall().0 + ms));
    }
}

#[test]
fn p3_time_never_runs_backwards_when_the_clock_jumps_back() {
    let mut bench = Bench::at(10_000);
    bench.clock.advance(500);
    assert_eq!(bench.observe(), 10_500);
    bench.clock.jump_to(UnixMillis(3_000));
    assert_eq!(bench.now(), 10_500);
    bench.clock.advance(250);
    assert_eq!(bench.observe(), 10_750, "continues at the pace of the forward clock");
    bench.clock.advance(250);
    assert_eq!(bench.now(), 11_000, "even between two observations");
}

#[test]
fn p3_the_wall_clock_leads_again_once_it_has_caught_up() {
    let mut bench = Bench::at(10_000);
    bench.clock.jump_to(UnixMillis(9_000));
    assert_eq!(bench.observe(), 10_000);
    assert_eq!(bench.time.skew(), Duration::from_secs(1));
    bench.clock.jump_to(UnixMillis(20_000));
    assert_eq!(bench.observe(), 20_000);
    assert_eq!(bench.time.skew(), Duration::ZERO);
}

/// Readers act on the wall clock between two observations. What they have acted on is a step like
/// any other.
#[test]
fn p3_steps_that_readers_have_acted_on_add_up_with_the_others() {
    let mut bench = Bench::at(NOW_MS);
    bench.step(8_000);
    let read = bench.time.now();
    assert_eq!(read.0, NOW_MS + 8_000, "within the largest step");
    bench.time.hold(read);
    bench.step(4_000);
    assert_eq!(bench.observe(), NOW_MS + 8_000, "12 s are more than the largest step");
    assert_eq!(bench.time.standing(), Standing::Held);
    assert_eq!(bench.now(), NOW_MS + 8_000);
}

/// Otherwise a reader before the next observation would answer "expired" too early, and raise the
/// floor.
#[test]
fn p3_time_does_not_run_ahead_when_the_clock_is_put_right() {
    let mut bench = Bench::at(10_000);
    bench.clock.jump_to(UnixMillis(5_000));
    assert_eq!(bench.observe(), 10_000);
    bench.clock.jump_to(UnixMillis(12_000));
    assert_eq!(bench.now(), 12_000);
    bench.clock.jump_to(UnixMillis(9_000));
    bench.clock.advance(7);
    assert_eq!(bench.now(), 10_007);
}

#[test]
fn p3_what_a_reader_held_is_not_counted_twice() {
    let mut bench = Bench::at(10_000);
    bench.clock.advance(5_000);
    bench.time.hold(bench.time.now());
    bench.clock.jump_to(UnixMillis(1_001));
    assert_eq!(bench.observe(), 15_000);
}

#[test]
fn p3_a_reader_that_saw_an_expiry_holds_the_time() {
    let bench = Bench::at(10_000);
    bench.clock.advance(77);
    let seen = bench.time.now();
    bench.time.hold(seen);
    bench.clock.jump_to(UnixMillis(1_001));
    assert!(bench.time.now() >= seen);
}

#[test]
fn p3_a_forward_step_is_held_and_then_followed_whole() {
    let mut bench = Bench::at(NOW_MS);
    bench.step(DAY_MS);
    assert_eq!(bench.now(), NOW_MS, "readers do not follow it either");
    assert_eq!((bench.observe(), bench.observer.standing), (NOW_MS, Standing::Held));
    assert_eq!(bench.time.lead(), Duration::from_millis(DAY_MS));
    assert_eq!(bench.pass(MINUTE_MS - 1), NOW_MS + MINUTE_MS - 1, "by the forward clock");
    bench.clock.advance(1);
    assert_eq!(bench.now(), NOW_MS + MINUTE_MS, "readers wait for the committer");
    let followed = NOW_MS + DAY_MS + MINUTE_MS;
    assert_eq!((bench.observe(), bench.now()), (followed, followed));
    assert_eq!((bench.observer.standing, bench.time.lead()), (Standing::Right, Duration::ZERO));
    assert_eq!(bench.pass(30), followed + 30);
}

#[test]
fn p3_a_forward_step_that_is_taken_back_ends_nothing() {
    let mut bench = Bench::at(NOW_MS);
    bench.step(DAY_MS);
    bench.observe();
    bench.pass(MINUTE_MS / 2);
    bench.clock.jump_to(UnixMillis(NOW_MS + MINUTE_MS / 2));
    assert_eq!(bench.observe(), NOW_MS + MINUTE_MS / 2);
    assert_eq!(bench.observer.standing, Standing::Right);
    // A later step starts a hold of its own, and so does another step within a hold.
    bench.step(DAY_MS);
    bench.observe();
    assert_eq!(bench.pass(MINUTE_MS - 50), NOW_MS + 3 * MINUTE_MS / 2 - 50);
    bench.step(DAY_MS);
    bench.observe();
    assert_eq!(bench.pass(MINUTE_MS - 50), NOW_MS + 5 * MINUTE_MS / 2 - 100);
    assert_eq!(bench.observer.standing, Standing::Held);
    bench.pass(50);
    assert_eq!(bench.observer.standing, Standing::Right);
}

#[test]
fn small_steps_and_sleep_are_followed_at_once() {
    let mut bench = Bench::at(NOW_MS);
    bench.step(10_000);
    assert_eq!((bench.now(), bench.observe()), (NOW_MS + 10_000, NOW_MS + 10_000));
    // The forward clock counts the time that a machine sleeps.
    bench.clock.sleep(3 * DAY_MS);
    assert_eq!(bench.now(), NOW_MS + 10_000 + 3 * DAY_MS, "even before the committer is awake");
    assert_eq!(bench.observe(), NOW_MS + 10_000 + 3 * DAY_MS);
    assert_eq!(bench.observer.standing, Standing::Right);
}

/// Otherwise a clock that gains ten seconds at every observation would be followed without limit.
#[test]
fn p3_many_small_steps_are_one_large_one() {
    let mut bench = Bench::at(NOW_MS);
    let mut passed_ms = 0;
    for _ in 0..20 {
        bench.step(9_000);
        bench.clock.advance(50);
        passed_ms += 50;
        bench.observe();
    }
    let gained_ms = bench.now() - NOW_MS - passed_ms;
    assert!(gained_ms <= 10_200, "{gained_ms}");
    assert_eq!(bench.observer.standing, Standing::Held);
}

#[test]
fn a_clock_that_is_slewed_fast_is_followed() {
    let mut bench = Bench::at(NOW_MS);
    // Ten percent too fast for ten minutes, the maximum slew of a time daemon.
    for _ in 0..10 * 60 * 10 {
        bench.clock.advance(100);
        bench.step(10);
        let now = bench.observe();
        assert_eq!((now, bench.observer.standing), (bench.clock.wall().0, Standing::Right));
    }
}

/// A committer that waits for a slow disk does not observe the clocks, but readers read them
/// themselves.
#[test]
fn readers_follow_the_clock_while_nobody_observes() {
    let bench = Bench::at(NOW_MS);
    bench.clock.advance(MINUTE_MS);
    assert_eq!(bench.now(), NOW_MS + MINUTE_MS);
    bench.step(DAY_MS);
    assert_eq!(bench.now(), NOW_MS + MINUTE_MS);
}

#[test]
fn p3_a_step_beyond_every_life_needs_a_synchronised_clock_or_an_operator() {
    let mut bench = Bench::at(NOW_MS);
    bench.step(31 * DAY_MS);
    bench.observe();
    assert_eq!(bench.pass(10 * MINUTE_MS), NOW_MS + 10 * MINUTE_MS);
    assert_eq!(bench.observer.standing, Standing::Held);
    bench.clock.set_synchronised(true);
    assert_eq!(bench.observe(), NOW_MS + 31 * DAY_MS + 10 * MINUTE_MS);

    let rules = ClockRules { believes_wall: true, ..ClockRules::default() };
    let mut bench = Bench::with(NOW_MS, NOW_MS, rules);
    bench.step(31 * DAY_MS);
    assert_eq!(bench.observe(), NOW_MS + 31 * DAY_MS);
}

#[test]
fn where_nothing_is_held_each_possible_step_is_followed_at_once() {
    let mut bench = Bench::at(NOW_MS);
    bench.step(300 * DAY_MS);
    assert_eq!(bench.time.observe(&mut bench.observer, true).0, NOW_MS + 300 * DAY_MS);
    assert_eq!(bench.now(), NOW_MS + 300 * DAY_MS);
}

#[test]
fn p3_a_clock_that_cannot_be_right_is_never_believed() {
    let latest = ClockRules::default().latest().0;
    for wrong in [0, 999, latest + 1, UnixMillis::MAX.0 + 5, u64::MAX] {
        for is_empty in [false, true] {
            // At a first start, at a start with a log, and while running.
            let mut fresh = Bench::with(wrong, 0, ClockRules::default());
            assert_eq!(fresh.time.observe(&mut fresh.observer, is_empty).0, 0, "{wrong}");
            assert_eq!(fresh.observer.standing, Standing::Impossible);
            fresh.clock.jump_to(UnixMillis(NOW_MS));
            assert_eq!(fresh.time.observe(&mut fresh.observer, true).0, NOW_MS);
            assert_eq!(fresh.time.standing(), Standing::Right);

            let mut bench = Bench::with(wrong, NOW_MS, ClockRules::default());
            assert_eq!(bench.now(), NOW_MS);
            bench.clock.jump_to(UnixMillis(NOW_MS));
            bench.observe();
            bench.clock.jump_to(UnixMillis(wrong));
            bench.clock.advance(20);
            bench.clock.jump_to(UnixMillis(wrong));
            assert_eq!(bench.now(), NOW_MS + 20, "continues by the forward clock, {wrong}");
            assert_eq!(bench.time.observe(&mut bench.observer, is_empty).0, NOW_MS + 20);
            assert!(!bench.time.standing().allows_changes());
        }
    }
}

/// The log may be older than the program: a clock near the log's time may be before the build date.
#[test]
fn p3_a_clock_before_the_build_is_not_believed_because_the_log_is_near() {
    let mut bench = Bench::with(700, 500, ClockRules::default());
    assert_eq!((bench.now(), bench.observe()), (500, 500));
    bench.step(5);
    assert_eq!(bench.now(), 500);
    assert_eq!(bench.observer.standing, Standing::Impossible);
}

#[test]
fn a_start_believes_the_clock_unless_it_is_ten_years_ahead() {
    let start = |wall_ms, rules| Bench::with(wall_ms, NOW_MS, rules).now();
    let (year, far) = (NOW_MS + 365 * DAY_MS, NOW_MS + 3_651 * DAY_MS);
    assert_eq!(start(year, ClockRules::default()), year);
    assert_eq!(start(far, ClockRules::default()), NOW_MS);
    assert_eq!(start(far, ClockRules { believes_wall: true, ..ClockRules::default() }), far);
    assert_eq!(start(NOW_MS - DAY_MS, ClockRules::default()), NOW_MS, "the log's time");
}

#[test]
fn a_log_whose_time_is_past_the_end_says_so() {
    let past = ClockRules::default().latest().0 + 1;
    let mut bench = Bench::with(NOW_MS, past, ClockRules::default());
    assert_eq!((bench.observe(), bench.observer.standing), (past, Standing::PastEnd));
    assert!(!bench.time.standing().allows_changes());
}
