//! What a connection, hyper's view of it, its service and the sweep share.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::task::Waker;

use crate::http::conn::buffer::Buffer;
use crate::http::conn::phase::{Phase, Tick, Verdict};
use crate::http::conn::stream_task::Task;
use crate::http::h1::framing::Framer;
use crate::http::h1::head::Refused;
use crate::http::h2::window::Window;
use crate::service::authentication::CachedCredentials;
use crate::service::memory_budget::{Budget, Charge, HeldBytes, Holder};

/// A head up to this length is bounded by the number of connections alone.
const FREE_HEAD_LEN: usize = 4 * 1024;

/// The `Host` of a connection's requests, so that it is looked at once. A longer one is looked at
/// each time.
pub(in crate::http) struct LastHost {
    bytes: [u8; 47],
    len: u8,
}

impl Default for LastHost {
    fn default() -> LastHost {
        LastHost { bytes: [0; 47], len: 0 }
    }
}

impl LastHost {
    /// Empty where there is none.
    pub(in crate::http) fn text(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Keeps `host`, if it is short enough.
    pub(in crate::http) fn keep(&mut self, host: &[u8]) {
        if let (Some(room), Ok(len)) = (self.bytes.get_mut(..host.len()), host.len().try_into()) {
            room.copy_from_slice(host);
            self.len = len;
        }
    }
}

/// What a connection, hyper's view of it, its service and the sweep share.
pub(in crate::http) struct ConnState {
    /// Read from the socket, not yet taken by hyper.
    pub(in crate::http) input: RefCell<Buffer>,
    /// Written by hyper, not yet taken by the socket.
    pub(in crate::http) output: RefCell<Buffer>,
    /// The peer has finished sending.
    pub(in crate::http) eof: Cell<bool>,
    /// HTTP/2: nothing is left to be answered to a peer that has finished sending. Before that hyper
    /// is not told, because it would drop the streams.
    pub(in crate::http) is_answered: Cell<bool>,
    /// Bytes the peer has sent.
    pub(in crate::http) received: Cell<usize>,
    /// hyper found the input empty: it wants to be polled after the next read.
    pub(in crate::http) wants_input: Cell<bool>,
    /// hyper found the output full: it wants to be polled after the next flush.
    pub(in crate::http) wants_output: Cell<bool>,
    /// What the connection is doing, and since when.
    pub(in crate::http) phase: Cell<Phase>,
    pub(in crate::http) since: Cell<Tick>,
    /// Since when the peer has not taken output; `None` where none waits.
    pub(in crate::http) stalled: Cell<Option<Tick>>,
    /// What waits for a peer that does not read.
    pub(in crate::http) stalled_charge: RefCell<Option<Charge>>,
    /// What the sweep decided about this connection.
    pub(in crate::http) verdict: Cell<Option<Verdict>>,
    /// The task that serves this connection.
    pub(in crate::http) waker: RefCell<Option<Waker>>,
    /// HTTP/2: streams whose answer has not been sent.
    pub(in crate::http) streams: Cell<usize>,
    pub(in crate::http) is_http2: Cell<bool>,
    /// HTTP/2: what the peer lets the connection send.
    pub(in crate::http) window: RefCell<Window>,
    /// HTTP/2: what will serve the stream whose request the service was given last.
    pub(in crate::http) begun: Cell<Option<Rc<Task>>>,
    /// Answers on their way that are watched.
    pub(in crate::http) sending: Cell<usize>,
    /// HTTP/2: when an answer was sent a byte of, or the first of those on their way began.
    pub(in crate::http) sent_at: Cell<Tick>,
    /// HTTP/2: a stream was reset since, so that others can send.
    pub(in crate::http) is_relieved: Cell<bool>,
    /// HTTP/2: memory of heads without a key that wait for their bodies.
    pub(in crate::http) keyless_heads: Cell<usize>,
    /// Memory held for this connection.
    pub(in crate::http) totals: HeldBytes,
    /// HTTP/1: what a long head takes, until the next request.
    head_charge: RefCell<Option<Charge>>,
    /// HTTP/1: where in a request the input is.
    pub(super) framer: RefCell<Framer>,
    /// HTTP/1: hyper has asked for the head of a request, and nothing of one was looked at.
    pub(super) is_between_requests: Cell<bool>,
    /// The key that was shown last.
    pub(in crate::http) credentials: CachedCredentials,
    /// The `Host` that was accepted last.
    pub(in crate::http) host: RefCell<LastHost>,
    /// A page in a browser cannot have opened this connection: any `Host` is accepted.
    pub(in crate::http) is_beyond_pages: Cell<bool>,
    /// Where the client is.
    pub(in crate::http) peer: Cell<IpAddr>,
    pub(in crate::http) peer_port: Cell<u16>,
}

impl ConnState {
    pub(in crate::http) fn new(now: Tick) -> ConnState {
        ConnState {
            input: RefCell::default(),
            output: RefCell::default(),
            eof: Cell::new(false),
            is_answered: Cell::new(false),
            received: Cell::new(0),
            wants_input: Cell::new(true),
            wants_output: Cell::new(false),
            phase: Cell::new(Phase::Idle),
            since: Cell::new(now),
            stalled: Cell::new(None),
            stalled_charge: RefCell::new(None),
            verdict: Cell::new(None),
            waker: RefCell::new(None),
            streams: Cell::new(0),
            is_http2: Cell::new(false),
            window: RefCell::default(),
            begun: Cell::new(None),
            sending: Cell::new(0),
            sent_at: Cell::new(now),
            is_relieved: Cell::new(false),
            keyless_heads: Cell::new(0),
            totals: HeldBytes::default(),
            head_charge: RefCell::new(None),
            framer: RefCell::default(),
            is_between_requests: Cell::new(true),
            credentials: CachedCredentials::default(),
            host: RefCell::default(),
            is_beyond_pages: Cell::new(false),
            peer: Cell::new(Ipv4Addr::UNSPECIFIED.into()),
            peer_port: Cell::new(0),
        }
    }

    /// Where the peer is, as the audit log names it.
    pub(in crate::http) fn address(&self) -> SocketAddr {
        SocketAddr::new(self.peer.get().to_canonical(), self.peer_port.get())
    }

    /// Goes to `phase`, whose time limit counts from `now`.
    pub(in crate::http) fn enter(&self, phase: Phase, now: Tick) {
        self.phase.set(phase);
        self.since.set(now);
    }

    /// The service gave an answer, which hyper writes next.
    pub(in crate::http) fn answered(&self, now: Tick) {
        if !self.is_http2.get() {
            self.enter(Phase::Answered, now);
        }
    }

    /// After hyper was polled: an answered connection is idle, or waits for the rest of a head.
    pub(in crate::http) fn settle(&self, now: Tick) {
        if self.phase.get() == Phase::Answered {
            let is_partial = !self.framer.borrow().is_at_head() || !self.input.borrow().is_empty();
            self.enter(if is_partial { Phase::Head } else { Phase::Idle }, now);
            self.head_charge.take();
        }
    }

    /// HTTP/1: counts the head that is arriving, if it is long. False where there is no room for it.
    pub(in crate::http) fn charge_head(&self, budget: &Budget) -> bool {
        // A head waits here until it is whole, and goes to hyper before more is read.
        let input = self.input.borrow();
        if self.is_http2.get() || input.len() <= FREE_HEAD_LEN {
            return true;
        }
        let holder = self.holder();
        let mut charge = self.head_charge.borrow_mut();
        charge.get_or_insert_with(|| budget.charge(&holder)).grow_head_to(input.capacity())
    }

    /// Who holds memory for this connection, where it has shown nothing yet.
    pub(in crate::http) fn holder(&self) -> Holder {
        Holder { totals: self.totals.clone(), access: None }
    }

    /// HTTP/1: true where hyper has written every answer, and nothing of a further request was looked
    /// at on its way: only then may the hot path answer what is in `input`, in hyper's place.
    pub(in crate::http) fn is_between_requests(&self) -> bool {
        self.is_between_requests.get()
    }

    /// HTTP/1: a request has begun to arrive, and hyper has nothing of it.
    pub(in crate::http) fn awaits_rest_of_head(&self) -> bool {
        self.phase.get() == Phase::Head
            && self.framer.borrow().is_at_head()
            && !self.input.borrow().is_empty()
    }

    /// HTTP/1: why a head was refused, if one was. hyper ends once it has written what it owes.
    pub(in crate::http) fn refused_head(&self) -> Option<Refused> {
        self.framer.borrow().refused_head()
    }

    pub(in crate::http) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}
