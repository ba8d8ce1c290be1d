//! How many timers are due soon, from the lengths of the slots alone.

use super::Wheel;
use super::level::{COMING_MS, LEVELS, SLOT_BITS, SLOTS, SPAN_LEVEL};

/// Spans of the next hour, the present one included.
const SPANS: u64 = 3_600_000 / COMING_MS + 1;

const _: () = assert!(SPANS < SLOTS && SPAN_LEVEL + 1 < LEVELS);

impl Wheel {
    /// The number of timers in each span of [`COMING_MS`] of the next hour; the first is the span that
    /// has begun, with what is due already. Stale timers count too, and those that were not sorted so
    /// finely yet are spread evenly. It asks no owner and walks no timer: it adds the lengths of slots.
    pub fn coming(&self) -> impl Iterator<Item = usize> {
        let now = self.tick >> (SPAN_LEVEL as u32 * SLOT_BITS);
        (0..SPANS).map(move |distance| self.of_span(now, now + distance))
    }

    /// Timers of the span with this number, where `now` is the present one.
    fn of_span(&self, now: u64, span: u64) -> usize {
        let mut timers = 0;
        for (number, level) in self.levels[..=SPAN_LEVEL].iter().enumerate() {
            let bits = (SPAN_LEVEL - number) as u32 * SLOT_BITS;
            let present = self.tick >> (number as u32 * SLOT_BITS);
            // Slots that a level does not reach belong to a coarser one.
            let (first, end) = ((span << bits).max(present + 1), (span + 1) << bits);
            for slot in first..end.min(present + SLOTS) {
                timers += level.slots[(slot % SLOTS) as usize].len();
            }
            // The next slot of a coarse level, which is being moved.
            if number > 0 && (present + 1) >> bits == span {
                timers += level.ahead.len();
            }
        }
        // Timers of the next coarser slot that were not moved yet are somewhere in it.
        let above = SPAN_LEVEL + 1;
        if ((self.tick >> (above as u32 * SLOT_BITS)) + 1) == span >> SLOT_BITS {
            timers += self.levels[above].ahead.len() >> SLOT_BITS;
        }
        if span == now {
            timers += self.due.len() + self.late.len();
        }
        timers
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::super::level::TICK_SHIFT;
    use super::*;
    use crate::model::time::UnixMillis;
    use crate::model::token::Prefix;

    #[test]
    fn the_timers_of_the_next_hour_are_in_their_spans() {
        let start = UnixMillis(1_800_000_000_000);
        let mut wheel = Wheel::new(start);
        let mut deadlines = Vec::new();
        for n in 0..20_000_u64 {
            let deadline = UnixMillis(start.0 + n * 397 % 7_000_000);
            wheel.schedule(Prefix(n), deadline);
            deadlines.push(deadline.0);
        }
        for now in [start.0, start.0 + 1, start.0 + 65_000, start.0 + 1_234_567] {
            wheel.advance(UnixMillis(now), usize::MAX, |turn, verdicts| {
                verdicts.extend(turn.iter().map(|timer| {
                    let deadline = deadlines[timer.0 as usize];
                    match deadline <= now {
                        true => Verdict::Done,
                        false => Verdict::Again(UnixMillis(deadline)),
                    }
                }));
            });
            let tick_of = |ms: u64| (ms >> TICK_SHIFT) + 1;
            let in_span = COMING_MS >> TICK_SHIFT;
            let present = now >> TICK_SHIFT;
            for (distance, timers) in wheel.coming().enumerate() {
                let span = present / in_span + distance as u64;
                let ticks = deadlines.iter().map(|ms| tick_of(*ms));
                let due = ticks.filter(|tick| *tick > present && tick / in_span == span).count();
                assert_eq!(timers, due, "span {distance} at {now}");
            }
        }
    }
}
