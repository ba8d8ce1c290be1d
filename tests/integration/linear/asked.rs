//! Requests over the wire: the bytes of each request, the tokens it names, and the reading of its
//! answer.

use serde_json::{Value, json};

use super::history::{Answer, Op};
use crate::raw::{Response, request};
use crate::support::millis;

/// How a token is found.
#[derive(Clone, Debug)]
pub enum Name {
    /// By a reference with this order number.
    Order(String),
    /// Its issue has this `Idempotency-Key`.
    IssueKey(String),
    /// By its text alone.
    Random,
}

/// One request, and the tokens and operations that its answer covers.
pub struct Asked {
    pub bytes: Vec<u8>,
    /// The token and the operation; several in a batch.
    pub parts: Vec<(usize, Op)>,
    form: Form,
}

#[derive(Clone, Copy)]
enum Form {
    One,
    /// A JSON array with a payload or null for each.
    Payloads,
    /// The results of a batch of issues.
    Results,
}

/// A token as requests name it: its reference if it has one, and its text where that is known.
pub struct Named<'n> {
    pub name: &'n Name,
    pub text: Option<&'n str>,
}

impl Named<'_> {
    /// The token as a body names it; `None` while its text is unknown.
    pub fn in_body(&self) -> Option<Value> {
        match self.name {
            Name::Order(number) => Some(json!({ "reference": { "order_number": number } })),
            _ => self.text.map(|text| json!(text)),
        }
    }
}

/// One operation on one token; `None` where the token's text is needed and not known.
pub fn one(token: usize, named: &Named<'_>, op: Op) -> Option<Asked> {
    let path = |rest: &str| Some(format!("/v1/tokens/{}{rest}", named.text?));
    let bytes = match op {
        Op::Issue { .. } => {
            let key = match named.name {
                Name::IssueKey(key) => Some(("Idempotency-Key", key.as_str())),
                _ => None,
            };
            post("/v1/tokens", key, &issue_body(named.name, op))
        }
        Op::Resolve => request("GET", &path("")?, &[], b""),
        Op::Consume { key } => {
            let key = key.map(|key| format!("use-{key}"));
            let headers: Vec<_> = key.iter().map(|key| ("Idempotency-Key", key.as_str())).collect();
            request("POST", &path("/consume")?, &headers, b"")
        }
        Op::Revoke => request("DELETE", &path("")?, &[], b""),
        Op::Extend { ttl_ms } => {
            let body = json!({ "ttl": format!("{ttl_ms}ms") }).to_string();
            let headers = [("Content-Type", "application/json")];
            request("PATCH", &path("")?, &headers, body.as_bytes())
        }
        Op::Status => request("GET", &path("/status")?, &[], b""),
        Op::Put { .. } | Op::SetDeadline { .. } | Op::Swap { .. } => panic!("{op} is for names"),
    };
    Some(Asked { bytes, parts: vec![(token, op)], form: Form::One })
}

/// One resolve, or one consume, of several tokens.
pub fn batch(named: &[(usize, Value)], op: Op) -> Asked {
    let (path, key) = match op {
        Op::Consume { key } => ("/v1/consume", key.map(|key| format!("use-{key}"))),
        _ => ("/v1/resolve", None),
    };
    let tokens: Vec<_> = named.iter().map(|(_, value)| value).collect();
    let key = key.as_deref().map(|key| ("Idempotency-Key", key));
    let bytes = post(path, key, &json!({ "tokens": tokens }));
    Asked {
        bytes,
        parts: named.iter().map(|(token, _)| (*token, op)).collect(),
        form: Form::Payloads,
    }
}

/// Issues by reference in one request.
pub fn issue_batch(items: &[(usize, &Name, Op)]) -> Asked {
    let tokens: Vec<_> = items.iter().map(|(_, name, op)| issue_body(name, *op)).collect();
    let bytes = post("/v1/tokens/batch", None, &json!({ "tokens": tokens }));
    let parts = items.iter().map(|(token, _, op)| (*token, *op)).collect();
    Asked { bytes, parts, form: Form::Results }
}

fn post(path: &str, header: Option<(&str, &str)>, body: &Value) -> Vec<u8> {
    let mut headers = vec![("Content-Type", "application/json")];
    headers.extend(header);
    request("POST", path, &headers, body.to_string().as_bytes())
}

fn issue_body(name: &Name, op: Op) -> Value {
    let Op::Issue { payload, ttl_ms, uses, peek } = op else { panic!("{op} is no issue") };
    let mut body =
        json!({ "payload": payload, "ttl": format!("{ttl_ms}ms"), "uses": uses, "peek": peek });
    if let Name::Order(number) = name {
        body["reference"] = json!({ "order_number": number });
    }
    body
}

/// The answer for one token, and the token's text if the answer contains it.
pub type Read = (Answer, Option<String>);

impl Asked {
    /// The answer for each part of the request.
    pub fn read(&self, response: &Response) -> Vec<Read> {
        let answers: Vec<Read> = match self.form {
            Form::One => vec![read_one(self.parts[0].1, response)],
            Form::Payloads => {
                assert_eq!(response.status, 200, "{}", response.without_date());
                let found = response.json();
                let found = found.as_array().expect("an array");
                found.iter().map(|payload| (payload_or_missing(payload), None)).collect()
            }
            Form::Results => {
                assert_eq!(response.status, 200, "{}", response.without_date());
                let results = response.json();
                let results = results["results"].as_array().expect("results");
                results.iter().map(read_result).collect()
            }
        };
        assert_eq!(answers.len(), self.parts.len(), "{}", response.without_date());
        answers
    }
}

fn read_one(op: Op, response: &Response) -> Read {
    let answer = match (op, response.status) {
        (Op::Issue { .. }, 201) => {
            let body = response.json();
            return (Answer::Issued { deadline_ms: deadline_ms(&body) }, text(&body));
        }
        (Op::Issue { .. }, 200) => {
            let body = response.json();
            return (Answer::Exists { deadline_ms: deadline_ms(&body) }, text(&body));
        }
        (Op::Issue { .. }, 409) => Answer::Refused,
        // The engine refused it. At the second look the conflicting entry was gone.
        (Op::Issue { .. }, 503) if response.text().contains("has just expired") => Answer::Refused,
        (Op::Resolve | Op::Consume { .. }, 200) => payload_or_missing(&response.json()),
        (Op::Revoke, 204) => Answer::Revoked,
        (Op::Extend { .. }, 200) => Answer::Extended { deadline_ms: deadline_ms(&response.json()) },
        (Op::Status, 200) => {
            let body = response.json();
            let uses_left = body["uses_left"].as_u64().expect("a number");
            let uses_left = u8::try_from(uses_left).expect("few uses");
            Answer::Status { deadline_ms: deadline_ms(&body), uses_left }
        }
        (Op::Resolve | Op::Consume { .. } | Op::Extend { .. } | Op::Status, 404) => Answer::Missing,
        _ => panic!("{op} was answered with {}", response.without_date()),
    };
    (answer, None)
}

fn read_result(result: &Value) -> Read {
    if result["error"].is_null() {
        return (Answer::There { deadline_ms: deadline_ms(result) }, text(result));
    }
    let has_expired =
        result["error"]["detail"].as_str().is_some_and(|why| why.contains("has just expired"));
    assert!(has_expired || result["error"]["status"] == 409, "{result}");
    (Answer::Refused, None)
}

fn payload_or_missing(payload: &Value) -> Answer {
    match payload.as_u64() {
        None => Answer::Missing,
        Some(payload) => Answer::Payload(u8::try_from(payload).expect("a payload of ours")),
    }
}

fn deadline_ms(body: &Value) -> u64 {
    let expires_at = body["expires_at"].as_str().expect("a deadline");
    u64::try_from(millis(expires_at)).expect("after 1970")
}

fn text(body: &Value) -> Option<String> {
    Some(body["token"].as_str().expect("a token").to_owned())
}
