//! The answers of the OAuth endpoints: refusals in OAuth's form (RFC 6749, 5.2), and what RFC 6749
//! asks of the headers of every answer.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, PRAGMA, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::http::answer::problem::Problem;
use crate::http::answer::response::{self, Body};

const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const BASIC: HeaderValue = HeaderValue::from_static("Basic realm=\"jeton\"");
const BEARER: HeaderValue = HeaderValue::from_static("Bearer realm=\"jeton\"");

#[derive(serde::Serialize)]
struct Document<'a> {
    error: &'static str,
    error_description: &'a str,
}

/// An answer with a JSON body. `headers` are those of the request, whose allocation is reused.
pub(in crate::http) fn json(headers: HeaderMap, body: Bytes) -> Response<Body> {
    let mut response = response::json(headers, StatusCode::OK, body);
    response.headers_mut().insert(PRAGMA, NO_CACHE);
    response
}

/// 200, without a body.
pub(in crate::http) fn done() -> Response<Body> {
    let mut response = response::no_content();
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(PRAGMA, NO_CACHE);
    response
}

/// The answer with this problem in OAuth's form.
pub(in crate::http) fn refusal(problem: Problem) -> Response<Body> {
    let document = Document {
        error: code(&problem),
        error_description: &problem.detail.replace(['"', '\\'], "'"),
    };
    // Two strings always serialize.
    let body = serde_json::to_vec(&document).unwrap_or_default();
    let mut response = problem.into_response();
    *response.body_mut() = Body::new(body.into());
    let is_unauthorized = response.status() == StatusCode::UNAUTHORIZED;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(PRAGMA, NO_CACHE);
    if is_unauthorized {
        headers.insert(WWW_AUTHENTICATE, BASIC);
        headers.append(WWW_AUTHENTICATE, BEARER);
    }
    response
}

/// The error code (RFC 6749, 4.1.2.1 and 5.2; RFC 6750, 3.1).
fn code(problem: &Problem) -> &'static str {
    match problem.status {
        StatusCode::UNAUTHORIZED => "invalid_client",
        // Only a key without the scope is told which one it needs.
        StatusCode::FORBIDDEN if problem.challenge.is_some() => "insufficient_scope",
        StatusCode::FORBIDDEN => "access_denied",
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            "temporarily_unavailable"
        }
        status if status.is_server_error() => "server_error",
        _ => "invalid_request",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::scope::Scope;
    use crate::service::refusal::Refusal;

    #[test]
    fn each_refusal_has_its_code_and_a_client_without_a_key_both_challenges() {
        let scope = Scope::Resolve;
        for (problem, expected) in [
            (Problem::malformed("token: the \"parameter\" is missing"), "invalid_request"),
            (Problem::method_not_allowed("POST".into()), "invalid_request"),
            (Problem::from(Refusal::NoKey), "invalid_client"),
            (Problem::from(Refusal::WrongKey), "invalid_client"),
            (Problem::from(Refusal::KeyNeeded(scope)), "invalid_client"),
            (Problem::from(Refusal::MissingScope(scope)), "insufficient_scope"),
            (Problem::new(StatusCode::FORBIDDEN, "Origin"), "access_denied"),
            (Problem::unavailable("later"), "temporarily_unavailable"),
            (Problem::from(Refusal::Unexpected), "server_error"),
        ] {
            assert_eq!(code(&problem), expected, "{problem:?}");
            let response = refusal(problem);
            let headers = response.headers();
            let challenges: Vec<_> = headers.get_all(WWW_AUTHENTICATE).iter().collect();
            let count = match expected {
                "invalid_client" => 2,
                "insufficient_scope" => 1,
                _ => 0,
            };
            assert_eq!(challenges.len(), count, "{expected}");
            assert_eq!(headers["cache-control"], "no-store");
            assert_eq!(headers["pragma"], "no-cache");
            assert_eq!(headers["content-type"], "application/json");
        }
    }
}
