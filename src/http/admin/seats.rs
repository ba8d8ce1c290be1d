//! The connection places of the admin listener, and which connection gives way, so that a probe
//! always gets one.
//!
//! There are [`SEATS_MAX`] places. If none is free, a new connection takes the place of an inactive
//! one: a connection that is idle, in the middle of a head or a handshake, or not reading its
//! answer. Clients with more than [`SHARE`] inactive connections give way before all others, the
//! client with the most of them first, so that a crowd takes no place from a probe. Among equals,
//! the connection that has been inactive for longest gives way. If no connection is inactive, the
//! one whose answer has taken longest gives way. A running backup never gives way; it ends only by its
//! own time limit. A page's stream of events neither gives way nor counts among the places: the number
//! of streams has a limit of its own. A client is an IPv4 address, an IPv6 /64
//! network, or all peers of a Unix socket together.
//!
//! The time limits are those of the data listener: `--idle-timeout` without a request,
//! `--header-timeout` for a head, `--write-timeout` for a peer that reads nothing.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;
use std::task::Waker;

use slab::Slab;
use tokio::sync::Notify;

pub(super) mod stream;
#[cfg(test)]
mod tests;

/// Maximum connections at once, on each of the two listeners.
const SEATS_MAX: usize = 64;
/// Maximum inactive connections of a client before they give way first.
const SHARE: usize = 4;

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// The TLS handshake is running, or the connection is about to be turned away.
    Beginning,
    /// Idle: no request has begun.
    Idle,
    /// The head of a request is arriving.
    Head,
    /// A request is being answered.
    Answering,
}

/// All places of a listener.
#[derive(Default)]
pub(super) struct Seats {
    taken: RefCell<Slab<Rc<State>>>,
    /// Counts changes, which orders them.
    changes: Cell<u64>,
}

struct State {
    client: Cell<IpAddr>,
    doing: Cell<Doing>,
    /// The change at which it entered this state, or started to wait for its peer.
    since: Cell<u64>,
    /// Whether its peer reads nothing of the answer.
    is_stalled: Cell<bool>,
    /// Whether its last answer is a stream with a time limit of its own.
    is_stream: Cell<bool>,
    /// Whether it is beside the places: a stream of events, whose number has a limit of its own.
    is_apart: Cell<bool>,
    gives_way: Notify,
    /// The task whose read found no data, to be woken.
    reader: RefCell<Option<Waker>>,
    /// To be done when the client has read the last answer.
    when_read: RefCell<Option<Box<dyn FnOnce()>>>,
}

impl State {
    fn may_give_way(&self) -> bool {
        match self.doing.get() {
            Doing::Beginning | Doing::Head => true,
            Doing::Idle => !(self.is_stream.get() && self.is_stalled.get()),
            Doing::Answering => self.is_stalled.get() && !self.is_stream.get(),
        }
    }
}

/// The client whose connections count together.
fn client_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let network = u128::from(address) & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from(network))
        }
    }
}

/// One place; dropping it frees the place.
pub(super) struct Seat {
    seats: Rc<Seats>,
    state: Rc<State>,
    key: usize,
}

impl Seats {
    /// A place for a client at `address`: a free one, or that of the connection that gives way.
    /// `None` if no connection gives way.
    pub(super) fn take(self: &Rc<Self>, address: IpAddr) -> Option<Rc<Seat>> {
        let mut taken = self.taken.borrow_mut();
        let apart = taken.iter().filter(|(_, state)| state.is_apart.get()).count();
        if taken.len() - apart >= SEATS_MAX {
            let key = idlest(&taken).or_else(|| busiest(&taken))?;
            taken.remove(key).gives_way.notify_one();
        }
        let state = Rc::new(State {
            client: Cell::new(client_of(address)),
            doing: Cell::new(Doing::Beginning),
            since: Cell::new(self.change()),
            is_stalled: Cell::new(false),
            is_stream: Cell::new(false),
            is_apart: Cell::new(false),
            gives_way: Notify::new(),
            reader: RefCell::new(None),
            when_read: RefCell::new(None),
        });
        let key = taken.insert(state.clone());
        Some(Rc::new(Seat { seats: self.clone(), state, key }))
    }

    fn change(&self) -> u64 {
        self.changes.set(self.changes.get() + 1);
        self.changes.get()
    }
}

/// The inactive connection that gives way.
fn idlest(taken: &Slab<Rc<State>>) -> Option<usize> {
    let idle = || taken.iter().filter(|(_, state)| state.may_give_way());
    let of = |client| idle().filter(|(_, state)| state.client.get() == client).count();
    let order = |state: &State| (Reverse(of(state.client.get()).max(SHARE)), state.since.get());
    idle().min_by_key(|(_, state)| order(state)).map(|(key, _)| key)
}

/// The connection whose answer has taken longest, if all are busy, so that a probe does not wait.
fn busiest(taken: &Slab<Rc<State>>) -> Option<usize> {
    let busy = taken.iter().filter(|(_, state)| !state.is_stream.get());
    busy.min_by_key(|(_, state)| state.since.get()).map(|(key, _)| key)
}

impl Seat {
    /// The connection is that of a client at `address`, which its proxy has sent.
    pub(super) fn is_of(&self, address: IpAddr) {
        self.state.client.set(client_of(address));
    }

    pub(super) fn enter(&self, doing: Doing) {
        if self.state.doing.replace(doing) != doing {
            self.state.since.set(self.seats.change());
        }
        match doing {
            Doing::Answering => {
                self.state.is_stream.set(false);
                self.state.is_apart.set(false);
            }
            // The time limit of the next request starts, and the reader checks it.
            Doing::Idle => {
                self.state.is_apart.set(false);
                self.state.reader.take().into_iter().for_each(Waker::wake);
            }
            Doing::Beginning | Doing::Head => (),
        }
    }

    /// Marks the answer as a stream with a time limit of its own
    /// ([`STALLED_AFTER`](crate::engine::STALLED_AFTER)).
    pub(super) fn streams(&self) {
        self.state.is_stream.set(true);
    }

    /// Marks the answer as a stream of events, beside the places.
    pub(super) fn stands_apart(&self) {
        self.streams();
        self.state.is_apart.set(true);
    }

    /// Calls `then` when the client has read all of its last answer, as far as that shows: it sends
    /// more or ends the connection. A client that closes the connection with bytes unread resets
    /// it, and `then` is dropped.
    pub(super) fn when_read(&self, then: impl FnOnce() + 'static) {
        self.state.when_read.replace(Some(Box::new(then)));
    }

    /// A read has ended, with an error or with bytes, none at the end of the connection.
    fn has_read(&self, error: Option<&io::Error>) {
        let then = self.state.when_read.take();
        let is_reset = error.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionReset);
        if let Some(then) = then.filter(|_| !is_reset) {
            then();
        }
    }

    fn stall(&self, is_stalled: bool) {
        if self.state.is_stalled.replace(is_stalled) != is_stalled {
            self.state.since.set(self.seats.change());
        }
    }

    /// Completes when the connection has to give way to another.
    pub(super) async fn given_up(&self) {
        self.state.gives_way.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.borrow_mut();
        // A connection that gave way has no place any more; its key may belong to another.
        if taken.get(self.key).is_some_and(|state| Rc::ptr_eq(state, &self.state)) {
            taken.remove(self.key);
        }
    }
}
