//! The header `Authorization`.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

use crate::model::time::UnixMillis;
use crate::service::authentication::{Authenticator, CachedCredentials, Denied, Presented};
use crate::service::principal::Principal;

/// The principal of a request with these headers at `now`.
pub(in crate::http) fn admit(
    authenticator: &Authenticator,
    cached: &CachedCredentials,
    headers: &HeaderMap,
    now: UnixMillis,
) -> Result<Principal, Denied> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let header = values.next().map(HeaderValue::as_bytes);
    // Two `Authorization` headers are ambiguous.
    if values.next().is_some() && authenticator.has_keys() {
        return Err(Denied::Wrong);
    }
    authenticator.admit(cached, presented(header), now)
}

/// The credentials in the value of `Authorization`, if there is one.
pub(in crate::http) fn presented(header: Option<&[u8]>) -> Presented<'_> {
    match header {
        None => Presented::Nothing,
        Some(value) => bearer(value).map_or(Presented::Malformed, Presented::Key),
    }
}

/// The key in the value of `Authorization` (RFC 6750, 2.1; the scheme is case-insensitive).
pub(in crate::http) fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = value.split_at_checked(b"bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| key.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_schemes_are_no_keys() {
        assert_eq!(bearer(b"Bearer abc"), Some(&b"abc"[..]));
        assert_eq!(bearer(b"BEARER  abc "), Some(&b"abc"[..]));
        for value in [&b""[..], b"Bearer", b"Bearerabc", b"Basic abc", b"abc"] {
            assert_eq!(bearer(value), None);
        }
    }
}
