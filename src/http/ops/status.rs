//! Status: returns deadline, uses left and payload size of tokens, without consuming a use.

use http::{HeaderMap, StatusCode};

use super::{Answered, Request};
use crate::engine::Status;
use crate::http::answer::array::JsonArray;
use crate::http::answer::response;
use crate::http::request::list;
use crate::model::token::Digest;
use crate::service::context::Context;
use crate::service::ops::status;

/// `GET /v1/tokens/{token}/status`
pub(in crate::http) async fn one(request: Request<'_>) -> Answered {
    let digest = request.token()?;
    let Request { context, headers, .. } = request;
    let Some(reads) = &context.service.reads else { return answer(&context, headers, &digest) };
    let status = status::one_in_cluster(&context, reads, &digest).await?;
    Ok(response::json(headers, StatusCode::OK, text(&status).into()))
}

/// The answer of a single server, without a wait.
pub(in crate::http) fn answer(
    context: &Context<'_>,
    headers: HeaderMap,
    digest: &Digest,
) -> Answered {
    let status = status::one(context, digest)?;
    Ok(response::json(headers, StatusCode::OK, text(&status).into()))
}

/// `POST /v1/status`: answers with an array in the order of the request, `null` for a token that
/// was not found.
pub(in crate::http) async fn batch(request: Request<'_>) -> Answered {
    let Request { context, headers, body, .. } = request;
    let tokens = list::tokens(&context, &body)?;
    let mut answer = JsonArray::new(tokens.digests.len());
    let push = |status: Option<Status>| {
        let text = status.as_ref().map(text);
        answer.push(text.as_deref().map(str::as_bytes));
    };
    match &context.service.reads {
        Some(reads) => status::many_in_cluster(&context, reads, &tokens, push).await?,
        None => status::many(&context, &tokens, push)?,
    }
    Ok(response::json(headers, StatusCode::OK, answer.finish()?))
}

fn text(status: &Status) -> String {
    format!(
        r#"{{"expires_at":"{}","uses_left":{},"size":{}}}"#,
        status.expires_at, status.uses_left, status.value_len
    )
}
