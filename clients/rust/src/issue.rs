//! What is issued, and what comes of it. No `Debug` shows a token or a payload.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::{Error, IdempotencyKey};
use crate::types::{Reference, Token};

/// A token that was issued.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Issued {
    /// The token.
    pub token: Token,
    /// Its deadline, to the millisecond.
    pub expires_at: SystemTime,
}

/// The lifetime of a token: `Duration`, or a text such as `"15m"`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Ttl {
    /// As text with units, such as `15m` or `1h 30m`.
    Text(String),
    /// In seconds.
    Seconds(f64),
}

impl Ttl {
    /// A further member of an object.
    pub(crate) fn member(&self) -> String {
        let value = match self {
            Self::Text(text) => Value::from(text.as_str()),
            // A number that is no number becomes null, which the server refuses.
            Self::Seconds(seconds) => Value::from(*seconds),
        };
        format!(r#","ttl":{value}"#)
    }
}

impl From<Duration> for Ttl {
    fn from(ttl: Duration) -> Self {
        Self::Text(format!("{}ms", ttl.as_millis()))
    }
}

impl From<String> for Ttl {
    fn from(ttl: String) -> Self {
        Self::Text(ttl)
    }
}

impl From<&str> for Ttl {
    fn from(ttl: &str) -> Self {
        Self::Text(ttl.to_owned())
    }
}

/// A token to be issued.
#[derive(Clone)]
pub struct Issue {
    payload: Box<RawValue>,
    ttl: Option<Ttl>,
    uses: Option<u32>,
    peek: Option<bool>,
    pub(crate) reference: Option<Reference>,
    pub(crate) key: Option<IdempotencyKey>,
}

impl fmt::Debug for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Issue({} bytes)", self.payload.get().len())
    }
}

impl Issue {
    /// With a payload as the text of a JSON value, which is sent and stored as it stands.
    ///
    /// # Errors
    /// [`Error::Malformed`]: the text is not JSON, or `null`.
    pub fn new(payload: impl Into<String>) -> Result<Self, Error> {
        let payload = RawValue::from_string(payload.into());
        let payload = payload.map_err(|_| Error::Malformed("payload: must be JSON"))?;
        Self::of(payload)
    }

    /// With the JSON of a value as payload.
    ///
    /// # Errors
    /// [`Error::Malformed`]: the value has no JSON, or is `null`.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, Error> {
        let payload = serde_json::value::to_raw_value(value);
        Self::of(payload.map_err(|_| Error::Malformed("payload: has no JSON"))?)
    }

    fn of(payload: Box<RawValue>) -> Result<Self, Error> {
        if payload.get() == "null" {
            return Err(Error::Malformed("payload: must not be null"));
        }
        let (ttl, uses, peek, reference, key) = (None, None, None, None, None);
        Ok(Self { payload, ttl, uses, peek, reference, key })
    }

    /// With a lifetime, within the limits of the server; without one it has the server's default.
    #[must_use]
    pub fn ttl(self, ttl: impl Into<Ttl>) -> Self {
        Self { ttl: Some(ttl.into()), ..self }
    }

    /// With a number of uses, 1 to 10,000; without it one.
    #[must_use]
    pub fn uses(self, uses: u32) -> Self {
        Self { uses: Some(uses), ..self }
    }

    /// Whether it can be resolved, and not only consumed; it can without this.
    #[must_use]
    pub fn peek(self, peek: bool) -> Self {
        Self { peek: Some(peek), ..self }
    }

    /// With a reference, which is itself the key of the issue.
    #[must_use]
    pub fn reference(self, reference: Reference) -> Self {
        Self { reference: Some(reference), ..self }
    }

    /// With an Idempotency-Key; without one the client makes one for the tries of the call.
    #[must_use]
    pub fn key(self, key: IdempotencyKey) -> Self {
        Self { key: Some(key), ..self }
    }

    /// The members of its object, without the braces.
    pub(crate) fn members(&self) -> Result<String, Error> {
        let mut members = format!(r#""payload":{}"#, self.payload.get());
        if let Some(ttl) = &self.ttl {
            members.push_str(&ttl.member());
        }
        if let Some(uses) = self.uses {
            members.push_str(&format!(r#","uses":{uses}"#));
        }
        if let Some(peek) = self.peek {
            members.push_str(&format!(r#","peek":{peek}"#));
        }
        if let Some(reference) = &self.reference {
            members.push_str(&format!(r#","reference":{}"#, reference.to_json()?));
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_one_value_of_json() {
        for wrong in ["", "{", "1 2", "null", " null ", "1,\"uses\":9", "{}}", "NaN"] {
            assert!(Issue::new(wrong).is_err(), "{wrong}");
        }
        let members = |text: &str| Issue::new(text).unwrap().members().unwrap();
        assert_eq!(members("{\"a\": 1.10}"), "\"payload\":{\"a\": 1.10}");
        let deep = "[".repeat(5_000) + &"]".repeat(5_000);
        assert!(members(&deep).ends_with(&deep));
        assert!(Issue::json(&Option::<u8>::None).is_err());
        assert!(Issue::json(&f64::NAN).is_err(), "it would become null");
        assert_eq!(Issue::json("a\"b").unwrap().members().unwrap(), r#""payload":"a\"b""#);
    }

    #[test]
    fn a_lifetime_is_a_text_or_seconds() {
        assert_eq!(Ttl::from("15m").member(), r#","ttl":"15m""#);
        assert_eq!(Ttl::Seconds(1.5).member(), r#","ttl":1.5"#);
        assert_eq!(Ttl::from(Duration::from_millis(1_500)).member(), r#","ttl":"1500ms""#);
        assert_eq!(Ttl::from("\"}").member(), r#","ttl":"\"}""#);
    }

    #[test]
    fn p9_no_debug_shows_a_payload() {
        let reference = Reference::new().order_number("secret");
        let issue = Issue::new("\"secret\"").unwrap().reference(reference);
        assert!(!format!("{issue:?}").contains("secret"));
    }
}
