//! The secret, and the digests and tokens that are computed with it.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use super::digest::{ConsumeKey, DIGEST_LEN, Digest};
use super::text::{RandomError, TOKEN_LEN, Token};
use crate::model::namespace::{DEFAULT_NAMESPACE, Namespace, NamespaceTag};
use crate::model::short_mac::{LANES, ShortMac};

/// Number of bytes at the end of a digest that are the same for all tokens of a namespace.
const TAG_LEN: usize = 4;
/// Length of the secret in bytes.
pub const SECRET_LEN: usize = 32;

/// 32 bytes that turn tokens into digests. The secret and the log together still reveal no random
/// token, but allow to derive the tokens of references: keep the secret apart from the log's
/// backups.
///
/// Clones share the bytes, which are in memory once and are wiped with the last clone.
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<[u8; SECRET_LEN]>>);

impl Secret {
    /// A new secret from the operating system's generator.
    pub fn random() -> Result<Self, RandomError> {
        let mut bytes = Zeroizing::new([0; SECRET_LEN]);
        getrandom::fill(&mut *bytes)?;
        Ok(Self::from_bytes(*bytes))
    }

    /// The secret with these bytes. The caller wipes its own copy.
    #[must_use]
    pub fn from_bytes(mut bytes: [u8; SECRET_LEN]) -> Self {
        let secret = Self(Arc::new(Zeroizing::new(bytes)));
        bytes.zeroize();
        secret
    }

    /// The bytes, to be written to the secret file.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; SECRET_LEN] {
        &self.0
    }

    /// An HMAC with the secret as its key.
    fn mac(&self) -> Hmac<Sha256> {
        // RFC 2104: a key shorter than the hash's block is padded with zeros.
        let mut block = Zeroizing::new([0; 64]);
        block[..SECRET_LEN].copy_from_slice(self.as_bytes());
        Hmac::<Sha256>::new((&*block).into())
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&**other.0).into()
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
    Name,
    Reference,
    IssueKey,
    HeldIssueKey,
    BatchIssueKey,
    ConsumeKey,
    HeldConsumeKey,
    Namespace,
    SecretCheck,
    Log,
    AuditKey,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Name => "name",
            Self::Reference => "reference",
            Self::IssueKey => "issue-key",
            Self::HeldIssueKey => "held-issue-key",
            Self::BatchIssueKey => "batch-issue-key",
            Self::ConsumeKey => "consume-key",
            Self::HeldConsumeKey => "held-consume-key",
            Self::Namespace => "namespace",
            Self::SecretCheck => "secret-check",
            Self::Log => "log",
            Self::AuditKey => "audit-key",
        }
    }
}

/// Maximum length of a name that a client chooses, in bytes.
pub const NAME_LEN_MAX: usize = 512;

/// The secret, prepared for one namespace: the HMAC's key schedule and the message's prefix are
/// computed once.
#[derive(Clone)]
pub struct Digester {
    token: Hmac<Sha256>,
    /// The faster form, if namespace and token fit in one block.
    short_token: Option<ShortMac<TOKEN_LEN>>,
    name: Hmac<Sha256>,
    reference: Hmac<Sha256>,
    issue_key: Hmac<Sha256>,
    held_issue_key: Hmac<Sha256>,
    batch_issue_key: Hmac<Sha256>,
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
        let unkeyed = secret.mac();
        let keyed_for = |kind: Kind, namespace: &str| {
            let mut mac = unkeyed.clone();
            mac.update(kind.name().as_bytes());
            mac.update(&[0]);
            mac.update(namespace.as_bytes());
            mac.update(&[0]);
            mac
        };
        let keyed = |kind: Kind| keyed_for(kind, namespace);
        let prefix = [Kind::Token.name().as_bytes(), &[0], namespace.as_bytes(), &[0]].concat();
        Self {
            token: keyed(Kind::Token),
            short_token: ShortMac::new(secret.as_bytes(), &prefix),
            name: keyed(Kind::Name),
            reference: keyed(Kind::Reference),
            issue_key: keyed(Kind::IssueKey),
            held_issue_key: keyed(Kind::HeldIssueKey),
            batch_issue_key: keyed(Kind::BatchIssueKey),
            consume_key: keyed(Kind::ConsumeKey),
            held_consume_key: keyed(Kind::HeldConsumeKey),
            tag: first(keyed(Kind::Namespace), &[]),
            check: first(keyed_for(Kind::SecretCheck, DEFAULT_NAMESPACE), &[]),
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

    /// Appends the digests of tokens to `digests`, in their order. Several are computed side by side.
    pub fn append_digests(&self, tokens: &[Token], digests: &mut Vec<Digest>) {
        let (lanes, rest) = match &self.short_token {
            Some(short) => {
                let (lanes, rest) = tokens.as_chunks::<LANES>();
                (lanes.iter().map(|lane| short.macs(lane.each_ref().map(|token| &token.0))), rest)
            }
            None => return digests.extend(tokens.iter().map(|token| self.digest(token))),
        };
        for mac in lanes.flatten() {
            let mut bytes = [0; DIGEST_LEN];
            bytes.copy_from_slice(&mac[..DIGEST_LEN]);
            bytes[DIGEST_LEN - TAG_LEN..].copy_from_slice(&self.tag);
            digests.push(Digest::from_bytes(bytes));
        }
        digests.extend(rest.iter().map(|token| self.digest(token)));
    }

    /// The digest of a name, which a client chose instead of a token.
    #[must_use]
    pub fn digest_of_name(&self, name: &[u8]) -> Digest {
        let mut bytes: [u8; DIGEST_LEN] = first(self.name.clone(), name);
        bytes[DIGEST_LEN - TAG_LEN..].copy_from_slice(&self.tag);
        Digest::from_bytes(bytes)
    }

    /// The digest of a key of the Redis protocol. One of 32 base64url characters has the digest of
    /// the token with that text, also if a client chose it. Any other key is a name.
    #[must_use]
    pub fn digest_of_key(&self, key: &[u8]) -> Digest {
        match Token::parse(key) {
            Ok(token) => self.digest(&token),
            Err(_) => self.digest_of_name(key),
        }
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

    /// The same for the item at `place` of a batch: another item, and an issue outside of a batch,
    /// derive other tokens from the same key.
    #[must_use]
    pub fn token_for_batch_key(&self, holder: &[u8], place: u32, key: &[u8]) -> Token {
        Token(first(held(&self.batch_issue_key, holder, place), key))
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

    /// The key of the log, from which the keys of its segments are derived. It is the same for all
    /// namespaces, and not kept: an API key has a digester, and only the log needs this.
    #[must_use]
    pub(crate) fn log_key(&self) -> Zeroizing<[u8; SECRET_LEN]> {
        self.shared(Kind::Log, DEFAULT_NAMESPACE)
    }

    /// The seed of the key pair that signs checkpoints of the audit log. It is the same for all
    /// namespaces.
    #[must_use]
    pub fn audit_seed(&self) -> Zeroizing<[u8; SECRET_LEN]> {
        self.shared(Kind::AuditKey, "")
    }

    /// A key that all namespaces share.
    fn shared(&self, kind: Kind, namespace: &str) -> Zeroizing<[u8; SECRET_LEN]> {
        let message = [kind.name().as_bytes(), &[0], namespace.as_bytes(), &[0]].concat();
        Zeroizing::new(first(self.secret.mac(), &message))
    }
}

/// The message begins with the holder's length, so that two different messages are never equal.
fn held(kind: &Hmac<Sha256>, holder: &[u8], number: u32) -> Hmac<Sha256> {
    let mut mac = kind.clone();
    mac.update(&(holder.len() as u64).to_le_bytes());
    mac.update(holder);
    mac.update(&number.to_le_bytes());
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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn digests_of_many_tokens_are_those_of_each_in_their_order() {
        let secret = Secret::from_bytes([0x0B; SECRET_LEN]);
        let tokens: Vec<Token> = (0..23).map(|n| Token([n; TOKEN_LEN])).collect();
        // The second namespace does not fit in one block with a token.
        for namespace in ["default", "a-namespace-with-a-very-long-name"] {
            let digester = Digester::new(&secret, namespace);
            let each: Vec<_> = tokens.iter().map(|token| digester.digest(token)).collect();
            for len in 0..tokens.len() {
                let mut many = vec![each[22]];
                digester.append_digests(&tokens[..len], &mut many);
                assert_eq!((many[0], &many[1..]), (each[22], &each[..len]), "{namespace} {len}");
            }
        }
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
        let (text, name) = (token.text(), b"order-17");
        assert_eq!(one.digest_of_key(text.as_str().as_bytes()), one.digest(&token));
        assert_eq!(one.digest_of_key(name), one.digest_of_name(name));
        assert_eq!(one.digest_of_name(name).tag(), one.tag());
        let bytes = token.0.as_slice();
        assert_ne!(one.digest_of_name(bytes).prefix(), one.digest(&token).prefix());
        assert_ne!(one.digest_of_name(name).prefix(), shop.digest_of_name(name).prefix());
        assert_ne!(one.token_for_reference(b"x"), one.token_for_issue_key(b"", b"x"));
        let batch = |holder: &[u8], place| one.token_for_batch_key(holder, place, b"x");
        let alone = |holder: &[u8]| one.token_for_issue_key(holder, b"x");
        assert_eq!(batch(b"h", 1), batch(b"h", 1));
        for other in [batch(b"h", 1), batch(b"", 0), alone(b""), alone(b"h")] {
            assert_ne!(batch(b"h", 0), other);
        }
        assert_ne!(one.secret_check(), two.secret_check());
        assert_ne!(one.log_key(), two.log_key());
        assert_eq!(one.log_key(), shop.log_key(), "all namespaces are in one log");
        assert_eq!(one.secret_check(), shop.secret_check());
        assert_ne!(one.audit_seed(), two.audit_seed());
        assert_eq!(one.audit_seed(), shop.audit_seed());
        assert_ne!(one.audit_seed()[..DIGEST_LEN], one.secret_check());
    }
}
