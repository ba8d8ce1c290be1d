//! TLS: versions, protocols, resumption, hostile handshakes, certificates that change.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use rustix::process::{Signal, kill_process};
use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};

use crate::pki::{Ca, Client, Files, TlsConn, connect, der, put};
use crate::raw::{Conn, Response, request};
use crate::server::{Launch, Server};
use crate::support::{Rng, eventually};

/// A server with TLS, and the trust settings of its clients.
struct Secure {
    server: Server,
    ca: Ca,
    files: Files,
    dir: tempfile::TempDir,
}

fn secure(settings: impl FnOnce(Launch) -> Launch) -> Secure {
    let dir = tempfile::tempdir().expect("a folder");
    let ca = Ca::new("test authority");
    let files = Files::in_dir(dir.path(), &ca.issue(&["127.0.0.1"]), &ca);
    let server = settings(launch(dir.path(), &files)).start();
    Secure { server, ca, files, dir }
}

fn launch(dir: &Path, files: &Files) -> Launch {
    Launch::on(&dir.join("data"))
        .flag("--tls-cert", files.cert.to_str().expect("UTF-8"))
        .flag("--tls-key", files.key.to_str().expect("UTF-8"))
}

fn ask(conn: &mut TlsConn, method: &str, path: &str, body: &str) -> Response {
    let json: &[_] = if body.is_empty() { &[] } else { &[("Content-Type", "application/json")] };
    conn.send(&request(method, path, json, body.as_bytes())).expect("sends");
    conn.response().expect("an answer")
}

/// Issues a token with this payload.
fn issue(conn: &mut TlsConn, payload: &str) -> String {
    let issued = ask(conn, "POST", "/v1/tokens", &format!("{{\"payload\":{payload}}}"));
    assert_eq!(issued.status, 201, "{}", issued.text());
    issued.json()["token"].as_str().expect("a token").to_owned()
}

/// Whether a request on a new connection is answered.
fn works(client: &Client, address: SocketAddr) -> bool {
    let Ok(mut conn) = client.connect(address) else { return false };
    conn.send(&request("GET", "/v1/x", &[], b"")).is_ok() && conn.response().is_ok()
}

#[test]
fn tls_1_2_and_1_3_are_spoken_on_both_listeners() {
    let Secure { server, ca, dir: _dir, .. } = secure(|launch| launch);
    assert!(
        server.stdout().contains("data=https://") && server.stdout().contains("admin=https://")
    );
    for version in [&TLS12, &TLS13] {
        let mut conn = ca.client().only(version).connect(server.data).expect("a handshake");
        assert_eq!(conn.stream().conn.protocol_version(), Some(version.version));
        let token = issue(&mut conn, "{\"n\" : 1}");
        let path = format!("/v1/tokens/{token}");
        assert_eq!(ask(&mut conn, "GET", &path, "").text(), "{\"n\" : 1}");
        assert_eq!(ask(&mut conn, "POST", &format!("{path}/consume"), "").text(), "{\"n\" : 1}");
        assert_eq!(ask(&mut conn, "GET", &path, "").status, 404);
        let mut admin = ca.client().only(version).connect(server.admin).expect("a handshake");
        assert_eq!(ask(&mut admin, "GET", "/healthz", "").text(), "alive\n");
    }
    server.stop_well();
}

#[test]
fn what_is_older_is_refused_with_an_alert() {
    let Secure { server, .. } = &secure(|launch| launch);
    // SSL 3.0, TLS 1.0 and 1.1, in their record format.
    for minor in [0, 1, 2] {
        let mut hello = vec![3, minor];
        hello.extend([7; 32]);
        hello.extend([0, 0, 4, 0xC0, 0x13, 0, 0x2F, 1, 0]);
        let len = u8::try_from(hello.len()).expect("short");
        let mut record = vec![0x16, 3, minor, 0, len + 4, 1, 0, 0, len];
        record.extend(hello);
        let mut conn = Conn::open(server.data).expect("connects");
        conn.send(&record).expect("sends");
        let mut said = Vec::new();
        std::io::Read::read_to_end(conn.stream(), &mut said).expect("it closes");
        // A fatal alert: handshake_failure or protocol_version.
        assert!(matches!(said[..], [0x15, _, _, 0, 2, 2, 40 | 70]), "3.{minor}: {said:?}");
    }
}

#[test]
fn a_burst_and_large_answers_come_whole_and_in_order() {
    let Secure { server, ca, .. } = &secure(|launch| launch);
    let mut conn = ca.client().connect(server.data).expect("a handshake");
    let payloads: Vec<_> = (0..20).map(|n| format!("\"{n}{}\"", "x".repeat(3000 * n))).collect();
    let tokens: Vec<_> = payloads.iter().map(|payload| issue(&mut conn, payload)).collect();
    let burst: Vec<_> = tokens
        .iter()
        .flat_map(|token| request("GET", &format!("/v1/tokens/{token}"), &[], b""))
        .collect();
    for round in 0..3 {
        conn.send(&burst).expect("sends");
        for payload in &payloads {
            assert!(conn.response().expect("an answer").text() == payload, "round {round}");
        }
    }
    let list = serde_json::json!({ "tokens": tokens }).to_string();
    let answer = ask(&mut conn, "POST", "/v1/resolve", &list);
    assert_eq!(answer.text(), format!("[{}]", payloads.join(",")));
}

#[test]
fn a_client_that_reads_late_gets_all_of_it() {
    let Secure { server, ca, .. } = &secure(|launch| launch);
    let payload = format!("\"{}\"", "x".repeat(60_000));
    let mut conn = ca.client().connect(server.data).expect("a handshake");
    let token = issue(&mut conn, &payload);
    let burst = request("GET", &format!("/v1/tokens/{token}"), &[], b"").repeat(100);
    for _ in 0..3 {
        let mut conn = ca.client().connect(server.data).expect("a handshake");
        let socket = &conn.stream().sock;
        rustix::net::sockopt::set_socket_recv_buffer_size(socket, 128 * 1024).expect("smaller");
        conn.send(&burst).expect("sends");
        std::thread::sleep(std::time::Duration::from_millis(300));
        for n in 0..100 {
            assert!(conn.response().expect("an answer").text() == payload, "answer {n}");
        }
    }
}

#[test]
fn who_comes_again_is_known_by_a_ticket_and_sends_nothing_early() {
    let Secure { server, ca, .. } = &secure(|launch| launch);
    for version in [&TLS12, &TLS13] {
        let config = ca.client().only(version).config();
        let kinds: Vec<_> = (0..3)
            .map(|_| {
                let mut conn = connect(config.clone(), server.data).expect("a handshake");
                // Tickets come with the first answer.
                assert_eq!(ask(&mut conn, "GET", "/v1/x", "").status, 404);
                let session = &mut conn.stream().conn;
                assert!(!session.is_early_data_accepted(), "it could be replayed");
                session.handshake_kind().expect("done")
            })
            .collect();
        assert_ne!(kinds[0], HandshakeKind::Resumed);
        assert_eq!(kinds[1..], [HandshakeKind::Resumed; 2], "{version:?}");
    }
}

#[test]
fn alpn_chooses_http_1_1_where_it_must_and_refuses_strangers() {
    let Secure { server, ca, .. } = &secure(|launch| launch);
    let chosen = |names: &[&str], address| {
        let mut conn = ca.client().alpn(names).connect(address).ok()?;
        let chosen = conn.stream().conn.alpn_protocol().unwrap_or_default().to_vec();
        Some(String::from_utf8(chosen).expect("text"))
    };
    assert_eq!(chosen(&["http/1.1", "h2"], server.data).as_deref(), Some("h2"));
    assert_eq!(chosen(&["http/1.1"], server.data).as_deref(), Some("http/1.1"));
    assert_eq!(chosen(&[], server.data).as_deref(), Some(""));
    assert_eq!(chosen(&["h2", "http/1.1"], server.admin).as_deref(), Some("http/1.1"));
    assert_eq!(chosen(&["smtp"], server.data), None);
}

#[test]
fn p8_a_handshake_counts_as_a_connection_and_a_stuck_one_is_closed() {
    let Secure { server, ca, .. } = &secure(|launch| {
        launch.flag("--max-connections", "3").flag("--tls-handshake-timeout", "1s")
    });
    let client = ca.client();
    let begins = [&b""[..], &[0x16], &[0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3]];
    let stuck = begins.map(|begun| {
        let mut conn = Conn::open(server.data).expect("connects");
        conn.send(begun).expect("sends");
        conn
    });
    for (mut conn, begun) in stuck.into_iter().zip(begins) {
        assert!(conn.is_closed(), "after {begun:?}");
    }
    eventually("their places are free", || {
        let conns: Vec<_> = (0..3).map_while(|_| client.connect(server.data).ok()).collect();
        conns.len() == 3
    });
}

#[test]
fn p8_where_all_places_are_taken_by_handshakes_others_are_told_so() {
    let Secure { server, ca, .. } = &secure(|launch| {
        // One worker, so that connections are served in order.
        let launch = launch.flag("--workers", "1").flag("--max-connections", "1");
        launch.flag("--tls-handshake-timeout", "1h")
    });
    let client = ca.client();
    let mut stuck = Conn::open(server.data).expect("connects");
    stuck.send(&[0x16, 3, 1]).expect("sends");
    let refused = || client.connect(server.data).err().map(|error| error.to_string());
    // A client that has sent too little before its refusal may only get a reset.
    eventually("one more is refused with an alert", || {
        refused().expect("there is no place").contains("InternalError")
    });
    drop(stuck);
    eventually("the place is free", || works(&client, server.data));
}

/// A valid start with some bytes changed, cut anywhere, or random bytes after the first one.
#[test]
fn p8_garbage_in_place_of_a_handshake_hurts_nobody() {
    let Secure { server, ca, .. } = &secure(|launch| launch);
    let name = rustls_pki_types::ServerName::from(server.data.ip());
    let mut session = rustls::ClientConnection::new(ca.client().config(), name).expect("a client");
    let mut hello = Vec::new();
    session.write_tls(&mut hello).expect("its first words");
    let mut rng = Rng::new(5);
    let before = server.resident_kib();
    for round in 0..300 {
        let mut bytes = hello.clone();
        for _ in 0..=rng.below(4) {
            let at = rng.below(bytes.len());
            bytes[at] = u8::try_from(rng.below(256)).expect("a byte");
        }
        match round % 3 {
            0 => bytes.truncate(1 + rng.below(hello.len())),
            1 => bytes.iter_mut().skip(5).for_each(|byte| *byte ^= 0x55),
            _ => bytes.extend_from_slice(&hello),
        }
        bytes[0] = 0x16;
        let address = if round % 2 == 0 { server.data } else { server.admin };
        let mut conn = Conn::open(address).expect("connects");
        // It may have been refused before all of it was sent.
        let _ = conn.send(&bytes);
    }
    assert!(works(&ca.client(), server.data) && works(&ca.client(), server.admin));
    assert!(!server.stderr().contains("panicked"), "{}", server.stderr());
    let grown = server.resident_kib().saturating_sub(before);
    assert!(grown < 64 << 10, "{grown} KiB more");
}

#[test]
fn p8_a_client_that_pipelines_and_never_reads_is_dropped() {
    let Secure { server, ca, .. } = &secure(|launch| launch.flag("--write-timeout", "250ms"));
    let mut conn = ca.client().connect(server.data).expect("a handshake");
    let token = issue(&mut conn, &format!("\"{}\"", "x".repeat(50_000)));
    let burst = request("GET", &format!("/v1/tokens/{token}"), &[], b"").repeat(1000);
    let error = loop {
        if let Err(error) = conn.stream().write_all(&burst) {
            break error;
        }
    };
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
    assert!(matches!(error.kind(), ConnectionReset | BrokenPipe), "{error}");
    assert!(server.resident_kib() < 200 << 10, "{} KiB", server.resident_kib());
    assert!(works(&ca.client(), server.data));
}

#[test]
fn plain_http_to_a_tls_port_is_told_so() {
    let Secure { server, ca, .. } = &secure(|launch| launch);
    for address in [server.data, server.admin] {
        for sent in ["GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "PRI * HTTP/2.0\r\n\r\n", "x"] {
            let mut conn = Conn::open(address).expect("connects");
            conn.send(sent.as_bytes()).expect("sends");
            let response = conn.response().expect("an answer");
            crate::client::expect_naming(&response, 400, "https://");
            crate::client::assert_contract(&response);
            assert!(conn.is_closed());
        }
    }
    assert!(works(&ca.client(), server.data));
}

#[test]
fn tls_to_a_plain_port_does_not_hang() {
    let server = Server::shared();
    let error = Ca::new("nobody").client().connect(server.data).err().expect("no TLS is there");
    let has_waited = matches!(error.kind(), std::io::ErrorKind::WouldBlock);
    assert!(!has_waited, "{error}");
}

#[test]
fn certificates_change_while_the_server_runs() {
    let Secure { server, ca, files, .. } = &secure(|launch| launch);
    let client = ca.client();
    let shown = || {
        let mut conn = client.connect(server.data).expect("a handshake");
        conn.stream().conn.peer_certificates().expect("a certificate")[0].clone()
    };
    let (old, new) = (shown(), ca.issue(&["127.0.0.1"]));
    let mut running = client.connect(server.data).expect("a handshake");
    let token = issue(&mut running, "1");
    // A renewal writes one file after the other; in between they do not match.
    put(&files.cert, &new.cert);
    eventually("it is logged", || server.stderr().contains("can't load the certificate"));
    assert!(server.stderr().contains("is not the key of the first certificate"));
    assert_eq!(shown(), old);
    put(&files.key, &new.key);
    eventually("the new one is shown", || shown() == der(&new.cert));
    assert_eq!(ask(&mut running, "GET", &format!("/v1/tokens/{token}"), "").text(), "1");
    let mut admin = client.connect(server.admin).expect("a handshake");
    assert_eq!(admin.stream().conn.peer_certificates().expect("one")[0], der(&new.cert));
    // A mistake changes nothing, and SIGHUP reloads the files even without a change.
    put(&files.cert, "nothing");
    eventually("it is logged", || server.stderr().contains("contains no certificate"));
    assert_eq!(shown(), der(&new.cert));
    let count = || server.stderr().matches("certificate loaded").count();
    let before = count();
    put(&files.cert, &new.cert);
    eventually("it is read again", || count() > before);
    // The file may be checked while it is written, and then once more.
    std::thread::sleep(std::time::Duration::from_millis(2500));
    let before = count();
    kill_process(server.pid(), Signal::HUP).expect("it runs");
    eventually("SIGHUP reads it", || count() > before);
    let secret = new.key.lines().nth(1).expect("a line of the key");
    assert!(!server.stderr().contains(secret), "P9");
}

#[test]
fn a_server_does_not_start_with_half_of_what_it_needs() {
    let dir = tempfile::tempdir().expect("a folder");
    let ca = Ca::new("test authority");
    let files = Files::in_dir(dir.path(), &ca.issue(&["127.0.0.1"]), &ca);
    let cert = files.cert.to_str().expect("UTF-8");
    let refused = |launch: Launch| {
        let refused = launch.try_start().err().expect("it does not start");
        (refused.status.code(), refused.stderr)
    };
    let (code, said) = refused(Launch::on(dir.path()).flag("--tls-cert", cert));
    assert!(code == Some(2) && said.contains("--tls-key"), "{said}");
    let ca_alone = launch(dir.path(), &files).flag("--tls-client-ca", cert);
    let (code, said) = refused(ca_alone);
    assert!(code == Some(2) && said.contains("--keys"), "{said}");
    let other = ca.issue(&["127.0.0.1"]);
    put(&files.key, &other.key);
    let (code, said) = refused(launch(dir.path(), &files));
    assert!(code == Some(2) && said.contains("is not the key"), "{said}");
    std::fs::remove_file(&files.key).expect("removed");
    let (code, said) = refused(launch(dir.path(), &files));
    assert!(code == Some(2) && said.contains("--tls-key") && said.contains("key.pem"), "{said}");
}

#[test]
fn a_server_that_stops_ends_handshakes_too() {
    let Secure { server, dir: _dir, .. } =
        secure(|launch| launch.flag("--tls-handshake-timeout", "1h"));
    let mut stuck = Conn::open(server.data).expect("connects");
    stuck.send(&[0x16, 3, 1]).expect("sends");
    let (status, said) = server.stop(Signal::TERM);
    assert!(status.success() && !said.contains("not all requests were finished"), "{said}");
}
