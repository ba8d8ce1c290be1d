//! Namespaces: tokens and references of one are unknown in another.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ahash::RandomState;

/// The longest name, in bytes: with a token's kind and bytes it fits in one block of SHA-256, so
/// that a resolve costs the same in every namespace.
pub const NAMESPACE_LEN_MAX: usize = 24;
/// The namespace of a server without keys.
pub const DEFAULT_NAMESPACE: &str = "default";

/// A name: 1 to 24 characters of `a-z 0-9 - _ .`, the first a letter or a digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(Arc<str>);

/// A text is not the name of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a namespace has 1 to {NAMESPACE_LEN_MAX} characters of a-z 0-9 - _ . and begins with a letter or a digit"
)]
pub struct NamespaceError;

/// The whole server, in place of a namespace: for keys that open no token.
const EVERY: &str = "*";

impl Namespace {
    /// Reads the namespace of a key: a name, or `*` for the whole server.
    ///
    /// # Errors
    /// It is neither.
    pub fn of_key(text: &str) -> Result<Namespace, NamespaceError> {
        if text == EVERY { Ok(Namespace(EVERY.into())) } else { text.parse() }
    }

    /// The whole server, and no namespace of tokens.
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
    fn default() -> Namespace {
        Namespace(DEFAULT_NAMESPACE.into())
    }
}

impl FromStr for Namespace {
    type Err = NamespaceError;

    fn from_str(text: &str) -> Result<Namespace, NamespaceError> {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_known = |byte: u8| is_plain(byte) || b"-_.".contains(&byte);
        let begins = text.bytes().next().is_some_and(is_plain);
        if !begins || text.len() > NAMESPACE_LEN_MAX || !text.bytes().all(is_known) {
            return Err(NamespaceError);
        }
        Ok(Namespace(text.into()))
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Tells namespaces apart where usage is counted: the head of an HMAC of the name. Of four billion
/// pairs of namespaces one has the same tag: the one that was added is refused
/// ([`TagOwners`]). Without that, what is in one of them is
/// unknown in the other all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NamespaceTag(pub u32);

/// A namespace cannot be used: another one, which was there before, has the same tag. What both
/// hold would be counted as one, against the quota of either.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error(
    "namespace {refused} is refused: it has the tag of namespace {owner}, which was there before; \
     choose another name"
)]
pub struct TagCollision {
    /// The one that was added.
    pub refused: Namespace,
    /// The one that has the tag.
    pub owner: Namespace,
}

/// Which namespace each tag counts for. Two names share a tag with a probability of one in four
/// billion; the first to claim it keeps it.
#[derive(Debug, Default)]
pub struct TagOwners(HashMap<NamespaceTag, Namespace, RandomState>);

impl TagOwners {
    /// Claims a namespace's tag for it. Claiming again changes nothing.
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
        let text = "namespace b is refused: it has the tag of namespace a, which was there before";
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
