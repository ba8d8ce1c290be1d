//! jeton's contract over HTTP/1.1: keep-alive, pipelined, answers in the order of the requests.
//!
//! Little is done for each request, since what the harness costs is taken from the server it
//! measures: a request is a few copies, and the head of an answer that came before, byte for byte,
//! is not parsed again (a server's heads differ in the length and, once a second, in the date).

use std::collections::VecDeque;
use std::mem::MaybeUninit;

use super::contract::{self, Asked, BODY_MAX};
use super::{Answers, Call, Caller, Codec, Fault, Garbage, Refusal, Ticket, chunks, excerpt};
use crate::denial::Denial;

/// A longer head is refused.
const HEAD_MAX: usize = 64 << 10;
/// More header fields are refused.
const FIELDS_MAX: usize = 100;
/// Heads that are remembered, at most this long each.
const KNOWN_HEADS: usize = 4;
const KNOWN_HEAD_MAX: usize = 512;

/// One connection's HTTP/1.1. What it says with each request may hold a key, so it has no `Debug`.
pub struct Http1 {
    /// What follows the path in a request without a body.
    tail: Box<[u8]>,
    /// What follows the path in a request with one, up to its length.
    json_tail: Box<[u8]>,
    /// Whether any 200 answers anything, as the floor's does.
    fixed: bool,
    outstanding: VecDeque<(Ticket, Asked)>,
    /// The answer whose body is arriving in chunks, with its status.
    chunked: Option<(u16, chunks::Body)>,
    known: Vec<(Vec<u8>, Head)>,
    /// Of `known`, the next to give way.
    oldest: usize,
    closing: bool,
}

/// What matters of an answer's head.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Head {
    /// Bytes up to the body.
    len: usize,
    status: u16,
    body: BodyLen,
    close: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum BodyLen {
    Bytes(usize),
    Chunked,
}

impl Http1 {
    /// Speaks to a server of the contract; the caller goes into the Host header, and into
    /// Authorization where there is a key.
    pub fn new(caller: &Caller) -> Self {
        let mut every = format!(" HTTP/1.1\r\nHost: {}\r\n", caller.host);
        if let Some(key) = &caller.key {
            every += &format!("Authorization: Bearer {}\r\n", key.text());
        }
        let json = "Content-Type: application/json\r\nContent-Length: ";
        Self {
            tail: format!("{every}\r\n").into_bytes().into(),
            json_tail: format!("{every}{json}").into_bytes().into(),
            fixed: false,
            outstanding: VecDeque::new(),
            chunked: None,
            known: Vec::new(),
            oldest: 0,
            closing: false,
        }
    }

    /// Speaks to the floor: the body of any 200 is [`super::Answer::Found`].
    pub fn floor(host: &str) -> Self {
        Self { fixed: true, ..Self::new(&host.into()) }
    }

    fn push_body_len(&self, body_len: usize, output: &mut Vec<u8>) {
        output.extend_from_slice(&self.json_tail);
        output.extend_from_slice(itoa::Buffer::new().format(body_len).as_bytes());
        output.extend_from_slice(b"\r\n\r\n");
    }

    fn push(&self, call: &Call<'_>, output: &mut Vec<u8>) {
        match *call {
            Call::Resolve(key) => {
                push_token(b"GET /v1/tokens/", key, output);
                output.extend_from_slice(&self.tail);
            }
            Call::Issue { payload, ttl_ms, .. } => {
                output.extend_from_slice(b"POST /v1/tokens");
                self.push_body_len(contract::issue_body_len(payload, ttl_ms), output);
                contract::push_issue_body(payload, ttl_ms, output);
            }
            Call::ResolveMany(keys) => {
                output.extend_from_slice(b"POST /v1/resolve");
                self.push_body_len(contract::many_body_len(keys.len()), output);
                contract::push_many_body(keys, output);
            }
            Call::Consume(key) => {
                push_token(b"POST /v1/tokens/", key, output);
                output.extend_from_slice(b"/consume");
                // Without a length some proxies refuse a POST.
                self.push_body_len(0, output);
            }
            Call::Revoke(key) => {
                push_token(b"DELETE /v1/tokens/", key, output);
                output.extend_from_slice(&self.tail);
            }
            Call::Extend { key, ttl_ms } => {
                push_token(b"PATCH /v1/tokens/", key, output);
                self.push_body_len(contract::extend_body_len(ttl_ms), output);
                contract::push_extend_body(ttl_ms, output);
            }
        }
    }

    /// The head that `input` begins with, once it is whole.
    fn head(&mut self, input: &[u8]) -> Result<Option<Head>, Fault> {
        if let Some((_, head)) = self.known.iter().find(|(bytes, _)| input.starts_with(bytes)) {
            return Ok(Some(*head));
        }
        if contract::is_tls_alert(input) {
            let refusal = Refusal::new(0, "an alert of TLS");
            return Err(Fault::Refused(Refusal { denial: Some(Denial::SpeaksTls), ..refusal }));
        }
        let Some(head) = parse_head(input)? else {
            return Ok(None);
        };
        if head.len <= KNOWN_HEAD_MAX {
            if self.known.len() < KNOWN_HEADS {
                self.known.push((input[..head.len].to_vec(), head));
            } else {
                let (bytes, known) = &mut self.known[self.oldest];
                bytes.clear();
                bytes.extend_from_slice(&input[..head.len]);
                *known = head;
                self.oldest = (self.oldest + 1) % KNOWN_HEADS;
            }
        }
        Ok(Some(head))
    }

    fn deliver(
        &mut self,
        status: u16,
        body: &[u8],
        answers: &mut dyn Answers,
    ) -> Result<(), Fault> {
        let Some((ticket, asked)) = self.outstanding.pop_front() else {
            return Err(unasked(status));
        };
        Ok(asked.deliver(ticket, status, body, answers)?)
    }

    /// Takes one answer, or what has come of it; gives the bytes it is done with, none where more
    /// must come first.
    fn receive_one(&mut self, input: &[u8], answers: &mut dyn Answers) -> Result<usize, Fault> {
        if let Some((status, mut body)) = self.chunked.take() {
            let used = body.take(input)?;
            if body.is_whole() {
                self.deliver(status, body.bytes(), answers)?;
            } else {
                self.chunked = Some((status, body));
            }
            return Ok(used);
        }
        let Some(head) = self.head(input)? else {
            return Ok(0);
        };
        if (100..200).contains(&head.status) {
            return Ok(head.len);
        }
        if self.outstanding.is_empty() {
            return Err(unasked(head.status));
        }
        let used = match head.body {
            BodyLen::Chunked => {
                self.chunked = Some((head.status, chunks::Body::default()));
                head.len
            }
            BodyLen::Bytes(length) => match input.get(head.len..head.len + length) {
                Some(body) => {
                    self.deliver(head.status, body, answers)?;
                    head.len + length
                }
                None => 0,
            },
        };
        self.closing |= head.close;
        Ok(used)
    }
}

impl Codec for Http1 {
    fn request(
        &mut self,
        ticket: Ticket,
        call: Call<'_>,
        output: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        if self.closing {
            return Err(Fault::closed());
        }
        self.push(&call, output);
        let asked = if self.fixed { Asked::Anything } else { Asked::of(&call) };
        self.outstanding.push_back((ticket, asked));
        Ok(())
    }

    fn receive(
        &mut self,
        input: &[u8],
        _output: &mut Vec<u8>,
        answers: &mut dyn Answers,
    ) -> Result<usize, Fault> {
        let mut used = 0;
        while used < input.len() {
            match self.receive_one(&input[used..], answers)? {
                0 => break,
                more => used += more,
            }
        }
        Ok(used)
    }

    fn closing(&self) -> bool {
        self.closing
    }
}

fn push_token(before: &[u8], key: &super::Key, output: &mut Vec<u8>) {
    output.extend_from_slice(before);
    output.extend_from_slice(key);
}

/// An answer without a request. With some a server ends a connection that waits or is one too many
/// (RFC 9110, 15.5.9): they refuse, and answer nothing.
fn unasked(status: u16) -> Fault {
    let what = format!("an answer to nothing that was asked: status {status}");
    match status {
        408 | 429 | 503 => Fault::Refused(Refusal::new(status, what)),
        _ => Garbage(what).into(),
    }
}

fn parse_head(input: &[u8]) -> Result<Option<Head>, Garbage> {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let parser = httparse::ParserConfig::default();
    let parsed = parser.parse_response_with_uninit_headers(&mut response, input, &mut fields);
    let len = match parsed {
        Ok(httparse::Status::Complete(len)) if len <= HEAD_MAX => len,
        Ok(httparse::Status::Partial) if input.len() < HEAD_MAX => return Ok(None),
        Ok(_) => return Err(Garbage(format!("the head of an answer exceeds {HEAD_MAX} bytes"))),
        Err(error) => return Err(Garbage(format!("not HTTP/1.1: {error}: {}", excerpt(input)))),
    };
    let status = response.code.unwrap_or_default();
    let mut head =
        Head { len, status, body: BodyLen::Bytes(0), close: response.version == Some(0) };
    let mut length = None;
    let mut chunked = false;
    for field in response.headers.iter() {
        let value = field.value.trim_ascii();
        if field.name.eq_ignore_ascii_case("content-length") {
            let this = content_length(value)?;
            if length.replace(this).is_some_and(|other| other != this) {
                return Err(Garbage("an answer with two lengths".to_owned()));
            }
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Garbage(format!("a transfer encoding of {}", excerpt(value))));
            }
            chunked = true;
        } else if field.name.eq_ignore_ascii_case("connection") {
            let mut options = value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
            head.close |= options.any(|option| option.eq_ignore_ascii_case(b"close"));
        }
    }
    head.body = match (status, chunked, length) {
        (101, _, _) => return Err(Garbage("it switches to another protocol".to_owned())),
        (100..200 | 204 | 304, _, _) => BodyLen::Bytes(0),
        (_, true, _) => BodyLen::Chunked,
        (_, false, Some(length)) => BodyLen::Bytes(length),
        (_, false, None) => {
            return Err(Garbage(format!("an answer of unknown length: status {status}")));
        }
    };
    Ok(Some(head))
}

fn content_length(value: &[u8]) -> Result<usize, Garbage> {
    let digits = Some(value).filter(|value| value.iter().all(u8::is_ascii_digit));
    let length = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<usize>().ok());
    match length {
        Some(length) if length <= BODY_MAX => Ok(length),
        Some(length) => {
            Err(Garbage(format!("an answer of {length} bytes; at most {BODY_MAX} are taken")))
        }
        None => Err(Garbage(format!("a length of {}", excerpt(value)))),
    }
}

#[cfg(test)]
mod tests;
