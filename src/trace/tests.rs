//! Traces: what is sampled, and what becomes of spans whose collector works or fails.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::audit::EventOutcome;
use crate::clock::SystemClock;
use crate::model::time::UnixMillis;
use crate::testkit::clock::ManualClock;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;

const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn settings(variables: &[(&str, &str)]) -> (Settings, Vec<String>) {
    let of = |name: &str| variables.iter().find(|(known, _)| *known == name);
    Settings::read(|name| of(name).map(|(_, value)| (*value).to_owned()))
}

fn config(url: &str) -> Config {
    Config { endpoint: url.parse().unwrap(), trust: Trust::Keys, spans_a_second: 200 }
}

fn start(config: &Config, variables: &[(&str, &str)]) -> (Tracer, Exporter) {
    Tracer::start(config, settings(variables).0, Arc::new(SystemClock::new())).unwrap()
}

fn span(parent: Option<Parent>) -> Span {
    Span {
        parent,
        start_nanos: 1_800_000_000_000_000_000,
        length: Duration::from_micros(7),
        operation: "consume",
        protocol: "http",
        outcome: EventOutcome::AlreadyConsumed,
        status: Some(404),
        log_wait: Some(Duration::from_millis(2)),
        tokens: 3,
    }
}

/// A collector that gives these answers, one to each connection, and keeps what came.
fn collector(answers: &'static [&'static str]) -> (String, mpsc::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (told, requests) = mpsc::channel();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut socket, _) = listener.accept().unwrap();
            let request = request_of(&mut socket);
            if told.send(request).is_err() {
                return;
            }
            socket.write_all(answer.as_bytes()).unwrap();
        }
    });
    (url, requests)
}

/// One whole request.
fn request_of(socket: &mut TcpStream) -> Vec<u8> {
    let (mut request, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let len = socket.read(&mut piece).unwrap();
        request.extend_from_slice(&piece[..len]);
        let Some(end) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
        let body_len = head.split("content-length: ").nth(1).unwrap();
        let body_len: usize = body_len.split("\r\n").next().unwrap().parse().unwrap();
        if len == 0 || request.len() >= end + 4 + body_len {
            return request;
        }
    }
}

/// The head and the message of a request.
fn parts(request: &[u8]) -> (String, ExportTraceServiceRequest) {
    let end = request.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let message = ExportTraceServiceRequest::decode(&request[end + 4..]).unwrap();
    (String::from_utf8(request[..end].to_vec()).unwrap(), message)
}

const ACCEPTED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn dropped(tracer: &Tracer, reason: &str) -> u64 {
    tracer.stats().dropped.into_iter().find(|(known, _)| *known == reason).unwrap().1
}

fn eventually(check: impl Fn() -> bool) {
    for _ in 0..1000 {
        if check() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("never came true");
}

#[test]
fn a_traceparent_is_read_as_the_standard_says() {
    let parent = Parent::parse(VALID.as_bytes()).unwrap();
    assert_eq!(const_hex::encode(parent.trace_id), &VALID[3..35]);
    assert_eq!(const_hex::encode(parent.span_id), &VALID[36..52]);
    assert!(parent.is_sampled);
    let with = |from: &str, to: &str| Parent::parse(VALID.replacen(from, to, 1).as_bytes());
    assert!(!with("-01", "-00").unwrap().is_sampled);
    assert!(with("-01", "-ff").unwrap().is_sampled, "unknown flags are passed over");
    assert!(with("00-", "cc-").is_some(), "a later version");
    assert!(Parent::parse(format!("{VALID}-what").replacen("00-", "01-", 1).as_bytes()).is_some());
    for (from, to) in [
        ("00-", "ff-"),
        ("4bf92f3577b34da6a3ce929d0e0e4736", "00000000000000000000000000000000"),
        ("00f067aa0ba902b7", "0000000000000000"),
        ("4bf", "4BF"),
        ("4bf", "4bg"),
        ("-01", "-1"),
        ("-01", "-0x"),
        ("-01", "-01-what"),
        ("-01", "-01 "),
        ("-00f0", "_00f0"),
        ("00-", "0-"),
    ] {
        assert_eq!(with(from, to), None, "{from} as {to}");
    }
    for len in 0..VALID.len() {
        assert_eq!(Parent::parse(&VALID.as_bytes()[..len]), None);
    }
}

#[test]
fn the_one_traceparent_of_a_head_is_found() {
    let find =
        |lines: &[String]| Parent::find(format!("{}\r\n\r\n", lines.join("\r\n")).as_bytes());
    let line = |name: &str| format!("{name}: {VALID}");
    let start = "GET /v1/tokens/x HTTP/1.1".to_owned();
    for name in ["traceparent", "Traceparent", "TRACEPARENT"] {
        assert!(find(&[start.clone(), "Host: a".to_owned(), line(name)]).is_some(), "{name}");
    }
    assert_eq!(find(&[start.clone(), line("traceparents"), line("xtraceparent")]), None);
    let twice = [start, line("traceparent"), line("traceparent")];
    assert_eq!(find(&twice), None, "two of them have two readings");
}

#[test]
fn samplers_decide_as_opentelemetry_names_them() {
    let parent = |is_sampled, low: u64| {
        let mut trace_id = [1; 16];
        trace_id[8..].copy_from_slice(&low.to_be_bytes());
        Parent { trace_id, span_id: [1; 8], is_sampled }
    };
    let takes = |name: &str, parent: Option<&Parent>, number: u64| {
        Sampler::named(name, 0.25).unwrap().takes(parent, || number)
    };
    let (low, high) = (parent(true, 1 << 60), parent(true, 1 << 63));
    let unsampled = parent(false, 1 << 60);
    for (name, alone, with_low, with_high, with_unsampled) in [
        ("always_on", [true, true], true, true, true),
        ("always_off", [false, false], false, false, false),
        ("traceidratio", [true, false], true, false, true),
        ("parentbased_always_on", [true, true], true, true, false),
        ("parentbased_always_off", [false, false], true, true, false),
        ("parentbased_traceidratio", [true, false], true, true, false),
    ] {
        assert_eq!([1 << 60, 1 << 62].map(|number| takes(name, None, number)), alone, "{name}");
        assert_eq!(takes(name, Some(&low), 0), with_low, "{name}");
        assert_eq!(takes(name, Some(&high), 0), with_high, "{name}");
        assert_eq!(takes(name, Some(&unsampled), 0), with_unsampled, "{name}");
    }
    assert_eq!(Sampler::named("jaeger_remote", 1.0), None);
}

#[test]
fn the_variables_of_opentelemetry_are_read_and_mistakes_are_told() {
    let (read, unused) = settings(&[]);
    assert!(unused.is_empty());
    assert_eq!(read.resource, [("service.name".to_owned(), "jeton".to_owned())]);
    let (read, unused) = settings(&[
        ("OTEL_SERVICE_NAME", "checkout"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other, zone=eu%2C1"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20abc"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
        ("OTEL_TRACES_SAMPLER", "traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.5"),
    ]);
    assert_eq!(unused, [""; 0]);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(read.resource, [pair("zone", "eu,1"), pair("service.name", "checkout")]);
    assert_eq!(read.headers["authorization"], "Basic abc");
    assert_eq!(read.timeout, Duration::from_millis(250));
    assert_eq!(read.sampler, Sampler::named("traceidratio", 0.5).unwrap());
    assert!(!format!("{read:?}").contains("abc"), "P9: a header may hold a secret");
    for (name, value) in [
        ("OTEL_RESOURCE_ATTRIBUTES", "zone"),
        ("OTEL_RESOURCE_ATTRIBUTES", "zone=%FF"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "=secret"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "host=secret"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=secret%0Ab"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
    ] {
        let (_, unused) = settings(&[(name, value)]);
        assert_eq!(unused.len(), 1, "{name}={value}");
        assert!(unused[0].starts_with(name) && !unused[0].contains("secret"), "{}", unused[0]);
        let (_, unused) = settings(&[(name, " ")]);
        assert!(unused.is_empty(), "an empty {name} is not set");
    }
}

#[test]
fn a_collector_is_named_by_its_base_url() {
    let path = |url: &str| url.parse::<Endpoint>().map(|endpoint| endpoint.to_string());
    assert_eq!(path("http://[::1]:4318").unwrap(), "http://[::1]:4318/v1/traces");
    assert_eq!(path("https://a.example/otlp/").unwrap(), "https://a.example/otlp/v1/traces");
    for url in
        ["", "a:4318", "grpc://a:4317", "http://a?b", "http://u:p@a", "http://a#b", "http://"]
    {
        assert!(path(url).is_err(), "{url}");
    }
}

#[test]
fn a_parent_is_believed_of_a_key_only() {
    let (url, _requests) = collector(&[]);
    let headers = format!("GET / HTTP/1.1\r\ntraceparent: {VALID}\r\n\r\n");
    let off = [("OTEL_TRACES_SAMPLER", "parentbased_always_off")];
    let (tracer, _exporter) = start(&config(&url), &off);
    let chosen = |tracer: &Tracer, has_key| tracer.chooses(headers.as_bytes(), has_key, || 0);
    assert_eq!(chosen(&tracer, true), Some(Chosen::ByParent));
    assert_eq!(chosen(&tracer, false), None);
    let all = Config { trust: Trust::All, ..config(&url) };
    let (tracer, _exporter) = start(&all, &off);
    assert_eq!(chosen(&tracer, false), Some(Chosen::ByParent));
}

#[test]
fn p8_a_second_has_at_most_so_many_spans() {
    let clock = Arc::new(ManualClock::at(UnixMillis(1_800_000_000_000)));
    let (url, _requests) = collector(&[]);
    let few = Config { spans_a_second: 3, ..config(&url) };
    let (tracer, _exporter) = Tracer::start(&few, settings(&[]).0, clock.clone()).unwrap();
    let chosen = || (0..10).filter(|_| tracer.chooses(b"", false, || 0).is_some()).count();
    assert_eq!([chosen(), chosen()], [3, 0]);
    assert_eq!(dropped(&tracer, "limit"), 17);
    // What is drawn again gives its place back, but not into another second.
    tracer.give_back();
    assert_eq!([chosen(), chosen()], [1, 0]);
    assert_eq!(dropped(&tracer, "limit"), 36);
    clock.advance(1000);
    tracer.give_back();
    for _ in 0..10 {
        tracer.end(span(None), false, Draw::Undecided, || 0);
    }
    assert_eq!(dropped(&tracer, "limit"), 43);
}

#[test]
fn p8_a_collector_that_hangs_costs_no_more_than_the_queue() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let many = Config { spans_a_second: RATE_LIMITS.1, ..config(&url) };
    let (tracer, exporter) = start(&many, &[]);
    let clock = SystemClock::new();
    let until = clock.monotonic() + Duration::from_secs(60);
    // One message is under way, and the queue is full behind it.
    while dropped(&tracer, "queue") < 1000 && clock.monotonic() < until {
        tracer.end(span(None), false, Draw::Undecided, || 0);
    }
    assert!(dropped(&tracer, "queue") >= 1000);
    exporter.stop();
    assert_eq!(tracer.stats().sent, 0);
    assert!(dropped(&tracer, "stopped") >= SPANS_MAX as u64);
}

#[test]
fn spans_are_sent_with_what_is_known_of_the_request() {
    let (url, requests) = collector(&[ACCEPTED]);
    let variables = [("OTEL_EXPORTER_OTLP_HEADERS", "x-key=abc")];
    let (tracer, _exporter) = start(&config(&format!("{url}/base/")), &variables);
    let parent = Parent::parse(VALID.as_bytes()).unwrap();
    tracer.end(span(Some(parent)), true, Draw::Undecided, || 0);
    tracer.end(span(Some(parent)), false, Draw::Undecided, || 0);
    let (head, message) = parts(&requests.recv_timeout(Duration::from_secs(30)).unwrap());
    assert!(head.starts_with("POST /base/v1/traces HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("content-type: application/x-protobuf") && head.contains("x-key: abc"));
    let spans = &message.resource_spans[0].scope_spans[0].spans;
    let [of_parent, alone] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!(of_parent.trace_id, parent.trace_id);
    assert_eq!(of_parent.parent_span_id, parent.span_id);
    assert_eq!((of_parent.name.as_str(), of_parent.kind), ("consume", 2));
    assert_eq!(of_parent.start_time_unix_nano, 1_800_000_000_000_000_000);
    assert_eq!(of_parent.end_time_unix_nano - of_parent.start_time_unix_nano, 7_000);
    assert_eq!(of_parent.attributes.len(), 6, "{:?}", of_parent.attributes);
    assert!(alone.parent_span_id.is_empty() && alone.trace_id != parent.trace_id, "not believed");
    assert_ne!(alone.span_id, of_parent.span_id);
    eventually(|| tracer.stats().sent == 2);
}

#[test]
fn a_message_is_sent_once_more_and_then_dropped() {
    const BUSY: &str = "HTTP/1.1 429 Too Many\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
    let (url, requests) = collector(&[BUSY, ACCEPTED, BUSY, BUSY]);
    let (tracer, _exporter) = start(&config(&url), &[]);
    for (sent, refused) in [(1, 0), (1, 1)] {
        tracer.end(span(None), false, Draw::Undecided, || 0);
        let [first, second] =
            [(); 2].map(|()| requests.recv_timeout(Duration::from_secs(30)).unwrap());
        assert_eq!(parts(&first).1, parts(&second).1, "the same spans");
        eventually(|| (tracer.stats().sent, dropped(&tracer, "refused")) == (sent, refused));
    }
}

#[test]
fn what_a_collector_answers_is_counted() {
    // An ExportTraceServiceResponse with a partial success: one span is rejected.
    const PARTIAL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\x0a\x02\x08\x01";
    const WRONG: &str = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    const GARBAGE: &str = "\x00\x00\x12\x04\x00\x00\x00\x00\x00";
    let (url, _requests) = collector(&[PARTIAL, WRONG, GARBAGE, GARBAGE]);
    let (tracer, _exporter) = start(&config(&url), &[]);
    for (reason, count) in [("refused", 1), ("refused", 2), ("unanswered", 1)] {
        tracer.end(span(None), false, Draw::Undecided, || 0);
        eventually(|| dropped(&tracer, reason) == count);
    }
    assert_eq!(tracer.stats().sent, 0);
}

#[test]
fn what_waits_is_sent_at_the_stop() {
    let (url, requests) = collector(&[ACCEPTED]);
    let (tracer, exporter) = start(&config(&url), &[]);
    for _ in 0..3 {
        tracer.end(span(None), false, Draw::Undecided, || 0);
    }
    exporter.stop();
    assert_eq!(tracer.stats().sent, 3);
    let (_, message) = parts(&requests.try_recv().unwrap());
    assert_eq!(message.resource_spans[0].scope_spans[0].spans.len(), 3);
}

#[test]
fn a_request_that_a_short_way_leaves_is_drawn_once() {
    let (url, _requests) = collector(&[]);
    let few = Config { spans_a_second: 1, ..config(&url) };
    let (tracer, _exporter) = start(&few, &[]);
    let dropped = || dropped(&tracer, "limit");
    assert_eq!(tracer.chooses(b"", false, || 0), Some(Chosen::ByDraw));
    // Its place is taken: none is looked for again.
    tracer.end(span(None), false, Draw::Taken, || 0);
    assert_eq!(dropped(), 0);
    for _ in 0..3 {
        assert_eq!(tracer.chooses(b"", false, || 0), None);
        tracer.end(span(None), false, Draw::Passed, || 0);
    }
    assert_eq!(dropped(), 3, "each is counted once");
}
