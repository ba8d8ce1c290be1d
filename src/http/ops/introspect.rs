//! Introspect: tells whether a token is alive, as RFC 7662 says.

use super::{Answered, Request};
use crate::http::answer::oauth;
use crate::service::ops::introspect;

/// `POST /oauth2/introspect`. A text that cannot be a token is not active, like an unknown one.
pub(in crate::http) async fn one(request: Request<'_>) -> Answered {
    let Request { context, headers, token, .. } = request;
    let text = introspect::one(&context, token).await?;
    Ok(oauth::json(headers, text))
}
