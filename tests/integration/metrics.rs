//! `/metrics` as Prometheus reads it.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::access::Keys;
use crate::client::{Client, expect};
use crate::pki::{Ca, Files};
use crate::raw::{Conn, Response, request};
use crate::server::{Launch, Server, jeton, wait};
use crate::support::{eventually, not_run};

/// What Prometheus 2 and 3 send, and what it sends where only the text is configured.
const ACCEPTS: [(&str, bool); 4] = [
    (
        "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;\
         version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
        true,
    ),
    (
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
         application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;\
         escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
        true,
    ),
    ("text/plain;version=0.0.4;q=0.6,*/*;q=0.5", false),
    ("*/*", false),
];

fn get(admin: SocketAddr, path: &str, headers: &[(&str, &str)]) -> std::io::Result<Response> {
    let mut conn = Conn::open(admin)?;
    conn.send(&request("GET", path, headers, b""))?;
    conn.response()
}

fn scrape(server: &Server, accept: &str) -> Response {
    let answer = get(server.admin, "/metrics", &[("Accept", accept)]).expect("an answer");
    expect(&answer, 200);
    answer
}

/// The names and labels of all samples.
fn series(text: &str) -> BTreeSet<&str> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples.map(|line| line.rsplit_once(' ').expect("a value").0).collect()
}

#[test]
fn text_and_openmetrics_have_the_same_series() {
    let server = Server::fresh();
    Client::of(&server).issued(r#"{"payload":1}"#);
    let text = scrape(&server, "text/plain");
    for (accept, is_open) in ACCEPTS {
        let answer = scrape(&server, accept);
        let kind = answer.header("content-type").expect("a type");
        let expected = match is_open {
            true => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            false => "text/plain; version=0.0.4; charset=utf-8",
        };
        assert_eq!(kind, expected, "{accept}");
        assert_eq!(answer.text().ends_with("\n# EOF\n"), is_open, "{accept}");
        assert_eq!(series(answer.text()), series(text.text()), "{accept}");
    }
    assert!(text.text().contains("\n# TYPE jeton_issues_total counter\njeton_issues_total 1\n"));
    assert!(!text.text().contains("# EOF") && !text.text().contains("# UNIT"));
}

#[test]
fn promtool_has_nothing_to_say_about_the_metrics() {
    let dir = tempfile::tempdir().expect("a folder");
    let audit = dir.path().join("audit.log");
    let server = Server::fresh_with(|launch| {
        launch
            .flag("--audit", audit.to_str().expect("UTF-8"))
            .flag("--trusted-proxy", "192.0.2.1")
            .flag("--max-memory", "1GiB")
            .flag("--quota", "shop-a:issues=1")
    });
    Client::of(&server).issued(r#"{"payload":1}"#);
    let check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut check = match check {
        Ok(check) => check,
        Err(error) => return not_run("metrics", &format!("promtool: {error}")),
    };
    let text = scrape(&server, "text/plain");
    check.stdin.take().expect("piped").write_all(&text.body).expect("written");
    let said = check.wait_with_output().expect("it ends");
    assert!(said.status.success(), "{said:?}");
}

/// A gauge, if it is there.
fn gauge(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map(|value| value.parse().expect("a number"))
}

#[test]
fn limits_and_ends_are_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let ca = Ca::new("test authority");
    let files = Files::in_dir(dir.path(), &ca.issue(&["127.0.0.1"]), &ca);
    let keys = Keys::in_dir(dir.path());
    let root = keys.add("*", "metrics,backup", &["--expires", "20d"]);
    keys.add("shop-a", "issue", &["--expires", "never"]);
    let server = Launch::on(&dir.path().join("data"))
        .flag("--keys", keys.path())
        .flag("--tls-cert", files.cert.to_str().expect("UTF-8"))
        .flag("--tls-key", files.key.to_str().expect("UTF-8"))
        .flag("--max-memory", "1GiB")
        .flag("--max-connections", "100")
        .flag("--max-inflight", "128MiB")
        .flag("--queue", "77")
        .start();
    let ask = |method, path| {
        let mut conn = ca.client().connect(server.admin).expect("a connection");
        let request = request(method, path, &[("Authorization", &root)], b"");
        conn.send(&request).expect("sent");
        let answer = conn.response().expect("an answer");
        expect(&answer, 200);
        answer
    };
    let text = || ask("GET", "/metrics").text().to_owned();
    let now = crate::support::now_ms() as f64 / 1e3;
    let mut before = text();
    // A thread of its own looks at the disk; until it has, its gauges are left out.
    eventually("the disk of the log is known", || {
        before = text();
        gauge(&before, "jeton_data_disk_bytes").is_some()
    });
    for (name, value) in [
        ("jeton_memory_limit_bytes", 1_073_741_824.0),
        ("jeton_http_connections_limit", 100.0),
        ("jeton_http_inflight_limit_bytes", 134_217_728.0),
        ("jeton_queued_calls_limit", 77.0),
    ] {
        assert_eq!(gauge(&before, name), Some(value), "{name}");
    }
    let free = gauge(&before, "jeton_data_disk_free_bytes").expect("free bytes");
    assert!(free <= gauge(&before, "jeton_data_disk_bytes").expect("all bytes"));
    let days = (gauge(&before, "jeton_key_expiry_time_seconds").expect("a time") - now) / 86_400.0;
    assert!((19.9..20.1).contains(&days), "{days}");
    let end = gauge(&before, "jeton_certificate_expiry_time_seconds").expect("a time");
    assert_eq!(end, 2_208_988_800.0, "2040-01-01");
    assert_eq!(gauge(&before, "jeton_last_backup_time_seconds"), None);
    ask("POST", "/v1/backup");
    eventually("the backup is told", || {
        let moment = gauge(&text(), "jeton_last_backup_time_seconds");
        moment.is_some_and(|moment| (now - 1.0..now + 600.0).contains(&moment))
    });
}

/// A scraper with its key sees how far the start is; nobody else does.
#[test]
fn p10_metrics_take_keys_before_the_server_is_ready() {
    let dir = tempfile::tempdir().expect("a folder");
    let secret = dir.path().join("secret.key");
    std::fs::write(&secret, [7; 32]).expect("a secret");
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .expect("its mode");
    let keys = Keys::in_dir(dir.path());
    let scraper = keys.add("*", "metrics", &[]);
    let issuer = keys.add("default", "issue", &[]);
    let expired = keys.add("*", "metrics", &["--expires", "1ms"]);
    let revoked = keys.add("*", "metrics", &[]);
    keys.revoke(&revoked);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let admin = taken.local_addr().expect("its address");
    drop(taken);
    let mut child = jeton()
        // Nobody listens there, so it never becomes ready.
        .args(["serve", "--listen", "127.0.0.1:0", "--cluster", "nats://127.0.0.1:1"])
        .args(["--admin-listen", &admin.to_string(), "--keys", keys.path(), "--secret-file"])
        .arg(&secret)
        .arg("--data-dir")
        .arg(dir.path().join("data"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    let ask = |key: &str| get(admin, "/metrics", &[("Authorization", key)]);
    eventually("the key is known", || ask(&scraper).is_ok_and(|answer| answer.status == 200));
    let status = |key: &str| ask(key).expect("an answer").status;
    assert_eq!([&issuer, &expired, &revoked, "Bearer x"].map(status), [403, 401, 401, 401]);
    assert_eq!(get(admin, "/metrics", &[]).expect("an answer").status, 401);
    let metrics = ask(&scraper).expect("an answer");
    assert_eq!(gauge(metrics.text(), "jeton_ready"), Some(0.0));
    assert_eq!(gauge(metrics.text(), "jeton_issues_total"), Some(0.0));
    assert_eq!(gauge(metrics.text(), "jeton_tokens"), None, "it is not known yet");
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
    assert_eq!(wait(&mut child).code(), Some(0));
}

/// One resolve in 64 is measured, also where each comes alone.
#[test]
fn some_resolves_are_measured() {
    let server = Server::fresh_with(|launch| launch.flag("--workers", "1"));
    let mut client = Client::of(&server);
    let token = client.issued(r#"{"payload":1,"ttl":"1h"}"#).token;
    let counts = || {
        let text = scrape(&server, "text/plain").text().to_owned();
        let resolved = "jeton_http_requests_total{operation=\"resolve\",status=\"2xx\"}";
        let samples = gauge(&text, "jeton_resolve_seconds_count").expect("a count");
        (gauge(&text, resolved).expect("a count"), samples, text)
    };
    eventually("there are samples", || {
        (0..640).for_each(|_| expect(&client.resolve(&token), 200));
        counts().1 >= 10.0
    });
    let (resolved, samples, text) = counts();
    assert!(samples <= resolved / 64.0, "{samples} of {resolved}");
    let sum = gauge(&text, "jeton_resolve_seconds_sum").expect("a sum");
    assert!(sum > 0.0 && text.contains("jeton_resolve_seconds_bucket{le=\"0.00001\"}"), "{text}");
}
