//! Tokens as text: exactly the 32 characters of the alphabet are read, and come back as they were.

use jeton::model::token::{DIGEST_LEN, Digest, TOKEN_TEXT_LEN, Token};

const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Reads the bytes as a token, as the bytes of one, and as a digest.
pub fn check(bytes: &[u8]) {
    let is_token = bytes.len() == TOKEN_TEXT_LEN && bytes.iter().all(|b| ALPHABET.contains(b));
    match Token::parse(bytes) {
        Ok(token) => {
            assert!(is_token, "read what is no token");
            assert_eq!(token.text().as_str().as_bytes(), bytes, "another text came back");
            assert!(!format!("{token:?}").contains(token.text().as_str()), "P9");
            every_character_counts(&token, bytes);
        }
        Err(error) => assert!(!is_token, "{error} of a token"),
    }
    if let Some(bytes) = bytes.first_chunk::<24>() {
        let text = encode(bytes);
        let token = Token::parse(&text).expect("24 bytes in base64url are a token");
        assert_eq!(token.text().as_str().as_bytes(), text);
    }
    if let Some(bytes) = bytes.first_chunk::<DIGEST_LEN>() {
        assert_eq!(Digest::from_bytes(*bytes).to_bytes(), *bytes);
    }
}

/// Another character anywhere is another token: no bit of the text is left out.
fn every_character_counts(token: &Token, text: &[u8]) {
    for at in 0..TOKEN_TEXT_LEN {
        let mut other = text.to_vec();
        let place = ALPHABET.iter().position(|b| *b == text[at]).expect("of the alphabet");
        other[at] = ALPHABET[place ^ 1];
        assert!(
            Token::parse(&other).expect("a token") != *token,
            "character {at} is not looked at"
        );
    }
}

/// RFC 4648, section 5, bit by bit.
fn encode(bytes: &[u8]) -> Vec<u8> {
    let bit = |n: usize| bytes[n / 8] >> (7 - n % 8) & 1;
    let sextet = |n: usize| (0..6).fold(0, |value, i| value << 1 | bit(n * 6 + i));
    (0..bytes.len() * 8 / 6).map(|n| ALPHABET[usize::from(sextet(n))]).collect()
}
