//! One connection: its socket, its side of the protocol, and what it still owes.

use std::net::SocketAddr;

use slab::Slab;

use crate::patience::begin_to_connect;
use crate::protocol::{Codec, Fault};
use crate::tls::wire::{Incoming, Moved, Shaken, Wire};
use crate::tls::{Handshake, LinkTls};
use crate::traffic::plan::Ask;

/// Buffers that grew beyond this are given back when they are empty.
const BUFFER_KEPT: usize = 64 * 1024;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// TCP's handshake is under way.
    Connecting {
        /// On the session's clock.
        since_ns: u64,
    },
    /// TLS's handshake is under way.
    Shaking {
        /// When TCP's began.
        since_ns: u64,
    },
    /// It takes requests.
    Open,
    /// It is gone; another try is due then.
    Down {
        /// On the session's clock.
        retry_ns: u64,
    },
}

/// A request that was sent.
#[derive(Debug)]
pub struct Outstanding {
    /// What was asked.
    pub ask: Ask,
    /// From when its latency counts: when it was due in an open loop, else when it was sent.
    pub since_ns: u64,
    /// When it was sent.
    pub sent_ns: u64,
    /// Whether its time is up, and only the place of its answer is still kept.
    pub is_late: bool,
}

/// A connection that was made for one request, of which its time is a part.
#[derive(Clone, Copy, Debug)]
pub struct Anew {
    /// How TLS was to begin.
    pub handshake: Handshake,
    /// When it was begun.
    pub since_ns: u64,
    /// How long it took until a request could be sent; 0 until then.
    pub shaken_ns: u64,
    /// When something was last done on it.
    pub touched_ns: u64,
    /// How long it was ready to go on and the harness was busy with others; estimated.
    pub queued_ns: u64,
    /// Of that until a request could be sent.
    pub queued_shaking_ns: u64,
}

impl Anew {
    /// Begun now.
    pub fn new(handshake: Handshake, now_ns: u64) -> Self {
        let (shaken_ns, queued_ns, queued_shaking_ns) = (0, 0, 0);
        let (since_ns, touched_ns) = (now_ns, now_ns);
        Self { handshake, since_ns, shaken_ns, touched_ns, queued_ns, queued_shaking_ns }
    }

    /// It became ready to go on between `ready_ns`, and is served now.
    pub fn serve(&mut self, ready_ns: (u64, u64), now_ns: u64) {
        // What was last done on it came before.
        let from_ns = ready_ns.0.max(self.touched_ns);
        let to_ns = ready_ns.1.max(from_ns);
        self.queued_ns += now_ns.saturating_sub(u64::midpoint(from_ns, to_ns));
    }

    /// A request can be sent.
    pub fn shaken(&mut self, now_ns: u64) {
        self.shaken_ns = now_ns.saturating_sub(self.since_ns);
        self.queued_shaking_ns = self.queued_ns;
    }
}

/// One connection.
pub struct Link {
    /// The socket; none while it is down.
    pub wire: Option<Wire>,
    /// What TLS begins with; none without TLS.
    pub tls: Option<LinkTls>,
    /// Of a connection that was made for one request.
    pub anew: Option<Anew>,
    /// Where it stands.
    pub state: State,
    /// Its side of the protocol.
    pub codec: Box<dyn Codec>,
    /// By ticket.
    pub outstanding: Slab<Outstanding>,
    /// How many of them are late: behind such a one no request is sent.
    pub late: usize,
    /// When bytes last came; on the session's clock.
    pub heard_ns: u64,
    /// How often in a row it ended without an answer.
    pub fruitless: u32,
    /// Whether an answer came since it was opened.
    pub has_answered: bool,
    /// Whether it waits in the line of those that can take a request.
    pub queued: bool,
    /// Whether epoll watches for room in the socket.
    pub wants_write: bool,
    /// Whether its end is known, and only what came before that is still taken in.
    pub is_ending: bool,
    output: Vec<u8>,
    written: usize,
    input: Vec<u8>,
}

impl Link {
    /// One that is still to be made.
    pub fn new(codec: Box<dyn Codec>, tls: Option<LinkTls>) -> Self {
        Self {
            wire: None,
            tls,
            anew: None,
            state: State::Down { retry_ns: 0 },
            codec,
            outstanding: Slab::new(),
            late: 0,
            heard_ns: 0,
            fruitless: 0,
            has_answered: false,
            queued: false,
            wants_write: false,
            is_ending: false,
            output: Vec::new(),
            written: 0,
            input: Vec::new(),
        }
    }

    /// Begins to connect, without waiting; what was there before is gone.
    ///
    /// # Errors
    /// As the system says.
    pub fn reconnect(
        &mut self,
        address: SocketAddr,
        codec: Box<dyn Codec>,
        now_ns: u64,
    ) -> std::io::Result<()> {
        let stream = begin_to_connect(address)?;
        let handshake = match &mut self.anew {
            Some(anew) => {
                *anew = Anew::new(anew.handshake, now_ns);
                anew.handshake
            }
            None => Handshake::Resumed,
        };
        let begun = self.tls.as_ref().map(|tls| tls.begin(handshake)).transpose()?;
        self.wire = Some(Wire::new(stream, begun));
        self.state = State::Connecting { since_ns: now_ns };
        self.codec = codec;
        self.has_answered = false;
        self.is_ending = false;
        self.output.clear();
        self.written = 0;
        self.input.clear();
        self.codec.open(&mut self.output);
        Ok(())
    }

    /// Whether it can take one more request.
    pub fn has_room(&self, depth: usize) -> bool {
        self.state == State::Open
            && self.outstanding.len() < depth
            && self.late == 0
            && !self.is_ending
            && !self.codec.closing()
    }

    /// Where requests are written to, beside the codec that writes them.
    pub fn codec_and_output(&mut self) -> (&mut dyn Codec, &mut Vec<u8>, &mut Slab<Outstanding>) {
        (self.codec.as_mut(), &mut self.output, &mut self.outstanding)
    }

    /// Whether there are bytes to send.
    pub fn has_output(&self) -> bool {
        self.written < self.output.len() || self.has_tls_output()
    }

    /// Whether records wait to be sent.
    pub fn has_tls_output(&self) -> bool {
        self.wire.as_ref().is_some_and(Wire::wants_write)
    }

    /// Goes on with the handshake of TLS; true once it is done.
    ///
    /// # Errors
    /// It has failed.
    pub fn shake(&mut self, moved: &mut Shaken) -> std::io::Result<bool> {
        let alpn = self.tls.as_ref().and_then(LinkTls::alpn);
        self.wire.as_mut().map_or(Ok(true), |wire| wire.shake(alpn, moved))
    }

    /// Sends what the socket takes; gives how much.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn send(&mut self) -> std::io::Result<Moved> {
        let Some(wire) = &mut self.wire else { return Ok(Moved::default()) };
        let sent = wire.send(&self.output, &mut self.written)?;
        if self.written == self.output.len() {
            self.written = 0;
            self.output.clear();
            self.output.shrink_to(BUFFER_KEPT);
        }
        Ok(sent)
    }

    /// Reads once into `buffer`: epoll reports again if more is there. `opened` takes plain text
    /// that came by TLS.
    pub fn receive<'a>(&mut self, buffer: &'a mut [u8], opened: &'a mut Vec<u8>) -> Incoming<'a> {
        match &mut self.wire {
            Some(wire) => wire.receive(buffer, opened),
            None => Incoming::Nothing,
        }
    }

    /// Decodes what came, together with what was left of before. `decode` is given the codec, all
    /// bytes at hand, room for what the protocol must say, and the requests outstanding.
    ///
    /// # Errors
    /// The bytes are not the protocol.
    pub fn decode(
        &mut self,
        received: &[u8],
        decode: impl FnOnce(
            &mut dyn Codec,
            &[u8],
            &mut Vec<u8>,
            &mut Slab<Outstanding>,
        ) -> Result<usize, Fault>,
    ) -> Result<(), Fault> {
        let Self { codec, output, outstanding, input, .. } = self;
        if input.is_empty() {
            let done = decode(codec.as_mut(), received, output, outstanding)?;
            input.extend_from_slice(&received[done..]);
        } else {
            input.extend_from_slice(received);
            let done = decode(codec.as_mut(), input, output, outstanding)?;
            input.drain(..done);
            if input.is_empty() {
                input.shrink_to(BUFFER_KEPT);
            }
        }
        Ok(())
    }
}
