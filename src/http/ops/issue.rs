//! Issue: one token, or a batch of them.
//!
//! `{"payload": JSON, "ttl": "15m" or seconds, "uses": n, "peek": true, "reference": {…}}`, all but
//! the payload optional. The payload is kept as the text it was sent as.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use serde_json::value::RawValue;

use super::offer::{self, Offer};
use crate::audit::By;
use crate::engine::{Op, Outcome};
use crate::http::answer::problem::Problem;
use crate::http::answer::refusal::engine_problem;
use crate::http::answer::response::{self, Body};
use crate::http::api::request_context::RequestContext;
use crate::http::config::Config;
use crate::http::conn::context::Worker;
use crate::http::request::head::idempotency_key;
use crate::http::request::list::{self, too_many};
use crate::http::request::{json, payload};
use crate::keys::Access;
use crate::model::entry::USES_MAX;
use crate::model::reference::Reference;
use crate::model::time::UnixMillis;
use crate::model::token::{RandomError, Token};
use crate::service::networks::Misses;

/// What a client wants to be issued.
struct Wanted {
    /// A part of the body.
    payload: Bytes,
    ttl: Duration,
    uses: u32,
    peek: bool,
    reference: Option<Reference>,
}

/// Reads one issue, `text`, which is a part of `body`.
fn read(text: &[u8], body: &Bytes, config: &Config, ttl_max: Duration) -> Result<Wanted, Problem> {
    const NAMES: [&str; 5] = ["payload", "ttl", "uses", "peek", "reference"];
    let [payload, ttl, uses, peek, reference] = json::object(text, &NAMES)?;
    let ttl = ttl.map(|raw| json::ttl(raw, ttl_max)).transpose()?;
    let uses = uses.map(|raw| json::count(raw, "uses", USES_MAX)).transpose()?;
    let peek = peek.map(|raw| json::boolean(raw, "peek")).transpose()?;
    Ok(Wanted {
        payload: body.slice_ref(read_payload(payload, config.max_payload)?),
        ttl: ttl.unwrap_or(config.default_ttl.min(ttl_max)),
        uses: uses.unwrap_or(1),
        peek: peek.unwrap_or(true),
        reference: reference.map(list::reference).transpose()?,
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

/// A token that is asked for: what it is to be, and what to do where its name is taken.
struct Asked {
    token: Token,
    /// Where a reference or a key names the token.
    offer: Option<Offer>,
}

impl Wanted {
    /// The token that this is to have, and the command that makes it so.
    fn into_op(self, key: Option<&[u8]>, access: &Access) -> Result<(Asked, Op), Problem> {
        let digester = &access.digester;
        let (token, by) = match (&self.reference, key) {
            (Some(reference), _) => {
                (digester.token_for_reference(reference.canonical()), Some(By::Reference))
            }
            (None, Some(key)) => {
                (digester.token_for_issue_key(&access.holder, key), Some(By::IdempotencyKey))
            }
            (None, None) => (Token::random().map_err(|error| no_random(&error))?, None),
        };
        let (digest, uses, peek) = (digester.digest(&token), self.uses, self.peek);
        let (payload, ttl) = (self.payload.to_vec(), self.ttl);
        let derived = by.is_some();
        let offer = by.map(|by| Offer { digest, payload: self.payload, uses, peek, by });
        Ok((Asked { token, offer }, Op::Issue { digest, payload, ttl, uses, peek, derived }))
    }
}

impl Asked {
    fn by(&self) -> Option<By> {
        self.offer.as_ref().map(|offer| offer.by)
    }

    /// The deadline of the token, now that the engine has answered, or why it has none. `place` is
    /// its place in the request.
    fn settle(
        &self,
        worker: &Worker,
        request: RequestContext<'_>,
        place: usize,
        outcome: Outcome,
    ) -> Result<(StatusCode, UnixMillis), Problem> {
        let outcome = match &self.offer {
            Some(offer) => offer.settle(worker, request, place, outcome)?,
            None => outcome,
        };
        match outcome {
            Outcome::Issued { deadline } => Ok((StatusCode::CREATED, deadline)),
            Outcome::Exists { deadline } => Ok((StatusCode::OK, deadline)),
            other => Err(offer::taken(&other, self.by(), request.access)
                .unwrap_or_else(|| engine_problem(&other))),
        }
    }
}

/// Issuing by reference tells whether the reference is taken: it is admitted as a look-up is.
fn admit_references(
    worker: &Worker,
    request: RequestContext<'_>,
    count: usize,
) -> Result<(), Problem> {
    if count == 0 {
        return Ok(());
    }
    let (access, peer, now) = (request.access, request.peer, worker.engine.now());
    worker.miss_limiter.admit_batch(access, peer, now, count)?;
    worker.miss_limiter.look_by_reference(access, peer, now)?;
    Ok(())
}

/// References that turned out to be taken are misses.
fn charge_references(worker: &Worker, request: RequestContext<'_>, taken: usize) {
    let misses = Misses { all: taken, by_reference: taken };
    worker.miss_limiter.charge(request.access, request.peer, worker.engine.now(), misses);
}

fn is_taken(asked: &Asked, problem: &Problem) -> bool {
    problem.status == StatusCode::CONFLICT && asked.by() == Some(By::Reference)
}

/// `POST /v1/tokens`
pub(in crate::http) async fn one(
    worker: &Worker,
    request: RequestContext<'_>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response<Body>, Problem> {
    let key = idempotency_key(&headers)?;
    let digester = &request.access.digester;
    let config = &worker.config;
    let ttl_max = config.quotas.ttl_max(digester, config.max_ttl);
    let wanted = read(&body, &body, config, ttl_max)?;
    if key.is_some() && wanted.reference.is_some() {
        return Err(Problem::malformed(
            "a reference is itself the key: give either a reference or an Idempotency-Key",
        )
        .about("Idempotency-Key"));
    }
    config.quotas.admit_issues(digester, worker.engine.now(), 1)?;
    let (asked, op) = wanted.into_op(key, request.access)?;
    drop(body);
    request.trail.issue(Some(*op.digest()), asked.by(), None);
    admit_references(worker, request, usize::from(asked.by() == Some(By::Reference)))?;
    let outcome = request.trail.call_one(worker, op).await?;
    let settled = asked.settle(worker, request, 0, outcome);
    if settled.as_ref().is_err_and(|problem| is_taken(&asked, problem)) {
        charge_references(worker, request, 1);
    }
    let (status, deadline) = settled?;
    let mut answer = Vec::with_capacity(96);
    write_issued(&mut answer, &asked.token, deadline);
    Ok(response::json(headers, status, answer.into()))
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
pub(in crate::http) async fn batch(
    worker: &Worker,
    request: RequestContext<'_>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response<Body>, Problem> {
    if idempotency_key(&headers)?.is_some() {
        let detail = "a batch takes no Idempotency-Key; give each token a reference";
        return Err(Problem::malformed(detail).about("Idempotency-Key"));
    }
    let (config, digester) = (&worker.config, &request.access.digester);
    let items = read_items(&body, config.max_batch)?;
    config.quotas.admit_issues(digester, worker.engine.now(), items.len())?;
    let ttl_max = config.quotas.ttl_max(digester, config.max_ttl);
    let mut ops = Vec::with_capacity(items.len());
    let mut places = Vec::with_capacity(items.len());
    for item in items {
        let wanted = read(item.get().as_bytes(), &body, config, ttl_max);
        places.push(match wanted.and_then(|wanted| wanted.into_op(None, request.access)) {
            Ok((asked, op)) => {
                request.trail.issue(Some(*op.digest()), asked.by(), None);
                ops.push(op);
                Ok(asked)
            }
            Err(problem) => {
                request.trail.issue(None, None, Some(&problem));
                Err(problem)
            }
        });
    }
    drop(body);
    let by_reference = |asked: &&Asked| asked.by() == Some(By::Reference);
    let references = places.iter().flatten().filter(by_reference).count();
    admit_references(worker, request, references)?;
    let outcomes =
        if ops.is_empty() { Vec::new() } else { request.trail.call(worker, ops).await? };
    let settle = |place: usize, asked: &Asked, outcome| {
        asked.settle(worker, request, place, outcome).map(|(_, deadline)| deadline)
    };
    let (answer, taken) = write_results(places, outcomes, settle);
    charge_references(worker, request, taken);
    Ok(response::json(headers, StatusCode::OK, answer.into()))
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

/// The answer to a batch, and how many references in it were taken.
fn write_results(
    places: Vec<Result<Asked, Problem>>,
    outcomes: Vec<Outcome>,
    settle: impl Fn(usize, &Asked, Outcome) -> Result<UnixMillis, Problem>,
) -> (Vec<u8>, usize) {
    let (mut outcomes, mut taken) = (outcomes.into_iter(), 0);
    let mut answer = Vec::with_capacity(16 + 96 * places.len());
    answer.extend_from_slice(br#"{"results":["#);
    for (i, place) in places.into_iter().enumerate() {
        if i > 0 {
            answer.push(b',');
        }
        let result = place.and_then(|asked| {
            // One outcome for each command, in order: the engine's promise.
            let outcome = outcomes.next().unwrap_or(Outcome::ReadOnly);
            let settled = settle(i, &asked, outcome);
            taken += usize::from(settled.as_ref().is_err_and(|why| is_taken(&asked, why)));
            settled.map(|deadline| (asked.token, deadline))
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
    (answer, taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::namespace::Namespace;
    use crate::model::token::{Digester, SECRET_LEN, Secret};

    fn access() -> Access {
        let digester = Digester::new(&Secret::from_bytes([7; SECRET_LEN]), "default");
        Access::everything(Namespace::default(), digester)
    }

    fn status(text: &str) -> u16 {
        let config = Config { max_payload: 64, ..Config::default() };
        let body = Bytes::copy_from_slice(text.as_bytes());
        match read(&body, &body, &config, config.max_ttl) {
            Ok(_) => 200,
            Err(problem) => problem.status.as_u16(),
        }
    }

    #[test]
    fn the_payload_is_kept_byte_for_byte() {
        let payload = "{ \"a\" : [1.50e+1,\"\\u00e9\u{e9}\"],\"a\":\t2 }";
        let text = format!("{{\"payload\":  {payload}  }}");
        let (config, body) = (Config::default(), Bytes::from(text));
        let wanted = read(&body, &body, &config, config.max_ttl).unwrap();
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
        let asked = || Asked { token: Token::random().unwrap(), offer: None };
        let settle = |_, _: &Asked, outcome| match outcome {
            Outcome::Issued { deadline } => Ok(deadline),
            other => Err(offer::taken(&other, None, &access()).unwrap()),
        };
        let deadline = UnixMillis(1_769_860_800_007);
        let places = vec![Ok(asked()), Err(Problem::malformed("no")), Ok(asked())];
        let outcomes = vec![Outcome::Issued { deadline }, Outcome::Conflict];
        let (answer, taken) = write_results(places, outcomes, settle);
        assert_eq!(taken, 0, "no reference named any");
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
