//! How a client of the OAuth endpoints gives its key (RFC 6749, 2.3.1; RFC 6750, 2.1): as a bearer
//! token, as the password of Basic, or as `client_secret` in the form.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

use crate::http::answer::problem::Problem;
use crate::http::request::authorization::bearer;
use crate::http::request::form::{Form, decoded};
use crate::service::authentication::Presented;

/// The secret of a client.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::http) enum ClientSecret<'a> {
    /// None: the client may have a certificate.
    Nothing,
    /// A text that may be a key.
    Key(Cow<'a, [u8]>),
    /// Credentials that are not a key.
    Malformed,
}

impl<'a> ClientSecret<'a> {
    /// The secret in the head of a request.
    ///
    /// # Errors
    /// There is more than one.
    pub(in crate::http) fn in_head(headers: &'a HeaderMap) -> Result<Self, Problem> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let value = values.next().map(HeaderValue::as_bytes);
        if values.next().is_some() {
            return Err(Problem::malformed("Authorization is repeated").about("Authorization"));
        }
        Ok(value.map_or(Self::Nothing, Self::of_header))
    }

    /// The secret in the value of `Authorization`.
    pub(in crate::http) fn of_header(value: &'a [u8]) -> Self {
        match bearer(value).map(Cow::Borrowed).or_else(|| basic(value)) {
            Some(key) => Self::Key(key),
            None => Self::Malformed,
        }
    }

    /// The secret of a whole request.
    ///
    /// # Errors
    /// There is more than one.
    pub(in crate::http) fn of(headers: &'a HeaderMap, form: &'a Form<'_>) -> Result<Self, Problem> {
        match (Self::in_head(headers)?, form.client_secret()?) {
            (secret, None) => Ok(secret),
            (Self::Nothing, Some(secret)) => Ok(Self::Key(Cow::Borrowed(secret))),
            (_, Some(_)) => {
                let detail = "a secret is given both in Authorization and as client_secret";
                Err(Problem::malformed(detail).about("client_secret"))
            }
        }
    }

    /// As credentials for the authentication.
    pub(in crate::http) fn presented(&self) -> Presented<'_> {
        match self {
            Self::Nothing => Presented::Nothing,
            Self::Key(key) => Presented::Key(key),
            Self::Malformed => Presented::Malformed,
        }
    }
}

/// The key in credentials of the scheme Basic: what follows the last colon, since a client id may
/// have colons and a key has none. The id is not looked at.
fn basic(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let (scheme, credentials) = value.split_at_checked(b"basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let credentials = STANDARD.decode(credentials.trim_ascii()).ok()?;
    let colon = memchr::memrchr(b':', &credentials)?;
    Some(Cow::Owned(decoded(&credentials[colon + 1..]).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(value: &str) -> Option<Vec<u8>> {
        match ClientSecret::of_header(value.as_bytes()) {
            ClientSecret::Key(key) => Some(key.into_owned()),
            _ => None,
        }
    }

    #[test]
    fn a_key_is_a_bearer_token_or_a_password() {
        let basic = |credentials: &str| format!("Basic {}", STANDARD.encode(credentials));
        for value in [
            "Bearer s3".to_owned(),
            basic("id:s3"),
            basic(":s3"),
            basic("https://rs.example:443:s3"),
            basic("id:s%33"),
            basic("id:s3").replace("Basic", "bAsIc"),
        ] {
            assert_eq!(key(&value).as_deref(), Some(&b"s3"[..]), "{value}");
        }
        assert_eq!(key(&basic("id:a+b%2B")).as_deref(), Some(&b"a b+"[..]));
        for value in ["Basic", "Basic !", "Digest x", "", &basic("s3")] {
            assert_eq!(key(value), None, "{value}");
        }
    }

    #[test]
    fn two_secrets_are_refused_whatever_they_are() {
        let of = |values: &[&'static str], body: &str| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, HeaderValue::from_static(value));
            }
            let form = Form::read(body.as_bytes());
            ClientSecret::of(&headers, &form).map(|secret| secret != ClientSecret::Nothing).ok()
        };
        assert_eq!(of(&[], ""), Some(false));
        assert_eq!(of(&["Bearer a"], "client_secret="), Some(true));
        assert_eq!(of(&[], "client_secret=a"), Some(true));
        assert_eq!(of(&["Bearer a"], "client_secret=a"), None);
        assert_eq!(of(&["Digest a"], "client_secret=a"), None);
        assert_eq!(of(&["Bearer a", "Bearer a"], ""), None);
    }
}
