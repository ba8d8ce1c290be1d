//! The page of the admin listener and what it shows: a stream of readings, with a limit of its own.

use std::io::Read;
use std::path::Path;
use std::process::Command;

use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::access::Keys;
use crate::client::{Client, expect};
use crate::raw::{Conn, Response, request};
use crate::resp_data::clients::{FOLDER, prepared};
use crate::server::{Launch, Server, output};
use crate::support::{eventually, not_run};

const STREAM: &str = "/v1/live/events";
/// The most streams at once.
const STREAMS: usize = 8;

fn get(server: &Server, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut conn = Conn::open(server.admin).expect("the admin listener is there");
    conn.send(&request("GET", path, headers, b"")).expect("sends");
    conn.response().expect("an answer")
}

/// A stream of events.
struct Stream {
    conn: Conn,
    text: String,
}

impl Stream {
    /// The stream, or the status of its refusal.
    fn open(server: &Server, headers: &[(&str, &str)]) -> Result<Self, u16> {
        let mut conn = Conn::open(server.admin).expect("the admin listener is there");
        conn.send(&request("GET", STREAM, headers, b"")).expect("sends");
        let mut stream = Self { conn, text: String::new() };
        assert!(stream.until("\r\n\r\n"), "an answer");
        let status = stream.text[9..12].parse().expect("a status");
        if status == 200 { Ok(stream) } else { Err(status) }
    }

    /// Reads until this text is there; false where the stream ends before, with its connection or by
    /// its last chunk.
    fn until(&mut self, end: &str) -> bool {
        let mut piece = [0; 4096];
        while !self.text.contains(end) {
            if self.text.ends_with("\r\n0\r\n\r\n") {
                return false;
            }
            match self.conn.stream().read(&mut piece) {
                Ok(0) | Err(_) => return false,
                Ok(len) => self.text.push_str(&String::from_utf8_lossy(&piece[..len])),
            }
        }
        true
    }

    /// The next event; `None` where the stream has ended.
    fn event(&mut self) -> Option<Value> {
        let start = self.until("data: ").then(|| self.text.find("data: "))?.unwrap_or(0);
        self.text.drain(..start + "data: ".len());
        let end = self.until("\n\n").then(|| self.text.find("\n\n"))?.unwrap_or(0);
        let json: String = self.text.drain(..end).collect();
        // Chunks of the body may begin within an event: their lengths stand on lines of their own.
        let json: String = json.split("\r\n").step_by(2).collect();
        Some(serde_json::from_str(&json).expect("JSON"))
    }
}

#[test]
fn p9_the_page_holds_no_data_and_needs_no_key() {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    keys.add("shop", "metrics", &[]);
    let server = Launch::on(&dir.path().join("data")).flag("--keys", keys.path()).start();
    let page = get(&server, "/", &[]);
    expect(&page, 200);
    assert!(!page.text().contains("shop"), "no data");
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
    assert!(policy.contains("connect-src 'self'") && policy.contains("frame-ancestors 'none'"));
    for path in ["/v1/live", STREAM] {
        expect(&get(&server, path, &[]), 401);
    }
}

#[test]
fn p9_another_site_may_link_to_the_page_and_not_read_it() {
    let server = Server::shared();
    let foreign = |mode| [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", mode)];
    expect(&get(&server, "/", &foreign("navigate")), 200);
    expect(&get(&server, "/", &foreign("no-cors")), 403);
    for path in ["/v1/live", STREAM] {
        expect(&get(&server, path, &foreign("navigate")), 403);
        expect(&get(&server, path, &[("Origin", "http://evil.example")]), 403);
    }
}

#[test]
fn p9_a_key_of_one_namespace_sees_its_own() {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    let of_one = keys.add("shop-a", "metrics", &[]);
    let of_all = keys.add("*", "metrics", &[]);
    keys.add("shop-b", "issue", &[]);
    let without = keys.add("shop-a", "issue", &[]);
    let server = Launch::on(&dir.path().join("data")).flag("--keys", keys.path()).start();
    let names = |key: &str| {
        let reading = get(&server, "/v1/live", &[("Authorization", key)]).json();
        let spaces = reading["namespaces"].as_array().expect("namespaces").clone();
        let names = spaces.iter().map(|one| one["namespace"].as_str().expect("a name").to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&of_one), ["shop-a"]);
    assert!(names(&of_all).contains(&"shop-b".to_owned()));
    expect(&get(&server, "/v1/live", &[("Authorization", &without)]), 403);
    // A stream ends when its key is no longer valid.
    let mut stream = Stream::open(&server, &[("Authorization", &of_one)]).expect("a stream");
    assert_eq!(stream.event().expect("an event")["namespaces"].as_array().map(Vec::len), Some(1));
    keys.revoke(&of_one);
    let reload = || kill_process(server.pid(), Signal::HUP).expect("it runs");
    reload();
    while stream.event().is_some() {}
    // And when it may see less than at first.
    let mut stream = Stream::open(&server, &[("Authorization", &of_all)]).expect("a stream");
    assert!(stream.event().is_some());
    let file = std::fs::read_to_string(keys.path()).expect("the keys");
    std::fs::write(keys.path(), file.replace("namespace = \"*\"", "namespace = \"shop-b\""))
        .expect("written");
    reload();
    while stream.event().is_some() {}
    expect(&get(&server, "/healthz", &[]), 200);
}

#[test]
fn a_stream_shows_what_happens_and_ends_at_the_stop() {
    let server = Server::fresh();
    let mut stream = Stream::open(&server, &[]).expect("a stream");
    assert!(stream.text.to_lowercase().contains("x-accel-buffering: no"), "{}", stream.text);
    assert!(stream.text.to_lowercase().contains("content-type: text/event-stream"));
    let first = stream.event().expect("an event");
    assert_eq!((&first["stats"]["tokens"], &first["is_ready"]), (&0.into(), &true.into()));
    let mut client = Client::of(&server);
    for _ in 0..10 {
        client.issued(r#"{"payload":1,"ttl":"10m"}"#);
    }
    let shown = std::iter::from_fn(|| stream.event()).find(|event| {
        let coming = event["detail"]["coming"].as_array().expect("spans");
        coming.iter().filter_map(Value::as_u64).sum::<u64>() == 10
    });
    let shown = shown.expect("the timers of the next hour");
    assert_eq!(shown["requests"]["issue"], serde_json::json!([10, 0, 0]));
    assert!(shown["detail"]["log"].as_array().is_some_and(|log| !log.is_empty()));
    let pid = server.pid();
    rustix::process::kill_process(pid, Signal::TERM).expect("a child of ours");
    let last = std::iter::from_fn(|| stream.event()).last().expect("an event");
    assert_eq!(last["is_ready"], false, "{last}");
    server.stop_well();
}

#[test]
fn p8_streams_have_places_of_their_own() {
    let server = Server::fresh();
    let mut streams: Vec<_> =
        (0..STREAMS).map(|_| Stream::open(&server, &[]).expect("a stream")).collect();
    assert_eq!(Stream::open(&server, &[]).err(), Some(503), "a ninth");
    expect(&get(&server, "/v1/live", &[]), 200);
    // As many connections as there are places: none gives way, and each stream goes on.
    let mut idle: Vec<_> =
        (1..64).map(|_| Conn::open(server.admin).expect("a connection")).collect();
    expect(&get(&server, "/readyz", &[]), 200);
    let mut closed = idle.iter_mut().map(|conn| {
        let stream = conn.stream();
        stream.set_nonblocking(true).expect("a socket");
        let read = stream.read(&mut [0]);
        !read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    });
    assert!(!closed.any(|is_closed| is_closed), "a stream takes no place from them");
    assert!(streams.iter_mut().all(|stream| stream.event().is_some()));
    assert!(streams.iter_mut().all(|stream| stream.event().is_some()));
    streams.pop();
    eventually("the place is free again", || Stream::open(&server, &[]).is_ok());
}

/// Debian's browsers; the first that is there.
const BROWSERS: [&str; 2] = ["/usr/bin/chromium", "/usr/bin/chromium-headless-shell"];

#[test]
fn a_browser_shows_the_page_and_axe_finds_nothing_serious() {
    let check = "the page in a browser";
    let Some(browser) = BROWSERS.iter().find(|path| Path::new(path).is_file()) else {
        return not_run(check, "there is no chromium");
    };
    let Some(folder) = prepared(check, "node") else { return };
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    let key = keys.add("*", "metrics", &[]);
    let server = Launch::on(&dir.path().join("data")).flag("--keys", keys.path()).start();
    let key = key.strip_prefix("Bearer ").expect("a header's value");
    let mut command = Command::new("node");
    command.arg(format!("{FOLDER}/page.mjs")).env("NODE_PATH", format!("{folder}/node_modules"));
    let (url, pid) = (format!("http://{}/", server.admin), server.pid().as_raw_nonzero());
    command.args([browser, &*url, key, &pid.to_string()]);
    let output = output(&mut command);
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success() && out.ends_with("ok\n"), "{out}{err}");
}
