//! What goes in and what comes out. No `Debug` shows a token, a payload or a key.

use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::Error;

const ORDER_NUMBER_MAX: usize = 128;
const AMOUNT_DIGITS_MAX: usize = 38;
const NAME_MAX: usize = 512;
const TOKEN_LEN: usize = 32;
const POSITION_MAX: usize = 64;

/// A token: 32 characters of base64url. The server does not keep it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Token(pub(crate) String);

impl Token {
    /// The token as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// What a token stands for. JSON is kept byte for byte as it was stored; what was stored over the Redis
/// protocol and is not JSON is `{"base64":"…"}`, as the server sends it in lists.
///
/// It shares the memory of the whole answer, which may have more payloads and be as long as
/// [`answer_max_bytes`](crate::Builder::answer_max_bytes). Copy what you keep for long.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(pub(crate) Bytes);

impl Payload {
    /// The bytes. Only they tell `1.10` from `1.1`.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.0
    }

    /// The bytes without a copy. They share the memory of the whole answer.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// The value of the bytes as JSON.
    ///
    /// # Errors
    /// The bytes are not JSON of this type.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> serde_json::Result<T> {
        serde_json::from_slice(&self.0)
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

/// What is known of a living token without its payload.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// Its deadline, to the millisecond.
    pub expires_at: SystemTime,
    /// Uses that are left.
    pub uses_left: u32,
    /// Length of the payload, in bytes.
    pub size: u64,
}

/// How fresh the answer of a cluster must be. A single server ignores it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Read {
    /// Whatever the node knows; a miss is confirmed.
    #[default]
    Local,
    /// It knows every change that was acknowledged before.
    Linear,
    /// It knows everything up to a position, that of [`crate::Client::position`].
    AtLeast(String),
}

impl Read {
    pub(crate) fn header(&self) -> Result<Option<(&'static str, String)>, Error> {
        match self {
            Self::Local => Ok(None),
            Self::Linear => Ok(Some(("jeton-read", "linear".to_owned()))),
            Self::AtLeast(position) if position.len() <= POSITION_MAX && is_printable(position) => {
                Ok(Some(("jeton-at-least", position.clone())))
            }
            Self::AtLeast(_) => Err(Error::Malformed("read: must be a position of the client")),
        }
    }
}

/// Whether a header can carry this text.
pub(crate) fn is_printable(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// An order that a token belongs to, by one, two or three fields.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Reference {
    order_number: Option<String>,
    created_at: Option<String>,
    amount: Option<String>,
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reference(…)")
    }
}

impl Reference {
    /// Without a field.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With an order number: 1 to 128 bytes, without control characters.
    #[must_use]
    pub fn order_number(self, number: impl Into<String>) -> Self {
        Self { order_number: Some(number.into()), ..self }
    }

    /// With a time of creation: a text of RFC 3339.
    #[must_use]
    pub fn created_at(self, time: impl Into<String>) -> Self {
        Self { created_at: Some(time.into()), ..self }
    }

    /// With an amount: a decimal number of at most 38 digits, as text.
    #[must_use]
    pub fn amount(self, amount: impl Into<String>) -> Self {
        Self { amount: Some(amount.into()), ..self }
    }

    pub(crate) fn to_json(&self) -> Result<Value, Error> {
        let mut members = serde_json::Map::new();
        if let Some(number) = &self.order_number {
            let is_valid = (1..=ORDER_NUMBER_MAX).contains(&number.len());
            if !is_valid || number.chars().any(char::is_control) {
                return Err(Error::Malformed(
                    "order_number: must have 1 to 128 bytes without control characters",
                ));
            }
            members.insert("order_number".to_owned(), json!(number));
        }
        if let Some(time) = &self.created_at {
            members.insert("created_at".to_owned(), json!(time));
        }
        if let Some(amount) = &self.amount {
            if !is_amount(amount) {
                return Err(Error::Malformed(
                    "amount: must be a decimal number of at most 38 digits",
                ));
            }
            members.insert("amount".to_owned(), json!(amount));
        }
        match members.is_empty() {
            true => Err(Error::Malformed("reference: at least one field is needed")),
            false => Ok(Value::Object(members)),
        }
    }
}

fn is_amount(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit());
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let count = unsigned.bytes().filter(u8::is_ascii_digit).count();
    is_digits(whole) && is_digits(fraction) && count <= AMOUNT_DIGITS_MAX
}

/// What a call is about: a token, a reference, or a name.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// A token as text.
    Token(String),
    /// An order.
    Reference(Reference),
    /// A token that its issuer chose, 1 to 512 bytes.
    Name(String),
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Target(…)")
    }
}

impl Target {
    /// A token.
    #[must_use]
    pub fn token(text: impl Into<String>) -> Self {
        Self::Token(text.into())
    }

    /// A name.
    #[must_use]
    pub fn name(text: impl Into<String>) -> Self {
        Self::Name(text.into())
    }

    /// As an item of a list.
    pub(crate) fn to_json(&self) -> Result<String, Error> {
        if let Self::Token(text) = self
            && is_token(text)
        {
            // Nothing in it needs an escape.
            return Ok(format!("\"{text}\""));
        }
        let value = match self {
            Self::Token(_) => {
                return Err(Error::Malformed("token: must be 32 characters of base64url"));
            }
            Self::Name(name) if (1..=NAME_MAX).contains(&name.len()) => json!({ "name": name }),
            Self::Name(_) => return Err(Error::Malformed("name: must have 1 to 512 bytes")),
            Self::Reference(reference) => json!({ "reference": reference.to_json()? }),
        };
        Ok(value.to_string())
    }
}

impl From<Reference> for Target {
    fn from(reference: Reference) -> Self {
        Self::Reference(reference)
    }
}

impl From<&str> for Target {
    fn from(token: &str) -> Self {
        Self::token(token)
    }
}

impl From<String> for Target {
    fn from(token: String) -> Self {
        Self::Token(token)
    }
}

impl From<&Self> for Target {
    fn from(target: &Self) -> Self {
        target.clone()
    }
}

impl From<&Token> for Target {
    fn from(token: &Token) -> Self {
        Self::Token(token.0.clone())
    }
}

fn is_token(text: &str) -> bool {
    let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    text.len() == TOKEN_LEN && text.bytes().all(is_base64url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_cannot_exist_is_refused() {
        let token = "tD5vM0AsuxoxXX3SBplm5QZBks9ynyoQ";
        assert_eq!(Target::from(token).to_json().unwrap(), format!("\"{token}\""));
        for wrong in
            ["", "short", &"A".repeat(33), &format!("{}/", "A".repeat(31)), &"é".repeat(16)]
        {
            assert!(Target::token(wrong).to_json().is_err(), "{wrong}");
        }
        assert_eq!(Target::name("a\"b").to_json().unwrap(), r#"{"name":"a\"b"}"#);
        assert!(Target::name("").to_json().is_err());
        assert!(Target::name("é".repeat(257)).to_json().is_err());
    }

    #[test]
    fn a_reference_has_limits() {
        let of = |change: fn(Reference) -> Reference| change(Reference::new()).to_json();
        assert!(of(|it| it).is_err());
        assert!(of(|it| it.order_number("")).is_err());
        assert!(of(|it| it.order_number("a\u{85}b")).is_err());
        assert!(of(|it| it.order_number("a".repeat(129))).is_err());
        for wrong in ["", "1e3", ".5", "1.", "--1", "1_0", &"1".repeat(39)] {
            assert!(Reference::new().amount(wrong).to_json().is_err(), "{wrong}");
        }
        let all =
            of(|it| it.order_number("A-17").created_at("2026-01-01T00:00:00Z").amount("-139.10"));
        let wanted = json!({
            "order_number": "A-17", "created_at": "2026-01-01T00:00:00Z", "amount": "-139.10",
        });
        assert_eq!(all.unwrap(), wanted);
    }

    #[test]
    fn p9_no_debug_shows_a_token_or_a_payload() {
        let reference = Reference::new().order_number("secret");
        let shown = format!(
            "{:?} {:?} {:?} {:?} {reference:?}",
            Token("secret".to_owned()),
            Payload(Bytes::from_static(b"secret")),
            Target::token("secret"),
            Target::name("secret"),
        );
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[test]
    fn a_position_is_a_header() {
        let header = |text: &str| Read::AtLeast(text.to_owned()).header();
        assert_eq!(header("1.7").unwrap(), Some(("jeton-at-least", "1.7".to_owned())));
        for wrong in ["", "1 7", "1\n7", &"1".repeat(65)] {
            assert!(header(wrong).is_err(), "{wrong}");
        }
    }
}
