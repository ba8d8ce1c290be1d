//! When the time of each request is up, exactly: a line of all that were sent, the oldest first. All
//! have the same limit, so the line is in order by itself. Pauses of the harness are no part of the
//! time that the server had.

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
    /// The same on a clock that stands still in pauses of the harness.
    awake_ns: u64,
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
    /// Sent last: at `sent_ns`, which is `awake_ns` on the clock that limits are measured by.
    pub(super) fn push(&mut self, sent_ns: u64, awake_ns: u64, link: usize, ticket: usize) {
        self.0.push_back(Sent { sent_ns, awake_ns, link, ticket });
    }

    /// When the oldest was sent that may still be waited for, on the clock of the limits.
    pub(super) fn next_awake_ns(&self) -> Option<u64> {
        self.0.front().map(|sent| sent.awake_ns)
    }

    /// The oldest that was sent at `until_ns` or before, on the clock of the limits, and is still
    /// waited for. Those before it are forgotten. Now and then all that are answered are forgotten
    /// too, so that memory follows what is under way.
    pub(super) fn pop(&mut self, until_ns: u64, links: &[Link], in_flight: usize) -> Option<Sent> {
        while let Some(sent) = self.0.front().copied() {
            if !sent.is_open(links) {
                self.0.pop_front();
            } else if sent.awake_ns <= until_ns {
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
