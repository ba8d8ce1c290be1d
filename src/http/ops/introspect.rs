//! Introspect: tells whether a token is alive, as RFC 7662 says.

use super::{Answered, Request};
use crate::engine::Introspected;
use crate::http::answer::introspection::{INACTIVE, Introspection};
use crate::http::answer::oauth;
use crate::service::ops::introspect;

/// `POST /oauth2/introspect`. A text that cannot be a token is not active, like an unknown one.
pub(in crate::http) async fn one(request: Request<'_>) -> Answered {
    let Request { context, headers, token, .. } = request;
    let found = introspect::one(&context, token, text).await?;
    let body = found.map_or_else(|| INACTIVE.into(), Into::into);
    Ok(oauth::json(headers, body))
}

fn text(token: &Introspected<'_>) -> Vec<u8> {
    let answer = Introspection::of(token);
    let mut text = Vec::with_capacity(answer.len());
    answer.write(&mut text);
    text
}
