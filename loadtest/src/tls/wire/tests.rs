//! What a socket with TLS hands out, against a server whose bytes the test puts together.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::{ServerConfig, ServerConnection};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::*;
use crate::tls::failure::denial;
use crate::tls::{Tls, Trust};

/// A record that no key opens: the side that reads it ends TLS with an alert.
const FORGED: &[u8] = b"\x17\x03\x03\x00\x1c0123456789abcdef0123456789ab";

struct Server {
    session: ServerConnection,
    socket: TcpStream,
}

impl Server {
    /// What it has to say, in one piece.
    fn flush(&mut self) {
        let mut bytes = Vec::new();
        while self.session.wants_write() {
            self.session.write_tls(&mut bytes).unwrap();
        }
        self.socket.write_all(&bytes).unwrap();
    }

    fn say(&mut self, text: &str) {
        self.session.writer().write_all(text.as_bytes()).unwrap();
    }

    fn alert(&mut self) {
        self.session.read_tls(&mut &FORGED[..]).unwrap();
        self.session.process_new_packets().unwrap_err();
    }
}

fn pair() -> (Wire, Server) {
    let folder = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, certificate.pem()).unwrap();
    let tls = Tls::new(&Trust { ca: Some(ca), identity: None }, "127.0.0.1", None).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let patience = Patience::of(Duration::from_secs(60));
    let socket = patience.connect(listener.local_addr().unwrap()).unwrap();
    let mut wire = Wire::new(socket, Some(tls.begin().unwrap()));
    let (mut socket, _) = listener.accept().unwrap();
    let shaking = std::thread::spawn(move || {
        let mut session = ServerConnection::new(Arc::new(config)).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut socket).unwrap();
        }
        Server { session, socket }
    });
    wire.wait_for_handshake(None, patience).unwrap();
    (wire, shaking.join().unwrap())
}

/// All that comes up to the end, and the end.
fn receive(wire: &mut Wire) -> (String, Option<std::io::Error>) {
    let patience = Patience::of(Duration::from_secs(60));
    let (mut buffer, mut opened, mut text) = (vec![0; 64 << 10], Vec::new(), Vec::new());
    loop {
        if !wire.has_ended() {
            patience.wait(wire, PollFlags::IN).unwrap();
        }
        match wire.receive(&mut buffer, &mut opened) {
            Incoming::Bytes(_, plain) => text.extend_from_slice(plain),
            Incoming::Nothing => {}
            Incoming::Ended(end) => return (String::from_utf8(text).unwrap(), end),
        }
    }
}

#[test]
fn what_came_before_an_alert_is_handed_out_before_the_end() {
    let (mut wire, mut server) = pair();
    server.say("one");
    server.say("two");
    server.alert();
    server.flush();
    let (text, end) = receive(&mut wire);
    assert_eq!(text, "onetwo");
    assert_eq!(denial(&end.unwrap()), Some(&Denial::TlsAlert));
}

#[test]
fn what_came_before_a_forged_record_is_handed_out_too() {
    let (mut wire, mut server) = pair();
    server.say("one");
    let mut bytes = Vec::new();
    while server.session.wants_write() {
        server.session.write_tls(&mut bytes).unwrap();
    }
    bytes.extend_from_slice(FORGED);
    server.socket.write_all(&bytes).unwrap();
    let (text, end) = receive(&mut wire);
    assert_eq!(text, "one");
    assert!(denial(&end.unwrap()).is_some());
}

/// The socket itself stays open, so nothing else shows the end.
#[test]
fn a_server_that_says_goodbye_behind_its_answer_has_ended() {
    let (mut wire, mut server) = pair();
    server.say("one");
    server.session.send_close_notify();
    server.flush();
    let (text, end) = receive(&mut wire);
    assert_eq!((text.as_str(), end.is_none()), ("one", true));
}

#[test]
fn an_end_alone_is_given_at_once() {
    let (mut wire, mut server) = pair();
    server.session.send_close_notify();
    server.flush();
    let (text, end) = receive(&mut wire);
    assert_eq!((text.as_str(), end.is_none()), ("", true));
}
