//! Bytes to and from one connection.

use rustix::event::epoll;

use super::{READ_BYTES, Run, Worker};
use crate::drive::link::State;
use crate::tls::wire::{Incoming, Wire};
use crate::traffic::verdict::{Kind, Wrong};

/// Reads, at most, from a connection that accepts no more bytes.
const LAST_READS_MAX: usize = 64;

impl Worker {
    /// Sends what is written, and watches for room in the socket if something is left.
    pub(super) fn flush(&mut self, run: &mut Run, index: usize) {
        let link = &mut self.links[index];
        if link.state != State::Open || link.is_ending {
            return;
        }
        match link.send() {
            Ok(sent) => run.record.sent(sent, self.clock.now_ns()),
            Err(error) => return self.hear_out(run, index, &error),
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
        let (now_ns, ready_ns) = (self.clock.now_ns(), self.ready_ns);
        if let Some(anew) = &mut self.links[index].anew {
            anew.serve(ready_ns, now_ns);
        }
        self.move_bytes(run, index, flags);
        let now_ns = self.clock.now_ns();
        if let Some(anew) = &mut self.links[index].anew {
            anew.touched_ns = now_ns;
        }
    }

    fn move_bytes(&mut self, run: &mut Run, index: usize, flags: epoll::EventFlags) {
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
        let mut read = self.read_once(run, index, &mut buffer, &mut opened);
        if self.links[index].is_ending && matches!(read, Read::Taken) {
            // Its end came with these bytes, and epoll does not report it again.
            read = self.read_once(run, index, &mut buffer, &mut opened);
        }
        (self.buffer, self.opened) = (buffer, opened);
        if let Read::Ended(end) = read {
            let ended = Wrong::new(Kind::Closed, "the server closed it");
            let why = end.map_or(ended, |error| Wrong::of_io(&error, Kind::Closed));
            self.drop_link(run, index, &why);
        }
    }

    /// Nothing can be sent any more. Bytes that came before that are still read; the server's last
    /// message is the reason.
    fn hear_out(&mut self, run: &mut Run, index: usize, error: &std::io::Error) {
        self.links[index].is_ending = true;
        // Those of the worker may be in use: a request goes out where an answer was taken in.
        let (mut buffer, mut opened) = (vec![0; READ_BYTES], Vec::new());
        let mut why = Wrong::of_io(error, Kind::Closed);
        for _ in 0..LAST_READS_MAX {
            match self.read_once(run, index, &mut buffer, &mut opened) {
                Read::Taken if self.links[index].is_ending => {}
                // The bytes that came ended the connection, with their own reason.
                Read::Taken => return,
                Read::Nothing => break,
                Read::Ended(end) => {
                    let said = end.map(|end| Wrong::of_io(&end, Kind::Closed));
                    why = said.filter(|said| said.denial.is_some()).unwrap_or(why);
                    break;
                }
            }
        }
        self.drop_link(run, index, &why);
    }

    /// Reads once and takes in what came.
    fn read_once(
        &mut self,
        run: &mut Run,
        index: usize,
        buffer: &mut [u8],
        opened: &mut Vec<u8>,
    ) -> Read {
        let link = &mut self.links[index];
        let (moved, plain) = match link.receive(buffer, opened) {
            Incoming::Nothing => return Read::Nothing,
            Incoming::Ended(end) => return Read::Ended(end),
            Incoming::Bytes(moved, plain) => (moved, plain),
        };
        let now_ns = self.clock.now_ns();
        run.record.received(moved, now_ns);
        link.is_ending |= link.wire.as_ref().is_some_and(Wire::has_ended);
        if plain.is_empty() {
            // TLS alone spoke, and may want to answer.
            self.flush(run, index);
        } else {
            link.heard_ns = now_ns;
            self.take_answers(run, index, plain);
        }
        Read::Taken
    }
}

/// The result of one read.
enum Read {
    /// Nothing is there now.
    Nothing,
    /// What came was taken in.
    Taken,
    /// The connection has ended; why, as the system says, where it was not in order.
    Ended(Option<std::io::Error>),
}
