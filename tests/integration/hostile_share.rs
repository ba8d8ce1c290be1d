//! P8: one client, or many clients without a key, that try to use all memory for clients. Each gets
//! its share, and others are served meanwhile.

use std::time::Duration;

use serde_json::json;

use crate::access::Keys;
use crate::admin::metrics;
use crate::client::Client;
use crate::hostile_http2::{
    DATA, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, frame, hello,
};
use crate::hostile_watch::{Bounds, under_attack};
use crate::raw::Conn;
use crate::server::{BODY_TIMEOUT, HEADER_TIMEOUT, Launch, Server};
use crate::support::{comes_true, eventually};
use crate::volume;

/// SETTINGS_INITIAL_WINDOW_SIZE 0: no stream may send data until it gets a window.
const NO_WINDOW: &[u8] = b"\0\x04\0\0\0\0";
const WINDOW_UPDATE: u8 = 8;
/// The longest window (RFC 9113, 6.9.1).
const WINDOW_MAX: u32 = 0x7fff_ffff;

/// A literal header field that is not indexed, with a name of the static table (RFC 7541, 6.2.2).
fn literal(name: u8, value: &str) -> Vec<u8> {
    assert!(name < 15 && value.len() < 127, "neither needs a prefix of its own");
    [&[name, u8::try_from(value.len()).expect("short")], value.as_bytes()].concat()
}

fn head(method: u8, path: &str) -> Vec<u8> {
    [&[method, 0x86], &literal(4, path)[..], &literal(1, "localhost")].concat()
}

fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &head(0x82, path))
}

fn post(stream: u32, path: &str, body: &[u8]) -> Vec<u8> {
    // content-type: 31 of the static table does not fit the short prefix.
    let kind = b"\x0f\x10\x10application/json";
    let mut frames = frame(HEADERS, END_HEADERS, stream, &[&head(0x83, path), &kind[..]].concat());
    for piece in body.chunks(16 * 1024) {
        frames.extend(frame(DATA, 0, stream, piece));
    }
    frames.extend(frame(DATA, END_STREAM, stream, b""));
    frames
}

fn window_update(stream: u32, more: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &more.to_be_bytes())
}

/// Frames as they come: kind, flags, stream, payload.
type Frame = (u8, u8, u32, Vec<u8>);

/// The next frame of the server.
fn next_frame(conn: &mut Conn) -> std::io::Result<Frame> {
    use std::io::Read;
    let mut head = [0; 9];
    conn.stream().read_exact(&mut head)?;
    let len = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; len as usize];
    conn.stream().read_exact(&mut payload)?;
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    Ok((head[3], head[4], stream, payload))
}

/// Reads frames until one is `wanted`; `None` if the connection ends or stays silent before.
fn frame_that(conn: &mut Conn, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
    loop {
        match next_frame(conn) {
            Ok(frame) if wanted(&frame) => return Some(frame),
            Ok(_) => (),
            Err(_) => return None,
        }
    }
}

/// Whether the answer on `stream` says 200, which is 8 of the static table.
fn is_ok(conn: &mut Conn, stream: u32) -> bool {
    let head = frame_that(conn, |frame| frame.0 == HEADERS && frame.2 == stream);
    head.is_some_and(|frame| frame.3.first() == Some(&0x88))
}

/// Waits until the server has read everything that was sent before.
fn settled(conn: &mut Conn) {
    conn.send(&frame(PING, 0, 0, b"settled?")).expect("sends");
    frame_that(conn, |frame| frame.0 == PING && frame.1 == 1).expect("an answer to the ping");
}

/// Memory held for clients according to `/metrics`, in KiB.
fn inflight_kib(server: &Server) -> u64 {
    let metrics = metrics(server);
    let mut lines = metrics.lines();
    let value = lines.find_map(|line| line.strip_prefix("jeton_http_inflight_bytes "));
    value.and_then(|value| value.parse::<u64>().ok()).expect("a number") / 1024
}

fn issued(server: &Server, len: usize) -> String {
    Client::of(server).issued(&format!("{{\"payload\":\"{}\"}}", "x".repeat(len - 2))).token
}

/// A body of a batch resolve.
fn batch(token: &str, count: usize) -> Vec<u8> {
    json!({ "tokens": vec![token; count] }).to_string().into_bytes()
}

/// Requests of other clients meanwhile: a resolve over HTTP/2, a batch with an answer of 80 KB, an
/// issue of 20 KB. Returns how many of each kind are refused.
fn refused_of_others(server: &Server, token: &str, rounds: usize) -> [u64; 3] {
    let mut refused = [0; 3];
    let large = json!({ "payload": "y".repeat(20_000) }).to_string();
    let mut client = Client::of(server);
    for _ in 0..rounds {
        let mut conn = hello(server, &[]);
        conn.send(&get(1, &format!("/v1/tokens/{token}"))).expect("sends");
        refused[0] += u64::from(!is_ok(&mut conn, 1));
        let body = json!({ "tokens": vec![token; 8] }).to_string();
        refused[1] += u64::from(client.post("/v1/resolve", &body).status != 200);
        refused[2] += u64::from(client.issue(&large).status != 201);
    }
    refused
}

/// Six connections request as many large answers as they can, and read nothing of them. Occasional
/// small requests keep them alive.
#[test]
fn p8_one_client_takes_no_more_than_its_share() {
    const CONNECTIONS: usize = 6;
    const ROUNDS: usize = 20;
    let server = Server::fresh_with(|launch| {
        launch.flag("--max-inflight", "128MiB").flag("--write-timeout", "1s")
    });
    let (large, small) = (issued(&server, 60_000), issued(&server, 10_000));
    let mut conns: Vec<_> = (0..CONNECTIONS).map(|_| hello(&server, NO_WINDOW)).collect();
    let mut sent = 0;
    for conn in &mut conns {
        for stream in (1..16).step_by(2) {
            let bytes = post(stream, "/v1/resolve", &batch(&large, 250));
            sent += bytes.len();
            conn.send(&bytes).expect("sends");
        }
        settled(conn);
    }
    let held_kib = inflight_kib(&server);
    let refused = refused_of_others(&server, &small, ROUNDS);
    let mut is_free = false;
    let begun = std::time::Instant::now();
    for stream in (17..).step_by(2).take(60) {
        for conn in &mut conns {
            let _ = conn.send(&get(stream, "/v1/tokens/none"));
        }
        std::thread::sleep(Duration::from_millis(300));
        is_free = inflight_kib(&server) < 16 * 1024;
        if is_free {
            break;
        }
    }
    volume::tell(
        "inflight_share",
        &[
            ("sent_kib", sent as u64 / 1024),
            ("held_kib", held_kib),
            ("resolves_refused", refused[0]),
            ("batches_refused", refused[1]),
            ("issues_refused", refused[2]),
            ("of_each", ROUNDS as u64),
            ("free_after_ms", begun.elapsed().as_millis() as u64),
            ("is_free", u64::from(is_free)),
        ],
    );
    assert_eq!(refused, [0; 3], "resolves, batches and issues refused, of {ROUNDS}");
    assert!(is_free, "answers that no client reads are kept as long as other requests arrive");
}

/// A stream without a window is reset after `--write-timeout`; its connection and the other streams
/// continue.
#[test]
fn p8_a_stalled_stream_is_reset_alone() {
    let server = Server::fresh_with(|launch| launch.flag("--write-timeout", "1s"));
    let token = issued(&server, 60_000);
    let path = format!("/v1/tokens/{token}");
    let mut conn = hello(&server, NO_WINDOW);
    conn.send(&get(1, &path)).expect("sends");
    for stream in [3, 5, 7] {
        std::thread::sleep(Duration::from_millis(300));
        let asked = [get(stream, &path), window_update(stream, WINDOW_MAX)].concat();
        conn.send(&[asked, window_update(0, 60_000)].concat()).expect("sends");
        assert!(is_ok(&mut conn, stream), "a neighbour is served");
    }
    let reset = frame_that(&mut conn, |frame| frame.0 == RST_STREAM);
    assert_eq!(reset.map(|frame| frame.2), Some(1), "the stalled stream");
    let asked = [get(9, &path), window_update(9, WINDOW_MAX)].concat();
    conn.send(&[asked, window_update(0, 60_000)].concat()).expect("sends");
    assert!(is_ok(&mut conn, 9), "and the connection goes on");
}

/// One stream uses up the window of the connection; another waits for it.
#[test]
fn p8_who_waits_for_the_window_of_another_is_not_the_culprit() {
    let server = Server::fresh_with(|launch| launch.flag("--write-timeout", "1s"));
    let (large, small) = (issued(&server, 60_000), issued(&server, 1_000));
    let mut conn = hello(&server, &[]);
    conn.send(&post(1, "/v1/resolve", &batch(&large, 10))).expect("sends");
    assert!(is_ok(&mut conn, 1));
    std::thread::sleep(Duration::from_millis(100));
    conn.send(&get(3, &format!("/v1/tokens/{small}"))).expect("sends");
    let reset = frame_that(&mut conn, |frame| frame.0 == RST_STREAM);
    assert_eq!(reset.map(|frame| frame.2), Some(1), "who has taken the window");
    // Like a client that has discarded the data of the stream.
    conn.send(&window_update(0, 65_535)).expect("sends");
    let end = frame_that(&mut conn, |frame| frame.2 == 3 && frame.1 & END_STREAM != 0);
    assert_eq!(end.map(|frame| frame.0), Some(DATA), "who has waited gets its answer");
}

/// Heads of 480 fields of one byte each, on every stream, without a key and with `--anonymous`;
/// their bodies never come.
#[test]
fn p8_heads_that_wait_for_their_body_are_counted() {
    const CONNECTIONS: usize = 60;
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    keys.add("shop", "issue,resolve,consume", &[]);
    let launch = Launch::on(&dir.path().join("data")).flag("--keys", keys.path());
    let launch = launch.flag("--anonymous", "shop:consume").flag(BODY_TIMEOUT, "1h");
    let server = launch.start();
    let before_kib = server.resident_kib();
    let path = format!("/v1/tokens/{}/consume", "A".repeat(32));
    let mut sent = 0;
    let mut conns: Vec<_> = (0..CONNECTIONS).map(|_| hello(&server, &[])).collect();
    for conn in &mut conns {
        let mut bytes = Vec::new();
        for stream in (1..256).step_by(2) {
            // `a:` is added to the table of the connection, and is one byte from then on.
            let first: &[u8] = if stream == 1 { b"\x40\x01a\0" } else { b"\xbe" };
            let fields = [&head(0x83, &path), first, &[0xbe; 470]].concat();
            bytes.extend(frame(HEADERS, END_HEADERS, stream, &fields));
        }
        sent += bytes.len();
        let _ = conn.send(&bytes);
    }
    let mut grown_kib = 0;
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(100));
        grown_kib = grown_kib.max(server.resident_kib().saturating_sub(before_kib));
    }
    let told = [("sent_kib", sent as u64 / 1024), ("grown_kib", grown_kib), ("streams", 128 * 60)];
    volume::tell("waiting_heads", &told);
    assert!(grown_kib <= 48 * 1024, "{sent} bytes made the server grow by {grown_kib} KiB");
}

/// Endless heads, on more connections than the memory for clients has room for.
#[test]
fn p8_heads_of_http1_are_counted() {
    const CONNECTIONS: usize = 1_600;
    let server = Server::fresh_with(|launch| {
        launch.flag("--max-inflight", "72MiB").flag(HEADER_TIMEOUT, "1h")
    });
    let begin = [&b"GET / HTTP/1.1\r\nHost: localhost\r\nX: "[..], &[b'x'; 60_000]].concat();
    under_attack("heads_without_end", &server, Bounds::of(CONNECTIONS, 120), || {
        let mut conns: Vec<_> =
            (0..CONNECTIONS).map(|_| Conn::open(server.data).expect("connects")).collect();
        for conn in &mut conns {
            let _ = conn.send(&begin);
        }
        let is_counted = comes_true(|| inflight_kib(&server) >= 32 * 1024);
        assert!(is_counted, "{} KiB are counted", inflight_kib(&server));
        let small = issued(&server, 10_000);
        assert_eq!(refused_of_others(&server, &small, 3), [0; 3], "others are served");
        let mut refused = 0;
        for conn in &mut conns {
            conn.writer()
                .and_then(|socket| socket.set_read_timeout(Some(Duration::from_millis(2))))
                .expect("a time limit");
            refused += u64::from(conn.response().is_ok_and(|answer| answer.status == 503));
        }
        assert!(refused > 100, "{refused} were refused");
        drop(conns);
        ((), vec![("connections", CONNECTIONS as u64), ("refused", refused)])
    });
    eventually("all is given back", || inflight_kib(&server) == 0);
}
