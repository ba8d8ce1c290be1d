//! One connection: it performs the commands that have arrived, in their order, and moves bytes.
//!
//! Clients that send a long pipeline before they read their first answer would wait for ever for a
//! server that stops to read while its answers wait. So answers of up to [`OUTPUT_LEN_MAX`] bytes
//! wait for one connection, as far as its share of the memory budget allows, and only then it is
//! read no further. A peer that takes nothing is ended by the sweep (promise P8).

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::buffer::Buffer;
use crate::net::tick::Tick;
use crate::resp::conn::{Conn, Phase, Slot, Verdict, Worker};
use crate::resp::dispatch::Dispatcher;
use crate::resp::parse::{Parsed, Parser};
use crate::resp::quick::{self, Room};
use crate::resp::reply::Reply;
use crate::service::memory_budget::{Charge, FREE_LEN};

/// Answers that wait for one connection, in bytes, before it is read no further.
pub(in crate::resp) const OUTPUT_LEN_MAX: usize = 32 << 20;
/// As many of them may still wait when it is read again.
const OUTPUT_LEN_RESUMED: usize = OUTPUT_LEN_MAX / 2;
/// What a peer may still send after the last answer.
const DISCARDED_MAX: usize = 4 << 20;
/// Commands that are performed before other connections have their turn.
const TURN: usize = 1_024;

/// A connection being served, over a socket or whatever else reads and writes.
pub(in crate::resp) struct Connection<S> {
    socket: S,
    worker: Rc<Worker>,
    conn: Rc<Conn>,
    dispatcher: Dispatcher,
    parser: Parser,
    input: Buffer,
    output: Buffer,
    /// The peer has finished sending.
    is_eof: bool,
    /// When the connection began.
    began: Tick,
    /// A command of a client that may send some was taken.
    has_served: bool,
    /// Commands since other connections had their turn.
    turn: usize,
    input_charge: Option<Charge>,
    output_charge: Option<Charge>,
}

/// How far the commands came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Performed {
    /// All that had arrived.
    All,
    /// There is no room for further answers.
    Full,
    /// The last answer was given.
    Last,
}

/// What has moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moved {
    /// There is more input, or room for more output.
    On,
    /// The peer has everything and sends nothing more.
    Ended,
    Decided(Verdict),
}

/// Answers that wait for the peer.
struct Waiting<'a> {
    worker: &'a Worker,
    conn: &'a Conn,
    dispatcher: &'a Dispatcher,
    output: &'a mut Buffer,
    charge: &'a mut Option<Charge>,
}

impl Room for Waiting<'_> {
    fn output(&mut self) -> &mut Buffer {
        self.output
    }

    fn has_room(&mut self) -> bool {
        let Self { worker, conn, dispatcher, output, charge } = self;
        if output.capacity() <= FREE_LEN {
            return true;
        }
        if output.len() >= OUTPUT_LEN_MAX {
            return false;
        }
        // A client that has not authenticated gets no memory for its answers.
        if charge.is_none() && dispatcher.is_stranger() {
            return false;
        }
        let new = || worker.service.budget.charge(&conn.holder(dispatcher.principal()));
        charge.get_or_insert_with(new).grow_to(output.capacity())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(in crate::resp) fn new(socket: S, worker: Rc<Worker>, conn: Rc<Conn>) -> Self {
        let dispatcher = Dispatcher::new(worker.clone(), conn.clone());
        let began = worker.now();
        Self {
            began,
            has_served: false,
            turn: 0,
            socket,
            worker,
            conn,
            dispatcher,
            parser: Parser::default(),
            input: Buffer::default(),
            output: Buffer::default(),
            is_eof: false,
            input_charge: None,
            output_charge: None,
        }
    }

    /// A connection to which only `last` is said.
    pub(in crate::resp) async fn farewell(mut self, last: &[u8], _slot: Slot) {
        self.output.push(last);
        self.close().await;
    }

    /// Serves it until its end.
    pub(in crate::resp) async fn serve(mut self, _slot: Slot) {
        loop {
            let performed = self.perform().await;
            match performed {
                Performed::Last => return self.close().await,
                // The peer need not send more before it has taken what waits: that has a limit.
                Performed::Full => self.conn.enter(Phase::Busy, self.worker.now()),
                Performed::All => self.settle_phase(),
            }
            match poll_fn(|cx| self.poll_move(cx, performed == Performed::Full)).await {
                Ok(Moved::On) => {}
                Ok(Moved::Decided(Verdict::Drop)) | Err(_) => return,
                Ok(Moved::Ended | Moved::Decided(Verdict::Close)) => return self.close().await,
                Ok(Moved::Decided(Verdict::Drain)) => return self.drain().await,
            }
        }
    }

    /// What has arrived is answered; nothing more is read.
    async fn drain(mut self) {
        while !self.is_eof && self.input.len() < FREE_LEN {
            let read = poll_fn(|cx| Poll::Ready(self.poll_read(cx))).await;
            if !matches!(read, Poll::Ready(Ok(()))) {
                break;
            }
        }
        while self.perform().await == Performed::Full {
            match poll_fn(|cx| self.poll_move(cx, true)).await {
                Ok(Moved::Decided(Verdict::Drop)) | Err(_) => return,
                Ok(_) => {}
            }
        }
        self.close().await;
    }

    /// Performs all commands that have arrived, as far as there is room for their answers.
    async fn perform(&mut self) -> Performed {
        loop {
            self.get_quickly();
            if self.turn >= TURN {
                self.turn = 0;
                tokio::task::yield_now().await;
                continue;
            }
            if !self.has_room() {
                self.dispatcher.settle(&mut self.output).await;
                if !self.has_room() {
                    return Performed::Full;
                }
            }
            let is_stranger = !self.input.is_empty() && self.dispatcher.is_stranger();
            match self.parser.next(self.input.unread(), is_stranger) {
                Parsed::Partial => {
                    self.dispatcher.settle(&mut self.output).await;
                    return if self.charge_input() { Performed::All } else { self.refuse_input() };
                }
                Parsed::Nothing(len) => self.input.advance(len),
                Parsed::Malformed(malformed) => {
                    self.dispatcher.settle(&mut self.output).await;
                    self.error(&format!("ERR Protocol error: {malformed}"));
                    return Performed::Last;
                }
                Parsed::Command(words, len) => {
                    self.input.advance(len);
                    self.served(1, !is_stranger);
                    // The words stay in memory until all is done.
                    let charge = self.input_charge.take();
                    self.dispatcher.perform(words, &mut self.output).await;
                    if charge.is_some() {
                        self.dispatcher.settle(&mut self.output).await;
                    }
                    if self.dispatcher.session.is_closing {
                        self.dispatcher.settle(&mut self.output).await;
                        return Performed::Last;
                    }
                }
            }
        }
    }

    /// Answers the canonical `GET`s at the front of the input, as far as it is the turn of this
    /// connection.
    fn get_quickly(&mut self) {
        if !self.dispatcher.is_plain() || self.parser.is_within() {
            return;
        }
        while self.turn < TURN && self.has_room() {
            let max = TURN - self.turn;
            let Self { worker, conn, dispatcher, input, output, output_charge, .. } = self;
            let mut room = Waiting { worker, conn, dispatcher, output, charge: output_charge };
            let get = match worker.service.traced {
                None => quick::get::<false>,
                Some(_) => quick::get::<true>,
            };
            match get(worker, conn, &dispatcher.session, input, (max, &mut room)) {
                0 => return,
                count => self.served(count, true),
            }
        }
    }

    /// Commands were taken.
    fn served(&mut self, count: usize, is_known: bool) {
        self.turn += count;
        self.worker.serves(self.dispatcher.session.id);
        self.has_served |= is_known;
        if self.conn.phase() != Phase::Busy {
            self.conn.enter(Phase::Busy, self.worker.now());
        }
    }

    fn error(&mut self, text: &str) {
        let is_3 = self.dispatcher.session.is_3;
        Reply::new(self.output.tail(0), is_3).error(text);
    }

    /// Whether another answer may wait.
    fn has_room(&mut self) -> bool {
        let Self { worker, conn, dispatcher, output, output_charge, .. } = self;
        Waiting { worker, conn, dispatcher, output, charge: output_charge }.has_room()
    }

    /// Counts a command that is arriving, if it is long; false where there is no room for it.
    fn charge_input(&mut self) -> bool {
        let capacity = self.input.capacity() + self.parser.capacity();
        if capacity <= FREE_LEN {
            return true;
        }
        let (budget, conn) = (&self.worker.service.budget, &self.conn);
        let access = self.dispatcher.principal();
        let charge = self.input_charge.get_or_insert_with(|| budget.charge(&conn.holder(access)));
        charge.grow_to(capacity)
    }

    fn refuse_input(&mut self) -> Performed {
        self.error("OOM no memory for so long a command at the moment (--max-inflight); try again");
        Performed::Last
    }

    /// The phase of a connection that waits for its peer.
    fn settle_phase(&mut self) {
        match (self.conn.phase(), self.input.is_empty()) {
            // The limit of a command that is arriving counts from its first byte.
            (Phase::Partial, false) => {}
            (_, false) => self.conn.enter(Phase::Partial, self.worker.now()),
            (_, true) if self.has_served => self.conn.enter(Phase::Idle, self.worker.now()),
            (_, true) => self.conn.enter(Phase::New, self.began),
        }
    }

    /// Writes what waits, and reads unless the output is full.
    fn poll_move(&mut self, cx: &mut Context<'_>, is_full: bool) -> Poll<io::Result<Moved>> {
        if let Some(verdict) = self.conn.verdict(cx.waker()) {
            return Poll::Ready(Ok(Moved::Decided(verdict)));
        }
        let is_written = match self.poll_write(cx) {
            Poll::Ready(written) => {
                written?;
                true
            }
            Poll::Pending => false,
        };
        if is_full {
            // Whoever goes on without room would come back at once.
            self.output.give_back();
            let is_low = self.output.len() <= OUTPUT_LEN_RESUMED;
            let may_go_on = is_written || (is_low && self.has_room());
            return if may_go_on { Poll::Ready(Ok(Moved::On)) } else { Poll::Pending };
        }
        if !self.is_eof {
            ready!(self.poll_read(cx))?;
        }
        match (self.is_eof, is_written) {
            (false, _) => Poll::Ready(Ok(Moved::On)),
            (true, true) => Poll::Ready(Ok(Moved::Ended)),
            (true, false) => Poll::Pending,
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            match Pin::new(&mut self.socket).poll_write(cx, self.output.unread()) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(len)) => {
                    self.worker.counters.add_bytes_out(len);
                    self.output.advance(len);
                    self.conn.takes();
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.conn.stalls(self.worker.now(), self.output.capacity());
                    return Poll::Pending;
                }
            }
        }
        // A socket holds nothing back; TLS does.
        if let Poll::Ready(flushed) = Pin::new(&mut self.socket).poll_flush(cx) {
            flushed?;
            self.conn.has_all();
            self.output_charge = None;
            return Poll::Ready(Ok(()));
        }
        self.conn.stalls(self.worker.now(), 0);
        Poll::Pending
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scratch = self.worker.scratch.borrow_mut();
        let mut buf = ReadBuf::new(&mut scratch);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buf))?;
        let read = buf.filled();
        self.worker.counters.add_bytes_in(read.len());
        self.is_eof = read.is_empty();
        self.input.push(read);
        Poll::Ready(Ok(()))
    }

    /// Sends what waits, shuts our side and discards what still arrives: a socket that is closed over
    /// unread bytes resets the connection, and the peer may lose the last answer.
    async fn close(mut self) {
        // What waits has the limits of any answer; then the peer has a moment to read the last.
        self.conn.enter(Phase::Busy, self.worker.now());
        self.input.clear();
        let (mut is_shut, mut discarded) = (false, 0);
        let conn = self.conn.clone();
        let closing = poll_fn(|cx| {
            ready!(self.poll_write(cx))?;
            if self.conn.phase() != Phase::Linger {
                self.conn.enter(Phase::Linger, self.worker.now());
            }
            if !is_shut {
                ready!(Pin::new(&mut self.socket).poll_shutdown(cx))?;
                is_shut = true;
            }
            while !self.is_eof && discarded < DISCARDED_MAX && !self.worker.is_draining.get() {
                ready!(self.poll_read(cx))?;
                discarded += self.input.len();
                self.input.clear();
            }
            Poll::Ready(io::Result::Ok(()))
        });
        // Whatever ends it: there is nothing left to say.
        let _ = conn.until_drop(closing).await;
    }
}
