//! P8 over HTTP/2: frames that cost the sender little and could cost a server much.
//!
//! The frames are built by hand, because no client library sends them. HTTP/2 has no time between
//! requests to pause in, so the rules are: memory is flat, others are served, and the connection
//! ends, at the latest when its time limit is over.

use std::io::Read;

use crate::client::Client;
use crate::hostile_watch::{
    Bounds, crowd_sending, impatient, is_end, patient, pour, pour_and_read, under_attack,
};
use crate::raw::Conn;
use crate::server::Server;
use crate::volume;

/// Maximum growth of the server under any of these attacks.
const GROWTH_MIB: u64 = 48;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
/// The error code of GOAWAY for excessive load.
const ENHANCE_YOUR_CALM: u32 = 11;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
/// `:method: GET`, `:scheme: http`, `:path: /`, `:authority: a`.
const GET_ROOT: &[u8] = b"\x82\x86\x84\x41\x01a";
/// `:method: POST`, `:scheme: http`, `:path: /v1/tokens`, `:authority: a`,
/// `content-type: application/json`.
const POST_TOKENS: &[u8] = b"\x83\x86\x44\x0a/v1/tokens\x41\x01a\x5f\x10application/json";

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut frame = len[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A connection after the preface, with these settings.
pub fn hello(server: &Server, settings: &[u8]) -> Conn {
    let mut conn = Conn::open(server.data).expect("connects");
    // Complete, or not at all if the server has closed a connection that was too slow.
    let _ = conn.send(&[PREFACE, &frame(SETTINGS, 0, 0, settings)].concat());
    conn
}

/// The result of a flood.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The server processes it at its own pace.
    Served,
    /// It violates a rule, so the server closes the connection before its end.
    Ended,
}

/// Sends `block` repeatedly, reading or not, until its end or until the server closes the
/// connection.
fn flood(name: &str, begin: &[u8], block: &[u8], reads: bool, fate: Fate) {
    /// More than the socket buffers can hold.
    const ENDED_LEN_MAX: u64 = 16 << 20;
    // If the rule must end it, no time limit may end it instead.
    let (server, len) = match fate {
        Fate::Served => (impatient(), volume::volume("http2_flood_mib", 4) << 20),
        Fate::Ended => (patient(), 4 * ENDED_LEN_MAX),
    };
    under_attack(name, &server, Bounds::of(4, GROWTH_MIB), || {
        let mut conn = hello(&server, &[]);
        // An impatient server may have closed it by now.
        let _ = conn.send(begin);
        let times = len / block.len() as u64;
        let poured = if reads {
            pour_and_read(&conn, block, times)
        } else {
            pour(&mut conn.writer().expect("a second handle"), block, times)
        };
        let taken_len = poured.times * block.len() as u64;
        if fate == Fate::Ended {
            assert!(taken_len < ENDED_LEN_MAX, "{taken_len} bytes were taken");
            assert!(poured.is_ended, "it stalled after {taken_len} bytes, and was not ended");
        }
        (conn, vec![("taken_kib", taken_len / 1024)])
    });
}

/// Streams that are opened and reset at once: each causes work for the server, none counts as open.
/// The server must close the connection for that reason, because no time limit applies. The
/// attacker reconnects repeatedly.
#[test]
fn p8_rapid_reset() {
    const STREAMS: u32 = 2_000;
    let server = patient();
    let streams = volume::volume("reset_streams", 100_000);
    let mut block = Vec::new();
    for stream in (1..2 * STREAMS).step_by(2) {
        block.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, GET_ROOT));
        block.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    under_attack("rapid_reset", &server, Bounds::of(8, GROWTH_MIB), || {
        let (mut sent, mut ended) = (0, 0);
        while sent < streams {
            let mut conn = hello(&server, &[]);
            // The server may close the connection at any byte.
            let _ = conn.send(&block);
            sent += u64::from(STREAMS);
            let said = read_to_end(&conn).expect("a connection outlived its resets");
            assert_eq!(reason_to_go_away(&said), Some(ENHANCE_YOUR_CALM));
            ended += 1;
        }
        ((), vec![("streams", sent), ("connections_ended", ended)])
    });
}

/// The server's bytes until it closes the connection; `None` if it stays silent instead.
fn read_to_end(conn: &Conn) -> Option<Vec<u8>> {
    let mut stream = conn.writer().expect("a second handle");
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Err(error) if !is_end(&error) => None,
        _ => Some(said),
    }
}

fn conn_ends(conn: &Conn) -> bool {
    read_to_end(conn).is_some()
}

/// The error code of the first GOAWAY among these frames.
fn reason_to_go_away(mut frames: &[u8]) -> Option<u32> {
    while let Some((head, rest)) = frames.split_first_chunk::<9>() {
        let len = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let (payload, behind) = rest.split_at_checked(len)?;
        if head[3] == GOAWAY {
            return Some(u32::from_be_bytes(payload.get(4..8)?.try_into().ok()?));
        }
        frames = behind;
    }
    None
}

/// An endless head, in pieces of 16 KiB.
#[test]
fn p8_continuation_flood() {
    let begin = frame(HEADERS, END_STREAM, 1, GET_ROOT);
    // Each repeats one literal header that is never indexed: `x: yyy…`.
    let field = [&b"\x10\x01x\x64"[..], &[b'y'; 100]].concat();
    let block = frame(CONTINUATION, 0, 1, &field.repeat(150));
    flood("continuation_flood", &begin, &block, true, Fate::Ended);
}

/// The same with empty frames, which no limit of bytes would stop.
#[test]
fn p8_empty_continuation_flood() {
    let begin = frame(HEADERS, END_STREAM, 1, GET_ROOT);
    let block = frame(CONTINUATION, 0, 1, b"").repeat(10_000);
    flood("empty_continuation_flood", &begin, &block, true, Fate::Ended);
}

#[test]
fn p8_settings_flood() {
    let block = frame(SETTINGS, 0, 0, b"\0\x03\0\0\0\x64").repeat(1_000);
    flood("settings_flood", b"", &block, false, Fate::Served);
    flood("settings_flood_read", b"", &block, true, Fate::Served);
}

#[test]
fn p8_ping_flood() {
    let block = frame(PING, 0, 0, b"12345678").repeat(1_000);
    flood("ping_flood", b"", &block, false, Fate::Served);
    flood("ping_flood_read", b"", &block, true, Fate::Served);
}

/// Windows that grow beyond the maximum.
#[test]
fn p8_window_overflow() {
    let block = frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes());
    flood("window_overflow", b"", &block.repeat(1000), true, Fate::Ended);
}

/// A body of empty frames that never ends and never grows.
#[test]
fn p8_empty_data_flood() {
    let begin = frame(HEADERS, END_HEADERS, 1, POST_TOKENS);
    let block = frame(DATA, 0, 1, b"").repeat(1_000);
    flood("empty_data_flood", &begin, &block, true, Fate::Served);
}

/// A head far longer than its limit, well-formed: that stream is refused.
#[test]
fn p8_header_list_too_large() {
    let field = [&b"\x10\x01x\x64"[..], &[b'y'; 100]].concat();
    let server = impatient();
    under_attack("header_list_too_large", &server, Bounds::of(4, GROWTH_MIB), || {
        let mut conn = hello(&server, &[]);
        let block = field.repeat(150);
        let mut bytes = frame(HEADERS, END_STREAM, 1, &[GET_ROOT, &block].concat());
        bytes.extend(frame(CONTINUATION, 0, 1, &block));
        bytes.extend(frame(CONTINUATION, END_HEADERS, 1, &block));
        let _ = conn.send(&bytes);
        assert!(conn_ends(&conn), "the server did not close the connection");
        (conn, vec![("header_bytes", 3 * block.len() as u64)])
    });
}

/// Large answers are requested on all streams, with a window of zero, or one byte at a time.
fn without_window(name: &str, drip: bool) {
    const CONNECTIONS: usize = 20;
    let server = impatient();
    let large = format!("{{\"payload\":\"{}\"}}", "x".repeat(60_000));
    let token = Client::of(&server).issued(&large).token;
    let path = format!("/v1/tokens/{token}");
    let len = u8::try_from(path.len()).expect("short");
    let head = [&b"\x82\x86\x41\x01a\x44"[..], &[len], path.as_bytes()].concat();
    // SETTINGS_INITIAL_WINDOW_SIZE 0.
    let no_window = b"\0\x04\0\0\0\0";
    under_attack(name, &server, Bounds::of(CONNECTIONS, 256), || {
        let mut bytes = [PREFACE, &frame(SETTINGS, 0, 0, no_window)].concat();
        for stream in (1..256).step_by(2) {
            bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, &head));
        }
        let mut conns = crowd_sending(&server, CONNECTIONS, |_| bytes.clone());
        for _ in 0..if drip { 100 } else { 0 } {
            for conn in &mut conns {
                let _ = conn.send(&frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes()));
            }
            std::thread::sleep(std::time::Duration::from_millis(30));
        }
        assert!(conns.iter().all(conn_ends), "a connection without window outlived its time");
        (conns, vec![("connections", CONNECTIONS as u64), ("streams", 128 * CONNECTIONS as u64)])
    });
}

#[test]
fn p8_no_window_for_any_answer() {
    without_window("zero_window", false);
}

#[test]
fn p8_a_window_of_one_byte_at_a_time() {
    without_window("dripping_window", true);
}

/// The preface, and then nothing, or half a frame.
#[test]
fn p8_a_handshake_that_never_ends() {
    let server = impatient();
    under_attack("http2_handshake", &server, Bounds::of(200, GROWTH_MIB), || {
        let rest = frame(SETTINGS, 0, 0, b"\0\x04\0\0\0\0");
        let conns = crowd_sending(&server, 200, |n| [PREFACE, &rest[..n % rest.len()]].concat());
        assert!(conns.iter().all(conn_ends), "a handshake outlived its time");
        (conns, vec![("connections", 200)])
    });
}
