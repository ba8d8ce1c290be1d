//! Issue: creates one token, or a batch.
//!
//! `{"payload": JSON, "ttl": "15m" or seconds, "uses": n, "peek": true, "reference": {…}}`, where
//! only the payload is required. The payload is kept as its exact text.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde_json::value::RawValue;

use super::{Answered, Request};
use crate::http::answer::meaning::meaning;
use crate::http::answer::problem::Problem;
use crate::http::answer::response;
use crate::http::request::head::idempotency_key;
use crate::http::request::json::Fields;
use crate::http::request::list::too_many;
use crate::http::request::{json, named, payload};
use crate::model::entry::USES_MAX;
use crate::service::context::Context;
use crate::service::ops::issue::{self, Issued, Wanted};
use crate::service::state::TokenLimits;

/// Reads one issue, `text`, which is a part of `body`.
pub(super) fn read(
    text: &[u8],
    body: &Bytes,
    limits: &TokenLimits,
    ttl_max: Duration,
) -> Result<Wanted, Problem> {
    const NAMES: [&str; 5] = ["payload", "ttl", "uses", "peek", "reference"];
    read_fields(json::object(text, &NAMES)?, body, limits, ttl_max)
}

/// Reads `payload`, `ttl`, `uses`, `peek` and `reference`, which are parts of `body`.
pub(super) fn read_fields(
    [payload, ttl, uses, peek, reference]: Fields<'_, 5>,
    body: &Bytes,
    limits: &TokenLimits,
    ttl_max: Duration,
) -> Result<Wanted, Problem> {
    let ttl = ttl.map(|raw| json::ttl(raw, ttl_max)).transpose()?;
    let uses = uses.map(|raw| json::count(raw, "uses", USES_MAX)).transpose()?;
    let peek = peek.map(|raw| json::boolean(raw, "peek")).transpose()?;
    Ok(Wanted {
        payload: body.slice_ref(read_payload(payload, limits.max_payload)?),
        ttl: ttl.unwrap_or(limits.default_ttl.min(ttl_max)),
        uses: uses.unwrap_or(1),
        peek: peek.unwrap_or(true),
        reference: reference.map(named::reference).transpose()?,
    })
}

fn read_payload(payload: Option<&RawValue>, max: usize) -> Result<&[u8], Problem> {
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
    Ok(payload.as_bytes())
}

/// `POST /v1/tokens`
pub(in crate::http) async fn one(request: Request<'_>) -> Answered {
    let Request { context, headers, body, .. } = request;
    let key = idempotency_key(&headers)?;
    let wanted = read(&body, &body, &context.service.limits, ttl_max(&context))?;
    let wanted = named_once(wanted, key)?;
    drop(body);
    let issued = issue::one(&context, wanted, key).await?;
    let status = if issued.is_new { StatusCode::CREATED } else { StatusCode::OK };
    let mut answer = Vec::with_capacity(96);
    write_issued(&mut answer, &issued);
    Ok(response::json(headers, status, answer.into()))
}

/// Refuses a reference beside an `Idempotency-Key`.
fn named_once(wanted: Wanted, key: Option<&[u8]>) -> Result<Wanted, Problem> {
    if key.is_none() || wanted.reference.is_none() {
        return Ok(wanted);
    }
    let detail = "a reference already makes the issue idempotent: give either a reference or an \
        Idempotency-Key";
    Err(Problem::malformed(detail).about("Idempotency-Key"))
}

pub(super) fn ttl_max(context: &Context<'_>) -> Duration {
    context.service.ttl_max(&context.access.digester)
}

fn write_issued(answer: &mut Vec<u8>, issued: &Issued) {
    answer.extend_from_slice(br#"{"token":""#);
    answer.extend_from_slice(issued.token.text().as_str().as_bytes());
    answer.extend_from_slice(br#"","expires_at":""#);
    answer.extend_from_slice(issued.deadline.to_string().as_bytes());
    answer.extend_from_slice(br#""}"#);
}

/// `POST /v1/tokens/batch`: each item is issued separately. An `Idempotency-Key` applies to the item
/// at each place.
pub(in crate::http) async fn batch(request: Request<'_>) -> Answered {
    let Request { context, headers, body, .. } = request;
    let key = idempotency_key(&headers)?;
    let (limits, ttl_max) = (&context.service.limits, ttl_max(&context));
    let items = read_items(&body, limits.max_batch)?;
    issue::admit(&context, items.len())?;
    let read =
        |item: &RawValue| named_once(read(item.get().as_bytes(), &body, limits, ttl_max)?, key);
    let wanted = items.into_iter().map(read).collect();
    // From here on, only items that have to be compared later keep the body.
    drop(body);
    let outcome = |problem: &Problem| meaning(problem.status);
    let results = issue::many(&context, wanted, key, outcome).await?;
    Ok(response::json(headers, StatusCode::OK, text_of(results).into()))
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

/// The answer to a batch.
fn text_of(results: Vec<Result<Issued, Problem>>) -> Vec<u8> {
    let mut answer = Vec::with_capacity(16 + 96 * results.len());
    answer.extend_from_slice(br#"{"results":["#);
    for (i, result) in results.into_iter().enumerate() {
        if i > 0 {
            answer.push(b',');
        }
        match result {
            Ok(issued) => write_issued(&mut answer, &issued),
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
    use crate::http::config::Config;
    use crate::model::time::UnixMillis;
    use crate::model::token::Token;
    use crate::service::refusal::{Refusal, Taken};

    fn status(text: &str) -> u16 {
        let limits = Config { max_payload: 64, ..Config::default() }.token_limits();
        let body = Bytes::copy_from_slice(text.as_bytes());
        match read(&body, &body, &limits, limits.max_ttl) {
            Ok(_) => 200,
            Err(problem) => problem.status.as_u16(),
        }
    }

    #[test]
    fn the_payload_is_kept_byte_for_byte() {
        let payload = "{ \"a\" : [1.50e+1,\"\\u00e9\u{e9}\"],\"a\":\t2 }";
        let text = format!("{{\"payload\":  {payload}  }}");
        let (limits, body) = (Config::default().token_limits(), Bytes::from(text));
        let wanted = read(&body, &body, &limits, limits.max_ttl).unwrap();
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
        let (token, deadline) = (Token::random().unwrap(), UnixMillis(1_769_860_800_007));
        let issued = Issued { token, deadline, is_new: true };
        let taken = Problem::from(Refusal::Taken(Taken::Differs));
        let answer = text_of(vec![Ok(issued), Err(Problem::malformed("no")), Err(taken)]);
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
