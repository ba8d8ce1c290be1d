//! The plain form of a token list, which most lists have: `{"tokens":["…","…"]}` with tokens only.
//!
//! White space is accepted wherever JSON allows it. The reader of [`list`](super::list) reads every
//! other form and reports every mistake. It reads each list that this one accepts in the same way.

use crate::model::token::{Digest, Digester, TOKEN_TEXT_LEN, Token};

/// The digests of the list, if `body` is a plain one of at most `max` tokens.
pub(super) fn read(body: &[u8], digester: &Digester, max: usize) -> Option<Vec<Digest>> {
    let mut tokens = Vec::with_capacity(max.min(body.len() / TOKEN_TEXT_LEN));
    if !read_tokens(body, max, &mut tokens) {
        return None;
    }
    let mut digests = Vec::with_capacity(tokens.len());
    digester.append_digests(&tokens, &mut digests);
    Some(digests)
}

/// Reads the tokens of the list into `tokens`, which is empty. False if `body` is not a plain one of
/// at most `max` tokens; then some may have been read.
pub(in crate::http) fn read_tokens(body: &[u8], max: usize, tokens: &mut Vec<Token>) -> bool {
    try_read(body, max, tokens).is_some()
}

fn try_read(body: &[u8], max: usize, tokens: &mut Vec<Token>) -> Option<()> {
    let mut rest = after(after(body, b"{")?, b"\"tokens\"")?;
    rest = after(after(rest, b":")?, b"[")?;
    loop {
        let (text, behind) = after(rest, b"\"")?.split_at_checked(TOKEN_TEXT_LEN)?;
        let token = Token::parse(text).ok()?;
        if tokens.len() == max {
            return None;
        }
        tokens.push(token);
        rest = behind.strip_prefix(b"\"")?;
        match after(rest, b",") {
            Some(behind) => rest = behind,
            None => break,
        }
    }
    rest = after(after(rest, b"]")?, b"}")?;
    without_space(rest).is_empty().then_some(())
}

/// The rest of `text` after `what`, if it begins with it.
fn after<'a>(text: &'a [u8], what: &[u8]) -> Option<&'a [u8]> {
    without_space(text).strip_prefix(what)
}

/// The text without the white space at its front (RFC 8259, section 2).
fn without_space(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = text {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::{Index, select};

    use super::*;
    use crate::http::request::list;
    use crate::keys::Access;
    use crate::model::namespace::Namespace;
    use crate::model::token::{SECRET_LEN, Secret};

    const MAX: usize = 3;
    const A: &str = r#""AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA""#;
    const B: &str = r#""abcdefghijklmnopqrstuvwxyz012345""#;

    fn access() -> Access {
        let digester = Digester::new(&Secret::from_bytes([7; SECRET_LEN]), "default");
        Access::everything(Namespace::default(), digester)
    }

    /// What the reader of any form makes of it.
    fn read_any(body: &[u8]) -> Option<Vec<Digest>> {
        let tokens = list::read(body, &access(), MAX, &|| Ok(()), None).ok()?;
        assert!(tokens.by_reference.is_empty(), "no body here has a reference");
        Some(tokens.digests)
    }

    /// What a body is made of, and what may be wrong with it.
    const PARTS: [&str; 20] = [
        "{",
        r#""tokens""#,
        ":",
        "[",
        A,
        B,
        ",",
        "]",
        "}",
        " ",
        "\t\r\n",
        "\u{b}",
        "\u{feff}",
        "\"",
        r#""ttl""#,
        "1",
        "null",
        r#""\u0041AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA""#,
        r#""short""#,
        "\0",
    ];

    /// A list as it should be, in parts.
    fn list_of(tokens: &[&'static str]) -> Vec<&'static str> {
        let mut parts = vec!["{", r#""tokens""#, ":", "["];
        for (place, token) in tokens.iter().enumerate() {
            parts.extend((place > 0).then_some(","));
            parts.push(token);
        }
        parts.extend(["]", "}"]);
        parts
    }

    proptest! {
        #[test]
        fn a_plain_list_is_read_as_any_list_is(
            tokens in prop::collection::vec(select(&[A, B][..]), 0..5),
            changes in prop::collection::vec((any::<Index>(), 0..3, select(&PARTS[..])), 0..4),
        ) {
            let mut parts = list_of(&tokens);
            for (at, change, part) in &changes {
                let at = at.index(parts.len());
                match change {
                    0 => parts.insert(at, part),
                    1 => parts[at] = part,
                    _ => parts[at] = "",
                }
            }
            let body = parts.concat();
            let plain = read(body.as_bytes(), &access().digester, MAX);
            if plain.is_some() || (changes.is_empty() && (1..=MAX).contains(&tokens.len())) {
                prop_assert_eq!(plain, read_any(body.as_bytes()), "{}", body);
            }
        }
    }

    #[test]
    fn white_space_stands_wherever_json_has_it() {
        for space in ["", " ", "\t", "\r\n", " \n  "] {
            let body = list_of(&[A, B, A]).join(space);
            let body = format!("{space}{body}{space}");
            let plain = read(body.as_bytes(), &access().digester, MAX);
            assert_eq!(plain.as_ref().map(Vec::len), Some(3), "{body:?}");
            assert_eq!(plain, read_any(body.as_bytes()), "{body:?}");
        }
        let body = list_of(&[A]).join("\u{c}");
        assert_eq!(read(body.as_bytes(), &access().digester, MAX), None);
    }
}
