//! The answer to an introspection (RFC 7662, 2.2): the members of the payload as they stand, and then
//! `active`, `exp` and `iat`, which the payload cannot set.

use std::borrow::Cow;
use std::fmt;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BufMut;
use memchr::memmem;
use serde::de::{self, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::engine::Introspected;
use crate::model::value::{is_json, value_of};

/// The one answer for every token that does not resolve, whatever the reason (promise P10).
pub(crate) const INACTIVE: &[u8] = br#"{"active":false}"#;

/// The members that only the server sets.
const OURS: [&str; 3] = ["active", "exp", "iat"];
/// The same, as they begin in JSON without escapes.
const OURS_QUOTED: [&[u8]; 3] = [b"\"active\"", b"\"exp\"", b"\"iat\""];
/// Length of our members with the longest times, and their comma and brace.
const TAIL_LEN_MAX: usize = 64;

/// The answer for a token that resolves.
pub(crate) struct Introspection<'e> {
    open: &'static [u8],
    members: Cow<'e, [u8]>,
    tail: [u8; TAIL_LEN_MAX],
    tail_len: usize,
}

impl<'e> Introspection<'e> {
    /// The answer for `token`.
    pub(crate) fn of(token: &Introspected<'e>) -> Self {
        let (open, members) = members(token.payload);
        let mut tail = [0; TAIL_LEN_MAX];
        let mut rest = &mut tail[..];
        let comma = if members.is_empty() { "" } else { "," };
        // Rounded down, so that no cache keeps the answer longer than the token lives.
        let (exp, iat) = (token.expires_at.0 / 1_000, token.issued_at.0 / 1_000);
        // Two times of at most ten digits always fit.
        let _ = write!(rest, "{comma}\"active\":true,\"exp\":{exp},\"iat\":{iat}}}");
        let left = rest.len();
        Self { open, members, tail, tail_len: TAIL_LEN_MAX - left }
    }

    /// Length of the text in bytes.
    pub(crate) fn len(&self) -> usize {
        self.open.len() + self.members.len() + self.tail_len
    }

    /// Appends the text.
    pub(crate) fn write(&self, out: &mut impl BufMut) {
        out.put_slice(self.open);
        out.put_slice(&self.members);
        out.put_slice(&self.tail[..self.tail_len]);
    }
}

/// What the answer begins with, and the members of the payload.
fn members(payload: &[u8]) -> (&'static [u8], Cow<'_, [u8]>) {
    if !is_json(payload) {
        let text = format!("{{\"base64\":\"{}\"}}", STANDARD.encode(value_of(payload)));
        return (b"{\"payload\":", Cow::Owned(text.into_bytes()));
    }
    let payload = payload.trim_ascii();
    let inner = payload.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}"));
    let Some(inner) = inner else { return (b"{\"payload\":", Cow::Borrowed(payload)) };
    match may_have_ours(inner).then(|| without_ours(payload)).flatten() {
        Some(kept) => (b"{", Cow::Owned(kept)),
        None => (b"{", Cow::Borrowed(inner.trim_ascii())),
    }
}

/// Whether the members could have a name of ours: only where it stands, or where a backslash hides
/// it.
fn may_have_ours(members: &[u8]) -> bool {
    memchr::memchr(b'\\', members).is_some()
        || OURS_QUOTED.iter().any(|name| memmem::find(members, name).is_some())
}

/// The members of an object without those that are ours, each as it stands; `None` if none is ours.
fn without_ours(object: &[u8]) -> Option<Vec<u8>> {
    let kept = std::str::from_utf8(object).ok().and_then(|object| {
        let mut reader = serde_json::Deserializer::from_str(object);
        serde::Deserializer::deserialize_map(&mut reader, Kept).ok()
    });
    // A payload that is stored as JSON is JSON.
    kept.unwrap_or(Some(Vec::new()))
}

/// Collects the members that are not ours.
struct Kept;

impl<'de> Visitor<'de> for Kept {
    type Value = Option<Vec<u8>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut kept, mut has_ours) = (Vec::new(), false);
        while let Some(name) = map.next_key::<&RawValue>()? {
            let value = map.next_value::<&RawValue>()?;
            let plain: Cow<'_, str> =
                serde_json::from_str(name.get()).map_err(de::Error::custom)?;
            if OURS.contains(&&*plain) {
                has_ours = true;
                continue;
            }
            if !kept.is_empty() {
                kept.push(b',');
            }
            kept.extend_from_slice(name.get().as_bytes());
            kept.push(b':');
            kept.extend_from_slice(value.get().as_bytes());
        }
        Ok(has_ours.then_some(kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::UnixMillis;
    use crate::model::value::marked;

    fn answer(payload: &[u8]) -> String {
        let (expires_at, issued_at) =
            (UnixMillis(1_769_860_800_999), UnixMillis(1_769_860_700_001));
        let text = Introspection::of(&Introspected { payload, expires_at, issued_at });
        let mut out = Vec::new();
        text.write(&mut out);
        assert_eq!(out.len(), text.len());
        let _: serde_json::Value = serde_json::from_slice(&out).unwrap();
        String::from_utf8(out).unwrap()
    }

    const TAIL: &str = r#""active":true,"exp":1769860800,"iat":1769860700}"#;

    #[test]
    fn members_stand_as_they_are_before_ours() {
        for members in [
            r#""sub":"u","amount":1.10"#,
            r#""a" : { "active" : [1 , 2] } , "a":2"#,
            "\"scope\":\"read write\",\n\t\"\u{e9}\":null",
            r#""Active":1,"expires":2,"iat ":3"#,
        ] {
            assert_eq!(answer(format!("{{{members}}}").as_bytes()), format!("{{{members},{TAIL}"));
        }
        for empty in ["{}", "{ }", " {\n} "] {
            assert_eq!(answer(empty.as_bytes()), format!("{{{TAIL}"));
        }
    }

    #[test]
    fn p10_a_payload_cannot_set_what_is_ours() {
        for (members, kept) in [
            (r#""active":false"#, ""),
            (r#""exp":99,"a":1,"iat":{"x":2},"active":true"#, r#""a":1,"#),
            (r#""\u0061ctive":false,"\u0065\u0078\u0070":1,"i\u0061t":2"#, ""),
            (r#""active":1,"a":{"active":2},"active":3"#, r#""a":{"active":2},"#),
            (r#""a\u0062":"\u0061ctive","exp":1"#, r#""a\u0062":"\u0061ctive","#),
            (r#""a":"\\","\"exp\"":1"#, r#""a":"\\","\"exp\"":1,"#),
            (r#""n":1.50e+2 , "exp":1"#, r#""n":1.50e+2,"#),
        ] {
            let members = answer(format!("{{{members}}}").as_bytes());
            assert_eq!(members, format!("{{{kept}{TAIL}"));
        }
    }

    #[test]
    fn what_is_no_object_is_a_payload() {
        for value in ["\"active\"", "17", "[{\"active\":false}]", "true"] {
            assert_eq!(answer(value.as_bytes()), format!("{{\"payload\":{value},{TAIL}"));
        }
        let bytes = answer(&marked(b"\xff\x00a"));
        assert_eq!(bytes, format!("{{\"payload\":{{\"base64\":\"/wBh\"}},{TAIL}"));
    }

    #[test]
    fn the_longest_times_fit() {
        let (payload, longest) = (&b"1"[..], UnixMillis(u64::MAX));
        let token = Introspected { payload, expires_at: longest, issued_at: longest };
        let mut out = Vec::new();
        Introspection::of(&token).write(&mut out);
        assert!(out.ends_with(b"}"), "{}", String::from_utf8_lossy(&out));
    }
}
