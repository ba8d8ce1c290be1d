//! Postpone: extend's twin.

use std::time::Duration;

use super::extend;
use crate::model::time::UnixMillis;
use crate::model::token::Digest;
use crate::service::context::Context;
use crate::service::refusal::Refusal;

/// The deadline of a token, `ttl` from now.
pub(crate) async fn one(
    context: &Context<'_>,
    digest: Digest,
    ttl: Duration,
) -> Result<UnixMillis, Refusal> {
    extend::one(context, digest, ttl).await
}
