//! Digests: what the engine stores instead of tokens and of keys.

use std::fmt;
use std::hash::{Hash, Hasher};

use crate::model::namespace::NamespaceTag;

/// Length of a digest in bytes.
pub const DIGEST_LEN: usize = 16;
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

/// A hashed `Idempotency-Key` of a consume; the entry remembers it until its deadline.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConsumeKey(pub [u8; DIGEST_LEN]);

impl fmt::Debug for ConsumeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConsumeKey(…)")
    }
}
