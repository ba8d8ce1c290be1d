//! Put: stores a payload under a name that the client chose, in the place of what is there.
//!
//! `{"payload": JSON, "ttl": "15m" or seconds, "uses": n, "peek": true}`, where only the payload is
//! required. The name is in the path, or, for clients that have no name in a URL, the field `name`.
//! With `If-None-Match: *` (RFC 9110, 13.1.2) nothing that is there loses its place.

use std::time::Duration;

use bytes::Bytes;
use http::header::IF_NONE_MATCH;
use http::{HeaderValue, StatusCode};

use super::issue::ttl_max;
use super::{Answered, Request};
use crate::engine::{Put, When};
use crate::http::answer::problem::Problem;
use crate::http::answer::response;
use crate::http::ops::issue::{read, read_fields};
use crate::http::request::{json, named};
use crate::model::token::Digest;
use crate::service::context::Context;
use crate::service::ops::issue::Wanted;
use crate::service::ops::put::{self, Answer};

/// `PUT /v1/names/{name}` and `POST /v1/names`
pub(in crate::http) async fn one(request: Request<'_>) -> Answered {
    let Request { context, headers, token, body } = request;
    let when = match headers.get(IF_NONE_MATCH).map(HeaderValue::as_bytes) {
        None => When::Always,
        Some(b"*") => When::Absent,
        Some(_) => {
            let detail = "If-None-Match: only * is possible: tokens have no entity tags";
            return Err(Problem::malformed(detail).about("If-None-Match"));
        }
    };
    let (limits, ttl_max) = (&context.service.limits, ttl_max(&context));
    let (digest, wanted) = match token {
        Some(digest) => (digest, read(&body, &body, limits, ttl_max)?),
        None => read_named(&context, &body, ttl_max)?,
    };
    if wanted.reference.is_some() {
        let detail = "reference: a token under a name has no reference";
        return Err(Problem::malformed(detail).about("reference"));
    }
    let Wanted { payload, ttl, uses, peek, .. } = wanted;
    let (payload, default_ttl) = (payload.to_vec(), limits.default_ttl.min(ttl_max));
    drop(body);
    let ttl = Some(ttl);
    let put = Put { digest, payload, ttl, default_ttl, uses, peek, when, wants_previous: false };
    match put::one(&context, put).await? {
        Answer::Put { deadline, .. } => {
            let answer = format!(r#"{{"expires_at":"{deadline}"}}"#);
            Ok(response::json(headers, StatusCode::OK, answer.into()))
        }
        Answer::NotPut { .. } => {
            let detail = "there is a token under this name (If-None-Match: *)";
            Err(Problem::new(StatusCode::PRECONDITION_FAILED, detail).about("If-None-Match"))
        }
    }
}

/// Reads a put whose name is in the body.
fn read_named(
    context: &Context<'_>,
    body: &Bytes,
    ttl_max: Duration,
) -> Result<(Digest, Wanted), Problem> {
    const NAMES: [&str; 6] = ["name", "payload", "ttl", "uses", "peek", "reference"];
    let [name, payload, ttl, uses, peek, reference] = json::object(body, &NAMES)?;
    let missing = || Problem::malformed("name: the field is missing").about("name");
    let digest = named::name(name.ok_or_else(missing)?, &context.access.digester)?;
    // As for a name in the path: the audit log has the token of a put that is refused, too.
    context.trail.token(|| Some(digest));
    let fields = [payload, ttl, uses, peek, reference];
    Ok((digest, read_fields(fields, body, &context.service.limits, ttl_max)?))
}
