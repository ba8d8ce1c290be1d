//! Authentication: the key that a caller presents is checked once per connection and cached until
//! the keys change.
//!
//! A presented key is compared with the cached one of its connection, and is hashed and looked up
//! only if it differs. So a resolve with a key costs one comparison of 47 bytes more than one
//! without. Only a valid key is cached, so a connection caches at most one key, whatever its client
//! sends.

use std::cell::{Cell, OnceCell, RefCell};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::principal::Principal;
use super::refusal::Refusal;
use crate::engine::Engine;
use crate::keys::text::KEY_TEXT_LEN;
use crate::keys::{Access, Keys, Table};
use crate::model::namespace::Namespace;
use crate::model::scope::Scopes;
use crate::model::time::UnixMillis;
use crate::tls::Peer;

/// Access without a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anonymous {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its scopes: resolve, consume, or both.
    pub scopes: Scopes,
}

/// Why a caller is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// No key was presented, and one is required.
    Missing,
    /// The presented key is not valid: unknown, expired and revoked keys look the same.
    Wrong,
    /// The client's certificate is valid, but no valid key names it. This is not counted as a
    /// guess.
    Unnamed,
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Missing => Self::NoKey,
            Denied::Wrong | Denied::Unnamed => Self::WrongKey,
        }
    }
}

/// The credentials of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Presented<'a> {
    /// No credentials.
    Nothing,
    /// A text that may be a key.
    Key(&'a [u8]),
    /// Credentials that are not a key.
    Malformed,
}

/// Authenticates the callers of one worker.
pub(crate) struct Authenticator {
    /// `None`: anyone may do everything.
    keys: Option<Keys>,
    /// The principal without a key; `None` if a key is required.
    keyless: Option<Principal>,
    version: Cell<u64>,
    table: RefCell<Arc<Table>>,
}

/// The last credentials of a connection, with their principal.
pub(crate) struct CachedCredentials {
    /// The client's address. A key may be bound to networks.
    address: Cell<IpAddr>,
    key: RefCell<Option<CachedKey>>,
    certificate: OnceCell<Box<CachedCertificate>>,
}

/// The certificate that was verified in the TLS handshake, with its last principal.
struct CachedCertificate {
    peer: Peer,
    found: RefCell<Option<(u64, Principal)>>,
}

impl Default for CachedCredentials {
    /// Of a client whose address is unknown, such as a peer of a Unix socket: 0.0.0.0.
    fn default() -> Self {
        Self::of(Ipv4Addr::UNSPECIFIED.into())
    }
}

impl CachedCredentials {
    /// Of a client at `address`, which has shown nothing yet.
    pub(crate) fn of(address: IpAddr) -> Self {
        let (key, certificate) = (RefCell::default(), OnceCell::new());
        Self { address: Cell::new(address), key, certificate }
    }

    /// Sets the client's address, before it has shown anything.
    pub(crate) fn at(&self, address: IpAddr) {
        self.address.set(address);
    }

    /// Whether the client has shown a valid certificate, which stands for a key.
    pub(crate) fn has_certificate(&self) -> bool {
        self.certificate.get().is_some()
    }

    /// Sets the certificate that was verified in the TLS handshake.
    pub(crate) fn certified(&self, peer: Peer) {
        // A connection has one handshake.
        let _ =
            self.certificate.set(Box::new(CachedCertificate { peer, found: RefCell::default() }));
    }
}

/// The last presented key.
struct CachedKey {
    key: Zeroizing<[u8; KEY_TEXT_LEN]>,
    version: u64,
    principal: Principal,
}

impl Authenticator {
    pub(crate) fn new(engine: &Engine, keys: Option<&Keys>, anonymous: Option<&Anonymous>) -> Self {
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
                from: Vec::new(),
                certificate: None,
                used: Arc::default(),
            }),
            (Some(_), None) => None,
        };
        Self {
            keys: keys.cloned(),
            keyless: keyless.map(|access| Rc::new(Arc::new(access))),
            version: Cell::new(keys.map_or(0, Keys::version)),
            table: RefCell::new(keys.map(Keys::table).unwrap_or_default()),
        }
    }

    /// Whether the server has keys.
    pub(crate) fn has_keys(&self) -> bool {
        self.keys.is_some()
    }

    /// Authenticates the credentials at `now`, on the connection of `cached`.
    ///
    /// # Errors
    /// The caller is not admitted.
    pub(crate) fn admit(
        &self,
        cached: &CachedCredentials,
        presented: Presented<'_>,
        now: UnixMillis,
    ) -> Result<Principal, Denied> {
        let Some(keys) = &self.keys else { return self.keyless.clone().ok_or(Denied::Missing) };
        let key = match presented {
            Presented::Key(key) => key,
            Presented::Malformed => return Err(Denied::Wrong),
            Presented::Nothing => {
                return match cached.certificate.get() {
                    Some(certificate) => {
                        self.admit_certified(keys, (certificate, cached.address.get()), now)
                    }
                    None => self.keyless.clone().ok_or(Denied::Missing),
                };
            }
        };
        let version = keys.version();
        if let Some(known) = &*cached.key.borrow()
            && known.version == version
            && bool::from(known.key.ct_eq(key))
        {
            return unexpired(&known.principal, now);
        }
        self.look_again(keys, version);
        let access = self.table.borrow().access(key).ok_or(Denied::Wrong)?;
        // From another network a key is as wrong as an unknown one, and is not cached.
        if !access.is_accepted_from(cached.address.get()) {
            return Err(Denied::Wrong);
        }
        let principal = Rc::new(access);
        let key = key.try_into().map(Zeroizing::new).map_err(|_| Denied::Wrong)?;
        cached.key.replace(Some(CachedKey { key, version, principal: principal.clone() }));
        unexpired(&principal, now)
    }

    /// Like [`Authenticator::admit`], for endpoints that no one may use anonymously. A server
    /// without keys admits everyone.
    ///
    /// # Errors
    /// The caller is not admitted.
    pub(crate) fn admit_client(
        &self,
        cached: &CachedCredentials,
        presented: Presented<'_>,
        now: UnixMillis,
    ) -> Result<Principal, Denied> {
        let admitted = self.admit(cached, presented, now)?;
        match self.has_keys() && admitted.key.is_none() {
            true => Err(Denied::Missing),
            false => Ok(admitted),
        }
    }

    fn look_again(&self, keys: &Keys, version: u64) {
        if self.version.replace(version) != version {
            self.table.replace(keys.table());
        }
    }

    /// Authenticates a caller with a verified certificate and without a key: it gets the access of
    /// the key that names the certificate, as long as both are valid. A certificate that no key
    /// names counts as a wrong key, not as anonymous.
    fn admit_certified(
        &self,
        keys: &Keys,
        (certificate, address): (&CachedCertificate, IpAddr),
        now: UnixMillis,
    ) -> Result<Principal, Denied> {
        if now >= certificate.peer.not_after {
            return Err(Denied::Unnamed);
        }
        let version = keys.version();
        if let Some((seen, principal)) = &*certificate.found.borrow()
            && *seen == version
        {
            return unexpired(principal, now).map_err(|_| Denied::Unnamed);
        }
        self.look_again(keys, version);
        let names = &certificate.peer.names;
        let access = self.table.borrow().certified(names).ok_or(Denied::Unnamed)?;
        if !access.is_accepted_from(address) {
            return Err(Denied::Unnamed);
        }
        let principal = Rc::new(access);
        certificate.found.replace(Some((version, principal.clone())));
        unexpired(&principal, now).map_err(|_| Denied::Unnamed)
    }
}

fn unexpired(principal: &Principal, now: UnixMillis) -> Result<Principal, Denied> {
    if now >= principal.expires_at {
        return Err(Denied::Wrong);
    }
    principal.used.mark(now);
    Ok(principal.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Config;
    use crate::keys::{KeyEntry, file};

    const NOW: UnixMillis = UnixMillis(1_769_860_800_000);

    fn authenticator(entries: &[KeyEntry]) -> (tempfile::TempDir, Authenticator, Keys) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.toml");
        for entry in entries {
            file::add(&path, entry).unwrap();
        }
        let engine = Engine::open(Config::memory_only()).unwrap();
        let keys = Keys::open(&path, engine.digester(), Default::default()).unwrap();
        (dir, Authenticator::new(&engine, Some(&keys), None), keys)
    }

    #[test]
    fn a_key_is_cached_until_the_keys_change_or_it_expires() {
        let (namespace, scopes) = ("shop".parse().unwrap(), "resolve".parse().unwrap());
        let end = Some(UnixMillis(NOW.0 + 1_000));
        let (key, entry) = file::new_key(namespace, scopes, String::new(), NOW, end).unwrap();
        let (dir, authenticator, keys) = authenticator(std::slice::from_ref(&entry));
        let cached = CachedCredentials::default();
        let text = key.text().to_string();
        let admit =
            |now| authenticator.admit(&cached, Presented::Key(text.as_bytes()), UnixMillis(now));
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
        assert_eq!(
            authenticator.admit(&cached, Presented::Nothing, NOW).err(),
            Some(Denied::Missing)
        );
    }

    /// A key that is bound to networks is as wrong as an unknown key from anywhere else, also on a
    /// connection whose client shows it again, and after a reload.
    #[test]
    fn p10_a_key_from_another_network_is_a_wrong_key() {
        let (namespace, scopes) = ("shop".parse().unwrap(), "resolve".parse().unwrap());
        let (key, mut entry) = file::new_key(namespace, scopes, String::new(), NOW, None).unwrap();
        entry.from = vec!["10.1.0.0/16".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
        entry.certificate = Some("shop.example".parse().unwrap());
        let (_dir, authenticator, keys) = authenticator(std::slice::from_ref(&entry));
        let text = Presented::Key(key.text().as_bytes());
        let admit = |address: &str| {
            let cached = CachedCredentials::of(address.parse().unwrap());
            let (first, again) =
                (authenticator.admit(&cached, text, NOW), authenticator.admit(&cached, text, NOW));
            keys.reload(
                &authenticator.table.borrow().access(key.text().as_bytes()).unwrap().digester,
            )
            .unwrap();
            let reloaded = authenticator.admit(&cached, text, NOW);
            let names = vec!["shop.example".parse().unwrap()];
            cached.certified(Peer { names, not_after: UnixMillis::MAX });
            let certified = authenticator.admit(&cached, Presented::Nothing, NOW);
            [first, again, reloaded, certified].map(Result::err)
        };
        for address in ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::7"] {
            assert_eq!(admit(address), [None; 4], "{address}");
        }
        let wrong = Some(Denied::Wrong);
        for address in ["10.2.0.1", "0.0.0.0", "::1", "2001:db9::7"] {
            assert_eq!(admit(address), [wrong, wrong, wrong, Some(Denied::Unnamed)], "{address}");
        }
    }

    #[test]
    fn the_last_use_of_a_key_is_known_to_the_second() {
        let (namespace, scopes) = ("shop".parse().unwrap(), "resolve".parse().unwrap());
        let end = Some(UnixMillis(NOW.0 + 5_000));
        let (key, entry) = file::new_key(namespace, scopes, String::new(), NOW, end).unwrap();
        let (_dir, authenticator, keys) = authenticator(std::slice::from_ref(&entry));
        let cached = CachedCredentials::default();
        let last = || keys.table().all().next().unwrap().used.last_use();
        let admit = |at| {
            let shown = Presented::Key(key.text().as_bytes());
            authenticator.admit(&cached, shown, UnixMillis(NOW.0 + at)).is_ok()
        };
        assert_eq!(last(), None);
        for (at, is_admitted, seen) in [
            (0, true, 0),
            (999, true, 0),
            (1_000, true, 1_000),
            (500, true, 1_000),
            (5_000, false, 1_000),
        ] {
            assert_eq!(admit(at), is_admitted, "{at}");
            assert_eq!(last(), Some(UnixMillis(NOW.0 + seen)), "{at}");
        }
    }

    #[test]
    fn a_certificate_counts_as_long_as_it_and_its_key_do() {
        let (namespace, scopes) = ("shop".parse().unwrap(), "resolve".parse().unwrap());
        let end = Some(UnixMillis(NOW.0 + 2_000));
        let (key, mut entry) = file::new_key(namespace, scopes, String::new(), NOW, end).unwrap();
        entry.certificate = Some("shop.example".parse().unwrap());
        let (_dir, authenticator, _keys) = authenticator(std::slice::from_ref(&entry));
        let admit = |name: Option<&str>, not_after, now| {
            let cached = CachedCredentials::default();
            let names = name.iter().map(|name| name.parse().unwrap()).collect();
            cached.certified(Peer { names, not_after: UnixMillis(NOW.0 + not_after) });
            let twice = [(); 2].map(|()| {
                authenticator.admit(&cached, Presented::Nothing, UnixMillis(NOW.0 + now))
            });
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
}
