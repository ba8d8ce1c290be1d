//! Bodies of the type `application/x-www-form-urlencoded`: the parameters that the OAuth endpoints
//! read.

use std::borrow::Cow;

use percent_encoding::percent_decode;

use crate::http::answer::problem::Problem;

/// The parameters of a form. Unknown ones are ignored, also if they are repeated (RFC 6749, 3.1).
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::http) struct Form<'b> {
    token: Parameter<'b>,
    client_secret: Parameter<'b>,
}

/// A parameter of a form.
#[derive(Debug, Default, PartialEq, Eq)]
enum Parameter<'b> {
    #[default]
    Missing,
    Once(Cow<'b, [u8]>),
    Repeated,
}

impl<'b> Parameter<'b> {
    fn add(&mut self, value: &'b [u8]) {
        *self = match self {
            Self::Missing => Self::Once(decoded(value)),
            Self::Once(_) | Self::Repeated => Self::Repeated,
        };
    }
}

impl<'b> Form<'b> {
    /// Reads a form.
    pub(in crate::http) fn read(body: &'b [u8]) -> Self {
        let mut form = Self::default();
        for parameter in body.split(|byte| *byte == b'&') {
            let equals = memchr::memchr(b'=', parameter);
            let (name, value) = match equals {
                Some(at) => (&parameter[..at], &parameter[at + 1..]),
                None => (parameter, &b""[..]),
            };
            match &*decoded(name) {
                b"token" => form.token.add(value),
                b"client_secret" => form.client_secret.add(value),
                _ => {}
            }
        }
        form
    }

    /// The token: any bytes, at least one.
    ///
    /// # Errors
    /// It is missing, empty or repeated.
    pub(in crate::http) fn token(&self) -> Result<&[u8], Problem> {
        let detail = match &self.token {
            Parameter::Once(token) if !token.is_empty() => return Ok(token),
            Parameter::Once(_) => "token: must not be empty",
            Parameter::Missing => "token: the parameter is missing",
            Parameter::Repeated => "token: the parameter is repeated",
        };
        Err(Problem::malformed(detail).about("token"))
    }

    /// The secret of the client; `None` if it is missing or empty, which mean the same.
    ///
    /// # Errors
    /// It is repeated.
    pub(in crate::http) fn client_secret(&self) -> Result<Option<&[u8]>, Problem> {
        match &self.client_secret {
            Parameter::Missing => Ok(None),
            Parameter::Once(secret) => Ok(Some(&**secret).filter(|secret| !secret.is_empty())),
            Parameter::Repeated => {
                let detail = "client_secret: the parameter is repeated";
                Err(Problem::malformed(detail).about("client_secret"))
            }
        }
    }
}

/// A name or a value without its encoding. An invalid escape stands for itself, as in the URL
/// standard. The result may be any bytes: two texts that differ stay different.
pub(in crate::http) fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'+', text).is_none() {
        return percent_decode(text).into();
    }
    let space = |byte: &u8| if *byte == b'+' { b' ' } else { *byte };
    let spaced: Vec<u8> = text.iter().map(space).collect();
    Cow::Owned(percent_decode(&spaced).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(body: &str) -> Option<Vec<u8>> {
        Form::read(body.as_bytes()).token().ok().map(<[u8]>::to_vec)
    }

    #[test]
    fn a_token_is_given_once_and_not_empty() {
        for body in ["token=a", "a=b&token=a&c", "&&token=a&", "token_type_hint=x&t%6fken=%61"] {
            assert_eq!(token(body).as_deref(), Some(&b"a"[..]), "{body}");
        }
        for body in
            ["", "token", "token=", "Token=a", "token=a&token=a", "token=&token=a", " token=a"]
        {
            assert_eq!(token(body), None, "{body}");
        }
    }

    #[test]
    fn values_are_decoded_byte_for_byte() {
        for (value, bytes) in [
            ("a+b", &b"a b"[..]),
            ("a%2Bb", b"a+b"),
            ("%ff%FE", b"\xff\xfe"),
            ("a%zz%", b"a%zz%"),
            ("a=b", b"a=b"),
            ("%00", b"\0"),
        ] {
            assert_eq!(token(&format!("token={value}")).as_deref(), Some(bytes), "{value}");
        }
    }

    #[test]
    fn unknown_parameters_may_be_repeated_and_a_secret_may_not() {
        let secret = |body: &'static str| {
            let form = Form::read(body.as_bytes());
            form.client_secret().map(|secret| secret.map(<[u8]>::to_vec)).ok()
        };
        assert_eq!(secret("x=1&x=2"), Some(None));
        assert_eq!(secret("client_secret="), Some(None));
        assert_eq!(secret("client_secret=a"), Some(Some(b"a".to_vec())));
        assert_eq!(secret("client_secret=a&client_secret=a"), None);
        assert_eq!(secret("client_secret=&client_secret=a"), None);
    }
}
