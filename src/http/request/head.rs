//! Headers that every operation shares: the host, a browser's preflight, and `Idempotency-Key`.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HOST,
    VARY,
};
use http::{HeaderMap, HeaderValue, Method, Response, Uri, Version};

use crate::http::answer::problem::Problem;
use crate::http::answer::response::{self, Body};
use crate::http::h1::head_syntax::is_host;
use crate::http::request::browser::{default_port, is_same};
use crate::service::ops::KEY_LEN_MAX;
use crate::service::reads::Demand;

/// Headers that pages may send in addition to those that are always allowed.
const CORS_REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, idempotency-key, if-none-match, jeton-at-least, jeton-read",
);
/// Headers of an answer that pages may read in addition to those that are always allowed.
const CORS_ANSWER_HEADERS: HeaderValue =
    HeaderValue::from_static("jeton-cluster, jeton-position, retry-after");
/// Time for which a browser may cache the answer to a preflight, in seconds.
const CORS_MAX_AGE: HeaderValue = HeaderValue::from_static("600");
const PRIVATE_NETWORK_REQUEST: &str = "access-control-request-private-network";
const PRIVATE_NETWORK_ALLOW: &str = "access-control-allow-private-network";

/// The host that a request is for; `None` in HTTP/1.0 without a `Host`.
pub(in crate::http) fn host<'a>(
    uri: &'a Uri,
    version: Version,
    headers: &'a HeaderMap,
) -> Result<Option<&'a [u8]>, Problem> {
    let mut values = headers.get_all(HOST).iter();
    let header = values.next().map(HeaderValue::as_bytes);
    let target = uri.authority().map(|authority| authority.as_str().as_bytes());
    let wrong = |detail| Problem::malformed(detail).about("Host").closing();
    if values.next().is_some() {
        return Err(wrong("Host is repeated"));
    }
    if let (Some(target), Some(header)) = (target, header) {
        let scheme = uri.scheme_str().unwrap_or_default().as_bytes();
        if !is_same(target, header, default_port(scheme)) {
            return Err(wrong("the target's host and the Host header differ"));
        }
    }
    let host = target.or(header);
    // For HTTP/1, the presence and the form of Host were checked before hyper.
    match host {
        None if version >= Version::HTTP_2 => Err(wrong("neither :authority nor Host")),
        Some(host) if !is_host(host) => Err(wrong("not a host")),
        _ => Ok(host),
    }
}

/// The value of a header that is there once.
pub(in crate::http) fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.as_bytes();
    values.next().is_none().then_some(value)
}

/// Whether the request is a preflight of a browser (Fetch, 3.3.2).
pub(in crate::http) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to a preflight from a page of an allowed origin, for a path with `methods`.
pub(in crate::http) fn preflight(methods: &str, headers: &HeaderMap) -> Response<Body> {
    let mut response = response::no_content();
    grant(methods, headers, response.headers_mut());
    response
}

/// Answers a preflight with the headers `asked`: pages of its origin may use these methods.
pub(in crate::http) fn grant(methods: &str, asked: &HeaderMap, answer: &mut HeaderMap) {
    if let Ok(methods) = HeaderValue::from_str(methods) {
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    }
    answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, CORS_REQUEST_HEADERS);
    answer.insert(ACCESS_CONTROL_MAX_AGE, CORS_MAX_AGE);
    if asked.contains_key(PRIVATE_NETWORK_REQUEST) {
        answer.insert(PRIVATE_NETWORK_ALLOW, HeaderValue::from_static("true"));
    }
}

/// Allows the pages of `origin` to read an answer.
pub(in crate::http) fn readable_by(origin: HeaderValue, answer: &mut HeaderMap) {
    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, CORS_ANSWER_HEADERS);
    answer.insert(VARY, HeaderValue::from_static("origin"));
}

/// What `Jeton-Read` and `Jeton-At-Least` demand of an answer.
pub(in crate::http) fn demand(headers: &HeaderMap) -> Result<Demand, Problem> {
    let is_linear = match single(headers, "jeton-read", "Jeton-Read")? {
        None => false,
        Some(b"linear") => true,
        Some(b"local") => false,
        Some(_) => {
            let problem = Problem::malformed("Jeton-Read: must be local or linear");
            return Err(problem.about("Jeton-Read"));
        }
    };
    let read = |position: &[u8]| std::str::from_utf8(position).ok()?.parse().ok();
    let at_least = single(headers, "jeton-at-least", "Jeton-At-Least")?
        .map(|position| {
            read(position).ok_or_else(|| {
                let detail = "Jeton-At-Least: must be the value of a Jeton-Position";
                Problem::malformed(detail).about("Jeton-At-Least")
            })
        })
        .transpose()?;
    Ok(Demand { at_least, is_linear })
}

/// The value of a header that may be given once.
fn single<'a>(
    headers: &'a HeaderMap,
    field: &str,
    name: &'static str,
) -> Result<Option<&'a [u8]>, Problem> {
    let mut values = headers.get_all(field).iter();
    let value = values.next().map(HeaderValue::as_bytes);
    match values.next() {
        None => Ok(value),
        Some(_) => Err(Problem::malformed(format!("{name} is repeated")).about(name)),
    }
}

/// The value of `Idempotency-Key`, if there is one.
pub(in crate::http) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&[u8]>, Problem> {
    const NAME: &str = "Idempotency-Key";
    let Some(key) = single(headers, "idempotency-key", NAME)? else { return Ok(None) };
    if key.is_empty() || key.len() > KEY_LEN_MAX {
        let detail = format!("Idempotency-Key: must have 1 to {KEY_LEN_MAX} bytes");
        return Err(Problem::out_of_limits(detail).about(NAME));
    }
    Ok(Some(key))
}
