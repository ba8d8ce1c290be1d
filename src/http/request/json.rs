//! Strict parsing of small JSON objects: only known fields, each at most once, and error messages
//! that never repeat the input (promise P9, no token or payload in an error: serde's own messages
//! would quote the value).

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::time::Duration;

use serde::de::{self, DeserializeSeed, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::http::answer::problem::Problem;
use crate::model::text::{QuantityError, duration_text, parse_duration, parse_seconds};

/// The fields of an object, as JSON text, in the order of `names`.
pub(in crate::http) type Fields<'a, const N: usize> = [Option<&'a RawValue>; N];

/// Reads an object that may have the fields `names`, all optional.
pub(in crate::http) fn object<'a, const N: usize>(
    text: &'a [u8],
    names: &[&'static str; N],
) -> Result<Fields<'a, N>, Problem> {
    let found = Found::default();
    let seed = Object { names, found: &found };
    let mut reader = serde_json::Deserializer::from_slice(text);
    seed.deserialize(&mut reader)
        .and_then(|fields| reader.end().map(|()| fields))
        .map_err(|error| found.or(&error, "must be a JSON object"))
}

/// The problem that a visitor found, because serde's error can only carry text.
#[derive(Default)]
pub(in crate::http) struct Found(RefCell<Option<Problem>>);

impl Found {
    /// Stops parsing because of `problem`.
    pub(in crate::http) fn stop<E: de::Error>(&self, problem: Problem) -> E {
        self.0.replace(Some(problem));
        E::custom("")
    }

    /// The problem that was found; otherwise serde's error, without its text.
    pub(in crate::http) fn or(
        &self,
        error: &serde_json::Error,
        wrong_type: &'static str,
    ) -> Problem {
        if let Some(problem) = self.0.take() {
            return problem;
        }
        match error.classify() {
            serde_json::error::Category::Data => Problem::malformed(wrong_type),
            _ => Problem::malformed(format!(
                "not valid JSON at line {}, column {}",
                error.line(),
                error.column()
            )),
        }
    }
}

struct Object<'f, const N: usize> {
    names: &'f [&'static str; N],
    found: &'f Found,
}

impl<'de, const N: usize> DeserializeSeed<'de> for Object<'_, N> {
    type Value = Fields<'de, N>;

    fn deserialize<D: de::Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Object<'_, N> {
    type Value = Fields<'de, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = [None; N];
        while let Some(name) = map.next_key_seed(Name { names: self.names, found: self.found })? {
            if fields[name].is_some() {
                let problem = Problem::malformed("the field is repeated");
                return Err(self.found.stop(problem.about(self.names[name])));
            }
            fields[name] = Some(map.next_value::<&RawValue>()?);
        }
        Ok(fields)
    }
}

/// Reads the name of a field as its index in `names`.
pub(in crate::http) struct Name<'f> {
    pub(in crate::http) names: &'f [&'static str],
    pub(in crate::http) found: &'f Found,
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = usize;

    fn deserialize<D: de::Deserializer<'de>>(self, reader: D) -> Result<usize, D::Error> {
        reader.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<usize, E> {
        let place = self.names.iter().position(|known| *known == name);
        place.ok_or_else(|| {
            let known = self.names.join(", ");
            self.found
                .stop(Problem::malformed(format!("unknown field; the known fields are {known}")))
        })
    }
}

/// A string, without its quotes and escapes.
pub(in crate::http) fn string<'a>(
    raw: &'a RawValue,
    field: &'static str,
) -> Result<Cow<'a, str>, Problem> {
    let wrong = || Problem::malformed(format!("{field}: must be a string")).about(field);
    let text = raw.get();
    if !text.starts_with('"') {
        return Err(wrong());
    }
    let inner = &text[1..text.len() - 1];
    if !inner.contains('\\') {
        return Ok(Cow::Borrowed(inner));
    }
    serde_json::from_str(text).map(Cow::Owned).map_err(|_| wrong())
}

/// `true` or `false`.
pub(in crate::http) fn boolean(raw: &RawValue, field: &'static str) -> Result<bool, Problem> {
    match raw.get() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Problem::malformed(format!("{field}: must be true or false")).about(field)),
    }
}

/// A whole number from 1 to `max`.
pub(in crate::http) fn count(
    raw: &RawValue,
    field: &'static str,
    max: u32,
) -> Result<u32, Problem> {
    let text = raw.get();
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Problem::malformed(format!("{field}: must be a whole number")).about(field));
    }
    match text.parse() {
        Ok(count) if (1..=max).contains(&count) => Ok(count),
        _ => Err(Problem::out_of_limits(format!("{field}: must be 1 to {max}")).about(field)),
    }
}

/// A duration from 1 ms to `max`: a text such as `1h 30m`, or a number of seconds.
pub(in crate::http) fn ttl(raw: &RawValue, max: Duration) -> Result<Duration, Problem> {
    let read = if raw.get().starts_with('"') {
        parse_duration(&string(raw, "ttl")?)
    } else {
        parse_seconds(raw.get())
    };
    match read {
        Err(QuantityError::Form) => Err(Problem::malformed(
            "ttl: must be a duration such as \"15m\" or \"1h 30m\", each unit once, or a number of \
             seconds",
        )
        .about("ttl")),
        Ok(ttl) if ttl >= Duration::from_millis(1) && ttl <= max => Ok(ttl),
        Ok(_) | Err(QuantityError::OutOfRange) => {
            Err(Problem::out_of_limits(format!("ttl: must be 1ms to {}", duration_text(max)))
                .about("ttl"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 2] = ["a", "bb"];

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn fields_are_kept_byte_for_byte() {
        let [a, bb] =
            object(br#" {"bb" : { "x":[1 , 2 ] } , "\u0061": 1.50e+2} "#, &NAMES).unwrap();
        assert_eq!(bb.unwrap().get(), r#"{ "x":[1 , 2 ] }"#);
        assert_eq!(a.unwrap().get(), "1.50e+2");
    }

    #[test]
    fn what_is_no_object_of_these_fields_is_refused_without_quoting_it() {
        for text in [
            r#"{"a":1,"a":2}"#,
            r#"{"hunter2":1}"#,
            r#"["hunter2"]"#,
            r#""hunter2""#,
            r#"{"a":1} hunter2"#,
            r#"{"a":hunter2}"#,
            "",
            "{",
            "{\"a\":\"\u{0}\"}",
        ] {
            let problem = object(text.as_bytes(), &NAMES).unwrap_err();
            assert_eq!(problem.status, 400, "{text}");
            assert!(!problem.detail.contains("hunter2"), "{problem:?}");
        }
        assert!(object(b"{\"a\":\"\xFF\"}", &NAMES).is_err());
    }

    #[test]
    fn ttl_in_all_its_forms() {
        let day = Duration::from_secs(86_400);
        for (text, millis) in [
            ("\"250ms\"", 250),
            ("\"90s\"", 90_000),
            ("\"1h 30m\"", 5_400_000),
            ("\"1d\"", 86_400_000),
            ("\"90\"", 90_000),
            ("90", 90_000),
            ("0.25", 250),
            ("1.001", 1001),
            ("0.001", 1),
            ("\"1500us\"", 2),
            ("\"600us\"", 1),
        ] {
            let ttl = ttl(&raw(text), day).unwrap();
            assert_eq!(ttl.as_millis(), millis, "{text}");
        }
    }

    #[test]
    fn ttl_malformed_or_out_of_limits() {
        let day = Duration::from_secs(86_400);
        for (text, status) in [
            ("\"soon\"", 400),
            ("\"\"", 400),
            ("true", 400),
            ("null", 400),
            ("[1]", 400),
            ("{}", 400),
            ("\"1.2.3\"", 400),
            ("\"1h 1h\"", 400),
            ("\"1h 30m 1hour\"", 400),
            ("\"1m1min\"", 400),
            ("0", 422),
            ("\"0s\"", 422),
            ("-5", 422),
            ("\"-5\"", 422),
            ("0.0004", 422),
            ("\"400us\"", 422),
            ("\"18446744073709551615s 999ms 999us\"", 422),
            ("86400.001", 422),
            ("1e300", 422),
            ("1e999", 422),
            ("\"99999999999999999999999d\"", 422),
        ] {
            assert_eq!(ttl(&raw(text), day).unwrap_err().status, status, "{text}");
        }
    }

    #[test]
    fn counts_and_booleans() {
        assert_eq!(count(&raw("3"), "uses", 10), Ok(3));
        for (text, status) in [
            ("0", 422),
            ("-1", 422),
            ("11", 422),
            ("99999999999999999999", 422),
            ("1.0", 400),
            ("1e1", 400),
            ("\"1\"", 400),
            ("null", 400),
        ] {
            let problem = count(&raw(text), "uses", 10).unwrap_err();
            assert_eq!(problem.status, status, "{text}");
            assert_eq!(problem.field.as_deref(), Some("uses"));
        }
        assert_eq!(boolean(&raw("false"), "peek"), Ok(false));
        assert_eq!(boolean(&raw("0"), "peek").unwrap_err().status, 400);
    }
}
