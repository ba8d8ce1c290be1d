//! Outcomes of statuses in the audit log.

use http::StatusCode;

use crate::service::audit_trail::NOT_FOUND;

/// The audit log's outcome for a status without a more specific one.
pub(in crate::http) fn meaning(status: StatusCode) -> &'static str {
    match status.as_u16() {
        200..=299 => "ok",
        400 => "malformed",
        401 => "unauthorized",
        403 => "forbidden",
        404 => NOT_FOUND,
        405 => "method_not_allowed",
        408 => "timeout",
        409 => "conflict",
        413 => "too_large",
        415 => "unsupported_media_type",
        422 => "out_of_limits",
        429 => "too_many",
        503 => "unavailable",
        507 => "full",
        _ => "error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_a_meaning() {
        for code in [400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 429, 503, 507] {
            assert_ne!(meaning(StatusCode::from_u16(code).unwrap()), "error", "{code}");
        }
    }
}
