//! API keys: who may do what in which namespace.
//!
//! `text` is a key as its holder has it, `file` what is kept of all of them. [`Keys`] is what a
//! server works with: a table that readers hold without a lock, and that is another one after each
//! change of the file.

pub mod file;
mod holder;
pub mod text;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crossbeam::utils::CachePadded;

use crate::namespace::Namespace;
use crate::scope::{Scope, Scopes};
use crate::time::UnixMillis;
use crate::token::Digester;

pub use file::{KeyEntry, KeysError};
pub use holder::{CERTIFICATE_LEN_MAX, CertificateField, CertificateName, Holder};
pub use text::{Key, KeyHash, KeyId};

/// What somebody may do, and where.
#[derive(Debug)]
pub struct Access {
    /// The key; nothing where there is none, or the role without a key.
    pub key: Option<KeyId>,
    /// Where.
    pub namespace: Namespace,
    /// What.
    pub scopes: Scopes,
    /// From then on it may nothing.
    pub expires_at: UnixMillis,
    /// Of the namespace.
    pub digester: Digester,
    /// Who an `Idempotency-Key` belongs to, as [`Holder::to_bytes`] has it.
    pub holder: Vec<u8>,
}

impl Access {
    /// Everything, for ever, in the namespace of `digester`: a server without keys.
    #[must_use]
    pub fn everything(namespace: Namespace, digester: Digester) -> Access {
        let (scopes, expires_at) = (Scopes::ALL, UnixMillis::MAX);
        Access { key: None, namespace, scopes, expires_at, digester, holder: Vec::new() }
    }

    /// Whether it may do this.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.has(scope)
    }
}

/// All keys that are worth something, at one moment.
#[derive(Debug, Default)]
pub struct Table {
    keys: HashMap<KeyId, (KeyHash, Arc<Access>)>,
    /// By the name of a client's certificate.
    certified: HashMap<CertificateName, Arc<Access>>,
}

impl Table {
    /// The table of these keys. `digester` is that of any namespace.
    #[must_use]
    pub fn new(entries: &[KeyEntry], digester: &Digester) -> Table {
        let mut digesters: HashMap<&Namespace, Digester> = HashMap::new();
        let living = entries.iter().filter(|entry| entry.revoked_at.is_none());
        let mut certified = HashMap::new();
        let keys = living.map(|entry| {
            let of_namespace = || digester.of(&entry.namespace);
            let digester = digesters.entry(&entry.namespace).or_insert_with(of_namespace);
            let access = |holder: &Holder| {
                Arc::new(Access {
                    key: Some(entry.id),
                    namespace: entry.namespace.clone(),
                    scopes: entry.scopes,
                    expires_at: entry.expires_at.unwrap_or(UnixMillis::MAX),
                    digester: digester.clone(),
                    holder: holder.to_bytes(),
                })
            };
            if let Some(name) = &entry.certificate {
                certified.insert(name.clone(), access(&Holder::Certificate(name.clone())));
            }
            let holder = Holder::Key(entry.holder.unwrap_or(entry.id));
            (entry.id, (entry.hash.clone(), access(&holder)))
        });
        let keys = keys.collect();
        Table { keys, certified }
    }

    /// What the holder of `key` may do; nothing where it is no key of this table.
    #[must_use]
    pub fn access(&self, key: &[u8]) -> Option<Arc<Access>> {
        let (id, hash) = text::presented(key)?;
        let (known, access) = self.keys.get(&id)?;
        (*known == hash).then(|| Arc::clone(access))
    }

    /// The namespaces that somebody has a key for; several times where there are several keys.
    pub fn namespaces(&self) -> impl Iterator<Item = &Namespace> {
        self.keys.values().map(|(_, access)| &access.namespace)
    }

    /// What the holder of a verified certificate with these names may do: by the first name that a
    /// key of this table has.
    #[must_use]
    pub fn certified(&self, names: &[CertificateName]) -> Option<Arc<Access>> {
        names.iter().find_map(|name| self.certified.get(name).cloned())
    }

    /// Keys in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// True where nobody may do anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// The keys of a running server. Clones share them.
#[derive(Clone, Debug)]
pub struct Keys(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: PathBuf,
    table: RwLock<Arc<Table>>,
    /// Another one for each table; read with every request.
    version: CachePadded<AtomicU64>,
}

impl Keys {
    /// Reads `file`.
    ///
    /// # Errors
    /// It is not there, or has mistakes.
    pub fn open(file: &Path, digester: &Digester) -> Result<Keys, KeysError> {
        let table = Table::new(&file::load(file)?, digester);
        let inner = Inner {
            file: file.to_owned(),
            table: RwLock::new(Arc::new(table)),
            version: CachePadded::new(AtomicU64::new(0)),
        };
        Ok(Keys(Arc::new(inner)))
    }

    /// Reads the file again. The keys stay as they were where that fails.
    ///
    /// # Errors
    /// As for [`Keys::open`].
    pub fn reload(&self, digester: &Digester) -> Result<usize, KeysError> {
        let table = Table::new(&file::load(&self.0.file)?, digester);
        let len = table.len();
        *self.0.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
        // Whoever sees the new version gets the new table, or one after it.
        self.0.version.fetch_add(1, Ordering::Release);
        Ok(len)
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.0.file
    }

    /// Changes with each table.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.0.version.load(Ordering::Acquire)
    }

    /// The table as it is now.
    #[must_use]
    pub fn table(&self) -> Arc<Table> {
        Arc::clone(&self.0.table.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{SECRET_LEN, Secret, Token};

    fn digester() -> Digester {
        Digester::new(&Secret::from_bytes([7; SECRET_LEN]), "default")
    }

    fn new_key(namespace: &str) -> (Key, KeyEntry) {
        let scopes = "resolve".parse().unwrap();
        let now = UnixMillis(1_769_860_800_007);
        file::new_key(namespace.parse().unwrap(), scopes, String::new(), now, None).unwrap()
    }

    #[test]
    fn a_key_opens_its_namespace_and_no_other_key_does() {
        let (key, entry) = new_key("shop-a");
        let (mut other, _) = new_key("shop-a");
        let table = Table::new(&[entry], &digester());
        let access = table.access(key.text().as_bytes()).unwrap();
        assert!(access.may(Scope::Resolve) && !access.may(Scope::Consume));
        let token = Token::random().unwrap();
        let shop = Digester::new(&Secret::from_bytes([7; SECRET_LEN]), "shop-a");
        assert_eq!(access.digester.digest(&token), shop.digest(&token));
        assert!(table.access(other.text().as_bytes()).is_none());
        // The same id with another random part.
        other = Key::random(key.id()).unwrap();
        assert!(table.access(other.text().as_bytes()).is_none());
        assert!(table.access(b"").is_none());
    }

    #[test]
    fn a_reload_replaces_all_keys_or_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.toml");
        let [(one, first), (two, second)] = [new_key("a"), new_key("b")];
        file::add(&path, &first).unwrap();
        let keys = Keys::open(&path, &digester()).unwrap();
        let opens = |key: &Key| keys.table().access(key.text().as_bytes()).is_some();
        assert!(opens(&one) && !opens(&two));
        file::add(&path, &second).unwrap();
        file::revoke(&path, first.id, UnixMillis(1)).unwrap();
        let before = keys.version();
        assert_eq!(keys.reload(&digester()).unwrap(), 1);
        assert!(!opens(&one) && opens(&two) && keys.version() != before);
        std::fs::write(&path, "[[key]]\n").unwrap();
        assert!(keys.reload(&digester()).is_err());
        assert!(opens(&two), "a file with mistakes changes nothing");
    }
}
