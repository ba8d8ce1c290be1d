//! The same cases through proxies that people put in front: haproxy and nginx, as Debian has them.
//!
//! What a proxy forwards of a case is its own affair, and what it refuses too. The rule is that the
//! two never disagree about how many requests there were: jeton answers no more than the proxy says
//! it forwarded, and a canary that was spent stands in the proxy's log as a request of its own. The
//! proxies keep their connections to jeton and share them, so that what one case left behind would
//! begin the next one's request.

use std::collections::HashSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::{canary_request, cases};
use crate::admin::metrics;
use crate::client::Client;
use crate::server::Server;
use crate::support::{eventually, not_run};
use crate::volume;

/// Clients that send cases at once.
const CLIENTS: usize = 24;
/// A proxy that says nothing for so long has nothing more to say.
const QUIET: Duration = Duration::from_millis(700);

/// A program that forwards HTTP to a server, and how it is set up.
struct Kind {
    name: &'static str,
    config: fn(dir: &Path, listen: SocketAddr, server: SocketAddr) -> String,
    /// Arguments before the name of the file with the configuration.
    arguments: &'static [&'static str],
}

/// Each logs a line for every request: whether it was forwarded, then its target.
const KINDS: [Kind; 2] = [
    Kind { name: "haproxy", config: haproxy_config, arguments: &["-db", "-f"] },
    Kind { name: "nginx", config: nginx_config, arguments: &["-c"] },
];

fn haproxy_config(_: &Path, listen: SocketAddr, server: SocketAddr) -> String {
    format!(
        "global\n  log stdout format raw local0\n\
         defaults\n  mode http\n  log global\n  retries 0\n  http-reuse always\n\
         \x20 timeout connect 5s\n  timeout client 5s\n  timeout server 20s\n\
         \x20 log-format \"%s %HU\"\n\
         frontend front\n  bind {listen}\n  default_backend back\n\
         backend back\n  server forwarded {server}\n"
    )
}

fn nginx_config(dir: &Path, listen: SocketAddr, server: SocketAddr) -> String {
    let dir = dir.display();
    format!(
        "daemon off;\nmaster_process off;\npid {dir}/pid;\nerror_log {dir}/errors crit;\n\
         events {{ worker_connections 512; }}\n\
         http {{\n  map $upstream_addr $to {{ '' refused; default forwarded; }}\n\
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

/// A running proxy; dropping it kills it.
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
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("its address");
        drop(free);
        let config = dir.path().join("config");
        fs::write(&config, (self.config)(dir.path(), address, server.data)).expect("a file");
        let log = fs::File::create(dir.path().join("log")).expect("a file");
        let child = Command::new(program)
            .args(self.arguments)
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(fs::File::create(dir.path().join("complaints")).expect("a file"))
            .spawn()
            .expect("the proxy runs");
        let proxy = Proxy { child, address, dir };
        eventually("the proxy listens", || TcpStream::connect(address).is_ok());
        proxy
    }
}

impl Proxy {
    /// Targets of the requests that it says it forwarded.
    fn forwarded(&self) -> Vec<String> {
        let log = fs::read(self.dir.path().join("log")).expect("a file");
        let log = String::from_utf8_lossy(&log);
        let lines = log.lines().filter_map(|line| line.strip_prefix("forwarded "));
        lines.map(ToOwned::to_owned).collect()
    }

    /// Sends `bytes`, and reads until nothing more comes.
    fn exchange(&self, bytes: &[u8]) {
        let mut stream = TcpStream::connect(self.address).expect("the proxy listens");
        stream.set_read_timeout(Some(QUIET)).expect("a time limit");
        // It may answer and close before it has read everything.
        let _ = stream.write_all(bytes);
        let mut answers = [0; 4096];
        while stream.read(&mut answers).is_ok_and(|read| read > 0) {}
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
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

/// Canaries that were spent although the proxy did not forward the request that spends them.
fn smuggled<'a>(spent: &[&'a str], forwarded: &[String]) -> Vec<&'a str> {
    let seen: HashSet<&str> = forwarded.iter().map(String::as_str).collect();
    let unseen = |token: &&&str| !seen.contains(format!("/v1/tokens/{token}/consume").as_str());
    spent.iter().filter(unseen).copied().collect()
}

fn through(kind: &Kind) {
    let Some(program) = kind.program() else {
        let what = format!("p8, request smuggling through {}", kind.name);
        return not_run(&what, "the program is not installed");
    };
    let server = Server::fresh();
    let mut client = Client::of(&server);
    let proxy = kind.start(&program, &server);
    let cases: Vec<_> = cases::all().collect();
    let canaries: Vec<String> =
        cases.iter().map(|_| client.issued(r#"{"payload":"canary"}"#).token).collect();
    let before = answered(&server);
    std::thread::scope(|scope| {
        for first in 0..CLIENTS {
            let (proxy, cases, canaries) = (&proxy, &cases, &canaries);
            scope.spawn(move || {
                for at in (first..cases.len()).step_by(CLIENTS) {
                    let canary = canary_request(&canaries[at]);
                    let attack = cases[at].expand(&canary);
                    proxy.exchange(&[&attack, canary.as_bytes()].concat());
                }
            });
        }
    });
    let count = answered(&server) - before;
    // A proxy writes its log when an exchange is over, which may be after its answer.
    eventually("the proxy has forwarded whatever was answered", || {
        proxy.forwarded().len() as u64 >= count
    });
    let spent: Vec<&str> = canaries
        .iter()
        .map(String::as_str)
        .filter(|token| client.resolve(token).status == 404)
        .collect();
    let forwarded = proxy.forwarded();
    assert_eq!(smuggled(&spent, &forwarded), [""; 0], "smuggled through {}", kind.name);
    assert!(spent.len() > 10, "{} forwards nothing: {} canaries spent", kind.name, spent.len());
    volume::tell(
        &format!("smuggling_through_{}", kind.name),
        &[
            ("cases", cases.len() as u64),
            ("forwarded", forwarded.len() as u64),
            ("answered", count),
            ("canaries_spent_in_the_open", spent.len() as u64),
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

#[test]
fn p8_a_smuggled_canary_is_noticed() {
    let forwarded = ["/v1/tokens/one/consume".to_owned(), "/v1/resolve".to_owned()];
    assert_eq!(smuggled(&["one", "two"], &forwarded), ["two"]);
}
