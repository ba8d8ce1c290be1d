//! One stream of HTTP/2: its answer as it comes.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{RecvStream, SendStream};
use http::Response;

use crate::protocol::contract::{Asked, BODY_MAX};
use crate::protocol::{Fault, Garbage, Refusal, Ticket};

/// Status and body, or why there are none.
pub(super) type Ended = Result<(u16, Body), h2::Error>;

/// A request and what has come of its answer.
pub(super) struct Stream {
    pub(super) ticket: Ticket,
    pub(super) asked: Asked,
    /// Kept while the answer is waited for: dropped with bytes still to go, it would reset.
    _sender: SendStream<Bytes>,
    state: State,
}

enum State {
    Head(ResponseFuture),
    Body { status: u16, stream: RecvStream, body: Body },
}

/// What has come of a body: mostly it is one piece.
#[derive(Default)]
pub(super) enum Body {
    #[default]
    Empty,
    One(Bytes),
    Joined(Vec<u8>),
}

impl Stream {
    /// A request that was sent.
    pub(super) fn new(
        ticket: Ticket,
        asked: Asked,
        response: ResponseFuture,
        sender: SendStream<Bytes>,
    ) -> Self {
        Self { ticket, asked, _sender: sender, state: State::Head(response) }
    }

    /// Status and body once they are whole; the inner error is this stream's alone.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Result<Poll<Ended>, Fault> {
        loop {
            match &mut self.state {
                State::Head(response) => match Pin::new(response).poll(context) {
                    Poll::Pending => return Ok(Poll::Pending),
                    Poll::Ready(Err(error)) => return Ok(Poll::Ready(Err(error))),
                    Poll::Ready(Ok(response)) => self.state = State::of(response),
                },
                State::Body { status, stream, body } => match stream.poll_data(context) {
                    Poll::Pending => return Ok(Poll::Pending),
                    Poll::Ready(Some(Err(error))) => return Ok(Poll::Ready(Err(error))),
                    Poll::Ready(Some(Ok(data))) => {
                        let released = stream.flow_control().release_capacity(data.len());
                        released.map_err(|error| broken(&error))?;
                        body.push(data)?;
                    }
                    Poll::Ready(None) => {
                        return Ok(Poll::Ready(Ok((*status, std::mem::take(body)))));
                    }
                },
            }
        }
    }
}

impl State {
    fn of(response: Response<RecvStream>) -> Self {
        let status = response.status().as_u16();
        Self::Body { status, stream: response.into_body(), body: Body::Empty }
    }
}

impl Body {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Empty => &[],
            Self::One(bytes) => bytes,
            Self::Joined(bytes) => bytes,
        }
    }

    fn push(&mut self, data: Bytes) -> Result<(), Garbage> {
        if self.bytes().len() + data.len() > BODY_MAX {
            return Err(Garbage(format!("an answer of more than {BODY_MAX} bytes")));
        }
        *self = match std::mem::take(self) {
            Self::Empty => Self::One(data),
            Self::One(first) => Self::Joined([first, data].concat()),
            Self::Joined(mut bytes) => {
                bytes.extend_from_slice(&data);
                Self::Joined(bytes)
            }
        };
        Ok(())
    }
}

/// A server that breaks off (GOAWAY, with an error as its reason) gives no false answer.
pub(super) fn broken(error: &h2::Error) -> Fault {
    let what = format!("HTTP/2: {error}");
    match error.is_remote() {
        true => Fault::Refused(Refusal::new(0, what)),
        false => Garbage(what).into(),
    }
}
