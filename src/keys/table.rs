//! The table of all valid keys.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::access::Access;
use super::changes::{KeyChange, KeyChanges};
use super::entry::KeyEntry;
use super::fingerprint::Fingerprint;
use super::holder::{CertificateName, Holder};
use super::text::{self, KeyHash, KeyId};
use crate::model::namespace::{Namespace, TagCollision, TagOwners};
use crate::model::scope::Scopes;
use crate::model::time::UnixMillis;
use crate::model::token::Digester;

/// How long before its expiry a key is reported.
pub const EXPIRY_NOTICE: Duration = Duration::from_secs(30 * 24 * 3_600);

/// A snapshot of all valid keys.
#[derive(Debug, Default)]
pub struct Table {
    keys: HashMap<KeyId, (KeyHash, Arc<Access>)>,
    /// Keys by the name of a client certificate.
    certified: HashMap<CertificateName, Arc<Access>>,
    /// Namespaces whose keys were not loaded.
    refused: BTreeSet<TagCollision>,
    fingerprint: Fingerprint,
}

impl Table {
    /// Builds the table of these keys. `digester` is that of any namespace. If two namespaces have
    /// the same tag, the one in `owners` is loaded; otherwise the one with the older key, even if
    /// that key is revoked, because its tokens may be alive. The keys of the other namespace are
    /// left out.
    #[must_use]
    pub fn new(entries: &[KeyEntry], digester: &Digester, owners: &mut TagOwners) -> Self {
        Self::after(&Self::default(), entries, digester, owners)
    }

    /// Builds the successor of `old`: keys that were in `old` keep their resource use.
    pub(super) fn after(
        old: &Self,
        entries: &[KeyEntry],
        digester: &Digester,
        owners: &mut TagOwners,
    ) -> Self {
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
        let live = entries.iter().filter(|entry| entry.revoked_at.is_none() && !is_refused(entry));
        let mut certified = HashMap::new();
        let keys = live.map(|entry| {
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
                    from: entry.from.clone(),
                    certificate: entry.certificate.clone(),
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
        Self { keys, certified, refused, fingerprint: Fingerprint::of(entries) }
    }

    /// The changes from this table to a newer one.
    #[must_use]
    pub fn changes(&self, newer: &Self) -> KeyChanges {
        let mut changes = Vec::new();
        for (id, (hash, access)) in &newer.keys {
            let change = match self.keys.get(id) {
                None => KeyChange::Added,
                Some((old, before)) if old != hash || !is_same(before, access) => {
                    KeyChange::Changed
                }
                Some(_) => continue,
            };
            changes.push((change, Arc::clone(access)));
        }
        let is_gone = |id| !newer.keys.contains_key(id);
        for (_, (_, access)) in self.keys.iter().filter(|(id, _)| is_gone(id)) {
            changes.push((KeyChange::Removed, Arc::clone(access)));
        }
        changes.sort_by_key(|(_, access)| access.key);
        changes
    }

    /// What the file is compared by.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Namespaces of the file whose keys were not loaded, in the order of their names.
    pub fn refused(&self) -> impl Iterator<Item = &TagCollision> {
        self.refused.iter()
    }

    /// The access of `key`; `None` if the table does not contain it.
    #[must_use]
    pub fn access(&self, key: &[u8]) -> Option<Arc<Access>> {
        let (id, hash) = text::presented(key)?;
        let (known, access) = self.keys.get(&id)?;
        (*known == hash).then(|| Arc::clone(access))
    }

    /// The access of each key, in no order.
    pub fn all(&self) -> impl Iterator<Item = &Access> {
        self.keys.values().map(|(_, access)| &**access)
    }

    /// The keys that are valid at `now` and expire within [`EXPIRY_NOTICE`].
    pub fn expiring(&self, now: UnixMillis) -> impl Iterator<Item = &Access> {
        let (now, later) = (now, now.plus(EXPIRY_NOTICE));
        self.all().filter(move |access| now < access.expires_at && access.expires_at <= later)
    }

    /// The namespace of each key; a namespace with several keys is repeated.
    pub fn namespaces(&self) -> impl Iterator<Item = &Namespace> {
        let namespaces = self.keys.values().map(|(_, access)| &access.namespace);
        namespaces.filter(|namespace| !namespace.is_every())
    }

    /// The access of a verified certificate with these names: that of the first name that a key of
    /// this table has.
    #[must_use]
    pub fn certified(&self, names: &[CertificateName]) -> Option<Arc<Access>> {
        names.iter().find_map(|name| self.certified.get(name).cloned())
    }

    /// Logs the namespaces whose keys were not loaded.
    pub(super) fn say_refused(&self) {
        for collision in &self.refused {
            tracing::error!("{collision}; its keys are not loaded, all others are");
        }
    }

    /// Number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether the table has no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// The scopes of a key that are valid: scopes of the whole server are valid only in the namespace
/// `*`. Files written by an earlier version have them in other namespaces too.
fn effective(entry: &KeyEntry) -> Scopes {
    match entry.namespace.is_every() {
        true => entry.scopes,
        false => entry.scopes.without(Scopes::OF_THE_SERVER),
    }
}

/// Logs each key that had more scopes in an earlier version.
pub(super) fn warn_of_lost_scopes(entries: &[KeyEntry]) {
    for entry in entries.iter().filter(|entry| entry.revoked_at.is_none()) {
        if effective(entry) != entry.scopes {
            tracing::warn!(
                key = %entry.id, namespace = %entry.namespace, scopes = %entry.scopes,
                "the scopes admin and backup of this key are ignored: they apply to the whole \
                 server, and metrics is a separate scope; make a key with --namespace '*' and \
                 those of the scopes admin,metrics,backup that it needs"
            );
        }
    }
}

/// Whether two accesses of a key allow the same.
fn is_same(one: &Access, other: &Access) -> bool {
    one.namespace == other.namespace
        && one.scopes == other.scopes
        && one.expires_at == other.expires_at
        && one.holder == other.holder
        && one.from == other.from
        && one.certificate == other.certificate
}
