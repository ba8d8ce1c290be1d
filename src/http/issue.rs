//! Issue: one token, or a batch of them.
//!
//! `{"payload": JSON, "ttl": "15m" or seconds, "uses": n, "peek": true, "reference": {…}}`, all but
//! the payload optional. The payload is kept as the text it was sent as.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use serde_json::value::RawValue;

use super::list::{self, too_many};
use super::respond::{self, Body, Problem};
use super::service::{Asker, engine_problem, idempotency_key};
use super::worker::Worker;
use super::{Config, json, payload};
use crate::audit::By;
use crate::engine::{Op, Outcome};
use crate::entry::USES_MAX;
use crate::keys::Access;
use crate::reference::Reference;
use crate::time::UnixMillis;
use crate::token::{RandomError, Token};

/// What a client wants to be issued.
struct Wanted {
    payload: Vec<u8>,
    ttl: Duration,
    uses: u32,
    peek: bool,
    reference: Option<Reference>,
}

fn read(text: &[u8], config: &Config, ttl_max: Duration) -> Result<Wanted, Problem> {
    const NAMES: [&str; 5] = ["payload", "ttl", "uses", "peek", "reference"];
    let [payload, ttl, uses, peek, reference] = json::object(text, &NAMES)?;
    let ttl = ttl.map(|raw| json::ttl(raw, ttl_max)).transpose()?;
    let uses = uses.map(|raw| json::count(raw, "uses", USES_MAX)).transpose()?;
    let peek = peek.map(|raw| json::boolean(raw, "peek")).transpose()?;
    Ok(Wanted {
        payload: read_payload(payload, config.max_payload)?,
        ttl: ttl.unwrap_or(config.default_ttl.min(ttl_max)),
        uses: uses.unwrap_or(1),
        peek: peek.unwrap_or(true),
        reference: reference.map(list::reference).transpose()?,
    })
}

fn read_payload(payload: Option<&RawValue>, max: usize) -> Result<Vec<u8>, Problem> {
    let payload = payload
        .map(RawValue::get)
        .ok_or_else(|| Problem::malformed("payload: the field is missing").about("payload"))?;
    if payload == "null" {
        return Err(Problem::out_of_limits("payload: must not be null").about("payload"));
    }
    if payload.len() > max {
        let detail = format!("payload: must have at most {max} bytes (--max-payload)");
        return Err(Problem::too_large(detail).about("payload"));
    }
    payload::check(payload)?;
    Ok(payload.as_bytes().to_vec())
}

impl Wanted {
    /// The token that this is to have, and the command that makes it so.
    fn into_op(self, key: Option<&[u8]>, access: &Access) -> Result<(Token, Op), RandomError> {
        let digester = &access.digester;
        let (token, derived) = match (&self.reference, key) {
            (Some(reference), _) => (digester.token_for_reference(reference.canonical()), true),
            (None, Some(key)) => (digester.token_for_issue_key(&access.holder, key), true),
            (None, None) => (Token::random()?, false),
        };
        let op = Op::Issue {
            digest: digester.digest(&token),
            payload: self.payload,
            ttl: self.ttl,
            uses: self.uses,
            peek: self.peek,
            derived,
        };
        Ok((token, op))
    }
}

/// What names the token, if it is not drawn.
fn named_by(wanted: &Wanted, key: Option<&[u8]>) -> Option<By> {
    let by_key = key.map(|_| By::IdempotencyKey);
    wanted.reference.as_ref().map(|_| By::Reference).or(by_key)
}

/// `POST /v1/tokens`
pub(super) async fn one(
    worker: &Worker,
    asker: Asker<'_>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response<Body>, Problem> {
    let key = idempotency_key(&headers)?;
    let digester = &asker.access.digester;
    let config = &worker.config;
    let wanted = read(&body, config, config.quotas.ttl_max(digester, config.max_ttl))?;
    if key.is_some() && wanted.reference.is_some() {
        return Err(Problem::malformed(
            "a reference is itself the key: give either a reference or an Idempotency-Key",
        )
        .about("Idempotency-Key"));
    }
    config.quotas.admit_issues(digester, worker.engine.now(), 1)?;
    let by = named_by(&wanted, key);
    let (token, op) = wanted.into_op(key, asker.access).map_err(|error| no_random(&error))?;
    asker.trail.issue(Some(*op.digest()), by, None);
    let outcome = asker.trail.call_one(worker, op).await?;
    let (status, deadline) = match outcome {
        Outcome::Issued { deadline } => (StatusCode::CREATED, deadline),
        other => (StatusCode::OK, issued(other)?),
    };
    let mut answer = Vec::with_capacity(96);
    write_issued(&mut answer, &token, deadline);
    Ok(respond::json(headers, status, answer.into()))
}

/// The deadline of a token that is there now, or why it is not.
fn issued(outcome: Outcome) -> Result<UnixMillis, Problem> {
    match outcome {
        Outcome::Issued { deadline } | Outcome::Exists { deadline } => Ok(deadline),
        Outcome::Conflict => Err(Problem::new(
            StatusCode::CONFLICT,
            "the reference or key was issued with another payload, other uses or another peek",
        )),
        Outcome::AlreadyConsumed => Err(Problem::new(
            StatusCode::CONFLICT,
            "the token of the reference or key was already consumed",
        )),
        other => Err(engine_problem(&other)),
    }
}

fn write_issued(answer: &mut Vec<u8>, token: &Token, deadline: UnixMillis) {
    answer.extend_from_slice(br#"{"token":""#);
    answer.extend_from_slice(token.text().as_str().as_bytes());
    answer.extend_from_slice(br#"","expires_at":""#);
    answer.extend_from_slice(deadline.to_string().as_bytes());
    answer.extend_from_slice(br#""}"#);
}

fn no_random(error: &RandomError) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

/// `POST /v1/tokens/batch`: each item stands for itself.
pub(super) async fn batch(
    worker: &Worker,
    asker: Asker<'_>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response<Body>, Problem> {
    if idempotency_key(&headers)?.is_some() {
        let detail = "a batch takes no Idempotency-Key; give each token a reference";
        return Err(Problem::malformed(detail).about("Idempotency-Key"));
    }
    let (config, digester) = (&worker.config, &asker.access.digester);
    let items = read_items(&body, config.max_batch)?;
    config.quotas.admit_issues(digester, worker.engine.now(), items.len())?;
    let ttl_max = config.quotas.ttl_max(digester, config.max_ttl);
    let mut ops = Vec::with_capacity(items.len());
    let mut places = Vec::with_capacity(items.len());
    for item in items {
        places.push(match read(item.get().as_bytes(), config, ttl_max) {
            Ok(wanted) => {
                let by = named_by(&wanted, None);
                let (token, op) =
                    wanted.into_op(None, asker.access).map_err(|error| no_random(&error))?;
                asker.trail.issue(Some(*op.digest()), by, None);
                ops.push(op);
                Ok(token)
            }
            Err(problem) => {
                asker.trail.issue(None, None, Some(&problem));
                Err(problem)
            }
        });
    }
    drop(body);
    let outcomes = if ops.is_empty() { Vec::new() } else { asker.trail.call(worker, ops).await? };
    let answer = write_results(places, outcomes);
    Ok(respond::json(headers, StatusCode::OK, answer.into()))
}

fn read_items(body: &[u8], max: usize) -> Result<Vec<&RawValue>, Problem> {
    let [tokens] = json::object(body, &["tokens"])?;
    let tokens =
        tokens.ok_or_else(|| Problem::malformed("tokens: the field is missing").about("tokens"))?;
    let items: Vec<&RawValue> = serde_json::from_str(tokens.get())
        .map_err(|_| Problem::malformed("tokens: must be an array").about("tokens"))?;
    if items.len() > max {
        return Err(too_many(max));
    }
    Ok(items)
}

fn write_results(places: Vec<Result<Token, Problem>>, outcomes: Vec<Outcome>) -> Vec<u8> {
    let mut outcomes = outcomes.into_iter();
    let mut answer = Vec::with_capacity(16 + 96 * places.len());
    answer.extend_from_slice(br#"{"results":["#);
    for (i, place) in places.into_iter().enumerate() {
        if i > 0 {
            answer.push(b',');
        }
        // One outcome for each command, in order: the engine's promise.
        let result = place.and_then(|token| {
            let outcome = outcomes.next().unwrap_or(Outcome::ReadOnly);
            issued(outcome).map(|deadline| (token, deadline))
        });
        match result {
            Ok((token, deadline)) => write_issued(&mut answer, &token, deadline),
            Err(problem) => {
                answer.extend_from_slice(br#"{"error":"#);
                answer.extend_from_slice(&problem.to_json());
                answer.push(b'}');
            }
        }
    }
    answer.extend_from_slice(b"]}");
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(text: &str) -> u16 {
        let config = Config { max_payload: 64, ..Config::default() };
        match read(text.as_bytes(), &config, config.max_ttl) {
            Ok(_) => 200,
            Err(problem) => problem.status.as_u16(),
        }
    }

    #[test]
    fn the_payload_is_kept_byte_for_byte() {
        let payload = "{ \"a\" : [1.50e+1,\"\\u00e9\u{e9}\"],\"a\":\t2 }";
        let text = format!("{{\"payload\":  {payload}  }}");
        let config = Config::default();
        let wanted = read(text.as_bytes(), &config, config.max_ttl).unwrap();
        assert_eq!(wanted.payload, payload.as_bytes());
        assert_eq!((wanted.uses, wanted.peek), (1, true));
        assert_eq!(wanted.ttl, Config::default().default_ttl);
    }

    #[test]
    fn each_field_has_its_form_and_its_limits() {
        for (text, expected) in [
            (r#"{"payload":1}"#, 200),
            (r#"{"payload":"null"}"#, 200),
            (r#"{"payload":1,"uses":10000,"peek":false,"ttl":"30d"}"#, 200),
            (r#"{"payload":null}"#, 422),
            (r#"{"ttl":1}"#, 400),
            (r#"{"payload":1,"uses":0}"#, 422),
            (r#"{"payload":1,"uses":10001}"#, 422),
            (r#"{"payload":1,"uses":"1"}"#, 400),
            (r#"{"payload":1,"peek":1}"#, 400),
            (r#"{"payload":1,"ttl":"31d"}"#, 422),
            (r#"{"payload":1,"reference":{}}"#, 400),
            (r#"{"payload":1,"reference":"7"}"#, 400),
            (r#"{"payload":1,"reference":{"order_number":""}}"#, 422),
            (r#"{"payload":1,"reference":{"created_at":"now"}}"#, 400),
            (r#"{"payload":1,"note":1}"#, 400),
            (r#"{"payload":1,"payload":1}"#, 400),
            (r#"{"payload":nul}"#, 400),
        ] {
            assert_eq!(status(text), expected, "{text}");
        }
        assert_eq!(status(&format!("{{\"payload\":\"{}\"}}", "x".repeat(62))), 200);
        assert_eq!(status(&format!("{{\"payload\":\"{}\"}}", "x".repeat(63))), 413);
    }

    #[test]
    fn a_batch_keeps_its_order_where_items_are_refused() {
        let token = || Token::random().unwrap();
        let deadline = UnixMillis(1_769_860_800_007);
        let places = vec![Ok(token()), Err(Problem::malformed("no")), Ok(token())];
        let outcomes = vec![Outcome::Issued { deadline }, Outcome::Conflict];
        let answer = write_results(places, outcomes);
        let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        let results = answer["results"].as_array().unwrap();
        assert_eq!(results[0]["expires_at"], "2026-01-31T12:00:00.007Z");
        assert_eq!(results[1]["error"]["status"], 400);
        assert_eq!(results[2]["error"]["status"], 409);
    }

    #[test]
    fn a_batch_over_its_limit_is_422() {
        assert!(read_items(br#"{"tokens":[1,2]}"#, 2).is_ok());
        assert_eq!(read_items(br#"{"tokens":[1,2,3]}"#, 2).unwrap_err().status, 422);
        assert_eq!(read_items(br#"{"tokens":{}}"#, 2).unwrap_err().status, 400);
        assert_eq!(read_items(b"{}", 2).unwrap_err().status, 400);
    }
}
