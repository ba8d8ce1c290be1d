//! Consume: returns the payload and uses up one use.

use http::StatusCode;

use super::{Answered, Request};
use crate::http::answer::array::JsonArray;
use crate::http::answer::response;
use crate::http::request::head::idempotency_key;
use crate::http::request::list;
use crate::service::ops::consume;

/// `POST /v1/tokens/{token}/consume`
pub(in crate::http) async fn one(request: Request<'_>) -> Answered {
    let digest = request.token()?;
    let Request { context, headers, .. } = request;
    let payload = consume::one(&context, digest, idempotency_key(&headers)?).await?;
    Ok(response::payload(headers, payload.into()))
}

/// `POST /v1/consume`: consumes each token separately and answers with an array in the order of the
/// request, `null` for a token that was not found.
pub(in crate::http) async fn batch(request: Request<'_>) -> Answered {
    let Request { context, headers, body, .. } = request;
    let key = idempotency_key(&headers)?;
    let tokens = list::tokens(&context, &body)?;
    drop(body);
    let mut answer = JsonArray::new(tokens.digests.len());
    consume::many(&context, tokens, key, |payload| answer.push(payload)).await?;
    Ok(response::json(headers, StatusCode::OK, answer.finish()?))
}
