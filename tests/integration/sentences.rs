//! Error messages for people: sentences that say what to do, without JSON and without names from
//! the code.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Output;

use crate::pki::{Ca, Files};
use crate::server::{Launch, Server, jeton, output};

/// The message of a failed command.
#[track_caller]
fn said(output: &Output) -> String {
    assert!(!output.status.success(), "it failed");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    for odd in ["{", "\\\"", "kind:", "Error(", "os error", "panicked"] {
        assert!(!said.contains(odd), "{odd}: {said}");
    }
    said
}

#[track_caller]
fn says(arguments: &[&str], what: &str) {
    let said = said(&output(jeton().args(arguments)));
    assert!(said.contains(what), "{arguments:?}: {said}");
}

#[test]
fn the_wrong_listener_is_named() {
    let server = Server::shared();
    let [data, admin] = [server.data, server.admin].map(|address| format!("http://{address}"));
    let token = "A".repeat(32);
    for command in [["issue", "1"], ["resolve", &token], ["consume", &token], ["status", &token]] {
        let asked = [&command[..], &["--server", &admin]].concat();
        says(&asked, "--server must name the data listener of jeton (--listen, 127.0.0.1:7450");
        assert!(!said(&output(jeton().args(asked))).contains("not found"));
    }
    let home = tempfile::tempdir().expect("a folder");
    let backup = home.path().join("backup");
    let backup = backup.to_str().expect("UTF-8");
    says(&["backup", "--server", &data, backup], "--admin-listen, 127.0.0.1:7451");
}

/// A program that answers every request with this text.
fn answering(text: &'static str) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let mut socket = socket;
            let _ = socket.read(&mut [0; 4096]);
            let _ = socket.write_all(text.as_bytes());
        }
    });
    address
}

#[test]
fn a_server_that_cannot_be_asked_is_explained() {
    let other = answering("SSH-2.0-OpenSSH_9\r\n");
    let silent = answering("");
    for (server, what) in [
        // No other program of this machine gets such a port by chance.
        ("http://127.0.0.1:1".to_owned(), "no server listens there: start jeton serve"),
        ("http://no-such-host.invalid:1".to_owned(), "is the name right?"),
        (format!("http://{other}"), "does not speak HTTP/1.1"),
        (format!("http://{silent}"), "the outcome is unknown: the connection ended before"),
    ] {
        says(&["issue", "1", "--server", &server], what);
    }
    let home = tempfile::tempdir().expect("a folder");
    let ca = Ca::new("nobody");
    let files = Files::in_dir(home.path(), &ca.issue(&["localhost"]), &ca);
    let ca = files.ca.to_str().expect("UTF-8");
    for plain in [other, silent, Server::shared().data] {
        let server = format!("https://{plain}");
        says(
            &["issue", "1", "--ca", ca, "--server", &server],
            "should the address begin with http://?",
        );
    }
}

#[test]
fn an_address_that_cannot_be_listened_on_is_explained() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = taken.local_addr().map(|address| (taken, address)).expect("its address");
    let home = tempfile::tempdir().expect("a folder");
    let launch = |address: &str| {
        let launch = Launch::on(home.path()).flag("--listen", address).switch("--insecure");
        launch.try_start().err().expect("it does not start").stderr
    };
    let said = launch(&taken.1.to_string());
    assert!(said.contains("another program listens on it"), "{said}");
    // For documentation only (RFC 5737): no machine has it.
    let said = launch("192.0.2.1:0");
    assert!(said.contains("this machine does not have this address"), "{said}");
    assert!(!said.contains("os error"), "{said}");
}
