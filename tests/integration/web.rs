//! Checks that reject pages in a browser (`Content-Type`, `Host`, `Origin` and `Sec-Fetch-Site`),
//! and accept programs, proxies and probes. `browser` tries the same with a real browser.

use crate::access::Keys;
use crate::client::{assert_contract, expect, expect_naming};
use crate::raw::{Conn, Response};
use crate::server::Server;

const BODY: &str = r#"{"payload":1}"#;
const JSON: &str = "Content-Type: application/json";
const UNKNOWN: &str = "/v1/tokens/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A request with these header lines and nothing else.
fn sent(address: std::net::SocketAddr, line: &str, headers: &[&str], body: &str) -> Response {
    let mut request = format!("{line} HTTP/1.1\r\n");
    for header in headers {
        request += &format!("{header}\r\n");
    }
    if !body.is_empty() {
        request += &format!("Content-Length: {}\r\n", body.len());
    }
    let mut conn = Conn::open(address).expect("connects");
    conn.send((request + "\r\n" + body).as_bytes()).expect("sends");
    conn.response().expect("an answer")
}

fn issue(server: &Server, headers: &[&str]) -> Response {
    let response = sent(server.data, "POST /v1/tokens", headers, BODY);
    assert_contract(&response);
    response
}

#[test]
fn a_body_says_that_it_is_json() {
    let server = Server::shared();
    for kind in ["application/json", "APPLICATION/Json", "application/json; a=b; charset=UTF-8"] {
        expect(&issue(&server, &["Host: a", &format!("Content-Type: {kind}")]), 201);
    }
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""] {
        let refused = issue(&server, &["Host: a", &format!("Content-Type: {kind}")]);
        expect_naming(&refused, 415, "Content-Type");
    }
    expect(&issue(&server, &["Host: a"]), 415);
    expect(&issue(&server, &["Host: a", JSON, "Content-Type: text/plain"]), 415);
    // Without a body no type is needed, and a given type is accepted.
    let consume = format!("POST {UNKNOWN}/consume");
    for headers in [&["Host: a"][..], &["Host: a", "Content-Type: text/plain"]] {
        expect(&sent(server.data, &consume, headers, ""), 404);
    }
    expect(&sent(server.data, &consume, &["Host: a"], "{}"), 415);
    expect(&sent(server.data, &consume, &["Host: a", JSON], "{}"), 404);
}

/// On the hot path and through hyper.
#[test]
fn without_keys_a_host_is_one_that_no_site_can_own() {
    let server = Server::fresh_with(|launch| {
        launch.flag("--allow-host", "pay.example,.shop.example").flag("--workers", "1")
    });
    for (host, status) in [
        ("127.0.0.1:7450", 404),
        ("10.1.2.3", 404),
        ("[::1]:7450", 404),
        ("LOCALHOST", 404),
        ("a.localhost.:80", 404),
        ("jeton", 404),
        ("jeton.", 404),
        ("nas.local", 404),
        ("jeton.pay.svc", 404),
        ("jeton.pay.svc.cluster.local:7450", 404),
        ("db.prod.internal", 404),
        ("Pay.Example:443", 404),
        ("a.b.shop.example", 404),
        ("shop.example.", 404),
        ("attacker.example", 403),
        ("a.pay.example", 403),
        ("xshop.example", 403),
        ("127.0.0.1.attacker.example", 403),
        ("localhost.attacker.example", 403),
        ("local", 404),
        ("1.2.3", 403),
    ] {
        let host = format!("Host: {host}");
        let by_hot_path = sent(server.data, &format!("GET {UNKNOWN}"), &[&host], "");
        let by_hyper = sent(server.data, &format!("GET {UNKNOWN}"), &[&host, "X-Other: 1"], "");
        for response in [by_hot_path, by_hyper] {
            assert_eq!(response.status, status, "{host}");
            assert_contract(&response);
        }
        let changed = issue(&server, &[&host, JSON]).status;
        assert_eq!(changed, if status == 404 { 201 } else { 403 }, "{host}");
        let stats = sent(server.admin, "GET /v1/stats", &[&host], "").status;
        assert_eq!(stats, if status == 404 { 200 } else { 403 }, "{host}");
    }
    // An accepted Host does not imply that another one on the same connection is accepted.
    let get = |host: &str| format!("GET {UNKNOWN} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let mut conn = Conn::open(server.data).expect("connects");
    for (host, status) in [("a", 404), ("a", 404), ("attacker.example", 403), ("b", 404)] {
        conn.send(get(host).as_bytes()).expect("sends");
        expect(&conn.response().expect("an answer"), status);
    }
    // A request without these headers is from a program, and probes are answered in any case.
    let mut conn = Conn::open(server.data).expect("connects");
    conn.send(format!("GET {UNKNOWN} HTTP/1.0\r\n\r\n").as_bytes()).expect("sends");
    expect(&conn.response().expect("an answer"), 404);
    for path in ["/healthz", "/readyz"] {
        let headers = ["Host: attacker.example", "Origin: null", "Sec-Fetch-Site: cross-site"];
        expect(&sent(server.admin, &format!("GET {path}"), &headers, ""), 200);
    }
    let refused = issue(&server, &["Host: attacker.example", JSON]);
    expect_naming(&refused, 403, "--allow-host");
    let said = server.stderr();
    assert_eq!(said.matches("--allow-host").count(), 1, "once a minute: {said}");
    assert!(!said.contains("attacker"), "{said}");
}

#[test]
fn an_asterisk_allows_every_host() {
    let server = Server::fresh_with(|launch| launch.flag("--allow-host", "*"));
    expect(&issue(&server, &["Host: attacker.example", JSON]), 201);
}

/// Each with the answer of a server that accepts `https://shop.example` and `null`, and of one that
/// does not.
#[test]
fn a_page_of_another_site_is_refused() {
    let plain = Server::fresh();
    let allowing =
        Server::fresh_with(|launch| launch.flag("--allow-origin", "https://shop.example,null"));
    for (headers, without, with) in [
        (&[][..], 201, 201),
        (&["Sec-Fetch-Site: none"], 201, 201),
        (&["Sec-Fetch-Site: same-origin"], 201, 201),
        // A proxy has rewritten Host, unknown to the browser.
        (&["Sec-Fetch-Site: same-origin", "Origin: https://pay.example"], 201, 201),
        (&["Origin: http://jeton:7450"], 201, 201),
        (&["Origin: https://JETON:7450"], 201, 201),
        (&["Origin: http://jeton"], 403, 403),
        (&["Origin: http://jeton:7451"], 403, 403),
        (&["Origin: http://attacker.example"], 403, 403),
        (&["Origin: null"], 403, 201),
        (&["Origin: https://shop.example"], 403, 201),
        (&["Origin: https://shop.example", "Sec-Fetch-Site: cross-site"], 403, 201),
        (&["Origin: https://shop.example:443"], 403, 403),
        (&["Origin: http://shop.example"], 403, 403),
        (&["Origin: https://a.shop.example"], 403, 403),
        (&["Origin: https://shop.example", "Origin: http://jeton:7450"], 403, 403),
        (&["Sec-Fetch-Site: cross-site"], 403, 403),
        (&["Sec-Fetch-Site: same-site"], 403, 403),
        (&["Sec-Fetch-Site: anything"], 403, 403),
        (&["Sec-Fetch-Site: none", "Sec-Fetch-Site: cross-site"], 403, 403),
    ] {
        let headers = [&["Host: jeton:7450", JSON], headers].concat();
        assert_eq!(issue(&plain, &headers).status, without, "{headers:?}");
        assert_eq!(issue(&allowing, &headers).status, with, "{headers:?}, allowed");
    }
    let foreign = ["Host: a", "Sec-Fetch-Site: cross-site"];
    expect(&sent(plain.data, &format!("GET {UNKNOWN}"), &foreign, ""), 403);
    expect(&sent(plain.admin, "GET /v1/stats", &foreign, ""), 403);
    expect(&sent(plain.admin, "GET /metrics", &["Host: a", "Origin: http://b"], ""), 403);
    // A link to the first page of the admin listener may be followed.
    let followed = [&foreign[..], &["Sec-Fetch-Mode: navigate"]].concat();
    expect(&sent(plain.admin, "GET /", &followed, ""), 200);
    expect(&sent(plain.admin, "GET /v1/stats", &followed, ""), 403);
}

#[test]
fn an_allowed_page_reads_its_answers_and_asks_beforehand() {
    let server = Server::fresh_with(|launch| launch.flag("--allow-origin", "https://shop.example"));
    let origin = "Origin: https://shop.example";
    let may_read = |response: &Response| {
        assert_eq!(response.header("access-control-allow-origin"), Some("https://shop.example"));
        assert_eq!(response.header("vary"), Some("origin"));
    };
    let issued = issue(&server, &["Host: a", JSON, origin]);
    expect(&issued, 201);
    may_read(&issued);
    let missed = sent(server.data, &format!("GET {UNKNOWN}"), &["Host: a", origin], "");
    expect(&missed, 404);
    may_read(&missed);
    let ask = "Access-Control-Request-Method: POST";
    let preflight = sent(server.data, "OPTIONS /v1/tokens", &["Host: a", origin, ask], "");
    expect(&preflight, 204);
    may_read(&preflight);
    assert_eq!(preflight.header("access-control-allow-methods"), Some("POST"));
    let allowed = preflight.header("access-control-allow-headers").expect("headers");
    for name in ["authorization", "content-type", "idempotency-key"] {
        assert!(allowed.contains(name), "{allowed}");
    }
    let of_admin = ["Host: a", origin, "Access-Control-Request-Method: GET"];
    let preflight = sent(server.admin, "OPTIONS /v1/stats", &of_admin, "");
    expect(&preflight, 204);
    may_read(&preflight);
    assert_eq!(preflight.header("access-control-allow-methods"), Some("GET, HEAD"));
    may_read(&sent(server.admin, "GET /v1/stats", &["Host: a", origin], ""));
    let foreign = ["Host: a", "Origin: http://attacker.example", ask];
    let refused = sent(server.data, "OPTIONS /v1/tokens", &foreign, "");
    expect(&refused, 403);
    assert_eq!(refused.header("access-control-allow-origin"), None);
    let own = sent(server.data, "OPTIONS /v1/tokens", &["Host: a", ask], "");
    expect(&own, 405);
}

/// With keys any Host is accepted, and a request with a key is accepted from any page.
#[test]
fn with_keys_pages_are_refused_what_needs_none() {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    let key = format!("Authorization: {}", keys.add("shop", "issue,resolve", &[]));
    let server = Server::fresh_with(|launch| {
        launch.flag("--keys", keys.path()).flag("--anonymous", "shop:resolve")
    });
    let get = format!("GET {UNKNOWN}");
    let foreign = ["Host: attacker.example", "Origin: http://attacker.example:8080"];
    expect(&sent(server.data, &get, &["Host: attacker.example"], ""), 404);
    expect(&sent(server.data, &get, &foreign, ""), 403);
    expect(&sent(server.data, &get, &[&foreign[..], &[&key]].concat(), ""), 404);
    expect(&issue(&server, &[&foreign[..], &[&key, JSON]].concat()), 201);
}

#[test]
fn flags_that_name_no_host_and_no_origin_are_mistakes() {
    for (flag, value) in [
        ("--allow-host", "http://pay.example"),
        ("--allow-host", "pay.example:80"),
        ("--allow-host", ""),
        ("--allow-origin", "shop.example"),
        ("--allow-origin", "https://shop.example/"),
        ("--allow-origin", "https://Shop.example"),
        ("--allow-origin", "*"),
    ] {
        let dir = tempfile::tempdir().expect("a folder");
        let refused = crate::server::Launch::on(dir.path()).flag(flag, value).try_start();
        let said = refused.err().expect("a mistake").stderr;
        assert!(said.contains(&format!("{flag} must be ")), "{said}");
    }
}
