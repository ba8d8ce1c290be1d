//! `--listen unix:PATH`: access, the socket file, and requests over it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::pki::{Ca, Files};
use crate::server::{jeton, output};

/// A server on two Unix sockets in a folder; dropping it kills it.
struct OnSockets {
    child: Child,
    ready: String,
}

impl Drop for OnSockets {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn data(dir: &Path) -> PathBuf {
    dir.join("data.sock")
}

fn admin(dir: &Path) -> PathBuf {
    dir.join("admin.sock")
}

fn url(path: &Path) -> String {
    format!("unix:{}", path.display())
}

fn serve(dir: &Path, flags: &[&str]) -> OnSockets {
    let mut child = jeton()
        .args(["serve", "--workers", "2", "--listen", &url(&data(dir))])
        .args(["--admin-listen", &url(&admin(dir)), "--data-dir"])
        .arg(dir.join("log"))
        .args(flags)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("it starts");
    let mut ready = String::new();
    let stdout = child.stdout.take().expect("a pipe");
    BufReader::new(stdout).read_line(&mut ready).expect("a line");
    OnSockets { child, ready }
}

impl OnSockets {
    fn stop(mut self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).expect("it is there");
        assert!(self.child.wait().expect("it ends").success());
    }
}

/// Sends a request with `Connection: close`, and returns the answer.
fn ask(path: &Path, request: &str) -> String {
    let mut socket = UnixStream::connect(path).expect("somebody listens");
    socket.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    answer
}

fn client(dir: &Path, arguments: &[&str]) -> String {
    let output = output(jeton().args(arguments).args(["--server", &url(&data(dir))]));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{arguments:?}: {text}");
    text.trim_end().to_owned()
}

#[test]
fn the_main_job_over_a_unix_socket() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = serve(dir.path(), &[]);
    let ready = format!("data={} admin={} ", url(&data(dir.path())), url(&admin(dir.path())));
    assert!(server.ready.contains(&ready), "{}", server.ready);
    for path in [data(dir.path()), admin(dir.path())] {
        let mode = fs::metadata(&path).expect("a socket").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
    let token = client(dir.path(), &["issue", "{\"amount\":1}", "--ttl", "1h"]);
    let token = token.lines().next().and_then(|line| line.split_whitespace().next());
    let token = token.expect("a token").to_owned();
    assert_eq!(client(dir.path(), &["resolve", &token]), "{\"amount\":1}");
    assert_eq!(client(dir.path(), &["consume", &token]), "{\"amount\":1}");
    let again = output(jeton().args(["resolve", &token, "--server", &url(&data(dir.path()))]));
    assert_eq!(again.status.code(), Some(1));
    server.stop();
    assert!(!data(dir.path()).exists() && !admin(dir.path()).exists());
}

#[test]
fn any_host_is_accepted_and_a_page_is_not() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let _server = serve(dir.path(), &[]);
    let end = "Connection: close\r\n\r\n";
    let get = |headers: &str| format!("GET /v1/stats HTTP/1.1\r\n{headers}{end}");
    for host in ["shop.example", "localhost"] {
        let stats = ask(&admin(dir.path()), &get(&format!("Host: {host}\r\n")));
        assert!(stats.starts_with("HTTP/1.1 200 "), "{host}: {stats}");
        let token = "A".repeat(32);
        let miss = ask(
            &data(dir.path()),
            &format!("GET /v1/tokens/{token} HTTP/1.1\r\nHost: {host}\r\n{end}"),
        );
        assert!(miss.starts_with("HTTP/1.1 404 "), "{host}: {miss}");
    }
    // A proxy forwards the requests of a page.
    let page = "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n";
    let issue = format!(
        "POST /v1/tokens HTTP/1.1\r\n{page}Content-Type: application/json\r\nContent-Length: 13\r\n\
         {end}{{\"payload\":1}}"
    );
    for refused in [ask(&admin(dir.path()), &get(page)), ask(&data(dir.path()), &issue)] {
        assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    }
}

#[test]
fn a_unix_socket_does_not_speak_tls() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let ca = Ca::new("the shop's own");
    let files = Files::in_dir(dir.path(), &ca.issue(&["localhost"]), &ca);
    let [cert, key] = [&files.cert, &files.key].map(|file| file.to_str().expect("UTF-8"));
    let _server = serve(dir.path(), &["--tls-cert", cert, "--tls-key", key]);
    let token = client(dir.path(), &["issue", "1", "--ttl", "1h"]);
    let token = token.split_whitespace().next().expect("a token");
    assert_eq!(client(dir.path(), &["resolve", token]), "1");
    let ready = ask(
        &admin(dir.path()),
        "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    );
    assert!(ready.starts_with("HTTP/1.1 200 "), "{ready}");
}

#[test]
fn all_peers_of_a_socket_are_one_for_the_limiter() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let _server = serve(dir.path(), &["--miss-limit", "1"]);
    let token = "A".repeat(32);
    let request =
        format!("GET /v1/tokens/{token} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let answers: Vec<String> = (0..50).map(|_| ask(&data(dir.path()), &request)).collect();
    assert!(answers[0].starts_with("HTTP/1.1 404 "), "{}", answers[0]);
    assert!(answers.iter().any(|answer| answer.starts_with("HTTP/1.1 429 ")), "{answers:?}");
}

/// The message of a second server, on another folder, that refuses to start because of the socket.
fn refused(dir: &Path) -> String {
    let other = tempfile::tempdir().expect("a temporary folder");
    let refused = output(
        jeton()
            .args(["serve", "--listen", &url(&data(dir)), "--admin-listen", "127.0.0.1:0"])
            .arg("--data-dir")
            .arg(other.path().join("log")),
    );
    assert!(!refused.status.success());
    String::from_utf8(refused.stderr).expect("UTF-8")
}

#[test]
fn a_stale_socket_is_replaced_and_a_used_one_is_not() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut server = serve(dir.path(), &[]);
    let token = client(dir.path(), &["issue", "1", "--ttl", "1h"]);
    let stderr = refused(dir.path());
    assert!(stderr.contains("name another path"), "{stderr}");
    server.child.kill().expect("it is there");
    server.child.wait().expect("it ends");
    assert!(data(dir.path()).exists(), "a killed server leaves its socket");
    let again = serve(dir.path(), &[]);
    let token = token.split_whitespace().next().expect("a token");
    assert_eq!(client(dir.path(), &["resolve", token]), "1");
    again.stop();
    fs::write(data(dir.path()), "no socket").expect("written");
    let stderr = refused(dir.path());
    assert!(stderr.contains("is not a socket: remove it"), "{stderr}");
    assert_eq!(fs::read(data(dir.path())).expect("a file"), b"no socket");
}
