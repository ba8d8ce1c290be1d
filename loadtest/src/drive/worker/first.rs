//! The first connections: made together, each within a time limit. A signal ends it.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::time::Duration;

use rustix::event::epoll;

use super::wait::Slept;
use super::{EVENTS, TICK_NS, Worker};
use crate::drive::clock::nanos;
use crate::drive::delays::Delays;
use crate::drive::link::State;
use crate::failure::{Failure, Result};
use crate::tls::failure::slow;
use crate::tls::wire::Shaken;

/// How long one of them may take, with TLS.
const LIMIT: Duration = Duration::from_secs(5);
/// Connections under way at once: a server's queue of connections to accept is short.
const AT_ONCE: usize = 64;

impl Worker {
    /// Opens all of them.
    ///
    /// # Errors
    /// One fails, or takes longer than [`LIMIT`]; or a signal came.
    pub(super) fn open_all(&mut self) -> Result<()> {
        let mut events = Vec::with_capacity(EVENTS);
        let (mut begun, mut under_way) = (0, VecDeque::new());
        let mut delays = Delays::of_this_thread(self.clock.now_ns());
        loop {
            while begun < self.links.len() && under_way.len() < AT_ONCE {
                self.begin(begun).map_err(|error| self.not_opened(begun, &error))?;
                under_way.push_back(begun);
                begun += 1;
            }
            under_way.retain(|index: &usize| self.links[*index].state != State::Open);
            let Some(&oldest) = under_way.front() else { return Ok(()) };
            if self.shared.is_stopped() {
                let problem = "stopped before anything was measured";
                return Err(Failure::Input(problem.to_owned()));
            }
            let begin_ns = self.clock.now_ns();
            self.excuse_connecting(delays.worked(begin_ns), begin_ns);
            let limit_ns = self.since_ns(oldest) + nanos(LIMIT);
            if begin_ns >= limit_ns {
                return Err(self.not_opened(oldest, &self.silent(oldest)));
            }
            let until_ns = limit_ns.min(begin_ns + TICK_NS);
            let must_wake_ns = match self.wait_until(until_ns, &mut events)? {
                Slept::Through => until_ns,
                Slept::Interrupted => begin_ns,
            };
            let now_ns = self.clock.now_ns();
            self.excuse_connecting(delays.slept(must_wake_ns, now_ns), now_ns);
            for event in events.drain(..) {
                let index = event.data.u64() as usize;
                self.go_on(index).map_err(|error| self.not_opened(index, &error))?;
            }
        }
    }

    fn begin(&mut self, index: usize) -> std::io::Result<()> {
        let now_ns = self.clock.now_ns();
        let link = &mut self.links[index];
        let place = self.reach.place(index);
        link.reconnect(place.address, (place.make_codec)(), now_ns)?;
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT;
        if let Some(wire) = &link.wire {
            epoll::add(&self.epoll, wire, epoll::EventData::new_u64(index as u64), flags)?;
        }
        Ok(())
    }

    /// Continues a handshake as far as possible now.
    fn go_on(&mut self, index: usize) -> std::io::Result<()> {
        let link = &mut self.links[index];
        if let (State::Connecting { since_ns }, Some(wire)) = (link.state, &link.wire) {
            wire.socket().take_error()?.map_or(Ok(()), Err)?;
            link.state = State::Shaking { since_ns };
        }
        if !matches!(link.state, State::Shaking { .. }) {
            // First messages of the server are read when the first phase begins.
            return Ok(());
        }
        if link.shake(&mut Shaken::default())? {
            link.state = State::Open;
            if let Some(wire) = &link.wire {
                self.connects.opened(wire);
            }
        }
        let link = &mut self.links[index];
        link.wants_write = link.has_tls_output();
        self.watch(index);
        Ok(())
    }

    fn since_ns(&self, index: usize) -> u64 {
        match self.links[index].state {
            State::Connecting { since_ns } | State::Shaking { since_ns } => since_ns,
            State::Open | State::Down { .. } => self.clock.now_ns(),
        }
    }

    fn silent(&self, index: usize) -> std::io::Error {
        match self.links[index].state {
            State::Shaking { .. } => slow(LIMIT),
            _ => ErrorKind::TimedOut.into(),
        }
    }

    fn not_opened(&self, index: usize, error: &std::io::Error) -> Failure {
        let problem = format!("connection {}: {error}", index + 1);
        Failure::Target { target: self.reach.place(index).address.to_string(), problem }
    }
}
