//! What a connection, hyper's view of it, its service and the sweep share, grouped by who needs it.
//!
//! What one alone needs stands with it: what a connection holds of the memory budget in
//! [`connection`](crate::http::server::connection).

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::task::Waker;

use crate::http::conn::phase::{Phase, Tick, Verdict};
use crate::http::conn::stream_task::Task;
use crate::http::h1::framing::Framer;
use crate::http::h1::head::Refused;
use crate::http::h2::window::Window;
use crate::net::buffer::Buffer;
use crate::service::authentication::CachedCredentials;
use crate::service::gathered::GroupLen;
use crate::service::memory_budget::{HeldBytes, Holder};
use crate::trace::Draw;

/// The `Host` of a connection's requests, so that it is looked at once. A longer one is looked at
/// each time.
pub(in crate::http) struct LastHost {
    bytes: [u8; 47],
    len: u8,
}

impl Default for LastHost {
    fn default() -> Self {
        Self { bytes: [0; 47], len: 0 }
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
    /// Bytes on their way.
    pub(in crate::http) wire: Wire,
    /// What the sweep judges, and its verdict.
    pub(in crate::http) watch: Watch,
    pub(in crate::http) http1: Http1,
    pub(in crate::http) is_http2: Cell<bool>,
    pub(in crate::http) http2: Http2,
    /// Who is at the other end.
    pub(in crate::http) client: Client,
    /// Memory held for this connection.
    pub(in crate::http) totals: HeldBytes,
}

/// Bytes between the socket, which the connection reads and writes, and hyper or the hot path.
pub(in crate::http) struct Wire {
    /// Read from the socket, not yet taken by hyper.
    pub(in crate::http) input: RefCell<Buffer>,
    /// Written by hyper, not yet taken by the socket.
    pub(in crate::http) output: RefCell<Buffer>,
    /// The peer has finished sending.
    pub(in crate::http) eof: Cell<bool>,
    /// hyper found the input empty: it wants to be polled after the next read.
    pub(in crate::http) wants_input: Cell<bool>,
    /// hyper found the output full: it wants to be polled after the next flush.
    pub(in crate::http) wants_output: Cell<bool>,
}

/// What the sweep judges a connection by, and how it says so.
pub(in crate::http) struct Watch {
    /// What the connection is doing, and since when.
    pub(in crate::http) phase: Cell<Phase>,
    pub(in crate::http) since: Cell<Tick>,
    /// Since when the peer has not taken output; `None` where none waits.
    pub(in crate::http) stalled: Cell<Option<Tick>>,
    /// What the sweep decided about this connection.
    pub(in crate::http) verdict: Cell<Option<Verdict>>,
    /// The task that serves this connection.
    pub(in crate::http) waker: RefCell<Option<Waker>>,
}

/// What hyper's side of an HTTP/1 connection knows of the requests in the input.
pub(in crate::http) struct Http1 {
    /// Where in a request the input is.
    pub(super) framer: RefCell<Framer>,
    /// hyper has asked for the head of a request, and nothing of one was looked at.
    pub(super) is_between_requests: Cell<bool>,
    /// Whether the next request has a span, as far as the hot path has decided.
    pub(in crate::http) draw: Cell<Draw>,
    /// Bytes of requests that had arrived when the server began to drain and that hyper has not
    /// taken; `None` before that.
    owed_len: Cell<Option<usize>>,
}

/// The streams of an HTTP/2 connection.
pub(in crate::http) struct Http2 {
    /// Streams whose answer has not been sent.
    pub(in crate::http) streams: Cell<usize>,
    /// What will serve the stream whose request the service was given last.
    pub(in crate::http) begun: Cell<Option<Rc<Task>>>,
    /// What the peer lets the connection send.
    pub(in crate::http) window: RefCell<Window>,
    /// Answers on their way that are watched.
    pub(in crate::http) sending: Cell<usize>,
    /// When an answer was sent a byte of, or the first of those on their way began.
    pub(in crate::http) sent_at: Cell<Tick>,
    /// A stream was reset since, so that others can send.
    pub(in crate::http) is_relieved: Cell<bool>,
    /// Memory of heads without a key that wait for their bodies.
    pub(in crate::http) keyless_heads: Cell<usize>,
    /// Nothing is left to be answered to a peer that has finished sending. Before that hyper is not
    /// told, because it would drop the streams.
    pub(in crate::http) is_answered: Cell<bool>,
}

/// Who is at the other end of a connection, and what was accepted of it.
pub(in crate::http) struct Client {
    /// Where it is.
    pub(in crate::http) peer: Cell<IpAddr>,
    pub(in crate::http) peer_port: Cell<u16>,
    /// A page in a browser cannot have opened this connection: any `Host` is accepted.
    pub(in crate::http) is_beyond_pages: Cell<bool>,
    /// The key that was shown last.
    pub(in crate::http) credentials: CachedCredentials,
    /// The `Host` that was accepted last.
    pub(in crate::http) host: RefCell<LastHost>,
    /// How many of its requests are looked up together.
    pub(in crate::http) together: Cell<GroupLen>,
}

impl Client {
    /// The client's address is known: before it has shown anything.
    pub(in crate::http) fn is_at(&self, address: SocketAddr) {
        self.peer.set(address.ip());
        self.peer_port.set(address.port());
        self.credentials.at(address.ip());
    }
}

impl ConnState {
    pub(in crate::http) fn new(now: Tick) -> Self {
        Self {
            wire: Wire::new(),
            watch: Watch::new(now),
            http1: Http1 {
                framer: RefCell::default(),
                is_between_requests: Cell::new(true),
                draw: Cell::default(),
                owed_len: Cell::new(None),
            },
            is_http2: Cell::new(false),
            http2: Http2::new(now),
            client: Client::unknown(),
            totals: HeldBytes::default(),
        }
    }

    /// Where the peer is, as the audit log names it.
    pub(in crate::http) fn address(&self) -> SocketAddr {
        let Client { peer, peer_port, .. } = &self.client;
        SocketAddr::new(peer.get().to_canonical(), peer_port.get())
    }

    /// Goes to `phase`, whose time limit counts from `now`.
    pub(in crate::http) fn enter(&self, phase: Phase, now: Tick) {
        self.watch.phase.set(phase);
        self.watch.since.set(now);
    }

    /// The time limit of a head or of an idle connection counts from `now`: before, answers waited for
    /// the peer, and nothing was read.
    pub(in crate::http) fn restart_limit(&self, now: Tick) {
        if matches!(self.watch.phase.get(), Phase::Head | Phase::Idle) {
            self.watch.since.set(now);
        }
    }

    /// The service gave an answer, which hyper writes next.
    pub(in crate::http) fn answered(&self, now: Tick) {
        if !self.is_http2.get() {
            self.enter(Phase::Answered, now);
        }
    }

    /// Who holds memory for this connection, where it has shown nothing yet.
    pub(in crate::http) fn holder(&self) -> Holder {
        Holder { totals: self.totals.clone(), access: None }
    }

    /// HTTP/1: true where hyper has written every answer, and nothing of a further request was looked
    /// at on its way: only then may the hot path answer what is in the input, in hyper's place.
    pub(in crate::http) fn is_between_requests(&self) -> bool {
        self.http1.is_between_requests.get()
    }

    /// HTTP/1: hyper has all that has come of a request, and nothing of a further one has come.
    pub(in crate::http) fn has_no_further_request(&self) -> bool {
        self.http1.framer.borrow().is_at_head() && self.wire.input.borrow().is_empty()
    }

    /// HTTP/1, while the server drains: whether a request waits for hyper of which a part or all had
    /// arrived at the first call. Later ones do not count, so that no client can prolong a drain.
    pub(in crate::http) fn owes_answers(&self) -> bool {
        let owed = &self.http1.owed_len;
        let len = owed.get().unwrap_or_else(|| self.wire.input.borrow().len());
        owed.set(Some(len));
        len > 0
    }

    /// HTTP/1: whether [`ConnState::owes_answers`] has been called.
    pub(in crate::http) fn knows_what_it_owes(&self) -> bool {
        self.http1.owed_len.get().is_some()
    }

    /// HTTP/1, while the server drains: whether the request that hyper has is the last one.
    pub(in crate::http) fn owes_no_further_answer(&self) -> bool {
        self.wire.input.borrow().is_empty() || self.http1.owed_len.get() == Some(0)
    }

    /// HTTP/1: `len` bytes of the input are skipped or with hyper.
    pub(super) fn took(&self, len: usize) {
        if let Some(owed) = self.http1.owed_len.get() {
            self.http1.owed_len.set(Some(owed.saturating_sub(len)));
        }
    }

    /// HTTP/1: why a head was refused, if one was. hyper ends once it has written what it owes.
    pub(in crate::http) fn refused_head(&self) -> Option<Refused> {
        self.http1.framer.borrow().refused_head()
    }

    pub(in crate::http) fn wake(&self) {
        if let Some(waker) = &*self.watch.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

impl Wire {
    fn new() -> Self {
        Self {
            input: RefCell::default(),
            output: RefCell::default(),
            eof: Cell::new(false),
            wants_input: Cell::new(true),
            wants_output: Cell::new(false),
        }
    }
}

impl Watch {
    fn new(now: Tick) -> Self {
        Self {
            phase: Cell::new(Phase::Idle),
            since: Cell::new(now),
            stalled: Cell::new(None),
            verdict: Cell::new(None),
            waker: RefCell::new(None),
        }
    }
}

impl Http2 {
    fn new(now: Tick) -> Self {
        Self {
            streams: Cell::new(0),
            begun: Cell::new(None),
            window: RefCell::default(),
            sending: Cell::new(0),
            sent_at: Cell::new(now),
            is_relieved: Cell::new(false),
            keyless_heads: Cell::new(0),
            is_answered: Cell::new(false),
        }
    }
}

impl Client {
    fn unknown() -> Self {
        Self {
            peer: Cell::new(Ipv4Addr::UNSPECIFIED.into()),
            peer_port: Cell::new(0),
            is_beyond_pages: Cell::new(false),
            credentials: CachedCredentials::default(),
            host: RefCell::default(),
            together: Cell::default(),
        }
    }
}
