//! Traces of a running server: which requests have spans, what the spans show, and that a collector
//! that fails costs neither answers nor the stop.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::access::Keys;
use crate::admin::metrics;
use crate::client::{Client, expect};
use crate::raw::{Conn, request};
use crate::resp_data::clients::{FOLDER, prepared};
use crate::resp_data::redis::Jeton;
use crate::secrecy::{KEY, ORDER, PAYLOAD, exercise, raw_bytes};
use crate::server::{Launch, Server, output};
use crate::support::eventually;

pub const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A collector that keeps every byte that it is sent.
pub struct Collector {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Collector {
    /// Answers each request with `answer`; with nothing at all where that is empty.
    pub fn start(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let requests = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let kept = requests.clone();
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for socket in listener.incoming() {
                let mut socket = socket.expect("a connection");
                if answer.is_empty() {
                    silent.push(socket);
                    continue;
                }
                let request = whole_request(&mut socket);
                kept.lock().expect("not poisoned").push(request);
                let _ = socket.write_all(answer.as_bytes());
            }
        });
        Self { address, requests }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.requests.lock().expect("not poisoned").concat()
    }

    /// The spans, decoded by the Python package of OpenTelemetry.
    fn spans(&self, python: &str) -> Vec<Value> {
        let dir = tempfile::tempdir().expect("a folder");
        let requests = self.requests.lock().expect("not poisoned").clone();
        let files = requests.iter().enumerate().map(|(n, request)| {
            let end = request.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head");
            let file = dir.path().join(n.to_string());
            std::fs::write(&file, &request[end + 4..]).expect("written");
            file
        });
        let mut command = Command::new(python);
        command.arg(format!("{FOLDER}/otlp.py")).args(files);
        let output = output(&mut command);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }
}

fn whole_request(socket: &mut TcpStream) -> Vec<u8> {
    let (mut request, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let len = socket.read(&mut piece).expect("readable");
        request.extend_from_slice(&piece[..len]);
        let Some(end) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
        let body_len = head.split("content-length: ").nth(1).expect("a length");
        let body_len: usize =
            body_len.split("\r\n").next().unwrap_or("").parse().expect("a number");
        if len == 0 || request.len() >= end + 4 + body_len {
            return request;
        }
    }
}

pub const ACCEPTED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn metric(server: &Server, name: &str) -> u64 {
    let metrics = metrics(server);
    let line = metrics.lines().find(|line| line.starts_with(name)).unwrap_or("0 0");
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
}

fn found<'a>(span: &'a Value, name: &str) -> &'a Value {
    &span["attributes"][name]
}

#[test]
fn spans_show_the_operation_its_outcome_and_its_wait_to_an_independent_decoder() {
    let Some(python) = prepared("an independent decoder of OTLP", "otlp") else { return };
    let collector = Collector::start(ACCEPTED);
    let jeton = Jeton::start_with(|launch| {
        launch.flag("--otlp", &collector.url()).env("OTEL_SERVICE_NAME", "checkout")
    });
    let server = &jeton.server;
    let mut client = Client::of(server);
    let token = client.issued(r#"{"payload":1}"#).token;
    expect(&client.resolve(&token), 200);
    expect(&client.consume(&token), 200);
    expect(&client.consume(&token), 404);
    let batch = json!({ "tokens": [{ "payload": 1 }, { "payload": 2 }] }).to_string();
    expect(&client.post("/v1/tokens/batch", &batch), 200);
    let mut wire = jeton.wire();
    wire.say("SET name value EX 10");
    wire.say("GET name");
    eventually("all spans are sent", || metric(server, "jeton_spans_sent_total") >= 7);
    let spans = collector.spans(&python);
    let shown: Vec<_> = spans
        .iter()
        .map(|span| {
            let of = |name| found(span, name).clone();
            let status = of("http.response.status_code");
            (span["name"].clone(), of("jeton.outcome"), of("jeton.tokens"), status)
        })
        .collect();
    let expected = [
        ("issue", "ok", 1, json!(201)),
        ("resolve", "ok", 1, json!(200)),
        ("consume", "ok", 1, json!(200)),
        ("consume", "not_found", 1, json!(404)),
        ("issue_batch", "ok", 2, json!(200)),
        ("put", "ok", 1, Value::Null),
        ("resolve", "ok", 1, Value::Null),
    ];
    let expected = expected.map(|(name, outcome, tokens, status)| {
        (json!(name), json!(outcome), json!(tokens), status)
    });
    assert_eq!(shown, expected);
    for span in &spans {
        assert_eq!(span["resource"]["service.name"], "checkout");
        let is_change = found(span, "jeton.log_wait_seconds").is_number();
        assert_eq!(is_change, span["name"] != "resolve", "{span}");
        assert!(span["end"].as_u64() >= span["start"].as_u64(), "{span}");
        assert_eq!(span["parent"], "", "no key, so no parent");
    }
}

#[test]
fn a_traceparent_counts_with_a_key_only_on_the_hot_path_too() {
    let Some(python) = prepared("an independent decoder of OTLP", "otlp") else { return };
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    let key = keys.add("shop", "issue,resolve", &[]);
    let collector = Collector::start(ACCEPTED);
    let server = Launch::on(&dir.path().join("data"))
        .flag("--keys", keys.path())
        .flag("--anonymous", "shop:resolve")
        .flag("--otlp", &collector.url())
        .env("OTEL_TRACES_SAMPLER", "parentbased_always_off")
        .start();
    let authorized = [("Authorization", key.as_str())];
    let mut client = Client::of(&server);
    let issued = client.send("POST", "/v1/tokens", &authorized, r#"{"payload":1}"#);
    let token = issued.json()["token"].as_str().expect("a token").to_owned();
    let path = format!("/v1/tokens/{token}");
    let upper = PARENT.to_uppercase();
    let zeros = PARENT.replace("00f067aa0ba902b7", "0000000000000000");
    let mut conn = Conn::open(server.data).expect("a connection");
    for (parent, has_key) in [(PARENT, true), (PARENT, false), (&upper, true), (&zeros, true)] {
        let mut headers = vec![("traceparent", parent)];
        headers.extend(authorized.iter().filter(|_| has_key));
        // Twice at once: a span does not change the order of the answers.
        conn.send(&request("GET", &path, &headers, b"").repeat(2)).expect("sent");
        for _ in 0..2 {
            expect(&conn.response().expect("an answer"), 200);
        }
    }
    let wrong = [("Authorization", "Bearer wrong"), ("traceparent", PARENT)];
    expect(&client.send("GET", &path, &wrong, ""), 401);
    // What waits is sent at the stop.
    server.stop_well();
    let spans = collector.spans(&python);
    assert_eq!(spans.len(), 2, "{spans:?}");
    for span in spans {
        assert_eq!([&span["trace"], &span["parent"]], [&PARENT[3..35], &PARENT[36..52]]);
    }
}

#[test]
fn p9_no_token_key_name_or_payload_is_sent_to_the_collector() {
    let collector = Collector::start(ACCEPTED);
    let server = Server::fresh_with(|launch| {
        launch
            .flag("--otlp", &collector.url())
            .flag("--otlp-trust", "all")
            .flag("--otlp-max", "10000")
    });
    let mut client = Client::of(&server);
    let (tokens, _) = exercise(&mut client);
    let name = json!({ "payload": PAYLOAD }).to_string();
    expect(
        &client.send(
            "PUT",
            &format!("/v1/names/{ORDER}"),
            &[("tracestate", "a=secret-state")],
            &name,
        ),
        200,
    );
    eventually("spans are sent", || metric(&server, "jeton_spans_sent_total") >= 20);
    server.stop_well();
    let bytes = collector.bytes();
    let contains = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    assert!(contains(b"issue_batch") || contains(b"issue"), "the bytes can be searched");
    for token in &tokens {
        assert!(!contains(token.as_bytes()) && !contains(&raw_bytes(token)), "a token");
    }
    for secret in [PAYLOAD, ORDER, KEY, "secret-state", "/v1/tokens"] {
        assert!(!contains(secret.as_bytes()), "{secret}");
    }
}

#[test]
fn p8_a_collector_that_hangs_is_away_or_answers_garbage_changes_no_answer() {
    let away = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let away = format!("http://{}", away.expect("a free port"));
    let hanging = Collector::start("");
    let busy = Collector::start("HTTP/1.1 429 Too Many\r\nContent-Length: 0\r\n\r\n");
    let garbage = Collector::start("\0\0\x12\x04\0\0\0\0\0");
    for url in [away, hanging.url(), busy.url(), garbage.url()] {
        let server = Server::fresh_with(|launch| {
            launch
                .flag("--otlp", &url)
                .flag("--otlp-max", "10000")
                .env("OTEL_EXPORTER_OTLP_TIMEOUT", "500")
        });
        let mut client = Client::of(&server);
        for _ in 0..500 {
            let token = client.issued(r#"{"payload":1}"#).token;
            expect(&client.resolve(&token), 200);
        }
        let (status, log) = server.stop(Signal::TERM);
        assert!(status.success() && !log.contains("panicked"), "{url}: {log}");
        assert!(log.contains("spans were dropped"), "{url}: {log}");
    }
}

#[test]
fn nothing_is_sent_without_the_flag_whatever_the_environment_says() {
    let collector = Collector::start(ACCEPTED);
    let url = collector.url();
    let server = Server::fresh_with(|launch| {
        launch
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", &url)
            .env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &url)
            .env("OTEL_TRACES_SAMPLER", "nonsense")
    });
    expect(&Client::of(&server).issue(r#"{"payload":1}"#), 201);
    assert!(!metrics(&server).contains("jeton_spans"));
    let (status, log) = server.stop(Signal::TERM);
    assert!(status.success() && !log.contains("OTEL"), "{log}");
    assert!(collector.bytes().is_empty());
}

#[test]
fn a_collectors_port_for_grpc_gets_a_hint_and_wrong_variables_a_warning() {
    // What a server of HTTP/2 says first.
    let grpc = Collector::start("\0\0\0\x04\0\0\0\0\0");
    let server = Server::fresh_with(|launch| {
        launch.flag("--otlp", &grpc.url()).env("OTEL_TRACES_SAMPLER", "xray")
    });
    expect(&Client::of(&server).issue(r#"{"payload":1}"#), 201);
    eventually("the failure is logged", || server.stderr().contains("usually 4318"));
    let log = server.stderr();
    assert!(log.contains(r#"not "xray", so it is not used"#), "{log}");
}
