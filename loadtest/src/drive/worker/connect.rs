//! Connections that are made while a phase runs: in place of one that ended, or for each request if
//! the workload says so.

use rustix::event::epoll;

use super::exchange::Filled;
use super::{RETRY_NS, Run, Worker};
use crate::drive::connects::Connecting;
use crate::drive::link::{Anew, State};
use crate::tls::Handshake;
use crate::tls::failure::slow;
use crate::tls::wire::{Shaken, Wire};
use crate::traffic::verdict::{Kind, Wrong};

impl Worker {
    /// Begins to connect in place of a connection that has ended.
    pub(super) fn reconnect(&mut self, run: &mut Run, index: usize, now_ns: u64) {
        let link = &mut self.links[index];
        if let (Some(anew), Some(handshake)) = (&mut link.anew, run.phase.connecting.at(now_ns)) {
            // The kind of the current turn.
            anew.handshake = handshake;
        }
        let place = self.reach.place(index);
        let began = link.reconnect(place.address, (place.make_codec)(), now_ns);
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT;
        let data = epoll::EventData::new_u64(index as u64);
        let watched = match (&link.wire, began) {
            (Some(wire), Ok(())) => {
                epoll::add(&self.epoll, wire, data, flags).map_err(std::io::Error::from)
            }
            (_, Err(error)) => Err(error),
            (None, Ok(())) => Ok(()),
        };
        if let Err(error) = watched {
            self.refused(run, index, &error, now_ns);
        }
    }

    /// TCP's handshake ended.
    pub(super) fn connected(&mut self, run: &mut Run, index: usize, since_ns: u64) {
        let link = &mut self.links[index];
        let outcome = link.wire.as_ref().map(|wire| wire.socket().take_error());
        match outcome {
            Some(Ok(None)) => {
                link.state = State::Shaking { since_ns };
                self.shake(run, index, since_ns);
            }
            Some(Ok(Some(error)) | Err(error)) => {
                let now_ns = self.clock.now_ns();
                self.refused(run, index, &error, now_ns);
            }
            None => {}
        }
    }

    /// Goes on with the handshake of TLS, where there is one; then the connection takes requests.
    pub(super) fn shake(&mut self, run: &mut Run, index: usize, since_ns: u64) {
        let mut moved = Shaken::default();
        let link = &mut self.links[index];
        let shaken = link.shake(&mut moved);
        let now_ns = self.clock.now_ns();
        run.record.sent(moved.sent, now_ns);
        run.record.received(moved.received, now_ns);
        match shaken {
            // Done after its time limit: the tick, which checks that, has not come yet.
            Ok(true) if self.ready_ns.1 > since_ns + self.reach.timeout_ns => {
                let error = self.late(index);
                return self.refused(run, index, &error, now_ns);
            }
            Ok(true) => {}
            Ok(false) => {
                link.wants_write = link.has_tls_output();
                return self.watch(index);
            }
            Err(error) => return self.refused(run, index, &error, now_ns),
        }
        link.state = State::Open;
        link.wants_write = false;
        if let Some(wire) = &link.wire {
            run.record.connects.opened(wire);
        }
        let is_anew = link.anew.as_mut().map(|anew| anew.shaken(now_ns)).is_some();
        run.alive_ns = now_ns;
        self.watch(index);
        if is_anew && !run.exhausted && now_ns < run.phase.end_ns && !self.links[index].queued {
            if matches!(self.fill(run, index, now_ns), Filled::NothingToAsk) {
                self.enqueue(run, index);
            }
            return;
        }
        self.flush(run, index);
        self.enqueue(run, index);
    }

    /// Ends the current connection, if there is one, and makes another for one request.
    pub(super) fn connect_anew(&mut self, run: &mut Run, index: usize, handshake: Handshake) {
        let address = self.reach.place(index).address;
        let link = &mut self.links[index];
        if let Some(wire) = link.wire.take() {
            // Towards another machine each closed connection occupies a port for a minute, and there are
            // too few; within one machine the system reuses them.
            if !address.ip().is_loopback() {
                let none = Some(std::time::Duration::ZERO);
                let _ = rustix::net::sockopt::set_socket_linger(&wire, none);
            }
            wire.close();
        }
        link.wants_write = false;
        let now_ns = self.clock.now_ns();
        link.anew = Some(Anew::new(handshake, now_ns));
        self.reconnect(run, index, now_ns);
    }

    /// Counts a connection that was made for one request once that is answered, and makes the next.
    /// Returns whether this one is finished.
    pub(super) fn use_once(&mut self, run: &mut Run, index: usize, now_ns: u64) -> bool {
        let link = &mut self.links[index];
        if let Some(anew) = link.anew.take_if(|_| link.outstanding.is_empty()) {
            let is_resumed = link.wire.as_ref().and_then(Wire::is_resumed).unwrap_or(false);
            run.record.connected(anew, is_resumed, now_ns);
        }
        if now_ns >= run.phase.end_ns || run.exhausted || index >= run.joined {
            return false;
        }
        let Some(handshake) = run.phase.connecting.at(now_ns) else { return false };
        self.connect_anew(run, index, handshake);
        true
    }

    /// Whether connections are under way that a phase waits for, so that all that were begun are
    /// counted.
    pub(super) fn is_connecting(&self, run: &Run) -> bool {
        let is_under_way =
            |state| matches!(state, State::Connecting { .. } | State::Shaking { .. });
        !matches!(run.phase.connecting, Connecting::Once)
            && self.links.iter().any(|link| is_under_way(link.state))
    }

    /// The connection failed; another attempt follows later.
    pub(super) fn refused(
        &mut self,
        run: &mut Run,
        index: usize,
        error: &std::io::Error,
        now_ns: u64,
    ) {
        let link = &mut self.links[index];
        link.wire = None;
        link.wants_write = false;
        link.state = State::Down { retry_ns: now_ns + RETRY_NS };
        let why = Wrong::of_io(error, Kind::Connect);
        run.admission.note(&why);
        run.record.error(self.reach.node(index), why, now_ns);
        self.shared.erred();
    }

    /// The error of a connection that was not made within its time limit.
    pub(super) fn late(&self, index: usize) -> std::io::Error {
        let link = &self.links[index];
        match link.state {
            State::Shaking { .. } if link.tls.is_some() => {
                slow(std::time::Duration::from_nanos(self.reach.timeout_ns))
            }
            _ => std::io::ErrorKind::TimedOut.into(),
        }
    }
}
