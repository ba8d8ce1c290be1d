//! Servers of jeton that refuse a command, or that end: a proxy in front of jeton does it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use tempfile::TempDir;

use super::source::{Source, count, said};
use crate::resp_data::redis::Jeton;
use crate::server::output;

/// What the proxy does when it sees these bytes of a request.
#[derive(Clone, Copy)]
enum Fault {
    /// Others as long take their place, so that jeton refuses the command.
    Other(&'static [u8], &'static [u8]),
    /// The connection ends, and nobody listens any longer.
    End(&'static [u8]),
}

/// Passes everything on to `jeton`, with a fault.
fn proxy(jeton: &Jeton, fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let (address, to) = (listener.local_addr().expect("bound"), jeton.address);
    std::thread::spawn(move || {
        // An import makes one connection, and another one if that ends.
        while let Ok((client, _)) = listener.accept() {
            let server = TcpStream::connect(to).expect("jeton");
            let (mut down, mut back) =
                (server.try_clone().expect("a copy"), client.try_clone().expect("a copy"));
            std::thread::spawn(move || std::io::copy(&mut down, &mut back));
            if pass(client, server, fault) {
                return;
            }
        }
    });
    address
}

/// Returns whether nobody is to listen any longer.
fn pass(mut from: TcpStream, mut to: TcpStream, fault: Fault) -> bool {
    let mut chunk = [0; 64 * 1024];
    while let Ok(len @ 1..) = from.read(&mut chunk) {
        let bytes = &mut chunk[..len];
        let place = |word: &[u8]| bytes.windows(word.len()).position(|part| part == word);
        match fault {
            Fault::Other(word, other) => {
                if let Some(at) = place(word) {
                    bytes[at..at + word.len()].copy_from_slice(other);
                }
            }
            Fault::End(word) if place(word).is_some() => {
                from.shutdown(Shutdown::Both).expect("an open connection");
                return true;
            }
            Fault::End(_) => {}
        }
        if to.write_all(bytes).is_err() {
            break;
        }
    }
    false
}

/// Imports with these servers, in their order.
fn import(source: &Source, servers: &[SocketAddr], dir: &TempDir) -> (i32, String) {
    let servers: Vec<_> = servers.iter().map(|it| format!("redis://{it}")).collect();
    let mut command = crate::server::jeton();
    command.args(["import", &source.url(), "--server", &servers.join(","), "--state"]);
    said(&output(command.arg(dir.path().join("state")).env_remove("REDISCLI_AUTH")))
}

#[test]
fn p3_a_deadline_that_jeton_refuses_is_an_error_and_is_set_by_the_next_import() {
    let Some(source) = Source::start("import: a refused deadline") else { return };
    let (jeton, dir) = (Jeton::start(), tempfile::tempdir().expect("a temporary folder"));
    source.say("SET cart:7 1 EX 600");
    let refusing = proxy(&jeton, Fault::Other(b"PEXPIRE", b"PEXPIRX"));
    let (code, text) = import(&source, &[refusing], &dir);
    assert_eq!((code, count(&text, "copied")), (3, 0), "{text}");
    assert!(text.contains("unknown command"), "{text}");
    let (code, text) = import(&source, &[jeton.address], &dir);
    assert_eq!((code, count(&text, "copied")), (0, 1), "{text}");
    let left = jeton.wire().say("TTL cart:7");
    assert!(left.starts_with(":5") || left.starts_with(":600"), "{left}");

    source.say("EXPIRE cart:7 60");
    let (code, text) = import(&source, &[refusing], &dir);
    assert_eq!((code, count(&text, "gone")), (3, 0), "{text}");
}

#[test]
fn p2_a_value_that_jeton_refuses_to_replace_is_an_error_and_is_replaced_by_the_next_import() {
    let Some(source) = Source::start("import: a refused replacement") else { return };
    let (jeton, dir) = (Jeton::start(), tempfile::tempdir().expect("a temporary folder"));
    source.say("SET cart:7 before EX 600");
    assert_eq!(import(&source, &[jeton.address], &dir).0, 0);
    source.say("SET cart:7 after EX 600");
    let refusing = proxy(&jeton, Fault::Other(b"\r\nXX\r\n", b"\r\nXY\r\n"));
    let (code, text) = import(&source, &[refusing], &dir);
    assert_eq!((code, count(&text, "other-value")), (3, 0), "{text}");
    let (code, text) = import(&source, &[jeton.address], &dir);
    assert_eq!((code, count(&text, "replaced")), (0, 1), "{text}");
    assert_eq!(jeton.wire().say("GET cart:7"), "$5\\r\\nafter\\r\\n");
}

#[test]
fn a_look_turns_to_the_next_server_when_one_ends() {
    let Some(source) = Source::start("import: the next server") else { return };
    let (jeton, dir) = (Jeton::start(), tempfile::tempdir().expect("a temporary folder"));
    source.say("SET cart:7 1 EX 600");
    assert_eq!(import(&source, &[jeton.address], &dir).0, 0);
    // The second pass looks first.
    let ending = proxy(&jeton, Fault::End(b"PTTL"));
    let (code, text) = import(&source, &[ending, jeton.address], &dir);
    assert_eq!((code, count(&text, "unchanged")), (0, 1), "{text}");
}
