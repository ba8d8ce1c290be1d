//! Namespaces: tokens and references of one namespace are unknown in another.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ahash::RandomState;

/// Maximum length of a name, in bytes: together with a token's kind and bytes it fits in one block
/// of SHA-256, so that a resolve costs the same in every namespace.
pub const NAMESPACE_LEN_MAX: usize = 24;
/// The namespace of a server without keys.
pub const DEFAULT_NAMESPACE: &str = "default";

/// A name: 1 to 24 characters of `a-z 0-9 - _ .`, the first a letter or a digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(Arc<str>);

/// A text is not the name of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a namespace has 1 to {NAMESPACE_LEN_MAX} characters of a-z 0-9 - _ . and begins with a \
    letter or a digit"
)]
pub struct NamespaceError;

/// The whole server instead of a namespace, for keys without access to tokens.
const EVERY: &str = "*";

impl Namespace {
    /// Reads the namespace of a key: a name, or `*` for the whole server.
    ///
    /// # Errors
    /// The text is neither.
    pub fn of_key(text: &str) -> Result<Self, NamespaceError> {
        if text == EVERY { Ok(Self(EVERY.into())) } else { text.parse() }
    }

    /// Whether this is the whole server, and not a namespace of tokens.
    #[must_use]
    pub fn is_every(&self) -> bool {
        &*self.0 == EVERY
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self(DEFAULT_NAMESPACE.into())
    }
}

impl FromStr for Namespace {
    type Err = NamespaceError;

    fn from_str(text: &str) -> Result<Self, NamespaceError> {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_known = |byte: u8| is_plain(byte) || b"-_.".contains(&byte);
        let begins = text.bytes().next().is_some_and(is_plain);
        if !begins || text.len() > NAMESPACE_LEN_MAX || !text.bytes().all(is_known) {
            return Err(NamespaceError);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Identifies a namespace where usage is counted: the first bytes of an HMAC of its name. One of
/// four billion pairs of namespaces has the same tag; then the namespace that was added later is
/// refused ([`TagOwners`]). Tokens of one namespace are unknown in another in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NamespaceTag(pub u32);

/// A namespace cannot be used, because an earlier one has the same tag: the holdings of both would
/// be counted together, against the quota of either.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error(
    "namespace {refused} is refused: its tag is already used by namespace {owner}; choose another \
     name"
)]
pub struct TagCollision {
    /// The refused namespace.
    pub refused: Namespace,
    /// The namespace that owns the tag.
    pub owner: Namespace,
}

/// The owner of each tag. Two names have the same tag with a probability of one in four billion;
/// the first namespace to claim it keeps it.
#[derive(Debug, Default)]
pub struct TagOwners(HashMap<NamespaceTag, Namespace, RandomState>);

impl TagOwners {
    /// Claims a namespace's tag for it. Claiming it again has no effect.
    ///
    /// # Errors
    /// Another namespace has the tag.
    pub fn claim(&mut self, namespace: &Namespace, tag: NamespaceTag) -> Result<(), TagCollision> {
        let owner = self.0.entry(tag).or_insert_with(|| namespace.clone());
        if owner == namespace {
            return Ok(());
        }
        Err(TagCollision { refused: namespace.clone(), owner: owner.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_to_claim_a_tag_keeps_it() {
        let [first, second] = ["a", "b"].map(|name| name.parse::<Namespace>().unwrap());
        let (mut owners, tag) = (TagOwners::default(), NamespaceTag(7));
        assert_eq!(owners.claim(&first, tag), Ok(()));
        assert_eq!(owners.claim(&first, tag), Ok(()));
        let collision = TagCollision { refused: second.clone(), owner: first };
        assert_eq!(owners.claim(&second, tag), Err(collision.clone()));
        assert_eq!(owners.claim(&second, NamespaceTag(8)), Ok(()));
        let text = "namespace b is refused: its tag is already used by namespace a";
        assert!(collision.to_string().starts_with(text), "{collision}");
    }

    #[test]
    fn names_are_plain_and_short() {
        for name in ["a", "default", "shop-a", "7.eu_west", &"x".repeat(NAMESPACE_LEN_MAX)] {
            assert_eq!(name.parse::<Namespace>().map(|name| name.to_string()), Ok(name.to_owned()));
        }
        for name in ["", "-a", ".a", "A", "a b", "a/b", "é", "a\0", &"x".repeat(25)] {
            assert_eq!(name.parse::<Namespace>(), Err(NamespaceError), "{name:?}");
        }
    }
}
