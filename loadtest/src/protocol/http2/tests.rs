//! HTTP/2 against a server of the same crate over memory: any order, windows, resets, goodbyes.

use h2::RecvStream;
use h2::server::{self, SendResponse};
use http::Response;
use proptest::prelude::*;

use super::*;
use crate::protocol::testing::{Kept, Log, survives};
use crate::protocol::{KEY_LEN, Key};

const KEY: Key = [b'k'; KEY_LEN];

type Accepted = (Request<RecvStream>, SendResponse<Bytes>);

/// A codec, and a server on the other end of its bytes.
struct Pair {
    codec: Http2,
    server: Option<server::Connection<Transport, Bytes>>,
    transport: Transport,
    accepted: Vec<Accepted>,
    log: Log,
    /// Bytes go in pieces of this length.
    piece: usize,
}

impl Pair {
    fn new(builder: &server::Builder, piece: usize) -> Self {
        let mut codec = Http2::new(&"localhost:7450".into()).expect("a codec");
        let transport = Transport::default();
        let mut preface = Vec::new();
        codec.open(&mut preface);
        transport.pipe().incoming.extend_from_slice(&preface);
        let mut handshake = Box::pin(builder.handshake(transport.clone()));
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(server) = handshake.as_mut().poll(&mut context) else {
            panic!("the preface is not whole");
        };
        let server = Some(server.expect("a preface"));
        Self { codec, server, transport, accepted: Vec::new(), log: Log::default(), piece }
    }

    fn request(&mut self, ticket: Ticket, call: Call<'_>) {
        let mut output = Vec::new();
        self.codec.request(ticket, call, &mut output).expect("it takes requests");
        self.transport.pipe().incoming.extend_from_slice(&output);
    }

    /// Moves bytes until neither side has more to say.
    fn settle(&mut self) -> Result<(), Fault> {
        loop {
            self.poll_server();
            let bytes = std::mem::take(&mut self.transport.pipe().outgoing);
            let mut output = Vec::new();
            for piece in bytes.chunks(self.piece) {
                let used = self.codec.receive(piece, &mut output, &mut self.log)?;
                assert_eq!(used, piece.len());
            }
            if bytes.is_empty() {
                return Ok(());
            }
            self.transport.pipe().incoming.extend_from_slice(&output);
        }
    }

    fn poll_server(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        while let Some(server) = &mut self.server {
            match server.poll_accept(&mut context) {
                Poll::Ready(Some(Ok(accepted))) => self.accepted.push(accepted),
                Poll::Ready(_) => self.server = None,
                Poll::Pending => return,
            }
        }
    }

    fn answer(&mut self, index: usize, status: u16, body: &[u8]) {
        let respond = &mut self.accepted[index].1;
        let response = Response::builder().status(status).body(()).expect("a response");
        let mut stream = respond.send_response(response, body.is_empty()).expect("an open stream");
        if !body.is_empty() {
            stream.send_data(Bytes::copy_from_slice(body), true).expect("an open stream");
        }
    }

    fn body(&mut self, index: usize) -> Vec<u8> {
        let stream = self.accepted[index].0.body_mut();
        let mut context = Context::from_waker(Waker::noop());
        let mut body = Vec::new();
        while let Poll::Ready(Some(data)) = stream.poll_data(&mut context) {
            let data = data.expect("a body");
            stream.flow_control().release_capacity(data.len()).expect("its own bytes");
            body.extend_from_slice(&data);
        }
        body
    }
}

#[test]
fn requests_name_what_they_ask() {
    let mut pair = Pair::new(&server::Builder::new(), usize::MAX);
    let k = "k".repeat(KEY_LEN);
    let cases = [
        (Call::Resolve(&KEY), "GET", format!("/v1/tokens/{k}"), String::new()),
        (
            Call::Issue { key: &KEY, payload: b"[1]", ttl_ms: 90 },
            "POST",
            "/v1/tokens".to_owned(),
            "{\"payload\":[1],\"ttl\":\"90ms\"}".to_owned(),
        ),
        (
            Call::ResolveMany(&[KEY, KEY]),
            "POST",
            "/v1/resolve".to_owned(),
            format!("{{\"tokens\":[\"{k}\",\"{k}\"]}}"),
        ),
        (Call::Consume(&KEY), "POST", format!("/v1/tokens/{k}/consume"), String::new()),
        (Call::Revoke(&KEY), "DELETE", format!("/v1/tokens/{k}"), String::new()),
        (
            Call::Extend { key: &KEY, ttl_ms: 7 },
            "PATCH",
            format!("/v1/tokens/{k}"),
            "{\"ttl\":\"7ms\"}".to_owned(),
        ),
    ];
    for (index, (call, method, path, body)) in cases.into_iter().enumerate() {
        pair.request(0, call);
        pair.settle().expect("HTTP/2");
        let request = &pair.accepted[index].0;
        assert_eq!((request.method().as_str(), request.uri().path()), (method, path.as_str()));
        assert_eq!(request.uri().authority().map(Authority::as_str), Some("localhost:7450"));
        let is_json = request.headers().get("content-type").is_some();
        assert_eq!(is_json, !body.is_empty());
        assert_eq!(String::from_utf8_lossy(&pair.body(index)), body);
    }
}

#[test]
fn answers_come_in_any_order_and_in_any_pieces() {
    for piece in [1, 7, 9, usize::MAX] {
        let mut pair = Pair::new(&server::Builder::new(), piece);
        for ticket in 0..4 {
            pair.request(ticket, Call::Resolve(&KEY));
        }
        pair.request(4, Call::ResolveMany(&[KEY, KEY]));
        pair.request(5, Call::Revoke(&KEY));
        pair.settle().expect("HTTP/2");
        pair.answer(5, 204, b"");
        pair.answer(2, 200, b"\"two\"");
        pair.answer(4, 200, b"[null, 7]");
        pair.settle().expect("HTTP/2");
        pair.answer(0, 503, b"full");
        pair.answer(3, 404, b"not here");
        pair.settle().expect("HTTP/2");
        pair.log.0.sort_by_key(|(ticket, _)| *ticket);
        let expected = vec![
            (0, Kept::Refused(503, "full".to_owned())),
            (2, Kept::Found(b"\"two\"".to_vec())),
            (3, Kept::Absent),
            (4, Kept::Many(vec![None, Some(b"7".to_vec())])),
            (5, Kept::Done),
        ];
        assert_eq!(pair.log, Log(expected), "pieces of {piece}");
        assert_eq!(pair.codec.streams.len(), 1);
    }
}

#[test]
fn more_requests_than_streams_wait_their_turn() {
    let mut pair = Pair::new(server::Builder::new().max_concurrent_streams(3), usize::MAX);
    // Its limit is known once its settings have come.
    pair.settle().expect("HTTP/2");
    for ticket in 0..50 {
        pair.request(ticket, Call::Resolve(&KEY));
    }
    let mut done = 0;
    while done < 50 {
        pair.settle().expect("HTTP/2");
        assert!(pair.accepted.len() > done && pair.accepted.len() <= done + 3);
        pair.answer(done, 200, done.to_string().as_bytes());
        done += 1;
    }
    pair.settle().expect("HTTP/2");
    let expected = (0..50).map(|at| (at, Kept::Found(at.to_string().into_bytes())));
    assert_eq!(pair.log, Log(expected.collect()));
}

#[test]
fn windows_are_opened_again_for_as_much_as_comes() {
    let body = vec![b'7'; 3 * STREAM_WINDOW as usize];
    let mut pair = Pair::new(&server::Builder::new(), 20_000);
    // Together more than the connection's window.
    for ticket in 0..8 {
        pair.request(ticket, Call::Resolve(&KEY));
        pair.settle().expect("HTTP/2");
        pair.answer(ticket as usize, 200, &body);
        pair.settle().expect("HTTP/2");
        assert_eq!(pair.log.0.pop(), Some((ticket, Kept::Found(body.clone()))));
    }
}

#[test]
fn a_payload_larger_than_the_servers_window_goes_out_in_the_end() {
    let mut pair = Pair::new(server::Builder::new().initial_window_size(1_000), usize::MAX);
    let payload = vec![b'1'; 300_000];
    pair.request(1, Call::Issue { key: &KEY, payload: &payload, ttl_ms: 5 });
    let mut body = Vec::new();
    for _ in 0..1_000 {
        pair.settle().expect("HTTP/2");
        if !pair.accepted.is_empty() {
            body.extend(pair.body(0));
        }
    }
    assert_eq!(body.len(), contract::issue_body_len(&payload, 5));
}

#[test]
fn a_reset_stream_is_refused_and_the_others_go_on() {
    let mut pair = Pair::new(&server::Builder::new(), usize::MAX);
    pair.request(1, Call::Resolve(&KEY));
    pair.request(2, Call::Resolve(&KEY));
    pair.settle().expect("HTTP/2");
    pair.accepted[0].1.send_reset(h2::Reason::REFUSED_STREAM);
    pair.answer(1, 200, b"2");
    pair.settle().expect("HTTP/2");
    pair.log.0.sort_by_key(|(ticket, _)| *ticket);
    let [(1, Kept::Refused(0, said)), (2, Kept::Found(_))] = &pair.log.0[..] else {
        panic!("{:?}", pair.log);
    };
    assert!(said.contains("refused stream"), "{said}");
    assert!(!pair.codec.closing());
}

/// One request that is given up costs its stream alone, also where its answer was under way and
/// however often that happens.
#[test]
fn a_request_that_is_given_up_takes_no_other_with_it() {
    let mut pair = Pair::new(&server::Builder::new(), usize::MAX);
    for round in 0..1_500 {
        pair.request(1, Call::Resolve(&KEY));
        pair.request(2, Call::Resolve(&KEY));
        pair.settle().expect("HTTP/2");
        let mut reset = Vec::new();
        assert!(pair.codec.cancel(1, &mut reset), "a stream can be given up alone");
        assert!(!reset.is_empty(), "the server gets a reset");
        if round % 2 == 0 {
            // The late answer and the reset cross.
            pair.answer(0, 200, b"late");
        }
        pair.answer(1, 200, b"2");
        pair.settle().expect("HTTP/2");
        pair.transport.pipe().incoming.extend_from_slice(&reset);
        pair.settle().expect("HTTP/2");
        pair.accepted.clear();
        assert_eq!(pair.log.0.len(), round + 1);
        assert!(!pair.codec.closing());
    }
    assert!(pair.log.0.iter().all(|(ticket, _)| *ticket == 2), "no answer to what was given up");
}

#[test]
fn a_server_that_says_goodbye_is_asked_nothing_more() {
    let mut pair = Pair::new(&server::Builder::new(), usize::MAX);
    pair.request(1, Call::Resolve(&KEY));
    pair.settle().expect("HTTP/2");
    assert!(!pair.codec.closing());
    pair.server.as_mut().expect("it runs").graceful_shutdown();
    pair.settle().expect("HTTP/2");
    assert!(pair.codec.closing());
    assert!(pair.codec.request(2, Call::Resolve(&KEY), &mut Vec::new()).is_err());
    pair.answer(0, 200, b"1");
    pair.settle().expect("HTTP/2");
    assert_eq!(pair.log, Log(vec![(1, Kept::Found(b"1".to_vec()))]));
}

#[test]
fn a_server_that_breaks_off_refuses_with_its_reason() {
    let mut pair = Pair::new(&server::Builder::new(), usize::MAX);
    pair.request(1, Call::Resolve(&KEY));
    pair.settle().expect("HTTP/2");
    let server = pair.server.as_mut().expect("it runs");
    server.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
    let fault = pair.settle().expect_err("it broke off");
    assert!(matches!(fault, Fault::Refused(_)), "no false answer: {fault:?}");
    assert!(fault.to_string().contains("excessive load"), "{fault}");
    assert!(pair.codec.closing());
}

#[test]
fn what_is_not_http2_is_named() {
    for (bytes, said) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "it speaks HTTP/1, not HTTP/2"),
        (b"220 mail.example ESMTP\r\n", "HTTP/2: "),
    ] {
        let mut codec = Http2::new(&"localhost".into()).expect("a codec");
        let mut output = Vec::new();
        let garbage = codec.receive(bytes, &mut output, &mut Log::default()).expect_err("garbage");
        assert!(matches!(garbage, Fault::Garbage(_)), "{garbage:?}");
        assert!(garbage.to_string().starts_with(said), "{garbage}");
        assert!(codec.receive(bytes, &mut output, &mut Log::default()).is_err());
    }
}

proptest! {
    #[test]
    fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0_usize..200) {
        let mut codec = Http2::new(&"localhost".into()).expect("a codec");
        codec.request(1, Call::Resolve(&KEY), &mut Vec::new()).expect("it takes requests");
        survives(&mut codec, &bytes, cut);
    }

    #[test]
    fn no_damage_breaks_it(at in 0_usize..200, byte: u8, cut in 0_usize..200) {
        let mut pair = Pair::new(&server::Builder::new(), usize::MAX);
        pair.request(1, Call::Resolve(&KEY));
        pair.settle().expect("a sound server");
        pair.answer(0, 200, b"{\"a\":1}");
        pair.poll_server();
        let mut bytes = std::mem::take(&mut pair.transport.pipe().outgoing);
        let at = at % bytes.len();
        bytes[at] = byte;
        survives(&mut pair.codec, &bytes, cut);
    }
}

#[test]
fn no_more_streams_are_opened_than_the_server_allows_not_even_at_first() {
    let mut builder = server::Builder::new();
    builder.max_concurrent_streams(2);
    let mut pair = Pair::new(&builder, usize::MAX);
    for ticket in 0..10 {
        pair.request(ticket, Call::Resolve(&KEY));
    }
    pair.poll_server();
    assert_eq!(pair.accepted.len(), 0, "its settings are not known yet");
    pair.settle().expect("nothing is refused");
    assert_eq!(pair.accepted.len(), 2);
}
