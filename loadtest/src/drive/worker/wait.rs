//! Waiting for events and for requests that become due. After a pause of the harness all time limits
//! of the server are extended by its length.

use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use super::{Run, Worker};
use crate::drive::connects::Connecting;
use crate::drive::delays::HEARTBEAT_NS;
use crate::drive::link::State;
use crate::failure::{Result, io};

/// How a sleep ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Slept {
    /// Something came, or the time was up.
    Through,
    /// By a signal: the process may have been stopped until now.
    Interrupted,
}

impl Worker {
    /// Waits until an event comes or a request is due. Returns a moment: all that had come by then is
    /// among the events, unless the list is full.
    pub(super) fn wait(&mut self, run: &mut Run, events: &mut Vec<epoll::Event>) -> Result<u64> {
        let mut begin_ns = self.reached(run);
        if !matches!(run.phase.connecting, Connecting::Once) {
            // Connections that are ready already became so while others were served.
            self.wait_until(0, events)?;
            let looked_ns = self.woken(run, begin_ns);
            self.ready_ns = (self.ready_ns.1, looked_ns);
            if !events.is_empty() {
                return Ok(begin_ns);
            }
            begin_ns = looked_ns;
        }
        let mut until_ns = run.next_tick_ns.min(begin_ns + HEARTBEAT_NS);
        if let (Some(due_ns), false) = (run.phase.pace.due_ns(), run.ready.is_empty())
            && due_ns < run.phase.end_ns
        {
            until_ns = until_ns.min(due_ns);
        }
        if let Some(since_ns) = self.limits.next_since_ns() {
            until_ns = until_ns.min(since_ns.saturating_add(self.reach.timeout_ns));
        }
        let must_wake_ns = match self.wait_until(until_ns, events)? {
            Slept::Through => until_ns.max(begin_ns),
            Slept::Interrupted => begin_ns,
        };
        let now_ns = self.woken(run, must_wake_ns);
        self.ready_ns = (now_ns, now_ns);
        Ok(begin_ns)
    }

    /// Sleeps until `until_ns` or the first event; does not sleep if that is past.
    pub(super) fn wait_until(
        &self,
        until_ns: u64,
        events: &mut Vec<epoll::Event>,
    ) -> Result<Slept> {
        let pause = Duration::from_nanos(until_ns.saturating_sub(self.clock.now_ns()));
        let timeout = Timespec::try_from(pause).unwrap_or_default();
        events.clear();
        match epoll::wait(&self.epoll, spare_capacity(events), Some(&timeout)) {
            Ok(_) => Ok(Slept::Through),
            Err(Errno::INTR) => Ok(Slept::Interrupted),
            Err(error) => Err(io("epoll")(error)),
        }
    }

    /// Notes the work up to now. Returns the time.
    pub(super) fn reached(&mut self, run: &mut Run) -> u64 {
        let now_ns = self.clock.now_ns();
        let pause_ns = run.delays.worked(now_ns);
        self.excuse(run, pause_ns, now_ns);
        now_ns
    }

    /// The loop woke from a sleep that was to end at `must_wake_ns`. Returns the time.
    fn woken(&mut self, run: &mut Run, must_wake_ns: u64) -> u64 {
        let now_ns = self.clock.now_ns();
        let pause_ns = run.delays.slept(must_wake_ns, now_ns);
        self.excuse(run, pause_ns, now_ns);
        now_ns
    }

    /// A pause of the harness ended now. The server could not be heard while it lasted, so all time
    /// limits are extended by it.
    fn excuse(&mut self, run: &mut Run, pause_ns: u64, now_ns: u64) {
        if pause_ns == 0 {
            return;
        }
        self.limits.excuse(now_ns - pause_ns, now_ns, self.reach.timeout_ns);
        run.alive_ns = (run.alive_ns + pause_ns).min(now_ns);
        run.answered_ns = (run.answered_ns + pause_ns).min(now_ns);
        run.admission.excuse(pause_ns, now_ns);
        // A request that was due before the end keeps its whole time limit, even if it is sent late.
        run.give_up_ns += pause_ns.min(now_ns.saturating_sub(run.phase.end_ns));
        self.excuse_connecting(pause_ns, now_ns);
    }

    /// Extends the time limits of connections that are being made.
    pub(super) fn excuse_connecting(&mut self, pause_ns: u64, now_ns: u64) {
        for link in &mut self.links {
            if let State::Connecting { since_ns } | State::Shaking { since_ns } = &mut link.state {
                *since_ns = (*since_ns + pause_ns).min(now_ns);
            }
        }
    }
}
