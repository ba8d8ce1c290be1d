//! jeton's contract whatever the version of HTTP: what is asked, and what status and body mean.

use super::{Answer, Answers, Call, Garbage, KEY_LEN, Key, Refusal, Ticket, excerpt};
use crate::denial::Denial;

/// The greatest body that is taken, of an answer.
pub(super) const BODY_MAX: usize = 64 << 20;

/// What an answer has to be understood as.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Asked {
    Issue,
    /// Resolve or consume: the body is the payload.
    Payload,
    /// This many payloads in an array.
    Many(usize),
    Revoke,
    Extend,
    /// Whatever it was, its body is the answer.
    Anything,
}

impl Asked {
    pub(super) fn of(call: &Call<'_>) -> Self {
        match call {
            Call::Issue { .. } => Self::Issue,
            Call::Resolve(_) | Call::Consume(_) => Self::Payload,
            Call::ResolveMany(keys) => Self::Many(keys.len()),
            Call::Revoke(_) => Self::Revoke,
            Call::Extend { .. } => Self::Extend,
        }
    }

    /// Understands a whole answer and passes it on.
    pub(super) fn deliver(
        self,
        ticket: Ticket,
        status: u16,
        body: &[u8],
        answers: &mut dyn Answers,
    ) -> Result<(), Garbage> {
        match (self, status) {
            (Self::Payload | Self::Anything, 200) => answers.answer(ticket, Answer::Found(body)),
            (Self::Issue, 200 | 201) => {
                answers.answer(ticket, Answer::Issued(Some(issued_token(body)?)));
            }
            (Self::Many(count), 200) => {
                answers.answer(ticket, Answer::Many(&elements(body, count)?));
            }
            (Self::Revoke, 200 | 204) | (Self::Extend, 200) => {
                answers.answer(ticket, Answer::Done);
            }
            (Self::Payload | Self::Revoke | Self::Extend, 404) => {
                answers.answer(ticket, Answer::Absent);
            }
            _ => answers.answer(ticket, Answer::Refused(&refusal(status, body))),
        }
        Ok(())
    }
}

/// What a status and its body say that are no answer.
pub(super) fn refusal(status: u16, body: &[u8]) -> Refusal {
    let said = excerpt(body);
    let denial = match status {
        401 => Some(Denial::KeyWanted),
        403 => Some(Denial::ScopeWanted),
        // What servers of HTTP say where TLS was to come.
        400 if said.contains("TLS") || said.contains("HTTPS") => Some(Denial::SpeaksTls),
        _ => None,
    };
    Refusal { denial, ..Refusal::new(status, said) }
}

/// An alert of TLS, with which a server answers what is none.
pub(super) fn is_tls_alert(input: &[u8]) -> bool {
    matches!(input, [0x15, 0x03, ..])
}

/// Appends the body of an issue; it has [`issue_body_len`] bytes.
pub(super) fn push_issue_body(payload: &[u8], ttl_ms: u64, output: &mut Vec<u8>) {
    output.extend_from_slice(b"{\"payload\":");
    output.extend_from_slice(payload);
    push_ttl(b",\"ttl\":\"", ttl_ms, output);
}

/// The length of what [`push_issue_body`] appends.
pub(super) fn issue_body_len(payload: &[u8], ttl_ms: u64) -> usize {
    b"{\"payload\":,\"ttl\":\"ms\"}".len() + payload.len() + digits(ttl_ms)
}

/// Appends the body of an extend; it has [`extend_body_len`] bytes.
pub(super) fn push_extend_body(ttl_ms: u64, output: &mut Vec<u8>) {
    push_ttl(b"{\"ttl\":\"", ttl_ms, output);
}

/// The length of what [`push_extend_body`] appends.
pub(super) fn extend_body_len(ttl_ms: u64) -> usize {
    b"{\"ttl\":\"ms\"}".len() + digits(ttl_ms)
}

/// Appends the body of a batch resolve; it has [`many_body_len`] bytes.
pub(super) fn push_many_body(keys: &[Key], output: &mut Vec<u8>) {
    output.extend_from_slice(b"{\"tokens\":[");
    let mut separator: &[u8] = b"\"";
    for key in keys {
        output.extend_from_slice(separator);
        output.extend_from_slice(key);
        separator = b"\",\"";
    }
    output.extend_from_slice(b"\"]}");
}

/// The length of what [`push_many_body`] appends for that many keys, at least one.
pub(super) fn many_body_len(keys: usize) -> usize {
    b"{\"tokens\":[]}".len() + keys * (KEY_LEN + 3) - 1
}

fn push_ttl(before: &[u8], ttl_ms: u64, output: &mut Vec<u8>) {
    output.extend_from_slice(before);
    output.extend_from_slice(itoa::Buffer::new().format(ttl_ms).as_bytes());
    output.extend_from_slice(b"ms\"}");
}

fn digits(number: u64) -> usize {
    itoa::Buffer::new().format(number).len()
}

#[derive(serde::Deserialize)]
struct IssuedBody<'a> {
    #[serde(borrow)]
    token: std::borrow::Cow<'a, str>,
}

/// The token of an issue's answer.
fn issued_token(body: &[u8]) -> Result<Key, Garbage> {
    let wrong = || Garbage(format!("an issue was answered without a token: {}", excerpt(body)));
    let usual = body.strip_prefix(b"{\"token\":\"").and_then(|rest| rest.split_first_chunk());
    let token = match usual {
        Some((token, [b'"', ..])) => *token,
        _ => {
            let parsed: IssuedBody<'_> = serde_json::from_slice(body).map_err(|_| wrong())?;
            Key::try_from(parsed.token.as_bytes()).map_err(|_| wrong())?
        }
    };
    // It goes into request lines as it is.
    let written = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if token.iter().all(written) { Ok(token) } else { Err(wrong()) }
}

/// The elements of a JSON array, byte for byte, `None` for each null.
///
/// Finds where each ends and leaves it to who compares them whether they are right.
fn elements(body: &[u8], count: usize) -> Result<Vec<Option<&[u8]>>, Garbage> {
    match flat_objects(body, count) {
        Some(found) => Ok(found),
        None => any_elements(body, count),
    }
}

/// The quick path for what batches mostly are: objects without objects, blanks or escapes in them;
/// none where that is not certain.
///
/// Every `{` but the first stands behind `},`. Outside of strings the first object in an object or
/// array stands behind `:`, `[` or a value that ends otherwise, so there is no inner one. Inside of
/// one, as nothing is escaped, the part before it would have an odd number of quotation marks.
fn flat_objects(body: &[u8], count: usize) -> Option<Vec<Option<&[u8]>>> {
    let inner = body.strip_prefix(b"[")?.strip_suffix(b"]")?;
    if !inner.starts_with(b"{") || memchr::memchr(b'\\', inner).is_some() {
        return None;
    }
    let mut found = Vec::with_capacity(count);
    let mut begin = 0;
    let mut opened = memchr::memchr_iter(b'{', inner).skip(1);
    loop {
        let next = opened.next();
        let end = next.map_or(inner.len(), |next| next - 1);
        let element = inner.get(begin..end)?;
        let parted = next.is_none() || inner[end] == b',';
        let quotes = memchr::memchr_iter(b'"', element).count();
        if !(parted && element.ends_with(b"}") && quotes.is_multiple_of(2)) {
            return None;
        }
        found.push(Some(element));
        match next {
            Some(next) => begin = next,
            None => return (found.len() == count).then_some(found),
        }
    }
}

/// Any elements.
fn any_elements(body: &[u8], count: usize) -> Result<Vec<Option<&[u8]>>, Garbage> {
    let wrong =
        |what: &str| Garbage(format!("a batch was answered with {what}: {}", excerpt(body)));
    let array = || wrong("what is not an array");
    let trimmed = body.trim_ascii();
    let inner = trimmed.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
    let mut rest = inner.ok_or_else(array)?.trim_ascii();
    let mut found = Vec::with_capacity(count);
    while !rest.is_empty() {
        let end = element_end(rest).ok_or_else(array)?;
        let element = rest[..end].trim_ascii();
        if element.is_empty() {
            return Err(array());
        }
        found.push((element != b"null").then_some(element));
        match rest.get(end + 1..) {
            None => break,
            Some(after) if after.trim_ascii().is_empty() => return Err(array()),
            Some(after) => rest = after,
        }
    }
    if found.len() == count {
        Ok(found)
    } else {
        Err(wrong(&format!("{} payloads for {count} tokens", found.len())))
    }
}

/// Where the first element ends: at a comma outside strings, arrays and objects, or at the end.
fn element_end(input: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0_usize, 0_usize);
    while let Some(&byte) = input.get(at) {
        match byte {
            b'"' => at = string_end(input, at)?,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.checked_sub(1)?,
            b',' if depth == 0 => return Some(at),
            _ => {}
        }
        at += 1;
    }
    (depth == 0).then_some(at)
}

/// The position of the quotation mark that closes the string which opens at `open`.
fn string_end(input: &[u8], open: usize) -> Option<usize> {
    let mut at = open + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', input.get(at..)?)?;
        if input[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(body: &str, count: usize) -> Result<Vec<Option<String>>, Garbage> {
        let found = elements(body.as_bytes(), count)?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        Ok(found.into_iter().map(|element| element.map(text)).collect())
    }

    #[test]
    fn elements_are_taken_byte_for_byte() {
        let body = " [ {\"a\" : [1,{}], \"b\":\"]},\\\"[{\"} , null,\"null\", 1.50 ,[\"\\\\\"]]\n";
        let expected =
            ["{\"a\" : [1,{}], \"b\":\"]},\\\"[{\"}", "", "\"null\"", "1.50", "[\"\\\\\"]"];
        let expected = expected.map(|text| (!text.is_empty()).then(|| text.to_owned()));
        assert_eq!(texts(body, 5), Ok(expected.to_vec()));
        assert_eq!(texts("[]", 0), Ok(vec![]));
    }

    /// JSON values, some of which look like several.
    fn values() -> impl Strategy<Value = String> {
        let inner =
            prop_oneof!["[a{}\\[\\],:]{0,6}", Just("},{".to_owned()), Just("\\".to_owned())];
        let string = inner.prop_map(|text| serde_json::json!(text).to_string());
        let plain = prop_oneof![Just("null".to_owned()), Just("7".to_owned()), string];
        plain.prop_recursive(3, 12, 4, |value| {
            let list = proptest::collection::vec(value.clone(), 0..4);
            let object = proptest::collection::vec(value, 0..4).prop_map(|values| {
                let fields: Vec<String> =
                    values.iter().map(|value| format!("\"k\":{value}")).collect();
                format!("{{{}}}", fields.join(","))
            });
            prop_oneof![2 => object, 1 => list.prop_map(|list| format!("[{}]", list.join(",")))]
        })
    }

    proptest! {
        #[test]
        fn arrays_are_taken_apart_as_they_were_made(
            made in proptest::collection::vec(values(), 1..6),
        ) {
            let body = format!("[{}]", made.join(","));
            let expected: Vec<Option<String>> =
                made.iter().map(|value| (value != "null").then(|| value.clone())).collect();
            prop_assert_eq!(texts(&body, made.len()), Ok(expected));
            prop_assert!(texts(&body, made.len() + 1).is_err());
        }
    }

    #[test]
    fn flat_objects_take_the_quick_path_and_others_do_not() {
        for (body, count, quick) in [
            ("[{}]", 1, true),
            ("[{\"a\":\"]\"},{\"b\":[1,2]}]", 2, true),
            ("[{\"a\":\"},{\"}]", 1, false),
            ("[{\"a\":\"},{\"}]", 2, false),
            ("[{\"a\":\"},{\"},1]", 2, false),
            ("[{\"a\":\"},{\"},1,{\"a\":\"},{\"}]", 3, false),
            ("[{\"a\":\"\\\"},{\"}]", 2, false),
            ("[{\"a\":[{},{}]}]", 2, false),
            ("[{\"a\":{}},{}]", 2, false),
            ("[{} ,{}]", 2, false),
            ("[{},null]", 2, false),
            ("[{},{}]", 3, false),
            ("[{}{}]", 2, false),
            ("[{}", 1, false),
        ] {
            assert_eq!(flat_objects(body.as_bytes(), count).is_some(), quick, "{body}");
        }
    }

    #[test]
    fn what_is_not_an_array_of_so_many_is_garbage() {
        for body in ["", "[", "]", "{}", "null", "[1,]", "[,1]", "[1,2,3]", "[1]", "[}{,1]"] {
            assert!(elements(body.as_bytes(), 2).is_err(), "{body}");
        }
        for body in ["[\"a,1]", "[[1,2]", "[{1,2]", "[\"\\\",1]", "[\"\\"] {
            assert!(elements(body.as_bytes(), 2).is_err(), "{body}");
        }
    }

    #[test]
    fn lengths_are_those_of_the_bodies() {
        let mut body = Vec::new();
        for ttl_ms in [1, 10, 999, u64::MAX] {
            body.clear();
            push_issue_body(b"[1]", ttl_ms, &mut body);
            assert_eq!(body.len(), issue_body_len(b"[1]", ttl_ms));
            let parsed: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            assert_eq!(parsed, serde_json::json!({"payload": [1], "ttl": format!("{ttl_ms}ms")}));
            body.clear();
            push_extend_body(ttl_ms, &mut body);
            assert_eq!(body.len(), extend_body_len(ttl_ms));
            let parsed: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            assert_eq!(parsed, serde_json::json!({"ttl": format!("{ttl_ms}ms")}));
        }
        for count in 1..4 {
            body.clear();
            push_many_body(&vec![[b'k'; KEY_LEN]; count], &mut body);
            assert_eq!(body.len(), many_body_len(count));
            let parsed: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            assert_eq!(parsed, serde_json::json!({"tokens": vec!["k".repeat(KEY_LEN); count]}));
        }
    }

    #[test]
    fn the_token_is_found_however_it_is_written() {
        let key = [b'a'; KEY_LEN];
        let token = "a".repeat(KEY_LEN);
        for body in [
            format!("{{\"token\":\"{token}\",\"expires_at\":\"x\"}}"),
            format!(" {{ \"expires_at\":1, \"token\" : \"{token}\" }}"),
        ] {
            assert_eq!(issued_token(body.as_bytes()), Ok(key), "{body}");
        }
        let short = "a".repeat(KEY_LEN - 1);
        for body in [
            "{}".to_owned(),
            format!("{{\"token\":\"{short}\"}}"),
            format!("{{\"token\":\"{token}a\"}}"),
            format!("{{\"token\":\"{short} \"}}"),
        ] {
            assert!(issued_token(body.as_bytes()).is_err(), "{body}");
        }
    }
}
