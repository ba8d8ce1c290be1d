//! A real browser against a server without keys: attempts by pages of other sites, and the access
//! of a page whose origin is allowed. Runs where Debian's `chromium` is installed.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use serde_json::Value;

use crate::client::Client;
use crate::raw::PATIENCE;
use crate::server::{Launch, Server};
use crate::support::not_run;

const CHROMIUM: &str = "/usr/bin/chromium";

/// The attempts of the page; each is reported as the status of the answer or the name of an error.
const SCRIPT: &str = r#"
const tries = {
  read: () => fetch(`${TARGET}/v1/tokens/${TOKEN}`),
  resolve: () => fetch(`${TARGET}/v1/resolve`, {
    method: 'POST', headers: {'content-type': 'application/json'},
    body: JSON.stringify({tokens: [TOKEN]})}),
  plant: () => fetch(`${TARGET}/v1/tokens`, {
    method: 'POST', mode: 'no-cors', headers: {'content-type': 'text/plain'},
    body: '{"payload":"planted","ttl":"30d"}'}),
  plant_untyped: () => fetch(`${TARGET}/v1/tokens`, {
    method: 'POST', mode: 'no-cors', body: new Blob(['{"payload":"planted"}'])}),
  consume: () => fetch(`${TARGET}/v1/tokens/${TOKEN}/consume`, {method: 'POST', mode: 'no-cors'}),
  beacon: async () => ({status: String(navigator.sendBeacon(
    `${TARGET}/v1/consume`, new Blob([JSON.stringify({tokens: [TOKEN]})])))}),
};
(async () => {
  const report = {};
  for (const [name, attempt] of Object.entries(tries)) {
    try {
      const answer = await attempt();
      report[name] = answer.type === 'opaque' ? 'opaque' : answer.status;
    } catch (error) { report[name] = error.name; }
  }
  await fetch('/report', {method: 'POST', body: JSON.stringify(report)});
})();
"#;

/// A site with one page, on a loopback address; the receiver returns the reports of the page.
struct Site {
    address: SocketAddr,
    reports: Receiver<Value>,
}

impl Site {
    fn start(page: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (sender, reports) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (page, sender) = (page.clone(), sender.clone());
                thread::spawn(move || serve(&stream, &page, &sender));
            }
        });
        Self { address, reports }
    }
}

/// One request: for the page, or with its report.
fn serve(stream: &TcpStream, page: &str, reports: &Sender<Value>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let (mut line, mut len, mut first) = (String::new(), 0, String::new());
    while reader.read_line(&mut line).ok()? > 2 {
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            len = value.trim().parse().ok()?;
        }
        if first.is_empty() {
            first.clone_from(&line);
        }
        line.clear();
    }
    let mut body = vec![0; len];
    reader.read_exact(&mut body).ok()?;
    if first.starts_with("POST /report") {
        reports.send(serde_json::from_slice(&body).ok()?).ok()?;
    }
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n";
    let mut answer = format!("{head}Content-Length: {}\r\n\r\n", page.len());
    answer.push_str(page);
    (&mut &*stream).write_all(answer.as_bytes()).ok()
}

/// A browser with its own profile, which is removed when it is dropped.
struct Browser {
    child: Child,
    _profile: tempfile::TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn browser(url: &str, more: &[&str]) -> Browser {
    let profile = tempfile::tempdir().expect("a folder");
    let child = Command::new(CHROMIUM)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"])
        .args(["--host-resolver-rules=MAP *.example 127.0.0.1", "--no-first-run"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(more)
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("chromium runs");
    Browser { child, _profile: profile }
}

/// The report of the page of `site` when it is opened under `name`.
fn report(name: &str, site: &Site) -> Value {
    let url = format!("http://{name}:{}/", site.address.port());
    let _browser = browser(&url, &[]);
    site.reports.recv_timeout(4 * PATIENCE).expect("the page reports")
}

/// A page that makes all attempts on `target`.
fn page(target: &str, token: &str) -> String {
    let mut page = "<!doctype html><meta charset=utf-8><script>".to_owned();
    let _ = write!(page, "const TARGET = '{target}', TOKEN = '{token}';{SCRIPT}</script>");
    page
}

/// The content of `path` for a page whose own name resolves to this machine.
fn shown(server: &Server, name: &str, path: &str) -> String {
    let url = format!("http://{name}:{}{path}", server.data.port());
    let mut browser = browser(&url, &["--dump-dom", "--timeout=20000"]);
    let mut text = String::new();
    let mut stdout = browser.child.stdout.take().expect("piped");
    stdout.read_to_string(&mut text).expect("text");
    text
}

fn is_installed(check: &str) -> bool {
    let is_there = std::path::Path::new(CHROMIUM).exists();
    if !is_there {
        not_run(check, "chromium is not installed");
    }
    is_there
}

/// Number of tokens in the server.
fn tokens(server: &Server) -> Value {
    crate::admin::stats(server)["tokens"].clone()
}

#[test]
fn a_page_in_a_browser_changes_and_reads_nothing() {
    if !is_installed("a page against a server without keys") {
        return;
    }
    let server = Server::fresh();
    let token = Client::of(&server).issued(r#"{"payload":"mine"}"#).token;
    let target = format!("http://{}", server.data);
    let site = Site::start(page(&target, &token));
    // Of another site, and of another port of the same one.
    for name in ["attacker.example", "127.0.0.1"] {
        let report = report(name, &site);
        for name in ["read", "resolve"] {
            assert_eq!(report[name], "TypeError", "nothing is read: {report}");
        }
        // The requests that were sent have changed nothing.
        assert_eq!(tokens(&server), 1, "{report}");
        assert_eq!(Client::of(&server).uses_left(&token), 1, "{report}");
    }
    // An attacker's name that resolves to this server has its origin, but a different Host.
    let path = format!("/v1/tokens/{token}");
    assert!(shown(&server, "localhost", &path).contains("mine"), "the browser works");
    assert!(!shown(&server, "attacker.example", &path).contains("mine"));
}

#[test]
fn a_page_of_an_allowed_origin_is_served() {
    if !is_installed("a page of an allowed origin") {
        return;
    }
    // The site's port is known only when it listens, and its page contains the server's port.
    let dir = tempfile::tempdir().expect("a folder");
    let placeholder = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let data = placeholder.local_addr().expect("an address");
    let first = Launch::on(dir.path()).start();
    let issued = Client::of(&first).issued(r#"{"payload":"mine"}"#).token;
    first.stop_well();
    let site = Site::start(page(&format!("http://{data}"), &issued));
    drop(placeholder);
    let origin = format!("http://shop.example:{}", site.address.port());
    let server = Launch::on(dir.path())
        .flag("--listen", &data.to_string())
        .flag("--allow-origin", &origin)
        .start();
    let report = report("shop.example", &site);
    for name in ["read", "resolve"] {
        assert_eq!(report[name], 200, "{report}");
    }
    // Without CORS headers it cannot read the answer, but it may send the request, because its
    // origin is trusted.
    assert_eq!(report["consume"], "opaque", "{report}");
    assert_eq!(Client::of(&server).resolve(&issued).status, 404);
}
