//! The same cases through common proxies: haproxy and nginx, as packaged by Debian.
//!
//! A proxy may forward or refuse any part of a case. The rule is that proxy and jeton never
//! disagree about the number of requests. Each canary that was consumed, the one inside a case or
//! the one after it, is in the proxy's log as a request of its own, and jeton answers no more
//! requests than the proxy logged as forwarded. (The weaker guard: jeton counts no request that it
//! cannot read.) The proxies keep their connections to jeton and share them, so that leftover bytes
//! of one case would begin the next request.

use std::collections::HashSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{Arrival, Canaries, canary_request, cases, pieces};
use crate::admin::metrics;
use crate::client::Client;
use crate::server::Server;
use crate::support::{Rng, comes_true, not_run};
use crate::volume;

/// Clients that send cases at once.
const CLIENTS: usize = 24;
/// The proxies close a connection after a second without bytes. This limit only keeps a proxy that
/// does not from hanging the test.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);

/// A program that forwards HTTP to a server, and its settings.
struct Kind {
    name: &'static str,
    config: fn(dir: &Path, listen: SocketAddr, server: SocketAddr) -> String,
    /// Arguments before the name of the file with the configuration.
    arguments: &'static [&'static str],
    /// The variable, if it has one, that names the descriptor of an inherited listener.
    inherits: Option<(&'static str, &'static str)>,
}

/// Each logs a line for every request: whether it was forwarded, then its target.
const KINDS: [Kind; 2] = [
    Kind { name: "haproxy", config: haproxy_config, arguments: &["-db", "-f"], inherits: None },
    Kind {
        name: "nginx",
        config: nginx_config,
        arguments: &["-c"],
        inherits: Some(("NGINX", "0;")),
    },
];

fn haproxy_config(_: &Path, _: SocketAddr, server: SocketAddr) -> String {
    format!(
        "global\n  log stdout format raw local0\n\
         defaults\n  mode http\n  log global\n  retries 0\n  http-reuse always\n\
         \x20 timeout connect 20s\n  timeout client 1s\n  timeout server 20s\n\
         \x20 log-format \"%s %HU\"\n\
         frontend front\n  bind fd@0\n  default_backend back\n\
         backend back\n  server forwarded {server}\n"
    )
}

fn nginx_config(dir: &Path, listen: SocketAddr, server: SocketAddr) -> String {
    let dir = dir.display();
    format!(
        "daemon off;\nuser root;\npid {dir}/pid;\nerror_log {dir}/errors crit;\n\
         events {{ worker_connections 512; }}\n\
         http {{\n  client_header_timeout 1s;\n  client_body_timeout 1s;\n  keepalive_timeout 1s;\n\
         \x20 map $upstream_addr $to {{ '' refused; default forwarded; }}\n\
         \x20 log_format seen '$to $request_uri';\n  access_log /dev/stdout seen;\n\
         \x20 client_body_temp_path {dir}/b;\n  proxy_temp_path {dir}/p;\n\
         \x20 fastcgi_temp_path {dir}/f;\n  uwsgi_temp_path {dir}/u;\n  scgi_temp_path {dir}/s;\n\
         \x20 upstream jeton {{ server {server}; keepalive 8; }}\n\
         \x20 server {{\n    listen {listen};\n    location / {{\n\
         \x20     proxy_pass http://jeton;\n      proxy_http_version 1.1;\n\
         \x20     proxy_set_header Connection '';\n      proxy_next_upstream off;\n\
         \x20     proxy_request_buffering off;\n    }}\n  }}\n}}\n"
    )
}

/// A running proxy; dropping it ends it.
struct Proxy {
    child: Child,
    address: SocketAddr,
    dir: TempDir,
}

impl Kind {
    fn program(&self) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
        folders.map(|folder| folder.join(self.name)).find(|program| program.is_file())
    }

    fn start(&self, program: &Path, server: &Server) -> Proxy {
        let dir = tempfile::tempdir().expect("a temporary folder");
        // The proxy inherits the listener. If it had to bind the port again, another process could
        // have taken it meanwhile.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        listener.set_nonblocking(true).expect("as the proxies expect it");
        let config = dir.path().join("config");
        fs::write(&config, (self.config)(dir.path(), address, server.data)).expect("a file");
        let log = fs::File::create(dir.path().join("log")).expect("a file");
        let child = Command::new(program)
            .args(self.arguments)
            .arg(&config)
            .envs(self.inherits)
            .stdin(OwnedFd::from(listener))
            .stdout(log)
            .stderr(fs::File::create(dir.path().join("complaints")).expect("a file"))
            .spawn()
            .expect("the proxy runs");
        Proxy { child, address, dir }
    }
}

impl Proxy {
    /// Targets of the requests that it logged as forwarded.
    fn forwarded(&self) -> Vec<String> {
        let log = fs::read(self.dir.path().join("log")).expect("a file");
        let log = String::from_utf8_lossy(&log);
        let lines = log.lines().filter_map(|line| line.strip_prefix("forwarded "));
        lines.map(ToOwned::to_owned).collect()
    }

    /// Its error output.
    fn complaints(&self) -> String {
        fs::read_to_string(self.dir.path().join("complaints")).expect("a file")
    }

    /// Sends the pieces, and reads until the proxy closes.
    fn exchange(&self, pieces: &[&[u8]]) {
        let stream = TcpStream::connect(self.address);
        let mut stream = stream.unwrap_or_else(|error| panic!("{error}: {}", self.complaints()));
        stream.set_nodelay(true).expect("no delay");
        stream.set_read_timeout(Some(LONGEST_SILENCE)).expect("a time limit");
        for (n, piece) in pieces.iter().enumerate() {
            if n > 0 {
                std::thread::sleep(Duration::from_millis(2));
            }
            // It may answer and close before it has read everything.
            let _ = stream.write_all(piece);
        }
        let mut answers = [0; 4096];
        while stream.read(&mut answers).is_ok_and(|read| read > 0) {}
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // SIGTERM and not SIGKILL: nginx works in a child process and ends it itself.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let ended = comes_true(|| matches!(self.child.try_wait(), Ok(Some(_))));
        if !ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Requests that jeton answered so far.
fn answered(server: &Server) -> u64 {
    let metrics = metrics(server);
    let lines = metrics.lines().filter(|line| line.starts_with("jeton_http_requests_total{"));
    lines
        .map(|line| line.rsplit(' ').next().and_then(|n| n.parse::<u64>().ok()).expect("a count"))
        .sum()
}

/// Canaries that were consumed although the proxy did not forward the request that consumes them.
fn smuggled<'a>(spent: &[&'a str], forwarded: &[String]) -> Vec<&'a str> {
    let seen: HashSet<&str> = forwarded.iter().map(String::as_str).collect();
    let unseen = |token: &&&str| !seen.contains(format!("/v1/tokens/{token}/consume").as_str());
    spent.iter().filter(unseen).copied().collect()
}

/// The request after a case. It is the last of its connection.
fn last_request(token: &str) -> String {
    canary_request(token).replace("Host: a\r\n", "Host: a\r\nConnection: close\r\n")
}

/// Sends all cases once. In the first round the bytes of a case are sent at once, in every other
/// round they are cut at other places.
fn send_all(proxy: &Proxy, canaries: &[Canaries], round: u64) {
    let arrival = if round == 1 { Arrival::Whole } else { Arrival::InThree };
    std::thread::scope(|scope| {
        for first in 0..CLIENTS {
            scope.spawn(move || {
                let mut rng = Rng::new(round * CLIENTS as u64 + first as u64);
                for (case, canaries) in cases::all().zip(canaries).skip(first).step_by(CLIENTS) {
                    let attack = case.expand(&canary_request(&canaries.inside));
                    let behind = last_request(&canaries.behind);
                    let bytes = [&attack, behind.as_bytes()].concat();
                    proxy.exchange(&pieces(arrival, &bytes, &mut rng));
                }
            });
        }
    });
}

fn through(kind: &Kind) {
    let Some(program) = kind.program() else {
        let what = format!("p8, request smuggling through {}", kind.name);
        return not_run(&what, "the program is not installed");
    };
    let server = Server::fresh();
    let mut client = Client::of(&server);
    let proxy = kind.start(&program, &server);
    let (mut canaries, mut count) = (Vec::new(), 0);
    for round in 1..=volume::volume("smuggling", 1) {
        let first = canaries.len();
        canaries.extend(cases::all().map(|_| Canaries::issued(&mut client)));
        let before = answered(&server);
        send_all(&proxy, &canaries[first..], round);
        count += answered(&server) - before;
    }
    let mut spent_of = |of: fn(&Canaries) -> &str| -> Vec<&str> {
        let tokens = canaries.iter().map(of);
        tokens.filter(|token| client.resolve(token).status == 404).collect()
    };
    let (inside, behind) = (spent_of(|of| &of.inside), spent_of(|of| &of.behind));
    let spent = [&inside[..], &behind].concat();
    // A proxy writes its log when an exchange is over, which may be after its answer.
    let is_told = || {
        let forwarded = proxy.forwarded();
        forwarded.len() as u64 >= count && smuggled(&spent, &forwarded).is_empty()
    };
    let told = comes_true(is_told);
    let forwarded = proxy.forwarded();
    assert_eq!(smuggled(&spent, &forwarded), [""; 0], "smuggled through {}", kind.name);
    assert!(told, "{count} answered, {} forwarded by {}", forwarded.len(), kind.name);
    let complaints = proxy.complaints();
    assert!(behind.len() > 10, "{} forwards nothing: {complaints}", kind.name);
    volume::tell(
        &format!("smuggling_through_{}", kind.name),
        &[
            ("cases", canaries.len() as u64),
            ("forwarded", forwarded.len() as u64),
            ("answered", count),
            ("canaries_spent_in_the_open", spent.len() as u64),
            ("of_them_inside", inside.len() as u64),
            ("smuggled", 0),
        ],
    );
}

#[test]
fn p8_nothing_is_smuggled_through_haproxy() {
    through(&KINDS[0]);
}

#[test]
fn p8_nothing_is_smuggled_through_nginx() {
    through(&KINDS[1]);
}

/// Also if the request after the case was forwarded as a request of its own, as it should be.
#[test]
fn p8_a_smuggled_canary_is_noticed() {
    let forwarded = ["/v1/resolve".to_owned(), "/v1/tokens/behind/consume".to_owned()];
    assert_eq!(smuggled(&["inside", "behind"], &forwarded), ["inside"]);
    assert_eq!(smuggled(&["behind"], &forwarded), [""; 0]);
}
