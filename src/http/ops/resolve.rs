//! Resolve: returns the payload of a token, or of many in one request.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::{Answered, Request};
use crate::http::answer::array::JsonArray;
use crate::http::answer::response;
use crate::http::request::list;
use crate::model::token::Digest;
use crate::service::context::Context;
use crate::service::ops::resolve;

/// `GET /v1/tokens/{token}`
pub(in crate::http) async fn one(request: Request<'_>) -> Answered {
    let digest = request.token()?;
    let Request { context, headers, .. } = request;
    let Some(reads) = &context.service.reads else { return answer(&context, headers, &digest) };
    let payload = resolve::one_in_cluster(&context, reads, &digest, Bytes::copy_from_slice).await?;
    Ok(response::payload(headers, payload))
}

/// The answer of a single server, without a wait.
pub(in crate::http) fn answer(
    context: &Context<'_>,
    headers: HeaderMap,
    digest: &Digest,
) -> Answered {
    let payload = resolve::one(context, digest, Bytes::copy_from_slice)?;
    Ok(response::payload(headers, payload))
}

/// `POST /v1/resolve`: answers with an array in the order of the request, `null` for a token that
/// was not found.
pub(in crate::http) async fn batch(request: Request<'_>) -> Answered {
    let Request { context, headers, body, .. } = request;
    let tokens = list::tokens(&context, &body)?;
    if let Some(reads) = &context.service.reads {
        let (new, push) = (|| JsonArray::new(tokens.digests.len()), JsonArray::push);
        let answer = resolve::many_in_cluster(&context, reads, &tokens, new, push).await?;
        return Ok(response::json(headers, StatusCode::OK, answer.finish()?));
    }
    let mut answer = JsonArray::new(tokens.digests.len());
    resolve::many(&context, &tokens, |payload| answer.push(payload))?;
    Ok(response::json(headers, StatusCode::OK, answer.finish()?))
}
