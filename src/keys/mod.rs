//! API keys: who may do what in which namespace.
//!
//! `text` is a key as its holder has it, `file` what is kept of all of them. [`Keys`] is what a
//! server works with: a table that readers hold without a lock, and that is another one after each
//! change of the file.

pub mod file;
mod holder;
pub mod text;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crossbeam::utils::CachePadded;

use crate::model::namespace::{Namespace, TagCollision, TagOwners};
use crate::model::rate_limit::Paid;
use crate::model::scope::{Scope, Scopes};
use crate::model::time::UnixMillis;
use crate::model::token::Digester;
use crate::permissions::Strictness;

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
    /// What it uses, of what is limited for each key.
    pub used: Arc<Used>,
}

/// What a key uses at the moment. It stays when the keys are read again.
#[derive(Debug, Default)]
pub struct Used {
    /// Memory that its requests hold, in bytes, of what counts.
    pub held_bytes: AtomicUsize,
    /// Its misses.
    pub misses: Paid,
}

impl Access {
    /// Everything, for ever, in the namespace of `digester`: a server without keys.
    #[must_use]
    pub fn everything(namespace: Namespace, digester: Digester) -> Access {
        Access {
            key: None,
            namespace,
            scopes: Scopes::ALL,
            expires_at: UnixMillis::MAX,
            digester,
            holder: Vec::new(),
            used: Arc::default(),
        }
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
    /// Namespaces whose keys are not in it.
    refused: BTreeSet<TagCollision>,
}

impl Table {
    /// The table of these keys. `digester` is that of any namespace. Of two namespaces with one tag
    /// the one that `owners` names is loaded, else the one with the older key, be it revoked: its
    /// tokens may live. The other's keys are left out.
    #[must_use]
    pub fn new(entries: &[KeyEntry], digester: &Digester, owners: &mut TagOwners) -> Table {
        Table::after(&Table::default(), entries, digester, owners)
    }

    /// The same in place of `old`: a key that was there before has used what it had used.
    fn after(
        old: &Table,
        entries: &[KeyEntry],
        digester: &Digester,
        owners: &mut TagOwners,
    ) -> Table {
        let known = |id| old.keys.get(&id).map(|(_, access)| Arc::clone(&access.used));
        let mut digesters: HashMap<&Namespace, Digester> = HashMap::new();
        let mut refused = BTreeSet::new();
        let mut by_age: Vec<&KeyEntry> = entries.iter().collect();
        by_age.sort_by_key(|entry| entry.created_at);
        for entry in by_age {
            let of_namespace = || digester.of(&entry.namespace);
            let tag = digesters.entry(&entry.namespace).or_insert_with(of_namespace).tag();
            refused.extend(owners.claim(&entry.namespace, tag).err());
        }
        let is_refused =
            |entry: &KeyEntry| refused.iter().any(|collision| collision.refused == entry.namespace);
        let living =
            entries.iter().filter(|entry| entry.revoked_at.is_none() && !is_refused(entry));
        let mut certified = HashMap::new();
        let keys = living.map(|entry| {
            let of_namespace = || digester.of(&entry.namespace);
            let digester = digesters.entry(&entry.namespace).or_insert_with(of_namespace);
            let used = known(entry.id).unwrap_or_default();
            let access = |holder: &Holder| {
                Arc::new(Access {
                    key: Some(entry.id),
                    namespace: entry.namespace.clone(),
                    scopes: effective(entry),
                    expires_at: entry.expires_at.unwrap_or(UnixMillis::MAX),
                    digester: digester.clone(),
                    holder: holder.to_bytes(),
                    used: used.clone(),
                })
            };
            if let Some(name) = &entry.certificate {
                certified.insert(name.clone(), access(&Holder::Certificate(name.clone())));
            }
            let holder = Holder::Key(entry.holder.unwrap_or(entry.id));
            (entry.id, (entry.hash.clone(), access(&holder)))
        });
        let keys = keys.collect();
        Table { keys, certified, refused }
    }

    /// Namespaces of the file whose keys are not loaded, in the order of their names.
    pub fn refused(&self) -> impl Iterator<Item = &TagCollision> {
        self.refused.iter()
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
        let namespaces = self.keys.values().map(|(_, access)| &access.namespace);
        namespaces.filter(|namespace| !namespace.is_every())
    }

    /// What the holder of a verified certificate with these names may do: by the first name that a
    /// key of this table has.
    #[must_use]
    pub fn certified(&self, names: &[CertificateName]) -> Option<Arc<Access>> {
        names.iter().find_map(|name| self.certified.get(name).cloned())
    }

    fn say_refused(&self) {
        for collision in &self.refused {
            tracing::error!("{collision}; its keys are not loaded, all others are");
        }
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

/// What a key may do: scopes of the whole server count in the namespace `*` alone. Others have them
/// in files that an earlier version wrote.
fn effective(entry: &KeyEntry) -> Scopes {
    match entry.namespace.is_every() {
        true => entry.scopes,
        false => entry.scopes.without(Scopes::OF_THE_SERVER),
    }
}

/// Names each key that an earlier version let do more.
fn warn_of_lost_scopes(entries: &[KeyEntry]) {
    for entry in entries.iter().filter(|entry| entry.revoked_at.is_none()) {
        if effective(entry) != entry.scopes {
            tracing::warn!(
                key = %entry.id, namespace = %entry.namespace, scopes = %entry.scopes,
                "the scopes admin and backup of this key open nothing: they are of the whole server, \
                 and metrics is a scope of its own; make a key with --namespace '*' and --scope \
                 admin,metrics,backup, or those of them that it needs"
            );
        }
    }
}

/// The keys of a running server. Clones share them.
#[derive(Clone, Debug)]
pub struct Keys(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: PathBuf,
    permissions: Strictness,
    table: RwLock<Arc<Table>>,
    /// For as long as the server runs, so that no change of the file takes a tag from its tokens.
    owners: Mutex<TagOwners>,
    /// Another one for each table; read with every request.
    version: CachePadded<AtomicU64>,
}

impl Keys {
    /// Reads `file`. `permissions` is what is done where others may read it.
    ///
    /// # Errors
    /// It is not there, has mistakes, or others may write it.
    pub fn open(
        file: &Path,
        digester: &Digester,
        permissions: Strictness,
    ) -> Result<Keys, KeysError> {
        let (entries, default) = (file::load_guarded(file, permissions)?, Namespace::default());
        let mut owners = TagOwners::default();
        // It is there without a key, and first.
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
        Ok(Keys(Arc::new(inner)))
    }

    /// Reads the file again. The keys stay as they were where that fails.
    ///
    /// # Errors
    /// As for [`Keys::open`].
    pub fn reload(&self, digester: &Digester) -> Result<usize, KeysError> {
        let entries = file::load_guarded(&self.0.file, self.0.permissions)?;
        let table = Table::after(&self.table(), &entries, digester, &mut self.owners());
        table.say_refused();
        let len = table.len();
        *self.0.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
        // Whoever sees the new version gets the new table, or one after it.
        self.0.version.fetch_add(1, Ordering::Release);
        Ok(len)
    }

    /// Claims the tag of a namespace that is named elsewhere, as by a quota.
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

    /// Else both share the quota and the metrics of one of them.
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
        // At a start the older key decides, wherever it stands in the file, and also a revoked one.
        let entries = [second.clone(), first.clone(), third.clone()];
        let table = Table::new(&entries, &digester(), &mut TagOwners::default());
        assert_eq!(opens(&table), [true, false, true]);
        assert_eq!(refused(&table), [(b.clone(), a.clone())]);
        let revoked = KeyEntry { revoked_at: Some(UnixMillis(5_000)), ..first.clone() };
        let entries = [second.clone(), revoked, third.clone()];
        let table = Table::new(&entries, &digester(), &mut TagOwners::default());
        assert_eq!((opens(&table), table.refused().count()), ([false, false, true], 1));
        // In a running server the one that is there stays, even where its keys are gone.
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
