//! Servers as they are: the floor over a socket, what is started and stopped, what is missing and
//! what talks nonsense. What can't be tried here says so.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use loadtest::protocol::{self, Answer, Answers, Call, Key, Protocol, Ticket};
use loadtest::target::{self, Kind, Options, floor, probe, usage};
use loadtest::workload::Http;

use crate::harness::{jeton_bin, not_checked};

const KEY: Key = *b"abcdefghijklmnopqrstuvwxyz012345";
const ANSWER_TIME: Duration = Duration::from_secs(30);

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(ANSWER_TIME)).expect("a time limit");
    stream
}

fn floor_address(body_bytes: usize) -> SocketAddr {
    let listen = "127.0.0.1:0".parse().expect("an address");
    let mut floor = floor::Floor::bind(listen, body_bytes).expect("a free port");
    let address = floor.address().expect("it listens");
    std::thread::spawn(move || floor.run());
    address
}

/// Answers, each in one word.
#[derive(Default)]
struct Words(Vec<(Ticket, String)>);

impl Answers for Words {
    fn answer(&mut self, ticket: Ticket, answer: Answer<'_>) {
        self.0.push((ticket, format!("{answer:?}")));
    }
}

/// Sends calls one after the other and gives what is answered to each.
struct Client {
    stream: TcpStream,
    codec: Box<dyn protocol::Codec>,
    input: Vec<u8>,
    token: Key,
}

impl Client {
    fn new(address: SocketAddr, protocol: Protocol) -> Self {
        let codec = protocol::make::codec(protocol, &address.to_string().as_str().into());
        Self { stream: connect(address), codec, input: Vec::new(), token: KEY }
    }

    fn call(&mut self, call: Call<'_>) -> String {
        let mut output = Vec::new();
        self.codec.request(1, call, &mut output).expect("it takes requests");
        let mut words = Words::default();
        let mut part = [0; 4096];
        loop {
            self.stream.write_all(&output).expect("it takes bytes");
            output.clear();
            let count = self.stream.read(&mut part).expect("it answers");
            assert!(count > 0, "the server closed");
            self.input.extend_from_slice(&part[..count]);
            let answers = &mut Tee { words: &mut words, token: &mut self.token };
            let used = self.codec.receive(&self.input, &mut output, answers).expect("no garbage");
            self.input.drain(..used);
            if let Some((_, word)) = words.0.pop() {
                return word;
            }
        }
    }
}

/// Keeps the token of an issue.
struct Tee<'a> {
    words: &'a mut Words,
    token: &'a mut Key,
}

impl Answers for Tee<'_> {
    fn answer(&mut self, ticket: Ticket, answer: Answer<'_>) {
        match answer {
            Answer::Issued(Some(token)) => {
                *self.token = token;
                self.words.answer(ticket, Answer::Issued(None));
            }
            answer => self.words.answer(ticket, answer),
        }
    }
}

/// The life of a token, as every server that keeps them must tell it.
fn check_life(address: SocketAddr, protocol: Protocol) {
    let mut client = Client::new(address, protocol);
    let payload = b"{\"a\" : 1}";
    let found = format!("{:?}", Answer::Found(payload));
    let many = format!("{:?}", Answer::Many(&[Some(payload), None]));
    let issue = Call::Issue { key: &KEY, payload, ttl_ms: 60_000 };
    assert_eq!(client.call(issue), "Issued(None)");
    let token = client.token;
    assert_eq!(client.call(Call::Resolve(&token)), found);
    let other = [b'0'; 32];
    assert_eq!(client.call(Call::ResolveMany(&[token, other])), many);
    assert_eq!(client.call(Call::Extend { key: &token, ttl_ms: 90_000 }), "Done");
    assert_eq!(client.call(Call::Extend { key: &other, ttl_ms: 90_000 }), "Absent");
    if protocol != Protocol::Memcached {
        assert_eq!(client.call(Call::Consume(&token)), found);
        assert_eq!(client.call(Call::Consume(&token)), "Absent");
        assert_eq!(client.call(issue), "Issued(None)");
    }
    let token = client.token;
    assert_eq!(client.call(Call::Revoke(&token)), "Done");
    assert_eq!(client.call(Call::Resolve(&token)), "Absent");
}

/// Starts a server, lets it be used, and stops it; its data must be gone then.
fn check_server(kind: Kind, options: &Options, protocols: &[Protocol]) {
    let server = target::start(kind, options).expect("it starts");
    for protocol in protocols {
        check_life(server.address(), *protocol);
    }
    let report = server.report();
    assert_eq!(report.kind, kind.name());
    assert!(report.version.is_some_and(|version| version.contains('.')));
    assert!(usage::memory(server.pid()).expect("it runs").resident_bytes > 0);
    if let Some((said, version)) = probe::server_version(kind, server.address(), server.access()) {
        assert_eq!(said, kind);
        assert!(version.contains('.'), "{version}");
    }
    let scratch = options.scratch.as_deref().expect("the tests give one");
    assert_eq!(entries(scratch), 1);
    server.stop().expect("it ends in order");
    assert_eq!(entries(scratch), 0, "its data is left behind");
}

fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).expect("a folder").count()
}

#[test]
fn the_floor_answers_every_request_however_they_come() {
    let address = floor_address(40);
    let body = loadtest::traffic::payload::fixed_body(40);
    let mut codec = protocol::make::codec(Protocol::Floor, &"floor".into());
    let mut output = Vec::new();
    let calls = [
        Call::Resolve(&KEY),
        Call::Issue { key: &KEY, payload: b"{\"x\":\"\\r\\n\\r\\n\"}", ttl_ms: 5 },
        Call::ResolveMany(&[KEY, KEY]),
        Call::Consume(&KEY),
        Call::Revoke(&KEY),
        Call::Extend { key: &KEY, ttl_ms: 5 },
    ];
    // More than the floor answers with one call, in writes that cut requests anywhere.
    let count = 100 * calls.len();
    for (ticket, call) in (0..count).zip(calls.iter().cycle()) {
        codec.request(ticket as Ticket, *call, &mut output).expect("it takes requests");
    }
    let mut stream = connect(address);
    for part in output.chunks(997) {
        stream.write_all(part).expect("it takes bytes");
    }
    stream.shutdown(Shutdown::Write).expect("still open");
    let mut input = Vec::new();
    stream.read_to_end(&mut input).expect("it answers");
    let mut words = Words::default();
    let used = codec.receive(&input, &mut Vec::new(), &mut words).expect("HTTP");
    assert_eq!((used, words.0.len()), (input.len(), count));
    let expected = format!("{:?}", Answer::Found(&body));
    assert!(words.0.iter().all(|(_, word)| *word == expected));
}

#[test]
fn the_floor_goes_on_beside_a_client_that_does_not_read() {
    let address = floor_address(100_000);
    let mut greedy = connect(address);
    // Far more than the sockets between them hold.
    let asked = 300;
    greedy.write_all(&b"GET / HTTP/1.1\r\n\r\n".repeat(asked)).expect("it takes bytes");
    let mut client = Client::new(address, Protocol::Floor);
    assert!(client.call(Call::Resolve(&KEY)).starts_with("Found"));
    greedy.shutdown(Shutdown::Write).expect("still open");
    let mut input = Vec::new();
    greedy.read_to_end(&mut input).expect("it answers");
    assert_eq!(input.windows(15).filter(|part| part == b"HTTP/1.1 200 OK").count(), asked);
}

#[test]
fn a_store_keeps_what_the_codec_says() {
    for (kind, protocol) in [
        (Kind::Redis, Protocol::Resp),
        (Kind::Valkey, Protocol::Resp),
        (Kind::Memcached, Protocol::Memcached),
    ] {
        if let Some(why) = target::missing(kind) {
            not_checked(kind.name(), &why);
            continue;
        }
        for durable in [true, false] {
            let scratch = tempfile::tempdir().expect("a folder");
            let scratch = Some(scratch.path().to_owned());
            check_server(kind, &Options { durable, scratch, ..Options::default() }, &[protocol]);
        }
    }
}

#[test]
fn jeton_keeps_its_contract_in_both_versions_of_http() {
    for durable in [true, false] {
        let folder = tempfile::tempdir().expect("a folder");
        let scratch = Some(folder.path().to_owned());
        let small = ["--segment-size", "1MiB", "--log-min-size", "4MiB"];
        let arguments = small.map(str::to_owned).to_vec();
        let server_bin = Some(jeton_bin().to_owned());
        let options = Options {
            server_bin,
            arguments: arguments.into(),
            durable,
            scratch,
            ..Options::default()
        };
        let protocols = [Http::One, Http::Two].map(|http| Kind::Jeton.protocol(http));
        check_server(Kind::Jeton, &options, &protocols);
    }
}

/// A program that stands in for jeton, in a folder of its own.
fn stand_in(script: &str) -> (tempfile::TempDir, Options) {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("jeton");
    let version = "[ $1 = --version ] && echo jeton 0.0.0 && exit";
    std::fs::write(&program, format!("#!/bin/sh\n{version}\n{script}\n")).expect("a file");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, mode).expect("a mode");
    let scratch = folder.path().join("scratch");
    std::fs::create_dir(&scratch).expect("a folder");
    let options =
        Options { server_bin: Some(program), scratch: Some(scratch), ..Options::default() };
    (folder, options)
}

#[test]
fn a_server_that_does_not_start_is_quoted() {
    let (_folder, options) = stand_in("echo 'the log is damaged' >&2; exit 1");
    let error = target::start(Kind::Jeton, &options).expect_err("it ends").to_string();
    assert!(error.contains("jeton: ended with exit status: 1 before it was ready"), "{error}");
    assert!(error.contains("the log is damaged"), "{error}");
}

#[test]
fn a_ready_line_of_another_kind_is_quoted() {
    let (_folder, options) = stand_in("echo 'jeton ready: soon'; exec sleep 60");
    let error = target::start(Kind::Jeton, &options).expect_err("it says nothing").to_string();
    assert!(error.contains("jeton: its ready line is: soon"), "{error}");
}

/// Names the scratch folder to the part of the next test that is interrupted.
const INTERRUPTED: &str = "LOADTEST_TEST_INTERRUPTED";

#[test]
fn an_interrupt_leaves_nothing_behind() {
    let ready = "jeton ready: data=http://127.0.0.1:1 admin=http://127.0.0.1:2 tokens=0";
    let (_folder, mut options) = stand_in(&format!("echo '{ready}'; exec sleep 60"));
    if let Some(scratch) = std::env::var_os(INTERRUPTED) {
        target::process::end_on_interrupt(None).expect("signals");
        options.scratch = Some(scratch.into());
        let server = target::start(Kind::Jeton, &options).expect("it starts");
        writeln!(std::io::stdout(), "\nstarted {}", server.pid()).expect("a reader");
        std::thread::sleep(ANSWER_TIME);
        return;
    }
    let scratch = options.scratch.as_deref().expect("the tests give one");
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["target::an_interrupt_leaves_nothing_behind", "--exact", "--nocapture"])
        .env(INTERRUPTED, scratch)
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut lines = lines.map_while(Result::ok);
    let pid = lines.find_map(|line| line.strip_prefix("started ").map(str::to_owned));
    let process = PathBuf::from(format!("/proc/{}", pid.expect("it starts")));
    assert!(process.exists() && entries(scratch) == 1);
    let child_pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(child_pid, rustix::process::Signal::TERM).expect("it runs");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert!(!process.exists(), "the server is left behind");
    assert_eq!(entries(scratch), 0, "its data is left behind");
}

#[test]
fn a_store_that_is_missing_is_named() {
    match target::missing(Kind::Valkey) {
        None => not_checked("a missing store", "valkey-server is on the PATH"),
        Some(_) => {
            let error = target::start(Kind::Valkey, &Options::default()).expect_err("missing");
            assert_eq!(error.to_string(), "valkey: valkey-server is not on the PATH");
        }
    }
}

#[test]
fn nonsense_is_garbage_to_every_protocol() {
    for protocol in [Protocol::Http1, Protocol::Http2, Protocol::Resp, Protocol::Memcached] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            stream.write_all(b"220 mail.example ESMTP ready\r\n").expect("it takes bytes");
            let _ = stream.read(&mut [0; 4096]);
        });
        let mut stream = connect(address);
        let mut codec = protocol::make::codec(protocol, &"host".into());
        let mut output = Vec::new();
        codec.open(&mut output);
        codec.request(1, Call::Resolve(&KEY), &mut output).expect("it takes requests");
        stream.write_all(&output).expect("it takes bytes");
        let mut input = Vec::new();
        stream.read_to_end(&mut input).expect("it answers");
        let garbage = codec.receive(&input, &mut Vec::new(), &mut Words::default());
        let garbage = garbage.expect_err("it is nonsense").to_string();
        assert!(!garbage.is_empty());
        server.join().expect("it ends");
    }
}
