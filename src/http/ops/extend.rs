//! Extend: moves the deadline of a token later; with `"shorten": true` also earlier.

use http::StatusCode;

use super::{Answered, Request};
use crate::engine::DeadlineWhen;
use crate::http::answer::array::JsonArray;
use crate::http::answer::problem::Problem;
use crate::http::answer::response;
use crate::http::request::{json, list};
use crate::model::time::UnixMillis;
use crate::service::ops::deadline::{self, Answer};
use crate::service::ops::extend;

/// `PATCH /v1/tokens/{token}`
pub(in crate::http) async fn one(request: Request<'_>) -> Answered {
    let digest = request.token()?;
    let Request { context, headers, body, .. } = request;
    let [ttl, shorten] = json::object(&body, &["ttl", "shorten"])?;
    let max = context.service.ttl_max(&context.access.digester);
    let may_shorten = shorten.map(|raw| json::boolean(raw, "shorten")).transpose()?;
    let missing = || Problem::malformed("ttl: the field is missing").about("ttl");
    let ttl = json::ttl(ttl.ok_or_else(missing)?, max)?;
    if may_shorten == Some(true) {
        let deadline = context.service.token_time().plus(ttl);
        return match deadline::one(&context, digest, deadline, DeadlineWhen::Always).await? {
            Answer::Set(deadline) | Answer::Kept(deadline) => {
                Ok(response::json(headers, StatusCode::OK, text(deadline).into()))
            }
            // It has passed meanwhile.
            Answer::Revoked => Err(Problem::not_found()),
        };
    }
    let deadline = extend::one(&context, digest, ttl).await?;
    Ok(response::json(headers, StatusCode::OK, text(deadline).into()))
}

/// `POST /v1/extend`: answers with an array in the order of the request, `null` for a token that
/// was not found.
pub(in crate::http) async fn batch(request: Request<'_>) -> Answered {
    let Request { context, headers, body, .. } = request;
    let (tokens, ttl) = list::tokens_and_ttl(&context, &body)?;
    drop(body);
    let mut answer = JsonArray::new(tokens.digests.len());
    extend::many(&context, tokens, ttl, |deadline| {
        let text = deadline.map(text);
        answer.push(text.as_deref().map(str::as_bytes));
    })
    .await?;
    Ok(response::json(headers, StatusCode::OK, answer.finish()?))
}

fn text(deadline: UnixMillis) -> String {
    format!(r#"{{"expires_at":"{deadline}"}}"#)
}
