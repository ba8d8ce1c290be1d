//! From the start of a server to its end: signals before it is ready, and the delay before a drain.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::access::Keys;
use crate::client::{Client, expect};
use crate::cluster_serve::lab::{Lab, await_ready, started};
use crate::raw::{Conn, Response, request};
use crate::server::{Launch, Server, jeton, output, wait};
use crate::support::eventually;

fn get(admin: SocketAddr, path: &str) -> std::io::Result<Response> {
    let mut conn = Conn::open(admin)?;
    conn.send(&request("GET", path, &[], b""))?;
    conn.response()
}

/// The exit code of `jeton health`, and what it said.
fn health(server: SocketAddr, flags: &[&str]) -> (Option<i32>, String) {
    let url = format!("http://{server}");
    let output = output(jeton().args(["health", "--server", &url]).args(flags));
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).expect("UTF-8"))
}

fn free_address() -> SocketAddr {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    taken.local_addr().expect("its address")
}

/// Whether the process has a handler for SIGTERM.
fn handles_terminate(child: &Child) -> bool {
    const TERM: u32 = 15;
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it runs");
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = u64::from_str_radix(caught.expect("a mask").trim(), 16).expect("a mask");
    caught & (1 << (TERM - 1)) != 0
}

/// The first process of a container gets a signal only if it has a handler.
#[test]
fn signals_are_handled_before_the_server_is_ready() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let secret = dir.path().join("secret.key");
    fs::write(&secret, [7; 32]).expect("a secret");
    fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .expect("its mode");
    for signal in [Signal::TERM, Signal::INT] {
        let admin = free_address();
        // A node of a cluster that cannot be reached never becomes ready.
        let mut child = jeton()
            .args(["serve", "--listen", "127.0.0.1:0", "--cluster", "nats://127.0.0.1:1"])
            .args(["--admin-listen", &admin.to_string(), "--secret-file"])
            .arg(&secret)
            .arg("--data-dir")
            .arg(dir.path().join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        eventually("it answers that it is not ready", || {
            get(admin, "/readyz").is_ok_and(|answer| answer.status == 503)
        });
        assert!(handles_terminate(&child), "SIGTERM has no handler");
        kill_process(Pid::from_child(&child), signal).expect("it runs");
        wait(&mut child);
        let ended = child.wait_with_output().expect("its output");
        let said = String::from_utf8(ended.stderr).expect("UTF-8");
        assert_eq!(ended.status.code(), Some(0), "{said}");
        assert!(said.contains("stopped before the server was ready"), "{said}");
    }
}

/// The log is cut, read, or being continued at that moment.
#[test]
fn p1_p5_a_signal_at_any_time_of_a_start_loses_nothing() {
    const TOKENS: usize = 4_000;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = Launch::on(dir.path()).start();
    let item = format!(r#"{{"payload":"{}","ttl":"1h"}}"#, "x".repeat(2_000));
    let body = format!(r#"{{"tokens":[{}]}}"#, vec![item; 500].join(","));
    let mut client = Client::of(&server);
    let mut tokens: Vec<String> = Vec::new();
    while tokens.len() < TOKENS {
        let issued = client.post("/v1/tokens/batch", &body);
        expect(&issued, 200);
        let results = issued.json()["results"].as_array().expect("results").clone();
        tokens.extend(results.iter().map(|one| one["token"].as_str().expect("one").to_owned()));
    }
    expect(&client.consume(&tokens[0]), 200);
    server.kill9();
    let mut early = 0;
    for delay_ms in [0, 5, 10, 20, 40, 60, 80, 120, 200, 400] {
        let mut child = jeton()
            .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .args(["--segment-size", "1MiB", "--log-min-size", "4MiB", "--data-dir"])
            .arg(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        eventually("it handles signals", || handles_terminate(&child));
        sleep(Duration::from_millis(delay_ms));
        kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
        wait(&mut child);
        let ended = child.wait_with_output().expect("its output");
        let said = String::from_utf8(ended.stderr).expect("UTF-8");
        assert_eq!(ended.status.code(), Some(0), "after {delay_ms} ms: {said}");
        early += usize::from(said.contains("stopped before the server was ready"));
    }
    assert_ne!(early, 0, "no signal came before the server was ready");
    let server = Launch::on(dir.path()).start();
    let mut client = Client::of(&server);
    expect(&client.resolve(&tokens[0]), 404);
    for token in tokens.iter().skip(1).step_by(37) {
        expect(&client.resolve(token), 200);
    }
    assert_eq!(server.tokens, TOKENS as u64 - 1);
}

/// Load balancers notice by its answer, and the other nodes go on.
#[test]
fn p1_a_node_of_a_cluster_serves_until_its_delay_is_over() {
    let Some(lab) = Lab::begun("drain delay of a node") else { return };
    let [mut one, two] = started(&[lab.node("a").flag("--drain-delay", "10m"), lab.node("b")]);
    [&one, &two].into_iter().for_each(await_ready);
    kill_process(one.pid(), Signal::TERM).expect("it runs");
    for path in ["/readyz", "/readyz?for=changes"] {
        eventually("it is not ready", || {
            let answer = get(one.admin, path);
            answer.is_ok_and(|answer| answer.status == 503 && answer.text().starts_with("draining"))
        });
    }
    expect(&get(one.admin, "/healthz").expect("an answer"), 200);
    let token = Client::of(&one).issued(r#"{"payload":"kept","ttl":"1h"}"#).token;
    expect(&Client::of(&two).consume(&token), 200);
    // A plain resolve shows what this node has heard, which may be a moment late.
    eventually("it hears of the consume", || Client::of(&one).resolve(&token).status == 404);
    sleep(Duration::from_millis(600));
    assert!(one.is_running(), "{}", one.stderr());
    let (status, said) = one.stop(Signal::TERM);
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("second signal: the delay ends early"), "{said}");
    await_ready(&two);
    two.stop_well();
}

/// Without the delay a load balancer would send new connections to a port that refuses them.
#[test]
fn p1_a_server_with_a_delay_is_not_ready_and_serves_until_a_second_signal() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut server = Launch::on(dir.path()).flag("--drain-delay", "10m").start();
    kill_process(server.pid(), Signal::TERM).expect("it runs");
    eventually("it is not ready", || {
        get(server.admin, "/readyz").is_ok_and(|answer| answer.text().starts_with("draining"))
    });
    expect(&get(server.admin, "/readyz").expect("an answer"), 503);
    expect(&get(server.admin, "/healthz").expect("an answer"), 200);
    let metrics = get(server.admin, "/metrics").expect("an answer");
    assert!(metrics.text().contains("\njeton_ready 0\n"), "{}", metrics.text());
    assert_eq!(health(server.admin, &[]).0, Some(0));
    let (code, said) = health(server.admin, &["--ready"]);
    assert!(code == Some(1) && said.contains("draining"), "{code:?}: {said}");

    let token = Client::of(&server).issued(r#"{"payload":"kept","ttl":"1h"}"#).token;
    // Right behind the first signal this is the same request to stop.
    sleep(Duration::from_millis(600));
    assert!(server.is_running(), "{}", server.stderr());
    expect(&Client::of(&server).resolve(&token), 200);
    let (status, said) = server.stop(Signal::TERM);
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("second signal: the delay ends early"), "{said}");
    let server = Launch::on(dir.path()).start();
    expect(&Client::of(&server).resolve(&token), 200);
}

#[test]
fn a_delay_ends_by_itself() {
    let server = Server::fresh_with(|launch| launch.flag("--drain-delay", "200ms"));
    let (status, said) = server.stop(Signal::TERM);
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("draining") && said.contains("stopped"), "{said}");
}

#[test]
fn health_ends_by_what_the_server_says() {
    let server = Server::fresh();
    assert_eq!(health(server.admin, &[]), (Some(0), "alive\n".to_owned()));
    assert_eq!(health(server.admin, &["--ready"]), (Some(0), "ready\n".to_owned()));
    let (code, said) = health(server.data, &["--ready"]);
    assert!(code == Some(2) && said.contains("--admin-listen"), "{code:?}: {said}");
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    keys.add("default", "resolve", &[]);
    let server = Launch::on(&dir.path().join("data")).flag("--keys", keys.path()).start();
    assert_eq!(health(server.admin, &["--ready"]).0, Some(0), "no key is needed");
    let (code, said) = health(server.data, &["--ready"]);
    assert!(code == Some(2) && said.contains("--admin-listen"), "{code:?}: {said}");
    assert_eq!(health(free_address(), &[]).0, Some(3));
}
