//! `POST /oauth2/introspect` (RFC 7662) and `POST /oauth2/revoke` (RFC 7009): what gateways ask.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::access::{Keys, issued as issued_by};
use crate::client::Client;
use crate::raw::{Conn, Response, request};
use crate::server::{Launch, Server};
use crate::support::{millis, now_ms, wait_past};

const INTROSPECT: &str = "/oauth2/introspect";
const REVOKE: &str = "/oauth2/revoke";
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const UNKNOWN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const INACTIVE: &str = r#"{"active":false}"#;

/// Sends a request, and checks the rules for all answers of these paths.
fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Response {
    let mut conn = Conn::open(address).expect("connects");
    conn.send(&request(method, path, headers, body.as_bytes())).expect("sends");
    let response = conn.response().expect("an answer");
    assert_oauth(&response);
    response
}

/// OAuth's form of every answer.
pub fn assert_oauth(response: &Response) {
    let shown = response.without_date();
    assert_eq!(response.header("cache-control"), Some("no-store"), "{shown}");
    assert_eq!(response.header("pragma"), Some("no-cache"), "{shown}");
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{shown}");
    if response.status < 400 {
        return;
    }
    assert_eq!(response.header("content-type"), Some("application/json"), "{shown}");
    let error = response.json();
    assert_eq!(error.as_object().expect("an object").len(), 2, "{shown}");
    let description = error["error_description"].as_str().expect("a description");
    let is_plain = |byte| matches!(byte, b' ' | b'!' | b'#'..=b'[' | b']'..=b'~');
    assert!(description.bytes().all(is_plain), "RFC 6749, 5.2: {description}");
    let challenges = response.headers.iter().filter(|(name, _)| name == "www-authenticate");
    let challenges: Vec<_> = challenges.map(|(_, value)| value.as_str()).collect();
    match response.status {
        401 => assert_eq!(challenges, ["Basic realm=\"jeton\"", "Bearer realm=\"jeton\""]),
        503 => assert!(response.header("retry-after").is_some(), "{shown}"),
        _ => {}
    }
}

/// Asserts a refusal with this status and error code.
#[track_caller]
fn expect_error(response: &Response, status: u16, code: &str) {
    assert_eq!(response.status, status, "{}", response.without_date());
    assert_eq!(response.json()["error"], code, "{}", response.text());
}

fn post(server: &Server, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
    send(server.data, "POST", path, &[&[FORM], headers].concat(), body)
}

fn introspect(server: &Server, token: &str) -> Response {
    let response = post(server, INTROSPECT, &[], &format!("token={token}"));
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("content-type"), Some("application/json"));
    response
}

#[test]
fn a_living_token_is_active_with_its_members_as_they_stand() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    for (payload, before) in [
        (r#"{"sub":"u-1","amount":1.10,"a" : [1 ]}"#, r#"{"sub":"u-1","amount":1.10,"a" : [1 ],"#),
        (r#"{"active":false,"\u0065xp":9,"sub":"u","iat":"x"}"#, r#"{"sub":"u","#),
        ("{}", "{"),
        (r#"["active",false]"#, r#"{"payload":["active",false],"#),
        ("17.0", r#"{"payload":17.0,"#),
    ] {
        let earliest = now_ms() / 1_000;
        let issued = client.issued(&format!(r#"{{"payload":{payload},"uses":2,"ttl":"1500ms"}}"#));
        let latest = now_ms() / 1_000;
        for _ in 0..3 {
            let answer = introspect(&server, &issued.token);
            let exp = millis(&issued.expires_at) / 1_000;
            let iat = answer.json()["iat"].as_i64().expect("a number");
            assert!((earliest..=latest).contains(&iat), "{iat}");
            let expected = format!(r#"{before}"active":true,"exp":{exp},"iat":{iat}}}"#);
            assert_eq!(answer.text(), expected);
        }
        assert_eq!(client.uses_left(&issued.token), 2, "no use was taken");
    }
}

#[test]
fn a_name_counts_as_a_token() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let put = |client: &mut Client, name: &str| {
        let path = format!("/v1/names/{name}");
        assert_eq!(client.send("PUT", &path, &[], r#"{"payload":{"n":1}}"#).status, 200);
    };
    for (name, encoded) in [("oauth:1", "oauth%3A1"), ("oauth%20a%2Bb", "oauth+a%2Bb")] {
        put(&mut client, name);
        assert!(introspect(&server, encoded).text().starts_with(r#"{"n":1,"active":true,"#));
        assert_eq!(post(&server, REVOKE, &[], &format!("token={encoded}")).status, 200);
        assert_eq!(introspect(&server, encoded).text(), INACTIVE);
    }
    put(&mut client, "oauth%FF");
    assert_eq!(introspect(&server, "oauth%FE").text(), INACTIVE, "bytes that differ");
    assert_eq!(introspect(&server, "oauth%FF").json()["active"], true);
}

#[test]
fn p10_whatever_is_not_active_looks_the_same() {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    let [shop, other] = ["a", "b"].map(|shop| keys.add(shop, "issue,resolve,consume,revoke", &[]));
    let server = Launch::on(&dir.path().join("data")).flag("--keys", keys.path()).start();
    let issue = |body: &str| issued_by(&server, &shop, body);
    let call = |method: &str, path: &str| {
        let headers = [("Authorization", &*shop)];
        Client::of(&server).send(method, path, &headers, "").status
    };
    let (consumed, revoked) = (issue(r#"{"payload":1}"#), issue(r#"{"payload":1}"#));
    assert_eq!(call("POST", &format!("/v1/tokens/{consumed}/consume")), 200);
    assert_eq!(call("DELETE", &format!("/v1/tokens/{revoked}")), 204);
    let expired = issue(r#"{"payload":1,"ttl":"1ms"}"#);
    std::thread::sleep(Duration::from_millis(5));
    let long = "x".repeat(513);
    let very_long = "%ff".repeat(20_000);
    let hidden = issue(r#"{"payload":{"active":true},"peek":false}"#);
    let foreign = issued_by(&server, &other, r#"{"payload":1}"#);
    let answer = |token: &str, more: &[(&str, &str)]| {
        let headers = [&[("Authorization", &*shop)], more].concat();
        let mut answer = post(&server, INTROSPECT, &headers, &format!("token={token}"));
        answer.headers.retain(|(name, _)| name != "date");
        (answer.status, answer.headers, answer.body)
    };
    let unknown = answer(UNKNOWN, &[]);
    assert_eq!((unknown.0, &unknown.2[..]), (200, INACTIVE.as_bytes()));
    for token in
        [&consumed, &revoked, &expired, &hidden, &foreign, &long, &very_long, "a", "%00", "{}"]
    {
        assert_eq!(answer(token, &[]), unknown, "{token:.40}");
        // Through another way of the server, and for an Accept of any kind.
        for more in [("X-Other", "1"), ("Accept", "application/token-introspection+jwt")] {
            assert_eq!(answer(token, &[more]), unknown, "{token:.40}");
        }
    }
}

#[test]
fn a_request_has_one_form_with_one_token() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let token = client.issued(r#"{"payload":{}}"#).token;
    for path in [INTROSPECT, REVOKE] {
        for body in ["", "token=", "token", "x=1", "token=a&token=a", "token=&token=a"] {
            expect_error(&post(&server, path, &[], body), 400, "invalid_request");
        }
        let query = format!("{path}?token={token}");
        expect_error(&post(&server, &query, &[], "token=a"), 400, "invalid_request");
        let body = format!("token={token}");
        for kind in [
            "application/json",
            "text/plain",
            "multipart/form-data; boundary=a",
            "application/x-www-form-urlencoded; charset=iso-8859-1",
        ] {
            let refused = send(server.data, "POST", path, &[("Content-Type", kind)], &body);
            expect_error(&refused, 415, "invalid_request");
        }
        expect_error(&send(server.data, "POST", path, &[], &body), 415, "invalid_request");
        for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            let refused = send(server.data, method, path, &[], "");
            expect_error(&refused, 405, "invalid_request");
            assert_eq!(refused.header("allow"), Some("POST"));
        }
        let long = format!("{body}&x={}", "y".repeat(64 << 10));
        expect_error(&post(&server, path, &[], &long), 413, "invalid_request");
    }
    assert_eq!(introspect(&server, &token).json()["active"], true, "nothing revoked it");
    let more = "token_type_hint=refresh_token&token_type_hint=nonsense&client_id=a&client_id=b";
    let kind = ("Content-Type", "application/x-www-form-urlencoded;charset=UTF-8");
    for path in [INTROSPECT, REVOKE] {
        let body = format!("{more}&token={token}&%zz");
        assert_eq!(send(server.data, "POST", path, &[kind], &body).status, 200);
    }
    assert_eq!(introspect(&server, &token).text(), INACTIVE);
}

#[test]
fn a_revocation_is_200_without_a_body_for_all() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let token = client.issued(r#"{"payload":1,"peek":false,"uses":3}"#).token;
    let plain = post(&server, REVOKE, &[], &format!("token={UNKNOWN}"));
    for token in [&*token, &*token, UNKNOWN, "a", &"x".repeat(600), "%00%ff"] {
        let mut answer = post(&server, REVOKE, &[], &format!("token={token}"));
        assert_eq!((answer.status, answer.body.len()), (200, 0), "{token:.40}");
        let mut expected = plain.clone();
        for headers in [&mut answer.headers, &mut expected.headers] {
            headers.retain(|(name, _)| name != "date");
        }
        assert_eq!(answer.headers, expected.headers);
    }
    assert_eq!(client.consume(&token).status, 404, "it was revoked");
}

/// A server with keys of all scopes and of single ones.
struct Keyed {
    server: Server,
    all: String,
    resolve: String,
    revoke: String,
    dir: tempfile::TempDir,
}

fn keyed(settings: impl FnOnce(Launch) -> Launch) -> Keyed {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::in_dir(dir.path());
    let add = |scopes: &str| keys.add("shop", scopes, &[])["Bearer ".len()..].to_owned();
    let [all, resolve, revoke] = ["issue,resolve,revoke", "resolve", "revoke"].map(add);
    let launch = Launch::on(&dir.path().join("data")).flag("--keys", keys.path());
    Keyed { server: settings(launch).start(), all, resolve, revoke, dir }
}

fn basic(credentials: &str) -> String {
    format!("Basic {}", STANDARD.encode(credentials))
}

/// A server whose misses are not limited, with a token, as `ask` asks about it.
struct Asked {
    keyed: Keyed,
    token: String,
}

impl Asked {
    fn new() -> Self {
        let keyed = keyed(|launch| {
            let launch = launch.flag("--anonymous", "shop:resolve").flag("--miss-limit", "0");
            launch.flag("--anonymous-miss-limit", "0")
        });
        let bearer = format!("Bearer {}", keyed.all);
        let token = issued_by(&keyed.server, &bearer, r#"{"payload":{"a":1}}"#);
        Self { keyed, token }
    }

    /// Sends these `Authorization` headers, and these parameters beside the token.
    fn ask(&self, path: &str, authorization: &[&str], more: &str) -> Response {
        let headers: Vec<_> = authorization.iter().map(|it| ("Authorization", *it)).collect();
        post(&self.keyed.server, path, &headers, &format!("token={}{more}", self.token))
    }
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

#[test]
fn the_key_is_bearer_basic_or_in_the_form() {
    let asked = Asked::new();
    let Keyed { server, resolve, revoke, .. } = &asked.keyed;
    let escaped = escaped(resolve);
    for authorization in [
        format!("Bearer {resolve}"),
        basic(&format!("rs:{resolve}")),
        basic(&format!(":{resolve}")),
        basic(&format!("https://rs.example:8443/a:{resolve}")),
        basic(&format!("rs%20+:{escaped}")),
        basic(&format!("rs:{resolve}")).replace("Basic", "bASIC"),
    ] {
        for more in ["", "&client_secret="] {
            assert_eq!(asked.ask(INTROSPECT, &[&authorization], more).json()["active"], true);
        }
    }
    let secret = format!("&client_id=x&client_secret={escaped}");
    assert_eq!(asked.ask(INTROSPECT, &[], &secret).json()["active"], true);
    // Who it is matters more than what it asks for.
    expect_error(&post(server, INTROSPECT, &[], ""), 401, "invalid_client");
    for (path, key) in [(INTROSPECT, revoke), (REVOKE, resolve)] {
        let refused = asked.ask(path, &[&basic(&format!("rs:{key}"))], "");
        expect_error(&refused, 403, "insufficient_scope");
    }
    let bearer = format!("Bearer {resolve}");
    assert_eq!(asked.ask(INTROSPECT, &[&bearer], "").json()["active"], true, "not revoked");
    assert_eq!(asked.ask(REVOKE, &[&basic(&format!("rs:{revoke}"))], "").status, 200);
    assert_eq!(asked.ask(INTROSPECT, &[&bearer], "").text(), INACTIVE);
}

#[test]
fn two_secrets_are_400_and_none_or_a_wrong_one_401() {
    let asked = Asked::new();
    let resolve = &*asked.keyed.resolve;
    let (bearer, secret) = (format!("Bearer {resolve}"), format!("&client_secret={resolve}"));
    for (authorization, more) in [
        (&[&*bearer][..], &*secret),
        (&["Bearer x"], "&client_secret=y"),
        (&["Digest x"], "&client_secret=y"),
        (&[&*bearer, &*bearer], ""),
        (&[], "&client_secret=y&client_secret=y"),
    ] {
        for path in [INTROSPECT, REVOKE] {
            expect_error(&asked.ask(path, authorization, more), 400, "invalid_request");
        }
    }
    // One key of sixteen ends with an A itself.
    let last = if resolve.ends_with('A') { "E" } else { "A" };
    let wrong = [&resolve[..46], last].concat();
    let digest = format!("Digest {resolve}");
    let basics = [resolve, &format!("{resolve}:"), &format!("rs:{wrong}")].map(basic);
    let no_more = ["Bearer x", "Basic !", "Basic", &digest, &basics[0], &basics[1], &basics[2]];
    let nothing = [(&[][..], ""), (&[], "&client_secret=x"), (&[], "&client_secret=")];
    let wrong = no_more.iter().map(|value| (std::slice::from_ref(value), ""));
    for (authorization, more) in nothing.into_iter().chain(wrong) {
        for path in [INTROSPECT, REVOKE] {
            expect_error(&asked.ask(path, authorization, more), 401, "invalid_client");
        }
    }
    assert_eq!(asked.ask(INTROSPECT, &[&bearer], "").json()["active"], true, "not revoked");
}

/// The head comes first and the form later, so that the server has to wait for it.
#[test]
fn a_form_may_come_late() {
    let Keyed { server, all, .. } = &keyed(|launch| launch);
    let token = issued_by(server, &format!("Bearer {all}"), r#"{"payload":{"a":1}}"#);
    for in_form in [true, false] {
        let mut body = format!("token={token}");
        let authorization = basic(&format!("x:{all}"));
        let mut headers = vec![FORM, ("Authorization", &*authorization)];
        if in_form {
            headers.pop();
            body += &format!("&client_secret={all}");
        }
        let whole = request("POST", INTROSPECT, &headers, body.as_bytes());
        let mut conn = Conn::open(server.data).expect("connects");
        for piece in whole.chunks(whole.len() - 20) {
            conn.send(piece).expect("sends");
            std::thread::sleep(Duration::from_millis(50));
        }
        let answer = conn.response().expect("an answer");
        assert_eq!(answer.json()["a"], 1, "{}", answer.text());
    }
}

#[test]
fn pages_of_other_sites_are_refused() {
    let server = Server::shared();
    let keyed = keyed(|launch| launch.flag("--allow-origin", "https://ok.example"));
    let key = format!("&client_secret={}", keyed.all);
    for path in [INTROSPECT, REVOKE] {
        for (name, value) in [
            ("Origin", "https://evil.example"),
            ("Origin", "null"),
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-Site", "same-site"),
        ] {
            for (server, body) in [(&*server, ""), (&keyed.server, &*key)] {
                let refused = post(server, path, &[(name, value)], &format!("token=a{body}"));
                expect_error(&refused, 403, "access_denied");
            }
        }
        // A browser adds what a person has entered before.
        let cached = basic(&format!("rs:{}", keyed.all));
        let cached = [("Sec-Fetch-Site", "cross-site"), ("Authorization", &*cached)];
        expect_error(&post(&keyed.server, path, &cached, "token=a"), 403, "access_denied");
        let origin = [("Origin", "https://ok.example")];
        let allowed = post(&keyed.server, path, &origin, &format!("token=a{key}"));
        assert_eq!(allowed.status, 200);
        assert_eq!(allowed.header("access-control-allow-origin"), Some("https://ok.example"));
        let mut conn = Conn::open(server.data).expect("connects");
        let (kind, value) = FORM;
        let text = format!(
            "POST {path} HTTP/1.1\r\nHost: evil.example\r\n{kind}: {value}\r\n\
             Content-Length: 7\r\n\r\ntoken=a"
        );
        conn.send(text.as_bytes()).expect("sends");
        let refused = conn.response().expect("an answer");
        assert_oauth(&refused);
        expect_error(&refused, 403, "access_denied");
    }
}

#[test]
fn p10_guesses_count_as_misses() {
    let Keyed { server, all, .. } =
        &keyed(|launch| launch.flag("--miss-limit", "3").flag("--anonymous-miss-limit", "3"));
    let bearer = format!("Bearer {all}");
    let token = issued_by(server, &bearer, r#"{"payload":{"a":1}}"#);
    let ask = |token: &str, key: &str| {
        post(server, INTROSPECT, &[("Authorization", key)], &format!("token={token}"))
    };
    let long = "x".repeat(600);
    for guess in [UNKNOWN, "cart:7", &long] {
        let answers: Vec<_> = (0..40).map(|_| ask(guess, &bearer)).collect();
        let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
        assert!(refused.len() > 20, "{} of 40", refused.len());
        for answer in refused {
            expect_error(answer, 429, "temporarily_unavailable");
            assert!(answer.header("retry-after").is_some());
        }
        assert_eq!(ask(&token, &bearer).json()["a"], 1, "a hit is never refused");
    }
    // A revocation answers no guess.
    let revoke = |_| post(server, REVOKE, &[("Authorization", &*bearer)], "token=guess").status;
    assert!((0..20).map(revoke).all(|status| status == 200));
    let statuses: Vec<_> = (0..40).map(|_| ask(UNKNOWN, "Bearer x").status).collect();
    assert!(statuses.contains(&401) && statuses.contains(&429), "{statuses:?}");
}

#[test]
fn what_is_asked_is_audited() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("audit.log");
    let Keyed { server, all, dir: _dir, .. } =
        keyed(|launch| launch.flag("--audit", file.to_str().expect("UTF-8")));
    let bearer = format!("Bearer {all}");
    let token = issued_by(&server, &bearer, r#"{"payload":{"a":1}}"#);
    let headers = [("Authorization", &*bearer)];
    for (path, body, status) in [
        (INTROSPECT, format!("token={token}"), 200),
        (INTROSPECT, format!("token={UNKNOWN}"), 200),
        (REVOKE, format!("token={token}"), 200),
        (REVOKE, format!("token={UNKNOWN}"), 200),
        (INTROSPECT, "token=".to_owned(), 400),
    ] {
        assert_eq!(post(&server, path, &headers, &body).status, status, "{path}");
    }
    assert_eq!(post(&server, INTROSPECT, &[], "token=a").status, 401);
    server.stop_well();
    let told = |file: &std::path::Path| {
        let what = |line: &Value| {
            json!([line["operation"], line["outcome"], line["status"], line["digest"].is_string()])
        };
        crate::audit::lines(file).iter().map(what).collect::<Vec<_>>()
    };
    assert_eq!(
        told(&file),
        [
            json!(["issue", "ok", 201, true]),
            json!(["introspect", "ok", 200, true]),
            json!(["revoke", "ok", 200, true]),
            json!(["revoke", "ok", 200, true]),
        ]
    );
    assert_eq!(
        told(&dir.path().join("audit.log.refused")),
        [
            json!(["introspect", "not_found", 200, true]),
            json!(["introspect", "malformed", 400, false]),
            json!(["introspect", "unauthorized", 401, false]),
        ]
    );
}

#[test]
fn what_is_asked_is_counted() {
    let server = Server::fresh();
    for (path, body) in [(INTROSPECT, "token=a"), (INTROSPECT, ""), (REVOKE, "token=a")] {
        post(&server, path, &[], body);
    }
    let mut conn = Conn::open(server.admin).expect("connects");
    conn.send(&request("GET", "/metrics", &[], b"")).expect("sends");
    let answer = conn.response().expect("an answer");
    let text = answer.text();
    for (operation, class) in
        [("introspect", "2xx"), ("introspect", "4xx"), ("oauth_revoke", "2xx")]
    {
        let label = format!("{{operation=\"{operation}\",status=\"{class}\"}} 1\n");
        assert!(text.contains(&label), "{label}");
    }
}

#[test]
fn p3_a_token_is_active_until_its_deadline() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let issued = client.issued(r#"{"payload":{},"ttl":"200ms"}"#);
    assert_eq!(introspect(&server, &issued.token).json()["active"], true);
    wait_past(&issued.expires_at);
    assert_eq!(introspect(&server, &issued.token).text(), INACTIVE);
}
