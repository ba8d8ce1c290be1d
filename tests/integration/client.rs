//! The operations of the API as function calls, for tests of their effects.
//!
//! Every answer is also checked against the rules for all answers: `Cache-Control: no-store`,
//! `nosniff`, and a problem document for every failure status.

use std::io;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::raw::{Conn, Response, request};
use crate::server::Server;

/// A connection to the data listener, which is reopened when the server has closed it.
pub struct Client {
    address: SocketAddr,
    conn: Option<Conn>,
}

/// What an issue answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    pub token: String,
    pub expires_at: String,
}

impl Client {
    pub fn of(server: &Server) -> Self {
        Self { address: server.data, conn: None }
    }

    /// Sends a request, with a JSON body if it has one, and reads the answer.
    pub fn try_send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> io::Result<Response> {
        let mut all = headers.to_vec();
        if !body.is_empty() && !headers.iter().any(|(name, _)| *name == "Content-Type") {
            all.push(("Content-Type", "application/json"));
        }
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => Conn::open(self.address)?,
        };
        conn.send(&request(method, path, &all, body.as_bytes()))?;
        let response = conn.response()?;
        assert_contract(&response);
        if !response.closes() {
            self.conn = Some(conn);
        }
        Ok(response)
    }

    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response {
        self.try_send(method, path, headers, body)
            .unwrap_or_else(|error| panic!("{method} {path} had no answer: {error}"))
    }

    pub fn post(&mut self, path: &str, body: &str) -> Response {
        self.send("POST", path, &[], body)
    }

    pub fn issue(&mut self, body: &str) -> Response {
        self.post("/v1/tokens", body)
    }

    /// Issues, and expects a new token.
    pub fn issued(&mut self, body: &str) -> Issued {
        let response = self.issue(body);
        assert_eq!(response.status, 201, "{body} was answered with {}", response.text());
        Issued::from(&response.json())
    }

    /// Issues under an `Idempotency-Key`.
    pub fn issue_keyed(&mut self, key: &str, body: &str) -> Response {
        self.send("POST", "/v1/tokens", &[("Idempotency-Key", key)], body)
    }

    pub fn resolve(&mut self, token: &str) -> Response {
        self.send("GET", &format!("/v1/tokens/{token}"), &[], "")
    }

    pub fn consume(&mut self, token: &str) -> Response {
        self.send("POST", &format!("/v1/tokens/{token}/consume"), &[], "")
    }

    pub fn consume_keyed(&mut self, key: &str, token: &str) -> Response {
        let path = format!("/v1/tokens/{token}/consume");
        self.send("POST", &path, &[("Idempotency-Key", key)], "")
    }

    pub fn revoke(&mut self, token: &str) -> Response {
        self.send("DELETE", &format!("/v1/tokens/{token}"), &[], "")
    }

    pub fn extend(&mut self, token: &str, ttl: &str) -> Response {
        let body = json!({ "ttl": ttl }).to_string();
        self.send("PATCH", &format!("/v1/tokens/{token}"), &[], &body)
    }

    pub fn status(&mut self, token: &str) -> Response {
        self.send("GET", &format!("/v1/tokens/{token}/status"), &[], "")
    }

    /// The uses left of a live token.
    pub fn uses_left(&mut self, token: &str) -> u64 {
        let response = self.status(token);
        assert_eq!(response.status, 200, "no status: {}", response.text());
        response.json()["uses_left"].as_u64().expect("uses_left is a number")
    }

    /// Resolves many, and expects an answer.
    pub fn resolve_many(&mut self, tokens: &[&str]) -> Response {
        let response = self.post("/v1/resolve", &json!({ "tokens": tokens }).to_string());
        assert_eq!(response.status, 200, "{}", response.text());
        response
    }
}

impl Issued {
    pub fn from(body: &Value) -> Self {
        let fields = body.as_object().expect("an issue answers with an object");
        assert_eq!(fields.len(), 2, "an issue answers with token and expires_at: {body}");
        let token = fields["token"].as_str().expect("a token").to_owned();
        let expires_at = fields["expires_at"].as_str().expect("a deadline").to_owned();
        assert_token(&token);
        crate::support::millis(&expires_at);
        Self { token, expires_at }
    }
}

/// 24 bytes are 32 base64url characters.
pub fn assert_token(token: &str) {
    let alphabet = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
    assert!(token.len() == 32 && token.bytes().all(alphabet), "not a token: {token:?}");
}

/// Checks the rules for every answer of the data listener.
pub fn assert_contract(response: &Response) {
    let shown = response.without_date();
    assert_eq!(response.header("cache-control"), Some("no-store"), "no no-store: {shown}");
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{shown}");
    if response.status < 400 {
        return;
    }
    assert_eq!(response.header("content-type"), Some("application/problem+json"), "{shown}");
    let problem = response.json();
    assert!(problem["type"].is_string(), "a problem without a type: {shown}");
    assert!(problem["title"].is_string(), "a problem without a title: {shown}");
    assert!(problem["detail"].is_string(), "a problem without a detail: {shown}");
    assert_eq!(problem["status"], response.status, "the problem has another status: {shown}");
    if response.status == 503 {
        assert!(response.header("retry-after").is_some(), "a 503 without Retry-After: {shown}");
    }
}

/// Asserts the status of the answer; the message shows the actual answer.
#[track_caller]
pub fn expect(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{}", response.without_date());
}

/// Asserts a refusal with this status whose detail names the field.
#[track_caller]
pub fn expect_naming(response: &Response, status: u16, field: &str) {
    expect(response, status);
    let problem = response.json();
    let detail = problem["detail"].as_str().expect("a detail");
    assert!(detail.contains(field), "the detail does not name {field}: {detail}");
}
