//! The PROXY protocol: the client's address comes from a trusted proxy, and from nobody else. The
//! address that counts is the one of the audit log.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use crate::access::Keys;
use crate::audit::{UNKNOWN, lines};
use crate::pki::{Ca, Files};
use crate::raw::{Conn, PATIENCE, request};
use crate::resp_data::redis::Jeton;
use crate::resp_data::wire::Wire;
use crate::server::{Launch, Server};
use crate::support::not_run;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const TRUSTED: &str = "--trusted-proxy";
/// Where the tests connect from, and so does haproxy.
const HERE: &str = "127.0.0.1";

/// A header for a client at this address, port 4660.
fn header(client: [u8; 4]) -> Vec<u8> {
    let addresses = [&client[..], &[10, 0, 0, 1, 0x12, 0x34, 0x1d, 0x1a]].concat();
    raw_header(0x21, 0x11, &addresses)
}

fn raw_header(command: u8, protocol: u8, rest: &[u8]) -> Vec<u8> {
    let len = u16::try_from(rest.len()).expect("short").to_be_bytes();
    [SIGNATURE, &[command, protocol], &len, rest].concat()
}

/// A server with an audit log that trusts the proxies of `trusted`.
struct Audited {
    dir: TempDir,
    server: Server,
}

impl Audited {
    fn start(trusted: &str, more: impl FnOnce(Launch) -> Launch) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("audit.log");
        let launch = Launch::on(&dir.path().join("data"));
        let launch = launch.flag("--audit", file.to_str().expect("UTF-8")).flag(TRUSTED, trusted);
        let server = more(launch).start();
        Self { dir, server }
    }

    /// The addresses of all lines, after the server has stopped; each once, without the port.
    fn addresses(self) -> Vec<String> {
        let (status, _) = self.server.stop(Signal::TERM);
        assert!(status.success());
        addresses(self.dir.path())
    }
}

fn addresses(dir: &Path) -> Vec<String> {
    let files = ["audit.log", "audit.log.refused"].map(|name| dir.join(name));
    let lines: Vec<Value> =
        files.iter().filter(|it| it.exists()).flat_map(|it| lines(it)).collect();
    let of = |line: &Value| {
        let address = line["address"].as_str()?.parse::<SocketAddr>().expect("an address");
        Some(address.ip().to_string())
    };
    let mut all: Vec<_> = lines.iter().filter_map(of).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn get(path: &str) -> Vec<u8> {
    request("GET", path, &[], b"")
}

fn unknown() -> Vec<u8> {
    get(&format!("/v1/tokens/{UNKNOWN}"))
}

/// Sends `bytes` on a new connection; the status of the answer, or `None` if it was closed.
fn status_after(address: SocketAddr, bytes: &[u8]) -> Option<u16> {
    let mut conn = Conn::open(address).expect("connects");
    // The server may have closed it before all of it was sent.
    let _ = conn.send(bytes);
    conn.response().ok().map(|response| response.status)
}

/// A connection from another address of this machine.
fn connect_from(source: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect_timeout(&to.into(), PATIENCE)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

#[test]
fn the_client_of_a_trusted_proxy_has_the_address_of_its_header() {
    let audited = Audited::start("127.0.0.0/31,::1", |launch| launch);
    let data = audited.server.data;
    // In one piece, byte by byte, and with what proxies add after the addresses.
    assert_eq!(status_after(data, &[header([192, 0, 2, 1]), unknown()].concat()), Some(404));
    let mut conn = Conn::open(data).expect("connects");
    for byte in header([192, 0, 2, 2]).chunks(1) {
        conn.send(byte).expect("sent");
    }
    for _ in 0..2 {
        conn.send(&unknown()).expect("sent");
        assert_eq!(conn.response().expect("an answer").status, 404);
    }
    let more = [&[192, 0, 2, 3, 10, 0, 0, 1, 0, 1, 0, 1], &[4, 0, 9][..], &[7; 9]].concat();
    let more = raw_header(0x21, 0x11, &more);
    assert_eq!(status_after(data, &[more, unknown()].concat()), Some(404));
    // A check of the proxy itself.
    assert_eq!(status_after(data, &[raw_header(0x20, 0, &[]), unknown()].concat()), Some(404));
    let found = audited.addresses();
    assert_eq!(found, ["127.0.0.1", "192.0.2.1", "192.0.2.2", "192.0.2.3"]);
}

/// Without a valid header there is no answer, on no listener, and the log names the reason.
#[test]
fn p8_a_trusted_proxy_without_a_header_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let launch = |launch: Launch| launch.flag(TRUSTED, HERE);
    let jeton =
        Jeton::of(launch(Launch::on(dir.path()).flag("--resp-listen", "127.0.0.1:0")).start());
    let Jeton { server, address } = &jeton;
    let too_long = [SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat();
    for begin in [
        &b""[..],
        b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n",
        &raw_header(0x21, 0x12, &[7; 12]),
        &raw_header(0x21, 0x11, &[7; 11]),
        &raw_header(0x21, 0x11, &[0; 12]),
        &raw_header(0x11, 0x11, &[7; 12]),
        &too_long,
    ] {
        for (listener, rest) in [
            (server.data, unknown()),
            (server.admin, get("/healthz")),
            (*address, b"PING\r\n".to_vec()),
        ] {
            let mut stream = TcpStream::connect(listener).expect("connects");
            stream.set_read_timeout(Some(PATIENCE)).expect("set");
            let _ = stream.write_all(&[begin, &rest].concat());
            let mut answer = Vec::new();
            // A reset is a refusal as well.
            let _ = stream.read_to_end(&mut answer);
            assert!(answer.is_empty(), "{begin:?}: {}", String::from_utf8_lossy(&answer));
        }
    }
    // One that never finishes ends as well.
    let mut slow = Conn::open(server.data).expect("connects");
    slow.send(&header([192, 0, 2, 1])[..20]).expect("sent");
    assert!(slow.is_closed());
    let log = server.stderr();
    assert_eq!(log.matches("refused a connection from a trusted proxy").count(), 1, "{log}");
    let mut admin = Conn::open(server.admin).expect("connects");
    admin.send(&[header([192, 0, 2, 1]), get("/metrics")].concat()).expect("sent");
    let text = admin.response().expect("an answer").text().to_owned();
    assert!(text.contains("\njeton_proxy_headers_refused_total 22\n"), "{text}");
}

/// A header from anybody else changes nothing: the address is the socket's, and the request is not
/// understood.
#[test]
fn p10_nobody_else_chooses_an_address() {
    let audited = Audited::start("127.0.0.9", |launch| launch);
    let data = audited.server.data;
    let status = status_after(data, &[header([192, 0, 2, 1]), unknown()].concat());
    assert_ne!(status, Some(404), "it was taken as a request");
    assert_eq!(status_after(data, &unknown()), Some(404));
    // Not even one who says so from a trusted network of another server.
    let stream = connect_from(Ipv4Addr::new(127, 0, 0, 8), data).expect("connects");
    let mut conn = Conn::over(stream);
    conn.send(&[header([192, 0, 2, 1]), unknown()].concat()).expect("sent");
    assert!(conn.response().is_ok_and(|response| response.status == 400));
    let stream = connect_from(Ipv4Addr::new(127, 0, 0, 9), data).expect("connects");
    let mut conn = Conn::over(stream);
    conn.send(&[header([192, 0, 2, 5]), unknown()].concat()).expect("sent");
    assert_eq!(conn.response().expect("an answer").status, 404);
    let found = audited.addresses();
    assert!(!found.contains(&"192.0.2.1".to_owned()), "{found:?}");
    assert!(found.contains(&"192.0.2.5".to_owned()), "{found:?}");
}

/// The client's address is the one that limits and keys are about.
#[test]
fn p10_misses_and_networks_of_keys_count_for_the_client_behind_the_proxy() {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    let key = keys.add("shop", "resolve", &["--from", "192.0.2.0/24"]);
    let root = keys.add("*", "admin", &["--from", "192.0.2.0/24"]);
    let launch = Launch::on(&dir.path().join("data")).flag(TRUSTED, HERE);
    let launch = launch.flag("--keys", keys.path()).flag("--anonymous", "shop:resolve");
    let server = launch.flag("--anonymous-miss-limit", "2").start();
    let ask = |listener: SocketAddr, client: [u8; 4], key: Option<&str>, path: &str| {
        let headers: Vec<_> = key.map(|key| ("Authorization", key)).into_iter().collect();
        let asked = request("GET", path, &headers, b"");
        status_after(listener, &[header(client), asked].concat()).expect("an answer")
    };
    let path = format!("/v1/tokens/{UNKNOWN}");
    assert_eq!(ask(server.data, [192, 0, 2, 7], Some(&key), &path), 404);
    assert_eq!(ask(server.data, [192, 0, 3, 7], Some(&key), &path), 401);
    assert_eq!(ask(server.admin, [192, 0, 2, 7], Some(&root), "/v1/stats"), 200);
    assert_eq!(ask(server.admin, [192, 0, 3, 7], Some(&root), "/v1/stats"), 401);
    let guess = |client| (0..20).any(|_| ask(server.data, client, None, &path) == 429);
    assert!(guess([198, 51, 100, 1]), "twenty guesses of one client");
    assert_eq!(ask(server.data, [198, 51, 100, 2], None, &path), 404, "another one is not limited");
}

/// A real haproxy in front of a listener; dropping it ends it.
struct Haproxy {
    child: Child,
    address: SocketAddr,
    _dir: TempDir,
}

impl Haproxy {
    /// `None` where the machine has none, which is told. `server` has more words of its line.
    fn start(check: &str, to: SocketAddr, server: &str) -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
        let Some(program) = folders.find(|it| it.join("haproxy").is_file()) else {
            not_run(check, "haproxy is not on the PATH");
            return None;
        };
        let dir = tempfile::tempdir().expect("a folder");
        // It inherits the listener, so that nobody else can take its port meanwhile.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        listener.set_nonblocking(true).expect("set");
        let config = dir.path().join("config");
        let text = format!(
            "defaults\n  mode tcp\n  timeout connect 20s\n  timeout client 20s\n  timeout server 20s\n\
             frontend front\n  bind fd@0\n  default_backend back\n\
             backend back\n  server jeton {to} send-proxy-v2 {server}\n"
        );
        fs::write(&config, text).expect("written");
        let child = Command::new(program.join("haproxy"))
            .args(["-db", "-f"])
            .arg(&config)
            .stdin(OwnedFd::from(listener))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it runs");
        Some(Self { child, address, _dir: dir })
    }

    /// A client of the proxy at this address.
    fn connect(&self, source: Ipv4Addr) -> TcpStream {
        connect_from(source, self.address).expect("haproxy accepts a connection")
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_clients_of_a_real_haproxy_keep_their_addresses() {
    const CHECK: &str = "the clients of a real haproxy";
    let resp = |launch: Launch| launch.flag("--resp-listen", "127.0.0.1:0");
    let Audited { dir, server } = Audited::start(HERE, resp);
    let jeton = Jeton::of(server);
    // A check by haproxy itself sends a LOCAL header.
    let options = "check inter 100 check-send-proxy";
    let Some(front) = Haproxy::start(CHECK, jeton.server.data, options) else { return };
    for client in [5, 6] {
        let mut conn = Conn::over(front.connect(Ipv4Addr::new(127, 0, 0, client)));
        conn.send(&unknown()).expect("sent");
        assert_eq!(conn.response().expect("an answer").status, 404);
    }
    let admin = Haproxy::start(CHECK, jeton.server.admin, "").expect("as before");
    let mut conn = Conn::over(admin.connect(Ipv4Addr::new(127, 0, 0, 7)));
    conn.send(&get("/healthz")).expect("sent");
    assert_eq!(conn.response().expect("an answer").status, 200);
    let redis = Haproxy::start(CHECK, jeton.address, "").expect("as before");
    let mut wire = Wire::over(redis.connect(Ipv4Addr::new(127, 0, 0, 8)));
    assert!(wire.say("CLIENT INFO").contains("addr=127.0.0.8:"));
    assert_eq!(wire.say(&format!("GET {UNKNOWN}")), "$-1\\r\\n");
    let (status, log) = jeton.server.stop(Signal::TERM);
    assert!(status.success() && !log.contains("refused a connection"), "{log}");
    let found = addresses(dir.path());
    for client in ["127.0.0.5", "127.0.0.6", "127.0.0.8"] {
        assert!(found.contains(&client.to_owned()), "{found:?}");
    }
}

/// The header comes before the handshake.
#[test]
fn the_header_of_a_real_haproxy_comes_before_tls() {
    let ca = Ca::new("ours");
    let dir = tempfile::tempdir().expect("a folder");
    let files = Files::in_dir(dir.path(), &ca.issue(&["localhost"]), &ca);
    let tls = |launch: Launch| {
        let path = |file: &Path| file.to_str().expect("UTF-8").to_owned();
        launch.flag("--tls-cert", &path(&files.cert)).flag("--tls-key", &path(&files.key))
    };
    let audited = Audited::start(HERE, tls);
    let data = audited.server.data;
    let front = Haproxy::start("the header before TLS", data, "ssl verify none alpn http/1.1");
    let Some(front) = front else { return };
    let mut conn = Conn::over(front.connect(Ipv4Addr::new(127, 0, 0, 5)));
    conn.send(&unknown()).expect("sent");
    assert_eq!(conn.response().expect("an answer").status, 404);
    assert!(audited.addresses().contains(&"127.0.0.5".to_owned()));
}

#[test]
fn a_wrong_network_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let refused = Launch::on(dir.path()).flag(TRUSTED, "10.0.0.1/8").try_start().err();
    let refused = refused.expect("refused");
    assert_eq!(refused.status.code(), Some(2));
    assert!(refused.stderr.contains("--trusted-proxy must be an address or a network"));
    assert!(refused.stderr.contains("not \"10.0.0.1/8\""), "{}", refused.stderr);
}
