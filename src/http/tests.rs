//! The workers over real sockets, with an engine in memory.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use super::request::browser::Web;
use super::*;
use crate::engine::{self, Engine, Op};
use crate::model::token::Token;
use crate::model::value::marked;
use crate::tls::Tls;

mod changes;

/// Far longer than anything here takes: a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);
const UNKNOWN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn serve(change: impl FnOnce(&mut Config)) -> (Engine, Server) {
    let engine = Engine::open(engine::Config::memory_only()).unwrap();
    let mut config = Config { workers: 1, ..Config::default() };
    change(&mut config);
    let listeners =
        crate::net::listen::bind(&"127.0.0.1:0".parse().unwrap(), config.workers).unwrap();
    let server = Server::start(&engine, &config, listeners).unwrap();
    (engine, server)
}

/// An admin listener without keys.
fn guard(web: Web) -> admin::Guard {
    admin::Guard { is_guarded: false, web, proxies: Default::default() }
}

fn connect(server: &Server) -> TcpStream {
    let socket = TcpStream::connect(server.address().socket().unwrap()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Sends `request` and reads until the server closes.
fn exchange(server: &Server, request: &str) -> String {
    let mut socket = connect(server);
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

fn post(path: &str, body: &str) -> String {
    let len = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Content-Length: {len}\r\n\r\n{body}"
    )
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

/// Ends a connection in good order.
const BYE: &str = "GET /bye HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

fn issue(server: &Server, payload: &str) -> String {
    let body = format!("{{\"payload\":{payload}}}");
    let answer = exchange(server, &(post("/v1/tokens", &body) + BYE));
    let (_, rest) = answer.split_once("{\"token\":\"").unwrap();
    rest[..32].to_owned()
}

/// An answer without its date, which may differ.
fn without_date(answer: &str) -> String {
    answer.split_inclusive("\r\n").filter(|line| !line.starts_with("date: ")).collect()
}

#[test]
fn p10_a_short_list_is_answered_byte_for_byte_as_a_long_one() {
    let (engine, server) = serve(|config| config.max_batch = 40);
    let binary = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB";
    let issued = Op::Issue {
        digest: engine.digest(&Token::parse(binary.as_bytes()).unwrap()),
        payload: marked(b"\xff\0"),
        ttl: Duration::from_secs(60),
        uses: 1,
        peek: true,
        derived: false,
    };
    engine.submit(vec![issued]).unwrap().wait().unwrap();
    let [a, b] = ["{\"n\" : 1.50}", "\"two\""].map(|payload| issue(&server, payload));
    let sealed = exchange(&server, &(post("/v1/tokens", r#"{"payload":1,"peek":false}"#) + BYE));
    let (_, sealed) = sealed.split_once("{\"token\":\"").unwrap();
    let large = issue(&server, &format!("\"{}\"", "x".repeat(9_000)));
    let list = |tokens: &[&str]| format!("{{\"tokens\":[\"{}\"]}}", tokens.join("\",\""));
    let cases = [
        (list(&[&a]), 200),
        (list(&[&a, UNKNOWN, &b, &b, &sealed[..32], &a]), 200),
        (list(&[a.as_str(); 40]), 200),
        (list(&[&a, binary]), 200),
        (list(&[a.as_str(); 41]), 422),
        (list(&[UNKNOWN; 40]), 200),
        (list(&[&large]), 200),
        (list(&[&large, &large]), 200),
        (list(&[&a, "short"]), 400),
        (format!("\n {{ \"tokens\" : [ \"{a}\" , \"{b}\" ] }} "), 200),
        (list(&[&a]) + "x", 400),
        ("{\"tokens\":[]}".to_owned(), 200),
        (format!("{{\"tokens\":[\"{a}\"],\"ttl\":1}}"), 400),
        (format!("{}{}", list(&[&a]), " ".repeat(14_000)), 200),
    ];
    for (body, status) in cases {
        let short = post("/v1/resolve", &body);
        // A header that the hot path does not know.
        let long = short.replacen("Host: x\r\n", "Host: x\r\nX-Unknown: 1\r\n", 1);
        let [short, long] =
            [short, long].map(|request| without_date(&exchange(&server, &(request + BYE))));
        assert_eq!(short, long, "{body}");
        assert!(short.starts_with(&format!("HTTP/1.1 {status} ")), "{body}: {short}");
    }
    server.stop().unwrap();
}

#[test]
fn a_burst_of_requests_is_answered_in_order() {
    let (_engine, server) = serve(|_| ());
    let token = issue(&server, "{\"n\" : 1.50}");
    let path = format!("/v1/tokens/{token}");
    let consume = post(&format!("{path}/consume"), "");
    let burst = [get(&path), get(&format!("/v1/tokens/{UNKNOWN}")), consume, get(&path)];
    let answer = exchange(&server, &(burst.concat() + BYE));
    let statuses: Vec<&str> = answer.split("HTTP/1.1 ").skip(1).map(|rest| &rest[..3]).collect();
    assert_eq!(statuses, ["200", "404", "200", "404", "404"]);
    assert_eq!(answer.matches("{\"n\" : 1.50}").count(), 2);
    assert_eq!(answer.matches("cache-control: no-store").count(), 5);
    server.stop().unwrap();
}

#[test]
fn a_head_that_is_refused_gets_a_problem_document_behind_the_answers_before_it() {
    let (_engine, server) = serve(|_| ());
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(100_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(101));
    for (request, status) in [
        ("nonsense\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nX : y\r\n", 400),
        ("GET /` HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (long.as_str(), 431),
        (many.as_str(), 431),
    ] {
        // Some for the hot path and some for hyper, with a wait for the log, and more than fits at once.
        let token = issue(&server, &format!("\"{}\"", "x".repeat(60_000)));
        let resolve = get(&format!("/v1/tokens/{token}"));
        let consume = post(&format!("/v1/tokens/{token}/consume"), "");
        let unknown = get("/v1/x");
        let before = [resolve.repeat(5), unknown.clone(), resolve, consume, unknown].concat();
        let wanted = [200, 200, 200, 200, 200, 404, 200, 200, 404];
        let answer = exchange(&server, &(before + request + &get("/v1/x")));
        let lines = answer.split("HTTP/1.1 ").skip(1);
        let statuses: Vec<u16> = lines.filter_map(|rest| rest[..3].parse().ok()).collect();
        assert_eq!(statuses, [&wanted[..], &[status]].concat(), "{request:.60}");
        let (_, refusal) = answer.rsplit_once("HTTP/1.1 4").unwrap();
        assert!(refusal.starts_with(&status.to_string()[1..]), "{refusal}");
        for header in ["cache-control: no-store", "connection: close", "date: "] {
            assert!(refusal.contains(header), "{refusal}");
        }
        assert!(refusal.contains(&format!("\"status\":{status}")), "{refusal}");
    }
    server.stop().unwrap();
}

#[test]
fn p8_a_slow_head_and_a_slow_body_are_told_and_closed() {
    let (_engine, server) = serve(|config| {
        config.limits.header_timeout = Duration::from_millis(250);
        config.limits.body_timeout = Duration::from_millis(250);
    });
    let body = "POST /v1/tokens HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
        Content-Length: 9\r\n\r\n{";
    for begun in ["GET /v1/tok", body] {
        let answer = exchange(&server, begun);
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains("cache-control: no-store"), "{answer}");
    }
    server.stop().unwrap();
}

#[test]
fn p8_a_client_that_pipelines_and_never_reads_is_stopped_and_dropped() {
    let (_engine, server) = serve(|config| {
        config.limits.write_timeout = Duration::from_millis(250);
    });
    let token = issue(&server, &format!("\"{}\"", "x".repeat(50_000)));
    let burst = get(&format!("/v1/tokens/{token}")).repeat(1000);
    let mut socket = connect(&server);
    let error = loop {
        match socket.write_all(burst.as_bytes()) {
            Ok(()) => {
                // Answers wait in the socket's buffers, in ours and nowhere else.
                assert!(server.gauges().inflight_bytes() < 2 << 20);
            }
            Err(error) => break error,
        }
    };
    let is_dropped = matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
    assert!(is_dropped, "{error}");
    let gauges = server.gauges();
    server.stop().unwrap();
    assert_eq!((gauges.connections(), gauges.inflight_bytes()), (0, 0));
}

#[test]
fn one_connection_too_many_is_turned_away() {
    let (_engine, server) = serve(|config| config.max_connections = 1);
    let mut first = connect(&server);
    first.write_all(get("/v1/x").as_bytes()).unwrap();
    first.read_exact(&mut [0; 8]).unwrap();
    let mut refused = String::new();
    connect(&server).read_to_string(&mut refused).unwrap();
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert_eq!(server.gauges().totals().refused, 1);
    server.stop().unwrap();
}

#[test]
fn stopping_closes_idle_connections() {
    let (_engine, server) = serve(|_| ());
    let mut idle = connect(&server);
    idle.write_all(get("/v1/x").as_bytes()).unwrap();
    idle.read_exact(&mut [0; 8]).unwrap();
    server.stop().unwrap();
    let mut rest = Vec::new();
    assert!(idle.read_to_end(&mut rest).is_ok());
}

#[test]
fn a_stop_waits_for_the_rest_of_a_request_that_has_begun() {
    let (_engine, server) = serve(|config| config.drain_timeout = 2 * PATIENCE);
    let (mut fresh, mut used) = (connect(&server), connect(&server));
    used.write_all(get("/v1/x").as_bytes()).unwrap();
    used.read_exact(&mut [0; 8]).unwrap();
    let request = get("/v1/y");
    let (begun, rest) = request.split_at(request.len() - 4);
    for socket in [&mut fresh, &mut used] {
        socket.write_all(begun.as_bytes()).unwrap();
    }
    let stopping = std::thread::spawn(move || server.stop());
    // Longer than new requests are taken.
    std::thread::sleep(Duration::from_millis(1500));
    for mut socket in [fresh, used] {
        let mut answer = String::new();
        socket.write_all(rest.as_bytes()).unwrap();
        socket.read_to_string(&mut answer).unwrap();
        let (_, last) = answer.rsplit_once("HTTP/1.1 ").unwrap();
        assert!(last.starts_with("404 ") && last.contains("connection: close"), "{answer}");
    }
    stopping.join().unwrap().unwrap();
}

#[test]
fn while_the_log_is_read_the_data_listener_says_so_and_then_belongs_to_the_workers() {
    let mut data = crate::net::listen::bind(&"127.0.0.1:0".parse().unwrap(), 1).unwrap();
    let address = data[0].address().socket().unwrap();
    let own = crate::net::listen::bind(&"127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
    let (early, limits) = (data[0].try_clone().unwrap(), Limits::default());
    let admin = admin::Admin::start(own, early, guard(Web::default()), None, limits).unwrap();
    let ask = || {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all((get("/v1/x") + BYE).as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    };
    let answer = ask();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("retry-after: 1") && answer.contains("recovering"), "{answer}");

    let engine = Engine::open(engine::Config::memory_only()).unwrap();
    let server = Server::start(&engine, &Config::default(), vec![data.remove(0)]).unwrap();
    admin.serving(engine, server.gauges(), None);
    // The admin thread may still take connections that came just before it was told.
    let is_served = (0..1000).any(|_| ask().starts_with("HTTP/1.1 404 "));
    assert!(is_served);
    server.stop().unwrap();
    admin.stop().unwrap();
}

/// TLS files of a server, and a client that trusts it.
fn tls(dir: &std::path::Path) -> (Tls, Arc<rustls::ClientConfig>) {
    use rustls::crypto::aws_lc_rs;
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let files = crate::tls::TlsFiles {
        cert: dir.join("cert.pem"),
        key: dir.join("key.pem"),
        client_ca: None,
        permissions: Default::default(),
    };
    std::fs::write(&files.cert, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Tls::open(files, crate::model::time::UnixMillis(0)).unwrap().0, Arc::new(client))
}

#[test]
fn while_the_log_is_read_a_tls_listener_says_so_over_tls() {
    let dir = tempfile::tempdir().unwrap();
    let (tls, client) = tls(dir.path());
    let data = crate::net::listen::bind(&"127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
    let address = data.address().socket().unwrap();
    let own = crate::net::listen::bind(&"127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
    let (web, limits) = (Web::default(), Limits::default());
    let admin = admin::Admin::start(own, data, guard(web), Some(tls), limits).unwrap();
    let socket = || {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    };
    let name = address.ip().into();
    let session = rustls::ClientConnection::new(client, name).unwrap();
    let mut stream = rustls::StreamOwned::new(session, socket());
    stream.write_all(get("/v1/x").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("recovering"), "{answer}");
    let mut plain = socket();
    plain.write_all(get("/v1/x").as_bytes()).unwrap();
    answer.clear();
    plain.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("https://"), "{answer}");
    admin.stop().unwrap();
}

#[derive(Clone)]
struct Spawn;

impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for Spawn {
    fn execute(&self, task: F) {
        tokio::spawn(task);
    }
}

#[tokio::test]
async fn http2_answers_many_streams_of_one_connection() {
    use http_body_util::{BodyExt, Empty};
    use hyper_util::rt::TokioIo;

    let (_engine, server) = serve(|_| ());
    let payload = format!("\"{}\"", "x".repeat(60_000));
    let token = issue(&server, &payload);
    let socket = tokio::net::TcpStream::connect(server.address().socket().unwrap()).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(Spawn, TokioIo::new(socket)).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut streams = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let mut sender = sender.clone();
        let uri = format!("http://x/v1/tokens/{token}");
        streams.spawn(async move {
            let request = http::Request::get(uri).body(Empty::<bytes::Bytes>::new()).unwrap();
            let response = sender.send_request(request).await.unwrap();
            assert_eq!(response.headers()["cache-control"], "no-store");
            response.into_body().collect().await.unwrap().to_bytes()
        });
    }
    while let Some(body) = streams.join_next().await {
        assert_eq!(body.unwrap(), payload);
    }
    drop(sender);
    connection.await.unwrap().unwrap();
    let gauges = server.gauges();
    server.stop().unwrap();
    assert_eq!((gauges.connections(), gauges.inflight_bytes()), (0, 0));
}
