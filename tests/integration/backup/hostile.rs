//! A hostile server: its answers must not harm the machine that requests a backup.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;

use serde_json::json;

use super::{run, said, text};

const GIB: u64 = 1 << 30;

/// A server that answers one request with this head of a backup and these bytes.
fn answering(files: &[(u64, u64)], sent: &[u8]) -> String {
    let files: Vec<_> = (1..)
        .zip(files)
        .map(|(n, (sent, length))| {
            json!({"name": format!("segment-{n:016x}.log"), "sent": sent, "length": length})
        })
        .collect();
    let log_id = "00".repeat(16);
    let head = json!({
        "format": 2, "jeton": "0", "log_id": log_id, "lsn": 1, "tag": log_id, "time_ms": 1,
        "tokens": 0, "files": files, "mac": "",
    });
    let mut answer = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{head}\n").into_bytes();
    answer.extend_from_slice(sent);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("a client");
        let _ = socket.read(&mut [0; 4096]);
        let _ = socket.write_all(&answer);
    });
    url
}

#[track_caller]
fn is_refused(files: &[(u64, u64)], sent: &[u8], why: &str) {
    let home = tempfile::tempdir().expect("a folder");
    let backup = home.path().join("backup");
    let output = run(&["backup", "--server", &answering(files, sent), text(&backup)]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains(why), "{why}: {}", said(&output));
    let left: Vec<_> = std::fs::read_dir(home.path()).expect("a folder").collect();
    assert!(left.is_empty() && !Path::new(&backup).exists(), "{left:?}");
}

#[test]
fn p8_lengths_that_no_log_has_write_nothing() {
    let too_long = "longer than a segment can be (1 GiB)";
    is_refused(&[(0, 7 << 40)], b"", too_long);
    is_refused(&[(GIB + 1, GIB + 1)], b"", too_long);
    is_refused(&[(u64::MAX, u64::MAX), (u64::MAX, u64::MAX)], b"", too_long);
    // Zeros that are not sent cost the server nothing, so only the last file may end in them.
    let other = "with an impossible number of bytes to send";
    is_refused(&[(0, GIB), (0, GIB)], b"", other);
    is_refused(&[(5, 4)], b"12345", other);
    is_refused(&[], b"", "names no file");
}

#[test]
fn p8_more_or_fewer_bytes_than_the_head_says_are_no_backup() {
    is_refused(&[(4, 4)], b"123", "ended after 3 of 4 bytes");
    is_refused(&[(4, 8192)], b"12345", "longer than its head states");
}
