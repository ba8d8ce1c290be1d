//! Who is asking: the key of a request, checked once for each connection and remembered until the
//! keys change.
//!
//! The key that a client presents is compared with the one it presented before on this connection;
//! only where that differs is it hashed and looked up. So a resolve with a key costs one comparison
//! of 47 bytes more than one without. Only a key that counts is remembered: a connection holds no
//! more than that, whatever is sent.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::engine::Engine;
use crate::http::api::problem::Problem;
use crate::http::counters::Operation;
use crate::keys::text::KEY_TEXT_LEN;
use crate::keys::{Access, Keys, Table};
use crate::model::namespace::Namespace;
use crate::model::scope::{Scope, Scopes};
use crate::model::time::UnixMillis;
use crate::tls::Peer;

/// What a request may do. Cloned with each, without touching what other threads touch.
pub(in crate::http) type Admitted = Rc<Arc<Access>>;

/// What may be done without a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anonymous {
    /// Where.
    pub namespace: Namespace,
    /// Resolve, consume, or both.
    pub scopes: Scopes,
}

/// Why nobody is admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Denied {
    /// There is no key, and there must be one.
    Missing,
    /// What is there is no key that counts: unknown, expired and revoked look the same.
    Wrong,
    /// The client's certificate is good, and no key that counts names it. Nobody has guessed.
    Unnamed,
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Problem {
        match denied {
            Denied::Missing => Problem::unauthorized("a key is needed: Authorization: Bearer KEY"),
            Denied::Wrong | Denied::Unnamed => Problem::wrong_key(),
        }
    }
}

/// The door of one worker.
pub(in crate::http) struct Door {
    /// `None`: everybody may do everything.
    keys: Option<Keys>,
    /// Who has no key; `None` where there must be one.
    keyless: Option<Admitted>,
    version: Cell<u64>,
    table: RefCell<Arc<Table>>,
}

/// What a connection has shown last, and what it is worth.
#[derive(Default)]
pub(in crate::http) struct Remembered(RefCell<Option<Shown>>, OnceCell<Box<Certified>>);

/// Whose certificate was verified when the connection began, and what it was worth last.
struct Certified {
    peer: Peer,
    found: RefCell<Option<(u64, Admitted)>>,
}

impl Remembered {
    /// The connection is that of `peer`.
    pub(in crate::http) fn certified(&self, peer: Peer) {
        // A connection begins once.
        let _ = self.1.set(Box::new(Certified { peer, found: RefCell::default() }));
    }
}

struct Shown {
    key: Zeroizing<[u8; KEY_TEXT_LEN]>,
    version: u64,
    admitted: Admitted,
}

impl Door {
    pub(in crate::http) fn new(
        engine: &Engine,
        keys: Option<&Keys>,
        anonymous: Option<&Anonymous>,
    ) -> Door {
        let digester = engine.digester();
        let keyless = match (keys, anonymous) {
            (None, _) => Some(Access::everything(Namespace::default(), digester.clone())),
            (Some(_), Some(anonymous)) => Some(Access {
                key: None,
                namespace: anonymous.namespace.clone(),
                scopes: anonymous.scopes,
                expires_at: UnixMillis::MAX,
                digester: digester.of(&anonymous.namespace),
                holder: Vec::new(),
                used: Arc::default(),
            }),
            (Some(_), None) => None,
        };
        Door {
            keys: keys.cloned(),
            keyless: keyless.map(|access| Rc::new(Arc::new(access))),
            version: Cell::new(keys.map_or(0, Keys::version)),
            table: RefCell::new(keys.map(Keys::table).unwrap_or_default()),
        }
    }

    /// What a request with this `Authorization` may do.
    pub(in crate::http) fn admit(
        &self,
        remembered: &Remembered,
        header: Option<&[u8]>,
        now: UnixMillis,
    ) -> Result<Admitted, Denied> {
        let (Some(keys), Some(header)) = (&self.keys, header) else {
            return match (&self.keys, remembered.1.get()) {
                (Some(keys), Some(certified)) => self.admit_certified(keys, certified, now),
                _ => self.keyless.clone().ok_or(Denied::Missing),
            };
        };
        let key = bearer(header).ok_or(Denied::Wrong)?;
        let version = keys.version();
        if let Some(shown) = &*remembered.0.borrow()
            && shown.version == version
            && bool::from(shown.key.ct_eq(key))
        {
            return unexpired(&shown.admitted, now);
        }
        self.look_again(keys, version);
        let access = self.table.borrow().access(key).ok_or(Denied::Wrong)?;
        let admitted = Rc::new(access);
        let key = key.try_into().map(Zeroizing::new).map_err(|_| Denied::Wrong)?;
        remembered.0.replace(Some(Shown { key, version, admitted: admitted.clone() }));
        unexpired(&admitted, now)
    }

    fn look_again(&self, keys: &Keys, version: u64) {
        if self.version.replace(version) != version {
            self.table.replace(keys.table());
        }
    }

    /// What the holder of a verified certificate may do who shows no key: what the key may that
    /// names the certificate, for as long as both count. Whom no key names is no stranger without a
    /// key but one with a wrong one.
    fn admit_certified(
        &self,
        keys: &Keys,
        certified: &Certified,
        now: UnixMillis,
    ) -> Result<Admitted, Denied> {
        if now >= certified.peer.not_after {
            return Err(Denied::Unnamed);
        }
        let version = keys.version();
        if let Some((seen, admitted)) = &*certified.found.borrow()
            && *seen == version
        {
            return unexpired(admitted, now).map_err(|_| Denied::Unnamed);
        }
        self.look_again(keys, version);
        let names = &certified.peer.names;
        let access = self.table.borrow().certified(names).ok_or(Denied::Unnamed)?;
        let admitted = Rc::new(access);
        certified.found.replace(Some((version, admitted.clone())));
        unexpired(&admitted, now).map_err(|_| Denied::Unnamed)
    }

    /// The same for a request of which hyper has read the head.
    pub(in crate::http) fn admit_request(
        &self,
        remembered: &Remembered,
        headers: &HeaderMap,
        now: UnixMillis,
    ) -> Result<Admitted, Denied> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let header = values.next().map(HeaderValue::as_bytes);
        // Two keys have two readings.
        if values.next().is_some() && self.keys.is_some() {
            return Err(Denied::Wrong);
        }
        self.admit(remembered, header, now)
    }
}

fn unexpired(admitted: &Admitted, now: UnixMillis) -> Result<Admitted, Denied> {
    if now < admitted.expires_at { Ok(admitted.clone()) } else { Err(Denied::Wrong) }
}

/// The key in the value of `Authorization` (RFC 6750, 2.1; the scheme is case-insensitive).
pub(in crate::http) fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = value.split_at_checked(b"bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| key.trim_ascii())
}

/// What an operation needs.
pub(in crate::http) fn scope_of(operation: Operation) -> Option<Scope> {
    match operation {
        Operation::Issue | Operation::IssueBatch | Operation::Extend | Operation::ExtendBatch => {
            Some(Scope::Issue)
        }
        Operation::Resolve
        | Operation::ResolveBatch
        | Operation::Status
        | Operation::StatusBatch => Some(Scope::Resolve),
        Operation::Consume | Operation::ConsumeBatch => Some(Scope::Consume),
        Operation::Revoke | Operation::RevokeBatch => Some(Scope::Revoke),
        Operation::Unknown => None,
    }
}

/// 403, if a key may not do this; 401, if that takes a key and there is none (RFC 6750, 3.1).
pub(in crate::http) fn demand(access: &Access, scope: Scope) -> Result<(), Problem> {
    if access.may(scope) {
        return Ok(());
    }
    let name = Scopes::default().with(scope);
    Err(match access.key {
        Some(_) => Problem::forbidden(format!("this needs the scope {name}")),
        None => Problem::unauthorized(format!("this needs a key with the scope {name}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Config;
    use crate::keys::{KeyEntry, file};

    const NOW: UnixMillis = UnixMillis(1_769_860_800_000);

    fn door(entries: &[KeyEntry]) -> (tempfile::TempDir, Door, Keys) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.toml");
        for entry in entries {
            file::add(&path, entry).unwrap();
        }
        let engine = Engine::open(Config::memory_only()).unwrap();
        let keys = Keys::open(&path, engine.digester(), Default::default()).unwrap();
        (dir, Door::new(&engine, Some(&keys), None), keys)
    }

    #[test]
    fn a_key_is_remembered_until_the_keys_change_or_it_expires() {
        let (namespace, scopes) = ("shop".parse().unwrap(), "resolve".parse().unwrap());
        let end = Some(UnixMillis(NOW.0 + 1_000));
        let (key, entry) = file::new_key(namespace, scopes, String::new(), NOW, end).unwrap();
        let (dir, door, keys) = door(std::slice::from_ref(&entry));
        let remembered = Remembered::default();
        let header = format!("bearer  {} ", key.text());
        let admit = |now| door.admit(&remembered, Some(header.as_bytes()), UnixMillis(now));
        let first = admit(NOW.0).unwrap();
        assert_eq!((first.key, first.scopes), (Some(key.id()), scopes));
        assert!(Rc::ptr_eq(&first, &admit(NOW.0 + 999).unwrap()), "not looked up again");
        assert_eq!(admit(NOW.0 + 1_000).err(), Some(Denied::Wrong));
        let path = dir.path().join("keys.toml");
        file::revoke(&path, key.id(), NOW).unwrap();
        assert!(admit(NOW.0).is_ok(), "the server does not know yet");
        let digester = first.digester.clone();
        keys.reload(&digester).unwrap();
        assert_eq!(admit(NOW.0).err(), Some(Denied::Wrong));
        assert_eq!(door.admit(&remembered, None, NOW).err(), Some(Denied::Missing));
    }

    #[test]
    fn a_certificate_counts_as_long_as_it_and_its_key_do() {
        let (namespace, scopes) = ("shop".parse().unwrap(), "resolve".parse().unwrap());
        let end = Some(UnixMillis(NOW.0 + 2_000));
        let (key, mut entry) = file::new_key(namespace, scopes, String::new(), NOW, end).unwrap();
        entry.certificate = Some("shop.example".parse().unwrap());
        let (_dir, door, _keys) = door(std::slice::from_ref(&entry));
        let admit = |name: Option<&str>, not_after, now| {
            let remembered = Remembered::default();
            let names = name.iter().map(|name| name.parse().unwrap()).collect();
            remembered.certified(Peer { names, not_after: UnixMillis(NOW.0 + not_after) });
            let twice = [(); 2].map(|()| door.admit(&remembered, None, UnixMillis(NOW.0 + now)));
            assert_eq!(twice[0].as_ref().err(), twice[1].as_ref().err());
            twice[0].as_ref().map(|access| access.key).map_err(|denied| *denied)
        };
        let shop = Some("shop.example");
        assert_eq!(admit(shop, 9_000, 1_999), Ok(Some(key.id())));
        assert_eq!(admit(shop, 9_000, 2_000), Err(Denied::Unnamed), "the key has ended");
        assert_eq!(admit(shop, 1_000, 999), Ok(Some(key.id())));
        assert_eq!(admit(shop, 1_000, 1_000), Err(Denied::Unnamed), "the certificate has ended");
        assert_eq!(admit(Some("other.example"), 9_000, 0), Err(Denied::Unnamed));
        assert_eq!(admit(Some("cn:shop.example"), 9_000, 0), Err(Denied::Unnamed));
        assert_eq!(admit(None, 9_000, 0), Err(Denied::Unnamed));
    }

    #[test]
    fn other_schemes_are_no_keys() {
        assert_eq!(bearer(b"Bearer abc"), Some(&b"abc"[..]));
        assert_eq!(bearer(b"BEARER  abc "), Some(&b"abc"[..]));
        for value in [&b""[..], b"Bearer", b"Bearerabc", b"Basic abc", b"abc"] {
            assert_eq!(bearer(value), None);
        }
    }
}
