//! Scopes: the permissions of a key.

use std::fmt;
use std::str::FromStr;

/// One permission of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Scope {
    /// Issue tokens, and extend them.
    Issue = 1 << 0,
    /// Resolve tokens, and read their status.
    Resolve = 1 << 1,
    /// Consume uses.
    Consume = 1 << 2,
    /// Revoke tokens.
    Revoke = 1 << 3,
    /// Resolve and consume by reference, which anyone who knows an order can guess.
    Reference = 1 << 4,
    /// Issue under tokens and names that the caller chooses, in the place of what is there.
    Import = 1 << 8,
    /// Statistics of the server, and the OpenAPI description.
    Admin = 1 << 5,
    /// Metrics of the whole server, or of the key's namespace.
    Metrics = 1 << 6,
    /// Backups, which contain the payloads of all namespaces.
    Backup = 1 << 7,
}

/// All scopes and their names.
pub const SCOPES: [(Scope, &str); 9] = [
    (Scope::Issue, "issue"),
    (Scope::Resolve, "resolve"),
    (Scope::Consume, "consume"),
    (Scope::Revoke, "revoke"),
    (Scope::Reference, "reference"),
    (Scope::Import, "import"),
    (Scope::Admin, "admin"),
    (Scope::Metrics, "metrics"),
    (Scope::Backup, "backup"),
];

/// A set of scopes. Its text is their names, separated by commas: `issue,resolve`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u16);

const ALL_NAMES: &str =
    "issue, resolve, consume, revoke, reference, import, admin, metrics, backup";

/// A text is not a set of scopes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopesError {
    /// A scope is unknown.
    #[error("{0:?} is not a scope; the scopes are {ALL_NAMES}")]
    Unknown(String),
    /// The set is empty.
    #[error("at least one scope is needed: {ALL_NAMES}")]
    Empty,
}

impl Scopes {
    /// All scopes, as in a server without keys.
    pub const ALL: Self = Self((1 << SCOPES.len()) - 1);
    /// Scopes of the whole server, which need the namespace `*`.
    pub const OF_THE_SERVER: Self = Self(Scope::Admin as u16 | Scope::Backup as u16);
    /// Scopes that the namespace `*` can have; it contains no tokens.
    pub const WITHOUT_TOKENS: Self =
        Self(Scope::Admin as u16 | Scope::Backup as u16 | Scope::Metrics as u16);

    /// Whether the set contains `scope`.
    #[must_use]
    pub fn has(self, scope: Scope) -> bool {
        self.0 & scope as u16 != 0
    }

    /// Whether the set is a subset of `others`.
    #[must_use]
    pub fn is_within(self, others: Self) -> bool {
        self.0 & !others.0 == 0
    }

    /// The scopes that are not in `others`.
    #[must_use]
    pub fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// The set with `scope` added.
    #[must_use]
    pub fn with(self, scope: Scope) -> Self {
        Self(self.0 | scope as u16)
    }

    /// Their names.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        SCOPES.into_iter().filter(move |(scope, _)| self.has(*scope)).map(|(_, name)| name)
    }

    /// The scopes with these names.
    ///
    /// # Errors
    /// A scope is unknown, or there are none.
    pub fn of<'a>(names: impl Iterator<Item = &'a str>) -> Result<Self, ScopesError> {
        let mut scopes = Self::default();
        for name in names {
            let known = SCOPES.iter().find(|(_, known)| *known == name);
            let (scope, _) = known.ok_or_else(|| ScopesError::Unknown(name.to_owned()))?;
            scopes = scopes.with(*scope);
        }
        if scopes == Self::default() { Err(ScopesError::Empty) } else { Ok(scopes) }
    }
}

impl FromStr for Scopes {
    type Err = ScopesError;

    fn from_str(text: &str) -> Result<Self, ScopesError> {
        Self::of(text.split(',').map(str::trim).filter(|name| !name.is_empty()))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let all = "issue,resolve,consume,revoke,reference,import,admin,metrics,backup";
        for text in ["issue", "issue,resolve", all] {
            assert_eq!(text.parse::<Scopes>().unwrap().to_string(), text);
        }
        assert_eq!(" resolve , issue,".parse::<Scopes>().unwrap().to_string(), "issue,resolve");
        assert_eq!("".parse::<Scopes>(), Err(ScopesError::Empty));
        assert_eq!("issue,all".parse::<Scopes>(), Err(ScopesError::Unknown("all".to_owned())));
        let [some, more] = ["issue", "issue,resolve"].map(|text| text.parse::<Scopes>().unwrap());
        assert!(some.is_within(more) && more.is_within(more) && !more.is_within(some));
        assert!(SCOPES.iter().all(|(scope, _)| Scopes::ALL.has(*scope)));
        assert_eq!(ALL_NAMES.replace(", ", ","), all);
        assert_eq!(Scopes::ALL.without(Scopes::OF_THE_SERVER).names().count(), 7);
    }
}
