//! Revoke: removes a token; the answer is the same for an unknown one.

use super::{Answered, Request};
use crate::http::answer::{oauth, response};
use crate::http::request::list;
use crate::service::ops::revoke;

/// `DELETE /v1/tokens/{token}`
pub(in crate::http) async fn one(request: Request<'_>) -> Answered {
    let digest = request.token()?;
    revoke::one(&request.context, digest).await?;
    Ok(response::no_content())
}

/// `POST /oauth2/revoke`, as RFC 7009 says: one answer, also for a text that cannot be a token.
pub(in crate::http) async fn by_form(request: Request<'_>) -> Answered {
    let Request { context, token, .. } = request;
    context.trail.token(|| token);
    if let Some(digest) = token {
        revoke::one(&context, digest).await?;
    }
    Ok(oauth::done())
}

/// `POST /v1/revoke`: one answer for all tokens.
pub(in crate::http) async fn batch(request: Request<'_>) -> Answered {
    let Request { context, body, .. } = request;
    let tokens = list::tokens(&context, &body)?;
    drop(body);
    revoke::many(&context, tokens).await?;
    Ok(response::no_content())
}
