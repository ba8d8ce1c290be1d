//! A token, and its text.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// Length of a token in bytes: 192 bits.
pub const TOKEN_LEN: usize = 24;
/// Length of a token as text.
pub const TOKEN_TEXT_LEN: usize = 32;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// The value that each byte adds to 24 bits as the first, second, third or fourth of four
/// characters. It is [`INVALID`] for a byte outside the alphabet.
static VALUES: [[u32; 256]; 4] = [values(18), values(12), values(6), values(0)];
/// A bit above the 24 bits of four characters.
const INVALID: u32 = 1 << 24;

const fn values(shift: u32) -> [u32; 256] {
    let mut values = [INVALID; 256];
    let mut i = 0;
    while i < 64 {
        values[ALPHABET[i] as usize] = (i as u32) << shift;
        i += 1;
    }
    values
}

/// A token. It is wiped from memory when dropped, and never printed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Token(pub(super) [u8; TOKEN_LEN]);

/// Why a text is not a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The text is not 32 characters long.
    #[error("a token has {TOKEN_TEXT_LEN} characters, not {0}")]
    Length(usize),
    /// A character is not in the base64url alphabet.
    #[error("a token may only contain the characters A-Z a-z 0-9 - _")]
    Alphabet,
}

/// The operating system's generator failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system's random generator failed: {0}")]
pub struct RandomError(#[from] getrandom::Error);

impl Token {
    /// A new token from the operating system's generator.
    pub fn random() -> Result<Self, RandomError> {
        let mut bytes = [0; TOKEN_LEN];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The token of bytes from the operating system's generator. Bytes that can be guessed make a
    /// token that can be guessed.
    #[cfg(feature = "server")]
    pub(crate) fn from_random(bytes: &[u8; TOKEN_LEN]) -> Self {
        Self(*bytes)
    }

    /// Reads the 32 characters of a token.
    pub fn parse(text: &[u8]) -> Result<Self, TokenError> {
        let text: &[u8; TOKEN_TEXT_LEN] =
            text.try_into().map_err(|_| TokenError::Length(text.len()))?;
        let mut bytes = [0; TOKEN_LEN];
        let mut seen = 0;
        for (four, three) in text.chunks_exact(4).zip(bytes.chunks_exact_mut(3)) {
            let [a, b, c, d] = [0, 1, 2, 3].map(|i| VALUES[i][usize::from(four[i])]);
            let bits = a | b | c | d;
            seen |= bits;
            three.copy_from_slice(&bits.to_be_bytes()[1..]);
        }
        // Only INVALID has this bit, so one test is enough for all 32 characters.
        if seen >= INVALID { Err(TokenError::Alphabet) } else { Ok(Self(bytes)) }
    }

    /// The token as text.
    #[must_use]
    pub fn text(&self) -> TokenText {
        let mut text = [0; TOKEN_TEXT_LEN];
        for (three, four) in self.0.chunks_exact(3).zip(text.chunks_exact_mut(4)) {
            let (a, b, c) = (three[0], three[1], three[2]);
            let sextets = [a >> 2, (a & 3) << 4 | b >> 4, (b & 15) << 2 | c >> 6, c & 63];
            for (character, sextet) in four.iter_mut().zip(sextets) {
                *character = ALPHABET[usize::from(sextet)];
            }
        }
        TokenText(text)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A token as text, for the answer that returns it.
#[derive(Clone)]
pub struct TokenText([u8; TOKEN_TEXT_LEN]);

impl TokenText {
    /// The 32 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // The alphabet is ASCII, so this never falls back.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenText(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_and_back(bytes: [u8; TOKEN_LEN]) {
            let token = Token(bytes);
            let text = token.text();
            prop_assert_eq!(Token::parse(text.as_str().as_bytes()), Ok(token));
        }

        #[test]
        fn any_other_character_is_refused(at in 0..TOKEN_TEXT_LEN, byte: u8) {
            let mut text = Token([7; TOKEN_LEN]).text().0;
            text[at] = byte;
            let valid = byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            prop_assert_eq!(Token::parse(&text).is_ok(), valid);
        }
    }

    #[test]
    fn a_wrong_length_is_refused() {
        assert_eq!(Token::parse(b"short"), Err(TokenError::Length(5)));
        assert_eq!(Token::parse(&[b'A'; 33]), Err(TokenError::Length(33)));
    }

    #[test]
    fn p9_debug_shows_no_token() {
        let token = Token([9; TOKEN_LEN]);
        let shown = format!("{token:?} {:?}", token.text());
        assert!(!shown.contains(token.text().as_str()));
    }
}
