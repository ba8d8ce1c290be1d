//! Whether a body has the type that its endpoint takes, in UTF-8 and without a coding.

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};

use crate::http::answer::problem::Problem;

/// Charsets in which every text is also valid UTF-8.
const CHARSETS: [&[u8]; 3] = [b"utf-8", b"utf8", b"us-ascii"];

/// The type of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MediaType {
    /// An HTML form cannot send this type, and for other requests of a page the browser sends a
    /// preflight first (see [`crate::http::request::browser`]).
    Json,
    /// What OAuth clients send, and HTML forms too.
    Form,
}

impl MediaType {
    fn essence(self) -> &'static [u8] {
        match self {
            Self::Json => b"application/json",
            Self::Form => b"application/x-www-form-urlencoded",
        }
    }

    fn detail(self) -> &'static str {
        match self {
            Self::Json => "Content-Type: must be application/json",
            Self::Form => "Content-Type: must be application/x-www-form-urlencoded",
        }
    }
}

/// A non-empty body must have the type `wanted`.
pub(super) fn check_type(headers: &HeaderMap, wanted: MediaType) -> Result<(), Problem> {
    let unsupported = |field: &'static str, detail: &'static str| {
        let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail);
        Err(problem.about(field).closing())
    };
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return unsupported("Content-Type", wanted.detail());
    };
    let mut parts = parts(value.as_bytes());
    let essence = parts.next().unwrap_or_default();
    if !essence.trim_ascii().eq_ignore_ascii_case(wanted.essence()) {
        return unsupported("Content-Type", wanted.detail());
    }
    let is_listed = |charset: &[u8]| CHARSETS.iter().any(|name| charset.eq_ignore_ascii_case(name));
    if !parts.filter_map(charset).all(is_listed) {
        return unsupported("Content-Type", "Content-Type: the charset must be utf-8");
    }
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    if !codings.all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return unsupported("Content-Encoding", "Content-Encoding: must be identity");
    }
    Ok(())
}

/// Splits a media type at its semicolons, except those in quotes.
fn parts(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    value.split(move |byte| {
        let is_end = *byte == b';' && !is_quoted;
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_quoted,
            b'"' => is_quoted = !is_quoted,
            _ => (),
        }
        is_end
    })
}

/// The value of the parameter, if it is the charset.
fn charset(parameter: &[u8]) -> Option<&[u8]> {
    let equals = memchr::memchr(b'=', parameter)?;
    let (name, value) = (parameter[..equals].trim_ascii(), parameter[equals + 1..].trim_ascii());
    let inner = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    name.eq_ignore_ascii_case(b"charset").then_some(inner.unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn only_json_is_taken() {
        for (value, is_taken) in [
            ("application/json", true),
            ("Application/JSON ; charset=utf-8", true),
            ("application/json;charset=\"UTF8\"", true),
            ("application/json; Charset = us-ascii", true),
            ("application/json; a=\"\\\"; charset=utf-16\"; b", true),
            ("application/json; charset=utf-16", false),
            ("application/json; charset=", false),
            ("application/json; charset=utf-8; charset=latin1", false),
            ("application/problem+json", false),
            ("text/plain", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
            assert_eq!(check_type(&headers, MediaType::Json).is_ok(), is_taken, "{value}");
            headers.append(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            assert!(check_type(&headers, MediaType::Json).is_err(), "{value} and another");
        }
        assert!(check_type(&HeaderMap::new(), MediaType::Json).is_err(), "none");
        for (coding, is_taken) in [("Identity", true), ("gzip", false), ("identity, br", false)] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
            assert_eq!(check_type(&headers, MediaType::Json).is_ok(), is_taken, "{coding}");
        }
    }

    #[test]
    fn a_form_is_taken_where_it_is_wanted() {
        for (value, is_taken) in [
            ("application/x-www-form-urlencoded", true),
            ("application/x-www-form-urlencoded;charset=UTF-8", true),
            ("application/x-www-form-urlencoded; charset=iso-8859-1", false),
            ("multipart/form-data; boundary=a", false),
            ("application/json", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
            assert_eq!(check_type(&headers, MediaType::Form).is_ok(), is_taken, "{value}");
        }
    }
}
