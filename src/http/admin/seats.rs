//! The connection places of the admin listener, and which connection gives way, so that a probe
//! always gets one.
//!
//! There are [`SEATS_MAX`] places. If none is free, a new connection takes the place of an inactive
//! one: a connection that is idle, in the middle of a head or a handshake, or not reading its
//! answer. Clients with more than [`SHARE`] inactive connections give way before all others, the
//! client with the most of them first, so that a crowd takes no place from a probe. Among equals,
//! the connection that has been inactive for longest gives way. If no connection is inactive, the
//! one whose answer has taken longest gives way. A running backup, or a page's stream of events,
//! never gives way; it ends only by its own time limit. A client is an IPv4 address, an IPv6 /64
//! network, or all peers of a Unix socket together.
//!
//! The time limits are those of the data listener: `--idle-timeout` without a request,
//! `--header-timeout` for a head, `--write-timeout` for a peer that reads nothing.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper::body::{Body, Frame, SizeHint};
use slab::Slab;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Sleep, sleep};

use crate::engine::STALLED_AFTER;
use crate::http::config::Limits;

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
    client: IpAddr,
    doing: Cell<Doing>,
    /// The change at which it entered this state, or started to wait for its peer.
    since: Cell<u64>,
    /// Whether its peer reads nothing of the answer.
    is_stalled: Cell<bool>,
    /// Whether its last answer is a stream with a time limit of its own.
    is_stream: Cell<bool>,
    gives_way: Notify,
    /// The task whose read found no data, to be woken.
    reader: RefCell<Option<Waker>>,
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
        if taken.len() >= SEATS_MAX {
            let key = idlest(&taken).or_else(|| busiest(&taken))?;
            taken.remove(key).gives_way.notify_one();
        }
        let state = Rc::new(State {
            client: client_of(address),
            doing: Cell::new(Doing::Beginning),
            since: Cell::new(self.change()),
            is_stalled: Cell::new(false),
            is_stream: Cell::new(false),
            gives_way: Notify::new(),
            reader: RefCell::new(None),
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
    let of = |client| idle().filter(|(_, state)| state.client == client).count();
    let order = |state: &State| (Reverse(of(state.client).max(SHARE)), state.since.get());
    idle().min_by_key(|(_, state)| order(state)).map(|(key, _)| key)
}

/// The connection whose answer has taken longest, if all are busy, so that a probe does not wait.
fn busiest(taken: &Slab<Rc<State>>) -> Option<usize> {
    let busy = taken.iter().filter(|(_, state)| !state.is_stream.get());
    busy.min_by_key(|(_, state)| state.since.get()).map(|(key, _)| key)
}

impl Seat {
    pub(super) fn enter(&self, doing: Doing) {
        if self.state.doing.replace(doing) != doing {
            self.state.since.set(self.seats.change());
        }
        match doing {
            Doing::Answering => self.state.is_stream.set(false),
            // The time limit of the next request starts, and the reader checks it.
            Doing::Idle => drop(self.state.reader.take().map(Waker::wake)),
            Doing::Beginning | Doing::Head => (),
        }
    }

    /// Marks the answer as a stream with a time limit of its own ([`STALLED_AFTER`]).
    pub(super) fn streams(&self) {
        self.state.is_stream.set(true);
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

/// A running time limit, and the change at which it started.
type Timer = Option<(u64, Pin<Box<Sleep>>)>;

/// Measures from `since`; returns an error once `limit` has passed.
fn poll_timer(
    timer: &mut Timer,
    since: u64,
    limit: Duration,
    cx: &mut Context<'_>,
) -> Poll<io::Error> {
    if timer.as_ref().is_none_or(|(counted, _)| *counted != since) {
        *timer = Some((since, Box::pin(sleep(limit))));
    }
    let Some((_, sleep)) = timer else { return Poll::Pending };
    sleep.as_mut().poll(cx).map(|()| io::ErrorKind::TimedOut.into())
}

/// A connection with its time limits.
pub(super) struct SeatStream<S> {
    stream: S,
    seat: Rc<Seat>,
    limits: Limits,
    reading: Timer,
    writing: Timer,
}

impl<S> SeatStream<S> {
    pub(super) fn new(stream: S, seat: Rc<Seat>, limits: Limits) -> Self {
        seat.enter(Doing::Idle);
        Self { stream, seat, limits, reading: None, writing: None }
    }

    /// Records the result of a write: whether the peer accepts data, and for how long it has not.
    fn sent<T>(&mut self, sent: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        self.seat.stall(sent.is_pending());
        if sent.is_ready() {
            self.writing = None;
            return sent;
        }
        let state = &self.seat.state;
        let limit = if state.is_stream.get() { STALLED_AFTER } else { self.limits.write_timeout };
        poll_timer(&mut self.writing, 0, limit, cx).map(Err)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for SeatStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let state = &this.seat.state;
        let read = Pin::new(&mut this.stream).poll_read(cx, into);
        if read.is_ready() {
            if state.doing.get() == Doing::Idle {
                this.seat.enter(Doing::Head);
            }
            return read;
        }
        let limit = match state.doing.get() {
            Doing::Idle => this.limits.idle_timeout,
            Doing::Head => this.limits.header_timeout,
            Doing::Beginning | Doing::Answering => {
                state.reader.replace(Some(cx.waker().clone()));
                return Poll::Pending;
            }
        };
        poll_timer(&mut this.reading, state.since.get(), limit, cx).map(Err)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for SeatStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.sent(written, cx)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        this.sent(flushed, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.sent(shut, cx)
    }
}

/// An answer's body; when all of it is handed over, the connection becomes idle.
pub(super) struct Seated<B> {
    body: B,
    seat: Rc<Seat>,
}

impl<B> Seated<B> {
    pub(super) fn new(body: B, seat: Rc<Seat>) -> Self {
        Self { body, seat }
    }
}

impl<B: Body + Unpin> Body for Seated<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Seated<B> {
    fn drop(&mut self) {
        self.seat.enter(Doing::Idle);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// The address of the crowd.
    const CROWD: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    fn is_given_up(seat: &Seat) -> bool {
        let given_up = std::pin::pin!(seat.given_up());
        given_up.poll(&mut Context::from_waker(std::task::Waker::noop())).is_ready()
    }

    #[test]
    fn p8_who_has_done_nothing_for_longest_gives_way() {
        let seats = Rc::<Seats>::default();
        let all: Vec<_> = (0..SEATS_MAX).map(|_| seats.take(CROWD).unwrap()).collect();
        for seat in &all {
            seat.enter(Doing::Answering);
            seat.streams();
        }
        all[3].stall(true);
        assert!(
            seats.take(CROWD).is_none(),
            "a stream keeps its place, even while its peer reads \
            nothing"
        );
        all[9].enter(Doing::Idle);
        all[7].enter(Doing::Idle);
        all[7].enter(Doing::Head);
        for seat in [&all[5], &all[2]] {
            seat.enter(Doing::Answering);
        }
        all[5].stall(true);
        for expected in [9, 7, 5, 2] {
            let new = seats.take(CROWD).unwrap();
            assert!(is_given_up(&all[expected]), "{expected}");
            new.enter(Doing::Answering);
            new.streams();
            std::mem::forget(new);
        }
        assert!(seats.take(CROWD).is_none());
        drop(all);
        assert_eq!(
            seats.taken.borrow().len(),
            4,
            "a connection that gave way frees no other \
            place"
        );
    }

    #[test]
    fn p8_a_crowd_takes_no_place_from_another_client() {
        for [crowd, alone] in [["192.0.2.1", "192.0.2.2"], ["2001:db8::1", "2001:db8:0:1::1"]] {
            let [crowd, alone] = [crowd, alone].map(|text| text.parse::<IpAddr>().unwrap());
            let seats = Rc::<Seats>::default();
            let probe = seats.take(alone).unwrap();
            let crowd: Vec<_> = (0..3 * SEATS_MAX).map(|_| seats.take(crowd).unwrap()).collect();
            assert!(!is_given_up(&probe), "{alone} connected before all others");
            assert!(is_given_up(&crowd[0]) && !is_given_up(&crowd[3 * SEATS_MAX - 1]));
        }
    }

    fn address(last: usize) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(198, 51, 100, last as u8))
    }

    #[test]
    fn p8_a_client_with_a_few_connections_is_no_crowd() {
        let seats = Rc::<Seats>::default();
        let older = seats.take(address(200)).unwrap();
        let honest: Vec<_> = (0..SHARE).map(|_| seats.take(CROWD).unwrap()).collect();
        let others: Vec<_> =
            (honest.len() + 1..SEATS_MAX).map(|i| seats.take(address(i)).unwrap()).collect();
        let _new = seats.take(address(100)).unwrap();
        assert!(is_given_up(&older), "the one that has been inactive for longest");
        assert!(!honest.iter().chain(&others).any(|seat| is_given_up(seat)));
    }

    #[test]
    fn p8_a_backup_makes_no_client_a_crowd() {
        let seats = Rc::<Seats>::default();
        let older = seats.take(address(200)).unwrap();
        let all: Vec<_> = (0..2 * SHARE).map(|_| seats.take(CROWD).unwrap()).collect();
        let (streams, probes) = all.split_at(SHARE);
        for seat in streams {
            seat.enter(Doing::Answering);
            seat.streams();
        }
        let _others: Vec<_> =
            (all.len() + 1..SEATS_MAX).map(|i| seats.take(address(i)).unwrap()).collect();
        let _new = seats.take(address(100)).unwrap();
        assert!(is_given_up(&older) && !probes.iter().any(|seat| is_given_up(seat)));
    }

    #[test]
    fn p8_among_the_busy_the_longest_answer_gives_way_whatever_its_client() {
        let seats = Rc::<Seats>::default();
        let older = seats.take(address(200)).unwrap();
        let all: Vec<_> = (1..SEATS_MAX).map(|_| seats.take(CROWD).unwrap()).collect();
        for seat in std::iter::once(&older).chain(&all) {
            seat.enter(Doing::Answering);
        }
        let _new = seats.take(CROWD).unwrap();
        assert!(is_given_up(&older) && !all.iter().any(|seat| is_given_up(seat)));
    }

    #[test]
    fn p8_the_addresses_of_one_network_are_one_client() {
        let client = |text: &str| client_of(text.parse().unwrap());
        assert_eq!(client("2001:db8::1"), client("2001:db8::ffff:2"));
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
        assert_eq!(client("::ffff:192.0.2.1"), client("192.0.2.1"));
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
    }

    #[test]
    fn the_last_bytes_of_a_stream_are_still_its_own() {
        let seats = Rc::<Seats>::default();
        let all: Vec<_> = (0..SEATS_MAX).map(|_| seats.take(CROWD).unwrap()).collect();
        for seat in &all {
            seat.enter(Doing::Answering);
            seat.streams();
        }
        all[1].stall(true);
        all[1].enter(Doing::Idle);
        assert!(seats.take(CROWD).is_none());
        all[1].stall(false);
        assert!(seats.take(CROWD).is_some());
    }
}
