//! Bytes to and from one connection.

use rustix::event::epoll;

use super::{Run, Worker};
use crate::drive::link::State;
use crate::tls::wire::{Incoming, is_tls};
use crate::traffic::verdict::Kind;

impl Worker {
    /// Sends what is written; asks to be told when the socket takes more.
    pub(super) fn flush(&mut self, run: &mut Run, index: usize) {
        let link = &mut self.links[index];
        if link.state != State::Open {
            return;
        }
        match link.send() {
            Ok(sent) => run.record.sent(sent, self.clock.now_ns()),
            Err(error) => {
                let kind = kind_of(&error);
                return self.drop_link(run, index, kind, &error.to_string());
            }
        }
        if link.has_output() != link.wants_write {
            link.wants_write = link.has_output();
            self.watch(index);
        }
    }

    pub(super) fn watch(&self, index: usize) {
        let link = &self.links[index];
        let mut flags = epoll::EventFlags::IN;
        flags.set(
            epoll::EventFlags::OUT,
            link.wants_write || matches!(link.state, State::Connecting { .. }),
        );
        let data = epoll::EventData::new_u64(index as u64);
        if let Some(wire) = &link.wire {
            // It can only fail for a descriptor that is not watched, and this one is.
            let _ = epoll::modify(&self.epoll, wire, data, flags);
        }
    }

    /// Moves bytes on one connection.
    pub(super) fn serve(&mut self, run: &mut Run, index: usize, flags: epoll::EventFlags) {
        match self.links[index].state {
            State::Connecting { since_ns } => return self.connected(run, index, since_ns),
            State::Shaking { since_ns } => return self.shake(run, index, since_ns),
            State::Open | State::Down { .. } => {}
        }
        if flags.contains(epoll::EventFlags::OUT) {
            self.flush(run, index);
        }
        if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR)
        {
            self.read(run, index);
        }
    }

    fn read(&mut self, run: &mut Run, index: usize) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut opened = std::mem::take(&mut self.opened);
        match self.links[index].receive(&mut buffer, &mut opened) {
            Incoming::Nothing => {}
            Incoming::Ended(None) => {
                self.drop_link(run, index, Kind::Closed, "the server closed it");
            }
            Incoming::Ended(Some(error)) => {
                self.drop_link(run, index, kind_of(&error), &error.to_string());
            }
            Incoming::Bytes(moved, plain) => {
                let now_ns = self.clock.now_ns();
                run.record.received(moved, now_ns);
                if plain.is_empty() {
                    // TLS alone spoke, and may want to answer.
                    self.flush(run, index);
                } else {
                    self.links[index].heard_ns = now_ns;
                    self.take_answers(run, index, plain);
                }
            }
        }
        (self.buffer, self.opened) = (buffer, opened);
    }
}

/// What a connection that ended counts as.
fn kind_of(error: &std::io::Error) -> Kind {
    if is_tls(error) { Kind::Tls } else { Kind::Closed }
}
