//! jeton's contract over HTTP/2 with prior knowledge: many streams at once, answers in any order.
//!
//! The protocol itself is the `h2` crate's. It wants an asynchronous socket; it gets buffers in
//! memory and is polled whenever bytes come or a request goes, so that no runtime is needed. Each
//! stream has a waker that says which one it is, so that the cost of an answer does not grow with
//! the number of streams.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use h2::SendStream;
use h2::client::{self, ResponseFuture, SendRequest};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Uri, Version, header};
use slab::Slab;
use stream::{Stream, broken};

use super::contract::{self, Asked};
use super::pipe::Transport;
use super::{Answer, Answers, Call, Caller, Codec, Fault, Garbage, Refusal, Ticket, excerpt};
use crate::denial::Denial;
use crate::secret::Secret;

/// What a server may send on a stream, and on a connection, before it is read.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
const HEAD_MAX: u32 = 64 << 10;
/// Streams that were given up and are remembered.
const RESET_STREAMS: usize = 1 << 12;
/// Stands for the connection among the streams that are to be polled.
const CONNECTION: usize = usize::MAX;

/// One connection's HTTP/2.
pub struct Http2 {
    scheme: Scheme,
    authority: Option<Authority>,
    key: Option<HeaderValue>,
    transport: Transport,
    sender: SendRequest<Bytes>,
    connection: client::Connection<Transport, Bytes>,
    streams: Slab<Stream>,
    /// For each place in `streams`, as they were needed.
    wakers: Vec<Waker>,
    connection_waker: Waker,
    woken: Woken,
    /// Of the last round, kept for its memory.
    turn: Vec<usize>,
    ended: bool,
    closing: bool,
}

/// Who is to be polled again.
#[derive(Clone, Default)]
struct Woken(Arc<Mutex<Vec<usize>>>);

struct Place {
    index: usize,
    woken: Woken,
}

impl Wake for Place {
    fn wake(self: Arc<Self>) {
        self.woken.push(self.index);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.push(self.index);
    }
}

impl Woken {
    fn push(&self, index: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(index);
    }

    fn take(&self, into: &mut Vec<usize>) {
        into.clear();
        std::mem::swap(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), into);
    }

    fn waker(&self, index: usize) -> Waker {
        Waker::from(Arc::new(Place { index, woken: self.clone() }))
    }
}

impl Http2 {
    /// Speaks to a server of the contract; the caller goes into `:authority`, and into
    /// `authorization` where there is a key.
    ///
    /// # Errors
    /// HTTP/2 can't be begun, which is not known to happen.
    pub fn new(caller: &Caller) -> Result<Self, Fault> {
        let transport = Transport::default();
        let mut builder = client::Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEAD_MAX)
            // Answers to requests that were given up may come at any time, and are no fault.
            .max_concurrent_reset_streams(RESET_STREAMS)
            .max_local_error_reset_streams(None)
            // How many it takes the server says first; what is sent before may be refused.
            .initial_max_send_streams(0);
        let woken = Woken::default();
        let connection_waker = woken.waker(CONNECTION);
        let handshake = std::pin::pin!(builder.handshake(transport.clone()));
        // It only writes the preface, for which there is always space.
        let (sender, connection) = match handshake.poll(&mut Context::from_waker(&connection_waker))
        {
            Poll::Ready(Ok(both)) => both,
            Poll::Ready(Err(error)) => return Err(broken(&error)),
            Poll::Pending => return Err(Garbage("HTTP/2 waits before it began".to_owned()).into()),
        };
        Ok(Self {
            scheme: if caller.is_tls { Scheme::HTTPS } else { Scheme::HTTP },
            authority: Authority::try_from(caller.host.as_str()).ok(),
            key: caller.key.as_ref().map(authorization).transpose()?,
            transport,
            sender,
            connection,
            streams: Slab::new(),
            wakers: Vec::new(),
            connection_waker,
            woken,
            turn: Vec::new(),
            ended: false,
            closing: false,
        })
    }

    fn poll_connection(&mut self) -> Result<(), Fault> {
        if self.ended {
            return Ok(());
        }
        let mut context = Context::from_waker(&self.connection_waker);
        match Pin::new(&mut self.connection).poll(&mut context) {
            Poll::Pending => Ok(()),
            Poll::Ready(result) => {
                self.ended = true;
                self.closing = true;
                result.map_err(|error| broken(&error))
            }
        }
    }

    /// Polls all that were woken, and all that those woke.
    fn drive(&mut self, answers: &mut dyn Answers) -> Result<(), Fault> {
        loop {
            let connection = self.poll_connection();
            let mut turn = std::mem::take(&mut self.turn);
            self.woken.take(&mut turn);
            for index in turn.iter().copied().filter(|&index| index != CONNECTION) {
                // What the end of the connection means to the others, the caller decides.
                self.poll_stream(index, connection.is_err(), answers)?;
            }
            let more = !turn.is_empty();
            self.turn = turn;
            connection?;
            if !more {
                break;
            }
        }
        self.note_goodbye()
    }

    /// Notes whether the server wants no more; with an error as its reason it has broken off.
    fn note_goodbye(&mut self) -> Result<(), Fault> {
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(Err(error)) = self.sender.poll_ready(&mut context) else {
            return Ok(());
        };
        self.closing = true;
        match error.reason() {
            Some(h2::Reason::NO_ERROR) => Ok(()),
            _ => Err(broken(&error)),
        }
    }

    fn poll_stream(
        &mut self,
        index: usize,
        only_whole: bool,
        answers: &mut dyn Answers,
    ) -> Result<(), Fault> {
        let (Some(stream), Some(waker)) = (self.streams.get_mut(index), self.wakers.get(index))
        else {
            // It was woken again after its end.
            return Ok(());
        };
        match stream.poll(&mut Context::from_waker(waker))? {
            Poll::Pending => {}
            Poll::Ready(Ok((status, body))) => {
                let Stream { ticket, asked, .. } = self.streams.remove(index);
                asked.deliver(ticket, status, body.bytes(), answers)?;
            }
            Poll::Ready(Err(_)) if only_whole => {}
            Poll::Ready(Err(error)) => {
                let ticket = self.streams.remove(index).ticket;
                let text = format!("the stream ended: {error}");
                let refusal = Refusal::new(0, excerpt(text.as_bytes()));
                answers.answer(ticket, Answer::Refused(&refusal));
            }
        }
        Ok(())
    }

    fn message(&self, call: &Call<'_>) -> Result<(Request<()>, Option<Bytes>), Garbage> {
        let (method, path, body) = parts(call);
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(self.scheme.clone());
        uri.authority.clone_from(&self.authority);
        let refuse = |error: &dyn std::fmt::Display| Garbage(format!("not a request: {error}"));
        uri.path_and_query =
            Some(PathAndQuery::from_maybe_shared(path).map_err(|error| refuse(&error))?);
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = Uri::from_parts(uri).map_err(|error| refuse(&error))?;
        *request.version_mut() = Version::HTTP_2;
        if let Some(key) = &self.key {
            request.headers_mut().insert(header::AUTHORIZATION, key.clone());
        }
        if let Some(body) = &body {
            let headers = request.headers_mut();
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
            let json = HeaderValue::from_static("application/json");
            headers.insert(header::CONTENT_TYPE, json);
        }
        Ok((request, body))
    }

    /// Queues a request; beyond the number of streams that the server allows it waits its turn.
    fn send(&mut self, call: &Call<'_>) -> Result<(ResponseFuture, SendStream<Bytes>), Fault> {
        let (request, body) = self.message(call)?;
        let mut context = Context::from_waker(Waker::noop());
        match self.sender.poll_ready(&mut context) {
            Poll::Ready(Ok(())) => {}
            // A handle can queue one request; its copy the next.
            Poll::Pending => self.sender = self.sender.clone(),
            Poll::Ready(Err(error)) => return Err(broken(&error)),
        }
        let sent = self.sender.send_request(request, body.is_none());
        let (response, mut stream) = sent.map_err(|error| broken(&error))?;
        if let Some(body) = body {
            stream.send_data(body, true).map_err(|error| broken(&error))?;
        }
        Ok((response, stream))
    }

    fn flush(&mut self, output: &mut Vec<u8>) {
        let mut pipe = self.transport.pipe();
        if output.is_empty() {
            std::mem::swap(&mut pipe.outgoing, output);
        } else {
            output.append(&mut pipe.outgoing);
        }
    }
}

impl Codec for Http2 {
    fn open(&mut self, output: &mut Vec<u8>) {
        self.flush(output);
    }

    fn request(
        &mut self,
        ticket: Ticket,
        call: Call<'_>,
        output: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        if self.closing {
            return Err(Fault::closed());
        }
        let (response, sender) = self.send(&call)?;
        let asked = Asked::of(&call);
        let index = self.streams.insert(Stream::new(ticket, asked, response, sender));
        while self.wakers.len() <= index {
            self.wakers.push(self.woken.waker(self.wakers.len()));
        }
        // It is polled with the next bytes that come, and names its waker then.
        self.woken.push(index);
        self.poll_connection()?;
        self.flush(output);
        Ok(())
    }

    fn receive(
        &mut self,
        input: &[u8],
        output: &mut Vec<u8>,
        answers: &mut dyn Answers,
    ) -> Result<usize, Fault> {
        if self.ended {
            return Err(Garbage("bytes after the end of HTTP/2".to_owned()).into());
        }
        self.transport.pipe().incoming.extend_from_slice(input);
        let driven = self.drive(answers);
        self.flush(output);
        driven.map_err(|fault| match input {
            [b'H', b'T', b'T', b'P', b'/', b'1', ..] => {
                Garbage(format!("it speaks HTTP/1, not HTTP/2: {}", excerpt(input))).into()
            }
            _ if contract::is_tls_alert(input) => {
                let refusal = Refusal::new(0, "an alert of TLS");
                Fault::Refused(Refusal { denial: Some(Denial::SpeaksTls), ..refusal })
            }
            _ => fault,
        })?;
        Ok(input.len())
    }

    fn cancel(&mut self, ticket: Ticket, output: &mut Vec<u8>) -> bool {
        let found = self.streams.iter().find(|(_, stream)| stream.ticket == ticket);
        if let Some(index) = found.map(|(index, _)| index) {
            // Dropped before its end it is reset, as CANCEL.
            drop(self.streams.remove(index));
            // What the connection says of it is heard with the next bytes that come.
            let _ = self.poll_connection();
            self.flush(output);
        }
        true
    }

    fn closing(&self) -> bool {
        self.closing
    }
}

/// Method, path and body of a call.
fn parts(call: &Call<'_>) -> (Method, Bytes, Option<Bytes>) {
    let token_path =
        |key: &super::Key, behind: &[u8]| Bytes::from([b"/v1/tokens/", &key[..], behind].concat());
    match *call {
        Call::Resolve(key) => (Method::GET, token_path(key, b""), None),
        Call::Revoke(key) => (Method::DELETE, token_path(key, b""), None),
        Call::Consume(key) => (Method::POST, token_path(key, b"/consume"), None),
        Call::Issue { payload, ttl_ms, .. } => {
            let mut body = Vec::with_capacity(contract::issue_body_len(payload, ttl_ms));
            contract::push_issue_body(payload, ttl_ms, &mut body);
            (Method::POST, Bytes::from_static(b"/v1/tokens"), Some(body.into()))
        }
        Call::ResolveMany(keys) => {
            let mut body = Vec::with_capacity(contract::many_body_len(keys.len()));
            contract::push_many_body(keys, &mut body);
            (Method::POST, Bytes::from_static(b"/v1/resolve"), Some(body.into()))
        }
        Call::Extend { key, ttl_ms } => {
            let mut body = Vec::with_capacity(contract::extend_body_len(ttl_ms));
            contract::push_extend_body(ttl_ms, &mut body);
            (Method::PATCH, token_path(key, b""), Some(body.into()))
        }
    }
}

fn authorization(key: &Secret) -> Result<HeaderValue, Garbage> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", key.text()))
        .map_err(|_| Garbage("the key is no text of a header".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

mod stream;
#[cfg(test)]
mod tests;
