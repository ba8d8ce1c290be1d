//! From a path to what it names. Works on the bytes of the path, without a copy.

/// What a path of the data listener names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Route<'a> {
    /// `/v1/tokens`
    Tokens,
    /// `/v1/tokens/batch`
    TokensBatch,
    /// `/v1/resolve`
    Resolve,
    /// `/v1/consume`
    Consume,
    /// `/v1/status`
    Status,
    /// `/v1/extend`
    Extend,
    /// `/v1/revoke`
    Revoke,
    /// `/v1/tokens/{token}`
    Token(&'a [u8]),
    /// `/v1/tokens/{token}/consume`
    TokenConsume(&'a [u8]),
    /// `/v1/tokens/{token}/status`
    TokenStatus(&'a [u8]),
}

impl<'a> Route<'a> {
    /// The token in the path, if the route has one.
    pub(in crate::http) fn token(self) -> Option<&'a [u8]> {
        match self {
            Route::Token(token) | Route::TokenConsume(token) | Route::TokenStatus(token) => {
                Some(token)
            }
            Route::Tokens
            | Route::TokensBatch
            | Route::Resolve
            | Route::Consume
            | Route::Status
            | Route::Extend
            | Route::Revoke => None,
        }
    }

    /// The methods that a route has, for `Allow`.
    pub(in crate::http) fn methods(self) -> &'static str {
        match self {
            Route::Token(_) => "GET, PATCH, DELETE",
            Route::TokenStatus(_) => "GET",
            Route::Tokens
            | Route::TokensBatch
            | Route::Resolve
            | Route::Consume
            | Route::Status
            | Route::Extend
            | Route::Revoke
            | Route::TokenConsume(_) => "POST",
        }
    }
}

/// The route of `path`, if there is one. Whether a token in it has the form of a token is not
/// looked at.
pub(in crate::http) fn route(path: &[u8]) -> Option<Route<'_>> {
    let rest = path.strip_prefix(b"/v1/")?;
    let Some(rest) = rest.strip_prefix(b"tokens") else {
        return match rest {
            b"resolve" => Some(Route::Resolve),
            b"consume" => Some(Route::Consume),
            b"status" => Some(Route::Status),
            b"extend" => Some(Route::Extend),
            b"revoke" => Some(Route::Revoke),
            _ => None,
        };
    };
    let rest = match rest {
        b"" => return Some(Route::Tokens),
        b"/batch" => return Some(Route::TokensBatch),
        _ => rest.strip_prefix(b"/")?,
    };
    if let Some(token) = rest.strip_suffix(b"/consume") {
        return segment(token).map(Route::TokenConsume);
    }
    if let Some(token) = rest.strip_suffix(b"/status") {
        return segment(token).map(Route::TokenStatus);
    }
    segment(rest).map(Route::Token)
}

fn segment(segment: &[u8]) -> Option<&[u8]> {
    (!segment.is_empty() && !segment.contains(&b'/')).then_some(segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_of_the_contract() {
        for (path, expected) in [
            ("/v1/tokens", Route::Tokens),
            ("/v1/tokens/batch", Route::TokensBatch),
            ("/v1/resolve", Route::Resolve),
            ("/v1/consume", Route::Consume),
            ("/v1/status", Route::Status),
            ("/v1/extend", Route::Extend),
            ("/v1/revoke", Route::Revoke),
            ("/v1/tokens/abc", Route::Token(b"abc")),
            ("/v1/tokens/consume", Route::Token(b"consume")),
            ("/v1/tokens/abc/consume", Route::TokenConsume(b"abc")),
            ("/v1/tokens/abc/status", Route::TokenStatus(b"abc")),
        ] {
            assert_eq!(route(path.as_bytes()), Some(expected), "{path}");
        }
    }

    #[test]
    fn nothing_else_is_a_route() {
        for path in [
            "",
            "/",
            "*",
            "/v1",
            "/v1/",
            "/v1/tokens/",
            "/v1/tokensx",
            "/v1/tokens//consume",
            "/v1/tokens/a/b",
            "/v1/tokens/a/b/consume",
            "/v1/tokens/a/",
            "/v1/resolve/",
            "/v1/revoke/",
            "/v1/status/a",
            "/v2/tokens",
            "//v1/tokens",
        ] {
            assert_eq!(route(path.as_bytes()), None, "{path}");
        }
    }
}
