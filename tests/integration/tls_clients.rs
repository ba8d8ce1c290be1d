//! TLS clients: client certificates, HTTP/2 by ALPN, curl, and the client commands.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};
use tokio_rustls::TlsConnector;

use crate::pki::{Ca, Client, Files, Identity, TlsConn, connect, put};
use crate::raw::{PATIENCE, Response, request};
use crate::server::{Launch, Server, jeton, output};
use crate::support::{eventually, not_run};
use crate::traces::{ACCEPTED, Collector, PARENT};

/// A server with keys and a CA for client certificates.
struct Mutual {
    server: Server,
    /// The CA that the clients trust.
    ca: Ca,
    /// The CA that the server trusts.
    clients: Ca,
    files: Files,
    keys: PathBuf,
    dir: tempfile::TempDir,
}

fn run_keys(args: &[&str], keys: &std::path::Path) -> Output {
    output(jeton().arg("keys").args(args).arg("--keys").arg(keys))
}

/// Adds a key and returns it as the header's value.
fn add_key(keys: &std::path::Path, args: &[&str]) -> String {
    let added = run_keys(&[&["add"], args].concat(), keys);
    assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    format!("Bearer {}", String::from_utf8(added.stdout).expect("UTF-8").trim())
}

impl Mutual {
    fn new(settings: impl FnOnce(Launch) -> Launch) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let (ca, clients) = (Ca::new("servers"), Ca::new("clients"));
        let files = Files::in_dir(dir.path(), &ca.issue(&["127.0.0.1"]), &ca);
        let (client_ca, keys) = (dir.path().join("clients.pem"), dir.path().join("keys.toml"));
        put(&client_ca, &clients.pem);
        add_key(&keys, &["--scope", "issue,resolve", "--certificate", "shop.example"]);
        let text = |path: &PathBuf| path.to_str().expect("UTF-8").to_owned();
        let launch = Launch::on(&dir.path().join("data"))
            .flag("--keys", &text(&keys))
            .flag("--tls-cert", &text(&files.cert))
            .flag("--tls-key", &text(&files.key))
            .flag("--tls-client-ca", &text(&client_ca))
            // Retries until the server has loaded the new key.
            .flag("--anonymous-miss-limit", "0");
        let server = settings(launch).start();
        Self { server, ca, clients, files, keys, dir }
    }

    /// A client with a certificate of this name.
    fn client(&self, name: &str) -> Client {
        self.ca.client().with(&self.clients.issue(&[name]))
    }

    fn add(&self, args: &[&str]) -> String {
        add_key(&self.keys, args)
    }

    /// The id of the key that names the certificate of `name`.
    fn id_of(&self, name: &str) -> String {
        let listed = run_keys(&["list"], &self.keys).stdout;
        let listed = String::from_utf8(listed).expect("UTF-8");
        let line = listed.lines().find(|line| line.ends_with(name)).expect("it is listed");
        line.split(' ').next().expect("an id").to_owned()
    }
}

fn ask(conn: &mut TlsConn, key: &str, method: &str, path: &str, body: &str) -> Response {
    let mut headers = vec![("Authorization", key), ("Content-Type", "application/json")];
    headers.retain(|(name, value)| match *name {
        "Authorization" => !value.is_empty(),
        _ => !body.is_empty(),
    });
    conn.send(&request(method, path, &headers, body.as_bytes())).expect("sends");
    conn.response().expect("an answer")
}

/// Whether the server has accepted this client, with any answer.
fn is_let_in(client: &Client, address: SocketAddr) -> bool {
    let Ok(mut conn) = client.connect(address) else { return false };
    // With TLS 1.3 the client's handshake ends before the server has checked its certificate.
    conn.send(&request("GET", "/v1/x", &[], b"")).is_ok() && conn.response().is_ok()
}

const PAYLOAD: &str = r#"{"payload":1}"#;

#[test]
fn the_traceparent_of_a_certificate_is_believed_on_the_hot_path_too() {
    let collector = Collector::start(ACCEPTED);
    let mutual = Mutual::new(|launch| {
        launch.flag("--otlp", &collector.url()).env("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    });
    let mut conn = mutual.client("shop.example").connect(mutual.server.data).expect("a handshake");
    let issued = ask(&mut conn, "", "POST", "/v1/tokens", PAYLOAD);
    let path = format!("/v1/tokens/{}", issued.json()["token"].as_str().expect("a token"));
    conn.send(&request("GET", &path, &[("traceparent", PARENT)], b"")).expect("sent");
    assert_eq!(conn.response().expect("an answer").text(), "1");
    // What waits is sent at the stop.
    mutual.server.stop_well();
    let (bytes, parent) = (collector.bytes(), &PARENT[36..52]);
    let parent: Vec<u8> = (0..8)
        .map(|at| u8::from_str_radix(&parent[2 * at..2 * at + 2], 16).expect("hexadecimal"))
        .collect();
    assert!(bytes.windows(8).any(|window| window == parent), "its span has the caller's as parent");
}

#[test]
fn a_certificate_stands_for_the_key_that_names_it() {
    let mutual = Mutual::new(|launch| launch);
    let Mutual { server, ca, clients, .. } = &mutual;
    let shop = clients.issue(&["shop.example", "other.example"]);
    let other = mutual.add(&["--scope", "resolve", "--namespace", "elsewhere"]);
    for version in [&TLS12, &TLS13] {
        let client = ca.client().with(&shop).only(version);
        let mut conn = client.connect(server.data).expect("a handshake");
        let issued = ask(&mut conn, "", "POST", "/v1/tokens", PAYLOAD);
        assert_eq!(issued.status, 201, "{}", issued.text());
        let path = format!("/v1/tokens/{}", issued.json()["token"].as_str().expect("a token"));
        // By the hot path and by the service.
        assert_eq!(ask(&mut conn, "", "GET", &path, "").text(), "1");
        assert_eq!(ask(&mut conn, "", "GET", &format!("{path}/status"), "").status, 200);
        assert_eq!(ask(&mut conn, "", "DELETE", &path, "").status, 403, "not one of its scopes");
        // A presented key takes precedence.
        eventually("the new key is known", || {
            ask(&mut conn, &other, "GET", &path, "").status == 404
        });
        assert_eq!(ask(&mut conn, "Bearer x", "GET", &path, "").status, 401);
        assert_eq!(ask(&mut conn, "", "GET", &path, "").status, 200);
    }
    // A client that resumes with a ticket has the same identity.
    let config = ca.client().with(&shop).config();
    for n in 0..2 {
        let mut conn = connect(config.clone(), server.data).expect("a handshake");
        assert_eq!(ask(&mut conn, "", "POST", "/v1/tokens", PAYLOAD).status, 201);
        let kind = conn.stream().conn.handshake_kind();
        assert_eq!(kind == Some(HandshakeKind::Resumed), n == 1);
    }
}

#[test]
fn p10_whom_no_key_names_is_told_what_a_wrong_key_is_told() {
    let mutual = Mutual::new(|launch| launch.flag("--anonymous", "default:resolve"));
    let Mutual { server, ca, clients, .. } = &mutual;
    let unknown = clients.issue(&["unknown.example"]);
    // The second name of a certificate is ignored.
    let second = clients.issue(&["unknown.example", "shop.example"]);
    let mut said = Vec::new();
    for (identity, key) in [(Some(&unknown), ""), (Some(&second), ""), (None, "Bearer x")] {
        let client = identity.map_or_else(|| ca.client(), |identity| ca.client().with(identity));
        let mut conn = client.connect(server.data).expect("a handshake");
        for path in ["/v1/tokens/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "/v1/nothing"] {
            let response = ask(&mut conn, key, "GET", path, "");
            assert_eq!(response.status, 401, "{path}");
            said.push(response.without_date());
        }
    }
    said.dedup();
    assert_eq!(said.len(), 1);
    // Without a certificate a client has anonymous access as usual.
    let mut conn = ca.client().connect(server.data).expect("a handshake");
    let path = "/v1/tokens/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    assert_eq!(ask(&mut conn, "", "GET", path, "").status, 404);
}

/// A CA that is constrained in DNS names can put any text into a URI or a common name: these count
/// only if the key names that field.
#[test]
fn a_name_counts_only_in_the_field_that_the_key_names() {
    let mutual = Mutual::new(|launch| launch);
    let Mutual { server, ca, clients, keys, .. } = &mutual;
    let ask_as = |uri: &str, common_name: &str| {
        let identity = clients.issue_named(uri, common_name);
        let mut conn = ca.client().with(&identity).connect(server.data).expect("a handshake");
        ask(&mut conn, "", "POST", "/v1/tokens", PAYLOAD).status
    };
    assert_eq!(ask_as("spiffe://x/y", "shop.example"), 401, "the key names a DNS name");
    assert_eq!(ask_as("shop:shop.example", "other"), 401);
    mutual.add(&["--scope", "issue", "--certificate", "cn:till.example"]);
    mutual.add(&["--scope", "issue", "--certificate", "uri:spiffe://shop/pay"]);
    eventually("the common name counts", || ask_as("spiffe://x/y", "till.example") == 201);
    assert_eq!(ask_as("spiffe://shop/pay", "other"), 201);
    assert_eq!(ask_as("till:till.example", "other"), 401);
    let refused =
        run_keys(&["add", "--scope", "issue", "--certificate", "spiffe://shop/pay"], keys);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("write \"uri:spiffe://shop/pay\""), "{said}");
}

#[test]
fn a_certificate_that_is_not_verified_ends_the_handshake() {
    let Mutual { server, ca, clients, .. } = &Mutual::new(|launch| launch);
    let stranger = Ca::new("clients").issue(&["shop.example"]);
    let expired = clients.issue_expired(&["shop.example"]);
    let servers_own = ca.issue(&["shop.example"]);
    for version in [&TLS12, &TLS13] {
        let client = ca.client().only(version);
        for identity in [&stranger, &expired, &servers_own] {
            for address in [server.data, server.admin] {
                assert!(!is_let_in(&client.clone().with(identity), address));
            }
        }
        let good = clients.issue(&["whoever.example"]);
        assert!(is_let_in(&client.clone().with(&good), server.data));
        assert!(is_let_in(&client, server.data), "who has none may still have a key");
    }
    assert!(!server.stderr().contains("shop.example"), "{}", server.stderr());
}

#[test]
fn a_client_ca_that_is_taken_away_counts_no_more_not_even_by_ticket() {
    let mutual = Mutual::new(|launch| launch);
    let (config, path) = (mutual.client("shop.example").config(), "/v1/tokens");
    let comes_in = || {
        let Ok(mut conn) = connect(config.clone(), mutual.server.data) else { return false };
        conn.send(&request("GET", path, &[], b"")).is_ok() && conn.response().is_ok()
    };
    assert!(comes_in() && comes_in());
    put(&mutual.dir.path().join("clients.pem"), &Ca::new("others").pem);
    eventually("it is refused", || !comes_in());
    assert!(is_let_in(&mutual.ca.client(), mutual.server.data));
}

#[test]
fn a_revoked_or_expired_key_takes_its_certificate_along() {
    let mutual = Mutual::new(|launch| launch);
    let Mutual { server, ca, clients, .. } = &mutual;
    let connect = |name: &str| {
        let client = ca.client().with(&clients.issue(&[name]));
        client.connect(server.data).expect("a handshake")
    };
    let mut running = connect("shop.example");
    let path = "/v1/tokens/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let mut may = || ask(&mut running, "", "GET", path, "").status;
    assert_eq!(may(), 404);
    mutual.add(&["--scope", "resolve", "--certificate", "gone.example", "--expires", "1ms"]);
    let id = mutual.id_of("shop.example");
    assert!(run_keys(&["revoke", &id], &mutual.keys).status.success());
    eventually("the running connection is refused", || may() == 401);
    assert_eq!(ask(&mut connect("gone.example"), "", "GET", path, "").status, 401);
    // The name can be used by another key again.
    mutual.add(&["--scope", "resolve", "--certificate", "shop.example"]);
    eventually("it is known again", || may() == 404);
}

#[test]
fn a_certificate_with_the_scope_metrics_opens_the_admin_listener() {
    let mutual = Mutual::new(|launch| launch);
    let Mutual { server, ca, clients, .. } = &mutual;
    let args = ["--namespace", "*", "--scope", "metrics", "--certificate", "operator"];
    let key = mutual.add(&args);
    let get = |identity: Option<&Identity>, key: &str, path: &str| {
        let client = identity.map_or_else(|| ca.client(), |identity| ca.client().with(identity));
        let mut conn = client.connect(server.admin).expect("a handshake");
        ask(&mut conn, key, "GET", path, "").status
    };
    let operator = clients.issue(&["operator"]);
    eventually("the key is known", || get(None, &key, "/metrics") == 200);
    assert_eq!(get(Some(&operator), "", "/metrics"), 200);
    assert_eq!(get(Some(&operator), "Bearer x", "/metrics"), 401);
    assert_eq!(get(Some(&clients.issue(&["shop.example"])), "", "/metrics"), 403);
    assert_eq!(get(Some(&clients.issue(&["unknown"])), "", "/metrics"), 401);
    assert_eq!([get(None, "", "/metrics"), get(None, "", "/healthz")], [401, 200]);
}

#[test]
fn two_living_keys_do_not_share_a_certificate() {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = dir.path().join("keys.toml");
    let add = ["add", "--scope", "issue", "--certificate", "shop.example"];
    assert!(run_keys(&add, &keys).status.success());
    let before = std::fs::read(&keys).expect("the file");
    let twice = run_keys(&add, &keys);
    assert_eq!(twice.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&twice.stderr).contains("have the same certificate"));
    assert!(twice.stdout.is_empty() && std::fs::read(&keys).expect("the file") == before);
    let long = "x".repeat(256);
    for name in ["", "a\nb", &long] {
        let refused = run_keys(&["add", "--scope", "issue", "--certificate", name], &keys);
        assert_eq!(refused.status.code(), Some(2), "{name:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("--certificate"));
    }
}

#[test]
fn http2_is_chosen_by_alpn_and_admits_certificates_too() {
    let Mutual { server, ca, clients, .. } = &Mutual::new(|launch| launch);
    let client = ca.client().alpn(&["h2"]).with(&clients.issue(&["shop.example"]));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let exchange = async {
        let socket = tokio::net::TcpStream::connect(server.data).await.expect("connects");
        let connector = TlsConnector::from(client.config());
        let name = rustls_pki_types::ServerName::from(server.data.ip());
        let stream = connector.connect(name, socket).await.expect("a handshake");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let io = TokioIo::new(stream);
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.expect("HTTP/2");
        tokio::spawn(connection);
        let payload = format!("\"{}\"", "x".repeat(60_000));
        let mut send = async |method: &str, path: &str, body: String| {
            let request = hyper::Request::builder()
                .method(method)
                .uri(format!("https://127.0.0.1{path}"))
                .header("content-type", "application/json")
                .body(Full::<Bytes>::from(body))
                .expect("a request");
            let response = sender.send_request(request).await.expect("an answer");
            assert_eq!(response.version(), hyper::Version::HTTP_2);
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.expect("whole").to_bytes();
            (status, String::from_utf8(body.to_vec()).expect("UTF-8"))
        };
        let body = format!("{{\"payload\":{payload}}}");
        let (status, issued) = send("POST", "/v1/tokens", body).await;
        assert_eq!(status, 201, "{issued}");
        let issued: serde_json::Value = serde_json::from_str(&issued).expect("JSON");
        let path = format!("/v1/tokens/{}", issued["token"].as_str().expect("a token"));
        for _ in 0..20 {
            assert!(send("GET", &path, String::new()).await == (200, payload.clone()));
        }
    };
    runtime
        .expect("a runtime")
        .block_on(async { tokio::time::timeout(PATIENCE, exchange).await })
        .expect("the server answers");
}

#[test]
fn the_client_commands_speak_tls() {
    let mutual = Mutual::new(|launch| launch);
    let shop = mutual.clients.issue(&["shop.example"]);
    let dir = mutual.dir.path().join("client");
    std::fs::create_dir(&dir).expect("a folder");
    let own = Files::in_dir(&dir, &shop, &mutual.ca);
    let url = format!("https://{}", mutual.server.data);
    let run = |args: &[&str], flags: &[(&str, &PathBuf)]| {
        let mut command = jeton();
        // The system's roots consist of one certificate, which is the wrong one.
        command.args(args).args(["--server", &url]).env_remove("SSL_CERT_DIR");
        command.env("SSL_CERT_FILE", mutual.dir.path().join("clients.pem"));
        for (flag, file) in flags {
            command.arg(flag).arg(file);
        }
        let output = output(&mut command);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    };
    let all = [("--ca", &own.ca), ("--cert", &own.cert), ("--key", &own.key)];
    let (done, token, said) = run(&["issue", "{\"a\":1}"], &all);
    assert!(done, "{said}");
    assert_eq!(run(&["resolve", &token], &all).1, "{\"a\":1}");
    let (done, _, said) = run(&["resolve", &token], &all[..1]);
    assert!(!done && said.contains("a key is needed"), "{said}");
    let (done, _, said) = run(&["resolve", &token], &[]);
    assert!(!done && said.contains("trusted CA; --ca FILE"), "{said}");
    let (done, _, said) = run(&["resolve", &token], &[("--ca", &own.key)]);
    assert!(!done && said.contains("--ca") && said.contains("no certificate"), "{said}");
    let (done, _, said) = run(&["resolve", &token], &all[..2]);
    assert!(!done && said.contains("--key"), "{said}");
    let plain = output(
        jeton()
            .args(["resolve", &token, "--server", "http://127.0.0.1:1"])
            .args(["--ca", own.ca.to_str().expect("UTF-8")]),
    );
    assert!(String::from_utf8_lossy(&plain.stderr).contains("https://"));
}

#[test]
fn curl_speaks_it() {
    let Ok(version) = Command::new("curl").arg("--version").output() else {
        not_run("curl_speaks_it", "there is no curl");
        return;
    };
    let has_http2 = String::from_utf8_lossy(&version.stdout).contains("HTTP2");
    let mutual = Mutual::new(|launch| launch);
    let shop = mutual.clients.issue(&["shop.example"]);
    let dir = mutual.dir.path().join("client");
    std::fs::create_dir(&dir).expect("a folder");
    let own = Files::in_dir(&dir, &shop, &mutual.ca);
    let url = format!("https://{}/v1/tokens", mutual.server.data);
    let curl = |more: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "30", "-w", " %{http_code} %{http_version}"]);
        command.args(["-H", "Content-Type: application/json", "-d", PAYLOAD, &url]);
        command.arg("--cacert").arg(&mutual.files.ca).args(more);
        String::from_utf8(output(&mut command).stdout).expect("UTF-8")
    };
    let text = |path: &PathBuf| path.to_str().expect("UTF-8").to_owned();
    let (cert, key) = (text(&own.cert), text(&own.key));
    assert!(curl(&["--http1.1"]).ends_with(" 401 1.1"));
    let with = ["--cert", &cert, "--key", &key];
    for max in ["1.2", "1.3"] {
        let said = curl(&[&with[..], &["--http1.1", "--tls-max", max]].concat());
        assert!(said.ends_with(" 201 1.1"), "{max}: {said}");
    }
    if has_http2 {
        let said = curl(&with);
        assert!(said.ends_with(" 201 2"), "{said}");
    } else {
        not_run("curl_speaks_it by HTTP/2", "this curl has no HTTP/2");
    }
    assert!(curl(&["--tls-max", "1.1"]).ends_with(" 000 0"), "TLS 1.1 is not spoken");
}
