//! API keys: who may do what in which namespace.
//!
//! `text` is the form of a key that its holder has; `file` is the keys file, and `entry` one key in
//! it. `table` finds the `access` of a key. A server uses [`Keys`]: a table that is read without a
//! lock and replaced after each change of the file. `fingerprint` compares the files of several servers.

mod access;
mod changes;
mod entry;
pub mod file;
mod fingerprint;
mod holder;
mod table;
pub mod text;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crossbeam::utils::CachePadded;

use crate::model::namespace::{Namespace, TagCollision, TagOwners};
use crate::model::token::Digester;
use crate::permissions::Strictness;

pub use access::{Access, Used};
pub use changes::{KeyChange, KeyChanges};
pub use entry::{KeyEntry, KeysError};
pub use fingerprint::Fingerprint;
pub use holder::{CERTIFICATE_LEN_MAX, CertificateField, CertificateName, Holder};
pub use table::{EXPIRY_NOTICE, Table};
pub use text::{Key, KeyHash, KeyId};

use table::warn_of_lost_scopes;

/// The keys of a running server. Clones share them.
#[derive(Clone, Debug)]
pub struct Keys(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: PathBuf,
    permissions: Strictness,
    table: RwLock<Arc<Table>>,
    /// Kept as long as the server runs, so that no change of the file gives a tag to another
    /// namespace.
    owners: Mutex<TagOwners>,
    /// Version of the table; read with every request.
    version: CachePadded<AtomicU64>,
}

impl Keys {
    /// Reads `file`. `permissions` defines what happens if other users may read it.
    ///
    /// # Errors
    /// The file is missing, has mistakes, or other users may write it.
    pub fn open(
        file: &Path,
        digester: &Digester,
        permissions: Strictness,
    ) -> Result<Self, KeysError> {
        let (entries, default) = (file::load_guarded(file, permissions)?, Namespace::default());
        let mut owners = TagOwners::default();
        // The default namespace exists without a key, and claims its tag first.
        let _ = owners.claim(&default, digester.of(&default).tag());
        warn_of_lost_scopes(&entries);
        let table = Table::new(&entries, digester, &mut owners);
        table.say_refused();
        let inner = Inner {
            file: file.to_owned(),
            permissions,
            table: RwLock::new(Arc::new(table)),
            owners: Mutex::new(owners),
            version: CachePadded::new(AtomicU64::new(0)),
        };
        Ok(Self(Arc::new(inner)))
    }

    /// Reloads the file. If that fails, the previous keys stay in use.
    ///
    /// # Errors
    /// As for [`Keys::open`].
    pub fn reload(&self, digester: &Digester) -> Result<usize, KeysError> {
        let entries = file::load_guarded(&self.0.file, self.0.permissions)?;
        let table = Table::after(&self.table(), &entries, digester, &mut self.owners());
        table.say_refused();
        let len = table.len();
        *self.0.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
        // A reader of the new version gets the new table or a later one.
        self.0.version.fetch_add(1, Ordering::Release);
        Ok(len)
    }

    /// Claims the tag of a namespace that is named elsewhere, for example by a quota.
    ///
    /// # Errors
    /// Another namespace has the tag.
    pub fn claim(&self, namespace: &Namespace, digester: &Digester) -> Result<(), TagCollision> {
        self.owners().claim(namespace, digester.of(namespace).tag())
    }

    fn owners(&self) -> std::sync::MutexGuard<'_, TagOwners> {
        self.0.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.0.file
    }

    /// Version of the table, which changes with each reload.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.0.version.load(Ordering::Acquire)
    }

    /// The current table.
    #[must_use]
    pub fn table(&self) -> Arc<Table> {
        Arc::clone(&self.0.table.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::model::scope::Scope;
    use crate::model::time::UnixMillis;
    use crate::model::token::{SECRET_LEN, Secret, Token};

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
        let table = Table::new(&[entry], &digester(), &mut TagOwners::default());
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

    /// Two names with one tag, under the secret of these tests.
    fn colliding() -> [Namespace; 2] {
        let (digester, mut seen) = (digester(), HashMap::new());
        let mut names = (0..).map(|n| format!("n{n}").parse::<Namespace>().unwrap());
        names
            .find_map(|name| seen.insert(digester.of(&name).tag(), name.clone()).map(|a| [a, name]))
            .unwrap()
    }

    /// Otherwise both would share one quota and one set of metrics.
    #[test]
    fn of_two_namespaces_with_one_tag_the_added_one_is_refused_by_name() {
        let [a, b] = colliding();
        let key_of = |namespace: &Namespace, created_ms| {
            let (key, mut entry) = new_key(namespace.as_str());
            entry.created_at = UnixMillis(created_ms);
            (key, entry)
        };
        let ((old, first), (added, second)) = (key_of(&a, 1_000), key_of(&b, 2_000));
        let (other, third) = key_of(&"shop".parse().unwrap(), 3_000);
        let opens = |table: &Table| {
            [&old, &added, &other].map(|key| table.access(key.text().as_bytes()).is_some())
        };
        let refused = |table: &Table| {
            table.refused().map(|c| (c.refused.clone(), c.owner.clone())).collect::<Vec<_>>()
        };
        // At a start the older key decides, even if revoked, whatever its position in the file.
        let entries = [second.clone(), first.clone(), third.clone()];
        let table = Table::new(&entries, &digester(), &mut TagOwners::default());
        assert_eq!(opens(&table), [true, false, true]);
        assert_eq!(refused(&table), [(b.clone(), a.clone())]);
        let revoked = KeyEntry { revoked_at: Some(UnixMillis(5_000)), ..first.clone() };
        let entries = [second.clone(), revoked, third.clone()];
        let table = Table::new(&entries, &digester(), &mut TagOwners::default());
        assert_eq!((opens(&table), table.refused().count()), ([false, false, true], 1));
        // In a running server the loaded namespace keeps its tag, even after its keys are removed.
        let mut owners = TagOwners::default();
        let before = Table::new(std::slice::from_ref(&second), &digester(), &mut owners);
        assert_eq!(opens(&before), [false, true, false]);
        let table = Table::new(&[first.clone(), second, third.clone()], &digester(), &mut owners);
        assert_eq!((opens(&table), refused(&table)), ([false, true, true], vec![(a, b)]));
        assert_eq!(
            opens(&Table::new(&[first, third], &digester(), &mut owners)),
            [false, false, true]
        );
    }

    #[test]
    fn p5_a_certificate_that_is_bound_to_a_key_or_unbound_is_a_change() {
        let (_, plain) = new_key("a");
        let mut bound = plain.clone();
        bound.certificate = Some("cn:client-1".parse().unwrap());
        let mut other = plain.clone();
        other.certificate = Some("cn:client-2".parse().unwrap());
        let table = |entry: &KeyEntry| {
            Table::new(std::slice::from_ref(entry), &digester(), &mut TagOwners::default())
        };
        let [plain, bound, other] = [&plain, &bound, &other].map(table);
        for (before, after) in [(&plain, &bound), (&bound, &other), (&bound, &plain)] {
            let changes = before.changes(after);
            assert!(matches!(changes[..], [(KeyChange::Changed, _)]), "{changes:?}");
        }
        assert!(bound.changes(&bound).is_empty());
    }

    #[test]
    fn a_reload_replaces_all_keys_or_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.toml");
        let [(one, first), (two, second)] = [new_key("a"), new_key("b")];
        file::add(&path, &first).unwrap();
        let keys = Keys::open(&path, &digester(), Strictness::Warn).unwrap();
        let opens = |key: &Key| keys.table().access(key.text().as_bytes()).is_some();
        assert!(opens(&one) && !opens(&two));
        file::add(&path, &second).unwrap();
        file::revoke(&path, first.id, UnixMillis(1)).unwrap();
        let used = || keys.table().access(two.text().as_bytes()).unwrap().used.clone();
        keys.reload(&digester()).unwrap();
        used().held_bytes.store(7, Ordering::Relaxed);
        let before = keys.version();
        assert_eq!(keys.reload(&digester()).unwrap(), 1);
        assert_eq!(used().held_bytes.load(Ordering::Relaxed), 7, "a reload forgets nothing");
        assert!(!opens(&one) && opens(&two) && keys.version() != before);
        std::fs::write(&path, "[[key]]\n").unwrap();
        assert!(keys.reload(&digester()).is_err());
        assert!(opens(&two), "a file with mistakes changes nothing");
    }
}
