//! A consumer that comes between two steps of an import: a proxy in front of the source lets it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};

use tempfile::TempDir;

use super::source::{Source, begun, begun_unread, count, import, said};
use crate::resp_data::redis::Jeton;
use crate::server::output;

const MARK: &[u8] = b"the-value-of-the-key";

/// Passes everything on, and stops before each answer with the value until it is told to go on.
struct Proxy {
    address: SocketAddr,
    /// An answer with the value is held.
    held: Receiver<()>,
    go_on: Sender<()>,
}

impl Proxy {
    fn before(source: &Source) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let ((hold, held), (go_on, going)) = (channel(), channel());
        let to = source.address;
        // One connection is all that an import makes.
        std::thread::spawn(move || {
            let (client, _) = listener.accept().expect("a client");
            let server = TcpStream::connect(to).expect("the source");
            let (mut up, mut down) =
                (client.try_clone().expect("a copy"), server.try_clone().expect("a copy"));
            std::thread::spawn(move || std::io::copy(&mut up, &mut down));
            pass(server, client, &hold, &going);
        });
        Self { address, held, go_on }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, hold: &Sender<()>, going: &Receiver<()>) {
    let mut chunk = [0; 64 * 1024];
    while let Ok(len @ 1..) = from.read(&mut chunk) {
        let has_mark = chunk[..len].windows(MARK.len()).any(|part| part == MARK);
        // Neither is there when the test is over.
        if has_mark && (hold.send(()).is_err() || going.recv().is_err()) {
            return;
        }
        if to.write_all(&chunk[..len]).is_err() {
            return;
        }
    }
}

fn start(source: &Source, jeton: &Jeton) {
    source.say(&format!("SET cart:7 {} EX 600", MARK.escape_ascii()));
    assert_eq!(jeton.wire().say("GET cart:7"), "$-1\\r\\n");
}

/// Consumes the key as the shop does: in the source first, then in jeton.
fn consume(source: &Source, jeton: &Jeton) {
    assert!(source.say("GETDEL cart:7").starts_with("$20"));
    jeton.wire().say("DEL cart:7");
}

#[test]
fn p2_a_key_that_is_consumed_while_it_is_copied_does_not_stay() {
    let Some(source) = Source::start("import: consumed meanwhile") else { return };
    let (jeton, dir) = (Jeton::start(), tempfile::tempdir().expect("a temporary folder"));
    start(&source, &jeton);
    let proxy = Proxy::before(&source);
    let child = begun(&mut import(&format!("redis://{}", proxy.address), &jeton, &dir));
    proxy.held.recv().expect("the value passes");
    consume(&source, &jeton);
    proxy.go_on.send(()).expect("it waits");
    let (code, text) = said(&child.wait_with_output().expect("its output"));
    assert_eq!((code, count(&text, "vanished")), (0, 1), "{text}");
    assert_eq!(jeton.wire().say("GET cart:7"), "$-1\\r\\n", "consumed, and lives");
}

/// Kills an import when its key is put and not confirmed: when the source is asked again.
fn kill_unconfirmed(source: &Source, jeton: &Jeton, dir: &TempDir) {
    let proxy = Proxy::before(source);
    let mut child = begun_unread(&mut import(&format!("redis://{}", proxy.address), jeton, dir));
    proxy.held.recv().expect("the value passes");
    proxy.go_on.send(()).expect("it waits");
    proxy.held.recv().expect("the value passes again");
    child.kill().expect("a child of ours");
    child.wait().expect("it has ended");
}

#[test]
fn p2_after_a_kill_a_key_that_was_not_confirmed_ends_by_itself_and_is_never_put_again() {
    let Some(source) = Source::start("import: probation") else { return };
    let (jeton, dir) = (Jeton::start(), tempfile::tempdir().expect("a temporary folder"));
    start(&source, &jeton);
    kill_unconfirmed(&source, &jeton, &dir);
    let left = jeton.wire().say("PTTL cart:7");
    let left: u64 = left.trim_start_matches(':').trim_end_matches("\\r\\n").parse().expect("lives");
    assert!(left <= 30_000, "{left} ms");
    // Consumed in jeton alone, so that the source still has it.
    assert!(jeton.wire().say("GETDEL cart:7").starts_with("$20"));
    for _ in 0..2 {
        let (code, text) = said(&output(&mut import(&source.url(), &jeton, &dir)));
        assert_eq!((code, count(&text, "unknown")), (1, 1), "{text}");
        assert_eq!(jeton.wire().say("GET cart:7"), "$-1\\r\\n", "it lives again");
    }
}

#[test]
fn p2_a_key_that_was_not_confirmed_is_confirmed_by_the_next_import() {
    let Some(source) = Source::start("import: resumed") else { return };
    let (jeton, dir) = (Jeton::start(), tempfile::tempdir().expect("a temporary folder"));
    start(&source, &jeton);
    kill_unconfirmed(&source, &jeton, &dir);
    let (code, text) = said(&output(&mut import(&source.url(), &jeton, &dir)));
    assert_eq!((code, count(&text, "copied")), (0, 1), "{text}");
    let left = jeton.wire().say("TTL cart:7");
    assert!(left.starts_with(":5") || left.starts_with(":600"), "{left}");
}
