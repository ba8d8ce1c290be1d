//! Tokens, digests and the secret between them.
//!
//! A token is 24 random bytes, written as 32 base64url characters (RFC 4648, section 5, without
//! padding: 24 bytes need none). The engine does not store tokens. It stores the digest: the first
//! 12 bytes of HMAC-SHA-256 (RFC 2104, FIPS 180-4) under the secret, so that a stolen log contains
//! no token, and 4 bytes for the namespace. Tokens of references and of idempotency keys are
//! derived with the same secret, so that they cannot be guessed without it.
//!
//! The HMAC's message is `kind ‖ 0x00 ‖ namespace ‖ 0x00 ‖ value`. Kind and namespace contain no
//! zero byte, so two different messages are never equal.

use std::fmt;
use std::hash::{Hash, Hasher};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::model::namespace::{Namespace, NamespaceTag};
use crate::model::short_mac::ShortMac;

/// Length of a token in bytes: 192 bits.
pub const TOKEN_LEN: usize = 24;
/// Length of a token as text.
pub const TOKEN_TEXT_LEN: usize = 32;
/// Length of a digest in bytes.
pub const DIGEST_LEN: usize = 16;
/// Number of bytes at the end of a digest that are the same for all tokens of a namespace.
const TAG_LEN: usize = 4;
/// Length of the secret in bytes.
pub const SECRET_LEN: usize = 32;

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
pub struct Token([u8; TOKEN_LEN]);

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

/// The value that the engine stores instead of a token.
///
/// All but its last four bytes are uniformly random to anyone without the secret, so its first half
/// is used as the hash table's key and as a timer's name. The last four bytes are the tag of the
/// namespace, so that the holdings of a namespace are counted without another field in every entry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    prefix: Prefix,
    rest: u64,
}

/// The first eight bytes of a digest, which name an entry in the timing wheel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix(pub u64);

impl Digest {
    /// The digest with these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; DIGEST_LEN]) -> Self {
        let [prefix, rest] = [&bytes[..8], &bytes[8..]].map(|half| {
            let mut word = [0; 8];
            word.copy_from_slice(half);
            u64::from_le_bytes(word)
        });
        Self { prefix: Prefix(prefix), rest }
    }

    /// The bytes of this digest.
    #[must_use]
    pub fn to_bytes(self) -> [u8; DIGEST_LEN] {
        let mut bytes = [0; DIGEST_LEN];
        bytes[..8].copy_from_slice(&self.prefix.0.to_le_bytes());
        bytes[8..].copy_from_slice(&self.rest.to_le_bytes());
        bytes
    }

    /// The first half.
    #[must_use]
    pub fn prefix(&self) -> Prefix {
        self.prefix
    }

    /// The tag of its namespace.
    #[must_use]
    pub fn tag(&self) -> NamespaceTag {
        NamespaceTag((self.rest >> 32) as u32)
    }
}

impl Hash for Digest {
    /// Hashes only the prefix, so that a [`Prefix`] finds the entry too.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.prefix.hash(state);
    }
}

impl papaya::Equivalent<Digest> for Prefix {
    fn equivalent(&self, key: &Digest) -> bool {
        *self == key.prefix
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({:016x}…)", self.prefix.0.swap_bytes())
    }
}

/// 32 bytes that turn tokens into digests. The secret and the log together still reveal no random
/// token, but allow to derive the tokens of references: keep the secret apart from the log's
/// backups.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret([u8; SECRET_LEN]);

impl Secret {
    /// A new secret from the operating system's generator.
    pub fn random() -> Result<Self, RandomError> {
        let mut bytes = [0; SECRET_LEN];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The secret with these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; SECRET_LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes, to be written to the secret file.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; SECRET_LEN] {
        &self.0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The purpose of an HMAC; each kind has different results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Token,
    Reference,
    IssueKey,
    HeldIssueKey,
    ConsumeKey,
    HeldConsumeKey,
    Namespace,
    SecretCheck,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Reference => "reference",
            Self::IssueKey => "issue-key",
            Self::HeldIssueKey => "held-issue-key",
            Self::ConsumeKey => "consume-key",
            Self::HeldConsumeKey => "held-consume-key",
            Self::Namespace => "namespace",
            Self::SecretCheck => "secret-check",
        }
    }
}

/// The secret, prepared for one namespace: the HMAC's key schedule and the message's prefix are
/// computed once.
#[derive(Clone)]
pub struct Digester {
    token: Hmac<Sha256>,
    /// The faster form, if namespace and token fit in one block.
    short_token: Option<ShortMac<TOKEN_LEN>>,
    reference: Hmac<Sha256>,
    issue_key: Hmac<Sha256>,
    held_issue_key: Hmac<Sha256>,
    consume_key: Hmac<Sha256>,
    held_consume_key: Hmac<Sha256>,
    tag: [u8; TAG_LEN],
    check: [u8; DIGEST_LEN],
    secret: Secret,
}

impl Digester {
    /// A digester with `secret` for `namespace`, which must not contain a zero byte.
    #[must_use]
    pub fn new(secret: &Secret, namespace: &str) -> Self {
        debug_assert!(!namespace.as_bytes().contains(&0), "zero ends the namespace in the message");
        // RFC 2104: a key shorter than the hash's block is padded with zeros.
        let mut block = [0; 64];
        block[..SECRET_LEN].copy_from_slice(&secret.0);
        let keyed = |kind: Kind| {
            let mut mac = Hmac::<Sha256>::new(&block.into());
            mac.update(kind.name().as_bytes());
            mac.update(&[0]);
            mac.update(namespace.as_bytes());
            mac.update(&[0]);
            mac
        };
        let prefix = [Kind::Token.name().as_bytes(), &[0], namespace.as_bytes(), &[0]].concat();
        Self {
            token: keyed(Kind::Token),
            short_token: ShortMac::new(&secret.0, &prefix),
            reference: keyed(Kind::Reference),
            issue_key: keyed(Kind::IssueKey),
            held_issue_key: keyed(Kind::HeldIssueKey),
            consume_key: keyed(Kind::ConsumeKey),
            held_consume_key: keyed(Kind::HeldConsumeKey),
            tag: first(keyed(Kind::Namespace), &[]),
            check: first(keyed(Kind::SecretCheck), &[]),
            secret: secret.clone(),
        }
    }

    /// A digester with the same secret for another namespace.
    #[must_use]
    pub fn of(&self, namespace: &Namespace) -> Self {
        Self::new(&self.secret, namespace.as_str())
    }

    /// The digest of a token.
    #[must_use]
    pub fn digest(&self, token: &Token) -> Digest {
        let mut bytes: [u8; DIGEST_LEN] = match &self.short_token {
            Some(short) => {
                let mut bytes = [0; DIGEST_LEN];
                bytes.copy_from_slice(&short.mac(&token.0)[..DIGEST_LEN]);
                bytes
            }
            None => first(self.token.clone(), &token.0),
        };
        bytes[DIGEST_LEN - TAG_LEN..].copy_from_slice(&self.tag);
        Digest::from_bytes(bytes)
    }

    /// The tag at the end of all digests of this namespace.
    #[must_use]
    pub fn tag(&self) -> NamespaceTag {
        NamespaceTag(u32::from_le_bytes(self.tag))
    }

    /// The token derived from a reference in its canonical form.
    #[must_use]
    pub fn token_for_reference(&self, canonical: &[u8]) -> Token {
        Token(first(self.reference.clone(), canonical))
    }

    /// The token derived from the `Idempotency-Key` of an issue by `holder`, which is empty for
    /// callers without an API key: the same key from another holder derives another token.
    #[must_use]
    pub fn token_for_issue_key(&self, holder: &[u8], key: &[u8]) -> Token {
        Token(match holder {
            [] => first(self.issue_key.clone(), key),
            holder => first(held(&self.held_issue_key, holder, 0), key),
        })
    }

    /// The stored form of the `Idempotency-Key` of a consume by `holder`, which is empty for
    /// callers without an API key. `repeat` is the number of earlier occurrences of the same token
    /// in the same request: each occurrence in a list is a separate use.
    #[must_use]
    pub fn consume_key(&self, holder: &[u8], repeat: u32, key: &[u8]) -> ConsumeKey {
        ConsumeKey(match (holder, repeat) {
            ([], 0) => first(self.consume_key.clone(), key),
            (holder, repeat) => first(held(&self.held_consume_key, holder, repeat), key),
        })
    }

    /// A value that identifies the secret without revealing it. It is stored with the data, so that
    /// a start with the wrong secret is refused.
    #[must_use]
    pub fn secret_check(&self) -> [u8; DIGEST_LEN] {
        self.check
    }
}

/// The message begins with the holder's length, so that two different messages are never equal.
fn held(kind: &Hmac<Sha256>, holder: &[u8], repeat: u32) -> Hmac<Sha256> {
    let mut mac = kind.clone();
    mac.update(&(holder.len() as u64).to_le_bytes());
    mac.update(holder);
    mac.update(&repeat.to_le_bytes());
    mac
}

impl fmt::Debug for Digester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digester(…)")
    }
}

/// The first `N` bytes of the HMAC over what `mac` has seen and `value`.
fn first<const N: usize>(mut mac: Hmac<Sha256>, value: &[u8]) -> [u8; N] {
    mac.update(value);
    let full = mac.finalize().into_bytes();
    let mut bytes = [0; N];
    bytes.copy_from_slice(&full[..N]);
    bytes
}

/// A hashed `Idempotency-Key` of a consume; the entry remembers it until its deadline.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConsumeKey(pub [u8; DIGEST_LEN]);

impl fmt::Debug for ConsumeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConsumeKey(…)")
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
    fn digest_is_the_head_of_hmac_sha_256_and_the_tag_of_its_namespace() {
        // An independent composition of RFC 2104 from the plain hash.
        use sha2::Digest as _;
        let secret = Secret::from_bytes([0x0B; SECRET_LEN]);
        let token = Token([0x5A; TOKEN_LEN]);
        let pad = |byte: u8| {
            let mut block = [byte; 64];
            for (cell, key) in block.iter_mut().zip(secret.as_bytes()) {
                *cell ^= key;
            }
            block
        };
        let mut message = b"token\0shop-a\0".to_vec();
        message.extend_from_slice(&token.0);
        let inner = Sha256::new().chain_update(pad(0x36)).chain_update(&message).finalize();
        let outer = Sha256::new().chain_update(pad(0x5C)).chain_update(inner).finalize();
        let digester = Digester::new(&secret, "shop-a");
        let expected = [&outer[..DIGEST_LEN - TAG_LEN], &digester.tag[..]].concat();
        assert_eq!(digester.digest(&token).to_bytes()[..], expected);
        assert_eq!(digester.digest(&token).tag(), digester.tag());
        let long = Digester { short_token: None, ..digester };
        assert_eq!(long.digest(&token).to_bytes()[..], expected);
    }

    #[test]
    fn secrets_namespaces_and_kinds_are_apart() {
        let one = Digester::new(&Secret::from_bytes([1; SECRET_LEN]), "default");
        let two = Digester::new(&Secret::from_bytes([2; SECRET_LEN]), "default");
        let shop = Digester::new(&Secret::from_bytes([1; SECRET_LEN]), "shop");
        let token = Token([3; TOKEN_LEN]);
        assert_ne!(one.digest(&token), two.digest(&token));
        assert_ne!(one.digest(&token).prefix(), shop.digest(&token).prefix());
        assert_ne!(one.tag(), shop.tag());
        assert_ne!(one.tag(), two.tag());
        assert_ne!(one.token_for_reference(b"x"), one.token_for_issue_key(b"", b"x"));
        assert_ne!(one.secret_check(), two.secret_check());
    }

    #[test]
    fn p9_debug_shows_no_token() {
        let token = Token([9; TOKEN_LEN]);
        let shown = format!("{token:?} {:?}", token.text());
        assert!(!shown.contains(token.text().as_str()));
    }
}
