//! The wheel compared with a sorted map, and the cost of its turns.

use super::review::{NAMED_PER_STALE, STALE_MIN};
use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};

/// Advances to `now` and returns the names that were freed, given their deadlines.
fn fire(wheel: &mut Wheel, now: u64, deadlines: &mut BTreeMap<u64, u64>) -> Vec<u64> {
    let mut freed = Vec::new();
    let behind = wheel.advance(UnixMillis(now), usize::MAX, |names, verdicts| {
        for name in names {
            verdicts.push(match deadlines.get(&name.0) {
                Some(deadline) if *deadline > now => Verdict::Again(UnixMillis(*deadline)),
                Some(_) => {
                    deadlines.remove(&name.0);
                    freed.push(name.0);
                    Verdict::Done
                }
                None => Verdict::Done,
            });
        }
    });
    assert!(!behind);
    freed
}

proptest! {
    /// Compared with a sorted map: never early, and never later than two ticks.
    #[test]
    fn frees_on_time(
        start in 0..1u64 << 42,
        steps in prop::collection::vec(
            (prop_oneof![0..100u64, 0..100_000u64, 0..100_000_000u64],
             prop::collection::vec(
                prop_oneof![0..200u64, 0..10_000u64, 0..10_000_000u64, 0..1u64 << 38], 0..8)),
            1..40),
    ) {
        let mut wheel = Wheel::new(UnixMillis(start));
        let mut deadlines = BTreeMap::new();
        let (mut now, mut name) = (start, 0);
        for (elapsed, ttls) in steps {
            for ttl in ttls {
                name += 1;
                let deadline = (now + ttl).min(UnixMillis::MAX.0);
                deadlines.insert(name, deadline);
                wheel.schedule(Prefix(name), UnixMillis(deadline));
            }
            now += elapsed;
            let before = deadlines.clone();
            for freed in fire(&mut wheel, now, &mut deadlines) {
                prop_assert!(before[&freed] <= now, "freed early");
            }
            for (name, deadline) in &deadlines {
                prop_assert!(deadline + 2 * TICK_MS > now, "{name} is late");
            }
            prop_assert_eq!(wheel.len(), deadlines.len());
        }
    }
}

proptest! {
    /// With a budget: never early, and when no work is left over, no timer is late. Moving timers
    /// takes at most one turn per level, so the number of turns is bounded too.
    #[test]
    fn p8_with_a_budget_it_is_never_early_and_catches_up(
        ttls in prop::collection::vec(
            prop_oneof![0..200u64, 0..10_000u64, 0..10_000_000u64], 1..500),
        steps in prop::collection::vec(
            prop_oneof![1..100u64, 0..100_000u64, 0..10_000_000u64], 1..20),
        budget in 1..200usize,
    ) {
        let mut wheel = Wheel::new(UnixMillis(0));
        let mut deadlines: BTreeMap<u64, u64> = (0..).zip(ttls).collect();
        for (name, deadline) in &deadlines {
            wheel.schedule(Prefix(*name), UnixMillis(*deadline));
        }
        let (mut now, all, mut turns) = (0, deadlines.len(), 0);
        for elapsed in steps {
            now += elapsed;
            let mut behind = true;
            while behind {
                turns += 1;
                behind = wheel.advance(UnixMillis(now), budget, |names, verdicts| {
                    for name in names {
                        let deadline = deadlines[&name.0];
                        verdicts.push(if deadline > now {
                            Verdict::Again(UnixMillis(deadline))
                        } else {
                            deadlines.remove(&name.0);
                            Verdict::Done
                        });
                    }
                });
            }
            for (name, deadline) in &deadlines {
                prop_assert!(deadline + 2 * TICK_MS > now, "{name} is late");
            }
        }
        let turns_max = 20 + LEVELS * all.div_ceil(budget.next_multiple_of(TURN_LEN));
        prop_assert!(turns <= turns_max, "{turns} turns of {budget} for {all} timers");
        prop_assert_eq!(wheel.len(), deadlines.len());
    }
}

/// As after a start, when the log contains entries that have expired meanwhile.
#[test]
fn p8_a_deadline_in_the_past_is_due_at_the_next_turn() {
    let mut wheel = Wheel::new(UnixMillis(1_000_000));
    let mut deadlines = BTreeMap::from([(1, 0), (2, 999_900)]);
    for (name, deadline) in deadlines.clone() {
        wheel.schedule(Prefix(name), UnixMillis(deadline));
    }
    let mut freed = fire(&mut wheel, 1_000_000, &mut deadlines);
    freed.sort_unstable();
    assert_eq!(freed, [1, 2]);
    assert!(wheel.is_empty());
}

#[test]
fn an_extended_deadline_is_asked_for_again() {
    let mut wheel = Wheel::new(UnixMillis(0));
    let mut deadlines = BTreeMap::from([(1, 1_000)]);
    wheel.schedule(Prefix(1), UnixMillis(1_000));
    deadlines.insert(1, 500_000);
    assert!(fire(&mut wheel, 2_000, &mut deadlines).is_empty());
    assert_eq!(wheel.len(), 1);
    assert_eq!(fire(&mut wheel, 500_128, &mut deadlines), [1]);
    assert!(wheel.is_empty());
}

#[test]
fn p8_work_per_turn_is_bounded() {
    let mut wheel = Wheel::new(UnixMillis(0));
    for name in 0..10_000 {
        wheel.schedule(Prefix(name), UnixMillis(1_000));
    }
    let (mut turns, mut behind) = (0, true);
    while behind {
        let mut asked = 0;
        behind = wheel.advance(UnixMillis(5_000), 1_000, |names, verdicts| {
            asked += names.len();
            verdicts.extend(names.iter().map(|_| Verdict::Done));
        });
        assert!(asked < 1_000 + TURN_LEN);
        turns += 1;
    }
    assert!(wheel.is_empty() && turns >= 10);
}

/// Runs the wheel with one turn per tick until all of `deadlines` are freed or `until` is reached.
/// Returns the maximum delay of a timer after its deadline, in milliseconds.
fn turn_by_turn(
    wheel: &mut Wheel,
    mut now: u64,
    until: u64,
    budget: usize,
    deadlines: &mut HashMap<u64, u64>,
) -> u64 {
    let mut lag_max = 0;
    while now < until && !deadlines.is_empty() {
        now += TICK_MS;
        let mut asked = 0;
        wheel.advance(UnixMillis(now), budget, |names, verdicts| {
            asked += names.len();
            verdicts.extend(names.iter().map(|name| match deadlines.get(&name.0) {
                Some(deadline) if *deadline > now => Verdict::Again(UnixMillis(*deadline)),
                Some(deadline) => {
                    lag_max = lag_max.max(now - deadline);
                    deadlines.remove(&name.0);
                    Verdict::Done
                }
                None => Verdict::Done,
            }));
        });
        assert!(asked < budget + TURN_LEN, "{asked} in one turn");
    }
    lag_max
}

/// A slot of 65 seconds and one of 70 minutes, each with far more timers than a turn may process.
#[test]
fn p8_a_coarse_slot_is_emptied_in_slices_before_it_begins() {
    for (ahead, spread) in [(140_000, 60_000), (9_000_000, 4_000_000)] {
        let mut wheel = Wheel::new(UnixMillis(0));
        let mut deadlines = HashMap::new();
        for name in 0..100_000 {
            let deadline = ahead + name * spread / 100_000;
            deadlines.insert(name, deadline);
            wheel.schedule(Prefix(name), UnixMillis(deadline));
        }
        let until = ahead + 2 * spread;
        let lag = turn_by_turn(&mut wheel, 0, until, 192, &mut deadlines);
        assert!(deadlines.is_empty() && wheel.is_empty(), "{} left", deadlines.len());
        assert!(lag <= 2 * TICK_MS, "freed {lag} ms late");
    }
}

/// The clock jumps into the middle of a slot with far more timers than a turn may process.
#[test]
fn p8_what_is_due_comes_before_what_must_be_moved() {
    let mut wheel = Wheel::new(UnixMillis(0));
    for name in 0..100_000 {
        wheel.schedule(Prefix(name), UnixMillis(190_000));
    }
    wheel.schedule(Prefix(u64::MAX), UnixMillis(1_000));
    let mut first = Vec::new();
    let behind = wheel.advance(UnixMillis(150_000), 1, |names, verdicts| {
        first.extend_from_slice(names);
        verdicts.extend(names.iter().map(|_| Verdict::Done));
    });
    assert!(behind);
    assert_eq!(first, [Prefix(u64::MAX)]);
}

/// The work of a turn depends on the elapsed time, not on the number of timers.
#[test]
fn p8_a_slot_is_moved_evenly() {
    let mut wheel = Wheel::new(UnixMillis(0));
    for name in 0..300_000 {
        wheel.schedule(Prefix(name), UnixMillis(140_000 + name % 50_000));
    }
    let mut most = 0;
    for now in (0..131_000).step_by(TICK_MS as usize) {
        let mut asked = 0;
        let behind = wheel.advance(UnixMillis(now), usize::MAX, |names, verdicts| {
            asked += names.len();
            let deadline = |name: &Prefix| UnixMillis(140_000 + name.0 % 50_000);
            verdicts.extend(names.iter().map(|name| Verdict::Again(deadline(name))));
        });
        assert!(!behind);
        most = most.max(asked);
    }
    // 300,000 in three quarters of 4,096 ticks.
    assert!((98..98 + TURN_LEN).contains(&most), "{most} in one turn");
    assert_eq!(wheel.len(), 300_000);
}

/// Calls `review` and `advance` once per tick, as the engine does.
fn reviewed(wheel: &mut Wheel, now: u64, deadlines: &HashMap<u64, u64>) -> usize {
    let mut asked = 0;
    wheel.review(deadlines.len() as u64);
    wheel.advance(UnixMillis(now), 2_048, |names, verdicts| {
        asked += names.len();
        verdicts.extend(names.iter().map(|name| match deadlines.get(&name.0) {
            Some(deadline) => Verdict::Again(UnixMillis(*deadline)),
            None => Verdict::Done,
        }));
    });
    asked
}

#[test]
fn p8_timers_that_name_nothing_stay_few() {
    const LIVING: u64 = 40_000;
    let mut wheel = Wheel::new(UnixMillis(0));
    let mut deadlines = HashMap::new();
    let deadline = |name: u64| 90_000_000 + name % 86_400_000;
    for name in 0..LIVING {
        deadlines.insert(name, deadline(name * 1_009));
        wheel.schedule(Prefix(name), UnixMillis(deadline(name * 1_009)));
    }
    // 200 a tick are issued, and revoked at once.
    let (mut asked, mut now, mut removed) = (0, 0, 0);
    while removed < 400_000 {
        now += TICK_MS;
        for name in 0..200 {
            wheel.schedule(Prefix(1 << 32 | name), UnixMillis(deadline(removed * 7 + name)));
        }
        removed += 200;
        asked += reviewed(&mut wheel, now, &deadlines);
        let stale = wheel.len() - LIVING as usize;
        // The threshold of a review, plus the stale timers that appear while it runs.
        let allowed = LIVING as usize / NAMED_PER_STALE + STALE_MIN;
        assert!(stale < 2 * allowed, "{stale} of {removed} are left, {allowed} allowed");
    }
    assert!(asked as u64 <= 6 * removed, "{asked} asked about for {removed}");
    // No new timers appear: those that the running review had not reached are removed within a
    // minute.
    for _ in 0..60_000 / TICK_MS {
        now += TICK_MS;
        reviewed(&mut wheel, now, &deadlines);
    }
    let stale = wheel.len() - LIVING as usize;
    assert!(stale <= LIVING as usize / NAMED_PER_STALE + STALE_MIN, "{stale} are left");
    deadlines.clear();
    for _ in 0..120_000 / TICK_MS {
        now += TICK_MS;
        reviewed(&mut wheel, now, &deadlines);
    }
    assert!(wheel.len() <= STALE_MIN, "{} name nothing", wheel.len());
}

/// Second timers of live entries cannot be removed, so searching for them repeatedly would be
/// useless.
#[test]
fn p8_a_review_that_finds_nothing_is_not_repeated() {
    let mut wheel = Wheel::new(UnixMillis(0));
    let mut deadlines = HashMap::new();
    for name in 0..50_000 {
        deadlines.insert(name, 90_000_000 + name * 1_009);
        for copy in 0..2 {
            wheel.schedule(Prefix(name), UnixMillis(90_000_000 + name * 1_009 + copy * 40_000_000));
        }
    }
    let mut asked = 0;
    for tick in 1..20_000 {
        asked += reviewed(&mut wheel, tick * TICK_MS, &deadlines);
    }
    assert!(asked <= 100_000 + TURN_LEN, "{asked} asked about");
}

/// Like a reference that is issued and revoked repeatedly.
#[test]
fn p8_many_timers_of_one_name_become_few() {
    let mut wheel = Wheel::new(UnixMillis(0));
    let deadlines = HashMap::from([(7, 90_000_000)]);
    for n in 0..100_000 {
        wheel.schedule(Prefix(7), UnixMillis(90_000_000 - n));
    }
    for tick in 1..8_000 {
        reviewed(&mut wheel, tick * TICK_MS, &deadlines);
    }
    assert!(wheel.len() <= STALE_MIN, "{} timers for one name", wheel.len());
}

/// Deadlines of a thousand entries are moved earlier and later, again and again.
#[test]
fn p8_timers_of_many_names_with_many_deadlines_stay_few() {
    const NAMES: u64 = 1_000;
    let mut wheel = Wheel::new(UnixMillis(0));
    let mut deadlines = HashMap::new();
    let name = |n: u64| (n % NAMES + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let (mut now, mut moved) = (0, 0);
    while moved < 600_000 {
        now += TICK_MS;
        for _ in 0..100 {
            let deadline = 2_000_000_000 + moved * 7_919 % 300_000_000;
            deadlines.insert(name(moved), deadline);
            wheel.schedule(Prefix(name(moved)), UnixMillis(deadline));
            moved += 1;
        }
        reviewed(&mut wheel, now, &deadlines);
        // What one review leaves in different slots is removed by the next one.
        let allowed = 4 * (NAMES as usize / NAMED_PER_STALE + STALE_MIN);
        assert!(wheel.len() < allowed, "{} timers after {moved} moves", wheel.len());
    }
}

/// Slots begin while the review is in the middle of them.
#[test]
fn p8_nothing_is_lost_under_review() {
    let mut wheel = Wheel::new(UnixMillis(0));
    let mut deadlines = HashMap::new();
    for name in 0..60_000 {
        let deadline = name * name % 7_000_000;
        deadlines.insert(name, deadline);
        wheel.schedule(Prefix(name), UnixMillis(deadline));
        wheel.schedule(Prefix(1 << 32 | name), UnixMillis(deadline));
    }
    let mut now = 0;
    while !deadlines.is_empty() {
        now += 997;
        wheel.review(deadlines.len() as u64);
        let before = deadlines.len();
        wheel.advance(UnixMillis(now), 512, |names, verdicts| {
            verdicts.extend(names.iter().map(|name| match deadlines.get(&name.0) {
                Some(deadline) if *deadline > now => Verdict::Again(UnixMillis(*deadline)),
                _ => {
                    deadlines.remove(&name.0);
                    Verdict::Done
                }
            }));
        });
        assert!(now < 8_000_000, "{before} of {} were never asked about", deadlines.len());
    }
}

#[test]
fn the_next_tick_with_timers_is_known() {
    let mut wheel = Wheel::new(UnixMillis(1_000));
    assert_eq!(wheel.next_due(), None);
    wheel.schedule(Prefix(1), UnixMillis(900_000));
    assert_eq!(wheel.next_due(), None);
    wheel.schedule(Prefix(2), UnixMillis(1_500));
    assert_eq!(wheel.next_due(), Some(UnixMillis(1_504)));
    wheel.schedule(Prefix(3), UnixMillis(1_007));
    assert_eq!(wheel.next_due(), Some(UnixMillis(1_008)));
}

#[test]
fn merged_wheels_keep_all_timers() {
    let (mut one, mut two) = (Wheel::new(UnixMillis(7)), Wheel::new(UnixMillis(7)));
    let mut deadlines = BTreeMap::new();
    for name in 0..1_000 {
        let deadline = name * 1_733;
        deadlines.insert(name, deadline);
        let wheel = if name % 3 == 0 { &mut one } else { &mut two };
        wheel.schedule(Prefix(name), UnixMillis(deadline));
    }
    one.merge(two);
    assert_eq!(fire(&mut one, 2_000_000, &mut deadlines).len(), 1_000);
}

#[test]
fn a_long_silence_costs_no_tick_by_tick_walk() {
    let mut wheel = Wheel::new(UnixMillis(0));
    let deadline = UnixMillis::MAX.0 - 1_000;
    let mut deadlines = BTreeMap::from([(1, deadline)]);
    wheel.schedule(Prefix(1), UnixMillis(deadline));
    assert_eq!(fire(&mut wheel, UnixMillis::MAX.0, &mut deadlines), [1]);
}
