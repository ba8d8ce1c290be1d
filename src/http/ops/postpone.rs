//! Postpone: extend's twin.

use http::StatusCode;

use super::{Answered, Request};
use crate::http::answer::problem::Problem;
use crate::http::answer::response;
use crate::http::request::json;
use crate::service::ops::postpone;

/// `POST /v1/tokens/{token}/postpone`
pub(in crate::http) async fn one(request: Request<'_>) -> Answered {
    let digest = request.token()?;
    let Request { context, headers, body, .. } = request;
    let [ttl] = json::object(&body, &["ttl"])?;
    let max = context.service.ttl_max(&context.access.digester);
    let missing = || Problem::malformed("ttl: the field is missing").about("ttl");
    let ttl = json::ttl(ttl.ok_or_else(missing)?, max)?;
    let deadline = postpone::one(&context, digest, ttl).await?;
    let text = format!(r#"{{"expires_at":"{deadline}"}}"#);
    Ok(response::json(headers, StatusCode::OK, text.into()))
}
