//! What befalls connections: time limits, ends, and new tries.

use rustix::event::epoll;

use super::{RETRY_NS, Run, TICK_NS, Worker};
use crate::drive::link::{Outstanding, State};
use crate::drive::pace::Pace;
use crate::failure::{Failure, Result};
use crate::traffic::verdict::{Kind, Wrong};

impl Worker {
    /// The connection is of no more use: what it owes will not come.
    pub(super) fn drop_link(&mut self, run: &mut Run, index: usize, kind: Kind, why: &str) {
        let now_ns = self.clock.now_ns();
        let link = &mut self.links[index];
        link.stream = None;
        link.state = State::Down { retry_ns: now_ns };
        link.wants_write = false;
        if kind == Kind::Garbage && link.outstanding.is_empty() {
            // Nobody waited for it, so no request fails of it; it is wrong all the same.
            run.record.error(Wrong::new(kind, why), now_ns);
            self.shared.erred();
        }
        for Outstanding { ask, .. } in link.outstanding.drain() {
            self.in_flight -= 1;
            self.plan.forfeit(&ask);
            let what = format!("{}: {why}", ask.operation.name());
            run.record.error(Wrong::new(kind, what), now_ns);
            self.shared.erred();
        }
        run.record.reconnects += 1;
        self.reconnect(run, index, now_ns);
    }

    fn reconnect(&mut self, run: &mut Run, index: usize, now_ns: u64) {
        let link = &mut self.links[index];
        let began = link.reconnect(self.reach.address, (self.reach.make_codec)(), now_ns);
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT;
        let data = epoll::EventData::new_u64(index as u64);
        let watched = match (&link.stream, began) {
            (Some(stream), Ok(())) => {
                epoll::add(&self.epoll, stream, data, flags).map_err(std::io::Error::from)
            }
            (_, Err(error)) => Err(error),
            (None, Ok(())) => Ok(()),
        };
        if let Err(error) = watched {
            self.refused(run, index, &error, now_ns);
        }
    }

    /// A handshake came to an end.
    pub(super) fn connected(&mut self, run: &mut Run, index: usize) {
        let now_ns = self.clock.now_ns();
        let link = &mut self.links[index];
        let outcome = link.stream.as_ref().map(std::net::TcpStream::take_error);
        match outcome {
            Some(Ok(None)) => {
                link.state = State::Open;
                self.watch(index);
                self.flush(run, index);
                self.enqueue(run, index);
            }
            Some(Ok(Some(error)) | Err(error)) => self.refused(run, index, &error, now_ns),
            None => {}
        }
    }

    fn refused(&mut self, run: &mut Run, index: usize, error: &std::io::Error, now_ns: u64) {
        let link = &mut self.links[index];
        link.stream = None;
        link.state = State::Down { retry_ns: now_ns + RETRY_NS };
        run.record.error(Wrong::new(Kind::Connect, error.to_string()), now_ns);
        self.shared.erred();
    }

    /// Time limits, new tries to connect, and news for the main thread.
    pub(super) fn tick(&mut self, run: &mut Run, now_ns: u64) {
        run.next_tick_ns = now_ns + TICK_NS;
        self.shared.publish(&mut self.recent);
        for index in 0..self.links.len() {
            let link = &self.links[index];
            if let State::Down { retry_ns } = link.state {
                if retry_ns <= now_ns && index < run.joined {
                    self.reconnect(run, index, now_ns);
                }
                continue;
            }
            let limit_ns = self.reach.timeout_ns;
            if let State::Connecting { since_ns } = link.state
                && now_ns > since_ns + limit_ns
            {
                let error = std::io::Error::from(std::io::ErrorKind::TimedOut);
                self.refused(run, index, &error, now_ns);
                continue;
            }
            if link.outstanding.iter().any(|(_, one)| now_ns > one.sent_ns + limit_ns) {
                let why = format!("no answer within {} ms", limit_ns / 1_000_000);
                self.drop_link(run, index, Kind::Timeout, &why);
            }
        }
    }

    /// Without any connection for as long as a request may take, a server is gone.
    pub(super) fn still_there(&self, run: &mut Run, now_ns: u64) -> Result<()> {
        if self.links.iter().any(|link| link.state == State::Open) {
            run.alive_ns = now_ns;
        }
        if now_ns < run.alive_ns + self.reach.timeout_ns {
            return Ok(());
        }
        let problem = format!(
            "went away: no connection could be made for {} ms",
            self.reach.timeout_ns / 1_000_000
        );
        Err(Failure::Target { target: self.reach.address.to_string(), problem })
    }

    /// The phase is over: whatever is still owed counts as lost.
    pub(super) fn give_up_the_rest(&mut self, run: &mut Run) {
        let stopped = self.shared.is_stopped();
        for index in 0..self.links.len() {
            if stopped {
                for Outstanding { ask, .. } in self.links[index].outstanding.drain() {
                    self.in_flight -= 1;
                    self.plan.forfeit(&ask);
                }
            } else if !self.links[index].outstanding.is_empty() {
                self.drop_link(run, index, Kind::Timeout, "no answer before the end");
            }
            self.links[index].queued = false;
        }
        let mut unsent = 0;
        while let (Pace::Open { next_ns, .. }, false) = (&run.phase.pace, stopped)
            && *next_ns < run.phase.end_ns
        {
            unsent += 1;
            run.phase.pace.advance();
        }
        let what = "due before the end, but no connection was free until after the time limit";
        run.record.errors.add_many(Wrong::new(Kind::Unsent, what), unsent);
    }
}
