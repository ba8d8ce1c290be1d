//! P8: clients that are slow, silent or gone. Each connection ends within its time limit.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use socket2::SockRef;

use crate::hostile_watch::{Bounds, asked, crowd, crowd_sending, impatient, pour, under_attack};
use crate::raw::{Conn, request};
use crate::support::not_run;
use crate::volume;

/// Clients of each attack.
const CLIENTS: u64 = 200;

fn clients() -> usize {
    usize::try_from(volume::volume("slow_clients", CLIENTS)).expect("a number of clients")
}

/// Sends `begin`, then `filler` byte by byte, for longer than any limit. Every connection must get
/// 408 and be closed, although it is never idle.
fn trickle(name: &str, begin: &[u8], filler: &[u8]) {
    let server = impatient();
    let count = clients();
    under_attack(name, &server, Bounds::of(count, 32), || {
        let mut conns = crowd_sending(&server, count, |_| begin.to_vec());
        for byte in filler.iter().cycle().take(60) {
            for conn in &mut conns {
                // The server may have closed it by now.
                let _ = conn.send(&[*byte]);
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        for conn in &mut conns {
            // Sending to a closed connection resets it, and then the answer may be lost.
            if let Ok(response) = conn.response() {
                assert_eq!(response.status, 408, "{}", response.without_date());
            }
            assert!(conn.is_closed(), "a slow client was not closed");
        }
        (conns, vec![("clients", count as u64)])
    });
}

#[test]
fn p8_slow_heads_end_in_time() {
    trickle("slow_heads", b"GET /v1/tokens/x HTTP/1.1\r\nHost: a\r\n", b"X-Slow: y\r\n");
}

#[test]
fn p8_a_slow_line_ends_in_time() {
    trickle("slow_lines", b"GET /v1/tokens/AAAAAAAAAAAAAAA", b"A");
}

#[test]
fn p8_slow_bodies_end_in_time() {
    let begin = b"POST /v1/tokens HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
                  Content-Length: 9999\r\n\r\n{";
    trickle("slow_bodies", begin, b" ");
}

#[test]
fn p8_slow_chunks_end_in_time() {
    let begin = b"POST /v1/tokens HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
                  Transfer-Encoding: chunked\r\n\r\n";
    trickle("slow_chunks", begin, b"1;x\r\n \r\n");
}

/// A connection without a byte; or one request long ago, and then silence.
#[test]
fn p8_silent_clients_end_in_time() {
    let server = impatient();
    let count = clients();
    under_attack("silent_clients", &server, Bounds::of(count, 32), || {
        let silent = || Conn::open(server.data).expect("connects");
        let mut conns: Vec<_> =
            (0..count).map(|n| if n % 2 == 0 { asked(&server) } else { silent() }).collect();
        for conn in &mut conns {
            assert!(conn.is_closed(), "a silent client was not closed");
        }
        (conns, vec![("clients", count as u64)])
    });
}

/// Large answers are requested and never read: the server closes such connections.
#[test]
fn p8_clients_that_never_read_end_in_time() {
    let server = impatient();
    let count = clients().min(60);
    let large = format!("{{\"payload\":\"{}\"}}", "x".repeat(30_000));
    let token = crate::client::Client::of(&server).issued(&large).token;
    let block = request("GET", &format!("/v1/tokens/{token}"), &[], b"").repeat(1000);
    under_attack("never_read", &server, Bounds::of(count, 96), || {
        let conns = crowd(&server, count);
        std::thread::scope(|scope| {
            for conn in &conns {
                let (mut writer, block) = (conn.writer().expect("a second handle"), &block);
                scope.spawn(move || pour(&mut writer, block, 100));
            }
        });
        (conns, vec![("clients", count as u64)])
    });
}

/// Connections that are reset in the middle of a head, of a body, of an answer.
#[test]
fn p8_clients_that_vanish_leave_nothing() {
    let server = impatient();
    let count = clients();
    let begun: [&[u8]; 4] = [
        b"",
        b"GET /v1/tok",
        b"POST /v1/tokens HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
          Content-Length: 99\r\n\r\n{",
        &request("GET", "/v1/nothing", &[], b"").repeat(50),
    ];
    under_attack("vanished_clients", &server, Bounds::of(count, 32), || {
        for n in 0..5 * count {
            let mut conn = Conn::open(server.data).expect("connects");
            // The server may have closed it by now.
            let _ = conn.send(begun[n % begun.len()]);
            let stream = conn.writer().expect("a second handle");
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a reset");
        }
        ((), vec![("clients", 5 * count as u64)])
    });
}

/// Debian's slowhttptest in one of its modes, for some seconds.
fn slowhttptest(name: &str, path: &str, mode: &[&str]) {
    const PROGRAM: &str = "/usr/bin/slowhttptest";
    if !Path::new(PROGRAM).exists() {
        return not_run(&format!("p8, {name}"), "slowhttptest is not installed");
    }
    let server = impatient();
    let seconds = volume::volume("slowhttptest_seconds", 5).to_string();
    let count = clients();
    under_attack(name, &server, Bounds::of(count, 64), || {
        let status = Command::new(PROGRAM)
            .args(mode)
            .args(["-c", &count.to_string(), "-r", "200", "-i", "1", "-p", "2", "-l", &seconds])
            .args(["-u", &format!("http://{}{path}", server.data)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(status.is_ok_and(|status| status.success()), "{PROGRAM} failed");
        ((), vec![("clients", count as u64)])
    });
}

#[test]
fn p8_slowhttptest_slow_headers() {
    slowhttptest("slowhttptest_headers", "/v1/resolve", &["-H", "-t", "GET"]);
}

#[test]
fn p8_slowhttptest_slow_bodies() {
    let mode = ["-B", "-t", "POST", "-s", "9000", "-f", "application/json"];
    slowhttptest("slowhttptest_bodies", "/v1/tokens", &mode);
}

#[test]
fn p8_slowhttptest_slow_reading() {
    let mode = ["-X", "-w", "1", "-y", "16", "-n", "1", "-z", "4", "-k", "10"];
    slowhttptest("slowhttptest_reading", "/v1/tokens", &mode);
}
