//! When the time of each request is up, exactly: a line of all that were sent, the oldest first. All
//! have the same limit, so the line is in order by itself. It is real time, so that no answer after
//! its limit counts. Two pauses of the harness move a limit: one in which the request was sent, and one
//! as long as the limit.

use std::collections::VecDeque;

use crate::drive::link::Link;

/// Answered requests are taken out of the middle of the line where it is longer than this, and
/// twice as long as what is under way.
const SLACK: usize = 1_024;

/// The line.
#[derive(Debug, Default)]
pub(super) struct Limits(VecDeque<Sent>);

/// One that was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) sent_ns: u64,
    /// From when its limit counts.
    since_ns: u64,
    pub(super) link: usize,
    pub(super) ticket: usize,
}

impl Sent {
    /// Whether it is still waited for. Its ticket may be another's by now, which was sent later.
    fn is_open(&self, links: &[Link]) -> bool {
        let outstanding = links[self.link].outstanding.get(self.ticket);
        outstanding.is_some_and(|one| one.sent_ns == self.sent_ns && !one.is_late)
    }
}

impl Limits {
    /// Sent last.
    pub(super) fn push(&mut self, sent_ns: u64, link: usize, ticket: usize) {
        self.0.push_back(Sent { sent_ns, since_ns: sent_ns, link, ticket });
    }

    /// From when the limit counts of the oldest that may still be waited for.
    pub(super) fn next_since_ns(&self) -> Option<u64> {
        self.0.front().map(|sent| sent.since_ns)
    }

    /// The harness paused. Requests that were being sent meanwhile have their limit from its end on,
    /// and after a pause as long as the limit all have it anew: their answers may be only half read.
    pub(super) fn excuse(&mut self, from_ns: u64, to_ns: u64, limit_ns: u64) {
        let is_long = to_ns - from_ns >= limit_ns;
        for sent in self.0.iter_mut().rev() {
            if !is_long && sent.sent_ns < from_ns {
                break;
            }
            sent.since_ns = to_ns;
        }
    }

    /// The oldest whose limit counts from `until_ns` or before, and that is still waited for. Those
    /// before it are forgotten. Now and then all that are answered are forgotten too, so that memory
    /// follows what is under way.
    pub(super) fn pop(&mut self, until_ns: u64, links: &[Link], in_flight: usize) -> Option<Sent> {
        while let Some(sent) = self.0.front().copied() {
            if !sent.is_open(links) {
                self.0.pop_front();
            } else if sent.since_ns <= until_ns {
                return self.0.pop_front();
            } else {
                break;
            }
        }
        if self.0.len() > SLACK + 2 * in_flight {
            self.0.retain(|sent| sent.is_open(links));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From when each limit counts, after a pause from 30 to `to_ns`; the second request was sent in it.
    fn since(to_ns: u64) -> Vec<u64> {
        let mut limits = Limits::default();
        limits.push(10, 0, 0);
        limits.push(40, 1, 0);
        limits.excuse(30, to_ns, 100);
        limits.0.iter().map(|sent| sent.since_ns).collect()
    }

    #[test]
    fn a_short_pause_moves_the_limits_of_what_was_sent_in_it_alone() {
        assert_eq!(since(60), [10, 60], "no answer after its limit counts");
        assert_eq!(since(130), [130, 130], "a pause as long as the limit");
    }
}
