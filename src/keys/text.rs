//! The text of a key, as its holder has it: `jeton_1a2b3c4d_` and 32 random characters.
//!
//! The eight hexadecimal digits are the key's id: it is used to find the key, and names it in lists
//! and logs. Only the SHA-256 of the whole key is stored. A fast hash is enough: unlike a password,
//! the random part has 192 bits and cannot be guessed by trying.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::model::token::{RandomError, TOKEN_TEXT_LEN, Token};

const PREFIX: &[u8] = b"jeton_";
const ID_LEN: usize = 4;
const RANDOM_AT: usize = PREFIX.len() + 2 * ID_LEN + 1;
/// Length of a key as text.
pub const KEY_TEXT_LEN: usize = RANDOM_AT + TOKEN_TEXT_LEN;

/// Id of a key. Not secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; ID_LEN]);

/// A text is not the id of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of a key has {} hexadecimal digits", 2 * ID_LEN)]
pub struct KeyIdError;

impl KeyId {
    /// Creates a random id.
    ///
    /// # Errors
    /// The operating system returns no random bytes.
    pub fn random() -> Result<Self, RandomError> {
        let mut bytes = [0; ID_LEN];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&const_hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl FromStr for KeyId {
    type Err = KeyIdError;

    fn from_str(text: &str) -> Result<Self, KeyIdError> {
        let is_plain = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let mut bytes = [0; ID_LEN];
        if !is_plain || const_hex::decode_to_slice(text, &mut bytes).is_err() {
            return Err(KeyIdError);
        }
        Ok(Self(bytes))
    }
}

/// A new key. It is wiped from memory when dropped, and printed only once.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Key {
    #[zeroize(skip)]
    id: KeyId,
    text: String,
}

impl Key {
    /// Creates a key with this id.
    ///
    /// # Errors
    /// The operating system returns no random bytes.
    pub fn random(id: KeyId) -> Result<Self, RandomError> {
        let random = Token::random()?.text();
        Ok(Self { id, text: format!("jeton_{id}_{}", random.as_str()) })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The text for its holder.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The hash that is stored.
    #[must_use]
    pub fn hash(&self) -> KeyHash {
        KeyHash::of(self.text.as_bytes())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}…)", self.id)
    }
}

/// The SHA-256 of a key. Compared in constant time.
#[derive(Clone)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    fn of(text: &[u8]) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// Reads what [`KeyHash`]'s `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("sha256:")?;
        let mut bytes = [0; 32];
        const_hex::decode_to_slice(digits, &mut bytes).ok()?;
        (!digits.starts_with("0x")).then_some(Self(bytes))
    }
}

impl PartialEq for KeyHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", const_hex::encode(self.0))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(…)")
    }
}

/// Id and hash of a presented key; `None` if it does not have the form of a key.
#[must_use]
pub fn presented(text: &[u8]) -> Option<(KeyId, KeyHash)> {
    let (id, rest) = text.strip_prefix(PREFIX)?.split_at_checked(2 * ID_LEN)?;
    let id = std::str::from_utf8(id).ok()?.parse().ok()?;
    // The parsed copy is wiped.
    Zeroizing::new(Token::parse(rest.strip_prefix(b"_")?).ok()?);
    Some((id, KeyHash::of(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_its_id_and_known_by_its_hash() {
        let key = Key::random(KeyId([0x1a, 0x2b, 0x3c, 0x4d])).unwrap();
        assert_eq!(key.text().len(), KEY_TEXT_LEN);
        assert!(key.text().starts_with("jeton_1a2b3c4d_"));
        let (id, hash) = presented(key.text().as_bytes()).unwrap();
        assert!(id == key.id() && hash == key.hash());
        assert!(KeyHash::parse(&hash.to_string()).unwrap() == hash);
        let other = Key::random(key.id()).unwrap();
        assert!(presented(other.text().as_bytes()).unwrap().1 != hash);
    }

    #[test]
    fn other_texts_are_no_keys() {
        let key = Key::random(KeyId([0; 4])).unwrap();
        let text = key.text();
        for wrong in [
            "",
            "jeton_",
            &text[1..],
            &text[..KEY_TEXT_LEN - 1],
            &format!("{text}x"),
            &text.replace("jeton_0", "jeton_g"),
            &text.replace("jeton_0", "jeton_A"),
            &text.replacen('_', "-", 1),
        ] {
            assert!(presented(wrong.as_bytes()).is_none(), "{}", wrong.len());
        }
        assert!(KeyHash::parse(&format!("sha256:0x{}", "a".repeat(62))).is_none());
        assert!("1A2b3c4d".parse::<KeyId>().is_err() && "0x123456".parse::<KeyId>().is_err());
    }

    #[test]
    fn p9_debug_shows_no_key() {
        let key = Key::random(KeyId([7; 4])).unwrap();
        let shown = format!("{key:?} {:?}", key.hash());
        assert!(!shown.contains(&key.text()[RANDOM_AT..]), "{shown}");
    }
}
