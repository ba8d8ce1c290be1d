//! What statuses mean in the audit log and in the metrics.

use http::StatusCode;

use crate::audit::EventOutcome;
use crate::service::counters::Class;

/// The class of an answer in the metrics.
pub(in crate::http) fn class(status: StatusCode) -> Class {
    match status.as_u16() {
        ..400 => Class::Done,
        400..500 => Class::Refused,
        500.. => Class::Failed,
    }
}

/// The audit log's outcome for a status without a more specific one.
pub(in crate::http) fn meaning(status: StatusCode) -> EventOutcome {
    match status.as_u16() {
        200..=299 => EventOutcome::Ok,
        400 => EventOutcome::Malformed,
        401 => EventOutcome::Unauthorized,
        403 => EventOutcome::Forbidden,
        404 => EventOutcome::NotFound,
        405 => EventOutcome::MethodNotAllowed,
        408 => EventOutcome::Timeout,
        409 => EventOutcome::Conflict,
        412 => EventOutcome::PositionLost,
        413 => EventOutcome::TooLarge,
        415 => EventOutcome::UnsupportedMediaType,
        422 => EventOutcome::OutOfLimits,
        429 => EventOutcome::TooMany,
        503 => EventOutcome::Unavailable,
        507 => EventOutcome::Full,
        _ => EventOutcome::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_a_meaning() {
        for code in [400, 401, 403, 404, 405, 408, 409, 412, 413, 415, 422, 429, 503, 507] {
            let status = StatusCode::from_u16(code).unwrap();
            assert_ne!(meaning(status), EventOutcome::Error, "{code}");
        }
    }
}
